// SPDX-License-Identifier: Apache-2.0

//go:build race

package tcp_test

// simDefault is how many runs TestSimulation makes: the race detector costs a
// factor of ten, and there is one goroutine to a run.
const simDefault = 100
