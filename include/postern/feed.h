/* feed.h - sources that read a topic which others write: each record becomes an event, as if a
 * request had brought it.
 *
 *   kafka_stream_read() -> scheme (mapping) -> record -> queue_append(events) -> position passed
 *
 * A position moves on when the event is in the events topic, so a crash reads some records again:
 * the worker knows their ids. Whoever reads a partition appends its records in their order, from a
 * place at or before the committed one, so the first copies of events stand in order whatever
 * happens to their readers. What cannot be mapped goes to the quarantine, and so does a record that
 * is larger than an event may be, without its body.
 *
 * Owns:    a reference to the config; the kafka handle outlives the feeds.
 * Threads: one for each such source; everything here is called from any one at a time, but for
 *          feeds_status().
 * Errors:  ERR_CONFIG (a mapping, with its problems in the report), ERR_NOMEM. */
#pragma once

#include "postern/config.h"
#include "postern/kafka.h"

struct feeds;
/* In place of Kafka's: for tests. */
struct feed_ports {
	void *ctx;
	enum err_code (*open)(void *ctx, const struct kafka_stream_opts *opts,
		struct kafka_stream **out, struct err *err);
	enum err_code (*read)(struct kafka_stream *stream, int64_t deadline_ms,
		struct kafka_stream_record *out, struct err *err);
	void (*release)(struct kafka_stream_record *record);
	void (*passed)(struct kafka_stream *stream, int32_t partition, int64_t offset);
	void (*close)(struct kafka_stream **stream);
	enum err_code (*open_queue)(void *ctx, queue_done_fn *done, void *done_ctx,
		struct queue **out, struct err *err);
};
struct feeds_opts {
	struct kafka *kafka;
	const struct clock *clock;
	const struct feed_ports *ports; /* NULL: Kafka's */
};
/* Of all sources that have a stream; there may be none. Begins to read. */
MUST_CHECK enum err_code feeds_open(struct config *config, const struct feeds_opts *opts,
	struct feeds **out, struct config_report *report, struct err *err);
/* The mappings of a new config. Topics that come, go or change wait for a restart. */
MUST_CHECK enum err_code feeds_reload(
	struct feeds *feeds, struct config *config, struct config_report *report, struct err *err);
/* The member "streams" of /v1/status. Any thread. */
MUST_CHECK enum err_code feeds_status(struct feeds *feeds, struct buf *out, struct err *err);
/* Reads no more; what is on its way ends. NULL is fine. */
void feeds_stop(struct feeds *feeds);
void feeds_close(struct feeds **feeds);
