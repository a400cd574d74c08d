// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
)

var _ = registerSystem(&systemKind{
	name: "slirp4netns", about: "a rootless container behind slirp4netns: a user-space stack in front of its host's sockets",
	make: func(string, map[string]string) System { return slirp4netns{} },
})

type slirp4netns struct{}

func (slirp4netns) Name() string { return "slirp4netns" }
func (slirp4netns) Check(Tools) error {
	return need("system slirp4netns", "slirp4netns", "ip", "ethtool")
}

func (slirp4netns) Up(ctx context.Context, s *Site, l Link) (*Pair, error) {
	r, err := newRootless(ctx, s, l, "tap0")
	if err != nil {
		return nil, err
	}
	api := filepath.Join(s.Dir, r.host+".sock")
	if err := r.start(ctx, s, "slirp4netns", "-c", "-m", "65520", "--netns-type=path", "-a", api, "/run/netns/"+r.guest, "tap0"); err != nil {
		return nil, err
	}
	for _, port := range servedPorts {
		if err := until(ctx, "slirp4netns", func() error { return forwardPort(api, port) }); err != nil {
			return nil, err
		}
	}
	return r.pair, nil
}

// forwardPort asks slirp4netns to forward a port of the host's.
func forwardPort(api string, port int) error {
	conn, err := net.Dial("unix", api)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	request := fmt.Sprintf(`{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"0.0.0.0","host_port":%d,"guest_port":%d}}`, port, port)
	if _, err := conn.Write([]byte(request)); err != nil {
		return err
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		return err
	}
	var reply struct {
		Error struct{ Desc string }
	}
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		return err
	}
	if reply.Error.Desc != "" {
		return errors.New(reply.Error.Desc)
	}
	return nil
}
