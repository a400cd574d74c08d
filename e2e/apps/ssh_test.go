// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	packages := []string{"openssh-server", "openssh-client", "openssh-sftp-server"}
	version := []string{"ssh", "-V"}
	add(scenario{
		name: "ssh", packages: packages, version: version,
		does: "sshd in the background (re-exec, privilege separation, sandbox), key logins over IPv4 and IPv6, 10 at once, a terminal, 16 MiB through a command both ways", bytes: 2 * 32 << 20,
		run: sshLogin,
	})
	add(scenario{
		name: "ssh-scp", packages: packages, version: version,
		does: "scp of 1 GiB to the server and back, hashes compared", bytes: 4 << 30,
		run: func(t *testing.T, e *env) {
			s := startSSHD(t, e.a)
			path := filepath.Join(s.dir, "1GiB")
			want := largeFile(t, path, 1<<30)
			e.b.do(t, 2*time.Minute, s.client("scp", "-q", path, "root@"+a4+":"+path+".there")...)
			if got := testenv.HashFile(t, path+".there"); got != want {
				t.Errorf("there: SHA-256 %s, want %s", got, want)
			}
			e.b.do(t, 2*time.Minute, s.client("scp", "-q", "root@["+a6+"]:"+path+".there", path+".back")...)
			if got := testenv.HashFile(t, path+".back"); got != want {
				t.Errorf("back: SHA-256 %s, want %s", got, want)
			}
		},
	})
	add(scenario{
		name: "ssh-sftp", packages: packages, version: version,
		does: "sftp batch: put and get of 32 MiB, rename, remove; external and internal-sftp", bytes: 2 * 2 * 64 << 20,
		run: func(t *testing.T, e *env) {
			s := startSSHD(t, e.a)
			path, want := noise(t, s.dir, "32MiB", 32<<20)
			for _, subsystem := range []string{"sftp", "internal"} {
				batch := put(t, s.dir, "batch", fmt.Sprintf("put %[1]s %[1]s.put\nrename %[1]s.put %[1]s.there\nget %[1]s.there %[1]s.got\nrm %[1]s.there\n", path))
				e.b.do(t, time.Minute, s.client("sftp", "-s", subsystem, "-b", batch, "root@"+a4)...)
				if got := testenv.HashFile(t, path+".got"); got != want {
					t.Errorf("%s: SHA-256 %s, want %s", subsystem, got, want)
				}
				if _, err := os.Stat(path + ".there"); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: the removed file: %v", subsystem, err)
				}
			}
		},
	})
	add(scenario{
		name: "ssh-forward", packages: append(packages, "socat", "curl", "nginx-light"), version: version,
		does: "-L, -R and -D (SOCKS) through a connection in the background (-f), 8 MiB each, hashes compared; -J through a second server; ControlMaster", bytes: 3 * 4 * 8 << 20,
		run: sshForward,
	})
}

// sshd is a running sshd, and what its clients need.
type sshd struct {
	*daemon
	dir string
}

// startSSHD starts sshd as its service does, in the background, and waits until
// it listens on port 22.
func startSSHD(t *testing.T, h *host) *sshd {
	t.Helper()
	dir := testenv.OpenDir(t)
	// Its empty directory is compiled in; the package's service makes it.
	if err := os.Mkdir("/run/sshd", 0o755); err == nil {
		t.Cleanup(func() { _ = os.Remove("/run/sshd") })
	} else if !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	for _, name := range []string{"hostkey", "id"} {
		testenv.Run(t, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name))
	}
	conf := put(t, dir, "sshd_config", fmt.Sprintf(`HostKey %[1]s/hostkey
PidFile %[1]s/pid
AuthorizedKeysFile %[1]s/id.pub
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 100
Subsystem sftp /usr/lib/openssh/sftp-server
Subsystem internal internal-sftp
`, dir))
	put(t, dir, "ssh_config", fmt.Sprintf(`Host *
  User root
  IdentityFile %[1]s/id
  IdentitiesOnly yes
  BatchMode yes
  StrictHostKeyChecking accept-new
  UserKnownHostsFile %[1]s/known_hosts
  GlobalKnownHostsFile /dev/null
  LogLevel ERROR
`, dir))
	s := &sshd{newDaemon(t, dir+"/pid"), dir}
	background(t, h, "/usr/sbin/sshd", "-f", conf, "-E", dir+"/log")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("sshd logged:\n%s", mustRead(t, dir+"/log"))
		}
	})
	h.listens(t, 22)
	return s
}

// client returns the command line of ssh, scp or sftp with our configuration.
func (s *sshd) client(program string, args ...string) []string {
	return append([]string{program, "-F", s.dir + "/ssh_config"}, args...)
}

// largeFile writes a file of many blocks that differ, and returns its hash.
func largeFile(t *testing.T, path string, size int) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const block = 16 << 20
	for i := 0; i < size/block; i++ {
		if _, err := f.Write(testenv.RandomBytes(block, byte(i))); err != nil {
			t.Fatal(err)
		}
	}
	return testenv.HashFile(t, path)
}

func sshLogin(t *testing.T, e *env) {
	s := startSSHD(t, e.a)
	for _, c := range []struct{ to, from string }{{a4, b4}, {a6, b6}} {
		got := e.b.do(t, 20*time.Second, s.client("ssh", c.to, "id -un; echo $SSH_CONNECTION")...)
		f := strings.Fields(got)
		if len(f) != 5 || f[0] != "root" || f[1] != c.from || f[3] != c.to || f[4] != "22" {
			t.Errorf("the session on %s printed %q", c.to, got)
		}
	}
	// The status of the command is that of ssh.
	if _, err := e.b.try(20*time.Second, s.client("ssh", a4, "exit 42")...); err == nil || !strings.Contains(err.Error(), "exit status 42") {
		t.Errorf("a command that ends with 42: %v", err)
	}
	if got := e.b.do(t, 20*time.Second, s.client("ssh", "-tt", a4, "tty; stty size")...); !strings.HasPrefix(got, "/dev/pts/") {
		t.Errorf("a session with a terminal printed %q", got)
	}
	path, want := noise(t, s.dir, "16MiB", 16<<20)
	got := e.b.sh(t, time.Minute, fmt.Sprintf("ssh -F %[1]s/ssh_config %[2]s 'tee >(sha256sum >&2)' <%[3]s 2>%[3]s.err | sha256sum; cat %[3]s.err", s.dir, a4, path))
	if strings.Count(got, want) != 2 {
		t.Errorf("there and back: SHA-256 %s, want %s", got, want)
	}
	var all []*testenv.Process
	for i := range 10 {
		all = append(all, e.b.start(t, s.client("ssh", a4, fmt.Sprintf("echo %d; head -c 1000000 /dev/zero | wc -c", i))...))
	}
	for i, p := range all {
		if err := p.Wait(t, time.Minute); err != nil {
			t.Errorf("login %d of 10 at once: %v\n%s", i, err, p.Output())
		}
		if got, want := p.Stdout(), fmt.Sprintf("%d\n1000000\n", i); got != want {
			t.Errorf("login %d of 10 at once printed %q", i, got)
		}
	}
	// A restart keeps the port, and the sessions that run.
	session := e.b.start(t, s.client("ssh", a4, "echo ready; sleep 2; echo done")...)
	session.WaitOutput(t, 20*time.Second, "ready")
	old := s.pid()
	s.signal(t, syscall.SIGHUP)
	testenv.WaitFor(t, 20*time.Second, func() bool {
		got, err := e.b.try(20*time.Second, s.client("ssh", a4, "echo again")...)
		return err == nil && got == "again\n"
	}, "sshd to serve after SIGHUP")
	if s.pid() != old {
		t.Errorf("sshd was %d and is %d after SIGHUP", old, s.pid())
	}
	if err := session.Wait(t, 20*time.Second); err != nil || session.Stdout() != "ready\ndone\n" {
		t.Errorf("the session across SIGHUP: %v, printed %q", err, session.Output())
	}
	s.end(t, syscall.SIGTERM)
}

func sshForward(t *testing.T, e *env) {
	s := startSSHD(t, e.a)
	_, want := noise(t, s.dir, "8MiB", 8<<20)
	// What is asked through -L and -D is on the server's side, through -R on ours.
	testenv.Nginx(t, e.a.prefix, testenv.Options{Addrs: []string{"127.0.0.1:8080"}, Root: s.dir})
	testenv.Nginx(t, e.b.prefix, testenv.Options{Addrs: []string{"127.0.0.1:8080"}, Root: s.dir})
	background(t, e.b, s.client("ssh", "-f", "-N", "-M", "-S", s.dir+"/control", "-o", "ExitOnForwardFailure=yes",
		"-L", "9000:127.0.0.1:8080", "-R", "9001:127.0.0.1:8080", "-D", "9002", a4)...)
	t.Cleanup(func() {
		if _, err := os.Stat(s.dir + "/control"); err == nil {
			_, _ = testenv.Try(nil, 10*time.Second, "ssh", "-S", s.dir+"/control", "-O", "exit", a4)
		}
	})
	fetch(t, e.b, want, "http://127.0.0.1:9000/8MiB")
	fetch(t, e.a, want, "http://127.0.0.1:9001/8MiB")
	fetch(t, e.b, want, "--socks5", "127.0.0.1:9002", "http://127.0.0.1:8080/8MiB")
	if got := e.b.do(t, 20*time.Second, s.client("ssh", "-S", s.dir+"/control", a4, "echo shared")...); got != "shared\n" {
		t.Errorf("a session on the shared connection printed %q", got)
	}
	if got := e.b.do(t, 20*time.Second, s.client("ssh", "-J", a4, a6, "echo jumped")...); got != "jumped\n" {
		t.Errorf("a session through a jump host printed %q", got)
	}
	e.b.do(t, 10*time.Second, s.client("ssh", "-S", s.dir+"/control", "-O", "exit", a4)...)
}
