// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/safchain/ethtool"
	"golang.org/x/sys/unix"
)

// fakeNIC is a device with four queues at most.
type fakeNIC struct {
	channels ethtool.Channels
	coalesce ethtool.Coalesce
	ring     ethtool.Ring
	features map[string]bool
	hash     uint64
	refuse   error // of every change
	onQueues func()
}

func (n *fakeNIC) GetChannels(string) (ethtool.Channels, error) { return n.channels, nil }
func (n *fakeNIC) GetCoalesce(string) (ethtool.Coalesce, error) { return n.coalesce, nil }
func (n *fakeNIC) GetRing(string) (ethtool.Ring, error)         { return n.ring, nil }
func (n *fakeNIC) Features(string) (map[string]bool, error)     { return maps.Clone(n.features), nil }
func (n *fakeNIC) DriverName(string) (string, error)            { return "fake", nil }
func (n *fakeNIC) getHash(string, uint32) (uint64, error)       { return n.hash, nil }

func (n *fakeNIC) SetChannels(_ string, c ethtool.Channels) (ethtool.Channels, error) {
	if c.CombinedCount > n.channels.MaxCombined {
		return c, unix.EINVAL
	}
	if n.refuse == nil {
		n.channels = c
		n.onQueues()
	}
	return c, n.refuse
}

func (n *fakeNIC) SetCoalesce(_ string, c ethtool.Coalesce) (ethtool.Coalesce, error) {
	if n.refuse == nil {
		n.coalesce = c
	}
	return c, n.refuse
}

func (n *fakeNIC) SetRing(_ string, r ethtool.Ring) (ethtool.Ring, error) {
	if n.refuse == nil {
		r.RxPending &^= 7 // drivers round
		n.ring = r
	}
	return r, n.refuse
}

func (n *fakeNIC) Change(_ string, c map[string]bool) error {
	if n.refuse == nil {
		maps.Copy(n.features, c)
	}
	return n.refuse
}

func (n *fakeNIC) setHash(_ string, _ uint32, fields uint64) error {
	if n.refuse == nil {
		n.hash = fields
	}
	return n.refuse
}

// fakeFiles is a host with four CPUs and a device with two interrupts.
var fakeFiles = map[string]string{
	"/proc/sys/kernel/random/boot_id":                       "boot-1",
	"/proc/sys/kernel/nmi_watchdog":                         "1",
	"/proc/sys/kernel/numa_balancing":                       "0",
	"/proc/1/comm":                                          "init",
	"/proc/77/comm":                                         "irqbalance",
	"/proc/irq/24/smp_affinity_list":                        "0-3",
	"/proc/irq/25/smp_affinity_list":                        "1",
	"/proc/sys/net/core/rmem_max":                           "212992",
	"/proc/sys/net/core/wmem_max":                           "16777216",
	"/sys/devices/system/cpu/online":                        "0-3",
	"/sys/devices/system/cpu/isolated":                      "",
	"/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor": "powersave",
	"/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor": "performance",
	"/sys/kernel/mm/transparent_hugepage/enabled":           "never",
	"/sys/class/net/eth0/mtu":                               "1500",
	"/sys/class/net/eth0/device/msi_irqs/24":                "",
	"/sys/class/net/eth0/device/msi_irqs/25":                "",
	"/sys/class/net/eth0/napi_defer_hard_irqs":              "0",
	"/sys/class/net/eth0/gro_flush_timeout":                 "0",
}

// fakeConfig is what the fake host is tuned for.
var fakeConfig = Config{Device: "eth0", CPUs: []int{2, 3}, Workers: 2, XDP: true, BusyPoll: true}

func newFake(t *testing.T) (*host, *fakeNIC) {
	t.Helper()
	root := t.TempDir()
	for path, text := range fakeFiles {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n := &fakeNIC{
		channels: ethtool.Channels{MaxCombined: 4, CombinedCount: 4},
		coalesce: ethtool.Coalesce{UseAdaptiveRxCoalesce: 1, RxCoalesceUsecs: 50},
		ring:     ethtool.Ring{RxMaxPending: 4095, RxPending: 256, TxMaxPending: 512, TxPending: 512},
		features: map[string]bool{"rx-lro": true, "rx-vlan-hw-parse": false},
		hash:     1<<4 | 1<<5,
	}
	h := &host{root: root, nic: n, flow: n}
	// A change of queues resets timers, as real devices do.
	n.onQueues = func() {
		n.coalesce.UseAdaptiveRxCoalesce = 1
		h.put(t, "/sys/class/net/eth0/napi_defer_hard_irqs", "0")
	}
	return h, n
}

func (h *host) put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.root, path), []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// snapshot is every value of the fake host.
func (h *host) snapshot(n *fakeNIC) map[string]string {
	m := map[string]string{}
	for path := range fakeFiles {
		m[path] = h.read(path)
	}
	for _, id := range []string{
		"channels eth0 combined", "coalesce eth0 adaptive-rx", "coalesce eth0 rx-usecs", "ring eth0 rx", "ring eth0 tx",
		"feature eth0 rx-lro", "feature eth0 rx-vlan-hw-parse", "hash eth0 udp4",
	} {
		k, err := h.open(id)
		if err != nil {
			m[id] = err.Error()
			continue
		}
		m[id], _ = k.get()
	}
	return m
}

func find(t *testing.T, list []Setting, name string) Setting {
	t.Helper()
	for _, s := range list {
		if s.Name == name {
			return s
		}
	}
	var names []string
	for _, s := range list {
		names = append(names, s.Name)
	}
	t.Fatalf("no setting %q among %s", name, strings.Join(names, ", "))
	return Setting{}
}
