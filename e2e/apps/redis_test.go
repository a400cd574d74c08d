// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	packages := []string{"redis-server", "redis-tools"}
	add(scenario{
		name: "redis", packages: packages, does: "redis-benchmark -c 50: 10,000 each of SET and GET, and pipelined by 16; the server counted every one", bytes: 2 << 20, short: true,
		run: func(t *testing.T, e *env) {
			startRedis(t, e.a, 6379)
			redisLoad(t, e, "10000", "-c", "50")
			redisLoad(t, e, "10000", "-c", "50", "-P", "16")
		},
	})
	add(scenario{
		name: "redis-io-threads", packages: packages, does: "io-threads 4 with reads; redis-benchmark in 2 threads, -c 200, 10,000 requests each, 30,000 pipelined by 64, 5,000 of 16 KiB; IPv6", bytes: 2 * 5000 * 16 << 10,
		run: func(t *testing.T, e *env) {
			startRedis(t, e.a, 6379, "--io-threads", "4", "--io-threads-do-reads", "yes")
			redisLoad(t, e, "10000", "-c", "200", "--threads", "2")
			redisLoad(t, e, "30000", "-c", "200", "--threads", "2", "-P", "64")
			redisLoad(t, e, "5000", "-c", "200", "--threads", "2", "-d", "16384")
			checkRedisBenchmark(t, e.b.do(t, time.Minute, "redis-benchmark", "-h", a6, "-q", "-t", "ping,lpush,lrange_100,mset", "-n", "10000", "-P", "8"))
		},
	})
	add(scenario{
		name: "redis-bgsave", packages: packages, does: "BGSAVE 5 times under redis-benchmark -c 50: the forked child inherits every connection; SHUTDOWN, and the digest is the same after a restart", bytes: 4 << 20,
		run: redisBGSAVE,
	})
	add(scenario{
		name: "redis-replication", packages: packages, does: "replicas in the master's container and in another one, while written to: without a disk (a forked child writes to the replicas) and with; connections killed and resumed; three equal digests", bytes: 8 * 30000 * 1024,
		run: func(t *testing.T, e *env) {
			for _, diskless := range []string{"yes", "no"} {
				redisReplication(t, e, diskless)
			}
		},
	})
	add(scenario{
		name: "redis-tls", packages: append(packages, "openssl"), does: "TLS only: redis-benchmark -c 20, and a value of 8 MiB read back", bytes: 16 << 20,
		run: redisTLS,
	})
}

// redis is a running redis-server.
type redis struct {
	*testenv.Process
	h    *host
	dir  string
	port int
}

// startRedis starts redis-server on a host and waits until it serves.
func startRedis(t *testing.T, h *host, port int, args ...string) *redis {
	t.Helper()
	r := &redis{h: h, dir: testenv.OpenDir(t), port: port}
	r.start(t, args...)
	return r
}

func (r *redis) start(t *testing.T, args ...string) {
	t.Helper()
	r.Process = r.h.start(t, append([]string{
		"redis-server", "--bind", "0.0.0.0", "::", "--port", fmt.Sprint(r.port), "--protected-mode", "no",
		"--dir", r.dir, "--save", "", "--enable-debug-command", "yes",
	}, args...)...)
	r.WaitOutput(t, 30*time.Second, "Ready to accept connections")
}

// ask sends the server a command, from a host.
func (r *redis) ask(t *testing.T, from *host, command ...string) string {
	t.Helper()
	return strings.TrimSpace(from.do(t, time.Minute, append([]string{"redis-cli", "-h", r.h.v4, "-p", fmt.Sprint(r.port)}, command...)...))
}

// waitInfo waits until INFO has all of some lines.
func (r *redis) waitInfo(t *testing.T, from *host, section string, lines ...string) {
	t.Helper()
	testenv.WaitFor(t, time.Minute, func() bool {
		info := strings.ReplaceAll(r.ask(t, from, "info", section), "\r", "") + "\n"
		for _, line := range lines {
			if !strings.Contains(info, line+"\n") {
				return false
			}
		}
		return true
	}, "%q of the server on port %d of %s", lines, r.port, r.h.v4)
}

// redisLoad runs SET and GET n times each, and compares with what the server on
// host a counted.
func redisLoad(t *testing.T, e *env, n string, args ...string) {
	t.Helper()
	r := &redis{h: e.a, port: 6379}
	r.ask(t, e.b, "config", "resetstat")
	checkRedisBenchmark(t, e.b.do(t, 2*time.Minute, append([]string{"redis-benchmark", "-h", a4, "-q", "-t", "set,get", "-r", "100000", "-n", n}, args...)...))
	stat := r.ask(t, e.b, "info", "commandstats")
	for _, command := range []string{"set", "get"} {
		m := regexp.MustCompile("cmdstat_" + command + `:calls=(\d+),.*,rejected_calls=0,failed_calls=0`).FindStringSubmatch(stat)
		if m == nil || m[1] != n && !slices.Contains(args, "--threads") {
			t.Errorf("%q: the server did not count %s %s:\n%s", args, n, command, stat)
		}
	}
}

var redisRate = regexp.MustCompile(`[1-9][0-9.]* requests per second`)

func checkRedisBenchmark(t *testing.T, out string) {
	t.Helper()
	if !redisRate.MatchString(out) || strings.Contains(strings.ToLower(out), "error") {
		t.Errorf("redis-benchmark printed:\n%s", out)
	}
}

func redisBGSAVE(t *testing.T, e *env) {
	r := startRedis(t, e.a, 6379)
	r.ask(t, e.b, "debug", "populate", "20000", "key", "1024")
	load := e.b.start(t, "redis-benchmark", "-h", a4, "-q", "-c", "50", "-t", "set", "-r", "100000", "-d", "512", "-l")
	load.WaitOutput(t, 30*time.Second, "rps=")
	for range 5 {
		if got := r.ask(t, e.b, "bgsave"); got != "Background saving started" {
			t.Fatalf("BGSAVE: %s", got)
		}
		r.waitInfo(t, e.b, "persistence", "rdb_bgsave_in_progress:0", "rdb_last_bgsave_status:ok")
	}
	if !load.Running() {
		t.Errorf("redis-benchmark ended:\n%s", load.Output())
	}
	load.Signal(t, syscall.SIGTERM)
	load.Stop()
	r.waitInfo(t, e.b, "clients", "connected_clients:1")
	want := r.ask(t, e.b, "debug", "digest")
	r.ask(t, e.b, "shutdown", "save")
	if err := r.Wait(t, 30*time.Second); err != nil {
		t.Errorf("redis-server ended: %v", err)
	}
	r.start(t)
	if got := r.ask(t, e.b, "debug", "digest"); got != want || strings.Trim(got, "0") == "" {
		t.Errorf("digest %s after the restart, want %s", got, want)
	}
}

func redisReplication(t *testing.T, e *env, diskless string) {
	master := startRedis(t, e.a, 6379, "--repl-diskless-sync", diskless, "--repl-diskless-sync-delay", "0",
		"--rdbcompression", "no", "--repl-backlog-size", "256mb")
	master.ask(t, e.b, "debug", "populate", "30000", "key", "1024")
	load := e.b.start(t, "redis-benchmark", "-h", a4, "-q", "-c", "20", "-t", "set", "-r", "100000", "-d", "512", "-l")
	load.WaitOutput(t, 30*time.Second, "rps=")
	replicas := []*redis{
		startRedis(t, e.a, 6380, "--replicaof", "127.0.0.1", "6379"),
		startRedis(t, e.b, 6379, "--replicaof", a4, "6379"),
	}
	for _, r := range replicas {
		r.waitInfo(t, e.b, "replication", "master_link_status:up")
	}
	// Their connections end; they come back and go on where they were.
	master.ask(t, e.b, "client", "kill", "type", "replica")
	for _, r := range replicas {
		testenv.WaitFor(t, time.Minute, func() bool {
			return strings.Contains(r.Output(), "Successful partial resynchronization")
		}, "the replica on port %d of %s to resume", r.port, r.h.v4)
	}
	load.Signal(t, syscall.SIGTERM)
	load.Stop()
	master.waitInfo(t, e.b, "clients", "connected_clients:1")
	master.ask(t, e.b, "set", "last", "value")
	for _, r := range replicas {
		testenv.WaitFor(t, 30*time.Second, func() bool { return r.ask(t, e.b, "get", "last") == "value" }, "the last write to arrive")
	}
	want := master.ask(t, e.b, "debug", "digest")
	for _, r := range replicas {
		if got := r.ask(t, e.b, "debug", "digest"); got != want || strings.Trim(got, "0") == "" {
			t.Errorf("digest %s of the replica on port %d of %s, want %s", got, r.port, r.h.v4, want)
		}
	}
	for _, r := range append(replicas, master) {
		if err := r.Stop(); err != nil {
			t.Errorf("redis-server on port %d of %s ended: %v", r.port, r.h.v4, err)
		}
	}
}

func redisTLS(t *testing.T, e *env) {
	dir := testenv.OpenDir(t)
	certificate(t, dir)
	files := []string{"--cert", dir + "/cert.pem", "--key", dir + "/key.pem", "--cacert", dir + "/cert.pem"}
	server := e.a.start(t, "redis-server", "--port", "0", "--tls-port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir", dir,
		"--tls-cert-file", dir+"/cert.pem", "--tls-key-file", dir+"/key.pem", "--tls-ca-cert-file", dir+"/cert.pem")
	server.WaitOutput(t, 30*time.Second, "Ready to accept connections")
	checkRedisBenchmark(t, e.b.do(t, time.Minute, append([]string{"redis-benchmark", "-h", a4, "--tls", "-q", "-c", "20", "-t", "set,get", "-n", "10000"}, files...)...))
	path, want := noise(t, dir, "value", 8<<20)
	cli := "redis-cli -h " + a4 + " --tls " + strings.Join(files, " ")
	e.b.sh(t, time.Minute, cli+" -x set value <"+path)
	if got := e.b.sh(t, time.Minute, cli+" --raw get value | head -c "+fmt.Sprint(8<<20)+" | sha256sum"); !strings.HasPrefix(got, want) {
		t.Errorf("the value came back with SHA-256 %s, want %s", got, want)
	}
}
