// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// row is what became of a scenario.
type row struct {
	scenario
	version                string
	kernel, netcon         bool
	kernelTime, netconTime time.Duration
}

// writeTable writes docs/apps.md.
func writeTable(path string, rows []row) error {
	var b strings.Builder
	b.WriteString(`# Programs

What was run, unmodified, on the kernel's sockets and under ` + "`netcon exec`" + `. Every run under netcon happened in network
namespaces that have nothing but a loopback device that is down, and counts only with its proof: the containers carried
the scenario's bytes, and the kernel's TCP and UDP counters of those namespaces did not move. ` + "`make apps`" + ` makes this page.

| scenario | program | what happens | kernel | netcon | remark |
|---|---|---|---|---|---|
`)
	passed := 0
	for _, r := range rows {
		if r.netcon {
			passed++
		}
		cell := func(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.name, cell(r.version), cell(r.does),
			result(r.kernel, r.kernelTime), result(r.netcon, r.netconTime), cell(r.remark))
	}
	fmt.Fprintf(&b, "\n%d of %d scenarios passed under netcon. Times include setting up.\n", passed, len(rows))
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func result(ok bool, d time.Duration) string {
	if !ok {
		return "**failed**"
	}
	return fmt.Sprintf("ok, %.1f s", d.Seconds())
}
