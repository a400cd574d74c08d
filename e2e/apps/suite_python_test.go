// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"encoding/xml"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pythonElsewhere are the tests of families and protocols that most kernels do
// not have.
var pythonElsewhere = []string{
	"*UDPLITE*", "*VSOCK*", "*RDS*", "*CAN*", "*Qipcrtr*", "*ISOTP*", "*SCTP*", "*TIPC*", "*Bluetooth*", "*AFALG*",
}

func init() {
	modules := []struct {
		name  string
		args  []string
		bytes uint64
		local bool // nothing of it is a container's
		known map[string]string
	}{
		{name: "socket", bytes: 1 << 20},
		{name: "asyncio", bytes: 1 << 20, known: pythonAsyncio()},
		{name: "selectors", local: true},
		{name: "poll", local: true},
		{name: "epoll", bytes: 16, known: map[string]string{
			"test.test_epoll.TestEPoll.test_control_and_wait": "bytes have not arrived yet when send returns",
		}},
		{name: "select", local: true},
		{name: "socketserver", bytes: 1 << 20, args: []string{"-u", "network"}},
		{name: "ssl", bytes: 1 << 20, known: map[string]string{
			"test.test_ssl.BasicSocketTests.test_wrapped_unconnected": "write on an unconnected socket",
		}},
		{name: "httpservers", bytes: 16 << 10},
		{name: "ftplib", bytes: 1 << 20},
	}
	for _, m := range modules {
		remark := ""
		if m.local {
			remark = "Pipes and AF_UNIX pairs only, which stay the kernel's: no bytes for containers to carry."
		}
		addSuite(suite{
			name: "suite-python-" + m.name, packages: []string{"libpython3.11-testsuite", "python3.11"},
			does: "test_" + m.name + " of Python, without families that most kernels do not have", bytes: m.bytes, known: m.known, remark: remark,
			run: func(t *testing.T, h *host, only []string) outcomes {
				return pythonTests(t, h, append([]string{"test_" + m.name}, m.args...), only)
			},
		})
	}
	addSuite(suite{
		name: "suite-python-tcp", packages: []string{"libpython3.11-testsuite", "python3.11"}, bytes: 4 << 10, short: true,
		does: "the basic TCP tests of test_socket of Python",
		run: func(t *testing.T, h *host, only []string) outcomes {
			if only == nil {
				only = []string{"*.BasicTCPTest*", "*.InheritanceTest*"}
			}
			return pythonTests(t, h, []string{"test_socket"}, only)
		},
	})
}

// pythonAsyncio names the tests that want 256 KiB not to fit on the way to a
// program that reads 1 KiB of it, and a refusal to be there when connect returns.
func pythonAsyncio() map[string]string {
	known := map[string]string{}
	for _, loop := range []string{"EPoll", "Poll", "Select"} {
		known["test.test_asyncio.test_sendfile."+loop+"EventLoopTests.test_sendfile_close_peer_in_the_middle_of_receiving"] = "what a pair holds comes on top"
		known["test.test_asyncio.test_sock_lowlevel."+loop+"EventLoopTests.test_sock_client_connect_racing"] = "a refusal comes after connect returned"
	}
	return known
}

// pythonTests runs tests of Python.
func pythonTests(t *testing.T, h *host, args, only []string) outcomes {
	t.Helper()
	dir := worldDir(t)
	report := filepath.Join(dir, "report.xml")
	argv := []string{"env", "-C", dir, "TMPDIR=" + dir, "/usr/bin/python3.11", "-m", "test", "--junit-xml", report, "--timeout", "600"}
	argv = append(argv, args...)
	for _, pattern := range pythonElsewhere {
		argv = append(argv, "-i", pattern)
	}
	for _, pattern := range only {
		argv = append(argv, "-m", pattern)
	}
	out, err := h.try(11*time.Minute, argv...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text, e := os.ReadFile(report)
	if e != nil {
		t.Fatalf("no report: %v\n%v\n%s", e, err, out)
	}
	var suites struct {
		Cases []struct {
			Name    string    `xml:"name,attr"`
			Result  string    `xml:"result,attr"`
			Skipped *struct{} `xml:"skipped"`
			Failure []string  `xml:"failure"`
			Error   []string  `xml:"error"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(text, &suites); err != nil {
		t.Fatalf("%s: %v", report, err)
	}
	got := outcomes{}
	for _, c := range suites.Cases {
		trouble := slices.Concat(c.Failure, c.Error)
		switch {
		case len(trouble) > 0:
			got[c.Name] = strings.Join(trouble, "\n")
		case c.Skipped != nil:
			got[c.Name] = skipped
		default:
			got[c.Name] = passed
		}
	}
	return got
}
