/* worker_topics.c - the handler `topic`: published after the commit, each key in its order whatever
 * fails, again after a crash, never more than may wait. */
#define LAB_FAKE_HANDLER
#include "support/worker_lab.h"

#include "support/crew_house.h"

static const char topic_config[] = LAB_CONFIG(
	"{\"name\": \"out\", \"match\": {}, \"handler\": {\"type\": \"topic\", \"topic\": \"T\"}}",
	"\"queue\": {\"backend\": \"kafka\", \"properties\": {\"bootstrap.servers\": \"b\"}},");

static int64_t published(struct house *h)
{
	int64_t end;

	lock_take(&h->logs[0].lock);
	end = h->logs[0].topics.end;
	lock_give(&h->logs[0].lock);
	return end;
}

static int tries(struct house *h)
{
	int n;

	lock_take(&h->logs[0].lock);
	n = h->logs[0].topic_tries;
	lock_give(&h->logs[0].lock);
	return n;
}

static void set(struct house *h, bool *flag, bool value)
{
	lock_take(&h->logs[0].lock);
	*flag = value;
	lock_give(&h->logs[0].lock);
}

/* The id that a published record carries. */
static void id_at(struct house *h, int64_t at, char out[32])
{
	struct event event;

	assert_true(at < published(h));
	assert_int_equal(
		event_decode(h->logs[0].topics.at[at]->record.headers, &event, NULL), ERR_OK);
	(void)snprintf(out, 32, "%.*s", SLICE_FMT(event.id));
}

static void send(struct house *h, const char *id, const char *entity, const char *version)
{
	(void)house_send(h, 0,
		&(struct lab_event){ .id = id, .entity = entity, .version = version, .body = id });
}

static void the_record_is_published_as_it_is(void **state)
{
	struct house *h = house_open(topic_config);
	struct house_crew *a = house_start(h, 0);
	const struct record *from, *to;

	(void)state;
	house_assign(a, true, true);
	send(h, "a", "x", "2");
	send(h, "b", "x", "1"); /* stale: not published */
	send(h, "a", "x", "2"); /* a copy */
	send(h, "c", NULL, NULL);
	LAB_UNTIL(house_outcome(a, 0, "c") == OUTCOME_APPLIED);
	LAB_UNTIL(published(h) == 2);
	assert_int_equal(house_outcome(a, 0, "b"), OUTCOME_STALE);
	assert_int_equal(house_version(a, 0, "x"), 2);
	from = &h->logs[0].streams[STREAM_EVENTS].at[0]->record;
	to = &h->logs[0].topics.at[0]->record;
	assert_true(slice_eq(from->key, to->key));
	assert_true(slice_eq(from->headers, to->headers));
	assert_true(slice_eq(from->body, to->body));
	house_close(h);
}

/* While one is not answered the next of its key waits, and others go; one that got lost is sent
 * before those behind it. */
static void a_key_keeps_its_order(void **state)
{
	struct house *h = house_open(topic_config);
	struct house_crew *a = house_start(h, 0);
	char id[32], last = 0;

	(void)state;
	set(h, &h->logs[0].topics_hold, true);
	house_assign(a, true, true);
	send(h, "x1", "x", "1");
	send(h, "x2", "x", "2");
	send(h, "y1", "y", "1");
	send(h, "x3", "x", "3");
	LAB_UNTIL(house_outcome(a, 0, "x3") == OUTCOME_APPLIED);
	LAB_UNTIL(published(h) == 2);
	id_at(h, 0, id);
	assert_string_equal(id, "x1");
	id_at(h, 1, id);
	assert_string_equal(id, "y1");
	jq_answer(a->queues[0], ERR_OUTCOME_UNKNOWN); /* there, but nobody knows */
	LAB_UNTIL(published(h) == 4);
	set(h, &h->logs[0].topics_hold, false);
	jq_answer(a->queues[0], ERR_OK);
	LAB_UNTIL(published(h) == 6);
	for (int64_t i = 0; i < 6; i++) {
		id_at(h, i, id);
		if (id[0] != 'x')
			continue;
		assert_true(id[1] >= last);
		last = id[1];
	}
	assert_int_equal(last, '3');
	house_close(h);
}

/* Committed, and the worker is gone before it is published: whoever follows publishes it. */
static void a_successor_publishes_what_is_left(void **state)
{
	struct house *h = house_open(topic_config);
	struct house_crew *a = house_start(h, 0), *b;
	char id[32];

	(void)state;
	set(h, &h->logs[0].topics_away, true);
	house_assign(a, true, true);
	send(h, "a", "x", "1");
	LAB_UNTIL(house_outcome(a, 0, "a") == OUTCOME_APPLIED);
	LAB_UNTIL(tries(h) > 0);
	b = house_start(h, 1);
	house_follows(b, 0);
	journal_log_set(a->queues[0], &a->queues[0]->cut, true);
	LAB_UNTIL(house_owns(b, 0));
	assert_int_equal(published(h), 0);
	set(h, &h->logs[0].topics_away, false);
	LAB_UNTIL(published(h) == 1);
	id_at(h, 0, id);
	assert_string_equal(id, "a");
	journal_log_set(a->queues[0], &a->queues[0]->cut, false);
	LAB_UNTIL(!house_owns(a, 0));
	send(h, "b", "x", "2");
	LAB_UNTIL(published(h) == 2); /* and the first is not published a third time */
	house_close(h);
}

/* Too large for the topic: a dead letter, and the state keeps what it changed. A replay, once the
 * topic takes more, publishes it. */
static void what_a_topic_refuses_is_dead(void **state)
{
	struct house *h = house_open(topic_config);
	struct house_crew *a = house_start(h, 0);
	char id[32];

	(void)state;
	lock_take(&h->logs[0].lock);
	h->logs[0].topics_largest = 4;
	lock_give(&h->logs[0].lock);
	house_assign(a, true, true);
	send(h, "too-long", "x", "1");
	send(h, "ok", "x", "2");
	LAB_UNTIL(house_outcome(a, 0, "too-long") == OUTCOME_DEAD);
	LAB_UNTIL(house_entries(a, 0, OUT_DLQ) == 1);
	LAB_UNTIL(published(h) == 1);
	assert_int_equal(house_outcome(a, 0, "ok"), OUTCOME_APPLIED);
	assert_int_equal(house_version(a, 0, "x"), 2);
	/* Something newer was published since: the replay is stale, as a version rule wants it. */
	assert_int_equal(crew_change(a->crew, 0, CHANGE_REPLAY, OUT_DLQ, 0, NULL), ERR_OK);
	LAB_UNTIL(house_outcome(a, 0, "too-long") == OUTCOME_STALE);
	send(h, "too-long-2", "y", "1");
	LAB_UNTIL(house_entries(a, 0, OUT_DLQ) == 2);
	lock_take(&h->logs[0].lock);
	h->logs[0].topics_largest = 0;
	lock_give(&h->logs[0].lock);
	assert_int_equal(crew_change(a->crew, 0, CHANGE_REPLAY, OUT_DLQ, 1, NULL), ERR_OK);
	LAB_UNTIL(published(h) == 2);
	id_at(h, 1, id);
	assert_string_equal(id, "too-long-2");
	LAB_UNTIL(house_outcome(a, 0, "too-long-2") == OUTCOME_APPLIED);
	house_close(h);
}

#define MANY 6000

/* So many wait for a topic that is away that its route does; then all of them come. */
static void a_topic_that_is_away_holds_its_route(void **state)
{
	struct house *h = house_open(topic_config);
	struct house_crew *a = house_start(h, 0);
	char id[32], entity[32];

	(void)state;
	set(h, &h->logs[0].topics_away, true);
	house_assign(a, true, true);
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(id, sizeof(id), "e%d", i);
		(void)snprintf(entity, sizeof(entity), "x%d", i % 500);
		send(h, id, entity, NULL);
	}
	LAB_UNTIL(crew_ready(a->crew, NULL) == ERR_FULL);
	assert_int_equal(published(h), 0);
	set(h, &h->logs[0].topics_away, false);
	LAB_UNTIL(published(h) == MANY);
	LAB_UNTIL(crew_ready(a->crew, NULL) == ERR_OK);
	assert_int_equal(crew_failed(a->crew, NULL), ERR_OK);
	house_close(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_record_is_published_as_it_is),
		cmocka_unit_test(a_key_keeps_its_order),
		cmocka_unit_test(a_successor_publishes_what_is_left),
		cmocka_unit_test(what_a_topic_refuses_is_dead),
		cmocka_unit_test(a_topic_that_is_away_holds_its_route),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
