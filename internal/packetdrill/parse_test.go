// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"errors"
	"strings"
	"testing"
	"time"

	"netcon/dataplane/wire"
)

// parsePacket parses one packet behind an event that may stand first.
func parsePacket(t *testing.T, text string) *Packet {
	t.Helper()
	s, err := Parse("x.pkt", "0 close(3) = 0\n+0 "+text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.Events[1].Packet
}

func TestParsePacket(t *testing.T) {
	k := parsePacket(t, "> [ect0] 8080 > 99 SEWA. 4294967295:4(5) ack 7 win 8 urg 9 <mss 1460,sackOK,TS val 1 ecr 2,nop,wscale 7,sack 1:2 3:4>")
	if !k.Out || k.ECN != ecnExact || k.TOS != 2 || k.SrcPort != 8080 || k.DstPort != 99 ||
		k.Flags != wire.TCPSyn|wire.TCPEce|wire.TCPCwr|flagAE|wire.TCPAck || k.Seq != 0xffffffff || k.Len != 5 || k.Ack != 7 || k.Win != 8 || k.Urg != 9 {
		t.Errorf("got %+v", k)
	}
	if got := optionString(k.Opts); got != "<mss 1460,sackOK,TS val 1 ecr 2,nop,wscale 7,sack 1:2 3:4>" {
		t.Error(got)
	}
	if k = parsePacket(t, "< (tos 0x28, flowlabel 0xabc) .5 1:1(0)"); k.Flags != wire.TCPAck|flagAE|wire.TCPEce || !k.CheckTOS || k.TOS != 0x28 || k.Label != 0xabc || k.Win != -1 {
		t.Errorf("got %+v", k)
	}
	if k = parsePacket(t, "< - 1:1(0) <md5 0011aabb,FO 1234,FOEXP,eol>"); k.Flags != 0 || len(k.Opts) != 4 || k.Opts[1].Kind != optFastOpen || len(k.Opts[2].Data) != 2 {
		t.Errorf("got %+v", k)
	}
	k = parsePacket(t, "< icmp unreachable frag_needed mtu 1400 [1:1461(1460)]")
	if m := k.ICMP; m == nil || m.Type != "unreachable" || m.Code != "frag_needed" || m.MTU != 1400 || !m.Quote || m.Seq != 1 || m.Len != 1460 {
		t.Errorf("got %+v", k.ICMP)
	}
}

func TestParseTimes(t *testing.T) {
	s, err := Parse("x.pkt", "--tolerance_usecs=9\n--define=X=\"a b\" --send_omit_free // no value\n\n"+
		"0 close(3) = 0\n0.5~1 > . 1:1(0)\n+.25 close(3) = 0\n+.1~+.3 > . 1:1(0)\n* > . 1:1(0)\n1...1.5 close(3) = 0\n+0...0.05 close(3) = 0", nil)
	if err != nil {
		t.Fatal(err)
	}
	ms := time.Millisecond
	for i, want := range []When{
		{},
		{At: 500 * ms, End: 1000 * ms, Range: true},
		{At: 250 * ms, Relative: true},
		{At: 100 * ms, End: 300 * ms, Range: true, Relative: true},
		{Any: true},
		{At: 1000 * ms},
		{Relative: true},
	} {
		if got := s.Events[i].When; got != want {
			t.Errorf("event %d: got %+v, want %+v", i, got, want)
		}
	}
	if c := s.Events[5].Call; !c.Blocking || c.End != 1500*ms {
		t.Errorf("got %+v", c)
	}
	if c := s.Events[6].Call; !c.Blocking || c.End != 50*ms || s.Events[6].Line != 10 {
		t.Errorf("got %+v", s.Events[6])
	}
	if len(s.Options) != 3 || s.Options[0].Value != "9" {
		t.Errorf("options %+v", s.Options)
	}
}

func TestDefine(t *testing.T) {
	s, err := Parse("x.pkt", "--define=N=12\n--define=CMD=`echo x`\nCMD\n0 read(3, \"a\" \"b\", N) = N", map[string]string{"M": "1"})
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Events[0].Call; s.Init != "echo x" || c.Args[2].Int != 12 || c.Result.Int != 12 || c.Args[1].Text != "ab" {
		t.Errorf("got %+v, init %q", c, s.Init)
	}
}

// A script that cannot be understood is refused at its line, before it runs.
func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                                                      "x.pkt:1: no events",
		"0.1 close(3) = 0":                                                      "x.pkt:1: the first event should be at time 0",
		"0 close(3) = 0\n* close(3) = 0":                                        "x.pkt:2: only an expected packet can have any time",
		"0 close(3) = 0\n2~1 > . 1:1(0)":                                        "x.pkt:2: a range of times runs backwards",
		"0 close(3) = 0\n+1~2 > . 1:1(0)":                                       "mixes absolute and relative",
		"0 close(3":                                                             "end of file, want \",\"",
		"0 close(3) = 0\n+0 > Q 1:1(0)":                                         "x.pkt:2: \"Q\": 'Q' is no TCP flag",
		"0 close(3) = 0\n+0 > . 1:3(1)":                                         "sequence numbers 1:3 do not fit 1 bytes",
		"0 close(3) = 0\n+0 > . 1:1(0) ack x":                                   "ack \"x\" (want a number)",
		"0 close(3) = 0\n+0 > . 1:1(0) win 65536":                               "win \"65536\" (want 0 to 65535)",
		"0 close(3) = 0\n+0 < . 1:1(0) <...>":                                   "<...> is for expected packets",
		"0 close(3) = 0\n+0 < [ect01] . 1:1(0)":                                 "[ect01] is for expected packets",
		"0 close(3) = 0\n+0 > . 1:1(0) <cookie 1>":                              "\"cookie\" is no TCP option",
		"0 close(3) = 0\n+0 > . 1:1(0) <md5 012>":                               "want pairs of hexadecimal digits",
		"0 close(3) = 0\n+0 < udp (10)":                                         "packets with udp are not supported",
		"0 close(3) = 0\n+0 < ipv4 192.0.2.1 > 192.0.2.2: . 1:1(0)":             "packets with ipv4 are not supported",
		"0 close(3) = 0\n+0 < . 1:1(0) {mut tcp mss}":                           "fuzzing of packets is not supported",
		"0 close(3) = 0\n/* no end":                                             "x.pkt:2: comment without an end",
		"0 close(3) = 0\n+0 %{ assert":                                          "x.pkt:2: %{ without }%",
		"0 close(3) = 0\n+0 `sysctl":                                            "x.pkt:2: ` without an end",
		"0 close(3) = 0\n`clean`\n+0 close(3) = 0":                              "x.pkt:3: \"+\" behind the command that ends the script",
		"0 close(3) = 0 EBADF (":                                                "note without an end",
		"0 f(" + strings.Repeat("[", 200):                                       "nests more than 50 deep",
		"0 close(3) = 0\n+0 > . 1:1(0) <sack" + strings.Repeat(" 1:2", 6) + ">": "options of 50 bytes (want 40 at most)",
	} {
		_, err := Parse("x.pkt", text, nil)
		var e *Error
		if !errors.As(err, &e) || !e.Script || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// What is found only while a script runs is the script's fault, too.
func TestUnsupported(t *testing.T) {
	for text, want := range map[string]string{
		"0 splice(3) = 0":                                             "x.pkt:1: system call splice is not supported",
		"--wire_client\n0 close(3) = -1":                              "x.pkt:1: --wire_client is not supported",
		"--nonsense=1\n0 close(3) = -1":                               "x.pkt:1: unknown option --nonsense",
		"--ip_version=ipv5\n0 close(3) = -1":                          "bad --ip_version=ipv5",
		"0 socket(..., SOCK_DGRAM, ...) = 3":                          "sockets that are not TCP",
		"0 socket(..., SOCK_X, ...) = 3":                              "constant SOCK_X is not known",
		"0 close(3) = -1 EWHAT (?)":                                   "error EWHAT is not known",
		"0 `sysctl net.ipv4.bad=1`":                                   "no such value",
		serve + "+0 socket(..., ..., ...) = 4":                        "x.pkt:8: socket returns descriptor 4, which is open",
		serve + "+0 send(4, ..., 1, MSG_OOB) = 1":                     "send with MSG_OOB is not supported",
		serve + "+0 setsockopt(4, SOL_TCP, TCP_FASTOPEN, [1], 4) = 0": "socket option SOL_TCP, TCP_FASTOPEN is not supported",
		serve + "+0 %{ import sys }%":                                 "only assert, print and assignments are understood: import sys",
		serve + "+0 %{ assert tcpi_nonsense }%":                       "tcpi_nonsense is not known",
		serve + "+0 %{ assert (1 }%":                                  "want )",
		serve + "+0 %{ assert len(1) }%":                              "function len is not known",
		serve + "+0 %{ assert [1] }%":                                 "\"[\" is not understood",
		serve + "+0 < icmp nonsense":                                  "icmp nonsense is not known",
	} {
		err := runText(t, text, false, &fakeHost{})
		var e *Error
		if !errors.As(err, &e) || !e.Script || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// No text makes the parser panic or hang, and what it accepts runs to an end.
func FuzzParse(f *testing.F) {
	f.Add(serve)
	f.Add(dial + "+0 < icmp unreachable frag_needed mtu 1400 [1:1461(1460)]\n+0 %{ assert tcpi_rtt > (1), 'x' % 2 }%")
	f.Add("--tolerance_usecs=1\n`sysctl -q a=$((1*2))`\n0 f([{a=1, b(2)=\"c\"...}], 0x1f|X, -1) = -1 E (note)\n* > SEWA.7 1:2(1) <md5 00,FO>\n`x`")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("x.pkt", text, nil)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 {
				t.Fatalf("error without a line: %v", err)
			}
			return
		}
		_ = Run(s, DefaultConfig(), &fakeHost{})
	})
}
