// SPDX-License-Identifier: Apache-2.0

package tcp

import "time"

// secrets is what an engine derives from its seed.
type secrets struct {
	table  key
	isn    key
	ts     key
	cookie key
	port   key
	flow   key
}

func newSecrets(seed *[32]byte) secrets {
	return secrets{
		table: subkey(seed, keyTable), isn: subkey(seed, keyISN), ts: subkey(seed, keyTimestamp),
		cookie: subkey(seed, keyCookie), port: subkey(seed, keyPorts), flow: subkey(seed, keyFlow),
	}
}

// initialSeq returns the initial sequence number of a connection (RFC 6528): a
// clock of 4 µs, from which a stranger cannot tell that of another connection.
func (s *secrets) initialSeq(t *tuple, now time.Duration) uint32 {
	return uint32(now>>12) + uint32(s.isn.prf(t.remote.hi, t.remote.lo, t.word()))
}

// tsOffset returns what is added to the millisecond clock to make TSval (RFC
// 7323 section 5.4). It is the same for all connections between two addresses,
// so that their timestamps grow from one connection to the next (RFC 6191).
func (s *secrets) tsOffset(t *tuple) uint32 {
	return uint32(s.ts.prf(t.remote.hi, t.remote.lo, uint64(t.local)))
}

// flowHash returns what spreads connections over the listeners of a
// SO_REUSEPORT group and over paths.
func (s *secrets) flowHash(t *tuple) uint32 { return s.flow.hash(t) }
