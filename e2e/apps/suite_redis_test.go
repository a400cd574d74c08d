// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// redisUnits are the files of redis's tests that have most to do with its
// connections, what blocks among them; the others test data types. Those that
// take longest come first.
var redisUnits = []string{
	"integration/replication", "integration/replication-psync", "integration/block-repl", "unit/obuf-limits",
	"integration/replication-3", "integration/replication-buffer", "integration/psync2-reg", "integration/psync2-master-restart",
	"unit/type/list", "unit/type/zset", "unit/type/stream-cgroups",
	"integration/failover", "integration/shutdown", "integration/redis-cli", "integration/redis-benchmark",
	"unit/protocol", "unit/auth", "unit/quit", "unit/info", "unit/multi", "unit/pubsub", "unit/introspection",
	"unit/limits", "unit/querybuf", "unit/pendingquerybuf", "unit/wait", "unit/pause", "unit/tracking",
	"unit/shutdown", "unit/networking", "unit/client-eviction", "unit/replybufsize",
}

// redisHang is the test that waits for ever where it differs, so it does not run
// under netcon.
const redisHang = "BRPOPLPUSH with multiple blocked clients"

// redisKnown names the tests that may differ: what they send on one connection,
// without waiting, has to be carried out before what follows on another.
func redisKnown() map[string]string {
	known := map[string]string{}
	for _, name := range []string{
		"unit/type/list: " + redisHang,
		"unit/pubsub: PUBLISH/SUBSCRIBE after UNSUBSCRIBE without arguments",
		"unit/pubsub: PUBLISH/PSUBSCRIBE after PUNSUBSCRIBE without arguments",
		"unit/type/stream-cgroups: Blocking XREADGROUP: key deleted",
		"unit/type/stream-cgroups: Blocking XREADGROUP: key type changed with SET",
		"unit/type/stream-cgroups: Blocking XREADGROUP: key type changed with transaction",
		"unit/type/stream-cgroups: Blocking XREADGROUP: flushed DB",
		"unit/type/stream-cgroups: Blocking XREADGROUP: swapped DB, key doesn't exist",
		"unit/type/stream-cgroups: Blocking XREADGROUP: swapped DB, key is not a stream",
	} {
		known[name] = "bytes of two connections arrive in another order than they were sent"
	}
	return known
}

func init() {
	addSuite(suite{
		name: "suite-redis", packages: []string{"redis-server", "redis-tools", "tcl", "dpkg-dev"}, bytes: 100 << 20,
		does: "runtest of Debian's source package against the installed redis: protocol, limits, publish and subscribe, what blocks, replication, failover",
		run:  redisTests, known: redisKnown(),
	})
}

var (
	redisColor = regexp.MustCompile("\x1b\\[[0-9;]*m")
	redisLine  = regexp.MustCompile(`(?m)^\[(ok|err|skip|ignore|exception|TIMEOUT|timeout)\]: (.*)$`)
)

// redisLanes is how many units run at once, each with a directory and ports of its
// own.
const redisLanes = 4

// redisTests runs units; a test's name is that of its unit and its own.
func redisTests(t *testing.T, h *host, only []string) outcomes {
	t.Helper()
	dir := source(t, "redis", "testdata/redis.sh")
	var work [redisLanes]string
	for lane := range work {
		// The tests keep state beside them.
		work[lane] = worldDir(t)
		testenv.Run(t, nil, "cp", "-r", dir+"/tests", dir+"/src", dir+"/redis.conf", dir+"/utils", dir+"/runtest", work[lane])
	}
	units := redisUnits
	if only != nil {
		units = nil
		for _, name := range only {
			unit, _, _ := strings.Cut(name, ": ")
			units = append(units, unit)
		}
		units = slices.Compact(units)
	}
	var mu sync.Mutex
	got := outcomes{}
	inLanes(redisLanes, units, func(lane int, unit string) {
		argv := []string{
			"env", "-C", work[lane], "TERM=dumb", "./runtest", "--clients", "1", "--timeout", "120",
			"--baseport", fmt.Sprint(21000 + 2000*lane), "--portcount", "2000", "--single", unit,
		}
		if h.client != nil {
			argv = append(argv, "--skiptest", redisHang)
		}
		start := time.Now()
		out, err := h.try(6*time.Minute, argv...)
		t.Logf("%s: %.1f s", unit, time.Since(start).Seconds())
		// What it started may end after it, and redis's tests may fail.
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) && !strings.Contains(err.Error(), "timed out") {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, m := range redisLine.FindAllStringSubmatch(redisColor.ReplaceAllString(out, ""), -1) {
			name := unit + ": " + redisName(m[2])
			switch {
			case m[1] == "ok":
				if _, seen := got[name]; !seen {
					got[name] = passed
				}
			case m[1] == "skip" || m[1] == "ignore":
				got[name] = skipped
			case m[1] == "exception":
				got[unit+": exception"] = m[0] // it ends the unit
			default:
				got[name] = m[0]
			}
		}
	})
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
