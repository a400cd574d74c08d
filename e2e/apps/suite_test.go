// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// suite is a program's own tests as a scenario: they run on host a, twice, and
// fail where a test passed on the kernel and not under netcon. What passes on
// neither says nothing about either.
type suite struct {
	name, does, remark string
	packages           []string
	bytes              uint64
	short              bool
	// known are tests that differ, and where docs/limits.md says why.
	known map[string]string
	// run runs the tests in only, or all if it is nil, and returns what became
	// of each.
	run func(t *testing.T, h *host, only []string) outcomes
}

// outcomes maps tests to passed, skipped, or what went wrong.
type outcomes map[string]string

const passed, skipped = "passed", "skipped"

func (o outcomes) count(what string) (n int) {
	for _, s := range o {
		if s == what {
			n++
		}
	}
	return n
}

// addSuite registers a suite.
func addSuite(s suite) {
	var kernel, netcon outcomes
	var again, differ []string
	add(scenario{
		name: s.name, packages: s.packages, does: s.does, remark: s.remark, bytes: s.bytes, short: s.short,
		run: func(t *testing.T, e *env) {
			got := s.run(t, e.a, nil)
			if len(got)-got.count(skipped) <= 0 {
				t.Fatalf("no test of the suite ran: %d skipped", got.count(skipped))
			}
			if !e.netcon {
				kernel = got
				return
			}
			netcon, again, differ = got, nil, nil
			for _, name := range slices.Sorted(maps.Keys(kernel)) {
				if kernel[name] != passed || netcon[name] == passed {
					continue
				}
				// Once more, alone: suites have tests that depend on
				// time.
				what := netcon[name]
				if s.run(t, e.a, []string{name})[name] == passed {
					again = append(again, name)
					netcon[name] = passed
					continue
				}
				if why := s.known[name]; why != "" {
					differ = append(differ, name+" ("+why+")")
					continue
				}
				if what == "" {
					what = "did not run"
				}
				differ = append(differ, name)
				t.Errorf("%s: passed on the kernel, and under netcon: %s", name, what)
			}
		},
		found: func() string {
			text := fmt.Sprintf("%d tests, %d skipped; passed on the kernel %d, under netcon %d.",
				len(kernel), kernel.count(skipped), kernel.count(passed), netcon.count(passed))
			if len(differ) > 0 {
				text += " Differ: " + strings.Join(differ, ", ") + "."
			}
			if len(again) > 0 {
				text += " Passed only when run again, alone: " + strings.Join(again, ", ") + "."
			}
			return text
		},
	})
}
