/* worker_crew_kafka.c - crews over Kafka itself (the library's mock, or the broker that
 * POSTERN_TEST_KAFKA names): the group assigns, both follow,
 * one leaves and the other goes on. */
#define LAB_FAKE_HANDLER
#include "support/worker_lab.h"

#include "support/lane_lab.h"

#include "postern/crew.h"

#include <signal.h>
#include <sys/wait.h>

static const char call_config[] = LAB_CONFIG(LAB_CALL_ROUTE, "");

struct member {
	struct kafka *kafka;
	struct crew *crew;
	char dir[96];
};

static void member_open(struct member *m, struct cluster *c, struct lab *lab, char name)
{
	struct crew_opts opts = { .dir = m->dir,
		.partitions = PARTITIONS,
		.clock = clock_system(),
		.map_bytes = (int64_t)MIB(1) };
	struct config_report report = { .count = 0 };
	struct err err = ERR_INIT;

	(void)snprintf(m->dir, sizeof(m->dir), "%s/%c", lab->dir, name);
	m->kafka = kafka_new(c);
	opts.kafka = m->kafka;
	if (crew_open(lab->config, &opts, &m->crew, &report, &err) != ERR_OK ||
		crew_start(m->crew, &err) != ERR_OK)
		fail_msg("%s", err.text);
	config_report_done(&report);
}

static void member_close(struct member *m)
{
	crew_stop(m->crew, lab_mono_ms() + 5000);
	crew_close(&m->crew);
	kafka_close(&m->kafka);
}

static size_t owned(struct member *m)
{
	size_t n = 0;

	for (int32_t i = 0; i < PARTITIONS; i++) {
		struct lane_info info;

		crew_lane(m->crew, i, &info);
		n += info.state == LANE_OWNED;
	}
	return n;
}

static bool applied(struct member *m, const char *id)
{
	uint8_t id16[ID16_LEN];
	bool found = false;

	lab_id16("shop", id, id16);
	for (int32_t i = 0; i < PARTITIONS && !found; i++) {
		struct store_view *view = NULL;
		struct item_seen seen;

		if (crew_view(m->crew, i, &view, NULL) != ERR_OK)
			return false;
		found = store_view_seen(view, id16, &seen, NULL) == ERR_OK &&
			seen.outcome == OUTCOME_APPLIED;
		store_view_close(&view);
	}
	return found;
}

static void sent(void *ctx, struct record *list)
{
	_Atomic int *count = ctx;

	while (list) {
		/* Counted, it may be gone. */
		list = list->next;
		(*count)++;
	}
}

static void send_events(struct kafka *kafka, struct lab *lab, int from, int to)
{
	struct queue *ingress = NULL;
	_Atomic int count = 0;

	assert_int_equal(queue_kafka_ingress(kafka, sent, &count, &ingress, NULL), ERR_OK);
	for (int i = from; i < to; i++) {
		char id[32], digest[65];
		struct lab_event e = { .id = id, .entity = id };
		struct buf headers = BUF_INIT(EVENT_HEADERS_MAX), key = BUF_INIT(EVENT_KEY_MAX + 1);
		struct record record = { .body = SLICE_LIT("{}") };
		struct event event;

		(void)snprintf(id, sizeof(id), "done%d", i);
		event = lab_decode(lab, &e, digest);
		assert_int_equal(event_encode(&event, &headers, NULL), ERR_OK);
		assert_int_equal(event_key(&event, false, &key, NULL), ERR_OK);
		record.headers = buf_slice(&headers);
		record.key = buf_slice(&key);
		assert_int_equal(queue_append(ingress, STREAM_EVENTS, &record, NULL), ERR_OK);
		LAB_UNTIL(count == i - from + 1);
		assert_int_equal(record.result, ERR_OK);
		buf_done(&headers);
		buf_done(&key);
	}
	queue_close(&ingress);
}

static void wait_applied(struct member *m, int from, int to)
{
	for (int i = from; i < to; i++) {
		char id[32];

		(void)snprintf(id, sizeof(id), "done%d", i);
		LAB_UNTIL(applied(m, id));
		assert_int_equal(lab_calls_of(id), 1);
	}
}

/* Where the state is not known every record is given: that is how a checkpoint is found. */
static void looks_into_the_middle(struct cluster *c)
{
	const struct kafka_lane_opts opts = { .partition = LANE, .outputs_done = kit_sink_put };
	struct kafka *kafka = kafka_new(c);
	struct queue *lane = NULL;
	int64_t first, end;

	assert_int_equal(queue_kafka_lane(kafka, &opts, &lane, NULL), ERR_OK);
	assert_int_equal(
		queue_journal_bounds(lane, lab_mono_ms() + 5000, &first, &end, NULL), ERR_OK);
	assert_true(end > 3);
	for (int64_t at = 1; at < 3; at++) {
		struct journal_read read;
		struct journal_header header;

		assert_int_equal(queue_journal_seek(lane, at, NULL, NULL), ERR_OK);
		do
			assert_int_equal(
				queue_follow(lane, lab_mono_ms() + 5000, &read, NULL), ERR_OK);
		while (read.bytes.len == 0);
		assert_int_equal(read.offset, at);
		assert_int_equal(journal_open(read.bytes, &header, NULL), ERR_OK);
		assert_int_equal(header.checkpoint_offset, at);
	}
	queue_close(&lane);
	kafka_close(&kafka);
}

static void one_works_alone(struct cluster *c)
{
	struct lab *lab = lab_new(call_config);
	struct member a;

	for (int life = 0; life < 2; life++) {
		member_open(&a, c, lab, 'a');
		LAB_UNTIL(owned(&a) == PARTITIONS);
		send_events(a.kafka, lab, 40 * life, 40 * life + 40);
		wait_applied(&a, 0, 40 * life + 40);
		assert_int_equal(crew_failed(a.crew, NULL), ERR_OK);
		member_close(&a);
		lab_remove(a.dir); /* and from nothing again */
	}
	looks_into_the_middle(c);
	lab_close(lab);
}

static void one_leaves_and_the_other_goes_on(struct cluster *c)
{
	struct lab *lab = lab_new(call_config);
	struct member a, b;

	member_open(&a, c, lab, 'a');
	LAB_UNTIL(owned(&a) == PARTITIONS);
	send_events(a.kafka, lab, 0, 40);
	wait_applied(&a, 0, 40);
	member_open(&b, c, lab, 'b');
	LAB_UNTIL(owned(&b) > 0 && owned(&a) + owned(&b) == PARTITIONS);
	send_events(a.kafka, lab, 40, 80);
	wait_applied(&a, 0, 80);
	wait_applied(&b, 0, 80);
	member_close(&a);
	LAB_UNTIL(owned(&b) == PARTITIONS);
	send_events(b.kafka, lab, 80, 100);
	wait_applied(&b, 0, 100);
	assert_int_equal(crew_failed(b.crew, NULL), ERR_OK);
	member_close(&b);
	lab_close(lab);
}

static size_t of_others(struct member *m)
{
	size_t n = 0;

	for (int32_t i = 0; i < PARTITIONS; i++) {
		struct lane_info info;

		crew_lane(m->crew, i, &info);
		n += info.state == LANE_FOLLOWING && info.owner[0] != '\0';
	}
	return n;
}

/* Nobody waits for the group to notice. */
static void an_owner_is_killed(struct cluster *c)
{
	struct lab *lab = lab_new(call_config);
	struct member a, b;
	int64_t killed_ms;
	const pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		member_open(&a, c, lab, 'a');
		for (;;)
			(void)pause();
	}
	member_open(&b, c, lab, 'b');
	/* All of them are ours until the other one is there. */
	LAB_UNTIL(owned(&b) > 0 && of_others(&b) > 0 && owned(&b) + of_others(&b) == PARTITIONS);
	send_events(b.kafka, lab, 0, 40);
	for (int i = 0; i < 40; i++) {
		char id[32];

		(void)snprintf(id, sizeof(id), "done%d", i);
		LAB_UNTIL(applied(&b, id));
	}
	LAB_UNTIL(of_others(&b) > 0);
	killed_ms = lab_mono_ms();
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	LAB_UNTIL(owned(&b) == PARTITIONS);
	print_message("taken over after %lld ms\n", (long long)(lab_mono_ms() - killed_ms));
	send_events(b.kafka, lab, 40, 80);
	wait_applied(&b, 40, 80);
	member_close(&b);
	lab_close(lab);
}

static void on_the_mock(void **state)
{
	struct cluster c;

	(void)state;
	mock_open(&c);
	/* Its groups do not live through a second member. */
	one_works_alone(&c);
	cluster_close(&c);
}

static void on_a_broker(void **state)
{
	struct cluster c;

	(void)state;
	if (!real_open(&c))
		skip();
	one_works_alone(&c);
	name_topic(&c);
	one_leaves_and_the_other_goes_on(&c);
	name_topic(&c);
	an_owner_is_killed(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_the_mock),
		cmocka_unit_test(on_a_broker),
	};

	return lab_run(tests);
}
