/* SPDX-License-Identifier: Apache-2.0 */
/* What the files about datagrams share. */
#ifndef LITMUS_DGRAM_H
#define LITMUS_DGRAM_H

#include "litmus.h"

int udp(void);
int udp6(void);

/* Bound to an address, and any port. */
int udp_at(const char *ip);
int udp6_at(const char *ip);
long to(int fd, const char *text, size_t n, const char *ip, int port);
long to6(int fd, const char *text, size_t n, const char *ip, int port);
const char *address(const void *from, socklen_t len);

/* Receives and tells what, of whom; and with its flags and control messages. */
void say_received(const char *what, int fd);
void say_message(const char *what, int fd, size_t room);

#endif
