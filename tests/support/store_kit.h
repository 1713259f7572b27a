/* store_kit.h - what the contract tests of the store share: the backends, a store in a directory of
 * its own, items with known contents. Included by test programs only.
 *
 * A backend that keeps nothing after its end is not reopened; all else is the same. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "postern/event.h"
#include "postern/file.h"
#include "postern/store.h"

#define HOUR_MS INT64_C(3600000)

struct backend {
	const char *name;
	enum err_code (*open)(const struct store_opts *opts, struct store **out, struct err *err);
	bool durable;
};
static const struct backend backends[] = {
	{ "mem", store_mem_open, false },
	{ "lmdb", store_lmdb_open, true },
};

static int64_t now_ms;
static inline int64_t test_now(const struct clock *clock)
{
	(void)clock;
	return now_ms;
}
static const struct clock test_clock = {
	.wall_ms = test_now, .mono_ms = test_now, .mono_ns = test_now
};

struct fixture {
	const struct backend *backend;
	struct store_opts opts;
	char dir[64];
	struct store *store;
	struct journal_header header;
	struct buf batch;
};
static size_t backend_index;

#define OK(call)                                                                                   \
	do {                                                                                       \
		struct err err_ = ERR_INIT;                                                        \
		struct err *err = &err_;                                                           \
		if ((call) != ERR_OK)                                                              \
			fail_msg("%s: %s", #call, err_.text);                                      \
	} while (0)
#define IS(call, want)                                                                             \
	do {                                                                                       \
		struct err err_ = ERR_INIT;                                                        \
		struct err *err = &err_;                                                           \
		assert_int_equal((call), (want));                                                  \
	} while (0)

static inline int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;

	if (!f)
		return -1;
	f->backend = &backends[backend_index];
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/store_contract.XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	now_ms = 1000 * HOUR_MS;
	f->opts = (struct store_opts){
		.dir = f->dir,
		.dedupe_ms = 8 * HOUR_MS,
		.ledger_max_bytes = INT64_C(1) << 30,
		.map_bytes = (int64_t)MIB(1),
		.clock = &test_clock,
	};
	f->batch = BUF_INIT(JOURNAL_EMBEDDED_MAX);
	*state = f;
	return f->backend->open(&f->opts, &f->store, &err) == ERR_OK ? 0 : -1;
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;
	static const char *const files[] = { "data.mdb", "lock.mdb" };

	store_close(&f->store);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		char *path = file_join(f->dir, files[i]);

		if (path)
			(void)unlink(path);
		free(path);
	}
	(void)rmdir(f->dir);
	buf_done(&f->batch);
	free(f);
	return 0;
}

static inline void reopen(struct fixture *f)
{
	struct store_opts opts = f->opts;

	if (!f->backend->durable)
		return;
	store_close(&f->store);
	opts.must_exist = true;
	OK(f->backend->open(&opts, &f->store, err));
}

/* A batch of these items, staged when asked to, applied. */
static inline void apply_items(
	struct fixture *f, const struct item *items, size_t count, bool stage)
{
	if (f->header.epoch == 0) {
		f->header = (struct journal_header){
			.type = JOURNAL_CLAIM, .epoch = 1, .writer = { 7 }
		};
		OK(journal_begin(&f->batch, err));
		OK(journal_end(&f->batch, &f->header, err));
		OK(store_apply(f->store, buf_slice(&f->batch), err));
		f->header.type = JOURNAL_BATCH;
	}
	f->header.seq++;
	f->header.next_offset += 10;
	OK(journal_begin(&f->batch, err));
	for (size_t i = 0; i < count; i++) {
		if (stage)
			OK(store_stage(f->store, &items[i], err));
		OK(journal_add(&f->batch, &items[i], err));
	}
	OK(journal_end(&f->batch, &f->header, err));
	OK(store_apply(f->store, buf_slice(&f->batch), err));
}

static inline void commit_items(struct fixture *f, const struct item *items, size_t count)
{
	apply_items(f, items, count, true);
	OK(store_commit(f->store, err));
}

static inline void make_id(uint64_t n, uint8_t id16[ID16_LEN])
{
	uint64_t x = n * UINT64_C(0x9E3779B97F4A7C15) + 1;

	for (int i = 0; i < 2; i++) {
		x ^= x >> 31;
		x *= UINT64_C(0xBF58476D1CE4E5B9);
		x ^= x >> 29;
		put_le64(id16 + (size_t)8 * (size_t)i, x);
	}
}

static inline struct item seen(uint64_t n, enum outcome outcome)
{
	struct item item = { .type = ITEM_SEEN,
		.seen = { .offset = (int64_t)n,
			.digest8 = { 1, 2 },
			.outcome = outcome,
			.code = ERR_STALE_VERSION,
			.route = 3,
			.attempts = 4,
			.received_s = 1700000000 } };

	make_id(n, item.seen.id16);
	return item;
}

static inline struct item version_of(const char *subject, enum version_kind kind, int64_t value)
{
	return (struct item){ .type = ITEM_VERSION,
		.version = { .subject = slice_str(subject),
			.version = { kind, value },
			.offset = value,
			.event_id = SLICE_LIT("event"),
			.source = SLICE_LIT("source"),
			.route = 1,
			.time_ms = 5 } };
}

static inline struct item park_of(const char *subject, int64_t offset, int64_t next_ms)
{
	return (struct item){ .type = ITEM_PARK,
		.park = { .subject = slice_str(subject),
			.offset = offset,
			.id16 = { 9 },
			.route = 2,
			.attempts = 3,
			.first_ms = 1,
			.next_ts_ms = next_ms,
			.deadline_ms = 99,
			.reason = PARK_RETRY,
			.last_code = ERR_HANDLER_FAILED,
			.redrive = 12,
			.version = { VERSION_INTEGER, 41 },
			.error = SLICE_LIT("HTTP 500"),
			.key = SLICE_LIT("key"),
			.headers = SLICE_LIT("headers"),
			.body = SLICE_LIT("body") } };
}

static inline struct item unpark_of(const char *subject, int64_t offset)
{
	return (struct item){ .type = ITEM_UNPARK,
		.unpark = { .subject = slice_str(subject), .offset = offset } };
}

static inline struct item try_of(int64_t offset, unsigned n)
{
	return (struct item){ .type = ITEM_TRY, .attempt = { .offset = offset, .n = n } };
}

static inline struct item outok_of(int64_t offset, uint32_t n, int64_t stream_offset)
{
	return (struct item){ .type = ITEM_OUTOK,
		.outok = { .offset = offset, .n = n, .stream_offset = stream_offset } };
}

static inline struct item mark_of(enum out_target target, int64_t stream_offset, enum mark mark)
{
	return (struct item){ .type = ITEM_MARK,
		.mark = { .target = target, .stream_offset = stream_offset, .mark = mark } };
}

/* The headers are made once and stay until the program ends. */
static inline struct slice dead_headers(void)
{
	static uint8_t bytes[2048];
	static struct slice headers;
	struct event event = { .id = SLICE_LIT("e1"),
		.source = SLICE_LIT("github"),
		.tenant = SLICE_LIT("acme"),
		.type = SLICE_LIT("push"),
		.entity = SLICE_LIT("repo:1"),
		.received_ms = 1234567890123 };
	struct dead_letter dead = { .reason = SLICE_LIT("HANDLER_REFUSED"),
		.route = SLICE_LIT("ci"),
		.error = SLICE_LIT("HTTP 404"),
		.topic = SLICE_LIT("events"),
		.attempts = 1,
		.last_failed_ms = 1234567899000 };
	struct buf block = BUF_INIT(EVENT_HEADERS_MAX), whole = BUF_INIT(EVENT_HEADERS_MAX);

	if (headers.len == 0) {
		OK(event_encode(&event, &block, err));
		OK(event_dead_letter(buf_slice(&block), &dead, &whole, err));
		assert_true(whole.len <= sizeof(bytes));
		memcpy(bytes, whole.data, whole.len);
		headers = (struct slice){ bytes, whole.len };
		buf_done(&block);
		buf_done(&whole);
	}
	return headers;
}

static inline struct item out_of(int64_t offset, uint32_t n, enum out_target target)
{
	return (struct item){ .type = ITEM_OUT,
		.out = { .offset = offset,
			.n = n,
			.target = target,
			.id16 = { 5 },
			.reason = ERR_HANDLER_REFUSED,
			.key = SLICE_LIT("key"),
			.headers = dead_headers(),
			.body = SLICE_LIT("body") } };
}

static inline enum err_code find(struct fixture *f, uint64_t n, struct item_seen *out)
{
	struct err err = ERR_INIT;
	uint8_t id16[ID16_LEN];
	enum err_code rc;

	make_id(n, id16);
	rc = store_seen(f->store, id16, out, &err);
	assert_int_equal(err.code, ERR_OK); /* also when it was not found */
	return rc;
}

static inline void commit_ids(struct fixture *f, uint64_t from, uint64_t count, size_t at_once)
{
	struct item *items = calloc(at_once, sizeof(*items));

	assert_non_null(items);
	for (uint64_t n = 0; n < count; n += at_once) {
		size_t take = count - n < at_once ? (size_t)(count - n) : at_once;

		for (size_t i = 0; i < take; i++)
			items[i] = seen(from + n + i, OUTCOME_APPLIED);
		commit_items(f, items, take);
	}
	free(items);
}

static inline void assert_ids(struct fixture *f, uint64_t from, uint64_t count, enum err_code want)
{
	struct item_seen out;

	for (uint64_t n = from; n < from + count; n++) {
		if (find(f, n, &out) != want)
			fail_msg("id %llu", (unsigned long long)n);
		if (want == ERR_OK)
			assert_true(out.offset == (int64_t)n);
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
/* Runs an array of tests over every backend; what main returns. */
#define RUN_BACKENDS(tests)                                                                        \
	int failed_ = 0;                                                                           \
                                                                                                   \
	for (backend_index = 0; backend_index < ARRAY_LEN(backends); backend_index++)              \
		failed_ += cmocka_run_group_tests_name(                                            \
			backends[backend_index].name, tests, NULL, NULL);                          \
	return failed_ != 0
