// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// prrPath plays a recovery in which each ACK SACKs one segment. lost segments
// are the first ones of a flight of 20; retransmissions go first, then there is
// always new data. Recovery begins with the ACK that comes after before others.
// It returns what each ACK let out, R or N, '-' for nothing, and the flight after
// it.
func prrPath(lost, before int, ssthresh uint32) (sent []string, pipes []int) {
	const flight = 20
	var p prr
	again := lost
	pipe := flight - lost - before
	for ack := before; ack < flight-lost; ack++ {
		pipe-- // what this ACK SACKs
		if ack == before {
			p.start(flight*testMSS, uint32(before+1)*testMSS, testMSS)
		}
		cwnd, ok := p.ack(testMSS, uint32(pipe)*testMSS, ssthresh*testMSS, testMSS, false)
		if !ok {
			panic("an ACK that delivers")
		}
		out := ""
		for ; uint32(pipe+1)*testMSS <= cwnd; pipe++ {
			if again > 0 {
				again--
				out += "R"
			} else {
				out += "N"
			}
			p.sent(testMSS)
		}
		if out == "" {
			out = "-"
		}
		sent = append(sent, out)
		pipes = append(pipes, pipe)
	}
	return sent, pipes
}

// TestPRROneLoss: RFC 9937 section 7: after one loss of 20 segments every other
// ACK lets a segment out when ssthresh is half, and the flight ends at ssthresh.
func TestPRROneLoss(t *testing.T) {
	sent, pipes := prrPath(1, 0, 10)
	// At the end the flight is at ssthresh, and each ACK lets out what it
	// delivered.
	want := "R - N - N - N - N - N - N - N - - N N"
	if got := strings.Join(sent, " "); got != want {
		t.Errorf("sent\n%s, want\n%s", got, want)
	}
	if last := pipes[len(pipes)-1]; last != 10 {
		t.Errorf("the flight ends at %d, want 10", last)
	}
	// CUBIC's ssthresh, and segments that were SACKed before: 18 will be
	// delivered, for 14.
	sent, pipes = prrPath(1, 2, 14)
	out := 0
	for k, s := range sent {
		out += strings.Count(s, "R") + strings.Count(s, "N")
		if want := ((k+1)*14 + 17) / 18; pipes[k] > 14 && out != want {
			t.Errorf("%d segments after %d ACKs, want %d", out, k+1, want)
		}
	}
	if last := pipes[len(pipes)-1]; last != 14 {
		t.Errorf("the flight ends at %d, want 14", last)
	}
}

// TestPRRHeavyLoss: RFC 9937 section 7: with the flight below ssthresh each ACK
// lets out what it delivered (conservative reduction bound), not a burst.
func TestPRRHeavyLoss(t *testing.T) {
	sent, _ := prrPath(15, 2, 10)
	if got, want := fmt.Sprint(sent), "[R R R]"; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
}

// TestPRRSafe: while SND.UNA advances and nothing else is lost, one more segment
// per ACK: slow start up to ssthresh.
func TestPRRSafe(t *testing.T) {
	var p prr
	p.start(20*testMSS, 0, 0)
	pipe := uint32(2)
	var pipes []uint32
	for range 8 {
		pipe--
		cwnd, _ := p.ack(testMSS, pipe*testMSS, 6*testMSS, testMSS, true)
		for (pipe+1)*testMSS <= cwnd {
			pipe++
			p.sent(testMSS)
		}
		pipes = append(pipes, pipe)
	}
	if want := []uint32{3, 4, 5, 6, 6, 6, 6, 6}; !slices.Equal(pipes, want) {
		t.Errorf("flights %v, want %v", pipes, want)
	}
}

// TestPRRIdleSender: an application that paused may catch up to ssthresh, and
// nothing more.
func TestPRRIdleSender(t *testing.T) {
	var p prr
	p.start(20*testMSS, 0, 0)
	for pipe := uint32(19); pipe >= 5; pipe-- {
		p.ack(testMSS, pipe*testMSS, 10*testMSS, testMSS, false)
	}
	cwnd, _ := p.ack(testMSS, 4*testMSS, 10*testMSS, testMSS, false)
	if cwnd != 10*testMSS {
		t.Errorf("cwnd %d segments, want ssthresh", cwnd/testMSS)
	}
}

func TestPRREdges(t *testing.T) {
	var p prr
	p.start(10*testMSS, 0, 0)
	if _, ok := p.ack(0, 5*testMSS, 5*testMSS, testMSS, true); ok {
		t.Error("an ACK that delivers nothing changed cwnd")
	}
	// The fast retransmission leaves even when the rates say nothing.
	if cwnd, _ := p.ack(1, 40*testMSS, 1*testMSS, testMSS, false); cwnd != 41*testMSS {
		t.Errorf("cwnd %d, want one segment above the flight", cwnd)
	}
	p.sent(testMSS)
	if cwnd, _ := p.ack(1, 40*testMSS, 1*testMSS, testMSS, false); cwnd != 40*testMSS {
		t.Errorf("cwnd %d, want the flight", cwnd)
	}
	// A window less than a segment above the flight does not keep it back.
	p.start(12*testMSS, 3*testMSS, testMSS)
	if cwnd, _ := p.ack(testMSS, 9*testMSS, 10*testMSS-200, testMSS, false); cwnd != 10*testMSS {
		t.Errorf("cwnd %d, want one segment above the flight", cwnd)
	}
	// A flight that never was.
	p.start(0, 1<<31, 0)
	if cwnd, _ := p.ack(1<<32-1, 1<<31, 1<<30, testMSS, true); cwnd > maxCwnd {
		t.Errorf("cwnd %d", cwnd)
	}
	p.sent(1<<32 - 1)
	p.sent(1<<32 - 1)
	if p.out != 1<<32-1 {
		t.Error("prr_out wrapped")
	}
}
