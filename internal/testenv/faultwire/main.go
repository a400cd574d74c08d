// SPDX-License-Identifier: Apache-2.0

// Command faultwire is a wire with faults: it forwards every frame between two
// interfaces and lets it meet drop, duplicate, reorder, corrupt, delay and rate
// on the way.
//
//	faultwire -a IFACE -b IFACE -faults "drop=3%,delay=20ms,seed=7" [-json]
//
// # Theory of operation
//
//	host A       │       namespace of the wire        │       host B
//	a0 ◄── veth ─┼─► wa ◄─ AF_PACKET  AF_PACKET ─► wb ◄┼─ veth ──► b0
//	             │           └──► injector ──►┘        │
//	             │           └◄── injector ◄──┘        │
//
// Each interface has one raw packet socket, promiscuous, blind to its own
// frames. The loop sleeps in one epoll set: two sockets, an alarm for frames
// that are held back, and an eventfd for the signal that ends it.
//
// A veth carries super-frames (GSO, up to 64 KiB) whole and leaves checksums
// unfinished. Nothing has to be switched off on the peers: the sockets ask for
// PACKET_VNET_HDR, super-frames are cut here into the frames that a wire would
// carry, each of which meets the faults by itself, and checksums are completed
// before anything else happens. What leaves is finished, and the receiver
// verifies it.
//
// The report goes to standard output on SIGTERM or SIGINT. The line "ready" on
// standard error says that frames pass from now on.
//
// # Limits
//
// Frames with unfinished checksums of protocols other than TCP, UDP and ICMP
// pass unfinished. Everything that is lost otherwise than on purpose has a
// count of its own in the report.
//
// # Not supported
//
// 802.1Q tags kept in socket metadata, BIG TCP (super-frames above 64 KiB), and
// interfaces whose own kernel must not see the traffic: give the wire a
// namespace without addresses.
//
// # References
//
// packet(7), Linux include/uapi/linux/virtio_net.h.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv/faults"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "faultwire:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("faultwire", flag.ContinueOnError)
	fs.SetOutput(stderr)
	a := fs.String("a", "", "one interface")
	b := fs.String("b", "", "the other interface")
	spec := fs.String("faults", "", `faults of both directions, such as "drop=3%,delay=20ms,rate=100mbit,seed=7"`)
	asJSON := fs.Bool("json", false, "report as JSON")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *a == "" || *b == "" || fs.NArg() != 0 {
		return fmt.Errorf("want -a IFACE -b IFACE and no further arguments")
	}
	cfg, err := faults.ParseConfig(*spec)
	if err != nil {
		return err
	}
	w, err := newWire(*a, *b, cfg)
	if err != nil {
		return err
	}
	defer w.close()

	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("create eventfd: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	go func() {
		<-signals
		unix.Write(stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}()
	fmt.Fprintln(stderr, "ready")
	if err := w.run(stop); err != nil {
		return err
	}
	return printReport(stdout, w.report(), *asJSON)
}

func printReport(out io.Writer, r faults.WireReport, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(r)
	}
	for _, d := range []struct {
		name string
		r    faults.DirectionReport
	}{{"a to b", r.AToB}, {"b to a", r.BToA}} {
		_, err := fmt.Fprintf(out, "%s: received %d (super-frames %d), seen %d, out %d, dropped %d, duplicated %d, "+
			"reordered %d, corrupted %d, delayed %d, overflowed %d, queued %d; "+
			"lost: kernel %d, unsegmented %d, too big %d, send errors %d\n",
			d.name, d.r.Received, d.r.SuperFrames, d.r.Seen, d.r.Out, d.r.Dropped, d.r.Duplicated,
			d.r.Reordered, d.r.Corrupted, d.r.Delayed, d.r.Overflowed, d.r.Queued,
			d.r.KernelDrops, d.r.Unsegmented, d.r.TooBig, d.r.SendErrors)
		if err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}
