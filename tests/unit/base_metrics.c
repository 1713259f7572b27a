/* Unit tests of src/base/metrics.c and metrics_text.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/metrics.h"
#include "postern/thread.h"

#include <math.h>

static struct slice rendered(struct buf *out)
{
	buf_reset(out);
	assert_int_equal(metrics_render(out, NULL), ERR_OK);
	return buf_slice(out);
}

static void check_has(struct slice text, const char *line)
{
	if (slice_search(text, slice_str(line)) == text.len)
		fail_msg("no \"%s\"", line);
}

/* First of all tests: nothing was asked for yet. */
static void what_has_no_labels_is_there_from_the_start(void **state)
{
	static const char *const lines[] = {
		"\npostern_spool_records 0\n",
		"\npostern_queue_lag_records 0\n",
		"\npostern_parked_events 0\n",
		"\npostern_build_info 1\n",
		"\n# TYPE postern_http_requests_total counter\n",
		"\n# TYPE postern_http_request_duration_seconds histogram\n",
		"\n# TYPE postern_events_total counter\n",
		"\n# TYPE postern_event_age_seconds histogram\n",
		"\n# TYPE postern_retries_total counter\n",
		"\n# TYPE postern_dead_letters_total counter\n",
		"\n# TYPE postern_key_matches_total counter\n",
		"\n# TYPE postern_id_reused_total counter\n",
		"\n# TYPE postern_queue_lag_records gauge\n",
	};
	struct buf out = BUF_INIT(MIB(1));
	struct slice text = rendered(&out);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		check_has(text, lines[i]);
	buf_done(&out);
}

static void the_same_values_are_the_same_series(void **state)
{
	struct metric *m = metric_series(METRIC_HTTP_REQUESTS, "github", "ACCEPTED");
	char source[] = "github";

	(void)state;
	assert_ptr_equal(metric_series(METRIC_HTTP_REQUESTS, source, "ACCEPTED"), m);
	assert_ptr_not_equal(metric_series(METRIC_HTTP_REQUESTS, "githu", "bACCEPTED"), m);
	assert_ptr_not_equal(metric_series(METRIC_EVENTS, "github", "ACCEPTED"), m);
	/* A value for a label that the family does not have makes no difference. */
	assert_ptr_equal(metric_series(METRIC_ID_REUSED, "s", "extra"),
		metric_series(METRIC_ID_REUSED, "s", NULL));
	assert_ptr_equal(metric_series(METRIC_HTTP_REQUESTS, NULL, "X"),
		metric_series(METRIC_HTTP_REQUESTS, "", "X"));
}

static void counters_and_gauges_show_their_value(void **state)
{
	struct metric *requests = metric_series(METRIC_HTTP_REQUESTS, "a", "EXPIRED");
	struct metric *lag = metric_series(METRIC_QUEUE_LAG, NULL, NULL);
	struct buf out = BUF_INIT(MIB(1));

	(void)state;
	assert_int_equal(metric_value(requests), 0);
	check_has(
		rendered(&out), "\npostern_http_requests_total{source=\"a\",code=\"EXPIRED\"} 0\n");
	metric_add(requests, 3);
	metric_add(requests, 1);
	metric_set(lag, 12);
	metric_add(lag, -2);
	assert_int_equal(metric_value(requests), 4);
	check_has(
		rendered(&out), "\npostern_http_requests_total{source=\"a\",code=\"EXPIRED\"} 4\n");
	check_has(buf_slice(&out), "\npostern_queue_lag_records 10\n");
	buf_done(&out);
}

static void histograms_add_up(void **state)
{
	struct metric *age = metric_series(METRIC_HTTP_REQUEST_DURATION, "h", NULL);
	struct buf out = BUF_INIT(MIB(1));
	static const char *const lines[] = {
		"\npostern_http_request_duration_seconds_bucket{source=\"h\",le=\"0.0005\"} 4\n",
		"\npostern_http_request_duration_seconds_bucket{source=\"h\",le=\"0.001\"} 5\n",
		"\npostern_http_request_duration_seconds_bucket{source=\"h\",le=\"5\"} 5\n",
		"\npostern_http_request_duration_seconds_bucket{source=\"h\",le=\"10\"} 6\n",
		"\npostern_http_request_duration_seconds_bucket{source=\"h\",le=\"+Inf\"} 7\n",
		"\npostern_http_request_duration_seconds_sum{source=\"h\"} 110.001\n",
		"\npostern_http_request_duration_seconds_count{source=\"h\"} 7\n",
	};

	(void)state;
	metric_observe(age, 0.0005); /* a bound belongs to its bucket */
	metric_observe(age, 0);
	metric_observe(age, -1);
	metric_observe(age, (double)NAN);
	metric_observe(age, 0.0005000001);
	metric_observe(age, 10);
	metric_observe(age, 100);
	assert_int_equal(metric_value(age), 7);
	(void)rendered(&out);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		check_has(buf_slice(&out), lines[i]);
	buf_done(&out);
}

static void label_values_are_escaped(void **state)
{
	struct buf out = BUF_INIT(MIB(1));

	(void)state;
	metric_add(metric_series(METRIC_RETRIES, "a\"b\\c\nd", "\xc3\xa9"), 1);
	check_has(rendered(&out),
		"\npostern_retries_total{route=\"a\\\"b\\\\c\\nd\",reason=\"\xc3\xa9\"} 1\n");
	buf_done(&out);
}

static void build_info_has_the_labels_it_is_given(void **state)
{
	static const char *const pairs[] = { "version", "1.2", "lmdb", "0.9", NULL };
	struct buf out = BUF_INIT(MIB(1));

	(void)state;
	metric_build_info(pairs);
	check_has(rendered(&out), "\npostern_build_info{version=\"1.2\",lmdb=\"0.9\"} 1\n");
	buf_done(&out);
}

static void what_does_not_fit_is_not_begun(void **state)
{
	struct buf all = BUF_INIT(MIB(1));
	size_t len = rendered(&all).len;

	(void)state;
	for (size_t max = 0; max <= len; max += max + 7 < len ? 7 : 1) {
		struct buf out = BUF_INIT(max);
		enum err_code rc = metrics_render(&out, NULL);

		assert_int_equal(rc, max < len ? ERR_LIMIT : ERR_OK);
		assert_int_equal(out.len, max < len ? 0 : len);
		buf_done(&out);
	}
	buf_done(&all);
}

/* Every line is a comment, or a name, labels and a number; a family stands together. */
static void every_line_has_the_form_of_the_format(void **state)
{
	struct buf out = BUF_INIT(MIB(1));
	struct slice rest = rendered(&out), family = SLICE_EMPTY;

	(void)state;
	while (rest.len > 0) {
		size_t end = slice_find(rest, '\n');
		struct slice line = slice_sub(rest, 0, end);

		assert_true(end < rest.len);
		rest = slice_sub(rest, end + 1, rest.len);
		if (slice_starts(line, SLICE_LIT("# HELP "))) {
			family = slice_sub(line, 7, line.len);
			family = slice_sub(family, 0, slice_find(family, ' '));
			assert_true(slice_starts(family, SLICE_LIT("postern_")));
			continue;
		}
		if (slice_starts(line, SLICE_LIT("# TYPE ")))
			line = slice_sub(line, 7, line.len);
		assert_true(slice_starts(line, family));
	}
	buf_done(&out);
}

struct walk {
	size_t seen, stop_at;
	int64_t sum;
};

static bool visit(void *arg, const char *value1, const char *value2, const struct metric *m)
{
	struct walk *walk = arg;

	assert_non_null(value2);
	if (slice_eq_str(slice_str(value1), "each"))
		walk->sum += metric_value(m);
	/* No lock is held here: a new series is no trouble, and is seen. */
	(void)metric_series(METRIC_KEY_MATCHES, "each", "third");
	return ++walk->seen != walk->stop_at;
}

static void each_series_is_visited(void **state)
{
	struct walk all = { 0 }, one = { .stop_at = 1 };

	(void)state;
	metric_add(metric_series(METRIC_KEY_MATCHES, "each", "first"), 1);
	metric_add(metric_series(METRIC_KEY_MATCHES, "each", "second"), 2);
	metrics_each(METRIC_KEY_MATCHES, visit, &all);
	assert_int_equal(all.seen, 3);
	assert_int_equal(all.sum, 3);
	metrics_each(METRIC_KEY_MATCHES, visit, &one);
	assert_int_equal(one.seen, 1);
}

static void *update(void *arg)
{
	struct metric *m = metric_series(METRIC_EVENT_AGE, "busy", NULL);

	for (int i = 0; i < 5000; i++) {
		metric_observe(m, 1);
		metric_add(metric_series(METRIC_EVENTS, "busy", arg), 1);
	}
	return NULL;
}

static void updates_of_threads_all_count(void **state)
{
	struct thread threads[3] = { 0 };
	char outcome[] = "applied";
	struct buf out = BUF_INIT(MIB(1));

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(
			thread_start(&threads[i], "update", update, outcome, NULL), ERR_OK);
	(void)rendered(&out);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		thread_join(&threads[i]);
	assert_int_equal(metric_value(metric_series(METRIC_EVENTS, "busy", "applied")), 15000);
	(void)rendered(&out);
	check_has(buf_slice(&out), "\npostern_event_age_seconds_sum{route=\"busy\"} 15000\n");
	check_has(buf_slice(&out), "\npostern_event_age_seconds_count{route=\"busy\"} 15000\n");
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_has_no_labels_is_there_from_the_start),
		cmocka_unit_test(the_same_values_are_the_same_series),
		cmocka_unit_test(counters_and_gauges_show_their_value),
		cmocka_unit_test(histograms_add_up),
		cmocka_unit_test(label_values_are_escaped),
		cmocka_unit_test(build_info_has_the_labels_it_is_given),
		cmocka_unit_test(what_does_not_fit_is_not_begun),
		cmocka_unit_test(every_line_has_the_form_of_the_format),
		cmocka_unit_test(each_series_is_visited),
		cmocka_unit_test(updates_of_threads_all_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
