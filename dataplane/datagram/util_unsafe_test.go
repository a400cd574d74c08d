// SPDX-License-Identifier: Apache-2.0

package datagram

import "unsafe"

// bytesAt returns where b lies, for a system call.
func bytesAt(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }
