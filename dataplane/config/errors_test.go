// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// testHost is a small machine, so that expectations do not depend on this one.
var testHost = host{
	uid: 1000, xdg: "/run/user/1000", usable: 4,
	cpus: []bool{true, true, true, true, false, true}, cpuText: "0-3,5",
}

// doc is a valid file. Cases replace parts of it or append to it; its lines are
// numbered for them.
const doc = `[underlay]
address = "192.0.2.1"

[[network]]
name = "blue"
vni = 42
subnets = ["10.42.0.0/24", "fd42::/64"]
vteps = ["192.0.2.2"]

[[container]]
name = "web"
network = "blue"
addresses = ["10.42.0.10", "fd42::10"]
`

// xdp is the start of an underlay of that kind.
const xdp = "[underlay]\nkind = \"xdp\"\n"

// underlay6 is the start of a file with an IPv6 underlay.
const underlay6 = "[underlay]\naddress = \"2001:db8::1\"\n"

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name     string
		old, new string // replaced in doc; an empty old appends
		want     []string
	}{
		// the daemon
		{"idle", "", "[daemon]\nidle = \"lazy\"", []string{`15: daemon: idle "lazy": unknown ("sleep" or "busy")`}},
		{"resolver", "", "[daemon]\nresolvers = [\"dns.example\"]", []string{`15: daemon: resolver "dns.example": not an IP address (like 192.0.2.1 or 2001:db8::1)`}},
		{"spin text", "", "[daemon]\nspin = \"fast\"", []string{`15: daemon: spin "fast": not a duration (0s to 10ms, like "20us")`}},
		{"spin range", "", "[daemon]\nspin = \"11ms\"", []string{`15: daemon: spin "11ms": out of range (0s to 10ms, like "20us")`}},
		{"spin negative", "", "[daemon]\nspin = \"-1us\"", []string{`15: daemon: spin "-1us": out of range (0s to 10ms, like "20us")`}},
		{"spin type", "", "[daemon]\nspin = 20", []string{`15: daemon: spin 20: wrong type integer (a duration in quotes, 0s to 10ms, like "20us")`}},
		{"workers none", "", "[daemon]\nworkers = 0", []string{`15: daemon: workers 0: out of range (1 to 64)`}},
		{"workers many", "", "[daemon]\nworkers = 65", []string{`15: daemon: workers 65: out of range (1 to 64)`}},
		{"workers type", "", "[daemon]\nworkers = \"2\"", []string{`15: daemon: workers "2": wrong type string (an integer, 1 to 64)`}},
		{"workers float", "", "[daemon]\nworkers = 2.0", []string{`15: daemon: workers 2.0: wrong type float (an integer, 1 to 64)`}},
		{"workers date", "", "[daemon]\nworkers = 2026-11-20", []string{`15: daemon: workers 2026-11-20: wrong type date or time (an integer, 1 to 64)`}},
		{"cpus count", "", "[daemon]\nworkers = 2\ncpus = [0]", []string{`16: daemon: cpus: 1 for 2 workers (one per worker)`}},
		{"cpus missing", "", "[daemon]\ncpus = [\n  0,\n  4]", []string{`17: daemon: cpu 4: does not exist (online: 0-3,5)`}},
		{"cpus negative", "", "[daemon]\ncpus = [-1]", []string{`15: daemon: cpu -1: does not exist (online: 0-3,5)`}},
		{"cpus twice", "", "[daemon]\ncpus = [1, 1]", []string{`15: daemon: cpu 1: twice (one CPU per worker)`}},
		{"cpus item", "", "[daemon]\ncpus = [0, true]\nworkers = 1", []string{`15: daemon: cpu true: wrong type boolean (a list of CPU numbers)`}},
		{"cpus type", "", "[daemon]\ncpus = 1", []string{`15: daemon: cpus 1: wrong type integer (a list of CPU numbers)`}},
		{"runtime relative", "", "[daemon]\nruntime_dir = \"run\"", []string{`15: daemon: runtime_dir "run": not an absolute path (an absolute path of at most 94 bytes)`}},
		{"runtime NUL", "", "[daemon]\nruntime_dir = \"/run/\\u0000\"", []string{`15: daemon: runtime_dir "/run/\x00": not an absolute path (an absolute path of at most 94 bytes)`}},
		{"runtime long", "", "[daemon]\nruntime_dir = \"/" + strings.Repeat("d", 94) + "\"", []string{
			`15: daemon: runtime_dir "/` + strings.Repeat("d", 63) + `...": 95 bytes: socket paths would not fit (an absolute path of at most 94 bytes)`,
		}},
		{"daemon type", "[underlay]", "daemon = 3\n[underlay]", []string{`1: file: daemon 3: wrong type integer (a table, [daemon])`}},

		// the underlay
		{"kind", "[underlay]", "[underlay]\nkind = \"tcp\"", []string{`2: underlay: kind "tcp": unknown ("udp" or "xdp")`}},
		{"keys of xdp", "[underlay]", "[underlay]\ninterface = \"eth0\"\nzero_copy = \"on\"", []string{
			`2: underlay: interface: only for kind "xdp"`, `3: underlay: zero_copy: only for kind "xdp"`,
		}},
		{"keys of udp", "[underlay]", "[underlay]\nkind = \"xdp\"\nsend_sockets = 4", []string{`3: underlay: send_sockets: only for kind "udp"`}},
		{"interface long", "[underlay]", xdp + "interface = \"a234567890123456\"", []string{`3: underlay: interface "a234567890123456": not the name of a device (the name of a network device, 1 to 15 bytes)`}},
		{"interface slash", "[underlay]", xdp + "interface = \"a/b\"", []string{`3: underlay: interface "a/b": not the name of a device (the name of a network device, 1 to 15 bytes)`}},
		{"attach", "[underlay]", xdp + "attach = \"fast\"", []string{`3: underlay: attach "fast": unknown ("auto", "native" or "generic")`}},
		{"zero_copy", "[underlay]", xdp + "zero_copy = true", []string{`3: underlay: zero_copy true: wrong type boolean ("auto", "on" or "off")`}},
		{"busy_poll", "[underlay]", xdp + "busy_poll = \"2ms\"", []string{`3: underlay: busy_poll "2ms": out of range (0s to 1ms, like "0s")`}},
		{"frames", "[underlay]", xdp + "frames = 1000", []string{`3: underlay: frames 1000: not a power of two (512 to 65536)`}},
		{"frames few", "[underlay]", xdp + "frames = 256", []string{`3: underlay: frames 256: out of range (512 to 65536)`}},
		{"address none", "address = \"192.0.2.1\"", "", []string{`1: underlay: address: missing (an address of this host, the VTEP)`}},
		{"address text", "\"192.0.2.1\"", "\"192.0.2\"", []string{`2: underlay: address "192.0.2": not an IP address (like 192.0.2.1 or 2001:db8::1)`}},
		{"address type", "\"192.0.2.1\"", "[\"192.0.2.1\"]", []string{`2: underlay: address [...]: wrong type list (an address of this host, the VTEP)`}},
		{"address zone", "\"192.0.2.1\"", "\"fe80::1%eth0\"", []string{`2: underlay: address "fe80::1%eth0": has a zone (a unicast address, like 192.0.2.1 or 2001:db8::1)`}},
		{"address any", "\"192.0.2.1\"", "\"0.0.0.0\"", []string{`2: underlay: address "0.0.0.0": is the unspecified address (a unicast address, like 192.0.2.1 or 2001:db8::1)`}},
		{"address multicast", "\"192.0.2.1\"", "\"ff02::1\"", []string{`2: underlay: address "ff02::1": is a multicast address (a unicast address, like 192.0.2.1 or 2001:db8::1)`}},
		{"address broadcast", "\"192.0.2.1\"", "\"255.255.255.255\"", []string{`2: underlay: address "255.255.255.255": is the broadcast address (a unicast address, like 192.0.2.1 or 2001:db8::1)`}},
		{"address mapped", "\"192.0.2.1\"", "\"::ffff:192.0.2.1\"", []string{`2: underlay: address "::ffff:192.0.2.1": an IPv4 address in IPv6 form (write "192.0.2.1")`}},
		{"port zero", "[underlay]", "[underlay]\nport = 0", []string{`2: underlay: port 0: out of range (1 to 65535)`}},
		{"port high", "[underlay]", "[underlay]\nport = 65536", []string{`2: underlay: port 65536: out of range (1 to 65535)`}},
		{"sockets", "[underlay]", "[underlay]\nsend_sockets = 0", []string{`2: underlay: send_sockets 0: out of range (1 to 64)`}},
		{"mtu small", "[underlay]", "[underlay]\nmtu = 625", []string{`2: underlay: mtu 625: out of range (0, or 626 to 65535)`}},
		{"mtu negative", "[underlay]", "[underlay]\nmtu = -1", []string{`2: underlay: mtu -1: out of range (0, or 626 to 65535)`}},
		{"mtu IPv6 subnets", "[underlay]", "[underlay]\nmtu = 1329", []string{`2: underlay: mtu 1329: out of range (0, or 1330 to 65535: network "blue" has an IPv6 subnet)`}},

		// networks
		{"name none", "name = \"blue\"", "", []string{
			`4: network #1: name: missing (1 to 63 letters, digits, '.', '-' or '_', the first a letter or digit)`,
			`12: container "web": network "blue": not defined (the name of a [[network]])`,
		}},
		{"name bad", "name = \"web\"", "name = \"-a b\"", []string{`11: container #1: name "-a b": not a name (1 to 63 letters, digits, '.', '-' or '_', the first a letter or digit)`}},
		{"name long", "name = \"web\"", "name = \"" + strings.Repeat("n", 64) + "\"", []string{`11: container #1: name "` + strings.Repeat("n", 64) + `": not a name (1 to 63 letters, digits, '.', '-' or '_', the first a letter or digit)`}},
		{"name twice", "", "[[network]]\nname = \"blue\"\nvni = 43\nsubnets = [\"10.0.0.0/8\"]", []string{`15: network "blue": name "blue": used twice (also on line 4)`}},
		{"vni none", "vni = 42", "", []string{`4: network "blue": vni: missing (an integer, 0 to 16777215)`}},
		{"vni range", "vni = 42", "vni = 16777216", []string{`6: network "blue": vni 16777216: out of range (0 to 16777215)`}},
		{"vni twice", "", "[[network]]\nname = \"red\"\nvni = 0x2a\nsubnets = [\"10.0.0.0/8\"]", []string{`16: network "red": vni 42: used twice (also on line 6)`}},
		{"subnets none", "subnets = [\"10.42.0.0/24\", \"fd42::/64\"]", "", []string{`4: network "blue": subnets: missing (a list of subnets, like "10.42.0.0/24" or "fd42::/64")`}},
		{"subnets empty", "[\"10.42.0.0/24\", \"fd42::/64\"]", "[]", []string{`7: network "blue": subnets: empty (a list of subnets, like "10.42.0.0/24" or "fd42::/64")`}},
		{"subnets many", "[\"10.42.0.0/24\", \"fd42::/64\"]", "[" + strings.Repeat("\"10.0.0.0/8\",", 17) + "]", []string{`7: network "blue": subnets: 17 of them (at most 16)`}},
		{"subnet item", "\"10.42.0.0/24\"", "10.42", []string{`7: network "blue": subnet 10.42: wrong type float (a list of subnets, like "10.42.0.0/24" or "fd42::/64")`}},
		{"subnet text", "\"10.42.0.0/24\"", "\"10.42.0.0/33\"", []string{`7: network "blue": subnet "10.42.0.0/33": not a subnet (like "10.42.0.0/24" or "fd42::/64")`}},
		{"subnet host bits", "\"10.42.0.0/24\"", "\"10.42.0.1/24\"", []string{`7: network "blue": subnet "10.42.0.1/24": has host bits set (did you mean "10.42.0.0/24"?)`}},
		{"subnet multicast", "\"10.42.0.0/24\"", "\"224.0.0.0/24\"", []string{`7: network "blue": subnet "224.0.0.0/24": multicast addresses (unicast subnets, like "10.42.0.0/24" or "fd42::/64")`}},
		{"subnet loopback", "\"10.42.0.0/24\"", "\"127.0.0.0/8\"", []string{`7: network "blue": subnet "127.0.0.0/8": loopback addresses (unicast subnets, like "10.42.0.0/24" or "fd42::/64")`}},
		{"subnet everything", "\"10.42.0.0/24\"", "\"::/0\"", []string{`7: network "blue": subnet "::/0": holds the unspecified address (unicast subnets, like "10.42.0.0/24" or "fd42::/64")`}},
		{"subnet mapped", "\"10.42.0.0/24\"", "\"::ffff:10.0.0.0/104\"", []string{`7: network "blue": subnet "::ffff:10.0.0.0/104": IPv4 addresses in IPv6 form (unicast subnets, like "10.42.0.0/24" or "fd42::/64")`}},
		{"subnets overlap", "\"fd42::/64\"", "\"fd42::/64\",\n\"10.42.0.128/25\"", []string{`8: network "blue": subnet "10.42.0.128/25": overlaps "10.42.0.0/24" (an address must lie in one subnet)`}},
		{"vtep text", "\"192.0.2.2\"", "\"web.example\"", []string{`8: network "blue": vtep "web.example": not an IP address (like 192.0.2.1 or 2001:db8::1)`}},
		{"vtep family", "\"192.0.2.2\"", "\"2001:db8::2\"", []string{`8: network "blue": vtep "2001:db8::2": not of the underlay's family (underlay address 192.0.2.1)`}},
		{"vtep own", "\"192.0.2.2\"", "\"192.0.2.1\"", []string{`8: network "blue": vtep "192.0.2.1": is our own address (addresses of the other hosts)`}},
		{"vtep twice", "\"192.0.2.2\"", "\"192.0.2.2\", \"192.0.2.2\"", []string{`8: network "blue": vtep "192.0.2.2": twice`}},
		{"vtep any", "\"192.0.2.2\"", "\"::\"", []string{`8: network "blue": vtep "::": is the unspecified address (a unicast address, like 192.0.2.1 or 2001:db8::1)`}},
		{"vtep multicast", "\"192.0.2.2\"", "\"239.1.1.1\"", []string{`8: network "blue": vtep "239.1.1.1": is a multicast address (a unicast address, like 192.0.2.1 or 2001:db8::1)`}},
		{"learn", "vni = 42", "vni = 42\nlearn = \"yes\"", []string{`7: network "blue": learn "yes": wrong type string (true or false)`}},
		{"gateway outside", "vni = 42", "vni = 42\ngateway4 = \"10.43.0.1\"", []string{`7: network "blue": gateway4 "10.43.0.1": outside the subnets of network "blue" (10.42.0.0/24, fd42::/64)`}},
		{"gateway family", "vni = 42", "vni = 42\ngateway4 = \"fd42::1\"", []string{`7: network "blue": gateway4 "fd42::1": not an IPv4 address`}},
		{"gateway6 family", "vni = 42", "vni = 42\ngateway6 = \"10.42.0.1\"", []string{`7: network "blue": gateway6 "10.42.0.1": not an IPv6 address`}},
		{"gateway anycast", "vni = 42", "vni = 42\ngateway6 = \"fd42::\"", []string{`7: network "blue": gateway6 "fd42::": the router anycast address of subnet fd42::/64`}},
		{"network mtu", "vni = 42", "vni = 42\nmtu = 1279", []string{`7: network "blue": mtu 1279: out of range (0, or 1280 to 65485: it has an IPv6 subnet)`}},
		{"network mtu IPv4", ", \"fd42::/64\"]", "]\nmtu = 575", []string{
			`8: network "blue": mtu 575: out of range (0, or 576 to 65485)`,
			`14: container "web": address "fd42::10": outside the subnets of network "blue" (10.42.0.0/24)`,
		}},
		{"network not a list", "[[network]]", "[network]", []string{
			`4: network {...}: wrong type table (a list of tables, [[network]])`,
			`12: container "web": network "blue": not defined (the name of a [[network]])`,
		}},

		// static hosts
		{"host empty", "", "[[network.host]]", []string{
			`14: network "blue": host #1: ip: missing (an address inside a subnet)`,
			`14: network "blue": host #1: vtep: missing (the address of the host it is on)`,
			`14: network "blue": host #1: mac: missing (its link-layer address)`,
		}},
		{"host ip outside", "", hostTable("10.43.0.1", "02:00:00:00:00:01", "192.0.2.2"), []string{`15: network "blue": host 10.43.0.1: ip "10.43.0.1": outside the subnets of network "blue" (10.42.0.0/24, fd42::/64)`}},
		{"host mac text", "", hostTable("10.42.0.20", "02:00:00:00:00", "192.0.2.2"), []string{`16: network "blue": host 10.42.0.20: mac "02:00:00:00:00": not a MAC address (a unicast address, like "02:00:00:00:00:01")`}},
		{"host mac group", "", hostTable("10.42.0.20", "01:00:5e:00:00:01", "192.0.2.2"), []string{`16: network "blue": host 10.42.0.20: mac "01:00:5e:00:00:01": is a group address (a unicast address, like "02:00:00:00:00:01")`}},
		{"host mac zero", "", hostTable("10.42.0.20", "00:00:00:00:00:00", "192.0.2.2"), []string{`16: network "blue": host 10.42.0.20: mac "00:00:00:00:00:00": is all zeros (a unicast address, like "02:00:00:00:00:01")`}},
		{"host vtep own", "", hostTable("10.42.0.20", "02:00:00:00:00:01", "192.0.2.1"), []string{`17: network "blue": host 10.42.0.20: vtep "192.0.2.1": is our own address (addresses of the other hosts)`}},
		{"host mac on two machines", "", hostTable("10.42.0.20", "02:00:00:00:00:01", "192.0.2.2") + hostTable("fd42::20", "02:00:00:00:00:01", "192.0.2.3"), []string{
			`20: network "blue": host fd42::20: mac "02:00:00:00:00:01": used twice in network "blue" (also by network "blue": host 10.42.0.20 on line 16)`,
		}},
		{"host ip twice", "", hostTable("10.42.0.20", "02:00:00:00:00:01", "192.0.2.2") + hostTable("10.42.0.20", "02:00:00:00:00:01", "192.0.2.2"), []string{
			`19: network "blue": host 10.42.0.20: ip "10.42.0.20": used twice in network "blue" (also by network "blue": host 10.42.0.20 on line 15)`,
		}},
		{"host ip of a container", "", hostTable("10.42.0.10", "02:00:00:00:00:01", "192.0.2.2"), []string{
			`13: container "web": address "10.42.0.10": used twice in network "blue" (also by network "blue": host 10.42.0.10 on line 15)`,
		}},

		// containers
		{"network none", "network = \"blue\"", "", []string{`10: container "web": network: missing (the name of a [[network]])`}},
		{"network unknown", "network = \"blue\"", "network = \"bleu\"", []string{`12: container "web": network "bleu": not defined (did you mean "blue"?)`}},
		{"container twice", "", "[[container]]\nname = \"web\"\nnetwork = \"blue\"\naddresses = [\"10.42.0.11\"]", []string{`15: container "web": name "web": used twice (also on line 10)`}},
		{"address missing", "addresses = [\"10.42.0.10\", \"fd42::10\"]", "", []string{`10: container "web": addresses: missing (a list of addresses inside the network's subnets)`}},
		{"addresses empty", "[\"10.42.0.10\", \"fd42::10\"]", "[]", []string{`13: container "web": addresses: empty (a list of addresses inside the network's subnets)`}},
		{"address outside", "\"10.42.0.10\"", "\"10.43.0.10\"", []string{`13: container "web": address "10.43.0.10": outside the subnets of network "blue" (10.42.0.0/24, fd42::/64)`}},
		{"address network", "\"10.42.0.10\"", "\"10.42.0.0\"", []string{`13: container "web": address "10.42.0.0": the network address of subnet 10.42.0.0/24`}},
		{"address of broadcast", "\"10.42.0.10\"", "\"10.42.0.255\"", []string{`13: container "web": address "10.42.0.255": the broadcast address of subnet 10.42.0.0/24`}},
		{"address with prefix", "\"10.42.0.10\"", "\"10.42.0.10/24\"", []string{`13: container "web": address "10.42.0.10/24": not an IP address (like 192.0.2.1 or 2001:db8::1)`}},
		{"address of another", "", "[[container]]\nname = \"db\"\nnetwork = \"blue\"\naddresses = [\n\"10.42.0.10\"]", []string{
			`18: container "db": address "10.42.0.10": used twice in network "blue" (also by container "web" on line 13)`,
		}},
		{"mac of another", "network = \"blue\"", "network = \"blue\"\nmac = \"02:00:00:00:00:01\"\naddresses = [\"10.42.0.9\"]\n[[container]]\nname = \"db\"\nnetwork = \"blue\"\nmac = \"02-00-00-00-00-01\"", []string{
			`18: container "db": mac "02:00:00:00:00:01": used twice in network "blue" (also by container "web" on line 13)`,
		}},
		{"uids", "network = \"blue\"", "network = \"blue\"\nuids = [0,\n4294967295, -1]", []string{
			`14: container "web": uid 4294967295: out of range (0 to 4294967294)`,
			`14: container "web": uid -1: out of range (0 to 4294967294)`,
		}},
		{"worker", "network = \"blue\"", "network = \"blue\"\nworker = 2", []string{`13: container "web": worker 2: out of range (0 to 1)`}},
		{"policy", "network = \"blue\"", "network = \"blue\"\npolicy = \"open\"", []string{`13: container "web": policy "open": unknown ("isolated" or "host")`}},
		{"publish type", "", "publish = \"80:80\"", []string{`14: container "web": publish "80:80": wrong type string (a list of published ports, [ADDRESS:]HOST-PORT:PORT[/tcp|/udp], like "8080:80", "192.0.2.1:8080:80" or "[::]:5353:53/udp")`}},
		{"publish form", "", "publish = [\"80\"]", []string{`14: container "web": publish "80": not a published port ([ADDRESS:]HOST-PORT:PORT[/tcp|/udp], like "8080:80", "192.0.2.1:8080:80" or "[::]:5353:53/udp")`}},
		{"publish address", "", "publish = [\"web:80:80\"]", []string{`14: container "web": publish "web:80:80": not a published port ([ADDRESS:]HOST-PORT:PORT[/tcp|/udp], like "8080:80", "192.0.2.1:8080:80" or "[::]:5353:53/udp")`}},
		{"publish bare v6", "", "publish = [\"::1:80:80\"]", []string{`14: container "web": publish "::1:80:80": not a published port ([ADDRESS:]HOST-PORT:PORT[/tcp|/udp], like "8080:80", "192.0.2.1:8080:80" or "[::]:5353:53/udp")`}},
		{"publish group", "", "publish = [\"224.0.0.1:80:80\"]", []string{`14: container "web": publish "224.0.0.1:80:80": address "224.0.0.1": not an address that the host can listen on`}},
		{"publish range", "", "publish = [\"0:80\",\n\"80:65536\"]", []string{
			`14: container "web": publish "0:80": port "0": out of range (1 to 65535)`,
			`15: container "web": publish "80:65536": port "65536": out of range (1 to 65535)`,
		}},
		{"publish word", "", "publish = [\"80:http\"]", []string{`14: container "web": publish "80:http": port "http": not a number ([ADDRESS:]HOST-PORT:PORT[/tcp|/udp], like "8080:80", "192.0.2.1:8080:80" or "[::]:5353:53/udp")`}},
		{"publish protocol", "", "publish = [\"80:80/sctp\"]", []string{`14: container "web": publish "80:80/sctp": protocol "sctp": not supported (tcp, udp)`}},
		{"publish twice", "", "publish = [\"80:80\",\n\"0.0.0.0:80:81\"]", []string{`15: container "web": publish "0.0.0.0:80:81": 0.0.0.0:80 is published twice (also on line 14)`}},
		{"missing", "network = \"blue\"", "network = \"blue\"\nmissing = \"panic\"", []string{`13: container "web": missing "panic": unknown ("fail" or "kernel")`}},
		{"engine", "network = \"blue\"", "network = \"blue\"\nengine = \"native\"", []string{`13: container "web": engine "native": not supported yet ("gvisor")`}},
		{"mode", "network = \"blue\"", "network = \"blue\"\nmode = \"ring\"", []string{`13: container "web": mode "ring": not supported yet ("pump")`}},
		{"syn_retries", "network = \"blue\"", "network = \"blue\"\nsyn_retries = 128", []string{`13: container "web": syn_retries 128: out of range (1 to 127)`}},
		{"time_wait", "network = \"blue\"", "network = \"blue\"\ntime_wait = \"5m\"", []string{`13: container "web": time_wait "5m": out of range (0s to 4m0s, like "5s")`}},
		{"half_open", "", "[container.limits]\nconnections = 10\nhalf_open = 11", []string{`16: container "web": limits: half_open 11: out of range (1 to 10)`}},
		{"buffer small", "", "[container.limits]\nbuffer_bytes = 65535", []string{`15: container "web": limits: buffer_bytes 65535: out of range (64KiB to 1TiB)`}},
		{"buffer unit", "", "[container.limits]\nbuffer_bytes = \"256MB\"", []string{`15: container "web": limits: buffer_bytes "256MB": not a size (64KiB to 1TiB; units B, KiB, MiB, GiB, TiB)`}},
		{"buffer overflow", "", "[container.limits]\nbuffer_bytes = \"9999999999TiB\"", []string{`15: container "web": limits: buffer_bytes "9999999999TiB": not a size (64KiB to 1TiB; units B, KiB, MiB, GiB, TiB)`}},
		{"fragments large", "", "[container.limits]\nfragment_bytes = \"2GiB\"", []string{`15: container "web": limits: fragment_bytes "2GiB": out of range (64KiB to 1GiB)`}},
		{"limits list", "", "[[container.limits]]", []string{`14: container "web": limits [...]: wrong type list (a table, [container.limits])`}},

		// keys
		{"key close", "vteps", "vtep", []string{`8: network "blue": key "vtep": unknown (did you mean "vteps"?)`}},
		{"key far", "", "[container.limits]\nbanana = 1", []string{`15: container "web": limits: key "banana": unknown (known: connections, half_open, buffer_bytes, fragment_bytes)`}},
		{"key top", "[[container]]", "[[containers]]", []string{`10: file: key "containers": unknown (did you mean "container"?)`}},
		{"key odd", "vni = 42", "vni = 42\n\"a\\nb\\u001b\" = 1", []string{
			`7: network "blue": key "a\nb\x1b": unknown (known: name, vni, subnets, vteps, learn, gateway4, gateway6, mtu, host)`,
		}},
		{"key dotted", "vni = 42", "vni = 42\nhosts.x.y = 1", []string{`7: network "blue": key "hosts": unknown (did you mean "host"?)`}},

		// several at once, by line
		{"several", "[underlay]", "[underlay]\nport = -1\nkind = \"x\"\nprot = 1", []string{
			`2: underlay: port -1: out of range (1 to 65535)`,
			`3: underlay: kind "x": unknown ("udp" or "xdp")`,
			`4: underlay: key "prot": unknown (did you mean "port"?)`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := doc + tt.new
			if tt.old != "" {
				if !strings.Contains(doc, tt.old) {
					t.Fatalf("doc has no %q", tt.old)
				}
				text = strings.Replace(doc, tt.old, tt.new, 1)
			}
			checkErrors(t, text, tt.want)
		})
	}
}

// hostTable is the text of a static host, four lines.
func hostTable(ip, mac, vtep string) string {
	return fmt.Sprintf("[[network.host]]\nip = %q\nmac = %q\nvtep = %q\n", ip, mac, vtep)
}

// checkErrors parses text and compares every line of the error.
func checkErrors(t *testing.T, text string, want []string) {
	t.Helper()
	c, err := parse("f.toml", []byte(text), testHost)
	if err == nil {
		t.Fatalf("no error, want:\n%s", strings.Join(want, "\n"))
	}
	if c != nil {
		t.Error("a Config beside an error")
	}
	lines := make([]string, len(want))
	for i, w := range want {
		lines[i] = "f.toml:" + w
	}
	if got, want := err.Error(), strings.Join(lines, "\n"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	var first *Error
	if !errors.As(err, &first) || !strings.HasPrefix(err.Error(), first.Error()) {
		t.Errorf("errors.As finds %v, not the first error", first)
	}
}

func TestMoreErrors(t *testing.T) {
	const rest = "[[network]]\nname = \"blue\"\nvni = 1\nsubnets = [\"10.0.0.0/8\"]\nvteps = [\"192.0.2.2\"]\n"
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{`1: underlay: address: missing (an address of this host, the VTEP)`}},
		{"IPv6 underlay, IPv4 vtep", underlay6 + rest, []string{`7: network "blue": vtep "192.0.2.2": not of the underlay's family (underlay address 2001:db8::1)`}},
		{"IPv6 underlay, mtu", underlay6 + "mtu = 1279\n", []string{`3: underlay: mtu 1279: out of range (0, or 1280 to 65535)`}},
		{"IPv6 in IPv6, mtu", underlay6 + "mtu = 1349\n[[network]]\nname = \"b\"\nvni = 1\nsubnets = [\"fd42::/64\"]", []string{`3: underlay: mtu 1349: out of range (0, or 1350 to 65535: network "b" has an IPv6 subnet)`}},
		{"network mtu above the underlay's", "[underlay]\naddress = \"192.0.2.1\"\nmtu = 1500\n" + rest + "mtu = 1451\n", []string{`9: network "blue": mtu 1451: out of range (0, or 576 to 1450)`}},
		{"static host's MAC on a container", doc[:strings.Index(doc, "[[container]]")] + hostTable("10.42.0.20", "02:00:00:00:00:01", "192.0.2.2") +
			"[[container]]\nname = \"web\"\nnetwork = \"blue\"\naddresses = [\"10.42.0.10\"]\nmac = \"02:00:00:00:00:01\"\n", []string{
			`18: container "web": mac "02:00:00:00:00:01": used twice in network "blue" (also by network "blue": host 10.42.0.20 on line 12)`,
		}},
		{"not a list of tables", "container = [1]\n[underlay]\naddress = \"192.0.2.1\"", []string{`1: container [...]: wrong type list (a list of tables, [[container]])`}},
		{"inline", "underlay = { address = \"192.0.2.1\", port = 0 }\nnetwork = [\n  { name = \"b\",\n    vni = -1, subnets = [\"10.0.0.0/8\"] } ]", []string{
			`1: underlay: port 0: out of range (1 to 65535)`,
			`4: network "b": vni -1: out of range (0 to 16777215)`,
		}},
		{"CRLF", "[underlay]\r\naddress = \"192.0.2.1\"\r\nport = 0\r\n", []string{`3: underlay: port 0: out of range (1 to 65535)`}},
		{"syntax", "[underlay]\naddress = 192.0.2.1\n", []string{`2: not valid TOML: expected newline but got U+002E '.'`}},
		{"duplicate key", "[underlay]\naddress = \"192.0.2.1\"\naddress = \"192.0.2.2\"\n", []string{`3: not valid TOML: key address is already defined`}},
		{"many keys", "[underlay]\n" + manyKeys(300), []string{`258: more than 256 keys in a table`}},
		{"many parts", "\n" + strings.Repeat("a.", 16) + "a = 1", []string{`2: more than 16 parts in a key`}},
		{"many parts in a header", "[" + strings.Repeat("a.", 16) + "a]", []string{`1: more than 16 parts in a key`}},
		{"deep", "a = " + strings.Repeat("[", 18) + strings.Repeat("]", 18), []string{`1: more than 16 lists and tables inside each other`}},
		{"value as table", "a = 1\n[a.b]\n", []string{`2: not valid TOML: key a already exists as a value`}},
		{"UTF-8", "[underlay]\n# \xc3\xa9 is fine, \xe9 is not\n", []string{`2: byte 0xe9: not UTF-8`}},
	} {
		t.Run(tt.name, func(t *testing.T) { checkErrors(t, tt.text, tt.want) })
	}
}

// manyKeys returns n lines, k0 = 0 and so on.
func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d = %d\n", i, i)
	}
	return b.String()
}

func TestRuntimeDirOfTheEnvironment(t *testing.T) {
	h := testHost
	h.xdg = "/" + strings.Repeat("x", 100)
	_, err := parse("f.toml", []byte(doc), h)
	want := `f.toml:1: daemon: runtime_dir "/` + strings.Repeat("x", 63) + `...", from XDG_RUNTIME_DIR: 108 bytes: socket paths would not fit (an absolute path of at most 94 bytes)`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
