/* thread.c - locks that know their owner, conditions with deadlines, threads that are joined.
 *
 * A pthread call that fails here is a bug of ours (a lock taken twice, given by another) and
 * asserts; only starting a thread can fail for reasons of the world. */
#include "postern/thread.h"

#include "postern/clock.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define COND_NAP_MS 1000

static void must(int rc)
{
	assert(rc == 0);
}

void lock_init(struct lock *lock)
{
	pthread_mutexattr_t attr;

	must(pthread_mutexattr_init(&attr));
	must(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK));
	must(pthread_mutex_init(&lock->mutex, &attr));
	must(pthread_mutexattr_destroy(&attr));
	lock->held = false;
}

void lock_done(struct lock *lock)
{
	must(pthread_mutex_destroy(&lock->mutex));
}

static void note_owner(struct lock *lock)
{
	lock->owner = pthread_self();
	lock->held = true;
}

void lock_take(struct lock *lock)
{
	must(pthread_mutex_lock(&lock->mutex));
	note_owner(lock);
}

void lock_give(struct lock *lock)
{
	lock_assert_held(lock);
	lock->held = false;
	must(pthread_mutex_unlock(&lock->mutex));
}

void lock_assert_held(const struct lock *lock)
{
	assert(lock->held && pthread_equal(lock->owner, pthread_self()));
}

void cond_init(struct cond *cond)
{
	pthread_condattr_t attr;

	must(pthread_condattr_init(&attr));
	must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	must(pthread_cond_init(&cond->cond, &attr));
	must(pthread_condattr_destroy(&attr));
}

void cond_done(struct cond *cond)
{
	must(pthread_cond_destroy(&cond->cond));
}

void cond_signal(struct cond *cond)
{
	must(pthread_cond_signal(&cond->cond));
}

void cond_broadcast(struct cond *cond)
{
	must(pthread_cond_broadcast(&cond->cond));
}

/* Never longer than a nap, after which the caller looks again: the C library of Debian 12 can lose
 * a wake-up (glibc bug 25847), and a thread that sleeps for ever on one would be a hang. */
bool cond_wait(struct cond *cond, struct lock *lock, int64_t deadline_ms)
{
	int64_t until_ms = clock_system()->mono_ms(clock_system()) + COND_NAP_MS;
	bool last = deadline_ms >= 0 && deadline_ms <= until_ms;
	struct timespec until;
	int rc;

	if (last)
		until_ms = deadline_ms;

	lock_assert_held(lock);
	lock->held = false;
	until = (struct timespec){
		.tv_sec = until_ms / 1000,
		.tv_nsec = until_ms % 1000 * 1000000,
	};
	rc = pthread_cond_timedwait(&cond->cond, &lock->mutex, &until);
	note_owner(lock);
	assert(rc == 0 || rc == ETIMEDOUT);
	return rc == 0 || !last;
}

enum err_code thread_start(
	struct thread *t, const char *name, void *(*run)(void *), void *arg, struct err *err)
{
	sigset_t all, before;
	int rc;

	assert(!t->running && strlen(name) <= 15);
	/* A new thread inherits the mask, so that no signal finds it unblocked even for a moment.
	 */
	(void)sigfillset(&all);
	must(pthread_sigmask(SIG_SETMASK, &all, &before));
	rc = pthread_create(&t->id, NULL, run, arg);
	must(pthread_sigmask(SIG_SETMASK, &before, NULL));
	if (rc != 0)
		return err_sys(err, ERR_FULL, rc, "start a thread");
	t->running = true;
	/* The name is for people only; a thread that has ended already needs none. */
	(void)pthread_setname_np(t->id, name);
	return ERR_OK;
}

void thread_join(struct thread *t)
{
	if (!t->running)
		return;
	must(pthread_join(t->id, NULL));
	t->running = false;
}
