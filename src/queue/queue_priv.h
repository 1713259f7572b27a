/* queue_priv.h - what a backend of the queue is: a table of functions over a struct that embeds
 * this one.
 *
 * The front (queue.c) does the checks that all backends share, and then calls the table. */
#pragma once

#include "postern/queue.h"

struct queue_read_args {
	int64_t offset;
	size_t max, max_bytes;
	int64_t deadline_ms;
};

struct queue_ops {
	const char *name;
	enum err_code (*append)(
		struct queue *queue, enum stream stream, struct record *list, struct err *err);
	enum err_code (*publish)(struct queue *queue, const char *topic, struct record *record,
		struct err *err); /* NULL: there are no topics */
	enum err_code (*room)(
		struct queue *queue, enum stream stream, size_t bytes, struct err *err);
	void (*stat)(struct queue *queue, enum stream stream, struct stream_stat *out);
	/* NULL: what stat says is always new. */
	enum err_code (*events_bounds)(struct queue *queue, int64_t max_age_ms, int64_t *out_first,
		int64_t *out_end, struct err *err);
	/* NULL, the next six together, where nothing is read: ERR_STOPPED. */
	enum err_code (*read)(struct queue *queue, enum stream stream,
		const struct queue_read_args *args, struct queue_batch *out, struct err *err);
	void (*release)(struct queue *queue, struct queue_batch *batch);
	void (*wake)(struct queue *queue, enum stream stream);
	enum err_code (*lookup)(struct queue *queue, enum stream stream, int64_t offset,
		struct buf *bytes, struct record *out, struct err *err);
	enum err_code (*done)(
		struct queue *queue, enum stream stream, int64_t position, struct err *err);
	enum err_code (*drop_oldest)(
		struct queue *queue, enum stream stream, int64_t *out_first, struct err *err);
	/* NULL, all of them, where no journal is kept: the store's commit is the commit. */
	enum err_code (*journal_bounds)(struct queue *queue, int64_t deadline_ms,
		int64_t *out_first, int64_t *out_end, struct err *err);
	enum err_code (*journal_seek)(struct queue *queue, int64_t offset,
		const struct journal_state *state, struct err *err);
	enum err_code (*follow)(struct queue *queue, int64_t deadline_ms, struct journal_read *out,
		struct err *err);
	enum err_code (*journal)(
		struct queue *queue, struct slice batch, struct journal_read *out, struct err *err);
	enum err_code (*journal_look)(
		struct queue *queue, struct journal_read *out, struct err *err);
	enum err_code (*journal_ask)(struct queue *queue, struct slice command, struct err *err);
	void (*journal_stop)(struct queue *queue);
	void (*close)(struct queue *queue); /* frees it */
};

/* No batch of state changes is larger; a worker's batch is bounded far below. */
#define QUEUE_JOURNAL_MAX MIB(512)

struct queue {
	const struct queue_ops *ops;
	struct buf journal; /* the last batch that was given back */
};

/* Copy key, headers and body of a record behind each other into bytes (reset first), and make *out
 * a record whose slices point there. */
MUST_CHECK enum err_code queue_copy_record(
	const struct record *from, struct buf *bytes, struct record *out, struct err *err);
