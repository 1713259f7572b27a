/* journal.c - batches and items: what decodes is exactly what its encoding says, and nothing else
 * decodes.
 *
 * A fuzzer cannot find checksums, so the items are also tried alone, and the input is wrapped in a
 * batch with a right checksum. */
#include "postern/journal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(bool truth)
{
	if (!truth)
		abort();
}

/* One encoding for each item: decode, encode, the same bytes. */
static void as_items(struct slice data)
{
	struct buf out = BUF_INIT(JOURNAL_EMBEDDED_MAX);
	struct err err = ERR_INIT;
	struct item item;
	size_t at = 0;

	while (at < data.len && journal_get_item(data, &at, &item, &err) == ERR_OK)
		same(journal_put_item(&out, &item, &err) == ERR_OK);
	same((err.code == ERR_OK) == (at >= data.len));
	same(slice_eq(buf_slice(&out), slice_sub(data, 0, at)));
	buf_done(&out);
}

static void as_batch(struct slice batch)
{
	struct journal_state state = { .epoch = 1, .seq = 3 }, before = state;
	struct journal_header header;
	struct err err = ERR_INIT;
	struct item item;
	size_t at = 0, count = 0;
	enum err_code rc;

	if (journal_open(batch, &header, &err) != ERR_OK)
		return;
	while ((rc = journal_next(batch, &at, &item, &err)) == ERR_OK)
		count++;
	same(rc == ERR_CORRUPT || (rc == ERR_NOT_FOUND && count == header.items));
	if (!journal_judge(&state, &header))
		same(state.epoch == before.epoch && state.seq == before.seq &&
			state.released == before.released &&
			memcmp(state.writer, before.writer, WRITER_LEN) == 0);
}

/* The fields of a header, and the rest as items, with a checksum that agrees. */
static void as_wrapped(struct slice data)
{
	struct cursor c = CURSOR(data);
	struct journal_header header = { .epoch = cursor_u64(&c) }, again;
	struct buf batch = BUF_INIT(JOURNAL_EMBEDDED_MAX);
	struct err err = ERR_INIT;
	struct item item;
	size_t at = 0;

	header.type = (enum journal_type)(1 + cursor_u8(&c) % 3);
	header.seq = cursor_u64(&c);
	header.next_offset = (int64_t)cursor_u64(&c);
	header.generation = cursor_u32(&c);
	same(journal_begin(&batch, &err) == ERR_OK);
	while (at < c.rest.len && journal_get_item(c.rest, &at, &item, NULL) == ERR_OK) {
		same(journal_add(&batch, &item, &err) == ERR_OK);
		header.items++;
	}
	same(journal_end(&batch, &header, &err) == ERR_OK);
	same(journal_open(buf_slice(&batch), &again, &err) == ERR_OK);
	same(again.type == header.type && again.epoch == header.epoch && again.seq == header.seq);
	same(again.next_offset == header.next_offset && again.items == header.items);
	same(slice_eq(journal_items(buf_slice(&batch)), slice_sub(c.rest, 0, at)));
	as_batch(buf_slice(&batch));
	buf_done(&batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = { data, size };

	as_items(input);
	as_batch(input);
	as_wrapped(input);
	return 0;
}

#include "replay_main.inc"
