// SPDX-License-Identifier: Apache-2.0

package main

import "net"

// echo echoes one connection after the other, until killed.
func echo(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	b := make([]byte, 1<<16)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		for {
			n, err := c.Read(b)
			if err != nil {
				break
			}
			if _, err := c.Write(b[:n]); err != nil {
				break
			}
		}
		_ = c.Close()
	}
}
