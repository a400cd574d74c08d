// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"fmt"
	"slices"
	"strconv"
)

// encapsulation is what VXLAN adds to an inner IP packet.
const (
	overheadIPv4 = 50
	overheadIPv6 = 70
)

// queues surveys how many queues the device has, and how it fills them.
func (s *survey) queues() {
	dev := s.cfg.Device
	if dev == "" || !s.cfg.XDP {
		return
	}
	const reason = "every receive queue is bound to a worker: one each is best"
	c, err := s.nic.GetChannels(dev)
	which, most := "combined", c.MaxCombined
	if most == 0 {
		which, most = "rx", c.MaxRx
	}
	if err == nil && int(most) < s.cfg.Workers {
		s.advise(false, Setting{
			Name: "queues", Now: fmt.Sprintf("%d at most", most), Want: strconv.Itoa(s.cfg.Workers),
			How: fmt.Sprintf("workers = %d in [daemon]", most), Reason: reason,
		})
	} else {
		s.want("queues", s.knob("channels "+dev+" "+which), fmt.Sprintf("ethtool -L %s %s %d", dev, which, s.cfg.Workers),
			reason, strconv.Itoa(s.cfg.Workers))
	}
	if r, err := s.nic.GetRing(dev); err == nil {
		for _, x := range []struct {
			name string
			most uint32
		}{{"rx", r.RxMaxPending}, {"tx", r.TxMaxPending}} {
			want := strconv.FormatUint(uint64(min(x.most, 4096)), 10)
			s.want(x.name+" ring", s.knob("ring "+dev+" "+x.name), fmt.Sprintf("ethtool -G %s %s %s", dev, x.name, want),
				"a short ring overflows while a worker does something else", want)
		}
	}
	if most == 1 {
		return
	}
	flow := "udp4"
	if s.cfg.IPv6 {
		flow = "udp6"
	}
	s.want("flow hash", s.knob("hash "+dev+" "+flow), fmt.Sprintf("ethtool -N %s rx-flow-hash %s sdfn", dev, flow),
		"VXLAN tells its flows apart by the source port: without it two hosts use one queue", "sdfn")
}

// offloads surveys what a device does to frames.
func (s *survey) offloads() {
	dev := s.cfg.Device
	if dev == "" {
		return
	}
	inner, overhead := s.cfg.InnerMTU, overheadIPv4
	if inner == 0 {
		inner = 1500
	}
	if s.cfg.IPv6 {
		overhead = overheadIPv6
	}
	mtu := s.number("/sys/class/net/" + dev + "/mtu")
	s.advise(mtu >= inner+overhead, Setting{
		Name: "mtu", Knob: "file /sys/class/net/" + dev + "/mtu", Now: strconv.Itoa(mtu), Want: strconv.Itoa(inner + overhead),
		How:    fmt.Sprintf("ip link set %s mtu %d, on every host and switch of the underlay", dev, inner+overhead),
		Reason: fmt.Sprintf("containers have %d bytes less than the underlay, so that peers with a full MTU fragment or stall", overhead),
	})
	if !s.cfg.XDP {
		return
	}
	for _, f := range []struct{ name, short, reason string }{
		{"rx-lro", "lro", "a device that merges frames cannot run an XDP program in the driver"},
		{"rx-gro-hw", "rx-gro-hw", "a device that merges frames cannot run an XDP program in the driver"},
		{"rx-vlan-hw-parse", "rxvlan", "a tag that the device takes off is not seen: tagged frames would look untagged"},
	} {
		s.want(f.name, s.knob("feature "+dev+" "+f.name), fmt.Sprintf("ethtool -K %s %s off", dev, f.short), f.reason, "off")
	}
	s.peer()
}

// peer tells what a veth's other end does, which may be another namespace's.
func (s *survey) peer() {
	dev := s.cfg.Device
	if driver, err := s.nic.DriverName(dev); err != nil || driver != "veth" {
		return
	}
	peer, now := "", "in another namespace"
	if link := s.number("/sys/class/net/" + dev + "/iflink"); link > 0 {
		for _, name := range s.names("/sys/class/net") {
			if name != dev && s.number("/sys/class/net/"+name+"/ifindex") == link && s.number("/sys/class/net/"+name+"/iflink") == s.number("/sys/class/net/"+dev+"/ifindex") {
				peer = name
			}
		}
	}
	if peer != "" {
		if on, err := s.feature(peer, "tx-checksum-ip-generic").get(); err == nil {
			now = peer + " " + on
		}
	} else {
		peer = "PEER"
	}
	s.advise(now == peer+" off", Setting{
		Name: "checksums of the veth's peer", Now: now, Want: "off", How: "ethtool -K " + peer + " tx off, in its namespace",
		Reason: "frames of a kernel behind a veth come with unfinished checksums, which cannot be verified; they are accepted",
	})
}

// interrupts surveys where the device's interrupts go.
func (s *survey) interrupts() {
	dev := s.cfg.Device
	if dev == "" || len(s.cfg.CPUs) == 0 {
		return
	}
	online := parseCPUs(s.read("/sys/devices/system/cpu/online"))
	want := online.without(s.cfg.CPUs)
	reason := "an interrupt on a worker's core stops the worker"
	if len(want) == 0 {
		s.advise(false, Setting{
			Name: "cores for interrupts", Now: "none", Want: "one at least", How: "fewer cpus in [daemon]",
			Reason: "every core has a worker: interrupts and the rest of the system stop them",
		})
		return
	}
	irqs := s.names("/sys/class/net/" + dev + "/device/msi_irqs")
	slices.SortFunc(irqs, func(a, b string) int {
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return x - y
	})
	for _, irq := range irqs {
		if _, err := strconv.Atoi(irq); err != nil {
			continue
		}
		k := s.file("/proc/irq/" + irq + "/smp_affinity_list")
		how := fmt.Sprintf("echo %s > /proc/irq/%s/smp_affinity_list", want, irq)
		if now, err := k.get(); err == nil && clear(parseCPUs(now), s.cfg.CPUs) {
			s.want("interrupt "+irq, k, how, reason, now)
			continue
		}
		s.want("interrupt "+irq, k, how, reason, want.String())
	}
	if len(irqs) > 0 {
		running := s.irqbalance()
		s.advise(!running, Setting{
			Name: "irqbalance", Now: map[bool]string{true: "running", false: "not running"}[running], Want: "not running",
			How: "systemctl stop irqbalance", Reason: "it moves interrupts back to the workers' cores",
		})
	}
}

// clear reports whether a set is not empty and holds none of cpus.
func clear(set cpuSet, cpus []int) bool {
	return len(set) > 0 && !slices.ContainsFunc(cpus, func(c int) bool { return set[c] })
}

// timers surveys when the device interrupts and the kernel polls it.
func (s *survey) timers() {
	dev := s.cfg.Device
	if dev == "" || !s.cfg.XDP {
		return
	}
	s.want("adaptive coalescing", s.knob("coalesce "+dev+" adaptive-rx"), "ethtool -C "+dev+" adaptive-rx off",
		"it trades the latency of few frames for fewer interrupts", "0")
	deferred, flush := "0", "0"
	reason := "without busy polling, deferred interrupts only add latency"
	if s.cfg.BusyPoll {
		deferred, flush = "2", "200000"
		reason = "busy polling wants interrupts to stay off while the worker asks"
	}
	path := "/sys/class/net/" + dev + "/"
	s.want("deferred interrupts", s.file(path+"napi_defer_hard_irqs"), "echo "+deferred+" > "+path+"napi_defer_hard_irqs", reason, deferred)
	s.want("gro timer", s.file(path+"gro_flush_timeout"), "echo "+flush+" > "+path+"gro_flush_timeout", reason, flush)
}
