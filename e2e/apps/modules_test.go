// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	add(scenario{
		name: "nats", version: []string{"echo", "nats-server 2.15.2"},
		does:  "a NATS server of the Go module proxy, and its Go client: 20 connections that publish and subscribe, 200 requests with replies of up to 60,000 bytes each, compared; static programs both",
		bytes: 2 * 20 * 200 * 1000,
		run: func(t *testing.T, e *env) {
			server := moduleProgram(t, "github.com/nats-io/nats-server/v2", "v2.15.2", "", nil)
			client := moduleProgram(t, "github.com/nats-io/nats.go", "v1.55.0", "testdata/natsclient.go", nil)
			e.a.start(t, server, "-a", "0.0.0.0", "-p", "4222")
			e.a.listens(t, 4222)
			if got := e.b.do(t, 2*time.Minute, client, "nats://"+a4+":4222", "20", "200"); got != "ok\n" {
				t.Errorf("the client printed %q", got)
			}
		},
	})
	add(scenario{
		name: "ferretdb", packages: []string{"python3-pymongo"}, version: []string{"echo", "FerretDB 1.24.0"},
		does:  "a server of MongoDB's protocol of the Go module proxy, with SQLite, and pymongo: 2,000 documents stored, found, changed, counted and deleted by 8 threads",
		bytes: 2 * 2 * 2000 * 500,
		run: func(t *testing.T, e *env) {
			server := moduleProgram(t, "github.com/FerretDB/FerretDB", "v1.24.0", "", map[string]string{"build/version/version.txt": "v1.24.0\n"})
			dir := worldDir(t)
			e.a.start(t, server, "--handler=sqlite", "--sqlite-url=file:"+dir+"/", "--state-dir="+dir, "--telemetry=disable", "--listen-addr=0.0.0.0:27017", "--debug-addr=-")
			e.a.listens(t, 27017)
			script, err := filepath.Abs("testdata/mongo.py")
			if err != nil {
				t.Fatal(err)
			}
			if got := e.b.do(t, 3*time.Minute, python, script, a4); got != "ok\n" {
				t.Errorf("the client printed %q", got)
			}
		},
	})
}

// moduleProgram builds a program of a module from the module proxy, or one of ours
// that imports it, without cgo. Files replace those of the module.
func moduleProgram(t *testing.T, module, version, source string, files map[string]string) string {
	t.Helper()
	dir := testenv.OpenDir(t)
	run := func(argv ...string) string {
		t.Helper()
		c := exec.Command(argv[0], argv[1:]...)
		c.Dir, c.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	exe, target := filepath.Join(dir, "program"), module
	if module == "github.com/FerretDB/FerretDB" {
		target += "/cmd/ferretdb"
	}
	run("go", "mod", "init", "program")
	if source != "" {
		put(t, dir, "main.go", strings.Replace(mustRead(t, source), "//go:build ignore", "", 1))
		target = "."
	}
	run("go", "get", module+"@"+version)
	if len(files) > 0 {
		root := run("go", "list", "-m", "-f", "{{.Dir}}", module)
		run("cp", "-r", "--no-preserve=mode", root, "module")
		for name, text := range files {
			put(t, filepath.Join(dir, "module"), name, text)
		}
		run("go", "mod", "edit", "-replace", module+"=./module")
	}
	run("go", "build", "-trimpath", "-o", exe, target)
	return exe
}
