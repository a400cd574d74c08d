// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// hasFrags marks a program that handles frames in several buffers.
const hasFrags = unix.BPF_F_XDP_HAS_FRAGS

var errClosed = errors.New("program is closed")

// Program is the filter, loaded into the kernel, with its maps and, after
// Attach, its link.
type Program struct {
	queues  int
	objects struct {
		overlayPrograms
		overlayMaps
	}

	mu       sync.RWMutex // over what follows
	link     link.Link    // nil: not attached
	ifname   string
	mode     Mode
	fallback error
	closed   bool
}

// Load loads the program. It needs CAP_BPF and CAP_NET_ADMIN; no traffic comes
// by before Attach.
func Load(cfg Config) (*Program, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("load xdp program: %w", err)
	}
	spec, err := loadOverlay()
	if err != nil {
		return nil, fmt.Errorf("load xdp program: %w", err)
	}
	if err := cfg.apply(spec); err != nil {
		return nil, fmt.Errorf("load xdp program: %w", err)
	}
	p := &Program{queues: cfg.Queues}
	err = spec.LoadAndAssign(&p.objects, nil)
	if errors.Is(err, unix.EPERM) && len(missingCapabilities()) == 0 {
		raiseMemlock()
		err = spec.LoadAndAssign(&p.objects, nil)
	}
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("load xdp program: %w", notPermitted(err))
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.EINVAL):
		return nil, fmt.Errorf("load xdp program: %w (Linux 5.9 or later; 5.18 with Frags)", err)
	default:
		return nil, fmt.Errorf("load xdp program: %w", err)
	}
}

// Register gives the frames of a receive queue to an AF_XDP socket. The socket
// has to be bound to that queue of the interface; the kernel drops what the
// program sends to any other. It replaces the socket that was there. The entry
// goes away with the socket.
func (p *Program) Register(queue, fd int) error {
	if err := p.checkQueue(queue); err != nil {
		return fmt.Errorf("register xsk: %w", err)
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return fmt.Errorf("register xsk for queue %d: %w", queue, errClosed)
	}
	if err := p.objects.Sockets.Put(uint32(queue), uint32(fd)); err != nil {
		return fmt.Errorf("register xsk for queue %d: fd %d: %w", queue, fd, err)
	}
	return nil
}

// Unregister leaves the frames of a receive queue to the host again. It is no
// error if the queue has no socket.
func (p *Program) Unregister(queue int) error {
	if err := p.checkQueue(queue); err != nil {
		return fmt.Errorf("unregister xsk: %w", err)
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return nil
	}
	if err := p.objects.Sockets.Delete(uint32(queue)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("unregister xsk of queue %d: %w", queue, err)
	}
	return nil
}

func (p *Program) checkQueue(queue int) error {
	if queue < 0 || queue >= p.queues {
		return fmt.Errorf("queue %d (0 to %d)", queue, p.queues-1)
	}
	return nil
}

// Close detaches the program and removes it. Frames then go to the host.
func (p *Program) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	var err error
	if p.link != nil {
		err = p.link.Close()
	}
	err = errors.Join(err, p.objects.overlayPrograms.Close(), p.objects.overlayMaps.Close())
	if err != nil {
		return fmt.Errorf("close xdp program: %w", err)
	}
	return nil
}
