// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"netcon/dataplane"
)

// Daemon is a netcon daemon of a side.
type Daemon struct {
	Client    *dataplane.Client
	Container string
}

// carried is what a daemon and its container have moved.
type carried struct{ bytes, frames uint64 }

func (d *Daemon) carried() (c carried, err error) {
	st, err := d.Client.Status()
	if err != nil {
		return c, err
	}
	for _, w := range st.Workers {
		c.frames += w.RxFrames + w.TxFrames
	}
	i := slices.IndexFunc(st.Containers, func(x dataplane.ContainerStatus) bool { return x.Name == d.Container })
	if i < 0 {
		return c, fmt.Errorf("the daemon has no container %s", d.Container)
	}
	c.bytes = st.Containers[i].BytesIn + st.Containers[i].BytesOut
	return c, nil
}

// sight is what one side's counters show.
type sight struct {
	tcp     uint64            // segments of the kernel's TCP, both ways
	udp     uint64            // datagrams of the kernel's UDP, both ways
	devices map[string]uint64 // bytes, both ways
	carried carried
}

func (s *Side) look() (v sight, err error) {
	v.devices = map[string]uint64{}
	err = inNamespace(s.NS, func() error {
		snmp, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		m := parseSNMP(string(snmp))
		v.tcp = m["Tcp.InSegs"] + m["Tcp.OutSegs"]
		v.udp = m["Udp.InDatagrams"] + m["Udp.OutDatagrams"]
		dev, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(dev)) {
			name, rest, ok := strings.Cut(line, ":")
			f := strings.Fields(rest)
			if !ok || len(f) < 10 {
				continue
			}
			in, _ := strconv.ParseUint(f[0], 10, 64)
			out, _ := strconv.ParseUint(f[8], 10, 64)
			v.devices[strings.TrimSpace(name)] = in + out
		}
		return nil
	})
	if err == nil && s.Daemon != nil {
		v.carried, err = s.Daemon.carried()
	}
	return v, err
}

// parseSNMP reads the text of /proc/net/snmp into "Tcp.InSegs" and so on.
func parseSNMP(text string) map[string]uint64 {
	m := map[string]uint64{}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j := 1; j < len(names) && j < len(values); j++ {
			if v, err := strconv.ParseUint(values[j], 10, 64); err == nil {
				m[strings.TrimSuffix(names[0], ":")+"."+names[j]] = v
			}
		}
	}
	return m
}

// Path is the proof of which way the bytes of a sample went.
type Path struct {
	Valid  bool     `json:"valid"`
	Why    []string `json:"why,omitempty"` // it is not
	Server Moved    `json:"server"`
	Client Moved    `json:"client"`
}

// Moved is what the counters of one side did.
type Moved struct {
	KernelTCP uint64            `json:"kernel_tcp_segments"`
	KernelUDP uint64            `json:"kernel_udp_datagrams"`
	Devices   map[string]uint64 `json:"device_bytes,omitempty"`
	Frames    uint64            `json:"netcon_frames,omitempty"`
	Bytes     uint64            `json:"netcon_bytes,omitempty"`
}

// proof is what was seen of both sides before a sample.
type proof struct{ server, client sight }

func (p *Pair) look() (v proof, err error) {
	if v.server, err = p.Server.look(); err == nil {
		v.client, err = p.Client.look()
	}
	return v, err
}

// prove compares what was seen before and after, when at least some bytes have
// been moved, by TCP or UDP.
func (p *Pair) prove(before, after proof, bytes uint64, udp bool) *Path {
	path := &Path{}
	path.Server = p.Server.moved("server", before.server, after.server, bytes, udp, &path.Why)
	path.Client = p.Client.moved("client", before.client, after.client, bytes, udp, &path.Why)
	path.Valid = len(path.Why) == 0
	return path
}

func (s *Side) moved(name string, before, after sight, bytes uint64, udp bool, why *[]string) Moved {
	m := Moved{
		KernelTCP: after.tcp - before.tcp, KernelUDP: after.udp - before.udp, Devices: map[string]uint64{},
		Frames: after.carried.frames - before.carried.frames, Bytes: after.carried.bytes - before.carried.bytes,
	}
	fail := func(format string, args ...any) { *why = append(*why, name+": "+fmt.Sprintf(format, args...)) }
	switch {
	case s.Kernel && udp && m.KernelUDP == 0:
		fail("the kernel's UDP carried nothing")
	case !s.Kernel && udp && m.KernelUDP != 0 && !s.OuterUDP:
		fail("the kernel's UDP carried %d datagrams", m.KernelUDP)
	case s.Kernel && !udp && m.KernelTCP == 0:
		fail("the kernel's TCP carried nothing")
	case !s.Kernel && m.KernelTCP != 0:
		fail("the kernel's TCP carried %d segments", m.KernelTCP)
	}
	for _, d := range s.Devices {
		m.Devices[d] = after.devices[d] - before.devices[d]
		if m.Devices[d] < bytes {
			fail("device %s carried %d bytes of %d", d, m.Devices[d], bytes)
		}
	}
	if s.Daemon != nil {
		if m.Bytes < bytes {
			fail("container %s moved %d bytes of %d", s.Daemon.Container, m.Bytes, bytes)
		}
		if m.Frames == 0 {
			fail("the daemon carried no frame")
		}
	}
	return m
}
