// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

// foreign loads somebody else's XDP program.
func foreign(t testing.TB) *ebpf.Program {
	t.Helper()
	testenv.Need(t, "CAP_BPF")
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "firewall",
		Type:         ebpf.XDP,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
		License:      "Apache-2.0",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// put attaches a foreign program, either with a link, which it returns, or by
// netlink as ip(8) does.
func put(t *testing.T, ns *testenv.NetNS, dev string, p *ebpf.Program, linked bool, flags link.XDPAttachFlags) (l link.Link) {
	t.Helper()
	ns.Do(t, func() {
		ifc, err := net.InterfaceByName(dev)
		if err == nil && linked {
			l, err = link.AttachXDP(link.XDPOptions{Program: p, Interface: ifc.Index, Flags: flags})
		} else if err == nil {
			var n netlink.Link
			if n, err = netlink.LinkByIndex(ifc.Index); err == nil {
				err = netlink.LinkSetXdpFdWithFlags(n, p.FD(), int(flags))
			}
		}
		if err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	if l != nil {
		t.Cleanup(func() { l.Close() })
	}
	return l
}

func TestForeignProgramStays(t *testing.T) {
	for _, tt := range []struct {
		name   string
		linked bool
		flags  link.XDPAttachFlags
	}{
		{"native mode", false, link.XDPDriverMode},
		{"generic mode", false, link.XDPGenericMode},
		{"native mode", true, link.XDPDriverMode},
		{"generic mode", true, link.XDPGenericMode},
	} {
		ns, _ := wire(t, 1500)
		theirs := foreign(t)
		l := put(t, ns, "nic0", theirs, tt.linked, tt.flags)
		id := attached(t, ns, "nic0")
		if id == 0 {
			t.Fatal("the foreign program is not there")
		}
		p := load(t, overlay4)
		var err error
		for _, mode := range []Mode{Auto, Native, Generic} {
			err = attach(t, ns, "nic0", p, mode)
			busy(t, err)
			contains(t, err, "nic0", "firewall", fmt.Sprintf("id %d,", id), tt.name, "left alone", "bpftool net show dev nic0")
			if got := attached(t, ns, "nic0"); got != id {
				t.Fatalf("%s: program %d there, was %d", tt.name, got, id)
			}
		}
		if p.Mode() != Auto || p.Fallback() != nil {
			t.Errorf("mode %s, fall-back %v", p.Mode(), p.Fallback())
		}

		// What the error tells to do works.
		if tt.linked {
			info, errInfo := l.Info()
			if errInfo != nil {
				t.Fatal(errInfo)
			}
			contains(t, err, fmt.Sprintf("\"bpftool link detach id %d\"", info.ID))
			if errDetach := l.Detach(); errDetach != nil {
				t.Fatal(errDetach)
			}
		} else {
			remedy := regexp.MustCompile(`remove it with "(.*)"`).FindStringSubmatch(err.Error())
			if remedy == nil {
				t.Fatal(err)
			}
			testenv.Run(t, ns, strings.Fields(remedy[1])...)
		}
		if err := attach(t, ns, "nic0", p, Auto); err != nil {
			t.Error(err)
		}
	}
}

// A bridge with a program takes its ports' frames, so the kernel lets none on
// the ports.
func TestProgramOnUpperDevice(t *testing.T) {
	ns, _ := wire(t, 1500)
	testenv.Run(t, ns, "ip", "link", "add", "br0", "type", "bridge")
	testenv.Run(t, ns, "ip", "link", "set", "nic0", "master", "br0")
	put(t, ns, "br0", foreign(t), true, link.XDPGenericMode)
	p := load(t, overlay4)
	err := attach(t, ns, "nic0", p, Auto)
	busy(t, err)
	contains(t, err, "nic0", "above", "bpftool net show")
}

func TestWhoHolds(t *testing.T) {
	ns, _ := wire(t, 1500)
	ns.Do(t, func() {
		ifc, err := net.InterfaceByName("nic0")
		if err != nil {
			t.Error(err)
			return
		}
		for refused, want := range map[error]string{nil: "", unix.EINVAL: "", unix.EBUSY: "", unix.EEXIST: "a device above"} {
			if got := string(whoHolds(ifc, refused)); !strings.HasPrefix(got, want) || want == "" && got != "" {
				t.Errorf("no program, %v: %q", refused, got)
			}
		}
		ifc.Index = 1 << 20
		contains(t, whoHolds(ifc, unix.EBUSY), "busy", "ip link show dev nic0", "gone")
	})
}

// attribute returns a netlink attribute.
func attribute(kind uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, -len(b)&3)...)
}

func TestParseXDP(t *testing.T) {
	id := binary.NativeEndian.AppendUint32(nil, 77)
	native := attribute(unix.IFLA_XDP_ATTACHED, attachedNative)
	for _, tt := range []struct {
		name  string
		b     []byte
		mode  byte // attachedNone: no holder
		id    ebpf.ProgramID
		words string
	}{
		{"nothing", nil, attachedNone, 0, ""},
		{"not attached", attribute(unix.IFLA_XDP_ATTACHED, attachedNone), attachedNone, 0, ""},
		{"native", append(native, attribute(unix.IFLA_XDP_PROG_ID, id...)...), attachedNative, 77, "xdpdrv off"},
		{"id first", append(attribute(unix.IFLA_XDP_PROG_ID, id...), native...), attachedNative, 77, "native mode"},
		{"offloaded", append(attribute(unix.IFLA_XDP_ATTACHED, attachedOffload), attribute(unix.IFLA_XDP_HW_PROG_ID, id...)...), attachedOffload, 77, "xdpoffload off"},
		{"several", append(attribute(unix.IFLA_XDP_ATTACHED, attachedSeveral), attribute(unix.IFLA_XDP_SKB_PROG_ID, id...)...), attachedSeveral, 77, "several modes"},
		{"id cut short", append(native, attribute(unix.IFLA_XDP_PROG_ID, id[:3]...)...), attachedNative, 0, ""},
		{"length too large", append(native, 0xff, 0xff, unix.IFLA_XDP_PROG_ID, 0), attachedNative, 0, ""},
		{"length too small", append(native, 0, 0, 0, 0, 0, 0, 0, 0), attachedNative, 0, ""},
		{"header cut short", append(native, 8, 0, 4), attachedNative, 0, ""},
	} {
		h := parseXDP(tt.b)
		switch {
		case tt.mode == attachedNone && h != nil:
			t.Errorf("%s: %+v", tt.name, h)
		case tt.mode == attachedNone:
		case h == nil || h.mode != tt.mode || h.id != tt.id:
			t.Errorf("%s: %+v", tt.name, h)
		case !strings.Contains(h.describe("eth0"), tt.words):
			t.Errorf("%s: %q does not say %q", tt.name, h.describe("eth0"), tt.words)
		}
	}
}

// The kernel writes these bytes, and it is still no reason to read beyond them.
func FuzzParseHolder(f *testing.F) {
	info := make([]byte, unix.SizeofIfInfomsg)
	info[4] = 1
	xdp := attribute(unix.IFLA_XDP, attribute(unix.IFLA_XDP_ATTACHED, attachedNative)...)
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(info)+len(xdp)))
	message = binary.NativeEndian.AppendUint16(message, unix.RTM_NEWLINK)
	message = append(message, make([]byte, 10)...)
	message = append(append(message, info...), xdp...)
	if h, err := parseHolder(message, 1); err != nil || h == nil || h.mode != attachedNative {
		f.Fatalf("%+v, %v", h, err)
	}
	f.Add(message)
	f.Add(message[:len(message)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseHolder(b, 1); h != nil && (err != nil || h.mode == attachedNone) {
			t.Errorf("%+v, %v", h, err)
		}
		parseXDP(b)
	})
}
