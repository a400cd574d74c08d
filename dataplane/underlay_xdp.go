// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"log/slog"
	"net/netip"

	"netcon/bpf"
	"netcon/dataplane/config"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/udplink"
	"netcon/dataplane/xsk"
)

// xdpUnderlay is AF_XDP sockets on a NIC.
type xdpUnderlay struct {
	device *xsk.Device
	soft   bool
}

// What the words of a configuration mean.
var (
	attachModes     = map[string]bpf.Mode{"auto": bpf.Auto, "native": bpf.Native, "generic": bpf.Generic}
	zeroCopyChoices = map[string]xsk.Choice{"auto": xsk.Auto, "on": xsk.On, "off": xsk.Off}
)

func openXDP(cfg *config.Config, blocks []*stat.Block, log *slog.Logger) (underlay, error) {
	c := &cfg.Underlay
	device, err := underlayDevice(c)
	if err != nil {
		return nil, err
	}
	u := &xdpUnderlay{soft: udplink.Software(c.Address)}
	u.device, err = xsk.Open(xsk.Config{
		Interface: device, Local: netip.AddrPortFrom(c.Address, c.Port), Workers: len(blocks),
		Mode: attachModes[c.Attach], ZeroCopy: zeroCopyChoices[c.ZeroCopy], BusyPoll: c.BusyPoll,
		MTU: c.MTU, Frames: c.Frames, Unfinished: u.soft, Stats: blocks, Log: log,
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// underlayDevice returns the network device that carries the frames.
func underlayDevice(u *config.Underlay) (string, error) {
	if u.Interface != "" {
		return u.Interface, nil
	}
	return deviceOf(u.Address)
}

func (u *xdpUnderlay) links() (list []stream.Underlay) {
	for _, l := range u.device.Links() {
		list = append(list, l)
	}
	return list
}

func (u *xdpUnderlay) mtu() int       { return u.device.MTU() }
func (u *xdpUnderlay) software() bool { return u.soft }

// steer does nothing: the device chooses the queue, by a hash of the outer flow.
func (u *xdpUnderlay) steer([]place) error { return nil }

func (u *xdpUnderlay) features() string {
	r := u.device.Report()
	text := fmt.Sprintf("AF_XDP on %s, %s", r.Interface, r.Mode)
	if r.Fallback != "" {
		text += " (native: " + r.Fallback + ")"
	}
	return text + fmt.Sprintf(", %s, %d queues, %d frames each", map[bool]string{false: "copy", true: "zero copy"}[r.ZeroCopy],
		len(r.Queues), r.Queues[0].Frames.Total)
}

func (u *xdpUnderlay) report() *xsk.Report {
	r := u.device.Report()
	return &r
}

func (u *xdpUnderlay) close() error { return u.device.Close() }
