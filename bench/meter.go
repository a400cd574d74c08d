// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"runtime"
	"time"
)

// Meter takes one sample. What it measures besides the workload's own figures
// lies between Begin and End, which leaves the warm-up out.
type Meter struct {
	Sample

	bed           *Bed
	clientThreads int // of the client that may be busy at once; 0: one
	client        *Process
	clientUsed    time.Duration
	before        usage
	profile       string // where perf writes; "": it does not look
	perf          *Process
	calls         struct{ server, carriers *callCounter }
	threads       struct{ server, client time.Duration } // what the receive threads used
}

// Begin begins the interval in which client, which runs, is measured; nil: there
// is none. A second interval of the same sample is not measured.
func (m *Meter) Begin(client *Process) (err error) {
	if m.Spent != nil {
		return nil
	}
	m.client = client
	if err := m.startProfile(); err != nil {
		return err
	}
	m.Calls = &Calls{}
	if m.calls.server, err = countCalls(m.groups().server); err == nil {
		m.calls.carriers, err = countCalls(m.groups().carriers)
	}
	if err != nil {
		m.Calls.Missing = err.Error()
	}
	if m.before, err = readUsage(); err == nil && client != nil {
		m.clientUsed = m.before.ofGroup(client.Group())
	}
	return err
}

// End ends the interval. The client has ended, so that all it used is known.
func (m *Meter) End() error {
	if m.Spent != nil {
		return nil
	}
	after, err := readUsage()
	m.stopProfile()
	if err != nil {
		return err
	}
	var used time.Duration
	group := 0
	if m.client != nil {
		group = m.client.Group()
		used = after.ofGroup(group)
		if st := m.client.cmd.ProcessState; st != nil {
			used = st.UserTime() + st.SystemTime()
		}
		used = max(0, used-m.clientUsed)
	}
	s := after.since(m.before, m.groups(), group, used)
	m.Spent = &s
	m.threads.server = after.ofProcesses(m.bed.threads.server) - m.before.ofProcesses(m.bed.threads.server)
	m.threads.client = after.ofProcesses(m.bed.threads.client) - m.before.ofProcesses(m.bed.threads.client)
	if m.calls.server != nil {
		m.Calls.Server = float64(m.calls.server.stop())
	}
	if m.calls.carriers != nil {
		m.Calls.Carriers = float64(m.calls.carriers.stop())
	}
	m.mark()
	return nil
}

func (m *Meter) groups() (g groups) {
	if m.bed.Serving != nil {
		g.server = []int{m.bed.Serving.Group()}
	}
	for _, p := range m.bed.Carriers {
		g.carriers = append(g.carriers, p.Group())
	}
	for _, p := range m.bed.wires {
		g.harness = append(g.harness, p.Group())
	}
	return g
}

// What makes a sample doubtful.
const (
	saturated    = 0.90 // of what the client's threads can use
	foreignShare = 0.05 // of the machine, used by others
	stealShare   = 0.02 // of the machine, not given to us at all
)

// mark says what makes the sample doubtful.
func (m *Meter) mark() {
	s := m.Spent
	machine := float64(runtime.NumCPU()) * s.Seconds
	if machine <= 0 {
		return
	}
	if used := s.Client / (s.Seconds * float64(max(1, m.clientThreads))); used > saturated {
		m.Marks = append(m.Marks, fmt.Sprintf("client saturated: it used %.0f%% of its processor", used*100))
	}
	if f := s.Foreign / machine; f > foreignShare {
		m.Marks = append(m.Marks, fmt.Sprintf("noisy: other programs used %.0f%% of the machine", f*100))
	}
	if f := s.Steal / machine; f > stealShare {
		m.Marks = append(m.Marks, fmt.Sprintf("noisy: the hypervisor kept %.0f%% of the machine", f*100))
	}
}

// finish computes what is given per request.
func (m *Meter) finish() {
	if m.Spent == nil || m.Requests <= 0 {
		m.Calls = nil
		return
	}
	m.CPU = m.Spent.per(m.Requests, m.Seconds)
	if m.Calls != nil && m.Calls.Missing == "" {
		f := m.Seconds / m.Spent.Seconds / m.Requests
		m.Calls.Server *= f
		m.Calls.Carriers *= f
	}
}

// load takes over what echoload reports.
func (m *Meter) load(r *loadReport, how string) (err error) {
	if r.Requests == 0 {
		return fmt.Errorf("no request succeeded (%d errors)", r.Errors)
	}
	m.Requests, m.Bytes, m.Seconds, m.Errors = float64(r.Requests), r.Bytes, r.seconds(), r.Errors
	m.Value = m.Requests / m.Seconds
	m.Latency, err = r.distribution(how)
	return err
}
