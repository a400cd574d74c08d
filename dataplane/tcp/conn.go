// SPDX-License-Identifier: Apache-2.0

package tcp

// state is a state of RFC 9293 section 3.3.2, with the numbers of the kernel.
type state uint8

const (
	stEstablished state = 1 + iota
	stSynSent
	stSynReceived
	stFinWait1
	stFinWait2
	stTimeWait // never the state of a conn: see timewait.go
	stClosed
	stCloseWait
	stLastAck
	stListen
	stClosing
)

// Sets of states.
const (
	// The handshake is over (RFC 9293 section 3.3.2: "synchronized").
	synchronized = 1<<stEstablished | 1<<stFinWait1 | 1<<stFinWait2 | 1<<stCloseWait | 1<<stLastAck | 1<<stClosing
	// The peer's FIN was not received yet.
	receiving = 1<<stEstablished | 1<<stFinWait1 | 1<<stFinWait2
)

// in reports whether s is one of the states of a set.
func (s state) in(set uint16) bool { return set>>s&1 != 0 }

// conn is the record of a socket: of one that was just opened, of a listener,
// of a connection. What is needed only while bytes are in flight or out of order
// lies in a work record, what only few sockets set in an option set.
type conn struct {
	slot
	flags connFlags
	tuple
	user  uint64 // the owner's
	acked uint64 // bytes the peer acknowledged
	rcvd  uint64 // bytes received in order

	una, nxt uint32 // SND.UNA, SND.NXT
	end      uint32 // sequence number behind the last byte announced by TxReady
	wnd      uint32 // SND.WND, in bytes
	maxWnd   uint32 // the largest the peer ever offered: MAX.SND.WND
	wl1      uint32 // SND.WL1
	cwnd     uint32 // bytes
	ssthresh uint32 // bytes

	rcvNxt   uint32 // RCV.NXT
	rcvEdge  uint32 // right edge of the window offered; it never goes back
	rcvAcked uint32 // acknowledgment number sent last: Last.ACK.sent
	tsRecent uint32 // TS.Recent
	tsAt     uint32 // when it was set, milliseconds
	tsOff    uint32 // our timestamps are the clock in milliseconds plus this

	rtxAt  uint32 // when timer is due, microseconds
	ackAt  uint32 // when the delayed acknowledgment is, microseconds
	keepAt uint32 // when the keepalive, FIN-WAIT-2 or accept timer is, milliseconds
	wake   uint32 // tick the wheel is armed for

	lastIn   uint32 // when something arrived, milliseconds
	lastOut  uint32 // when data left, milliseconds
	lastData uint32 // when data arrived, milliseconds

	rtt rttState

	work  uint32 // index of the work record, 0: none
	stash uint32 // number of the stash, 0: none
	opts  uint32 // index of the option set
	link  uint32 // a listener: its number; before Accept: the next one in the queue; then: its listener

	segsIn, segsOut uint32
	resent          uint32 // segments retransmitted in all

	mss     uint16 // payload of a full segment: SMSS, options taken off
	peerMSS uint16 // what the peer announced
	mtu     uint16 // of the path, as far as known
	rcvMSS  uint16 // estimate of the peer's segments
	mtuAt   uint16 // when a larger MTU may be tried, seconds
	badAt   uint16 // when an unacceptable segment was answered last, units of 16 ms

	state   state
	timer   timerKind
	backoff uint8 // retransmission timeouts or window probes in a row
	probes  uint8 // keepalive probes in a row
	scales  uint8 // of the peer's window (low four bits), of ours (high)
	quick   uint8 // acknowledgments that are not to be delayed
	ato     uint8 // delay of acknowledgments, milliseconds
	rcvLog  uint8 // binary logarithm of the receive buffer
	err     uint8 // error number to be reported with Failed
	soft    uint8 // error number an ICMP error brought, in case of a timeout
	events  eventSet
	dupAcks uint8 // duplicate ACKs to be sent to a peer without SACK
	nudge   uint8 // while opening: the SYN is to be sent again; then: what is queued goes, TCP_CORK or not
	binding uint8 // class of the port's binding, and bindDual
}

// bindDual says that a binding to :: is one to 0.0.0.0 too.
const bindDual = 0x80

type connFlags uint32

const (
	fOwned     connFlags = 1 << iota // a handle names it
	fQueued                          // in an accept queue
	fV6                              // the socket's family is IPv6
	fBound                           // it holds a port
	fPinned                          // its owner bound it
	fTable                           // the demultiplexing table knows it
	fWheel                           // the wheel is armed
	fNoDelay                         // TCP_NODELAY
	fCork                            // TCP_CORK
	fKeepAlive                       // SO_KEEPALIVE
	fSACK                            // SACK was agreed
	fTS                              // timestamps were agreed
	fScale                           // window scaling was agreed
	fECN                             // ECN was agreed
	fECE                             // RFC 3168 section 6.1.3: say ECE until CWR comes
	fCWR                             // say CWR with the next new data
	fFin                             // a FIN follows the byte before end
	fFinSent                         // and was sent: nxt is behind it
	fFinIn                           // the peer's FIN was received
	fNoRead                          // the receiving half was closed: what arrives is thrown away
	fAckNow                          // an ACK is due
	fAckLater                        // an ACK is owed at ackAt
	fKeepOn                          // keepAt runs
	fInTx                            // in Engine.tx
	fInEvents                        // in Engine.events
	fInBurst                         // in Engine.burst
	fActive                          // opened by Connect
	fConnected                       // Established was reported, or Accept took it
	fPongs                           // interactive: an answer usually carries the ACK ("pingpong")
	fLoop                            // the peer is one of our own addresses
	fTimedIn                         // tsRecent is set
	fDead                            // Failed is to be or was reported
)

func (c *conn) has(f connFlags) bool { return c.flags&f != 0 }

// timerKind is what rtxAt is for. One timer serves them all, because a
// connection needs one of them at a time.
type timerKind uint8

const (
	timerNone    timerKind = iota
	timerRetrans           // RFC 6298
	timerProbe             // RFC 8985 section 7: tail loss probe
	timerReorder           // RFC 8985 section 6.2 step 5
	timerPersist           // RFC 9293 section 3.8.6.1
	timerIdle              // nothing in flight: the work record goes back
)

// eventSet is what is to be reported of a socket.
type eventSet uint8

const (
	evEstablished eventSet = 1 << iota
	evAcceptable
	evReadable
	evWritable
	evFailed
)

// Our and the peer's window scale, RFC 7323 section 2.
func (c *conn) sndScale() uint8 { return c.scales & 15 }
func (c *conn) rcvScale() uint8 { return c.scales >> 4 }

// flight returns the bytes sent and not acknowledged, FIN included.
func (c *conn) flight() uint32 { return c.nxt - c.una }

// v4 reports whether packets of the connection are IPv4.
func (c *conn) v4() bool { return c.remote.is4() }
