/* store_outputs.c - records on their way to another stream, and the entries that remain of them,
 * over every backend. */
#include "postern/store.h"

#include "support/store_kit.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(outputs_come_in_order_until_published),
		T(published_records_have_entries),
	};

	RUN_BACKENDS(tests);
}
