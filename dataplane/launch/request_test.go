// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"testing"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// TestAnswerBeforeEnd: who answers closes the socket at once, and the answer is
// read before the end. Without that an answer in a million was an end, on a busy
// machine.
func TestAnswerBeforeEnd(t *testing.T) {
	answer := shm.Reply{Magic: shm.Magic, Error: int32(unix.EADDRINUSE)}
	ends := make(chan int)
	go func() {
		for fd := range ends {
			_, _ = unix.Write(fd, shm.ReplyBytes(&answer))
			_ = unix.Close(fd)
		}
	}()
	defer close(ends)
	for range 20000 {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		ends <- pair[1]
		_, e := Answer(pair[0])
		_ = unix.Close(pair[0])
		if e != unix.EADDRINUSE {
			t.Fatalf("answer read as %v", e)
		}
	}
}

// TestAnswerOfNobody: an end without an answer, and a record that is none.
func TestAnswerOfNobody(t *testing.T) {
	for _, record := range [][]byte{nil, make([]byte, shm.SizeofReply-1), make([]byte, shm.SizeofReply+1)} {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if record != nil {
			_, _ = unix.Write(pair[1], record)
		}
		_ = unix.Close(pair[1])
		if _, e := Answer(pair[0]); e != Gone {
			t.Errorf("%d bytes read as %v", len(record), e)
		}
		_ = unix.Close(pair[0])
	}
}
