/* failing.h - makes the first, second, third ... call of a kind fail, until everything succeeds.
 *
 * A test program includes the source file under test behind macros that lead its calls here:
 *
 *   #include "failing.h"
 *   #define realloc(p, n) (failing_now() ? NULL : realloc((p), (n)))
 *   #include "../../src/room/file.c"
 *   #undef realloc
 *
 * and runs it again and again: for (failing_at = 1; ; failing_at++) { failing_seen = 0; ... } until
 * failing_seen < failing_at. Deliberately not here: anything for several threads. */
#pragma once

#include <stdbool.h>

static unsigned failing_at;   /* which call fails; 0: none */
static unsigned failing_seen; /* calls so far */

static inline bool failing_now(void)
{
	return ++failing_seen == failing_at;
}
