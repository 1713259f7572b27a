/* fill.c - fills a data directory for the worker's rows of `make bench`:
 *
 *   fill log DIR COUNT SOURCE ENTITIES   COUNT events of 1 KiB into DIR/main/log
 *   fill ledger DIR COUNT                COUNT remembered ids into DIR/main/state
 *
 * Through the same doors as the program: what a worker finds is what an ingress or a worker would
 * have left. */
#include "events.h"
#include "postern/journal.h"
#include "postern/log.h"
#include "postern/store.h"

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
