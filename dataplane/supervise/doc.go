// SPDX-License-Identifier: Apache-2.0

// Package supervise answers the socket calls of programs that no library can
// reach: static ones and those written in Go make system calls themselves.
//
// # Theory of operation
//
// Exec starts a supervisor, puts itself under a seccomp filter and becomes the
// program. The filter (filter.go) hands control calls alone to the supervisor:
// socket, bind, listen, connect, accept, shutdown, names, options, and what asks
// for interfaces. Bytes,
// readiness, dup, fork and close are the kernel's, on the same AF_UNIX pairs that
// the preload library makes (see shm/abi.h): to the daemon both look alike, and
// sockets pass from the one kind of program to the other.
//
// The supervisor (supervisor.go) takes one notification after the other. It gets at
// the program's descriptor with pidfd_getfd, so what a number means is always the
// kernel's word (threads.go remembers who is who), and tells by the mark in the
// socket whether it is ours; a call on any other descriptor goes on in the kernel,
// untouched. New descriptors are put into the program in the same step that ends
// its call (SECCOMP_ADDFD_FLAG_SEND): a call that is interrupted leaves none
// behind.
//
// A call that waits (accept, connect) is parked: no thread of the supervisor
// waits with it. The kernel cannot interrupt it by a signal, since the filter has
// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, without which the signals that Go's
// scheduler sends would start calls over again and again. So parked calls are
// looked at every parkTick, and one whose program has a signal to handle ends
// with EINTR or is started again, as the handler was installed. The flag holds from
// when a notification was received: a signal that comes earlier starts the call over
// again, with a notification of its own. So the thread that takes them is put ahead
// of the programs (priority.go).
//
// Datagrams (relay.go). A pair that a program with the preload library has carries a
// header with each datagram, which reads and writes of others would see. So the
// supervisor stands between: the program's pair has bare payloads, and the header of
// one comes along as a descriptor of a file that holds it. A read closes it; a call
// that asks for the sender or for control messages comes here and gets them. Errors
// of the network wait here for such a call, since nothing can be put into a pair
// that a read would take for an error. Filters see pointers, not
// what they point to: every sendmsg and recvmsg comes here, whatever its
// descriptor, and most go on in the kernel. Those that the preload library makes, in
// a dynamic program below a static one, say so in their flags and do not come.
//
// # Ownership and lifetime
//
// The supervisor is no child of anybody it serves. It ends when the last process
// under its filter has ended, whatever becomes of the launcher and of the
// daemon: with a daemon that was started again it attaches again. One filter per
// process tree is all the kernel allows; a program that is started under one
// inherits it, and the supervisor with it.
//
// # Concurrency
//
// One goroutine takes notifications and carries them out, another looks after
// parked calls. A call is either's, never both's. A third moves datagrams, and
// shares each socket with the first by its mutex.
//
// # Limits
//
// A read of a connection that was reset, with nothing unread at the daemon, is an
// end of file: no read is seen. A parked call learns of a signal up to parkTick
// late. The supervisor reads and writes the program's memory: it needs to be
// allowed to trace it (Yama's ptrace_scope, a container's seccomp profile). A
// program that makes itself undumpable, or changes its user, is served by root's
// supervisor only. Without CAP_SYS_ADMIN the filter takes no_new_privs: set-user-ID
// programs started below it do not gain anything.
//
// # Not supported
//
// 32-bit programs.
//
// # References
//
// seccomp_unotify(2), pidfd_getfd(2), process_vm_readv(2), Linux
// kernel/seccomp.c.
package supervise
