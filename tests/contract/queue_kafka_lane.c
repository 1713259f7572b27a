/* queue_kafka_lane.c - events and outputs of a lane over Kafka. Deliberately not here: its journal
 * (queue_kafka_journal.c). */
#include "support/lane_lab.h"

#define BODY 100

/* ---- events ---- */

static void count_done(void *ctx, struct record *list)
{
	kit_sink_put(ctx, list);
}

/* The number that the key holds; the header block of the kit does not decode, so it is left out. */
static struct record *plain_list(uint64_t number, size_t count, size_t body)
{
	struct record *list = kit_list(number, count, body);

	for (struct record *r = list; r; r = r->next)
		r->headers = SLICE_EMPTY;
	return list;
}

static bool is_record(const struct record *r, uint64_t number, size_t body)
{
	struct kit_record *k = kit_record_new(number, body);
	const bool same = slice_eq(r->key, k->record.key) && slice_eq(r->body, k->record.body);

	kit_record_free(k);
	return same;
}

/* Appends events whose keys all fall into the lane, and gives their numbers. */
static void append_events(struct process *p, uint64_t *numbers, size_t count, size_t body)
{
	struct kit_sink sink;
	struct queue *ingress;
	struct err err = ERR_INIT;
	uint64_t number = 0;

	kit_sink_init(&sink);
	if (queue_kafka_ingress(p->kafka, count_done, &sink, &ingress, &err) != ERR_OK)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < count; number++) {
		struct record *list = plain_list(number, 1, body);

		if (kafka_partition(list->key, PARTITIONS) != LANE) {
			kit_list_free(list);
			continue;
		}
		numbers[i++] = number;
		assert_int_equal(queue_append(ingress, STREAM_EVENTS, list, &err), ERR_OK);
	}
	kit_sink_wait(&sink, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(kit_sink_at(&sink, i).result, ERR_OK);
	queue_close(&ingress);
	kit_sink_done(&sink);
}

static size_t read_some(
	struct process *p, int64_t offset, size_t max, size_t max_bytes, struct queue_batch *out)
{
	struct err err = ERR_INIT;

	if (queue_read(p->lane, STREAM_EVENTS, offset, max, max_bytes, kit_now_ms() + KIT_WAIT_MS,
		    out, &err) != ERR_OK)
		fail_msg("%s", err.text);
	assert_true(out->count > 0 && out->count <= max);
	return out->count;
}

static void expect_events(
	struct process *p, const uint64_t *numbers, int64_t offset, size_t count, size_t at_once)
{
	size_t seen = 0;

	while (seen < count) {
		struct queue_batch some;
		const size_t want = count - seen < at_once ? count - seen : at_once;
		const size_t got = read_some(p, offset + (int64_t)seen, want, MIB(1), &some);

		for (size_t i = 0; i < got; i++) {
			assert_int_equal(some.records[i].offset, offset + (int64_t)(seen + i));
			assert_true(is_record(
				&some.records[i], numbers[(size_t)offset + seen + i], BODY));
		}
		queue_release(p->lane, &some);
		seen += got;
	}
}

static void events_are_read_from_any_offset(struct cluster *c)
{
	uint64_t numbers[200];
	struct queue_batch one, few;
	struct err err = ERR_INIT;
	struct process a;
	int64_t before_ms;

	process_open(&a, c, 'a');
	append_events(&a, numbers, ARRAY_LEN(numbers), BODY);
	expect_events(&a, numbers, 0, 200, 7);
	expect_events(&a, numbers, 120, 50, 50);
	expect_events(&a, numbers, 3, 1, 1);
	/* Limits; a part of a batch may be asked for again, and several are held at once. */
	assert_int_equal(read_some(&a, 10, 100, 1, &one), 1);
	assert_in_range(read_some(&a, 11, 100, 1000, &few), 1, 10);
	assert_true(is_record(&one.records[0], numbers[10], BODY));
	assert_true(is_record(&few.records[0], numbers[11], BODY));
	expect_events(&a, numbers, 12, 20, 5);
	queue_release(a.lane, &one);
	expect_events(&a, numbers, 12, 2, 2);
	assert_true(is_record(&few.records[0], numbers[11], BODY));
	queue_release(a.lane, &few);
	/* The end. */
	before_ms = kit_now_ms();
	assert_int_equal(
		queue_read(a.lane, STREAM_EVENTS, 200, 10, KIB(1), before_ms + 30, &one, &err),
		ERR_OK);
	assert_int_equal(one.count, 0);
	assert_true(kit_now_ms() >= before_ms + 30);
	assert_int_equal(queue_read(a.lane, STREAM_EVENTS, 200, 10, KIB(1), 0, &one, &err), ERR_OK);
	assert_int_equal(one.count, 0);
	process_close(&a);
}

static void an_event_that_is_gone_is_corrupt(struct cluster *c)
{
	struct queue_batch none;
	uint64_t number;
	struct process a;

	process_open(&a, c, 'a');
	append_events(&a, &number, 1, BODY);
	for (int i = 0; i < 2; i++) {
		struct err err = ERR_INIT;

		assert_int_equal(queue_read(a.lane, STREAM_EVENTS, 7, 1, 1,
					 kit_now_ms() + KIT_WAIT_MS, &none, &err),
			ERR_CORRUPT);
		assert_non_null(strstr(err.text, "SOURCE_LOST"));
	}
	assert_int_equal(queue_read(a.lane, STREAM_EVENTS, -1, 1, 1, 0, &none, NULL), ERR_CORRUPT);
	expect_events(&a, &number, 0, 1, 1);
	process_close(&a);
}

static void positions_and_ends_are_told(struct cluster *c)
{
	uint64_t numbers[20];
	struct stream_stat stat;
	struct process a;

	process_open(&a, c, 'a');
	queue_stat(a.lane, STREAM_EVENTS, &stat);
	assert_int_equal(stat.end, 0);
	append_events(&a, numbers, ARRAY_LEN(numbers), BODY);
	expect_events(&a, numbers, 0, 20, 4);
	assert_int_equal(queue_done(a.lane, STREAM_EVENTS, 12, NULL), ERR_OK);
	queue_stat(a.lane, STREAM_EVENTS, &stat);
	assert_int_equal(stat.first, 0);
	assert_int_equal(stat.end, 20);
	assert_int_equal(stat.position, 12);
	assert_true(stat.oldest_ms > 0);
	assert_int_equal(queue_done(a.lane, STREAM_EVENTS, 20, NULL), ERR_OK);
	queue_stat(a.lane, STREAM_EVENTS, &stat);
	assert_int_equal(stat.oldest_ms, 0);
	process_close(&a);
}

/* ---- outputs ---- */

static void outputs_get_offsets_and_can_be_looked_up(struct cluster *c)
{
	static const enum stream streams[] = { STREAM_DLQ, STREAM_QUARANTINE };
	struct buf bytes = BUF_INIT(MIB(1));
	struct err err = ERR_INIT;
	struct stream_stat stat;
	struct record record;
	struct process a;
	int64_t first;

	process_open(&a, c, 'a');
	for (size_t s = 0; s < ARRAY_LEN(streams); s++) {
		const size_t before = kit_sink_count(&a.outputs);

		assert_int_equal(queue_room(a.lane, streams[s], 1000, &err), ERR_OK);
		assert_int_equal(
			queue_append(a.lane, streams[s], plain_list(0, 20, BODY), &err), ERR_OK);
		kit_sink_wait(&a.outputs, before + 20);
		for (size_t i = 0; i < 20; i++) {
			struct kit_done done = kit_sink_at(&a.outputs, before + i);

			assert_int_equal(done.result, ERR_OK);
			assert_int_equal(done.number, i);
			assert_int_equal(done.offset, i);
		}
		for (int64_t i = 19; i >= 0; i -= 6) {
			if (queue_lookup(a.lane, streams[s], i, &bytes, &record, &err) != ERR_OK)
				fail_msg("%s", err.text);
			assert_true(is_record(&record, (uint64_t)i, BODY));
			assert_int_equal(record.offset, i);
		}
		assert_int_equal(
			queue_lookup(a.lane, streams[s], 20, &bytes, &record, &err), ERR_NOT_FOUND);
		err_clear(&err);
		queue_stat(a.lane, streams[s], &stat);
		assert_int_equal(stat.end, 20);
		assert_int_equal(stat.appended, 20);
		assert_int_equal(queue_drop_oldest(a.lane, streams[s], &first, &err), ERR_FULL);
		err_clear(&err);
	}
	assert_int_equal(queue_append(a.lane, STREAM_EVENTS, plain_list(0, 0, 0), &err), ERR_OK);
	assert_int_equal(queue_room(a.lane, STREAM_EVENTS, 1, &err), ERR_STOPPED);
	buf_done(&bytes);
	process_close(&a);
}

static void a_record_goes_to_a_topic_of_the_users(struct cluster *c)
{
	struct process a;
	struct err err = ERR_INIT;
	char topic[96];

	(void)snprintf(topic, sizeof(topic), "%s.users", c->topic);
	process_open(&a, c, 'a');
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(
			queue_publish(a.lane, topic, plain_list(i, 1, BODY), &err), ERR_OK);
	kit_sink_wait(&a.outputs, 8);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(kit_sink_at(&a.outputs, i).result, ERR_OK);
	process_close(&a);
}

/* Nothing that was appended is forgotten by a close, even with the broker away. */
static void a_close_completes_what_was_appended(struct cluster *c)
{
	struct kit_sink *outputs;
	struct process a;
	struct err err = ERR_INIT;

	process_open(&a, c, 'a');
	outputs = &a.outputs;
	assert_int_equal(rd_kafka_mock_broker_set_down(c->mock, -1), RD_KAFKA_RESP_ERR_NO_ERROR);
	assert_int_equal(queue_append(a.lane, STREAM_DLQ, plain_list(0, 5, BODY), &err), ERR_OK);
	queue_close(&a.lane);
	assert_int_equal(kit_sink_count(outputs), 5);
	for (size_t i = 0; i < 5; i++)
		assert_int_not_equal(kit_sink_at(outputs, i).result, ERR_OK);
	process_close(&a);
}

BOTH(events_are_read_from_any_offset)
BOTH(an_event_that_is_gone_is_corrupt)
BOTH(positions_and_ends_are_told)
BOTH(outputs_get_offsets_and_can_be_looked_up)
MOCK(a_record_goes_to_a_topic_of_the_users)
MOCK(a_close_completes_what_was_appended)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(events_are_read_from_any_offset),
		ROW(an_event_that_is_gone_is_corrupt),
		ROW(positions_and_ends_are_told),
		ROW(outputs_get_offsets_and_can_be_looked_up),
		ROW(a_record_goes_to_a_topic_of_the_users),
		ROW(a_close_completes_what_was_appended),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
