// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"netcon/dataplane/supervise"
)

// superviseCommand is not in the table that people see: exec starts it.
var superviseCommand = &command{
	name: supervise.Command, args: "STAGE [PROGRAM ARGV0 [ARG ...]]", short: "answer system calls for netcon exec",
	help: "\nStarted by netcon exec for static and Go programs, with descriptors that only it has.",
	run: func(c *call) error {
		if len(c.args) == 0 || strings.HasPrefix(c.args[0], "-") {
			return c.parse(1, -1)
		}
		// The rest are a program's arguments, flags or not.
		if err := supervise.Main(c.args); err != nil {
			return execFailed(c, err, 126)
		}
		return nil
	},
}
