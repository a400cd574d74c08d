// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"strconv"
	"strings"
)

var _ = registerSystem(&systemKind{
	name: "pasta", about: "a rootless container behind pasta: its host's sockets stand for the container's",
	make: func(string, map[string]string) System { return pasta{} },
})

type pasta struct{}

func (pasta) Name() string      { return "pasta" }
func (pasta) Check(Tools) error { return need("system pasta", "pasta", "ip", "ethtool") }

func (pasta) Up(ctx context.Context, s *Site, l Link) (*Pair, error) {
	r, err := newRootless(ctx, s, l, "eth0")
	if err != nil {
		return nil, err
	}
	var ports []string
	for _, p := range servedPorts {
		ports = append(ports, strconv.Itoa(p))
	}
	err = r.start(ctx, s, "pasta", "-f", "-q", "--config-net", "-i", "eth0", "-t", strings.Join(ports, ","),
		"-u", "none", "-T", "none", "-U", "none", "--netns", "/run/netns/"+r.guest, "--netns-only", "--runas", "0")
	return r.pair, err
}
