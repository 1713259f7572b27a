/* fold.c - what one item does to the state: a change in the overlay, and the views in memory
 * follow.
 *
 * Everything that can fail comes first; then the change is added and nothing fails any more, so
 * that an item is folded whole or not at all. Undoing takes the newest change back. Deliberately
 * not here: the tables (commit.c). */
#include "store_priv.h"

#include <stdlib.h>

#include "postern/event.h"
#include "postern/text.h"

/* Write the item behind the log, where its change will find it. */
static enum err_code put_item(
	struct store *store, const struct item *item, size_t *out_at, struct err *err)
{
	struct overlay *overlay = &store->overlay;
	enum err_code rc = overlay_reserve(overlay, 0, err);

	*out_at = overlay->log.len;
	return rc == ERR_OK ? journal_put_item(&overlay->log, item, err) : rc;
}

static enum err_code fold_seen(struct store *store, const struct item *item, struct err *err)
{
	struct change_key key = { .class = KEY_SEEN, .bytes = { item->seen.id16, ID16_LEN } };
	size_t at;
	enum err_code rc = put_item(store, item, &at, err);

	if (rc == ERR_OK)
		(void)overlay_add(&store->overlay, CHANGE_SEEN, &key, at);
	return rc;
}

/* The stored version of a subject, wherever it is. */
static enum err_code stored_version(
	struct store *store, struct slice subject, struct version *out, struct err *err)
{
	struct buf text = BUF_INIT(JOURNAL_EMBEDDED_MAX);
	struct item_version stored;
	enum err_code rc = store_version(store, subject, &stored, &text, err);

	if (rc == ERR_OK)
		*out = stored.version;
	buf_done(&text);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

/* An event without a version changes the last event of its entity, and leaves the version alone. */
static enum err_code fold_version(struct store *store, const struct item *item, struct err *err)
{
	struct change_key key = { .class = KEY_VERSION, .bytes = item->version.subject };
	struct item merged = *item;
	enum err_code rc = ERR_OK;
	size_t at;

	if (item->version.version.kind == VERSION_NONE)
		rc = stored_version(store, item->version.subject, &merged.version.version, err);
	if (rc == ERR_OK)
		rc = put_item(store, &merged, &at, err);
	if (rc == ERR_OK)
		(void)overlay_add(&store->overlay, CHANGE_VERSION, &key, at);
	return rc;
}

static enum err_code fold_park(struct store *store, const struct item *item, struct err *err)
{
	const struct item_park *park = &item->park;
	struct change_key key = {
		.class = KEY_PARKED, .bytes = park->subject, .offset = park->offset
	};
	enum err_code rc = park_reserve(&store->park, park->subject, park->route, err);
	struct park_node *node;
	struct change *change;
	size_t at;

	if (rc != ERR_OK)
		return rc;
	node = park_node_new(park);
	if (!node)
		rc = err_set(err, ERR_NOMEM, "no memory for a parked event");
	if (rc == ERR_OK)
		rc = put_item(store, item, &at, err);
	if (rc != ERR_OK) {
		free(node);
		park_tidy(&store->park, park->subject);
		return rc;
	}
	change = overlay_add(&store->overlay, CHANGE_PARK, &key, at);
	change->was_parked = park_put(&store->park, park->subject, node);
	return ERR_OK;
}

static enum err_code fold_unpark(struct store *store, const struct item *item, struct err *err)
{
	const struct item_unpark *unpark = &item->unpark;
	struct change_key key = {
		.class = KEY_PARKED, .bytes = unpark->subject, .offset = unpark->offset
	};
	struct change *change;
	size_t at;
	enum err_code rc = put_item(store, item, &at, err);

	if (rc != ERR_OK)
		return rc;
	change = overlay_add(&store->overlay, CHANGE_UNPARK, &key, at);
	change->was_parked = park_take(&store->park, unpark->subject, unpark->offset);
	return ERR_OK;
}

static enum err_code fold_out(struct store *store, const struct item *item, struct err *err)
{
	const struct item_out *out = &item->out;
	struct change_key key = { .class = KEY_OUT, .offset = out->offset, .n = out->n };
	struct out_node *node =
		out_node_new(out->offset, out->n, store->overlay.first + store->overlay.count);
	struct change *change;
	size_t at;
	enum err_code rc;

	if (!node)
		return err_set(err, ERR_NOMEM, "no memory for an output");
	rc = put_item(store, item, &at, err);
	if (rc != ERR_OK) {
		free(node);
		return rc;
	}
	change = overlay_add(&store->overlay, CHANGE_OUT, &key, at);
	change->was_out = outs_put(&store->outs, node);
	/* Written again it waits as it did. */
	if (change->was_out)
		node->since = change->was_out->since;
	return ERR_OK;
}

static enum err_code fold_try(struct store *store, const struct item *item, struct err *err)
{
	struct change_key key = { .class = KEY_TRY, .offset = item->attempt.offset };
	size_t at;
	enum err_code rc = put_item(store, item, &at, err);

	if (rc == ERR_OK)
		(void)overlay_add(&store->overlay, CHANGE_TRY, &key, at);
	return rc;
}

static enum err_code fold_entry(struct store *store, enum out_target target,
	const struct store_entry *entry, struct err *err)
{
	struct change_key key = { .class = KEY_ENTRY, .offset = entry->stream_offset, .n = target };
	size_t at;
	enum err_code rc = overlay_reserve(&store->overlay, 0, err);

	at = store->overlay.log.len;
	if (rc == ERR_OK)
		rc = entry_encode(entry, &store->overlay.log, err);
	if (rc == ERR_OK)
		(void)overlay_add(&store->overlay, CHANGE_ENTRY, &key, at);
	return rc;
}

static int64_t time_or(struct slice text, int64_t otherwise)
{
	int64_t ms;

	return text.len && text_rfc3339(text, &ms, NULL) == ERR_OK ? ms : otherwise;
}

/* What the published record says of itself. A record that cannot be read has an entry all the same:
 * it can be shown and dropped. A quarantined record is kept from now on, however long ago its event
 * came. */
static struct store_entry entry_of(
	const struct store *store, const struct item_out *out, int64_t stream_offset)
{
	struct store_entry entry = { .stream_offset = stream_offset,
		.offset = out->offset,
		.time_ms = store->read_ms ? store->read_ms : store->clock->wall_ms(store->clock),
		.reason = out->reason,
		.bytes = out->headers.len + out->key.len + out->body.len };
	struct event event;

	memcpy(entry.id16, out->id16, ID16_LEN);
	if (event_decode(out->headers, &event, NULL) != ERR_OK)
		return entry;
	entry.event_id = event.id;
	entry.source = event.source;
	entry.tenant = event.tenant;
	entry.type = event.type;
	entry.entity = event.entity;
	entry.route = event.dlq_route;
	entry.received_ms = event.received_ms;
	entry.time_ms = time_or(event.dlq_last_failed, entry.time_ms);
	return entry;
}

/* Published: it waits no longer, and has an entry in the index. Said twice, the second does
 * nothing. */
static enum err_code fold_outok(struct store *store, const struct item *item, struct err *err)
{
	const struct item_outok *ok = &item->outok;
	struct change_key key = { .class = KEY_OUT, .offset = ok->offset, .n = ok->n };
	struct buf bytes = BUF_INIT(JOURNAL_EMBEDDED_MAX);
	struct item_out out;
	size_t at;
	enum err_code rc = out_find(store, ok->offset, ok->n, &bytes, &out, err);
	bool entered = false;

	if (rc == ERR_OK && out.target != OUT_TOPIC && ok->stream_offset >= 0) {
		struct store_entry entry = entry_of(store, &out, ok->stream_offset);

		rc = fold_entry(store, out.target, &entry, err);
		entered = rc == ERR_OK;
	}
	if (rc == ERR_OK) {
		rc = put_item(store, item, &at, err);
		if (rc == ERR_OK) {
			struct change *change =
				overlay_add(&store->overlay, CHANGE_OUTOK, &key, at);

			change->was_out = outs_take(&store->outs, ok->offset, ok->n);
		} else if (entered) {
			fold_undo(store);
		}
	}
	buf_done(&bytes);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

static enum err_code fold_mark(struct store *store, const struct item *item, struct err *err)
{
	const struct item_mark *mark = &item->mark;
	struct buf text = BUF_INIT(JOURNAL_EMBEDDED_MAX);
	struct kv_txn *txn = NULL;
	struct store_entry entry;
	enum err_code rc = kv_begin(store->kv, false, &txn, err);

	if (rc != ERR_OK)
		return rc;
	rc = entry_find(store, txn, mark->target, mark->stream_offset, &entry, err);
	if (rc == ERR_OK)
		rc = copy_entry(&entry, &text, &entry, err);
	kv_abort(txn);
	if (rc == ERR_OK) {
		entry.mark = mark->mark;
		rc = fold_entry(store, mark->target, &entry, err);
	}
	buf_done(&text);
	/* Retention may have taken the entry away meanwhile. */
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

/* The entry itself, as it stands in the owner's index. */
static enum err_code fold_item_entry(struct store *store, const struct item *item, struct err *err)
{
	const struct item_entry *e = &item->entry;
	struct store_entry entry = { .stream_offset = e->stream_offset,
		.offset = e->offset,
		.time_ms = e->time_ms,
		.received_ms = e->received_ms,
		.reason = e->reason,
		.bytes = e->bytes,
		.mark = e->mark,
		.event_id = e->event_id,
		.source = e->source,
		.tenant = e->tenant,
		.type = e->type,
		.entity = e->entity,
		.route = e->route };

	memcpy(entry.id16, e->id16, ID16_LEN);
	return fold_entry(store, e->target, &entry, err);
}

static enum err_code fold_route(struct store *store, const struct item *item, struct err *err)
{
	const struct item_route *route = &item->route;
	struct change_key key = { .class = KEY_ROUTE, .offset = route->number };
	const char *was = NULL;
	size_t at;
	enum err_code rc = put_item(store, item, &at, err);

	if (rc == ERR_OK) {
		rc = routes_name(&store->routes, route->number, route->name, &was, err);
		if (rc != ERR_OK)
			store->overlay.log.len = at;
	}
	if (rc != ERR_OK)
		return rc;
	overlay_add(&store->overlay, CHANGE_ROUTE, &key, at)->was_name = was;
	/* Its row comes with the change. */
	store->routes.committed = store->routes.count;
	return ERR_OK;
}

enum err_code fold_item(struct store *store, const struct item *item, struct err *err)
{
	switch (item->type) {
	case ITEM_SEEN: return fold_seen(store, item, err);
	case ITEM_VERSION: return fold_version(store, item, err);
	case ITEM_PARK: return fold_park(store, item, err);
	case ITEM_UNPARK: return fold_unpark(store, item, err);
	case ITEM_OUT: return fold_out(store, item, err);
	case ITEM_OUTOK: return fold_outok(store, item, err);
	case ITEM_TRY: return fold_try(store, item, err);
	case ITEM_MARK: return fold_mark(store, item, err);
	case ITEM_ROUTE: return fold_route(store, item, err);
	case ITEM_ENTRY: return fold_item_entry(store, item, err);
	case ITEM_DECIDED: return ERR_OK; /* for who asked: nothing is to be remembered */
	case ITEM_COMMAND:                /* none of a batch's */
	case ITEM_ANSWER:
	case ITEM_ONCE: break;
	}
	return err_set(err, ERR_UNSUPPORTED, "a journal item of type %d", (int)item->type);
}

struct slice fold_subject(const struct store *store, const struct change *change)
{
	struct slice bytes = overlay_bytes(&store->overlay, change);
	struct cursor cursor = CURSOR(slice_sub(bytes, 5, bytes.len)); /* behind type and length */

	return cursor_sized(&cursor);
}

static void undo_park(struct store *store, const struct change *change)
{
	struct slice subject = fold_subject(store, change);

	if (change->was_parked) {
		free(park_put(&store->park, subject, change->was_parked));
		return;
	}
	free(park_take(&store->park, subject, change->offset));
	park_tidy(&store->park, subject);
}

void fold_undo(struct store *store)
{
	struct change *change = &store->overlay.changes[store->overlay.count - 1];

	switch (change->kind) {
	case CHANGE_PARK: undo_park(store, change); break;
	case CHANGE_UNPARK:
		if (change->was_parked)
			(void)park_put(
				&store->park, fold_subject(store, change), change->was_parked);
		break;
	case CHANGE_OUT:
		free(outs_take(&store->outs, change->offset, change->n));
		if (change->was_out)
			(void)outs_put(&store->outs, change->was_out);
		break;
	case CHANGE_OUTOK:
		if (change->was_out)
			(void)outs_put(&store->outs, change->was_out);
		break;
	case CHANGE_ROUTE:
		routes_rename(&store->routes, (uint16_t)change->offset, change->was_name);
		break;
	case CHANGE_SEEN:
	case CHANGE_VERSION:
	case CHANGE_TRY:
	case CHANGE_ENTRY: break;
	}
	(void)overlay_pop(&store->overlay);
}
