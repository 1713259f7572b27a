/* stats.h - what is counted for each source: answers by code, time, keys, and a rate for people.
 *
 * A source's stats are found by its name and stay until the ingress closes, over any number of
 * reloads. Made by the main thread, counted by the loop, read by anyone. */
#pragma once

#include "postern/clock.h"
#include "postern/metrics.h"
#include "postern/scheme.h"
#include "postern/thread.h"

#include <stdatomic.h>

#define STATS_CODES (ERR_BAD_REQUEST + 1) /* those of contract section 3 come first */
#define STATS_ROLES 3
#define STATS_HOURS 100 /* for so long a key's matches are known by the hour */

struct key_stats {
	struct key_stats *next;
	char fingerprint[9];
	int64_t since_ms;                 /* counted since then */
	_Atomic int64_t matches, last_ms; /* relaxed: numbers for people */
	/* Matches of an hour, with the number of the hour above them: a place is used again. */
	_Atomic uint64_t hours[STATS_HOURS];
};

struct source_stats {
	struct source_stats *next;
	struct metric *codes[STATS_CODES], *duration, *roles[STATS_ROLES];
	struct key_stats *keys; /* guarded by the lock of stats */
	int64_t counted;        /* guarded: all codes, when the rate was last worked out */
	double per_second;      /* guarded: over about a minute */
	char name[];            /* "": requests of which the source is not known */
};

struct stats {
	const struct clock *clock;
	struct lock lock;
	struct source_stats *sources; /* guarded by lock; rows are never changed or taken out */
	int64_t rated_ms;             /* guarded */
};
void stats_init(struct stats *stats, const struct clock *clock);
void stats_done(struct stats *stats);
/* NULL without memory. */
struct source_stats *stats_source(struct stats *stats, const char *name);
struct key_stats *stats_key(
	struct stats *stats, struct source_stats *source, const char *fingerprint);

void stats_count(struct source_stats *source, enum err_code code);
void stats_match(
	struct source_stats *source, struct key_stats *key, const char *role, int64_t now_ms);
/* Of a key in the last so many hours, the one that runs included. */
uint64_t stats_matches(const struct key_stats *key, int64_t now_ms, int64_t hours);
/* Work the rates out; about once a second. */
void stats_rate(struct stats *stats, int64_t mono_ms);
/* "name": {...} for one source, as a member. */
MUST_CHECK enum err_code stats_put(
	struct stats *stats, const struct source_stats *source, struct buf *out, struct err *err);
