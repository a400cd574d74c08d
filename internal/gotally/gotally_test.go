// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const goEvents = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestS","Output":"    a_test.go:3: no CAP_NET_ADMIN\n"}
{"Action":"output","Package":"p","Test":"TestS","Output":"--- SKIP: TestS (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestS","Elapsed":0}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"pass","Package":"p","Elapsed":0.25}
{"Action":"skip","Package":"empty","Elapsed":0}
`

const goFailures = `{"Action":"output","Package":"q","Test":"TestB","Output":"    b_test.go:7: loud\n"}
{"Action":"fail","Package":"q","Test":"TestB","Elapsed":0}
{"Action":"fail","Package":"u","Test":"TestU","Elapsed":0}
{"Action":"fail","Package":"q","Elapsed":1}
{"Action":"fail","Package":"u","Elapsed":1}
{"ImportPath":"r","Action":"build-output","Output":"r.go:1: no such thing\n"}
{"ImportPath":"r","Action":"build-fail"}
{"Action":"fail","Package":"r","Elapsed":0,"FailedBuild":"r"}
{"Action":"output","Package":"s","Test":"TestHang","Output":"panic: test timed out\n"}
{"Action":"fail","Package":"s","Elapsed":600}
go: something else
`

func TestReadGo(t *testing.T) {
	var out strings.Builder
	got, err := readGo(strings.NewReader(goEvents), &out)
	if err != nil {
		t.Fatal(err)
	}
	if got.Ran != 1 || len(got.Failed) != 0 || !slices.Equal(got.Skipped, []string{"p TestS: a_test.go:3: no CAP_NET_ADMIN"}) {
		t.Errorf("%+v", got)
	}
	if want := "ok   p  2 tests  0.2s\n--   empty  0 tests  0.0s\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
	if err := got.verdict(); err != nil {
		t.Error(err)
	}
}

func TestReadGoFailures(t *testing.T) {
	var out strings.Builder
	got, err := readGo(strings.NewReader(goFailures), &out)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"q TestB", "u TestU", "r", "s"}; !slices.Equal(got.Failed, want) || got.Ran != 2 {
		t.Errorf("%+v, want %q", got, want)
	}
	for _, want := range []string{"loud", "no such thing", "FAIL (build) r", "timed out", "go: something else"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %q", want, out.String())
		}
	}
	if got.verdict() == nil {
		t.Error("no error for failed tests")
	}
}

func TestReadLines(t *testing.T) {
	var out strings.Builder
	got, err := readLines(strings.NewReader("cc -o x\nok connect\nPASS  bind\nFAIL accept\nSKIP: fork: no /proc\nok\nplain: 20 passed, 1 failed\n"), &out)
	if err != nil {
		t.Fatal(err)
	}
	if got.Ran != 23 || !slices.Equal(got.Failed, []string{"accept"}) || !slices.Equal(got.Skipped, []string{"fork: no /proc"}) {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(out.String(), "cc -o x\n") {
		t.Error("lines are not passed on")
	}
}

func TestNothingIsAFailure(t *testing.T) {
	got, err := readGo(strings.NewReader(""), &strings.Builder{})
	if err != nil || got.verdict() == nil {
		t.Errorf("%v, %v: no error for no tests", got, err)
	}
}

func TestSum(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, ta tally) string {
		path := filepath.Join(dir, name)
		if err := ta.write(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", tally{Ran: 5})
	skip := file("skip", tally{Ran: 2, Skipped: []string{"x: why"}})
	bad := file("bad", tally{Ran: 1, Failed: []string{"y"}})
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		files []string
		root  bool
		last  string
		ok    bool
	}{
		{[]string{good}, true, "ran 5 skipped 0", true},
		{[]string{good, skip}, false, "ran 7 skipped 1", true},
		{[]string{good, skip}, true, "ran 7 skipped 1", false},
		{[]string{good, bad}, false, "ran 6 skipped 0", false},
		{nil, false, "ran 0 skipped 0", false},
		{[]string{filepath.Join(dir, "none")}, false, "", false},
		{[]string{broken}, false, "", false},
	} {
		var out strings.Builder
		err := sum(&out, tt.files, tt.root)
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if last := lines[len(lines)-1]; last != tt.last || (err == nil) != tt.ok {
			t.Errorf("%q as root %t: %q, %v", tt.files, tt.root, last, err)
		}
	}
}
