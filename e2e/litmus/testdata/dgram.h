/* SPDX-License-Identifier: Apache-2.0 */
/* What the files about datagrams share. */
#ifndef LITMUS_DGRAM_H
#define LITMUS_DGRAM_H

#include "litmus.h"

int udp(void);
int udp6(void);
long to(int fd, const char *text, size_t n, const char *ip, int port);
long to6(int fd, const char *text, size_t n, const char *ip, int port);
const char *address(const void *from, socklen_t len);

#endif
