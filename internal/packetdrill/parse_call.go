// SPDX-License-Identifier: Apache-2.0

package packetdrill

// call parses [...END] name(arguments) = result [ERRNO] [(note)].
func (p *parser) call() (*Call, error) {
	c := &Call{}
	var err error
	if p.peek().kind == tokEllipsis {
		p.next()
		c.Blocking = true
		if c.End, err = p.seconds(); err != nil {
			return nil, err
		}
	}
	if p.peek().kind != tokWord {
		return nil, p.fail("%v, want the name of a system call", p.peek())
	}
	c.Name = p.next().text
	if err := p.expect("("); err != nil {
		return nil, err
	}
	if c.Args, err = p.exprs(")"); err != nil {
		return nil, err
	}
	if err := p.expect("="); err != nil {
		return nil, err
	}
	if c.Result, err = p.expr(); err != nil {
		return nil, err
	}
	// A word that follows is the errno, unless it begins the next event:
	// those begin with a number, a sign or a star.
	if p.peek().kind == tokWord {
		c.Errno = p.next().text
	}
	if p.is("(") {
		return c, p.note()
	}
	return c, nil
}

// note skips (words), which are for the reader.
func (p *parser) note() error {
	p.next()
	for !p.accept(")") {
		if p.peek().kind == tokEOF || p.is("(") {
			return p.fail("note without an end")
		}
		p.next()
	}
	return nil
}

// exprs parses a list of expressions up to and including the given character.
func (p *parser) exprs(end string) ([]Expr, error) {
	var list []Expr
	if p.accept(end) {
		return nil, nil
	}
	for {
		e, err := p.expr()
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		if p.accept(end) {
			return list, nil
		}
		if err := p.expect(","); err != nil {
			return nil, err
		}
	}
}

// expr parses an expression: operands joined by "|".
func (p *parser) expr() (Expr, error) {
	if p.depth++; p.depth > maxDepth {
		return Expr{}, p.fail("expression nests more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	e, err := p.operand()
	if err != nil || !p.is("|") {
		return e, err
	}
	or := Expr{Line: e.Line, Kind: exprOr, List: []Expr{e}}
	for p.accept("|") {
		if e, err = p.operand(); err != nil {
			return e, err
		}
		or.List = append(or.List, e)
	}
	return or, nil
}

func (p *parser) operand() (Expr, error) {
	p.define()
	t := p.peek()
	e := Expr{Line: t.line}
	switch {
	case t.kind == tokEllipsis:
		p.next()
		e.Kind = exprEllipsis
		return e, nil
	case t.kind == tokInt || t.kind == tokHex:
		v, err := parseInt(t)
		if err != nil {
			return e, p.fail("number %v out of range", t)
		}
		p.next()
		e.Kind, e.Int = exprInt, v
		return e, nil
	case t.kind == tokString:
		e.Kind = exprString
		for p.peek().kind == tokString {
			e.Text += p.next().text
		}
		if p.peek().kind == tokEllipsis { // "text"...
			p.next()
		}
		return e, nil
	case t.kind == tokWord:
		p.next()
		e.Kind, e.Text = exprWord, t.text
		if p.accept("(") {
			e.Kind = exprCall
			var err error
			e.List, err = p.exprs(")")
			return e, err
		}
		return e, nil
	case p.accept("["):
		e.Kind = exprList
		var err error
		e.List, err = p.exprs("]")
		return e, err
	case p.accept("{"):
		return p.braces(e)
	}
	return e, p.fail("%v, want an expression", t)
}

// braces parses {name=value, ...} or {value, ...} behind the brace.
func (p *parser) braces(e Expr) (Expr, error) {
	if p.peek().kind != tokWord || !p.isAt(1, "=") && !p.isAt(1, "(") {
		e.Kind = exprList
		var err error
		e.List, err = p.exprs("}")
		return e, err
	}
	e.Kind = exprStruct
	for {
		if p.peek().kind != tokWord {
			return e, p.fail("%v, want the name of a member", p.peek())
		}
		f := Field{Name: p.next().text}
		if p.accept("(") {
			arg, err := p.expr()
			if err != nil {
				return e, err
			}
			f.Arg = &arg
			if err := p.expect(")"); err != nil {
				return e, err
			}
		}
		if err := p.expect("="); err != nil {
			return e, err
		}
		var err error
		if f.Value, err = p.expr(); err != nil {
			return e, err
		}
		e.Fld = append(e.Fld, f)
		if p.accept("}") {
			return e, nil
		}
		if err := p.expect(","); err != nil {
			return e, err
		}
	}
}
