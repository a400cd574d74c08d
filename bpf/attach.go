// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Mode is where in the receive path the program runs.
type Mode uint8

const (
	Auto    Mode = iota // Native, else Generic
	Native              // in the driver, before the kernel makes a packet of the frame
	Generic             // after that: works everywhere, costs more
)

// String returns the name of the mode.
func (m Mode) String() string {
	switch m {
	case Auto:
		return "auto"
	case Native:
		return "native"
	case Generic:
		return "generic"
	}
	return "unknown"
}

// Attach puts the program in front of an interface of the calling thread's
// network namespace. It stays until Close, the end of the process or the end of
// the interface, whichever comes first.
//
// A program that is already there is never removed: the error is EBUSY, says
// which it is and how to get rid of it. With Auto a refusal of native mode for
// any other reason than that leads to generic mode, and Fallback tells the
// reason.
func (p *Program) Attach(ifindex int, mode Mode) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	dev, err := net.InterfaceByIndex(ifindex)
	switch {
	case err != nil:
		return fmt.Errorf("attach xdp program to interface %d: %w", ifindex, err)
	case p.closed:
		return fmt.Errorf("attach xdp program to %s: %w", dev.Name, errClosed)
	case p.link != nil:
		return fmt.Errorf("attach xdp program to %s: it is attached to %s", dev.Name, p.ifname)
	}
	modes := []Mode{mode}
	if mode == Auto {
		modes = []Mode{Native, Generic}
	}
	var refused error
	for _, m := range modes {
		l, err := p.attach(dev, m)
		if err == nil {
			p.link, p.ifname, p.mode, p.fallback = l, dev.Name, m, refused
			return nil
		}
		var held heldError
		if errors.As(err, &held) || errors.Is(err, unix.EPERM) {
			return err
		}
		if refused != nil {
			err = fmt.Errorf("%w; %w", refused, err)
		}
		refused = err
	}
	return refused
}

// Mode returns what Attach got: Native or Generic, and Auto before.
func (p *Program) Mode() Mode {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.mode
}

// Fallback returns why native mode was refused where Attach was to choose, and
// nil if it was not.
func (p *Program) Fallback() error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.fallback
}

func (p *Program) attach(dev *net.Interface, mode Mode) (link.Link, error) {
	flags := link.XDPDriverMode
	if mode == Generic {
		flags = link.XDPGenericMode
	}
	opts := link.XDPOptions{Program: p.objects.NetconOverlay, Interface: dev.Index, Flags: flags}
	l, err := link.AttachXDP(opts)
	held := whoHolds(dev, err)
	if errors.Is(err, unix.EBUSY) && held == "" {
		l, err = link.AttachXDP(opts) // it has just gone
	}
	if err == nil {
		return l, nil
	}
	reason := ""
	switch {
	case held != "":
		err = held
	case errors.Is(err, unix.EPERM):
		err = notPermitted(err)
	case errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, unix.EOPNOTSUPP):
		reason = " (Linux 5.9 or later)"
	case mode == Generic:
	case errors.Is(err, unix.EBUSY):
		reason = " (no XDP program is there: its driver refuses)"
	case errors.Is(err, unix.EOPNOTSUPP):
		reason = " (its driver has no native mode, or not with the present offloads)"
	case errors.Is(err, unix.ERANGE), errors.Is(err, unix.EINVAL):
		reason = fmt.Sprintf(" (if it is the MTU, %d here: lower it, on a veth the peer's, or allow frames in several buffers)", dev.MTU)
	}
	return nil, fmt.Errorf("attach xdp program to %s in %s mode: %w%s", dev.Name, mode, err, reason)
}
