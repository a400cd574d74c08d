// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	packages := []string{"mariadb-server", "mariadb-client"}
	add(scenario{
		name: "mariadb", packages: packages, does: "user dropped, a thread for each connection: mariadb-slap, 20 clients and 4,000 queries, and a connection for each; IPv4 and IPv6; TLS", bytes: 1 << 20,
		run: func(t *testing.T, e *env) {
			m := startMariadb(t, e.a)
			m.slap(t, e.b, "-h", a4, "--skip-ssl", "--concurrency=20", "--number-of-queries=4000")
			m.slap(t, e.b, "-h", a6, "--ssl", "--concurrency=5", "--number-of-queries=500")
			m.slap(t, e.b, "-h", a4, "--skip-ssl", "--concurrency=5", "--number-of-queries=500", "--detach=1")
			m.stop(t, e.b)
		},
	})
	add(scenario{
		name: "mariadb-pool", packages: packages, does: "pool-of-threads (epoll): mariadb-slap with 50 clients and 4,000 queries", bytes: 1 << 20,
		run: func(t *testing.T, e *env) {
			m := startMariadb(t, e.a, "--thread-handling=pool-of-threads", "--thread-pool-size=4")
			m.slap(t, e.b, "-h", a4, "--skip-ssl", "--concurrency=50", "--number-of-queries=4000")
			m.stop(t, e.b)
		},
	})
	add(scenario{
		name: "mariadb-big", packages: packages, does: "results of 64 MiB, stored and not (--quick), compressed, over TLS; LOAD DATA LOCAL of 16 MiB; hashes compared", bytes: 2 * 3 * 64 << 20,
		run: mariadbBig,
	})
	add(scenario{
		name: "mariadb-kill", packages: packages, does: "KILL QUERY and KILL CONNECTION of a query that sleeps, from another connection; wait_timeout ends an idle one", bytes: 1 << 10,
		run: mariadbKill,
	})
}

// mariadb is a running server, with a user "app" without a password.
type mariadb struct {
	*testenv.Process
	h   *host
	dir string
}

func startMariadb(t *testing.T, h *host, args ...string) *mariadb {
	t.Helper()
	m := &mariadb{h: h, dir: worldDir(t)}
	certificate(t, m.dir)
	testenv.Run(t, nil, "chown", "mysql", m.dir+"/key.pem")
	if _, err := testenv.Try(nil, 2*time.Minute, "mariadb-install-db", "--no-defaults", "--user=mysql", "--datadir="+m.dir+"/data", "--auth-root-authentication-method=normal", "--skip-test-db"); err != nil {
		t.Fatal(err)
	}
	m.Process = h.start(t, append([]string{
		"mariadbd", "--no-defaults", "--user=mysql", "--datadir=" + m.dir + "/data", "--socket=" + m.dir + "/socket", "--pid-file=" + m.dir + "/pid",
		"--bind-address=*", "--port=3306", "--skip-name-resolve", "--max-allowed-packet=64M", "--local-infile=1", "--innodb-flush-log-at-trx-commit=0",
		"--ssl-cert=" + m.dir + "/cert.pem", "--ssl-key=" + m.dir + "/key.pem",
	}, args...)...)
	m.WaitOutput(t, time.Minute, "ready for connections")
	testenv.Run(t, nil, "mariadb", "--no-defaults", "-u", "root", "-S", m.dir+"/socket", "-e", "create database app; create user app; grant all on *.* to app")
	return m
}

// client returns the command line of the client.
func (m *mariadb) client(args ...string) []string {
	return append([]string{"mariadb", "--no-defaults", "-N", "-B", "-r", "-u", "app", "-h", m.h.v4, "--local-infile=1", "--max-allowed-packet=64M"}, args...)
}

// ask runs a statement and returns its rows.
func (m *mariadb) ask(t *testing.T, from *host, sql string) string {
	t.Helper()
	return strings.TrimSpace(from.do(t, time.Minute, m.client("-e", sql, "app")...))
}

// slap runs mariadb-slap, which ends with an error at the first query that fails.
func (m *mariadb) slap(t *testing.T, from *host, args ...string) {
	t.Helper()
	out := from.do(t, 2*time.Minute, append([]string{"mariadb-slap", "--no-defaults", "-u", "app", "--auto-generate-sql", "--auto-generate-sql-load-type=mixed", "--csv"}, args...)...)
	if !strings.HasPrefix(out, ",mixed,") {
		t.Errorf("mariadb-slap %q printed %q", args, out)
	}
}

// stop ends the server as a client may.
func (m *mariadb) stop(t *testing.T, from *host) {
	t.Helper()
	if got := m.ask(t, from, "select variable_value from information_schema.global_status where variable_name = 'aborted_connects'"); got != "0" {
		t.Errorf("aborted connects: %s", got)
	}
	m.ask(t, from, "shutdown")
	if err := m.Wait(t, time.Minute); err != nil {
		t.Errorf("mariadbd ended: %v", err)
	}
}

func mariadbBig(t *testing.T, e *env) {
	m := startMariadb(t, e.a)
	m.ask(t, e.b, "create table big (id int primary key, text longtext character set ascii)")
	m.ask(t, e.b, "insert into big select seq, repeat(sha2(seq, 512), 8192) from seq_1_to_64")
	var want strings.Builder
	for i := 1; i <= 64; i++ {
		sum := sha512.Sum512([]byte(fmt.Sprint(i)))
		want.WriteString(strings.Repeat(hex.EncodeToString(sum[:]), 8192) + "\n")
	}
	wantSum := testenv.HashBytes([]byte(want.String()))
	for _, mode := range []string{"--skip-ssl", "--skip-ssl --quick", "--skip-ssl --compress", "--ssl"} {
		argv := m.client(append(strings.Fields(mode), "-e", "select text from big order by id", "app")...)
		got := e.b.do(t, 2*time.Minute, append([]string{"bash", "-euo", "pipefail", "-c", `"$@" | sha256sum`, "bash"}, argv...)...)
		if !strings.HasPrefix(got, wantSum) {
			t.Errorf("%s: SHA-256 %s, want %s", mode, got, wantSum)
		}
	}
	file := m.dir + "/load"
	if err := os.WriteFile(file, []byte(want.String()[:16<<20]), 0o644); err != nil {
		t.Fatal(err)
	}
	m.ask(t, e.b, "create table loaded (id int primary key auto_increment, text longtext character set ascii)")
	m.ask(t, e.b, "load data local infile '"+file+"' into table loaded (text)")
	if got := m.ask(t, e.b, "select count(*), sum(loaded.text = left(big.text, length(loaded.text))), sum(length(loaded.text)) from loaded join big using (id)"); got != fmt.Sprintf("16\t16\t%d", 16<<20-15) {
		t.Errorf("rows, equal rows and bytes loaded: %s", got)
	}
	m.stop(t, e.b)
}

func mariadbKill(t *testing.T, e *env) {
	m := startMariadb(t, e.a)
	for _, kill := range []struct{ how, says string }{
		{"query", "ERROR 1317 (70100)"},
		{"connection", "ERROR 2013 (HY000)"},
	} {
		client := e.b.start(t, m.client("--skip-ssl", "--skip-reconnect", "-e", "select '"+kill.how+"', sum(a.seq * b.seq) from seq_1_to_1000000 a join seq_1_to_1000000 b", "app")...)
		id := ""
		testenv.WaitFor(t, time.Minute, func() bool {
			id = m.ask(t, e.b, "select id from information_schema.processlist where info like 'select _"+kill.how+"_, sum%'")
			return id != ""
		}, "the query to run")
		m.ask(t, e.b, "kill "+kill.how+" "+id)
		if err := client.Wait(t, time.Minute); err == nil || !strings.Contains(client.Output(), kill.says) {
			t.Errorf("kill %s: the client ended with %v and printed:\n%s", kill.how, err, client.Output())
		}
	}
	e.b.do(t, time.Minute, append([]string{"bash", "-uc", `coproc "$@" --unbuffered --skip-reconnect 2>&1
exec 3<&${COPROC[0]} 4>&${COPROC[1]}
echo "set wait_timeout = 1; select connection_id();" >&4
read -t 30 id <&3 || exit 1
until [ "$("$@" -e "select count(*) from information_schema.processlist where id = $id")" = 0 ]; do sleep 0.1; done
echo "select 'alive';" >&4
while read -t 30 line <&3; do
	case $line in "ERROR 2006 "* | "ERROR 2013 "* | "ERROR 4031 "*) exit 0 ;; alive) exit 1 ;; esac
done
exit 1`, "bash"}, m.client("--skip-ssl")...)...)
	m.Signal(t, syscall.SIGTERM)
	if err := m.Wait(t, time.Minute); err != nil {
		t.Errorf("mariadbd ended: %v", err)
	}
}
