// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"netcon/dataplane/wire"
)

const (
	smallFrame = 2048
	largeFrame = 4096 // a page: no driver takes more

	// rxHeadroom is what the kernel keeps free before a received frame
	// (XDP_PACKET_HEADROOM).
	rxHeadroom = 256

	// singleMTU is the largest MTU for which one buffer is sure to be enough:
	// drivers want a frame, its headroom and the skb_shared_info behind it
	// within one page. Beyond it frames may span several (xdp.frags,
	// XDP_USE_SG).
	singleMTU = 3000

	// payloadOffset is where the UDP payload of a sent frame starts. The
	// outer headers lie before it, over IPv6 62 bytes. With the VXLAN and
	// inner Ethernet headers behind it, the inner IP header is aligned to 8.
	payloadOffset = 66

	// maxPacket is the largest outer IP packet.
	maxPacket = 65535

	// maxChain is how many frames the largest packet takes.
	maxChain = (payloadOffset + maxPacket + largeFrame - 1) / largeFrame
)

// Lengths of the outer headers, Ethernet to UDP.
const (
	headers4 = wire.EthernetLen + wire.IPv4Len + wire.UDPLen
	headers6 = wire.EthernetLen + wire.IPv6Len + wire.UDPLen
)

// shape is how frames are cut for an MTU.
type shape struct {
	frameSize int
	multi     bool // frames may span several buffers
	mtu       int  // largest outer IP packet that can be taken at all
}

// shapeFor returns the smallest frames that do for an MTU.
func shapeFor(mtu int) shape {
	switch {
	case mtu <= smallFrame-rxHeadroom-wire.EthernetLen:
		return shape{frameSize: smallFrame, mtu: smallFrame - rxHeadroom - wire.EthernetLen}
	case mtu <= singleMTU:
		return shape{frameSize: largeFrame, mtu: largeFrame - rxHeadroom - wire.EthernetLen}
	default:
		return shape{frameSize: largeFrame, multi: true, mtu: maxPacket}
	}
}
