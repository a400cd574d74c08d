// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"testing"
	"time"
)

// WaitFor polls cond until it holds and ends the test if it does not within
// timeout. what, if given, is a format and its arguments that say what was
// waited for.
func WaitFor(t testing.TB, timeout time.Duration, cond func() bool, what ...any) {
	t.Helper()
	if !poll(timeout, cond) {
		t.Fatalf("waited %v in vain%s", timeout, describe(what))
	}
}

// poll reports whether cond held within timeout. It asks at least twice: at
// once and when time is up.
func poll(timeout time.Duration, cond func() bool) bool {
	deadline := time.Now().Add(timeout)
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		if cond() {
			return true
		}
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		time.Sleep(min(pause, left))
	}
}

func describe(what []any) string {
	if len(what) == 0 {
		return ""
	}
	format, ok := what[0].(string)
	if !ok {
		return " for " + fmt.Sprint(what...)
	}
	return " for " + fmt.Sprintf(format, what[1:]...)
}
