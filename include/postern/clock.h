/* clock.h - time as an argument: wall time for people and senders, monotonic time for deadlines.
 *
 * Pure files take `now` as a number; loops take a struct clock, so that tests can turn it.
 * Threads: any. */
#pragma once

#include "postern/defs.h"

struct clock {
	int64_t (*wall_ms)(const struct clock *clock); /* since 1970, may step */
	int64_t (*mono_ms)(const struct clock *clock); /* never steps */
	int64_t (*mono_ns)(const struct clock *clock);
};
const struct clock *clock_system(void);
