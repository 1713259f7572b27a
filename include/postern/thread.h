/* thread.h - checked locks, threads that are joined, bounded mailboxes.
 *
 * A failing pthread call is a bug and asserts. The lock order of the program, outermost first, is
 * written here and nowhere else:
 *   worker command list > queue front > segmented log > mailbox > metrics registry > log line
 *   Kafka handle > Kafka lane > Kafka reader; Kafka producer; each > mailbox
 *   certificates > HTTP client
 *   spool > segmented log; spool > Kafka handle > Kafka producer
 * No lock is held across a callback, a call into a library that may block, or I/O. */
#pragma once

#include "postern/defs.h"
#include "postern/err.h"

#include <pthread.h>

struct lock {
	pthread_mutex_t mutex; /* error-checking */
	pthread_t owner;
	bool held; /* for lock_assert_held() by the owner */
};
void lock_init(struct lock *lock);
void lock_done(struct lock *lock);
void lock_take(struct lock *lock);
void lock_give(struct lock *lock);
void lock_assert_held(const struct lock *lock);

struct cond {
	pthread_cond_t cond; /* on the monotonic clock */
};
void cond_init(struct cond *cond);
void cond_done(struct cond *cond);
void cond_signal(struct cond *cond);
void cond_broadcast(struct cond *cond);
/* False when deadline_ms (monotonic; -1: never) passed first. May return true for no reason: look
 * again. */
bool cond_wait(struct cond *cond, struct lock *lock, int64_t deadline_ms);

struct thread {
	pthread_t id;
	bool running;
};
/* name: at most 15 bytes. All signals are blocked in the new thread. */
MUST_CHECK enum err_code thread_start(
	struct thread *t, const char *name, void *(*run)(void *), void *arg, struct err *err);
void thread_join(struct thread *t); /* no-op if it was never started */

/* A bounded list of pointers from many threads to one. */
struct mailbox;
MUST_CHECK enum err_code mailbox_open(size_t limit, struct mailbox **out, struct err *err);
void mailbox_close(
	struct mailbox **box); /* must be empty, or its items are lost: the owner drains */
/* False when it is full or shut. */
bool mailbox_put(struct mailbox *box, void *item);
/* Waits for room. False when it is shut. */
bool mailbox_put_wait(struct mailbox *box, void *item);
/* Up to max items; waits until deadline_ms (monotonic, 0: do not wait, -1: for ever) for the first.
 */
size_t mailbox_take(struct mailbox *box, void **out, size_t max, int64_t deadline_ms);
/* Wakes takers and putters; puts fail from now on, takes drain what is left. */
void mailbox_shut(struct mailbox *box);
size_t mailbox_count(struct mailbox *box);
/* Also write to this eventfd when the box turns non-empty (-1: none). */
void mailbox_notify_fd(struct mailbox *box, int eventfd);
