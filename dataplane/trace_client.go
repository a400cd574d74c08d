// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Trace writes frames as pcapng to w until ctx ends, the daemon ends, or what o
// asks for is there. A trace that ctx ended is whole: what was captured by then
// and the statistics are in it, unless w or the daemon takes too long.
func (c *Client) Trace(ctx context.Context, o TraceOptions, w io.Writer) (TraceSummary, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.path)
	if err != nil {
		return TraceSummary{}, c.unreachable(err)
	}
	defer func() { _ = conn.Close() }()
	given := false
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		if given {
			return nil, errors.New("the daemon closed the connection")
		}
		given = true
		return conn, nil
	}}
	defer transport.CloseIdleConnections()
	// The end of ctx ends our sending half; the daemon goes on until it has
	// said everything.
	rest, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		_ = conn.(*net.UnixConn).CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(drainTime))
	})()
	req, err := http.NewRequestWithContext(rest, http.MethodGet, "http://netcon/v1/trace?"+o.query().Encode(), nil)
	if err != nil {
		return TraceSummary{}, fmt.Errorf("trace: %w", err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			return TraceSummary{End: TraceEndReader}, nil
		}
		return TraceSummary{}, fmt.Errorf("ask the daemon at %s: %w", c.path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		line, _ := bufio.NewReader(io.LimitReader(resp.Body, 4<<10)).ReadString('\n')
		return TraceSummary{}, errors.New(strings.TrimSpace(line))
	}
	if err := copyTrace(w, resp.Body); err != nil {
		return TraceSummary{}, err
	}
	return traceSummary(resp.Trailer)
}

// copyTrace tells whose fault it is.
func copyTrace(w io.Writer, body io.Reader) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return fmt.Errorf("write the trace: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the trace: the daemon went away: %w", err)
		}
	}
}

func traceSummary(trailer http.Header) (s TraceSummary, err error) {
	var dropped error
	s.Packets, err = strconv.ParseUint(trailer.Get(trailerPackets), 10, 64)
	s.Dropped, dropped = strconv.ParseUint(trailer.Get(trailerDropped), 10, 64)
	s.End = trailer.Get(trailerEnd)
	if err := errors.Join(err, dropped); err != nil {
		return s, fmt.Errorf("read the trace: the daemon's summary: %w", err)
	}
	return s, nil
}
