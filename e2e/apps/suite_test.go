// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
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

// reruns is how often a test that failed under netcon may try again.
const reruns = 2

func (o outcomes) count(what string) (n int) {
	for _, s := range o {
		if s == what {
			n++
		}
	}
	return n
}

// inLanes does jobs, so many at a time; lane numbers those that go on at once.
// Tests of programs spend most of their time waiting.
func inLanes(lanes int, jobs []string, do func(lane int, job string)) {
	next := make(chan string)
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			for job := range next {
				do(lane, job)
			}
		})
	}
	for _, job := range jobs {
		next <- job
	}
	close(next)
	wg.Wait()
}

// addSuite registers a suite.
func addSuite(s suite) {
	var kernel, netcon outcomes
	var neither, again, differ []string
	add(scenario{
		name: s.name, packages: s.packages, does: s.does, remark: s.remark, bytes: s.bytes, short: s.short,
		run: func(t *testing.T, e *env) {
			got := s.run(t, e.a, nil)
			if len(got)-got.count(skipped) <= 0 {
				t.Fatalf("no test of the suite ran: %d skipped", got.count(skipped))
			}
			if !e.netcon {
				kernel, neither = got, nil
				for _, name := range slices.Sorted(maps.Keys(got)) {
					if got[name] != passed && got[name] != skipped {
						neither = append(neither, name)
						t.Logf("%s: failed on the kernel: %s", name, got[name])
					}
				}
				return
			}
			netcon, again, differ = got, nil, nil
			var worse []string
			for _, name := range slices.Sorted(maps.Keys(kernel)) {
				switch why := s.known[name]; {
				case kernel[name] != passed || netcon[name] == passed:
				case why != "":
					differ = append(differ, name+" ("+why+")")
				default:
					worse = append(worse, name)
				}
			}
			// Again, by themselves: suites have tests that depend on time.
			for range reruns {
				if len(worse) == 0 {
					break
				}
				second := s.run(t, e.a, worse)
				worse = slices.DeleteFunc(worse, func(name string) bool {
					if second[name] != passed {
						return false
					}
					again = append(again, name)
					netcon[name] = passed
					return true
				})
			}
			slices.Sort(again)
			for _, name := range worse {
				what := netcon[name]
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
			if len(neither) > 0 {
				text += " Fail on the kernel: " + strings.Join(neither, ", ") + "."
			}
			if len(differ) > 0 {
				text += " Differ: " + strings.Join(differ, ", ") + "."
			}
			if len(again) > 0 {
				text += " Passed only when run again: " + strings.Join(again, ", ") + "."
			}
			return text
		},
	})
}
