// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Defaults of a Config's zero fields.
const (
	DefaultReorderBy = 3
	DefaultLimit     = 16384
	DefaultQueue     = 100 * time.Millisecond
)

// maxLimit bounds Limit and ReorderBy, maxSpan every duration: sums of a few of
// them stay far from overflow.
const (
	maxLimit = 1 << 20
	maxSpan  = time.Hour
	maxRate  = 1 << 50
	minRate  = 1000
)

// Config says which faults a frame meets. The zero value is a perfect wire.
type Config struct {
	Seed uint64

	// Probabilities, 0 to 1.
	Drop, Duplicate, Reorder, Corrupt float64

	Delay  time.Duration // every frame waits this long
	Jitter time.Duration // and up to this much longer, evenly distributed

	Rate  int64         // bits per second of the frames as given, 0: unlimited
	Queue time.Duration // longest wait for the line at Rate, 0: DefaultQueue

	ReorderBy int // later frames that overtake a reordered one, 0: DefaultReorderBy
	Limit     int // frames held at once, 0: DefaultLimit
}

// Validate returns what is wrong with c.
func (c Config) Validate() error {
	for _, p := range []struct {
		name string
		v    float64
	}{{"drop", c.Drop}, {"duplicate", c.Duplicate}, {"reorder", c.Reorder}, {"corrupt", c.Corrupt}} {
		if !(p.v >= 0 && p.v <= 1) {
			return fmt.Errorf("%s is %v (want a probability from 0 to 1)", p.name, p.v)
		}
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"delay", c.Delay}, {"jitter", c.Jitter}, {"queue", c.Queue}} {
		if d.v < 0 || d.v > maxSpan {
			return fmt.Errorf("%s is %v (want 0 to %v)", d.name, d.v, maxSpan)
		}
	}
	if c.Rate != 0 && (c.Rate < minRate || c.Rate > maxRate) {
		return fmt.Errorf("rate is %d bit/s (want 0, or at least 1kbit)", c.Rate)
	}
	if c.ReorderBy < 0 || c.ReorderBy > maxLimit {
		return fmt.Errorf("reorder-by is %d (want 0 to %d frames)", c.ReorderBy, maxLimit)
	}
	if c.Limit < 0 || c.Limit > maxLimit {
		return fmt.Errorf("limit is %d (want 0 to %d frames)", c.Limit, maxLimit)
	}
	return nil
}

// keys are what ParseConfig knows, in the order of String.
const keys = "drop, duplicate, reorder, corrupt, delay, jitter, rate, queue, reorder-by, limit, seed"

// ParseConfig reads a comma-separated list of key=value, such as
// "drop=3%,reorder=3%,corrupt=1%,delay=20ms,rate=100mbit,seed=7". Probabilities
// are percentages or fractions, times Go durations, rates bits per second with
// an optional bit, kbit, mbit or gbit. The empty string is a perfect wire.
func ParseConfig(s string) (Config, error) {
	var c Config
	seen := map[string]bool{}
	for _, item := range strings.Split(s, ",") {
		if strings.TrimSpace(item) == "" {
			if strings.TrimSpace(s) == "" {
				break
			}
			return Config{}, fmt.Errorf("parse faults %q: empty item", s)
		}
		key, val, ok := strings.Cut(item, "=")
		key, val = strings.TrimSpace(key), strings.TrimSpace(val)
		if !ok {
			return Config{}, fmt.Errorf("parse faults %q: %q has no value (want key=value)", s, key)
		}
		if seen[key] {
			return Config{}, fmt.Errorf("parse faults %q: key %q given twice", s, key)
		}
		seen[key] = true
		if err := c.set(key, val); err != nil {
			return Config{}, fmt.Errorf("parse faults %q: %w", s, err)
		}
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("parse faults %q: %w", s, err)
	}
	return c, nil
}

func (c *Config) set(key, val string) (err error) {
	switch key {
	case "drop":
		c.Drop, err = parseProbability(val)
	case "duplicate":
		c.Duplicate, err = parseProbability(val)
	case "reorder":
		c.Reorder, err = parseProbability(val)
	case "corrupt":
		c.Corrupt, err = parseProbability(val)
	case "delay":
		c.Delay, err = time.ParseDuration(val)
	case "jitter":
		c.Jitter, err = time.ParseDuration(val)
	case "queue":
		c.Queue, err = time.ParseDuration(val)
	case "rate":
		c.Rate, err = parseRate(val)
	case "reorder-by":
		c.ReorderBy, err = strconv.Atoi(val)
	case "limit":
		c.Limit, err = strconv.Atoi(val)
	case "seed":
		c.Seed, err = strconv.ParseUint(val, 10, 64)
	default:
		return fmt.Errorf("unknown key %q (known: %s)", key, keys)
	}
	if err != nil {
		return fmt.Errorf("value of %s: %w", key, err)
	}
	return nil
}

func parseProbability(s string) (float64, error) {
	num, percent := strings.CutSuffix(s, "%")
	p, err := strconv.ParseFloat(num, 64)
	if percent {
		p /= 100
	}
	return p, err
}

func parseRate(s string) (int64, error) {
	unit := 1.0
	num := s
	for _, u := range []struct {
		suffix string
		bits   float64
	}{{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {"bit", 1}} {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			num, unit = n, u.bits
			break
		}
	}
	v, err := strconv.ParseFloat(num, 64)
	if err != nil {
		return 0, err
	}
	if !(v >= 0 && v*unit <= maxRate) {
		return 0, fmt.Errorf("%q is out of range", s)
	}
	return int64(math.Round(v * unit)), nil
}

// String returns c in the form that ParseConfig reads. Zero fields are left
// out.
func (c Config) String() string {
	var items []string
	add := func(key, val string, zero bool) {
		if !zero {
			items = append(items, key+"="+val)
		}
	}
	frac := func(key string, p float64) { add(key, strconv.FormatFloat(p, 'g', -1, 64), p == 0) }
	frac("drop", c.Drop)
	frac("duplicate", c.Duplicate)
	frac("reorder", c.Reorder)
	frac("corrupt", c.Corrupt)
	add("delay", c.Delay.String(), c.Delay == 0)
	add("jitter", c.Jitter.String(), c.Jitter == 0)
	add("rate", strconv.FormatInt(c.Rate, 10), c.Rate == 0)
	add("queue", c.Queue.String(), c.Queue == 0)
	add("reorder-by", strconv.Itoa(c.ReorderBy), c.ReorderBy == 0)
	add("limit", strconv.Itoa(c.Limit), c.Limit == 0)
	add("seed", strconv.FormatUint(c.Seed, 10), c.Seed == 0)
	return strings.Join(items, ",")
}
