// SPDX-License-Identifier: Apache-2.0

package tcp

import "testing"

// TestFRTO walks RFC 5682 section 3.1.
func TestFRTO(t *testing.T) {
	type step struct {
		in   frtoAck
		want frtoVerdict
	}
	var (
		advance  = frtoAck{advanced: true, canSend: true}
		noNew    = frtoAck{advanced: true}
		dup      = frtoAck{duplicate: true, canSend: true}
		dupSack  = frtoAck{duplicate: true, sacked: true, canSend: true}
		original = frtoAck{advanced: true, original: true, canSend: true}
		sackOrig = frtoAck{duplicate: true, sacked: true, original: true}
		complete = frtoAck{advanced: true, complete: true, canSend: true}
		nothing  = frtoAck{canSend: true}
	)
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"2a: all at once", []step{{complete, frtoLoss}, {advance, frtoNone}}},
		{"2b: no new data to send", []step{{noNew, frtoLoss}}},
		{"2: duplicates wait", []step{{dup, frtoUndecided}, {advance, frtoSendNew}}},
		{"2: an original shows", []step{{sackOrig, frtoSpurious}, {advance, frtoNone}}},
		{"3a: new data arrives, old does not", []step{{advance, frtoSendNew}, {dupSack, frtoLoss}}},
		{"3a: without SACK", []step{{advance, frtoSendNew}, {dup, frtoLoss}}},
		{"3b: an original is acknowledged", []step{{advance, frtoSendNew}, {original, frtoSpurious}, {original, frtoNone}}},
		{"3b: an original is SACKed", []step{{advance, frtoSendNew}, {sackOrig, frtoSpurious}}},
		{"3: a window update tells nothing", []step{{advance, frtoSendNew}, {nothing, frtoUndecided}, {original, frtoSpurious}}},
		{"everything is acknowledged, with the original", []step{{frtoAck{advanced: true, complete: true, original: true}, frtoSpurious}}},
		{"3: everything but no original", []step{{advance, frtoSendNew}, {complete, frtoLoss}}},
	} {
		var f frto
		f.start(false)
		for i, s := range c.steps {
			if got := f.ack(s.in); got != s.want {
				t.Errorf("%s: step %d: %d, want %d", c.name, i, got, s.want)
			}
		}
	}
	var f frto
	f.start(true)
	if f.active() || f.ack(original) != frtoNone {
		t.Error("F-RTO in a repeated timeout")
	}
	f.start(false)
	if !f.active() {
		t.Error("not active")
	}
	f.stop()
	if f.ack(original) != frtoNone {
		t.Error("F-RTO after it was stopped")
	}
}
