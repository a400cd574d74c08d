// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"netcon/dataplane/wire"
)

// MaxFileBytes is the size up to which a file is read.
const MaxFileBytes = 1 << 20

// Names of the sockets in the runtime directory.
const (
	AttachSocket  = "attach.sock"
	ControlSocket = "control.sock"
)

// Config is a checked configuration with every default filled in.
type Config struct {
	Daemon     Daemon      `json:"daemon"`
	Underlay   Underlay    `json:"underlay"`
	Networks   []Network   `json:"network"`
	Containers []Container `json:"container"`
}

// Daemon is what concerns the process.
type Daemon struct {
	RuntimeDir string `json:"runtime_dir"` // absolute
	Workers    int    `json:"workers"`
	// WorkersByDefault says that the file does not ask for a number of
	// workers: fewer will do where the underlay has fewer queues.
	WorkersByDefault bool          `json:"workers_by_default"`
	CPUs             []int         `json:"cpus"` // one per worker, or empty: workers are not pinned by the file
	Idle             Idle          `json:"idle"`
	Spin             time.Duration `json:"spin_ns"`   // how long a worker spins before it sleeps
	Resolvers        []netip.Addr  `json:"resolvers"` // whom to ask for other names; empty: those of /etc/resolv.conf
}

// Idle is what a worker does when it has no work.
type Idle string

// The idle policies.
const (
	IdleSleep Idle = "sleep"
	IdleBusy  Idle = "busy"
)

// Underlay is how encapsulated frames reach the wire.
type Underlay struct {
	Kind    Kind       `json:"kind"`
	Address netip.Addr `json:"address"` // ours, the VTEP
	Port    uint16     `json:"port"`
	MTU     int        `json:"mtu"` // 0: derived from the device

	SendSockets int `json:"send_sockets"` // of kind udp

	// Of kind xdp; zero otherwise.
	Interface string        `json:"interface"`    // "": the device that holds Address
	Attach    string        `json:"attach"`       // "auto", "native" or "generic"
	ZeroCopy  string        `json:"zero_copy"`    // "auto", "on" or "off"
	BusyPoll  time.Duration `json:"busy_poll_ns"` // 0: off
	Frames    int           `json:"frames"`       // per receive queue
}

// Kind is what an underlay is made of.
type Kind string

// The kinds: an ordinary UDP socket, or AF_XDP sockets on a NIC.
const (
	KindUDP Kind = "udp"
	KindXDP Kind = "xdp"
)

// Overhead returns the bytes of encapsulation around an inner IP packet.
func (u *Underlay) Overhead() int {
	if u.Address.Is6() {
		return wire.OverheadIPv6
	}
	return wire.OverheadIPv4
}

// Network is a virtual segment.
type Network struct {
	Name     string         `json:"name"`
	VNI      uint32         `json:"vni"`
	Subnets  []netip.Prefix `json:"subnets"` // masked, not overlapping
	VTEPs    []netip.Addr   `json:"vteps"`   // of the underlay's family, without our own
	Learn    bool           `json:"learn"`
	Gateway4 netip.Addr     `json:"gateway4"` // invalid: none
	Gateway6 netip.Addr     `json:"gateway6"`
	MTU      int            `json:"mtu"` // of inner IP packets; 0: derived from the underlay
	Hosts    []Host         `json:"host"`
}

// Subnet returns the subnet that holds addr. A checked network has at most one.
func (n *Network) Subnet(addr netip.Addr) (netip.Prefix, bool) {
	for _, p := range n.Subnets {
		if p.Contains(addr) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// hasIPv6 reports whether a subnet of n is IPv6.
func (n *Network) hasIPv6() bool {
	return slices.ContainsFunc(n.Subnets, func(p netip.Prefix) bool { return p.Addr().Is6() })
}

// Host is a static entry: what is otherwise asked by ARP or neighbour discovery.
type Host struct {
	IP   netip.Addr `json:"ip"`
	MAC  wire.MAC   `json:"mac"`
	VTEP netip.Addr `json:"vtep"`
}

// AnyWorker says that a container is not pinned: workers take turns.
const AnyWorker = -1

// Container is one network identity.
type Container struct {
	Name       string        `json:"name"`
	Network    string        `json:"network"`
	Addresses  []netip.Addr  `json:"addresses"` // each in one subnet of the network, at least one
	MAC        wire.MAC      `json:"mac"`
	UIDs       []uint32      `json:"uids"`   // who may attach beside root
	Worker     int           `json:"worker"` // AnyWorker, or the number of one
	Missing    Missing       `json:"missing"`
	Policy     Policy        `json:"policy"`
	Publish    []Publication `json:"publish"`
	Engine     string        `json:"engine"` // "gvisor"
	Mode       string        `json:"mode"`   // "pump"
	SynRetries int           `json:"syn_retries"`
	TimeWait   time.Duration `json:"time_wait_ns"`
	Limits     Limits        `json:"limits"`
}

// MayAttach reports whether a process of this user may attach.
func (c *Container) MayAttach(uid uint32) bool {
	return uid == 0 || slices.Contains(c.UIDs, uid)
}

// Missing is what socket() does when the daemon is gone.
type Missing string

// The policies: fail with ENETDOWN, or use the host's stack.
const (
	MissingFail   Missing = "fail"
	MissingKernel Missing = "kernel"
)

// Limits bound what one container may take from its neighbours.
type Limits struct {
	Connections   int   `json:"connections"`
	HalfOpen      int   `json:"half_open"` // at most Connections
	BufferBytes   int64 `json:"buffer_bytes"`
	FragmentBytes int64 `json:"fragment_bytes"`
}

// Network returns the network of that name, or nil.
func (c *Config) Network(name string) *Network {
	for i := range c.Networks {
		if c.Networks[i].Name == name {
			return &c.Networks[i]
		}
	}
	return nil
}

// AttachPath returns the path of the socket on which programs attach.
func (d *Daemon) AttachPath() string { return filepath.Join(d.RuntimeDir, AttachSocket) }

// ControlPath returns the path of the socket for administration.
func (d *Daemon) ControlPath() string { return filepath.Join(d.RuntimeDir, ControlSocket) }

// Load reads and checks the file at path. The error is an ErrorList.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(path, "open", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return nil, ErrorList{{File: path, Msg: "read: is a directory (a TOML file)"}}
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, fileError(path, "read", err)
	}
	return Parse(path, data)
}

// fileError says which operation on a file went wrong, and why.
func fileError(path, op string, err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	return ErrorList{{File: path, Msg: fmt.Sprintf("%s: %v", op, err)}}
}

// Parse checks data, the content of the file called name. The error is an
// ErrorList.
func Parse(name string, data []byte) (*Config, error) {
	return parse(name, data, thisHost())
}

// parse is Parse for a given host.
func parse(name string, data []byte, h host) (*Config, error) {
	r := &reader{
		file: name, host: h,
		networks: map[string]*networkRead{}, vnis: map[uint32]int{}, containers: map[string]int{}, published: map[string]int{},
	}
	if len(data) > MaxFileBytes {
		r.fail(0, "larger than %d bytes", MaxFileBytes)
		return nil, r.errs
	}
	if i := firstInvalid(data); i >= 0 {
		r.fail(1+bytes.Count(data[:i], []byte("\n")), "byte 0x%02x: not UTF-8", data[i])
		return nil, r.errs
	}
	root, err := parseTree(data)
	if err != nil {
		r.failTOML(err)
		return nil, r.errs
	}
	c := r.config(root)
	if len(r.errs) > 0 {
		return nil, r.errs.sorted()
	}
	return c, nil
}

// firstInvalid returns the offset of the first byte that is not UTF-8, or -1.
func firstInvalid(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
}

// config reads the whole file. Networks need the underlay, containers need the
// networks and the workers.
func (r *reader) config(root *node) *Config {
	c := &r.cfg
	top := r.table(root, "file", 1)
	r.daemon(top.sub("daemon", "[daemon]"))
	r.underlay(top.sub("underlay", "[underlay]"))
	for i, n := range top.tables("network") {
		r.network(n, i)
	}
	r.underlayMTU()
	for i, n := range top.tables("container") {
		r.container(n, i)
	}
	top.done()
	return c
}
