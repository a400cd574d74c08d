// SPDX-License-Identifier: Apache-2.0

// Packetdrill runs packetdrill scripts against netcon's own TCP, in memory and
// under a virtual clock.
//
//	packetdrill dataplane/tcp/testdata/scripts/linux/*.pkt
//	packetdrill -v --ip_version=ipv6 FILE.pkt     every packet, with its time
//	packetdrill --strict FILE.pkt                 no tolerance for PSH, padding, packets not mentioned
//
// Options are packetdrill's own, --help lists them. It exits with 1 if a script
// failed and with 2 if it could not be understood, or asks for something that is
// not supported.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"netcon/internal/packetdrill"
	"netcon/internal/packetdrill/native"
)

const usage = `usage: packetdrill [OPTION...] FILE.pkt...

Runs scripts in packetdrill's language against netcon's own TCP, in memory and
under a virtual clock: a script that waits for hours takes milliseconds.

    packetdrill rfc9293/3.5-passive-open.pkt
    packetdrill -v --ip_version=ipv6 rfc9293/*.pkt
    packetdrill -D CC=reno --tolerance_usecs=10000 upstream.pkt

  -v, --verbose             print every packet and call with its virtual time
  -q, --quiet               print failures only
  --strict                  PSH and padding as the script says; every packet mentioned
  -D, --define NAME=VALUE   replace a word of the script
  --ip_version=ipv4|ipv6|ipv4-mapped-ipv6
  --local_ip= --remote_ip= --gateway_ip= --netmask_ip=
  --bind_port= --connect_port=    8080
  --mtu=                          of the network, 1500
  --tolerance_usecs= --tolerance_percent=     4000, 12.5
  --tcp_ts_tick_usecs= --tcp_ts_ecr_scaled    compare TS val; echo values never sent
  --dry_run                 parse only
  --non_fatal=packet        go on after a packet that differs

exit status: 0 passed, 1 failed, 2 a script is not understood or not supported
`

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	c := packetdrill.DefaultConfig()
	var files []string
	verbose, quiet := false, false
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "-h" || a == "--help":
			fmt.Fprint(stdout, usage)
			return 0
		case a == "-v" || a == "--verbose":
			verbose = true
		case a == "-q" || a == "--quiet":
			quiet = true
		case a == "--strict":
			c.Strict = true
		case a == "-D" || a == "--define":
			if i++; i == len(args) {
				fmt.Fprintln(stderr, "packetdrill:", a, "wants NAME=VALUE")
				return 2
			}
			args[i] = "--define=" + args[i]
			i--
		case strings.HasPrefix(a, "--"):
			name, value, _ := strings.Cut(a[2:], "=")
			if err := c.Set(name, value); err != nil {
				fmt.Fprintln(stderr, "packetdrill:", err)
				return 2
			}
		case strings.HasPrefix(a, "-"):
			fmt.Fprintf(stderr, "packetdrill: unknown option %s (--help lists them)\n", a)
			return 2
		default:
			files = append(files, a)
		}
	}
	if len(files) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	if verbose {
		c.Trace = func(at time.Duration, line string) { fmt.Fprintf(stdout, "%12.6f %s\n", at.Seconds(), line) }
	}
	status := 0
	for _, f := range files {
		err := packetdrill.RunFile(f, c, native.New())
		var e *packetdrill.Error
		switch {
		case err == nil:
			if !quiet {
				fmt.Fprintln(stdout, "OK  ", f)
			}
		case errors.As(err, &e) && e.Script:
			status = max(status, 2)
			fmt.Fprintln(stderr, err)
		default:
			status = max(status, 1)
			fmt.Fprintln(stderr, err)
		}
	}
	return status
}
