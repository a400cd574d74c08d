// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// redisUnits are the files of redis's tests that have most to do with its
// connections; the others test data types. unit/type/list, with what blocks, is
// left out: it counts on the kernel's loopback, where what two connections send
// one after the other arrives in that order.
var redisUnits = []string{
	"unit/protocol", "unit/auth", "unit/quit", "unit/info", "unit/multi", "unit/pubsub", "unit/introspection",
	"unit/limits", "unit/obuf-limits", "unit/querybuf", "unit/pendingquerybuf", "unit/wait", "unit/pause", "unit/tracking",
	"unit/shutdown", "unit/networking", "unit/client-eviction", "unit/replybufsize",
	"integration/block-repl", "integration/replication", "integration/replication-3", "integration/replication-psync",
	"integration/replication-buffer", "integration/psync2-reg", "integration/psync2-master-restart", "integration/failover",
	"integration/shutdown", "integration/redis-cli", "integration/redis-benchmark",
}

func init() {
	addSuite(suite{
		name: "suite-redis", packages: []string{"redis-server", "redis-tools", "tcl", "dpkg-dev"}, bytes: 100 << 20,
		does: "runtest of Debian's source package against the installed redis: protocol, limits, publish and subscribe, blocking, replication, failover",
		run:  redisTests, remark: "Without unit/type/list, which counts on the order in which bytes of two connections arrive on a kernel's loopback.",
	})
}

var (
	redisColor = regexp.MustCompile("\x1b\\[[0-9;]*m")
	redisLine  = regexp.MustCompile(`(?m)^\[(ok|err|skip|ignore|exception|TIMEOUT|timeout)\]: (.*)$`)
)

// redisTests runs units; a test's name is that of its unit and its own.
func redisTests(t *testing.T, h *host, only []string) outcomes {
	t.Helper()
	dir := source(t, "redis", "testdata/redis.sh")
	// The tests keep state beside them.
	work := worldDir(t)
	testenv.Run(t, nil, "cp", "-r", dir+"/tests", dir+"/src", dir+"/redis.conf", dir+"/utils", dir+"/runtest", work)
	units := redisUnits
	if only != nil {
		units = nil
		for _, name := range only {
			unit, _, _ := strings.Cut(name, ": ")
			units = append(units, unit)
		}
		units = slices.Compact(units)
	}
	got := outcomes{}
	for _, unit := range units {
		out, err := h.try(5*time.Minute, "env", "-C", work, "TERM=dumb", "./runtest", "--clients", "1", "--timeout", "240", "--single", unit)
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) && !strings.Contains(err.Error(), "timed out") {
			t.Fatal(err)
		}
		for _, m := range redisLine.FindAllStringSubmatch(redisColor.ReplaceAllString(out, ""), -1) {
			name := unit + ": " + redisName(m[2])
			switch {
			case m[1] == "ok":
				if _, seen := got[name]; !seen {
					got[name] = passed
				}
			case m[1] == "skip" || m[1] == "ignore":
				got[name] = skipped
			default:
				got[name] = m[0]
			}
		}
	}
	return got
}

// redisName takes off what follows a test's name.
func redisName(s string) string {
	if i := strings.LastIndex(s, " in tests/"); i >= 0 {
		return s[:i]
	}
	if i := strings.LastIndex(s, " ("); i >= 0 && strings.HasSuffix(s, " ms)") {
		return s[:i]
	}
	return s
}
