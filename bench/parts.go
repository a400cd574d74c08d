// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// part is something that a daemon spends time with, told by the functions on its
// stack.
type part struct {
	name  string
	match *regexp.Regexp
	leaf  bool   // only the innermost function is looked at
	moves string // what would make it less
}

// parts come in the order in which they are tried: what is inside of something
// else comes before it.
var parts = []part{
	{
		"copying bytes", names(`runtime\.memmove`, `\w*mem(cpy|move)\w*`, `rep_movs\w*`, `_*copy_(from|to)_(user|iter)\w*`, `copyin|copyout`, `skb_copy\w*`, `copy_user\w*`), true,
		"bytes in memory that the application shares (mode `ring`), and zero copy on a NIC",
	},
	{
		"checksums", names(`csum_\w+`, `.*\bchecksum\.\w+.*`, `netcon/dataplane/wire\..*(?i:sum).*`), true,
		"a NIC that verifies and completes checksums",
	},
	{
		"sending frames by AF_XDP", names(`xsk_sendmsg`, `xsk_generic_xmit`, `xsk_xmit`, `dev_direct_xmit`, `__dev_direct_xmit`), false,
		"a NIC with zero copy: a veth runs the peer's whole receive path in this call",
	},
	{
		"sending frames by UDP", names(`udp_sendmsg`, `udpv6_sendmsg`), false,
		"underlay `xdp`",
	},
	{
		"receiving frames by AF_XDP", names(`xsk_recvmsg`, `xsk_poll`), false,
		"a NIC with busy polling, which needs no call",
	},
	{
		"receiving frames by UDP", names(`udp_recvmsg`, `udpv6_recvmsg`), false,
		"underlay `xdp`",
	},
	{
		"writing to applications' sockets", names(`unix_\w+_sendmsg`), false,
		"bytes in memory that the application shares (mode `ring`): no call for each reply",
	},
	{
		"reading from applications' sockets", names(`unix_\w+_recvmsg`, `unix_\w+_read_\w+`), false,
		"bytes in memory that the application shares (mode `ring`): no call for each request",
	},
	{
		"control calls of applications", names(`netcon/dataplane/container\..*`, `netcon/dataplane\.\(\*(Server|control).*`), false,
		"fewer round trips for each socket",
	},
	{
		"garbage collection and allocation", names(`runtime\.(gcBgMarkWorker|gcDrain\w*|bgsweep|bgscavenge|mallocgc\w*|gcAssistAlloc\w*|newobject|makeslice)(\..*)?`), false,
		"an engine that allocates nothing for a segment (`native`)",
	},
	{
		"Go's scheduler", names(`runtime\.(schedule|findRunnable|mcall|park_m|goready|ready|wakep|startm|stopm|gosched_m|goschedImpl|goexit0|newproc\w*|sysmon|mstart\w*|notewakeup|notetsleepg?|futexwakeup|futexsleep)(\..*)?`), false,
		"an engine on the worker's own thread (`native`): no goroutine has to be woken for a segment",
	},
	{
		"waiting, and being woken", names(`do_futex`, `__schedule`, `schedule`, `ep_poll`, `do_epoll_\w+`, `\w*ppoll`, `do_sys_poll`, `\w*nanosleep\w*`, `eventfd_\w+`, `\w*sched_yield`), false,
		"a processor for the worker alone, so that it need not sleep between two requests",
	},
	{
		"the kernel's receive path, in interrupts", names(`net_rx_action`, `__napi_poll`), false,
		"more processors: what arrives is handled on whichever runs",
	},
	{
		"interrupts", names(`asm_sysvec\w+`, `asm_common_interrupt`, `irqentry\w+`, `handle_softirqs`, `__do_softirq`, `common_interrupt`), false,
		"a processor that the worker does not share",
	},
	{
		"other system calls", names(`entry_SYSCALL\w+`, `do_syscall_64`), false,
		"fewer calls for each turn of the worker",
	},
	{
		"TCP in gVisor", names(`gvisor\.dev/gvisor/pkg/tcpip/transport/.*`), false,
		"an engine with a shorter way for the segment that is expected (`native`)",
	},
	{
		"IP and buffers in gVisor", names(`gvisor\.dev/gvisor/.*`), false,
		"an engine that works on frames where they lie (`native`)",
	},
	{
		"frames: rings, headers, addresses", names(`netcon/dataplane/(xsk|udplink|vxlan|fib|neigh|nexthop|frame|wire)\..*`), false,
		"larger bursts",
	},
	{
		"segments between frames and stack", names(`netcon/dataplane/(netstack|tcp)\..*`), false,
		"an engine that works on frames where they lie (`native`)",
	},
	{
		"sockets and their rings", names(`netcon/dataplane/(socket|stream|datagram|supervise)\..*`), false,
		"bytes in memory that the application shares (mode `ring`)",
	},
	{
		"the worker's own turns", names(`netcon/dataplane/worker\..*`), false,
		"more work for each turn: looking for it costs the same for one request and for many",
	},
}

// otherPart is what none of them matches.
var otherPart = part{name: "other", moves: "-"}

// names matches functions that are called one of these, wholly.
func names(patterns ...string) *regexp.Regexp {
	return regexp.MustCompile(`^(` + strings.Join(patterns, "|") + `)$`)
}

// partOf says what a stack, innermost function first, was doing.
func partOf(stack []string) part {
	for _, p := range parts {
		looked := stack
		if p.leaf {
			looked = stack[:1]
		}
		if slices.ContainsFunc(looked, p.match.MatchString) {
			return p
		}
	}
	return otherPart
}

// leastSamples is how many samples say something about parts.
const leastSamples = 30

// toldParts is how many parts a paragraph tells, and movedParts of how many it
// tells what would move them.
const (
	toldParts  = 6
	movedParts = 3
)

// paragraph says where the time goes and what would move it; row, which may be
// nil, has what the daemons take for a request.
func (p *Profile) paragraph(row *Row) string {
	if p.Error != "" {
		return fmt.Sprintf("No profile of `%s`: %s.", p.System, p.Error)
	}
	if p.Samples < leastSamples {
		return fmt.Sprintf("No profile of `%s`: its daemons used next to no processor time (%d samples).", p.System, p.Samples)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Where the time of `%s`'s daemons goes", p.System)
	if row != nil && row.CPU.N > 0 {
		if v, ok := row.median(func(s *Sample) (float64, bool) {
			if s.CPU == nil {
				return 0, false
			}
			return s.CPU.Carriers, true
		}); ok {
			fmt.Fprintf(&b, ", %s of %s us per %s", number(v), number(row.CPU.Median), orText(row.Per, "request"))
		}
	}
	fmt.Fprintf(&b, " (%d samples): ", p.Samples)
	var told []string
	for _, s := range p.Parts[:min(toldParts, len(p.Parts))] {
		told = append(told, fmt.Sprintf("%.0f%% %s", s.Percent, s.Name))
	}
	b.WriteString(strings.Join(told, ", ") + ". What would move it: ")
	var moves []string
	for _, s := range p.Parts {
		i := slices.IndexFunc(parts, func(x part) bool { return x.name == s.Name })
		if i < 0 || len(moves) == movedParts || slices.Contains(moves, parts[i].moves) {
			continue
		}
		moves = append(moves, parts[i].moves)
	}
	b.WriteString(strings.Join(moves, "; ") + ".")
	return b.String()
}
