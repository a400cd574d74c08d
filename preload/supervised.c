/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that this library cannot be loaded into, because they are static, or
 * that make system calls past it, because they are written in Go. The launcher
 * starts them under a supervisor (NETCON_LAUNCHER, "supervise exec"). Where a
 * supervisor is there already the next program is under it by itself.
 *
 * What cannot be read, or is no program of this machine, is left to the kernel.
 */
#include <linux/elf.h>

#include "shim.h"

#ifdef __x86_64__
#define MACHINE EM_X86_64
#else
#define MACHINE EM_AARCH64
#endif

#define HEAD 4096
#define INTERPRETERS_MAX 5 /* fs/exec.c, exec_binprm */
#define NOTES_MAX 1024

union head {
	unsigned char byte[HEAD];
	Elf64_Ehdr elf;
};

static size_t read_at(int fd, void *to, size_t n, uint64_t offset)
{
	long m = nc_sys4(__NR_pread64, fd, to, n, offset);

	return m > 0 ? (size_t)m : 0;
}

static int is_elf(const union head *head, size_t n)
{
	const unsigned char *b = head->byte;

	return n >= sizeof head->elf && b[0] == ELFMAG0 && b[1] == ELFMAG1 && b[2] == ELFMAG2 && b[3] == ELFMAG3 &&
	       b[EI_CLASS] == ELFCLASS64 && head->elf.e_machine == MACHINE && head->elf.e_phentsize == sizeof(Elf64_Phdr);
}

/* The linker of Go leaves a note with its name, also in programs that use C. */
static int has_go_note(int fd, uint64_t offset, uint64_t size)
{
	union {
		unsigned char byte[NOTES_MAX];
		Elf64_Nhdr note;
	} u;
	size_t n = read_at(fd, &u, size < NOTES_MAX ? size : NOTES_MAX, offset);

	for (size_t at = 0; at + sizeof u.note + 4 <= n;) {
		const Elf64_Nhdr *note = (const Elf64_Nhdr *)(const void *)(u.byte + at);
		const unsigned char *name = u.byte + at + sizeof *note;
		uint64_t step = sizeof *note + (((uint64_t)note->n_namesz + 3) & ~3ull) + (((uint64_t)note->n_descsz + 3) & ~3ull);

		if (note->n_namesz == 4 && name[0] == 'G' && name[1] == 'o' && !name[2] && !name[3])
			return 1;
		if (step > n - at)
			break;
		at += (size_t)step;
	}
	return 0;
}

static int elf_wants(int fd, const union head *head, size_t n)
{
	uint64_t at = head->elf.e_phoff;
	int dynamic = 0, go = 0;

	for (int i = 0; i < head->elf.e_phnum; i++, at += sizeof(Elf64_Phdr)) {
		Elf64_Phdr p;

		if (at + sizeof p > n || at + sizeof p < at)
			break; /* further back than any linker puts them */
		for (size_t j = 0; j < sizeof p; j++)
			((unsigned char *)&p)[j] = head->byte[at + j];
		dynamic |= p.p_type == PT_INTERP;
		go |= p.p_type == PT_NOTE && has_go_note(fd, p.p_offset, p.p_filesz);
	}
	return !dynamic || go;
}

/* The interpreter of a script, NUL-terminated in place; NULL: it has none. */
static char *interpreter(union head *head, size_t n)
{
	char *s = (char *)head->byte;
	size_t i = 2, start;

	if (n < 3 || s[0] != '#' || s[1] != '!')
		return NULL;
	while (i < n && (s[i] == ' ' || s[i] == '\t'))
		i++;
	for (start = i; i < n && s[i] && s[i] != ' ' && s[i] != '\t' && s[i] != '\n'; i++)
		;
	if (i == n || i == start)
		return NULL;
	s[i] = '\0';
	return s + start;
}

/* Whether the program at path is one that needs a supervisor. */
static int wants(int dir, const char *path)
{
	union head head;

	for (int i = 0; i <= INTERPRETERS_MAX && path; i++) {
		int fd = (int)nc_sys4(__NR_openat, dir, path, O_NONBLOCK | O_CLOEXEC, 0);
		size_t n;
		int yes;

		if (fd < 0)
			return 0;
		n = read_at(fd, &head, sizeof head, 0);
		if (is_elf(&head, n)) {
			yes = elf_wants(fd, &head, n);
			nc_close(fd);
			return yes;
		}
		nc_close(fd);
		path = interpreter(&head, n);
		dir = AT_FDCWD;
	}
	return 0;
}

static int is_supervised(void)
{
	uint32_t value = 0;
	socklen_t len = sizeof value;

	return nc_sys5(__NR_getsockopt, -1, NC_PROBE_LEVEL, 0, &value, &len) == 0 && value == NC_PROBE_ANSWER;
}

/*
 * The launcher to start path with, and its arguments in list, which has room for
 * those of argv and NC_LAUNCH_ARGS more; NULL: the program starts as it is.
 */
const char *nc_launcher(const char *path, char *const argv[], char **list)
{
	const struct nc_config *config = nc_config();
	size_t n = 0;

	if (!config || !config->launcher[0] || !path || !wants(AT_FDCWD, path) || is_supervised())
		return NULL;
	list[n++] = (char *)(uintptr_t)"netcon";
	list[n++] = (char *)(uintptr_t)"supervise";
	list[n++] = (char *)(uintptr_t)"exec";
	list[n++] = (char *)(uintptr_t)path;
	for (size_t i = 0; argv && argv[i]; i++)
		list[n++] = argv[i];
	list[n] = NULL;
	return config->launcher;
}
