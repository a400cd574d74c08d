// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is a distribution of latencies, in microseconds.
type Latency struct {
	How   string       `json:"how"` // closed loop, or at which rate; who measured
	Count int64        `json:"count,omitempty"`
	Mean  float64      `json:"mean,omitempty"`
	P50   float64      `json:"p50"`
	P90   float64      `json:"p90,omitempty"`
	P99   float64      `json:"p99"`
	P999  float64      `json:"p999,omitempty"`
	Max   float64      `json:"max"`
	Curve [][2]float64 `json:"curve,omitempty"` // percentile, value
}

// curve is where a distribution is drawn.
var curve = []float64{1, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99}

// maxLatency bounds the histograms, in ns: four minutes.
const maxLatency = 1 << 38

// loadReport is what echoload prints.
type loadReport struct {
	Requests uint64     `json:"requests"`
	Errors   uint64     `json:"errors"`
	Bytes    uint64     `json:"bytes"`
	Begin    int64      `json:"begin"`
	End      int64      `json:"end"`
	Latency  [][2]int64 `json:"latency"` // ns, count
}

func parseLoad(text string) (r loadReport, err error) {
	i := strings.LastIndex(text, "\n{")
	if i < 0 {
		return r, fmt.Errorf("echoload did not report: %s", lastLine(text))
	}
	if err := json.Unmarshal([]byte(text[i+1:]), &r); err != nil {
		return r, fmt.Errorf("echoload's report: %w", err)
	}
	return r, nil
}

func (r *loadReport) seconds() float64 { return float64(r.End-r.Begin) / 1e9 }

// distribution makes a Latency of echoload's counts; nil if there are none.
func (r *loadReport) distribution(how string) (*Latency, error) {
	h := hdrhistogram.New(1, maxLatency, 3)
	for _, v := range r.Latency {
		if err := h.RecordValues(v[0], v[1]); err != nil {
			return nil, fmt.Errorf("latency of %d ns: %w", v[0], err)
		}
	}
	if h.TotalCount() == 0 {
		return nil, nil
	}
	us := func(ns int64) float64 { return float64(ns) / 1e3 }
	l := &Latency{
		How: how, Count: h.TotalCount(), Mean: h.Mean() / 1e3, Max: us(h.Max()),
		P50: us(h.ValueAtQuantile(50)), P90: us(h.ValueAtQuantile(90)),
		P99: us(h.ValueAtQuantile(99)), P999: us(h.ValueAtQuantile(99.9)),
	}
	for _, p := range curve {
		l.Curve = append(l.Curve, [2]float64{p, us(h.ValueAtQuantile(p))})
	}
	return l, nil
}
