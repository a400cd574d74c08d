// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"
)

// Bounds of one stream of queries.
const (
	streamIdle  = 30 * time.Second // without a whole query; RFC 7766 section 6.2.3
	streamOpen  = 8                // queries that are not answered; then nothing is read
	streamWrite = 10 * time.Second // for one answer to be taken
)

// Serve answers the queries of one stream, each with its length before it, until it
// ends, and closes it. Answers come as they are found, not in order: RFC 7766
// section 6.2.1.1.
func (r *Resolver) Serve(ctx context.Context, a Asker, c net.Conn) {
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var writing sync.Mutex
	var open sync.WaitGroup
	defer open.Wait()
	room := make(chan struct{}, streamOpen)
	for {
		room <- struct{}{}
		query, err := readQuery(c)
		if err != nil {
			return // and what was asked before is answered
		}
		open.Go(func() {
			defer func() { <-room }()
			msg := r.Answer(ctx, a, query, false)
			if msg == nil {
				return
			}
			msg = append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg))), msg...)
			writing.Lock()
			defer writing.Unlock()
			_ = c.SetWriteDeadline(time.Now().Add(streamWrite))
			if _, err := c.Write(msg); err != nil {
				cancel()
				_ = c.Close()
			}
		})
	}
}

func readQuery(c net.Conn) ([]byte, error) {
	_ = c.SetReadDeadline(time.Now().Add(streamIdle))
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(length[:])
	if n > MaxQuery {
		return nil, io.ErrShortBuffer
	}
	query := make([]byte, n)
	_, err := io.ReadFull(c, query)
	return query, err
}
