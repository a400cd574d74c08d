// SPDX-License-Identifier: Apache-2.0

// Package wire reads and writes packet headers in place.
//
// # Theory of operation
//
// A header is a named byte slice: IPv4, TCP, ARP and so on are views over the
// caller's buffer. ParseX checks that the header is whole and that its own
// length fields agree with the buffer, and returns the view; accessors of a
// parsed view cannot go out of range. Setters write through.
//
// # Ownership
//
// A view never outlives the buffer below it and nothing is copied.
//
// # Concurrency
//
// Pure functions over the caller's memory; no state.
//
// # Limits and what is not supported
//
// 802.1Q tags, IPv6 extension headers beyond skipping to the upper layer, and
// jumbograms are not supported.
//
// # References
//
// RFC 791, 792, 768, 826, 1071, 1624, 4443, 4861, 7348, 8200, 9293.
package wire
