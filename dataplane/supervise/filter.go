// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// Offsets in struct seccomp_data. An argument's low half is first: little endian.
const (
	dataNr   = 0
	dataArch = 4
	dataArgs = 16
)

// always are the calls that are handed over whatever their arguments are.
var always = []uint32{
	unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_CONNECT, unix.SYS_ACCEPT, unix.SYS_ACCEPT4,
	unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_SHUTDOWN,
}

// messages are the calls whose address and control messages are in the program's
// memory, where no filter sees them. They are handed over unless the preload
// library made them.
var messages = []struct {
	nr    uint32
	flags uint32 // the argument that has the flags
}{{unix.SYS_SENDMSG, 2}, {unix.SYS_RECVMSG, 2}, {unix.SYS_SENDMMSG, 3}, {unix.SYS_RECVMMSG, 3}}

// Options of SOL_SOCKET that the pair itself has, or that mark it: the kernel's
// in any case, and what the preload library asks all the time.
var nativeOptions = []uint32{
	unix.SO_COOKIE, unix.SO_MAX_PACING_RATE, unix.SO_PEEK_OFF,
	unix.SO_RCVTIMEO_OLD, unix.SO_SNDTIMEO_OLD, unix.SO_RCVTIMEO_NEW, unix.SO_SNDTIMEO_NEW,
}

// Requests of ioctl that a pair answers wrongly.
const (
	siocOutq    = unix.SIOCOUTQ
	siocOutqNsd = 0x894b // SIOCOUTQNSD, linux/sockios.h
	fionread    = unix.TIOCINQ
)

// interfaceRequests are the requests of ioctl that ask for interfaces, netdevice(7).
var interfaceRequests = []uint32{
	unix.SIOCGIFNAME, unix.SIOCGIFCONF, unix.SIOCGIFFLAGS, unix.SIOCGIFADDR, unix.SIOCGIFDSTADDR, unix.SIOCGIFBRDADDR,
	unix.SIOCGIFNETMASK, unix.SIOCGIFMETRIC, unix.SIOCGIFMTU, unix.SIOCGIFHWADDR, unix.SIOCGIFINDEX, unix.SIOCGIFTXQLEN,
}

// receiveFlags are the flags of recvfrom and recvmsg that a pair does not know:
// MSG_TRUNC takes bytes without copying them, MSG_ERRQUEUE reads a queue that a
// pair has not, and MSG_OOB changes nothing for datagrams.
const receiveFlags = unix.MSG_TRUNC | unix.MSG_ERRQUEUE | unix.MSG_OOB

// dumpRequest is the length of a request for a dump by musl's getifaddrs, which
// sends it without an address, and expects the answer to be there when it returns.
const dumpRequest = 20

// assembler builds a program whose jumps are to labels further down.
type assembler struct {
	code   []unix.SockFilter
	jumps  []jump
	labels map[string]int
}

type jump struct {
	at   int
	to   string
	miss bool // taken when the comparison fails
}

func (a *assembler) op(code uint16, k uint32) {
	a.code = append(a.code, unix.SockFilter{Code: code, K: k})
}

func (a *assembler) load(offset uint32) { a.op(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset) }
func (a *assembler) loadArg(n uint32)   { a.load(dataArgs + 8*n) }
func (a *assembler) ret(action uint32)  { a.op(unix.BPF_RET|unix.BPF_K, action) }
func (a *assembler) label(name string)  { a.labels[name] = len(a.code) }

// equal jumps if the loaded value is k.
func (a *assembler) equal(k uint32, to string) { a.branch(unix.BPF_JEQ, k, to, false) }

// unless jumps if the loaded value is not k.
func (a *assembler) unless(k uint32, to string) { a.branch(unix.BPF_JEQ, k, to, true) }

// atLeast jumps if the loaded value is k or more.
func (a *assembler) atLeast(k uint32, to string) { a.branch(unix.BPF_JGE, k, to, false) }

// any jumps if the loaded value has one of the bits.
func (a *assembler) any(bits uint32, to string) { a.branch(unix.BPF_JSET, bits, to, false) }

// pointer jumps if an argument is not NULL.
func (a *assembler) pointer(n uint32, to string) {
	a.loadArg(n)
	a.unless(0, to)
	a.load(dataArgs + 8*n + 4)
	a.unless(0, to)
}

func (a *assembler) branch(compare uint16, k uint32, to string, miss bool) {
	a.jumps = append(a.jumps, jump{len(a.code), to, miss})
	a.op(unix.BPF_JMP|compare|unix.BPF_K, k)
}

func (a *assembler) link() []unix.SockFilter {
	for _, j := range a.jumps {
		distance := a.labels[j.to] - j.at - 1
		if distance < 0 || distance > 255 {
			panic("supervise: jump to " + j.to + " out of range")
		}
		if j.miss {
			a.code[j.at].Jf = uint8(distance)
		} else {
			a.code[j.at].Jt = uint8(distance)
		}
	}
	return a.code
}

// x32Calls is where the numbers of x86's third ABI begin.
const x32Calls = 0x40000000

// filter is the program: control calls on sockets are handed over, all else is
// allowed.
func filter() []unix.SockFilter {
	a := assembler{labels: map[string]int{}}
	a.load(dataArch)
	a.unless(auditArch, "allow")
	a.load(dataNr)
	a.atLeast(x32Calls, "allow")
	for _, nr := range always {
		a.equal(nr, "notify")
	}
	for _, m := range messages {
		a.equal(m.nr, fmt.Sprintf("flags %d", m.flags))
	}
	a.equal(unix.SYS_SOCKET, "socket")
	a.equal(unix.SYS_GETSOCKOPT, "option")
	a.equal(unix.SYS_SETSOCKOPT, "option")
	a.equal(unix.SYS_RECVFROM, "recvfrom")
	a.equal(unix.SYS_SENDTO, "sendto")
	a.unless(unix.SYS_IOCTL, "allow")
	a.loadArg(1)
	a.equal(siocOutq, "notify")
	a.equal(siocOutqNsd, "notify")
	a.equal(fionread, "notify")
	for _, r := range interfaceRequests {
		a.equal(r, "notify")
	}
	a.ret(unix.SECCOMP_RET_ALLOW)
	for _, n := range []uint32{2, 3} {
		a.label(fmt.Sprintf("flags %d", n))
		a.loadArg(n)
		a.op(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, shm.MessageOwn)
		a.equal(shm.MessageOwn, "allow")
		a.ret(unix.SECCOMP_RET_USER_NOTIF)
	}
	a.label("sendto")
	a.pointer(4, "notify")
	a.loadArg(2)
	a.equal(dumpRequest, "notify")
	a.ret(unix.SECCOMP_RET_ALLOW)
	a.label("recvfrom")
	a.loadArg(3)
	a.any(receiveFlags, "notify")
	a.pointer(4, "notify")
	a.ret(unix.SECCOMP_RET_ALLOW)
	a.label("socket")
	a.loadArg(0)
	a.equal(unix.AF_INET, "notify")
	a.equal(unix.AF_INET6, "notify")
	a.unless(unix.AF_NETLINK, "allow")
	a.loadArg(2)
	a.equal(unix.NETLINK_ROUTE, "notify")
	a.ret(unix.SECCOMP_RET_ALLOW)
	a.label("option")
	a.loadArg(1)
	a.unless(unix.SOL_SOCKET, "notify")
	a.loadArg(2)
	for _, o := range nativeOptions {
		a.equal(o, "allow")
	}
	a.label("notify")
	a.ret(unix.SECCOMP_RET_USER_NOTIF)
	a.label("allow")
	a.ret(unix.SECCOMP_RET_ALLOW)
	return a.link()
}

// ErrPlatform says that the kernel, or what this process runs in, refuses what
// supervision needs.
var ErrPlatform = errors.New("static and Go programs cannot be supervised here")

// install puts the calling thread under the filter and returns the descriptor
// that notifications come from.
func install() (fd int, err error) {
	fd, e := setFilter(filter())
	if e == unix.EACCES || e == unix.EPERM {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return -1, fmt.Errorf("%w: set no_new_privs: %w", ErrPlatform, err)
		}
		fd, e = setFilter(filter())
	}
	switch e {
	case 0:
		return fd, nil
	case unix.EBUSY:
		return -1, fmt.Errorf("%w: this process is under somebody else's seccomp supervisor, and the kernel allows one", ErrPlatform)
	case unix.EINVAL:
		return -1, fmt.Errorf("%w: install seccomp filter: %w (it takes Linux 5.19)", ErrPlatform, e)
	}
	return -1, fmt.Errorf("%w: install seccomp filter: %w (a container's seccomp profile forbids it: "+
		"allow seccomp with SECCOMP_FILTER_FLAG_NEW_LISTENER)", ErrPlatform, e)
}
