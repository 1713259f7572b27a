/* spool_kit.h - a spool over librdkafka's mock cluster, for its tests: opened, closed and opened
 * again, with a broker that goes and comes and a clock that is turned. Included by test programs
 * only. */
#pragma once

#include "kafka_kit.h"

#include "../../src/queue/kafka_spool.h"

#include <stdatomic.h>

#define BODY 100
#define KEYS 7

/* Wall time that a test can turn; deadlines are the system's. */
struct turned_clock {
	struct clock clock;
	atomic_llong ahead_ms;
};

static inline int64_t turned_wall_ms(const struct clock *clock)
{
	struct turned_clock *turned =
		(struct turned_clock *)(uintptr_t)clock; /* its first member */

	return clock_system()->wall_ms(clock_system()) + atomic_load(&turned->ahead_ms);
}

static inline int64_t turned_mono_ms(const struct clock *clock)
{
	(void)clock;
	return clock_system()->mono_ms(clock_system());
}

static inline int64_t turned_mono_ns(const struct clock *clock)
{
	(void)clock;
	return clock_system()->mono_ns(clock_system());
}

struct house {
	struct kafka_kit kit;
	struct kit_sink sink;
	struct turned_clock clock;
	struct spool_opts opts;
	struct queue *queue;
	char *dir;
};

static inline void house_options(struct house *h)
{
	h->clock.clock = (struct clock){ turned_wall_ms, turned_mono_ms, turned_mono_ns };
	atomic_init(&h->clock.ahead_ms, 0);
	h->opts = (struct spool_opts){
		.dir = h->dir,
		.max_bytes = MIB(64),
		.segment_bytes = MIB(1),
		.max_age_ms = 86400000,
		.done = kit_sink_put,
		.ctx = &h->sink,
		.clock = &h->clock.clock,
	};
}

static inline void house_init_at(struct house *h, char *dir, int brokers)
{
	kafka_kit_init(&h->kit, brokers);
	kafka_kit_topics(&h->kit);
	h->kit.opts.delivery_timeout_ms = 1500;
	h->kit.opts.spools = true;
	h->dir = dir;
	house_options(h);
}

static inline void house_init(struct house *h)
{
	house_init_at(h, kit_dir(), 1);
}

static inline void house_open(struct house *h)
{
	struct err err = ERR_INIT;

	kit_sink_init(&h->sink);
	kafka_kit_open(&h->kit);
	if (queue_spool_open(h->kit.kafka, &h->opts, &h->queue, &err) != ERR_OK)
		fail_msg("%s", err.text);
}

/* What the process holds goes; directory and cluster stay. */
static inline void house_close(struct house *h)
{
	queue_close(&h->queue);
	kafka_close(&h->kit.kafka);
	kit_sink_done(&h->sink);
}

static inline void house_done(struct house *h)
{
	house_close(h);
	kafka_kit_done(&h->kit);
	kit_dir_done(h->dir);
}

static inline void kafka_down(struct house *h)
{
	(void)rd_kafka_mock_broker_set_down(h->kit.cluster, -1);
}

static inline void kafka_up(struct house *h)
{
	(void)rd_kafka_mock_broker_set_up(h->kit.cluster, -1);
}

static inline void append_as(struct house *h, uint64_t number, size_t count, bool spools)
{
	struct record *list = kafka_kit_list(number, count, BODY, KEYS);
	struct err err = ERR_INIT;

	for (struct record *r = list; r; r = r->next)
		r->spools = spools;
	if (queue_append(h->queue, STREAM_EVENTS, list, &err) != ERR_OK)
		fail_msg("%s", err.text);
}

static inline void append(struct house *h, uint64_t number, size_t count)
{
	append_as(h, number, count, true);
}

static inline void expect_results(struct house *h, size_t from, size_t count, enum err_code result)
{
	kit_sink_wait(&h->sink, from + count);
	for (size_t i = from; i < from + count; i++)
		assert_int_equal(kit_sink_at(&h->sink, i).result, result);
}

static inline struct spool_stat stat_of(struct house *h)
{
	struct spool_stat stat;

	queue_spool_stat(h->queue, &stat);
	return stat;
}

static inline void pause_ms(int64_t ms)
{
	const int64_t until = kit_now_ms() + ms;

	while (kit_now_ms() < until)
		kit_pause();
}

static inline void wait_drained(struct house *h)
{
	const int64_t deadline = kit_now_ms() + KIT_WAIT_MS;

	while (stat_of(h).records > 0 && kit_now_ms() < deadline)
		kit_pause();
	assert_int_equal(stat_of(h).records, 0);
}

static inline void wait_away(struct house *h, bool is_away)
{
	const int64_t deadline = kit_now_ms() + KIT_WAIT_MS;

	while (stat_of(h).is_away != is_away && kit_now_ms() < deadline)
		kit_pause();
	assert_int_equal(stat_of(h).is_away, is_away);
}

/* ---- what is on the topic ---- */

/* Every number below count is there, in order. Gives back how many copies there were. */
static inline size_t expect_all(struct house *h, size_t count)
{
	struct kafka_found *found = calloc(1, sizeof(*found));
	size_t messages = kafka_kit_messages(&h->kit);

	assert_non_null(found);
	kafka_kit_look_for(&h->kit, messages, BODY, found);
	assert_false(found->out_of_order);
	for (size_t i = 0; i < count; i++)
		assert_true(found->times[i] >= 1);
	free(found);
	return messages - count;
}
