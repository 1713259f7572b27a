/* powerloss.c - a library to preload: writes down, in order, all that a program does to files below
 * a directory.
 *
 *   LD_PRELOAD=powerloss.so POSTERN_TRACE_DIR=dir POSTERN_TRACE=file program
 *
 * tests/system/powerloss.py makes from the trace what a disk may hold after a power loss at any
 * moment. The directory must be empty at first. What is stored through a memory map is not seen.
 *
 * The trace is a list of entries: 32 bytes (struct entry, in the machine's byte order), two paths
 * relative to the directory, data. A write is noted after it was done, before its caller goes on; a
 * sync is noted when it begins and when it has succeeded: it covers what was noted before it began.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum op {
	OP_CREATE = 1,     /* ino, path */
	OP_WRITE = 2,      /* ino, at, data */
	OP_ZEROS = 3,      /* ino, at, size: a write of zeros, without them */
	OP_TRUNCATE = 4,   /* ino, at: the new size */
	OP_SYNC_BEGIN = 5, /* ino, at: a number that its end has too; directories as well */
	OP_SYNC_END = 6,
	OP_RENAME = 7, /* path to path2 */
	OP_UNLINK = 8, /* path */
	OP_MKDIR = 9,  /* ino, path */
	OP_RMDIR = 10, /* path */
	OP_LINK = 11,  /* path gets the second name path2 */
	OP_RANGE_SYNCED =
		12, /* ino, at, size: the write noted before it went to the disk (O_DSYNC) */
};

struct entry {
	uint8_t op, pad;
	uint16_t path_len, path2_len, pad2;
	uint64_t ino, at, size;
};
_Static_assert(sizeof(struct entry) == 32, "the reader knows this layout");

static struct {
	pthread_once_t once;
	int fd; /* -1: not tracing */
	char dir[4096];
	size_t dir_len;
	uint64_t syncs; /* atomic */
} trace = { .once = PTHREAD_ONCE_INIT, .fd = -1 };

static void give_up(const char *what)
{
	char text[256];
	int len = snprintf(text, sizeof(text), "powerloss: %s: errno %d\n", what, errno);

	if (len > 0 && writev(2, &(struct iovec){ text, (size_t)len }, 1) < 0)
		abort();
	abort();
}

/* The next function of this name. A pointer to an object is turned into one to a function by its
 * bytes. */
#define REAL(name)                                                                                 \
	static __typeof__(&name) real_##name;                                                      \
	static void find_##name(void)                                                              \
	{                                                                                          \
		void *symbol = dlsym(RTLD_NEXT, #name);                                            \
		if (!symbol)                                                                       \
			give_up(#name);                                                            \
		memcpy(&real_##name, &symbol, sizeof(symbol));                                     \
	}
REAL(open)
REAL(openat)
REAL(write)
REAL(writev)
REAL(pwrite)
REAL(pwritev)
REAL(ftruncate)
REAL(posix_fallocate)
REAL(fdatasync)
REAL(fsync)
REAL(rename)
REAL(renameat)
REAL(unlink)
REAL(unlinkat)
REAL(mkdir)
REAL(mkdirat)
REAL(rmdir)
REAL(link)

static void start(void)
{
	const char *dir = getenv("POSTERN_TRACE_DIR"), *file = getenv("POSTERN_TRACE");

	find_open();
	find_openat();
	find_write();
	find_writev();
	find_pwrite();
	find_pwritev();
	find_ftruncate();
	find_posix_fallocate();
	find_fdatasync();
	find_fsync();
	find_rename();
	find_renameat();
	find_unlink();
	find_unlinkat();
	find_mkdir();
	find_mkdirat();
	find_rmdir();
	find_link();
	if (!dir || !file)
		return;
	if (!realpath(dir, trace.dir))
		give_up("POSTERN_TRACE_DIR");
	trace.dir_len = strlen(trace.dir);
	trace.fd = real_open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (trace.fd < 0)
		give_up("POSTERN_TRACE");
}

static void init(void)
{
	(void)pthread_once(&trace.once, start);
}

/* ---- what is below the directory ---- */

/* The part of an absolute path that follows the directory; NULL: it is elsewhere. */
static const char *below(const char *path)
{
	if (trace.fd < 0 || strncmp(path, trace.dir, trace.dir_len) != 0)
		return NULL;
	if (path[trace.dir_len] == '\0')
		return path + trace.dir_len;
	return path[trace.dir_len] == '/' ? path + trace.dir_len + 1 : NULL;
}

static bool fd_path(int fd, char out[4096])
{
	char link_name[64];
	ssize_t len;

	(void)snprintf(link_name, sizeof(link_name), "/proc/self/fd/%d", fd);
	len = readlink(link_name, out, 4095);
	if (len < 0)
		return false;
	out[len] = '\0';
	return true;
}

static bool fd_is_ours(int fd)
{
	char path[4096];
	int keep = errno;
	bool ours;

	init();
	ours = trace.fd >= 0 && fd != trace.fd && fd_path(fd, path) && below(path);
	errno = keep;
	return ours;
}

/* "." and ".." and links in all but the last component are resolved. */
static const char *resolve(int dir_fd, const char *name, char out[8192])
{
	char dir[4096], whole[8192], parent[4096];
	char *last;
	int keep = errno;

	out[0] = '\0';
	if (name[0] == '/') {
		(void)snprintf(whole, sizeof(whole), "%s", name);
	} else if (dir_fd == AT_FDCWD) {
		if (!getcwd(dir, sizeof(dir)))
			return NULL;
		(void)snprintf(whole, sizeof(whole), "%.4000s/%.4000s", dir, name);
	} else {
		if (!fd_path(dir_fd, dir))
			return NULL;
		(void)snprintf(whole, sizeof(whole), "%.4000s/%.4000s", dir, name);
	}
	for (size_t len = strlen(whole); len > 1 && whole[len - 1] == '/'; len--)
		whole[len - 1] = '\0';
	last = strrchr(whole, '/');
	if (!last)
		return NULL;
	*last++ = '\0';
	if (!realpath(whole[0] ? whole : "/", parent)) {
		errno = keep;
		return NULL;
	}
	(void)snprintf(out, 8192, "%.4000s/%.4000s", parent, last);
	errno = keep;
	return below(out);
}

/* ---- noting ---- */

static void note_all(struct entry entry, const char *path, const char *path2,
	const struct iovec *data, int data_count)
{
	struct iovec parts[3 + 64];
	size_t total = 0;
	int count = 0, keep = errno;

	entry.path_len = (uint16_t)(path ? strlen(path) : 0);
	entry.path2_len = (uint16_t)(path2 ? strlen(path2) : 0);
	parts[count++] = (struct iovec){ &entry, sizeof(entry) };
	parts[count++] = (struct iovec){ (void *)(uintptr_t)path, entry.path_len };
	parts[count++] = (struct iovec){ (void *)(uintptr_t)path2, entry.path2_len };
	for (int i = 0; i < data_count; i++) {
		if (i == 64)
			give_up("too many parts in one write");
		parts[count++] = data[i];
	}
	for (int i = 0; i < count; i++)
		total += parts[i].iov_len;
	if (real_writev(trace.fd, parts, count) != (ssize_t)total)
		give_up("the trace cannot be written");
	errno = keep;
}

static void note(enum op op, uint64_t ino, uint64_t at, const char *path, const char *path2)
{
	const struct entry entry = { .op = (uint8_t)op, .ino = ino, .at = at };

	note_all(entry, path, path2, NULL, 0);
}

static uint64_t ino_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		give_up("fstat");
	return st.st_ino;
}

static bool all_zero(const struct iovec *data, int count)
{
	for (int i = 0; i < count; i++) {
		const uint8_t *p = data[i].iov_base;

		for (size_t j = 0; j < data[i].iov_len; j++) {
			if (p[j])
				return false;
		}
	}
	return true;
}

/* Only what was written of it. */
static void note_write(int fd, const struct iovec *data, int count, int64_t at, ssize_t done)
{
	struct entry entry = {
		.op = OP_WRITE, .ino = ino_of(fd), .at = (uint64_t)at, .size = (uint64_t)done
	};
	struct iovec cut[64];
	size_t left = (size_t)done;
	int n = 0;

	for (int i = 0; i < count && left > 0; i++) {
		if (n == 64)
			give_up("too many parts in one write");
		cut[n] = data[i];
		if (cut[n].iov_len > left)
			cut[n].iov_len = left;
		left -= cut[n++].iov_len;
	}
	if (all_zero(cut, n)) {
		entry.op = OP_ZEROS;
		n = 0;
	}
	note_all(entry, NULL, NULL, cut, n);
	if (fcntl(fd, F_GETFL) & O_DSYNC) {
		entry.op = OP_RANGE_SYNCED;
		note_all(entry, NULL, NULL, NULL, 0);
	}
}

/* ---- files ---- */

static int traced_open(int dir_fd, const char *name, int flags, mode_t mode)
{
	char room[8192];
	const char *path;
	struct stat st;
	bool there;
	int fd;

	init();
	path = (flags & (O_CREAT | O_TRUNC)) && trace.fd >= 0 ? resolve(dir_fd, name, room) : NULL;
	if (!path)
		return real_openat(dir_fd, name, flags, mode);
	there = fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	fd = real_openat(dir_fd, name, flags, mode);
	if (fd >= 0 && !there)
		note(OP_CREATE, ino_of(fd), 0, path, NULL);
	else if (fd >= 0 && (flags & O_TRUNC) && st.st_size > 0)
		note(OP_TRUNCATE, ino_of(fd), 0, NULL, NULL);
	return fd;
}

static mode_t mode_of(int flags, va_list args)
{
	return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(args, unsigned) : 0;
}

#define DEFINE_OPEN(name)                                                                          \
	int name(const char *path, int flags, ...)                                                 \
	{                                                                                          \
		va_list args;                                                                      \
		mode_t mode;                                                                       \
		va_start(args, flags);                                                             \
		mode = mode_of(flags, args);                                                       \
		va_end(args);                                                                      \
		return traced_open(AT_FDCWD, path, flags, mode);                                   \
	}
#define DEFINE_OPENAT(name)                                                                        \
	int name(int dir_fd, const char *path, int flags, ...)                                     \
	{                                                                                          \
		va_list args;                                                                      \
		mode_t mode;                                                                       \
		va_start(args, flags);                                                             \
		mode = mode_of(flags, args);                                                       \
		va_end(args);                                                                      \
		return traced_open(dir_fd, path, flags, mode);                                     \
	}
DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

/* Where a write() goes. */
static int64_t write_at(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (flags >= 0 && (flags & O_APPEND))
		return fstat(fd, &st) == 0 ? st.st_size : 0;
	return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *data, size_t len)
{
	const struct iovec part = { (void *)(uintptr_t)data, len };
	bool ours = fd_is_ours(fd);
	int64_t at = ours ? write_at(fd) : 0;
	ssize_t done = real_write(fd, data, len);

	if (ours && done > 0)
		note_write(fd, &part, 1, at, done);
	return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	bool ours = fd_is_ours(fd);
	int64_t at = ours ? write_at(fd) : 0;
	ssize_t done = real_writev(fd, parts, count);

	if (ours && done > 0)
		note_write(fd, parts, count, at, done);
	return done;
}

static ssize_t traced_pwrite(int fd, const void *data, size_t len, off_t at)
{
	const struct iovec part = { (void *)(uintptr_t)data, len };
	bool ours = fd_is_ours(fd);
	ssize_t done = real_pwrite(fd, data, len, at);

	if (ours && done > 0)
		note_write(fd, &part, 1, at, done);
	return done;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	return traced_pwrite(fd, data, len, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
	return traced_pwrite(fd, data, len, at);
}

static ssize_t traced_pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
	bool ours = fd_is_ours(fd);
	ssize_t done = real_pwritev(fd, parts, count, at);

	if (ours && done > 0)
		note_write(fd, parts, count, at, done);
	return done;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
	return traced_pwritev(fd, parts, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at)
{
	return traced_pwritev(fd, parts, count, at);
}

static int traced_ftruncate(int fd, off_t size)
{
	bool ours = fd_is_ours(fd);
	int rc = real_ftruncate(fd, size);

	if (ours && rc == 0)
		note(OP_TRUNCATE, ino_of(fd), (uint64_t)size, NULL, NULL);
	return rc;
}

int ftruncate(int fd, off_t size)
{
	return traced_ftruncate(fd, size);
}

int ftruncate64(int fd, off_t size)
{
	return traced_ftruncate(fd, size);
}

/* Only its effect on the size is of interest. */
int posix_fallocate(int fd, off_t at, off_t len)
{
	bool ours = fd_is_ours(fd);
	int rc = real_posix_fallocate(fd, at, len);
	struct stat st;

	if (ours && rc == 0 && fstat(fd, &st) == 0)
		note(OP_TRUNCATE, st.st_ino, (uint64_t)st.st_size, NULL, NULL);
	return rc;
}

static int traced_sync(int fd, int (*real)(int))
{
	uint64_t number = __atomic_add_fetch(&trace.syncs, 1, __ATOMIC_RELAXED);
	uint64_t ino = ino_of(fd);
	int rc;

	number |= (uint64_t)getpid() << 32; /* several processes may write one trace */
	note(OP_SYNC_BEGIN, ino, number, NULL, NULL);
	rc = real(fd);
	if (rc == 0)
		note(OP_SYNC_END, ino, number, NULL, NULL);
	return rc;
}

int fdatasync(int fd)
{
	return fd_is_ours(fd) ? traced_sync(fd, real_fdatasync) : real_fdatasync(fd);
}

int fsync(int fd)
{
	return fd_is_ours(fd) ? traced_sync(fd, real_fsync) : real_fsync(fd);
}

/* ---- names ---- */

static int traced_rename(int from_dir, const char *from, int to_dir, const char *to)
{
	char room[8192], room2[8192];
	const char *path, *path2;
	int rc;

	init();
	path = trace.fd >= 0 ? resolve(from_dir, from, room) : NULL;
	path2 = trace.fd >= 0 ? resolve(to_dir, to, room2) : NULL;
	rc = real_renameat(from_dir, from, to_dir, to);
	if (rc == 0 && path && path2)
		note(OP_RENAME, 0, 0, path, path2);
	return rc;
}

int rename(const char *from, const char *to)
{
	return traced_rename(AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return traced_rename(from_dir, from, to_dir, to);
}

static int traced_unlink(int dir_fd, const char *name, int flags)
{
	char room[8192];
	const char *path;
	int rc;

	init();
	path = trace.fd >= 0 ? resolve(dir_fd, name, room) : NULL;
	rc = real_unlinkat(dir_fd, name, flags);
	if (rc == 0 && path)
		note(flags & AT_REMOVEDIR ? OP_RMDIR : OP_UNLINK, 0, 0, path, NULL);
	return rc;
}

int unlink(const char *path)
{
	return traced_unlink(AT_FDCWD, path, 0);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
	return traced_unlink(dir_fd, path, flags);
}

int rmdir(const char *path)
{
	return traced_unlink(AT_FDCWD, path, AT_REMOVEDIR);
}

static int traced_mkdir(int dir_fd, const char *name, mode_t mode)
{
	char room[8192];
	const char *path;
	struct stat st;
	int rc;

	init();
	path = trace.fd >= 0 ? resolve(dir_fd, name, room) : NULL;
	rc = real_mkdirat(dir_fd, name, mode);
	if (rc == 0 && path && fstatat(dir_fd, name, &st, 0) == 0)
		note(OP_MKDIR, st.st_ino, 0, path, NULL);
	return rc;
}

int mkdir(const char *path, mode_t mode)
{
	return traced_mkdir(AT_FDCWD, path, mode);
}

int mkdirat(int dir_fd, const char *path, mode_t mode)
{
	return traced_mkdir(dir_fd, path, mode);
}

int link(const char *from, const char *to)
{
	char room[8192], room2[8192];
	const char *path, *path2;
	int rc;

	init();
	path = trace.fd >= 0 ? resolve(AT_FDCWD, from, room) : NULL;
	path2 = trace.fd >= 0 ? resolve(AT_FDCWD, to, room2) : NULL;
	rc = real_link(from, to);
	if (rc == 0 && path && path2)
		note(OP_LINK, 0, 0, path, path2);
	return rc;
}
