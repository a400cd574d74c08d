// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// Variable is the environment variable that holds the number of the supervisor's
// process: a program that has it, and a seccomp filter, is supervised.
const Variable = launch.SupervisorVariable

// The descriptors that a supervisor is started with, and how its command line
// begins. Stage start makes a process that is nobody's child, stage serve is it.
const (
	pairFD   = 3
	attachFD = 4

	Command    = "supervise"
	stageStart = "start"
	stageServe = "serve"
	stageExec  = "exec"
)

// startTimeout bounds the wait for a supervisor to be ready.
const startTimeout = 10 * time.Second

// hello is what the launcher tells its supervisor: where the notification
// descriptor is, and a word of its memory that the supervisor has to find.
type hello struct {
	tid     int
	fd      int
	address uint64
	word    uint64
}

const helloSize = 32

// word is what a supervisor has to find, and to write, where no stack moves it.
var word uint64

func (h hello) bytes() []byte {
	var b []byte
	for _, v := range []uint64{uint64(h.tid), uint64(h.fd), h.address, h.word} {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	return b
}

func parseHello(b []byte) hello {
	at := func(n int) uint64 { return binary.NativeEndian.Uint64(b[8*n:]) }
	return hello{tid: int(at(0)), fd: int(at(1)), address: at(2), word: at(3)}
}

// isSupervised reports whether this process is under a supervisor's filter
// already: the program will be, too.
func isSupervised() bool {
	v, err := unix.GetsockoptInt(-1, shm.ProbeLevel, 0)
	return err == nil && v == shm.ProbeAnswer
}

// Prepare starts a supervisor for a program in the container of a, and puts the
// calling thread, which it locks, under its filter. The program is to be started
// by launch.Exec from the same goroutine, with the returned environment. An error
// that wraps ErrPlatform says what is refused.
func Prepare(a *launch.Attachment, env []string, missing launch.Missing) ([]string, error) {
	if isSupervised() {
		return env, nil
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	defer unix.Close(pair[0])
	tv := unix.NsecToTimeval(startTimeout.Nanoseconds())
	_ = unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	if err := start(a, pair[1], missing); err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	first, err := read(pair[0])
	if err != nil || len(first) != 8 {
		return nil, fmt.Errorf("start supervisor: no answer: %w", errors.Join(err))
	}
	pid := int(binary.NativeEndian.Uint64(first))
	// Where Yama restricts tracing: our children are not covered by this.
	_ = unix.Prctl(unix.PR_SET_PTRACER, uintptr(pid), 0, 0, 0)

	// The thread that is under the filter is the one that becomes the program.
	runtime.LockOSThread()
	fd, err := install()
	if err != nil {
		return nil, err
	}
	word = uint64(time.Now().UnixNano())
	h := hello{tid: unix.Gettid(), fd: fd, address: uint64(addressOf(&word)), word: word}
	_, err = unix.Write(pair[0], h.bytes())
	if err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	answer, err := readUnfiltered(pair[0])
	switch {
	case err != nil:
		return nil, fmt.Errorf("start supervisor: %w", err)
	case string(answer) != ready:
		return nil, fmt.Errorf("%w: %s", ErrPlatform, answer)
	}
	_ = unix.Close(fd)
	return append(env, Variable+"="+strconv.Itoa(pid)), nil
}

// ready is a supervisor's answer when all is well; anything else says what is
// not.
const ready = "ready"

// readUnfiltered is read for a thread that is under the filter: its own call would
// be handed to a supervisor that may have refused, and wait for ever.
func readUnfiltered(fd int) (b []byte, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		b, err = read(fd)
	}()
	<-done
	return b, err
}

// read reads one record from a supervisor.
func read(fd int) ([]byte, error) {
	b := make([]byte, 4096)
	for {
		n, err := launch.ReadRecord(fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case n == 0:
			return nil, errors.New("the supervisor ended")
		}
		return b[:min(n, len(b))], nil
	}
}

// start makes a process that runs Main, and is no child of ours when it returns.
func start(a *launch.Attachment, pair int, missing launch.Missing) error {
	own, err := unix.FcntlInt(uintptr(a.FD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	end, attach := os.NewFile(uintptr(pair), "pair"), os.NewFile(uintptr(own), "attach")
	defer end.Close()
	defer attach.Close()
	return spawn(stageStart, []*os.File{end, attach}, []string{
		"NETCON_SOCKET=" + a.Socket, "NETCON_CONTAINER=" + a.Container, "NETCON_MISSING=" + string(missing),
	}, true)
}

// spawn starts this program again. It has no terminal and keeps no file of the
// caller's open.
func spawn(stage string, files []*os.File, env []string, wait bool) error {
	c := exec.Command("/proc/self/exe", Command, stage)
	c.Args[0] = "netcon"
	c.ExtraFiles, c.Env, c.Dir = files, env, "/"
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if wait {
		return c.Run()
	}
	return c.Start()
}

// Main runs what the arguments after Command ask for: the two stages of a
// supervisor, which returns when there is nothing left to serve, or the program
// that the preload library found to need one.
func Main(args []string) error {
	stage := args[0]
	if stage == stageExec && len(args) > 2 {
		return execInside(args[1], args[2:])
	}
	if stage == stageStart {
		// A signal that comes to the supervisor while it puts a descriptor into
		// a program makes the kernel end the program's call with 0
		// (seccomp_notify_addfd). So Go's scheduler must send itself none.
		files := []*os.File{os.NewFile(pairFD, "pair"), os.NewFile(attachFD, "attach")}
		return spawn(stageServe, files, append(os.Environ(), "GODEBUG=asyncpreemptoff=1"), false)
	}
	if stage != stageServe {
		return fmt.Errorf("stage %q: netcon exec starts this, not people", stage)
	}
	a := &launch.Attachment{
		FD: attachFD, Socket: os.Getenv("NETCON_SOCKET"), Container: os.Getenv("NETCON_CONTAINER"),
	}
	unix.CloseOnExec(pairFD)
	unix.CloseOnExec(attachFD)
	notify, err := greet(pairFD)
	if err != nil {
		return err
	}
	_ = unix.Close(pairFD)
	return serve(notify, a, launch.Missing(os.Getenv("NETCON_MISSING")))
}

// execInside replaces this process, which was started in a container in the place
// of the program at path, by that program.
func execInside(path string, argv []string) error {
	a, err := launch.Inherit()
	if err != nil {
		return err
	}
	env, err := Prepare(a, os.Environ(), a.Missing)
	if err != nil {
		return err
	}
	return launch.Exec(path, argv, env)
}

// greet gets the notification descriptor from the launcher, and tells it whether
// all that supervision needs is allowed.
func greet(pair int) (notify int, err error) {
	if _, err := unix.Write(pair, binary.NativeEndian.AppendUint64(nil, uint64(os.Getpid()))); err != nil {
		return -1, err
	}
	b, err := read(pair)
	if err != nil || len(b) != helloSize {
		return -1, errors.Join(errors.New("no launcher"), err)
	}
	notify, err = meet(parseHello(b))
	answer := ready
	if err != nil {
		answer = err.Error()
	}
	if _, e := unix.Write(pair, []byte(answer)); e != nil {
		err = errors.Join(err, e)
	}
	return notify, err
}

// meet takes the notification descriptor out of the launcher, and finds its word and
// writes it.
func meet(h hello) (notify int, err error) {
	t := target{threads: new(threads), call: notification{pid: uint32(h.tid)}}
	notify, e := t.fd(h.fd)
	if e != 0 {
		return -1, fmt.Errorf("take a descriptor of the program (pidfd_getfd): %w%s", e, remedy(e))
	}
	var b [8]byte
	if !readMemory(h.tid, h.address, b[:]) || binary.NativeEndian.Uint64(b[:]) != h.word {
		return -1, fmt.Errorf("read the program's memory (process_vm_readv) failed%s", remedy(unix.EPERM))
	}
	if !writeMemory(h.tid, h.address, b[:]) {
		return -1, fmt.Errorf("write the program's memory (process_vm_writev) failed%s", remedy(unix.EPERM))
	}
	return notify, nil
}

func remedy(e syscall.Errno) string {
	if e != unix.EPERM && e != unix.ENOSYS {
		return ""
	}
	return " (sysctl kernel.yama.ptrace_scope above 1, or a container's seccomp profile, forbids it: " +
		"run netcon as root, or allow CAP_SYS_PTRACE, pidfd_getfd, process_vm_readv and process_vm_writev)"
}
