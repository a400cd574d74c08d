// SPDX-License-Identifier: Apache-2.0

//go:build ignore

// Command natsclient answers and makes requests through a NATS server:
//
//	natsclient URL CONNECTIONS REQUESTS
//
// It prints "ok" when every reply was the request's bytes.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

func main() {
	connections, _ := strconv.Atoi(os.Args[2])
	requests, _ := strconv.Atoi(os.Args[3])
	errs := make(chan error, connections)
	for i := range connections {
		go func() { errs <- client(os.Args[1], fmt.Sprintf("echo.%d", i), requests) }()
	}
	var err error
	for range connections {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func client(url, subject string, requests int) error {
	c, err := nats.Connect(url, nats.Timeout(20*time.Second))
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		return err
	}
	for i := range requests {
		data := make([]byte, []int{0, 1, 1000, 60000}[i%4])
		for j := range data {
			data[j] = byte(rand.Uint32())
		}
		m, err := c.Request(subject, data, 20*time.Second)
		if err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
		if !bytes.Equal(m.Data, data) {
			return fmt.Errorf("request %d: another reply", i)
		}
	}
	return nil
}
