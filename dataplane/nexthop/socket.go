// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// receiveSize holds any message that is asked for here. The kernel sizes
	// multicast messages by their content, with room for a page.
	receiveSize = 32 << 10
	// replyTimeout bounds how long an answer of the kernel may take. It
	// answers within the call, but for what waits for the RTNL lock.
	replyTimeout = 5 * time.Second
)

// errLost says that the kernel had more to say than there was room for.
var errLost = errors.New("netlink messages were lost")

// socket is a netlink socket that reuses its buffer. It belongs to the network
// namespace of the thread that opened it.
type socket struct {
	file *os.File
	conn syscall.RawConn
	port uint32
	buf  []byte
}

// openSocket opens a socket and joins the given multicast groups.
func openSocket(groups ...uint) (_ *socket, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	s := &socket{file: os.NewFile(uintptr(fd), "netlink"), buf: make([]byte, receiveSize)}
	defer func() {
		if err != nil {
			_ = s.close()
		}
	}()
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("bind netlink socket: %w", err)
	}
	for _, g := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(g)); err != nil {
			return nil, fmt.Errorf("join netlink group %d: %w", g, err)
		}
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil, fmt.Errorf("read netlink port: %w", err)
	}
	if a, ok := name.(*unix.SockaddrNetlink); ok {
		s.port = a.Pid
	}
	if s.conn, err = s.file.SyscallConn(); err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	return s, nil
}

// close closes the socket, and ends a receive that waits.
func (s *socket) close() error { return s.file.Close() }

// receive returns the kernel's next datagram, valid until the next call.
func (s *socket) receive() ([]byte, error) {
	for {
		var n int
		var from unix.Sockaddr
		var err error
		wait := s.conn.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), s.buf, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
			return !errors.Is(err, unix.EAGAIN)
		})
		a, netlink := from.(*unix.SockaddrNetlink)
		switch {
		case wait != nil:
			return nil, wait
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOBUFS), err == nil && n > len(s.buf):
			return nil, errLost
		case err != nil:
			return nil, fmt.Errorf("receive from netlink: %w", err)
		case !netlink || a.Pid != 0:
			// Any process may send to a netlink port. Only the kernel counts.
		default:
			return s.buf[:n], nil
		}
	}
}

// setReceiveBuffer makes room for that many bytes of messages.
func (s *socket) setReceiveBuffer(size int) error {
	var err error
	if e := s.conn.Control(func(fd uintptr) {
		if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size); err != nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size)
		}
	}); e != nil {
		return e
	}
	return err
}

// send sends a request.
func (s *socket) send(req *nl.NetlinkRequest) error {
	text := req.Serialize()
	var err error
	wait := s.conn.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), text, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		return !errors.Is(err, unix.EAGAIN)
	})
	return errors.Join(wait, err)
}

// exchange sends a request and returns the first message of the answer, which
// is none if the request asks for an acknowledgement. Errors of the kernel are
// returned as they are (unix.Errno).
func (s *socket) exchange(req *nl.NetlinkRequest) (message, error) {
	if err := s.file.SetReadDeadline(time.Now().Add(replyTimeout)); err != nil {
		return message{}, err
	}
	if err := s.send(req); err != nil {
		return message{}, err
	}
	for {
		b, err := s.receive()
		if err != nil {
			return message{}, err
		}
		for m := range messages(b) {
			switch {
			case m.seq != req.Seq || m.port != s.port:
			case m.kind != unix.NLMSG_ERROR:
				return m, nil
			case len(m.body) < 4:
				return message{}, errShort
			default:
				if code := int32(binary.NativeEndian.Uint32(m.body)); code != 0 {
					return message{}, unix.Errno(-code)
				}
				return message{}, nil
			}
		}
	}
}
