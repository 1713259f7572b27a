/* kafka_ends.c - where the partitions of the events begin and end: asked for all of them at once,
 * so that many lanes of a process cost one question.
 *
 * Whoever finds the answer too old asks; those that come meanwhile wait for the same answer.
 * Deliberately not here: what one lane has seen of its own (kafka_lane.c). */
#include "kafka_priv.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_MS 2000 /* the beginning moves with retention alone */
#define WAIT_MS 500

struct kafka_ends {
	int32_t count;
	int64_t first_ms, end_ms; /* monotonic: asked then; 0: never */
	bool asking;
	struct {
		int64_t first, end; /* -1: not known */
	} at[];
};

/* For all partitions; those that gave an error are -1. */
static enum err_code ask(struct kafka *kafka, int32_t count, int64_t which, int64_t *out)
{
	const char *topic = kafka->topics[KAFKA_TOPIC_EVENTS];
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
	enum err_code rc;

	for (int32_t i = 0; i < count; i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset = which;
	rc = kafka_err_code(rd_kafka_offsets_for_times(kafka->query, list, WAIT_MS));
	for (int32_t i = 0; i < count && rc == ERR_OK; i++) {
		const rd_kafka_topic_partition_t *p = &list->elems[i];

		assert(p->partition >= 0 && p->partition < count);
		out[p->partition] = p->err == RD_KAFKA_RESP_ERR_NO_ERROR ? p->offset : -1;
	}
	rd_kafka_topic_partition_list_destroy(list);
	return rc;
}

static void ask_all(struct kafka *kafka, struct kafka_ends *ends, bool firsts)
{
	int64_t *first = calloc((size_t)ends->count * 2, sizeof(*first));
	int64_t *end = first ? first + ends->count : NULL;
	const int64_t asked_ms = kafka_now_ms(kafka);
	enum err_code rc = first ? ERR_OK : ERR_NOMEM;

	if (rc == ERR_OK && firsts)
		rc = ask(kafka, ends->count, RD_KAFKA_OFFSET_BEGINNING, first);
	if (rc == ERR_OK)
		rc = ask(kafka, ends->count, RD_KAFKA_OFFSET_END, end);
	if (rc != ERR_OK)
		kafka->silent_until_ms = kafka_now_ms(kafka) + KAFKA_SILENT_MS;
	lock_take(&kafka->lock);
	for (int32_t i = 0; i < ends->count && rc == ERR_OK; i++) {
		ends->at[i].end = end[i];
		if (firsts)
			ends->at[i].first = first[i];
	}
	if (rc == ERR_OK)
		ends->end_ms = asked_ms;
	if (rc == ERR_OK && firsts)
		ends->first_ms = asked_ms;
	ends->asking = false;
	cond_broadcast(&kafka->changed);
	lock_give(&kafka->lock);
	free(first);
}

/* NULL: nothing is settled yet, or no memory. */
static struct kafka_ends *ends_locked(struct kafka *kafka)
{
	lock_assert_held(&kafka->lock);
	if (!kafka->ends && kafka->partitions > 0) {
		const size_t count = (size_t)kafka->partitions;

		kafka->ends = calloc(1, sizeof(*kafka->ends) + count * sizeof(kafka->ends->at[0]));
		if (kafka->ends)
			kafka->ends->count = kafka->partitions;
	}
	return kafka->ends;
}

static bool fresh(const struct kafka_ends *ends, int64_t now_ms, int64_t max_age_ms)
{
	return ends->end_ms != 0 && now_ms - ends->end_ms <= max_age_ms;
}

enum err_code kafka_ends(struct kafka *kafka, int32_t partition, int64_t max_age_ms,
	int64_t *out_first, int64_t *out_end, struct err *err)
{
	const int64_t now_ms = kafka_now_ms(kafka);
	struct kafka_ends *ends;
	bool known = false, firsts, asks = false, in_time = true;

	lock_take(&kafka->lock);
	ends = ends_locked(kafka);
	while (ends && ends->asking && in_time)
		in_time = cond_wait(&kafka->changed, &kafka->lock, now_ms + INT64_C(2) * WAIT_MS);
	asks = ends && in_time && !fresh(ends, now_ms, max_age_ms) &&
	       now_ms >= kafka->silent_until_ms;
	firsts = asks && (ends->first_ms == 0 || now_ms - ends->first_ms >= FIRST_MS);
	if (asks)
		ends->asking = true;
	lock_give(&kafka->lock);
	if (asks)
		ask_all(kafka, ends, firsts);
	lock_take(&kafka->lock);
	if (ends && partition < ends->count && fresh(ends, now_ms, max_age_ms)) {
		*out_first = ends->at[partition].first;
		*out_end = ends->at[partition].end;
		known = *out_first >= 0 && *out_end >= *out_first;
	}
	lock_give(&kafka->lock);
	return known ? ERR_OK
		     : err_set(err, ERR_UNREACHABLE,
			       "%s [%d]: its leader does not say where it ends",
			       kafka->topics[KAFKA_TOPIC_EVENTS], partition);
}
