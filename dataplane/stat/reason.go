// SPDX-License-Identifier: Apache-2.0

package stat

// Reason says why a frame, packet or request was dropped. Every drop counts
// exactly one reason. The zero value means "not dropped".
type Reason uint8

// The reasons, in the order of the packet path.
const (
	Accepted Reason = iota

	// Underlay, inbound.
	DropOuterTruncated // the datagram was longer than the receive buffer
	DropOuterHeader    // outer Ethernet, IP or UDP header malformed, or not for this VTEP
	DropOuterChecksum  // outer IPv4 header or UDP checksum
	DropOuterTooBig    // larger than the device's MTU: the sender's device segments or merges
	DropUnknownVTEP    // the source is not a configured VTEP of that network
	DropVXLANShort     // shorter than VXLAN and inner Ethernet headers
	DropVXLANFlags     // the I flag is clear, RFC 7348 section 5
	DropUnknownVNI     // no network has this VNI
	DropInnerShort     // inner Ethernet frame cut short
	DropInnerMAC       // inner source MAC is a group address or one of ours
	DropNotForUs       // inner destination MAC belongs to nobody here
	DropEtherType      // inner EtherType is none of IPv4, IPv6, ARP
	DropHandoverFull   // the ring to the container's worker is full
	DropContainerGone  // the container was removed or is restarting

	// Neighbours.
	DropARPInvalid     // malformed or forged ARP
	DropNDInvalid      // malformed or forged neighbour discovery (hop limit, checksum, options)
	DropNeighFailed    // the neighbour did not answer
	DropNeighQueue     // too many packets wait for this neighbour
	DropNeighTableFull // no room for one more neighbour

	// Container, inbound.
	DropIPShort          // IP header cut short or length fields disagree
	DropIPVersion        // version nibble does not match the EtherType
	DropIPChecksum       // IPv4 header checksum
	DropIPNotLocal       // destination address is not the container's
	DropL4Checksum       // TCP, UDP or ICMP checksum
	DropL4Short          // transport header cut short
	DropICMPForged       // an ICMP error that matches no live connection
	DropICMPMTU          // an ICMP error with an MTU below the protocol's minimum
	DropFragmentLimit    // the container holds too many fragment bytes
	DropFragmentInvalid  // a fragment that overlaps with others, is a copy, or is none a packet can have
	DropFragmentExpired  // fragments of a packet that did not become whole in time
	DropHalfOpenLimit    // the container holds too many half-open connections
	DropConnectionLimit  // the container holds too many connections
	DropBufferLimit      // the container holds too many buffered bytes
	DropNoSocket         // no socket takes this datagram
	DropSocketQueue      // the receive queue of a datagram socket is full
	DropStackPanic       // the stack panicked on this packet and was discarded
	DropProtocolDisabled // the container has no use for this protocol
	DropNotListening     // a connection to a published port that the container does not listen on

	// Outbound.
	DropNoRoute       // destination outside the container's networks
	DropTooBig        // larger than the network's MTU
	DropTxQueue       // the container's transmit queue is full
	DropUnderlayFull  // the underlay did not take the frame
	DropUnderlayMTU   // the underlay says the frame is too big (EMSGSIZE)
	DropUnderlayError // the underlay refused the frame for another reason
	DropNoVTEP        // the network has no VTEP to send this to
	DropNextHop       // no route to the VTEP, or its next hop does not answer
	DropNextHopQueue  // too many frames wait for the VTEP's next hop

	// Datagrams of applications.
	DropDatagramHeader  // no proper header before the payload
	DropDatagramRefused // the stack did not take it: no route, too long, not allowed
	DropDatagramHeld    // too many wait for the container's transmit queue
	DropQuestions       // too many questions for names are open

	// Learning.
	DropLearnLimit // too many learned addresses, or learned too fast

	// Control.
	DropControlMalformed // a control message that is no request
	DropControlRefused   // a request by someone who may not make it
	DropControlGarbage   // bytes on the control socket before it attached

	NumReasons
)

var reasonNames = [NumReasons]string{
	Accepted:             "accepted",
	DropOuterTruncated:   "outer_truncated",
	DropOuterHeader:      "outer_header",
	DropOuterChecksum:    "outer_checksum",
	DropOuterTooBig:      "outer_too_big",
	DropUnknownVTEP:      "unknown_vtep",
	DropVXLANShort:       "vxlan_short",
	DropVXLANFlags:       "vxlan_flags",
	DropUnknownVNI:       "unknown_vni",
	DropInnerShort:       "inner_short",
	DropInnerMAC:         "inner_mac",
	DropNotForUs:         "not_for_us",
	DropEtherType:        "ether_type",
	DropHandoverFull:     "handover_full",
	DropContainerGone:    "container_gone",
	DropARPInvalid:       "arp_invalid",
	DropNDInvalid:        "nd_invalid",
	DropNeighFailed:      "neigh_failed",
	DropNeighQueue:       "neigh_queue",
	DropNeighTableFull:   "neigh_table_full",
	DropIPShort:          "ip_short",
	DropIPVersion:        "ip_version",
	DropIPChecksum:       "ip_checksum",
	DropIPNotLocal:       "ip_not_local",
	DropL4Checksum:       "l4_checksum",
	DropL4Short:          "l4_short",
	DropICMPForged:       "icmp_forged",
	DropICMPMTU:          "icmp_mtu",
	DropFragmentLimit:    "fragment_limit",
	DropFragmentInvalid:  "fragment_invalid",
	DropFragmentExpired:  "fragment_expired",
	DropHalfOpenLimit:    "half_open_limit",
	DropConnectionLimit:  "connection_limit",
	DropBufferLimit:      "buffer_limit",
	DropNoSocket:         "no_socket",
	DropSocketQueue:      "socket_queue",
	DropStackPanic:       "stack_panic",
	DropProtocolDisabled: "protocol_disabled",
	DropNotListening:     "not_listening",
	DropNoRoute:          "no_route",
	DropTooBig:           "too_big",
	DropTxQueue:          "tx_queue",
	DropUnderlayFull:     "underlay_full",
	DropUnderlayMTU:      "underlay_mtu",
	DropUnderlayError:    "underlay_error",
	DropNoVTEP:           "no_vtep",
	DropNextHop:          "next_hop",
	DropNextHopQueue:     "next_hop_queue",
	DropDatagramHeader:   "datagram_header",
	DropDatagramRefused:  "datagram_refused",
	DropDatagramHeld:     "datagram_held",
	DropQuestions:        "questions",
	DropLearnLimit:       "learn_limit",
	DropControlMalformed: "control_malformed",
	DropControlRefused:   "control_refused",
	DropControlGarbage:   "control_garbage",
}

// String returns the name under which the reason is counted.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return "unknown"
}
