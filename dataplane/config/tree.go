// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// node is a TOML value and the line it is on. A table's line is that of its
// header, any other value's that of its key, an array item's its own.
type node struct {
	kind  unstable.Kind // Table, Array, or that of a scalar
	line  int
	text  string           // of a scalar: a string's value, otherwise as written
	keys  map[string]*node // of a table
	order []string         // of a table: its keys as they came
	items []*node          // of an array
}

// Bounds that no sensible file meets. They keep go-toml's decoder, whose time
// grows with the square of a table's keys and of a key's parts, fast.
const (
	maxKeys  = 256 // of one table
	maxParts = 16  // of one dotted key
	maxDepth = 16  // of lists and inline tables
)

// parseTree returns the root table of a document. go-toml's decoder decides
// what is valid, duplicates included; the tree is built before and has to put
// up with anything.
func parseTree(data []byte) (*node, error) {
	b := builder{root: &node{kind: unstable.Table, line: 1}}
	for i, c := range data {
		if c == '\n' {
			b.newlines = append(b.newlines, i)
		}
	}
	b.p.Reset(bytes.Clone(data))
	table := b.root
	for b.p.NextExpression() {
		switch e := b.p.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = b.header(e)
		case unstable.KeyValue:
			b.keyValue(table, e, 0)
		}
		if b.err != nil {
			return nil, b.err
		}
	}
	var discard any
	if err := toml.Unmarshal(data, &discard); err != nil {
		return nil, err
	}
	return b.root, b.p.Error()
}

// limitError says that a document exceeds a bound.
type limitError struct {
	line int
	what string
}

func (e *limitError) Error() string { return e.what }

// position returns the line of an error of parseTree, and what to say.
func position(err error) (int, string) {
	if de := (*toml.DecodeError)(nil); errors.As(err, &de) {
		line, _ := de.Position()
		return line, "not valid TOML: " + oneLine(strings.TrimPrefix(de.Error(), "toml: "))
	}
	if le := (*limitError)(nil); errors.As(err, &le) {
		return le.line, le.what
	}
	return 0, "not valid TOML: " + oneLine(err.Error())
}

// builder turns the parser's expressions into a tree.
type builder struct {
	p        unstable.Parser
	root     *node
	newlines []int // offsets, ascending
	err      error // a bound that is exceeded
}

// limit notes that a bound is exceeded.
func (b *builder) limit(line int, format string, args ...any) {
	if b.err == nil {
		b.err = &limitError{line: line, what: fmt.Sprintf(format, args...)}
	}
}

// next goes one part down a key: to the member of n called key.
func (b *builder) next(n *node, key string, kind unstable.Kind, line int) *node {
	c := n.child(key, kind, line)
	if len(n.order) > maxKeys {
		b.limit(line, "more than %d keys in a table", maxKeys)
	}
	return c
}

// line returns the line of r, or otherwise if r is not known.
func (b *builder) line(r unstable.Range, otherwise int) int {
	if r.Length == 0 {
		return otherwise
	}
	return 1 + sort.SearchInts(b.newlines, int(r.Offset))
}

// header returns the table that [key] or [[key]] opens.
func (b *builder) header(e *unstable.Node) *node {
	t, parts := b.root, 0
	for it := e.Key(); it.Next(); {
		k := it.Node()
		line := b.line(k.Raw, 0)
		if parts++; parts > maxParts {
			b.limit(line, "more than %d parts in a key", maxParts)
			return t
		}
		if it.IsLast() && e.Kind == unstable.ArrayTable {
			list := b.next(t, string(k.Data), unstable.Array, line)
			item := &node{kind: unstable.Table, line: line}
			list.items = append(list.items, item)
			return item
		}
		t = b.next(t, string(k.Data), unstable.Table, line)
		if it.IsLast() {
			t.line = line
		}
	}
	return t
}

// keyValue adds what an expression or an inline table's member says to t.
func (b *builder) keyValue(t *node, e *unstable.Node, depth int) {
	parts := 0
	for it := e.Key(); it.Next(); {
		k := it.Node()
		line := b.line(k.Raw, t.line)
		if parts++; parts > maxParts {
			b.limit(line, "more than %d parts in a key", maxParts)
			return
		}
		if it.IsLast() {
			v := b.value(e.Value(), line, depth)
			*b.next(t, string(k.Data), v.kind, line) = *v
			return
		}
		t = b.next(t, string(k.Data), unstable.Table, line)
	}
}

// value returns the tree of a value whose key is on line.
func (b *builder) value(v *unstable.Node, line, depth int) *node {
	n := &node{kind: v.Kind, line: line}
	if depth > maxDepth {
		b.limit(line, "more than %d lists and tables inside each other", maxDepth)
		return n
	}
	switch v.Kind {
	case unstable.InlineTable:
		n.kind = unstable.Table
		for it := v.Children(); it.Next(); {
			b.keyValue(n, it.Node(), depth+1)
		}
	case unstable.Array:
		for it := v.Children(); it.Next(); {
			item := it.Node()
			n.items = append(n.items, b.value(item, b.line(item.Raw, line), depth+1))
		}
	default:
		n.text = string(v.Data)
	}
	return n
}

// child returns the member of n called key, made if there is none; of a list of
// tables it is the last item.
func (n *node) child(key string, kind unstable.Kind, line int) *node {
	c := n.keys[key]
	if c == nil {
		c = &node{kind: kind, line: line}
		if n.keys == nil {
			n.keys = map[string]*node{}
		}
		n.keys[key] = c
		n.order = append(n.order, key)
	}
	if kind == unstable.Table && c.kind == unstable.Array && len(c.items) > 0 {
		return c.items[len(c.items)-1]
	}
	return c
}

// isTables reports whether n is a list of tables only.
func (n *node) isTables() bool {
	return n.kind == unstable.Array &&
		!slices.ContainsFunc(n.items, func(i *node) bool { return i.kind != unstable.Table })
}
