// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
)

// channels is how many queues a device uses, and how many it could.
type channels struct {
	rx, tx       int
	maxRx, maxTx int  // 0: not known
	combined     bool // rx and tx queues come in pairs
}

// Queues returns the number of receive queues of a device in the network
// namespace of the calling thread: Open binds them all.
func Queues(ifname string) (rx int, err error) {
	c, err := readChannels(ifname)
	return c.rx, err
}

// readChannels asks the driver; a driver that does not say is believed what the
// kernel has in sysfs, and where that is another namespace's, in netlink.
func readChannels(ifname string) (channels, error) {
	ifc, err := net.InterfaceByName(ifname)
	if err != nil {
		return channels{}, fmt.Errorf("find interface %s: %w", ifname, err)
	}
	if c, ok := ethtoolChannels(ifname); ok {
		return c, nil
	}
	if c, ok := sysfsChannels(ifname, ifc.Index); ok {
		return c, nil
	}
	link, err := netlink.LinkByIndex(ifc.Index)
	if err != nil {
		return channels{}, fmt.Errorf("count queues of %s: %w", ifname, err)
	}
	a := link.Attrs()
	return channels{rx: max(1, a.NumRxQueues), tx: max(1, a.NumTxQueues)}, nil
}

func ethtoolChannels(ifname string) (channels, bool) {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return channels{}, false
	}
	defer e.Close()
	ch, err := e.GetChannels(ifname)
	if err != nil {
		return channels{}, false
	}
	c := channels{
		rx: int(ch.RxCount + ch.CombinedCount), tx: int(ch.TxCount + ch.CombinedCount),
		maxRx: int(ch.MaxRx + ch.MaxCombined), maxTx: int(ch.MaxTx + ch.MaxCombined),
		combined: ch.MaxCombined > 0,
	}
	return c, c.rx > 0 && c.tx > 0
}

// sysfsChannels counts queues in sysfs, which shows the devices of the network
// namespace in which it was mounted.
func sysfsChannels(ifname string, index int) (channels, bool) {
	dir := "/sys/class/net/" + ifname
	text, err := os.ReadFile(dir + "/ifindex")
	if err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(index) {
		return channels{}, false
	}
	entries, err := os.ReadDir(dir + "/queues")
	if err != nil {
		return channels{}, false
	}
	var c channels
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), "rx-"):
			c.rx++
		case strings.HasPrefix(e.Name(), "tx-"):
			c.tx++
		}
	}
	return c, c.rx > 0 && c.tx > 0
}

// check returns what stands against that many workers, with what would help. A
// worker needs a queue to receive from and one to send to; queue q is worker
// q mod workers' in both directions.
func (c *channels) check(ifname string, workers int) error {
	n, kind, most := c.rx, "receive", c.maxRx
	if c.tx < c.rx {
		n, kind, most = c.tx, "transmit", c.maxTx
	}
	if workers <= n {
		return nil
	}
	set := fmt.Sprintf("ethtool -L %s combined %d", ifname, workers)
	if !c.combined {
		set = fmt.Sprintf("ethtool -L %s rx %d tx %d", ifname, workers, workers)
	}
	remedy := fmt.Sprintf("configure %d workers, or %s", n, set)
	if most > 0 && most < workers {
		remedy += fmt.Sprintf(", of which the device has %d", most)
	}
	return fmt.Errorf("%d workers, and %s has %d %s queues: each worker needs one (%s)", workers, ifname, n, kind, remedy)
}
