// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	packages := []string{"postgresql", "postgresql-contrib", "util-linux"}
	add(scenario{
		name: "postgresql-pgbench", packages: packages, does: "as user postgres, a forked process for each connection: pgbench -c 50 for 5 s, then prepared and one connection for each transaction; none failed, and the sums agree", bytes: 2 << 20,
		run: func(t *testing.T, e *env) {
			p := startPostgresql(t, e)
			p.bench(t, e.b, "-c 50 -j 4 -T 5", "-c 10 -j 2 -M prepared -t 200", "-c 4 -t 25 -C")
			p.stop(t)
		},
	})
	add(scenario{
		name: "postgresql-user", packages: packages, does: "server and pgbench -c 10 started by an ordinary user, under netcon with `netcon exec -enforce`", bytes: 1 << 20,
		run: func(t *testing.T, e *env) {
			p := &postgresql{h: e.a.unprivileged(t), dir: worldDir(t)}
			p.init(t, "nobody")
			p.start(t)
			p.bench(t, e.b.unprivileged(t), "-c 10 -j 2 -t 200", "-c 4 -t 25 -C")
			p.stop(t)
		},
	})
	add(scenario{
		name: "postgresql-copy", packages: packages, does: "COPY of 200,000 rows (22 MB) out, in and out again over IPv4, IPv6 and TLS; hashes equal", bytes: 2 * 4 * 20 << 20,
		run: postgresqlCopy,
	})
	add(scenario{
		name: "postgresql-cancel", packages: packages, does: "a query cancelled by the client's cancel request on a second connection, by pg_cancel_backend, and its connection ended by pg_terminate_backend; LISTEN and NOTIFY", bytes: 4 << 10,
		run: postgresqlCancel,
	})
	add(scenario{
		name: "postgresql-crash", packages: packages, does: "kill -9 of a backend while 10 others work: every client is told, the server recovers on the same listener, clients reconnect and find what was committed", bytes: 4 << 10,
		run: postgresqlCrash,
	})
	add(scenario{
		name: "postgresql-replication", packages: packages, does: "pg_basebackup to another container, which becomes a streaming replica of the first; rows written before and after arrive", bytes: 40 << 20,
		run: postgresqlReplication,
	})
}

// postgresql is a running server.
type postgresql struct {
	*testenv.Process
	h   *host
	dir string
	as  []string // the words before a program of its user
}

// asUser returns the words before a program that runs as a user.
func asUser(user string) []string {
	return []string{"setpriv", "--reuid", user, "--clear-groups", "--"}
}

// pgProgram returns the path of a program that is not in PATH.
func pgProgram(t testing.TB, name string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		t.Fatalf("no /usr/lib/postgresql/*/bin/%s", name)
	}
	return found[len(found)-1]
}

// startPostgresql makes a database cluster and serves it on host a, as user
// postgres.
func startPostgresql(t *testing.T, e *env) *postgresql {
	t.Helper()
	p := &postgresql{h: e.a, dir: worldDir(t), as: asUser("postgres")}
	p.init(t, "postgres")
	p.start(t)
	return p
}

// init makes a database cluster that belongs to a user.
func (p *postgresql) init(t *testing.T, user string) {
	t.Helper()
	initdb := append(asUser(user), pgProgram(t, "initdb"), "-D", p.dir+"/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
	if _, err := testenv.Try(nil, 2*time.Minute, initdb...); err != nil {
		t.Fatal(err)
	}
	put(t, p.dir+"/data", "pg_hba.conf", "host all all all trust\nhost replication all all trust\n")
	certificate(t, p.dir)
	testenv.Run(t, nil, "chown", user, p.dir+"/key.pem", p.dir+"/cert.pem")
}

// start serves the cluster until the test ends.
func (p *postgresql) start(t *testing.T) {
	t.Helper()
	argv := append(p.as[:len(p.as):len(p.as)], pgProgram(t, "postgres"), "-D", p.dir+"/data")
	for _, setting := range []string{
		"listen_addresses=*", "unix_socket_directories=" + p.dir, "max_connections=100", "fsync=off", "shared_buffers=64MB",
		"ssl=on", "ssl_cert_file=" + p.dir + "/cert.pem", "ssl_key_file=" + p.dir + "/key.pem",
	} {
		argv = append(argv, "-c", setting)
	}
	p.Process = p.h.start(t, argv...)
	p.WaitOutput(t, time.Minute, "database system is ready to accept")
}

// stop ends the server in order, its clients' connections included.
func (p *postgresql) stop(t *testing.T) {
	t.Helper()
	p.Signal(t, syscall.SIGINT)
	if err := p.Wait(t, time.Minute); err != nil {
		t.Errorf("postgres ended: %v", err)
	}
}

// psql returns the command line of a client that stops at the first error.
func psql(args ...string) []string {
	return append([]string{"psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres"}, args...)
}

// ask runs a statement of host b and returns its rows.
func (p *postgresql) ask(t *testing.T, from *host, sql string) string {
	t.Helper()
	return strings.TrimSpace(from.do(t, time.Minute, psql("-h", p.h.v4, "-c", sql)...))
}

// waitFor waits until a query returns something.
func (p *postgresql) waitFor(t *testing.T, from *host, sql string) (rows string) {
	t.Helper()
	testenv.WaitFor(t, time.Minute, func() bool {
		rows = p.ask(t, from, sql)
		return rows != ""
	}, "rows of: %s", sql)
	return rows
}

// bench runs pgbench, and looks at what it left.
func (p *postgresql) bench(t *testing.T, from *host, modes ...string) {
	t.Helper()
	run := func(args ...string) string {
		return from.do(t, 2*time.Minute, append([]string{"pgbench", "-h", p.h.v4, "-U", "postgres"}, args...)...)
	}
	run("-i", "-q", "-s", "2", "postgres")
	for _, args := range modes {
		out := run(append([]string{"-n"}, append(strings.Fields(args), "postgres")...)...)
		if !strings.Contains(out, "number of failed transactions: 0 ") || strings.Contains(out, "actually processed: 0") {
			t.Errorf("pgbench %s printed:\n%s", args, out)
		}
	}
	got := p.ask(t, from, `select count(*) >= 2100, (select sum(abalance) from pgbench_accounts) = sum(delta),
		(select sum(bbalance) from pgbench_branches) = sum(delta), (select sum(tbalance) from pgbench_tellers) = sum(delta) from pgbench_history`)
	if got != "t|t|t|t" {
		t.Errorf("enough transactions, accounts, branches and tellers agree: %s", got)
	}
}

func postgresqlCopy(t *testing.T, e *env) {
	p := startPostgresql(t, e)
	p.ask(t, e.b, "create table one as select i, repeat(md5(i::text), 3) as text from generate_series(1, 200000) i")
	p.ask(t, e.b, "create table two (like one)")
	dir := testenv.OpenDir(t)
	want := ""
	for _, to := range []string{"host=" + a4 + " sslmode=disable", "host=" + a6 + " sslmode=disable", "host=" + a4 + " sslmode=verify-full sslrootcert=" + p.dir + "/cert.pem"} {
		e.b.do(t, time.Minute, psql("-d", to+" dbname=postgres", "-c", `\copy one to `+dir+"/one", "-c", "truncate two", "-c", `\copy two from `+dir+"/one", "-c", `\copy two to `+dir+"/two")...)
		one, two := testenv.HashFile(t, dir+"/one"), testenv.HashFile(t, dir+"/two")
		if want == "" {
			want = one
		}
		if one != two || one != want {
			t.Errorf("%s: SHA-256 %s out, %s in and out again, want %s", to, one, two, want)
		}
		if got := p.ask(t, e.b, "select count(*) from ((table one except all table two) union all (table two except all table one)) x"); got != "0" {
			t.Errorf("%s: %s rows differ", to, got)
		}
	}
	p.stop(t)
}

func postgresqlCancel(t *testing.T, e *env) {
	p := startPostgresql(t, e)
	for name, end := range map[string]struct {
		end  func(client *testenv.Process, backend string)
		says string
	}{
		"SIGINT to psql": {func(c *testenv.Process, _ string) { c.Signal(t, syscall.SIGINT) }, "canceling statement due to user request"},
		"pg_cancel_backend": {func(_ *testenv.Process, backend string) {
			p.ask(t, e.b, "select pg_cancel_backend("+backend+")")
		}, "canceling statement due to user request"},
		"pg_terminate_backend": {func(_ *testenv.Process, backend string) {
			p.ask(t, e.b, "select pg_terminate_backend("+backend+")")
		}, "terminating connection due to administrator command"},
	} {
		client := e.b.start(t, psql("-h", a4, "-c", "select pg_sleep(600) /* "+name+" */")...)
		backend := p.waitFor(t, e.b, "select pid from pg_stat_activity where state = 'active' and wait_event = 'PgSleep' and query like '%sleep(600) /* "+name+"%'")
		end.end(client, backend)
		if err := client.Wait(t, time.Minute); err == nil || !strings.Contains(client.Output(), end.says) {
			t.Errorf("%s: the client ended with %v and printed:\n%s", name, err, client.Output())
		}
		p.waitFor(t, e.b, "select 'gone' where not exists (select from pg_stat_activity where pid = "+backend+")")
	}
	out := e.b.sh(t, time.Minute, strings.Join([]string{
		"coproc psql -XAtq -U postgres -h " + a4,
		// bash forgets these when the client ends.
		"exec 3<&${COPROC[0]} 4>&${COPROC[1]}; pid=$COPROC_PID",
		`echo "listen here; select 'listening';" >&4`,
		"read -t 30 line <&3; [ \"$line\" = listening ]",
		"psql -XAtq -U postgres -h " + a6 + ` -c "notify here, 'a word'"`,
		`echo "select 1;" >&4`,
		"read -t 30 line <&3; read -t 30 line <&3; echo $line",
		`echo "\q" >&4; exec 4>&-; wait $pid`,
	}, "\n"))
	if !strings.HasPrefix(out, `Asynchronous notification "here" with payload "a word" received`) {
		t.Errorf("the listening client printed %q", out)
	}
	p.stop(t)
}

func postgresqlCrash(t *testing.T, e *env) {
	p := startPostgresql(t, e)
	p.ask(t, e.b, "create table kept (i int)")
	p.ask(t, e.b, "insert into kept select generate_series(1, 1000)")
	var clients []*testenv.Process
	for range 10 {
		clients = append(clients, e.b.start(t, psql("-h", a4, "-c", "select pg_sleep(600)")...))
	}
	p.waitFor(t, e.b, "select 'all' where 10 = (select count(*) from pg_stat_activity where wait_event = 'PgSleep')")
	pid, err := strconv.Atoi(p.ask(t, e.b, "select min(pid) from pg_stat_activity where wait_event = 'PgSleep'"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	told := 0
	for i, c := range clients {
		if err := c.Wait(t, time.Minute); err == nil || !strings.Contains(c.Output(), "connection to server was lost") {
			t.Errorf("client %d ended with %v and printed:\n%s", i, err, c.Output())
		}
		told += strings.Count(c.Output(), "terminating connection because of crash of another server process")
	}
	// The one whose backend was killed gets no word, only the end.
	if told != 9 {
		t.Errorf("%d clients were told why", told)
	}
	testenv.WaitFor(t, time.Minute, func() bool {
		_, err := e.b.try(20*time.Second, psql("-h", a4, "-c", "select 1")...)
		return err == nil
	}, "the server to recover")
	if got := p.ask(t, e.b, "select count(*), sum(i) from kept"); got != "1000|500500" {
		t.Errorf("the table holds %s", got)
	}
	if n := strings.Count(p.Output(), "all server processes terminated; reinitializing"); n != 1 {
		t.Errorf("the server reinitialized %d times", n)
	}
	p.stop(t)
}

func postgresqlReplication(t *testing.T, e *env) {
	p := startPostgresql(t, e)
	p.ask(t, e.b, "create table rows as select i, md5(i::text) from generate_series(1, 200000) i")
	replica := &postgresql{h: e.b, dir: worldDir(t), as: asUser("postgres")}
	backup := append(asUser("postgres"), "pg_basebackup", "-h", a4, "-U", "postgres", "-D", replica.dir+"/data", "-R", "-c", "fast", "-X", "stream")
	e.b.do(t, 2*time.Minute, backup...)
	for _, name := range []string{"key.pem", "cert.pem"} {
		testenv.Run(t, nil, "cp", "-p", p.dir+"/"+name, replica.dir+"/"+name)
	}
	replica.start(t)
	p.waitFor(t, e.b, "select 'streaming' from pg_stat_replication where state = 'streaming'")
	p.ask(t, e.b, "insert into rows select i, md5(i::text) from generate_series(200001, 300000) i")
	digest := "select count(*), md5(string_agg(md5, '' order by i)) from rows"
	want := p.ask(t, e.b, digest)
	lsn := p.ask(t, e.b, "select pg_current_wal_lsn()")
	replica.waitFor(t, e.a, "select 'replayed' where pg_last_wal_replay_lsn() >= '"+lsn+"'")
	if got := replica.ask(t, e.a, digest); got != want {
		t.Errorf("the replica holds %s, want %s", got, want)
	}
	replica.stop(t)
	p.stop(t)
}
