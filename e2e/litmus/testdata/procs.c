/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets across processes, programs and threads. */
#include "litmus.h"
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>

extern char **environ;

/* In another program: the socket in argument 0 is served once. */
LITMUS(_serve)
{
	int l = atoi(args[0]), s = accept(l, NULL, NULL);
	char b[8] = "";

	NEED(s >= 0);
	say("accepted by the next program: %s", R(read(s, b, 5)));
	NEED(write(s, "world", 5) == 5);
	SAY_CALL("its names: %s %s", getsockname(s, (void *)&(struct sockaddr_storage){ 0 }, &(socklen_t){ 128 }), R(getpeername(s, (void *)&(struct sockaddr_storage){ 0 }, &(socklen_t){ 128 })));
}

/* In another program: connects to port argument 0. */
LITMUS(_connect)
{
	int c = tcp();
	char b[8] = "";

	say("connect: %s", R(dial(c, "127.0.0.1", atoi(args[0]))));
	say("write: %s", R(write(c, "hello", 5)));
	SAY_CALL("read: %s %s", read(c, b, 5), b);
}

static const char *as_text(int n)
{
	static char text[2][16];
	static int next;
	char *b = text[next++ % 2];

	snprintf(b, 16, "%d", n);
	return b;
}

static void ask(int port)
{
	int c = tcp();
	char b[8] = "";

	NEED(dial(c, "127.0.0.1", port) == 0 && write(c, "hello", 5) == 5);
	NEED(recv(c, b, 5, MSG_WAITALL) == 5 && !strcmp(b, "world"));
	(void)read(c, b, 1);
	close(c);
}

LITMUS(exec_with_listener)
{
	int l = listener("127.0.0.1");
	pid_t pid = fork();

	if (!pid) {
		execl("/proc/self/exe", self, "_serve", as_text(l), (char *)NULL);
		_exit(9);
	}
	ask(port_of(l));
	say("child: %s", wait_for(pid));
}

/* Lets a child connect; its lines come before ours. */
static void run(const char *how, int l, pid_t pid)
{
	char b[8] = "";
	int s = accept(l, NULL, NULL);
	const char *asked, *ended;

	NEED(s >= 0);
	asked = R(read(s, b, 5));
	NEED(write(s, "world", 5) == 5);
	ended = wait_for(pid);
	close(s);
	say("%s: %s, %s", how, asked, ended);
}

/* Every way to start a program; its new sockets are of the same network. */
LITMUS(exec_family)
{
	int l = listener("127.0.0.1"), fd;
	const char *port = as_text(port_of(l));
	char *argv[] = { self, "_connect", (char *)port, NULL }, command[4096];
	pid_t pid;

#define STARTS(how, call)                       \
	do {                                    \
		if (!(pid = fork())) {          \
			call;                   \
			_exit(9);               \
		}                               \
		run(how, l, pid);               \
	} while (0)
	STARTS("execv", execv(self, argv));
	STARTS("execve", execve(self, argv, environ));
	STARTS("execvp", execvp(self, argv));
	STARTS("execvpe", execvpe(self, argv, environ));
	STARTS("execl", execl(self, self, "_connect", port, (char *)NULL));
	STARTS("execlp", execlp(self, self, "_connect", port, (char *)NULL));
	STARTS("execle", execle(self, self, "_connect", port, (char *)NULL, environ));
	fd = open(self, O_RDONLY | O_CLOEXEC);
	STARTS("fexecve", fexecve(fd, argv, environ));
	STARTS("execveat", syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH));
	NEED(posix_spawn(&pid, self, NULL, NULL, argv, environ) == 0);
	run("posix_spawn", l, pid);
	NEED(posix_spawnp(&pid, self, NULL, NULL, argv, environ) == 0);
	run("posix_spawnp", l, pid);
	if (!(pid = vfork())) {
		execv(self, argv);
		_exit(9);
	}
	run("vfork", l, pid);
	snprintf(command, sizeof command, "%s _connect %s", self, port);
	STARTS("system", _exit(system(command)));
	STARTS("popen", {
		FILE *f = popen(command, "r");
		while (fgets(command, sizeof command, f))
			fputs(command, stdout);
		_exit(pclose(f));
	});
}

/* Programs that clean the environment are still of the same network. */
LITMUS(exec_clean_environment)
{
	static char *none[] = { NULL }, *one[] = { "A=b", NULL };
	int l = listener("127.0.0.1");
	const char *port = as_text(port_of(l));
	char *argv[] = { self, "_connect", (char *)port, NULL };
	char *env[] = { "env", "-i", self, "_connect", (char *)port, NULL };
	pid_t pid;

	STARTS("execve", execve(self, argv, none));
	STARTS("execve with one", execve(self, argv, one));
	STARTS("execle", execle(self, self, "_connect", port, (char *)NULL, one));
	STARTS("execvpe", execvpe(self, argv, none));
	STARTS("environ", { environ = none; execvp(self, argv); });
	STARTS("clearenv", { clearenv(); execl(self, self, "_connect", port, (char *)NULL); });
	STARTS("env -i", execvp("env", env));
	if (!(pid = vfork())) {
		execve(self, argv, none);
		_exit(9);
	}
	run("vfork", l, pid);
	NEED(posix_spawn(&pid, self, NULL, NULL, argv, one) == 0);
	run("posix_spawn", l, pid);
}

LITMUS(exec_errors)
{
	char *argv[] = { "x", NULL };

	say("execv: %s", R(execv("/nonexistent", argv)));
	say("execvp: %s", R(execvp("nonexistent-program", argv)));
	say("execvp path: %s", R(execvp("/nonexistent/x", argv)));
	say("execvp empty: %s", R(execvp("", argv)));
	say("execve dir: %s", R(execve("/tmp", argv, environ)));
	say("execvp dir: %s", R(execvp("/tmp", argv)));
	say("execl not executable: %s", R(execl("/etc/passwd", "x", (char *)NULL)));
	say("posix_spawn: %d", posix_spawn(&(pid_t){ 0 }, "/nonexistent", NULL, NULL, argv, environ));
}

static void script(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	NEED(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

LITMUS(exec_search)
{
	char dir[] = "/tmp/litmusXXXXXX", path[128], search[256];
	char *argv[] = { "noheader", "an argument", NULL };
	pid_t pid;

	NEED(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/noheader", dir);
	script(path, "echo script $#\nexit 5\n");
	snprintf(search, sizeof search, "/nonexistent:/etc/passwd:%s:/bin", dir);
	setenv("PATH", search, 1);
	fflush(stdout);
	if (!(pid = fork())) {
		execvp("noheader", argv);
		_exit(9);
	}
	say("no header: %s", wait_for(pid));
	chmod(path, 0644);
	if (!(pid = fork()))
		_exit(execvp("noheader", argv) && errno == EACCES ? 7 : 8);
	say("not executable: %s", wait_for(pid));
	unlink(path);
	rmdir(dir);
}

LITMUS(scm_rights)
{
	int v[2], c, s, l = listener("127.0.0.1"), port = port_of(l);
	pid_t pid;
	char b[8] = "";

	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, v) == 0);
	pid = fork();
	if (!pid) {
		int got;

		close(l);
		got = receive_fd(v[1]);
		s = accept(got, NULL, NULL);
		NEED(s >= 0);
		say("child accepted: %s", R(read(s, b, 5)));
		send_fd(v[1], s);
		close(s);
		s = receive_fd(v[1]);
		say("child got: %s", R(write(s, "again", 5)));
		_exit(0);
	}
	send_fd(v[0], l);
	close(l);
	c = tcp();
	NEED(dial(c, "127.0.0.1", port) == 0 && write(c, "hello", 5) == 5);
	s = receive_fd(v[0]);
	say("parent got: %s", exchange(s, c, "hello"));
	say("name: %d", port_of(s) == port);
	send_fd(v[0], s);
	close(s);
	say("child: %s", wait_for(pid));
	SAY_CALL("from the child: %s %s", recv(c, b, 5, MSG_WAITALL), b);
	say("last close: %s", R(read(c, b, 5)));
	say("listener went with the child: %s", R(dial(tcp(), "127.0.0.1", port)));
}

/* The connection ends when the last process that has it is gone. */
LITMUS(last_close_by_kill)
{
	int c, s, p[2];
	pid_t pid, grandchild;
	char b;

	connected(&c, &s);
	NEED(pipe(p) == 0);
	pid = fork();
	if (!pid) {
		grandchild = fork();
		if (!grandchild) {
			alarm(10);
			close(c);
			pause();
		}
		NEED(write(p[1], &grandchild, sizeof grandchild) == sizeof grandchild);
		_exit(0);
	}
	NEED(read(p[0], &grandchild, sizeof grandchild) == sizeof grandchild);
	say("child: %s", wait_for(pid));
	close(s);
	say("still open: %s", polled(c, 80));
	NEED(send(c, "x", 1, 0) == 1);
	settle();
	kill(grandchild, SIGKILL);
	say("read: %s", R(read(c, &b, 1)));
	connected(&c, &s);
	pid = fork();
	if (!pid) {
		close(c);
		pause();
	}
	close(s);
	kill(pid, SIGKILL);
	say("child: %s", wait_for(pid));
	say("nothing unread: %s", R(read(c, &b, 1)));
}

LITMUS(dup_family)
{
	int c, s, d, e;
	char b[8];

	connected(&c, &s);
	d = dup(c);
	close(c);
	say("dup: %s", exchange(d, s, "hello"));
	e = fcntl(d, F_DUPFD_CLOEXEC, 50);
	say("F_DUPFD_CLOEXEC: %d %d", e >= 50, fcntl(e, F_GETFD));
	close(d);
	say("F_DUPFD: %s", exchange(e, s, "hello"));
	say("dup3: %s", R(dup3(e, 70, O_CLOEXEC) == 70));
	close(e);
	say("dup3: %s", exchange(70, s, "hello"));
	say("flags are shared: %d", ({ d = dup(70); nonblocking(d, 1); !!(fcntl(70, F_GETFL) & O_NONBLOCK); }));
	close(d);
	close(70);
	say("last close: %s", R(read(s, b, 1)));
}

LITMUS(dup2_over_live)
{
	int c, s, c2, s2;
	char b[8];

	connected(&c, &s);
	connected(&c2, &s2);
	say("dup2: %d", dup2(c2, c) == c);
	say("old peer sees the end: %s", R(read(s, b, 1)));
	close(c2);
	say("new one: %s %s", exchange(c, s2, "hello"), exchange(s2, c, "world"));
	say("onto a listener: %s", ({ int l = listener("127.0.0.1"), port = port_of(l); dup2(c, l); R(dial(tcp(), "127.0.0.1", port)); }));
	say("names: %s", R(getpeername(c, (void *)&(struct sockaddr_storage){ 0 }, &(socklen_t){ 128 })));
	dup2(c, 0);
	say("standard input: %s", exchange(s2, 0, "hello"));
}

LITMUS(close_many)
{
	int c, s, top, l;
	char b;

	connected(&c, &s);
	top = dup2(s, 200);
	close(s);
	if (syscall(SYS_close_range, 150, 250, 0) < 0)
		close(top);
	say("peer: %s", R(read(c, &b, 1)));
	/* All but the standard ones, the way services start. */
	for (int i = 3; i < 1024; i++)
		close(i);
	l = listener("127.0.0.1");
	say("lowest number: %d", l);
	c = tcp();
	say("connect: %s", R(dial(c, "127.0.0.1", port_of(l))));
	s = accept(l, NULL, NULL);
	say("works: %s", exchange(c, s, "hello"));
	for (int i = 3; i < 1024; i++)
		close(i);
	say("again: %d", listener("127.0.0.1"));
}

static void serve_storm(void *arg)
{
	int l = *(int *)arg, n = 0;
	char b[8];

	for (;;) {
		int s = accept(l, NULL, NULL);

		if (s < 0)
			continue;
		if (read(s, b, 1) != 1 || b[0] == 'q')
			_exit(0);
		n++;
		(void)!write(s, b, 1);
		close(s);
	}
}

LITMUS(accept_storm)
{
	int l = listener("127.0.0.1"), ok = 0;
	pid_t pid[8], clients[4];

	for (int i = 0; i < 8; i++)
		pid[i] = child(serve_storm, &l);
	for (int i = 0; i < 4; i++) {
		clients[i] = fork();
		if (!clients[i]) {
			int good = 0;

			alarm(14);
			for (int k = 0; k < 250; k++) {
				int c = tcp();
				char b = 'x';

				good += dial(c, "127.0.0.1", port_of(l)) == 0 && write(c, &b, 1) == 1 && read(c, &b, 1) == 1 && b == 'x';
				close(c);
			}
			_exit(good == 250 ? 0 : 1);
		}
	}
	for (int i = 0; i < 4; i++)
		ok += !strcmp(wait_for(clients[i]), "exit 0");
	for (int i = 0; i < 8; i++) {
		int c = tcp();

		NEED(dial(c, "127.0.0.1", port_of(l)) == 0 && write(c, "q", 1) == 1);
		(void)!read(c, &(char){ 0 }, 1);
		close(c);
	}
	for (int i = 0; i < 8; i++)
		say("server: %s", wait_for(pid[i]));
	say("clients that were content: %d", ok);
}

LITMUS(fd_limit)
{
	struct rlimit limit = { 40, 40 }, old;
	int l = listener("127.0.0.1"), port = port_of(l), c = tcp(), c2, s, on = 1, n = 0, fd[64];

	getrlimit(RLIMIT_NOFILE, &old);
	limit.rlim_max = old.rlim_max;
	c2 = tcp();
	NEED(dial(c, "127.0.0.1", port) == 0);
	NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	while ((fd[n] = open("/dev/null", O_RDONLY)) >= 0)
		n++;
	say("full: %s", error_name(errno));
	say("socket: %s", R(socket(AF_INET, SOCK_STREAM, 0)));
	say("accept: %s", R(accept(l, NULL, NULL)));
	say("getsockname: %s", R(getsockname(l, (void *)&(struct sockaddr_storage){ 0 }, &(socklen_t){ 128 })));
	say("setsockopt: %s", R(setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)));
	say("connect: %s", R(dial(c2, "127.0.0.1", port)));
	close(fd[--n]);
	s = accept(l, NULL, NULL);
	say("accept with one free: %s", s < 0 ? error_name(errno) : "ok");
	say("the connection was not lost: %s", exchange(c, s, "hello"));
	close(s);
	s = socket(AF_INET, SOCK_STREAM, 0);
	say("socket with one free: %s", s < 0 ? error_name(errno) : "ok");
	say("the limit is as it was: %d", ({ struct rlimit now; getrlimit(RLIMIT_NOFILE, &now); now.rlim_cur == 40 && now.rlim_max == old.rlim_max; }));
}

LITMUS(chroot_setuid)
{
	char dir[] = "/tmp/litmusXXXXXX";
	int l, c, s;

	NEED(mkdtemp(dir) && chmod(dir, 0755) == 0);
	say("chroot: %s", R(chroot(dir)));
	rmdir(dir);
	NEED(chdir("/") == 0);
	SAY_CALL("setgid, setuid: %s %s", setgid(65534), R(setuid(65534)));
	l = listener("127.0.0.1");
	c = tcp();
	say("connect: %s", R(dial(c, "127.0.0.1", port_of(l))));
	s = accept(l, NULL, NULL);
	say("works: %s", exchange(c, s, "hello"));
}

/* Numbers of system calls instead of functions, as runtimes do. */
LITMUS(syscall_numbers)
{
	struct sockaddr_in a = at("127.0.0.1", 0), got;
	socklen_t len = sizeof got;
	int l = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), c, s, on = 1, n = 0;
	struct iovec iov = { "hello", 5 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	char b[8] = "";

	say("setsockopt: %s", R(syscall(SYS_setsockopt, l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on)));
	say("bind: %s", R(syscall(SYS_bind, l, &a, sizeof a)));
	say("listen: %s", R(syscall(SYS_listen, l, 8)));
	say("getsockname: %s", R(syscall(SYS_getsockname, l, &got, &len)));
	say("family: %d", got.sin_family);
	c = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	say("connect: %s", R(syscall(SYS_connect, c, &got, sizeof got)));
	len = sizeof got;
	s = (int)syscall(SYS_accept4, l, &got, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	say("accept4: %d flags %d %d", s >= 0, !!(fcntl(s, F_GETFL) & O_NONBLOCK), fcntl(s, F_GETFD));
	say("peer: %d", got.sin_family);
	say("getpeername: %s", R(syscall(SYS_getpeername, s, &got, &len)));
	SAY_CALL("getsockopt: %s %d", syscall(SYS_getsockopt, s, SOL_SOCKET, SO_DOMAIN, &n, &len), n);
	say("sendto: %s", R(syscall(SYS_sendto, c, "x", 1, 0, NULL, 0)));
	await(s, POLLIN);
	say("recvfrom: %s", R(syscall(SYS_recvfrom, s, b, 1, 0, NULL, NULL)));
	say("sendmsg: %s", R(syscall(SYS_sendmsg, c, &msg, 0)));
	await(s, POLLIN);
	say("read: %s", R(syscall(SYS_read, s, b, 5)));
	say("ioctl: %s", R(syscall(SYS_ioctl, s, FIONREAD, &n)));
	say("shutdown: %s", R(syscall(SYS_shutdown, c, SHUT_WR)));
	await(s, POLLIN);
	say("read: %s", R(syscall(SYS_read, s, b, 5)));
	say("close: %s", R(syscall(SYS_close, s)));
	say("bad number: %s", R(syscall(100000)));
	say("getpid: %d", syscall(SYS_getpid) == getpid());
	say("mmap has six arguments: %d", syscall(SYS_mmap, NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != -1);
}

/* A standard stream on a socket. */
LITMUS(stdio)
{
	int c, s;
	FILE *f, *g;
	char line[64] = "";

	connected(&c, &s);
	f = fdopen(c, "r+");
	g = fdopen(dup(s), "w");
	fprintf(g, "one line\nanother\n");
	fflush(g);
	say("fgets: %d %.8s", fgets(line, sizeof line, f) != NULL, line);
	say("fgets: %d %.7s", fgets(line, sizeof line, f) != NULL, line);
	fprintf(f, "back\n");
	fflush(f);
	say("read: %s", R(read(s, line, 5)));
	say("dprintf: %d", dprintf(s, "x\n"));
	fclose(g);
	close(s);
	say("fgets: %d", fgets(line, sizeof line, f) != NULL);
	say("eof: %d", fgets(line, sizeof line, f) == NULL && feof(f));
}

LITMUS(many_short)
{
	int l = listener("127.0.0.1"), port = port_of(l), ok = 0;
	char b[8];

	for (int i = 0; i < 500; i++) {
		int c = tcp(), s;

		NEED(dial(c, "127.0.0.1", port) == 0);
		s = accept(l, NULL, NULL);
		NEED(s >= 0);
		ok += write(c, "q", 1) == 1 && read(s, b, 1) == 1 && write(s, "a", 1) == 1;
		close(s);
		ok += read(c, b, 8) == 1 && read(c, b, 8) == 0;
		close(c);
	}
	say("ok: %d", ok);
}

/* Becomes another program. */
LITMUS(_become)
{
	execv(args[0], args);
	give_up("execv");
}
