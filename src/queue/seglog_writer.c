/* seglog_writer.c - the thread that makes records durable, a group at a time.
 *
 *   take the pending list -> (pause) -> encode -> pwrite -> fdatasync -> publish -> one callback
 *
 * A group never spans two segments. A failed write or sync ends the segment: what was in the group
 * is unknown (or surely not there), and nothing of it is tried again. */
#include "seglog_priv.h"

#include "postern/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_MAX_US 300
#define PAUSE_MIN_US 40
#define PAUSE_STEP_US 40
#define PAUSE_FROM 4   /* records pending: with fewer nobody waits for more */
#define PROBE_EVERY 64 /* groups between two looks whether a pause would pay now */
/* Of what was written last, in the page cache: a worker that keeps up finds it there. */
#define CACHED ((int64_t)MIB(8))

/* Records that wait; 0 when stopping, so that nobody waits for more. */
static size_t pending(struct seglog *log)
{
	size_t count;

	lock_take(&log->lock);
	count = log->stopping ? 0 : log->pending_count;
	lock_give(&log->lock);
	return count;
}

static void sleep_us(long us)
{
	const struct timespec t = { 0, us * 1000 };

	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* Let more records gather when that pays: the pause grows while it brings at least half as many
 * again, and shrinks to nothing while it does not. It ends early when nothing more comes. */
static void gather(struct seglog *log)
{
	size_t before = pending(log), now = before, last;
	unsigned waited = 0, pause = log->pause_us;

	if (before < PAUSE_FROM)
		return;
	if (pause == 0) {
		if (++log->since_probe < PROBE_EVERY)
			return;
		log->since_probe = 0;
		pause = PAUSE_MIN_US;
	}
	while (waited < pause) {
		last = now;
		sleep_us(PAUSE_STEP_US);
		waited += PAUSE_STEP_US;
		now = pending(log);
		if (now <= last)
			break;
	}
	if (now >= before + before / 2)
		log->pause_us = pause * 2 < PAUSE_MAX_US ? pause * 2 : PAUSE_MAX_US;
	else
		log->pause_us = pause / 2 >= PAUSE_MIN_US ? pause / 2 : 0;
}

/* NULL: stopping, and nothing is left. */
static struct record *take(struct seglog *log)
{
	struct record *list;

	lock_take(&log->lock);
	while (!log->pending && !log->stopping) {
		log->writer_waits = true;
		(void)cond_wait(&log->to_writer, &log->lock, -1);
	}
	log->writer_waits = false;
	lock_give(&log->lock);
	gather(log);
	lock_take(&log->lock);
	list = log->pending;
	log->pending = NULL;
	log->pending_tail = &log->pending;
	log->pending_bytes = 0;
	log->pending_count = 0;
	lock_give(&log->lock);
	return list;
}

static void complete(struct seglog *log, struct record *list, enum err_code result)
{
	for (struct record *r = list; r; r = r->next)
		r->result = result;
	if (list)
		log->opts.done(log->opts.ctx, list);
}

/* Room for len bytes, kept for later groups. */
static bool reserve(struct seglog *log, size_t len)
{
	size_t cap = log->group_cap ? log->group_cap : KIB(256);
	void *data;

	if (len <= log->group_cap)
		return true;
	while (cap < len)
		cap *= 2;
	data = aligned_alloc(SEGLOG_PAGE, cap);
	if (!data)
		return false;
	free(log->group);
	log->group = data;
	log->group_cap = cap;
	return true;
}

struct group {
	struct record *list, *rest;
	size_t count, bytes;
	size_t padded; /* bytes, and zeros to the end of the page: a page that is written to its end
			* need not be read from the disk first. The next group overwrites the zeros.
			*/
};

static size_t to_page_end(const struct seglog *log, size_t bytes)
{
	int64_t end = (log->at + (int64_t)bytes + SEGLOG_PAGE - 1) / SEGLOG_PAGE * SEGLOG_PAGE;

	return (size_t)((end < log->bytes ? end : log->bytes) - log->at);
}

/* How many records from the front of the list go into one write. rest: what is left of the list. */
static struct group measure(const struct seglog *log, struct record *list)
{
	struct group group = { .list = list, .rest = list };
	size_t left = (size_t)(log->bytes - log->at);

	for (; group.rest; group.rest = group.rest->next) {
		size_t size = seglog_frame_size(group.rest);

		if (size > left - group.bytes ||
			(group.count > 0 && group.bytes + size > SEGLOG_GROUP_MAX))
			break;
		group.bytes += size;
		group.count++;
	}
	group.padded = to_page_end(log, group.bytes);
	return group;
}

static void encode(struct seglog *log, const struct group *group)
{
	const struct clock *clock = log->opts.clock;
	int64_t now = clock->wall_ms(clock), offset = log->next;
	uint8_t *at = log->group;

	if (now < log->last_time_ms)
		now = log->last_time_ms;
	log->last_time_ms = now;
	for (struct record *r = group->list; r != group->rest; r = r->next) {
		r->offset = offset++;
		r->time_ms = now;
		seglog_frame_put(at, r, log->next, log->salt);
		at += seglog_frame_size(r);
	}
	assert((size_t)(at - log->group) == group->bytes);
	memset(at, 0, group->padded - group->bytes);
}

/* ERR_OK: durable. ERR_UNAVAILABLE: not one byte was written. ERR_OUTCOME_UNKNOWN: anything else.
 */
static enum err_code commit(struct seglog *log, const struct group *group)
{
	const struct slice bytes = { log->group, group->padded };
	size_t done;

	if (seglog_pwrite(log->opts.io, log->fd, bytes, log->at, &done) != 0)
		return done == 0 ? ERR_UNAVAILABLE : ERR_OUTCOME_UNKNOWN;
	if (log->opts.io->fdatasync(log->fd) != 0)
		return ERR_OUTCOME_UNKNOWN;
	return ERR_OK;
}

static void count_group(struct seglog *log, const struct group *group)
{
	metric_add(log->metric_syncs, 1);
	metric_add(log->metric_appends, (int64_t)group->count);
	lock_take(&log->lock);
	log->syncs++;
	log->appended += (int64_t)group->count;
	log->current_left = log->bytes - log->at;
	lock_give(&log->lock);
}

/* Write one group and complete it. Gives back what is left of the list. */
static struct record *write_group(struct seglog *log, struct record *list)
{
	struct group group = measure(log, list);
	struct record *last = group.list;
	enum err_code rc;

	assert(group.count > 0);
	if (!reserve(log, group.padded)) {
		complete(log, list, ERR_UNAVAILABLE);
		return NULL;
	}
	encode(log, &group);
	rc = commit(log, &group);
	if (rc == ERR_OK) {
		log->next += (int64_t)group.count;
		log->at += (int64_t)group.bytes;
		count_group(log, &group);
		seglog_shared_publish(&log->shared, log->next);
	} else {
		seglog_abandon(log);
	}
	while (last->next != group.rest)
		last = last->next;
	last->next = NULL;
	complete(log, group.list, rc);
	if (rc == ERR_OK)
		seglog_uncache(log->fd, &log->uncached, log->at - CACHED);
	return group.rest;
}

static bool fits(const struct seglog *log, const struct record *r)
{
	return log->fd >= 0 && seglog_frame_size(r) <= (size_t)(log->bytes - log->at);
}

void *seglog_writer_run(void *arg)
{
	struct seglog *log = arg;
	struct record *list;

	/* The default lets a sleep of 40 us take 90. */
	(void)prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul, 0ul);
	while ((list = take(log)) != NULL) {
		while (list) {
			struct err err = ERR_INIT;

			if (!fits(log, list)) {
				if (log->fd >= 0)
					seglog_uncache(log->fd, &log->uncached, log->at);
				seglog_abandon(log); /* it is full, and durable to its end */
				if (seglog_roll(log, &err) != ERR_OK) {
					complete(log, list, ERR_UNAVAILABLE);
					break;
				}
			}
			list = write_group(log, list);
		}
	}
	return NULL;
}
