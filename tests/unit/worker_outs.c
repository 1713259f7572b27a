/* outs.c: outputs that find no room keep nobody waiting but their like; and what is logged of a
 * flood of refused requests. */
#define LAB_FAKE_HANDLER
#include "support/worker_lab.h"

#include <sys/mman.h>

static const char none_config[] = LAB_CONFIG(LAB_NONE_ROUTE, "");

#define SMALL 3000 /* bytes of a stream that takes some records, but no large one */

/* ---- an output that has to wait ----------------------------------------------------- */

static struct item out_item(
	int64_t offset, enum out_target target, enum err_code reason, bool large)
{
	static char body[SMALL + 1];
	static uint8_t bytes[EVENT_HEADERS_MAX];
	static size_t used;
	const struct lab lab = { .received_ms = 0 };
	const struct lab_event event = { .id = "a", .quarantine = err_name(reason) };
	struct buf headers = BUF_INIT(EVENT_HEADERS_MAX);
	char digest[65];
	struct event decoded = lab_decode(&lab, &event, digest);
	struct item item = { .type = ITEM_OUT,
		.out = { .offset = offset, .target = target, .reason = reason } };

	memset(body, 'b', SMALL);
	assert_int_equal(event_encode(&decoded, &headers, NULL), ERR_OK);
	assert_true(used + headers.len <= sizeof(bytes));
	memcpy(bytes + used, headers.data, headers.len);
	item.out.headers = (struct slice){ bytes + used, headers.len };
	item.out.body = large ? slice_str(body) : SLICE_LIT("small");
	used += headers.len;
	buf_done(&headers);
	return item;
}

/* The first output never finds room; the second, of another kind, is published all the same. Only a
 * refused request does not wait for room. */
static void others_do_not_wait_for_a_full_stream(void **state)
{
	static const struct {
		enum out_target stuck;
		enum err_code reason;
		enum out_target target;
		enum err_code behind;
		int waits;
	} rows[] = {
		{ OUT_DLQ, ERR_HANDLER_REFUSED, OUT_QUARANTINE, ERR_MALFORMED_BODY, 1 },
		{ OUT_DLQ, ERR_HANDLER_REFUSED, OUT_QUARANTINE, ERR_BAD_SIGNATURE, 1 },
		{ OUT_QUARANTINE, ERR_MALFORMED_BODY, OUT_DLQ, ERR_HANDLER_REFUSED, 1 },
		{ OUT_QUARANTINE, ERR_BAD_SIGNATURE, OUT_QUARANTINE, ERR_MALFORMED_BODY, 0 },
	};
	const int64_t dropped = lab_count(METRIC_QUARANTINE_DROPPED, NULL, NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab *lab = lab_new(none_config);
		const struct item items[] = {
			out_item(0, rows[i].stuck, rows[i].reason, true),
			out_item(1, rows[i].target, rows[i].behind, false),
		};

		lab->dlq_bytes = lab->quarantine_bytes = SMALL;
		lab_open_queue(lab);
		lab_open_store(lab);
		lab_die(lab, items, ARRAY_LEN(items), 0);
		lab_start(lab);
		LAB_UNTIL(lab_entries(lab, rows[i].target) == 1);
		/* and the worker goes on; what is stuck is neither lost nor forgotten */
		(void)lab_send(lab, &(struct lab_event){ .id = "done" });
		lab_ends(lab, "done", OUTCOME_APPLIED, ERR_OK);
		LAB_UNTIL(lab_status(lab, "outputs_waiting") == rows[i].waits);
		lab_close(lab);
	}
	assert_int_equal(lab_count(METRIC_QUARANTINE_DROPPED, NULL, NULL) - dropped, 1);
}

/* ---- refused requests and the log --------------------------------------------------- */

/* Lines of this event in a log, and the sum of what they say was not logged. */
static void read_log(int fd, const char *event, int64_t *out_lines, int64_t *out_unlogged)
{
	static char text[MIB(4)];
	const ssize_t len = pread(fd, text, sizeof(text) - 1, 0);
	char *line = text, *end;

	assert_true(len >= 0);
	text[len] = '\0';
	*out_lines = *out_unlogged = 0;
	for (; (end = strchr(line, '\n')); line = end + 1) {
		const char *count;

		*end = '\0';
		if (!strstr(line, event))
			continue;
		++*out_lines;
		count = strstr(line, "\"not_logged\":");
		if (count) {
			long long n = 0;

			assert_int_equal(sscanf(count, "\"not_logged\":%lld", &n), 1);
			*out_unlogged += n;
		}
	}
}

#define FLOOD 500

static bool all_told(int fd, int64_t *out_lines)
{
	int64_t counts, unlogged, none;

	read_log(fd, "\"event_quarantined\"", out_lines, &none);
	read_log(fd, "\"events_quarantined\"", &counts, &unlogged);
	return *out_lines + unlogged == FLOOD;
}

static void a_flood_of_refused_requests_is_counted_in_the_log(void **state)
{
	const int fd = memfd_create("log", MFD_CLOEXEC);
	struct lab *lab = lab_open(none_config);
	int64_t began, seconds, lines = 0;
	char id[24];

	(void)state;
	assert_true(fd >= 0);
	log_set_fd(fd);
	log_set_level(LOG_WARN);
	began = lab_mono_ms();
	for (int i = 0; i < FLOOD; i++) {
		(void)snprintf(id, sizeof(id), "r%d", i);
		(void)lab_send(lab, &(struct lab_event){ .id = id, .quarantine = "BAD_SIGNATURE" });
	}
	LAB_UNTIL(all_told(fd, &lines));
	seconds = (lab_mono_ms() - began) / 1000 + 1;
	assert_in_range(lines, 20, 20 * (seconds + 1));
	log_set_level(LOG_ERROR);
	log_set_fd(STDERR_FILENO);
	lab_close(lab);
	(void)close(fd);
}

/* What is authentic comes from a sender that is known: each has its line. */
static void authentic_ones_are_all_logged(void **state)
{
	const int fd = memfd_create("log", MFD_CLOEXEC);
	struct lab *lab = lab_open(none_config);
	int64_t lines, unlogged;
	char id[24];

	(void)state;
	assert_true(fd >= 0);
	log_set_fd(fd);
	log_set_level(LOG_WARN);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(id, sizeof(id), "m%d", i);
		(void)lab_send(
			lab, &(struct lab_event){ .id = id, .quarantine = "MALFORMED_BODY" });
	}
	lab_passed(lab);
	read_log(fd, "\"event_quarantined\"", &lines, &unlogged);
	assert_int_equal(lines, 100);
	log_set_level(LOG_ERROR);
	log_set_fd(STDERR_FILENO);
	lab_close(lab);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(others_do_not_wait_for_a_full_stream),
		cmocka_unit_test(a_flood_of_refused_requests_is_counted_in_the_log),
		cmocka_unit_test(authentic_ones_are_all_logged),
	};

	return lab_run(tests);
}
