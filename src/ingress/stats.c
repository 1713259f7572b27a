/* stats.c - counting, for metrics and for people.
 *
 * Deliberately not here: log lines (http.c), the text of /metrics (base). */
#include "stats.h"

#include "postern/json.h"

#include <math.h>
#include <stdlib.h>

#define RATE_EVERY_MS 1000
#define RATE_WINDOW_MS 60000.0

static const char *const roles[STATS_ROLES] = { "current", "next", "previous" };

void stats_init(struct stats *stats, const struct clock *clock)
{
	*stats = (struct stats){ .clock = clock };
	lock_init(&stats->lock);
}

static void free_source(struct source_stats *source)
{
	while (source->keys) {
		struct key_stats *key = source->keys;

		source->keys = key->next;
		free(key);
	}
	free(source);
}

void stats_done(struct stats *stats)
{
	while (stats->sources) {
		struct source_stats *source = stats->sources;

		stats->sources = source->next;
		free_source(source);
	}
	lock_done(&stats->lock);
}

/* Every counter is there, at 0, as soon as its source is. */
static struct source_stats *make_source(const char *name)
{
	size_t len = strlen(name) + 1;
	struct source_stats *source = calloc(1, sizeof(*source) + len);

	if (!source)
		return NULL;
	memcpy(source->name, name, len);
	for (size_t i = 0; i < STATS_CODES; i++)
		source->codes[i] =
			metric_series(METRIC_HTTP_REQUESTS, name, err_name((enum err_code)i));
	source->duration = metric_series(METRIC_HTTP_REQUEST_DURATION, name, NULL);
	for (size_t i = 0; i < STATS_ROLES && name[0] != '\0'; i++)
		source->roles[i] = metric_series(METRIC_KEY_MATCHES, name, roles[i]);
	return source;
}

static struct source_stats *find_source_locked(const struct stats *stats, const char *name)
{
	struct source_stats *source = stats->sources;

	lock_assert_held(&stats->lock);
	while (source && strcmp(source->name, name) != 0)
		source = source->next;
	return source;
}

struct source_stats *stats_source(struct stats *stats, const char *name)
{
	struct source_stats *made = NULL, *source;

	lock_take(&stats->lock);
	source = find_source_locked(stats, name);
	lock_give(&stats->lock);
	if (source)
		return source;
	made = make_source(name); /* one thread makes them, so none can come in between */
	if (!made)
		return NULL;
	lock_take(&stats->lock);
	made->next = stats->sources;
	stats->sources = made;
	lock_give(&stats->lock);
	return made;
}

struct key_stats *stats_key(
	struct stats *stats, struct source_stats *source, const char *fingerprint)
{
	struct key_stats *key;

	lock_take(&stats->lock);
	key = source->keys;
	while (key && strcmp(key->fingerprint, fingerprint) != 0)
		key = key->next;
	if (!key) {
		key = calloc(1, sizeof(*key));
		if (key) {
			memcpy(key->fingerprint, fingerprint,
				strnlen(fingerprint, sizeof(key->fingerprint) - 1));
			key->since_ms = stats->clock->wall_ms(stats->clock);
			key->next = source->keys;
			source->keys = key;
		}
	}
	lock_give(&stats->lock);
	return key;
}

void stats_count(struct source_stats *source, enum err_code code)
{
	size_t index = (size_t)code < STATS_CODES ? (size_t)code : ERR_UNAVAILABLE;

	metric_add(source->codes[index], 1);
}

#define HOUR_MS INT64_C(3600000)
#define COUNT_BITS 32

/* Lost counts would do for people, but an hour that is counted into another one would not. */
static void count_hour(struct key_stats *key, int64_t now_ms)
{
	uint64_t hour = (uint64_t)(now_ms / HOUR_MS);
	_Atomic uint64_t *place = &key->hours[hour % STATS_HOURS];
	uint64_t have = atomic_load_explicit(place, memory_order_relaxed), want;

	do
		want = have >> COUNT_BITS == hour ? have + 1 : hour << COUNT_BITS | 1;
	while (!atomic_compare_exchange_weak_explicit(
		place, &have, want, memory_order_relaxed, memory_order_relaxed));
}

uint64_t stats_matches(const struct key_stats *key, int64_t now_ms, int64_t hours)
{
	uint64_t now = (uint64_t)(now_ms / HOUR_MS), sum = 0;

	for (size_t i = 0; i < STATS_HOURS; i++) {
		uint64_t one = atomic_load_explicit(&key->hours[i], memory_order_relaxed);
		uint64_t hour = one >> COUNT_BITS;

		if (hour <= now && now - hour < (uint64_t)hours)
			sum += one & (((uint64_t)1 << COUNT_BITS) - 1);
	}
	return sum;
}

void stats_match(
	struct source_stats *source, struct key_stats *key, const char *role, int64_t now_ms)
{
	(void)atomic_fetch_add_explicit(&key->matches, 1, memory_order_relaxed);
	atomic_store_explicit(&key->last_ms, now_ms, memory_order_relaxed);
	count_hour(key, now_ms);
	for (size_t i = 0; i < STATS_ROLES; i++) {
		if (strcmp(role, roles[i]) == 0)
			metric_add(source->roles[i], 1);
	}
}

static int64_t all_codes(const struct source_stats *source)
{
	int64_t sum = 0;

	for (size_t i = 0; i < STATS_CODES; i++)
		sum += metric_value(source->codes[i]);
	return sum;
}

void stats_rate(struct stats *stats, int64_t mono_ms)
{
	double passed = (double)(mono_ms - stats->rated_ms);
	double weight = 1 - exp(-passed / RATE_WINDOW_MS);

	if (passed < RATE_EVERY_MS)
		return;
	lock_take(&stats->lock);
	for (struct source_stats *s = stats->sources; s; s = s->next) {
		int64_t now = all_codes(s);
		double rate = (double)(now - s->counted) * 1000 / passed;

		if (stats->rated_ms != 0)
			s->per_second += (rate - s->per_second) * weight;
		s->counted = now;
	}
	stats->rated_ms = mono_ms;
	lock_give(&stats->lock);
}

static enum err_code put_codes(const struct source_stats *source, struct buf *out, struct err *err)
{
	enum err_code rc = json_put_name(out, "codes", err);

	if (rc == ERR_OK)
		rc = buf_put_str(out, "{", err);
	for (size_t i = 0; i < STATS_CODES && rc == ERR_OK; i++) {
		int64_t n = metric_value(source->codes[i]);

		if (n > 0)
			rc = json_put_int(out, err_name((enum err_code)i), n, err);
	}
	if (rc == ERR_OK)
		rc = buf_put_str(out, "}", err);
	return rc;
}

enum err_code stats_put(
	struct stats *stats, const struct source_stats *source, struct buf *out, struct err *err)
{
	enum err_code rc = json_put_name(out, source->name, err);
	double per_second;

	lock_take(&stats->lock);
	per_second = source->per_second;
	lock_give(&stats->lock);
	if (rc == ERR_OK)
		rc = buf_put_str(out, "{", err);
	if (rc == ERR_OK)
		rc = json_put_num(out, "per_second", per_second, err);
	if (rc == ERR_OK)
		rc = json_put_int(out, "requests", all_codes(source), err);
	if (rc == ERR_OK)
		rc = put_codes(source, out, err);
	if (rc == ERR_OK)
		rc = buf_put_str(out, "}", err);
	return rc;
}
