// SPDX-License-Identifier: Apache-2.0

package stream

import "sync/atomic"

// Pair is the two byte rings of one socket and its state words.
type Pair struct {
	Tx Ring // producer: the application's side; consumer: the engine
	Rx Ring // producer: the engine; consumer: the application's side
	State
}

// State is the words that say what bytes cannot. They are set once and never
// cleared.
type State struct {
	TxEOF atomic.Bool // set by the application's side: nothing follows in Tx
	RxEOF atomic.Bool // set by the engine: the peer's FIN follows the bytes in Rx
}

// Init makes p a private pair without ring memory.
func (p *Pair) Init() {
	p.Tx.Init()
	p.Rx.Init()
}
