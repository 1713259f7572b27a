/* feed.c: records of a topic that others write become events, in order, each at least once; what is
 * not an event is kept aside; a place is passed only when everything up to it is there. */
#include "support/config_files.h"

#include "postern/event.h"
#include "postern/feed.h"
#include "postern/log.h"
#include "postern/thread.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RECORDS_MAX 2000
#define WAIT_MS 30000

static const char config_text[] =
	"{\"queue\":{\"backend\":\"kafka\",\"properties\":{\"bootstrap.servers\":\"b\"}},"
	"\"sources\":{\"s\":{\"stream\":{\"topic\":\"theirs\"},\"id\":\"json:/id\","
	"\"entity\":\"header:kafka-key\"}}}";

struct source_record {
	const char *body;
	size_t len;
	int32_t partition;
	int64_t offset;
	char text[32];
};
struct kafka_stream {
	struct lock lock;
	struct source_record records[RECORDS_MAX];
	size_t count, given; /* guarded by lock, like what follows */
	int64_t passed[2];
	bool broken;
	int fail_from, fails; /* this append and all behind it in its list fail, so often */
	int appended;
	bool opened, closed;
	char group[64];
	struct queue *queue;
	queue_done_fn *done;
	void *done_ctx;
};
static struct kafka_stream world;

static int64_t mono_ms(void)
{
	return clock_system()->mono_ms(clock_system());
}

#define UNTIL(condition)                                                                           \
	do {                                                                                       \
		const int64_t deadline_ms = mono_ms() + WAIT_MS;                                   \
		while (!(condition)) {                                                             \
			if (mono_ms() > deadline_ms)                                               \
				fail_msg("waited too long for: %s", #condition);                   \
			(void)usleep(500);                                                         \
		}                                                                                  \
	} while (0)

/* ---- the ports ---------------------------------------------------------------------- */

static enum err_code fake_open(
	void *ctx, const struct kafka_stream_opts *opts, struct kafka_stream **out, struct err *err)
{
	(void)err;
	*out = ctx;
	(void)snprintf(world.group, sizeof(world.group), "%s", opts->group);
	world.opened = strcmp(opts->topic, "theirs") == 0 && !opts->from_end;
	return ERR_OK;
}

static enum err_code fake_read(struct kafka_stream *s, int64_t deadline_ms,
	struct kafka_stream_record *out, struct err *err)
{
	enum err_code rc = ERR_OK;

	*out = (struct kafka_stream_record){ .partition = -1 };
	lock_take(&s->lock);
	if (s->broken) {
		rc = err_set(err, ERR_UNREACHABLE, "no broker");
	} else if (s->given < s->count) {
		const struct source_record *r = &s->records[s->given++];

		out->partition = r->partition;
		out->record = (struct record){ .key = slice_str("k"),
			.body = { (const uint8_t *)r->body, r->len },
			.offset = r->offset };
		out->lost = r->offset == 3 && r->partition == 1 ? 2 : 0;
	}
	lock_give(&s->lock);
	if (out->partition < 0 && deadline_ms > 0)
		(void)usleep(1000);
	return rc;
}

static void fake_release(struct kafka_stream_record *record)
{
	*record = (struct kafka_stream_record){ .partition = -1 };
}

static void fake_passed(struct kafka_stream *s, int32_t partition, int64_t offset)
{
	lock_take(&s->lock);
	s->passed[partition] = offset;
	lock_give(&s->lock);
}

static void fake_close(struct kafka_stream **stream)
{
	(*stream)->closed = true;
	*stream = NULL;
}

/* In between: some are said to be lost, though they are there. */
static void forward(void *ctx, struct record *list)
{
	(void)ctx;
	lock_take(&world.lock);
	for (struct record *r = list; r; r = r->next) {
		world.appended++;
		if (world.fails > 0 && world.appended >= world.fail_from) {
			r->result = ERR_OUTCOME_UNKNOWN;
			world.fails -= r->next == NULL;
		}
	}
	lock_give(&world.lock);
	world.done(world.done_ctx, list);
}

static enum err_code fake_queue(
	void *ctx, queue_done_fn *done, void *done_ctx, struct queue **out, struct err *err)
{
	struct queue_opts opts = { .writes_events = true,
		.works = true,
		.events_done = forward,
		.clock = clock_system() };
	enum err_code rc;

	(void)ctx;
	for (size_t i = 0; i < STREAM_COUNT; i++)
		opts.limits[i] = (struct stream_limits){ (int64_t)MIB(64), 3600000 };
	world.done = done;
	world.done_ctx = done_ctx;
	rc = queue_mem_open(&opts, out, err);
	world.queue = *out;
	return rc;
}

static const struct feed_ports ports = { .ctx = &world,
	.open = fake_open,
	.read = fake_read,
	.release = fake_release,
	.passed = fake_passed,
	.close = fake_close,
	.open_queue = fake_queue };

/* ---- what a test does --------------------------------------------------------------- */

static struct feeds *begin(struct files *f)
{
	const struct feeds_opts opts = { .clock = clock_system(), .ports = &ports };
	struct config_report report = { 0 };
	struct feeds *feeds = NULL;
	struct err err = ERR_INIT;

	world.passed[0] = world.passed[1] = -1;
	files_must_load(f, config_text, NULL);
	if (feeds_open(f->config, &opts, &feeds, &report, &err) != ERR_OK)
		fail_msg("%s", err.text);
	config_report_done(&report);
	assert_true(world.opened);
	assert_string_equal(world.group, "postern.s");
	return feeds;
}

static void put(int32_t partition, int64_t offset, const char *body, size_t len)
{
	lock_take(&world.lock);
	assert_true(world.count < RECORDS_MAX);
	world.records[world.count++] = (struct source_record){
		.body = body, .len = len, .partition = partition, .offset = offset
	};
	lock_give(&world.lock);
}

static void put_id(int32_t partition, int64_t offset)
{
	struct source_record *r;

	lock_take(&world.lock);
	r = &world.records[world.count];
	(void)snprintf(r->text, sizeof(r->text), "{\"id\":\"%lld\"}", (long long)offset);
	r->body = r->text;
	r->len = strlen(r->text);
	r->partition = partition;
	r->offset = offset;
	world.count++;
	lock_give(&world.lock);
}

static int64_t passed(int32_t partition)
{
	int64_t at;

	lock_take(&world.lock);
	at = world.passed[partition];
	lock_give(&world.lock);
	return at;
}

static struct event event_at(int64_t offset, struct buf *bytes, struct record *record)
{
	struct event event;

	assert_int_equal(
		queue_lookup(world.queue, STREAM_EVENTS, offset, bytes, record, NULL), ERR_OK);
	assert_int_equal(event_decode(record->headers, &event, NULL), ERR_OK);
	return event;
}

static bool status_has(struct feeds *feeds, const char *text)
{
	struct buf status = BUF_INIT(KIB(8));
	bool has;

	assert_int_equal(feeds_status(feeds, &status, NULL), ERR_OK);
	has = strstr(buf_str(&status), text) != NULL;
	buf_done(&status);
	return has;
}

static void end(struct feeds **feeds)
{
	feeds_close(feeds);
	assert_true(world.closed);
}

static void records_are_mapped(void **state)
{
	static const char no_id[] = "{}", no_json[] = "?";
	static char large[CONFIG_KAFKA_BODY_MAX + 1];
	static const struct {
		const char *body;
		size_t len;
		const char *quarantine;
	} rows[] = {
		{ "{\"id\":\"a\"}", 10, "" },
		{ no_id, sizeof(no_id) - 1, "MISSING_EVENT_ID" },
		{ no_json, sizeof(no_json) - 1, "MALFORMED_BODY" },
		{ "", 0, "MALFORMED_BODY" },
		{ large, sizeof(large), "TOO_LARGE" },
		{ large, sizeof(large) - 1, "MALFORMED_BODY" },
	};
	struct buf bytes = BUF_INIT(MIB(2));
	struct feeds *feeds = begin(*state);
	struct record record;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		put(1, (int64_t)i, rows[i].body, rows[i].len);
	UNTIL(passed(1) == (int64_t)ARRAY_LEN(rows) - 1);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct event event = event_at((int64_t)i, &bytes, &record);
		char request[16];

		assert_true(slice_eq_str(event.quarantine, rows[i].quarantine));
		(void)snprintf(request, sizeof(request), "1.%zu", i);
		assert_true(slice_eq_str(event.request_id, request));
		if (rows[i].len > CONFIG_KAFKA_BODY_MAX)
			assert_int_equal(record.body.len, 0);
		else
			assert_int_equal(record.body.len, rows[i].len);
		if (rows[i].quarantine[0])
			continue;
		assert_true(slice_eq_str(event.id, "a"));
		assert_true(slice_eq_str(event.entity, "k"));
		assert_true(slice_eq_str(record.key, "default/k"));
	}
	UNTIL(status_has(feeds, "\"records\":6,\"lost\":2,\"waits\":null"));
	end(&feeds);
	buf_done(&bytes);
}

/* An append that may have failed is made again with all behind it: the first copies are in order,
 * and nothing is passed before it is surely there. */
static void what_is_not_surely_there_is_appended_again(void **state)
{
	struct buf bytes = BUF_INIT(MIB(1));
	struct feeds *feeds;
	struct stream_stat stat;
	struct record record;
	int64_t next = 0;

	for (int64_t i = 0; i < 600; i++)
		put_id(0, i);
	world.fail_from = 100;
	world.fails = 2;
	feeds = begin(*state);
	UNTIL(passed(0) == 599);
	queue_stat(world.queue, STREAM_EVENTS, &stat);
	assert_true(stat.end > 600);
	for (int64_t i = 0; i < stat.end; i++) {
		const struct event event = event_at(i, &bytes, &record);
		char id[24];

		(void)snprintf(id, sizeof(id), "%lld", (long long)next);
		next += slice_eq_str(event.id, id);
	}
	assert_int_equal(next, 600);
	end(&feeds);
	buf_done(&bytes);
}

static void a_stream_that_cannot_be_read_is_told(void **state)
{
	struct feeds *feeds;

	world.broken = true;
	feeds = begin(*state);
	UNTIL(status_has(feeds, "\"waits\":\"no broker\""));
	lock_take(&world.lock);
	world.broken = false;
	lock_give(&world.lock);
	put_id(0, 0);
	UNTIL(passed(0) == 0);
	UNTIL(status_has(feeds, "\"waits\":null"));
	end(&feeds);
}

static int open_world(void **state)
{
	memset(&world, 0, sizeof(world));
	lock_init(&world.lock);
	return files_open(state);
}

static int close_world(void **state)
{
	lock_done(&world.lock);
	return files_close(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(records_are_mapped, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			what_is_not_surely_there_is_appended_again, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			a_stream_that_cannot_be_read_is_told, open_world, close_world),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
