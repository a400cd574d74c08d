// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

func dial(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	return fd
}

func hello(container string) []byte {
	var h shm.Attach
	h.Magic = shm.Magic
	b := append([]byte(nil), shm.AttachBytes(&h)...)
	copy(b[shm.SizeofAttach-shm.NameMax:], container)
	return b
}

func TestAttach(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "attach.sock")
	var counts stat.Block
	a, err := ListenAttach(path, &counts)
	if err != nil {
		t.Fatal(err)
	}
	if i, _ := os.Stat(path); i.Mode().Perm() != 0o666 {
		t.Errorf("mode %v", i.Mode())
	}
	if _, err := ListenAttach(path, &counts); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("second daemon: %v", err)
	}
	served := make(chan error, 1)
	go func() {
		served <- a.Serve(func(p Peer) (Admission, syscall.Errno) {
			if p.PID != int32(os.Getpid()) || p.UID != uint32(os.Getuid()) {
				t.Errorf("peer %+v", p)
			}
			switch p.Container {
			case "web":
				return Admission{Container: "web", Missing: shm.MissingKernel, Adopt: func(fd int) {
					w.do(func() { w.set.Adopt(fd, p.PID, p.UID, p.Inode) })
				}}, 0
			case "foreign":
				return Admission{}, unix.EPERM
			}
			return Admission{}, unix.ENOENT
		})
	}()

	fd := dial(t, path)
	raw(t, fd, hello("web"))
	r, err := readReply(fd)
	if err != nil || r.Error != 0 || r.Value != shm.MissingKernel || string(r.Opt[:r.Optlen]) != "web" {
		t.Fatalf("%+v %v", r, err)
	}
	s, e := openApp(w, fd, unix.AF_INET) // at once: fds pass from the reply on
	if e != 0 {
		t.Fatal(e)
	}
	s.close()

	for name, want := range map[string]syscall.Errno{"foreign": unix.EPERM, "nobody": unix.ENOENT} {
		fd := dial(t, path)
		raw(t, fd, hello(name))
		if r, err := readReply(fd); err != nil || r.Error != int32(want) {
			t.Errorf("%s: %d %v", name, r.Error, err)
		}
	}
	if n := counts.Drops(stat.DropControlRefused); n != 2 {
		t.Errorf("%d refused", n)
	}

	bad := hello("web")
	bad[0]++
	unterminated := []byte(strings.Repeat("x", shm.SizeofAttach))
	copy(unterminated, hello(""))
	copy(unterminated[8:], strings.Repeat("x", shm.NameMax))
	for i, b := range [][]byte{bad, unterminated, hello("web")[:71], append(hello("web"), 0)} {
		fd := dial(t, path)
		raw(t, fd, b)
		if r, err := readReply(fd); err != nil || r.Error != int32(unix.EINVAL) {
			t.Errorf("garbage %d: %d %v", i, r.Error, err)
		}
	}
	// One more: the second daemon's look whether somebody answers.
	if n := counts.Drops(stat.DropControlGarbage); n != 5 {
		t.Errorf("%d garbage", n)
	}

	// Peers that say nothing are let go, and others are served meanwhile.
	start := time.Now()
	var wg sync.WaitGroup
	for range maxHandshakes - 1 {
		fd := dial(t, path)
		wg.Go(func() {
			if r, err := readReply(fd); err != nil || r.Error != int32(unix.EINVAL) {
				t.Errorf("silent peer: %d %v", r.Error, err)
			}
		})
	}
	fd = dial(t, path)
	raw(t, fd, hello("web"))
	if r, err := readReply(fd); err != nil || r.Error != 0 {
		t.Errorf("beside silent peers: %d %v", r.Error, err)
	}
	wg.Wait()
	if d := time.Since(start); d < handshakeTime || d > handshakeTime+2*time.Second {
		t.Errorf("silent peers were let go after %v", d)
	}

	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestListenAttachPaths(t *testing.T) {
	dir := t.TempDir()
	var counts stat.Block
	stale := filepath.Join(dir, "stale")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: stale}); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	a, err := ListenAttach(stale, &counts)
	if err != nil {
		t.Fatalf("stale socket: %v", err)
	}
	a.Close()

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                               "no socket",
		filepath.Join(dir, "none", "x"):    "no such file",
		"/tmp/" + strings.Repeat("x", 103): "108 bytes",
	} {
		if _, err := ListenAttach(path, &counts); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
