/* kafka.h - the queue over Apache Kafka: one handle a process, one `struct queue` for the ingress
 * half and one for each partition (lane) that the working half follows or owns.
 *
 * Topics: <topic> (events), <topic>.journal (the state, partition i belongs to partition i of the
 * events), <topic>.dlq, <topic>.quarantine: all with the same count of partitions, which is fixed
 * at creation and checked at every start. The partition is murmur2 of the record's key, computed
 * here (Kafka's own partitioner for Java: org.apache.kafka.common.utils.Utils.murmur2), never by a
 * library that looks at the current count.
 *
 * A record on the topic: key and value are the record's key and body, headers are the block of
 * event.h, header by header, in order. Dead letters and quarantined records go to the partition
 * that their event came from.
 *
 * Owns:    the handle lives until every queue and group made from it is closed.
 * Threads: kafka_open/close from one thread; the rest from any. Completions come on threads of the
 *          handle's own: those of the events on one, those of all outputs on another.
 * Errors:  ERR_CONFIG (a property that librdkafka refuses, a changed partition count: do not
 *          retry), ERR_UNREACHABLE, ERR_TIMEOUT (retry), ERR_CORRUPT (a log that lost records that
 *          we need: stop), ERR_FENCED (another process owns the lane now). */
#pragma once

#include "postern/journal.h"
#include "postern/queue.h"

struct kafka;

struct kafka_property {
	const char *name, *value; /* handed to librdkafka as they are, before our own */
};
struct kafka_opts {
	const struct kafka_property *properties;
	size_t property_count;
	const char *topic, *group;
	bool create_topics;
	bool writes_events, works;    /* which halves this process is */
	int32_t partitions;           /* of topics that are created; 0: 12 */
	int64_t journal_retention_ms; /* of a journal that is created; a smaller one is ERR_CONFIG
				       */
	int64_t output_retention_ms[STREAM_COUNT]; /* of topics that are created; 0: the broker's */
	size_t max_record_bytes;                   /* key, headers and body of the largest event */
	bool spools; /* events are appended through a spool: when one's time is over, all that are
			on their way end with it, so that none overtakes it */
	int64_t delivery_timeout_ms; /* 0: 8000; the property message.timeout.ms comes first */
	const struct clock *clock;
};
/* Checks the properties, starts the handles. No broker is needed for it: the ingress may start with
 * Kafka away. Properties are copied. */
MUST_CHECK enum err_code kafka_open(
	const struct kafka_opts *opts, struct kafka **out, struct err *err);
void kafka_close(struct kafka **kafka);
/* Are the properties ones that the library takes, and that leave what must be so alone? Nothing is
 * started; a value may stand for a secret. ERR_CONFIG names the property. */
MUST_CHECK enum err_code kafka_check(const struct kafka_opts *opts, struct err *err);

/* Ask the brokers: topics exist (or are created), their partition counts agree with each other and
 * with `expected` (0: not known yet), retention and size limits suffice; then warms every producer.
 * Waits until deadline_ms (monotonic). ERR_CONFIG names the topic and both numbers. */
MUST_CHECK enum err_code kafka_settle(struct kafka *kafka, int32_t expected, int64_t deadline_ms,
	int32_t *out_partitions, struct err *err);
/* The same for one topic that others write: how many partitions it has. ERR_NOT_FOUND. */
MUST_CHECK enum err_code kafka_topic_partitions(
	struct kafka *kafka, const char *topic, int64_t deadline_ms, int32_t *out, struct err *err);
/* One that records are published to: made when it is missing, with as many partitions as ours, once
 * kafka_settle() has succeeded. ERR_CONFIG: it is missing, and none is to be made. */
MUST_CHECK enum err_code kafka_user_topic(
	struct kafka *kafka, const char *topic, int64_t deadline_ms, struct err *err);
/* For readiness: can records be made durable? ERR_OK, or why not. */
MUST_CHECK enum err_code kafka_ready(struct kafka *kafka, struct err *err);
/* ERR_CONFIG once it is seen that the topics are not what was settled: then nothing goes on. */
MUST_CHECK enum err_code kafka_refusal(struct kafka *kafka, struct err *err);
/* Identity of the cluster (text of at most 63 bytes and NUL), known after kafka_settle(). */
const char *kafka_cluster_id(const struct kafka *kafka);
/* Version of the library, for `version`. */
const char *kafka_library_version(void);

/* Partition of a key: (murmur2(key) & 0x7fffffff) % partitions. */
int32_t kafka_partition(struct slice key, int32_t partitions);

/* The ingress half: queue_append(STREAM_EVENTS), queue_room and queue_stat (appended alone) work,
 * the rest is ERR_STOPPED. Nothing is taken before kafka_settle() has succeeded (ERR_UNREACHABLE),
 * nor once the topics are seen to have changed (ERR_CONFIG). done as in queue.h; a record's result
 * is ERR_OK only when all in-sync replicas have it, ERR_UNAVAILABLE when it surely is not there,
 * ERR_OUTCOME_UNKNOWN otherwise. A fatal error of the producer makes a new one that appends again,
 * in order, what was not acknowledged. Closing flushes until delivery_timeout_ms, then completes
 * what is left as not known, or as surely not there. */
MUST_CHECK enum err_code queue_kafka_ingress(
	struct kafka *kafka, queue_done_fn *done, void *ctx, struct queue **out, struct err *err);

/* The same with a segmented log of this machine in front of it, for when Kafka is away: records
 * that say so (record.spools) are ERR_OK as well once that log has them on disk, and a thread
 * brings them to Kafka when it is back, those of a partition in their order. As long as the log
 * holds anything for a partition, every new record of it goes there; one that may not is
 * ERR_UNAVAILABLE. Until the partitions are known, and until what the log held at the start
 * has been read, that means all of them. ERR_LOCKED: another process has the log.
 *
 * Nothing that is in the log is ever given up: what cannot be delivered is sent again and again. A
 * record that the brokers refuse for what it is (too large, invalid), alone in a request, goes
 * aside into a log of its own beneath this one, so that those behind it go on; each next open tries
 * those again. Where there is no room for it, it stays, and so do those behind it. A crash sends a
 * suffix again. Full, or the oldest is over max_age_ms and Kafka still away: new
 * records are ERR_UNAVAILABLE. queue_room(): what Kafka says; where every source may be spooled,
 * also ERR_OK if the log has room. Closing leaves in the log what is there. */
struct spool_opts {
	const char *dir; /* data_dir/spool; made when it is missing */
	int64_t max_bytes, segment_bytes, reserve_bytes;
	int64_t max_age_ms;
	queue_done_fn *done;
	void *ctx;
	const struct clock *clock;
};
MUST_CHECK enum err_code queue_spool_open(
	struct kafka *kafka, const struct spool_opts *opts, struct queue **out, struct err *err);
/* May every source be spooled? Not so until this is said. Any thread. */
void queue_spool_covers(struct queue *spool, bool all_sources);
struct spool_stat {
	int64_t records, bytes; /* waiting; on disk */
	int64_t oldest_ms;      /* when the oldest was appended (wall time); 0: none waits */
	int64_t refused;        /* set aside */
	bool is_away;           /* records that may go to the log for the lack of Kafka */
	bool is_stuck; /* one more is refused, without room to set it aside: nothing goes */
};
/* What an operator does about is_stuck. */
#define QUEUE_SPOOL_STUCK                                                                          \
	"events that Kafka refuses fill their quarter of /spool/max_bytes, and those behind them " \
	"wait: raise the topic's max.message.bytes, or /spool/max_bytes and restart"
void queue_spool_stat(struct queue *spool, struct spool_stat *out);

/* One lane of the working half: reads its partition of the events, appends to its journal, its dlq
 * and quarantine. Asks nothing of the broker until it is used. A handle has at most one lane open
 * for each partition. Retention is the topics' own: queue_done() is a hint for the group's lag, and
 * queue_drop_oldest() is ERR_FULL. queue_stat() asks the broker every other second at most. */
struct kafka_lane_opts {
	int32_t partition;
	queue_done_fn *outputs_done; /* of appends to dlq and quarantine */
	void *outputs_ctx;
};
MUST_CHECK enum err_code queue_kafka_lane(struct kafka *kafka, const struct kafka_lane_opts *opts,
	struct queue **out, struct err *err);

/* ---- topics that others write -------------------------------------------------------------------
 */

struct kafka_stream;
struct kafka_stream_opts {
	const char *topic, *group; /* of consumers: its committed positions are the only memory */
	bool from_end; /* where a group begins that has no position yet: at the end, not the start
			*/
};
struct kafka_stream_record {
	struct record record; /* headers: their block; empty where none can hold them */
	int32_t partition;    /* -1: there is no record */
	int64_t lost;         /* so many before it were dropped by retention, unread */
	void *message;        /* the stream's, as block */
	uint8_t *block;
};
/* Joins the group. One thread reads a stream; the topic may not be there yet. */
MUST_CHECK enum err_code kafka_stream_open(struct kafka *kafka,
	const struct kafka_stream_opts *opts, struct kafka_stream **out, struct err *err);
/* The next record of any partition that the group gives us, in the order of each; none until
 * deadline_ms (monotonic): partition -1. Anything but ERR_OK may pass: call again. */
MUST_CHECK enum err_code kafka_stream_read(struct kafka_stream *stream, int64_t deadline_ms,
	struct kafka_stream_record *out, struct err *err);
void kafka_stream_release(struct kafka_stream_record *record);
/* This record and those before it need not be read again. Committed within a second or two. */
void kafka_stream_passed(struct kafka_stream *stream, int32_t partition, int64_t offset);
/* Leaves the group; NULL is fine. */
void kafka_stream_close(struct kafka_stream **stream);

/* ---- the group: a suggestion of who should own which lane --------------------------------------
 */

struct kafka_group;
/* Joins and polls on a thread of its own. changed() is called there whenever the assignment
 * changes: owned[i] says whether lane i is ours to claim. Ownership itself is decided by the
 * journal. */
typedef void kafka_group_fn(void *ctx, const bool *owned, int32_t partitions);
MUST_CHECK enum err_code kafka_group_open(struct kafka *kafka, kafka_group_fn *changed, void *ctx,
	struct kafka_group **out, struct err *err);
/* Leaves the group at once. */
void kafka_group_close(struct kafka_group **group);
/* Tell lag monitors how far a lane is (asynchronous; never read back). */
void kafka_group_position(struct kafka_group *group, int32_t partition, int64_t position);
