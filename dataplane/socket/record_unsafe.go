// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// tcpInfoBytes views the kernel's struct tcp_info.
func tcpInfoBytes(r *unix.TCPInfo) []byte {
	return (*[unix.SizeofTCPInfo]byte)(unsafe.Pointer(r))[:]
}
