// SPDX-License-Identifier: Apache-2.0

// Package config reads and checks the configuration file.
//
// # Theory of operation
//
// The file is TOML, and strict: an unknown key, a wrong type and a value that
// cannot work are errors. go-toml says whether the text is valid TOML; its
// parser then gives the values with their lines (tree.go), one reader per table
// turns them into typed fields and fills in the defaults (daemon.go,
// underlay.go, network.go, container.go), and what concerns several tables is
// checked against what was read before. Reading goes on after an error, so one
// run reports everything that is wrong with a file, in the order of its lines:
//
//	netcon.toml:14: network "blue": vni 16777216: out of range (0 to 16777215)
//	FILE:LINE: OBJECT: VALUE: reason (what is accepted)
//
// An error that has no line, such as a file that cannot be opened, leaves it
// out. Values are quoted and shortened: an error is always one line.
//
// # Ownership
//
// A Config is built once, shares no memory with the file and is not changed
// afterwards.
//
// # Concurrency
//
// Pure functions, apart from defaults: the user, the runtime directory and the
// CPUs of this host are asked once per Parse. A Config may be read by anyone.
//
// # Limits
//
// A file has at most 1 MiB, a table at most 256 keys, a network at most 16
// subnets. Socket paths below the runtime directory have at most 107 bytes, what
// fits into sun_path.
//
// # Not supported
//
// Includes, variables and environment substitution. Values that are known and
// not implemented yet (underlay "xdp", engine "native", mode "ring") are
// refused by name.
//
// # References
//
// TOML v1.0.0; RFC 7348 (VXLAN); RFC 791 and 8200 section 5 (smallest MTU);
// RFC 3021 and 6164 (/31 and /127 subnets); RFC 4291 section 2.6.1
// (subnet-router anycast); unix(7).
package config
