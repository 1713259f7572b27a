/* load.c - what a store keeps in memory, read from its tables when it is opened.
 *
 * Every row that is read is checked, so rot is found before anything is worked. Who only reads
 * keeps next to nothing: a question of a command must not cost a walk over all that is parked.
 * Deliberately not here: the ledger's own loading (ledger.c). */
#include "store_priv.h"

#include <stdlib.h>

typedef enum err_code row_fn(struct store *store, const struct header *row, struct err *err);

static enum err_code each_row(
	struct store *store, struct kv_txn *txn, enum kv_table table, row_fn *fn, struct err *err)
{
	struct row_key key = { .len = 1 };

	for (;;) {
		struct header row;
		enum err_code rc =
			row_seek(txn, table, KV_AT_LEAST, row_key_slice(&key), &row, err);

		if (rc == ERR_NOT_FOUND)
			return ERR_OK;
		if (rc == ERR_OK)
			rc = fn(store, &row, err);
		if (rc != ERR_OK)
			return rc;
		row_key_after(&key, row.name);
	}
}

static enum err_code load_parked(struct store *store, const struct header *row, struct err *err)
{
	struct item item;
	enum err_code rc = row_item(row->value, ITEM_PARK, &item, err);
	struct park_node *node;

	if (rc == ERR_OK)
		rc = park_reserve(&store->park, item.park.subject, item.park.route, err);
	if (rc != ERR_OK)
		return rc;
	node = park_node_new(&item.park);
	if (!node)
		return err_set(err, ERR_NOMEM, "no memory for a parked event");
	free(park_put(&store->park, item.park.subject, node));
	return ERR_OK;
}

static enum err_code load_out(struct store *store, const struct header *row, struct err *err)
{
	struct item item;
	enum err_code rc = row_item(row->value, ITEM_OUT, &item, err);
	struct out_node *node;

	if (rc != ERR_OK)
		return rc;
	node = out_node_new(item.out.offset, item.out.n, 0);
	if (!node)
		return err_set(err, ERR_NOMEM, "no memory for an output");
	free(outs_put(&store->outs, node));
	return ERR_OK;
}

static enum err_code load_try(struct store *store, const struct header *row, struct err *err)
{
	(void)row;
	(void)err;
	store->tries++;
	return ERR_OK;
}

/* What decisions are made by: of use to the owner alone. */
static enum err_code load_owner(struct store *store, struct kv_txn *txn, struct err *err)
{
	enum err_code rc = each_row(store, txn, KV_PARKED, load_parked, err);

	if (rc == ERR_OK)
		rc = each_row(store, txn, KV_OUTS, load_out, err);
	if (rc == ERR_OK)
		rc = each_row(store, txn, KV_TRIES, load_try, err);
	return rc == ERR_OK ? ledger_load(&store->ledger, txn, err) : rc;
}

enum err_code store_load(struct store *store, struct kv_txn *txn, struct err *err)
{
	enum err_code rc = state_read(txn, &store->committed, err);

	store->applied = store->committed;
	if (rc == ERR_OK)
		rc = routes_load(&store->routes, txn, err);
	if (rc == ERR_OK && store->journaled)
		rc = times_read(&store->times, txn, err);
	if (rc == ERR_OK && !store->read_only)
		rc = load_owner(store, txn, err);
	return rc;
}
