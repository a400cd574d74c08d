// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// Client reads from a running daemon through its administration socket.
type Client struct {
	path string
	http http.Client
}

// NewClient returns a client for the daemon with this runtime directory.
func NewClient(runtimeDir string) *Client {
	path := AdminPath(runtimeDir)
	return &Client{path: path, http: http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}},
	}}
}

// Status returns what runs.
func (c *Client) Status() (s Status, err error) {
	err = c.get("/v1/status", &s)
	return s, err
}

// Sockets returns the applications' sockets.
func (c *Client) Sockets() (s []Socket, err error) {
	err = c.get("/v1/sockets", &s)
	return s, err
}

// Stats returns all counters.
func (c *Client) Stats() (s Stats, err error) {
	err = c.get("/v1/stats", &s)
	return s, err
}

// unreachable says what to do about a daemon that cannot be asked.
func (c *Client) unreachable(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("no daemon at %s (start one with: netcon up)", c.path)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("administer the daemon at %s: permission denied (only its owner and root may)", c.path)
	}
	return fmt.Errorf("ask the daemon at %s: %w (is it running, and yours?)", c.path, errors.Unwrap(err))
}

func (c *Client) get(path string, into any) error {
	resp, err := c.http.Get("http://netcon" + path)
	if err != nil {
		return c.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the daemon at %s for %s: %s", c.path, path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read the daemon's answer to %s: %w", path, err)
	}
	return nil
}
