/* view.c - what is committed, for other threads and processes: a short transaction for each
 * question.
 *
 * Deliberately not here: anything that the owner keeps in memory. */
#include "store_priv.h"

#include <assert.h>
#include <stdlib.h>

enum err_code store_view_open(struct store *store, struct store_view **out, struct err *err)
{
	struct store_view *view = malloc(sizeof(*view));

	if (!view)
		return err_set(err, ERR_NOMEM, "no memory for a view");
	view->store = store;
	*out = view;
	return ERR_OK;
}

void store_view_close(struct store_view **view)
{
	free(*view);
	*view = NULL;
}

static enum err_code begin(struct store_view *view, struct kv_txn **out, struct err *err)
{
	return kv_begin(view->store->kv, false, out, err);
}

enum err_code store_view_state(struct store_view *view, struct store_state *out, struct err *err)
{
	struct kv_txn *txn = NULL;
	enum err_code rc = begin(view, &txn, err);

	if (rc != ERR_OK)
		return rc;
	rc = state_read(txn, out, err);
	kv_abort(txn);
	return rc;
}

enum err_code store_view_seen(struct store_view *view, const uint8_t id16[ID16_LEN],
	struct item_seen *out, struct err *err)
{
	struct kv_txn *txn = NULL;
	enum err_code rc = begin(view, &txn, err);

	if (rc != ERR_OK)
		return rc;
	rc = ledger_view_find(txn, id16, out, err);
	kv_abort(txn);
	return rc;
}

enum err_code store_view_seen_all(struct store_view *view, const uint8_t (*ids)[ID16_LEN],
	size_t count, struct item_seen *out, struct err *err)
{
	struct kv_txn *txn = NULL;
	enum err_code rc = begin(view, &txn, err);

	if (rc != ERR_OK)
		return rc;
	rc = ledger_view_find_all(txn, ids, count, out, err);
	kv_abort(txn);
	return rc;
}

enum err_code store_view_version(struct store_view *view, struct slice subject,
	struct item_version *out, struct buf *text, struct err *err)
{
	struct kv_txn *txn = NULL;
	struct item item;
	enum err_code rc = begin(view, &txn, err);

	if (rc != ERR_OK)
		return rc;
	rc = row_version(txn, subject, &item, err);
	if (rc == ERR_OK)
		rc = copy_version(&item.version, text, out, err);
	kv_abort(txn);
	return rc;
}

enum err_code store_view_parked(struct store_view *view, struct slice subject, int64_t offset,
	struct buf *bytes, struct item_park *out, struct err *err)
{
	struct kv_txn *txn = NULL;
	struct item item;
	enum err_code rc = begin(view, &txn, err);

	if (rc != ERR_OK)
		return rc;
	rc = row_parked(txn, subject, offset, &item, err);
	if (rc == ERR_OK)
		rc = copy_parked(&item.park, bytes, out, err);
	kv_abort(txn);
	return rc;
}

/* The key ends with the offset, so only the row that is wanted is read. */
static enum err_code parked_at(
	struct kv_txn *txn, int64_t offset, struct item *out, struct err *err)
{
	struct row_key key = { .len = 1 }, want = key_of_offset(offset);

	for (;;) {
		struct header row;
		enum err_code rc =
			kv_seek(txn, KV_PARKED, KV_AT_LEAST, row_key_slice(&key), &row, err);

		if (rc != ERR_OK)
			return rc;
		if (slice_eq(slice_sub(row.name, ID16_LEN, row.name.len), row_key_slice(&want))) {
			struct slice payload;

			rc = row_get(txn, KV_PARKED, row.name, &payload, err);
			return rc == ERR_OK ? row_item(payload, ITEM_PARK, out, err) : rc;
		}
		row_key_after(&key, row.name);
	}
}

enum err_code store_view_parked_at(struct store_view *view, int64_t offset, struct buf *bytes,
	struct item_park *out, struct err *err)
{
	struct kv_txn *txn = NULL;
	struct item item;
	enum err_code rc = begin(view, &txn, err);

	if (rc != ERR_OK)
		return rc;
	rc = parked_at(txn, offset, &item, err);
	if (rc == ERR_OK)
		rc = copy_parked(&item.park, bytes, out, err);
	kv_abort(txn);
	return rc;
}

enum err_code store_view_entry_next(struct store_view *view, enum out_target target, int64_t from,
	struct buf *text, struct store_entry *out, struct err *err)
{
	struct kv_txn *txn = NULL;
	struct store_entry entry;
	enum err_code rc = begin(view, &txn, err);

	assert(target == OUT_DLQ || target == OUT_QUARANTINE);
	if (rc != ERR_OK)
		return rc;
	rc = row_entry_next(txn, target, from, &entry, err);
	if (rc == ERR_OK)
		rc = copy_entry(&entry, text, out, err);
	kv_abort(txn);
	return rc;
}

enum err_code store_view_recent(struct store_view *view, size_t max, struct item_seen *out,
	size_t *out_count, struct err *err)
{
	struct kv_txn *txn = NULL;
	enum err_code rc = begin(view, &txn, err);

	if (rc != ERR_OK)
		return rc;
	rc = ledger_view_recent(txn, max, out, out_count, err);
	kv_abort(txn);
	return rc;
}
