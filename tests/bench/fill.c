/* fill.c - fills a data directory for the worker's rows of `make bench`:
 *
 *   fill log DIR COUNT SOURCE ENTITIES   COUNT events of 1 KiB into DIR/main/log
 *   fill ledger DIR COUNT                COUNT remembered ids into DIR/main/state
 *
 * Through the same doors as the program: what a worker finds is what an ingress or a worker would
 * have left. */
#include "postern/crypto.h"
#include "postern/event.h"
#include "postern/file.h"
#include "postern/journal.h"
#include "postern/log.h"
#include "postern/queue.h"
#include "postern/store.h"
#include "postern/text.h"
#include "postern/thread.h"

#include <stdio.h>
#include <stdlib.h>

#define GROUP 1000

static void check(enum err_code rc, const struct err *err)
{
	if (rc == ERR_OK)
		return;
	(void)fprintf(stderr, "fill: %s\n", err->text);
	exit(1);
}

static char *path_of(const char *dir, const char *name)
{
	char *path = file_join(dir, name);
	struct err err = ERR_INIT;

	if (!path)
		exit(1);
	check(file_make_dirs(path, &err), &err);
	return path;
}

/* ---- the log -----------------------------------------------------------------------------------
 */

struct pending {
	struct lock lock;
	struct cond cond;
	size_t open; /* guarded by lock */
	bool failed; /* guarded by lock */
};

static void on_done(void *ctx, struct record *list)
{
	struct pending *pending = ctx;

	lock_take(&pending->lock);
	for (; list; list = list->next) {
		pending->open--;
		pending->failed |= list->result != ERR_OK;
	}
	cond_signal(&pending->cond);
	lock_give(&pending->lock);
}

struct slot {
	struct record record;
	struct buf headers, key;
	char id[32], entity[32], digest[65];
	uint8_t body[1024];
};

static void make_record(struct slot *slot, size_t number, const char *source, size_t entities)
{
	struct err err = ERR_INIT;
	uint8_t digest[32];
	int64_t now = clock_system()->wall_ms(clock_system());
	struct event event = {
		.source = slice_str(source),
		.tenant = SLICE_LIT("default"),
		.type = SLICE_LIT("bench"),
		.version = { VERSION_INTEGER, (int64_t)number + 1 },
		.time_ms = now,
		.received_ms = now,
		.content_type = SLICE_LIT("application/json"),
		.key_used = SLICE_LIT("current:00000000"),
	};

	(void)snprintf(slot->id, sizeof(slot->id), "evt_%zu", number);
	(void)snprintf(slot->entity, sizeof(slot->entity), "e:%zu", number % entities);
	memset(slot->body, 'x', sizeof(slot->body));
	memcpy(slot->body, slot->id, strlen(slot->id));
	crypto_sha256((struct slice){ slot->body, sizeof(slot->body) }, digest);
	text_hex(digest, sizeof(digest), slot->digest);
	event.id = slice_str(slot->id);
	event.entity = slice_str(slot->entity);
	event.digest = slice_str(slot->digest);
	random_bytes(event.attempt, sizeof(event.attempt));
	buf_reset(&slot->headers);
	buf_reset(&slot->key);
	check(event_encode(&event, &slot->headers, &err), &err);
	check(event_key(&event, false, &slot->key, &err), &err);
	slot->record = (struct record){
		.key = buf_slice(&slot->key),
		.headers = buf_slice(&slot->headers),
		.body = { slot->body, sizeof(slot->body) },
	};
	memcpy(slot->record.attempt, event.attempt, ATTEMPT_LEN);
}

static void append_group(
	struct queue *queue, struct pending *pending, struct slot *slots, size_t count)
{
	struct err err = ERR_INIT;

	for (size_t i = 0; i + 1 < count; i++)
		slots[i].record.next = &slots[i + 1].record;
	pending->open = count;
	check(queue_append(queue, STREAM_EVENTS, &slots[0].record, &err), &err);
	lock_take(&pending->lock);
	while (pending->open)
		(void)cond_wait(&pending->cond, &pending->lock, -1);
	if (pending->failed)
		check(err_set(&err, ERR_IO, "an append failed"), &err);
	lock_give(&pending->lock);
}

static int fill_log(char **args)
{
	static struct pending pending;
	char *dir = path_of(args[0], "main");
	uint64_t count = 0, entities = 0;
	struct slot *slots = calloc(GROUP, sizeof(*slots));
	struct err err = ERR_INIT;
	struct queue *queue = NULL;
	struct queue_opts opts = {
		.dir = dir,
		.writes_events = true,
		.segment_bytes = 16777216,
		.limits = { [STREAM_EVENTS] = { INT64_C(64) << 30, INT64_MAX } },
		.events_done = on_done,
		.events_ctx = &pending,
		.clock = clock_system(),
	};

	check(text_u64(slice_str(args[1]), &count, &err), &err);
	check(text_u64(slice_str(args[3]), &entities, &err), &err);
	lock_init(&pending.lock);
	cond_init(&pending.cond);
	if (!slots)
		return 1;
	for (size_t i = 0; i < GROUP; i++) {
		slots[i].headers = BUF_INIT(EVENT_HEADERS_MAX);
		slots[i].key = BUF_INIT(EVENT_KEY_MAX);
	}
	check(queue_embedded_open(&opts, &queue, &err), &err);
	for (uint64_t at = 0; at < count;) {
		size_t n = count - at < GROUP ? (size_t)(count - at) : GROUP;

		for (size_t i = 0; i < n; i++)
			make_record(&slots[i], at + i, args[2], entities);
		append_group(queue, &pending, slots, n);
		at += n;
	}
	queue_close(&queue);
	for (size_t i = 0; i < GROUP; i++) {
		buf_done(&slots[i].headers);
		buf_done(&slots[i].key);
	}
	free(slots);
	free(dir);
	return 0;
}

/* ---- the ledger --------------------------------------------------------------------------------
 */

static void stage_group(
	struct store *store, struct buf *batch, struct journal_header *header, size_t n)
{
	struct err err = ERR_INIT;
	int64_t now = clock_system()->wall_ms(clock_system());

	check(journal_begin(batch, &err), &err);
	for (size_t i = 0; i < n; i++) {
		struct item item = {
			.type = ITEM_SEEN,
			.seen = { .outcome = OUTCOME_APPLIED,
				.received_s = (uint32_t)(now / 1000),
				.attempts = 1 },
		};

		random_bytes(item.seen.id16, ID16_LEN);
		check(journal_add(batch, &item, &err), &err);
		check(store_stage(store, &item, &err), &err);
	}
	header->seq++;
	check(journal_end(batch, header, &err), &err);
	check(store_apply(store, buf_slice(batch), &err), &err);
	check(store_commit(store, &err), &err);
	check(store_maintain(store, now, &err), &err);
}

static int fill_ledger(char **args)
{
	char *dir = path_of(args[0], "main/state");
	struct buf batch = BUF_INIT(JOURNAL_EMBEDDED_MAX);
	struct journal_header header = { .type = JOURNAL_CLAIM, .epoch = 1, .partitions = 1 };
	struct err err = ERR_INIT;
	struct store *store = NULL;
	uint64_t count = 0;
	struct store_opts opts = {
		.dir = dir,
		.dedupe_ms = INT64_C(168) * 3600000,
		.ledger_max_bytes = INT64_C(8) << 30,
		.clock = clock_system(),
	};

	check(text_u64(slice_str(args[1]), &count, &err), &err);
	random_bytes(header.writer, WRITER_LEN);
	check(store_lmdb_open(&opts, &store, &err), &err);
	check(journal_begin(&batch, &err), &err);
	check(journal_end(&batch, &header, &err), &err);
	check(store_apply(store, buf_slice(&batch), &err), &err);
	header.type = JOURNAL_BATCH;
	for (uint64_t at = 0; at < count; at += 16384)
		stage_group(
			store, &batch, &header, count - at < 16384 ? (size_t)(count - at) : 16384);
	header.type = JOURNAL_RELEASE;
	header.seq++;
	check(journal_begin(&batch, &err), &err);
	check(journal_end(&batch, &header, &err), &err);
	check(store_apply(store, buf_slice(&batch), &err), &err);
	check(store_commit(store, &err), &err);
	store_close(&store);
	buf_done(&batch);
	free(dir);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "log") == 0)
		return fill_log(argv + 2);
	if (argc == 4 && strcmp(argv[1], "ledger") == 0)
		return fill_ledger(argv + 2);
	(void)fputs("usage: fill log DIR COUNT SOURCE ENTITIES | fill ledger DIR COUNT\n", stderr);
	return 2;
}
