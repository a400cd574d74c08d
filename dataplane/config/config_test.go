// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/wire"
)

func addrs(s ...string) []netip.Addr {
	var list []netip.Addr
	for _, a := range s {
		list = append(list, netip.MustParseAddr(a))
	}
	return list
}

func TestDefaults(t *testing.T) {
	got, err := parse("f.toml", []byte(doc), testHost)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Daemon:   Daemon{RuntimeDir: "/run/user/1000/netcon", Workers: 2, WorkersByDefault: true, Idle: IdleSleep, Spin: 20 * time.Microsecond},
		Underlay: Underlay{Kind: "udp", Address: netip.MustParseAddr("192.0.2.1"), Port: 4789, SendSockets: 4},
		Networks: []Network{{
			Name: "blue", VNI: 42, VTEPs: addrs("192.0.2.2"),
			Subnets: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/24"), netip.MustParsePrefix("fd42::/64")},
		}},
		Containers: []Container{{
			Name: "web", Network: "blue", Addresses: addrs("10.42.0.10", "fd42::10"),
			MAC: DeriveMAC(42, netip.MustParseAddr("10.42.0.10")), UIDs: []uint32{1000}, Worker: AnyWorker,
			Missing: MissingFail, Policy: PolicyIsolated, Engine: "gvisor", Mode: "pump", SynRetries: 6, TimeWait: 5 * time.Second,
			Limits: Limits{Connections: 16384, HalfOpen: 4096, BufferBytes: 256 << 20, FragmentBytes: 4 << 20},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEveryKey(t *testing.T) {
	const text = `
[daemon]
runtime_dir = "/run/x/"
workers = 2
cpus = [5, 0]
idle = "busy"
spin = "0s"
[underlay]
kind = "udp"
address = "2001:db8::1"
port = 8472
mtu = 9000
send_sockets = 1
[[network]]
name = "blue"
vni = 0
subnets = ["10.42.0.0/24", "fd42::/64", "10.43.0.0/31"]
vteps = ["2001:db8::2", "2001:db8::3"]
learn = true
gateway4 = "10.42.0.1"
gateway6 = "fd42::1"
mtu = 8930
[[network.host]]
ip = "10.42.0.20"
mac = "02:00:00:00:00:20"
vtep = "2001:db8::2"
[[network.host]]
ip = "fd42::20"
mac = "02:00:00:00:00:20"
vtep = "2001:db8::2"
[[network]]
name = "red"
vni = 16777215
subnets = ["10.42.0.0/24"]
[[container]]
name = "web"
network = "blue"
addresses = ["10.43.0.0", "fd42::10"]
mac = "02-00-00-00-00-AA"
uids = [0x3e8, 4294967294]
worker = 1
missing = "kernel"
engine = "gvisor"
mode = "pump"
policy = "host"
publish = ["8080:80", "192.0.2.1:80:80/tcp", "[::]:8081:65535", "8080:53/udp"]
syn_retries = 1
time_wait = "1m30s"
limits = { connections = 1_000, half_open = 1_000, buffer_bytes = 65536, fragment_bytes = "64 KiB" }
[[container]]
name = "web-2.a_b"
network = "red"
addresses = ["10.42.0.10"]
uids = []
[container.limits]
connections = 100
`
	c, err := parse("f.toml", []byte(text), testHost)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Daemon{RuntimeDir: "/run/x", Workers: 2, CPUs: []int{5, 0}, Idle: IdleBusy}); !reflect.DeepEqual(c.Daemon, want) {
		t.Errorf("daemon %+v, want %+v", c.Daemon, want)
	}
	if want := (Underlay{Kind: "udp", Address: netip.MustParseAddr("2001:db8::1"), Port: 8472, MTU: 9000, SendSockets: 1}); c.Underlay != want {
		t.Errorf("underlay %+v, want %+v", c.Underlay, want)
	}
	mac := wire.MAC{2, 0, 0, 0, 0, 0x20}
	vtep := netip.MustParseAddr("2001:db8::2")
	want := Network{
		Name: "blue", VTEPs: addrs("2001:db8::2", "2001:db8::3"), Learn: true, MTU: 8930,
		Subnets:  []netip.Prefix{netip.MustParsePrefix("10.42.0.0/24"), netip.MustParsePrefix("fd42::/64"), netip.MustParsePrefix("10.43.0.0/31")},
		Gateway4: netip.MustParseAddr("10.42.0.1"), Gateway6: netip.MustParseAddr("fd42::1"),
		Hosts: []Host{{netip.MustParseAddr("10.42.0.20"), mac, vtep}, {netip.MustParseAddr("fd42::20"), mac, vtep}},
	}
	if got := *c.Network("blue"); !reflect.DeepEqual(got, want) {
		t.Errorf("network %+v\nwant    %+v", got, want)
	}
	wantWeb := Container{
		Name: "web", Network: "blue", Addresses: addrs("10.43.0.0", "fd42::10"), MAC: wire.MAC{2, 0, 0, 0, 0, 0xaa},
		UIDs: []uint32{1000, 4294967294}, Worker: 1, Missing: MissingKernel, Policy: PolicyHost,
		Publish: []Publication{
			{netip.MustParseAddrPort("0.0.0.0:8080"), 80, "tcp"},
			{netip.MustParseAddrPort("192.0.2.1:80"), 80, "tcp"},
			{netip.MustParseAddrPort("[::]:8081"), 65535, "tcp"},
			{netip.MustParseAddrPort("0.0.0.0:8080"), 53, "udp"},
		},
		Engine: "gvisor", Mode: "pump",
		SynRetries: 1, TimeWait: 90 * time.Second, Limits: Limits{1000, 1000, 65536, 65536},
	}
	if got := c.Containers[0]; !reflect.DeepEqual(got, wantWeb) {
		t.Errorf("container %+v\nwant      %+v", got, wantWeb)
	}
	if got := c.Containers[1]; got.Limits.HalfOpen != 100 || len(got.UIDs) != 0 || got.MayAttach(1000) || !got.MayAttach(0) {
		t.Errorf("container %+v: want half_open 100 and nobody but root", got)
	}
	if !c.Containers[0].MayAttach(1000) || c.Containers[0].MayAttach(1001) {
		t.Error("MayAttach does not follow uids")
	}
	if got := c.Daemon.AttachPath(); got != "/run/x/attach.sock" {
		t.Errorf("attach path %s", got)
	}
	if got := c.Daemon.ControlPath(); got != "/run/x/control.sock" {
		t.Errorf("control path %s", got)
	}
	if p, ok := c.Network("blue").Subnet(netip.MustParseAddr("10.43.0.1")); !ok || p.String() != "10.43.0.0/31" {
		t.Errorf("subnet %v %t", p, ok)
	}
}

func TestDefaultsOfTheHost(t *testing.T) {
	root := testHost
	root.uid = 0
	bare := testHost
	bare.xdg = ""
	relative := testHost
	relative.xdg = "run"
	one := testHost
	one.usable = 1
	for _, tt := range []struct {
		name    string
		host    host
		text    string
		dir     string
		workers int
	}{
		{"root", root, doc, "/run/netcon", 2},
		{"no runtime directory", bare, doc, "/tmp/netcon-1000", 2},
		{"relative runtime directory", relative, doc, "/tmp/netcon-1000", 2},
		{"one CPU", one, doc, "/run/user/1000/netcon", 1},
		{"workers follow cpus", testHost, doc + "[daemon]\ncpus = [0, 1, 2]", "/run/user/1000/netcon", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse("f.toml", []byte(tt.text), tt.host)
			if err != nil {
				t.Fatal(err)
			}
			if c.Daemon.RuntimeDir != tt.dir || c.Daemon.Workers != tt.workers {
				t.Errorf("%+v, want %s and %d workers", c.Daemon, tt.dir, tt.workers)
			}
		})
	}
}

// The derived address is a promise to other hosts: it may never change.
func TestDeriveMAC(t *testing.T) {
	for _, tt := range []struct {
		vni  uint32
		addr string
		want string
	}{
		{42, "10.42.0.10", "96:4f:17:d5:a1:3e"},
		{42, "fd42::10", "7a:57:e3:3b:81:d9"},
		{43, "10.42.0.10", "0e:7f:7e:b4:98:d0"},
	} {
		m := DeriveMAC(tt.vni, netip.MustParseAddr(tt.addr))
		if m.String() != tt.want {
			t.Errorf("VNI %d, %s: %s, want %s", tt.vni, tt.addr, m, tt.want)
		}
		if m.IsGroup() || m[0]&2 == 0 {
			t.Errorf("%s is not a locally administered unicast address", m)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.toml", doc, 0o600)
	if c, err := Load(good); err != nil || c.Containers[0].Name != "web" {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, tt := range []struct{ path, want string }{
		{filepath.Join(dir, "none.toml"), ": open: no such file or directory"},
		{filepath.Join(good, "x"), ": open: not a directory"},
		{dir, ": read: is a directory (a TOML file)"},
		{write("large.toml", doc+strings.Repeat("#\n", MaxFileBytes/2), 0o600), ": larger than 1048576 bytes"},
		{write("bad.toml", doc+"x = 1", 0o600), `:14: container "web": key "x": unknown (known: name, network, addresses, mac, uids, worker, missing, policy, publish, engine, mode, syn_retries, time_wait, limits)`},
	} {
		if _, err := Load(tt.path); err == nil || err.Error() != tt.path+tt.want {
			t.Errorf("got  %v\nwant %s%s", err, tt.path, tt.want)
		}
	}

	secret := write("secret.toml", doc, 0o000)
	err := asNobody(t, dir, func() error { _, err := Load(secret); return err })
	if want := secret + ": open: permission denied"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// asNobody calls f on a thread without root's power over files.
func asNobody(t *testing.T, dir string, f func() error) error {
	for d := dir; d != "/"; d = filepath.Dir(d) {
		if os.Getuid() == 0 && strings.HasPrefix(filepath.Base(d), "Test") || d == dir {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with this goroutine
		if os.Getuid() == 0 {
			if err := syscall.Setfsuid(65534); err != nil {
				result <- err
				return
			}
		}
		result <- f()
	}()
	return <-result
}

func TestParseIsIndependentOfTheText(t *testing.T) {
	text := []byte(doc)
	c, err := parse("f.toml", text, testHost)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		text[i] = 'x'
	}
	if c.Containers[0].Name != "web" || c.Networks[0].Name != "blue" {
		t.Errorf("%+v changed with the text", c)
	}
}

func TestXDP(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Underlay
	}{
		{"", Underlay{Attach: "auto", ZeroCopy: "auto", Frames: 4096}},
		{
			"interface = \"enp3s0f1\"\nattach = \"generic\"\nzero_copy = \"off\"\nbusy_poll = \"50us\"\nframes = 512\n",
			Underlay{Interface: "enp3s0f1", Attach: "generic", ZeroCopy: "off", BusyPoll: 50 * time.Microsecond, Frames: 512},
		},
	} {
		c, err := parse("f.toml", []byte(strings.Replace(doc, "[underlay]\n", xdp+tt.text, 1)), testHost)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		tt.want.Kind, tt.want.Address, tt.want.Port = KindXDP, netip.MustParseAddr("192.0.2.1"), 4789
		if c.Underlay != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.text, c.Underlay, tt.want)
		}
	}
}

// The examples are what a first user copies: they have to work, and to mention
// every key.
func TestExamples(t *testing.T) {
	t.Run("udp", func(t *testing.T) {
		full, all := example(t, "../../dist/netcon.toml")
		if d := full.Networks[0]; len(d.Hosts) == 0 || !d.Gateway4.IsValid() {
			t.Errorf("the commented settings do not show: %+v", d)
		}
		for _, key := range everyKey("") {
			if !mentions(all, key) {
				t.Errorf("the example does not mention %q", key)
			}
		}
	})
	t.Run("xdp", func(t *testing.T) {
		full, all := example(t, "../../dist/netcon-xdp.toml")
		if u := &full.Underlay; u.Interface == "" || u.BusyPoll == 0 {
			t.Errorf("the commented settings do not show: %+v", u)
		}
		udp := everyKey("")
		for _, key := range everyKey(`kind = "xdp"`) {
			if !slices.Contains(udp, key) && !mentions(all, key) {
				t.Errorf("the example does not mention %q", key)
			}
		}
	})
}

// example reads an example, without and with its commented settings, and returns
// the second form.
func example(t *testing.T, path string) (full *Config, all []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse(path, text, testHost)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Networks) == 0 || len(c.Containers) == 0 {
		t.Error("the example has no network or no container")
	}

	// Commented settings, "#key = value", have to work as well.
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "#"); ok && rest[0] != ' ' && rest[0] != '\n' {
			line = rest
		}
		all = append(all, line)
	}
	full, err = parse(path, []byte(strings.Join(all, "")), testHost)
	if err != nil {
		t.Fatalf("with every commented setting:\n%v", err)
	}
	return full, all
}

// mentions reports whether one of the lines sets key.
func mentions(lines []string, key string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(strings.TrimSpace(l), key+" =") })
}

// everyKey returns the keys that the readers ask for, tables excepted, with an
// underlay of the given kind.
func everyKey(kind string) []string {
	r := &reader{file: "f.toml", host: testHost, networks: map[string]*networkRead{}, vnis: map[uint32]int{}, containers: map[string]int{}}
	tree, err := parseTree([]byte("[daemon]\nX=1\n[underlay]\n" + kind + "\nX=1\n[[network]]\nX=1\n[[network.host]]\nX=1\n[[container]]\nX=1\n[container.limits]\nX=1\n"))
	if err != nil {
		panic(err)
	}
	r.config(tree)
	var keys []string
	for _, e := range r.errs {
		if _, list, ok := strings.Cut(e.Msg, "(known: "); ok {
			keys = append(keys, strings.Split(strings.TrimSuffix(list, ")"), ", ")...)
		}
	}
	return slices.DeleteFunc(keys, func(k string) bool { return k == "host" || k == "limits" })
}

func TestCPUList(t *testing.T) {
	for _, tt := range []struct {
		text string
		want string // one letter per CPU
	}{
		{"0", "y"},
		{"0-2", "yyy"},
		{"1,3-4", "-y-yy"},
		{"", ""},
		{"-1", ""},
		{"2-1", ""},
		{"a", ""},
		{"0-99999999", ""},
		{"0,", ""},
	} {
		got := ""
		for _, on := range parseCPUList(tt.text) {
			if on {
				got += "y"
			} else {
				got += "-"
			}
		}
		if got != tt.want {
			t.Errorf("%q: %s, want %s", tt.text, got, tt.want)
		}
	}
	if h := thisHost(); h.usable < 1 || len(h.cpus) == 0 || h.cpuText == "" {
		t.Errorf("this host: %+v", h)
	}
}

func TestSize(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int64 // -1: not a size
	}{
		{"0B", 0},
		{"7B", 7},
		{"1KiB", 1024},
		{"3 MiB", 3 << 20},
		{"2GiB", 2 << 30},
		{"1TiB", 1 << 40},
		{"8388607TiB", 8388607 << 40},
		{"8388608TiB", -1},
		{"", -1},
		{"B", -1},
		{"12", -1},
		{"1kB", -1},
		{"1KB", -1},
		{"-1B", -1},
		{"1.5GiB", -1},
		{"1GiB1", -1},
	} {
		got, ok := parseSize(tt.text)
		if !ok {
			got = -1
		}
		if got != tt.want {
			t.Errorf("%q: %d, want %d", tt.text, got, tt.want)
		}
		if again, _ := parseSize(showSize(got)); ok && again != got {
			t.Errorf("%d is shown as %s", got, showSize(got))
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"name", "vni", "vteps", "gateway4", "gateway6"}
	for _, tt := range []struct{ word, want string }{
		{"vtep", "vteps"},
		{"vpets", "vteps"},
		{"gateway", "gateway4"},
		{"gateway_6", "gateway6"},
		{"Name", "name"},
		{"x", ""},
		{"subnet", ""},
		{strings.Repeat("n", 1000), ""},
	} {
		if got := suggest(tt.word, known); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.word, got, tt.want)
		}
	}
}

// TestJSONNames: a configuration in JSON names things as a file does.
func TestJSONNames(t *testing.T) {
	var known strings.Builder
	for _, name := range []string{"netcon.toml", "netcon-xdp.toml"} {
		text, err := os.ReadFile(filepath.Join("../../dist", name))
		if err != nil {
			t.Fatal(err)
		}
		known.Write(text)
	}
	names := map[string]bool{"workers_by_default": true}
	for _, word := range regexp.MustCompile(`[a-z0-9_]+`).FindAllString(known.String(), -1) {
		names[word] = true
	}
	c := Config{Networks: []Network{{Hosts: []Host{{}}}}, Containers: []Container{{Publish: []Publication{{}}}}}
	text, err := json.Marshal(&c)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"([^"]+)":`).FindAllSubmatch(text, -1) {
		if key := strings.TrimSuffix(string(m[1]), "_ns"); !names[key] {
			t.Errorf("%q is no name of a file", key)
		}
	}
}
