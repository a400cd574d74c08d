// SPDX-License-Identifier: Apache-2.0

package frame

// Owner says who may touch a frame.
type Owner uint8

// The owners of a frame.
const (
	// Free frames are the ledger's.
	Free Owner = iota
	// Fill frames are the kernel's: it receives into them. They lie in the
	// fill ring, in the driver, or in the receive ring.
	Fill
	// Rx frames were received and are the worker's until they are given back
	// to the kernel.
	Rx
	// Reserved frames are the worker's, to write what it is going to send.
	Reserved
	// Held frames are the worker's and wait until their next hop is known.
	Held
	// Tx frames are the kernel's: it sends them. They lie in the transmit
	// ring, in the device's queue, or in the completion ring.
	Tx

	NumOwners
)

var ownerNames = [NumOwners]string{"free", "fill", "rx", "reserved", "held", "tx"}

// String returns the name under which the owner's frames are reported.
func (o Owner) String() string {
	if o < NumOwners {
		return ownerNames[o]
	}
	return "unknown"
}

// Counts is a number of frames by owner.
type Counts [NumOwners]int

// Sum returns the number of all frames.
func (c Counts) Sum() int {
	n := 0
	for _, v := range c {
		n += v
	}
	return n
}
