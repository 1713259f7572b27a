/* Unit tests of src/base/buf.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "failing.h"

/* The file under test, with allocations and reads that can be made to fail. */
static void *failing_realloc(void *p, size_t size)
{
	return failing_now() ? NULL : realloc(p, size);
}

static ssize_t failing_read(int fd, void *to, size_t len)
{
	if (failing_now()) {
		errno = EIO;
		return -1;
	}
	return read(fd, to, len);
}
#define realloc failing_realloc
#define read failing_read
#include "../../src/base/buf.c"
#undef realloc
#undef read

static void puts_append_and_keep_a_nul(void **state)
{
	struct buf buf = BUF_INIT(1000);
	struct err err = ERR_INIT;

	(void)state;
	assert_string_equal(buf_str(&buf), "");
	assert_int_equal(buf_put(&buf, NULL, 0, &err), ERR_OK);
	assert_string_equal(buf_str(&buf), "");
	assert_int_equal(buf_put_str(&buf, "one ", &err), ERR_OK);
	assert_int_equal(buf_put_slice(&buf, SLICE_LIT("two "), &err), ERR_OK);
	assert_int_equal(buf_putf(&buf, &err, "%d %s", 3, "four"), ERR_OK);
	assert_string_equal(buf_str(&buf), "one two 3 four");
	assert_int_equal(buf.len, 14);
	buf_reset(&buf);
	assert_string_equal(buf_str(&buf), "");
	buf_done(&buf);
	buf_done(&buf);
}

static void the_ceiling_is_exact(void **state)
{
	struct buf buf = BUF_INIT(5);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(buf_put_str(&buf, "12345", &err), ERR_OK);
	assert_int_equal(buf_put(&buf, "", 0, &err), ERR_OK);
	assert_int_equal(buf_put_u8(&buf, '6', &err), ERR_LIMIT);
	assert_int_equal(err.code, ERR_LIMIT);
	assert_int_equal(buf_putf(&buf, NULL, "%c", '6'), ERR_LIMIT);
	assert_int_equal(buf_put_sized(&buf, SLICE_EMPTY, NULL), ERR_LIMIT);
	assert_int_equal(buf_reserve(&buf, SIZE_MAX, NULL), ERR_LIMIT);
	assert_string_equal(buf_str(&buf), "12345");
	buf_done(&buf);
}

static void no_ceiling_means_no_overflow_either(void **state)
{
	struct buf buf = BUF_INIT(SIZE_MAX);

	(void)state;
	assert_int_equal(buf_put_u8(&buf, 1, NULL), ERR_OK);
	assert_int_equal(buf_reserve(&buf, SIZE_MAX - 1, NULL), ERR_NOMEM);
	assert_int_equal(buf.len, 1);
	buf_done(&buf);
}

static void a_buffer_that_has_none_takes_nothing(void **state)
{
	struct buf buf = BUF_INIT(0);

	(void)state;
	assert_int_equal(buf_put(&buf, "", 0, NULL), ERR_OK);
	assert_int_equal(buf_put(&buf, "x", 1, NULL), ERR_LIMIT);
	buf_done(&buf);
}

static void without_memory_nothing_changes(void **state)
{
	struct err err = ERR_INIT;
	struct buf buf = BUF_INIT(MIB(1));

	(void)state;
	failing_seen = 0;
	failing_at = 2;
	assert_int_equal(buf_put_str(&buf, "kept", &err), ERR_OK);
	while (buf_put_str(&buf, "x", &err) == ERR_OK)
		assert_int_equal(failing_seen, 1);
	assert_int_equal(err.code, ERR_NOMEM);
	assert_int_equal(buf.len, 63);
	assert_int_equal(strlen(buf_str(&buf)), 63);
	failing_at = 0;
	buf_done(&buf);
}

static int file_of(size_t len)
{
	char name[] = "/tmp/postern-buf-XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(unlink(name), 0);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(pwrite(fd, &"abcdefg"[i % 7], 1, (off_t)i), 1);
	return fd;
}

static void reading_stops_at_the_ceiling(void **state)
{
	static const struct {
		size_t size, max, before;
		enum err_code want;
	} rows[] = {
		{ 0, 0, 0, ERR_OK },
		{ 0, 10, 0, ERR_OK },
		{ 10, 10, 0, ERR_OK },
		{ 11, 10, 0, ERR_LIMIT },
		{ 10, 15, 5, ERR_OK },
		{ 11, 15, 5, ERR_LIMIT },
		{ 1, 0, 0, ERR_LIMIT },
		{ 40000, 40000, 0, ERR_OK },
		{ 40001, 40000, 0, ERR_LIMIT },
	};
	(void)state;
	failing_at = 0;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf buf = BUF_INIT(rows[i].max);
		int fd = file_of(rows[i].size);
		size_t want = rows[i].before + (rows[i].want == ERR_OK ? rows[i].size : 0);

		assert_int_equal(buf_put(&buf, "-----", rows[i].before, NULL), ERR_OK);
		assert_int_equal(buf_read_fd(&buf, fd, NULL), rows[i].want);
		assert_int_equal(buf.len, want);
		assert_int_equal(buf_str(&buf)[want], '\0');
		if (want > rows[i].before)
			assert_int_equal(buf.data[want - 1], "abcdefg"[(rows[i].size - 1) % 7]);
		(void)close(fd);
		buf_done(&buf);
	}
}

static void reading_reports_each_failure_and_keeps_what_was_there(void **state)
{
	struct buf closed = BUF_INIT(10);
	int fd = file_of(40000);

	(void)state;
	for (failing_at = 1;; failing_at++) {
		struct buf buf = BUF_INIT(KIB(64));
		struct err err = ERR_INIT;
		enum err_code rc;

		failing_seen = 0;
		assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
		rc = buf_read_fd(&buf, fd, &err);
		assert_int_equal(rc, err.code);
		assert_int_equal(buf.len, rc == ERR_OK ? 40000 : 0);
		buf_done(&buf);
		if (failing_seen < failing_at)
			break;
		assert_true(rc == ERR_NOMEM || rc == ERR_IO);
	}
	failing_at = 0;
	assert_int_equal(buf_read_fd(&closed, -1, NULL), ERR_IO);
	buf_done(&closed);
	(void)close(fd);
}

static void wiping_leaves_nothing(void **state)
{
	struct buf buf = BUF_INIT(100);

	(void)state;
	assert_int_equal(buf_put_str(&buf, "secret", NULL), ERR_OK);
	buf_wipe(&buf);
	assert_int_equal(buf.len, 0);
	for (size_t i = 0; i < buf.cap; i++)
		assert_int_equal(buf.data[i], 0);
	buf_done(&buf);
	buf_wipe(&buf);
}

static void swapping_swaps_all(void **state)
{
	struct buf a = BUF_INIT(10), b = BUF_INIT(20);

	(void)state;
	assert_int_equal(buf_put_str(&a, "a", NULL), ERR_OK);
	buf_swap(&a, &b);
	assert_string_equal(buf_str(&b), "a");
	assert_int_equal(a.len, 0);
	assert_int_equal(a.max, 20);
	buf_done(&a);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(puts_append_and_keep_a_nul),
		cmocka_unit_test(the_ceiling_is_exact),
		cmocka_unit_test(no_ceiling_means_no_overflow_either),
		cmocka_unit_test(a_buffer_that_has_none_takes_nothing),
		cmocka_unit_test(without_memory_nothing_changes),
		cmocka_unit_test(reading_stops_at_the_ceiling),
		cmocka_unit_test(reading_reports_each_failure_and_keeps_what_was_there),
		cmocka_unit_test(wiping_leaves_nothing),
		cmocka_unit_test(swapping_swaps_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
