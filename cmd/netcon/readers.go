// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"netcon/dataplane"
	"netcon/dataplane/stat"
	"netcon/dataplane/xsk"
)

// runtimeDirFlag says which daemon is meant.
func runtimeDirFlag(c *call) *string {
	return c.flags.String("run", dataplane.DefaultRuntimeDir(), "the daemon's runtime `DIR`; default $NETCON_RUN or where netcon up puts it")
}

// reader is a command that asks the daemon and prints.
func reader[T any](c *call, ask func(*dataplane.Client) (T, error), print func(w io.Writer, v T)) error {
	dir := runtimeDirFlag(c)
	asJSON := c.flags.Bool("json", false, "print JSON")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	v, err := ask(dataplane.NewClient(*dir))
	if err != nil {
		return err
	}
	if *asJSON {
		return encodeJSON(c.stdout, v)
	}
	print(c.stdout, v)
	return nil
}

func encodeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

var statusCommand = &command{
	name: "status", args: "[-json] [-run DIR]", short: "what runs: underlay, networks, containers, programs",
	help: `
Shows what the daemon runs. For each program that was started in a container: how
its calls are answered and, if they are not, why. A daemon of an ordinary user
sees that user's programs.

  netcon status
  netcon status -json | jq '.containers[].name'`,
	run: func(c *call) error { return reader(c, (*dataplane.Client).Status, printStatus) },
}

func printStatus(w io.Writer, s dataplane.Status) {
	fmt.Fprintf(w, "netcon %s, pid %d, up %s, %s\n", s.Version, s.PID,
		(time.Duration(s.UptimeSec) * time.Second).String(), s.RuntimeDir)
	fmt.Fprintf(w, "underlay %s %s, mtu %d, %s\n", s.Underlay.Kind, s.Underlay.Address, s.Underlay.MTU, s.Underlay.Features)
	for _, x := range s.Workers {
		cpu := "not pinned"
		if x.CPU >= 0 {
			cpu = fmt.Sprintf("cpu %d", x.CPU)
		}
		fmt.Fprintf(w, "worker %d (%s): %d containers, %d frames in, %d out\n", x.Index, cpu, x.Containers, x.RxFrames, x.TxFrames)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nNETWORK\tVNI\tMTU\tSUBNETS\tVTEPS\tMEMBERS\tLEARNED\n")
	for _, n := range s.Networks {
		vteps := n.VTEPs
		if n.Learn {
			vteps = append(slices.Clone(vteps), "any")
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%d\t%d\n", n.Name, n.VNI, n.MTU, list(n.Subnets), list(vteps), n.Members, n.Learned)
	}
	fmt.Fprint(t, "\nCONTAINER\tNETWORK\tADDRESSES\tPOLICY\tWORKER\tENGINE\tMODE\tSOCKETS\tIN\tOUT\tRESTARTS\n")
	for _, x := range s.Containers {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%d\t%s\t%s\t%d\n", x.Name, x.Network, list(x.Addresses), x.Policy, x.Worker,
			x.Engine, x.Mode, x.Sockets, size(x.BytesIn), size(x.BytesOut), x.Restarts)
	}
	printPublished(t, s.Containers)
	if len(s.Processes) > 0 {
		fmt.Fprint(t, "\nCONTAINER\tPID\tUID\tCOMMAND\tMECHANISM\tMODE\tSOCKETS\tREASON\n")
	}
	for _, x := range s.Processes {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%s\t%d\t%s\n", x.Container, x.PID, x.UID, x.Command, x.Mechanism, shown(x.Mode), x.Sockets, shown(x.Reason))
	}
	_ = t.Flush()
}

// printPublished prints the ports of the host that lead to containers.
func printPublished(w io.Writer, containers []dataplane.ContainerStatus) {
	title := "\nPUBLISHED\tPROTOCOL\tCONTAINER\tPORT\tPID\n"
	for _, x := range containers {
		for _, p := range x.Published {
			fmt.Fprint(w, title)
			title = ""
			pid := "-"
			if p.PID != 0 {
				pid = strconv.Itoa(int(p.PID))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", p.Host, p.Proto, x.Name, p.Port, pid)
		}
	}
}

var socketsCommand = &command{
	name: "sockets", args: "[-json] [-run DIR]", short: "the applications' sockets, like ss",
	help: `
Lists the virtual sockets of all containers: state, addresses, bytes waiting,
which process made each, how its calls are answered and how its bytes travel, and
which calls were refused because a container has no such thing.

  netcon sockets
  netcon sockets -json | jq '.[] | select(.state == "LISTEN")'`,
	run: func(c *call) error { return reader(c, (*dataplane.Client).Sockets, printSockets) },
}

func printSockets(w io.Writer, sockets []dataplane.Socket) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "CONTAINER\tPROTO\tSTATE\tRECV-Q\tSEND-Q\tLOCAL\tPEER\tPID\tMECHANISM\tMODE\tVIA\tIN\tOUT\tDROPS\tREFUSED\n")
	for _, s := range sockets {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", s.Container, s.Protocol, s.State, s.RecvQueue, s.SendQueue,
			s.Local, peer(s.Remote), s.PID, s.Mechanism, s.Mode, s.Via, size(s.BytesIn), size(s.BytesOut), s.Drops, shown(strings.Join(s.Refused, ",")))
	}
	_ = t.Flush()
}

var statsCommand = &command{
	name: "stats", args: "[-json] [-run DIR]", short: "every counter and drop reason",
	help: `
Shows every counter that is not zero, and for every dropped frame, packet or
request the reason. With an AF_XDP underlay also what the XDP program decided,
every queue's rings and frames, and the next hop of each VTEP.

  netcon stats
  netcon stats -json | jq .total.drops`,
	run: func(c *call) error { return reader(c, (*dataplane.Client).Stats, printStats) },
}

func printStats(w io.Writer, s dataplane.Stats) {
	printSnapshot(w, "total", s.Total)
	for i, x := range s.Workers {
		printSnapshot(w, fmt.Sprintf("worker %d", i), x)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Containers)) {
		printSnapshot(w, "container "+name, s.Containers[name])
	}
	printSnapshot(w, "control", s.Control)
	if s.Underlay != nil {
		printDevice(w, s.Underlay)
	}
}

// printDevice prints what an AF_XDP underlay counts.
func printDevice(w io.Writer, r *xsk.Report) {
	fmt.Fprintf(w, "XDP program on %s\n", r.Interface)
	for _, name := range slices.Sorted(maps.Keys(r.Verdicts)) {
		if n := r.Verdicts[name]; n != 0 {
			fmt.Fprintf(w, "  %-22s %d\n", name, n)
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nQUEUE\tWORKER\tFREE\tFILL\tRX\tTX\tCOMPLETION\tHELD\tKICKS\tAGAIN\tWAKEUPS\tRX-DROPPED\tRING-FULL\tFILL-EMPTY\tINVALID\tTROUBLE\n")
	for _, q := range r.Queues {
		k := &q.Kernel
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", q.Queue, q.Worker,
			q.Frames.Free, q.Frames.Fill, q.Frames.Rx, q.Frames.Tx, q.Frames.Completion, q.Frames.Held, q.Kicks, q.Again, q.Wakeups,
			k.RxDropped, k.RxRingFull, k.FillRingEmpty, k.RxInvalid+k.TxInvalid+q.Strange, shown(q.Trouble))
	}
	fmt.Fprint(t, "\nVTEP\tVIA\tMAC\tSTATE\tKERNEL\tMTU\tREASON\n")
	for _, e := range r.NextHops {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", e.VTEP, e.Via, e.MAC, e.State, shown(e.Kernel), e.MTU, shown(e.Reason))
	}
	_ = t.Flush()
}

func printSnapshot(w io.Writer, title string, s stat.Snapshot) {
	fmt.Fprintf(w, "%s\n", title)
	for _, name := range slices.Sorted(maps.Keys(s.Counters)) {
		fmt.Fprintf(w, "  %-22s %d\n", name, s.Counters[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.Drops)) {
		fmt.Fprintf(w, "  drop %-17s %d\n", name, s.Drops[name])
	}
}

func peer(a netip.AddrPort) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}

func list(s []string) string {
	if len(s) == 0 {
		return "-"
	}
	return strings.Join(s, ",")
}

// size shortens a count of bytes.
func size(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	v, i := float64(n)/1024, 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.1f%ciB", v, units[i])
}
