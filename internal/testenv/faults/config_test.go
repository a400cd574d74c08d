// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"strings"
	"testing"
	"time"
)

func TestParseConfig(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want Config
	}{
		{"", Config{}},
		{"  ", Config{}},
		{
			"drop=3%,reorder=3%,corrupt=1%,delay=20ms,rate=100mbit,seed=7",
			Config{Drop: .03, Reorder: .03, Corrupt: .01, Delay: 20 * time.Millisecond, Rate: 100e6, Seed: 7},
		},
		{
			" duplicate = 0.5 , jitter=1ms, queue=5ms, reorder-by=7, limit=10, rate=2.5gbit",
			Config{Duplicate: .5, Jitter: time.Millisecond, Queue: 5 * time.Millisecond, ReorderBy: 7, Limit: 10, Rate: 25e8},
		},
		{"rate=64kbit", Config{Rate: 64000}},
		{"rate=9600bit", Config{Rate: 9600}},
		{"rate=9600", Config{Rate: 9600}},
		{"drop=100%,seed=18446744073709551615", Config{Drop: 1, Seed: 1<<64 - 1}},
	} {
		got, err := ParseConfig(tc.in)
		if err != nil || got != tc.want {
			t.Errorf("ParseConfig(%q) = %+v, %v, want %+v", tc.in, got, err, tc.want)
		}
	}
}

func TestParseConfigErrors(t *testing.T) {
	for in, want := range map[string]string{
		"dorp=3%":                           `unknown key "dorp" (known: drop,`,
		"drop":                              `"drop" has no value`,
		"drop=3%,,seed=1":                   "empty item",
		",":                                 "empty item",
		"drop=1%,drop=2%":                   `key "drop" given twice`,
		"drop=101%":                         "want a probability from 0 to 1",
		"drop=-1":                           "want a probability from 0 to 1",
		"drop=NaN":                          "want a probability from 0 to 1",
		"drop=x":                            "value of drop",
		"delay=20":                          "value of delay",
		"delay=-1ms":                        "delay is -1ms",
		"jitter=2h":                         "jitter is 2h",
		"rate=1tbit":                        "value of rate",
		"rate=-1":                           "out of range",
		"rate=NaN":                          "out of range",
		"rate=1":                            "at least 1kbit",
		"seed=-1":                           "value of seed",
		"reorder-by=-1":                     "reorder-by is -1",
		"limit=999999999":                   "limit is 999999999",
		"reorder-by=1000000000000000000000": "value of reorder-by",
	} {
		c, err := ParseConfig(in)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "parse faults ") {
			t.Errorf("ParseConfig(%q): error %v, want %q", in, err, want)
		}
		if c != (Config{}) {
			t.Errorf("ParseConfig(%q) returned %+v beside an error", in, c)
		}
	}
}

func TestNewPanicsOnInvalid(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("New accepted a drop probability of 2")
		}
	}()
	New(Config{Drop: 2})
}

func FuzzParseConfig(f *testing.F) {
	f.Add("drop=3%,reorder=3%,corrupt=1%,delay=20ms,rate=100mbit,seed=7")
	f.Add("duplicate=1e-3,jitter=1us,queue=1s,reorder-by=9,limit=1")
	f.Add("rate=1125899906842624")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseConfig(s)
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("%q: parsed, but invalid: %v", s, err)
		}
		back, err := ParseConfig(c.String())
		if err != nil || back != c {
			t.Fatalf("%q: %+v printed as %q, read back as %+v, %v", s, c, c, back, err)
		}
		// A valid configuration must not break the injector's arithmetic.
		i := New(c)
		for n := range 8 {
			i.Push(make([]byte, 60+n), time.Duration(n))
		}
		var last time.Duration
		for range 64 {
			at, ok := i.Next()
			if !ok {
				break
			}
			if at < 0 {
				t.Fatalf("%q: next at %v", s, at)
			}
			last = max(last, at)
			i.Pop(last)
		}
		if r := i.Report(); r.Queued != 0 {
			t.Fatalf("%q: stuck: %+v", s, r)
		}
	})
}
