// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	does := "%s: 40 names and an address asked for by dig over UDP and TCP, IPv4 and IPv6; an answer that is cut off and asked for again over TCP; 200 queries by 4 digs at once"
	const bytes = 2 * 2 * 2 * 2 * 40 * 30
	add(scenario{
		name: "dnsmasq", packages: []string{"dnsmasq-base", "bind9-dnsutils"}, does: fmt.Sprintf(does, "host records"), bytes: bytes,
		run: func(t *testing.T, e *env) {
			dir := worldDir(t)
			conf := "no-daemon\nno-resolv\nlocal=/apps/\nno-hosts\nuser=root\npid-file=\ntxt-record=large.apps," + longText("", "\ntxt-record=large.apps,") + "\n"
			for i := range 40 {
				conf += fmt.Sprintf("host-record=h%d.apps,10.1.0.%d,fd42::1:%d\n", i, i+1, i+1)
			}
			e.a.start(t, "dnsmasq", "--conf-file="+put(t, dir, "dnsmasq.conf", conf))
			askNames(t, e)
		},
	})
	add(scenario{
		name: "unbound", packages: []string{"unbound", "bind9-dnsutils"}, does: fmt.Sprintf(does, "local data, 2 threads"), bytes: bytes,
		run: func(t *testing.T, e *env) {
			dir := worldDir(t)
			conf := fmt.Sprintf("server:\n directory: %[1]q\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n num-threads: 2\n use-syslog: no\n do-daemonize: no\n"+
				" interface: 0.0.0.0\n interface: ::0\n access-control: 0.0.0.0/0 allow\n access-control: ::0/0 allow\n module-config: iterator\n max-udp-size: 1232\n local-zone: \"apps.\" static\n", dir)
			for i := range 40 {
				conf += fmt.Sprintf(" local-data: 'h%d.apps. A 10.1.0.%d'\n local-data: 'h%[1]d.apps. AAAA fd42::1:%[2]d'\n local-data-ptr: '10.1.0.%[2]d h%[1]d.apps'\n", i, i+1)
			}
			conf += " local-data: 'large.apps. TXT " + longText("\"", "\" \"") + "'\nremote-control:\n control-enable: no\n"
			e.a.start(t, "unbound", "-d", "-c", put(t, dir, "unbound.conf", conf))
			askNames(t, e)
		},
	})
	add(scenario{
		name: "bind9", packages: []string{"bind9", "bind9-dnsutils"}, does: fmt.Sprintf(does, "a zone and its reverse on host a, its secondary on host b, which gets it by AXFR after a notify"), bytes: 2 * bytes,
		run: bind9,
	})
}

// longText is more text than fits into an answer over UDP.
func longText(quote, between string) string {
	var parts []string
	for i := range 12 {
		parts = append(parts, strings.Repeat(string(rune('a'+i)), 200))
	}
	return quote + strings.Join(parts, between) + quote
}

func bind9(t *testing.T, e *env) {
	forward := "$TTL 60\n@ SOA ns.apps. root.apps. 1 60 60 600 60\n@ NS ns.apps.\n@ NS ns2.apps.\nns A " + a4 + "\nns2 A " + b4 + "\nlarge TXT " + longText("\"", "\" \"") + "\n"
	reverse := "$TTL 60\n@ SOA ns.apps. root.apps. 1 60 60 600 60\n@ NS ns.apps.\n"
	for i := range 40 {
		forward += fmt.Sprintf("h%d A 10.1.0.%d\nh%[1]d AAAA fd42::1:%[2]d\n", i, i+1)
		reverse += fmt.Sprintf("%d PTR h%d.apps.\n", i+1, i)
	}
	var servers []*testenv.Process
	for i, h := range []*host{e.a, e.b} {
		dir := worldDir(t)
		put(t, dir, "forward", forward)
		put(t, dir, "reverse", reverse)
		kind := "type primary; notify explicit; also-notify { " + b4 + "; }; allow-transfer { any; };"
		file := ""
		if i == 1 {
			kind = "type secondary; primaries { " + a4 + "; };"
			file = "copy-"
		}
		conf := fmt.Sprintf(`options { directory %q; pid-file none; session-keyfile none; recursion no; listen-on { any; }; listen-on-v6 { any; };
	managed-keys-directory %[1]q; max-udp-size 1232; notify explicit; };
controls { };
zone "apps" { %[2]s file "%[3]sforward"; };
zone "0.1.10.in-addr.arpa" { %[2]s file "%[3]sreverse"; };
`, dir, kind, file)
		p := h.start(t, "named", "-g", "-n", "2", "-c", put(t, dir, "named.conf", conf))
		servers = append(servers, p)
		p.WaitOutput(t, time.Minute, "running")
	}
	servers[1].WaitOutput(t, time.Minute, "Transfer status: success")
	askNames(t, e)
	testenv.WaitFor(t, time.Minute, func() bool {
		got, err := e.a.try(20*time.Second, "dig", "+short", "@"+b6, "h7.apps", "AAAA")
		return err == nil && got == "fd42::1:8\n"
	}, "the secondary to answer")
}

// askNames asks the name server on host a.
func askNames(t *testing.T, e *env) {
	t.Helper()
	e.a.bound(t, 53)
	e.a.listens(t, 53)
	batch := ""
	var want strings.Builder
	for i := range 40 {
		kind, value := "A", fmt.Sprintf("10.1.0.%d", i+1)
		if i%2 == 1 {
			kind, value = "AAAA", fmt.Sprintf("fd42::1:%d", i+1)
		}
		batch += fmt.Sprintf("h%d.apps %s\n", i, kind)
		want.WriteString(value + "\n")
	}
	dir := testenv.OpenDir(t)
	path := put(t, dir, "batch", batch)
	for _, to := range []string{"@" + a4, "@" + a6} {
		for _, how := range []string{"+notcp", "+tcp"} {
			if got := e.b.do(t, time.Minute, "dig", "+short", how, to, "-f", path); got != want.String() {
				t.Errorf("dig %s %s printed\n%s", how, to, got)
			}
			if got := e.b.do(t, time.Minute, "dig", "+short", how, to, "-x", "10.1.0.5"); got != "h4.apps.\n" {
				t.Errorf("dig %s %s of an address printed %q", how, to, got)
			}
		}
		got := e.b.do(t, time.Minute, "dig", "+nocookie", "+bufsize=1232", to, "large.apps", "TXT")
		if !strings.Contains(got, "Truncated, retrying in TCP mode") || !strings.Contains(got, strings.Repeat("l", 200)) {
			t.Errorf("dig %s of a long answer printed\n%s", to, got)
		}
		got = e.b.do(t, time.Minute, "dig", "+notcp", "+noall", "+comments", to, "nobody.apps")
		if !strings.Contains(got, "NXDOMAIN") {
			t.Errorf("dig %s of a name that is not there printed\n%s", to, got)
		}
	}
	var all []*testenv.Process
	for range 4 {
		all = append(all, e.b.start(t, "bash", "-c", "for i in 1 2 3 4 5; do cat "+path+"; done | dig +short @"+a4+" -f -"))
	}
	for _, p := range all {
		if err := p.Wait(t, time.Minute); err != nil || p.Stdout() != strings.Repeat(want.String(), 5) {
			t.Errorf("dig beside others: %v\n%s", err, p.Output())
		}
	}
}
