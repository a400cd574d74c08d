// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Missing says what a program's socket() does when the daemon is gone.
type Missing string

// The policies.
const (
	MissingFail   Missing = "fail"   // ENETDOWN
	MissingKernel Missing = "kernel" // the host's stack
)

// SupervisorVariable is set to the number of a supervisor's process (package
// supervise) for the programs that it serves.
const SupervisorVariable = "NETCON_SUPERVISOR"

// shimVars are the variables that the shim reads, or that load it. NETCON_RUN and
// NETCON_SHIM are the launcher's: one started inside goes by them, too.
var shimVars = []string{"LD_PRELOAD", "NETCON_ATTACH", "NETCON_SOCKET", "NETCON_CONTAINER", "NETCON_MISSING", "NETCON_LAUNCHER", SupervisorVariable}

// Environ returns env with what the shim needs. Other preload libraries stay in
// front of ours.
func (a *Attachment) Environ(env []string, shim string, missing Missing) []string {
	preload := shim
	out := slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, value, _ := strings.Cut(kv, "=")
		if name == "LD_PRELOAD" {
			others := slices.DeleteFunc(strings.FieldsFunc(value, func(r rune) bool { return r == ':' || r == ' ' }),
				func(lib string) bool { return filepath.Base(lib) == filepath.Base(shim) })
			preload = strings.Join(append(others, shim), ":")
		}
		return slices.Contains(shimVars, name)
	})
	out = append(out, "LD_PRELOAD="+preload)
	if exe, err := os.Executable(); err == nil {
		out = append(out, "NETCON_LAUNCHER="+exe)
	}
	return append(out,
		fmt.Sprintf("NETCON_ATTACH=%d:%d", a.FD, a.Cookie),
		"NETCON_SOCKET="+a.Socket,
		"NETCON_CONTAINER="+a.Container,
		"NETCON_MISSING="+string(missing),
	)
}

// shimName is the file name of the preload library.
const shimName = "libnetcon.so"

// Shim returns the path of the preload library: $NETCON_SHIM, or libnetcon.so
// beside this program or in ../lib/netcon.
func Shim() (string, error) {
	if s := os.Getenv("NETCON_SHIM"); s != "" {
		return checkShim(s)
	}
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find preload library: %w", err)
	}
	dir := filepath.Dir(exe)
	for _, p := range []string{
		filepath.Join(dir, shimName),
		filepath.Join(dir, "../lib/netcon", shimName),
	} {
		if s, err := checkShim(p); err == nil {
			return s, nil
		}
	}
	return "", fmt.Errorf("find preload library: no libnetcon.so in %s or %s (build it with: make build, or set NETCON_SHIM)",
		dir, filepath.Join(dir, "../lib/netcon"))
}

func checkShim(p string) (string, error) {
	p, err := filepath.Abs(p)
	if err != nil {
		return "", err
	}
	f, err := os.Open(p)
	if err != nil {
		return "", fmt.Errorf("find preload library: %w", err)
	}
	defer func() { _ = f.Close() }()
	// What the loader cannot load it skips, and the program runs without.
	e, err := elf.NewFile(f)
	if err != nil || e.Type != elf.ET_DYN || e.Class != elf.ELFCLASS64 || e.Machine != machine {
		return "", fmt.Errorf("find preload library: %s: not a shared library of this host", p)
	}
	if strings.ContainsAny(p, ": ") {
		return "", fmt.Errorf("find preload library: %s: LD_PRELOAD cannot hold a path with a space or colon", p)
	}
	return p, nil
}

// Exec replaces this process by the program at path. It returns only if that
// fails.
func Exec(path string, argv, env []string) error {
	if err := unix.Exec(path, argv, env); err != nil {
		return fmt.Errorf("exec %s: %w", path, err)
	}
	return nil
}
