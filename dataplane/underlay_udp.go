// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"log/slog"
	"net/netip"

	"netcon/dataplane/config"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/udplink"
	"netcon/dataplane/xsk"
)

// udpUnderlay is kernel UDP sockets.
type udpUnderlay struct {
	sockets []*udplink.Link
	outer   int
	soft    bool
}

func openUDP(cfg *config.Config, blocks []*stat.Block, log *slog.Logger) (underlay, error) {
	c := &cfg.Underlay
	u := &udpUnderlay{outer: c.MTU, soft: udplink.Software(c.Address)}
	if u.outer == 0 {
		mtu, unroutable, err := udplink.PathMTU(c.Address, everyVTEP(cfg))
		if err != nil {
			return nil, err
		}
		for _, vtep := range unroutable {
			log.Warn("no route to VTEP now", "vtep", vtep)
		}
		u.outer = mtu
	}
	var err error
	u.sockets, err = udplink.Open(udplink.Config{
		Local: netip.AddrPortFrom(c.Address, c.Port), Workers: len(blocks), SendSockets: c.SendSockets, Stats: blocks,
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

func everyVTEP(cfg *config.Config) (vteps []netip.Addr) {
	for i := range cfg.Networks {
		vteps = append(vteps, cfg.Networks[i].VTEPs...)
	}
	return vteps
}

func (u *udpUnderlay) links() (list []stream.Underlay) {
	for _, l := range u.sockets {
		list = append(list, l)
	}
	return list
}

func (u *udpUnderlay) mtu() int         { return u.outer }
func (u *udpUnderlay) software() bool   { return u.soft }
func (u *udpUnderlay) features() string { return u.sockets[0].Features().String() }

func (u *udpUnderlay) steer(places []place) error {
	list := make([]udplink.Place, len(places))
	for i, p := range places {
		list[i] = udplink.Place{MAC: p.mac, Worker: p.worker}
	}
	return udplink.Steer(u.sockets, list)
}

func (u *udpUnderlay) report() *xsk.Report { return nil }

func (u *udpUnderlay) close() (err error) {
	for _, l := range u.sockets {
		if e := l.Close(); e != nil && err == nil {
			err = fmt.Errorf("close underlay: %w", e)
		}
	}
	return err
}
