/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a test talks to the fake daemon: by where it connects to, and by socket
 * options of a level of its own, on any virtual socket.
 */
#ifndef NETCON_TEST_FAKE_H
#define NETCON_TEST_FAKE_H

#define FAKE_CONTAINER "test"

/*
 * Datagrams come back from where they were sent to, as if sent there with TTL 61
 * and TOS 5 at the time of FAKE_TIME; those to FAKE_REFUSE as an error.
 */
#define FAKE_TIME 1700000000123456789ull

/* Ports. The outcome of held ones comes with FAKE_DECIDE. */
#define FAKE_REFUSE_HELD 5
#define FAKE_ECHO_HELD 6
#define FAKE_ECHO 7
#define FAKE_REFUSE 9

/* 240.0.0.0/4 is unreachable at once. */

#define FAKE_LEVEL 0x6e63

/* setsockopt */
#define FAKE_DELIVER 1 /* int: so many connections for this listener */
#define FAKE_RESTART 2 /* forget everything, but stay */
#define FAKE_DIE 3
#define FAKE_DECIDE 4 /* the outcome of this socket's connect */
#define FAKE_RESET 5  /* this connection is reset */
#define FAKE_WANT 6   /* int: NC_D_WANT_* of this datagram socket */

/* getsockopt: int */
#define FAKE_REQUESTS 1 /* requests so far, this one not counted */
#define FAKE_FILLER 2	/* announced by the last NC_CONNECT that was no probe */
#define FAKE_LIVE 3	/* virtual sockets alive */
#define FAKE_WAITS 4	/* NC_F_WAIT of this socket so far */

/* What NC_OUTQ answers, and one more for bytes that were not sent. */
#define FAKE_OUTQ 4711

/* Delivered connections come from 192.0.2.1, ports counting up from here. */
#define FAKE_PEER_PORT 30000

/* Interfaces: lo with ::1/128, eth0 with FAKE_WEB6/64. */

/* Names: one with both kinds of address, one with one, and as many as there may be. */
#define FAKE_WEB "web"
#define FAKE_WEB4 { 192, 0, 2, 7 }
#define FAKE_WEB6 { 0x20, 0x01, 0x0d, 0xb8, [15] = 7 }
#define FAKE_WEB_NAME "web.test"
#define FAKE_FOUR "four"
#define FAKE_MANY "many"
#define FAKE_LATER "later" /* nobody knows now */
#define FAKE_LIAR "liar"   /* more addresses than there is room for */

#endif /* NETCON_TEST_FAKE_H */
