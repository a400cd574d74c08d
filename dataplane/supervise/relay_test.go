// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"testing"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// relayed is a relay with one socket: the program's end, and the daemon's.
func relayed(t *testing.T) (r *relay, d *datagram, program, daemon int) {
	t.Helper()
	r, err := newRelay()
	if err != nil {
		t.Fatal(err)
	}
	pair := func() [2]int {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	plain, wire := pair(), pair()
	t.Cleanup(func() { _ = unix.Close(wire[1]) })
	return r, &datagram{cookie: 1, plain: plain[1], wire: wire[0], connected: true}, plain[0], wire[1]
}

// TestRelayLastWords: what a program wrote before it closed its socket is sent, also
// when the daemon had no room for it then.
func TestRelayLastWords(t *testing.T) {
	r, d, program, daemon := relayed(t)
	full := 0
	for unix.Send(d.wire, make([]byte, shm.SizeofDatagram), unix.MSG_DONTWAIT) == nil {
		full++
	}
	const words = 5
	for i := range words {
		if err := unix.Send(program, []byte{byte(i)}, 0); err != nil {
			t.Fatal(err)
		}
	}
	if e := r.add(d); e != 0 {
		t.Fatal(e)
	}
	_ = unix.Close(program)
	if r.turn(d) {
		t.Fatal("ended with datagrams that were not sent")
	}
	var got []byte
	b := make([]byte, 256)
	for ended := false; ; {
		n, _, err := unix.Recvfrom(daemon, b, 0)
		switch {
		case err == nil && n > shm.SizeofDatagram:
			got = append(got, b[n-1])
		case err == nil: // what filled it
		case err == unix.EAGAIN && !ended:
			ended = r.turn(d)
		default:
			if string(got) != "\x00\x01\x02\x03\x04" {
				t.Errorf("after %d that filled the pair: %v, want %d", full, got, words)
			}
			return
		}
	}
}

// TestRelayReap: a socket that its program has closed is ended on demand, once.
func TestRelayReap(t *testing.T) {
	r, d, program, daemon := relayed(t)
	if e := r.add(d); e != 0 {
		t.Fatal(e)
	}
	if r.reap(); hungUp(daemon) {
		t.Error("an open socket was ended")
	}
	if err := unix.Send(program, []byte("last"), 0); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(program)
	if r.reap(); !hungUp(daemon) {
		t.Error("a closed socket was not ended")
	}
	r.reap() // and that only once
	b := make([]byte, 256)
	if n, _, err := unix.Recvfrom(daemon, b, 0); err != nil || string(b[shm.SizeofDatagram:max(n, shm.SizeofDatagram)]) != "last" {
		t.Errorf("the last datagram: %d bytes, %v", n, err)
	}
}
