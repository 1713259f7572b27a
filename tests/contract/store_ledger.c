/* store_ledger.c - the ledger over time, over every backend: buckets are sealed and expire, and
 * room ends. */
#include "postern/store.h"

#include "support/store_kit.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(buckets_are_sealed_and_expire_whole),
		T(a_clock_that_goes_back_forgets_nothing),
		T(a_full_ledger_has_no_room),
	};

	RUN_BACKENDS(tests);
}
