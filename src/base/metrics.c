/* metrics.c - the table of metric families, and the series over it.
 *
 * A series is found by its family and label values in one hash table; it is never removed, so that
 * callers keep pointers and update without a lock. Deliberately not here: who counts what, and the
 * text form (metrics_text.c). */
#include "metrics_priv.h"

#include "postern/thread.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const double request_seconds[] = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
	0.25, 0.5, 1, 2.5, 5, 10 };
static const double age_seconds[] = { 0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400,
	86400, 604800 };
static_assert(
	ARRAY_LEN(request_seconds) <= METRIC_BUCKETS_MAX, "a series has room for its buckets");
static_assert(ARRAY_LEN(age_seconds) <= METRIC_BUCKETS_MAX, "a series has room for its buckets");

#define HISTOGRAM(bounds) METRIC_HISTOGRAM, (bounds), ARRAY_LEN(bounds)
#define COUNTER METRIC_COUNTER, NULL, 0
#define GAUGE METRIC_GAUGE, NULL, 0

/* clang-format off */
static const struct metric_row rows[] = {
	[METRIC_HTTP_REQUESTS] = { "postern_http_requests_total", COUNTER, { "source", "code" },
		"Requests answered, by reason code." },
	[METRIC_HTTP_REQUEST_DURATION] = { "postern_http_request_duration_seconds",
		HISTOGRAM(request_seconds), { "source", NULL },
		"Time from the end of the request to its answer." },
	[METRIC_EVENTS] = { "postern_events_total", COUNTER, { "route", "outcome" },
		"Events that ended, by outcome." },
	[METRIC_EVENT_AGE] = { "postern_event_age_seconds", HISTOGRAM(age_seconds), { "route", NULL },
		"Age of events when they ended, from their reception." },
	[METRIC_RETRIES] = { "postern_retries_total", COUNTER, { "route", "reason" },
		"Further attempts that were planned, by the reason of the last failure." },
	[METRIC_DEAD_LETTERS] = { "postern_dead_letters_total", COUNTER, { "route", "reason" },
		"Events given up to the dead letters." },
	[METRIC_KEY_MATCHES] = { "postern_key_matches_total", COUNTER, { "source", "role" },
		"Signatures that verified, by the role of the key." },
	[METRIC_ID_REUSED] = { "postern_id_reused_total", COUNTER, { "source", NULL },
		"Known event ids that came with another body." },
	[METRIC_SPOOL_RECORDS] = { "postern_spool_records", GAUGE, { NULL, NULL },
		"Records waiting in the local spool." },
	[METRIC_SPOOL_BYTES] = { "postern_spool_bytes", GAUGE, { NULL, NULL },
		"Bytes that the local spool occupies on disk." },
	[METRIC_SPOOL_OLDEST] = { "postern_spool_oldest_seconds", GAUGE, { NULL, NULL },
		"Age of the oldest record that waits in the local spool." },
	[METRIC_SPOOL_LATE] = { "postern_spool_late_total", COUNTER, { NULL, NULL },
		"Records that waited in the local spool for longer than /spool/max_age_s." },
	[METRIC_SPOOL_REFUSED] = { "postern_spool_refused_records", GAUGE, { NULL, NULL },
		"Records of the local spool that Kafka refuses, set aside." },
	[METRIC_QUEUE_LAG] = { "postern_queue_lag_records", GAUGE, { NULL, NULL },
		"Records behind the worker's position." },
	[METRIC_PARKED_EVENTS] = { "postern_parked_events", GAUGE, { NULL, NULL },
		"Events that wait for another attempt or an earlier version." },
	[METRIC_BUILD_INFO] = { "postern_build_info", GAUGE, { NULL, NULL },
		"Versions of the program and its libraries; always 1." },
	[METRIC_QUEUE_BYTES] = { "postern_queue_bytes", GAUGE, { "stream", NULL },
		"Bytes that a stream of the queue occupies on disk." },
	[METRIC_QUEUE_SYNCS] = { "postern_queue_syncs_total", COUNTER, { "stream", NULL },
		"Calls of fdatasync for a stream of the queue." },
	[METRIC_QUEUE_APPENDS] = { "postern_queue_appends_total", COUNTER, { "stream", NULL },
		"Records made durable in a stream of the queue." },
	[METRIC_LEDGER_BYTES] = { "postern_ledger_bytes", GAUGE, { NULL, NULL },
		"Bytes that the worker's state occupies on disk." },
	[METRIC_QUARANTINE_DROPPED] = { "postern_quarantine_dropped_total", COUNTER, { NULL, NULL },
		"Quarantined requests dropped because their room was full." },
	[METRIC_BREAKER_OPEN] = { "postern_breaker_open", GAUGE, { "route", NULL },
		"1 while the circuit breaker of a route is open." },
	[METRIC_CONFIG_RELOAD_OK] = { "postern_config_reload_ok", GAUGE, { NULL, NULL },
		"1 if the last reload of the configuration was taken." },
	[METRIC_CONNECTIONS] = { "postern_http_connections", GAUGE, { NULL, NULL },
		"Open HTTP connections." },
	[METRIC_JOURNAL_IGNORED] = { "postern_journal_ignored_total", COUNTER, { NULL, NULL },
		"Journal records passed over: repeated, or of an owner that had lost the lane." },
	[METRIC_STREAM_RECORDS] = { "postern_stream_records_total", COUNTER, { "source", "code" },
		"Records of topics that others write, by what became of them." },
	[METRIC_STREAM_LOST] = { "postern_stream_lost_total", COUNTER, { "source", NULL },
		"Records of such topics that retention dropped before they were read." },
	[METRIC_KAFKA_RENEWALS] = { "postern_kafka_producer_renewals_total", COUNTER,
		{ "producer", NULL }, "Kafka producers made anew after a fatal error." },
	[METRIC_READY] = { "postern_ready", GAUGE, { NULL, NULL },
		"1 if /readyz says so: a webhook posted now would be made durable, or a worker works." },
	[METRIC_DISK_FREE] = { "postern_disk_free_bytes", GAUGE, { NULL, NULL },
		"Bytes that are free on the disk of data_dir." },
	[METRIC_QUEUE_OLDEST] = { "postern_queue_oldest_seconds", GAUGE, { NULL, NULL },
		"Age of the oldest event that waits for a worker." },
};
/* clang-format on */
static_assert(ARRAY_LEN(rows) == METRIC_FAMILIES, "every family has a row");

/* The registry: guarded by lock. */
static struct {
	struct lock lock;
	struct metric *table;
	struct metric *first[METRIC_FAMILIES], *last[METRIC_FAMILIES];
	const char *const *build_info;
} registry;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void open_registry(void)
{
	lock_init(&registry.lock);
}

static void lock_registry(void)
{
	(void)pthread_once(&once, open_registry);
	lock_take(&registry.lock);
}

const struct metric_row *metric_row(enum metric_family family)
{
	assert((unsigned)family < METRIC_FAMILIES);
	return &rows[family];
}

/* Family, then the values, each with its NUL: no two series have the same key. */
static char *key_of(enum metric_family family, const char *v1, const char *v2, size_t *out_len)
{
	size_t len1 = strlen(v1) + 1, len2 = strlen(v2) + 1;
	char *key = malloc(1 + len1 + len2);

	if (!key)
		abort();
	key[0] = (char)family;
	memcpy(key + 1, v1, len1);
	memcpy(key + 1 + len1, v2, len2);
	*out_len = 1 + len1 + len2;
	return key;
}

/* Takes the key. */
static struct metric *add_locked(enum metric_family family, char *key, size_t len)
{
	struct metric *m = calloc(1, sizeof(*m));

	lock_assert_held(&registry.lock);
	if (!m)
		abort();
	m->row = &rows[family];
	m->key = key;
	m->value[0] = key + 1;
	m->value[1] = m->value[0] + strlen(m->value[0]) + 1;
	HASH_ADD_KEYPTR(hh, registry.table, m->key, len, m);
	if (registry.last[family])
		registry.last[family]->next = m;
	else
		registry.first[family] = m;
	registry.last[family] = m;
	return m;
}

struct metric *metric_series(enum metric_family family, const char *value1, const char *value2)
{
	const struct metric_row *row = metric_row(family);
	struct metric *m = NULL;
	size_t len;
	char *key = key_of(family, row->label[0] && value1 ? value1 : "",
		row->label[1] && value2 ? value2 : "", &len);

	lock_registry();
	HASH_FIND(hh, registry.table, key, len, m);
	if (m)
		free(key);
	else
		m = add_locked(family, key, len);
	lock_give(&registry.lock);
	return m;
}

void metric_add(struct metric *m, int64_t n)
{
	assert(m->row->type != METRIC_HISTOGRAM);
	atomic_fetch_add_explicit(&m->number, n, memory_order_relaxed);
}

void metric_set(struct metric *m, int64_t value)
{
	assert(m->row->type == METRIC_GAUGE);
	atomic_store_explicit(&m->number, value, memory_order_relaxed);
}

int64_t metric_value(const struct metric *m)
{
	int64_t count = 0;

	if (m->row->type != METRIC_HISTOGRAM)
		return atomic_load_explicit(&m->number, memory_order_relaxed);
	for (size_t i = 0; i <= m->row->bounds_count; i++)
		count += atomic_load_explicit(&m->bucket[i], memory_order_relaxed);
	return count;
}

void metric_observe(struct metric *m, double seconds)
{
	size_t i = 0;
	double sum, more;

	assert(m->row->type == METRIC_HISTOGRAM);
	if (!(seconds >= 0)) /* a clock that stepped back, or no number at all */
		seconds = 0;
	while (i < m->row->bounds_count && seconds > m->row->bounds[i])
		i++;
	atomic_fetch_add_explicit(&m->bucket[i], 1, memory_order_relaxed);
	sum = atomic_load_explicit(&m->sum, memory_order_relaxed);
	do
		more = sum + seconds;
	while (!atomic_compare_exchange_weak_explicit(
		&m->sum, &sum, more, memory_order_relaxed, memory_order_relaxed));
}

void metric_build_info(const char *const *pairs)
{
	lock_registry();
	registry.build_info = pairs;
	lock_give(&registry.lock);
}

const char *const *metrics_build_info(void)
{
	const char *const *pairs;

	lock_registry();
	pairs = registry.build_info;
	lock_give(&registry.lock);
	return pairs;
}

/* Series are only ever added at the end, so that the lock is needed for the links alone. */
struct metric *metrics_next(enum metric_family family, const struct metric *after)
{
	struct metric *next;

	lock_registry();
	next = after ? after->next : registry.first[family];
	lock_give(&registry.lock);
	return next;
}

void metrics_each(enum metric_family family,
	bool (*visit)(void *arg, const char *value1, const char *value2, const struct metric *m),
	void *arg)
{
	struct metric *m = metrics_next(family, NULL);

	while (m && visit(arg, m->value[0], m->value[1], m))
		m = metrics_next(family, m);
}
