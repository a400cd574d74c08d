// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// streamTo begins to serve a stream, and returns its other end and what is closed
// when that is over.
func streamTo(t *testing.T, r *Resolver, a Asker) (net.Conn, <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	ended := make(chan struct{})
	go func() { defer close(ended); r.Serve(context.Background(), a, theirs) }()
	return c, ended
}

func withLength(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

func nextAnswer(t *testing.T, c net.Conn) *dnsmessage.Message {
	t.Helper()
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		t.Fatal(err)
	}
	msg := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, msg); err != nil {
		t.Fatal(err)
	}
	return unpack(t, msg)
}

// TestServe: a stream may carry many queries at once, in pieces of any size; each is
// answered whole, and what was asked before the end still is.
func TestServe(t *testing.T) {
	var many []Member
	for i := range 200 {
		many = append(many, Member{fmt.Sprintf("c%d", i), addrs(fmt.Sprintf("10.42.1.%d", i))})
	}
	var r Resolver
	r.Set(NewNames([]Network{{Name: "blue", Members: many}}), nil)
	c, ended := streamTo(t, &r, Asker{Network: "blue"})
	var all []byte
	const queries = 3 * streamOpen
	for i := range queries {
		q := query(t, "blue.", dnsmessage.TypeA, 1232*(i%2))
		binary.BigEndian.PutUint16(q, uint16(i))
		all = append(all, withLength(q)...)
	}
	go func() {
		for len(all) > 0 {
			n := min(len(all), 7)
			if _, err := c.Write(all[:n]); err != nil {
				return
			}
			all = all[n:]
		}
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	seen := map[uint16]bool{}
	for range queries {
		m := nextAnswer(t, c)
		if m.Truncated || len(m.Answers) != 200 || seen[m.ID] || len(m.Additionals) != int(m.ID%2) {
			t.Fatalf("answer %d: truncated %t, %d addresses, %d additional", m.ID, m.Truncated, len(m.Answers), len(m.Additionals))
		}
		seen[m.ID] = true
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("behind the last answer: %d %v", n, err)
	}
	<-ended
}

// TestServeStrange: what is no query ends the stream, or gets no answer.
func TestServeStrange(t *testing.T) {
	var r Resolver
	r.Set(testNames(), nil)
	for name, sent := range map[string][]byte{
		"too long": {0xff, 0xff}, "cut": {0, 20, 1, 2}, "half a length": {0}, "nothing": nil,
	} {
		c, ended := streamTo(t, &r, Asker{Network: "Blue"})
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); err != nil || len(got) != 0 {
			t.Errorf("%s: answered %x, %v", name, got, err)
		}
		<-ended
	}
	c, ended := streamTo(t, &r, Asker{Network: "Blue"})
	good := query(t, "web.", dnsmessage.TypeA, 0)
	if _, err := c.Write(append(append([]byte{0, 0}, withLength(good[:11])...), withLength(good)...)); err != nil {
		t.Fatal(err)
	}
	if m := nextAnswer(t, c); len(m.Answers) != 1 {
		t.Errorf("behind what is no query: %+v", m)
	}
	_ = c.Close()
	<-ended
}
