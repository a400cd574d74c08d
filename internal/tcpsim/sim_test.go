// SPDX-License-Identifier: Apache-2.0

package tcpsim

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "run this seed only, with gVisor on both ends")
	simTrace = flag.Bool("sim.trace", false, "print what happens")
)

// TestGVisor runs the simulation with gVisor on both ends: a check of the
// simulation.
func TestGVisor(t *testing.T) {
	if *simSeed != 0 {
		cfg := &Config{}
		if *simTrace {
			cfg.Trace = os.Stdout
		}
		res, err := Run(*simSeed, cfg, &Memory{})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", res)
		return
	}
	var mem Memory
	for seed := uint64(1); seed <= 16; seed++ {
		res, err := Run(seed, &Config{}, &mem)
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if res.Kinds() < 3 || res.Sockets < 4 || res.Bytes < 64<<10 {
			t.Errorf("seed %d: too little happened: %+v", seed, res)
		}
	}
}

// TestReplay: a seed does the same again.
func TestReplay(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		var a, b bytes.Buffer
		Run(seed, &Config{Trace: &a}, &Memory{})
		Run(seed, &Config{Trace: &b}, &Memory{})
		if a.Len() < 1000 || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("seed %d: two runs differ", seed)
		}
	}
}
