// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := write("good.pkt", "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n+0 listen(3, N) = 0\n"+
		"+.1 < S 0:0(0) win 1000 <mss 1000>\n+0 > S. 0:0(0) ack 1 <...>\n")
	bad := write("bad.pkt", "0 close(3) = 0\n")
	strange := write("strange.pkt", "0 frobnicate(3) = 0\n")
	for _, c := range []struct {
		args   string
		status int
		want   string // somewhere in what is printed
	}{
		{"-D N=1 " + good, 0, "OK   " + good},
		{"--define=N=1 -q " + good, 0, ""},
		{"-v --ip_version=ipv6 --define N=1 " + good, 0, "    0.100000 > S. 0:0(0) ack 1"},
		{bad, 1, "bad.pkt:1: close: expected 0, got -1 EBADF"},
		{strange, 2, "strange.pkt:1: system call frobnicate is not supported"},
		{bad + " " + strange + " --define=N=1 " + good, 2, "OK   " + good},
		{"--dry_run " + bad, 0, "OK   " + bad},
		{dir + "/none.pkt", 2, "no such file"},
		{"--nonsense", 2, "unknown option --nonsense"},
		{"-x", 2, "unknown option -x"},
		{"-D", 2, "wants NAME=VALUE"},
		{"-D N", 2, "bad --define=N"},
		{"--mtu=7 x", 2, "bad --mtu=7 (want 576 to 65535)"},
		{"", 2, "usage: packetdrill"},
		{"--help", 0, "exit status: 0 passed"},
	} {
		var out strings.Builder
		if got := run(strings.Fields(c.args), &out, &out); got != c.status || !strings.Contains(out.String(), c.want) {
			t.Errorf("packetdrill %s: status %d, want %d; printed %q, want %q", c.args, got, c.status, out.String(), c.want)
		}
	}
}
