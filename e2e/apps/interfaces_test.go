// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func init() {
	add(scenario{
		name: "interfaces", packages: []string{"iproute2", "busybox-static", "nodejs", "default-jdk-headless", "hostname"}, version: []string{"ip", "-V"},
		does: "ip, busybox-static's ip, hostname -I, node, Java, python's if_nameindex and a Go program name lo and eth0 with their addresses, and none has a device that is not there",
		run:  interfaces,
	})
}

// interfaces asks programs of all kinds for the interfaces of both hosts.
func interfaces(t *testing.T, e *env) {
	java, err := filepath.Abs("testdata/Interfaces.java")
	if err != nil {
		t.Fatal(err)
	}
	golang := goProgram(t)
	for _, h := range []*host{e.a, e.b} {
		for _, c := range []struct {
			argv []string
			lo   bool // names the loopback's addresses, too
		}{
			{[]string{"ip", "addr"}, true},
			{[]string{"ip", "-br", "addr", "show", "dev", "eth0"}, false},
			{[]string{"busybox", "ip", "addr"}, true},
			{[]string{"hostname", "-I"}, false},
			{[]string{"node", "-e", `console.log(JSON.stringify(require("os").networkInterfaces()))`}, true},
			{[]string{"java", "-Xmx256m", "-XX:+UseSerialGC", java}, true},
			{[]string{golang, "interfaces"}, true},
		} {
			got := h.do(t, time.Minute, c.argv...)
			// Java writes IPv6 addresses in full.
			got = regexp.MustCompile(`(:0)+:`).ReplaceAllString(got, "::")
			for _, want := range []string{h.v4, h.v6} {
				if !strings.Contains(got, want) {
					t.Errorf("%q does not name %s:\n%s", c.argv[0], want, got)
				}
			}
			if c.lo && !strings.Contains(got, "127.0.0.1") {
				t.Errorf("%q does not name 127.0.0.1:\n%s", c.argv[0], got)
			}
		}
		if got := h.do(t, time.Minute, "python3", "-c", `import socket; print(sorted(n for _, n in socket.if_nameindex()), socket.if_nametoindex("eth0") > 0)`); got != "['eth0', 'lo'] True\n" {
			t.Errorf("python3 printed %q", got)
		}
		if out, err := h.try(time.Minute, "ip", "addr", "show", "dev", "eth7"); err == nil {
			t.Errorf("ip found eth7: %s", out)
		}
	}
}
