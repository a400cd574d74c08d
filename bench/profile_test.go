// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"strings"
	"testing"
)

// A stack is told by what is inside of something else first.
func TestPartOf(t *testing.T) {
	for want, stack := range map[string][]string{
		"copying bytes":                            {"runtime.memmove", "netcon/dataplane/socket.(*Set).pump"},
		"checksums":                                {"netcon/dataplane/wire.Sum.Add", "netcon/dataplane/xsk.(*Link).input"},
		"sending frames by AF_XDP":                 {"tcp_v4_rcv", "net_rx_action", "handle_softirqs", "xsk_sendmsg", "do_syscall_64", "netcon/dataplane/xsk.(*Link).kick"},
		"writing to applications' sockets":         {"_raw_spin_unlock_irqrestore", "unix_stream_sendmsg", "do_syscall_64", "netcon/dataplane/socket.(*Set).pump"},
		"reading from applications' sockets":       {"unix_stream_read_generic", "unix_stream_recvmsg", "do_syscall_64"},
		"Go's scheduler":                           {"finish_task_switch.isra.0", "__schedule", "do_futex", "runtime.futexsleep", "runtime.stopm", "runtime.findRunnable", "runtime.schedule", "runtime.mcall"},
		"waiting, and being woken":                 {"finish_task_switch.isra.0", "__schedule", "schedule", "do_sys_poll", "do_syscall_64", "netcon/dataplane/worker.(*Worker).run"},
		"the kernel's receive path, in interrupts": {"page_frag_free", "__napi_poll", "net_rx_action", "handle_softirqs", "asm_sysvec_apic_timer_interrupt", "netcon/dataplane/worker.(*Worker).turn"},
		"interrupts":                               {"irqentry_exit_to_user_mode", "asm_sysvec_apic_timer_interrupt", "netcon/dataplane/worker.(*Worker).turn"},
		"other system calls":                       {"do_syscall_64", "internal/runtime/syscall/linux.Syscall6"},
		"garbage collection and allocation":        {"runtime.nextFreeFast", "runtime.mallocgcSmallNoscan", "gvisor.dev/gvisor/pkg/buffer.NewView"},
		"TCP in gVisor":                            {"sync.(*Pool).Get", "gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*Endpoint).LockUser", "runtime.goexit.abi0"},
		"IP and buffers in gVisor":                 {"gvisor.dev/gvisor/pkg/buffer.(*View).Clone", "netcon/dataplane/netstack.(*Stack).Deliver"},
		"frames: rings, headers, addresses":        {"netcon/dataplane/xsk.(*Link).receive", "netcon/dataplane/worker.(*Worker).turn"},
		"segments between frames and stack":        {"netcon/dataplane/netstack.(*Stack).deliverTCP", "netcon/dataplane/worker.(*Worker).turn"},
		"sockets and their rings":                  {"netcon/dataplane/socket.(*Set).visit", "netcon/dataplane/worker.(*Shard).run"},
		"the worker's own turns":                   {"time.now", "netcon/dataplane/worker.(*Worker).turn"},
		"other":                                    {"main.main"},
	} {
		if got := partOf(stack).name; got != want {
			t.Errorf("%q is %s, want %s", stack, got, want)
		}
	}
}

// perf's stacks become parts that are all of it, and a paragraph that says what
// would move the largest.
func TestProfile(t *testing.T) {
	const stack = "\tffffffff81 _raw_spin_unlock\n\tffffffff82 unix_stream_sendmsg\n\t47 netcon/dataplane/socket.(*Set).pump\n\n"
	const other = "\t48 gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*Endpoint).LockUser\n\t49 netcon/dataplane/socket.(*Set).pump\n\n"
	p, err := parseProfile(strings.Repeat(stack+other+stack+stack, 10))
	if err != nil {
		t.Fatal(err)
	}
	if p.Samples != 40 || len(p.Parts) != 2 || p.Parts[0] != (Share{"writing to applications' sockets", 75}) || p.Symbols[0] != (Share{"_raw_spin_unlock", 75}) || p.Callers[0].Percent != 100 {
		t.Errorf("%+v", p)
	}
	p.Workload, p.System = "w", Default
	rows := summarise(samples("w", false, []float64{100}, []float64{50}))
	text := p.paragraph(rowOf(rows, "w", Default))
	for _, want := range []string{"75% writing to applications' sockets, 25% TCP in gVisor. What would move it: bytes in memory that the application shares", "of 10.0 us per request (40 samples)"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
	if !strings.Contains(p.text(), " 75.0%  writing to applications' sockets\n") {
		t.Errorf("%s", p.text())
	}
	p.Samples = 3
	if text := p.paragraph(nil); !strings.Contains(text, "next to no processor time") {
		t.Errorf("three samples say %q", text)
	}
	if _, err := parseProfile("\n"); err == nil {
		t.Error("of nothing there is a profile")
	}
	if _, err := parseProfile(other + "\t48 [unknown]\n\n"); err == nil || !strings.Contains(err.Error(), "no names for 50%") {
		t.Errorf("without names: %v", err)
	}
}
