/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C reference beside which the Go ring driver is measured, after the
 * xdpsock sample of the kernel: one AF_XDP socket in copy mode on one queue,
 * one thread, bursts of 64. Rings, frames, send buffer and the kernel's budget
 * per call are those of the Go side.
 *
 *   xskref MODE INTERFACE CPU MILLISECONDS FRAME
 *
 *   rxdrop   receive, give the buffer back
 *   txonly   send the frame that the file FRAME holds
 *   l2fwd    receive, swap the MAC addresses, send from the same buffer
 *   rxdrain, l2drain
 *            wait until 1024 frames lie in the ring, then take the time that
 *            rxdrop or l2fwd needs for them
 *
 * It prints "fd N" once the socket is bound, so that the caller can put it into
 * an XSKMAP, and starts when it reads a line. It works at real-time priority,
 * stops after the time, and prints what it counted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <xdp/xsk.h>

#define BATCH 64
#define RING 2048
#define FRAMES 4096 /* the first half is for receiving */
#define FRAME_SIZE 2048
#define CHUNK 1024 /* frames timed as one */
#define MAX_CHUNKS (1 << 16)
#define SEND_BUFFER (32 << 20)
#define TX_BUDGET 512
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9 /* Linux 6.18 */
#endif

static struct xsk_ring_prod fill, tx;
static struct xsk_ring_cons completion, rx;
static struct xsk_socket *xsk;
static uint8_t *memory;
static int fd;

static uint64_t frames, kicks, wakeups, outstanding;
static uint32_t chunk_ns[MAX_CHUNKS];
static uint32_t chunks;

static void die(const char *what, int error)
{
	fprintf(stderr, "xskref: %s: %s\n", what, strerror(error));
	exit(1);
}

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void open_socket(const char *interface)
{
	struct xsk_umem_config umem_config = {
		.fill_size = RING,
		.comp_size = RING,
		.frame_size = FRAME_SIZE,
	};
	struct xsk_socket_config config = {
		.rx_size = RING,
		.tx_size = RING,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP,
	};
	struct xsk_umem *umem;
	int value, error, tries = 0;
	uint32_t at;

	memory = mmap(NULL, FRAMES * FRAME_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		die("map frames", errno);
	error = xsk_umem__create(&umem, memory, FRAMES * FRAME_SIZE, &fill, &completion, &umem_config);
	if (error)
		die("create umem", -error);
	/* The queue of a socket that was closed is free a little later. */
	while ((error = xsk_socket__create(&xsk, interface, 0, umem, &rx, &tx, &config)) == -EBUSY && tries++ < 100)
		usleep(20000);
	if (error)
		die("bind socket", -error);
	fd = xsk_socket__fd(xsk);
	value = TX_BUDGET;
	if (setsockopt(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &value, sizeof(value)))
		perror("xskref: set budget");
	value = SEND_BUFFER;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &value, sizeof(value)))
		perror("xskref: set send buffer");
	if (xsk_ring_prod__reserve(&fill, RING, &at) != RING)
		die("fill", ENOBUFS);
	for (int i = 0; i < RING; i++)
		*xsk_ring_prod__fill_addr(&fill, at++) = (uint64_t)i * FRAME_SIZE;
	xsk_ring_prod__submit(&fill, RING);
}

static inline void wake_rx(void)
{
	if (xsk_ring_prod__needs_wakeup(&fill)) {
		wakeups++;
		recvfrom(fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
	}
}

/* Has the kernel send what was submitted. */
static inline void kick_tx(void)
{
	if (!xsk_ring_prod__needs_wakeup(&tx))
		return;
	for (;;) {
		kicks++;
		if (sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0)
			return;
		if (errno != EAGAIN && errno != EBUSY && errno != ENOBUFS && errno != EINTR)
			die("send", errno);
		if (errno != EINTR)
			return;
	}
}

static inline uint32_t rxdrop(void)
{
	uint32_t from, to, n = xsk_ring_cons__peek(&rx, BATCH, &from);

	if (!n) {
		wake_rx();
		return 0;
	}
	while (xsk_ring_prod__reserve(&fill, n, &to) != n)
		wake_rx();
	for (uint32_t i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(&fill, to++) = xsk_ring_cons__rx_desc(&rx, from++)->addr;
	xsk_ring_prod__submit(&fill, n);
	xsk_ring_cons__release(&rx, n);
	frames += n;
	return n;
}

static inline void txonly(uint32_t length)
{
	static uint32_t next;
	uint32_t at, n;

	if (xsk_ring_prod__reserve(&tx, BATCH, &at) == BATCH) {
		for (int i = 0; i < BATCH; i++) {
			struct xdp_desc *d = xsk_ring_prod__tx_desc(&tx, at++);

			d->addr = (uint64_t)next * FRAME_SIZE;
			d->len = length;
			d->options = 0;
			next = (next + 1) % FRAMES;
		}
		xsk_ring_prod__submit(&tx, BATCH);
	}
	kick_tx();
	n = xsk_ring_cons__peek(&completion, RING, &at);
	xsk_ring_cons__release(&completion, n);
	frames += n;
}

static inline void swap_macs(uint8_t *frame)
{
	uint8_t mac[6];

	memcpy(mac, frame, 6);
	memcpy(frame, frame + 6, 6);
	memcpy(frame + 6, mac, 6);
}

/* Buffers that were sent are received into again. */
static inline void recycle(void)
{
	uint32_t from, to, n = xsk_ring_cons__peek(&completion, RING, &from);

	if (!n)
		return;
	while (xsk_ring_prod__reserve(&fill, n, &to) != n)
		wake_rx();
	for (uint32_t i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(&fill, to++) = *xsk_ring_cons__comp_addr(&completion, from++);
	xsk_ring_prod__submit(&fill, n);
	xsk_ring_cons__release(&completion, n);
	frames += n;
	outstanding -= n;
}

static inline uint32_t l2fwd(void)
{
	uint32_t from, to, n = xsk_ring_cons__peek(&rx, BATCH, &from);

	if (!n) {
		wake_rx();
		if (outstanding) {
			kick_tx();
			recycle();
		}
		return 0;
	}
	while (xsk_ring_prod__reserve(&tx, n, &to) != n) {
		kick_tx();
		recycle();
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *r = xsk_ring_cons__rx_desc(&rx, from++);
		struct xdp_desc *t = xsk_ring_prod__tx_desc(&tx, to++);

		swap_macs(memory + r->addr);
		*t = *r;
	}
	xsk_ring_prod__submit(&tx, n);
	xsk_ring_cons__release(&rx, n);
	outstanding += n;
	kick_tx();
	recycle();
	return n;
}

static inline void drain(uint32_t (*step)(void))
{
	uint64_t start;
	uint32_t n;

	if (__atomic_load_n(rx.producer, __ATOMIC_ACQUIRE) - *rx.consumer < CHUNK)
		return;
	start = now(CLOCK_MONOTONIC);
	for (n = 0; n < CHUNK;)
		n += step();
	if (chunks < MAX_CHUNKS)
		chunk_ns[chunks++] = (now(CLOCK_MONOTONIC) - start) * CHUNK / n;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t read_frame(const char *path)
{
	uint8_t frame[FRAME_SIZE];
	FILE *f = fopen(path, "rb");
	uint32_t n;

	if (!f)
		die(path, errno);
	n = fread(frame, 1, sizeof(frame), f);
	fclose(f);
	for (int i = 0; i < FRAMES; i++)
		memcpy(memory + (size_t)i * FRAME_SIZE, frame, n);
	return n;
}

int main(int argc, char **argv)
{
	enum { RXDROP, TXONLY, L2FWD, RXDRAIN, L2DRAIN, MODES } mode;
	static const char *const names[] = { "rxdrop", "txonly", "l2fwd", "rxdrain", "l2drain" };
	uint64_t start, cpu, length_ns, ns;
	struct sched_param priority = { .sched_priority = 1 };
	struct rusage before, after;
	uint32_t length = 0;
	cpu_set_t set;
	char line[16];

	if (argc != 6) {
		fprintf(stderr, "usage: xskref MODE INTERFACE CPU MILLISECONDS FRAME\n");
		return 2;
	}
	for (mode = RXDROP; mode < MODES && strcmp(argv[1], names[mode]); mode++)
		;
	if (mode == MODES)
		die(argv[1], EINVAL);
	CPU_ZERO(&set);
	CPU_SET(atoi(argv[3]), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("pin", errno);
	/* At that priority nobody else would end it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		die("set death signal", errno);
	length_ns = strtoull(argv[4], NULL, 10) * 1000000;
	open_socket(argv[2]);
	if (mode == TXONLY)
		length = read_frame(argv[5]);
	printf("fd %d\n", fd);
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 0;

	if (sched_setscheduler(0, SCHED_FIFO, &priority))
		die("set priority", errno);
	getrusage(RUSAGE_THREAD, &before);
	cpu = now(CLOCK_THREAD_CPUTIME_ID);
	start = now(CLOCK_MONOTONIC);
	do {
		for (int i = 0; i < 256; i++) {
			switch (mode) {
			case RXDROP: rxdrop(); break;
			case TXONLY: txonly(length); break;
			case L2FWD: l2fwd(); break;
			case RXDRAIN: drain(rxdrop); break;
			case L2DRAIN: drain(l2fwd); break;
			default: break;
			}
		}
		ns = now(CLOCK_MONOTONIC) - start;
	} while (ns < length_ns);
	cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
	getrusage(RUSAGE_THREAD, &after);
	qsort(chunk_ns, chunks, sizeof(*chunk_ns), by_value);
	printf("{\"frames\":%lu,\"ns\":%lu,\"cpu_ns\":%lu,\"kicks\":%lu,\"wakeups\":%lu,\"chunk_ns\":%u,\"sleeps\":%ld}\n",
	       frames, ns, cpu, kicks, wakeups, chunks ? chunk_ns[chunks / 2] : 0, after.ru_nvcsw - before.ru_nvcsw);
	return 0;
}
