// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Counters are the kernel's protocol counters of a namespace, named as nstat(8)
// names them: TcpInSegs, TcpActiveOpens, UdpInDatagrams, Udp6InDatagrams,
// IpInReceives, Ip6InReceives, TcpExtTCPTimeouts. TCP counts both families.
type Counters map[string]int64

// SNMP reads the counters of a namespace.
func SNMP(t testing.TB, ns *NetNS) Counters {
	t.Helper()
	c := Counters{}
	var err error
	ns.Do(t, func() {
		for file, parse := range map[string]func(string) error{
			"snmp":    c.parsePairs,
			"netstat": c.parsePairs,
			"snmp6":   c.parseLines,
		} {
			// Not /proc/self/net: that is the main thread's namespace.
			var b []byte
			path := "/proc/thread-self/net/" + file
			if b, err = os.ReadFile(path); err != nil {
				return
			}
			if err = parse(string(b)); err != nil {
				err = fmt.Errorf("parse %s: %w", path, err)
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// parsePairs reads lines in pairs, names and values behind the same prefix.
func (c Counters) parsePairs(s string) error {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		if len(names) != len(values) || len(names) == 0 || names[0] != values[0] {
			return fmt.Errorf("line %d does not match the line before it", i+2)
		}
		prefix := strings.TrimSuffix(names[0], ":")
		for k := 1; k < len(names); k++ {
			v, err := strconv.ParseInt(values[k], 10, 64)
			if err != nil {
				return fmt.Errorf("%s%s: %w", prefix, names[k], err)
			}
			c[prefix+names[k]] = v
		}
	}
	return nil
}

// parseLines reads one name and value a line.
func (c Counters) parseLines(s string) error {
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		if len(f) != 2 {
			return fmt.Errorf("line %q", line)
		}
		v, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", f[0], err)
		}
		c[f[0]] = v
	}
	return nil
}

// Since returns how much each counter grew since before; those that did not
// change are left out.
func (c Counters) Since(before Counters) Counters {
	d := Counters{}
	for name, v := range c {
		if v != before[name] {
			d[name] = v - before[name]
		}
	}
	return d
}
