// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"slices"
	"time"

	"netcon/dataplane/stream"
)

// Info is what is known of one virtual socket.
type Info struct {
	Cookie    uint64         `json:"cookie"`
	Family    uint8          `json:"family"`   // 4 or 6
	Protocol  string         `json:"protocol"` // tcp, udp, icmp or raw, as ss names it
	State     string         `json:"state"`    // as ss names it
	Local     netip.AddrPort `json:"local"`
	Remote    netip.AddrPort `json:"remote"`
	RecvQueue int            `json:"recv_queue"` // bytes; of a listener: connections not on its pair
	SendQueue int            `json:"send_queue"` // bytes; of a listener: its backlog
	Drops     uint32         `json:"drops"`      // datagrams that the receive queue had no room for
	PID       int32          `json:"pid"`        // who made it, or made its listener
	UID       uint32         `json:"uid"`
	Mode      string         `json:"mode"`
	Mechanism string         `json:"mechanism"`
	Via       string         `json:"via"` // network; host: the host's stack; resolver: the daemon answers
	AgeSec    float64        `json:"age_seconds"`
	BytesIn   uint64         `json:"bytes_in"`  // to the application
	BytesOut  uint64         `json:"bytes_out"` // from the application
	// Refused is the options that were refused because there is no such thing
	// here, each with the error it was given: the first few of them.
	Refused []string `json:"refused,omitempty"`
}

// stateNames are the kernel's numbers, net/tcp_states.h, as ss names them.
var stateNames = [...]string{
	1: "ESTAB", 2: "SYN-SENT", 3: "SYN-RECV", 4: "FIN-WAIT-1", 5: "FIN-WAIT-2", 6: "TIME-WAIT",
	7: "UNCONN", 8: "CLOSE-WAIT", 9: "LAST-ACK", 10: "LISTEN", 11: "CLOSING", 12: "SYN-RECV",
}

// protocolNames are those of datagram sockets, as ss has them.
var protocolNames = [...]string{stream.UDP: "udp", stream.Ping: "icmp", stream.Raw: "raw"}

// kernelState is the kernel's number for a state of ours.
var kernelState = [...]uint8{
	stFree: 7, stOpen: 7, stListening: 10, stConnecting: 2, stConnected: 1, stFailed: 7, stClosing: 4, stDatagram: 7,
}

// Sockets lists the virtual sockets.
func (t *Set) Sockets() []Info {
	list := make([]Info, 0, t.slab.live)
	now := t.nowForAge()
	t.slab.each(func(s *sock) { list = append(list, t.info(s, now)) })
	return list
}

func (t *Set) info(s *sock, now time.Time) Info {
	i := Info{
		Cookie: s.cookie, Family: uint8(s.family), Protocol: "tcp", State: stateNames[kernelState[s.state]],
		Local: t.localOf(s), PID: s.pid, UID: s.uid, Mode: "pump", Mechanism: "preload",
		AgeSec: now.Sub(s.born).Seconds(), BytesIn: s.rx, BytesOut: s.tx,
		Refused:   slices.Clone(s.refused),
		RecvQueue: s.pair.Rx.Len(), SendQueue: s.pair.Tx.Len(),
	}
	switch {
	case s.has(fResolver):
		i.Via = "resolver"
	case s.has(fHost):
		i.Via = "host"
	default:
		i.Via = "network"
	}
	if s.has(fSupervised) {
		i.Mechanism = "seccomp"
	}
	switch s.state {
	case stDatagram:
		i.Protocol = protocolNames[s.dgram.proto]
		if remote, e := t.remoteOf(s); e == 0 {
			i.State, i.Remote = stateNames[1], remote
		}
		i.RecvQueue, i.SendQueue, i.Drops = unread(s.fd), queued(s.fd), s.dgram.drops+s.dgram.lost
		for _, h := range s.dgram.held {
			i.SendQueue += len(h.payload)
		}
	case stListening:
		i.SendQueue = int(s.backlog)
		i.RecvQueue = len(s.pending)
	case stConnecting, stConnected, stClosing:
		i.Remote = s.remote
		if s.handle == 0 {
			break
		}
		var e stream.Info
		t.of(s).Info(s.handle, &e)
		if int(e.State) < len(stateNames) && stateNames[e.State] != "" {
			i.State = stateNames[e.State]
		}
		i.RecvQueue += int(e.RecvQueue)
		i.SendQueue += int(e.SendQueue)
	}
	return i
}
