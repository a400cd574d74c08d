// SPDX-License-Identifier: Apache-2.0

// Package launch starts an unmodified program with its network in a container.
//
// # Theory of operation
//
// Inspect looks at the program's ELF file, through "#!" lines, and says what answers
// its socket calls: the preload library, or a supervisor (package supervise).
// Attach connects to the daemon's attach socket, names the container and gets that
// connection as the descriptor that stands for the container. Requests asks the
// daemon through it, for those who have no preload library to do so. Environ adds what the shim needs to
// the program's environment. Exec then replaces the launcher: there is no
// process in between, so exit status and signals are the program's own.
//
// ExecEnforced does so in an empty network namespace. An ordinary user gets one
// only inside a user namespace, which a process with threads cannot enter: there
// the program is a child of the launcher.
//
// Processes finds what runs in the containers of a daemon, by its environment,
// and says of each whether the preload library is in it, else why not.
//
// # Limits
//
// A preload library is a convenience, not a boundary: a call that goes past it
// is the kernel's. ExecEnforced makes those calls fail.
//
// # Not supported
//
// Set-user-ID programs, programs with file capabilities and those of another
// architecture are refused, never silently left on the kernel's stack.
package launch
