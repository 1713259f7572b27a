/* clock.c - the clocks of the system. Deliberately not here: timers, and turning times into text.
 */
#include "postern/clock.h"

#include <assert.h>
#include <time.h>

static int64_t read_ns(clockid_t id)
{
	struct timespec now;
	int rc = clock_gettime(id, &now);

	assert(rc == 0);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t system_wall_ms(const struct clock *clock)
{
	(void)clock;
	return read_ns(CLOCK_REALTIME) / 1000000;
}

static int64_t system_mono_ms(const struct clock *clock)
{
	(void)clock;
	return read_ns(CLOCK_MONOTONIC) / 1000000;
}

static int64_t system_mono_ns(const struct clock *clock)
{
	(void)clock;
	return read_ns(CLOCK_MONOTONIC);
}

const struct clock *clock_system(void)
{
	static const struct clock clock = {
		.wall_ms = system_wall_ms,
		.mono_ms = system_mono_ms,
		.mono_ns = system_mono_ns,
	};

	return &clock;
}
