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
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/config"
	"netcon/dataplane/stat"
)

// AttachPath returns the attach socket of a daemon's runtime directory.
func AttachPath(runtimeDir string) string { return filepath.Join(runtimeDir, config.AttachSocket) }

// AdminPath returns the administration socket of a daemon's runtime directory.
func AdminPath(runtimeDir string) string { return filepath.Join(runtimeDir, config.ControlSocket) }

// control serves the administration socket: HTTP and JSON, for the daemon's
// owner and root only.
type control struct {
	listener net.Listener
	server   *http.Server
	path     string
	tracing  *tracing
}

// adminListener refuses peers that may not administer before HTTP sees them.
type adminListener struct {
	*net.UnixListener
	stat *stat.Block
}

func (l adminListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if uid, err := peerUID(c); err == nil && (uid == 0 || uid == uint32(os.Getuid())) {
			return &adminConn{Conn: c, stat: l.stat}, nil
		}
		l.stat.DropShared(stat.DropControlRefused)
		_ = c.Close()
	}
}

// adminConn counts a connection that spoke but never made a request.
type adminConn struct {
	net.Conn
	stat    *stat.Block
	spoke   atomic.Bool
	request atomic.Bool
	closed  atomic.Bool
}

type adminConnKey struct{}

func (c *adminConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.spoke.Store(true)
	}
	return n, err
}

func (c *adminConn) Close() error {
	if !c.closed.Swap(true) && c.spoke.Load() && !c.request.Load() {
		c.stat.DropShared(stat.DropControlMalformed)
	}
	return c.Conn.Close()
}

func peerUID(c *net.UnixConn) (uid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); e != nil {
		return 0, e
	}
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

func (d *Dataplane) listenControl() error {
	path := d.cfg.Daemon.ControlPath()
	// The attach socket is taken already: whoever holds it is this daemon,
	// so a file here is left over from one that died.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove stale administration socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen on administration socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("protect administration socket: %w", err), l.Close())
	}
	d.control = &control{
		listener: adminListener{UnixListener: l, stat: &d.controlStat},
		path:     path,
		tracing:  newTracing(),
		server: &http.Server{
			Handler:           d.routes(),
			ReadHeaderTimeout: 5 * time.Second,
			MaxHeaderBytes:    16 << 10,
			ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				return context.WithValue(ctx, adminConnKey{}, c)
			},
		},
	}
	// What streams would keep the daemon from ending.
	d.control.server.RegisterOnShutdown(d.control.tracing.end)
	return nil
}

func (d *Dataplane) routes() http.Handler {
	mux := http.NewServeMux()
	reader := func(path string, read func() any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			// A peer that went away is nobody to tell.
			_ = json.NewEncoder(w).Encode(read())
		})
	}
	reader("/v1/status", func() any { return d.Status() })
	reader("/v1/sockets", func() any { return d.Sockets() })
	reader("/v1/stats", func() any { return d.Stats() })
	mux.HandleFunc("GET /v1/trace", d.serveTrace)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.controlStat.DropShared(stat.DropControlMalformed)
		http.NotFound(w, r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(adminConnKey{}).(*adminConn); ok {
			c.request.Store(true)
		}
		mux.ServeHTTP(w, r)
	})
}

func (c *control) serve() error {
	if err := c.server.Serve(c.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve administration socket %s: %w", c.path, err)
	}
	return nil
}

func (c *control) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		_ = c.server.Close()
	}
	_ = os.Remove(c.path)
}
