// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"time"

	"netcon/dataplane/stream"
)

// RunFile parses and runs one script.
func RunFile(file string, c Config, h Host) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return &Error{File: file, Text: err.Error(), Script: true}
	}
	defines := map[string]string{}
	for k, v := range c.Defines {
		defines[k] = v
	}
	c.Defines = defines
	s, err := Parse(file, string(text), defines)
	if err != nil {
		return err
	}
	return Run(s, c, h)
}

// Run runs a script against a machine of h. An error is an *Error.
func Run(s *Script, c Config, h Host) error {
	if err := c.script(s); err != nil {
		var e *Error
		if errors.As(err, &e) {
			return err
		}
		return &Error{File: s.File, Line: 1, Text: err.Error(), Script: true}
	}
	if c.dryRun {
		return nil
	}
	r := &runner{
		script: s, cfg: c, host: h, files: map[int]file{}, vars: map[string]value{},
		checksums: true, line: 1, sndbuf: defaultSendBuffer, rcvbuf: defaultRecvBuffer,
	}
	return r.run()
}

// epoch is the machine's clock at the start of a script. It is late enough for
// every subtraction.
const epoch = 1000 * time.Hour

// runner runs one script under a virtual clock: time passes when nothing is
// left to do at this moment, and jumps to when something is.
type runner struct {
	script *Script
	cfg    Config
	host   Host
	m      stream.Clocked
	now    time.Duration // since the start of the script
	line   int           // of the event under way
	last   time.Duration // when the previous event was
	begun  bool

	frame     []byte
	checksums bool
	queue     []*segment // sent by the machine, not yet expected
	broken    *Error     // something went wrong where it could not be returned

	flows []*flow
	cur   *flow // what packets without ports belong to
	files map[int]file
	socks []*sock
	wait  []*pending
	vars  map[string]value

	sndbuf, rcvbuf int // of new sockets
}

func (r *runner) fail(format string, args ...any) error {
	return &Error{File: r.script.File, Line: r.line, Text: fmt.Sprintf(format, args...)}
}

func (r *runner) unsupported(format string, args ...any) error {
	return &Error{File: r.script.File, Line: r.line, Text: fmt.Sprintf(format, args...), Script: true}
}

func (r *runner) trace(format string, args ...any) {
	if r.cfg.Trace != nil {
		r.cfg.Trace(r.now, fmt.Sprintf(format, args...))
	}
}

func (r *runner) run() error {
	if r.script.Init != "" {
		if err := r.shell(r.script.Init); err != nil {
			return err
		}
	}
	m, err := r.host.Start(Setup{
		MTU:     r.cfg.mtu,
		Addr:    netip.PrefixFrom(r.cfg.local, r.cfg.bits),
		Gateway: r.cfg.gateway,
	})
	if err != nil {
		return r.unsupported("machine: %v", err)
	}
	r.m = m
	defer m.Stop(nil)
	m.Advance(epoch)
	for i := range r.script.Events {
		ev := &r.script.Events[i]
		r.line = ev.Line
		if err := r.event(ev); err != nil {
			return err
		}
		r.begun = true
	}
	return r.finish()
}

// finish is what remains to be checked behind the last event.
func (r *runner) finish() error {
	if err := r.finishCalls(); err != nil {
		return err
	}
	if r.cfg.Strict && len(r.queue) > 0 {
		s := r.queue[0]
		return r.fail("the script does not mention a packet that was sent at %s: > %s", seconds(s.at), r.show(s))
	}
	return nil
}

// event runs one event.
func (r *runner) event(ev *Event) error {
	at, end, base := ev.When.At, ev.When.At, r.now
	if ev.When.Range {
		end = ev.When.End
	}
	if ev.When.Relative {
		at, end = at+r.now, end+r.now
	}
	defer func() { r.last, r.begun = r.now, true }()
	if ev.Packet != nil && ev.Packet.Out {
		return r.expect(ev, at, end)
	}
	if at < r.now-r.cfg.tolerance {
		return r.fail("timing error: the event is at %s, and it is %s already", seconds(at), seconds(r.now))
	}
	if err := r.sleep(at); err != nil {
		return err
	}
	switch {
	case ev.Packet != nil:
		return r.inject(ev.Packet)
	case ev.Call != nil:
		return r.call(ev, base)
	case ev.Code != "":
		return r.code(ev.Code)
	}
	return r.shell(ev.Shell)
}

// sleep lets time pass until the given moment.
func (r *runner) sleep(until time.Duration) error {
	for {
		if err := r.settle(); err != nil {
			return err
		}
		at := r.wake()
		if at > until {
			break
		}
		if err := r.step(at); err != nil {
			return err
		}
	}
	if until > r.now {
		r.now = until
		r.m.Advance(epoch + r.now)
	}
	return r.settle()
}

// wake returns the next moment at which something has to be done.
func (r *runner) wake() time.Duration {
	at := time.Duration(math.MaxInt64)
	if next := r.m.Next(); next < at-epoch {
		at = max(next-epoch, r.now)
	}
	for _, p := range r.wait {
		if !p.done {
			at = min(at, p.timeout)
		}
	}
	return at
}

// patience is how often a machine may say that something is due at this very
// moment and then say it again.
const patience = 10000

// step moves the clock to a moment that wake named.
func (r *runner) step(at time.Duration) error {
	for n := 0; ; n++ {
		r.now = at
		r.m.Advance(epoch + at)
		if err := r.settle(); err != nil {
			return err
		}
		if r.wake() > at {
			return nil
		}
		if n > patience {
			return r.fail("the machine's clock does not come to rest: Next stays at %s", seconds(r.m.Next()-epoch))
		}
	}
}

// settle runs the machine until it has nothing more to do at this moment.
func (r *runner) settle() error {
	for n := 0; ; n++ {
		r.m.EndBurst()
		sent := r.m.Transmit((*port)(r), 64)
		more := r.m.Poll((*events)(r), 64)
		if r.broken != nil {
			return r.broken
		}
		moved, err := r.progress()
		if err != nil {
			return err
		}
		if sent == 0 && !more && !moved && !r.m.Busy() {
			return nil
		}
		if n > patience {
			return r.fail("the machine does not come to rest: Busy, and nothing happens")
		}
	}
}

// port is the machine's network.
type port runner

// Open implements stream.Output.
func (o *port) Open(netip.Addr, uint32) stream.Path {
	return stream.Path{Max: o.cfg.mtu, Checksums: o.checksums}
}

// Frame implements stream.Output.
func (o *port) Frame(n int) []byte {
	o.frame = make([]byte, n)
	return o.frame
}

// Commit implements stream.Output.
func (o *port) Commit() {
	r := (*runner)(o)
	if len(r.frame) > r.cfg.mtu && r.broken == nil {
		r.broken = r.fail("the machine sent a packet of %d bytes into a network of MTU %d", len(r.frame), r.cfg.mtu).(*Error)
	}
	s, err := parseSegment(r.frame, r.checksums)
	if err != nil {
		if r.broken == nil {
			r.broken = r.fail("the machine sent a bad packet: %v: %x", err, r.frame).(*Error)
		}
		return
	}
	s.at = r.now
	r.queue = append(r.queue, s)
	if f := r.flowOf(s); f != nil {
		f.saw(s)
	}
}

// flowOf returns the connection that a packet of the machine belongs to. A
// packet of an unknown one begins one: it is an active open, or an answer.
func (r *runner) flowOf(s *segment) *flow {
	for _, f := range r.flows {
		if f.local == s.src && f.remote == s.dst {
			return f
		}
	}
	if s.icmp != nil {
		return r.cur
	}
	if f := r.cur; f != nil && !f.local.IsValid() && f.remote == s.dst {
		f.local = s.src
		return f
	}
	f := newFlow(s.src, s.dst)
	r.flows = append(r.flows, f)
	for _, k := range r.socks {
		if k.state == sockConnecting && k.flow == nil && k.remote == s.dst {
			k.flow, f.sock = f, k
			r.cur = f
		}
	}
	if r.cur == nil {
		r.cur = f
	}
	return f
}

// inject gives the machine one packet.
func (r *runner) inject(k *Packet) error {
	f := r.flowFor(k)
	if k.ICMP != nil {
		b, err := f.icmp(k)
		if err != nil {
			return r.unsupported("%v", err)
		}
		r.trace("< icmp %s %s", k.ICMP.Type, k.ICMP.Code)
		r.m.Deliver(b, false)
		return r.settle()
	}
	s, why := f.toWire(k, r.cfg.ecrScaled)
	if why != "" {
		return r.fail("TS ecr: %s", why)
	}
	r.trace("< %s", k)
	r.m.Deliver(s.build(), false)
	return r.settle()
}

// flowFor returns the connection that an injected packet belongs to. Ports name
// one, and make it the current one. Without ports it is the current one; a SYN
// for a listener makes one.
func (r *runner) flowFor(k *Packet) *flow {
	local := netip.AddrPortFrom(r.cfg.local, r.cfg.bindPort)
	remote := netip.AddrPortFrom(r.cfg.remote, firstRemotePort+uint16(len(r.flows)))
	if k.SrcPort != 0 {
		local = netip.AddrPortFrom(r.cfg.local, k.DstPort)
		remote = netip.AddrPortFrom(r.cfg.remote, k.SrcPort)
		for _, f := range r.flows {
			if f.local == local && f.remote == remote {
				r.cur = f
				return f
			}
		}
	} else if r.cur != nil {
		return r.cur
	}
	for _, s := range r.socks {
		if k.SrcPort == 0 && s.state == sockListening && s.local.Port() != 0 {
			local = netip.AddrPortFrom(r.cfg.local, s.local.Port())
		}
	}
	f := newFlow(local, remote)
	r.flows = append(r.flows, f)
	r.cur = f
	return f
}

// firstRemotePort is the script's port on its first connection to a listener.
const firstRemotePort = 50001

// seconds writes a script's time.
func seconds(d time.Duration) string { return fmt.Sprintf("%.6f sec", d.Seconds()) }
