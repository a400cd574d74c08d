// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Parse reads a script. An error is an *Error that names file and line.
// defines replaces words, as options -D and --define do; the script may have
// definitions of its own.
func Parse(file, text string, defines map[string]string) (*Script, error) {
	list, err := lex(file, text)
	if err != nil {
		return nil, err
	}
	p := &parser{file: file, list: list, defs: map[string]string{}}
	for k, v := range defines {
		p.defs[k] = v
	}
	s := &Script{File: file}
	if err := p.script(s); err != nil {
		return nil, err
	}
	return s, nil
}

type parser struct {
	file  string
	list  []token
	at    int
	defs  map[string]string
	depth int
}

// maxDepth bounds how deep expressions nest.
const maxDepth = 50

func (p *parser) peek() token { return p.list[p.at] }

func (p *parser) peekAt(n int) token {
	return p.list[min(p.at+n, len(p.list)-1)]
}

func (p *parser) next() token {
	t := p.list[p.at]
	if t.kind != tokEOF {
		p.at++
	}
	return t
}

func (p *parser) failAt(line int, format string, args ...any) error {
	return &Error{File: p.file, Line: line, Text: fmt.Sprintf(format, args...), Script: true}
}

func (p *parser) fail(format string, args ...any) error {
	return p.failAt(p.peek().line, format, args...)
}

// is reports whether the next token is the given character or word.
func (p *parser) is(text string) bool { return p.isAt(0, text) }

func (p *parser) isAt(n int, text string) bool {
	t := p.peekAt(n)
	return (t.kind == tokPunct || t.kind == tokWord) && t.text == text
}

// accept consumes the given character or word if it is next.
func (p *parser) accept(text string) bool {
	if !p.is(text) {
		return false
	}
	p.at++
	return true
}

func (p *parser) expect(text string) error {
	if !p.accept(text) {
		return p.fail("%v, want %q", p.peek(), text)
	}
	return nil
}

// define replaces the next token if it is a word that was defined.
func (p *parser) define() {
	t := &p.list[p.at]
	if t.kind != tokWord {
		return
	}
	v, ok := p.defs[t.text]
	if !ok {
		return
	}
	n := len(v)
	switch {
	case n >= 2 && v[0] == '"' && v[n-1] == '"':
		t.kind, t.text = tokString, v[1:n-1]
	case n >= 2 && v[0] == '`' && v[n-1] == '`':
		t.kind, t.text = tokShell, v[1:n-1]
	default:
		t.text = v
		if kind, k := number(v + " "); k == n && n > 0 {
			t.kind = kind
		}
	}
}

func (p *parser) script(s *Script) error {
	for p.peek().kind == tokOption {
		t := p.next()
		name, value, _ := strings.Cut(t.text[2:], "=")
		if name == "define" {
			k, v, _ := strings.Cut(value, "=")
			p.defs[k] = v
		} else if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		s.Options = append(s.Options, Option{Line: t.line, Name: name, Value: value})
	}
	if p.define(); p.peek().kind == tokShell {
		s.Init = p.next().text
	}
	for p.peek().kind != tokEOF {
		if p.define(); p.peek().kind == tokShell {
			// The last command cleans up after the script: there is
			// nothing that a machine in memory leaves behind.
			p.next()
			if p.peek().kind != tokEOF {
				return p.fail("%v behind the command that ends the script", p.peek())
			}
			break
		}
		ev, err := p.event()
		if err != nil {
			return err
		}
		s.Events = append(s.Events, ev)
	}
	if len(s.Events) == 0 {
		return p.fail("no events")
	}
	if w := s.Events[0].When; w.Any || w.At != 0 || w.Range {
		return p.failAt(s.Events[0].Line, "the first event should be at time 0")
	}
	return nil
}

func (p *parser) event() (Event, error) {
	ev := Event{Line: p.peek().line}
	var err error
	if ev.When, err = p.when(); err != nil {
		return ev, err
	}
	p.define()
	switch t := p.peek(); {
	case p.is("<"), p.is(">"):
		if ev.Packet, err = p.packet(); err != nil {
			return ev, err
		}
	case t.kind == tokShell:
		ev.Shell = p.next().text
	case t.kind == tokCode:
		if ev.Code = p.next().text; strings.TrimSpace(ev.Code) == "" {
			ev.Code = "pass"
		}
	case t.kind == tokWord, t.kind == tokEllipsis:
		if ev.Call, err = p.call(); err != nil {
			return ev, err
		}
	default:
		return ev, p.fail("%v, want a packet, a system call, a command or code", t)
	}
	if out := ev.Packet != nil && ev.Packet.Out; (ev.When.Any || ev.When.Range) && !out {
		return ev, p.failAt(ev.Line, "only an expected packet can have any time, or a range of times")
	}
	return ev, nil
}

func (p *parser) when() (w When, err error) {
	if p.accept("*") {
		w.Any = true
		return w, nil
	}
	w.Relative = p.accept("+")
	if w.At, err = p.seconds(); err != nil {
		return w, err
	}
	if !p.accept("~") {
		return w, nil
	}
	w.Range = true
	if plus := p.accept("+"); plus != w.Relative {
		return w, p.fail("a range of times mixes absolute and relative")
	}
	if w.End, err = p.seconds(); err != nil {
		return w, err
	}
	if w.End < w.At {
		return w, p.fail("a range of times runs backwards")
	}
	return w, nil
}

// maxSeconds is the longest time that scripts name.
const maxSeconds = 1e8

func (p *parser) seconds() (time.Duration, error) {
	t := p.peek()
	if t.kind != tokInt && t.kind != tokFloat {
		return 0, p.fail("%v, want a time", t)
	}
	v, err := strconv.ParseFloat(t.text, 64)
	if err != nil || v < 0 || v > maxSeconds {
		return 0, p.fail("time %v (want 0 to %.0f)", t, maxSeconds)
	}
	p.next()
	// Microseconds, as the original counts.
	return time.Duration(v*1e6+0.5) * time.Microsecond, nil
}

// integer takes a decimal or hexadecimal number in a range.
func (p *parser) integer(what string, least, most int64) (int64, error) {
	p.define()
	t := p.peek()
	if t.kind != tokInt && t.kind != tokHex {
		return 0, p.fail("%s %v (want a number)", what, t)
	}
	v, err := parseInt(t)
	if err != nil || v < least || v > most {
		return 0, p.fail("%s %v (want %d to %d)", what, t, least, most)
	}
	p.next()
	return v, nil
}

func parseInt(t token) (int64, error) {
	if t.kind == tokHex {
		v, err := strconv.ParseUint(t.text[2:], 16, 64)
		return int64(v), err
	}
	return strconv.ParseInt(t.text, 10, 64)
}
