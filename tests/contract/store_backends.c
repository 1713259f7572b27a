/* store_backends.c - what a store promises, over every backend: staging and dropping, batches,
 * versions, parked events, tries, route names.
 *
 * Not here: outputs and entries, the ledger over time, views, random changes (store_outputs.c and
 * so on). */
#include "postern/store.h"

#include "support/store_kit.h"

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
		T(route_names_get_numbers_for_good),
	};

	RUN_BACKENDS(tests);
}
