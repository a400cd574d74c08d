// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxInterpreters bounds a chain of "#!" lines, as the kernel does
// (fs/exec.c, exec_binprm).
const maxInterpreters = 5

// ErrRefused says that a program's socket calls cannot be answered.
var ErrRefused = errors.New("refused")

// Mechanism is how a program's socket calls are answered.
type Mechanism string

// The mechanisms.
const (
	Preload Mechanism = "preload" // a library in front of the C library's
	Seccomp Mechanism = "seccomp" // a supervisor behind the system calls
)

// Find returns the file that name runs, as execvp would find it.
func Find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrDot) {
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("exec %s: %w", name, errors.Unwrap(err))
	}
	return path, nil
}

// Inspect returns the mechanism for the program at path, or an error that wraps
// ErrRefused and says why there is none.
func Inspect(path string) (Mechanism, error) {
	for range maxInterpreters + 1 {
		// Not to wait for the writer of a FIFO.
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			if errors.Is(err, os.ErrPermission) {
				return Preload, inspectUnreadable(path)
			}
			return "", fmt.Errorf("exec %w", err)
		}
		next, how, err := inspectFile(f, path)
		_ = f.Close()
		if next == "" {
			return how, err
		}
		path = next
	}
	return "", fmt.Errorf("exec %s: more than %d interpreters", path, maxInterpreters)
}

// inspectUnreadable looks at what is known of a program that may be run but not
// read. What kind of file it is nobody can say.
func inspectUnreadable(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("exec %w", err)
	}
	return inspectMode(path, st)
}

// inspectMode refuses programs that the loader treats as secure (AT_SECURE,
// ld.so(8)) because they change the user or the group.
func inspectMode(path string, st os.FileInfo) error {
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	setuid := st.Mode()&os.ModeSetuid != 0 && int(s.Uid) != os.Getuid()
	// Without group execution the bit meant mandatory locking.
	setgid := st.Mode()&os.ModeSetgid != 0 && st.Mode()&0o010 != 0 && int(s.Gid) != os.Getgid()
	if setuid || setgid {
		return refused(path, "set-user-ID or set-group-ID programs do not load the preload library")
	}
	return nil
}

// machine is the ELF machine of this program.
var machine = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]

// inspectFile looks at one file; next is the interpreter of a script.
func inspectFile(f *os.File, path string) (next string, how Mechanism, err error) {
	st, err := f.Stat()
	if err != nil {
		return "", "", fmt.Errorf("exec %w", err)
	}
	if !st.Mode().IsRegular() {
		return "", "", fmt.Errorf("exec %s: not a regular file", path)
	}
	head := make([]byte, 256)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", "", fmt.Errorf("exec %w", err)
	}
	head = head[:n]
	if bytes.HasPrefix(head, []byte("#!")) {
		line, _ := bufio.NewReader(bytes.NewReader(head[2:])).ReadString('\n')
		if words := strings.Fields(line); len(words) > 0 {
			return words[0], "", nil
		}
		return "", "", fmt.Errorf("exec %s: empty interpreter line", path)
	}
	if !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return "", Preload, nil // the kernel will say what it thinks of it
	}
	how, err = inspectELF(f, path, st)
	return "", how, err
}

func inspectELF(f *os.File, path string, st os.FileInfo) (Mechanism, error) {
	if err := inspectMode(path, st); err != nil {
		return "", err
	}
	if n, err := unix.Fgetxattr(int(f.Fd()), "security.capability", nil); err == nil && n > 0 && os.Getuid() != 0 {
		return "", refused(path, "programs with file capabilities do not load the preload library")
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return "", fmt.Errorf("exec %s: read ELF file: %w", path, err)
	}
	if e.Class != elf.ELFCLASS64 || e.Machine != machine {
		return "", refused(path, fmt.Sprintf("%s %s programs do not load the preload library of this host", e.Class, e.Machine))
	}
	dynamic := false
	for _, p := range e.Progs {
		dynamic = dynamic || p.Type == elf.PT_INTERP
	}
	// Go programs make system calls that no library sees, static ones load none.
	if !dynamic || e.Section(".go.buildinfo") != nil || e.Section(".gopclntab") != nil {
		return Seccomp, nil
	}
	return Preload, nil
}

func refused(path, why string) error {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return fmt.Errorf("exec %s: %w: %s", path, ErrRefused, why)
}
