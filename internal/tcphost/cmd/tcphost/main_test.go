// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"", "want -send or -receive"},
		{"-send -receive", "want -send or -receive"},
		{"-send x", "no further arguments"},
		{"-send", "parse -at"},
		{"-send -at 192.0.2.2:1 -device e0", "parse -addr"},
		{"-send -at 192.0.2.2:1 -device e0 -addr 192.0.2.1/24 -peer x", "parse -peer"},
		{"-send -at 192.0.2.2:1 -device e0 -addr 192.0.2.1/24 -peer 192.0.2.2=x", "parse -peer"},
		{"-send -at 192.0.2.2:1 -device no-such-if -addr 192.0.2.1/24", "find interface no-such-if"},
	} {
		err := run(strings.Fields(tc.args), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %q", tc.args, err, tc.want)
		}
	}
}
