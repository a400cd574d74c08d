// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"testing"
)

func init() {
	packages := []string{"perl", "libhttp-daemon-perl", "libwww-perl"}
	const echo = "60 connections of 256 KiB each way from a client of IO::Select, IPv4 and IPv6, every byte compared"
	add(scenario{
		name: "perl-fork", packages: packages, does: "IO::Socket::IP, a process for each connection: " + echo, bytes: 2 * 2 * 2 * 60 * 256 << 10,
		run: func(t *testing.T, e *env) { echoServer(t, e, "perl", "perl.pl", "fork") },
	})
	add(scenario{
		name: "perl-select", packages: packages, does: "one process with IO::Select: " + echo, bytes: 2 * 2 * 2 * 60 * 256 << 10,
		run: func(t *testing.T, e *env) { echoServer(t, e, "perl", "perl.pl", "select") },
	})
	add(scenario{
		name: "perl-http", packages: packages, does: "HTTP::Daemon in 4 processes, and LWP with a kept connection: 100 bodies of up to 64 KiB, IPv4 and IPv6", bytes: 2 * 2 * 2 * 100 * 30 << 10,
		run: func(t *testing.T, e *env) { echoHTTP(t, e, "perl", "perl.pl", "http") },
	})
}
