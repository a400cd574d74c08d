// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Record is one line of a results file: facts come first, then samples, and
// after those of a workload its profiles.
type Record struct {
	Facts  *Facts  `json:"facts,omitempty"`
	Sample *Sample `json:"sample,omitempty"`

	Profile *Profile `json:"profile,omitempty"`
}

// Sample is one turn of one system.
type Sample struct {
	Workload string `json:"workload"`
	System   string `json:"system"`
	Round    int    `json:"round"`

	Value float64 `json:"value"` // what is compared
	Unit  string  `json:"unit"`
	Less  bool    `json:"less,omitempty"` // is better

	Requests float64 `json:"requests,omitempty"` // in Seconds, each of them Per
	Per      string  `json:"per,omitempty"`
	Bytes    uint64  `json:"bytes,omitempty"`
	Seconds  float64 `json:"seconds,omitempty"`
	Errors   uint64  `json:"errors,omitempty"`

	Latency *Latency           `json:"latency,omitempty"`
	Paced   *Latency           `json:"paced,omitempty"` // at a fixed rate, from when each request was due
	CPU     *CPU               `json:"cpu_us,omitempty"`
	Spent   *Spent             `json:"cpu_seconds,omitempty"`
	Calls   *Calls             `json:"system_calls,omitempty"`
	Memory  *Memory            `json:"memory,omitempty"` // with the most connections that were held
	Extra   map[string]float64 `json:"extra,omitempty"`

	HeldCurve []*Held `json:"held,omitempty"` // with each number of connections
	Text      string  `json:"text,omitempty"` // of Go benchmarks
	Path      *Path   `json:"path,omitempty"`

	Marks []string `json:"marks,omitempty"` // what makes the sample doubtful
	Error string   `json:"error,omitempty"` // there is no value
}

// OK reports whether the sample's value counts.
func (s *Sample) OK() bool { return s.Error == "" && (s.Path == nil || s.Path.Valid) }

// CPU is processor time per request, in microseconds. Machine is all of it but
// what strangers and the harness used.
type CPU struct {
	Machine    float64  `json:"machine"`
	Server     float64  `json:"server"`
	Client     float64  `json:"client"`
	Carriers   float64  `json:"carriers"`
	Kernel     float64  `json:"kernel"`
	ServerSide *float64 `json:"server_side,omitempty"` // without a calibrated client

	// ClientShare is the client's part of what the baseline takes, as it was
	// measured for this workload; given with the baseline's samples.
	ClientShare float64 `json:"client_share,omitempty"`
}

// Calls is system calls per request.
type Calls struct {
	Server   float64 `json:"server"`
	Carriers float64 `json:"carriers"`
	Missing  string  `json:"missing,omitempty"` // why they are not counted
}

// Memory is what an idle connection takes, in bytes, by layer.
type Memory struct {
	Connections int     `json:"connections"`
	Server      float64 `json:"server"`   // the server program
	Shared      float64 `json:"shared"`   // memory that it shares with the daemon
	Carriers    float64 `json:"carriers"` // the daemon
	Slab        float64 `json:"slab"`     // the kernel's, both ends
}

// Held is what comes with a number of connections that are held, idle but for a
// message a minute.
type Held struct {
	Memory
	Opened float64 `json:"opened"` // connections a second, a few at a time
	Rate   float64 `json:"rate"`   // requests a second of activeConnections others meanwhile
	P50    float64 `json:"p50"`    // of their latency, in us
	P99    float64 `json:"p99"`
}

// Write writes records as JSON lines.
func Write(w io.Writer, records ...Record) error {
	e := json.NewEncoder(w)
	for _, r := range records {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// Results is a results file.
type Results struct {
	Facts    Facts
	Samples  []*Sample
	Profiles []*Profile
}

// Load reads a results file.
func Load(path string) (*Results, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	defer func() { _ = f.Close() }()
	res := &Results{}
	d := json.NewDecoder(bufio.NewReader(f))
	for {
		var r Record
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("%w: %s: not a results file: %w", ErrInput, path, err)
		}
		if r.Facts != nil {
			res.Facts = *r.Facts
		}
		if r.Sample != nil {
			res.Samples = append(res.Samples, r.Sample)
		}
		if r.Profile != nil {
			res.Profiles = append(res.Profiles, r.Profile)
		}
	}
	if len(res.Samples) == 0 {
		return nil, fmt.Errorf("%w: %s: has no samples", ErrInput, path)
	}
	return res, nil
}
