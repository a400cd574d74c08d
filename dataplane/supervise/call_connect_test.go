// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

func pairOf(t *testing.T, kind int) [2]int {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Close(pair[0])
		_ = unix.Close(pair[1])
	})
	return pair
}

// TestInterruptedConnectIsReleased: a connect that is given up has the daemon hold
// the connection until it knows how much filler there is. That is told also where
// the outcome comes in between, and the call succeeds: what the program sends then
// would lie in the pair forever.
func TestInterruptedConnectIsReleased(t *testing.T) {
	for _, c := range []struct {
		name    string
		decided bool
		filled  bool
	}{{"undecided", false, true}, {"decided after the hold", true, false}} {
		t.Run(c.name, func(t *testing.T) {
			attach, outcome, end := pairOf(t, unix.SOCK_SEQPACKET), pairOf(t, unix.SOCK_SEQPACKET), pairOf(t, unix.SOCK_STREAM)
			_ = unix.SetNonblock(outcome[0], true)
			filled := make(chan *shm.Request, 1)
			go func() {
				defer close(filled)
				for range 2 {
					r, to := new(shm.Request), -1
					control := make([]byte, unix.CmsgSpace(4))
					if n, m, _, _, err := unix.Recvmsg(attach[1], shm.RequestBytes(r), control, unix.MSG_CMSG_CLOEXEC); err == nil && n > 0 {
						messages, _ := unix.ParseSocketControlMessage(control[:m])
						fds, _ := unix.ParseUnixRights(&messages[0])
						to = fds[0]
					}
					reply := shm.Reply{Magic: shm.Magic}
					switch r.Flags {
					case shm.FlagHold:
						reply.Error = int32(unix.EALREADY)
						if c.decided {
							_, _ = unix.Write(outcome[1], shm.ReplyBytes(&shm.Reply{Magic: shm.Magic}))
						}
					case shm.FlagFilled:
						filled <- r
					}
					_, _ = unix.Write(to, shm.ReplyBytes(&reply))
					_ = unix.Close(to)
				}
			}()
			s := &supervisor{requests: launch.NewRequests(&launch.Attachment{FD: attach[0]})}
			call := &connecting{
				virtual: virtual{supervisor: s, target: target{notify: -1}, fd: end[0]},
				request: shm.Request{Magic: shm.Magic, Op: shm.OpConnect, Cookie: 1},
				reply:   outcome[0], until: time.Now().Add(-time.Second), late: unix.EINPROGRESS,
			}
			if !call.interrupt() {
				t.Fatal("the call goes on after its deadline")
			}
			_ = unix.Shutdown(attach[0], unix.SHUT_RDWR) // no more requests
			r := <-filled
			if r == nil {
				t.Fatal("the connection is held forever")
			}
			if got := r.Filler > 0; got != c.filled {
				t.Errorf("%d bytes of filler, want some: %v", r.Filler, c.filled)
			}
		})
	}
}
