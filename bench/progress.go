// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// progress is a bar with the time left; where nobody watches, a line for each
// workload.
type progress struct {
	w        io.Writer
	terminal bool
	total    int
	done     int // turns that are over
	start    time.Time
	guess    time.Duration // of a turn, until there is experience
	workload string
}

func newProgress(w io.Writer, plans []plan, o *Options) *progress {
	p := &progress{w: w, start: time.Now(), guess: o.Time*5/4 + 300*time.Millisecond, done: -1}
	for _, x := range plans {
		p.total += len(x.systems) * o.Rounds
	}
	if f, ok := w.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

// barWidth is how long the bar is.
const barWidth = 24

// step begins the next turn.
func (p *progress) step(workload, system string) {
	p.done++
	if p.w == nil {
		return
	}
	left := time.Duration(p.total-p.done) * p.guess
	if p.done > 3 {
		left = time.Since(p.start) / time.Duration(p.done) * time.Duration(p.total-p.done)
	}
	full := barWidth * p.done / max(1, p.total)
	bar := strings.Repeat("#", full) + strings.Repeat(".", barWidth-full)
	switch {
	case p.terminal:
		fmt.Fprintf(p.w, "\r[%s] %3d%%  %s left  %-22s %-30.30s", bar, 100*p.done/max(1, p.total), left.Round(time.Second), workload, system)
	case workload != p.workload:
		fmt.Fprintf(p.w, "[%s] %3d%%  %s left  %s\n", bar, 100*p.done/max(1, p.total), left.Round(time.Second), workload)
	}
	p.workload = workload
}

func (p *progress) end() {
	if p.w != nil && p.terminal {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", 110))
	}
}
