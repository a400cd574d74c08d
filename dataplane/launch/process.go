// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bytes"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Running is a program that was started in a container: it, or what started it,
// was given the variables of the shim, or holds an attach socket.
type Running struct {
	PID       int32
	UID       uint32
	Command   string // its name, as ps shows it
	Container string
	// Mechanism answers its socket calls; empty: nobody does, and Why says why.
	Mechanism Mechanism
	Why       string
}

// Processes lists the running programs that were started with the attach socket
// at path, as far as this process may look at them: an ordinary user's daemon
// sees that user's. attached has the container of each attach socket, by the
// inode of its end there: programs that write a title over their environment
// (nginx, sshd, postgres) are known by that alone.
func Processes(path string, attached map[uint32]string) []Running {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []Running
	for _, e := range entries {
		pid, err := strconv.ParseInt(e.Name(), 10, 32)
		if err != nil || int(pid) == os.Getpid() {
			continue
		}
		if r, ok := look(filepath.Join("/proc", e.Name()), path, attached); ok {
			r.PID = int32(pid)
			list = append(list, r)
		}
	}
	return list
}

// look looks at one process. What ends meanwhile is none.
func look(dir, path string, attached map[uint32]string) (r Running, ok bool) {
	env, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err != nil {
		return r, false
	}
	preload, supervised := false, false
	for kv := range bytes.SplitSeq(env, []byte{0}) {
		name, value, _ := strings.Cut(string(kv), "=")
		switch name {
		case "NETCON_SOCKET":
			ok = value == path
		case "NETCON_CONTAINER":
			r.Container = value
		case "LD_PRELOAD":
			preload = strings.Contains(value, shimName)
		case SupervisorVariable:
			supervised = true
		}
	}
	if !ok {
		r.Container = ""
		for inode := range sockets(dir) {
			if r.Container, ok = attached[inode]; ok {
				break
			}
		}
	}
	if !ok {
		return r, false
	}
	maps, err := os.ReadFile(filepath.Join(dir, "maps"))
	if err != nil || len(maps) == 0 {
		return r, false // it has ended, or is a zombie
	}
	status, _ := os.ReadFile(filepath.Join(dir, "status"))
	r.UID, r.Command = identity(status)
	switch {
	case bytes.Contains(maps, []byte("/"+shimName)):
		r.Mechanism = Preload
	case supervised && bytes.Contains(status, []byte("\nSeccomp:\t2\n")):
		r.Mechanism = Seccomp
	default:
		r.Why = why(filepath.Join(dir, "exe"), preload)
	}
	return r, true
}

// maxLooked bounds how many descriptors of a process are looked at.
const maxLooked = 4096

// sockets yields the inodes of the sockets that a process has open.
func sockets(dir string) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		f, err := os.Open(filepath.Join(dir, "fd"))
		if err != nil {
			return
		}
		defer f.Close()
		names, _ := f.Readdirnames(maxLooked)
		for _, name := range names {
			target, _ := os.Readlink(filepath.Join(dir, "fd", name))
			number, is := strings.CutPrefix(target, "socket:[")
			if !is {
				continue
			}
			inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32)
			if err == nil && !yield(uint32(inode)) {
				return
			}
		}
	}
}

// Holds reports whether a process has the socket with an inode open.
func Holds(pid int32, inode uint32) bool {
	for i := range sockets(filepath.Join("/proc", strconv.Itoa(int(pid)))) {
		if i == inode {
			return true
		}
	}
	return false
}

// why says why nobody answers the socket calls of a process.
func why(exe string, preload bool) string {
	switch how, err := Inspect(exe); {
	case errors.Is(err, ErrRefused):
		_, reason, _ := strings.Cut(err.Error(), ErrRefused.Error()+": ")
		return reason
	case how == Seccomp:
		return "static and Go programs need a supervisor, and it was not started by netcon exec"
	case !preload:
		return "started without LD_PRELOAD"
	}
	return "the loader did not load the preload library (it says why on standard error)"
}

// identity finds a process's effective user and name in its status.
func identity(status []byte) (uid uint32, command string) {
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		switch fields := strings.Fields(value); {
		case name == "Name":
			command = strings.TrimSpace(value)
		case name == "Uid" && len(fields) > 1:
			n, _ := strconv.ParseUint(fields[1], 10, 32)
			uid = uint32(n)
		}
	}
	return uid, command
}
