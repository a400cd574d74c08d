// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"netcon/dataplane/stat"
)

// Limits bounds what one engine may hold. A zero field means its default.
type Limits struct {
	Connections int // open sockets, listeners included; default 16,384
	HalfOpen    int // half-open connections of all listeners; default 1,024
	Orphans     int // connections closed by their owner, not yet by TCP; default Connections
	TimeWait    int // connections in TIME-WAIT; default Connections
	BufferBytes int // memory of the engine's own that holds bytes; default 16 MiB
}

// Config says what an Engine is. Zero fields mean defaults.
type Config struct {
	Name string // of the container, for messages
	MTU  int    // of the network: the largest IP packet in bytes, 1,280 (IPv4 only: 576) to 65,535

	Addrs    []netip.Prefix // own addresses, each with its on-link prefix
	Gateway4 netip.Addr     // default route; invalid: only on-link destinations
	Gateway6 netip.Addr

	Limits Limits
	Stat   *stat.Block // written on the worker's thread; a private one if nil

	// Seed is the secret behind initial sequence numbers, timestamp offsets,
	// SYN cookies, port choice and hashing; random if zero.
	Seed [32]byte

	Tuning *Tuning // nil: DefaultTuning
}

// Tuning is what Linux calls sysctls (net.ipv4.tcp_*, the name stands behind
// each). Start from DefaultTuning: zero values are values.
type Tuning struct {
	SACK          bool // tcp_sack
	Timestamps    bool // tcp_timestamps
	WindowScaling bool // tcp_window_scaling
	ECN           int  // tcp_ecn: 0 never, 1 ask and accept, 2 accept

	SynRetries    int // tcp_syn_retries
	SynAckRetries int // tcp_synack_retries
	Retries1      int // tcp_retries1: timeouts until the path is suspected
	Retries2      int // tcp_retries2
	OrphanRetries int // tcp_orphan_retries; 0 means 8

	FinTimeout        time.Duration // tcp_fin_timeout: orphans in FIN-WAIT-2
	TimeWait          time.Duration // 2 MSL; a constant of 60 s in Linux
	KeepaliveTime     time.Duration // tcp_keepalive_time
	KeepaliveInterval time.Duration // tcp_keepalive_intvl
	KeepaliveProbes   int           // tcp_keepalive_probes

	InitialCwnd        int  // segments, RFC 6928
	SlowStartAfterIdle bool // tcp_slow_start_after_idle, RFC 2861
	Reordering         int  // tcp_reordering: the duplicate ACK threshold
	RACK               bool // tcp_recovery: RACK-TLP, RFC 8985; else RFC 6675 alone
	EarlyRetrans       bool // tcp_early_retrans: tail loss probes
	FRTO               bool // tcp_frto, RFC 5682
	HyStart            bool // hystart of tcp_cubic; here HyStart++, RFC 9406
	Cubic              bool // tcp_congestion_control: cubic, else reno

	PMTUDiscovery bool // not ip_no_pmtu_disc: believe validated ICMP
	MTUProbing    int  // tcp_mtu_probing: 0 off, 1 when a black hole is suspected, 2 always
	BaseMSS       int  // tcp_base_mss
	MinSndMSS     int  // tcp_min_snd_mss
	MTUProbeFloor int  // tcp_mtu_probe_floor

	SynCookies         int           // tcp_syncookies: 0 never, 1 when the queue is full, 2 always
	AbortOnOverflow    bool          // tcp_abort_on_overflow
	ChallengeAckLimit  int           // challenge ACKs per second of the engine; 0 means none are sent, negative: no limit
	InvalidRateLimit   time.Duration // tcp_invalid_ratelimit: between answers to bad segments of one connection
	RFC1337            bool          // tcp_rfc1337: RST does not end TIME-WAIT
	TimeWaitReuse      bool          // RFC 6191 for arriving SYNs, and for own active opens
	MaxBacklog         int           // net.core.somaxconn
	EphemeralLow       uint16        // ip_local_port_range
	EphemeralHigh      uint16
	NotSentLowat       int // tcp_notsent_lowat; bytes, 0 means none
	DelAckMin          time.Duration
	DelAckMax          time.Duration
	MinRTO, MaxRTO     time.Duration
	InitialRTO         time.Duration
	ReceiveBuffer      int // tcp_rmem default: the window offered while a ring has no memory, bytes
	MaxReceiveBuffer   int // tcp_rmem max: bounds the window scale
	SendBuffer         int // tcp_wmem default, as OptSendBuffer reports it
	MaxSendBuffer      int
	TTL                int    // ip_default_ttl
	FixedISN           uint32 // initial sequence number of every connection, for tests; 0: RFC 6528
	FixedTSOffset      bool   // timestamps start at the clock, for tests
	OmitFirstQuickAcks bool   // delay ACKs from the start, for tests
}

// DefaultTuning returns Linux's defaults, where Linux has the knob.
func DefaultTuning() Tuning {
	return Tuning{
		SACK: true, Timestamps: true, WindowScaling: true, ECN: 2,
		SynRetries: 6, SynAckRetries: 5, Retries1: 3, Retries2: 15,
		FinTimeout: 60 * time.Second, TimeWait: 60 * time.Second,
		KeepaliveTime: 7200 * time.Second, KeepaliveInterval: 75 * time.Second, KeepaliveProbes: 9,
		InitialCwnd: 10, SlowStartAfterIdle: true, Reordering: 3,
		RACK: true, EarlyRetrans: true, FRTO: true, HyStart: true, Cubic: true,
		PMTUDiscovery: true, MTUProbing: 1, BaseMSS: 1024, MinSndMSS: 48, MTUProbeFloor: 48,
		SynCookies: 1, ChallengeAckLimit: 1000, InvalidRateLimit: 500 * time.Millisecond,
		TimeWaitReuse: true, MaxBacklog: 4096,
		EphemeralLow: 32768, EphemeralHigh: 60999,
		DelAckMin: 40 * time.Millisecond, DelAckMax: 200 * time.Millisecond,
		MinRTO: 200 * time.Millisecond, MaxRTO: 120 * time.Second, InitialRTO: time.Second,
		ReceiveBuffer: 64 << 10, MaxReceiveBuffer: 6 << 20,
		SendBuffer: 256 << 10, MaxSendBuffer: 4 << 20,
		TTL: 64,
	}
}

// The least MTUs that are believed and configured: RFC 791 (what every host
// must take), RFC 8200 section 5.
const (
	minMTU4 = 576
	minMTU6 = 1280
)

func (c *Config) complete() error {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.Limits.Connections, 16384)
	def(&c.Limits.HalfOpen, 1024)
	def(&c.Limits.Orphans, c.Limits.Connections)
	def(&c.Limits.TimeWait, c.Limits.Connections)
	def(&c.Limits.BufferBytes, 16<<20)
	if c.Stat == nil {
		c.Stat = new(stat.Block)
	}
	if c.Tuning == nil {
		t := DefaultTuning()
		c.Tuning = &t
	}
	if c.Seed == ([32]byte{}) {
		if _, err := rand.Read(c.Seed[:]); err != nil {
			return fmt.Errorf("seed of engine %q: %w", c.Name, err)
		}
	}
	if len(c.Addrs) == 0 {
		return fmt.Errorf("engine %q: no address", c.Name)
	}
	least := minMTU4
	for _, p := range c.Addrs {
		a := p.Addr()
		if !p.IsValid() || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
			return fmt.Errorf("address %s of engine %q: not a unicast address with a prefix length", p, c.Name)
		}
		if a.Is6() {
			least = minMTU6
		}
	}
	if c.MTU < least || c.MTU > 65535 {
		return fmt.Errorf("mtu %d of engine %q (want %d to 65535)", c.MTU, c.Name, least)
	}
	if g := c.Gateway4; g.IsValid() && !g.Is4() {
		return fmt.Errorf("gateway %s of engine %q: not an IPv4 address", g, c.Name)
	}
	if g := c.Gateway6; g.IsValid() && (!g.Is6() || g.Is4In6()) {
		return fmt.Errorf("gateway %s of engine %q: not an IPv6 address", g, c.Name)
	}
	return c.Tuning.check(c.Name)
}

// check reports a knob whose value has no meaning.
func (t *Tuning) check(name string) error {
	if t.EphemeralLow == 0 || t.EphemeralLow > t.EphemeralHigh {
		return fmt.Errorf("ephemeral ports %d to %d of engine %q (want 1 to 65535, in order)", t.EphemeralLow, t.EphemeralHigh, name)
	}
	if t.MinRTO <= 0 || t.MaxRTO < t.MinRTO || t.InitialRTO <= 0 {
		return fmt.Errorf("retransmission timeouts %v, %v, %v of engine %q (want 0 < min <= max, 0 < initial)",
			t.MinRTO, t.MaxRTO, t.InitialRTO, name)
	}
	if t.MinSndMSS < 1 || t.BaseMSS < t.MinSndMSS {
		return fmt.Errorf("mss floor %d, base %d of engine %q (want 1 <= floor <= base)", t.MinSndMSS, t.BaseMSS, name)
	}
	if t.InitialCwnd < 1 || t.Reordering < 1 {
		return fmt.Errorf("initial cwnd %d, reordering %d of engine %q (want at least 1)", t.InitialCwnd, t.Reordering, name)
	}
	if t.DelAckMin <= 0 || t.DelAckMax < t.DelAckMin {
		return fmt.Errorf("delayed ACK %v to %v of engine %q (want 0 < min <= max)", t.DelAckMin, t.DelAckMax, name)
	}
	if t.TTL < 1 || t.TTL > 255 {
		return fmt.Errorf("ttl %d of engine %q (want 1 to 255)", t.TTL, name)
	}
	return nil
}
