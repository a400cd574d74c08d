// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
)

// model is the filter once more, in Go and from its description. The program's
// queue has a socket.
func model(cfg Config, frame []byte) Verdict {
	if len(frame) < 14 {
		return PassShort
	}
	ip := frame[14:]
	version := byte(4)
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
	case 0x86dd:
		version = 6
	case 0x8100, 0x88a8, 0x9100:
		return PassVLAN
	default:
		return PassEtherType
	}
	if (version == 4) != cfg.VTEP.Is4() {
		return PassEtherType
	}
	size, protocol, dst := 20, 9, 16
	if version == 6 {
		size, protocol, dst = 40, 6, 24
	}
	if len(ip) < size {
		return PassShort
	}
	if ip[0]>>4 != version || version == 4 && ip[0]&15 < 5 {
		return PassHeader
	}
	to, _ := netip.AddrFromSlice(ip[dst:size])
	if to != cfg.VTEP {
		return PassAddress
	}
	if version == 6 {
		extensions := []byte{0, 43, 50, 51, 60, 135, 139, 140, 253, 254}
		switch {
		case ip[protocol] == 44:
			return PassFragment
		case slices.Contains(extensions, ip[protocol]):
			return PassOptions
		}
	}
	if ip[protocol] != 17 {
		return PassProtocol
	}
	if version == 4 {
		more, offset := ip[6]&0x20 != 0, binary.BigEndian.Uint16(ip[6:])&0x1fff
		if more || offset != 0 {
			return PassFragment
		}
		if ip[0]&15 > 5 {
			return PassOptions
		}
	}
	udp := ip[size:]
	if len(udp) < 8 {
		return PassShort
	}
	if !slices.Contains(cfg.Ports, binary.BigEndian.Uint16(udp[2:])) {
		return PassPort
	}
	return Redirect
}

// FuzzFilter holds the program in the kernel against the model. Frames shorter
// than an Ethernet header never reach an XDP program.
func FuzzFilter(f *testing.F) {
	configs := []Config{
		{VTEP: vtep4, Ports: []uint16{4789}},
		{VTEP: vtep6, Ports: []uint16{4789, 8472}},
	}
	programs := make([]*Program, len(configs))
	for i, cfg := range configs {
		programs[i] = withSocket(f, load(f, cfg), 0)
	}
	for _, frame := range [][]byte{
		frame4, frame6,
		frame4[:headers4-1], frame6[:headers6-1],
		with(frame4, at4, 0x46), with(frame4, at4Frag, 0x20), with(frame6, at6Next, 44), with(frame6, at6Next, 0),
		insert(frame4, atType, 0x81, 0, 0, 5), with(frame4, at4UDP+3, 0), with(frame6, at6UDP+3, 0),
	} {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < 14 || len(frame) > 2048 {
			return
		}
		for i, cfg := range configs {
			if got, want := filter(t, programs[i], frame), model(cfg, frame); got != want {
				t.Errorf("VTEP %s: %s, the model says %s\n%x", cfg.VTEP, got, want, frame)
			}
		}
	})
}
