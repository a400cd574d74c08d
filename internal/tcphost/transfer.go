// SPDX-License-Identifier: Apache-2.0

package tcphost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"
)

// Transfer is one-way traffic: flows that begin together and run for a time.
// Each carries a Pattern, begins with its seed, and ends with FIN; the receiver
// answers with the number of bytes it found to be right.
type Transfer struct {
	At    netip.AddrPort // of the receiver
	Flows int
	Time  time.Duration
}

// Flow is what one end knows of one flow.
type Flow struct {
	Bytes         int64  // of the pattern, in all
	Counted       int64  // the receiver's within Transfer.Time of the first
	Retransmitted uint32 // the sender's, segments
}

// Report is what one end of a Transfer knows.
type Report struct {
	Flows []Flow
	Stats *Stats `json:",omitempty"` // of the engine
}

// transferBuffer is how many bytes are read and written at once.
const transferBuffer = 64 << 10

// each runs f for every flow at once and joins the errors.
func (t Transfer) each(f func(i int) error) error {
	errs := make([]error, t.Flows)
	var g sync.WaitGroup
	for i := range t.Flows {
		g.Go(func() {
			if err := f(i); err != nil {
				errs[i] = fmt.Errorf("flow %d: %w", i, err)
			}
		})
	}
	g.Wait()
	return errors.Join(errs...)
}

// Send is the sender's end.
func (t Transfer) Send(n Network) (r Report, err error) {
	r.Flows = make([]Flow, t.Flows)
	streams := make([]Stream, t.Flows)
	for i := range streams {
		if streams[i], err = n.Dial(t.At); err != nil {
			return r, fmt.Errorf("flow %d: %w", i, err)
		}
	}
	end := time.Now().Add(t.Time)
	err = t.each(func(i int) error {
		s, f := streams[i], &r.Flows[i]
		defer s.Close()
		if _, err := s.Write([]byte{byte(i)}); err != nil {
			return err
		}
		p := NewPattern(byte(i))
		for time.Now().Before(end) {
			if _, err := s.Write(p.Next(transferBuffer)); err != nil {
				return fmt.Errorf("write after %d bytes: %w", p.At(), err)
			}
		}
		if err := s.CloseWrite(); err != nil {
			return err
		}
		var answer [8]byte
		if _, err := io.ReadFull(s, answer[:]); err != nil {
			return fmt.Errorf("read the answer to %d bytes: %w", p.At(), err)
		}
		f.Bytes, f.Retransmitted = p.At(), n.Retransmitted(s)
		if got := int64(binary.BigEndian.Uint64(answer[:])); got != p.At() {
			return fmt.Errorf("%d bytes of %d were right", got, p.At())
		}
		return nil
	})
	return r, err
}

// Receive is the receiver's end. ready is called when it listens.
func (t Transfer) Receive(n Network, ready func()) (r Report, err error) {
	r.Flows = make([]Flow, t.Flows)
	l, err := n.Listen(t.At)
	if err != nil {
		return r, err
	}
	ready()
	streams := make([]Stream, t.Flows)
	for i := range streams {
		if streams[i], err = l.Accept(); err != nil {
			return r, fmt.Errorf("accept flow %d: %w", i, err)
		}
	}
	err = t.each(func(i int) error {
		s := streams[i]
		defer s.Close()
		return t.receive(s, &r.Flows[i])
	})
	return r, err
}

func (t Transfer) receive(s Stream, f *Flow) error {
	var seed [1]byte
	if _, err := io.ReadFull(s, seed[:]); err != nil {
		return err
	}
	end := time.Now().Add(t.Time)
	p, buf := NewPattern(seed[0]), make([]byte, transferBuffer)
	for {
		k, err := s.Read(buf)
		if e := p.Check(buf[:k]); e != nil {
			return e
		}
		if time.Now().Before(end) {
			f.Counted = p.At()
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read after %d bytes: %w", p.At(), err)
		}
	}
	f.Bytes = p.At()
	_, err := s.Write(binary.BigEndian.AppendUint64(nil, uint64(f.Bytes)))
	return err
}
