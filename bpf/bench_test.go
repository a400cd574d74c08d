// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"testing"

	"github.com/cilium/ebpf"
)

const repeat = 100_000 // runs for one system call

// BenchmarkFilter has the kernel run the program over and over on one frame. A
// program that does nothing shows what the test run itself costs; the way of a
// redirected frame to its socket is not included.
func BenchmarkFilter(b *testing.B) {
	b.Run("nothing", func(b *testing.B) { measure(b, foreign(b), frame4) })
	for _, bb := range []struct {
		name  string
		cfg   Config
		frame []byte
	}{
		{"IPv4/redirect", Config{VTEP: vtep4, Ports: []uint16{4789}}, frame4},
		{"IPv6/redirect", Config{VTEP: vtep6, Ports: []uint16{4789}}, frame6},
		{"IPv4/other address", Config{VTEP: vtep4, Ports: []uint16{4789}}, with(frame4, at4Dst, 10)},
		{"IPv4/eighth port", Config{VTEP: vtep4, Ports: []uint16{1, 2, 3, 4, 5, 6, 7, 4789}}, frame4},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p := withSocket(b, load(b, bb.cfg), 0)
			measure(b, p.objects.NetconOverlay, bb.frame)
		})
	}
}

func measure(b *testing.B, p *ebpf.Program, frame []byte) {
	for b.Loop() {
		if _, err := p.Run(&ebpf.RunOptions{Data: frame, Repeat: repeat}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/repeat, "ns/frame")
}
