/* queue_kafka_topics.c - topics while a cluster is starting, against librdkafka's mock cluster: its
 * first broker answers before any is registered, and before it has the topics.
 *
 * The mock always has brokers; what the library is told of them is taken away here. */
#include "support/kafka_kit.h"

#include <dlfcn.h>
#include <stdatomic.h>

static atomic_bool is_bare; /* no broker is told of, and no topic */

/* In place of the library's own. */
rd_kafka_resp_err_t rd_kafka_metadata(rd_kafka_t *rk, int all_topics, rd_kafka_topic_t *only_rkt,
	const struct rd_kafka_metadata **out, int timeout_ms)
{
	rd_kafka_resp_err_t (*own)(
		rd_kafka_t *, int, rd_kafka_topic_t *, const struct rd_kafka_metadata **, int);
	rd_kafka_resp_err_t code;

	*(void **)&own = dlsym(RTLD_NEXT, "rd_kafka_metadata");
	assert_non_null(own);
	code = own(rk, all_topics, only_rkt, out, timeout_ms);
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR && atomic_load(&is_bare)) {
		struct rd_kafka_metadata *told = (struct rd_kafka_metadata *)(uintptr_t)*out;

		told->broker_cnt = 0;
		for (int i = 0; i < told->topic_cnt; i++) {
			told->topics[i].partition_cnt = 0;
			told->topics[i].err = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
		}
	}
	return code;
}

static void no_broker_yet_is_a_trouble_that_passes(void **state)
{
	struct err err = ERR_INIT;
	struct kafka_kit kit;
	int32_t partitions = 0;

	(void)state;
	kafka_kit_init(&kit, 1);
	kafka_kit_topics(&kit);
	kit.opts.create_topics = true;
	kafka_kit_open(&kit);
	atomic_store(&is_bare, true);
	assert_int_equal(kafka_settle(kit.kafka, 0, kit_now_ms() + KIT_WAIT_MS, &partitions, &err),
		ERR_UNREACHABLE);
	assert_non_null(strstr(err.text, KIT_TOPIC));
	err_clear(&err);
	assert_int_equal(kafka_ready(kit.kafka, &err), ERR_UNREACHABLE);
	atomic_store(&is_bare, false);
	kafka_kit_settle(&kit);
	atomic_store(&is_bare, true);
	err_clear(&err);
	assert_int_equal(kafka_user_topic(kit.kafka, "elsewhere", kit_now_ms() + KIT_WAIT_MS, &err),
		ERR_UNREACHABLE);
	atomic_store(&is_bare, false);
	kafka_kit_done(&kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_broker_yet_is_a_trouble_that_passes),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("queue_kafka_topics", tests, NULL, NULL);
}
