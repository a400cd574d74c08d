// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// FuzzParse: no text makes Parse panic; every error is one printable line with
// a line number inside the file, in order; what passes agrees with itself.
func FuzzParse(f *testing.F) {
	f.Add([]byte(doc))
	f.Add([]byte(doc + "[daemon]\ncpus = [0, 1]\nspin = \"1ms\"\n" + hostTable("10.42.0.20", "02:00:00:00:00:01", "192.0.2.2")))
	f.Add([]byte("network = [{name = \"a\", subnets = [\"::/1\", [1]], vni = 1e3}]\na.b.c = 1979-05-27\n"))
	f.Add([]byte("container.limits = 1\n[[container.x]]\n[underlay]\naddress = \"::1%\\u0001\"\n"))
	if text, err := os.ReadFile("../../dist/netcon.toml"); err == nil {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse("f", text, testHost)
		if err != nil {
			checkList(t, err, 1+strings.Count(string(text), "\n"))
			return
		}
		for i := range c.Containers {
			k := &c.Containers[i]
			n := c.Network(k.Network)
			if n == nil || len(k.Addresses) == 0 || k.MAC.IsZero() || k.MAC.IsGroup() || k.Limits.HalfOpen > k.Limits.Connections {
				t.Fatalf("passed: %+v", k)
			}
			for _, a := range k.Addresses {
				if _, ok := n.Subnet(a); !ok {
					t.Fatalf("passed: %s outside %v", a, n.Subnets)
				}
			}
		}
		if a, r := c.Diff(c); len(a)+len(r) > 0 {
			t.Fatalf("differs from itself: %q %q", a, r)
		}
	})
}

func checkList(t *testing.T, err error, lines int) {
	var list ErrorList
	if !errors.As(err, &list) || len(list) == 0 {
		t.Fatalf("error %#v is not a list", err)
	}
	last := 0
	for _, e := range list {
		if e.Line < last || e.Line > lines {
			t.Fatalf("%v: line after %d, of %d", e, last, lines)
		}
		last = e.Line
		for _, c := range e.Error() {
			if c < ' ' || c > '~' {
				t.Fatalf("%q is not one printable line", e)
			}
		}
	}
}
