// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// event is a line of go test -json; see go doc test2json and, for builds, go
// help buildjson.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of a build
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

// unfinished holds the output of tests that have not ended, by package and test.
type unfinished map[[2]string][]string

// counts are the tests of one package that have ended.
type counts struct{ tests, failed int }

// readGo counts the events of go test -json.
func readGo(r io.Reader, w io.Writer) (*tally, error) {
	t, open := &tally{}, unfinished{}
	ended := map[string]counts{} // by package
	err := eachLine(r, func(line string) {
		var e event
		if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
			fmt.Fprintln(w, line) // the go command itself speaks
			return
		}
		if e.Action == "build-output" {
			fmt.Fprint(w, e.Output)
			return
		}
		key := [2]string{e.Package, e.Test}
		switch e.Action {
		case "output":
			open[key] = append(open[key], e.Output)
		case "pass", "fail", "skip":
			if e.Test == "" {
				t.endPackage(w, &e, open, ended[e.Package])
				return
			}
			n := ended[e.Package]
			n.tests++
			if e.Action == "fail" {
				n.failed++
			}
			ended[e.Package] = n
			t.endTest(w, &e, open[key])
			delete(open, key)
		}
	})
	return t, err
}

// endTest counts one test and shows what there is to see.
func (t *tally) endTest(w io.Writer, e *event, output []string) {
	name := e.Package + " " + e.Test
	switch e.Action {
	case "skip":
		t.Skipped = append(t.Skipped, name+reason(output))
		return
	case "fail":
		t.Failed = append(t.Failed, name)
		fmt.Fprint(w, strings.Join(output, ""))
	}
	t.Ran++
}

// endPackage prints the line of a package. A package that fails although all of
// its tests ended well did not build, or died outside of them: its last words
// belong to tests that never ended.
func (t *tally) endPackage(w io.Writer, e *event, open unfinished, n counts) {
	if e.Action == "fail" {
		if n.failed == 0 {
			t.Failed = append(t.Failed, e.Package)
		}
		for key, output := range open {
			if key[0] == e.Package && key[1] != "" {
				fmt.Fprint(w, strings.Join(output, ""))
			}
		}
		fmt.Fprint(w, strings.Join(open[[2]string{e.Package, ""}], ""))
	}
	for key := range open {
		if key[0] == e.Package {
			delete(open, key)
		}
	}
	word := map[string]string{"pass": "ok", "fail": "FAIL", "skip": "--"}[e.Action]
	if e.FailedBuild != "" {
		word = "FAIL (build)"
	}
	fmt.Fprintf(w, "%-4s %s  %d tests  %.1fs\n", word, e.Package, n.tests, e.Elapsed)
}

// reason finds in a test's output why it was skipped.
func reason(output []string) string {
	for i := len(output) - 1; i >= 0; i-- {
		line := strings.TrimSpace(output[i])
		if line != "" && !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
			return ": " + line
		}
	}
	return ""
}

// groupLine is what preload/test/run.sh says of one group of tests, after a FAIL
// or SKIP line for each that did not pass.
var groupLine = regexp.MustCompile(`^[\w-]+: (\d+) passed, \d+ failed$`)

// readLines counts the C tests: a line starts with ok, FAIL or SKIP and the
// test's name, or tells how many of a group passed. Every line is passed on.
func readLines(r io.Reader, w io.Writer) (*tally, error) {
	t := &tally{}
	err := eachLine(r, func(line string) {
		fmt.Fprintln(w, line)
		if m := groupLine.FindStringSubmatch(line); m != nil {
			passed, _ := strconv.Atoi(m[1])
			t.Ran += passed
			return
		}
		word, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		word = strings.TrimSuffix(word, ":")
		name = strings.TrimSpace(name)
		if name == "" {
			return
		}
		switch word {
		case "ok", "PASS":
			t.Ran++
		case "FAIL":
			t.Ran++
			t.Failed = append(t.Failed, name)
		case "SKIP":
			t.Skipped = append(t.Skipped, name)
		}
	})
	return t, err
}

// eachLine calls f for every line of r, however long.
func eachLine(r io.Reader, f func(string)) error {
	b := bufio.NewReader(r)
	for {
		line, err := b.ReadString('\n')
		if line != "" {
			f(strings.TrimSuffix(line, "\n"))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
