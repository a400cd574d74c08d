/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw system calls: the result is the kernel's, -errno on error. This is the
 * only file that knows the architecture.
 */
#ifndef NETCON_PRELOAD_SYSCALL_H
#define NETCON_PRELOAD_SYSCALL_H

#include <asm/unistd.h>

#if defined(__x86_64__)

static inline long nc_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__)

static inline long nc_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}

#else
#error "netcon: no system calls for this architecture"
#endif

#define NC_ARG(x) ((long)(x))
#define nc_sys1(nr, a) nc_syscall6(nr, NC_ARG(a), 0, 0, 0, 0, 0)
#define nc_sys2(nr, a, b) nc_syscall6(nr, NC_ARG(a), NC_ARG(b), 0, 0, 0, 0)
#define nc_sys3(nr, a, b, c) nc_syscall6(nr, NC_ARG(a), NC_ARG(b), NC_ARG(c), 0, 0, 0)
#define nc_sys4(nr, a, b, c, d) nc_syscall6(nr, NC_ARG(a), NC_ARG(b), NC_ARG(c), NC_ARG(d), 0, 0)
#define nc_sys5(nr, a, b, c, d, e) nc_syscall6(nr, NC_ARG(a), NC_ARG(b), NC_ARG(c), NC_ARG(d), NC_ARG(e), 0)

#endif /* NETCON_PRELOAD_SYSCALL_H */
