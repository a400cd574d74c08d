// SPDX-License-Identifier: Apache-2.0

// Package bench measures netcon beside what else could carry the same traffic,
// on this machine, now.
//
// # Theory of operation
//
// A System is a way to connect a server with a client: each is one file,
// system_*.go, and builds its two sides in network namespaces of its own. A
// Workload is what programs do over it: each is one file, workload_*.go, a
// declarative value with a function that starts the server and one that takes
// one sample. Both register themselves.
//
// Run brings up every system that a workload compares, starts the server on each
// and then lets them take turns, A B C A B C, for a number of rounds. What is
// compared are ratios within a round, so that what else the machine does meets
// both. Every sample comes with its path proof: the counters of who was to carry
// the traffic moved, those of who was not did not; otherwise the sample is
// invalid, whatever it shows.
//
//	site.go       what is made: namespaces, processes, files; and removed
//	reap.go       the same, when nobody is left to do it
//	usage.go      processor time, by who used it
//	calibrate.go  which part of it is the client's
//	profile.go    and what for, in a daemon: parts.go
//	proof.go      which way the bytes went
//	run.go        rounds
//	record.go     what is kept, as JSON lines
//	report.go     tables; plot.go: pictures; compare.go: two runs
//	overview.go   all workloads beside each other
//	docs.go       tables and pictures in a page of the documentation
//
// # Concurrency
//
// One Run at a time in a process, on one goroutine.
//
// # Limits
//
// Processor time comes in ticks of 10 ms: samples shorter than half a second
// have coarse figures. This kernel does not count interrupt time, so the whole
// machine's use is cores x wall - idle.
//
// # Not supported
//
// Peers on other machines; real NICs.
package bench
