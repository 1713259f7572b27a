/* kafka_stream.c - a topic that others write, read as a member of a consumer group.
 *
 *   joined --ASSIGN--> begin each partition: where the group stands, or at its start or end
 *      ^                    |
 *      +------REVOKE--------+     what was passed is committed now and then, and at a revocation
 *
 * The group's positions are the only memory: whatever was read and not passed is read again, by
 * this process or another. A gap between records is normal (compaction, transactions); records that
 * retention dropped before they were read are counted as lost. Records of transactions that were
 * given up are not read. Deliberately not here: what a record means. */
#include "kafka_priv.h"

#include <assert.h>
#include <stdlib.h>

#define COMMIT_MS 1000
#define ASK_MS 5000
#define TRIES 3
#define LEAVE_MS 2000
#define POLL_MS 100

struct part {
	int64_t next;   /* wanted; -1: not known */
	int64_t passed; /* to be committed; -1: nothing */
};

/* All of it belongs to the thread that reads: the library calls back inside its polls. */
struct kafka_stream {
	struct kafka *kafka;
	struct kafka_hook hook;
	rd_kafka_t *rk;
	char *topic;
	bool from_end;
	struct part *parts;
	int32_t part_count;
	int64_t commit_ms;
};

static struct kafka_stream *stream_of(void *hook)
{
	return container_of((struct kafka_hook *)hook, struct kafka_stream, hook);
}

/* Topics of others may grow. NULL: no memory. */
static struct part *part_of(struct kafka_stream *s, int32_t partition)
{
	if (partition >= s->part_count) {
		const int32_t count = partition + 1;
		struct part *grown = reallocarray(s->parts, (size_t)count, sizeof(s->parts[0]));

		if (!grown)
			return NULL;
		for (int32_t i = s->part_count; i < count; i++)
			grown[i] = (struct part){ -1, -1 };
		s->parts = grown;
		s->part_count = count;
	}
	return &s->parts[partition];
}

/* ---- positions ---------------------------------------------------------------------- */

static void commit(struct kafka_stream *s)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(s->part_count);

	for (int32_t i = 0; i < s->part_count; i++) {
		if (s->parts[i].passed < 0)
			continue;
		rd_kafka_topic_partition_list_add(list, s->topic, i)->offset = s->parts[i].passed;
		s->parts[i].passed = -1;
	}
	/* Without a look at the outcome: the next one says more, and in the end something is read
	 * twice. */
	if (list->cnt > 0)
		(void)rd_kafka_commit(s->rk, list, 1);
	rd_kafka_topic_partition_list_destroy(list);
	s->commit_ms = kafka_now_ms(s->kafka) + COMMIT_MS;
}

void kafka_stream_passed(struct kafka_stream *s, int32_t partition, int64_t offset)
{
	assert(partition >= 0 && partition < s->part_count);
	/* Others may have it by now. */
	if (s->parts[partition].next >= 0)
		s->parts[partition].passed = offset + 1;
}

static void committed(struct kafka_stream *s, rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__FAIL;

	for (int i = 0; i < TRIES && code != RD_KAFKA_RESP_ERR_NO_ERROR; i++)
		code = rd_kafka_committed(s->rk, list, ASK_MS);
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
		return;
	/* Not to be taken for a group that never read: the library asks again by itself. */
	for (int i = 0; i < list->cnt; i++)
		list->elems[i].offset = RD_KAFKA_OFFSET_STORED;
}

/* The first time: the place is written down before anything is read, so that a crash does not move
 * it. */
static int64_t first_place(struct kafka_stream *s, int32_t partition, struct part *part)
{
	int64_t first, end;

	if (kafka_watermarks(s->kafka, s->topic, partition, kafka_now_ms(s->kafka) + ASK_MS, &first,
		    &end, NULL) != ERR_OK)
		return s->from_end ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING;
	part->passed = s->from_end ? end : first;
	log_info("stream_begins", log_str("topic", s->topic), log_int("partition", partition),
		log_int("offset", part->passed));
	return part->passed;
}

static void assigned(struct kafka_stream *s, rd_kafka_topic_partition_list_t *list)
{
	committed(s, list);
	for (int i = 0; i < list->cnt; i++) {
		rd_kafka_topic_partition_t *one = &list->elems[i];
		struct part *part = part_of(s, one->partition);

		if (!part)
			continue;
		*part = (struct part){ -1, -1 };
		if (one->offset == RD_KAFKA_OFFSET_INVALID)
			one->offset = first_place(s, one->partition, part);
		if (one->offset >= 0)
			part->next = one->offset;
	}
	(void)rd_kafka_assign(s->rk, list);
	commit(s);
}

static void rebalanced(rd_kafka_t *rk, rd_kafka_resp_err_t code,
	rd_kafka_topic_partition_list_t *list, void *opaque)
{
	struct kafka_stream *s = stream_of(opaque);

	if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		assigned(s, list);
		return;
	}
	if (!rd_kafka_assignment_lost(rk))
		commit(s);
	for (int32_t i = 0; i < s->part_count; i++)
		s->parts[i] = (struct part){ -1, -1 };
	(void)rd_kafka_assign(rk, NULL);
}

/* ---- reading ------------------------------------------------------------------------ */

/* What stood between the place that was wanted and the partition's beginning of now. */
static int64_t lost_before(
	struct kafka_stream *s, const struct part *part, int32_t partition, int64_t offset)
{
	int64_t first = 0, end = 0, upto;

	if (part->next < 0 || offset <= part->next ||
		rd_kafka_get_watermark_offsets(s->rk, s->topic, partition, &first, &end) !=
			RD_KAFKA_RESP_ERR_NO_ERROR)
		return 0;
	upto = first < offset ? first : offset;
	if (upto <= part->next)
		return 0;
	log_error("stream_lost", log_str("topic", s->topic), log_int("partition", partition),
		log_int("from", part->next), log_int("to", upto),
		log_str("text", "retention dropped records before they were read"));
	return upto - part->next;
}

static enum err_code take(struct kafka_stream *s, rd_kafka_message_t *message,
	struct kafka_stream_record *out, struct err *err)
{
	struct part *part = part_of(s, message->partition);
	size_t size = 0;
	bool readable;

	if (!part)
		return err_set(err, ERR_NOMEM, "no memory for a partition");
	readable = kafka_block_size(message, &size);
	out->block = malloc(readable ? size : 1);
	if (!out->block)
		return err_set(err, ERR_NOMEM, "no memory for a record");
	out->message = message;
	out->partition = message->partition;
	kafka_record(message, readable ? out->block : NULL, &out->record);
	out->lost = lost_before(s, part, message->partition, message->offset);
	part->next = message->offset + 1;
	return ERR_OK;
}

static enum err_code trouble(
	const struct kafka_stream *s, rd_kafka_message_t *message, struct err *err)
{
	const rd_kafka_resp_err_t code = message->err;
	char text[KAFKA_TEXT_MAX];

	if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		return ERR_OK;
	kafka_text(&s->kafka->opts, rd_kafka_message_errstr(message), text);
	return err_set(err, kafka_err_code(code), "%s: %s", s->topic, text);
}

enum err_code kafka_stream_read(struct kafka_stream *s, int64_t deadline_ms,
	struct kafka_stream_record *out, struct err *err)
{
	rd_kafka_message_t *message;
	enum err_code rc;

	*out = (struct kafka_stream_record){ .partition = -1 };
	if (kafka_now_ms(s->kafka) >= s->commit_ms)
		commit(s);
	message = rd_kafka_consumer_poll(s->rk, kafka_left_ms(s->kafka, deadline_ms));
	if (!message)
		return ERR_OK;
	rc = message->err == RD_KAFKA_RESP_ERR_NO_ERROR ? take(s, message, out, err)
							: trouble(s, message, err);
	if (!out->message)
		rd_kafka_message_destroy(message);
	return rc;
}

void kafka_stream_release(struct kafka_stream_record *record)
{
	if (record->message)
		rd_kafka_message_destroy(record->message);
	free(record->block);
	*record = (struct kafka_stream_record){ .partition = -1 };
}

/* ---- open and close ----------------------------------------------------------------- */

static enum err_code join(struct kafka_stream *s, const char *group, struct err *err)
{
	/* Unlike what is postern's own: transactions of others hold, and retention goes on. */
	static const struct {
		const char *name, *value; /* NULL: the group */
	} rows[] = {
		{ "group.id", NULL },
		{ "isolation.level", "read_committed" },
		{ "auto.offset.reset", "earliest" },
	};
	rd_kafka_topic_partition_list_t *topics;
	rd_kafka_conf_t *conf;
	rd_kafka_resp_err_t code;
	enum err_code rc = kafka_conf_new(s->kafka, KAFKA_KIND_STREAM, &s->hook, &conf, err);

	if (rc != ERR_OK)
		return rc;
	rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *value = rows[i].value ? rows[i].value : group;

		if (rd_kafka_conf_set(conf, rows[i].name, value, NULL, 0) == RD_KAFKA_CONF_OK)
			continue;
		rd_kafka_conf_destroy(conf);
		return err_set(err, ERR_CONFIG, "\"%s\" is no %s", value, rows[i].name);
	}
	rc = kafka_handle_new(s->kafka, KAFKA_KIND_STREAM, conf, &s->rk, err);
	if (rc != ERR_OK)
		return rc;
	(void)rd_kafka_poll_set_consumer(s->rk);
	topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(topics, s->topic, RD_KAFKA_PARTITION_UA);
	code = rd_kafka_subscribe(s->rk, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	return code == RD_KAFKA_RESP_ERR_NO_ERROR ? ERR_OK : kafka_err(err, code, s->topic);
}

enum err_code kafka_stream_open(struct kafka *kafka, const struct kafka_stream_opts *opts,
	struct kafka_stream **out, struct err *err)
{
	struct kafka_stream *s = calloc(1, sizeof(*s));
	enum err_code rc = ERR_OK;

	if (!s)
		return err_set(err, ERR_NOMEM, "no memory for a stream");
	s->kafka = kafka;
	s->hook = (struct kafka_hook){ .kafka = kafka, .name = "stream" };
	s->from_end = opts->from_end;
	s->topic = slice_dup_str(slice_str(opts->topic));
	if (!s->topic)
		rc = err_set(err, ERR_NOMEM, "no memory for a stream");
	if (rc == ERR_OK)
		rc = join(s, opts->group, err);
	if (rc != ERR_OK)
		kafka_stream_close(&s);
	*out = s;
	return rc;
}

/* The library waits for answers that a broker may never give; we do not. */
static void leave(struct kafka_stream *s)
{
	const int64_t deadline_ms = kafka_now_ms(s->kafka) + LEAVE_MS;
	rd_kafka_queue_t *queue = rd_kafka_queue_new(s->rk);
	rd_kafka_error_t *error;

	commit(s);
	error = rd_kafka_consumer_close_queue(s->rk, queue);
	if (error)
		rd_kafka_error_destroy(error);
	while (!error && !rd_kafka_consumer_closed(s->rk) && kafka_now_ms(s->kafka) < deadline_ms) {
		rd_kafka_message_t *message = rd_kafka_consume_queue(queue, POLL_MS);

		if (message)
			rd_kafka_message_destroy(message);
	}
	rd_kafka_queue_destroy(queue);
}

void kafka_stream_close(struct kafka_stream **stream)
{
	struct kafka_stream *s = *stream;

	*stream = NULL;
	if (!s)
		return;
	if (s->rk) {
		leave(s);
		rd_kafka_destroy_flags(s->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	}
	free(s->parts);
	free(s->topic);
	free(s);
}
