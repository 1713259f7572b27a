/* kafka_topics.h - between the files that look after topics: settings, and questions through the
 * Admin API. */
#pragma once

#include "kafka_priv.h"

/* A question of the Admin API: opened, sent by the caller, waited for, read, closed. */
struct kafka_question {
	rd_kafka_AdminOptions_t *options;
	rd_kafka_queue_t *queue;
	rd_kafka_event_t *event;
	int64_t deadline_ms;
};
MUST_CHECK enum err_code kafka_question_open(struct kafka *kafka, rd_kafka_admin_op_t op,
	int64_t deadline_ms, struct kafka_question *out, struct err *err);
/* ERR_OK: there is an answer, whose parts may have errors of their own. */
MUST_CHECK enum err_code kafka_question_wait(
	struct kafka *kafka, struct kafka_question *question, const char *what, struct err *err);
void kafka_question_close(struct kafka_question *question);

/* What a topic is created with. */
MUST_CHECK enum err_code kafka_settings_put(struct kafka *kafka, enum kafka_topic which,
	int replicas, rd_kafka_NewTopic_t *topic, struct err *err);
/* Are the first so many topics set as they must be? Brokers that do not tell are believed. */
MUST_CHECK enum err_code kafka_settings_check(
	struct kafka *kafka, size_t topics, int64_t deadline_ms, struct err *err);
