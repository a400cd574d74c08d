// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"netcon/dataplane/stat"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

const (
	handshakeTime = 2 * time.Second
	maxHandshakes = 64
	maxSocketPath = 107 // sun_path without its NUL
)

// Peer is a process that wants to attach.
type Peer struct {
	PID       int32
	UID, GID  uint32
	Container string // as asked for; empty: the default one
	// Inode is that of the socket at the peer's end, as the peer says; 0 if it
	// does not.
	Inode uint32
}

// Admission is the answer to a Peer that may attach.
type Admission struct {
	Container string // the container's name, told to the peer
	Missing   int32  // shm.MissingFail or shm.MissingKernel
	// Adopt takes the attach socket, after the peer was told.
	Adopt func(fd int)
}

// Attach is the socket where process trees attach. Its methods are safe from
// any goroutine.
type Attach struct {
	l     *net.UnixListener
	stat  *stat.Block
	slots chan struct{}
}

// ListenAttach listens at path, in a directory that the caller made. A socket
// left by a daemon that is gone is replaced; one that somebody answers at is
// not. counts is only added to with the Shared methods.
func ListenAttach(path string, counts *stat.Block) (*Attach, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("listen on attach socket %s: path of %d bytes (the kernel takes %d, choose a shorter runtime directory)",
			path, len(path), maxSocketPath)
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("listen on attach socket %s: %w", path, err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("listen on attach socket %s: %w", path, err)
	}
	a := &Attach{l: l, stat: counts, slots: make(chan struct{}, maxHandshakes)}
	// Who may attach is decided per container, by uid.
	if err := os.Chmod(path, 0o666); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("open attach socket %s to everybody: %w", path, err)
	}
	if raw, err := l.SyscallConn(); err == nil {
		// Before the handshake is over nobody passes fds (Linux 6.16;
		// what comes on older kernels is closed).
		_ = raw.Control(func(fd uintptr) { setSockInt(int32(fd), soPassRights, 0) })
	}
	return a, nil
}

// removeStale removes a socket at path that nobody answers at.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%w (it is no socket)", unix.EEXIST)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%w (another daemon answers there)", unix.EADDRINUSE)
	}
	return os.Remove(path)
}

// Serve admits peers until Close, up to 64 at a time, and then returns nil.
// admit is called on a goroutine of each peer; an error number refuses it.
func (a *Attach) Serve(admit func(Peer) (Admission, syscall.Errno)) error {
	for {
		a.slots <- struct{}{}
		c, err := a.l.AcceptUnix()
		if err == nil {
			go func() {
				defer func() { <-a.slots }()
				a.handshake(c, admit)
			}()
			continue
		}
		<-a.slots
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM),
			errors.Is(err, unix.ECONNABORTED):
			time.Sleep(retryAfter) // the peer waits in the backlog
		default:
			return fmt.Errorf("accept on attach socket %s: %w", a.l.Addr(), err)
		}
	}
}

// Close ends Serve and removes the socket.
func (a *Attach) Close() error { return a.l.Close() }

// handshake reads one shm.Attach and answers it.
func (a *Attach) handshake(c *net.UnixConn, admit func(Peer) (Admission, syscall.Errno)) {
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(handshakeTime))
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	var p Peer
	cred, err := peerCred(raw)
	if err == nil {
		p.PID, p.UID, p.GID = cred.Pid, cred.Uid, cred.Gid
		p.Container, p.Inode, err = a.readHello(c)
	}
	if err != nil {
		a.stat.DropShared(stat.DropControlGarbage)
		a.reply(c, shm.Reply{Error: int32(unix.EINVAL)})
		return
	}
	adm, e := admit(p)
	if e != 0 {
		a.stat.DropShared(stat.DropControlRefused)
		a.reply(c, shm.Reply{Error: int32(e)})
		return
	}
	fd := -1
	_ = raw.Control(func(old uintptr) {
		// Requests may follow the reply at once: they carry fds and are
		// told from the end of the socket by their credentials.
		setSockInt(int32(old), soPassRights, 1)
		setSockInt(int32(old), unix.SO_PASSCRED, 1)
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil || fd < 0 {
		a.reply(c, shm.Reply{Error: int32(unix.ENFILE)})
		return
	}
	r := shm.Reply{Value: adm.Missing}
	r.Optlen = uint32(copy(r.Opt[:shm.NameMax-1], adm.Container))
	if a.reply(c, r) != nil {
		_ = unix.Close(fd)
		return
	}
	adm.Adopt(fd)
}

// readHello reads one shm.Attach and returns the container's name and the inode
// of the peer's end.
func (a *Attach) readHello(c *net.UnixConn) (name string, inode uint32, err error) {
	var hello shm.Attach
	oob := make([]byte, controlRoom)
	n, oobn, flags, _, err := c.ReadMsgUnix(shm.AttachBytes(&hello), oob)
	if err != nil {
		return "", 0, err
	}
	if oobn > 0 {
		// Closing somebody's file may sleep: not while a slot is held.
		go closeRights(oob[:oobn])
	}
	if n != shm.SizeofAttach || flags&unix.MSG_TRUNC != 0 || oobn > 0 || hello.Magic != shm.Magic {
		return "", 0, unix.EINVAL
	}
	b := shm.AttachBytes(&hello)[shm.SizeofAttach-shm.NameMax:]
	text, _, terminated := bytes.Cut(b, []byte{0})
	if !terminated {
		return "", 0, unix.EINVAL
	}
	return string(text), hello.Inode, nil
}

func (a *Attach) reply(c *net.UnixConn, r shm.Reply) error {
	r.Magic = shm.Magic
	_ = c.SetWriteDeadline(time.Now().Add(handshakeTime))
	_, err := c.Write(shm.ReplyBytes(&r))
	return err
}

func peerCred(raw syscall.RawConn) (cred *unix.Ucred, err error) {
	if e := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); e != nil {
		return nil, e
	}
	return cred, err
}

// closeRights closes the fds among control messages.
func closeRights(control []byte) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		for d := m.Data; len(d) >= 4; d = d[4:] {
			closeFD(int32(binary.NativeEndian.Uint32(d)))
		}
	}
}
