/* store_backends.c - what a store promises, over every backend.
 *
 * A backend that keeps nothing after its end is not reopened; all else is the same. */
#include "postern/store.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "postern/event.h"
#include "postern/file.h"
#include "postern/thread.h"

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
static int64_t test_now(const struct clock *clock)
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

static int set_up(void **state)
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

static int tear_down(void **state)
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

static void reopen(struct fixture *f)
{
	struct store_opts opts = f->opts;

	if (!f->backend->durable)
		return;
	store_close(&f->store);
	opts.must_exist = true;
	OK(f->backend->open(&opts, &f->store, err));
}

/* A batch of these items, staged when asked to, applied. */
static void apply_items(struct fixture *f, const struct item *items, size_t count, bool stage)
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

static void commit_items(struct fixture *f, const struct item *items, size_t count)
{
	apply_items(f, items, count, true);
	OK(store_commit(f->store, err));
}

static void make_id(uint64_t n, uint8_t id16[ID16_LEN])
{
	uint64_t x = n * UINT64_C(0x9E3779B97F4A7C15) + 1;

	for (int i = 0; i < 2; i++) {
		x ^= x >> 31;
		x *= UINT64_C(0xBF58476D1CE4E5B9);
		x ^= x >> 29;
		put_le64(id16 + (size_t)8 * (size_t)i, x);
	}
}

static struct item seen(uint64_t n, enum outcome outcome)
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

static struct item version_of(const char *subject, enum version_kind kind, int64_t value)
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

static struct item park_of(const char *subject, int64_t offset, int64_t next_ms)
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

static struct item unpark_of(const char *subject, int64_t offset)
{
	return (struct item){ .type = ITEM_UNPARK,
		.unpark = { .subject = slice_str(subject), .offset = offset } };
}

static struct item try_of(int64_t offset, unsigned n)
{
	return (struct item){ .type = ITEM_TRY, .attempt = { .offset = offset, .n = n } };
}

static struct item outok_of(int64_t offset, uint32_t n, int64_t stream_offset)
{
	return (struct item){ .type = ITEM_OUTOK,
		.outok = { .offset = offset, .n = n, .stream_offset = stream_offset } };
}

static struct item mark_of(enum out_target target, int64_t stream_offset, enum mark mark)
{
	return (struct item){ .type = ITEM_MARK,
		.mark = { .target = target, .stream_offset = stream_offset, .mark = mark } };
}

/* The headers are made once and stay until the program ends. */
static struct slice dead_headers(void)
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

static struct item out_of(int64_t offset, uint32_t n, enum out_target target)
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

static enum err_code find(struct fixture *f, uint64_t n, struct item_seen *out)
{
	struct err err = ERR_INIT;
	uint8_t id16[ID16_LEN];
	enum err_code rc;

	make_id(n, id16);
	rc = store_seen(f->store, id16, out, &err);
	assert_int_equal(err.code, ERR_OK); /* also when it was not found */
	return rc;
}

static void a_new_store_knows_nothing(void **state)
{
	struct fixture *f = *state;
	struct buf text = BUF_INIT(4096);
	struct store_totals totals;
	struct store_state fold;
	struct item_version v;
	struct store_entry entry;
	struct item_seen entry_seen;
	struct item_out out;

	store_state(f->store, &fold);
	assert_true(fold.next_offset == 0 && fold.journal.epoch == 0 && !fold.journal.released);
	assert_int_equal(find(f, 1, &entry_seen), ERR_NOT_FOUND);
	IS(store_version(f->store, SLICE_LIT("s"), &v, &text, err), ERR_NOT_FOUND);
	assert_false(store_parked_head(f->store, SLICE_LIT("s"), NULL, NULL));
	assert_true(store_parked_next(f->store) == INT64_MAX);
	assert_int_equal(store_tries(f->store, 0), 0);
	IS(store_out_next(f->store, -1, 0, &text, &out, err), ERR_NOT_FOUND);
	IS(store_entry_next(f->store, OUT_DLQ, 0, &text, &entry, err), ERR_NOT_FOUND);
	store_totals(f->store, &totals);
	assert_true(totals.parked_events == 0 && totals.ledger_entries == 0 && totals.outs == 0);
	assert_true(totals.dlq_first == INT64_MAX && totals.quarantine_first == INT64_MAX);
	OK(store_room(f->store, err));
	buf_done(&text);
}

static void an_entry_is_seen_from_its_staging_on(void **state)
{
	struct fixture *f = *state;
	struct item items[] = { seen(1, OUTCOME_PARKED), seen(2, OUTCOME_STALE) };
	struct item later = seen(1, OUTCOME_APPLIED);
	struct item_seen out;

	OK(store_stage(f->store, &items[0], err));
	assert_int_equal(find(f, 1, &out), ERR_OK);
	store_drop(f->store);
	assert_int_equal(find(f, 1, &out), ERR_NOT_FOUND);

	commit_items(f, items, 2);
	assert_int_equal(find(f, 1, &out), ERR_OK);
	assert_int_equal(out.outcome, OUTCOME_PARKED);
	assert_memory_equal(out.digest8, items[0].seen.digest8, 8);
	assert_true(out.offset == 1 && out.code == ERR_STALE_VERSION && out.route == 3);
	assert_true(out.attempts == 4 && out.received_s == 1700000000);

	OK(store_stage(f->store, &later, err));
	assert_int_equal(find(f, 1, &out), ERR_OK);
	assert_int_equal(out.outcome, OUTCOME_APPLIED);
	store_drop(f->store);
	assert_int_equal(find(f, 1, &out), ERR_OK);
	assert_int_equal(out.outcome, OUTCOME_PARKED); /* what was there comes to light again */

	commit_items(f, &later, 1);
	reopen(f);
	assert_int_equal(find(f, 1, &out), ERR_OK);
	assert_int_equal(out.outcome, OUTCOME_APPLIED);
	assert_int_equal(find(f, 2, &out), ERR_OK);
	assert_int_equal(find(f, 3, &out), ERR_NOT_FOUND);
}

static void the_position_moves_with_the_commit(void **state)
{
	struct fixture *f = *state;
	struct item item = seen(1, OUTCOME_APPLIED);
	struct store_state fold;

	apply_items(f, &item, 1, true);
	store_state(f->store, &fold);
	assert_true(fold.next_offset == 0); /* not yet */
	OK(store_commit(f->store, err));
	store_state(f->store, &fold);
	assert_true(fold.next_offset == 10 && fold.journal.epoch == 1 && fold.journal.seq == 1);
	assert_int_equal(fold.journal.writer[0], 7);
	reopen(f);
	store_state(f->store, &fold);
	assert_true(fold.next_offset == 10 && fold.journal.seq == 1 && !fold.journal.released);

	f->header.type = JOURNAL_RELEASE;
	OK(journal_begin(&f->batch, err));
	OK(journal_end(&f->batch, &f->header, err));
	OK(store_apply(f->store, buf_slice(&f->batch), err));
	OK(store_commit(f->store, err));
	reopen(f);
	store_state(f->store, &fold);
	assert_true(fold.journal.released && fold.next_offset == 10);
}

static void a_batch_that_does_not_follow_is_refused(void **state)
{
	struct fixture *f = *state;
	struct item item = seen(1, OUTCOME_APPLIED);
	struct item_seen out;

	commit_items(f, &item, 1);
	item = seen(2, OUTCOME_APPLIED);
	OK(journal_begin(&f->batch, err));
	OK(journal_add(&f->batch, &item, err));
	OK(journal_end(&f->batch, &f->header, err)); /* the same seq again */
	IS(store_apply(f->store, buf_slice(&f->batch), err), ERR_CORRUPT);
	f->batch.data[f->batch.len - 1] ^= 1;
	IS(store_apply(f->store, buf_slice(&f->batch), err), ERR_CORRUPT);
	OK(store_commit(f->store, err));
	assert_int_equal(find(f, 2, &out), ERR_NOT_FOUND);
}

static void a_foreign_batch_is_folded_from_its_bytes(void **state)
{
	struct fixture *f = *state;
	struct item items[] = { seen(1, OUTCOME_APPLIED), version_of("s", VERSION_INTEGER, 3),
		park_of("p", 4, 100) };
	struct item other = seen(5, OUTCOME_APPLIED);
	struct item_seen out;

	/* Something else was staged: the batch is what counts. */
	OK(store_stage(f->store, &other, err));
	apply_items(f, items, ARRAY_LEN(items), false);
	assert_int_equal(find(f, 5, &out), ERR_NOT_FOUND);
	assert_int_equal(find(f, 1, &out), ERR_OK);
	OK(store_commit(f->store, err));
	reopen(f);
	assert_int_equal(find(f, 1, &out), ERR_OK);
	assert_true(store_parked_head(f->store, SLICE_LIT("p"), NULL, NULL));
}

static void what_is_staged_outlives_the_commit_of_the_applied(void **state)
{
	struct fixture *f = *state;
	struct item first[] = { seen(1, OUTCOME_APPLIED), park_of("p", 1, 10) };
	struct item next[] = { seen(2, OUTCOME_APPLIED), park_of("p", 2, 20), unpark_of("p", 1) };
	struct parked parked;
	struct item_seen out;
	size_t count;

	apply_items(f, first, ARRAY_LEN(first), true);
	for (size_t i = 0; i < ARRAY_LEN(next); i++)
		OK(store_stage(f->store, &next[i], err));
	OK(store_commit(f->store, err));
	assert_int_equal(find(f, 1, &out), ERR_OK);
	assert_int_equal(find(f, 2, &out), ERR_OK);
	assert_true(store_parked_head(f->store, SLICE_LIT("p"), &parked, &count));
	assert_true(parked.offset == 2 && count == 1);
	store_drop(f->store);
	assert_int_equal(find(f, 2, &out), ERR_NOT_FOUND);
	assert_true(store_parked_head(f->store, SLICE_LIT("p"), &parked, &count));
	assert_true(parked.offset == 1 && count == 1);
}

static struct version stored(struct fixture *f, const char *subject)
{
	struct buf text = BUF_INIT(8192);
	struct item_version v;

	OK(store_version(f->store, slice_str(subject), &v, &text, err));
	assert_true(slice_eq_str(v.subject, subject));
	assert_true(slice_eq_str(v.event_id, "event") && slice_eq_str(v.source, "source"));
	buf_done(&text);
	return v.version;
}

static void versions_are_kept_by_subject(void **state)
{
	struct fixture *f = *state;
	static char longest[2001], longer[2001];
	struct item items[4];
	struct buf text = BUF_INIT(8192);
	struct item_version v;

	memset(longest, 'x', 2000);
	memset(longer, 'x', 2000);
	longer[1999] = 'y';
	items[0] = version_of("short", VERSION_INTEGER, 1);
	items[1] = version_of(longest, VERSION_INTEGER, 2);
	items[2] = version_of(longer, VERSION_TIME, 3);
	items[3] = version_of("", VERSION_INTEGER, 4);
	commit_items(f, items, ARRAY_LEN(items));
	reopen(f);
	assert_true(stored(f, "short").value == 1);
	assert_true(stored(f, longest).value == 2);
	assert_true(stored(f, longer).value == 3 && stored(f, longer).kind == VERSION_TIME);
	assert_true(stored(f, "").value == 4);
	IS(store_version(f->store, SLICE_LIT("shor"), &v, &text, err), ERR_NOT_FOUND);
	IS(store_version(f->store, SLICE_LIT("short2"), &v, &text, err), ERR_NOT_FOUND);
	items[0] = version_of("short", VERSION_INTEGER, -5);
	commit_items(f, items, 1);
	reopen(f);
	assert_true(stored(f, "short").value == -5);
	buf_done(&text);
}

static void an_event_without_version_keeps_the_stored_one(void **state)
{
	struct fixture *f = *state;
	struct item with = version_of("s", VERSION_INTEGER, 41);
	struct item without = version_of("s", VERSION_NONE, 0);
	struct item alone = version_of("t", VERSION_NONE, 0);
	struct buf text = BUF_INIT(4096);
	struct item_version v;

	without.version.event_id = SLICE_LIT("later");
	without.version.offset = 77;
	commit_items(f, &with, 1);
	for (int round = 0; round < 3; round++) { /* staged, applied by bytes, reopened */
		if (round == 0)
			OK(store_stage(f->store, &without, err));
		else if (round == 1)
			apply_items(f, &without, 1, false);
		else {
			OK(store_commit(f->store, err));
			reopen(f);
		}
		OK(store_version(f->store, SLICE_LIT("s"), &v, &text, err));
		assert_true(v.version.kind == VERSION_INTEGER && v.version.value == 41);
		assert_true(slice_eq_str(v.event_id, "later") && v.offset == 77);
	}
	commit_items(f, &alone, 1);
	OK(store_version(f->store, SLICE_LIT("t"), &v, &text, err));
	assert_int_equal(v.version.kind, VERSION_NONE);
	assert_true(slice_eq_str(v.event_id, "event"));
	buf_done(&text);
}

static void parked_events_wait_behind_their_head(void **state)
{
	struct fixture *f = *state;
	struct item items[] = { park_of("a", 10, 500), park_of("a", 12, 100), park_of("b", 11, 300),
		park_of("c", 13, 900), park_of("a", 11, 50) };
	struct buf subject = BUF_INIT(100), bytes = BUF_INIT(4096);
	struct parked list[4], due;
	struct item_park park;
	struct store_totals totals;
	size_t count;

	commit_items(f, items, ARRAY_LEN(items));
	reopen(f);
	assert_int_equal(store_parked_list(f->store, SLICE_LIT("a"), list, 4), 3);
	assert_true(list[0].offset == 10 && list[1].offset == 11 && list[2].offset == 12);
	assert_int_equal(store_parked_list(f->store, SLICE_LIT("a"), list, 2), 2);
	assert_true(store_parked_head(f->store, SLICE_LIT("a"), &due, &count));
	assert_true(due.offset == 10 && count == 3 && due.attempts == 3 && due.redrive == 12);
	assert_true(due.version.value == 41 && due.reason == PARK_RETRY && due.route == 2);

	/* Followers do not count: the order is b (300), a (500), c (900). */
	assert_true(store_parked_next(f->store) == 300);
	IS(store_parked_due(f->store, 299, 0, &subject, &due, err), ERR_NOT_FOUND);
	OK(store_parked_due(f->store, 600, 0, &subject, &due, err));
	assert_string_equal(buf_str(&subject), "b");
	OK(store_parked_due(f->store, 600, 1, &subject, &due, err));
	assert_string_equal(buf_str(&subject), "a");
	IS(store_parked_due(f->store, 600, 2, &subject, &due, err), ERR_NOT_FOUND);

	OK(store_parked_get(f->store, SLICE_LIT("a"), 11, &bytes, &park, err));
	assert_true(slice_eq_str(park.body, "body") && slice_eq_str(park.headers, "headers"));
	assert_true(slice_eq_str(park.key, "key") && slice_eq_str(park.error, "HTTP 500"));
	assert_true(slice_eq_str(park.subject, "a") && park.offset == 11);
	IS(store_parked_get(f->store, SLICE_LIT("a"), 13, &bytes, &park, err), ERR_NOT_FOUND);
	store_totals(f->store, &totals);
	assert_true(totals.parked_events == 5 && totals.parked_bytes >= UINT64_C(55));
	assert_true(store_parked_of_route(f->store, 2) == 5);
	assert_true(store_parked_of_route(f->store, 9) == 0);
	buf_done(&subject);
	buf_done(&bytes);
}

static void parking_again_and_unparking_can_be_taken_back(void **state)
{
	struct fixture *f = *state;
	struct item items[] = { park_of("a", 10, 500), park_of("a", 11, 600) };
	struct item again = park_of("a", 10, 700),
		    leave[] = { unpark_of("a", 10), unpark_of("a", 11), unpark_of("z", 1) };
	struct buf bytes = BUF_INIT(4096);
	struct item_park park;
	struct store_totals totals;
	struct parked head;
	size_t count;

	again.park.route = 5;
	commit_items(f, items, 2);
	OK(store_stage(f->store, &again, err));
	assert_true(store_parked_next(f->store) == 700);
	assert_true(store_parked_of_route(f->store, 5) == 1);
	for (size_t i = 0; i < ARRAY_LEN(leave); i++)
		OK(store_stage(f->store, &leave[i], err));
	assert_false(store_parked_head(f->store, SLICE_LIT("a"), &head, &count));
	assert_int_equal(count, 0);
	assert_true(store_parked_next(f->store) == INT64_MAX);
	IS(store_parked_get(f->store, SLICE_LIT("a"), 10, &bytes, &park, err), ERR_NOT_FOUND);
	store_drop(f->store);
	assert_true(store_parked_head(f->store, SLICE_LIT("a"), &head, &count));
	assert_true(head.offset == 10 && head.next_ts_ms == 500 && count == 2);
	assert_true(store_parked_of_route(f->store, 5) == 0);
	assert_true(store_parked_of_route(f->store, 2) == 2);
	OK(store_parked_get(f->store, SLICE_LIT("a"), 10, &bytes, &park, err));
	assert_true(park.next_ts_ms == 500);

	commit_items(f, &again, 1);
	commit_items(f, leave, ARRAY_LEN(leave));
	reopen(f);
	assert_false(store_parked_head(f->store, SLICE_LIT("a"), &head, &count));
	store_totals(f->store, &totals);
	assert_true(totals.parked_events == 0 && totals.parked_bytes == 0);
	buf_done(&bytes);
}

static void tries_are_counted_by_offset(void **state)
{
	struct fixture *f = *state;
	struct item items[] = { try_of(5, 1), try_of(6, 2), park_of("a", 6, 1) };
	struct item clear = try_of(5, 0);
	struct parked head;

	OK(store_stage(f->store, &items[0], err));
	assert_int_equal(store_tries(f->store, 5), 1);
	store_drop(f->store);
	assert_int_equal(store_tries(f->store, 5), 0);
	commit_items(f, items, ARRAY_LEN(items));
	reopen(f);
	assert_int_equal(store_tries(f->store, 5), 1);
	assert_int_equal(store_tries(f->store, 6), 2);
	assert_int_equal(store_tries(f->store, 7), 0);
	assert_true(store_parked_head(f->store, SLICE_LIT("a"), &head, NULL));
	assert_int_equal(head.tried, 2);
	commit_items(f, &clear, 1);
	reopen(f);
	assert_int_equal(store_tries(f->store, 5), 0);
	assert_int_equal(store_tries(f->store, 6), 2);
}

static void outputs_come_in_order_until_published(void **state)
{
	struct fixture *f = *state;
	struct item items[] = { out_of(20, 0, OUT_DLQ), out_of(3, 1, OUT_QUARANTINE),
		out_of(3, 0, OUT_DLQ) };
	struct item published = outok_of(3, 0, 100), unknown = outok_of(9, 9, 9);
	struct buf bytes = BUF_INIT(8192);
	struct store_totals totals;
	struct item_out out;

	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		OK(store_stage(f->store, &items[i], err));
	/* Nothing leaves before the batch is valid. */
	IS(store_out_next(f->store, -1, 0, &bytes, &out, err), ERR_NOT_FOUND);
	store_drop(f->store);
	apply_items(f, items, ARRAY_LEN(items), true);
	for (int round = 0; round < 2; round++) {
		OK(store_out_next(f->store, -1, 0, &bytes, &out, err));
		assert_true(out.offset == 3 && out.n == 0 && out.target == OUT_DLQ);
		assert_true(
			slice_eq(out.headers, dead_headers()) && slice_eq_str(out.body, "body"));
		OK(store_out_next(f->store, 3, 0, &bytes, &out, err));
		assert_true(out.offset == 3 && out.n == 1 && out.target == OUT_QUARANTINE);
		OK(store_out_next(f->store, 3, 1, &bytes, &out, err));
		assert_true(out.offset == 20);
		IS(store_out_next(f->store, 20, 0, &bytes, &out, err), ERR_NOT_FOUND);
		OK(store_commit(f->store, err));
		reopen(f);
	}
	OK(store_stage(f->store, &published, err));
	OK(store_out_next(f->store, -1, 0, &bytes, &out, err));
	assert_int_equal(out.n, 1);
	store_drop(f->store);
	OK(store_out_next(f->store, -1, 0, &bytes, &out, err));
	assert_int_equal(out.n, 0);
	commit_items(f, &published, 1);
	commit_items(f, &published, 1); /* said twice */
	commit_items(f, &unknown, 1);
	reopen(f);
	OK(store_out_next(f->store, -1, 0, &bytes, &out, err));
	assert_int_equal(out.n, 1);
	store_totals(f->store, &totals);
	assert_true(totals.outs == 2 && totals.dlq_first == 100);
	buf_done(&bytes);
}

static void published_records_have_entries(void **state)
{
	struct fixture *f = *state;
	struct item outs[] = { out_of(1, 0, OUT_DLQ), out_of(2, 0, OUT_DLQ),
		out_of(3, 0, OUT_QUARANTINE), out_of(4, 0, OUT_DLQ) };
	struct item oks[] = { outok_of(1, 0, 100), outok_of(2, 0, 101), outok_of(3, 0, 7),
		outok_of(4, 0, 105) };
	struct item mark = mark_of(OUT_DLQ, 100, MARK_REPLAYED);
	struct item nothing = mark_of(OUT_DLQ, 1000, MARK_DROPPED);
	struct buf text = BUF_INIT(4096);
	struct store_entry entry;
	struct store_totals totals;

	outs[3].out.headers = SLICE_LIT("not a block"); /* it has an entry all the same */
	commit_items(f, outs, ARRAY_LEN(outs));
	OK(store_stage(f->store, &oks[0], err));
	OK(store_entry_next(f->store, OUT_DLQ, 0, &text, &entry, err));
	assert_true(entry.stream_offset == 100);
	store_drop(f->store);
	IS(store_entry_next(f->store, OUT_DLQ, 0, &text, &entry, err), ERR_NOT_FOUND);

	commit_items(f, oks, ARRAY_LEN(oks));
	reopen(f);
	OK(store_entry_next(f->store, OUT_DLQ, 0, &text, &entry, err));
	assert_true(entry.stream_offset == 100 && entry.offset == 1 && entry.mark == 0);
	assert_true(entry.reason == ERR_HANDLER_REFUSED && entry.id16[0] == 5);
	assert_true(slice_eq_str(entry.event_id, "e1") && slice_eq_str(entry.source, "github"));
	assert_true(slice_eq_str(entry.tenant, "acme") && slice_eq_str(entry.type, "push"));
	assert_true(slice_eq_str(entry.entity, "repo:1") && slice_eq_str(entry.route, "ci"));
	assert_true(entry.received_ms == 1234567890123 && entry.time_ms == 1234567899000);
	OK(store_entry_next(f->store, OUT_DLQ, 102, &text, &entry, err));
	assert_true(entry.stream_offset == 105 && entry.event_id.len == 0);
	OK(store_entry_next(f->store, OUT_QUARANTINE, 0, &text, &entry, err));
	assert_true(entry.stream_offset == 7);

	OK(store_stage(f->store, &mark, err));
	OK(store_stage(f->store, &nothing, err));
	OK(store_entry_next(f->store, OUT_DLQ, 100, &text, &entry, err));
	assert_int_equal(entry.mark, MARK_REPLAYED);
	store_drop(f->store);
	OK(store_entry_next(f->store, OUT_DLQ, 100, &text, &entry, err));
	assert_int_equal(entry.mark, 0);
	store_totals(f->store, &totals);
	assert_true(totals.dlq_first == 100 && totals.quarantine_first == 7);
	commit_items(f, &mark, 1);
	reopen(f);
	OK(store_entry_next(f->store, OUT_DLQ, 100, &text, &entry, err));
	assert_int_equal(entry.mark, MARK_REPLAYED);
	store_totals(f->store, &totals);
	assert_true(totals.dlq_first == 101);

	OK(store_entries_trim(f->store, OUT_DLQ, 102, err));
	OK(store_entry_next(f->store, OUT_DLQ, 0, &text, &entry, err));
	assert_true(entry.stream_offset == 105);
	OK(store_commit(f->store, err));
	reopen(f);
	OK(store_entry_next(f->store, OUT_DLQ, 0, &text, &entry, err));
	assert_true(entry.stream_offset == 105);
	OK(store_entry_next(f->store, OUT_QUARANTINE, 0, &text, &entry, err));
	buf_done(&text);
}

static void route_names_get_numbers_for_good(void **state)
{
	struct fixture *f = *state;
	uint16_t a, b, again;

	OK(store_route(f->store, "", &a, err));
	assert_int_equal(a, 0);
	OK(store_route(f->store, "ci", &a, err));
	OK(store_route(f->store, "files", &b, err));
	OK(store_route(f->store, "ci", &again, err));
	assert_int_equal(a, again);
	assert_int_not_equal(a, b);
	OK(store_commit(f->store, err));
	reopen(f);
	assert_string_equal(store_route_name(f->store, a), "ci");
	assert_string_equal(store_route_name(f->store, b), "files");
	assert_string_equal(store_route_name(f->store, 999), "");
	OK(store_route(f->store, "files", &again, err));
	assert_int_equal(b, again);
}

static void commit_ids(struct fixture *f, uint64_t from, uint64_t count, size_t at_once)
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

static void assert_ids(struct fixture *f, uint64_t from, uint64_t count, enum err_code want)
{
	struct item_seen out;

	for (uint64_t n = from; n < from + count; n++) {
		if (find(f, n, &out) != want)
			fail_msg("id %llu", (unsigned long long)n);
		if (want == ERR_OK)
			assert_true(out.offset == (int64_t)n);
	}
}

static void buckets_are_sealed_and_expire_whole(void **state)
{
	struct fixture *f = *state;
	struct store_totals totals;
	struct item_seen out;
	struct item later = seen(7, OUTCOME_DEAD);

	commit_ids(f, 0, 3000, 250);
	commit_ids(f, 3000, 50, 1);
	now_ms += HOUR_MS; /* a window of eight hours has eight buckets */
	OK(store_maintain(f->store, now_ms, err));
	commit_ids(f, 10000, 500, 99);
	commit_items(f, &later, 1); /* in a newer bucket than its first entry */
	assert_ids(f, 0, 7, ERR_OK);
	assert_ids(f, 8, 3042, ERR_OK);
	assert_ids(f, 10000, 500, ERR_OK);
	assert_ids(f, 20000, 3000, ERR_NOT_FOUND);
	reopen(f);
	assert_ids(f, 8, 3042, ERR_OK);
	assert_ids(f, 10000, 500, ERR_OK);
	assert_ids(f, 20000, 3000, ERR_NOT_FOUND);
	assert_int_equal(find(f, 7, &out), ERR_OK);
	assert_int_equal(out.outcome, OUTCOME_DEAD);
	store_totals(f->store, &totals);
	assert_true(totals.ledger_entries == 3551);

	now_ms += HOUR_MS;
	OK(store_maintain(f->store, now_ms, err)); /* seals the second */
	now_ms += 6 * HOUR_MS;
	OK(store_maintain(
		f->store, now_ms, err)); /* the first is as old as the window, not older */
	assert_ids(f, 8, 3042, ERR_OK);
	now_ms++;
	OK(store_maintain(f->store, now_ms, err));
	assert_ids(f, 0, 7, ERR_NOT_FOUND);
	assert_ids(f, 8, 3042, ERR_NOT_FOUND);
	assert_ids(f, 10000, 500, ERR_OK);
	assert_int_equal(find(f, 7, &out), ERR_OK);
	reopen(f);
	assert_ids(f, 8, 3042, ERR_NOT_FOUND);
	assert_ids(f, 10000, 500, ERR_OK);
	now_ms += HOUR_MS;
	OK(store_maintain(f->store, now_ms, err));
	OK(store_maintain(f->store, now_ms, err));
	assert_ids(f, 10000, 500, ERR_NOT_FOUND);
	store_totals(f->store, &totals);
	assert_true(totals.ledger_entries == 0);
	commit_ids(f, 0, 100, 100);
	assert_ids(f, 0, 100, ERR_OK);
}

static void a_clock_that_goes_back_forgets_nothing(void **state)
{
	struct fixture *f = *state;

	commit_ids(f, 0, 100, 100);
	now_ms -= 5 * HOUR_MS;
	OK(store_maintain(f->store, now_ms, err));
	commit_ids(f, 100, 100, 100);
	now_ms += 5 * HOUR_MS + 7 * HOUR_MS;
	OK(store_maintain(f->store, now_ms, err));
	OK(store_maintain(f->store, now_ms, err));
	assert_ids(f, 0, 200, ERR_OK);
}

static void a_full_ledger_has_no_room(void **state)
{
	struct fixture *f = *state;

	f->opts.ledger_max_bytes = KIB(64);
	store_close(&f->store);
	OK(f->backend->open(&f->opts, &f->store, err));
	OK(store_room(f->store, err));
	commit_ids(f, 0, 5000, 500);
	IS(store_room(f->store, err), ERR_FULL);
	now_ms += HOUR_MS;
	OK(store_maintain(f->store, now_ms, err));
	IS(store_room(f->store, err), ERR_FULL); /* nothing is forgotten early */
	now_ms += 9 * HOUR_MS;
	OK(store_maintain(f->store, now_ms, err));
	OK(store_room(f->store, err));
}

static void views_show_what_is_committed(void **state)
{
	struct fixture *f = *state;
	struct item items[] = { seen(1, OUTCOME_APPLIED), version_of("s", VERSION_INTEGER, 3),
		park_of("p", 4, 100), out_of(5, 0, OUT_DLQ) };
	struct item ok = outok_of(5, 0, 50);
	struct buf bytes = BUF_INIT(4096);
	struct store_view *view = NULL;
	struct store_entry entry;
	struct store_state fold;
	struct item_version v;
	struct item_park park;
	struct item_seen out;

	OK(store_view_open(f->store, &view, err));
	apply_items(f, items, ARRAY_LEN(items), true);
	IS(store_view_seen(view, items[0].seen.id16, &out, err), ERR_NOT_FOUND);
	IS(store_view_version(view, SLICE_LIT("s"), &v, &bytes, err), ERR_NOT_FOUND);
	OK(store_commit(f->store, err));
	commit_items(f, &ok, 1);
	OK(store_view_seen(view, items[0].seen.id16, &out, err));
	assert_true(out.offset == 1);
	OK(store_view_version(view, SLICE_LIT("s"), &v, &bytes, err));
	assert_true(v.version.value == 3);
	OK(store_view_parked(view, SLICE_LIT("p"), 4, &bytes, &park, err));
	assert_true(slice_eq_str(park.body, "body"));
	OK(store_view_parked_at(view, 4, &bytes, &park, err));
	assert_true(slice_eq_str(park.subject, "p"));
	IS(store_view_parked_at(view, 5, &bytes, &park, err), ERR_NOT_FOUND);
	OK(store_view_entry_next(view, OUT_DLQ, 0, &bytes, &entry, err));
	assert_true(entry.stream_offset == 50);
	OK(store_view_state(view, &fold, err));
	assert_true(fold.next_offset == 20);
	store_view_close(&view);
	assert_null(view);
	buf_done(&bytes);
}

static void the_newest_entries_are_listed_first(void **state)
{
	struct fixture *f = *state;
	static struct item_seen list[400];
	struct item again = seen(5, OUTCOME_DEAD);
	struct store_view *view = NULL;
	size_t count = 0;

	commit_ids(f, 0, 150, 40);
	now_ms += HOUR_MS;
	OK(store_maintain(f->store, now_ms, err));
	commit_ids(f, 150, 120, 50);
	commit_items(f, &again, 1);
	OK(store_view_open(f->store, &view, err));
	OK(store_view_recent(view, 10, list, &count, err));
	assert_int_equal(count, 10);
	assert_true(list[0].offset == 5 && list[0].outcome == OUTCOME_DEAD);
	assert_true(list[1].offset == 269 && list[9].offset == 261);
	OK(store_view_recent(view, ARRAY_LEN(list), list, &count, err));
	assert_int_equal(count, 270); /* each event once */
	assert_true(list[269].offset == 0 && list[121].offset == 149);
	store_view_close(&view);
}

struct reader {
	struct store *store;
	uint64_t wrong, reads;
	bool stop; /* atomic, relaxed: it only ends the loop */
};

/* Entries below the committed position are all there, in every transaction. */
static void *read_always(void *arg)
{
	struct reader *reader = arg;
	struct store_view *view = NULL;
	struct err err = ERR_INIT;

	if (store_view_open(reader->store, &view, &err) != ERR_OK)
		return NULL;
	while (!__atomic_load_n(&reader->stop, __ATOMIC_RELAXED)) {
		struct store_state fold;
		struct item_seen out;
		uint8_t id16[ID16_LEN];

		if (store_view_state(view, &fold, &err) != ERR_OK)
			reader->wrong++;
		else if (fold.next_offset > 0) {
			make_id((uint64_t)fold.next_offset / 10 * 50 - 1, id16);
			reader->wrong += store_view_seen(view, id16, &out, &err) != ERR_OK;
		}
		reader->reads++;
	}
	store_view_close(&view);
	return NULL;
}

static void other_threads_read_while_the_owner_commits_and_grows(void **state)
{
	struct fixture *f = *state;
	struct reader reader = { .store = f->store };
	struct thread thread = { .running = false };

	OK(thread_start(&thread, "reader", read_always, &reader, err));
	commit_ids(f, 0, 30000, 50); /* the map starts with one megabyte */
	__atomic_store_n(&reader.stop, true, __ATOMIC_RELAXED);
	thread_join(&thread);
	assert_true(reader.wrong == 0);
	assert_true(reader.reads > 0);
}

/* Random changes against a plain model, dropped, committed and reopened at random. */
#define MODEL_SUBJECTS 12
#define MODEL_OFFSETS 40
struct model {
	unsigned outcome[200];
	int64_t version[MODEL_SUBJECTS];
	int64_t next[MODEL_SUBJECTS][MODEL_OFFSETS]; /* 0: not parked */
	unsigned tries[MODEL_OFFSETS];
};

static uint32_t random_below(uint64_t *seed, uint32_t below)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((*seed >> 33) % below);
}

static struct item random_item(uint64_t *seed, struct model *model, char subject[8])
{
	uint32_t kind = random_below(seed, 8), s = random_below(seed, MODEL_SUBJECTS);
	uint32_t offset = random_below(seed, MODEL_OFFSETS), n = random_below(seed, 200);

	(void)snprintf(subject, 8, "s%u", s);
	if (kind < 3) {
		enum outcome outcome = (enum outcome)(1 + random_below(seed, 5));

		model->outcome[n] = outcome;
		return seen(n, outcome);
	}
	if (kind == 3) {
		model->version[s] = 1 + random_below(seed, 1000);
		return version_of(subject, VERSION_INTEGER, model->version[s]);
	}
	if (kind == 4) {
		model->tries[offset] = random_below(seed, 3);
		return try_of(offset, model->tries[offset]);
	}
	if (kind < 7) {
		model->next[s][offset] = 1 + random_below(seed, 1000);
		return park_of(subject, offset, model->next[s][offset]);
	}
	model->next[s][offset] = 0;
	return unpark_of(subject, offset);
}

static void assert_subject(struct fixture *f, const struct model *model, uint32_t s, int64_t *due)
{
	struct parked list[MODEL_OFFSETS];
	struct buf text = BUF_INIT(4096);
	struct item_version v = { .version = { VERSION_NONE, 0 } };
	char subject[8];
	size_t count, at = 0;

	(void)snprintf(subject, sizeof(subject), "s%u", s);
	count = store_parked_list(f->store, slice_str(subject), list, MODEL_OFFSETS);
	for (uint32_t offset = 0; offset < MODEL_OFFSETS; offset++) {
		if (model->next[s][offset] == 0)
			continue;
		assert_true(at < count && list[at].offset == offset);
		assert_true(list[at].next_ts_ms == model->next[s][offset]);
		if (at++ == 0 && model->next[s][offset] < *due)
			*due = model->next[s][offset];
	}
	assert_true(at == count);
	IS(store_version(f->store, slice_str(subject), &v, &text, err),
		model->version[s] ? ERR_OK : ERR_NOT_FOUND);
	assert_true(v.version.value == model->version[s]);
	buf_done(&text);
}

static void assert_model(struct fixture *f, const struct model *model)
{
	int64_t due = INT64_MAX;
	struct item_seen out;

	for (uint64_t n = 0; n < ARRAY_LEN(model->outcome); n++) {
		enum err_code rc = find(f, n, &out);

		assert_int_equal(rc, model->outcome[n] ? ERR_OK : ERR_NOT_FOUND);
		if (rc == ERR_OK)
			assert_int_equal(out.outcome, model->outcome[n]);
	}
	for (uint32_t s = 0; s < MODEL_SUBJECTS; s++)
		assert_subject(f, model, s, &due);
	assert_true(store_parked_next(f->store) == due);
	for (uint32_t offset = 0; offset < MODEL_OFFSETS; offset++)
		assert_int_equal(store_tries(f->store, offset), model->tries[offset]);
}

static void random_changes_agree_with_a_model(void **state)
{
	struct fixture *f = *state;
	struct model committed = { .version = { 0 } }, staged;
	uint64_t seed = 20261122;

	for (int round = 0; round < 150; round++) {
		struct item items[30];
		char subjects[30][8];
		size_t count = random_below(&seed, 30);
		uint32_t fate = random_below(&seed, 4);

		staged = committed;
		for (size_t i = 0; i < count; i++)
			items[i] = random_item(&seed, &staged, subjects[i]);
		if (fate == 0) {
			for (size_t i = 0; i < count; i++)
				OK(store_stage(f->store, &items[i], err));
			assert_model(f, &staged);
			store_drop(f->store);
		} else {
			apply_items(f, items, count, fate > 1);
			committed = staged;
			assert_model(f, &committed);
			OK(store_commit(f->store, err));
		}
		if (round % 10 == 9) {
			now_ms += HOUR_MS / 4;
			OK(store_maintain(f->store, now_ms, err));
			OK(store_commit(f->store, err));
			reopen(f);
		}
		assert_model(f, &committed);
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_new_store_knows_nothing),
		T(an_entry_is_seen_from_its_staging_on),
		T(the_position_moves_with_the_commit),
		T(a_batch_that_does_not_follow_is_refused),
		T(a_foreign_batch_is_folded_from_its_bytes),
		T(what_is_staged_outlives_the_commit_of_the_applied),
		T(versions_are_kept_by_subject),
		T(an_event_without_version_keeps_the_stored_one),
		T(parked_events_wait_behind_their_head),
		T(parking_again_and_unparking_can_be_taken_back),
		T(tries_are_counted_by_offset),
		T(outputs_come_in_order_until_published),
		T(published_records_have_entries),
		T(route_names_get_numbers_for_good),
		T(buckets_are_sealed_and_expire_whole),
		T(a_clock_that_goes_back_forgets_nothing),
		T(a_full_ledger_has_no_room),
		T(views_show_what_is_committed),
		T(the_newest_entries_are_listed_first),
		T(other_threads_read_while_the_owner_commits_and_grows),
		T(random_changes_agree_with_a_model),
	};
	int failed = 0;

	for (backend_index = 0; backend_index < ARRAY_LEN(backends); backend_index++)
		failed += cmocka_run_group_tests_name(
			backends[backend_index].name, tests, NULL, NULL);
	return failed != 0;
}
