// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
	"netcon/shm"
)

// fake is a daemon that answers as a test says.
type fake struct {
	path  string
	fd    int
	hello atomic.Pointer[shm.Attach]
}

// newFake listens and gives each connection, its hello read, to answer.
func newFake(t testing.TB, answer func(f *fake, fd int)) *fake {
	t.Helper()
	f := &fake{path: filepath.Join(testenv.OpenDir(t), "attach.sock")}
	var err error
	if f.fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(f.fd, &unix.SockaddrUnix{Name: f.path}), unix.Listen(f.fd, 1)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = unix.Shutdown(f.fd, unix.SHUT_RDWR) // wakes accept
		<-done
		_ = unix.Close(f.fd)
	})
	go func() {
		defer close(done)
		for answer != nil {
			c, _, err := unix.Accept4(f.fd, unix.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			var hello shm.Attach
			if n, err := unix.Read(c, shm.AttachBytes(&hello)); n != shm.SizeofAttach || err != nil {
				t.Errorf("hello of %d bytes: %v", n, err)
			}
			f.hello.Store(&hello)
			answer(f, c)
		}
	}()
	return f
}

// answerWith sends one reply and closes.
func answerWith(r shm.Reply) func(*fake, int) {
	return func(_ *fake, fd int) {
		_ = unix.Send(fd, shm.ReplyBytes(&r), unix.MSG_NOSIGNAL)
		_ = unix.Close(fd)
	}
}

var answerAll = answerWith(shm.Reply{Magic: shm.Magic})

func text(s string) (opt [shm.OptMax]uint8) {
	copy(opt[:], s)
	return opt
}

func TestAttach(t *testing.T) {
	for _, c := range []struct {
		name, ask string
		reply     shm.Reply
		want      Attachment
	}{
		{"named", "web", shm.Reply{}, Attachment{Container: "web", Missing: MissingFail}},
		{"the only one", "", shm.Reply{Opt: text("web"), Optlen: 3}, Attachment{Container: "web", Missing: MissingFail}},
		{"named, and told another name", "web", shm.Reply{Opt: text("db"), Optlen: 2}, Attachment{Container: "web", Missing: MissingFail}},
		{"to the kernel", "web", shm.Reply{Value: shm.MissingKernel}, Attachment{Container: "web", Missing: MissingKernel}},
		{"an unknown policy", "web", shm.Reply{Value: 77}, Attachment{Container: "web", Missing: MissingFail}},
		{"a name that says it is long", "", shm.Reply{Opt: text("web"), Optlen: 1 << 31}, Attachment{Container: "web", Missing: MissingFail}},
		{
			"the longest name", strings.Repeat("n", shm.NameMax-1),
			shm.Reply{},
			Attachment{Container: strings.Repeat("n", shm.NameMax-1), Missing: MissingFail},
		},
	} {
		c.reply.Magic = shm.Magic
		f := newFake(t, answerWith(c.reply))
		a, err := Attach(f.path, c.ask)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if a.Container != c.want.Container || a.Missing != c.want.Missing || a.Socket != f.path {
			t.Errorf("%s: %+v", c.name, a)
		}
		if cookie, err := unix.GetsockoptUint64(a.FD, unix.SOL_SOCKET, unix.SO_COOKIE); err != nil || cookie != a.Cookie {
			t.Errorf("%s: cookie %d, want %d (%v)", c.name, a.Cookie, cookie, err)
		}
		// The program gets it as a socket like any other: it survives exec
		// and waits for ever.
		if flags, err := unix.FcntlInt(uintptr(a.FD), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
			t.Errorf("%s: it does not survive exec", c.name)
		}
		for _, o := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
			if tv, err := unix.GetsockoptTimeval(a.FD, unix.SOL_SOCKET, o); err != nil || *tv != (unix.Timeval{}) {
				t.Errorf("%s: a timeout stays: %v %v", c.name, tv, err)
			}
		}
		h := f.hello.Load()
		sent := shm.AttachBytes(h)[shm.SizeofAttach-shm.NameMax:]
		if h.Magic != shm.Magic || strings.TrimRight(string(sent), "\x00") != c.ask {
			t.Errorf("%s: hello %+v", c.name, h)
		}
		_ = unix.Close(a.FD)
	}
}

func TestAttachRefused(t *testing.T) {
	fds := testenv.FDs(t, os.Getpid())
	whole := shm.ReplyBytes(&shm.Reply{Magic: shm.Magic})
	bytes := func(b []byte) func(*fake, int) {
		return func(_ *fake, fd int) {
			_ = unix.Send(fd, b, unix.MSG_NOSIGNAL)
			_ = unix.Close(fd)
		}
	}
	refuse := func(e unix.Errno) func(*fake, int) { return answerWith(shm.Reply{Magic: shm.Magic, Error: int32(e)}) }
	kept := make(chan int, 8)
	keep := func(_ *fake, fd int) { kept <- fd }
	for _, c := range []struct {
		name, ask string
		answer    func(*fake, int)
		want      string
		is        error
	}{
		{"not allowed", "web", refuse(unix.EPERM), `container "web": operation not permitted (uid`, unix.EPERM},
		{"not allowed either", "web", refuse(unix.EACCES), "is not in its uids", unix.EACCES},
		{"no such container", "web", refuse(unix.ENOENT), "has no such container", nil},
		{"several containers", "", refuse(unix.ENOENT), "name one with -n", nil},
		{"too many", "web", refuse(unix.ENFILE), "too many open files", unix.ENFILE},
		{"a strange number", "web", refuse(1 << 30), `container "web"`, nil},
		{"a negative number", "web", answerWith(shm.Reply{Magic: shm.Magic, Error: -1}), `container "web"`, nil},
		{"hang up", "web", func(_ *fake, fd int) { _ = unix.Close(fd) }, "no valid answer (0 bytes", nil},
		{"nothing in it", "web", bytes(nil), "no valid answer (0 bytes", nil},
		{"half an answer", "web", bytes(whole[:100]), "no valid answer (100 bytes", nil},
		{"more than an answer", "web", bytes(append(whole[:len(whole):len(whole)], 0)), "no valid answer (305 bytes", nil},
		{"garbage", "web", bytes(testenv.RandomBytes(shm.SizeofReply, 1)), "no valid answer (304 bytes; is it a netcon daemon", nil},
		{"another magic", "web", answerWith(shm.Reply{Magic: shm.Magic + 1}), "no valid answer", nil},
		{"silence", "web", keep, "no answer for 100ms", nil},
		{"nobody accepts", "web", nil, "took no connection for 100ms", nil},
	} {
		f := newFake(t, c.answer)
		if c.answer == nil { // its backlog is full
			for range 2 {
				fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
				if err == nil {
					err = unix.Connect(fd, &unix.SockaddrUnix{Name: f.path})
				}
				if err != nil {
					t.Fatal(err)
				}
				kept <- fd
			}
		}
		begin := time.Now()
		a, err := attach(f.path, c.ask, 100*time.Millisecond)
		if a != nil || err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) || errors.Is(err, ErrNoDaemon) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("%s: it took %v", c.name, took)
		}
		_ = unix.Shutdown(f.fd, unix.SHUT_RDWR)
	}
	for range len(kept) {
		_ = unix.Close(<-kept)
	}
	// Each fake holds its listening socket until the test ends.
	if n := testenv.FDs(t, os.Getpid()); n > fds+15 {
		t.Errorf("%d fds, had %d: a refused attach keeps its socket", n, fds)
	}
}

func TestAttachNoDaemon(t *testing.T) {
	dir := testenv.OpenDir(t)
	stale := newFake(t, nil)
	_ = unix.Shutdown(stale.fd, unix.SHUT_RDWR)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "nothing.sock"), filepath.Join(dir, "no/dir.sock"), stale.path, file} {
		if _, err := Attach(path, "web"); !errors.Is(err, ErrNoDaemon) || !strings.Contains(err.Error(), "start one with: netcon up") {
			t.Errorf("%s: %v", path, err)
		}
	}
	for path, name := range map[string]string{
		filepath.Join(dir, strings.Repeat("x", 200)): "web", // no path of a socket
		stale.path: strings.Repeat("n", shm.NameMax), // no name of a container
	} {
		if _, err := Attach(path, name); err == nil || errors.Is(err, ErrNoDaemon) {
			t.Errorf("%s %q: %v", path, name, err)
		}
	}
	// Signals that come while it waits change nothing.
	f := newFake(t, func(_ *fake, fd int) {
		time.AfterFunc(50*time.Millisecond, func() { answerAll(nil, fd) })
	})
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				tasks, _ := os.ReadDir("/proc/self/task")
				for _, task := range tasks {
					tid := 0
					for _, c := range task.Name() {
						tid = 10*tid + int(c-'0')
					}
					_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
				}
			}
		}
	}()
	a, err := Attach(f.path, "web")
	if err != nil {
		t.Fatalf("with signals: %v", err)
	}
	_ = unix.Close(a.FD)
}
