/* walk.c - all that lives, row by row, as the items that would make it: routes, versions, parked
 * events, tries, outputs that wait, and the index.
 *
 * The ledger is not among it: what it knows is forgotten after a while and never written again.
 * Deliberately not here: how fast, and what it is good for (worker). */
#include "store_priv.h"

/* What is looked at one after the other, and which uncommitted changes stand for its rows. */
static const struct step {
	enum kv_table table;
	enum item_type type;
	enum key_class class;
} steps[] = {
	{ KV_ROUTES, ITEM_ROUTE, KEY_ROUTE },
	{ KV_VERSIONS, ITEM_VERSION, KEY_VERSION },
	{ KV_PARKED, ITEM_PARK, KEY_PARKED },
	{ KV_TRIES, ITEM_TRY, KEY_TRY },
	{ KV_OUTS, ITEM_OUT, KEY_OUT },
	{ KV_DLQ, ITEM_ENTRY, KEY_ENTRY },
	{ KV_QUARANTINE, ITEM_ENTRY, KEY_ENTRY },
};

static enum err_code entry_item(
	struct slice payload, enum kv_table table, struct item *out, struct err *err)
{
	struct store_entry entry;
	enum err_code rc = entry_decode(payload, &entry, err);

	if (rc != ERR_OK)
		return rc;
	*out = (struct item){ .type = ITEM_ENTRY,
		.entry = { .target = table == KV_DLQ ? OUT_DLQ : OUT_QUARANTINE,
			.stream_offset = entry.stream_offset,
			.offset = entry.offset,
			.time_ms = entry.time_ms,
			.received_ms = entry.received_ms,
			.reason = entry.reason,
			.bytes = entry.bytes,
			.mark = entry.mark,
			.event_id = entry.event_id,
			.source = entry.source,
			.tenant = entry.tenant,
			.type = entry.type,
			.entity = entry.entity,
			.route = entry.route } };
	memcpy(out->entry.id16, entry.id16, ID16_LEN);
	return ERR_OK;
}

static enum err_code item_of(
	const struct step *step, const struct header *row, struct item *out, struct err *err)
{
	if (step->type == ITEM_ENTRY)
		return entry_item(row->value, step->table, out, err);
	if (step->type != ITEM_ROUTE)
		return row_item(row->value, step->type, out, err);
	if (row->name.len != 2)
		return err_set(err, ERR_CORRUPT, "a route's number does not decode");
	*out = (struct item){ .type = ITEM_ROUTE,
		.route = { .number = (uint16_t)(row->name.data[0] << 8 | row->name.data[1]),
			.name = row->value } };
	return ERR_OK;
}

static struct change_key key_of(const struct step *step, const struct item *item)
{
	struct change_key key = { .class = step->class };

	switch (step->class) {
	case KEY_ROUTE: key.offset = item->route.number; break;
	case KEY_VERSION: key.bytes = item->version.subject; break;
	case KEY_PARKED:
		key.bytes = item->park.subject;
		key.offset = item->park.offset;
		break;
	case KEY_TRY: key.offset = item->attempt.offset; break;
	case KEY_OUT:
		key.offset = item->out.offset;
		key.n = item->out.n;
		break;
	case KEY_ENTRY:
		key.offset = item->entry.stream_offset;
		key.n = item->entry.target;
		break;
	case KEY_SEEN: break;
	}
	return key;
}

/* Out of the transaction, into the buffer. */
static enum err_code copy(
	const struct item *from, struct buf *bytes, struct item *out, struct err *err)
{
	size_t at = 0;
	enum err_code rc;

	buf_reset(bytes);
	rc = journal_put_item(bytes, from, err);
	return rc == ERR_OK ? journal_get_item(buf_slice(bytes), &at, out, err) : rc;
}

/* The next row of the step. ERR_NOT_FOUND: no more; *out_skip: an uncommitted change stands for it.
 */
static enum err_code next_row(struct store *store, struct store_walk *walk, struct buf *bytes,
	struct item *out, bool *out_skip, struct err *err)
{
	const struct step *step = &steps[walk->step];
	struct row_key key = { .len = 0 };
	struct kv_txn *txn = NULL;
	struct header row;
	struct item item;
	enum err_code rc = kv_begin(store->kv, false, &txn, err);

	if (rc != ERR_OK)
		return rc;
	if (walk->len > 0)
		row_key_after(&key, (struct slice){ walk->key, walk->len });
	else
		key.len = 1;
	rc = row_seek(txn, step->table, KV_AT_LEAST, row_key_slice(&key), &row, err);
	if (rc == ERR_OK) {
		walk->len = row.name.len;
		memcpy(walk->key, row.name.data, row.name.len);
		rc = item_of(step, &row, &item, err);
	}
	if (rc == ERR_OK) {
		const struct change_key change = key_of(step, &item);

		*out_skip = overlay_find(&store->overlay, &change) != NULL;
		if (!*out_skip)
			rc = copy(&item, bytes, out, err);
	}
	kv_abort(txn);
	return rc;
}

enum err_code store_walk(struct store *store, struct store_walk *walk, struct buf *bytes,
	struct item *out, struct err *err)
{
	while (walk->step < ARRAY_LEN(steps)) {
		bool skip = false;
		enum err_code rc = next_row(store, walk, bytes, out, &skip, err);

		if (rc == ERR_NOT_FOUND) {
			walk->step++;
			walk->len = 0;
		} else if (rc != ERR_OK || !skip) {
			return rc;
		}
	}
	return ERR_NOT_FOUND;
}
