// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"netcon/internal/testenv"
	"netcon/tuning"
)

func TestTuneArguments(t *testing.T) {
	dir := testenv.OpenDir(t)
	state := filepath.Join(dir, "state")
	bad := write(t, filepath.Join(dir, "bad.toml"), strings.Replace(conf("/tmp/x", "127.0.0.1"), "vni", "vmi", 1), 0o644)
	away := write(t, filepath.Join(dir, "away.toml"), conf("/tmp/x", "192.0.2.77"), 0o644)
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"tune"}, exitUsage, "missing argument: show, apply or revert"},
		{[]string{"tune", "sow"}, exitUsage, `"sow" (want show, apply or revert)`},
		{[]string{"tune", "show", "-force"}, exitUsage, "-force is for revert"},
		{[]string{"tune", "show", "x"}, exitUsage, `unexpected argument "x"`},
		{[]string{"tune", "show", "-i", "none0"}, exitFailed, `device "none0": not on this host`},
		{[]string{"tune", "show", "-c", bad}, exitUsage, `key "vmi"`},
		{[]string{"tune", "show", "-c", away}, exitFailed, "underlay address 192.0.2.77: no network device"},
		{[]string{"tune", "show", "-c", filepath.Join(dir, "none")}, exitUsage, "no such file"},
		{[]string{"tune", "revert", "-state", filepath.Join(dir, "no", "state")}, exitFailed, "lock state file"},
	} {
		status, _, stderr := try(tt.args...)
		if status != tt.status || !strings.Contains(stderr, tt.want) {
			t.Errorf("%q: status %d, %q; want %d, %q", tt.args, status, stderr, tt.status, tt.want)
		}
	}
	if status, out, _ := try("tune", "revert", "-state", state); status != exitOK || out != "0 of 0 settings put back\n" {
		t.Errorf("revert of nothing: status %d, %q", status, out)
	}
}

func TestTuneShow(t *testing.T) {
	dir := testenv.OpenDir(t)
	good := write(t, filepath.Join(dir, "good.toml"), conf("/tmp/x", "127.0.0.1"), 0o644)
	status, out, stderr := try("tune", "show", "-c", good)
	if status != exitOK || !strings.HasPrefix(out, "SETTING ") || !strings.Contains(out, "Left to you:") {
		t.Errorf("status %d, %s%s", status, out, stderr)
	}
	status, out, stderr = try("tune", "show", "-i", "lo", "-json")
	var list []tuning.Setting
	if err := json.Unmarshal([]byte(out), &list); status != exitOK || err != nil || len(list) == 0 || list[0].Name == "" {
		t.Errorf("status %d, %v: %s%s", status, err, out, stderr)
	}
}
