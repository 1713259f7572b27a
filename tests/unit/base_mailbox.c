/* Unit tests of src/base/mailbox.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/clock.h"
#include "postern/thread.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int64_t mono_ms(void)
{
	return clock_system()->mono_ms(clock_system());
}

static struct mailbox *open_box(size_t limit)
{
	struct mailbox *box = NULL;

	assert_int_equal(mailbox_open(limit, &box, NULL), ERR_OK);
	return box;
}

static void items_come_in_order_and_up_to_the_limit(void **state)
{
	struct mailbox *box = open_box(3);
	char items[8];
	void *out[8];

	(void)state;
	/* Round the ring more than once, in different steps. */
	for (size_t round = 0; round < 5; round++) {
		assert_int_equal(mailbox_take(box, out, 8, 0), 0);
		assert_true(mailbox_put(box, &items[0]));
		assert_true(mailbox_put(box, &items[1]));
		assert_int_equal(mailbox_take(box, out, 1, 0), 1);
		assert_ptr_equal(out[0], &items[0]);
		assert_true(mailbox_put(box, &items[2]));
		assert_true(mailbox_put(box, &items[3]));
		assert_false(mailbox_put(box, &items[4])); /* one past the limit */
		assert_int_equal(mailbox_count(box), 3);
		assert_int_equal(mailbox_take(box, out, 8, -1), 3);
		assert_ptr_equal(out[0], &items[1]);
		assert_ptr_equal(out[2], &items[3]);
	}
	mailbox_close(&box);
	assert_null(box);
	mailbox_close(&box);
}

static void a_shut_box_takes_nothing_and_gives_what_is_left(void **state)
{
	struct mailbox *box = open_box(2);
	char item;
	void *out[2];

	(void)state;
	assert_true(mailbox_put(box, &item));
	mailbox_shut(box);
	assert_false(mailbox_put(box, &item));
	assert_false(mailbox_put_wait(box, &item));
	assert_int_equal(mailbox_take(box, out, 2, -1), 1);
	assert_int_equal(mailbox_take(box, out, 2, -1), 0);
	mailbox_close(&box);
}

static void an_empty_box_waits_until_the_deadline(void **state)
{
	struct mailbox *box = open_box(1);
	int64_t deadline = mono_ms() + 20;
	void *out;

	(void)state;
	assert_int_equal(mailbox_take(box, &out, 1, deadline), 0);
	assert_true(mono_ms() >= deadline);
	mailbox_close(&box);
}

static uint64_t rung(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void the_eventfd_rings_when_the_box_turns_non_empty(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct mailbox *box = open_box(4);
	char item;
	void *out[4];

	(void)state;
	assert_true(fd >= 0);
	assert_true(mailbox_put(box, &item));
	mailbox_notify_fd(box, fd);
	assert_true(mailbox_put(box, &item));
	assert_int_equal(rung(fd), 0);
	assert_int_equal(mailbox_take(box, out, 4, 0), 2);
	assert_true(mailbox_put(box, &item));
	assert_true(mailbox_put(box, &item));
	assert_int_equal(rung(fd), 1);
	mailbox_shut(box);
	assert_int_equal(rung(fd), 1);
	mailbox_notify_fd(box, -1);
	assert_int_equal(mailbox_take(box, out, 4, 0), 2);
	mailbox_close(&box);
	(void)close(fd);
}

static void a_full_eventfd_is_no_trouble(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	const uint64_t full = UINT64_MAX - 1;
	struct mailbox *box = open_box(1);
	char item;
	void *out;

	(void)state;
	assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
	mailbox_notify_fd(box, fd);
	assert_true(mailbox_put(box, &item));
	assert_int_equal(mailbox_take(box, &out, 1, 0), 1);
	mailbox_close(&box);
	(void)close(fd);
}

#define ITEMS 5000
#define PUTTERS 3
#define TAKERS 2

struct traffic {
	struct mailbox *box;
	size_t bad, taken; /* of one taker */
};

static void *put_all(void *arg)
{
	struct traffic *t = arg;

	for (uintptr_t i = 1; i <= ITEMS; i++)
		t->bad += !mailbox_put_wait(t->box, (void *)i);
	return NULL;
}

static void *take_all(void *arg)
{
	struct traffic *t = arg;
	void *out[7];
	size_t got;

	while ((got = mailbox_take(t->box, out, ARRAY_LEN(out), -1)) > 0) {
		for (size_t i = 0; i < got; i++)
			t->bad += !out[i] || (uintptr_t)out[i] > ITEMS;
		t->taken += got;
	}
	return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
	struct thread putters[PUTTERS] = { 0 }, takers[TAKERS] = { 0 };
	struct traffic in[PUTTERS], out[TAKERS];
	struct mailbox *box = open_box(5);
	size_t taken = 0;

	(void)state;
	for (size_t i = 0; i < TAKERS; i++) {
		out[i] = (struct traffic){ .box = box };
		assert_int_equal(thread_start(&takers[i], "take", take_all, &out[i], NULL), ERR_OK);
	}
	for (size_t i = 0; i < PUTTERS; i++) {
		in[i] = (struct traffic){ .box = box };
		assert_int_equal(thread_start(&putters[i], "put", put_all, &in[i], NULL), ERR_OK);
	}
	for (size_t i = 0; i < PUTTERS; i++) {
		thread_join(&putters[i]);
		assert_int_equal(in[i].bad, 0);
	}
	mailbox_shut(box);
	for (size_t i = 0; i < TAKERS; i++) {
		thread_join(&takers[i]);
		assert_int_equal(out[i].bad, 0);
		taken += out[i].taken;
	}
	assert_int_equal(taken, ITEMS * PUTTERS);
	mailbox_close(&box);
}

static void shutting_wakes_a_putter_that_waits(void **state)
{
	struct traffic in = { .box = open_box(1) };
	struct thread putter = { 0 };
	void *out;

	(void)state;
	assert_int_equal(thread_start(&putter, "put", put_all, &in, NULL), ERR_OK);
	assert_int_equal(mailbox_take(in.box, &out, 1, -1), 1);
	mailbox_shut(in.box);
	thread_join(&putter);
	assert_true(in.bad > 0);
	mailbox_close(&in.box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_come_in_order_and_up_to_the_limit),
		cmocka_unit_test(a_shut_box_takes_nothing_and_gives_what_is_left),
		cmocka_unit_test(an_empty_box_waits_until_the_deadline),
		cmocka_unit_test(the_eventfd_rings_when_the_box_turns_non_empty),
		cmocka_unit_test(a_full_eventfd_is_no_trouble),
		cmocka_unit_test(nothing_is_lost_between_threads),
		cmocka_unit_test(shutting_wakes_a_putter_that_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
