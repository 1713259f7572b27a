/* store.c - how fast the store takes batches, and how much memory remembering costs. Built by hand:
 *
 *   make BUILD=build/bench ROOMS="base event journal crypto store" build/bench/libpostern.a
 *   gcc -O2 -Iinclude tests/bench/store.c build/bench/libpostern.a -llmdb -lcrypto -lpthread
 *   ./a.out DIR IDS BATCH     remember IDS first, then time what an event of handler "none" costs
 */
#include "postern/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "postern/text.h"

#define ENTITIES 100000
#define MEASURED 400000

static struct buf batch = BUF_INIT(JOURNAL_EMBEDDED_MAX);
static struct journal_header header = { .type = JOURNAL_CLAIM, .epoch = 1 };

static void must(enum err_code rc, const struct err *err)
{
	if (rc == ERR_OK)
		return;
	(void)fprintf(stderr, "%s: %s\n", err_name(rc), err->text);
	exit(1);
}

static void make_id(uint64_t n, uint8_t id16[ID16_LEN])
{
	for (int i = 0; i < 2; i++) {
		n = (n ^ n >> 30) * UINT64_C(0xBF58476D1CE4E5B9) + 0x632BE59BD9B4E019;
		n = (n ^ n >> 27) * UINT64_C(0x94D049BB133111EB);
		put_le64(id16 + (size_t)8 * (size_t)i, n ^ n >> 31);
	}
}

static void add(struct store *store, const struct item *item)
{
	struct err err = ERR_INIT;

	must(store_stage(store, item, &err), &err);
	must(journal_add(&batch, item, &err), &err);
}

static void finish(struct store *store)
{
	struct err err = ERR_INIT;

	must(journal_end(&batch, &header, &err), &err);
	must(store_apply(store, buf_slice(&batch), &err), &err);
	must(store_commit(store, &err), &err);
	must(store_maintain(store, clock_system()->wall_ms(clock_system()), &err), &err);
	header.type = JOURNAL_BATCH;
	header.seq++;
	must(journal_begin(&batch, &err), &err);
}

static void event(struct store *store, uint64_t n, bool with_state)
{
	struct item item = { .type = ITEM_SEEN,
		.seen = { .offset = (int64_t)n, .outcome = OUTCOME_APPLIED } };
	static struct buf text = BUF_INIT(4096);
	struct err err = ERR_INIT;
	struct item_version v;
	struct item_seen seen;
	char subject[40];

	make_id(n, item.seen.id16);
	if (store_seen(store, item.seen.id16, &seen, &err) != ERR_NOT_FOUND)
		must(ERR_CORRUPT, &err);
	add(store, &item);
	if (!with_state)
		return;
	(void)snprintf(subject, sizeof(subject), "acme%caccount:%llu", 0,
		(unsigned long long)(n * 2654435761U % ENTITIES));
	item = (struct item){ .type = ITEM_VERSION,
		.version = { .subject = { (const uint8_t *)subject, 24 },
			.version = { VERSION_INTEGER, (int64_t)n },
			.offset = (int64_t)n,
			.event_id = SLICE_LIT("evt_0123456789"),
			.source = SLICE_LIT("billing") } };
	if (store_version(store, item.version.subject, &v, &text, &err) == ERR_CORRUPT)
		must(ERR_CORRUPT, &err);
	add(store, &item);
}

static void run(struct store *store, uint64_t from, uint64_t count, uint64_t at_once, bool state)
{
	for (uint64_t n = 0; n < count; n++) {
		event(store, from + n, state);
		if ((n + 1) % at_once == 0)
			finish(store);
	}
	finish(store);
}

static void print_memory(void)
{
	char line[200];
	FILE *file = fopen("/proc/self/status", "re");

	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "Rss", 3) == 0 || strncmp(line, "VmHWM", 5) == 0)
			(void)fputs(line, stdout);
	}
	if (file)
		(void)fclose(file);
}

int main(int argc, char **argv)
{
	struct store_opts opts = { .dedupe_ms = INT64_C(604800000) };
	uint64_t ids = 0, at_once = 0;
	struct store *store = NULL;
	struct err err = ERR_INIT;
	int64_t start, took;

	if (argc != 4)
		return 2;
	opts.dir = argv[1];
	must(text_u64(slice_str(argv[2]), &ids, &err), &err);
	must(text_u64(slice_str(argv[3]), &at_once, &err), &err);
	must(store_lmdb_open(&opts, &store, &err), &err);
	must(journal_begin(&batch, &err), &err);
	finish(store);
	start = clock_system()->mono_ms(clock_system());
	run(store, 0, ids, 16384, false);
	took = clock_system()->mono_ms(clock_system()) - start;
	printf("%llu ids remembered in %lld ms\n", (unsigned long long)ids, (long long)took);
	print_memory();
	start = clock_system()->mono_ms(clock_system());
	run(store, UINT64_C(1) << 40, MEASURED, at_once, true);
	took = clock_system()->mono_ms(clock_system()) - start;
	printf("%d events in batches of %llu: %lld ms, %lld a second\n", MEASURED,
		(unsigned long long)at_once, (long long)took, (long long)MEASURED * 1000 / took);
	print_memory();
	store_close(&store);
	start = clock_system()->mono_ms(clock_system());
	must(store_lmdb_open(&opts, &store, &err), &err);
	printf("opened again in %lld ms\n",
		(long long)(clock_system()->mono_ms(clock_system()) - start));
	store_close(&store);
	buf_done(&batch);
	return 0;
}
