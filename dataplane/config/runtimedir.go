// SPDX-License-Identifier: Apache-2.0

package config

// SystemRuntimeDir is where root's daemon keeps its sockets by default.
const SystemRuntimeDir = "/run/netcon"

// DefaultRuntimeDir returns where this user's daemon keeps its sockets when the
// configuration does not say.
func DefaultRuntimeDir() string {
	h := thisHost()
	dir, _ := h.runtimeDir()
	return dir
}
