// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/asavie/xdp"
	"golang.org/x/sys/unix"
)

const (
	// After the end of a process the kernel gives its queues back in the
	// background.
	busyPatience = 2 * time.Second
	busyPause    = 20 * time.Millisecond

	// txBudget is how many packets one system call may send in copy mode; the
	// kernel's default is 32.
	txBudget = 512
	// sendBuffer bounds what the device has not sent yet in copy mode, with
	// the kernel's overhead.
	sendBuffer = 32 << 20

	// busyBudget is how many packets one system call may poll from the driver.
	busyBudget = 64
)

// bindMu guards the library's package variables and makes its failures
// attributable: one NewSocket at a time.
var bindMu sync.Mutex

// binding says how a socket is bound.
type binding struct {
	ifname   string
	ifindex  int
	queue    int
	shape    shape
	frames   int
	zeroCopy Choice
	busyPoll time.Duration
}

// socket is an AF_XDP socket that the library made, with its rings mapped again.
type socket struct {
	lib      *xdp.Socket
	fd       int
	umem     []byte
	layout   layout
	entries  [numRings]int
	maps     [numRings][]byte
	zeroCopy bool
	budget   bool // the kernel took txBudget
	busyPoll bool // the kernel took the busy-poll options
}

// openSocket makes a socket and binds it to a queue.
func openSocket(b binding) (*socket, error) {
	s := &socket{fd: -1}
	var err error
	if s.layout, err = probeLayout(); err != nil {
		return nil, err
	}
	for k := range s.entries {
		s.entries[k] = b.frames / 2
	}
	if err := s.bind(b); err != nil {
		return nil, fmt.Errorf("bind xsk %s queue %d: %w", b.ifname, b.queue, err)
	}
	if err := s.setUp(b); err != nil {
		return nil, errors.Join(fmt.Errorf("set up xsk %s queue %d: %w", b.ifname, b.queue, err), s.close())
	}
	return s, nil
}

// probeLayout reads the layout of rings from a socket that is bound to nothing.
func probeLayout() (layout, error) {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT):
		return layout{}, fmt.Errorf("open xsk: %w (a kernel with CONFIG_XDP_SOCKETS is needed)", err)
	case errors.Is(err, unix.EPERM):
		return layout{}, fmt.Errorf("open xsk: %w (need CAP_NET_RAW)", err)
	case err != nil:
		return layout{}, fmt.Errorf("open xsk: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	return readLayout(fd)
}

// bind has the library make the socket; while the queue is busy it tries again.
func (s *socket) bind(b binding) error {
	flags := uint16(unix.XDP_USE_NEED_WAKEUP)
	switch b.zeroCopy {
	case On:
		flags |= unix.XDP_ZEROCOPY
	case Off:
		flags |= unix.XDP_COPY
	}
	if b.shape.multi {
		flags |= unix.XDP_USE_SG
	}
	options := &xdp.SocketOptions{
		NumFrames: b.frames, FrameSize: b.shape.frameSize,
		FillRingNumDescs: s.entries[fillRing], CompletionRingNumDescs: s.entries[completionRing],
		RxRingNumDescs: s.entries[rxRing], TxRingNumDescs: s.entries[txRing],
	}
	bindMu.Lock()
	defer bindMu.Unlock()
	saved := xdp.DefaultSocketFlags
	defer func() { xdp.DefaultSocketFlags = saved }()
	xdp.DefaultSocketFlags = flags
	for deadline := time.Now().Add(busyPatience); ; time.Sleep(busyPause) {
		before, err := socketMappings()
		if err != nil {
			return err
		}
		// A process that is started meanwhile must not inherit the socket: it
		// would keep the queue.
		syscall.ForkLock.RLock()
		if s.lib, err = xdp.NewSocket(b.ifindex, b.queue, options); err == nil {
			s.fd = s.lib.FD()
			unix.CloseOnExec(s.fd)
		}
		syscall.ForkLock.RUnlock()
		if err == nil {
			return nil
		}
		if err := unmapNew(before, &s.layout, &s.entries); err != nil {
			return err
		}
		err = explainBind(libraryErrno(err), b)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
	}
}

// libraryErrno gives an error of the library its errno back, which it puts into
// the text only.
func libraryErrno(err error) error {
	for _, errno := range []unix.Errno{
		unix.EBUSY, unix.EOPNOTSUPP, unix.EINVAL, unix.EPERM, unix.ENOBUFS, unix.ENOMEM, unix.ENODEV, unix.ENXIO,
		unix.ENETDOWN, unix.EMFILE, unix.ENFILE, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT,
	} {
		if text, ok := strings.CutSuffix(err.Error(), ": "+errno.Error()); ok {
			return fmt.Errorf("%s: %w", text, errno)
		}
	}
	return err
}

// explainBind adds what would help.
func explainBind(err error, b binding) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w (another AF_XDP socket has the queue: ss -f xdp)", err)
	case errors.Is(err, unix.EOPNOTSUPP) && b.zeroCopy == On:
		return fmt.Errorf("%w (the driver of %s has no zero copy in this mode: choose auto or off)", err, b.ifname)
	case errors.Is(err, unix.EOPNOTSUPP) && b.shape.multi:
		return fmt.Errorf("%w (frames over several buffers need Linux 6.6 and, with zero copy, a driver for it: lower the MTU to %d)", err, singleMTU)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (need CAP_NET_RAW)", err)
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%w (locked memory: need CAP_IPC_LOCK, or a larger RLIMIT_MEMLOCK, or fewer frames)", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w (has the number of queues changed: ethtool -l %s?)", err, b.ifname)
	}
	return err
}

// setUp maps the rings a second time and sets options that may fail.
func (s *socket) setUp(b binding) error {
	s.umem = s.lib.GetFrame(xdp.Desc{Len: uint32(b.frames * b.shape.frameSize)})
	for k := range s.maps {
		var err error
		if s.maps[k], err = mapRing(s.fd, ringKind(k), &s.layout, s.entries[k]); err != nil {
			return err
		}
	}
	flags, err := readOptions(s.fd)
	if err != nil {
		return err
	}
	s.zeroCopy = flags&unix.XDP_OPTIONS_ZEROCOPY != 0
	s.budget = unix.SetsockoptInt(s.fd, unix.SOL_XDP, unix.XDP_MAX_TX_SKB_BUDGET, min(txBudget, s.entries[txRing])) == nil
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	if b.busyPoll > 0 {
		s.busyPoll = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_PREFER_BUSY_POLL, 1) == nil &&
			unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_BUSY_POLL, max(1, int(b.busyPoll.Microseconds()))) == nil &&
			unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_BUSY_POLL_BUDGET, busyBudget) == nil
	}
	return nil
}

// close gives everything back: what the library closes, the ring mappings that
// it forgets, and ours. Only then the kernel lets go of the queue.
func (s *socket) close() error {
	if s.lib == nil {
		return nil
	}
	leaked, err := libraryRings(s.lib, &s.layout, &s.entries)
	errs := []error{err, s.lib.Close()}
	for _, mem := range leaked {
		if mem != nil {
			errs = append(errs, syscall.Munmap(mem))
		}
	}
	for _, mem := range s.maps {
		if mem != nil {
			errs = append(errs, unix.Munmap(mem))
		}
	}
	*s = socket{fd: -1}
	return errors.Join(errs...)
}
