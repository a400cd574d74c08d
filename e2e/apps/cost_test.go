// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// BenchmarkSupervisor measures what a supervisor costs: control calls of one C
// program on the kernel, with the preload library, and static; and echo servers, in
// Go without cgo and in C, to one C client on the other host. All take turns, ROUNDS
// times; what is printed are medians, and ratios to the kernel's of the same round.
//
//	go test ./e2e/apps -run '^$' -bench Supervisor -benchtime 1x
func BenchmarkSupervisor(b *testing.B) {
	const rounds = 7
	dir := testenv.OpenDir(b)
	dynamic, static := filepath.Join(dir, "dynamic"), filepath.Join(dir, "static")
	testenv.Run(b, nil, "gcc", "-O2", "-pthread", "-o", dynamic, "testdata/cost.c")
	testenv.Run(b, nil, "gcc", "-O2", "-pthread", "-static", "-o", static, "testdata/cost.c")
	golang := goProgram(b)
	kernel, netcon := newKernelEnv(b), newNetconEnv(b)

	calls := func(e *env, exe string) func() string {
		return func() string { return e.a.do(b, time.Minute, exe, "calls", a4, "300") }
	}
	port := 7000
	echo := func(e *env, argv ...string) func() string {
		port++
		e.a.start(b, append(argv, a4, fmt.Sprint(port))...)
		e.a.listens(b, port)
		argv = []string{dynamic, "client", a4, fmt.Sprint(port), "2000", "64"}
		return func() string { return e.b.do(b, time.Minute, argv...) }
	}
	for _, group := range [][]subject{
		{{"kernel", calls(kernel, dynamic)}, {"preload", calls(netcon, dynamic)}, {"supervisor", calls(netcon, static)}},
		{
			{"Go, kernel", echo(kernel, golang, "echo")},
			{"Go, supervisor", echo(netcon, golang, "echo")},
			{"C, preload", echo(netcon, dynamic, "serve")},
			{"C, kernel", echo(kernel, dynamic, "serve")},
		},
	} {
		for line := range strings.Lines(measure(group, rounds)) {
			b.Log(strings.TrimSuffix(line, "\n"))
		}
	}
}

// subject is one of those that are compared.
type subject struct {
	name string
	run  func() string // prints "WHAT NANOSECONDS" in lines
}

// measure lets subjects take turns and returns a table of what they printed.
func measure(group []subject, rounds int) string {
	var order []string
	all := map[string][][]float64{} // by what; of each subject
	for range rounds {
		for i, s := range group {
			for line := range strings.Lines(s.run()) {
				var what string
				var ns float64
				if _, err := fmt.Sscan(line, &what, &ns); err != nil {
					continue
				}
				if all[what] == nil {
					order = append(order, what)
					all[what] = make([][]float64, len(group))
				}
				all[what][i] = append(all[what][i], ns)
			}
		}
	}
	var text strings.Builder
	for _, what := range order {
		fmt.Fprintf(&text, "%s:", what)
		for i, s := range group {
			var ratios []float64
			for n, v := range all[what][i] {
				ratios = append(ratios, v/all[what][0][n])
			}
			fmt.Fprintf(&text, "  %s %.1f us (%.2f)", s.name, median(all[what][i])/1000, median(ratios))
		}
		text.WriteString("\n")
	}
	return text.String()
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
