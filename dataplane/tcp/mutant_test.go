// SPDX-License-Identifier: Apache-2.0

package tcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var mutants = flag.String("mutants", "", "seeded bugs to look for, a regular expression of their names; empty: one of them, by the simulation alone")

// mutant is a seeded bug: a text that is replaced in the one file that holds it.
type mutant struct{ name, file, old, new string }

// readMutants parses testdata/mutants.txt and checks that every bug can still
// be seeded.
func readMutants(t *testing.T) (list []mutant) {
	t.Helper()
	text, err := os.ReadFile("testdata/mutants.txt")
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string][]byte{}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range names {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		if sources[file], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range strings.Split(string(text), "\n== ")[1:] {
		name, change, ok := strings.Cut(part, "\n---\n")
		old, repl, ok2 := strings.Cut(strings.TrimSuffix(change, "\n"), "\n+++\n")
		if !ok || !ok2 || old == repl {
			t.Errorf("%q: want a name, ---, the text, +++, what replaces it", name)
			continue
		}
		m := mutant{name: name, old: old, new: repl}
		n := 0
		for file, source := range sources {
			if k := bytes.Count(source, []byte(old)); k > 0 {
				m.file, n = file, n+k
			}
		}
		if n != 1 {
			t.Errorf("%s: the package holds the text %d times, want once:\n%s", name, n, old)
			continue
		}
		list = append(list, m)
	}
	return list
}

// TestMutants seeds bugs one by one and wants the tests of this package to find
// each. Without -mutants it tries one, and checks that the others can be seeded.
func TestMutants(t *testing.T) {
	list := readMutants(t)
	if len(list) < 40 {
		t.Errorf("%d seeded bugs, want 40 at least", len(list))
	}
	// One, and by the simulation alone.
	want := regexp.MustCompile(`^bytes are sent from the wrong place$`)
	all := *mutants != ""
	if all {
		want = regexp.MustCompile(*mutants)
		if by, err := (mutant{file: "doc.go"}).find(t.TempDir(), true); by != "" || err != nil {
			t.Fatalf("without a seeded bug: %s %v", by, err)
		}
	} else if testing.Short() {
		return
	}
	start, tried, found := time.Now(), 0, 0
	for _, m := range list {
		if !want.MatchString(m.name) {
			continue
		}
		tried++
		by, err := m.find(t.TempDir(), all)
		switch {
		case err != nil:
			t.Errorf("%s: %v", m.name, err)
		case by == "":
			t.Errorf("%s: no test found it", m.name)
		default:
			found++
			t.Logf("%d found of %d, %v: %s: %s", found, tried, time.Since(start).Round(time.Second), m.name, by)
		}
	}
	if tried == 0 {
		t.Errorf("no seeded bug matches %q", *mutants)
	}
}

// find builds the package with the bug and runs its tests until one fails. It
// returns the name of that test, or nothing. With all it runs all of them, else
// the simulation.
func (m mutant) find(dir string, all bool) (by string, err error) {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	here, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	changed := filepath.Join(dir, filepath.Base(m.file))
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {here: changed}})
	if err != nil {
		return "", err
	}
	list, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "tcp.test")
	for file, text := range map[string][]byte{
		changed: bytes.Replace(source, []byte(m.old), []byte(m.new), 1), // nothing if both are empty
		list:    overlay,
	} {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return "", err
		}
	}
	if out, err := exec.Command("go", "test", "-overlay", list, "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("does not build: %w\n%s", err, out)
	}
	stages := [][]string{
		{"-test.run", "^(Test|Fuzz)", "-test.skip", "^TestMutants$|^TestSimulation", "-test.short", "-test.failfast"},
		{"-test.run", "^TestSimulation$", "-sim.runs", "1000", "-sim.stop"},
	}
	if !all {
		stages = stages[1:]
	}
	for _, args := range stages {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		cmd := exec.CommandContext(ctx, binary, args...)
		out, err := cmd.CombinedOutput()
		late := ctx.Err() != nil
		cancel()
		if late {
			return "a timeout", nil
		}
		if err != nil {
			return failedTest(out), nil
		}
	}
	return "", nil
}

var failLine = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)|^panic: (.*)$`)

// failedTest returns the innermost test that failed in a test's output.
func failedTest(out []byte) string {
	all := failLine.FindAllSubmatch(out, -1)
	if len(all) == 0 {
		return "it crashes"
	}
	last := all[len(all)-1]
	return string(last[1]) + string(last[2])
}
