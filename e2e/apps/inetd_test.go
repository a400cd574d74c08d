// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	add(scenario{
		name: "inetd", packages: []string{"openbsd-inetd", "socat", "perl-base"},
		does: "tcp and tcp6, `nowait` (cat, bash, built-in echo and chargen) and `wait` (perl accepts on standard input); users dropped; 8 at once", bytes: 8 << 20,
		run: inetdServices,
	})
	add(scenario{
		name: "socket-activate", packages: []string{"systemd", "socat", "perl-base"},
		does: "systemd-socket-activate: a listener handed to perl as descriptor 3, and `--accept --inetd` with cat", bytes: 4 << 20,
		run: func(t *testing.T, e *env) {
			// Descriptor 3 is the listener; one connection, then the end.
			e.a.start(t, "systemd-socket-activate", "-l", a4+":7000", "perl", "-MIO::Socket::INET", "-e",
				`$l = IO::Socket::INET->new_from_fd(3, "r+") or die; while ($c = $l->accept) { while (sysread $c, $b, 65536) { syswrite $c, $b } close $c }`)
			e.a.start(t, "systemd-socket-activate", "-l", "7001", "--accept", "--inetd", "cat")
			e.a.listens(t, 7000)
			e.a.listens(t, 7001)
			for range 2 {
				echoes(t, e.b, 512<<10, "TCP:"+a4+":7000")
				echoes(t, e.b, 512<<10, "TCP:"+a4+":7001")
			}
			echoes(t, e.b, 512<<10, "TCP6:["+a6+"]:7001")
		},
	})
}

// inetd starts inetd in the foreground with services.
func inetd(t *testing.T, h *host, lines ...string) {
	t.Helper()
	conf := put(t, testenv.OpenDir(t), "inetd.conf", strings.Join(lines, "\n")+"\n")
	h.start(t, "/usr/sbin/inetd", "-i", conf)
}

// echoes sends bytes with socat, half-closes, and wants them back.
func echoes(t testing.TB, from *host, size int, to string) {
	t.Helper()
	path, want := noise(t, testenv.OpenDir(t), "sent", size)
	from.sh(t, time.Minute, fmt.Sprintf("socat -t 20 STDIO '%s' <%s >%[2]s.back", to, path))
	if got := sum(t, path+".back"); got != want {
		i, _ := os.Stat(path + ".back")
		t.Errorf("%s: %d bytes came back with SHA-256 %s, want %d with %s", to, i.Size(), got, size, want)
	}
}

func inetdServices(t *testing.T, e *env) {
	perl, err := exec.LookPath("perl")
	if err != nil {
		t.Fatal(err)
	}
	script := put(t, testenv.OpenDir(t), "wait.pl", `# The listener is standard input; three connections, then inetd's turn again.
use IO::Socket::INET;
$l = IO::Socket::INET->new_from_fd(0, "r+") or die;
for (1 .. 3) {
	$c = $l->accept or die "accept: $!";
	while (sysread $c, $b, 65536) { syswrite $c, $b }
	close $c;
}
`)
	ask := put(t, testenv.OpenDir(t), "ask.sh", `read -r line; echo "$line for $(id -un)"`+"\n")
	inetd(t, e.a,
		"7000 stream tcp nowait nobody /bin/cat cat",
		"7001 stream tcp6 nowait nobody /bin/cat cat",
		"7002 stream tcp wait nobody "+perl+" perl "+script,
		"7003 stream tcp nowait nobody /bin/bash bash "+ask,
		"echo stream tcp nowait root internal",
		"chargen stream tcp nowait root internal",
	)
	for _, port := range []int{7000, 7001, 7002, 7003, 7, 19} {
		e.a.listens(t, port)
	}
	echoes(t, e.b, 1<<20, "TCP:"+a4+":7000")
	echoes(t, e.b, 1<<20, "TCP6:["+a6+"]:7001")
	for range 7 { // more than two rounds of the script
		echoes(t, e.b, 64<<10, "TCP:"+a4+":7002")
	}
	echoes(t, e.b, 256<<10, "TCP:"+a4+":7")
	if got := e.b.sh(t, 20*time.Second, "printf 'a line\\n' | socat -t 20 STDIO TCP:"+a4+":7003"); got != "a line for nobody\n" {
		t.Errorf("the bash service answered %q", got)
	}
	got := e.b.sh(t, 20*time.Second, "socat -u TCP:"+a4+":19 STDOUT | head -c 740000 | sha256sum | cut -c1-64")
	if len(strings.TrimSpace(got)) != 64 {
		t.Errorf("chargen: %q", got)
	}
	var all []*testenv.Process
	for i := range 8 {
		all = append(all, e.b.start(t, "bash", "-c", fmt.Sprintf("head -c %d /dev/zero | socat -t 20 STDIO TCP:%s:7000 | wc -c", 300000+i, a4)))
	}
	for i, p := range all {
		if err := p.Wait(t, time.Minute); err != nil || strings.TrimSpace(p.Stdout()) != fmt.Sprint(300000+i) {
			t.Errorf("connection %d of 8: %v, %q", i, err, p.Output())
		}
	}
}
