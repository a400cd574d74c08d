/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deny CALL ERRNO PROGRAM [ARG ...]: runs a program for which a system call fails,
 * as below a container's seccomp profile. CALL is listener (a seccomp filter with a
 * supervisor), pidfd_getfd, process_vm_readv, process_vm_writev, or other: nothing
 * fails, but somebody else supervises the program already.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(k) BPF_STMT(BPF_RET | BPF_K, k)

int main(int argc, char **argv)
{
	struct sock_filter code[] = {
		[0] = LOAD(nr),
		[1] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3), /* the call */
		[2] = LOAD(args[1]),
		[3] = BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0, 0, 1), /* of its flags; none: whatever they are */
		[4] = RETURN(SECCOMP_RET_ERRNO),
		[5] = RETURN(SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof code / sizeof *code, .filter = code };
	unsigned flags = 0;
	int fd;

	if (argc < 4)
		return 2;
	code[4].k |= (unsigned)atoi(argv[2]);
	if (!strcmp(argv[1], "listener")) {
		code[1].k = __NR_seccomp;
		code[3].k = SECCOMP_FILTER_FLAG_NEW_LISTENER;
	} else if (!strcmp(argv[1], "pidfd_getfd")) {
		code[1].k = __NR_pidfd_getfd;
	} else if (!strcmp(argv[1], "process_vm_readv")) {
		code[1].k = __NR_process_vm_readv;
	} else if (!strcmp(argv[1], "process_vm_writev")) {
		code[1].k = __NR_process_vm_writev;
	} else {
		code[1].k = ~0U;
		flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
	}
	if (!code[3].k) /* whatever the flags are */
		code[3] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || (fd = (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program)) < 0) {
		perror("seccomp");
		return 2;
	}
	if (flags)
		fcntl(fd, F_SETFD, 0); /* the supervisor is there as long as the program */
	execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 2;
}
