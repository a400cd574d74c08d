// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// target is the thread that waits for the end of its call.
type target struct {
	notify  int
	threads *threads
	call    notification
}

func (t *target) tid() int         { return int(t.call.pid) }
func (t *target) arg(n int) uint64 { return t.call.args[n] }

// intArg is an argument that the kernel takes for an int.
func (t *target) intArg(n int) int { return int(int32(t.call.args[n])) }

// valid reports whether the thread still waits.
func (t *target) valid() bool { return isValid(t.notify, t.call.id) }

// end ends the call with a value, or an error number.
func (t *target) end(val int64, e syscall.Errno) {
	_ = respond(t.notify, &response{id: t.call.id, val: val, error: -int32(e)})
}

// pass lets the kernel do the call.
func (t *target) pass() {
	_ = respond(t.notify, &response{id: t.call.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

// endWithFD puts fd into the program as the call's result. It stays ours to
// close. Where the program has no number left the call ends with EMFILE.
func (t *target) endWithFD(fd int, cloexec bool) {
	a := addition{id: t.call.id, flags: unix.SECCOMP_ADDFD_FLAG_SEND, srcfd: uint32(fd)}
	if cloexec {
		a.newfdFlags = unix.O_CLOEXEC
	}
	if e := addFD(t.notify, &a); e != 0 && e != unix.ENOENT {
		t.end(0, e)
	}
}

// replaceFD puts fd into the program under a number it has.
func (t *target) replaceFD(fd, number int) syscall.Errno {
	a := addition{id: t.call.id, flags: unix.SECCOMP_ADDFD_FLAG_SETFD, srcfd: uint32(fd), newfd: uint32(number)}
	if t.isCloexec(number) {
		a.newfdFlags = unix.O_CLOEXEC
	}
	return addFD(t.notify, &a)
}

// fd returns a descriptor of our own for the program's number n.
func (t *target) fd(n int) (int, syscall.Errno) { return t.threads.get(t.tid(), n) }

// hasRoom reports whether the program has a descriptor number left. Where its
// highest one is free no more has to be asked.
func (t *target) hasRoom() bool {
	var limit unix.Rlimit
	if unix.Prlimit(t.tid(), unix.RLIMIT_NOFILE, nil, &limit) != nil {
		return true
	}
	fd, e := t.fd(int(limit.Cur) - 1)
	if e != 0 {
		return true
	}
	_ = unix.Close(fd)
	used, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", t.tid()))
	return err != nil || uint64(len(used)) < limit.Cur
}

// status returns the lines of the thread's status.
func (t *target) status() map[string]string {
	fields := map[string]string{}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.tid()))
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields
}

// process returns the number of the thread's process.
func (t *target) process() int { return t.threads.process(t.tid()) }

// isCloexec reads the close-on-exec flag of one of the program's numbers.
func (t *target) isCloexec(n int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", t.tid(), n))
	_, after, _ := bytes.Cut(b, []byte("flags:"))
	line, _, _ := bytes.Cut(after, []byte("\n"))
	flags, _ := strconv.ParseUint(string(bytes.TrimSpace(line)), 8, 32)
	return flags&unix.O_CLOEXEC != 0
}

// interrupted returns how the call ends because its thread has a signal to
// handle; 0: it has none. ERESTARTSYS lets the kernel decide between EINTR and a
// fresh start, but is seen by the program if another thread takes the signal.
func (t *target) interrupted() syscall.Errno {
	const eRestartSys = 512
	s := t.status()
	set := func(name string) uint64 {
		v, _ := strconv.ParseUint(s[name], 16, 64)
		return v
	}
	open := ^(set("SigBlk") | set("SigIgn"))
	switch {
	case set("SigPnd")&open != 0, set("ShdPnd")&open != 0 && s["Threads"] == "1":
		return eRestartSys
	case set("ShdPnd")&open != 0:
		return unix.EINTR
	}
	return 0
}

// interruption is why a parked call ends now: a signal, or its time limit, with
// which the kernel does not start calls again; 0: for no reason.
func interruption(t *target, deadline time.Time, late syscall.Errno) syscall.Errno {
	e := t.interrupted()
	switch {
	case deadline.IsZero():
		return e
	case e != 0:
		return unix.EINTR
	case time.Now().After(deadline):
		return late
	}
	return 0
}

// read returns n bytes of the program's memory.
func (t *target) read(address uint64, n int) ([]byte, syscall.Errno) {
	p := make([]byte, n)
	if !readMemory(t.tid(), address, p) {
		return nil, unix.EFAULT
	}
	return p, 0
}

// write copies p into the program's memory, if the call still waits.
func (t *target) write(address uint64, p []byte) syscall.Errno {
	if !t.valid() {
		return unix.ENOENT
	}
	if !writeMemory(t.tid(), address, p) {
		return unix.EFAULT
	}
	return 0
}

// readLen reads a socklen_t and judges it as the kernel does.
func (t *target) readLen(address uint64) (int, syscall.Errno) {
	b, e := t.read(address, 4)
	if e != 0 {
		return 0, e
	}
	n := int32(binary.NativeEndian.Uint32(b))
	if n < 0 {
		return 0, unix.EINVAL
	}
	return int(n), 0
}

// writeLen writes a socklen_t.
func (t *target) writeLen(address uint64, n int) syscall.Errno {
	return t.write(address, binary.NativeEndian.AppendUint32(nil, uint32(n)))
}
