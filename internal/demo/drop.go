// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// nobody is the ordinary user where sudo names none.
const nobody = 65534

// Drop runs the demo again as an ordinary user, from copies that user can read,
// and returns when it ended.
func Drop(ctx context.Context, o Options) (err error) {
	uid, gid := ordinaryUser()
	dir, err := os.MkdirTemp("", "netcon-demo-bin-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	exe, shim := filepath.Join(dir, "netcon"), filepath.Join(dir, "libnetcon.so")
	if err := errors.Join(copyFile(exe, o.Exe), copyFile(shim, o.Shim)); err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "  started as root: going on as user %d\n", uid)
	cmd := exec.CommandContext(ctx, exe, "demo")
	cmd.Stdout, cmd.Stderr, cmd.Dir = o.Out, o.Err, "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "TMPDIR=" + os.TempDir(), "NETCON_SHIM=" + shim}
	// Ctrl-C and the end of this process reach the demo as SIGTERM, so that
	// it cleans up.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uid, Gid: gid},
		Setpgid:    true,
		Pdeathsig:  syscall.SIGTERM,
	}
	return cmd.Run()
}

// ordinaryUser returns who called sudo, or nobody.
func ordinaryUser() (uid, gid uint32) {
	u, err1 := strconv.ParseUint(os.Getenv("SUDO_UID"), 10, 32)
	g, err2 := strconv.ParseUint(os.Getenv("SUDO_GID"), 10, 32)
	if err1 != nil || err2 != nil || u == 0 {
		return nobody, nobody
	}
	return uint32(u), uint32(g)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(0o755), out.Close())
}
