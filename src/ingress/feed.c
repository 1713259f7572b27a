/* feed.c - see feed.h: the threads that read topics of others.
 *
 *   gather some records -> admit each -> append all, wait -> all there? their places are passed
 *                                            ^                 | no
 *                                            +-- from the first that is not there, in order
 *
 * Deliberately not here: what an event is (admit.c), and membership in groups (queue room). */
#include "admit.h"

#include "postern/feed.h"
#include "postern/json.h"
#include "postern/log.h"
#include "postern/metrics.h"
#include "postern/text.h"
#include "postern/thread.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define RECORDS 256 /* that are on their way together */
#define BYTES MIB(4)
#define READ_MS 200
#define AGAIN_MS 500
#define TOLD_MS 10000
#define OWN_HEADERS 4 /* where a record stood, as headers that a mapping can read */
#define GROUP_MAX 400

struct feed;
struct feed_item {
	struct feed *feed;
	struct kafka_stream_record from;
	struct admission admission;
};
struct feed {
	struct feeds *feeds;
	char *name, *topic;
	struct kafka_stream *stream; /* the thread's, as what follows */
	struct thread thread;
	struct admit_tools tools;
	struct feed_item items[RECORDS];
	size_t count;
	int64_t told_ms;

	struct lock lock;
	struct cond changed;
	/* all guarded by lock */
	struct config *config;
	struct scheme *scheme;
	size_t awaited; /* records that the queue has */
	bool stopping;
	int64_t records, lost;
	struct err waits; /* why nothing is read or appended; ERR_OK: it is */
};
struct feeds {
	struct feed_ports ports;
	const struct clock *clock;
	struct queue *queue;
	size_t count;
	struct feed **list;
};

static int64_t now_ms(const struct feed *f)
{
	return f->feeds->clock->mono_ms(f->feeds->clock);
}

/* ---- waiting ------------------------------------------------------------------------ */

static bool stopping(struct feed *f)
{
	bool stop;

	lock_take(&f->lock);
	stop = f->stopping;
	lock_give(&f->lock);
	return stop;
}

static void nap(struct feed *f)
{
	const int64_t until_ms = now_ms(f) + AGAIN_MS;

	lock_take(&f->lock);
	while (!f->stopping && cond_wait(&f->changed, &f->lock, until_ms))
		;
	lock_give(&f->lock);
}

/* What goes on failing is told now and then. */
static void waits(struct feed *f, const struct err *err)
{
	lock_take(&f->lock);
	f->waits = *err;
	lock_give(&f->lock);
	if (f->told_ms == 0 || now_ms(f) - f->told_ms >= TOLD_MS) {
		f->told_ms = now_ms(f);
		log_warn("stream_waits", log_str("source", f->name), log_code(err->code),
			log_str("text", err->text));
	}
	nap(f);
}

static void goes_on(struct feed *f)
{
	lock_take(&f->lock);
	f->waits = ERR_INIT;
	lock_give(&f->lock);
}

/* ---- one record becomes an event ---------------------------------------------------- */

/* The same each time that it is read: a copy is known by it where it has no id. */
static void mark(
	const struct feed *f, const struct kafka_stream_record *from, struct admit_request *rq)
{
	char place[64];
	uint8_t digest[32];
	struct slice pieces[2] = { slice_str(f->topic), SLICE_EMPTY };

	(void)snprintf(
		place, sizeof(place), " %d %lld", from->partition, (long long)from->record.offset);
	pieces[1] = slice_str(place);
	crypto_digest(CRYPTO_SHA256, pieces, ARRAY_LEN(pieces), digest);
	memcpy(rq->attempt, digest, ATTEMPT_LEN);
	memcpy(rq->trace, digest + sizeof(digest) - TRACE_RANDOM, TRACE_RANDOM);
}

/* The record's own, and where it stood; of equal names ours is the one that counts. */
static size_t put_headers(
	const struct kafka_stream_record *from, const struct header *own, struct header *out)
{
	struct header header;
	size_t at = 0, count = 0;

	while (count < EVENT_HEADER_COUNT_MAX &&
		event_header_next(from->record.headers, &at, &header)) {
		bool hidden = false;

		for (size_t i = 0; i < OWN_HEADERS; i++)
			hidden |= slice_eq_nocase(header.name, own[i].name);
		if (!hidden)
			out[count++] = header;
	}
	for (size_t i = 0; i < OWN_HEADERS; i++) {
		if (own[i].value.len > 0)
			out[count++] = own[i];
	}
	return count;
}

static void admit_locked(struct feed *f, struct feed_item *item)
{
	const struct kafka_stream_record *from = &item->from;
	char id[48], partition[16], offset[24];
	const struct header own[OWN_HEADERS] = {
		{ SLICE_LIT("kafka-topic"), slice_str(f->topic) },
		{ SLICE_LIT("kafka-partition"), { (const uint8_t *)partition, 0 } },
		{ SLICE_LIT("kafka-offset"), { (const uint8_t *)offset, 0 } },
		{ SLICE_LIT("kafka-key"), from->record.key },
	};
	struct header names[OWN_HEADERS], headers[EVENT_HEADER_COUNT_MAX + OWN_HEADERS];
	struct admit_request rq = { .source = config_source(f->config, slice_str(f->name)),
		.scheme = f->scheme,
		.http = { .method = SLICE_LIT("POST"),
			.headers = headers,
			.body = from->record.body },
		.now_ms = f->feeds->clock->wall_ms(f->feeds->clock) };

	(void)snprintf(partition, sizeof(partition), "%d", from->partition);
	(void)snprintf(offset, sizeof(offset), "%lld", (long long)from->record.offset);
	(void)snprintf(id, sizeof(id), "%s.%s", partition, offset);
	memcpy(names, own, sizeof(names));
	names[1].value = slice_str(partition);
	names[2].value = slice_str(offset);
	rq.http.header_count = put_headers(from, names, headers);
	rq.request_id = slice_str(id);
	mark(f, from, &rq);
	if (from->record.body.len > CONFIG_KAFKA_BODY_MAX)
		admit_without_body(&rq, &f->tools, &item->admission);
	else
		admit_whole(&rq, &f->tools, &item->admission);
}

/* False without memory: later. */
static bool admit(struct feed *f, struct feed_item *item)
{
	lock_take(&f->lock);
	admission_reset(&item->admission);
	admit_locked(f, item);
	lock_give(&f->lock);
	item->admission.record.owner = item;
	assert(!item->admission.is_split); /* such a source has no items */
	return item->admission.next == ADMIT_APPEND;
}

/* ---- batches ------------------------------------------------------------------------ */

static void gather(struct feed *f)
{
	const struct feed_ports *ports = &f->feeds->ports;
	int64_t deadline_ms = now_ms(f) + READ_MS;
	size_t bytes = 0;

	while (f->count < RECORDS && bytes < BYTES) {
		struct feed_item *item = &f->items[f->count];
		struct err err = ERR_INIT;

		if (ports->read(f->stream, deadline_ms, &item->from, &err) != ERR_OK) {
			if (f->count == 0)
				waits(f, &err);
			return;
		}
		if (item->from.partition < 0)
			return;
		deadline_ms = 0;
		bytes += item->from.record.body.len + item->from.record.headers.len;
		f->count++;
	}
}

/* On the queue's thread. */
static void appended(void *ctx, struct record *list)
{
	(void)ctx;
	while (list) {
		struct feed_item *item = list->owner;
		struct feed *f = item->feed;

		list = list->next;
		lock_take(&f->lock);
		if (--f->awaited == 0)
			cond_broadcast(&f->changed);
		lock_give(&f->lock);
	}
}

static enum err_code append(struct feed *f, size_t from, struct err *err)
{
	enum err_code rc;

	for (size_t i = from; i < f->count; i++)
		f->items[i].admission.record.next =
			i + 1 < f->count ? &f->items[i + 1].admission.record : NULL;
	lock_take(&f->lock);
	f->awaited = f->count - from;
	lock_give(&f->lock);
	rc = queue_append(f->feeds->queue, STREAM_EVENTS, &f->items[from].admission.record, err);
	lock_take(&f->lock);
	if (rc != ERR_OK)
		f->awaited = 0;
	while (f->awaited > 0)
		(void)cond_wait(&f->changed, &f->lock, -1);
	lock_give(&f->lock);
	return rc;
}

/* The first that is not surely there, or the count of all. */
static size_t first_missing(const struct feed *f, size_t from, struct err *err)
{
	for (size_t i = from; i < f->count; i++) {
		const enum err_code result = f->items[i].admission.record.result;

		if (result == ERR_OK)
			continue;
		err_ignored(err_set(err, result, "%s", err_title(result)));
		return i;
	}
	return f->count;
}

/* What follows one that is missing is appended behind it once more, so that the order stays. False:
 * it is to stop. */
static bool make_durable(struct feed *f)
{
	size_t from = 0;

	while (from < f->count) {
		struct err err = ERR_INIT;

		if (append(f, from, &err) == ERR_OK)
			from = first_missing(f, from, &err);
		if (from == f->count)
			break;
		if (stopping(f))
			return false;
		waits(f, &err);
	}
	return true;
}

static void admit_all(struct feed *f)
{
	for (size_t i = 0; i < f->count; i++) {
		while (!admit(f, &f->items[i])) {
			struct err err = { ERR_NOMEM, "no memory for an event" };

			if (stopping(f))
				break;
			waits(f, &err);
		}
		if (f->items[i].admission.next != ADMIT_APPEND)
			break; /* it stops: nothing is appended */
	}
}

static void passed(struct feed *f)
{
	int64_t lost = 0;

	for (size_t i = 0; i < f->count; i++) {
		const struct feed_item *item = &f->items[i];
		const char *code = err_name(item->admission.code);

		f->feeds->ports.passed(f->stream, item->from.partition, item->from.record.offset);
		metric_add(metric_series(METRIC_STREAM_RECORDS, f->name, code), 1);
		lost += item->from.lost;
	}
	metric_add(metric_series(METRIC_STREAM_LOST, f->name, NULL), lost);
	lock_take(&f->lock);
	f->records += (int64_t)f->count;
	f->lost += lost;
	lock_give(&f->lock);
	goes_on(f);
}

static bool all_admitted(const struct feed *f)
{
	for (size_t i = 0; i < f->count; i++) {
		if (f->items[i].admission.next != ADMIT_APPEND)
			return false;
	}
	return true;
}

static void *run(void *arg)
{
	struct feed *f = arg;

	while (!stopping(f)) {
		gather(f);
		admit_all(f);
		if (f->count > 0 && all_admitted(f) && make_durable(f))
			passed(f);
		for (size_t i = 0; i < f->count; i++)
			f->feeds->ports.release(&f->items[i].from);
		f->count = 0;
	}
	f->feeds->ports.close(&f->stream);
	return NULL;
}

/* ---- open and close ----------------------------------------------------------------- */

static enum err_code open_kafka_stream(
	void *ctx, const struct kafka_stream_opts *opts, struct kafka_stream **out, struct err *err)
{
	return kafka_stream_open(ctx, opts, out, err);
}

static enum err_code open_kafka_queue(
	void *ctx, queue_done_fn *done, void *done_ctx, struct queue **out, struct err *err)
{
	return queue_kafka_ingress(ctx, done, done_ctx, out, err);
}

static struct feed_ports ports_of(const struct feeds_opts *opts)
{
	if (opts->ports)
		return *opts->ports;
	return (struct feed_ports){ .ctx = opts->kafka,
		.open = open_kafka_stream,
		.read = kafka_stream_read,
		.release = kafka_stream_release,
		.passed = kafka_stream_passed,
		.close = kafka_stream_close,
		.open_queue = open_kafka_queue };
}

/* Every series exists at 0 from the start. */
static void open_series(const char *source)
{
	static const enum err_code codes[] = { ERR_OK, ERR_MALFORMED_BODY, ERR_MISSING_EVENT_ID,
		ERR_TOO_LARGE };

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		(void)metric_series(METRIC_STREAM_RECORDS, source, err_name(codes[i]));
	(void)metric_series(METRIC_STREAM_LOST, source, NULL);
}

static void free_feed(struct feed *f)
{
	for (size_t i = 0; i < RECORDS; i++)
		admission_done(&f->items[i].admission);
	admit_tools_done(&f->tools);
	scheme_close(&f->scheme);
	config_unref(&f->config);
	cond_done(&f->changed);
	lock_done(&f->lock);
	free(f->name);
	free(f->topic);
	free(f);
}

static struct feed *new_feed(struct feeds *feeds, const struct source_config *source)
{
	struct feed *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->feeds = feeds;
	f->name = slice_dup_str(slice_str(source->name));
	f->topic = slice_dup_str(slice_str(source->stream.topic));
	f->tools = ADMIT_TOOLS_INIT;
	lock_init(&f->lock);
	cond_init(&f->changed);
	for (size_t i = 0; i < RECORDS; i++) {
		f->items[i].feed = f;
		f->items[i].admission = ADMISSION_INIT;
	}
	return f;
}

static enum err_code open_one(struct feeds *feeds, struct config *config,
	const struct source_config *source, struct config_report *report, struct err *err)
{
	struct feed *f = new_feed(feeds, source);
	char group[GROUP_MAX];
	struct kafka_stream_opts opts = { .group = group,
		.topic = source->stream.topic,
		.from_end = source->stream.start == STREAM_START_LATEST };
	enum err_code rc;

	if (!f)
		return err_set(err, ERR_NOMEM, "no memory for a stream");
	feeds->list[feeds->count++] = f;
	if (!f->name || !f->topic)
		return err_set(err, ERR_NOMEM, "no memory for a stream");
	open_series(f->name);
	f->config = config_ref(config);
	(void)snprintf(group, sizeof(group), "%s.%s", config->queue.group, f->name);
	rc = scheme_open(source, &f->scheme, report, err);
	if (rc == ERR_OK)
		rc = feeds->ports.open(feeds->ports.ctx, &opts, &f->stream, err);
	return rc == ERR_OK ? thread_start(&f->thread, "stream", run, f, err) : rc;
}

enum err_code feeds_open(struct config *config, const struct feeds_opts *opts, struct feeds **out,
	struct config_report *report, struct err *err)
{
	struct feeds *feeds = calloc(1, sizeof(*feeds));
	enum err_code rc = ERR_OK;

	if (feeds)
		feeds->list = calloc(config->source_count + 1, sizeof(struct feed *));
	if (!feeds || !feeds->list) {
		free(feeds);
		return err_set(err, ERR_NOMEM, "no memory for streams");
	}
	feeds->ports = ports_of(opts);
	feeds->clock = opts->clock;
	rc = feeds->ports.open_queue(feeds->ports.ctx, appended, feeds, &feeds->queue, err);
	for (size_t i = 0; i < config->source_count && rc == ERR_OK; i++) {
		if (config->sources[i].stream.topic)
			rc = open_one(feeds, config, &config->sources[i], report, err);
	}
	if (rc != ERR_OK)
		feeds_close(&feeds);
	*out = feeds;
	return rc;
}

void feeds_stop(struct feeds *feeds)
{
	if (!feeds)
		return;
	for (size_t i = 0; i < feeds->count; i++) {
		lock_take(&feeds->list[i]->lock);
		feeds->list[i]->stopping = true;
		cond_broadcast(&feeds->list[i]->changed);
		lock_give(&feeds->list[i]->lock);
	}
	for (size_t i = 0; i < feeds->count; i++) {
		thread_join(&feeds->list[i]->thread);
		if (feeds->list[i]->stream) /* of one that never ran */
			feeds->ports.close(&feeds->list[i]->stream);
	}
}

void feeds_close(struct feeds **out)
{
	struct feeds *feeds = *out;

	*out = NULL;
	if (!feeds)
		return;
	feeds_stop(feeds);
	queue_close(&feeds->queue);
	for (size_t i = 0; i < feeds->count; i++)
		free_feed(feeds->list[i]);
	free(feeds->list);
	free(feeds);
}

/* ---- reload and status -------------------------------------------------------------- */

static enum err_code reload_one(
	struct feed *f, struct config *config, struct config_report *report, struct err *err)
{
	const struct source_config *source = config_source(config, slice_str(f->name));
	struct scheme *scheme = NULL, *old_scheme;
	struct config *old_config;
	enum err_code rc;

	/* It goes on as it was: topics wait for a restart. */
	if (!source || !source->stream.topic)
		return ERR_OK;
	rc = scheme_open(source, &scheme, report, err);
	if (rc != ERR_OK)
		return rc;
	lock_take(&f->lock);
	old_scheme = f->scheme;
	old_config = f->config;
	f->scheme = scheme;
	f->config = config_ref(config);
	lock_give(&f->lock);
	scheme_close(&old_scheme);
	config_unref(&old_config);
	return ERR_OK;
}

enum err_code feeds_reload(
	struct feeds *feeds, struct config *config, struct config_report *report, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < feeds->count && rc == ERR_OK; i++)
		rc = reload_one(feeds->list[i], config, report, err);
	return rc;
}

static enum err_code put_one(struct feed *f, struct buf *out, struct err *err)
{
	int64_t records, lost;
	struct err why;
	enum err_code rc;

	lock_take(&f->lock);
	records = f->records;
	lost = f->lost;
	why = f->waits;
	lock_give(&f->lock);
	rc = buf_put_str(out, "{", err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "source", slice_str(f->name), err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "topic", slice_str(f->topic), err);
	if (rc == ERR_OK)
		rc = json_put_int(out, "records", records, err);
	if (rc == ERR_OK)
		rc = json_put_int(out, "lost", lost, err);
	if (rc == ERR_OK)
		rc = json_put_str(
			out, "waits", why.code == ERR_OK ? SLICE_EMPTY : slice_str(why.text), err);
	return rc == ERR_OK ? buf_put_str(out, "}", err) : rc;
}

enum err_code feeds_status(struct feeds *feeds, struct buf *out, struct err *err)
{
	enum err_code rc = json_put_name(out, "streams", err);

	if (rc == ERR_OK)
		rc = buf_put_str(out, "[", err);
	for (size_t i = 0; i < feeds->count && rc == ERR_OK; i++) {
		if (i > 0)
			rc = buf_put_str(out, ",", err);
		if (rc == ERR_OK)
			rc = put_one(feeds->list[i], out, err);
	}
	return rc == ERR_OK ? buf_put_str(out, "]", err) : rc;
}
