// SPDX-License-Identifier: Apache-2.0

// Package tcpsim runs two TCP stacks against each other on a simulated network
// and a virtual clock, from one number, the seed.
//
// # Theory of operation
//
//	plan.go     what a seed stands for: hosts, network, faults, users
//	world.go    the loop: the next thing that happens, one at a time
//	user.go     who opens, writes, reads and closes a socket
//	link.go     one direction of the network, and what goes wrong there
//	forge.go    packets of somebody who guesses, and of routers
//	tap.go      looks at every packet that a stack sends
//	host.go     what a host is
//	engine.go   a host that is a stream.Clocked
//	gvisor.go   a host that is gVisor's netstack
//	trace.go    prints what happens
//
// Every byte of every stream is known from its position, so a wrong byte is
// seen where it is sent and where it is read. Memory of a socket that was closed
// is overwritten at once and given to another one.
//
// At a time that the plan knows, the network and the users become well-behaved.
// From then on everything has to come to an end: connections that nobody broke
// deliver all their bytes, each socket dies, and at last the stacks hold no
// record and wait for no timer.
//
// # Determinism
//
// With a stream.Clocked on both ends a seed replays exactly, packet by packet.
// gVisor has goroutines: after every packet, timer and call the simulation waits
// until they have nothing to do, timers run on the simulation's clock and random
// numbers come from the seed. Such runs replay as long as gVisor itself does
// not range over a map with an effect on what it sends; none is known that does.
//
// # Limits
//
// Two hosts, one address each, of one family. Corruption is such that a checksum
// finds it: one 16-bit word is changed. Clocks leap by less than what makes a
// connection give up. What TCP cannot do is not asked of it: with SYN cookies a
// handshake whose first segments are lost or overtaken may end in a reset, as in
// Linux, and the client opens the connection again; a closed socket may give up
// on a peer that nothing reaches, so owners wait where a black hole or a leap of
// the clock is about.
//
// gVisor is spared what it is known not to bear: black holes in its direction,
// switching of TCP_CORK (it retransmits other bytes than it sent), leaps of its
// clock during a handshake, forgeries, closing with bytes to send.
package tcpsim
