// SPDX-License-Identifier: Apache-2.0

// Command names finds NAME by Go's own resolver, over UDP and TCP, and ADDRESS's
// name, which is to be NAME.NETWORK, and fetches http://NAME/PATH.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"time"
)

func main() {
	if len(os.Args) != 5 {
		fail("usage: names NAME NETWORK ADDRESS PATH")
	}
	name, network, address, path := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	udp := &net.Resolver{PreferGo: true}
	tcp := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, server string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", server)
	}}
	for how, r := range map[string]*net.Resolver{"udp": udp, "tcp": tcp} {
		for _, n := range []string{name, name + "." + network} {
			if found, err := r.LookupHost(ctx, n); err != nil || !slices.Contains(found, address) {
				fail("%s: %s is %v: %v", how, n, found, err)
			}
		}
		if found, err := r.LookupAddr(ctx, address); err != nil || !slices.Equal(found, []string{name + "." + network + "."}) {
			fail("%s: %s is %v: %v", how, address, found, err)
		}
		if found, err := r.LookupHost(ctx, "nobody."+network); err == nil || !err.(*net.DNSError).IsNotFound {
			fail("%s: nobody is %v: %v", how, found, err)
		}
	}
	answer, err := http.Get("http://" + name + path)
	if err != nil {
		fail("get: %v", err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		fail("get: %v", err)
	}
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}
