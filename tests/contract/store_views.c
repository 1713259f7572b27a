/* store_views.c - what other threads see of a store, over every backend: only what is committed. */
#include "postern/store.h"

#include "support/store_kit.h"
#include "postern/thread.h"

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

static void many_are_looked_up_at_once(void **state)
{
	static const struct {
		uint64_t n;
		enum outcome want;
	} rows[] = {
		{ 5, OUTCOME_DEAD }, /* its newest entry counts */
		{ 0, OUTCOME_APPLIED },
		{ 149, OUTCOME_APPLIED },
		{ 150, OUTCOME_APPLIED },
		{ 9999, OUTCOME_NONE },
		{ 5, OUTCOME_DEAD },
		{ 269, OUTCOME_APPLIED },
		{ 9999, OUTCOME_NONE },
	};
	struct fixture *f = *state;
	struct item again = seen(5, OUTCOME_DEAD);
	struct item_seen out[ARRAY_LEN(rows)];
	uint8_t ids[ARRAY_LEN(rows)][ID16_LEN];
	struct store_view *view = NULL;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		make_id(rows[i].n, ids[i]);
	OK(store_view_open(f->store, &view, err));
	OK(store_view_seen_all(view, ids, ARRAY_LEN(rows), out, err)); /* of an empty ledger */
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(out[i].outcome, OUTCOME_NONE);
	commit_ids(f, 0, 150, 40);
	now_ms += HOUR_MS;
	OK(store_maintain(f->store, now_ms, err));
	commit_ids(f, 150, 120, 50);
	commit_items(f, &again, 1);
	OK(store_view_seen_all(view, ids, 0, out, err));
	OK(store_view_seen_all(view, ids, ARRAY_LEN(rows), out, err));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(out[i].outcome, rows[i].want);
		if (rows[i].want != OUTCOME_NONE)
			assert_true(out[i].offset == (int64_t)rows[i].n);
	}
	store_view_close(&view);
}

struct reader {
	struct store *store;
	uint64_t wrong, reads;
	struct err err; /* the first failure, and the position that was read before it */
	int64_t at;
	bool stop; /* atomic, relaxed: it only ends the loop */
};

/* Entries below the committed position are all there, in every transaction. */
static void read_once(struct reader *reader, struct store_view *view)
{
	struct store_state fold = { .next_offset = 0 };
	struct item_seen out;
	uint8_t id16[ID16_LEN];
	enum err_code rc = store_view_state(view, &fold, &reader->err);

	if (rc == ERR_OK && fold.next_offset > 0) {
		make_id((uint64_t)fold.next_offset / 10 * 50 - 1, id16);
		rc = store_view_seen(view, id16, &out, &reader->err);
	}
	if (rc != ERR_OK && reader->wrong++ == 0)
		reader->at = fold.next_offset;
	reader->reads++;
}

static void *read_always(void *arg)
{
	struct reader *reader = arg;
	struct store_view *view = NULL;

	if (store_view_open(reader->store, &view, &reader->err) != ERR_OK)
		return NULL;
	while (!__atomic_load_n(&reader->stop, __ATOMIC_RELAXED))
		read_once(reader, view);
	store_view_close(&view);
	return NULL;
}

static void other_threads_read_while_the_owner_commits_and_grows(void **state)
{
	struct fixture *f = *state;
	struct reader reader = { .store = f->store, .err = ERR_INIT };
	struct thread thread = { .running = false };

	OK(thread_start(&thread, "reader", read_always, &reader, err));
	commit_ids(f, 0, 30000, 50); /* the map starts with one megabyte */
	__atomic_store_n(&reader.stop, true, __ATOMIC_RELAXED);
	thread_join(&thread);
	if (reader.wrong != 0)
		fail_msg("%llu of %llu reads, the first at %lld: %s",
			(unsigned long long)reader.wrong, (unsigned long long)reader.reads,
			(long long)reader.at, reader.err.text);
	assert_true(reader.reads > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(views_show_what_is_committed),
		T(the_newest_entries_are_listed_first),
		T(many_are_looked_up_at_once),
		T(other_threads_read_while_the_owner_commits_and_grows),
	};

	RUN_BACKENDS(tests);
}
