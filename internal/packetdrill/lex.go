// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"fmt"
	"strings"
)

type tokenKind uint8

const (
	tokEOF      tokenKind = iota
	tokWord               // letters, digits and underscores
	tokInt                // -12
	tokHex                // 0x1f
	tokFloat              // .5
	tokString             // "text", without the quotes
	tokShell              // `text`
	tokCode               // %{ text }%
	tokOption             // --name or --name=value
	tokEllipsis           // ...
	tokPunct              // one character
)

type token struct {
	kind tokenKind
	text string
	line int
}

func (t token) String() string {
	if t.kind == tokEOF {
		return "end of file"
	}
	return fmt.Sprintf("%q", t.text)
}

type lexer struct {
	file string
	text string
	at   int
	line int
}

// lex cuts a script into tokens. Like a scanner made by flex it takes the
// longest match.
func lex(file, text string) ([]token, error) {
	l := &lexer{file: file, text: text, line: 1}
	var list []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		list = append(list, t)
		if t.kind == tokEOF {
			return list, nil
		}
	}
}

func (l *lexer) fail(line int, format string, args ...any) error {
	return &Error{File: l.file, Line: line, Text: fmt.Sprintf(format, args...), Script: true}
}

// take consumes n bytes.
func (l *lexer) take(n int) string {
	s := l.text[l.at : l.at+n]
	l.at += n
	l.line += strings.Count(s, "\n")
	return s
}

// space consumes white space and comments. A "#" begins a comment only where a
// word could begin, as in a shell.
func (l *lexer) space() error {
	for l.at < len(l.text) {
		rest := l.text[l.at:]
		switch {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			l.take(1)
		case strings.HasPrefix(rest, "//"), rest[0] == '#' && (l.at == 0 || strings.IndexByte(" \t\r\n", l.text[l.at-1]) >= 0):
			if n := strings.IndexByte(rest, '\n'); n >= 0 {
				l.take(n)
			} else {
				l.take(len(rest))
			}
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return l.fail(l.line, "comment without an end")
			}
			l.take(n + 4)
		default:
			return nil
		}
	}
	return nil
}

func (l *lexer) next() (token, error) {
	if err := l.space(); err != nil {
		return token{}, err
	}
	line, rest := l.line, l.text[l.at:]
	tok := func(kind tokenKind, n int) (token, error) {
		return token{kind: kind, text: l.take(n), line: line}, nil
	}
	switch {
	case rest == "":
		return token{kind: tokEOF, line: line}, nil
	case strings.HasPrefix(rest, "..."):
		return tok(tokEllipsis, 3)
	case strings.HasPrefix(rest, "%{"):
		n := strings.Index(rest, "}%")
		if n < 0 {
			return token{}, l.fail(line, "%%{ without }%%")
		}
		t, _ := tok(tokCode, n+2)
		t.text = t.text[2 : len(t.text)-2]
		return t, nil
	case rest[0] == '"' || rest[0] == '`':
		n := quotedLen(rest)
		if n < 0 {
			return token{}, l.fail(line, "%c without an end", rest[0])
		}
		kind := tokString
		if rest[0] == '`' {
			kind = tokShell
		}
		t, _ := tok(kind, n)
		t.text = t.text[1 : len(t.text)-1]
		return t, nil
	case strings.HasPrefix(rest, "--") && len(rest) > 2 && isWord(rest[2]):
		return tok(tokOption, optionLen(rest))
	}
	if kind, n := number(rest); n > 0 {
		return tok(kind, n)
	}
	if n := wordLen(rest); n > 0 {
		return tok(tokWord, n)
	}
	return tok(tokPunct, 1)
}

// quotedLen returns the length of the quoted text at the start of s, -1 if it
// has no end.
func quotedLen(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return -1
}

// optionLen returns the length of --name=value at the start of s. The value
// ends with the word; quotes protect white space.
func optionLen(s string) int {
	for i := 2; i < len(s); i++ {
		switch s[i] {
		case '"', '`':
			n := quotedLen(s[i:])
			if n < 0 {
				return len(s)
			}
			i += n - 1
		case ' ', '\t', '\r', '\n':
			return i
		}
	}
	return len(s)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func isWord(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

func wordLen(s string) int {
	n := 0
	for n < len(s) && isWord(s[n]) {
		n++
	}
	return n
}

// number recognises a number at the start of s. A word that begins with digits
// is none.
func number(s string) (tokenKind, int) {
	i := 0
	if s[0] == '-' {
		i++
	}
	start := i
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	if i+1 < len(s) && s[i] == '.' && isDigit(s[i+1]) {
		i++
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		return tokFloat, i
	}
	if i == start {
		return 0, 0
	}
	if start == 0 {
		if n := wordLen(s); n > i {
			if n > 2 && s[0] == '0' && s[1] == 'x' && strings.TrimFunc(s[2:n], func(r rune) bool { return isHex(byte(r)) }) == "" {
				return tokHex, n
			}
			return 0, 0
		}
	}
	return tokInt, i
}
