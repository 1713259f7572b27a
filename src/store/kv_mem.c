/* kv_mem.c - the tables in memory: for tests, and for a store that is to forget.
 *
 * One lock is held from the beginning of a transaction to its end. A writing transaction keeps what
 * its changes replaced, so that abort puts it back. Deliberately not here: durability. */
#include "kv.h"

#include <assert.h>
#include <stdlib.h>

#include "postern/thread.h"
#include "store_priv.h"
#include "tree.h"

struct row {
	struct tree_node node;
	enum kv_table table;
	size_t key_len, value_len;
	uint8_t bytes[]; /* key, value */
};
struct kv_mem;
struct mem_txn {
	struct kv_txn base;
	struct kv_mem *mem;
	bool write;
};
struct kv_mem {
	struct kv base;
	struct lock lock; /* guards all that follows */
	struct tree tables[KV_TABLES];
	uint64_t bytes[KV_TABLES];
	struct mem_txn txn;       /* only one at a time */
	struct replaced *changes; /* newest first */
};
/* Either of the two may be NULL. */
struct replaced {
	struct replaced *next;
	struct row *was, *is;
};

static struct slice row_key(const struct row *row)
{
	return (struct slice){ row->bytes, row->key_len };
}

static int order_rows(const void *key, struct tree_node *node)
{
	return slice_cmp(*(const struct slice *)key, row_key(container_of(node, struct row, node)));
}

static enum err_code mem_begin(struct kv *kv, bool write, struct kv_txn **out, struct err *err)
{
	struct kv_mem *mem = container_of(kv, struct kv_mem, base);

	(void)err;
	lock_take(&mem->lock);
	mem->txn.write = write;
	*out = &mem->txn.base;
	return ERR_OK;
}

static struct mem_txn *mem_txn(struct kv_txn *txn)
{
	return container_of(txn, struct mem_txn, base);
}

static enum err_code give(struct tree_node *node, struct header *out)
{
	const struct row *row;

	if (!node)
		return ERR_NOT_FOUND;
	row = container_of(node, struct row, node);
	out->name = row_key(row);
	out->value = (struct slice){ row->bytes + row->key_len, row->value_len };
	return ERR_OK;
}

static enum err_code mem_get(struct kv_txn *txn, enum kv_table table, struct slice key,
	struct slice *out, struct err *err)
{
	struct kv_mem *mem = mem_txn(txn)->mem;
	struct header row;
	enum err_code rc = give(tree_find(&mem->tables[table], &key), &row);

	(void)err;
	if (rc == ERR_OK)
		*out = row.value;
	return rc;
}

static enum err_code mem_seek(struct kv_txn *txn, enum kv_table table, enum kv_seek seek,
	struct slice key, struct header *out, struct err *err)
{
	struct tree *tree = &mem_txn(txn)->mem->tables[table];

	(void)err;
	return give(
		seek == KV_AT_LEAST ? tree_at_least(tree, &key) : tree_at_most(tree, &key), out);
}

/* Take out what has this key and put in `is`; remember both. */
static enum err_code replace(
	struct kv_mem *mem, enum kv_table table, struct slice key, struct row *is, struct err *err)
{
	struct replaced *change = calloc(1, sizeof(*change));
	struct tree_node *old = tree_find(&mem->tables[table], &key);

	if (!change)
		return err_set(err, ERR_NOMEM, "no memory for a change");
	*change = (struct replaced){ .next = mem->changes, .is = is };
	if (old) {
		change->was = container_of(old, struct row, node);
		mem->bytes[table] -= change->was->key_len + change->was->value_len;
		tree_remove(&mem->tables[table], &key);
	}
	if (is) {
		mem->bytes[table] += is->key_len + is->value_len;
		tree_insert(&mem->tables[table], &key, &is->node);
	}
	mem->changes = change;
	return ERR_OK;
}

static enum err_code mem_put(struct kv_txn *txn, enum kv_table table, enum kv_put how,
	const struct header *row, struct err *err)
{
	struct row *is = malloc(sizeof(*is) + row->name.len + row->value.len);
	enum err_code rc;

	(void)how;
	assert(mem_txn(txn)->write);
	if (!is)
		return err_set(err, ERR_NOMEM, "no memory for a row");
	*is = (struct row){ .table = table, .key_len = row->name.len, .value_len = row->value.len };
	memcpy(is->bytes, row->name.data, row->name.len);
	if (row->value.len)
		memcpy(is->bytes + is->key_len, row->value.data, row->value.len);
	rc = replace(mem_txn(txn)->mem, table, row_key(is), is, err);
	if (rc != ERR_OK)
		free(is);
	return rc;
}

static enum err_code mem_del(
	struct kv_txn *txn, enum kv_table table, struct slice key, struct err *err)
{
	struct kv_mem *mem = mem_txn(txn)->mem;

	assert(mem_txn(txn)->write);
	if (!tree_find(&mem->tables[table], &key))
		return ERR_OK;
	return replace(mem, table, key, NULL, err);
}

static void undo(struct kv_mem *mem, struct replaced *change)
{
	struct slice key = row_key(change->is ? change->is : change->was);
	enum kv_table table = (change->is ? change->is : change->was)->table;

	if (change->is) {
		mem->bytes[table] -= change->is->key_len + change->is->value_len;
		tree_remove(&mem->tables[table], &key);
	}
	if (change->was) {
		key = row_key(change->was);
		mem->bytes[table] += change->was->key_len + change->was->value_len;
		tree_insert(&mem->tables[table], &key, &change->was->node);
	}
}

static void finish(struct kv_mem *mem, bool keep)
{
	struct replaced *change;

	while ((change = mem->changes) != NULL) {
		mem->changes = change->next;
		if (!keep)
			undo(mem, change);
		free(keep ? change->was : change->is);
		free(change);
	}
	lock_give(&mem->lock);
}

static enum err_code mem_commit(struct kv_txn *txn, struct err *err)
{
	(void)err;
	finish(mem_txn(txn)->mem, true);
	return ERR_OK;
}

static void mem_abort(struct kv_txn *txn)
{
	finish(mem_txn(txn)->mem, false);
}

static enum err_code mem_grow(struct kv *kv, struct err *err)
{
	(void)kv;
	return err_set(err, ERR_FULL, "memory does not grow on demand");
}

static void mem_measure(struct kv *kv, struct kv_size *out)
{
	struct kv_mem *mem = container_of(kv, struct kv_mem, base);

	*out = (struct kv_size){ .ledger_bytes = 0 };
	lock_take(&mem->lock);
	out->ledger_bytes = mem->bytes[KV_LEDGER];
	for (size_t i = 0; i < KV_TABLES; i++)
		out->file_bytes += mem->bytes[i];
	out->map_bytes = out->file_bytes;
	lock_give(&mem->lock);
}

static void mem_tend(struct kv *kv)
{
	(void)kv;
}

static void mem_close(struct kv *kv)
{
	struct kv_mem *mem = container_of(kv, struct kv_mem, base);

	for (size_t i = 0; i < KV_TABLES; i++) {
		struct tree_node *node;

		while ((node = tree_nth(&mem->tables[i], 0)) != NULL) {
			struct row *row = container_of(node, struct row, node);
			struct slice key = row_key(row);

			tree_remove(&mem->tables[i], &key);
			free(row);
		}
	}
	lock_done(&mem->lock);
	free(mem);
}

static const struct kv_ops mem_ops = {
	.name = "mem",
	.begin = mem_begin,
	.get = mem_get,
	.seek = mem_seek,
	.put = mem_put,
	.del = mem_del,
	.commit = mem_commit,
	.abort = mem_abort,
	.grow = mem_grow,
	.measure = mem_measure,
	.tend = mem_tend,
	.close = mem_close,
};

enum err_code store_mem_open(const struct store_opts *opts, struct store **out, struct err *err)
{
	struct kv_mem *mem;

	if (opts->must_exist)
		return err_set(err, ERR_CORRUPT, "a store in memory cannot be there already");
	mem = calloc(1, sizeof(*mem));
	if (!mem)
		return err_set(err, ERR_NOMEM, "no memory for a store");
	mem->base.ops = &mem_ops;
	mem->txn = (struct mem_txn){ .base.kv = &mem->base, .mem = mem };
	lock_init(&mem->lock);
	for (size_t i = 0; i < KV_TABLES; i++)
		mem->tables[i] = TREE_INIT(order_rows);
	return store_open(&mem->base, opts, out, err);
}
