/* commit.c - from staged to applied to durable.
 *
 *   stage:   item -> overlay            visible to reads at once
 *   apply:   the batch came back valid  what was staged is now applied, or its items are taken from
 * it commit:  applied -> tables          one transaction; then memory follows, and the overlay
 * forgets drop:    staged -> nothing
 *
 * A commit that fails changes nothing: it may be tried again. Deliberately not here: what an item
 * does (fold.c). */
#include "store_priv.h"

#include <assert.h>
#include <stdlib.h>

/* To know the own batch again when it comes back, without comparing it byte by byte. */
static enum err_code note_staged(struct store *store, const struct item *item, struct err *err)
{
	enum err_code rc;

	buf_reset(&store->item);
	rc = journal_put_item(&store->item, item, err);
	if (rc != ERR_OK)
		return rc;
	store->overlay.staged_crc =
		crc32c(store->overlay.staged_crc, store->item.data, store->item.len);
	store->overlay.staged_items++;
	return ERR_OK;
}

enum err_code store_stage(struct store *store, const struct item *item, struct err *err)
{
	struct overlay *overlay = &store->overlay;
	uint32_t crc = overlay->staged_crc, items = overlay->staged_items;
	enum err_code rc;

	assert(!store->read_only);
	rc = note_staged(store, item, err);
	if (rc == ERR_OK)
		rc = fold_item(store, item, err);
	if (rc != ERR_OK) {
		overlay->staged_crc = crc;
		overlay->staged_items = items;
	}
	return rc;
}

void store_drop(struct store *store)
{
	while (store->overlay.count > store->overlay.applied)
		fold_undo(store);
	store->overlay.staged_crc = 0;
	store->overlay.staged_items = 0;
}

static bool is_staged(
	const struct overlay *overlay, struct slice batch, const struct journal_header *header)
{
	struct slice items = journal_items(batch);

	return header->items == overlay->staged_items &&
	       crc32c(0, items.data, items.len) == overlay->staged_crc;
}

static enum err_code fold_batch(struct store *store, struct slice batch, struct err *err)
{
	enum err_code rc;
	struct item item;
	size_t at = 0;

	store_drop(store);
	while ((rc = journal_next(batch, &at, &item, err)) == ERR_OK) {
		rc = fold_item(store, &item, err);
		if (rc != ERR_OK)
			break;
	}
	if (rc == ERR_NOT_FOUND)
		return ERR_OK;
	store_drop(store);
	return rc;
}

enum err_code store_apply(struct store *store, struct slice batch, struct err *err)
{
	return store_apply_read(store, batch, NULL, err);
}

enum err_code store_apply_read(
	struct store *store, struct slice batch, const struct store_read *read, struct err *err)
{
	struct overlay *overlay = &store->overlay;
	struct store_state state = store->applied;
	struct journal_header header;
	enum err_code rc = journal_open(batch, &header, err);

	assert(!store->read_only);
	if (rc != ERR_OK)
		return rc;
	if (!journal_judge(&state.journal, &header))
		return err_set(err, ERR_CORRUPT, "a journal batch that does not follow the state");
	store->read_ms = read ? read->time_ms : 0;
	if (!is_staged(overlay, batch, &header))
		rc = fold_batch(store, batch, err);
	if (rc != ERR_OK)
		return rc;
	if (header.type == JOURNAL_BATCH) {
		state.next_offset = header.next_offset;
		state.base_offset = header.base_offset;
	}
	if (read) {
		state.journal_next = read->next_offset;
		times_note(&store->times, store->ledger.dedupe_ms, read->time_ms,
			read->next_offset - 1);
	}
	overlay->applied = overlay->count;
	overlay->staged_crc = 0;
	overlay->staged_items = 0;
	store->applied = state;
	store->state_changed = true;
	return ERR_OK;
}

/* What a commit works out, and needs again once it is durable. */
struct commit {
	struct ledger_append append;
	size_t seen; /* ledger entries in it */
	int64_t now_ms;
	uint64_t tries;
};

static enum err_code write_try(struct store *store, struct kv_txn *txn, struct commit *commit,
	const struct header *row, struct err *err)
{
	struct item item;
	struct slice there;
	enum err_code rc = row_item(row->value, ITEM_TRY, &item, err);
	bool had;

	if (rc != ERR_OK)
		return rc;
	rc = kv_get(txn, KV_TRIES, row->name, &there, err);
	if (rc != ERR_OK && rc != ERR_NOT_FOUND)
		return rc;
	had = rc == ERR_OK;
	commit->tries = commit->tries + (item.attempt.n > 0) - had;
	if (item.attempt.n == 0)
		return kv_del(txn, KV_TRIES, row->name, err);
	return row_put(txn, KV_TRIES, KV_SET, row, &store->scratch, err);
}

static enum err_code write_route(
	struct store *store, struct kv_txn *txn, const struct change *change, struct err *err)
{
	struct row_key key = key_of_u16((uint16_t)change->offset);
	struct item item;
	enum err_code rc = row_item(overlay_bytes(&store->overlay, change), ITEM_ROUTE, &item, err);

	return rc == ERR_OK ? row_put(txn, KV_ROUTES, KV_SET,
				      &(struct header){ row_key_slice(&key), item.route.name },
				      &store->scratch, err)
			    : rc;
}

static enum err_code write_change(struct store *store, struct kv_txn *txn, struct commit *commit,
	const struct change *change, struct err *err)
{
	struct slice bytes = overlay_bytes(&store->overlay, change);
	struct row_key key = { .len = 0 };
	enum kv_table table = KV_META;

	switch (change->kind) {
	case CHANGE_SEEN:
		return ledger_append_entry(
			&store->ledger, txn, &commit->append, bytes.data + 5, err);
	case CHANGE_VERSION:
		key = key_of_version(fold_subject(store, change));
		table = KV_VERSIONS;
		break;
	case CHANGE_PARK:
	case CHANGE_UNPARK:
		key = key_of_parked(fold_subject(store, change), change->offset);
		table = KV_PARKED;
		break;
	case CHANGE_OUT:
	case CHANGE_OUTOK:
		key = key_of_out(change->offset, change->n);
		table = KV_OUTS;
		break;
	case CHANGE_TRY:
		key = key_of_offset(change->offset);
		return write_try(
			store, txn, commit, &(struct header){ row_key_slice(&key), bytes }, err);
	case CHANGE_ENTRY:
		key = key_of_offset(change->offset);
		table = table_of_entries((enum out_target)change->n);
		break;
	case CHANGE_ROUTE: return write_route(store, txn, change, err);
	}
	if (change->kind == CHANGE_UNPARK || change->kind == CHANGE_OUTOK)
		return kv_del(txn, table, row_key_slice(&key), err);
	return row_put(txn, table, KV_SET, &(struct header){ row_key_slice(&key), bytes },
		&store->scratch, err);
}

static enum err_code trim_entries(
	struct kv_txn *txn, enum out_target target, int64_t first, struct err *err)
{
	enum kv_table table = table_of_entries(target);

	for (;;) {
		struct row_key key = key_of_offset(INT64_MIN);
		struct header row;
		enum err_code rc = kv_seek(txn, table, KV_AT_LEAST, row_key_slice(&key), &row, err);

		if (rc == ERR_NOT_FOUND || (rc == ERR_OK && offset_of_key(row.name) >= first))
			return ERR_OK;
		if (rc != ERR_OK)
			return rc;
		key = key_of_offset(offset_of_key(row.name));
		rc = kv_del(txn, table, row_key_slice(&key), err);
		if (rc != ERR_OK)
			return rc;
	}
}

static enum err_code write_rest(struct store *store, struct kv_txn *txn, struct err *err)
{
	enum err_code rc = routes_write(&store->routes, txn, &store->scratch, err);

	if (rc == ERR_OK && store->state_changed)
		rc = state_write(txn, &store->applied, &store->scratch, err);
	if (rc == ERR_OK && store->times.changed)
		rc = times_write(&store->times, txn, &store->scratch, err);
	for (int i = 0; rc == ERR_OK && i < TARGETS; i++) {
		if (store->trim[i] != INT64_MIN)
			rc = trim_entries(
				txn, i == 0 ? OUT_DLQ : OUT_QUARANTINE, store->trim[i], err);
	}
	return rc;
}

static enum err_code write_all(struct store *store, struct kv_txn *txn, void *ctx, struct err *err)
{
	struct commit *commit = ctx;
	enum err_code rc = ERR_OK;

	commit->tries = store->tries;
	if (commit->seen > 0)
		rc = ledger_append_begin(&store->ledger, commit->now_ms, &commit->append, err);
	for (size_t i = 0; rc == ERR_OK && i < store->overlay.applied; i++)
		rc = write_change(store, txn, commit, &store->overlay.changes[i], err);
	if (rc == ERR_OK && commit->seen > 0)
		rc = ledger_append_end(&store->ledger, txn, &commit->append, err);
	buf_done(&commit->append.chunk);
	return rc == ERR_OK ? write_rest(store, txn, err) : rc;
}

/* The ledger's table learns where the entries went. */
static enum err_code note_entries(struct store *store, const struct commit *commit, struct err *err)
{
	struct ledger *ledger = &store->ledger;
	struct kv_txn *txn = NULL;
	size_t n = 0;
	enum err_code rc;

	if (commit->seen == 0)
		return ERR_OK;
	rc = kv_begin(store->kv, false, &txn, err);
	if (rc != ERR_OK)
		return rc;
	ledger->buckets[ledger->count - 1] = commit->append.bucket;
	ledger->last_ms = commit->append.bucket.newest_ms;
	for (size_t i = 0; rc == ERR_OK && i < store->overlay.applied; i++) {
		const struct change *change = &store->overlay.changes[i];

		if (change->kind == CHANGE_SEEN)
			rc = ledger_note(ledger, txn, &commit->append, n++,
				overlay_bytes(&store->overlay, change).data + 5, err);
	}
	kv_abort(txn);
	return rc;
}

/* It is durable: the views in memory have followed already, what they replaced can go. */
static void forget_applied(struct store *store)
{
	for (size_t i = 0; i < store->overlay.applied; i++) {
		const struct change *change = &store->overlay.changes[i];

		free(change->was_parked);
		free(change->was_out);
		if (change->kind == CHANGE_UNPARK)
			park_tidy(&store->park, fold_subject(store, change));
		if (change->kind == CHANGE_ENTRY && change->offset < store->wanted[change->n - 1])
			store->wanted[change->n - 1] = change->offset;
	}
	overlay_forget(&store->overlay, store->overlay.applied);
}

static size_t count_seen(const struct overlay *overlay)
{
	size_t count = 0;

	for (size_t i = 0; i < overlay->applied; i++)
		count += overlay->changes[i].kind == CHANGE_SEEN;
	return count;
}

static bool nothing_to_commit(const struct store *store)
{
	return store->overlay.applied == 0 && !store->state_changed &&
	       store->routes.committed == store->routes.count && store->trim[0] == INT64_MIN &&
	       store->trim[1] == INT64_MIN;
}

static void committed(struct store *store, const struct commit *commit)
{
	forget_applied(store);
	store->tries = commit->tries;
	store->committed = store->applied;
	store->state_changed = false;
	store->times.changed = false;
	store->routes.committed = store->routes.count;
	for (int i = 0; i < TARGETS; i++)
		store->trim[i] = INT64_MIN;
}

enum err_code store_commit(struct store *store, struct err *err)
{
	struct commit commit = { .seen = count_seen(&store->overlay),
		.now_ms = store->read_ms ? store->read_ms : store->clock->wall_ms(store->clock) };
	enum err_code rc;

	assert(!store->read_only);
	if (nothing_to_commit(store))
		return ERR_OK;
	rc = table_reserve(&store->ledger.table, commit.seen, err);
	if (rc == ERR_OK)
		rc = store_write(store, write_all, &commit, err);
	if (rc != ERR_OK)
		return rc;
	rc = note_entries(store, &commit, err);
	committed(store, &commit);
	if (rc != ERR_OK)
		return err_set(err, ERR_CORRUPT, "the ledger cannot be read back after a commit");
	return ERR_OK;
}

size_t store_uncommitted(const struct store *store, size_t *out_bytes)
{
	const struct overlay *overlay = &store->overlay;

	*out_bytes = overlay->applied < overlay->count ? overlay->changes[overlay->applied].at
						       : overlay->log.len;
	return overlay->applied;
}

void store_applied(struct store *store, struct store_state *out)
{
	*out = store->applied;
}

void store_passed(struct store *store, int64_t journal_next)
{
	if (journal_next <= store->applied.journal_next)
		return;
	store->applied.journal_next = journal_next;
	store->state_changed = true;
}

void store_begin(struct store *store, const struct journal_state *state, int64_t journal_next)
{
	assert(store->applied.journal.epoch == 0 && store->overlay.count == 0);
	store->applied.journal = *state;
	store->applied.journal_next = store->applied.began = journal_next;
	store->state_changed = true;
}

enum err_code store_entries_trim(
	struct store *store, enum out_target target, int64_t first, struct err *err)
{
	int64_t *trim = &store->trim[target - 1];

	(void)err;
	assert(target == OUT_DLQ || target == OUT_QUARANTINE);
	if (first > *trim)
		*trim = first;
	return ERR_OK;
}
