// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"net"
	"time"
)

const udpTime = 5 * time.Second

// udpServe echoes datagrams, until killed.
func udpServe(address string) error {
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	b := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return err
		}
		if _, err := c.WriteTo(b[:n], from); err != nil {
			return err
		}
	}
}

// udpClient sends datagrams of several sizes, connected and not, and compares.
func udpClient(address string) error {
	connected, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer connected.Close()
	free, err := net.ListenUDP("udp", nil)
	if err != nil {
		return err
	}
	defer free.Close()
	server := connected.RemoteAddr().(*net.UDPAddr)
	got := make([]byte, 1<<16)
	for _, size := range []int{0, 1, 1000, 20_000, 60_000} {
		want := bytes.Repeat([]byte{byte(size + 1)}, size)
		_ = connected.SetDeadline(time.Now().Add(udpTime))
		_ = free.SetDeadline(time.Now().Add(udpTime))
		if _, err := connected.Write(want); err != nil {
			return fmt.Errorf("write %d: %w", size, err)
		}
		if n, err := connected.Read(got); err != nil || !bytes.Equal(got[:n], want) {
			return fmt.Errorf("connected: %d bytes came back as %d: %w", size, n, err)
		}
		if _, _, err := free.WriteMsgUDP(want, nil, server); err != nil {
			return fmt.Errorf("write %d: %w", size, err)
		}
		n, _, _, from, err := free.ReadMsgUDP(got, nil)
		if err != nil || !bytes.Equal(got[:n], want) || from.String() != server.String() {
			return fmt.Errorf("not connected: %d bytes came back as %d from %v: %w", size, n, from, err)
		}
	}
	fmt.Println("ok")
	return nil
}
