// SPDX-License-Identifier: Apache-2.0

// Command gohttp is an HTTP server and client of Go's standard library:
//
//	gohttp serve ADDRESS PORT		echoes bodies, until killed
//	gohttp client ADDRESS PORT CLIENTS REQUESTS BYTES
//		each client: REQUESTS posts of BYTES over a connection that is kept,
//		then one with Connection: close; compared; prints "ok"
//	gohttp interfaces			prints names and addresses of interfaces
//	gohttp echo ADDRESS PORT		echoes connections, until killed
//	gohttp shell COMMAND			runs a shell
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

func main() {
	var err error
	switch a := os.Args[1:]; a[0] {
	case "serve":
		err = serve(net.JoinHostPort(a[1], a[2]))
	case "client":
		err = client(net.JoinHostPort(a[1], a[2]), number(a[3]), number(a[4]), number(a[5]))
	case "interfaces":
		err = interfaces()
	case "echo":
		err = echo(net.JoinHostPort(a[1], a[2]))
	case "shell":
		c := exec.Command("/bin/sh", "-c", a[1])
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		err = c.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func interfaces() error {
	list, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range list {
		addrs, err := i.Addrs()
		if err != nil {
			return err
		}
		same, err := net.InterfaceByName(i.Name)
		if err != nil || same.Index != i.Index {
			return fmt.Errorf("%s by its name: %v, %w", i.Name, same, err)
		}
		fmt.Println(i.Name, i.Flags, addrs)
	}
	return nil
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func serve(address string) error {
	return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Peer", r.RemoteAddr)
		_, _ = w.Write(b)
	}))
}

func client(address string, clients, requests, size int) error {
	errs := make(chan error, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			// A connection each, with the local address it says it has.
			var local string
			h := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, a string) (net.Conn, error) {
				c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, a)
				if err == nil {
					local = c.LocalAddr().String()
				}
				return c, err
			}}}
			body := make([]byte, size)
			for j := range body {
				body[j] = byte(rand.Int32())
			}
			for j := range requests + 1 {
				r, _ := http.NewRequest("POST", "http://"+address, bytes.NewReader(body))
				r.Close = j == requests
				if err := once(&h, r, body, &local); err != nil {
					errs <- fmt.Errorf("client %d, request %d: %w", i, j, err)
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		return err
	}
	fmt.Println("ok")
	return nil
}

func once(h *http.Client, r *http.Request, body []byte, local *string) error {
	resp, err := h.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(got, body):
		return errors.New("another body came back")
	case resp.Header.Get("Peer") != *local:
		return fmt.Errorf("the server saw %s, this is %s", resp.Header.Get("Peer"), *local)
	}
	return nil
}
