/* retry.c - when a failed event is tried again, or that it is not.
 *
 * Full jitter: random(0, min(cap, base * 2^n)), so that events that failed together do not come
 * back together. What the destination asks for with Retry-After is respected, up to an hour.
 * Deliberately not here: breaker and retry budget (the handler room), which wait without using
 * attempts up. */
#include "decide.h"

static int64_t ceiling_ms(const struct route_config *route, unsigned attempts)
{
	int64_t ceiling = route->retry.base_ms;

	for (unsigned i = 1; i < attempts && ceiling < route->retry.cap_ms; i++)
		ceiling = ceiling > INT64_MAX / 2 ? INT64_MAX : ceiling * 2;
	return ceiling < route->retry.cap_ms ? ceiling : route->retry.cap_ms;
}

struct retry_plan worker_retry_plan(const struct route_config *route, const struct retry_facts *f)
{
	int64_t delay, after = f->retry_after_ms;

	if (f->attempts >= route->retry.attempts)
		return (struct retry_plan){ .reason = ERR_ATTEMPTS_EXHAUSTED };
	if (f->now_ms >= f->deadline_ms)
		return (struct retry_plan){ .reason = ERR_AGE_EXHAUSTED };
	delay = (int64_t)(f->random * (double)ceiling_ms(route, f->attempts));
	if (after > RETRY_AFTER_MAX_MS)
		after = RETRY_AFTER_MAX_MS;
	if (delay < after)
		delay = after;
	/* The last attempt is made at the deadline, rather than never. */
	if (delay > f->deadline_ms - f->now_ms)
		delay = f->deadline_ms - f->now_ms;
	return (struct retry_plan){ .again = true, .next_ms = f->now_ms + delay };
}

int64_t worker_retry_wait_ms(const struct route_config *route, int64_t next_ms, int64_t now_ms)
{
	int64_t cap = route && route->retry.cap_ms > RETRY_AFTER_MAX_MS ? route->retry.cap_ms
									: RETRY_AFTER_MAX_MS;

	if (next_ms <= now_ms)
		return 0;
	return next_ms - now_ms < cap ? next_ms - now_ms : cap;
}

int64_t worker_retry_now_ms(int64_t first_ms, int64_t next_ms, int64_t now_ms)
{
	/* A time that is before the first attempt was set after the clock had been turned. */
	return first_ms > now_ms && first_ms <= next_ms ? first_ms : now_ms;
}

int64_t worker_retry_deadline_ms(int64_t deadline_ms, int64_t max_ms, int64_t now_ms)
{
	return deadline_ms - now_ms > max_ms ? now_ms + max_ms : deadline_ms;
}
