/* kafka_priv.h - what the files of the Kafka backend share: the handle, how handles of the library
 * are made, the producer, records and headers, questions to the brokers.
 *
 *   kafka.c            open, close, settle, ready; the thread that looks after the cluster
 *   kafka_conf.c       properties to a handle of the library; its log lines
 *   kafka_err.c        what its errors mean
 *   kafka_topics.c     topics: create, check, count (kafka_settings.c: their settings)
 *   kafka_producer.c   records to topics, completions back (kafka_flight.c: each record's way;
 *                      kafka_poll.c: the thread; kafka_handle.c: the library's handle, and a
 *                      new one)
 *   kafka_record.c     a header block to the library's headers and back
 *   kafka_ingress.c    the ingress half as a queue
 *   kafka_spool*.c     the same with a log in front of it, for when Kafka is away; and one for what
 *                      Kafka refuses for good
 *   kafka_lane*.c, kafka_journal*.c, kafka_group.c   the working half
 *   kafka_stream.c     topics that others write
 *
 * Callbacks of the library run on threads of ours only: log lines and errors wait in each handle's
 * queue until its owner polls it. Who makes a handle therefore polls it.
 *
 * Lock order: the spool's lock, kafka.lock, then a producer's lock. */
#pragma once

#include "queue_priv.h"

#include "postern/kafka.h"
#include "postern/log.h"
#include "postern/metrics.h"
#include "postern/thread.h"

#include <librdkafka/rdkafka.h>

enum kafka_topic {
	KAFKA_TOPIC_EVENTS,
	KAFKA_TOPIC_JOURNAL,
	KAFKA_TOPIC_DLQ,
	KAFKA_TOPIC_QUARANTINE,
	KAFKA_TOPIC_COUNT
};
/* What a handle of the library is for; its properties follow from that (kafka_conf.c). */
enum kafka_kind {
	KAFKA_KIND_EVENTS,  /* producer: gives up after the delivery timeout */
	KAFKA_KIND_JOURNAL, /* producer: never gives up */
	KAFKA_KIND_OUTPUTS, /* producer: as events; dlq, quarantine, topics of users */
	KAFKA_KIND_SPOOL,   /* producer: never gives up; the spool has one of its own */
	KAFKA_KIND_DATA,    /* consumer: assigned by hand, every offset given, no group */
	KAFKA_KIND_CONTROL, /* consumer: member of the group, reads nothing */
	KAFKA_KIND_QUERY,   /* consumer: asks, reads nothing, no group */
	KAFKA_KIND_STREAM,  /* consumer: a member that reads a topic of others */
	KAFKA_KIND_COUNT
};
#define KAFKA_PRODUCER_KINDS 4 /* the first ones */

/* What the callbacks of a handle find as its opaque. Belongs to the handle's owner and outlives the
 * handle. */
struct kafka_hook {
	struct kafka *kafka;
	const char *name; /* in log lines */
	/* Delivery reports of a producer. */
	void (*delivered)(struct kafka_hook *hook, const rd_kafka_message_t *message);
	/* Errors that belong to no call (brokers down, authentication); NULL: they are only logged.
	 */
	void (*failed)(struct kafka_hook *hook, rd_kafka_resp_err_t code, const char *reason);
	/* The gate of its log lines: so many a window, then a count. The owner's polling thread's.
	 */
	int64_t window_ms;
	unsigned lines, held_back;
};

#define KAFKA_CLUSTER_ID_MAX 63
struct kafka {
	struct kafka_opts opts;                    /* with copies of all that it points to */
	char *topics[KAFKA_TOPIC_COUNT];           /* names */
	struct kafka_property *properties;         /* those copies */
	char cluster_id[KAFKA_CLUSTER_ID_MAX + 1]; /* set by the first settling, then it stays */
	size_t max_message_bytes;                  /* what topics must take */
	/* No broker answered lately: until then (monotonic) nobody else need ask where streams end.
	 */
	_Atomic int64_t silent_until_ms;
	bool believes_settings; /* tests: brokers that cannot tell the settings of topics */
	struct kafka_producer *producers[KAFKA_PRODUCER_KINDS]; /* NULL: not this process's half */
	rd_kafka_t *query;                                      /* kind QUERY; any thread may ask */
	struct kafka_hook query_hook;

	struct lock lock;
	struct cond changed;
	int32_t partitions; /* guarded by lock, as all below; 0: not settled yet */
	struct err trouble; /* why records cannot be made durable; code ERR_OK: they can */
	bool look_now, stopping;
	struct kafka_fetch *fetch; /* of the lanes that are open (kafka_fetch.c) */
	struct kafka_group *group; /* takes positions (kafka_group.c); NULL: nobody does */
	struct kafka_ends *ends;   /* of the events (kafka_ends.c); NULL: nobody has asked */
	struct thread watch;
};

static inline int64_t kafka_now_ms(const struct kafka *kafka)
{
	return kafka->opts.clock->mono_ms(kafka->opts.clock);
}
/* The largest thing that each topic must take. */
size_t kafka_message_bytes(const struct kafka_opts *opts);
/* How many partitions each of our topics has; 0 until kafka_settle() has succeeded once. */
int32_t kafka_partition_count(struct kafka *kafka);
/* Milliseconds until a deadline as the library wants them: at least 0, at most a minute. */
int kafka_left_ms(const struct kafka *kafka, int64_t deadline_ms);
/* Returns early when the handle is being closed. */
void kafka_wait(struct kafka *kafka, int64_t ms);
/* Is it seen that not every partition can be written to? */
bool kafka_is_away(struct kafka *kafka);

/* ---- handles of the library (kafka_conf.c) -----------------------------------------------------
 */

/* Our defaults, then the user's properties, then what must be so; callbacks. The caller may set
 * more (rebalance callback) before it makes the handle. */
MUST_CHECK enum err_code kafka_conf_new(struct kafka *kafka, enum kafka_kind kind,
	struct kafka_hook *hook, rd_kafka_conf_t **out, struct err *err);
/* Takes conf, whatever the result. Its log lines go to the handle's main queue. A consumer that
 * is read from calls rd_kafka_poll_set_consumer() itself. */
MUST_CHECK enum err_code kafka_handle_new(struct kafka *kafka, enum kafka_kind kind,
	rd_kafka_conf_t *conf, rd_kafka_t **out, struct err *err);
/* Does the library give up records of this kind, each when its time is over? */
bool kafka_gives_up(const struct kafka_opts *opts, enum kafka_kind kind);
/* Are the properties ones that the library takes and that leave ours alone? */
MUST_CHECK enum err_code kafka_conf_check(const struct kafka_opts *opts, struct err *err);
/* The value of the user's property of this name, the last one given; NULL: none. */
const char *kafka_property(const struct kafka_opts *opts, const char *name);

/* Text of the library for people: without the values of secret properties, one line. */
#define KAFKA_TEXT_MAX 200
void kafka_text(const struct kafka_opts *opts, const char *from, char out[KAFKA_TEXT_MAX]);
/* What an error of the library means to us (kafka_err.c), and the same with "what: its name for
 * it". */
enum err_code kafka_err_code(rd_kafka_resp_err_t code);
enum err_code kafka_err(struct err *err, rd_kafka_resp_err_t code, const char *what);
/* Is it about the record, or one beside it in its batch, so that no other time can help? */
bool kafka_refuses(rd_kafka_resp_err_t code);

/* ---- questions to the brokers (kafka_topics.c) -------------------------------------------------
 */

/* First and next offset of a partition, whatever transactions are open. Keeps to the deadline.
 * ERR_NOT_FOUND: no such partition. Any thread. */
MUST_CHECK enum err_code kafka_watermarks(struct kafka *kafka, const char *topic, int32_t partition,
	int64_t deadline_ms, int64_t *out_first, int64_t *out_end, struct err *err);
/* The same of a partition of the events, as the brokers said at most max_age_ms ago (kafka_ends.c).
 * ERR_UNREACHABLE: they do not. Any thread; blocks for a second at most. */
#define KAFKA_SILENT_MS 2000 /* brokers that gave no answer are not asked again for so long */
MUST_CHECK enum err_code kafka_ends(struct kafka *kafka, int32_t partition, int64_t max_age_ms,
	int64_t *out_first, int64_t *out_end, struct err *err);
/* How many partitions a topic has now. ERR_NOT_FOUND. Any thread. */
MUST_CHECK enum err_code kafka_count_partitions(
	struct kafka *kafka, const char *topic, int64_t deadline_ms, int32_t *out, struct err *err);
/* Can every partition of the events be written to: the count is what it was, each has a leader? */
MUST_CHECK enum err_code kafka_topics_look(
	struct kafka *kafka, int32_t expected, int64_t deadline_ms, struct err *err);
/* All topics that this process needs: there, alike, large and lasting enough. */
MUST_CHECK enum err_code kafka_topics_settle(struct kafka *kafka, int32_t expected,
	int64_t deadline_ms, int32_t *out_partitions, struct err *err);

/* ---- records (kafka_record.c) ------------------------------------------------------------------
 */

/* A header block as headers of the library (the caller's until the library takes them). ERR_SYNTAX:
 * the block is broken; ERR_NOMEM. An empty block, or one of count 0: *out is NULL. */
MUST_CHECK enum err_code kafka_headers(
	struct slice block, rd_kafka_headers_t **out, struct err *err);
/* The other way. How long the block of a message is. False: it has headers that fit into none
 * (EVENT_HEADERS_MAX, EVENT_HEADER_COUNT_MAX, a name that is empty or too long): give the record an
 * empty block, which is unreadable and ends in quarantine. */
bool kafka_block_size(const rd_kafka_message_t *message, size_t *out);
/* Writes the block, which has kafka_block_size() bytes (block may be NULL where that was false),
 * and fills in the record: key and body point into the message, headers to the block; offset and
 * time; no attempt. A null key or value is an empty one. */
void kafka_record(const rd_kafka_message_t *message, uint8_t *block, struct record *out);

/* ---- the producer (kafka_producer.c) -----------------------------------------------------------
 *
 *   append --> out (in order) --produce--> library --report--> poll thread --> sinks, one call each
 *                 ^                                                |
 *                 +------ fatal error: a new handle, all that is not acknowledged again, in order
 *
 * One for the whole process and each kind, with a thread that polls it and on which completions
 * are called. A record's result: ERR_OK, ERR_UNAVAILABLE (surely not there), ERR_OUTCOME_UNKNOWN.
 * ERR_OK has offset and time filled in; a broker that only says that it has the record already is
 * not believed. Offsets of a partition complete in order. */

struct kafka_producer;

/* Where completions go. Belongs to the appender, from kafka_sink_open() to kafka_sink_close(). */
struct kafka_sink {
	queue_done_fn *done; /* NULL: nobody wants to know */
	void *ctx;
	struct metric *metric_appends; /* counts those that are ERR_OK; NULL: does not */
	bool tells_refusals;           /* ERR_LIMIT in place of ERR_UNAVAILABLE: kafka_refuses() */
	/* What waits behind one that failed, in its partition, fails too: it must not overtake. Nor
	 * is anything more taken until kafka_sink_again(). The producer is the sink's alone. */
	bool keeps_order;
	/* The producer's, guarded by its lock. */
	struct record *list, **tail; /* completed in this round */
	struct flight *spent;        /* of those, the ones that are the producer's own */
	size_t ended;                /* how many those are */
	struct kafka_sink *touched;  /* next of those with a list */
	bool is_touched;
	bool has_failed; /* keeps_order: one did */
	size_t out;      /* appended, and done() has not returned */
};
void kafka_sink_open(struct kafka_sink *sink, queue_done_fn *done, void *ctx);
/* Waits until all of its records have completed and done() has returned; at deadline_ms
 * (monotonic) the producer gives up everything that it holds, whoever's, so that it can be
 * repeated. */
void kafka_sink_close(
	struct kafka_producer *producer, struct kafka_sink *sink, int64_t deadline_ms);
/* keeps_order: who appends knows of all that failed, and has nothing on its way. */
void kafka_sink_again(struct kafka_producer *producer, struct kafka_sink *sink);
/* For a sink of kafka_producer_put() alone: no done() is running and none will come. What was put
 * may be sent yet. */
void kafka_sink_forget(struct kafka_producer *producer, struct kafka_sink *sink);

#define KAFKA_BY_KEY (-1)     /* kafka_partition() over the count of our topics */
#define KAFKA_BY_LIBRARY (-2) /* Java's partitioner over the topic's own count: topics of users */
struct kafka_target {
	const char *topic; /* copied when it is new */
	int32_t partition; /* or one of the above */
	struct kafka_sink *sink;
	uint64_t give_ups; /* kafka_producer_give_ups() when the caller chose this; 0: any time */
};
/* Takes the list. As queue_append(): ERR_FULL, ERR_LIMIT (larger than the topics take), ERR_SYNTAX
 * (a header block is broken), ERR_NOMEM, ERR_STOPPED, ERR_UNREACHABLE (BY_KEY before the count is
 * known), ERR_UNAVAILABLE (the producer has given up since give_ups, or a sink that keeps_order
 * has one that failed, so that this would go past what the caller does not know of yet); then
 * nothing was taken. The records' bytes stay untouched until the completion. */
MUST_CHECK enum err_code kafka_producer_append(struct kafka_producer *producer,
	const struct kafka_target *target, struct record *list, struct err *err);
/* One value without key and headers, copied, so that the caller may forget it: the journal's
 * records. target->partition is a number. Completes as a record of the producer's own, which lives
 * until done() returns. */
MUST_CHECK enum err_code kafka_producer_put(struct kafka_producer *producer,
	const struct kafka_target *target, struct slice value, struct err *err);
/* All that it holds ends soon, whoever's it is; then it goes on. Any thread. */
void kafka_producer_give_up(struct kafka_producer *producer);
/* How often it did, by itself or told to, counted from 1. Any thread. */
uint64_t kafka_producer_give_ups(struct kafka_producer *producer);
/* Room for this many bytes more? ERR_OK, ERR_FULL, or why records could not be sent lately. */
MUST_CHECK enum err_code kafka_producer_room(
	struct kafka_producer *producer, size_t bytes, struct err *err);

MUST_CHECK enum err_code kafka_producer_open(
	struct kafka *kafka, enum kafka_kind kind, struct kafka_producer **out, struct err *err);
/* Make the handle know this topic, so that the first record does not wait for it, and remember to
 * do so after a fatal error. kafka_settle() has done it for our own topics. Waits until
 * deadline_ms. */
MUST_CHECK enum err_code kafka_producer_warm(
	struct kafka_producer *producer, const char *topic, int64_t deadline_ms, struct err *err);
/* Waits for what it holds until deadline_ms, gives up the rest, completes all. */
void kafka_producer_close(struct kafka_producer **producer, int64_t deadline_ms);
