// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notification is struct seccomp_notif, linux/seccomp.h.
type notification struct {
	id    uint64
	pid   uint32 // the thread's
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	val   int64
	error int32
	flags uint32
}

// addition is struct seccomp_notif_addfd.
type addition struct {
	id         uint64
	flags      uint32
	srcfd      uint32
	newfd      uint32
	newfdFlags uint32
}

// Requests of ioctl on a notification descriptor that x/sys does not name.
const (
	notifIDValid  = 0x40082102 // SECCOMP_IOCTL_NOTIF_ID_VALID
	notifAddFD    = 0x40182103 // SECCOMP_IOCTL_NOTIF_ADDFD
	notifSetFlags = 0x40082104 // SECCOMP_IOCTL_NOTIF_SET_FLAGS, Linux 6.6
)

// setFilter installs a filter on the calling thread, with a listener.
func setFilter(program []unix.SockFilter) (fd int, e syscall.Errno) {
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: unsafe.SliceData(program)}
	r, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	return int(r), e
}

// receive waits for a notification.
func receive(fd int, n *notification) syscall.Errno {
	*n = notification{}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(n)))
	return e
}

// respond ends a call. ENOENT: nobody waits for it any more.
func respond(fd int, r *response) syscall.Errno {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(r)))
	return e
}

// addFD puts a descriptor into the program.
func addFD(fd int, a *addition) syscall.Errno {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), notifAddFD, uintptr(unsafe.Pointer(a)))
	return e
}

// isValid reports whether the call still waits. What was read of its program
// before is the program's only then: a thread's number is used again.
func isValid(fd int, id uint64) bool {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), notifIDValid, uintptr(unsafe.Pointer(&id)))
	return e == 0
}

// setSyncWakeUp makes the kernel switch to the supervisor and back on one core.
func setSyncWakeUp(fd int) {
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), notifSetFlags, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
}

// readMemory fills p from the program's memory; false: not all of it is there.
func readMemory(tid int, address uint64, p []byte) bool {
	if len(p) == 0 {
		return true
	}
	local := []unix.Iovec{{Base: unsafe.SliceData(p)}}
	local[0].SetLen(len(p))
	n, err := unix.ProcessVMReadv(tid, local, []unix.RemoteIovec{{Base: uintptr(address), Len: len(p)}}, 0)
	return err == nil && n == len(p)
}

// writeMemory copies p into the program's memory.
func writeMemory(tid int, address uint64, p []byte) bool {
	if len(p) == 0 {
		return true
	}
	local := []unix.Iovec{{Base: unsafe.SliceData(p)}}
	local[0].SetLen(len(p))
	n, err := unix.ProcessVMWritev(tid, local, []unix.RemoteIovec{{Base: uintptr(address), Len: len(p)}}, 0)
	return err == nil && n == len(p)
}

// sendRecord sends a record, which may be empty, with a descriptor if pass is not
// negative. (Sendmsg of x/sys makes a byte of none.)
func sendRecord(fd int, p []byte, pass int) syscall.Errno {
	iov := unix.Iovec{Base: unsafe.SliceData(p)}
	iov.SetLen(len(p))
	h := unix.Msghdr{Iov: &iov}
	h.SetIovlen(1)
	if pass >= 0 {
		rights := unix.UnixRights(pass)
		h.Control = unsafe.SliceData(rights)
		h.SetControllen(len(rights))
	}
	_, _, e := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&h)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	runtime.KeepAlive(p)
	return e
}

// addressOf is where p lies in this process, for another that may look.
func addressOf(p *uint64) uintptr { return uintptr(unsafe.Pointer(p)) }
