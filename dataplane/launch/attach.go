// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// ErrNoDaemon says that no daemon listens on the attach socket.
var ErrNoDaemon = errors.New("no daemon")

// attachTimeout bounds the wait for the daemon: until it takes the connection,
// and until it answers.
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
	return attach(path, container, attachTimeout)
}

func attach(path, container string, timeout time.Duration) (*Attachment, error) {
	if len(container) >= shm.NameMax {
		return nil, fmt.Errorf("attach to container %q: name of %d bytes (at most %d)", container, len(container), shm.NameMax-1)
	}
	// The program may change directory before it attaches again.
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("attach at %s: %w", path, err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		return nil, fmt.Errorf("create attach socket: %w", err)
	}
	a := &Attachment{FD: fd, Socket: path, Container: container}
	if err := a.handshake(timeout); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return a, nil
}

// Inherit returns the attachment of the container that this process was started
// in, by what the environment says.
func Inherit() (*Attachment, error) {
	a := &Attachment{
		Socket: os.Getenv("NETCON_SOCKET"), Container: os.Getenv("NETCON_CONTAINER"), Missing: Missing(os.Getenv("NETCON_MISSING")),
	}
	fd, cookie, _ := strings.Cut(os.Getenv("NETCON_ATTACH"), ":")
	n, err := strconv.Atoi(fd)
	if err == nil {
		a.FD = n
		a.Cookie, err = unix.GetsockoptUint64(n, unix.SOL_SOCKET, unix.SO_COOKIE)
		if err == nil && strconv.FormatUint(a.Cookie, 10) == cookie {
			return a, nil
		}
	}
	// Closed, or the number is somebody else's now.
	again, err := Attach(a.Socket, a.Container)
	if err != nil {
		return nil, err
	}
	again.Missing = a.Missing
	return again, nil
}

// setTimeout bounds every wait on the socket; 0 takes the bound away.
func (a *Attachment) setTimeout(d time.Duration) error {
	tv := unix.NsecToTimeval(d.Nanoseconds())
	// A connect waits for room in the daemon's backlog as long as a send.
	return errors.Join(
		unix.SetsockoptTimeval(a.FD, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.SetsockoptTimeval(a.FD, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv))
}

// again repeats a call that a signal interrupted: with a timeout on the socket
// the kernel does not.
func again(call func() error) (err error) {
	for {
		if err = call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (a *Attachment) handshake(timeout time.Duration) error {
	if err := a.setTimeout(timeout); err != nil {
		return fmt.Errorf("attach at %s: %w", a.Socket, err)
	}
	err := again(func() error { return unix.Connect(a.FD, &unix.SockaddrUnix{Name: a.Socket}) })
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("attach at %s: %w (start one with: netcon up)", a.Socket, ErrNoDaemon)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("attach at %s: the daemon took no connection for %v", a.Socket, timeout)
	case err != nil:
		return fmt.Errorf("attach at %s: %w", a.Socket, err)
	}
	var status unix.Stat_t
	if err := unix.Fstat(a.FD, &status); err != nil {
		return fmt.Errorf("attach at %s: %w", a.Socket, err)
	}
	hello := shm.Attach{Magic: shm.Magic, Inode: uint32(status.Ino)}
	for i := range len(a.Container) {
		hello.Container[i] = int8(a.Container[i])
	}
	err = again(func() error { return unix.Send(a.FD, shm.AttachBytes(&hello), unix.MSG_NOSIGNAL) })
	if err != nil {
		return fmt.Errorf("attach at %s: %w", a.Socket, err)
	}
	var reply shm.Reply
	var n int
	err = again(func() (err error) {
		// A longer answer is not taken for one of ours.
		n, err = ReadRecord(a.FD, shm.ReplyBytes(&reply))
		return err
	})
	switch {
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("attach at %s: no answer for %v", a.Socket, timeout)
	case err != nil:
		return fmt.Errorf("attach at %s: %w", a.Socket, err)
	case n != shm.SizeofReply || reply.Magic != shm.Magic:
		return fmt.Errorf("attach at %s: no valid answer (%d bytes; is it a netcon daemon of this version?)", a.Socket, n)
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
	if err := a.setTimeout(0); err != nil {
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
		return errors.New("attach: the daemon does not have just one container (name one with -n)")
	case e == syscall.ENOENT:
		return fmt.Errorf("attach to container %q: the daemon has no such container (see netcon status)", a.Container)
	}
	return fmt.Errorf("attach to container %q: %w", a.Container, e)
}
