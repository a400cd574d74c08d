// SPDX-License-Identifier: Apache-2.0

//go:build !race

package tcp_test

// simDefault is how many runs TestSimulation makes.
const simDefault = 2000
