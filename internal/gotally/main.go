// SPDX-License-Identifier: Apache-2.0

// Gotally turns test output into progress a person can follow, and counts.
//
//	go test -json ./... | gotally -o FILE     one line per package, output of what failed
//	make check | gotally -c -o FILE           lines "FAIL NAME", "GROUP: 9 passed, 1 failed"
//	gotally -total FILE...                    "ran N skipped M", the last line
//
// # Theory of operation
//
// The first two forms write their counts to FILE, the third adds such files up.
// A test is counted when it ends; subtests count as tests, a package without
// tests counts as nothing. What a test printed is kept until it ends and is
// shown only if it failed or was skipped. Every form exits with 1 if something
// failed, or if nothing was seen at all; -total also if something was skipped
// while running as root: root has every capability that tests ask for.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("o", "", "write the counts to this `file`")
	c := flag.Bool("c", false, "read lines of the C tests instead of go test -json")
	total := flag.Bool("total", false, "add up the files named as arguments")
	flag.Parse()
	if err := run(*out, *c, *total, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "gotally:", err)
		os.Exit(1)
	}
}

func run(out string, c, total bool, files []string) error {
	if total {
		return sum(os.Stdout, files, os.Geteuid() == 0)
	}
	read := readGo
	if c {
		read = readLines
	}
	t, err := read(os.Stdin, os.Stdout)
	if err != nil {
		return err
	}
	if out != "" {
		if err := t.write(out); err != nil {
			return err
		}
	}
	return t.verdict()
}
