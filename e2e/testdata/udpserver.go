// SPDX-License-Identifier: Apache-2.0

// Command udpserver tells everybody who writes to PORT who they are, and echoes.
package main

import (
	"fmt"
	"log"
	"net"
	"os"
)

func main() {
	c, err := net.ListenPacket("udp", ":"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	b := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := c.WriteTo(append([]byte(from.String()+"\n"), b[:n]...), from); err != nil {
			log.Fatal(err)
		}
	}
}
