// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"fmt"
	"strconv"

	"github.com/safchain/ethtool"
)

// nic is what ethtool(8) shows and changes of a network device.
type nic interface {
	GetChannels(device string) (ethtool.Channels, error)
	SetChannels(device string, c ethtool.Channels) (ethtool.Channels, error)
	GetCoalesce(device string) (ethtool.Coalesce, error)
	SetCoalesce(device string, c ethtool.Coalesce) (ethtool.Coalesce, error)
	GetRing(device string) (ethtool.Ring, error)
	SetRing(device string, r ethtool.Ring) (ethtool.Ring, error)
	Features(device string) (map[string]bool, error)
	Change(device string, features map[string]bool) error
	DriverName(device string) (string, error)
}

// word is a knob that is one word of a structure that is read and written as a
// whole.
func word[T any](id string, get func() (T, error), set func(T) (T, error), at func(*T) *uint32) knob {
	return knob{
		id: id,
		get: func() (string, error) {
			v, err := get()
			if err != nil {
				return "", reasonOf(err)
			}
			return strconv.FormatUint(uint64(*at(&v)), 10), nil
		},
		set: func(value string) error {
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return fmt.Errorf("value %q: not a number", value)
			}
			v, err := get()
			if err != nil {
				return reasonOf(err)
			}
			*at(&v) = uint32(n)
			_, err = set(v)
			return reasonOf(err)
		},
	}
}

// channels is a device's number of queues.
func (h *host) channels(device, which string) (knob, error) {
	at := map[string]func(*ethtool.Channels) *uint32{
		"combined": func(c *ethtool.Channels) *uint32 { return &c.CombinedCount },
		"rx":       func(c *ethtool.Channels) *uint32 { return &c.RxCount },
		"tx":       func(c *ethtool.Channels) *uint32 { return &c.TxCount },
	}[which]
	if at == nil {
		return knob{}, fmt.Errorf("knob %q: unknown", "channels "+device+" "+which)
	}
	return word("channels "+device+" "+which,
		func() (ethtool.Channels, error) { return h.nic.GetChannels(device) },
		func(c ethtool.Channels) (ethtool.Channels, error) { return h.nic.SetChannels(device, c) }, at), nil
}

// coalesce is when a device interrupts.
func (h *host) coalesce(device, which string) (knob, error) {
	at := map[string]func(*ethtool.Coalesce) *uint32{
		"adaptive-rx": func(c *ethtool.Coalesce) *uint32 { return &c.UseAdaptiveRxCoalesce },
		"adaptive-tx": func(c *ethtool.Coalesce) *uint32 { return &c.UseAdaptiveTxCoalesce },
		"rx-usecs":    func(c *ethtool.Coalesce) *uint32 { return &c.RxCoalesceUsecs },
	}[which]
	if at == nil {
		return knob{}, fmt.Errorf("knob %q: unknown", "coalesce "+device+" "+which)
	}
	return word("coalesce "+device+" "+which,
		func() (ethtool.Coalesce, error) { return h.nic.GetCoalesce(device) },
		func(c ethtool.Coalesce) (ethtool.Coalesce, error) { return h.nic.SetCoalesce(device, c) }, at), nil
}

// ring is the number of a device's descriptors.
func (h *host) ring(device, which string) (knob, error) {
	at := map[string]func(*ethtool.Ring) *uint32{
		"rx": func(r *ethtool.Ring) *uint32 { return &r.RxPending },
		"tx": func(r *ethtool.Ring) *uint32 { return &r.TxPending },
	}[which]
	if at == nil {
		return knob{}, fmt.Errorf("knob %q: unknown", "ring "+device+" "+which)
	}
	return word("ring "+device+" "+which,
		func() (ethtool.Ring, error) { return h.nic.GetRing(device) },
		func(r ethtool.Ring) (ethtool.Ring, error) { return h.nic.SetRing(device, r) }, at), nil
}

// feature is an offload, by the kernel's name of it: "on" or "off".
func (h *host) feature(device, name string) knob {
	return knob{
		id: "feature " + device + " " + name,
		get: func() (string, error) {
			all, err := h.nic.Features(device)
			if err != nil {
				return "", reasonOf(err)
			}
			on, ok := all[name]
			if !ok {
				return "", errNoKnob
			}
			return onOff(on), nil
		},
		set: func(value string) error {
			if value != "on" && value != "off" {
				return fmt.Errorf("value %q: neither on nor off", value)
			}
			return reasonOf(h.nic.Change(device, map[string]bool{name: value == "on"}))
		},
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
