// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"netcon/dataplane"
)

// sight is everything that is counted before and after the transfer.
type sight struct {
	web, client dataplane.ContainerStatus
	frames      uint64 // frames received by both daemons
	tcp, udp    uint64 // the kernel's TCP segments and UDP datagrams, in and out
	tcpSockets  int    // kernel TCP sockets of what the demo runs in containers
}

func (t *tour) look() (s sight, err error) {
	for host, into := range map[string]*dataplane.ContainerStatus{"a": &s.web, "b": &s.client} {
		st, err := t.client(host).Status()
		if err != nil {
			return s, err
		}
		if len(st.Containers) != 1 {
			return s, fmt.Errorf("daemon %s has %d containers, want 1", host, len(st.Containers))
		}
		*into = st.Containers[0]
		for _, w := range st.Workers {
			s.frames += w.RxFrames
		}
	}
	snmp, err := kernelCounters()
	if err != nil {
		return s, err
	}
	s.tcp = snmp["Tcp.InSegs"] + snmp["Tcp.OutSegs"]
	s.udp = snmp["Udp.InDatagrams"] + snmp["Udp.OutDatagrams"]
	s.tcpSockets, err = t.kernelTCPSockets()
	return s, err
}

// prove compares what was counted with what the transfers must have moved.
func (t *tour) prove(before, after sight) error {
	const moved = 2 * fileSize
	out := after.web.BytesOut - before.web.BytesOut
	in := after.client.BytesIn - before.client.BytesIn
	frames, tcp := after.frames-before.frames, after.tcp-before.tcp
	t.say("proof of the path:")
	t.say("  container web sent %d bytes, container client received %d (2 x %d, and headers)", out, in, fileSize)
	t.say("  the daemons received %d VXLAN frames; the kernel counted %d UDP datagrams", frames, after.udp-before.udp)
	t.say("  the kernel counted %d TCP segments (this whole host's; two such transfers would need thousands)", tcp)
	t.say("  nginx has %d kernel TCP sockets", after.tcpSockets)
	switch {
	case out < moved || in < moved:
		return errors.New("proof: the containers' counters did not carry the transfers")
	case frames == 0:
		return errors.New("proof: no frame crossed the underlay")
	case after.tcpSockets != 0:
		return errors.New("proof: nginx used the kernel's TCP")
	}
	return nil
}

// kernelCounters reads /proc/net/snmp into "Tcp.InSegs" and so on.
func kernelCounters() (map[string]uint64, error) {
	b, err := os.ReadFile("/proc/net/snmp")
	if err != nil {
		return nil, err
	}
	return parseCounters(string(b)), nil
}

// parseCounters reads the text of /proc/net/snmp.
func parseCounters(text string) map[string]uint64 {
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

// kernelTCPSockets counts the kernel TCP sockets that nginx's processes hold.
func (t *tour) kernelTCPSockets() (n int, err error) {
	tcp := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return 0, err
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			if fields := strings.Fields(s.Text()); len(fields) > 9 {
				tcp["socket:["+fields[9]+"]"] = true
			}
		}
		_ = f.Close()
	}
	// The launcher became nginx's master; its workers share its group.
	group := t.procs[len(t.procs)-1].Process.Pid
	procs, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	seen := 0
	for _, p := range procs {
		if processGroup(p) != group {
			continue
		}
		seen++
		fds, _ := filepath.Glob(filepath.Join(filepath.Dir(p), "fd", "*"))
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && tcp[to] {
				n++
			}
		}
	}
	if seen < 3 {
		return 0, fmt.Errorf("found %d processes of nginx, want a master and 2 workers", seen)
	}
	return n, nil
}

// processGroup returns field pgrp of /proc/PID/stat, 0 if it is gone.
func processGroup(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	// The name in parentheses may hold anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 3 {
		return 0
	}
	pgrp, _ := strconv.Atoi(fields[2])
	return pgrp
}
