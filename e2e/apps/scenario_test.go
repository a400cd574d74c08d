// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// scenario is one row of docs/apps.md.
type scenario struct {
	name     string   // "nginx-reload"
	packages []string // Debian packages
	version  []string // a command that tells the program's version; nil: that of packages[0]
	does     string   // what happens, for the table
	remark   string   // what a reader should know
	// bytes is what the containers' applications send and receive at least,
	// both containers together.
	bytes uint64
	// short marks scenarios that are part of the tests: at most a few seconds,
	// with packages that make testdeps installs.
	short bool
	run   func(t *testing.T, e *env)
	// found adds to the remark what the two runs found; may be nil.
	found func() string
}

var scenarios []scenario

// add registers a scenario; a file's init calls it.
func add(s scenario) { scenarios = append(scenarios, s) }

// tablePath is where the long form writes what it saw.
const tablePath = "../../docs/apps.md"

// TestApps runs the scenarios.
//
//	NETCON_APPS=long   all of them, installs what is missing, updates docs/apps.md
//	NETCON_ONLY=REGEXP those whose names match
func TestApps(t *testing.T) {
	long := os.Getenv("NETCON_APPS") == "long"
	only := regexp.MustCompile(os.Getenv("NETCON_ONLY"))
	slices.SortFunc(scenarios, func(a, b scenario) int { return strings.Compare(a.name, b.name) })
	var chosen []scenario
	for _, s := range scenarios {
		if (long || s.short) && only.MatchString(s.name) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		t.Fatalf("no scenario matches %q", only)
	}
	began := time.Now()
	for i, s := range chosen {
		if long {
			install(t, s.packages)
		}
		r := row{scenario: s, version: version(s)}
		start := time.Now()
		r.kernel = t.Run(s.name+"/kernel", func(t *testing.T) { s.run(t, newKernelEnv(t)) })
		r.kernelTime = time.Since(start)
		start = time.Now()
		r.netcon = t.Run(s.name+"/netcon", func(t *testing.T) {
			e := newNetconEnv(t)
			s.run(t, e)
			if !t.Failed() {
				e.prove(t, s.bytes)
			}
		})
		r.netconTime = time.Since(start)
		if s.found != nil {
			r.remark = strings.TrimSpace(s.remark + " " + s.found())
		}
		if !long {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s %3d/%d %-24s kernel %-12s netcon %s\n", clock(time.Since(began)), i+1, len(chosen), s.name,
			result(r.kernel, r.kernelTime), result(r.netcon, r.netconTime))
		// Each row is kept as it comes: a run that is ended loses nothing.
		rows, err := readTable(tablePath)
		if err == nil {
			rows.put(r)
			err = rows.write(tablePath)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// clock shows minutes and seconds.
func clock(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// install installs Debian packages that are missing.
func install(t *testing.T, packages []string) {
	t.Helper()
	if len(packages) == 0 {
		return
	}
	if out, err := exec.Command("../../tools/deps.sh", packages...).CombinedOutput(); err != nil {
		t.Fatalf("install %q: %v\n%s", packages, err, out)
	}
}

// version returns what the table shows for a program.
func version(s scenario) string {
	if s.version != nil {
		out, _ := exec.Command(s.version[0], s.version[1:]...).CombinedOutput()
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return line
	}
	if len(s.packages) == 0 {
		return "-"
	}
	out, _ := exec.Command("dpkg-query", "-W", "-f", "${Version}", s.packages[0]).Output()
	return string(out)
}
