// SPDX-License-Identifier: Apache-2.0

// Command tcphost is one end of a transfer between two hosts, with the native
// engine or the kernel's TCP, and prints what it saw as JSON.
//
//	tcphost -receive -at 192.0.2.2:5000 [-flows 4] [-time 5s]
//	tcphost -send    -at 192.0.2.2:5000 [-flows 4] [-time 5s] -device e0 -addr 192.0.2.1/24
//
// With -device it is the engine on that interface, whose kernel must not have
// the address; without, the kernel's sockets. The line "ready" on standard
// error says that a receiver listens. The command goes on after its report until
// SIGTERM or SIGINT: TCP may not be done yet.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"netcon/dataplane/tcp"
	"netcon/dataplane/wire"
	"netcon/internal/tcphost"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "tcphost:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("tcphost", flag.ContinueOnError)
	fs.SetOutput(stderr)
	send, receive := fs.Bool("send", false, "be the sender"), fs.Bool("receive", false, "be the receiver")
	at := fs.String("at", "", "address and port of the receiver")
	flows := fs.Int("flows", 1, "connections")
	d := fs.Duration("time", 5*time.Second, "how long the sender sends")
	device := fs.String("device", "", "interface of the native engine; none: the kernel's TCP")
	addr := fs.String("addr", "", "address of the native engine, with its prefix")
	peer := fs.String("peer", "", "a neighbour of the native engine, as ADDRESS=MAC")
	buffer := fs.Int("buffer", 4<<20, "bytes of send and of receive buffer, a power of two")
	unsent := fs.Int("unsent", 0, "bytes written and not sent at most, 0: no limit")
	cc := fs.String("control", "", "congestion control of the kernel")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *send == *receive || fs.NArg() != 0 {
		return fmt.Errorf("want -send or -receive and no further arguments")
	}
	t := tcphost.Transfer{Flows: *flows, Time: *d}
	var err error
	if t.At, err = netip.ParseAddrPort(*at); err != nil {
		return fmt.Errorf("parse -at: %w", err)
	}
	// Collecting must not compete with the traffic for a processor.
	debug.SetGCPercent(400)

	var n tcphost.Network = tcphost.Kernel{Buffer: *buffer, Unsent: *unsent, Control: *cc}
	var h *tcphost.Host
	if *device != "" {
		if h, err = newHost(*device, *addr, *peer, *buffer); err != nil {
			return err
		}
		defer h.Close()
		n = tcphost.Native{Host: h, Unsent: *unsent}
	}
	var r tcphost.Report
	if *send {
		r, err = t.Send(n)
	} else {
		r, err = t.Receive(n, func() { fmt.Fprintln(stderr, "ready") })
	}
	if h != nil {
		s := h.Stats()
		r.Stats = &s
	}
	if e := json.NewEncoder(stdout).Encode(r); err == nil {
		err = e
	}
	if err == nil {
		// What was written last may have to be sent again.
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		<-stop
	}
	return err
}

func newHost(device, addr, peer string, buffer int) (*tcphost.Host, error) {
	prefix, err := netip.ParsePrefix(addr)
	if err != nil {
		return nil, fmt.Errorf("parse -addr: %w", err)
	}
	c := tcphost.Config{Device: device, Addrs: []netip.Prefix{prefix}, Ring: buffer, Static: map[netip.Addr]wire.MAC{}}
	if peer != "" {
		ip, mac, _ := strings.Cut(peer, "=")
		a, err := netip.ParseAddr(ip)
		if err != nil {
			return nil, fmt.Errorf("parse -peer: %w", err)
		}
		var m wire.MAC
		if err := m.UnmarshalText([]byte(mac)); err != nil {
			return nil, fmt.Errorf("parse -peer: %w", err)
		}
		c.Static[a] = m
	}
	tun := tcp.DefaultTuning()
	tun.ReceiveBuffer, tun.MaxReceiveBuffer = buffer, max(tun.MaxReceiveBuffer, buffer)
	tun.SendBuffer, tun.MaxSendBuffer = buffer, max(tun.MaxSendBuffer, buffer)
	c.Tuning = &tun
	return tcphost.New(c)
}
