/* inspect_priv.h - what the files of inspect share: a lane that is asked, what is known of an
 * event, and the frame of a list.
 *
 *   inspect.c          one event, and what is shared
 *   inspect_waiting.c  events that no batch has reached
 *   inspect_recent.c   the newest events
 *   inspect_state.c    the state of an entity
 *   inspect_entries.c  dead letters and quarantine
 *
 * Threads: as inspect.h, one question at a time over its lanes. */
#pragma once

#include "inspect.h"
#include "lines.h"

#include "postern/event.h"

/* A lane while it is asked. */
struct spot {
	const struct inspect *in;
	size_t lane;
	struct store_view *view;
	struct queue *queue;
};
/* The view and the queue stay the lanes' own: there is nothing to close. */
MUST_CHECK enum err_code spot_open(
	const struct inspect *in, size_t lane, struct spot *out, struct err *err);

/* What is known of one identity. */
struct life {
	struct item_seen seen;
	struct item_park park; /* when parked */
	struct event event;    /* zero when the record is gone */
	struct buf bytes;
	struct buf again; /* headers of a refused request that was accepted */
};
#define LIFE_INIT                                                                                  \
	((struct life){ .bytes = BUF_INIT(MIB(64)), .again = BUF_INIT(EVENT_HEADERS_MAX) })
void life_done(struct life *life);
/* The record of life->seen: the parked copy, or the log's, or nothing any more. It becomes the rest
 * of the life, as slices of the life's own buffers. */
MUST_CHECK enum err_code spot_find_record(
	const struct spot *spot, struct life *life, struct err *err);
/* By this the ledger knows an event. */
MUST_CHECK enum err_code inspect_id16(
	const struct event *event, uint8_t out[ID16_LEN], struct err *err);

/* An event that ended or is parked, as an item of a list; `event` names it, as the record may be
 * gone. */
void spot_put_life(const struct spot *spot, struct line *line, const struct event *event,
	const struct life *life);
/* An event that no batch has reached. */
void spot_put_pending(
	const struct spot *spot, struct line *line, const struct event *event, int64_t offset);
/* Where the event is: "offset", and over Kafka "partition" before it. */
void inspect_put_place(const struct inspect *in, size_t lane, struct line *line, int64_t offset);

/* The frame of a list; the line's first failure comes out of its end. next NULL: no more of it. */
MUST_CHECK enum err_code items_begin(struct buf *out, struct err *err);
MUST_CHECK enum err_code items_end(struct line *line, const struct place *next);

/* inspect_waiting.c: between the worker's position and the end of the log are events that no batch
 * has reached. The look is called with one batch of them after the other, lane by lane, until it
 * says that it has enough. */
#define WAITING_BATCH 256 /* records of one look, at most */
struct waiting {
	bool (*look)(void *ctx, const struct spot *spot, const struct queue_batch *batch,
		struct err *err);
	void *ctx;
	int64_t until_ms; /* monotonic: a broker is not asked longer */
	bool more;        /* the look has not had enough */
	uint64_t left;    /* events that were not looked at for lack of time */
};
/* The caller sets look and ctx. What a look puts into err ends it. */
MUST_CHECK enum err_code waiting_each(const struct inspect *in, struct waiting *w, struct err *err);
