/* keys.c - what people are told of keys: how old, how much they are used, and whether one can go.
 *
 * Counters are kept by fingerprint since this process started (or since the key came); nothing is
 * said to be safe that was not watched for as long as the sender may repeat an event.
 *
 * Deliberately not here: which key matches (scheme), keys that are being told (learn.c). */
#include "ingress_priv.h"

#include "postern/json.h"
#include "postern/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#define HOUR_MS INT64_C(3600000)
#define WATCH_HOURS 72         /* as long as senders that give up soon, or their people, repeat */
#define WATCH_HOURS_PATIENT 96 /* some try for more than three days */
#define RATE_HOURS 24

struct key_row {
	const struct source_config *config;
	const struct scheme *scheme;
	const struct key_stats *const *stats; /* of all keys of the source; NULL: nobody counts */
	size_t key;
	int64_t now_ms;
};

/* ---- is it safe? -------------------------------------------------------------------------------
 */

struct advice {
	enum { ADVICE_NONE, ADVICE_KEEP, ADVICE_REMOVE } kind;
	char why[160];
};

static void advise(struct advice *out, bool removes, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void advise(struct advice *out, bool removes, const char *fmt, ...)
{
	va_list args;

	out->kind = removes ? ADVICE_REMOVE : ADVICE_KEEP;
	va_start(args, fmt);
	(void)vsnprintf(out->why, sizeof(out->why), fmt, args);
	va_end(args);
}

static int64_t watch_hours(const struct scheme *scheme)
{
	struct scheme_audit audit;

	scheme_audit(scheme, &audit);
	return strcmp(audit.retries, "patient") == 0 ? WATCH_HOURS_PATIENT : WATCH_HOURS;
}

/* By the other keys of the source, in the last hours. */
static uint64_t other_matches(const struct key_row *row, int64_t hours)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < scheme_key_count(row->scheme); i++) {
		if (row->stats[i] != row->stats[row->key])
			sum += stats_matches(row->stats[i], row->now_ms, hours);
	}
	return sum;
}

static void advise_watched(const struct key_row *row, struct advice *out)
{
	const struct key_stats *stats = row->stats[row->key];
	int64_t hours = watch_hours(row->scheme);
	int64_t watched = (row->now_ms - stats->since_ms) / HOUR_MS;
	int64_t last_ms = atomic_load_explicit(&stats->last_ms, memory_order_relaxed);
	int64_t unused = (row->now_ms - last_ms) / HOUR_MS;
	uint64_t others = other_matches(row, hours);

	if (last_ms != 0 && unused < hours)
		advise(out, false, "matched %lld h ago", (long long)unused);
	else if (watched < hours)
		advise(out, false, "watched for only %lld of %lld h", (long long)watched,
			(long long)hours);
	else if (others == 0)
		advise(out, false, "no request came in the last %lld h", (long long)hours);
	else
		advise(out, true, "unused for %lld h while %llu requests matched other keys",
			(long long)(last_ms != 0 ? unused : watched), (unsigned long long)others);
}

/* Only an old key is asked about: the current one is in use, the next one will be. */
static void advise_of(const struct key_row *row, struct advice *out)
{
	*out = (struct advice){ .kind = ADVICE_NONE };
	if (scheme_key_is_past(row->scheme, row->key, row->now_ms))
		advise(out, true, "past its not_after");
	else if (strcmp(scheme_key_role(row->scheme, row->key), "previous") == 0 && row->stats)
		advise_watched(row, out);
}

/* ---- a row -------------------------------------------------------------------------------------
 */

static enum err_code put_time(struct buf *out, const char *name, int64_t ms, struct err *err)
{
	char text[TEXT_TIME_LEN];

	if (ms == 0)
		return json_put_raw(out, name, SLICE_LIT("null"), err);
	text_time_ms(ms, text);
	return json_put_str(out, name, slice_str(text), err);
}

/* Since its file was written. */
static enum err_code put_age(const struct key_row *row, struct buf *out, struct err *err)
{
	const char *file = scheme_key_file(row->scheme, row->key);
	struct stat st;

	if (!file || stat(file, &st) != 0)
		return json_put_raw(out, "age_s", SLICE_LIT("null"), err);
	return json_put_int(out, "age_s", row->now_ms / 1000 - (int64_t)st.st_mtim.tv_sec, err);
}

/* By the hour, over the last day or as long as it was watched. */
static double per_hour(const struct key_stats *stats, int64_t now_ms)
{
	double hours = (double)(now_ms - stats->since_ms) / (double)HOUR_MS;

	if (hours > RATE_HOURS)
		hours = RATE_HOURS;
	return (double)stats_matches(stats, now_ms, RATE_HOURS) / (hours < 1 ? 1 : hours);
}

static enum err_code put_counts(const struct key_row *row, struct buf *out, struct err *err)
{
	const struct key_stats *stats = row->stats ? row->stats[row->key] : NULL;
	enum err_code rc;

	if (!stats)
		return json_put_raw(out, "matches", SLICE_LIT("null"), err);
	rc = json_put_int(
		out, "matches", atomic_load_explicit(&stats->matches, memory_order_relaxed), err);
	if (rc == ERR_OK)
		rc = put_time(out, "last_match",
			atomic_load_explicit(&stats->last_ms, memory_order_relaxed), err);
	if (rc == ERR_OK)
		rc = json_put_num(out, "per_hour", per_hour(stats, row->now_ms), err);
	if (rc == ERR_OK)
		rc = put_time(out, "since", stats->since_ms, err);
	return rc;
}

static enum err_code put_advice(const struct key_row *row, struct buf *out, struct err *err)
{
	struct advice advice;
	enum err_code rc;

	advise_of(row, &advice);
	if (advice.kind == ADVICE_NONE)
		return json_put_raw(out, "safe_to_remove", SLICE_LIT("null"), err);
	rc = json_put_bool(out, "safe_to_remove", advice.kind == ADVICE_REMOVE, err);
	return rc == ERR_OK ? json_put_str(out, "why", slice_str(advice.why), err) : rc;
}

static enum err_code put_key(const struct key_row *row, struct buf *out, struct err *err)
{
	const struct scheme *scheme = row->scheme;
	const char *role = scheme_key_role(scheme, row->key);
	const char *kid = scheme_key_kid(scheme, row->key);
	const char *fingerprint = scheme_key_fingerprint(scheme, row->key);
	bool is_valid = scheme_key_is_valid(scheme, row->key, row->now_ms);
	enum err_code rc = buf_put_str(out, "{", err);

	if (rc == ERR_OK)
		rc = json_put_str(out, "source", slice_str(row->config->name), err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "role", slice_str(role), err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "kid", slice_str(kid), err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "fingerprint", slice_str(fingerprint), err);
	if (rc == ERR_OK)
		rc = json_put_bool(out, "valid", is_valid, err);
	if (rc == ERR_OK)
		rc = put_age(row, out, err);
	if (rc == ERR_OK)
		rc = put_counts(row, out, err);
	if (rc == ERR_OK)
		rc = put_advice(row, out, err);
	return rc == ERR_OK ? buf_put_str(out, "}\n", err) : rc;
}

static enum err_code put_keys(struct key_row row, struct buf *out, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (row.key = 0; row.key < scheme_key_count(row.scheme) && rc == ERR_OK; row.key++)
		rc = put_key(&row, out, err);
	return rc;
}

/* ---- keys that were told, and that nobody has confirmed ----------------------------------------
 */

static enum err_code put_told(const struct source_config *source,
	const struct learn_pending *pending, struct buf *out, struct err *err)
{
	enum err_code rc = buf_put_str(out, "{", err);

	if (rc == ERR_OK)
		rc = json_put_str(out, "source", slice_str(source->name), err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "role", SLICE_LIT("pending"), err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "fingerprint", slice_str(pending->fingerprint), err);
	if (rc == ERR_OK)
		rc = json_put_bool(out, "valid", false, err);
	if (rc == ERR_OK)
		rc = put_time(out, "told", pending->told_ms, err);
	return rc == ERR_OK ? buf_put_str(out, "}\n", err) : rc;
}

static enum err_code put_pending(
	struct learn *learn, const struct source_config *source, struct buf *out, struct err *err)
{
	struct learn_pending pending[LEARN_PENDING_MAX];
	size_t count = learn_list(learn, source->name, pending);
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < count && rc == ERR_OK; i++)
		rc = put_told(source, &pending[i], out, err);
	return rc;
}

/* ---- the door ----------------------------------------------------------------------------------
 */

enum err_code ingress_keys(struct ingress *in, struct buf *out, struct err *err)
{
	struct table *table = ingress_table(in);
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < table->config->source_count && rc == ERR_OK; i++) {
		const struct source *source = &table->sources[i];
		const struct key_stats *stats[SCHEME_KEYS_MAX];

		for (size_t k = 0; k < scheme_key_count(source->scheme); k++)
			stats[k] = source->keys[k];
		rc = put_keys((struct key_row){ .config = source->config,
				      .scheme = source->scheme,
				      .stats = stats,
				      .now_ms = in->clock->wall_ms(in->clock) },
			out, err);
		if (rc == ERR_OK && scheme_learns(source->scheme))
			rc = put_pending(&in->learn, source->config, out, err);
	}
	table_unref(table);
	return rc;
}

enum err_code ingress_keys_of(
	const struct config *config, const struct clock *clock, struct buf *out, struct err *err)
{
	struct config_report report = { 0 };
	struct learn learn;
	enum err_code rc;

	learn_init(&learn);
	rc = learn_open(&learn, config->data_dir, err);
	for (size_t i = 0; i < config->source_count && rc == ERR_OK; i++) {
		const struct source_config *source = &config->sources[i];
		struct scheme *scheme = NULL;

		rc = scheme_open(source, &scheme, &report, err);
		if (rc == ERR_OK)
			rc = put_keys((struct key_row){ .config = source,
					      .scheme = scheme,
					      .now_ms = clock->wall_ms(clock) },
				out, err);
		if (rc == ERR_OK && scheme_learns(scheme))
			rc = put_pending(&learn, source, out, err);
		scheme_close(&scheme);
	}
	config_report_done(&report);
	learn_done(&learn);
	return rc;
}
