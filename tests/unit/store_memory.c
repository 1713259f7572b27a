/* store_memory.c - each piece of memory that a life of a store asks for is missing once: nothing is
 * lost, nothing is half done, and the same again succeeds.
 *
 * The allocator is replaced for the whole program, LMDB included. Under a sanitizer, which has its
 * own, the life is lived once without failures. */
#include "postern/store.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "failing.h"
#include "postern/event.h"

static bool armed; /* only within a step */

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) &&                             \
	!__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);

void *malloc(size_t size)
{
	return armed && failing_now() ? NULL : __libc_malloc(size);
}
void *calloc(size_t count, size_t size)
{
	return armed && failing_now() ? NULL : __libc_calloc(count, size);
}
void *realloc(void *p, size_t size)
{
	return armed && failing_now() ? NULL : __libc_realloc(p, size);
}
void *aligned_alloc(size_t align, size_t size)
{
	return armed && failing_now() ? NULL : __libc_memalign(align, size);
}
#endif

static int64_t now_ms;
static int64_t test_now(const struct clock *clock)
{
	(void)clock;
	return now_ms;
}
static const struct clock test_clock = { test_now, test_now, test_now };

struct life {
	enum err_code (*open)(const struct store_opts *opts, struct store **out, struct err *err);
	struct store_opts opts;
	char dir[64];
	struct store *store;
	struct buf batch, bytes;
	struct journal_header header;
	unsigned failures;
};

typedef enum err_code step_fn(struct life *life, struct err *err);

/* A step may fail for want of memory, and then succeeds when it is taken again. */
static void take(struct life *life, step_fn *step)
{
	struct err err = ERR_INIT;
	enum err_code rc;

	armed = true;
	rc = step(life, &err);
	armed = false;
	if (rc == ERR_OK)
		return;
	assert_int_equal(rc, ERR_NOMEM);
	life->failures++;
	err_clear(&err);
	rc = step(life, &err);
	if (rc != ERR_OK)
		fail_msg("%s", err.text);
}

static enum err_code open_step(struct life *life, struct err *err)
{
	return life->open(&life->opts, &life->store, err);
}

static const struct item items[] = {
	{ .type = ITEM_SEEN, .seen = { .id16 = { 1 }, .offset = 1, .outcome = OUTCOME_PARKED } },
	{ .type = ITEM_SEEN, .seen = { .id16 = { 2 }, .offset = 2, .outcome = OUTCOME_DEAD } },
	{ .type = ITEM_VERSION,
		.version = { .subject = SLICE_LIT("s"), .version = { VERSION_INTEGER, 7 } } },
	{ .type = ITEM_VERSION, .version = { .subject = SLICE_LIT("s") } },
	{ .type = ITEM_PARK,
		.park = { .subject = SLICE_LIT("p"), .offset = 1, .reason = PARK_RETRY } },
	{ .type = ITEM_PARK,
		.park = { .subject = SLICE_LIT("q"), .offset = 2, .reason = PARK_RETRY } },
	{ .type = ITEM_UNPARK, .unpark = { .subject = SLICE_LIT("q"), .offset = 2 } },
	{ .type = ITEM_OUT, .out = { .offset = 3, .target = OUT_DLQ } },
	{ .type = ITEM_OUT, .out = { .offset = 4, .target = OUT_DLQ } },
	{ .type = ITEM_OUTOK, .outok = { .offset = 3, .stream_offset = 9 } },
	{ .type = ITEM_MARK,
		.mark = { .target = OUT_DLQ, .stream_offset = 9, .mark = MARK_REPLAYED } },
	{ .type = ITEM_TRY, .attempt = { .offset = 5, .n = 2 } },
};

/* What cannot be staged to the end is dropped, and staged again. */
static enum err_code stage_step(struct life *life, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK && i < ARRAY_LEN(items); i++)
		rc = store_stage(life->store, &items[i], err);
	if (rc != ERR_OK)
		store_drop(life->store);
	return rc;
}

static enum err_code apply_step(struct life *life, struct err *err)
{
	return store_apply(life->store, buf_slice(&life->batch), err);
}

static enum err_code commit_step(struct life *life, struct err *err)
{
	return store_commit(life->store, err);
}

static enum err_code route_step(struct life *life, struct err *err)
{
	uint16_t route;

	return store_route(life->store, "ci", &route, err);
}

static enum err_code maintain_step(struct life *life, struct err *err)
{
	return store_maintain(life->store, now_ms, err);
}

static enum err_code read_step(struct life *life, struct err *err)
{
	struct item_version v;
	struct item_seen list[4];
	struct item_park park;
	struct store_view *view = NULL;
	size_t count = 0;
	enum err_code rc = store_version(life->store, SLICE_LIT("s"), &v, &life->bytes, err);

	if (rc == ERR_OK)
		assert_true(v.version.value == 7);
	if (rc == ERR_OK)
		rc = store_parked_get(life->store, SLICE_LIT("p"), 1, &life->bytes, &park, err);
	if (rc == ERR_OK)
		rc = store_view_open(life->store, &view, err);
	if (rc == ERR_OK)
		rc = store_view_recent(view, 4, list, &count, err);
	if (rc == ERR_OK)
		assert_int_equal(count, 2);
	store_view_close(&view);
	return rc;
}

static void prepare(struct life *life, enum journal_type type)
{
	struct err err = ERR_INIT;

	life->header.type = type;
	life->header.epoch = 1;
	life->header.seq += type == JOURNAL_BATCH;
	assert_int_equal(journal_begin(&life->batch, &err), ERR_OK);
	for (size_t i = 0; type == JOURNAL_BATCH && i < ARRAY_LEN(items); i++)
		assert_int_equal(journal_add(&life->batch, &items[i], &err), ERR_OK);
	assert_int_equal(journal_end(&life->batch, &life->header, &err), ERR_OK);
}

static void assert_state(struct life *life)
{
	struct store_entry entry;
	struct store_totals totals;
	struct item_seen seen;
	struct err err = ERR_INIT;

	assert_int_equal(store_seen(life->store, items[1].seen.id16, &seen, &err), ERR_OK);
	assert_int_equal(seen.outcome, OUTCOME_DEAD);
	assert_int_equal(
		store_entry_next(life->store, OUT_DLQ, 0, &life->bytes, &entry, &err), ERR_OK);
	assert_int_equal(entry.mark, MARK_REPLAYED);
	store_totals(life->store, &totals);
	assert_true(totals.parked_events == 1 && totals.outs == 1 && totals.ledger_entries == 2);
	assert_int_equal(store_tries(life->store, 5), 2);
}

static void live(struct life *life)
{
	take(life, open_step);
	take(life, route_step);
	prepare(life, JOURNAL_CLAIM);
	take(life, apply_step);
	prepare(life, JOURNAL_BATCH);
	take(life, stage_step);
	store_drop(life->store);
	take(life, apply_step); /* from its bytes */
	take(life, commit_step);
	assert_state(life);
	take(life, read_step);
	now_ms += INT64_C(3600000);
	take(life, maintain_step); /* seals */
	assert_state(life);
	take(life, read_step);
	if (life->open == store_lmdb_open) {
		store_close(&life->store);
		take(life, open_step);
		assert_state(life);
	}
	store_close(&life->store);
}

static void remove_files(const struct life *life)
{
	static const char *const names[] = { "data.mdb", "lock.mdb" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char path[128];

		(void)snprintf(path, sizeof(path), "%s/%s", life->dir, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(life->dir);
}

static void live_with_every_failure(
	enum err_code (*open)(const struct store_opts *, struct store **, struct err *))
{
	unsigned rounds = 0;

	for (failing_at = 1;; failing_at++) {
		struct life life = {
			.open = open, .batch = BUF_INIT(MIB(1)), .bytes = BUF_INIT(MIB(1))
		};

		failing_seen = 0;
		now_ms = INT64_C(1700000000000);
		(void)snprintf(life.dir, sizeof(life.dir), "/tmp/store_memory.XXXXXX");
		assert_non_null(mkdtemp(life.dir));
		life.opts = (struct store_opts){ .dir = life.dir,
			.dedupe_ms = 3600000,
			.map_bytes = (int64_t)MIB(1),
			.clock = &test_clock };
		live(&life);
		remove_files(&life);
		buf_done(&life.batch);
		buf_done(&life.bytes);
		if (failing_seen < failing_at)
			break;
		rounds += life.failures;
	}
	print_message("%u failures\n", rounds);
	failing_at = 0;
}

static void memory_may_be_missing_anywhere(void **state)
{
	(void)state;
	live_with_every_failure(store_mem_open);
	live_with_every_failure(store_lmdb_open);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_may_be_missing_anywhere),
	};

	return cmocka_run_group_tests_name("store memory", tests, NULL, NULL);
}
