// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	packages := []string{"proftpd-core", "curl", "openssl"}
	for _, mode := range []struct{ name, does string }{
		{"passive", "PASV and EPSV"},
		{"active", "PORT and EPRT"},
	} {
		add(scenario{
			name: "proftpd-" + mode.name, packages: packages,
			does:  "standalone, process per session, user dropped and chroot; curl by " + mode.does + ": 8 MiB down and up, over IPv4 and IPv6, hashes compared; list, two files in one session, resume",
			bytes: 2 * 4 * 8 << 20,
			run:   func(t *testing.T, e *env) { proftpd(t, e, mode.name == "active") },
		})
	}
	add(scenario{
		name: "proftpd-inetd", packages: append(packages, "openbsd-inetd"),
		does: "from inetd, on standard input and output: 8 MiB down and up", bytes: 2 * 2 * 8 << 20,
		run: func(t *testing.T, e *env) {
			f := newFTP(t, "inetd")
			inetd(t, e.a, "21 stream tcp nowait root /usr/sbin/proftpd proftpd -c "+f.conf)
			e.a.listens(t, 21)
			f.transfer(t, e, "--ftp-pasv", "ftp://"+a4)
		},
	})
}

// ftp is proftpd's configuration and the files it serves.
type ftp struct {
	dir, conf string
	sum       string // of /8MiB
	up, upSum string
}

// newFTP makes what proftpd needs for the user "user" with password "secret".
func newFTP(t *testing.T, serverType string) *ftp {
	t.Helper()
	f := &ftp{dir: testenv.OpenDir(t)}
	home := filepath.Join(f.dir, "home")
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	_, f.sum = noise(t, home, "8MiB", 8<<20)
	f.up, f.upSum = noise(t, f.dir, "up", 8<<20-1)
	hash := strings.TrimSpace(testenv.Run(t, nil, "openssl", "passwd", "-6", "secret"))
	passwd := put(t, f.dir, "passwd", fmt.Sprintf("user:%s:65534:65534::%s:/bin/sh\n", hash, home))
	if err := os.Chmod(passwd, 0o600); err != nil {
		t.Fatal(err)
	}
	f.conf = put(t, f.dir, "proftpd.conf", fmt.Sprintf(`ServerName app
ServerType %[2]s
DefaultServer on
UseIPv6 on
Port 21
User nobody
Group nogroup
PidFile %[1]s/pid
ScoreboardFile %[1]s/scoreboard
DelayTable none
SystemLog %[1]s/log
TransferLog none
WtmpLog off
UseReverseDNS off
AuthOrder mod_auth_file.c
AuthUserFile %[1]s/passwd
RequireValidShell off
DefaultRoot ~
AllowOverwrite on
AllowStoreRestart on
<IfModule mod_ctrls.c>
  ControlsEngine off
  ControlsSocket %[1]s/ctrls
</IfModule>
`, f.dir, serverType))
	t.Cleanup(func() {
		if t.Failed() {
			if b, err := os.ReadFile(f.dir + "/log"); err == nil {
				t.Logf("proftpd logged:\n%s", b)
			}
		}
	})
	return f
}

// transfer moves a file down and one up, and compares them.
func (f *ftp) transfer(t *testing.T, e *env, mode, url string) {
	t.Helper()
	// Arguments of curl are words of mode.
	args := append([]string{"-g", "-u", "user:secret"}, strings.Fields(mode)...)
	fetch(t, e.b, f.sum, append(args, url+"/8MiB")...)
	e.b.do(t, time.Minute, append(append([]string{"curl", "-sS", "--fail", "-T", f.up}, args...), url+"/up")...)
	path := f.dir + "/home/up"
	if got := testenv.HashFile(t, path); got != f.upSum {
		t.Errorf("%s %s: SHA-256 of what was sent up %s, want %s", mode, url, got, f.upSum)
	}
	if err := os.Remove(path); err != nil {
		t.Error(err)
	}
}

func proftpd(t *testing.T, e *env, active bool) {
	f := newFTP(t, "standalone")
	server := newDaemon(t, f.dir+"/pid")
	background(t, e.a, "/usr/sbin/proftpd", "-c", f.conf)
	e.a.listens(t, 21)
	modes := [][2]string{
		{"--disable-epsv --ftp-pasv", "ftp://" + a4},
		{"--ftp-pasv", "ftp://" + a4},
		{"--ftp-pasv", "ftp://[" + a6 + "]"},
	}
	if active {
		modes = [][2]string{
			{"--disable-eprt -P -", "ftp://" + a4},
			{"-P -", "ftp://" + a4},
			{"-P -", "ftp://[" + a6 + "]"},
		}
	}
	for _, m := range modes {
		f.transfer(t, e, m[0], m[1])
	}
	mode := modes[1][0]
	if got := e.b.sh(t, 20*time.Second, "curl -sS --fail -u user:secret "+mode+" ftp://"+a4+"/"); !strings.Contains(got, "8MiB") {
		t.Errorf("the list is %q", got)
	}
	// Two files and a tail in one session.
	got := f.dir + "/got"
	e.b.sh(t, time.Minute, fmt.Sprintf("curl -sS --fail -u user:secret %[1]s -o %[3]s.1 ftp://%[2]s/8MiB -o %[3]s.2 ftp://%[2]s/8MiB; head -c 1000003 %[3]s.1 >%[3]s.3; curl -sS --fail -C - -u user:secret %[1]s -o %[3]s.3 ftp://%[2]s/8MiB", mode, a4, got))
	for _, suffix := range []string{".1", ".2", ".3"} {
		if s := testenv.HashFile(t, got+suffix); s != f.sum {
			t.Errorf("file %s: SHA-256 %s, want %s", suffix, s, f.sum)
		}
	}
	server.end(t, syscall.SIGTERM)
}
