// SPDX-License-Identifier: Apache-2.0

package netstack

// SetPanicHook has Deliver call f with every packet; nil ends that. It is the
// test's to undo.
func SetPanicHook(f func(packet []byte)) { panicHook = f }
