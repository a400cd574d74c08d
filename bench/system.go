// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
)

// ErrInput marks errors of what was asked for: nothing has been made.
var ErrInput = errors.New("bad input")

// System is one way to connect a server with a client.
type System interface {
	// Name is what the system was asked for by, parameters included.
	Name() string

	// Check says in one line what is missing here.
	Check(Tools) error

	// Up builds both sides. What it makes belongs to the site.
	Up(context.Context, *Site, Link) (*Pair, error)
}

// Link is what lies between the two hosts.
type Link struct {
	Faults string // as faultwire reads them; "": a plain veth
}

// Pair is a system that is up.
type Pair struct {
	Server, Client *Side
	Carriers       []*Process // what carries the traffic in user space

	// The kernel's threads that receive for either side, if there are any.
	threads struct{ server, client []int }

	// BaselineClient says that the client's side is made like the
	// baseline's, so that it costs the same.
	BaselineClient bool
}

// Side is where the programs of one end run.
type Side struct {
	NS     string   // network namespace
	Prefix []string // words before a program
	Bind   netip.Addr
	Addr   netip.Addr // where the other side reaches it

	// What proves the path.
	Kernel   bool     // its TCP is the kernel's: those counters move, or must not
	OuterUDP bool     // the kernel's UDP carries what others have encapsulated
	Devices  []string // devices in NS that carry the traffic
	Daemon   *Daemon  // or who does
}

// systemKind is how systems of one kind are asked for: NAME[+KEY=VALUE...].
type systemKind struct {
	name   string
	about  string
	params map[string][]string // keys and their values, the first being the default
	make   func(name string, params map[string]string) System
}

var systemKinds = map[string]*systemKind{}

func registerSystem(k *systemKind) bool {
	systemKinds[k.name] = k
	return true
}

// Baseline is what ratios are taken to, and Default is what is compared with it.
const (
	Baseline = "kernel-vxlan"
	Default  = "netcon"
)

// ParseSystem makes a system from NAME[+KEY=VALUE...].
func ParseSystem(spec string) (System, error) {
	name, list, _ := strings.Cut(spec, "+")
	k := systemKinds[name]
	if k == nil {
		return nil, fmt.Errorf("%w: system %q: unknown (one of %s)", ErrInput, name, strings.Join(slices.Sorted(maps.Keys(systemKinds)), ", "))
	}
	params := map[string]string{}
	for key, values := range k.params {
		params[key] = values[0]
	}
	for part := range strings.SplitSeq(list, "+") {
		if part == "" {
			continue
		}
		key, value, _ := strings.Cut(part, "=")
		values, ok := k.params[key]
		if !ok {
			return nil, fmt.Errorf("%w: system %s: parameter %q: unknown (%s)", ErrInput, name, key, describeParams(k))
		}
		if !slices.Contains(values, value) {
			return nil, fmt.Errorf("%w: system %s: %s=%q: unknown (one of %s)", ErrInput, name, key, value, strings.Join(values, ", "))
		}
		params[key] = value
	}
	return k.make(spec, params), nil
}

func describeParams(k *systemKind) string {
	if len(k.params) == 0 {
		return "it has none"
	}
	var b []string
	for _, key := range slices.Sorted(maps.Keys(k.params)) {
		b = append(b, key+"="+strings.Join(k.params[key], "|"))
	}
	return strings.Join(b, " ")
}

// SystemList describes the systems, a line each.
func SystemList() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(systemKinds)) {
		k := systemKinds[name]
		fmt.Fprintf(&b, "  %-14s %s\n", name, k.about)
		if len(k.params) > 0 {
			fmt.Fprintf(&b, "  %-14s   %s\n", "", describeParams(k))
		}
	}
	return b.String()
}

// need says which of some programs is missing.
func need(of string, programs ...string) error {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%w: %s: program %s is not installed (make benchdeps)", ErrInput, of, p)
		}
	}
	return nil
}
