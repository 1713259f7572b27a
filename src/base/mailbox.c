/* mailbox.c - a bounded ring of pointers between threads.
 *
 *   put -> [ first ... first+count ) -> take          full: put fails, put_wait waits
 *
 * Whoever waits is counted, so that nobody is woken without need. Deliberately not here: what the
 * pointers point to, and who frees it. */
#include "postern/thread.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct mailbox {
	struct lock lock;
	struct cond some, room;
	/* All below: guarded by lock. */
	size_t takers, putters; /* waiting */
	size_t first, count;
	int notify_fd;
	bool shut;
	size_t limit; /* constant */
	void *ring[];
};

enum err_code mailbox_open(size_t limit, struct mailbox **out, struct err *err)
{
	struct mailbox *box;

	assert(limit > 0 && limit < SIZE_MAX / sizeof(void *) - sizeof(*box));
	box = calloc(1, sizeof(*box) + limit * sizeof(void *));
	if (!box)
		return err_set(err, ERR_NOMEM, "no memory for a mailbox of %zu", limit);
	lock_init(&box->lock);
	cond_init(&box->some);
	cond_init(&box->room);
	box->notify_fd = -1;
	box->limit = limit;
	*out = box;
	return ERR_OK;
}

void mailbox_close(struct mailbox **box)
{
	struct mailbox *gone = *box;

	*box = NULL;
	if (!gone)
		return;
	assert(gone->takers == 0 && gone->putters == 0);
	cond_done(&gone->some);
	cond_done(&gone->room);
	lock_done(&gone->lock);
	free(gone);
}

/* A full eventfd counter is as good as a successful write: the reader has something to read. */
static void ring_bell(int fd)
{
	const uint64_t one = 1;
	ssize_t put;

	if (fd < 0)
		return;
	do
		put = write(fd, &one, sizeof(one));
	while (put < 0 && errno == EINTR);
	assert(put == (ssize_t)sizeof(one) || errno == EAGAIN);
}

/* Returns the descriptor to notify, or -1. */
static int put_locked(struct mailbox *box, void *item)
{
	size_t at = box->first + box->count;

	lock_assert_held(&box->lock);
	box->ring[at < box->limit ? at : at - box->limit] = item;
	box->count++;
	if (box->takers > 0)
		cond_signal(&box->some);
	return box->count == 1 ? box->notify_fd : -1;
}

static bool put(struct mailbox *box, void *item, bool wait)
{
	int bell = -1;
	bool done = false;

	lock_take(&box->lock);
	while (wait && !box->shut && box->count == box->limit) {
		box->putters++;
		(void)cond_wait(&box->room, &box->lock, -1);
		box->putters--;
	}
	if (!box->shut && box->count < box->limit) {
		bell = put_locked(box, item);
		done = true;
	}
	lock_give(&box->lock);
	ring_bell(bell);
	return done;
}

bool mailbox_put(struct mailbox *box, void *item)
{
	return put(box, item, false);
}

bool mailbox_put_wait(struct mailbox *box, void *item)
{
	return put(box, item, true);
}

size_t mailbox_take(struct mailbox *box, void **out, size_t max, int64_t deadline_ms)
{
	size_t taken = 0;
	bool in_time = deadline_ms != 0;

	lock_take(&box->lock);
	while (in_time && !box->shut && box->count == 0) {
		box->takers++;
		in_time = cond_wait(&box->some, &box->lock, deadline_ms);
		box->takers--;
	}
	for (; taken < max && box->count > 0; taken++) {
		out[taken] = box->ring[box->first];
		box->first = box->first + 1 < box->limit ? box->first + 1 : 0;
		box->count--;
	}
	if (taken > 0 && box->putters > 0)
		cond_broadcast(&box->room);
	/* One signal may have stood for several items: pass it on. */
	if (box->count > 0 && box->takers > 0)
		cond_signal(&box->some);
	lock_give(&box->lock);
	return taken;
}

void mailbox_shut(struct mailbox *box)
{
	int bell;

	lock_take(&box->lock);
	box->shut = true;
	cond_broadcast(&box->some);
	cond_broadcast(&box->room);
	bell = box->notify_fd;
	lock_give(&box->lock);
	ring_bell(bell);
}

size_t mailbox_count(struct mailbox *box)
{
	size_t count;

	lock_take(&box->lock);
	count = box->count;
	lock_give(&box->lock);
	return count;
}

void mailbox_notify_fd(struct mailbox *box, int eventfd)
{
	lock_take(&box->lock);
	box->notify_fd = eventfd;
	lock_give(&box->lock);
}
