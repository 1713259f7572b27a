/* Unit tests of src/base/thread.c and clock.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/clock.h"
#include "postern/thread.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t mono_ms(void)
{
	return clock_system()->mono_ms(clock_system());
}

static void the_clocks_go_forward(void **state)
{
	const struct clock *clock = clock_system();
	int64_t ns = clock->mono_ns(clock), ms = clock->mono_ms(clock);

	(void)state;
	assert_true(clock->wall_ms(clock) > 1600000000000);
	assert_true(clock->mono_ns(clock) >= ns);
	assert_true(ms >= ns / 1000000);
	assert_true(ms - ns / 1000000 < 60000);
}

struct counter {
	struct lock lock;
	struct cond changed;
	long value; /* guarded by lock */
	bool go;    /* guarded by lock */
};

static void counter_init(struct counter *c)
{
	*c = (struct counter){ .value = 0 };
	lock_init(&c->lock);
	cond_init(&c->changed);
}

static void counter_done(struct counter *c)
{
	cond_done(&c->changed);
	lock_done(&c->lock);
}

static void *count(void *arg)
{
	struct counter *c = arg;

	for (int i = 0; i < 10000; i++) {
		lock_take(&c->lock);
		lock_assert_held(&c->lock);
		c->value++;
		lock_give(&c->lock);
	}
	return NULL;
}

static void a_lock_excludes(void **state)
{
	struct thread threads[4] = { 0 };
	struct counter c;

	(void)state;
	counter_init(&c);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(
			thread_start(&threads[i], "counter-15-byte", count, &c, NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		thread_join(&threads[i]);
	assert_int_equal(c.value, 40000);
	counter_done(&c);
}

static void *wait_for_go(void *arg)
{
	struct counter *c = arg;

	lock_take(&c->lock);
	while (!c->go)
		(void)cond_wait(&c->changed, &c->lock, -1);
	c->value++;
	lock_give(&c->lock);
	return NULL;
}

static void a_broadcast_wakes_all(void **state)
{
	struct thread threads[3] = { 0 };
	struct counter c;

	(void)state;
	counter_init(&c);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(
			thread_start(&threads[i], "waiter", wait_for_go, &c, NULL), ERR_OK);
	lock_take(&c.lock);
	c.go = true;
	cond_broadcast(&c.changed);
	lock_give(&c.lock);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		thread_join(&threads[i]);
	assert_int_equal(c.value, 3);
	counter_done(&c);
}

static void a_wait_ends_at_its_deadline(void **state)
{
	struct counter c;
	int64_t deadline = mono_ms() + 20;

	(void)state;
	counter_init(&c);
	lock_take(&c.lock);
	while (cond_wait(&c.changed, &c.lock, deadline))
		; /* woken without reason */
	lock_assert_held(&c.lock);
	lock_give(&c.lock);
	assert_true(mono_ms() >= deadline);
	/* A deadline that has passed does not wait. */
	lock_take(&c.lock);
	assert_false(cond_wait(&c.changed, &c.lock, 1));
	lock_give(&c.lock);
	counter_done(&c);
}

static void *read_mask(void *arg)
{
	(void)pthread_sigmask(SIG_SETMASK, NULL, arg);
	return NULL;
}

static void a_thread_takes_no_signals(void **state)
{
	struct thread t = { 0 };
	sigset_t inside, before, after;

	(void)state;
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
	assert_int_equal(thread_start(&t, "t", read_mask, &inside, NULL), ERR_OK);
	thread_join(&t);
	thread_join(&t);
	assert_int_equal(sigismember(&inside, SIGTERM), 1);
	assert_int_equal(sigismember(&inside, SIGCHLD), 1);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
	assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

/* Runs in a child, which must die of an assertion. */
static bool dies(void (*misuse)(struct lock *lock))
{
	struct lock lock;
	pid_t pid;
	int status;

	lock_init(&lock);
	pid = fork();
	if (pid == 0) {
		struct sigaction plain = { .sa_handler = SIG_DFL };

		(void)close(STDERR_FILENO);
		(void)sigaction(SIGABRT, &plain, NULL);
		misuse(&lock);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	lock_done(&lock);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void take_twice(struct lock *lock)
{
	lock_take(lock);
	lock_take(lock);
}

static void use_well(struct lock *lock)
{
	lock_take(lock);
	lock_give(lock);
}

static void misuse_of_a_lock_is_a_bug(void **state)
{
	(void)state;
	assert_true(dies(take_twice));
	assert_true(dies(lock_give));
	assert_false(dies(use_well));
}

static void not_held(struct lock *lock)
{
	lock_assert_held(lock);
}

static void a_lock_that_is_not_held_is_noticed(void **state)
{
	(void)state;
	assert_true(dies(not_held));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_clocks_go_forward),
		cmocka_unit_test(a_lock_excludes),
		cmocka_unit_test(a_broadcast_wakes_all),
		cmocka_unit_test(a_wait_ends_at_its_deadline),
		cmocka_unit_test(a_thread_takes_no_signals),
		cmocka_unit_test(misuse_of_a_lock_is_a_bug),
		cmocka_unit_test(a_lock_that_is_not_held_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
