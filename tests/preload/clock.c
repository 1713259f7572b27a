/* clock.c - a library to preload: shifts the wall clock of a program while it runs.
 *
 *   LD_PRELOAD=clock.so POSTERN_CLOCK=file program
 *
 * The file holds one signed 64-bit number of nanoseconds in the machine's byte order, which is
 * added to the wall clock each time it is read; whoever writes another number there makes the clock
 * step. Only the wall clock moves. Deliberately not here: timers and waits on the wall clock. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)

static int (*real_clock_gettime)(clockid_t id, struct timespec *out);
static const int64_t *shift_ns; /* NULL: the clock is left alone; atomic */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start(void)
{
	const char *name = getenv("POSTERN_CLOCK");
	void *symbol = dlsym(RTLD_NEXT, "clock_gettime");
	void *map;
	int fd;

	if (!symbol)
		abort();
	memcpy(&real_clock_gettime, &symbol, sizeof(symbol));
	if (!name)
		return;
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		abort();
	map = mmap(NULL, sizeof(*shift_ns), PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		abort();
	(void)close(fd);
	shift_ns = map;
}

static struct timespec wall(clockid_t id)
{
	struct timespec now;
	int64_t ns;

	(void)pthread_once(&once, start);
	if (real_clock_gettime(id, &now) != 0)
		abort();
	if (!shift_ns)
		return now;
	ns = now.tv_sec * SECOND_NS + now.tv_nsec + __atomic_load_n(shift_ns, __ATOMIC_RELAXED);
	return (struct timespec){ ns / SECOND_NS, ns % SECOND_NS };
}

int clock_gettime(clockid_t id, struct timespec *out)
{
	(void)pthread_once(&once, start);
	if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)
		return real_clock_gettime(id, out);
	*out = wall(id);
	return 0;
}

time_t time(time_t *out)
{
	const time_t now = wall(CLOCK_REALTIME).tv_sec;

	if (out)
		*out = now;
	return now;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	const struct timespec now = wall(CLOCK_REALTIME);

	(void)zone;
	out->tv_sec = now.tv_sec;
	out->tv_usec = now.tv_nsec / 1000;
	return 0;
}
