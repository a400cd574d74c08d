// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	addSuite(suite{
		name: "suite-go-net", bytes: 1 << 20,
		does: "the tests of Go's package net (-short), built with CGO_ENABLED=0, in one container",
		run:  goSuite("net", "0"),
		known: map[string]string{
			"TestNotTemporaryRead": "an error in calls that no library sees",
			"TestWriteToUDP":       "a write without a destination",
			"TestMultiPathTCP":     "Multipath TCP",
		},
	})
	addSuite(suite{
		name: "suite-go-net-cgo", bytes: 1 << 20,
		does: "the tests of Go's package net (-short), built with cgo, in one container: a dynamic program whose sockets are Go's",
		run:  goSuite("net", "1"),
		known: map[string]string{
			"TestNotTemporaryRead": "an error in calls that no library sees",
			"TestWriteToUDP":       "a write without a destination",
			"TestMultiPathTCP":     "Multipath TCP",
		},
	})
	addSuite(suite{
		name: "suite-go-nethttp", bytes: 1 << 20,
		does: "the tests of Go's package net/http (-short), built with CGO_ENABLED=0, in one container",
		run:  goSuite("net/http", "0"),
	})
}

var goTestLine = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\S+)`)

// goSuite runs the tests of a package of the standard library, built with cgo (1)
// or without (0).
func goSuite(pkg, cgo string) func(t *testing.T, h *host, only []string) outcomes {
	return func(t *testing.T, h *host, only []string) outcomes {
		t.Helper()
		root, err := testenv.Try(nil, time.Minute, "go", "env", "GOROOT")
		if err != nil {
			t.Fatal(err)
		}
		exe := filepath.Join(testenv.OpenDir(t), "suite")
		build := exec.Command("go", "test", "-c", "-o", exe, pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build the tests of %s: %v\n%s", pkg, err, out)
		}
		argv := []string{"env", "-C", filepath.Join(strings.TrimSpace(root), "src", pkg), exe, "-test.short", "-test.v", "-test.timeout", "9m"}
		if only != nil {
			argv = append(argv, "-test.run", "^("+strings.Join(only, "|")+")$")
		}
		out, err := h.try(10*time.Minute, argv...)
		got := outcomes{}
		text := out
		if err != nil {
			text += err.Error() // it holds what was printed
		}
		for _, m := range goTestLine.FindAllStringSubmatch(text, -1) {
			got[m[2]] = map[string]string{"PASS": passed, "SKIP": skipped, "FAIL": m[0]}[m[1]]
		}
		return got
	}
}
