// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// defaults are what the defaults.sh beside the scripts of Linux and of
// packetdrill sets.
var defaults = []string{
	"net.ipv4.tcp_rmem=4096 540000 15728640", "net.ipv4.tcp_wmem=4096 262144 4194304", "net.ipv4.tcp_timestamps=1",
	"net.ipv4.tcp_syn_retries=5", "net.ipv4.tcp_synack_retries=5", "net.ipv4.tcp_frto=2", "net.ipv4.tcp_sack=1",
	"net.ipv4.tcp_dsack=1", "net.ipv4.tcp_reordering=3", "net.ipv4.tcp_congestion_control=cubic",
	"net.ipv4.tcp_slow_start_after_idle=0", "net.ipv4.tcp_early_retrans=4", "net.ipv4.tcp_recovery=1", "net.ipv4.tcp_ecn=0",
	"net.ipv4.tcp_notsent_lowat=4294967295", "net.ipv4.tcp_syncookies=1",
}

// shell runs what a machine in memory can make of shell commands: those that
// set knobs. The rest is noted and passed over.
func (r *runner) shell(text string) error {
	for _, cmd := range commands(text) {
		if err := r.command(cmd); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) command(words []string) error {
	assign := func(list []string) error {
		for _, a := range list {
			name, value, ok := strings.Cut(a, "=")
			if !ok || strings.HasPrefix(a, "-") {
				continue
			}
			if err := r.sysctl(name, value); err != nil {
				return err
			}
		}
		return nil
	}
	switch name := path.Base(words[0]); {
	case name == "sysctl":
		return assign(words[1:])
	case name == "set_sysctls.py":
		return assign(words[1:])
	case name == "defaults.sh":
		return assign(defaults)
	case name == "echo" && len(words) >= 4 && words[len(words)-2] == ">":
		return r.sysctl(words[len(words)-1], strings.Join(words[1:len(words)-2], " "))
	}
	r.trace("note: command passed over: %s", strings.Join(words, " "))
	return nil
}

// sysctl sets a knob by its name, or its path below /proc/sys.
func (r *runner) sysctl(name, value string) error {
	name = strings.ReplaceAll(strings.TrimPrefix(name, "/proc/sys/"), "/", ".")
	switch name {
	case "netcon.checksums":
		r.checksums = value != "0"
		return nil
	case "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem":
		var least, def, most int
		if n, _ := fmt.Sscan(value, &least, &def, &most); n != 3 || def <= 0 {
			return r.unsupported("sysctl %s=%s (want three sizes)", name, value)
		}
		if name == "net.ipv4.tcp_rmem" {
			r.rcvbuf = def
		} else {
			r.sndbuf = def
		}
	}
	known, err := r.host.Sysctl(name, strings.TrimSpace(value))
	if err != nil {
		return r.unsupported("sysctl %s=%s: %v", name, value, err)
	}
	if !known {
		r.trace("note: sysctl passed over: %s=%s", name, value)
	}
	return nil
}

// commands cuts shell text into simple commands and these into words. Quotes,
// line continuation, comments and $((products)) are understood.
func commands(text string) (list [][]string) {
	var words []string
	var word strings.Builder
	open := false
	endWord := func() {
		if open {
			words = append(words, word.String())
			word.Reset()
			open = false
		}
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			list = append(list, words)
			words = nil
		}
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text):
			if i++; text[i] != '\n' {
				word.WriteByte(text[i])
				open = true
			}
		case c == '\'' || c == '"':
			n := strings.IndexByte(text[i+1:], c)
			if n < 0 {
				n = len(text) - i - 1
			}
			word.WriteString(arithmetic(text[i+1 : i+1+n]))
			open = true
			i += n + 1
		case c == '#' && !open:
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case c == '\n' || c == ';' || c == '&' || c == '|':
			endCommand()
		case c == ' ' || c == '\t' || c == '\r':
			endWord()
		case c == '>':
			endWord()
			words = append(words, ">")
		default:
			word.WriteByte(c)
			open = true
		}
	}
	endCommand()
	return list
}

// arithmetic replaces $((15*1024*1024)) by its value.
func arithmetic(s string) string {
	for {
		before, rest, ok := strings.Cut(s, "$((")
		if !ok {
			return s
		}
		expr, after, ok := strings.Cut(rest, "))")
		if !ok {
			return s
		}
		product := 1
		for _, f := range strings.Split(expr, "*") {
			v, err := strconv.Atoi(strings.TrimSpace(f))
			if err != nil {
				return s
			}
			product *= v
		}
		s = before + strconv.Itoa(product) + after
	}
}
