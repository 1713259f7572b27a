/* c11_threads.h - the C11 threads, locks and conditions that librdkafka calls, over POSIX ones.
 *
 * The thread sanitizer knows only the POSIX ones: under it a thread that librdkafka starts crashes,
 * and what its locks order looks like a race. Definitions in the test program take the place of the
 * C library's. Nothing is here in the other variants. Included once, by test programs only. */
#pragma once

#if defined(__SANITIZE_THREAD__)
#define C11_THREADS_OVER_POSIX 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define C11_THREADS_OVER_POSIX 1
#endif
#endif

#ifdef C11_THREADS_OVER_POSIX
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

/* As the C library has it: its types are the POSIX ones in other clothes. */
static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "a lock has room");
static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "a condition has room");
static_assert(sizeof(thrd_t) == sizeof(pthread_t), "a thread has room");

/* librdkafka itself is built without the sanitizer, which therefore does not see its counters. Nor
 * does it see its reader-writer locks, through which threads learn of each other's locks. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "called_from_lib:librdkafka.so.1\n"
	       "race:mtx_lock\n";
}

struct c11_start {
	thrd_start_t run;
	void *arg;
};

static int c11_result(int rc)
{
	switch (rc) {
	case 0: return thrd_success;
	case ENOMEM: return thrd_nomem;
	case ETIMEDOUT: return thrd_timedout;
	case EBUSY: return thrd_busy;
	default: return thrd_error;
	}
}

static void *c11_run(void *arg)
{
	struct c11_start start = *(struct c11_start *)arg;

	free(arg);
	return (void *)(intptr_t)start.run(start.arg);
}

int thrd_create(thrd_t *thread, thrd_start_t run, void *arg)
{
	struct c11_start *start = malloc(sizeof(*start));
	int rc;

	if (!start)
		return thrd_nomem;
	*start = (struct c11_start){ run, arg };
	rc = pthread_create((pthread_t *)thread, NULL, c11_run, start);
	if (rc != 0)
		free(start);
	return c11_result(rc);
}

int thrd_join(thrd_t thread, int *out)
{
	void *result = NULL;
	int rc = pthread_join((pthread_t)thread, &result);

	if (out)
		*out = (int)(intptr_t)result;
	return c11_result(rc);
}

int mtx_init(mtx_t *lock, int type)
{
	pthread_mutexattr_t attr;
	int rc;

	(void)pthread_mutexattr_init(&attr);
	if (type & mtx_recursive)
		(void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	rc = pthread_mutex_init((pthread_mutex_t *)lock, &attr);
	(void)pthread_mutexattr_destroy(&attr);
	return c11_result(rc);
}

void mtx_destroy(mtx_t *lock)
{
	(void)pthread_mutex_destroy((pthread_mutex_t *)lock);
}

int mtx_lock(mtx_t *lock)
{
	return c11_result(pthread_mutex_lock((pthread_mutex_t *)lock));
}

int mtx_unlock(mtx_t *lock)
{
	return c11_result(pthread_mutex_unlock((pthread_mutex_t *)lock));
}

int cnd_init(cnd_t *cond)
{
	return c11_result(pthread_cond_init((pthread_cond_t *)cond, NULL));
}

void cnd_destroy(cnd_t *cond)
{
	(void)pthread_cond_destroy((pthread_cond_t *)cond);
}

int cnd_signal(cnd_t *cond)
{
	return c11_result(pthread_cond_signal((pthread_cond_t *)cond));
}

int cnd_broadcast(cnd_t *cond)
{
	return c11_result(pthread_cond_broadcast((pthread_cond_t *)cond));
}

int cnd_wait(cnd_t *cond, mtx_t *lock)
{
	return c11_result(pthread_cond_wait((pthread_cond_t *)cond, (pthread_mutex_t *)lock));
}

int cnd_timedwait(cnd_t *cond, mtx_t *lock, const struct timespec *until)
{
	return c11_result(
		pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)lock, until));
}
#endif
