// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// row is what became of a scenario.
type row struct {
	scenario
	version                string
	kernel, netcon         bool
	kernelTime, netconTime time.Duration
}

// The columns of the table.
const (
	colScenario = iota
	colProgram
	colVersion
	colDoes
	colKernel
	colNetcon
	colRemark
	columns
)

var heading = [columns]string{"scenario", "program", "version", "what happens", "kernel", "netcon", "remark"}

// table is docs/apps.md: one line per scenario, by its name.
type table map[string][columns]string

// readTable reads the table at path; one that is not there is empty. Lines that
// are no row of today's table are left out.
func readTable(path string) (table, error) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	t := table{}
	for line := range strings.Lines(string(b)) {
		cells := splitRow(strings.TrimSpace(line))
		if len(cells) == columns && cells[colScenario] != heading[colScenario] && !strings.HasPrefix(cells[colScenario], "---") {
			t[cells[colScenario]] = [columns]string(cells)
		}
	}
	return t, nil
}

// splitRow returns the cells of a row, nil for any other line.
func splitRow(line string) (cells []string) {
	if !strings.HasPrefix(line, "|") || !strings.HasSuffix(line, "|") {
		return nil
	}
	const bar = "\x00" // no cell has it
	line = strings.ReplaceAll(line[1:len(line)-1], `\|`, bar)
	for c := range strings.SplitSeq(line, "|") {
		cells = append(cells, strings.ReplaceAll(strings.TrimSpace(c), bar, "|"))
	}
	return cells
}

// put replaces the line of a scenario.
func (t table) put(r row) {
	program := "-"
	if len(r.packages) > 0 {
		program = r.packages[0]
	}
	t[r.name] = [columns]string{r.name, program, r.version, r.does, result(r.kernel, r.kernelTime), result(r.netcon, r.netconTime), r.remark}
}

const failed = "**failed**"

func result(ok bool, d time.Duration) string {
	if !ok {
		return failed
	}
	return fmt.Sprintf("ok, %.1f s", d.Seconds())
}

// write writes the table, without the lines of scenarios that are no more.
func (t table) write(path string) error {
	names := map[string]bool{}
	for _, s := range scenarios {
		names[s.name] = true
	}
	var b strings.Builder
	b.WriteString(`# Programs

What was run, unmodified, on the kernel's sockets and under ` + "`netcon exec`" + `. Every run under netcon happened in network
namespaces that have nothing but a loopback device that is down, and counts only with its proof: the containers carried
the scenario's bytes, and the kernel's TCP and UDP counters of those namespaces did not move. ` + "`make apps`" + ` makes this page,
` + "`make apps ONLY=REGEXP`" + ` the lines whose scenarios match.

`)
	line := func(cells [columns]string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	line(heading)
	b.WriteString(strings.Repeat("|---", columns) + "|\n")
	var order []string
	for name := range t {
		if names[name] {
			order = append(order, name)
		}
	}
	slices.Sort(order)
	kernel, netcon, worse := 0, 0, 0
	for _, name := range order {
		line(t[name])
		k, n := t[name][colKernel] != failed, t[name][colNetcon] != failed
		kernel, netcon, worse = kernel+btoi(k), netcon+btoi(n), worse+btoi(k && !n)
	}
	fmt.Fprintf(&b, "\nOf %d scenarios %d passed on the kernel and %d under netcon; %d passed on the kernel only. Times include setting up.\n",
		len(order), kernel, netcon, worse)
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(b.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestTable: a run of some scenarios keeps the lines of the others, and drops
// those of scenarios that are no more.
func TestTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apps.md")
	a, b := scenarios[0], scenarios[1]
	a.does, a.remark = "one | two", "a remark"
	first := table{"gone": {"gone", "-", "-", "-", "ok", "ok", ""}}
	first.put(row{scenario: a, version: "1", kernel: true, netcon: true, kernelTime: time.Second})
	first.put(row{scenario: b, version: "2", kernel: true})
	if err := first.write(path); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	if want := "Of 2 scenarios 2 passed on the kernel and 1 under netcon; 1 passed on the kernel only."; !strings.Contains(string(text), want) {
		t.Errorf("no %q in:\n%s", want, text)
	}
	second, err := readTable(path)
	if err != nil || len(second) != 2 || second[a.name] != first[a.name] {
		t.Fatalf("read %v %q, want %q", err, second, first)
	}
	second.put(row{scenario: b, version: "3", kernel: true, netcon: true})
	if err := second.write(path); err != nil {
		t.Fatal(err)
	}
	third, err := readTable(path)
	if err != nil || third[a.name] != first[a.name] || third[b.name][colVersion] != "3" || third[b.name][colNetcon] != "ok, 0.0 s" {
		t.Errorf("after one line more: %v %q", err, third)
	}
}
