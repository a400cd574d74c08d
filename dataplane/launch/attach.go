// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// ErrNoDaemon says that no daemon listens on the attach socket.
var ErrNoDaemon = errors.New("no daemon")

// attachTimeout bounds the wait for the daemon's answer.
const attachTimeout = 5 * time.Second

// Attachment is a process tree's connection to its container.
type Attachment struct {
	FD        int    // survives exec
	Cookie    uint64 // SO_COOKIE of FD
	Socket    string // path of the attach socket
	Container string
	Missing   Missing // as the container is configured
}

// Attach connects to the attach socket at path for a container; the empty name
// asks for the daemon's only one.
func Attach(path, container string) (*Attachment, error) {
	if len(container) >= shm.NameMax {
		return nil, fmt.Errorf("attach to container %q: name of %d bytes (at most %d)", container, len(container), shm.NameMax-1)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		return nil, fmt.Errorf("create attach socket: %w", err)
	}
	a := &Attachment{FD: fd, Socket: path, Container: container}
	if err := a.handshake(); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return a, nil
}

func (a *Attachment) handshake() error {
	tv := unix.NsecToTimeval(attachTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(a.FD, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return fmt.Errorf("attach at %s: %w", a.Socket, err)
	}
	if err := unix.Connect(a.FD, &unix.SockaddrUnix{Name: a.Socket}); err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("attach at %s: %w (start one with: netcon up)", a.Socket, ErrNoDaemon)
		}
		return fmt.Errorf("attach at %s: %w", a.Socket, err)
	}
	hello := shm.Attach{Magic: shm.Magic}
	for i := range len(a.Container) {
		hello.Container[i] = int8(a.Container[i])
	}
	if err := unix.Send(a.FD, shm.AttachBytes(&hello), unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("attach at %s: %w", a.Socket, err)
	}
	var reply shm.Reply
	n, err := unix.Read(a.FD, shm.ReplyBytes(&reply))
	if err != nil || n != shm.SizeofReply || reply.Magic != shm.Magic {
		return fmt.Errorf("attach at %s: no valid answer (%d bytes, %v)", a.Socket, n, err)
	}
	if err := a.refusal(syscall.Errno(reply.Error)); err != nil {
		return err
	}
	if name := reply.Opt[:min(int(reply.Optlen), len(reply.Opt))]; a.Container == "" && len(name) > 0 {
		a.Container = string(bytes.TrimRight(name, "\x00"))
	}
	a.Missing = MissingFail
	if reply.Value == shm.MissingKernel {
		a.Missing = MissingKernel
	}
	forever := unix.Timeval{}
	if err := unix.SetsockoptTimeval(a.FD, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &forever); err != nil {
		return fmt.Errorf("attach at %s: %w", a.Socket, err)
	}
	a.Cookie, err = unix.GetsockoptUint64(a.FD, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return fmt.Errorf("attach at %s: read socket cookie: %w", a.Socket, err)
	}
	return nil
}

func (a *Attachment) refusal(e syscall.Errno) error {
	switch {
	case e == 0:
		return nil
	case e == syscall.EPERM || e == syscall.EACCES:
		return fmt.Errorf("attach to container %q: %w (uid %d is not in its uids)", a.Container, e, unix.Getuid())
	case e == syscall.ENOENT && a.Container == "":
		return errors.New("attach: the daemon has several containers (name one with -n)")
	case e == syscall.ENOENT:
		return fmt.Errorf("attach to container %q: the daemon has no such container (see netcon status)", a.Container)
	}
	return fmt.Errorf("attach to container %q: %w", a.Container, e)
}
