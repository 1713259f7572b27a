/* topics.c - outputs to topics of the user's: one line for each topic.
 *
 *   OUT in a batch -> committed -> in line -> queue_publish() -> NOTE_OUT -> OUTOK in a later batch
 *                                    ^  one of a key at a time       |
 *                                    +--- not there: again later ----+--- too large: dead letter
 *
 * Of one key the next is sent when the one before is there, so that no failure changes their order.
 * A record may stand there twice (a crash, a lost answer), under the same id. A topic that says
 * "too large" may mean the company in which a record came: it is sent alone before it is believed.
 * The state keeps what such an event changed; its outcome becomes dead, and a replay publishes it.
 * Deliberately not here: the lines of dead letters and quarantine (outs.c). */
#include "worker_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define RETRY_MS 1000
#define LINE_MAX 4096 /* outputs that wait: then the routes to this topic do */
#define LINE_BYTES MIB(16)
#define LOOK_MAX 256 /* outputs of a line that are looked at in one go */
#define REFUSALS_MAX 3

/* Those that wait for an earlier one of their key, or of another key with the same number. */
struct passed {
	uint8_t key[TOPIC_KEYS];
};

uint16_t worker_topic_key(struct slice key)
{
	return (uint16_t)(hash_bytes(key.data, key.len) % TOPIC_KEYS);
}

struct topic_line *worker_topic_line(struct worker *w, struct slice topic)
{
	struct topic_line *line;

	for (line = w->outs.topics; line; line = line->next) {
		if (slice_eq_str(topic, line->name))
			return line;
	}
	line = calloc(1, sizeof(*line) + topic.len + 1);
	if (!line) {
		worker_break(w, &(struct err){ ERR_NOMEM, "no memory for a topic" });
		return NULL;
	}
	memcpy(line->name, topic.data, topic.len);
	STAILQ_INIT(&line->list);
	line->next = w->outs.topics;
	w->outs.topics = line;
	return line;
}

bool worker_topic_full(const struct topic_line *line)
{
	return line->count >= LINE_MAX || line->bytes >= LINE_BYTES;
}

/* ---- it will never be published ----------------------------------------------------- */

static void add_dead_letter(
	struct worker *w, const struct out_work *out, const struct item_seen *seen, const char *why)
{
	const struct route *route = seen ? worker_table_number(w->table, seen->route) : NULL;
	const char *name = route ? route->name : "";
	struct item item = { .type = ITEM_OUT,
		.out = { .offset = out->offset,
			.n = out->n + 1,
			.target = OUT_DLQ,
			.reason = ERR_HANDLER_REFUSED,
			.key = out->record.key,
			.headers = out->record.headers,
			.body = out->record.body } };
	const struct dead_letter dead = { .reason = slice_str(err_name(ERR_HANDLER_REFUSED)),
		.route = slice_str(name),
		.error = slice_str(why),
		.attempts = seen ? seen->attempts : 1,
		.topic = slice_str(w->table->config->queue.topic),
		.partition = w->tenure.partition,
		.offset = out->offset,
		.first_failed_ms = w->wall_ms,
		.last_failed_ms = w->wall_ms };

	buf_reset(&w->marked);
	if (event_dead_letter(out->record.headers, &dead, &w->marked, NULL) == ERR_OK)
		item.out.headers = buf_slice(&w->marked);
	memcpy(item.out.id16, out->id16, ID16_LEN);
	log_warn("output_refused", log_str("topic", out->line->name), log_str("text", why),
		log_str("route", name), log_int("offset", out->offset));
	metric_add(metric_series(METRIC_DEAD_LETTERS, name, err_name(ERR_HANDLER_REFUSED)), 1);
	worker_batch_add(w, &item);
	if (!w->broken)
		worker_outs_add(w, &item.out);
}

/* Its outcome becomes dead, as far as it is remembered. */
static void give_up(struct worker *w, struct out_work *out)
{
	struct item item = { .type = ITEM_SEEN };
	struct err err = ERR_INIT;
	enum err_code rc = store_seen(w->store, out->id16, &item.seen, &err);
	const bool known = rc == ERR_OK && item.seen.offset == out->offset;
	char why[ERR_TEXT_MAX];

	if (rc != ERR_OK && rc != ERR_NOT_FOUND) {
		worker_break(w, &err);
		return;
	}
	worker_batch_split(w);
	worker_outs_ok(w, out, -1);
	if (known) {
		item.seen.outcome = OUTCOME_DEAD;
		item.seen.code = ERR_HANDLER_REFUSED;
		worker_batch_add(w, &item);
	}
	(void)snprintf(why, sizeof(why), "topic %.200s takes no record of %zu bytes",
		out->line->name, out->size);
	add_dead_letter(w, out, known ? &item.seen : NULL, why);
}

/* ---- publishing --------------------------------------------------------------------- */

static void put_back(struct worker *w, struct topic_line *line, struct out_work *out)
{
	STAILQ_INSERT_HEAD(&line->list, out, link);
	line->retry_ms = w->mono_ms + RETRY_MS;
}

static void fails(struct topic_line *line, enum err_code code, const char *text)
{
	if (!line->failing)
		log_warn("output_delayed", log_code(code), log_str("topic", line->name),
			log_str("text", text));
	line->failing = true;
}

/* From the list already. False: this topic takes nothing now. */
static bool publish(struct worker *w, struct topic_line *line, struct out_work *out)
{
	struct err err = ERR_INIT;
	enum err_code rc = worker_outs_fetch(w, out, &err);

	if (rc != ERR_OK) {
		put_back(w, line, out);
		worker_break(w, &err);
		return false;
	}
	w->abroad++;
	rc = queue_publish(w->queue, line->name, &out->record, &err);
	if (rc == ERR_OK) {
		line->flying++;
		line->flies[out->key] = 1;
		line->alone = out->refusals > 0;
		return true;
	}
	w->abroad--;
	if (rc == ERR_LIMIT) {
		give_up(w, out);
		worker_outs_drop(out);
		return !w->broken;
	}
	if (err_action(rc) == ACT_STOP)
		worker_break(w, &err);
	fails(line, rc, err.text);
	put_back(w, line, out);
	return false;
}

/* Those that may go, in order; the others keep their places. */
static void publish_line(struct worker *w, struct topic_line *line)
{
	struct passed passed = { .key = { 0 } };
	struct out_work *out = STAILQ_FIRST(&line->list), *next;

	for (size_t i = 0; out && i < LOOK_MAX && !line->alone; i++, out = next) {
		if (line->flying >= WORKER_OUTS_MAX || (out->refusals > 0 && line->flying > 0))
			return;
		next = STAILQ_NEXT(out, link);
		if (line->flies[out->key] || passed.key[out->key]) {
			passed.key[out->key] = 1;
			continue;
		}
		STAILQ_REMOVE(&line->list, out, out_work, link);
		if (!publish(w, line, out))
			return;
	}
}

void worker_topics_publish(struct worker *w)
{
	for (struct topic_line *line = w->outs.topics; line && !w->broken; line = line->next) {
		if (w->mono_ms >= line->retry_ms && !STAILQ_EMPTY(&line->list))
			publish_line(w, line);
	}
}

/* Whatever is on its way reports, and is looked behind then. */
int64_t worker_topics_next_ms(const struct worker *w)
{
	int64_t next = INT64_MAX;

	for (const struct topic_line *line = w->outs.topics; line; line = line->next) {
		if (!STAILQ_EMPTY(&line->list) &&
			(line->flying == 0 || line->retry_ms > w->mono_ms))
			next = worker_sooner(next, line->retry_ms);
	}
	return next;
}

static void is_there(struct worker *w, struct topic_line *line, struct out_work *out)
{
	if (line->failing)
		log_info("output_resumed", log_str("topic", line->name));
	line->failing = false;
	worker_outs_ok(w, out, out->record.offset);
	worker_outs_drop(out);
}

void worker_topic_finished(struct worker *w, struct out_work *out)
{
	struct topic_line *line = out->line;

	assert(line->flying > 0 && line->flies[out->key]);
	line->flying--;
	line->flies[out->key] = 0;
	line->alone = false;
	if (out->record.result == ERR_OK) {
		is_there(w, line, out);
	} else if (out->record.result == ERR_LIMIT && ++out->refusals > REFUSALS_MAX) {
		give_up(w, out);
		worker_outs_drop(out);
	} else {
		/* There or not: a second copy can be known by its id, a lost one cannot be
		 * mended. */
		fails(line, out->record.result, err_title(out->record.result));
		put_back(w, line, out);
		if (out->record.result == ERR_LIMIT)
			line->retry_ms = w->mono_ms;
	}
}
