// SPDX-License-Identifier: Apache-2.0

// Package native puts dataplane/tcp under packetdrill's scripts.
package native

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"netcon/dataplane/stream"
	"netcon/dataplane/tcp"
	"netcon/internal/packetdrill"
)

// host is one engine and its knobs.
type host struct {
	tuning tcp.Tuning
	limits tcp.Limits
	engine *tcp.Engine
}

// New returns a host for one script.
func New() packetdrill.Host {
	return &host{tuning: tcp.DefaultTuning()}
}

// Start implements packetdrill.Host.
func (h *host) Start(at packetdrill.Setup) (stream.Clocked, error) {
	c := tcp.Config{Name: "packetdrill", MTU: at.MTU, Addrs: []netip.Prefix{at.Addr}, Tuning: &h.tuning, Limits: h.limits, Seed: [32]byte{1}}
	if at.Gateway.Is4() {
		c.Gateway4 = at.Gateway
	} else {
		c.Gateway6 = at.Gateway
	}
	e, err := tcp.New(c)
	if err != nil {
		return nil, err
	}
	h.engine = e
	return e, nil
}

// Inspect implements packetdrill.Host.
func (h *host) Inspect(m stream.Clocked, s stream.Handle) map[string]int64 {
	e, ok := m.(*tcp.Engine)
	if !ok {
		return nil
	}
	var d tcp.Inspection
	e.Inspect(s, &d)
	var i stream.Info
	e.Info(s, &i)
	flag := func(b bool, v int64) int64 {
		if b {
			return v
		}
		return 0
	}
	return map[string]int64{
		"tcpi_options": flag(i.Timestamps, 1) | flag(i.SACK, 2) | flag(i.WindowScale, 4) | flag(d.ECN, 8) | flag(d.ECNSeen, 16),

		"tcpi_ca_state": int64(d.CAState), "tcpi_retransmits": int64(d.Retransmits), "tcpi_backoff": int64(d.Backoff),
		"tcpi_probes": int64(d.Probes), "tcpi_sacked": int64(d.Sacked), "tcpi_dsack_dups": int64(d.DSACKs),
		"tcpi_notsent_bytes": int64(d.NotSent), "tcpi_min_rtt": d.MinRTT.Microseconds(), "tcpi_ato": d.ATO.Microseconds(),
	}
}

// Sysctl implements packetdrill.Host.
func (h *host) Sysctl(name, value string) (bool, error) {
	name, ok := strings.CutPrefix(name, "net.ipv4.")
	if !ok {
		if set, found := foreign[name]; found {
			return true, h.number(value, func(n int64) { set(h, n) })
		}
		return false, nil
	}
	switch name {
	case "tcp_rmem", "tcp_wmem":
		return true, h.memory(name, value)
	case "tcp_congestion_control":
		if value != "cubic" && value != "reno" {
			return false, nil
		}
		h.tuning.Cubic = value == "cubic"
		return true, h.apply()
	case "ip_local_port_range":
		f := strings.Fields(value)
		if len(f) != 2 {
			return true, fmt.Errorf("%q (want two ports)", value)
		}
		if err := h.number(f[0], func(n int64) { h.tuning.EphemeralLow = uint16(n) }); err != nil {
			return true, err
		}
		return true, h.number(f[1], func(n int64) { h.tuning.EphemeralHigh = uint16(n) })
	}
	set, ok := knobs[name]
	if !ok {
		return false, nil
	}
	return true, h.number(value, func(n int64) { set(&h.tuning, n) })
}

func (h *host) number(value string, set func(int64)) error {
	n, err := strconv.ParseInt(strings.TrimSpace(value), 0, 64)
	if err != nil {
		return fmt.Errorf("%q (want a number)", value)
	}
	set(n)
	return h.apply()
}

// memory sets the buffer sizes: least, default, most.
func (h *host) memory(name, value string) error {
	var v [3]int
	f := strings.Fields(value)
	if len(f) != len(v) {
		return fmt.Errorf("%q (want three sizes)", value)
	}
	for i := range v {
		n, err := strconv.Atoi(f[i])
		if err != nil {
			return fmt.Errorf("%q (want three sizes)", value)
		}
		v[i] = n
	}
	if name == "tcp_rmem" {
		h.tuning.ReceiveBuffer, h.tuning.MaxReceiveBuffer = v[1], v[2]
	} else {
		h.tuning.SendBuffer, h.tuning.MaxSendBuffer = v[1], v[2]
	}
	return h.apply()
}

// apply makes a running engine use the knobs.
func (h *host) apply() error {
	if h.engine == nil {
		return nil
	}
	return h.engine.Tune(h.tuning)
}

// foreign are knobs outside net.ipv4; those of this project begin with netcon.
var foreign = map[string]func(h *host, n int64){
	"net.core.somaxconn":       func(h *host, n int64) { h.tuning.MaxBacklog = int(n) },
	"netcon.isn":               func(h *host, n int64) { h.tuning.FixedISN = uint32(n) },
	"netcon.limit_connections": func(h *host, n int64) { h.limits.Connections = int(n) },
	"netcon.limit_half_open":   func(h *host, n int64) { h.limits.HalfOpen = int(n) },
	"netcon.limit_orphans":     func(h *host, n int64) { h.limits.Orphans = int(n) },
	"netcon.limit_time_wait":   func(h *host, n int64) { h.limits.TimeWait = int(n) },
	"netcon.limit_buffer":      func(h *host, n int64) { h.limits.BufferBytes = int(n) },
	"netcon.hystart":           func(h *host, n int64) { h.tuning.HyStart = n != 0 },
	"netcon.initial_cwnd":      func(h *host, n int64) { h.tuning.InitialCwnd = int(n) },
	"netcon.time_wait":         func(h *host, n int64) { h.tuning.TimeWait = time.Duration(n) * time.Second },
	"netcon.quickack":          func(h *host, n int64) { h.tuning.OmitFirstQuickAcks = n == 0 },
}

// knobs are Linux's.
var knobs = map[string]func(t *tcp.Tuning, n int64){
	"tcp_sack":                  func(t *tcp.Tuning, n int64) { t.SACK = n != 0 },
	"tcp_timestamps":            func(t *tcp.Tuning, n int64) { t.Timestamps = n != 0 },
	"tcp_window_scaling":        func(t *tcp.Tuning, n int64) { t.WindowScaling = n != 0 },
	"tcp_ecn":                   func(t *tcp.Tuning, n int64) { t.ECN = int(n) },
	"tcp_syn_retries":           func(t *tcp.Tuning, n int64) { t.SynRetries = int(n) },
	"tcp_synack_retries":        func(t *tcp.Tuning, n int64) { t.SynAckRetries = int(n) },
	"tcp_retries1":              func(t *tcp.Tuning, n int64) { t.Retries1 = int(n) },
	"tcp_retries2":              func(t *tcp.Tuning, n int64) { t.Retries2 = int(n) },
	"tcp_orphan_retries":        func(t *tcp.Tuning, n int64) { t.OrphanRetries = int(n) },
	"tcp_fin_timeout":           func(t *tcp.Tuning, n int64) { t.FinTimeout = time.Duration(n) * time.Second },
	"tcp_keepalive_time":        func(t *tcp.Tuning, n int64) { t.KeepaliveTime = time.Duration(n) * time.Second },
	"tcp_keepalive_intvl":       func(t *tcp.Tuning, n int64) { t.KeepaliveInterval = time.Duration(n) * time.Second },
	"tcp_keepalive_probes":      func(t *tcp.Tuning, n int64) { t.KeepaliveProbes = int(n) },
	"tcp_slow_start_after_idle": func(t *tcp.Tuning, n int64) { t.SlowStartAfterIdle = n != 0 },
	"tcp_reordering":            func(t *tcp.Tuning, n int64) { t.Reordering = int(n) },
	"tcp_recovery":              func(t *tcp.Tuning, n int64) { t.RACK = n&1 != 0 },
	"tcp_early_retrans":         func(t *tcp.Tuning, n int64) { t.EarlyRetrans = n >= 3 },
	"tcp_frto":                  func(t *tcp.Tuning, n int64) { t.FRTO = n != 0 },
	"ip_no_pmtu_disc":           func(t *tcp.Tuning, n int64) { t.PMTUDiscovery = n == 0 },
	"tcp_mtu_probing":           func(t *tcp.Tuning, n int64) { t.MTUProbing = int(n) },
	"tcp_base_mss":              func(t *tcp.Tuning, n int64) { t.BaseMSS = int(n) },
	"tcp_min_snd_mss":           func(t *tcp.Tuning, n int64) { t.MinSndMSS = int(n) },
	"tcp_mtu_probe_floor":       func(t *tcp.Tuning, n int64) { t.MTUProbeFloor = int(n) },
	"tcp_syncookies":            func(t *tcp.Tuning, n int64) { t.SynCookies = int(n) },
	"tcp_abort_on_overflow":     func(t *tcp.Tuning, n int64) { t.AbortOnOverflow = n != 0 },
	"tcp_challenge_ack_limit":   func(t *tcp.Tuning, n int64) { t.ChallengeAckLimit = int(min(n, 1<<30)) },
	"tcp_invalid_ratelimit":     func(t *tcp.Tuning, n int64) { t.InvalidRateLimit = time.Duration(n) * time.Millisecond },
	"tcp_rfc1337":               func(t *tcp.Tuning, n int64) { t.RFC1337 = n != 0 },
	"tcp_tw_reuse":              func(t *tcp.Tuning, n int64) { t.TimeWaitReuse = n != 0 },
	"tcp_notsent_lowat":         func(t *tcp.Tuning, n int64) { t.NotSentLowat = notSent(n) },
	"ip_default_ttl":            func(t *tcp.Tuning, n int64) { t.TTL = int(n) },
	"tcp_rto_min_us":            func(t *tcp.Tuning, n int64) { t.MinRTO = time.Duration(n) * time.Microsecond },
	"tcp_rto_max_ms":            func(t *tcp.Tuning, n int64) { t.MaxRTO = time.Duration(n) * time.Millisecond },
}

// notSent turns Linux's "no limit" into the engine's.
func notSent(n int64) int {
	if n >= 1<<31 {
		return 0
	}
	return int(n)
}
