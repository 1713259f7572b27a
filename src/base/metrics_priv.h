/* metrics_priv.h - what a family and a series look like inside. */
#pragma once

#include "postern/metrics.h"

#include <stdatomic.h>
#include <stdlib.h>

#define HASH_FUNCTION(key, len, out) ((out) = (unsigned)hash_bytes((key), (len)))
/* No memory for a counter at start means no memory for anything. */
#define uthash_fatal(msg) abort()
#include <uthash.h>

#define METRIC_LABELS 2
#define METRIC_BUCKETS_MAX 14

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_row {
	const char *name;
	enum metric_type type;
	const double *bounds; /* upper, inclusive, rising; the last bucket has none */
	size_t bounds_count;
	const char *label[METRIC_LABELS];
	const char *help;
};

struct metric {
	const struct metric_row *row;
	char *key;
	const char *value[METRIC_LABELS]; /* inside key */
	/* Relaxed: each is a count by itself, and nothing else is read because of it. */
	atomic_llong number; /* counter or gauge */
	_Atomic double sum;  /* histogram */
	atomic_llong bucket[METRIC_BUCKETS_MAX + 1];
	struct metric *next; /* of the family; guarded by the registry's lock */
	UT_hash_handle hh;
};

const struct metric_row *metric_row(enum metric_family family);
/* The series behind this one (NULL: the first), or NULL. */
struct metric *metrics_next(enum metric_family family, const struct metric *after);
const char *const *metrics_build_info(void);
