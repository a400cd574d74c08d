// SPDX-License-Identifier: Apache-2.0

// Package litmus compares sockets with the kernel's, one behaviour at a time.
//
// # Theory of operation
//
// testdata holds one C program of many small ones: each does something with
// sockets of its own host, loopback or itself, and says what it saw. It is built
// with glibc and with musl and runs twice: on the kernel's sockets, in a
// namespace with its loopback up, and under "netcon exec" in a namespace that
// has nothing but a loopback that is down, with the daemon outside. The kernel
// is the reference: what differs is a bug, or is written in known and in
// docs/limits.md. Afterwards the kernel of that namespace has to have counted no
// TCP and no UDP.
//
// NETCON_ONLY=REGEXP runs those whose names match.
//
// # Limits
//
// A litmus says nothing that depends on time: one that differs only under load
// is not found here.
package litmus
