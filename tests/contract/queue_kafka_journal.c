/* queue_kafka_journal.c - the journal of a lane over Kafka: two handles stand for two processes on
 * one partition. On the library's mock cluster, and where there is a broker also there, but for
 * what needs injected faults. */
#include "support/lane_lab.h"

/* ---- the journal ---- */

static void an_owner_writes_and_others_follow(struct cluster *c)
{
	struct process a, b, late;
	struct journal_read read;
	int64_t offsets[20];

	process_open(&a, c, 'a');
	process_open(&b, c, 'b');
	claim(&a);
	for (int64_t i = 0; i < 20; i++)
		offsets[i] = batch(&a, 100 + i);
	assert_int_equal(
		write_record(&a, JOURNAL_RELEASE, a.state.epoch, a.state.seq + 1, 119, &read),
		ERR_OK);
	(void)fold(&a, &read);
	assert_true(a.state.released);

	assert_int_equal(follow(&b).type, JOURNAL_CLAIM);
	for (int64_t i = 0; i < 20; i++) {
		struct journal_header header = follow(&b);

		assert_int_equal(header.type, JOURNAL_BATCH);
		assert_int_equal(header.next_offset, 100 + i);
	}
	assert_int_equal(follow(&b).type, JOURNAL_RELEASE);
	same_state(&a, &b);
	assert_int_equal(b.next, offsets[19] + 2);
	process_close(&a);

	/* From the middle, with the state of what comes before. */
	process_open(&late, c, 'c');
	late.state = (struct journal_state){ .epoch = 1, .seq = 10 };
	memcpy(late.state.writer, a.writer, WRITER_LEN);
	late.next = offsets[10];
	assert_int_equal(queue_journal_seek(late.lane, offsets[10], &late.state, NULL), ERR_OK);
	assert_int_equal(follow(&late).next_offset, 110);
	catch_up(&late);
	same_state(&late, &b);
	/* And back. */
	late.state = (struct journal_state){ .epoch = 0 };
	late.next = 0;
	assert_int_equal(queue_journal_seek(late.lane, 0, &late.state, NULL), ERR_OK);
	assert_int_equal(follow(&late).type, JOURNAL_CLAIM);
	catch_up(&late);
	same_state(&late, &b);
	process_close(&late);
	process_close(&b);
}

static void a_successor_fences_its_predecessor(struct cluster *c)
{
	struct process a, b;
	struct journal_header header;
	struct journal_read read;

	process_open(&a, c, 'a');
	process_open(&b, c, 'b');
	claim(&a);
	(void)batch(&a, 1);
	catch_up(&b);
	claim(&b);
	(void)batch(&b, 2);
	/* The predecessor knows nothing yet. */
	assert_int_equal(write_record(&a, JOURNAL_BATCH, 1, 2, 3, &read), ERR_FENCED);
	assert_int_equal(write_record(&a, JOURNAL_BATCH, 1, 2, 3, &read), ERR_FENCED);
	header = follow(&a);
	assert_int_equal(header.type, JOURNAL_CLAIM);
	assert_int_equal(header.epoch, 2);
	assert_int_equal(follow(&a).next_offset, 2);
	/* Its record stands in the journal, and nobody believes it. */
	(void)batch(&b, 4);
	assert_int_equal(follow(&a).next_offset, 4);
	same_state(&a, &b);
	/* It may come back. */
	claim(&a);
	(void)batch(&a, 5);
	catch_up(&b);
	same_state(&a, &b);
	process_close(&a);
	process_close(&b);
}

static void the_first_of_two_claims_wins(struct cluster *c)
{
	struct process a, b;
	struct journal_read read;

	process_open(&a, c, 'a');
	process_open(&b, c, 'b');
	claim(&a);
	/* The other has read nothing, and claims the same epoch. */
	assert_int_equal(write_record(&b, JOURNAL_CLAIM, 1, 0, 0, &read), ERR_FENCED);
	assert_int_equal(follow(&b).type, JOURNAL_CLAIM);
	assert_memory_equal(b.state.writer, a.writer, WRITER_LEN);
	(void)batch(&a, 1);
	assert_int_equal(follow(&b).next_offset, 1);
	same_state(&a, &b);
	/* A claim of an epoch that was claimed comes back as lost, even with nothing new to read.
	 */
	assert_int_equal(write_record(&b, JOURNAL_CLAIM, 1, 0, 0, &read), ERR_FENCED);
	/* Its own claim may be overtaken by the last batch of the one before: it is told of both.
	 */
	(void)batch(&a, 2);
	assert_int_equal(write_record(&b, JOURNAL_CLAIM, 2, 0, 0, &read), ERR_FENCED);
	assert_int_equal(follow(&b).next_offset, 2);
	assert_int_equal(follow(&b).type, JOURNAL_CLAIM);
	assert_memory_equal(b.state.writer, b.writer, WRITER_LEN);
	(void)batch(&b, 3);
	process_close(&a);
	process_close(&b);
}

/* Read while an append was waited for, with what fenced that behind it: told in the order of the
 * log, each with the place behind itself. Who stopped between them would begin behind the claim. */
static void a_command_does_not_pass_what_fences(struct cluster *c)
{
	struct process a, b;
	struct journal_read read;
	struct err err = ERR_INIT;

	process_open(&a, c, 'a');
	process_open(&b, c, 'b');
	claim(&a);
	(void)batch(&a, 1);
	catch_up(&b);
	write_raw(c, make(&b, JOURNAL_COMMAND, 0, 0, 0));
	claim(&b);
	assert_int_equal(write_record(&a, JOURNAL_BATCH, 1, 2, 3, &read), ERR_FENCED);
	assert_int_equal(queue_follow(a.lane, kit_now_ms() + KIT_WAIT_MS, &read, &err), ERR_OK);
	assert_int_equal(read.offset, 2);
	assert_int_equal(read.next_offset, 3);
	assert_int_equal(queue_follow(a.lane, kit_now_ms() + KIT_WAIT_MS, &read, &err), ERR_OK);
	assert_int_equal(read.offset, 3);
	assert_int_equal(read.next_offset, 4);
	assert_int_equal(fold(&a, &read).type, JOURNAL_CLAIM);
	same_state(&a, &b);
	process_close(&a);
	process_close(&b);
}

static void what_is_not_valid_is_passed_over(struct cluster *c)
{
	struct metric *ignored = metric_series(METRIC_JOURNAL_IGNORED, NULL, NULL);
	struct process a, b;
	int64_t before;

	process_open(&a, c, 'a');
	process_open(&b, c, 'b');
	claim(&a);
	(void)batch(&a, 1);
	write_raw(c, make(&a, JOURNAL_BATCH, 1, 1, 1)); /* again */
	write_raw(c, make(&a, JOURNAL_BATCH, 1, 3, 3)); /* one is missing */
	write_raw(c, make(&b, JOURNAL_BATCH, 1, 2, 2)); /* of somebody else */
	write_raw(c, make(&b, JOURNAL_CLAIM, 1, 0, 0)); /* too late */
	before = metric_value(ignored);
	assert_int_equal(batch(&a, 2), 6);
	assert_int_equal(metric_value(ignored), before + 4);
	catch_up(&b);
	same_state(&a, &b);
	assert_int_equal(b.next, 7);
	assert_int_equal(metric_value(ignored), before + 8);
	process_close(&a);
	process_close(&b);
}

/* Whoever does not know the state before an offset is given everything from there on. */
static void without_a_state_everything_is_given(struct cluster *c)
{
	static const uint64_t seqs[] = { 1, 1, 3 };
	struct process a, b;
	struct journal_read read;
	struct journal_header header;
	struct err err = ERR_INIT;

	process_open(&a, c, 'a');
	process_open(&b, c, 'b');
	claim(&a);
	(void)batch(&a, 1);
	write_raw(c, make(&a, JOURNAL_BATCH, 1, 1, 1));
	write_raw(c, make(&a, JOURNAL_BATCH, 1, 3, 3));
	assert_int_equal(queue_journal_seek(b.lane, 1, NULL, &err), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(seqs); i++) {
		assert_int_equal(
			queue_follow(b.lane, kit_now_ms() + KIT_WAIT_MS, &read, &err), ERR_OK);
		assert_int_equal(read.offset, 1 + i);
		assert_int_equal(journal_open(read.bytes, &header, &err), ERR_OK);
		assert_int_equal(header.seq, seqs[i]);
	}
	process_close(&a);
	process_close(&b);
}

static void wait_for_end(struct process *p, int64_t want)
{
	const int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
	int64_t first, end = -1;
	struct err err = ERR_INIT;

	while (end < want) {
		assert_int_equal(
			queue_journal_bounds(p->lane, deadline, &first, &end, &err), ERR_OK);
		assert_true(kit_now_ms() < deadline);
		kit_pause();
	}
	assert_int_equal(end, want);
}

static void a_late_answer_makes_copies_that_do_no_harm(struct cluster *c)
{
	struct metric *ignored = metric_series(METRIC_JOURNAL_IGNORED, NULL, NULL);
	const int64_t before = metric_value(ignored);
	struct process a, b;

	property(c, "socket.timeout.ms", "300");
	property(c, "request.timeout.ms", "250");
	process_open(&a, c, 'a');
	claim(&a);
	for (int64_t i = 0; i < 3; i++) {
		const int64_t end = a.next;

		assert_int_equal(rd_kafka_mock_broker_push_request_error_rtts(c->mock, 1,
					 API_PRODUCE, 1, RD_KAFKA_RESP_ERR_NO_ERROR, 4000),
			RD_KAFKA_RESP_ERR_NO_ERROR);
		assert_int_equal(batch(&a, i), end);
		wait_for_end(&a, end + 2); /* the record was read, its answer is awaited in vain */
		assert_int_equal(batch(&a, 100 + i), end + 2);
	}
	process_open(&b, c, 'b');
	catch_up(&b);
	same_state(&a, &b);
	assert_int_equal(b.state.seq, 6);
	assert_int_equal(metric_value(ignored), before + 6); /* three for each of the two */
	process_close(&a);
	process_close(&b);
}

static void an_append_waits_for_a_broker_that_is_away(struct cluster *c)
{
	struct process a;

	process_open(&a, c, 'a');
	claim(&a);
	for (int64_t i = 0; i < 3; i++) {
		rd_kafka_mock_push_request_errors(c->mock, API_PRODUCE, 3,
			RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
			RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT);
		(void)batch(&a, i);
	}
	process_close(&a);
}

struct caller {
	struct process *p;
	struct slice bytes;
	struct thread thread;
	enum err_code rc;
	int64_t ended_ms;
};

static void *call_journal(void *arg)
{
	struct caller *caller = arg;
	struct journal_read read;

	caller->rc = queue_journal(caller->p->lane, caller->bytes, &read, NULL);
	caller->ended_ms = kit_now_ms();
	return NULL;
}

static void *call_follow(void *arg)
{
	struct caller *caller = arg;
	struct journal_read read;

	caller->rc = queue_follow(caller->p->lane, kit_now_ms() + 10 * KIT_WAIT_MS, &read, NULL);
	caller->ended_ms = kit_now_ms();
	return NULL;
}

static void stop_ends_what_waits(struct cluster *c)
{
	struct process a, b;
	struct caller appender = { .p = &a, .rc = ERR_CODES };
	struct caller follower = { .p = &b, .rc = ERR_CODES };
	struct journal_read read;
	struct err err = ERR_INIT;
	int64_t before_ms;

	process_open(&a, c, 'a');
	process_open(&b, c, 'b');
	claim(&a);
	catch_up(&b);
	assert_int_equal(rd_kafka_mock_broker_set_down(c->mock, -1), RD_KAFKA_RESP_ERR_NO_ERROR);
	appender.bytes = make(&a, JOURNAL_BATCH, 1, 1, 1);
	assert_int_equal(
		thread_start(&appender.thread, "append", call_journal, &appender, &err), ERR_OK);
	assert_int_equal(
		thread_start(&follower.thread, "follow", call_follow, &follower, &err), ERR_OK);
	before_ms = kit_now_ms();
	queue_journal_stop(a.lane);
	queue_journal_stop(b.lane);
	thread_join(&appender.thread);
	thread_join(&follower.thread);
	assert_int_equal(appender.rc, ERR_STOPPED);
	assert_int_equal(follower.rc, ERR_STOPPED);
	assert_true(appender.ended_ms < before_ms + KIT_WAIT_MS);
	assert_true(follower.ended_ms < before_ms + KIT_WAIT_MS);
	/* For good. */
	assert_int_equal(queue_follow(b.lane, 0, &read, &err), ERR_STOPPED);
	process_close(&a);
	process_close(&b);
	assert_true(kit_now_ms() < before_ms + KIT_WAIT_MS);
}

static void a_wake_ends_the_wait_of_a_follower(struct cluster *c)
{
	struct process a;
	struct caller follower = { .p = &a, .rc = ERR_CODES };
	struct queue_batch none;
	struct err err = ERR_INIT;
	int64_t before_ms = kit_now_ms();

	process_open(&a, c, 'a');
	/* Whether it comes before or during the wait. */
	assert_int_equal(
		thread_start(&follower.thread, "follow", call_follow, &follower, &err), ERR_OK);
	queue_wake(a.lane, STREAM_EVENTS);
	thread_join(&follower.thread);
	assert_int_equal(follower.rc, ERR_OK);
	queue_wake(a.lane, STREAM_EVENTS);
	assert_int_equal(queue_read(a.lane, STREAM_EVENTS, 0, 10, KIB(1),
				 kit_now_ms() + 10 * KIT_WAIT_MS, &none, &err),
		ERR_OK);
	assert_int_equal(none.count, 0);
	assert_true(follower.ended_ms < before_ms + 2 * KIT_WAIT_MS);
	process_close(&a);
}

static void expect_told_twice(struct process *p, const char *word)
{
	for (int i = 0; i < 2; i++) {
		struct journal_read read;
		struct err err = ERR_INIT;
		enum err_code rc;

		do {
			err_clear(&err);
			rc = queue_follow(p->lane, kit_now_ms() + KIT_WAIT_MS, &read, &err);
		} while (rc == ERR_OK && read.bytes.len > 0);
		assert_int_equal(rc, ERR_CORRUPT);
		if (!strstr(err.text, word))
			fail_msg("\"%s\" does not say %s", err.text, word);
	}
}

static void a_journal_that_lost_records_says_so(struct cluster *c)
{
	static const struct journal_state none;
	struct process a;
	struct journal_read read;

	process_open(&a, c, 'a');
	claim(&a);
	(void)batch(&a, 1);
	assert_int_equal(queue_journal_seek(a.lane, 50, &none, NULL), ERR_OK);
	expect_told_twice(&a, "JOURNAL_TRUNCATED");
	assert_int_equal(write_record(&a, JOURNAL_CLAIM, 9, 0, 0, &read), ERR_CORRUPT);
	/* Where it is whole it can be followed again. */
	a.state = none;
	a.next = 0;
	assert_int_equal(queue_journal_seek(a.lane, 0, &none, NULL), ERR_OK);
	assert_int_equal(follow(&a).type, JOURNAL_CLAIM);
	assert_int_equal(follow(&a).next_offset, 1);
	process_close(&a);
}

/* What retention does, at once. */
static void delete_below(struct cluster *c, int64_t offset)
{
	char name[96], text[256];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_DeleteRecords_t *request;
	rd_kafka_queue_t *queue;
	rd_kafka_event_t *event;
	rd_kafka_t *rk;

	assert_int_equal(
		rd_kafka_conf_set(conf, "bootstrap.servers", c->address, text, sizeof(text)),
		RD_KAFKA_CONF_OK);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	assert_non_null(rk);
	(void)snprintf(name, sizeof(name), "%s.journal", c->topic);
	rd_kafka_topic_partition_list_add(list, name, LANE)->offset = offset;
	request = rd_kafka_DeleteRecords_new(list);
	queue = rd_kafka_queue_new(rk);
	rd_kafka_DeleteRecords(rk, &request, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, KIT_WAIT_MS);
	assert_non_null(event);
	assert_int_equal(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR);
	rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	rd_kafka_DeleteRecords_destroy(request);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_destroy(rk);
}

static void records_that_retention_took_are_missed(struct cluster *c)
{
	struct process a, b;
	int64_t first, end;
	struct err err = ERR_INIT;

	process_open(&a, c, 'a');
	process_open(&b, c, 'b');
	claim(&a);
	for (int64_t i = 1; i <= 5; i++)
		(void)batch(&a, i);
	assert_int_equal(follow(&b).type, JOURNAL_CLAIM);
	/* What was fetched ahead is good, but a new start has to read on from where it stands. */
	assert_int_equal(follow(&b).next_offset, 1);
	delete_below(c, 4);
	assert_int_equal(
		queue_journal_bounds(b.lane, kit_now_ms() + KIT_WAIT_MS, &first, &end, &err),
		ERR_OK);
	assert_int_equal(first, 4);
	assert_int_equal(end, 6);
	assert_int_equal(queue_journal_seek(b.lane, 0, &b.state, &err), ERR_OK);
	assert_int_equal(queue_journal_seek(b.lane, 2, &b.state, &err), ERR_OK);
	expect_told_twice(&b, "JOURNAL_TRUNCATED");
	/* Who has read further does not mind. */
	(void)batch(&a, 6);
	process_close(&a);
	process_close(&b);
}

static void a_damaged_record_stops_everybody(struct cluster *c)
{
	struct process a, b;
	struct journal_read read;

	process_open(&a, c, 'a');
	process_open(&b, c, 'b');
	claim(&a);
	write_raw(c, SLICE_LIT("this is not a batch of state changes"));
	assert_int_equal(write_record(&a, JOURNAL_BATCH, 1, 1, 1, &read), ERR_CORRUPT);
	assert_int_equal(follow(&b).type, JOURNAL_CLAIM);
	expect_told_twice(&b, "record 1");
	process_close(&a);
	process_close(&b);
}

BOTH(an_owner_writes_and_others_follow)
BOTH(a_successor_fences_its_predecessor)
BOTH(the_first_of_two_claims_wins)
BOTH(a_command_does_not_pass_what_fences)
BOTH(what_is_not_valid_is_passed_over)
BOTH(without_a_state_everything_is_given)
MOCK(a_late_answer_makes_copies_that_do_no_harm)
MOCK(an_append_waits_for_a_broker_that_is_away)
MOCK(stop_ends_what_waits)
BOTH(a_wake_ends_the_wait_of_a_follower)
BOTH(a_journal_that_lost_records_says_so)
REAL(records_that_retention_took_are_missed)
BOTH(a_damaged_record_stops_everybody)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(an_owner_writes_and_others_follow),
		ROW(a_successor_fences_its_predecessor),
		ROW(the_first_of_two_claims_wins),
		ROW(a_command_does_not_pass_what_fences),
		ROW(what_is_not_valid_is_passed_over),
		ROW(without_a_state_everything_is_given),
		ROW(a_late_answer_makes_copies_that_do_no_harm),
		ROW(an_append_waits_for_a_broker_that_is_away),
		ROW(stop_ends_what_waits),
		ROW(a_wake_ends_the_wait_of_a_follower),
		ROW(a_journal_that_lost_records_says_so),
		ROW(records_that_retention_took_are_missed),
		ROW(a_damaged_record_stops_everybody),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
