/* Unit tests of src/base/log.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/json.h"
#include "postern/log.h"
#include "postern/text.h"
#include "postern/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* A pipe: one read() gives what one write() put. */
static int ends[2];

static int open_pipe(void **state)
{
	(void)state;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return -1;
	log_set_fd(ends[1]);
	return 0;
}

static int close_pipe(void **state)
{
	(void)state;
	log_set_fd(STDERR_FILENO);
	log_set_level(LOG_INFO);
	(void)close(ends[0]);
	(void)close(ends[1]);
	return 0;
}

/* One line without its newline, checked to be JSON. */
static struct slice next_line(char room[LOG_LINE_MAX + 1])
{
	ssize_t len = read(ends[0], room, LOG_LINE_MAX + 1);
	struct slice line = { (uint8_t *)room, len > 0 ? (size_t)len : 0 };

	if (line.len == 0)
		return line;
	assert_true(line.len <= LOG_LINE_MAX);
	assert_int_equal(line.data[line.len - 1], '\n');
	line.len--;
	assert_int_equal(slice_find(line, '\n'), line.len);
	assert_int_equal(json_scan(line, NULL, 0, NULL, NULL), ERR_OK);
	return line;
}

static void check_member(struct slice line, const char *pointer, const char *want)
{
	struct buf text = BUF_INIT(LOG_LINE_MAX);
	struct json_value value;

	assert_int_equal(json_get(line, pointer, &value, NULL), ERR_OK);
	assert_int_equal(json_text(value, &text, NULL), ERR_OK);
	assert_string_equal(buf_str(&text), want);
	buf_done(&text);
}

static void a_line_has_time_level_event_and_fields(void **state)
{
	char room[LOG_LINE_MAX + 1];
	struct slice line;
	struct json_value ts;
	int64_t ms;

	(void)state;
	log_warn("refused", log_str("source", "git\"hub\n"), log_int("n", -5),
		log_code(ERR_EXPIRED), log_str("kid", ""), log_text("none", SLICE_EMPTY));
	line = next_line(room);
	assert_true(slice_starts(line, SLICE_LIT("{\"ts\":\"")));
	assert_int_equal(json_get(line, "/ts", &ts, NULL), ERR_OK);
	assert_int_equal(ts.raw.len, TEXT_TIME_LEN - 1);
	assert_int_equal(text_rfc3339(ts.raw, &ms, NULL), ERR_OK);
	assert_true(slice_search(line, SLICE_LIT(",\"level\":\"warn\",\"event\":\"refused\","
						 "\"source\":\"git\\\"hub\\n\",\"n\":-5,"
						 "\"code\":\"EXPIRED\"}")) < line.len);
	log_info("bare");
	check_member(next_line(room), "/event", "bare");
}

static void what_is_below_the_level_is_left_out(void **state)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	char room[LOG_LINE_MAX + 1];

	(void)state;
	for (int lowest = LOG_DEBUG; lowest <= LOG_ERROR; lowest++) {
		log_set_level((enum log_level)lowest);
		log_debug("e");
		log_info("e");
		log_warn("e");
		log_error("e");
		for (int level = lowest; level <= LOG_ERROR; level++) {
			/* A pipe joins writes: read line by line. */
			size_t len = 0;

			do
				assert_int_equal(read(ends[0], room + len, 1), 1);
			while (room[len++] != '\n');
			check_member(
				(struct slice){ (uint8_t *)room, len }, "/level", names[level]);
		}
		assert_int_equal(read(ends[0], room, 1), -1);
	}
}

static void a_long_value_is_cut_between_characters(void **state)
{
	for (size_t lead = 0; lead < 5; lead++) {
		struct buf value = BUF_INIT(KIB(4));
		char room[LOG_LINE_MAX + 1];
		struct json_value v;
		struct slice line;

		(void)state;
		for (size_t i = 0; i < lead; i++)
			assert_int_equal(buf_put_str(&value, "a", NULL), ERR_OK);
		while (value.len < LOG_VALUE_MAX + 10)
			assert_int_equal(buf_put_str(&value, "\xf0\x9f\x98\x80", NULL), ERR_OK);
		log_info("e", log_text("v", buf_slice(&value)));
		line = next_line(room);
		assert_int_equal(json_get(line, "/v", &v, NULL), ERR_OK);
		assert_int_equal(v.raw.len, (LOG_VALUE_MAX - lead) / 4 * 4 + lead);
		assert_true(slice_starts(buf_slice(&value), v.raw));
		buf_done(&value);
	}
}

static void bytes_that_are_no_text_stay_valid(void **state)
{
	char room[LOG_LINE_MAX + 1];
	uint8_t bytes[LOG_VALUE_MAX * 2];

	(void)state;
	memset(bytes, 0xbf, sizeof(bytes)); /* nothing but continuation bytes */
	log_info("e", log_text("v", (struct slice){ bytes, sizeof(bytes) }));
	assert_true(next_line(room).len > LOG_VALUE_MAX);
}

static void a_field_that_does_not_fit_is_left_out(void **state)
{
	char room[LOG_LINE_MAX + 1];
	uint8_t worst[LOG_VALUE_MAX];
	struct slice line, v = { worst, sizeof(worst) };

	(void)state;
	memset(worst, 1, sizeof(worst)); /* each becomes six bytes */
	log_info("e", log_text("a", v), log_text("b", v), log_int("c", 7));
	line = next_line(room);
	assert_true(slice_search(line, SLICE_LIT("\"a\":\"\\u0001")) < line.len);
	assert_int_equal(slice_search(line, SLICE_LIT("\"b\"")), line.len);
	check_member(line, "/c", "7");
	/* One byte after the other, up to the limit of the line and past it. */
	for (size_t len = 0; len < LOG_VALUE_MAX; len++) {
		memset(worst, 'x', sizeof(worst));
		v.len = len;
		memset(worst, 1, len / 2);
		log_info("e", log_text("a", v), log_text("b", v), log_text("c", v),
			log_text("d", v));
		assert_true(next_line(room).len > 0);
	}
}

static void a_log_that_cannot_be_written_is_no_trouble(void **state)
{
	(void)state;
	log_set_fd(-1);
	errno = 77;
	log_info("e");
	assert_int_equal(errno, 77);
	log_set_fd(ends[1]);
}

#define LINES 200

static void *log_lines(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_info("e", log_str("who", arg), log_int("i", i));
	return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
	char name[] = "/tmp/postern-log-XXXXXX";
	char who[] = "thread";
	int fd = mkostemp(name, O_CLOEXEC | O_APPEND);
	struct thread threads[3] = { 0 };
	struct buf all = BUF_INIT(MIB(1));
	struct slice rest;
	size_t lines = 0;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(unlink(name), 0);
	log_set_fd(fd);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(thread_start(&threads[i], "log", log_lines, who, NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		thread_join(&threads[i]);
	log_set_fd(ends[1]);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(buf_read_fd(&all, fd, NULL), ERR_OK);
	for (rest = buf_slice(&all); rest.len > 0; lines++) {
		size_t end = slice_find(rest, '\n');

		check_member(slice_sub(rest, 0, end), "/who", "thread");
		rest = slice_sub(rest, end + 1, rest.len);
	}
	assert_int_equal(lines, LINES * ARRAY_LEN(threads));
	buf_done(&all);
	(void)close(fd);
}

static void a_gate_lets_some_through_and_counts_the_others(void **state)
{
	static const struct {
		int64_t at_ms, calls, opened, dropped;
	} rows[] = {
		{ 0, 5, 5, 0 },
		{ 999, 20, 15, 0 },  /* the same second: with the five of before, twenty */
		{ 1000, 25, 20, 5 }, /* the next one, and what the one before has to tell */
		{ 1999, 1, 0, 0 },
		{ 2500, 1, 1, 6 },
		{ 3499, 1, 1, 0 }, /* a second begins with its first line */
		{ 900000, 1, 1, 0 },
	};
	struct log_gate gate = { .lines = 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t opened = 0, told = 0;

		for (int64_t n = 0; n < rows[i].calls; n++) {
			int64_t dropped;

			opened += log_gate_opens(&gate, rows[i].at_ms, &dropped);
			told += dropped;
		}
		assert_int_equal(opened, rows[i].opened);
		assert_int_equal(told, rows[i].dropped);
	}
}

static void a_gate_tells_what_it_dropped_without_another_line(void **state)
{
	struct log_gate gate = { .lines = 0 };
	int64_t dropped;

	(void)state;
	for (int i = 0; i < LOG_GATE_LINES + 3; i++)
		(void)log_gate_opens(&gate, 5000, &dropped);
	assert_int_equal(log_gate_dropped(&gate, 5999), 0);
	assert_int_equal(log_gate_dropped(&gate, 6000), 3);
	assert_int_equal(log_gate_dropped(&gate, 7000), 0);
	assert_true(log_gate_opens(&gate, 7001, &dropped));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_line_has_time_level_event_and_fields, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(
			what_is_below_the_level_is_left_out, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(
			a_long_value_is_cut_between_characters, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(
			bytes_that_are_no_text_stay_valid, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(
			a_field_that_does_not_fit_is_left_out, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(
			a_log_that_cannot_be_written_is_no_trouble, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(lines_of_threads_do_not_mix, open_pipe, close_pipe),
		cmocka_unit_test(a_gate_lets_some_through_and_counts_the_others),
		cmocka_unit_test(a_gate_tells_what_it_dropped_without_another_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
