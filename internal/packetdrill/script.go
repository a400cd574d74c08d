// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Script is a parsed script.
type Script struct {
	File    string
	Options []Option
	Init    string // shell commands before the first event
	Events  []Event
}

// Option is one --name=value line.
type Option struct {
	Line        int
	Name, Value string
}

// Event is one thing that the script does, or expects.
type Event struct {
	Line int
	When When

	// One of these.
	Packet *Packet
	Call   *Call
	Shell  string
	Code   string
}

// When is the time of an event.
type When struct {
	Any      bool // "*"
	Relative bool // "+0.1", to the moment at which the previous event was over
	Range    bool // "0.1~0.2", "+0.1~+0.2"
	At, End  time.Duration
}

// Packet is a packet that is injected or expected.
type Packet struct {
	Out bool

	ECN      ecnCheck
	TOS      uint8
	CheckTOS bool
	Label    uint32 // IPv6 flow label
	HasLabel bool
	TTL      uint8 // 0: not said

	SrcPort, DstPort uint16 // 0: those of the current connection

	// TCP
	Flags      uint16
	Seq        uint32
	Len        int
	Ack        uint32
	Win        int // -1: not said
	Urg        uint16
	Opts       []TCPOption
	AnyOptions bool // <...>

	ICMP *ICMP // instead of TCP
}

type ecnCheck uint8

const (
	ecnAny ecnCheck = iota
	ecnExact
	ecnECT // [ect01]
)

// TCPOption is an option of a TCP header as it lies on the wire, without kind
// and length.
type TCPOption struct {
	Kind uint8
	Data []byte
}

// ICMP is an ICMP message. What it quotes is a TCP segment of ours.
type ICMP struct {
	Type, Code string
	MTU        int // -1: not said
	ID         uint16
	Quote      bool
	Seq        uint32
	Len        int
}

// Call is a system call: what it is given and what it has to return.
type Call struct {
	Blocking bool
	End      time.Duration // of a blocking call; relative where the event is
	Name     string
	Args     []Expr
	Result   Expr
	Errno    string
}

// Expr is an argument or a result. Exactly one of the groups is used.
type Expr struct {
	Line int
	Kind exprKind
	Int  int64
	Text string // word, string, function
	List []Expr // list, arguments, operands of |
	Fld  []Field
}

type exprKind uint8

const (
	exprEllipsis exprKind = iota
	exprInt
	exprWord
	exprString
	exprList   // [a, b] or {a, b}
	exprStruct // {name=value, name(arg)=value}
	exprOr     // a | b
	exprCall   // htons(80), inet_addr("192.0.2.1")
)

// Field is a member of a structure.
type Field struct {
	Name  string
	Arg   *Expr // msg_iov(2)=
	Value Expr
}

// String writes an expression about as the script has it.
func (e Expr) String() string {
	list := func(items []Expr, sep string) string {
		var words []string
		for _, i := range items {
			words = append(words, i.String())
		}
		return strings.Join(words, sep)
	}
	switch e.Kind {
	case exprInt:
		return strconv.FormatInt(e.Int, 10)
	case exprWord:
		return e.Text
	case exprString:
		return strconv.Quote(e.Text)
	case exprList:
		return "[" + list(e.List, ", ") + "]"
	case exprOr:
		return list(e.List, "|")
	case exprCall:
		return e.Text + "(" + list(e.List, ", ") + ")"
	case exprStruct:
		var words []string
		for _, f := range e.Fld {
			words = append(words, f.Name+"="+f.Value.String())
		}
		return "{" + strings.Join(words, ", ") + "}"
	}
	return "..."
}

// String writes a call with its arguments.
func (c *Call) String() string {
	return Expr{Kind: exprCall, Text: c.Name, List: c.Args}.String()
}

// Error is why a script did not pass.
type Error struct {
	File string
	Line int
	Text string

	// Script says that the script itself is at fault: it has a construct
	// that is not understood, or asks for something that is not supported.
	Script bool
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text) }
