// SPDX-License-Identifier: Apache-2.0

package tcp

import "unsafe"

// sliceOf views the bytes of a region as records of T, which must have no
// pointers.
func sliceOf[T any](b []byte) []T {
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}
