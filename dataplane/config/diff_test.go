// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	for _, tt := range []struct {
		name       string
		old, new   string // replaced in doc; an empty old appends
		applicable []string
		restart    []string
	}{
		{name: "nothing", old: "vni = 42", new: "vni = 0x2a # the same"},
		{name: "vteps", old: `"192.0.2.2"`, new: `"192.0.2.3"`, applicable: []string{`network "blue": vteps [192.0.2.3], was [192.0.2.2]`}},
		{name: "learn", old: "vni", new: "learn = true\nvni", applicable: []string{`network "blue": learn true, was false`}},
		{name: "hosts", new: hostTable("10.42.0.20", "02:00:00:00:00:01", "192.0.2.2"), applicable: []string{`network "blue": 1 static hosts, was 0`}},
		{name: "network", new: "[[network]]\nname = \"red\"\nvni = 1\nsubnets = [\"10.0.0.0/8\"]", applicable: []string{`network "red": added`}},
		{name: "container", new: "[[container]]\nname = \"db\"\nnetwork = \"blue\"\naddresses = [\"10.42.0.11\"]", applicable: []string{`container "db": added`}},
		{name: "uids", new: "uids = [7]", applicable: []string{`container "web": uids [7], was [1000]`}},
		{name: "missing", new: "missing = \"kernel\"", applicable: []string{`container "web": missing kernel, was fail (programs started from now on)`}},
		{name: "resolvers", new: "[daemon]\nresolvers = [\"192.0.2.53\"]", applicable: []string{`the daemon: resolvers [192.0.2.53], was []`}},
		{name: "policy", new: "policy = \"host\"", applicable: []string{`container "web": policy host, was isolated (sockets that connect from now on)`}},
		{name: "publish", new: "publish = [\"8080:80\"]", applicable: []string{`container "web": publish [0.0.0.0:8080:80/tcp], was []`}},
		{name: "limits", new: "limits.connections = 7", restart: []string{
			`restart of container "web": limits.connections 7, was 16384`,
			`restart of container "web": limits.half_open 7, was 4096`,
		}},
		{name: "renamed", old: `name = "web"`, new: `name = "www"`, applicable: []string{`container "web": removed`, `container "www": added`}},

		{name: "underlay address", old: `"192.0.2.1"`, new: `"192.0.2.9"`, restart: []string{`restart of the daemon: underlay address 192.0.2.9, was 192.0.2.1`}},
		{name: "underlay", old: "[underlay]", new: "[underlay]\nport = 8472\nmtu = 9000\nsend_sockets = 1", restart: []string{
			`restart of the daemon: underlay port 8472, was 4789`,
			`restart of the daemon: underlay mtu 9000, was 0`,
			`restart of the daemon: underlay send_sockets 1, was 4`,
		}},
		{name: "daemon", new: "[daemon]\nruntime_dir = \"/run/x\"\ncpus = [0]\nidle = \"busy\"\nspin = \"30us\"", restart: []string{
			`restart of the daemon: runtime_dir /run/x, was /run/user/1000/netcon`,
			`restart of the daemon: workers 1, was 2`,
			`restart of the daemon: cpus [0], was []`,
			`restart of the daemon: idle busy, was sleep`,
			`restart of the daemon: spin 30us, was 20us`,
		}},
		{name: "addresses", old: `"10.42.0.10", `, new: "", restart: []string{
			`restart of container "web": addresses [fd42::10], was [10.42.0.10 fd42::10]`,
			`restart of container "web": mac 7a:57:e3:3b:81:d9, was 96:4f:17:d5:a1:3e`,
		}},
		{name: "mtu", old: "vni", new: "mtu = 1400\nvni", restart: []string{`restart of container "web": network "blue": mtu 1400, was 0`}},
		{name: "gateway", old: "vni", new: "gateway4 = \"10.42.0.1\"\nvni", restart: []string{`restart of container "web": network "blue": gateway4 10.42.0.1, was none`}},
		{name: "vni", old: "vni = 42", new: "vni = 43", restart: []string{
			`restart of container "web": network "blue": vni 43, was 42`,
			`restart of container "web": mac 0e:7f:7e:b4:98:d0, was 96:4f:17:d5:a1:3e`,
		}},
		{name: "pin", new: "worker = 1", restart: []string{`restart of container "web": worker 1, was any`}},
		{name: "tcp", new: "syn_retries = 3\ntime_wait = \"1s\"", restart: []string{
			`restart of container "web": syn_retries 3, was 6`,
			`restart of container "web": time_wait 1s, was 5s`,
		}},
		{name: "moved", old: "network = \"blue\"\naddresses = [\"10.42.0.10\", \"fd42::10\"]", new: "network = \"red\"\nmac = \"02:00:00:00:00:01\"\naddresses = [\"10.42.0.10\", \"fd42::10\"]\n" +
			"[[network]]\nname = \"red\"\nvni = 43\nsubnets = [\"10.42.0.0/24\", \"fd42::/64\"]", applicable: []string{`network "red": added`}, restart: []string{
			`restart of container "web": network red, was blue`,
			`restart of container "web": mac 02:00:00:00:00:01, was 96:4f:17:d5:a1:3e`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := doc + tt.new
			if tt.old != "" {
				text = strings.Replace(doc, tt.old, tt.new, 1)
			}
			was, now := mustParse(t, doc), mustParse(t, text)
			applicable, restart := now.Diff(was)
			if !slices.Equal(applicable, tt.applicable) {
				t.Errorf("applicable %q\nwant       %q", applicable, tt.applicable)
			}
			if !slices.Equal(restart, tt.restart) {
				t.Errorf("restart %q\nwant    %q", restart, tt.restart)
			}
			if a, r := now.Diff(now); len(a)+len(r) > 0 {
				t.Errorf("differs from itself: %q %q", a, r)
			}
		})
	}
}

// A network without containers has no stack: everything about it is applied.
func TestDiffOfAnEmptyNetwork(t *testing.T) {
	empty := doc[:strings.Index(doc, "[[container]]")]
	was, now := mustParse(t, empty), mustParse(t, strings.Replace(empty, "vni = 42", "vni = 43", 1))
	applicable, restart := now.Diff(was)
	if want := []string{`network "blue": vni 43, was 42`}; !slices.Equal(applicable, want) || len(restart) > 0 {
		t.Errorf("%q, %q, want %q", applicable, restart, want)
	}
}

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := parse("f.toml", []byte(text), testHost)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
