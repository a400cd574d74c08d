// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// Build compiles a command of this module, such as
// "netcon/internal/testenv/faultwire", and returns the program's path. It is
// readable by anyone and gone when the test ends.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	bin := filepath.Join(OpenDir(t), filepath.Base(pkg))
	if out, err := exec.Command("go", "build", "-o", bin, pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return bin
}
