/* queue_kafka_group.c - membership in the group: who is told of which lanes, and positions for
 * those who watch. */
#include "support/lane_lab.h"

#define AWAY_CLOSE_MS 2500 /* a session is 3000 */

struct member {
	struct kafka *kafka;
	struct kafka_group *group;
	struct lock lock;
	struct cond changed;
	bool owned[PARTITIONS]; /* guarded by lock, as the rest */
	unsigned calls;
};

static void on_change(void *ctx, const bool *owned, int32_t partitions)
{
	struct member *m = ctx;

	lock_take(&m->lock);
	if (partitions == PARTITIONS)
		memcpy(m->owned, owned, sizeof(m->owned));
	m->calls++;
	cond_broadcast(&m->changed);
	lock_give(&m->lock);
}

/* The mock lets a change of the group take as long as a session. */
static void shorten_sessions(struct cluster *c)
{
	if (!c->rk)
		return;
	property(c, "session.timeout.ms", "3000");
	property(c, "heartbeat.interval.ms", "200");
}

static void member_open(struct member *m, struct cluster *c)
{
	struct err err = ERR_INIT;

	*m = (struct member){ .kafka = kafka_new(c) };
	lock_init(&m->lock);
	cond_init(&m->changed);
	if (kafka_group_open(m->kafka, on_change, m, &m->group, &err) != ERR_OK)
		fail_msg("%s", err.text);
}

static void member_close(struct member *m)
{
	kafka_group_close(&m->group);
	assert_null(m->group);
	kafka_close(&m->kafka);
	cond_done(&m->changed);
	lock_done(&m->lock);
}

static size_t count_owned(struct member *m)
{
	size_t count = 0;

	for (size_t i = 0; i < PARTITIONS; i++)
		count += m->owned[i];
	return count;
}

static void wait_for_owned(struct member *m, size_t want)
{
	const int64_t deadline = kit_now_ms() + 2 * KIT_WAIT_MS;
	size_t count;

	lock_take(&m->lock);
	while (count_owned(m) != want && cond_wait(&m->changed, &m->lock, deadline))
		;
	count = count_owned(m);
	lock_give(&m->lock);
	assert_int_equal(count, want);
}

static int64_t committed(struct cluster *c, int32_t partition)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	int64_t offset = -1;
	rd_kafka_t *rk;

	assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", c->address, NULL, 0),
		RD_KAFKA_CONF_OK);
	assert_int_equal(rd_kafka_conf_set(conf, "group.id", "workers", NULL, 0), RD_KAFKA_CONF_OK);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
	assert_non_null(rk);
	rd_kafka_topic_partition_list_add(list, c->topic, partition);
	if (rd_kafka_committed(rk, list, 5000) == RD_KAFKA_RESP_ERR_NO_ERROR)
		offset = list->elems[0].offset;
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_destroy(rk);
	return offset;
}

static void members_share_the_lanes(struct cluster *c)
{
	const int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
	struct member a, b;

	shorten_sessions(c);
	member_open(&a, c);
	wait_for_owned(&a, PARTITIONS);
	member_open(&b, c);
	wait_for_owned(&b, PARTITIONS / 2);
	wait_for_owned(&a, PARTITIONS / 2);
	for (size_t i = 0; i < PARTITIONS; i++)
		assert_true(a.owned[i] != b.owned[i]);
	/* Once all, once half: a change of the group is no moment without lanes. */
	assert_int_equal(a.calls, 2);
	kafka_group_position(a.group, 1, 41);
	kafka_group_position(a.group, 1, 42);
	kafka_group_position(a.group, PARTITIONS, 7); /* there is none such */
	while (committed(c, 1) != 42)
		assert_true(kit_now_ms() < deadline);
	member_close(&b);
	wait_for_owned(&a, PARTITIONS);
	member_close(&a);
}

static void a_member_leaves_though_the_broker_is_away(struct cluster *c)
{
	struct member a;
	int64_t before_ms;

	shorten_sessions(c);
	member_open(&a, c);
	wait_for_owned(&a, PARTITIONS);
	assert_int_equal(rd_kafka_mock_broker_set_down(c->mock, -1), RD_KAFKA_RESP_ERR_NO_ERROR);
	before_ms = kit_now_ms();
	while (!kafka_is_away(a.kafka)) {
		assert_true(kit_now_ms() < before_ms + KIT_WAIT_MS);
		kit_pause();
	}
	/* What nobody can take does not hold it up for as long as a session lasts. */
	before_ms = kit_now_ms();
	kafka_group_position(a.group, 0, 5);
	kafka_group_close(&a.group);
	assert_true(kit_now_ms() < before_ms + AWAY_CLOSE_MS);
	member_close(&a);
}

BOTH(members_share_the_lanes)
MOCK(a_member_leaves_though_the_broker_is_away)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(members_share_the_lanes),
		ROW(a_member_leaves_though_the_broker_is_away),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
