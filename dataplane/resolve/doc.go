// SPDX-License-Identifier: Apache-2.0

// Package resolve answers a container's questions for names.
//
// # Theory of operation
//
//	names.go    who is on a network: containers, by name and by address
//	answer.go   one DNS query in, one answer out
//	serve.go    queries over a stream
//	find.go     what getaddrinfo asks, made of such queries
//	forward.go  other names, asked of the host's resolvers
//
// On network "blue" a container "web" is called "web" and "web.blue", with A and
// AAAA for its addresses and PTR back to "web.blue"; "blue" itself has the
// addresses of all its containers. A container knows its own network and no
// other. What lies below "blue", and addresses of its subnets, is answered here
// and by nobody else. Other names are forwarded: to resolvers on the container's own
// network over that, whatever its policy; to others where the policy lets them out.
// Where there is nobody to ask they are refused at once.
//
// # Concurrency
//
// A Resolver may be used from any goroutine. Names are immutable and replaced as
// a whole.
//
// # Limits
//
// Forward waits at most 8 s. Answers from outside are checked for the question
// and a random identifier, on a random port, and passed on as they are: no
// DNSSEC validation, no cache.
//
// # References
//
// RFC 1035, RFC 2181, RFC 6891 (EDNS), RFC 7766 and RFC 9210 (TCP), resolv.conf(5).
package resolve
