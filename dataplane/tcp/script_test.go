// SPDX-License-Identifier: Apache-2.0

package tcp_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netcon/internal/packetdrill"
	"netcon/internal/packetdrill/native"
)

// knownFailures are scripts that cannot pass yet, by their name below
// testdata/scripts, with the reason. They have to fail: one that passes is taken
// off the list.
var knownFailures = map[string]string{}

const scripts = "testdata/scripts"

func scriptNames(t *testing.T) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(scripts, func(name string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(name) == ".pkt" {
			list = append(list, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// runScript runs one script and returns what happened, and why it failed.
func runScript(name string, options ...string) (trace string, err error) {
	c := packetdrill.DefaultConfig()
	c.Strict = true
	var happened strings.Builder
	c.Trace = func(at time.Duration, line string) {
		happened.WriteString("\n" + at.String() + " " + line)
	}
	for _, o := range options {
		k, v, _ := strings.Cut(o, "=")
		if err := c.Set(k, v); err != nil {
			return "", err
		}
	}
	err = packetdrill.RunFile(name, c, native.New())
	return happened.String(), err
}

// Every script says what an RFC, or Linux, asks of one situation. On IPv4 and,
// unless it chooses itself, once more on IPv6.
func TestScripts(t *testing.T) {
	list := scriptNames(t)
	if len(list) < 150 {
		t.Errorf("%d scripts, want at least 150", len(list))
	}
	known := 0
	for _, name := range list {
		short := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(name), scripts+"/"), ".pkt")
		reason, fails := knownFailures[short]
		if fails {
			known++
		}
		t.Run(short, func(t *testing.T) {
			t.Parallel()
			check := func(options ...string) {
				trace, err := runScript(name, options...)
				switch {
				case fails && err == nil:
					t.Errorf("passes: take it off knownFailures (%s)", reason)
				case !fails && err != nil:
					t.Errorf("%v (options %q)%s", err, options, trace)
				}
			}
			check()
			if forBothFamilies(t, name) {
				// The headers are 20 bytes longer.
				check("ip_version=ipv6", "mtu=1520")
			}
		})
	}
	if known != len(knownFailures) {
		t.Errorf("knownFailures names %d scripts that do not exist", len(knownFailures)-known)
	}
}

// forBothFamilies reports whether a script means the same on IPv6: it names no
// family, no MTU, no ICMP message and no option of IPv4.
func forBothFamilies(t *testing.T, name string) bool {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"--ip_version", "--mtu", " icmp ", "SOL_IP", "inet_addr", "tcpi_pmtu"} {
		if bytes.Contains(text, []byte(word)) {
			return false
		}
	}
	return true
}

// A script begins with its licence and says which rule it is about.
func TestScriptHeaders(t *testing.T) {
	for _, name := range scriptNames(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitN(string(text), "\n", 4)
		if len(lines) < 4 || lines[0] != "// SPDX-License-Identifier: Apache-2.0" || lines[1] != "//" || !strings.HasPrefix(lines[2], "// ") {
			t.Errorf("%s does not begin with the licence line and a rule", name)
		}
	}
}
