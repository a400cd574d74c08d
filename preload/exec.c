/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exec family: programs that clean the environment (nginx at an upgrade,
 * sshd for a session, env -i, CGI servers) would leave the next program with
 * inherited sockets it cannot accept from, and with the host's network for new
 * ones. So where the next program's environment has no LD_PRELOAD at all, ours is
 * added, with the NETCON_ variables that are not there. LD_PRELOAD with any
 * value, the empty one included, is left as it is: that is how a program is kept
 * out.
 *
 * A program that this library does not reach is started by the launcher, under a
 * supervisor (supervised.c).
 *
 * The new array is on the stack: the caller may be a child of vfork. The C
 * library's own functions call no function of ours, so each one is here. They
 * search as those do: glibc's gives a file that is no program to the shell.
 */
#include <stdarg.h>

#include "next.h"

NC_EXPORT int execve(const char *path, char *const argv[], char *const env[]);
NC_EXPORT int execveat(int dir, const char *path, char *const argv[], char *const env[], int flags);
NC_EXPORT int fexecve(int fd, char *const argv[], char *const env[]);
NC_EXPORT int execv(const char *path, char *const argv[]);
NC_EXPORT int execvp(const char *file, char *const argv[]);
NC_EXPORT int execvpe(const char *file, char *const argv[], char *const env[]);
NC_EXPORT int execl(const char *path, const char *arg, ...);
NC_EXPORT int execlp(const char *file, const char *arg, ...);
NC_EXPORT int execle(const char *path, const char *arg, ...);
NC_EXPORT int posix_spawn(int *pid, const char *path, const void *actions, const void *attr, char *const argv[],
			  char *const env[]);
NC_EXPORT int posix_spawnp(int *pid, const char *file, const void *actions, const void *attr, char *const argv[],
			   char *const env[]);

const char *gnu_get_libc_version(void) __attribute__((weak));

#define KEPT 7
#define ENTRIES_MAX 8192 /* 64 KiB of stack */
#define NAME_MAX_LEN 255
#define PATH_MAX_LEN 4096

/* One more than the entries of a list that needs ours, 0 if it does not. */
static size_t wanting(char *const env[])
{
	const struct nc_config *config = nc_config();
	size_t n = 0;

	if (!config || !config->keep.preload[0])
		return 0;
	for (; env && env[n]; n++)
		if (n == ENTRIES_MAX || nc_after(env[n], "LD_PRELOAD="))
			return 0;
	return n + 1;
}

static int has(char *const env[], const char *name)
{
	for (; env && *env; env++)
		if (nc_after(*env, name))
			return 1;
	return 0;
}

/* Fills to, which has room for the entries of env, KEPT more and the end. */
static char *const *complete(char **to, char *const env[])
{
	const struct nc_keep *keep = &nc_config()->keep;
	const struct {
		const char *name, *entry;
	} kept[KEPT] = {
		{ "LD_PRELOAD=", keep->preload },	     { "NETCON_ATTACH=", keep->attach },
		{ "NETCON_SOCKET=", keep->path },	     { "NETCON_CONTAINER=", keep->container },
		{ "NETCON_MISSING=", keep->missing },	     { "NETCON_LAUNCHER=", keep->launcher },
		{ "NETCON_SUPERVISOR=", keep->supervisor },
	};
	size_t n = 0;

	for (; env && env[n]; n++)
		to[n] = env[n];
	for (size_t i = 0; i < KEPT; i++)
		if (kept[i].entry[0] && !has(env, kept[i].name))
			to[n++] = (char *)(uintptr_t)kept[i].entry;
	to[n] = NULL;
	return to;
}

/* Makes a list of our own, in the caller's frame, where env needs one. */
#define COMPLETE(env)                               \
	size_t wanting_ = wanting(env);             \
	char *list_[wanting_ ? wanting_ + KEPT : 1]; \
	if (wanting_)                               \
		(env) = complete(list_, (env))

static size_t entries(char *const list[])
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

/* The way to path through the launcher, in the caller's frame; NULL: none. */
#define LAUNCH(path, argv)                                               \
	size_t args_ = entries(argv);                                    \
	char *launch_[args_ > ENTRIES_MAX ? 1 : args_ + NC_LAUNCH_ARGS]; \
	const char *launcher = args_ > ENTRIES_MAX ? NULL : nc_launcher(path, argv, launch_)

int nc_execve(const char *path, char *const argv[], char *const env[])
{
	COMPLETE(env);
	LAUNCH(path, argv);

	if (launcher)
		/* One that cannot be started, in another root perhaps, is no reason to fail. */
		(void)nc_sys3(__NR_execve, launcher, launch_, env);
	return (int)nc_sys3(__NR_execve, path, argv, env);
}

int nc_execveat(int dir, const char *path, char *const argv[], char *const env[], int flags)
{
	COMPLETE(env);
	return (int)nc_sys5(__NR_execveat, dir, path, argv, env, flags);
}

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

/* A file the kernel takes for no program is one of the shell. */
static int script(const char *path, char *const argv[], char *const env[])
{
	size_t n = entries(argv);

	if (n > ENTRIES_MAX)
		return -E2BIG;
	char *list[n + 3];

	list[0] = (char *)(uintptr_t)"/bin/sh";
	list[1] = (char *)(uintptr_t)path;
	for (size_t i = 1; i < n; i++)
		list[i + 1] = argv[i];
	list[n ? n + 1 : 2] = NULL;
	return nc_execve(list[0], list, env);
}

static int program_or_script(const char *path, char *const argv[], char *const env[])
{
	int err = nc_execve(path, argv, env);

	return err == -ENOEXEC && gnu_get_libc_version ? script(path, argv, env) : err;
}

static const char *variable(const char *name)
{
	const char *v;

	for (char **e = &environ ? environ : NULL; e && *e; e++)
		if ((v = nc_after(*e, name)))
			return v;
	return NULL;
}

static int is_path(const char *file)
{
	for (; *file; file++)
		if (*file == '/')
			return 1;
	return 0;
}

/*
 * Walks the directories of PATH: *dirs is where it stands, NULL at the end. Builds
 * the name of file, of n bytes, in the next one.
 */
static int next_path(const char **dirs, const char *file, size_t n, char *path)
{
	const char *d = *dirs, *end;
	size_t at = 0;

	for (end = d; *end && *end != ':'; end++)
		;
	*dirs = *end ? end + 1 : NULL;
	if (end - d >= PATH_MAX_LEN)
		return 0;
	while (d < end)
		path[at++] = *d++;
	if (at)
		path[at++] = '/';
	for (size_t i = 0; i <= n; i++)
		path[at + i] = file[i];
	return 1;
}

static const char *directories(void)
{
	const char *dirs = variable("PATH=");

	if (dirs)
		return dirs;
	return gnu_get_libc_version ? "/bin:/usr/bin" : "/usr/local/bin:/bin:/usr/bin";
}

/* The first program of that name; NULL: none. */
static const char *locate(const char *file, char *path)
{
	const char *dirs = directories();
	size_t n = length(file);

	while (n && n <= NAME_MAX_LEN && dirs)
		if (next_path(&dirs, file, n, path) && nc_sys4(__NR_faccessat, AT_FDCWD, path, X_OK, 0) == 0)
			return path;
	return NULL;
}

static int search(const char *file, char *const argv[], char *const env[])
{
	const char *dirs = directories();
	char path[PATH_MAX_LEN + NAME_MAX_LEN + 2];
	size_t n = length(file);
	int err = -ENOENT, denied = 0;

	if (!n)
		return -ENOENT;
	if (is_path(file))
		return program_or_script(file, argv, env);
	if (n > NAME_MAX_LEN)
		return -ENAMETOOLONG;
	while (dirs) {
		if (!next_path(&dirs, file, n, path))
			continue;
		err = program_or_script(path, argv, env);
		denied |= err == -EACCES;
		if (err != -EACCES && err != -ENOENT && err != -ESTALE && err != -ENOTDIR && err != -ENODEV && err != -ETIMEDOUT)
			return err;
	}
	return denied ? -EACCES : err;
}

int execve(const char *path, char *const argv[], char *const env[])
{
	return nc_return(nc_execve(path, argv, env));
}

int execveat(int dir, const char *path, char *const argv[], char *const env[], int flags)
{
	return nc_return(nc_execveat(dir, path, argv, env, flags));
}

int fexecve(int fd, char *const argv[], char *const env[])
{
	if (fd < 0 || !argv || !env)
		return nc_return(-EINVAL);
	return nc_return(nc_execveat(fd, "", argv, env, AT_EMPTY_PATH));
}

int execv(const char *path, char *const argv[])
{
	return nc_return(nc_execve(path, argv, environ));
}

int execvp(const char *file, char *const argv[])
{
	return nc_return(search(file, argv, environ));
}

int execvpe(const char *file, char *const argv[], char *const env[])
{
	return nc_return(search(file, argv, env));
}

static size_t count(const char *arg, va_list list)
{
	size_t n = 0;

	for (; arg; arg = va_arg(list, const char *))
		n++;
	return n;
}

/* The arguments of a variadic call as an array argv, with list behind them. */
#define GATHER(arg, list)                                   \
	va_start(list, arg);                                \
	size_t n_ = count(arg, list);                       \
	va_end(list);                                       \
	char *argv[n_ + 1];                                 \
	va_start(list, arg);                                \
	argv[0] = (char *)(uintptr_t)(arg);                 \
	for (size_t i_ = 1; i_ <= n_; i_++)                 \
		argv[i_] = va_arg(list, char *)

int execl(const char *path, const char *arg, ...)
{
	va_list list;

	GATHER(arg, list);
	va_end(list);
	return nc_return(nc_execve(path, argv, environ));
}

int execlp(const char *file, const char *arg, ...)
{
	va_list list;

	GATHER(arg, list);
	va_end(list);
	return nc_return(search(file, argv, environ));
}

int execle(const char *path, const char *arg, ...)
{
	char *const *env;
	va_list list;

	GATHER(arg, list);
	env = va_arg(list, char *const *);
	va_end(list);
	return nc_return(nc_execve(path, argv, env));
}

/* These return their error. */
static int spawn(int *pid, const char *path, const void *actions, const void *attr, char *const argv[], char *const env[],
		 nc_spawn *next, const char *file)
{
	COMPLETE(env);
	LAUNCH(path, argv);

	if (launcher && nc_sys4(__NR_faccessat, AT_FDCWD, launcher, X_OK, 0) == 0)
		return nc_next.posix_spawn(pid, launcher, actions, attr, launch_, env);
	return next(pid, file, actions, attr, argv, env);
}

int posix_spawn(int *pid, const char *path, const void *actions, const void *attr, char *const argv[], char *const env[])
{
	if (!nc_next.posix_spawn)
		return ENOSYS;
	return spawn(pid, path, actions, attr, argv, env, nc_next.posix_spawn, path);
}

int posix_spawnp(int *pid, const char *file, const void *actions, const void *attr, char *const argv[], char *const env[])
{
	char path[PATH_MAX_LEN + NAME_MAX_LEN + 2];

	if (!nc_next.posix_spawn || !nc_next.posix_spawnp)
		return ENOSYS;
	return spawn(pid, is_path(file) ? file : locate(file, path), actions, attr, argv, env, nc_next.posix_spawnp, file);
}
