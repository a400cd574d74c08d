// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"strings"
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	c := DefaultConfig()
	for _, o := range []string{
		"ip_version=ipv6", "bind_port=1", "connect_port=2", "remote_ip=2001:db8::9/32", "local_ip=fd00::9", "gateway_ip=fd00::9",
		"mss=7", "mtu=9000", "tolerance_usecs=5", "tolerance_percent=1.5", "tcp_ts_ecr_scaled", "tcp_ts_tick_usecs=1000",
		"non_fatal=packet", "strict_segments", "define=A=B=C", "send_omit_free", "init_scripts=x", "dry_run",
	} {
		name, value, _ := strings.Cut(o, "=")
		if err := c.Set(name, value); err != nil {
			t.Errorf("%s: %v", o, err)
		}
	}
	if err := c.script(&Script{Options: []Option{{1, "mtu", "600"}, {2, "speed", "x"}}}); err != nil {
		t.Error(err)
	}
	if !c.ipv6 || c.bindPort != 1 || c.connPort != 2 || c.remote.String() != "2001:db8::9" || c.local.String() != "fd00::9" ||
		c.gateway.String() != "fd00::a" || c.bits != 48 || c.mtu != 9000 || c.tolerance != 5*time.Microsecond ||
		c.percent != 1.5 || !c.ecrScaled || c.tick != time.Millisecond || !c.nonFatal || !c.Strict || c.Defines["A"] != "B=C" || !c.dryRun {
		t.Errorf("got %+v", c)
	}
	c = DefaultConfig()
	if err := c.Set("netmask_ip", "255.255.255.0"); err != nil || c.bits != 24 {
		t.Errorf("netmask of %d bits, %v", c.bits, err)
	}
	for _, o := range []string{
		"ip_version=7", "bind_port=0", "remote_ip=x", "netmask_ip=fd00::", "mtu=5", "tolerance_percent=-1", "tolerance_percent=x",
		"define=A", "wire_server", "whatever",
	} {
		name, value, _ := strings.Cut(o, "=")
		if err := c.Set(name, value); err == nil {
			t.Errorf("%s: no error", o)
		}
	}
	if err := c.Set("local_ip", "fd00::1"); err != nil || c.complete() == nil {
		t.Errorf("an IPv6 address under --ip_version=ipv4: %v", err)
	}
}
