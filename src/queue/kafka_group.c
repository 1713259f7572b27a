/* kafka_group.c - membership in the group: a suggestion of who should own which lane.
 *
 *   joined --ASSIGN--> told --REVOKE (others join or leave)--> still told --ASSIGN--> told anew
 *                       |
 *                       +--lost (we were too slow)--> told: nothing
 *
 * The member fetches nothing: an assignment is acknowledged with an empty list (acknowledged with
 * none at all the member would hang the group at its next change). A revocation that belongs to a
 * change of the group is not passed on, because ownership is decided by the journal: whoever keeps
 * its lanes until the next assignment spares everybody a hand-over of all that stays where it is.
 * Positions are committed for those who watch the group's lag, and never read back. */
#include "kafka_lane.h"

#include <stdlib.h>
#include <string.h>

#define POLL_MS 100
#define COMMIT_MS 1000
#define LEAVE_MS 2000
#define QUIET_MS 7000 /* after a failure; by then the cluster has been looked at */

struct kafka_group {
	struct kafka *kafka;
	struct kafka_hook hook;
	kafka_group_fn *changed;
	void *ctx;
	int32_t partitions;
	rd_kafka_t *rk;
	struct thread thread;
	bool *owned, *told; /* the group thread's */
	int64_t commit_ms, failed_ms;
	bool has_failed;
	struct lock lock;
	bool stopping;      /* guarded by lock, as the rest */
	int64_t *positions; /* -1: not known */
	bool *moved;
};

static struct kafka_group *group_of(void *hook)
{
	return container_of((struct kafka_hook *)hook, struct kafka_group, hook);
}

/* ---- the assignment ---- */

static void tell(struct kafka_group *group)
{
	const size_t size = (size_t)group->partitions * sizeof(bool);

	if (memcmp(group->owned, group->told, size) == 0)
		return;
	memcpy(group->told, group->owned, size);
	group->changed(group->ctx, group->told, group->partitions);
}

static void take(struct kafka_group *group, const rd_kafka_topic_partition_list_t *list)
{
	memset(group->owned, 0, (size_t)group->partitions * sizeof(bool));
	for (int i = 0; list && i < list->cnt; i++) {
		const rd_kafka_topic_partition_t *one = &list->elems[i];

		if (one->partition >= 0 && one->partition < group->partitions &&
			strcmp(one->topic, group->kafka->topics[KAFKA_TOPIC_EVENTS]) == 0)
			group->owned[one->partition] = true;
	}
}

static void assigned(struct kafka_group *group, const rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_topic_partition_list_t *nothing = rd_kafka_topic_partition_list_new(0);

	(void)rd_kafka_assign(group->rk, nothing);
	rd_kafka_topic_partition_list_destroy(nothing);
	take(group, list);
	tell(group);
}

static void revoked(struct kafka_group *group)
{
	const bool lost = rd_kafka_assignment_lost(group->rk);

	(void)rd_kafka_assign(group->rk, NULL);
	if (!lost)
		return;
	take(group, NULL);
	tell(group);
}

static void rebalanced(rd_kafka_t *rk, rd_kafka_resp_err_t code,
	rd_kafka_topic_partition_list_t *list, void *opaque)
{
	struct kafka_group *group = group_of(opaque);

	(void)rk;
	if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
		assigned(group, list);
	else
		revoked(group);
}

/* ---- positions ---- */

void kafka_group_position(struct kafka_group *group, int32_t partition, int64_t position)
{
	if (partition < 0 || partition >= group->partitions || position < 0)
		return;
	lock_take(&group->lock);
	group->moved[partition] =
		group->moved[partition] || group->positions[partition] != position;
	group->positions[partition] = position;
	lock_give(&group->lock);
}

void kafka_group_hint(struct kafka *kafka, int32_t partition, int64_t position)
{
	/* The lock keeps the group open meanwhile. */
	lock_take(&kafka->lock);
	if (kafka->group)
		kafka_group_position(kafka->group, partition, position);
	lock_give(&kafka->lock);
}

static rd_kafka_topic_partition_list_t *moved(struct kafka_group *group)
{
	rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new(group->partitions);

	lock_take(&group->lock);
	for (int32_t i = 0; i < group->partitions; i++) {
		if (!group->moved[i])
			continue;
		group->moved[i] = false;
		rd_kafka_topic_partition_list_add(list, group->kafka->topics[KAFKA_TOPIC_EVENTS], i)
			->offset = group->positions[i];
	}
	lock_give(&group->lock);
	return list;
}

/* Inside the group thread's polls. */
static void on_failed(struct kafka_hook *hook, rd_kafka_resp_err_t code, const char *reason)
{
	struct kafka_group *group = group_of(hook);

	(void)code;
	(void)reason;
	group->has_failed = true;
	group->failed_ms = kafka_now_ms(group->kafka);
}

/* A commit that meets no broker stays open for as long as a session, and so does the handle. */
static bool may_commit(struct kafka_group *group)
{
	if (group->has_failed && kafka_now_ms(group->kafka) - group->failed_ms < QUIET_MS)
		return false;
	return !kafka_is_away(group->kafka);
}

/* Without a look at the outcome: the next one says more than this one did. */
static void commit(struct kafka_group *group)
{
	rd_kafka_topic_partition_list_t *list;

	if (!may_commit(group))
		return;
	list = moved(group);
	if (list->cnt > 0)
		(void)rd_kafka_commit(group->rk, list, 1);
	rd_kafka_topic_partition_list_destroy(list);
	group->commit_ms = kafka_now_ms(group->kafka) + COMMIT_MS;
}

/* ---- the thread ---- */

static bool stopping(struct kafka_group *group)
{
	bool answer;

	lock_take(&group->lock);
	answer = group->stopping;
	lock_give(&group->lock);
	return answer;
}

static void drop(rd_kafka_message_t *message)
{
	if (message)
		rd_kafka_message_destroy(message);
}

/* The library waits for answers that a broker may never give; we do not. */
static void leave(struct kafka_group *group)
{
	const int64_t deadline_ms = kafka_now_ms(group->kafka) + LEAVE_MS;
	rd_kafka_queue_t *queue = rd_kafka_queue_new(group->rk);
	rd_kafka_error_t *error = rd_kafka_consumer_close_queue(group->rk, queue);

	if (error)
		rd_kafka_error_destroy(error);
	else
		while (!rd_kafka_consumer_closed(group->rk) &&
			kafka_now_ms(group->kafka) < deadline_ms)
			drop(rd_kafka_consume_queue(queue, POLL_MS));
	rd_kafka_queue_destroy(queue);
}

static void *run(void *arg)
{
	struct kafka_group *group = arg;

	while (!stopping(group)) {
		drop(rd_kafka_consumer_poll(group->rk, POLL_MS));
		if (kafka_now_ms(group->kafka) >= group->commit_ms)
			commit(group);
	}
	commit(group);
	leave(group);
	return NULL;
}

/* ---- open and close ---- */

static enum err_code join(struct kafka_group *group, struct err *err)
{
	rd_kafka_topic_partition_list_t *topics;
	rd_kafka_conf_t *conf;
	rd_kafka_resp_err_t code;
	enum err_code rc;

	rc = kafka_conf_new(group->kafka, KAFKA_KIND_CONTROL, &group->hook, &conf, err);
	if (rc != ERR_OK)
		return rc;
	rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
	rc = kafka_handle_new(group->kafka, KAFKA_KIND_CONTROL, conf, &group->rk, err);
	if (rc != ERR_OK)
		return rc;
	(void)rd_kafka_poll_set_consumer(group->rk);
	topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(
		topics, group->kafka->topics[KAFKA_TOPIC_EVENTS], RD_KAFKA_PARTITION_UA);
	code = rd_kafka_subscribe(group->rk, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	return code == RD_KAFKA_RESP_ERR_NO_ERROR ? ERR_OK : kafka_err(err, code, "join the group");
}

static void free_group(struct kafka_group *group)
{
	if (group->rk)
		rd_kafka_destroy_flags(group->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	lock_done(&group->lock);
	free(group->owned);
	free(group->told);
	free(group->moved);
	free(group->positions);
	free(group);
}

static enum err_code new_group(
	struct kafka *kafka, int32_t partitions, struct kafka_group **out, struct err *err)
{
	struct kafka_group *group = calloc(1, sizeof(*group));
	const size_t count = (size_t)partitions;

	if (!group)
		return err_set(err, ERR_NOMEM, "no memory for a group");
	lock_init(&group->lock);
	group->kafka = kafka;
	group->hook = (struct kafka_hook){ .kafka = kafka, .name = "group", .failed = on_failed };
	group->partitions = partitions;
	group->owned = calloc(count, sizeof(bool));
	group->told = calloc(count, sizeof(bool));
	group->moved = calloc(count, sizeof(bool));
	group->positions = calloc(count, sizeof(int64_t));
	if (!group->owned || !group->told || !group->moved || !group->positions) {
		free_group(group);
		return err_set(err, ERR_NOMEM, "no memory for a group");
	}
	for (size_t i = 0; i < count; i++)
		group->positions[i] = -1;
	*out = group;
	return ERR_OK;
}

static void publish(struct kafka *kafka, struct kafka_group *group)
{
	lock_take(&kafka->lock);
	kafka->group = group;
	lock_give(&kafka->lock);
}

enum err_code kafka_group_open(struct kafka *kafka, kafka_group_fn *changed, void *ctx,
	struct kafka_group **out, struct err *err)
{
	const int32_t partitions = kafka_partition_count(kafka);
	struct kafka_group *group = NULL;
	enum err_code rc;

	if (partitions <= 0)
		return err_set(
			err, ERR_UNREACHABLE, "how many partitions there are is not known yet");
	rc = new_group(kafka, partitions, &group, err);
	if (rc != ERR_OK)
		return rc;
	group->changed = changed;
	group->ctx = ctx;
	rc = join(group, err);
	if (rc == ERR_OK)
		rc = thread_start(&group->thread, "kafka-group", run, group, err);
	if (rc != ERR_OK) {
		free_group(group);
		return rc;
	}
	publish(kafka, group);
	*out = group;
	return ERR_OK;
}

void kafka_group_close(struct kafka_group **group)
{
	struct kafka_group *g = *group;

	if (!g)
		return;
	publish(g->kafka, NULL);
	lock_take(&g->lock);
	g->stopping = true;
	lock_give(&g->lock);
	thread_join(&g->thread);
	free_group(g);
	*group = NULL;
}
