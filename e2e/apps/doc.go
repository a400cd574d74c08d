// SPDX-License-Identifier: Apache-2.0

// Package apps runs unmodified programs twice, on the kernel's sockets and under
// netcon exec, and compares.
//
// # Theory of operation
//
// A scenario is one program doing its work between two hosts. It runs first on
// the kernel: two network namespaces joined by a veth. Then it runs the same
// under netcon: two daemons outside, and the programs in two network namespaces
// that have nothing but a loopback device that is down. Whatever is not carried
// by a container cannot get anywhere.
//
//	       kernel                                  netcon
//	┌─────────┐    ┌─────────┐       ┌─────────┐             ┌─────────┐
//	│ A       │veth│ B       │       │ A (lo ▼)│             │ B (lo ▼)│
//	│10.42.0.1├────┤10.42.0.2│       └────┬────┘             └────┬────┘
//	│ fd42::1 │    │ fd42::2 │       daemon a ◄─ VXLAN in UDP ─► daemon b
//	└─────────┘    └─────────┘       10.42.0.1                 10.42.0.2
//
// A run under netcon counts only with its proof: the containers' counters carried
// at least the bytes that the scenario says it moves, payload of datagrams
// included, and the kernel's TCP, UDP and ICMP counters of the two namespaces did
// not move.
//
// A scenario is a function in a file named after its program, and says in which
// Debian packages the program is. make apps runs all and writes docs/apps.md;
// make apps ONLY=NAME runs those whose names match.
//
// # Limits
//
// Root, for the namespaces. Packages are installed when a scenario first wants
// them, in the long form only; the short form, part of the tests, has those
// whose packages make testdeps installs.
package apps
