/* breaker.c - circuit breaker and retry budget of one destination, as a value that is fed with
 * results.
 *
 * Pure: no clock, no randomness, no memory. Deliberately not here: which results count as failures,
 * and what happens to events that have to wait; both are the worker's. */
#include "postern/handler.h"

#include <assert.h>
#include <math.h>

#define JITTER_SHARE 0.2

const char *breaker_state_name(enum breaker_state state)
{
	static const char *const names[] = {
		[BREAKER_CLOSED] = "closed",
		[BREAKER_OPEN] = "open",
		[BREAKER_HALF_OPEN] = "half-open",
	};

	assert((size_t)state < ARRAY_LEN(names));
	return names[state];
}

void breaker_init(struct breaker *b, const struct route_config *route, int64_t now_ms)
{
	int64_t open_ms = route->breaker.open_s * 1000;

	*b = (struct breaker){
		.failures = route->breaker.failures,
		.window_ms = route->breaker.window_s * 1000,
		.open_ms = open_ms,
		/* Whoever configures more than the cap means it. */
		.open_cap_ms = open_ms > BREAKER_OPEN_CAP_MS ? open_ms : BREAKER_OPEN_CAP_MS,
		.ratio = route->breaker.ratio,
		.window_start_ms = now_ms,
		.open_now_ms = open_ms,
		.budget = RETRY_BUDGET_PER_S,
		.budget_ms = now_ms,
	};
}

static void start_window(struct breaker *b, int64_t now_ms)
{
	b->window_start_ms = now_ms;
	b->calls = b->failed = 0;
}

static void turn_window(struct breaker *b, int64_t now_ms)
{
	if (now_ms - b->window_start_ms < b->window_ms)
		return;
	/* A whole window without opening: the destination is well again. */
	b->open_now_ms = b->open_ms;
	start_window(b, now_ms);
}

static void fill_budget(struct breaker *b, int64_t now_ms)
{
	if (now_ms > b->budget_ms)
		b->budget += (double)(now_ms - b->budget_ms) * RETRY_BUDGET_PER_S / 1000;
	b->budget_ms = now_ms;
	if (b->budget > RETRY_BUDGET_MAX)
		b->budget = RETRY_BUDGET_MAX;
}

/* How long the breaker alone makes a call wait. */
static int64_t breaker_wait(struct breaker *b, int64_t now_ms)
{
	switch (b->state) {
	case BREAKER_CLOSED: return 0;
	case BREAKER_OPEN:
		if (now_ms < b->until_ms)
			return b->until_ms - now_ms;
		b->state = BREAKER_HALF_OPEN;
		b->probes = 0;
		return 0;
	case BREAKER_HALF_OPEN: return b->probes < BREAKER_PROBES ? 0 : BREAKER_PROBE_WAIT_MS;
	}
	return 0;
}

bool breaker_admit(struct breaker *b, bool is_retry, int64_t now_ms, int64_t *out_wait_ms)
{
	*out_wait_ms = breaker_wait(b, now_ms);
	if (*out_wait_ms > 0)
		return false;
	fill_budget(b, now_ms);
	if (is_retry && b->budget < 1) {
		*out_wait_ms = (int64_t)ceil((1 - b->budget) * 1000 / RETRY_BUDGET_PER_S);
		return false;
	}
	b->budget += is_retry ? -1 : RETRY_BUDGET_RATIO;
	if (b->state == BREAKER_HALF_OPEN)
		b->probes++;
	return true;
}

static void open_up(struct breaker *b, int64_t now_ms, double jitter)
{
	b->state = BREAKER_OPEN;
	b->until_ms =
		now_ms + b->open_now_ms + (int64_t)((double)b->open_now_ms * JITTER_SHARE * jitter);
	b->open_now_ms = b->open_now_ms < b->open_cap_ms / 2 ? b->open_now_ms * 2 : b->open_cap_ms;
}

static void close_again(struct breaker *b, int64_t now_ms)
{
	b->state = BREAKER_CLOSED;
	b->in_a_row = 0;
	start_window(b, now_ms);
}

static bool is_too_much(const struct breaker *b)
{
	if (b->failures > 0 && b->in_a_row >= b->failures)
		return true;
	return b->ratio > 0 && b->calls >= BREAKER_MIN_CALLS &&
	       (double)b->failed >= b->ratio * (double)b->calls;
}

void breaker_result(struct breaker *b, bool ok, int64_t now_ms, double jitter)
{
	switch (b->state) {
	case BREAKER_CLOSED:
		turn_window(b, now_ms);
		b->calls++;
		b->failed += ok ? 0 : 1;
		b->in_a_row = ok ? 0 : b->in_a_row + 1;
		if (is_too_much(b))
			open_up(b, now_ms, jitter);
		return;
	case BREAKER_OPEN: return; /* a straggler: what it says is known */
	case BREAKER_HALF_OPEN:
		breaker_forget(b);
		if (ok)
			close_again(b, now_ms);
		else
			open_up(b, now_ms, jitter);
		return;
	}
}

void breaker_forget(struct breaker *b)
{
	if (b->state == BREAKER_HALF_OPEN && b->probes > 0)
		b->probes--;
}
