/* ioerr.c - a library to preload: lets one fdatasync fail, as a disk does that lost what was
 * written, or hang for a while.
 *
 *   LD_PRELOAD=ioerr.so POSTERN_IOERR=file POSTERN_IOERR_PATH=part program
 *
 * The file holds one signed 64-bit number in the machine's byte order. While it is above 0, each
 * fdatasync or fsync of a file whose path contains the part counts it down, and the one that brings
 * it to 0 fails with EIO, without syncing. Below 0 the next one takes that many milliseconds
 * longer, once. Whoever starts the program writes the number, at any time. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef int sync_fn(int fd);

static sync_fn *real_fdatasync, *real_fsync;
static int64_t *left; /* NULL: nothing fails; atomic, and shared with whoever sets it */
static const char *part = "";
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A pointer to an object is turned into one to a function by its bytes. */
static void find(const char *name, sync_fn **out)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	if (!symbol)
		abort();
	memcpy(out, &symbol, sizeof(symbol));
}

static void start(void)
{
	const char *name = getenv("POSTERN_IOERR");
	void *map;
	int fd;

	find("fdatasync", &real_fdatasync);
	find("fsync", &real_fsync);
	if (getenv("POSTERN_IOERR_PATH"))
		part = getenv("POSTERN_IOERR_PATH");
	if (!name)
		return;
	fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		abort();
	map = mmap(NULL, sizeof(*left), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		abort();
	(void)close(fd);
	left = map;
}

static bool is_meant(int fd)
{
	char link_name[64], path[4096];
	ssize_t len;

	(void)snprintf(link_name, sizeof(link_name), "/proc/self/fd/%d", fd);
	len = readlink(link_name, path, sizeof(path) - 1);
	if (len < 0)
		return false;
	path[len] = '\0';
	return strstr(path, part) != NULL;
}

static void hang(void)
{
	int64_t ms = -__atomic_exchange_n(left, 0, __ATOMIC_RELAXED);
	const struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	(void)nanosleep(&time, NULL);
}

static bool fails(int fd)
{
	int64_t now;

	(void)pthread_once(&once, start);
	now = left ? __atomic_load_n(left, __ATOMIC_RELAXED) : 0;
	if (now == 0 || !is_meant(fd))
		return false;
	if (now < 0) {
		hang();
		return false;
	}
	return __atomic_sub_fetch(left, 1, __ATOMIC_RELAXED) == 0;
}

int fdatasync(int fd)
{
	if (!fails(fd))
		return real_fdatasync(fd);
	errno = EIO;
	return -1;
}

int fsync(int fd)
{
	if (!fails(fd))
		return real_fsync(fd);
	errno = EIO;
	return -1;
}
