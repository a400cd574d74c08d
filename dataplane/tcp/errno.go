// SPDX-License-Identifier: Apache-2.0

package tcp

import "syscall"

// Errors of connections, as a record keeps them.
const (
	eConnReset   = uint8(syscall.ECONNRESET)
	eConnRefused = uint8(syscall.ECONNREFUSED)
	eConnAborted = uint8(syscall.ECONNABORTED)
	ePipe        = uint8(syscall.EPIPE)
	eTimedOut    = uint8(syscall.ETIMEDOUT)
	eHostUnreach = uint8(syscall.EHOSTUNREACH)
	eNetUnreach  = uint8(syscall.ENETUNREACH)
)
