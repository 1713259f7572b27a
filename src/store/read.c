/* read.c - what the owner sees: uncommitted changes first, then what is committed.
 *
 * Deliberately not here: reads from other threads and processes (view.c). */
#include "store_priv.h"

#include <assert.h>

enum err_code store_seen(
	struct store *store, const uint8_t id16[ID16_LEN], struct item_seen *out, struct err *err)
{
	struct change_key key = { .class = KEY_SEEN, .bytes = { id16, ID16_LEN } };
	struct change *change = overlay_find(&store->overlay, &key);
	struct kv_txn *txn = NULL;
	enum err_code rc;

	if (change)
		return ledger_entry(
			slice_sub(overlay_bytes(&store->overlay, change), 5, JOURNAL_SEEN_LEN), 0,
			out, err);
	if (!store->read_only && !ledger_may_have(&store->ledger, id16))
		return ERR_NOT_FOUND;
	rc = kv_begin(store->kv, false, &txn, err);
	if (rc != ERR_OK)
		return rc;
	rc = store->read_only ? ledger_view_find(txn, id16, out, err)
			      : ledger_find(&store->ledger, txn, id16, out, err);
	kv_abort(txn);
	return rc;
}

enum err_code store_version(struct store *store, struct slice subject, struct item_version *out,
	struct buf *text, struct err *err)
{
	struct change_key key = { .class = KEY_VERSION, .bytes = subject };
	struct change *change = overlay_find(&store->overlay, &key);
	struct kv_txn *txn = NULL;
	struct item item;
	enum err_code rc;

	if (change) {
		rc = row_item(overlay_bytes(&store->overlay, change), ITEM_VERSION, &item, err);
		return rc == ERR_OK ? copy_version(&item.version, text, out, err) : rc;
	}
	rc = kv_begin(store->kv, false, &txn, err);
	if (rc != ERR_OK)
		return rc;
	rc = row_version(txn, subject, &item, err);
	if (rc == ERR_OK)
		rc = copy_version(&item.version, text, out, err);
	kv_abort(txn);
	return rc;
}

static void fill_parked(struct store *store, const struct park_node *node, struct parked *out)
{
	*out = node->parked;
	out->tried = store_tries(store, node->parked.offset);
}

bool store_parked_head(
	struct store *store, struct slice subject, struct parked *out, size_t *out_count)
{
	const struct park_node *first = park_first(&store->park, subject, out_count);

	if (first && out)
		fill_parked(store, first, out);
	return first != NULL;
}

void store_parked_each(struct store *store, struct slice subject, store_parked_fn *look, void *ctx)
{
	const struct park_node *node = park_first(&store->park, subject, NULL);

	while (node && look(ctx, &node->parked))
		node = node->after;
}

size_t store_parked_list(struct store *store, struct slice subject, struct parked *out, size_t max)
{
	const struct park_node *node = park_first(&store->park, subject, NULL);
	size_t count = 0;

	for (; node && count < max; node = node->after)
		fill_parked(store, node, &out[count++]);
	return count;
}

enum err_code store_parked_get(struct store *store, struct slice subject, int64_t offset,
	struct buf *bytes, struct item_park *out, struct err *err)
{
	struct change_key key = { .class = KEY_PARKED, .bytes = subject, .offset = offset };
	struct change *change = overlay_find(&store->overlay, &key);
	struct kv_txn *txn = NULL;
	struct item item;
	enum err_code rc;

	if (change && change->kind == CHANGE_UNPARK)
		return ERR_NOT_FOUND;
	if (change) {
		rc = row_item(overlay_bytes(&store->overlay, change), ITEM_PARK, &item, err);
		return rc == ERR_OK ? copy_parked(&item.park, bytes, out, err) : rc;
	}
	rc = kv_begin(store->kv, false, &txn, err);
	if (rc != ERR_OK)
		return rc;
	rc = row_parked(txn, subject, offset, &item, err);
	if (rc == ERR_OK)
		rc = copy_parked(&item.park, bytes, out, err);
	kv_abort(txn);
	return rc;
}

enum err_code store_parked_due(struct store *store, int64_t now_ms, size_t skip,
	struct buf *subject, struct parked *out, struct err *err)
{
	struct slice name;
	const struct park_node *node = park_due(&store->park, skip, &name);
	enum err_code rc;

	if (!node || node->parked.next_ts_ms > now_ms)
		return ERR_NOT_FOUND;
	buf_reset(subject);
	rc = buf_put_slice(subject, name, err);
	if (rc == ERR_OK)
		fill_parked(store, node, out);
	return rc;
}

int64_t store_parked_next(struct store *store)
{
	struct slice name;
	const struct park_node *node = park_due(&store->park, 0, &name);

	return node ? node->parked.next_ts_ms : INT64_MAX;
}

void store_parked_size(struct store *store, uint64_t *out_events, uint64_t *out_bytes)
{
	*out_events = store->park.events;
	*out_bytes = store->park.bytes;
}

uint64_t store_parked_of_route(struct store *store, uint16_t route)
{
	return route < store->park.routes ? store->park.of_route[route] : 0;
}

/* A row that cannot be read counts as one try: suspicion is the safe answer. */
unsigned store_tries(struct store *store, int64_t offset)
{
	struct change_key key = { .class = KEY_TRY, .offset = offset };
	struct change *change = overlay_find(&store->overlay, &key);
	struct row_key row = key_of_offset(offset);
	struct kv_txn *txn = NULL;
	struct slice payload;
	struct item item;
	enum err_code rc;

	if (change) {
		rc = row_item(overlay_bytes(&store->overlay, change), ITEM_TRY, &item, NULL);
		return rc == ERR_OK ? item.attempt.n : 1;
	}
	if (store->tries == 0)
		return 0;
	if (kv_begin(store->kv, false, &txn, NULL) != ERR_OK)
		return 1;
	rc = row_get(txn, KV_TRIES, row_key_slice(&row), &payload, NULL);
	if (rc == ERR_OK)
		rc = row_item(payload, ITEM_TRY, &item, NULL);
	kv_abort(txn);
	return rc == ERR_OK ? item.attempt.n : rc != ERR_NOT_FOUND;
}

enum err_code out_find(struct store *store, int64_t offset, uint32_t n, struct buf *bytes,
	struct item_out *out, struct err *err)
{
	struct change_key key = { .class = KEY_OUT, .offset = offset, .n = n };
	struct change *change = overlay_find(&store->overlay, &key);
	struct row_key row = key_of_out(offset, n);
	struct kv_txn *txn = NULL;
	struct slice payload;
	struct item item;
	enum err_code rc;

	if (change && change->kind == CHANGE_OUTOK)
		return ERR_NOT_FOUND;
	if (change) {
		rc = row_item(overlay_bytes(&store->overlay, change), ITEM_OUT, &item, err);
		return rc == ERR_OK ? copy_out(&item.out, bytes, out, err) : rc;
	}
	rc = kv_begin(store->kv, false, &txn, err);
	if (rc != ERR_OK)
		return rc;
	rc = row_get(txn, KV_OUTS, row_key_slice(&row), &payload, err);
	if (rc == ERR_OK)
		rc = row_item(payload, ITEM_OUT, &item, err);
	if (rc == ERR_OK)
		rc = copy_out(&item.out, bytes, out, err);
	kv_abort(txn);
	return rc;
}

enum err_code store_out_next(struct store *store, int64_t from_offset, uint32_t from_n,
	struct buf *bytes, struct item_out *out, struct err *err)
{
	const struct out_node *node =
		outs_after(&store->outs, from_offset, from_n, overlay_applied_to(&store->overlay));

	return node ? out_find(store, node->offset, node->n, bytes, out, err) : ERR_NOT_FOUND;
}

enum err_code entry_find(struct store *store, struct kv_txn *txn, enum out_target target,
	int64_t stream_offset, struct store_entry *out, struct err *err)
{
	struct change_key key = { .class = KEY_ENTRY, .offset = stream_offset, .n = target };
	struct change *change = overlay_find(&store->overlay, &key);
	enum err_code rc;

	if (stream_offset < store->trim[target - 1])
		return ERR_NOT_FOUND;
	if (change)
		return entry_decode(overlay_bytes(&store->overlay, change), out, err);
	rc = row_entry_next(txn, target, stream_offset, out, err);
	return rc == ERR_OK && out->stream_offset != stream_offset ? ERR_NOT_FOUND : rc;
}

/* The smallest uncommitted entry at or behind `from`; INT64_MAX: none. */
static int64_t uncommitted_entry(struct store *store, enum out_target target, int64_t from)
{
	int64_t first = INT64_MAX;

	for (size_t i = 0; i < store->overlay.count; i++) {
		const struct change *change = &store->overlay.changes[i];

		if (change->kind == CHANGE_ENTRY && change->n == (uint32_t)target &&
			change->offset >= from && change->offset < first)
			first = change->offset;
	}
	return first;
}

static enum err_code entry_next(struct store *store, struct kv_txn *txn, enum out_target target,
	int64_t from, struct store_entry *out, struct err *err)
{
	int64_t first;
	enum err_code rc;

	if (from < store->trim[target - 1])
		from = store->trim[target - 1];
	first = uncommitted_entry(store, target, from);
	rc = row_entry_next(txn, target, from, out, err);
	if (rc != ERR_OK && rc != ERR_NOT_FOUND)
		return rc;
	if (rc == ERR_OK && out->stream_offset < first)
		return rc;
	return first == INT64_MAX ? ERR_NOT_FOUND : entry_find(store, txn, target, first, out, err);
}

enum err_code store_entry_next(struct store *store, enum out_target target, int64_t from,
	struct buf *text, struct store_entry *out, struct err *err)
{
	struct kv_txn *txn = NULL;
	struct store_entry entry;
	enum err_code rc = kv_begin(store->kv, false, &txn, err);

	assert(target == OUT_DLQ || target == OUT_QUARANTINE);
	if (rc != ERR_OK)
		return rc;
	rc = entry_next(store, txn, target, from, &entry, err);
	if (rc == ERR_OK)
		rc = copy_entry(&entry, text, out, err);
	kv_abort(txn);
	return rc;
}

/* The first entry without a mark. Marks are never taken back, so the search goes on where it ended.
 */
static int64_t first_wanted(struct store *store, enum out_target target)
{
	int64_t *wanted = &store->wanted[target - 1];
	struct kv_txn *txn = NULL;
	struct store_entry entry;
	int64_t first = INT64_MAX;

	if (kv_begin(store->kv, false, &txn, NULL) != ERR_OK)
		return *wanted;
	while (row_entry_next(txn, target, *wanted, &entry, NULL) == ERR_OK) {
		*wanted = entry.stream_offset;
		if (entry.mark == 0) {
			first = entry.stream_offset;
			break;
		}
		++*wanted;
	}
	kv_abort(txn);
	return first;
}

void store_totals(struct store *store, struct store_totals *out)
{
	struct kv_size size;

	store->kv->ops->measure(store->kv, &size);
	*out = (struct store_totals){
		.parked_events = store->park.events,
		.parked_bytes = store->park.bytes,
		.ledger_entries = ledger_entries(&store->ledger),
		.ledger_bytes = size.ledger_bytes,
		.map_bytes = size.map_bytes,
		.file_bytes = size.file_bytes,
		.outs = tree_size(&store->outs.tree),
		.dlq_first = first_wanted(store, OUT_DLQ),
		.quarantine_first = first_wanted(store, OUT_QUARANTINE),
	};
}
