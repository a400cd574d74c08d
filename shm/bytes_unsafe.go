// SPDX-License-Identifier: Apache-2.0

package shm

import "unsafe"

// AttachBytes, RequestBytes, ReplyBytes, AcceptBytes, DatagramBytes, CauseBytes
// and FoundBytes return a record's own memory: what is received into it or sent from it.

// AttachBytes views an Attach.
func AttachBytes(r *Attach) []byte { return (*[SizeofAttach]byte)(unsafe.Pointer(r))[:] }

// RequestBytes views a Request.
func RequestBytes(r *Request) []byte { return (*[SizeofRequest]byte)(unsafe.Pointer(r))[:] }

// ReplyBytes views a Reply.
func ReplyBytes(r *Reply) []byte { return (*[SizeofReply]byte)(unsafe.Pointer(r))[:] }

// AcceptBytes views an Accept.
func AcceptBytes(r *Accept) []byte { return (*[SizeofAccept]byte)(unsafe.Pointer(r))[:] }

// DatagramBytes views a Datagram.
func DatagramBytes(r *Datagram) []byte { return (*[SizeofDatagram]byte)(unsafe.Pointer(r))[:] }

// CauseBytes views a Cause.
func CauseBytes(r *Cause) []byte { return (*[SizeofCause]byte)(unsafe.Pointer(r))[:] }

// FoundBytes views a Found.
func FoundBytes(r *Found) []byte { return (*[SizeofFound]byte)(unsafe.Pointer(r))[:] }
