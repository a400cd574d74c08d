// SPDX-License-Identifier: Apache-2.0

// Command godatagrams is a UDP echo server and its clients, of Go's standard
// library:
//
//	godatagrams serve PORT
//	godatagrams client ADDRESS PORT CLIENTS DATAGRAMS
//
// The server prints "ready". Half of the clients are connected. Each waits for the
// echo of a datagram before it sends the next, and sends again what was lost. Only
// the first sends large ones: those of all do not fit into a socket's queue.
package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"
)

func main() {
	a := os.Args[1:]
	var err error
	switch a[0] {
	case "serve":
		err = serve(a[1])
	case "client":
		n := number(a[3])
		errs := make(chan error, n)
		for i := range n {
			go func() {
				errs <- client(netip.AddrPortFrom(netip.MustParseAddr(a[1]), uint16(number(a[2]))), i, number(a[4]))
			}()
		}
		for range n {
			err = errors.Join(err, <-errs)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// serve echoes through a socket for both families.
func serve(port string) error {
	p, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	b := make([]byte, 65536)
	for {
		n, from, err := p.(*net.UDPConn).ReadFromUDPAddrPort(b)
		if err != nil {
			return err
		}
		if _, err := p.(*net.UDPConn).WriteToUDPAddrPort(b[:n], from); err != nil {
			return err
		}
	}
}

func client(to netip.AddrPort, number, count int) error {
	connected := number%2 == 0
	var c *net.UDPConn
	var err error
	if connected {
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	} else {
		c, err = net.ListenUDP("udp", nil)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	sizes := []int{0, 1, 100, 1400, 1500, 9000}
	b := make([]byte, 65536)
	for i := range count {
		size := sizes[(i+number)%len(sizes)]
		if number == 0 && i%7 == 0 {
			size = 60000
		}
		data := make([]byte, size)
		_, _ = rand.Read(data)
		if err := once(c, to, connected, data, b); err != nil {
			return fmt.Errorf("client %d, datagram %d of %d bytes: %w", number, i, len(data), err)
		}
	}
	return nil
}

func once(c *net.UDPConn, to netip.AddrPort, connected bool, data, b []byte) error {
	for range 5 {
		var err error
		if connected {
			_, err = c.Write(data)
		} else {
			_, _, err = c.WriteMsgUDPAddrPort(data, nil, to)
		}
		if err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, from := 0, to
		if connected {
			n, err = c.Read(b)
		} else {
			n, _, _, from, err = c.ReadMsgUDPAddrPort(b, nil)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			return err
		case !bytes.Equal(b[:n], data):
			return fmt.Errorf("%d bytes came back, or others", n)
		case netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != to:
			return fmt.Errorf("from %s", from)
		}
		return nil
	}
	return errors.New("no answer")
}
