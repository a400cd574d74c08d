// SPDX-License-Identifier: Apache-2.0

package native

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"netcon/dataplane/tcp"
	"netcon/internal/packetdrill"
)

// Every knob changes the tuning it names, and nothing else.
func TestKnobs(t *testing.T) {
	for name := range knobs {
		h := New().(*host)
		before := h.tuning
		var changed bool
		for _, value := range []string{"0", "1", "7"} {
			if known, err := h.Sysctl("net.ipv4."+name, value); !known || err != nil {
				t.Errorf("%s=%s: known %v, %v", name, value, known, err)
			}
			changed = changed || h.tuning != before
		}
		if !changed {
			t.Errorf("%s changes nothing", name)
		}
		a, b := reflect.ValueOf(before), reflect.ValueOf(h.tuning)
		n := 0
		for i := range a.NumField() {
			if a.Field(i).Interface() != b.Field(i).Interface() {
				n++
			}
		}
		if n > 1 {
			t.Errorf("%s changes %d fields", name, n)
		}
	}
	for name := range foreign {
		if known, err := New().Sysctl(name, "3"); !known || err != nil {
			t.Errorf("%s: known %v, %v", name, known, err)
		}
	}
}

func TestSysctlValues(t *testing.T) {
	h := New().(*host)
	for name, value := range map[string]string{
		"net.ipv4.tcp_rmem": "4096 5000 6000", "net.ipv4.tcp_wmem": "1 2 3", "net.ipv4.ip_local_port_range": "5000 6000",
		"net.ipv4.tcp_congestion_control": "reno", "net.ipv4.tcp_notsent_lowat": "4294967295", "net.ipv4.tcp_rto_min_us": "0x10",
	} {
		if known, err := h.Sysctl(name, value); !known || err != nil {
			t.Errorf("%s: known %v, %v", name, known, err)
		}
	}
	tn := h.tuning
	if tn.ReceiveBuffer != 5000 || tn.MaxReceiveBuffer != 6000 || tn.SendBuffer != 2 || tn.EphemeralHigh != 6000 || tn.Cubic || tn.NotSentLowat != 0 {
		t.Errorf("got %+v", tn)
	}
	for name, value := range map[string]string{"net.ipv4.tcp_rmem": "1 2", "net.ipv4.ip_local_port_range": "1", "net.ipv4.tcp_sack": "yes"} {
		if _, err := h.Sysctl(name, value); err == nil {
			t.Errorf("%s=%s: no error", name, value)
		}
	}
	for _, name := range []string{"net.ipv4.nonsense", "vm.swappiness"} {
		if known, _ := h.Sysctl(name, "1"); known {
			t.Errorf("%s is known", name)
		}
	}
	if known, _ := h.Sysctl("net.ipv4.tcp_congestion_control", "bbr"); known {
		t.Error("bbr is known")
	}
}

func TestStart(t *testing.T) {
	for _, at := range []packetdrill.Setup{
		{MTU: 1500, Addr: netip.MustParsePrefix("192.168.0.2/16"), Gateway: netip.MustParseAddr("192.168.0.1")},
		{MTU: 1500, Addr: netip.MustParsePrefix("fd00::2/64"), Gateway: netip.MustParseAddr("fd00::1")},
	} {
		h := New()
		m, err := h.Start(at)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := m.(*tcp.Engine); !ok {
			t.Errorf("a machine of type %T", m)
		}
		m.Stop(nil)
	}
	if _, err := New().Start(packetdrill.Setup{MTU: 5, Addr: netip.MustParsePrefix("192.168.0.2/16")}); err == nil || !strings.Contains(err.Error(), "mtu 5") {
		t.Errorf("got %v", err)
	}
}
