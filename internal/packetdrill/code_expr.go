// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"math"
	"slices"
	"strconv"
)

// peek returns the next token, "" at the end.
func (c *coder) peek() string {
	if c.at < len(c.tok) {
		return c.tok[c.at]
	}
	return ""
}

func (c *coder) accept(list ...string) (string, bool) {
	if t := c.peek(); t != "" && slices.Contains(list, t) {
		c.at++
		return t, true
	}
	return "", false
}

func (c *coder) or() (value, error) {
	if c.depth++; c.depth > maxDepth {
		return value{}, c.unsupported("expression nests more than %d deep", maxDepth)
	}
	defer func() { c.depth-- }()
	return c.logic("or", func() (value, error) { return c.logic("and", c.not) })
}

// logic evaluates operands joined by "or" or "and". What Python would not
// evaluate is only read.
func (c *coder) logic(op string, operand func() (value, error)) (value, error) {
	v, err := operand()
	for err == nil {
		if _, ok := c.accept(op); !ok {
			break
		}
		skip := v.truth() == (op == "or")
		dead := c.dead
		c.dead = dead || skip
		var w value
		if w, err = operand(); !skip {
			v = w
		}
		c.dead = dead
	}
	return v, err
}

func (c *coder) not() (value, error) {
	if _, ok := c.accept("not"); ok {
		v, err := c.not()
		return boolean(!v.truth()), err
	}
	return c.comparison()
}

// comparison evaluates a < b <= c, which Python chains.
func (c *coder) comparison() (value, error) {
	v, err := c.binary(0)
	if err != nil {
		return v, err
	}
	holds, chained := true, false
	for {
		op, ok := c.accept("==", "!=", "<", "<=", ">", ">=")
		if !ok {
			break
		}
		chained = true
		w, err := c.binary(0)
		if err != nil {
			return v, err
		}
		holds = holds && compareValues(op, v, w)
		v = w
	}
	if chained {
		return boolean(holds), nil
	}
	return v, nil
}

func compareValues(op string, v, w value) bool {
	a, b := v.n, w.n
	if v.isText || w.isText {
		a, b = 0, float64(b2i(v.String() != w.String()))
	}
	switch op {
	case "==":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	}
	return a >= b
}

// levels are the binary operators, those that bind least first.
var levels = [][]string{{"|"}, {"^"}, {"&"}, {"<<", ">>"}, {"+", "-"}, {"*", "/", "//", "%"}}

func (c *coder) binary(level int) (value, error) {
	if level == len(levels) {
		return c.unary()
	}
	v, err := c.binary(level + 1)
	for err == nil {
		op, ok := c.accept(levels[level]...)
		if !ok {
			break
		}
		var w value
		if w, err = c.binary(level + 1); err == nil {
			v, err = c.operate(op, v, w)
		}
	}
	return v, err
}

func (c *coder) operate(op string, v, w value) (value, error) {
	if v.isText {
		if op == "%" { // a message with its values
			return value{text: v.text + " " + w.String(), isText: true}, nil
		}
		if op == "+" {
			return value{text: v.text + w.String(), isText: true}, nil
		}
	}
	if v.isText || w.isText {
		return v, c.unsupported("%s of a string", op)
	}
	a, b := v.n, w.n
	x, y := int64(a), int64(b)
	if (op == "/" || op == "//" || op == "%") && b == 0 {
		if c.dead {
			return number64(0), nil
		}
		return v, c.fail("code: division by zero: %s", c.text)
	}
	switch op {
	case "|":
		return number64(float64(x | y)), nil
	case "^":
		return number64(float64(x ^ y)), nil
	case "&":
		return number64(float64(x & y)), nil
	case "<<":
		return number64(float64(x << uint(y&63))), nil
	case ">>":
		return number64(float64(x >> uint(y&63))), nil
	case "+":
		return number64(a + b), nil
	case "-":
		return number64(a - b), nil
	case "*":
		return number64(a * b), nil
	case "/":
		return number64(a / b), nil
	case "//":
		return number64(math.Floor(a / b)), nil
	}
	return number64(a - b*math.Floor(a/b)), nil
}

func (c *coder) unary() (value, error) {
	op, ok := c.accept("-", "+", "~")
	if !ok {
		return c.primary()
	}
	if c.depth++; c.depth > maxDepth {
		return value{}, c.unsupported("expression nests more than %d deep", maxDepth)
	}
	defer func() { c.depth-- }()
	v, err := c.unary()
	switch {
	case err != nil || v.isText:
	case op == "-":
		v.n = -v.n
	case op == "~":
		v.n = float64(^int64(v.n))
	}
	return v, err
}

func (c *coder) primary() (value, error) {
	t := c.peek()
	c.at++
	switch {
	case t == "":
		return value{}, c.unsupported("expression without an end")
	case t == "(":
		return c.parenthesis()
	case t[0] == '\'' || t[0] == '"':
		return value{text: t[1 : len(t)-1], isText: true}, nil
	case isDigit(t[0]) || t[0] == '.':
		if n, err := strconv.ParseInt(t, 0, 64); err == nil {
			return number64(float64(n)), nil
		}
		n, err := strconv.ParseFloat(t, 64)
		if err != nil {
			return value{}, c.unsupported("number %s", t)
		}
		return number64(n), nil
	case t == "True":
		return number64(1), nil
	case t == "False" || t == "None":
		return number64(0), nil
	case isName(t):
		if c.peek() == "(" {
			c.at++
			return c.function(t)
		}
		return c.name(t)
	}
	return value{}, c.unsupported("%q is not understood", t)
}

// parenthesis evaluates (a) and, for messages, (a, b).
func (c *coder) parenthesis() (value, error) {
	v, err := c.or()
	if err != nil {
		return v, err
	}
	for {
		if _, ok := c.accept(")"); ok {
			return v, nil
		}
		if _, ok := c.accept(","); !ok {
			return v, c.unsupported("%q, want )", c.peek())
		}
		if c.peek() == ")" {
			continue
		}
		w, err := c.or()
		if err != nil {
			return v, err
		}
		v = value{text: v.String() + ", " + w.String(), isText: true}
	}
}

func (c *coder) name(t string) (value, error) {
	if n, ok := c.info[t]; ok {
		return number64(float64(n)), nil
	}
	if n, ok := infoSymbols[t]; ok {
		return number64(float64(n)), nil
	}
	if v, ok := c.r.vars[t]; ok {
		return v, nil
	}
	if c.dead {
		return value{}, nil
	}
	return value{}, c.unsupported("%s is not known", t)
}

func (c *coder) function(name string) (value, error) {
	var args []float64
	for {
		if _, ok := c.accept(")"); ok {
			break
		}
		v, err := c.or()
		if err != nil {
			return v, err
		}
		if args = append(args, v.n); c.peek() != ")" {
			if _, ok := c.accept(","); !ok {
				return v, c.unsupported("%q, want , or )", c.peek())
			}
		}
	}
	switch {
	case len(args) == 0:
	case name == "abs" && len(args) == 1:
		return number64(math.Abs(args[0])), nil
	case name == "int" && len(args) == 1:
		return number64(math.Trunc(args[0])), nil
	case name == "round" && len(args) == 1:
		return number64(math.RoundToEven(args[0])), nil
	case name == "float" && len(args) == 1:
		return number64(args[0]), nil
	case name == "min":
		return number64(slices.Min(args)), nil
	case name == "max":
		return number64(slices.Max(args)), nil
	}
	return value{}, c.unsupported("function %s is not known", name)
}
