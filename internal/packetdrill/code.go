// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"fmt"
	"strconv"
	"strings"
)

// Code blocks are Python that asserts something about struct tcp_info. What
// scripts use of Python is statements assert, print and assignment, and
// expressions of numbers: those are understood, everything else is an error.

// value is a number or a string.
type value struct {
	n      float64
	text   string
	isText bool
}

func (v value) truth() bool { return v.isText && v.text != "" || !v.isText && v.n != 0 }

func (v value) String() string {
	if v.isText {
		return v.text
	}
	return strconv.FormatFloat(v.n, 'f', -1, 64)
}

func number64(n float64) value { return value{n: n} }

func boolean(b bool) value { return value{n: float64(b2i(b))} }

// code runs a code block.
func (r *runner) code(text string) error {
	info, err := r.tcpInfo()
	if err != nil {
		return err
	}
	for _, stmt := range statements(text) {
		c := &coder{r: r, info: info, line: r.line + stmt.line, text: stmt.text}
		if err := c.statement(); err != nil {
			return err
		}
	}
	return nil
}

type statement struct {
	line int // behind the start of the block
	text string
}

// statements cuts Python text at line ends and semicolons that are not inside
// brackets or quotes, and removes comments.
func statements(text string) (list []statement) {
	depth, quote, line, at := 0, byte(0), 0, 0
	var b strings.Builder
	end := func() {
		if t := strings.TrimSpace(b.String()); t != "" {
			list = append(list, statement{at, t})
		}
		b.Reset()
		at = line
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if b.Len() == 0 || strings.TrimSpace(b.String()) == "" {
			at = line
		}
		if c == '\n' {
			line++
		}
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '#':
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
			continue
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		case c == '\\' && i+1 < len(text) && text[i+1] == '\n':
			line++
			i++
			continue
		case (c == '\n' || c == ';') && depth <= 0:
			end()
			continue
		}
		b.WriteByte(c)
	}
	end()
	return list
}

// coder evaluates one statement.
type coder struct {
	r    *runner
	info map[string]int64
	line int
	text string // of the statement

	tok   []string
	at    int
	depth int
	dead  bool // an operand that is not evaluated
}

func (c *coder) fail(format string, args ...any) error {
	return &Error{File: c.r.script.File, Line: c.line, Text: fmt.Sprintf(format, args...)}
}

func (c *coder) unsupported(format string, args ...any) error {
	return &Error{File: c.r.script.File, Line: c.line, Text: "code: " + fmt.Sprintf(format, args...) + ": " + c.text, Script: true}
}

func (c *coder) statement() error {
	if c.text == "pass" || strings.HasPrefix(c.text, "print ") || strings.HasPrefix(c.text, "print(") {
		return nil
	}
	var err error
	if c.tok, err = c.lex(); err != nil {
		return err
	}
	switch {
	case c.tok[0] == "assert":
		c.at = 1
		return c.assert()
	case len(c.tok) > 2 && c.tok[1] == "=" && isName(c.tok[0]):
		c.at = 2
		v, err := c.whole()
		if err == nil {
			c.r.vars[c.tok[0]] = v
		}
		return err
	case len(c.tok) > 3 && c.tok[2] == "=" && isName(c.tok[0]) && strings.Contains("+ - * /", c.tok[1]):
		c.at = 3
		old, err := c.name(c.tok[0])
		if err != nil {
			return err
		}
		v, err := c.whole()
		if err == nil {
			v, err = c.operate(c.tok[1], old, v)
		}
		c.r.vars[c.tok[0]] = v
		return err
	}
	return c.unsupported("only assert, print and assignments are understood")
}

// whole evaluates an expression that ends the statement.
func (c *coder) whole() (value, error) {
	v, err := c.or()
	if err == nil && c.at < len(c.tok) {
		err = c.unsupported("%q is not understood", c.tok[c.at])
	}
	return v, err
}

func (c *coder) assert() error {
	v, err := c.or()
	if err != nil {
		return err
	}
	message := ""
	if c.at < len(c.tok) {
		if c.tok[c.at] != "," {
			return c.unsupported("%q is not understood", c.tok[c.at])
		}
		c.at++
		if m, err := c.whole(); err != nil {
			message = ": " + strings.Join(c.tok[c.at:], " ")
		} else {
			message = ": " + m.String()
		}
	}
	if v.truth() {
		return nil
	}
	var values []string
	seen := map[string]bool{}
	for _, t := range c.tok {
		if n, ok := c.info[t]; ok && !seen[t] {
			seen[t] = true
			values = append(values, fmt.Sprintf("%s is %d", t, n))
		}
	}
	return c.fail("assertion failed%s: %s (%s)", message, c.text, strings.Join(values, ", "))
}

func isName(s string) bool { return s != "" && isWord(s[0]) && !isDigit(s[0]) }

// lex cuts the statement into tokens.
func (c *coder) lex() (list []string, err error) {
	s := c.text
	for i := 0; i < len(s); {
		switch {
		case strings.IndexByte(" \t\n\r", s[i]) >= 0:
			i++
		case s[i] == '\'' || s[i] == '"':
			n := quotedLen(s[i:])
			if n < 0 {
				return nil, c.unsupported("string without an end")
			}
			list = append(list, s[i:i+n])
			i += n
		case isDigit(s[i]) || s[i] == '.' && i+1 < len(s) && isDigit(s[i+1]):
			n := i
			for n < len(s) && (isWord(s[n]) || s[n] == '.') {
				n++
			}
			list = append(list, s[i:n])
			i = n
		case isWord(s[i]):
			n := wordLen(s[i:])
			list = append(list, s[i:i+n])
			i += n
		default:
			n := 1
			for _, op := range []string{"==", "!=", "<=", ">=", "<<", ">>", "//", "**"} {
				if strings.HasPrefix(s[i:], op) {
					n = 2
				}
			}
			list = append(list, s[i:i+n])
			i += n
		}
	}
	return list, nil
}
