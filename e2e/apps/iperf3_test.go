// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"encoding/json"
	"testing"
	"time"
)

func init() {
	packages := []string{"iperf3"}
	add(scenario{
		name: "iperf3", packages: packages,
		does: "3 s each: there, back (-R), both at once (--bidir), -P 4, -P 4 -R, IPv6; a count of bytes (-n 64M) with zero copy (-Z)", bytes: 256 << 20,
		run: func(t *testing.T, e *env) {
			iperf3(t, e, "-c", a4, "-t", "3")
			iperf3(t, e, "-c", a4, "-t", "3", "-R")
			iperf3(t, e, "-c", a4, "-t", "3", "--bidir")
			iperf3(t, e, "-c", a4, "-t", "3", "-P", "4")
			iperf3(t, e, "-c", a4, "-t", "3", "-P", "4", "-R")
			iperf3(t, e, "-c", a6, "-t", "3")
			iperf3(t, e, "-c", a4, "-n", "64M", "-Z")
		},
	})
	add(scenario{
		name: "iperf3-short", packages: packages, does: "1 s there, 1 s back", bytes: 16 << 20, short: true,
		run: func(t *testing.T, e *env) {
			iperf3(t, e, "-c", a4, "-t", "1")
			iperf3(t, e, "-c", a4, "-t", "1", "-R")
		},
	})
	add(scenario{
		name: "iperf3-udp", packages: packages, bytes: 7 << 20,
		does: "-u at 10 and 20 Mbit/s for 2 s each: there, back (-R), both at once (--bidir), -P 4, IPv6, datagrams of 60,000 bytes",
		run: func(t *testing.T, e *env) {
			iperf3UDP(t, e, "-c", a4, "-t", "2", "-b", "20M")
			iperf3UDP(t, e, "-c", a4, "-t", "2", "-b", "20M", "-R")
			iperf3UDP(t, e, "-c", a4, "-t", "2", "-b", "10M", "--bidir")
			iperf3UDP(t, e, "-c", a4, "-t", "2", "-b", "5M", "-P", "4")
			iperf3UDP(t, e, "-c", a6, "-t", "2", "-b", "20M")
			iperf3UDP(t, e, "-c", a4, "-t", "2", "-b", "20M", "-l", "60000")
		},
	})
	add(scenario{
		name: "iperf3-udp-short", packages: packages, does: "-u for 1 s there", bytes: 2 << 20, short: true,
		run: func(t *testing.T, e *env) { iperf3UDP(t, e, "-c", a4, "-t", "1", "-b", "20M") },
	})
}

// iperf3 runs a measurement from host b to a server of its own on host a.
func iperf3(t *testing.T, e *env, args ...string) {
	t.Helper()
	server := e.a.start(t, "iperf3", "-s", "-1")
	e.a.listens(t, 5201)
	out := e.b.do(t, 30*time.Second, append([]string{"iperf3", "-J"}, args...)...)
	if err := server.Wait(t, 10*time.Second); err != nil {
		t.Errorf("iperf3 -s: %v\n%s", err, server.Output())
	}
	var report struct {
		Error string
		End   struct {
			Sent struct{ Bytes uint64 } `json:"sum_sent"`
			Rcvd struct{ Bytes uint64 } `json:"sum_received"`
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("iperf3 %q: %v\n%s", args, err, out)
	}
	if report.Error != "" || report.End.Rcvd.Bytes == 0 || report.End.Sent.Bytes < report.End.Rcvd.Bytes {
		t.Errorf("iperf3 %q: error %q, sent %d, received %d", args, report.Error, report.End.Sent.Bytes, report.End.Rcvd.Bytes)
	}
}

// iperf3UDP sends datagrams at a rate that any machine keeps up with; what was
// lost is at most a tenth, which a loaded machine may be guilty of.
func iperf3UDP(t *testing.T, e *env, args ...string) {
	t.Helper()
	server := e.a.start(t, "iperf3", "-s", "-1")
	e.a.listens(t, 5201)
	out := e.b.do(t, 30*time.Second, append([]string{"iperf3", "-J", "-u"}, args...)...)
	if err := server.Wait(t, 10*time.Second); err != nil {
		t.Errorf("iperf3 -s: %v\n%s", err, server.Output())
	}
	var report struct {
		Error string
		End   struct {
			Sum struct {
				Bytes, Packets uint64
				Lost           int64 `json:"lost_packets"`
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("iperf3 %q: %v\n%s", args, err, out)
	}
	sum := report.End.Sum
	if report.Error != "" || sum.Bytes < 1<<20 || sum.Packets == 0 || sum.Lost > int64(sum.Packets/10) {
		t.Errorf("iperf3 %q: error %q, %d bytes in %d datagrams, %d lost", args, report.Error, sum.Bytes, sum.Packets, sum.Lost)
	}
}
