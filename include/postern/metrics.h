/* metrics.h - the table of metric families, counters and histograms over it, and their text form.
 *
 * A family is a row of the table in src/base/metrics.c (name, type, labels, help, buckets). A
 * series is a family with label values; it exists at 0 from the moment it is asked for and for the
 * life of the process, so callers ask at start and keep the pointer. Label values come from the
 * config and from our own tables only (bounded), never from a request. Threads: any; updates are
 * relaxed atomics. Source:  Prometheus text exposition format 0.0.4. */
#pragma once

#include "postern/buf.h"

enum metric_family {
	METRIC_HTTP_REQUESTS,         /* source, code */
	METRIC_HTTP_REQUEST_DURATION, /* source; histogram, seconds */
	METRIC_EVENTS,                /* route, outcome */
	METRIC_EVENT_AGE,             /* route; histogram, seconds */
	METRIC_RETRIES,               /* route, reason */
	METRIC_DEAD_LETTERS,          /* route, reason */
	METRIC_KEY_MATCHES,           /* source, role */
	METRIC_ID_REUSED,             /* source */
	METRIC_SPOOL_RECORDS,         /* gauge */
	METRIC_SPOOL_BYTES,           /* gauge */
	METRIC_SPOOL_OLDEST,          /* gauge, seconds */
	METRIC_SPOOL_LATE,            /* sent on after more than the age that a record may have */
	METRIC_SPOOL_REFUSED,         /* gauge */
	METRIC_QUEUE_LAG,             /* gauge */
	METRIC_PARKED_EVENTS,         /* gauge */
	METRIC_BUILD_INFO,            /* version and library versions; gauge 1 */
	METRIC_QUEUE_BYTES,           /* stream; gauge */
	METRIC_QUEUE_SYNCS,           /* stream; fdatasync calls */
	METRIC_QUEUE_APPENDS,         /* stream; records made durable */
	METRIC_LEDGER_BYTES,          /* gauge */
	METRIC_QUARANTINE_DROPPED,    /* the oldest dropped because it was full */
	METRIC_BREAKER_OPEN,          /* route; gauge 0 or 1 */
	METRIC_CONFIG_RELOAD_OK,      /* gauge */
	METRIC_CONNECTIONS,           /* gauge: open HTTP connections */
	METRIC_JOURNAL_IGNORED,       /* journal records that were not valid */
	METRIC_STREAM_RECORDS,        /* source, code */
	METRIC_STREAM_LOST,           /* source */
	METRIC_KAFKA_RENEWALS,        /* producer; made anew after a fatal error */
	METRIC_READY,                 /* gauge: what /readyz says */
	METRIC_DISK_FREE,             /* gauge: of the disk that holds data_dir */
	METRIC_QUEUE_OLDEST,          /* gauge, seconds: of what waits for a worker */
	METRIC_FAMILIES
};

struct metric;
/* The series of this family with these label values (as many as the family has labels; NULL is "").
 * The same values give the same pointer. Never NULL: without memory the process stops. */
struct metric *metric_series(enum metric_family family, const char *value1, const char *value2);
void metric_add(struct metric *m, int64_t n);
void metric_set(struct metric *m, int64_t value); /* gauges */
int64_t metric_value(const struct metric *m);     /* counter or gauge; a histogram's count */
void metric_observe(struct metric *m, double seconds);
/* postern_build_info's labels, as name/value pairs, NULL-ended; once at start. */
void metric_build_info(const char *const *pairs);
/* All families, in the order of the table. */
MUST_CHECK enum err_code metrics_render(struct buf *out, struct err *err);
/* Each series of a family: for status. Stops when visit returns false. */
void metrics_each(enum metric_family family,
	bool (*visit)(void *arg, const char *value1, const char *value2, const struct metric *m),
	void *arg);
