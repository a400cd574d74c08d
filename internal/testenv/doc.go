// SPDX-License-Identifier: Apache-2.0

// Package testenv builds what tests of the dataplane run in: network
// namespaces, wires between them, stock peers, and the numbers that prove which
// way the bytes went.
//
// # Theory of operation
//
//	hosts      NewNetNS, NetNS.Do
//	wires      Veth, FaultWire
//	peers      KernelVXLAN; Nginx, Redis, Iperf3Server, Iperf3
//	processes  Run, Try, Start
//	proof      SNMP, CPU, RSS, FDs, HashFile, HashBytes, RandomBytes
//	files      OpenDir, Build
//	patience   WaitFor
//	privileges NeedRoot, Need, NeedTools
//
// Everything a helper makes is registered with t.Cleanup and is gone when the
// test ends; what goes wrong in a helper ends the test. A *NetNS may be nil
// everywhere: the namespace of the test itself.
//
// # Concurrency
//
// Helpers are called from the test's goroutine. NetNS.Do runs a function on a
// thread of its own, so no other goroutine ever sees a foreign namespace.
//
// # Limits
//
// Processes are ended by their process group, and by namespace when they were
// started in one: a daemon that leaves both survives.
//
// # Not supported
//
// Use outside of tests: only _test files and the commands below this folder
// import it.
//
// # References
//
// ip-netns(8), ip-link(8), bridge(8), proc(5).
package testenv
