/* kv_lmdb.c - the tables in LMDB: transactions and rows.
 *
 * Where the store is the truth, default flags: each commit is on disk when it returns. Where a
 * journal is, its last commit may be lost with the power (MDB_NOMETASYNC). MDB_NOSYNC and
 * MDB_WRITEMAP are never an option. A reading transaction is kept for the next reader. Deliberately
 * not here: opening and growing (kv_lmdb_open.c). */
#include "kv_lmdb.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "postern/log.h"

#define BEGIN_TRIES 100

struct lmdb_txn {
	struct kv_txn base;
	struct kv_lmdb *lmdb;
	struct lmdb_txn *next; /* spares */
	MDB_txn *txn;
	bool write;
};

static struct lmdb_txn *lmdb_txn(struct kv_txn *txn)
{
	return container_of(txn, struct lmdb_txn, base);
}

static MDB_val to_val(struct slice s)
{
	/* LMDB does not write through a value it is given. */
	union {
		const uint8_t *in;
		void *out;
	} data = { .in = s.data };

	return (MDB_val){ .mv_size = s.len, .mv_data = data.out };
}

static struct slice from_val(MDB_val val)
{
	return (struct slice){ val.mv_data, val.mv_size };
}

/* LMDB says EIO where the disk had no room for a page. */
static bool disk_is_full(const struct kv_lmdb *lmdb)
{
	struct statvfs fs;

	return statvfs(lmdb->dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < MIB(1);
}

enum err_code lmdb_fail(struct kv_lmdb *lmdb, int status, const char *what, struct err *err)
{
	switch (status) {
	case MDB_NOTFOUND: return ERR_NOT_FOUND;
	case MDB_MAP_FULL:
		lmdb->map_full = true;
		return err_set(err, ERR_FULL, "%s: the store's map is full", what);
	case MDB_TXN_FULL:
	case MDB_READERS_FULL: return err_set(err, ERR_FULL, "%s: %s", what, mdb_strerror(status));
	case EIO:
		if (disk_is_full(lmdb))
			return err_set(err, ERR_FULL, "%s: the disk is full", what);
		return err_sys(err, ERR_IO, status, what);
	default: break;
	}
	if (status > 0)
		return err_sys(err, ERR_IO, status, what);
	return err_set(err, ERR_CORRUPT, "%s: %s: the store in %s cannot be trusted; restore it",
		what, mdb_strerror(status), lmdb->dir);
}

/* Wait until no map is being replaced, and be counted. */
static struct lmdb_txn *enter(struct kv_lmdb *lmdb, bool write)
{
	struct lmdb_txn *spare = NULL;

	lock_take(&lmdb->lock);
	while (lmdb->resizing)
		(void)cond_wait(&lmdb->idle, &lmdb->lock, -1);
	lmdb->open++;
	if (!write && lmdb->spares) {
		spare = lmdb->spares;
		lmdb->spares = spare->next;
	}
	lock_give(&lmdb->lock);
	return spare;
}

static void leave(struct kv_lmdb *lmdb, struct lmdb_txn *spare)
{
	lock_take(&lmdb->lock);
	if (spare) {
		spare->next = lmdb->spares;
		lmdb->spares = spare;
	}
	if (--lmdb->open == 0)
		cond_broadcast(&lmdb->idle);
	lock_give(&lmdb->lock);
}

static struct lmdb_txn *txn_new(struct kv_lmdb *lmdb)
{
	struct lmdb_txn *txn = calloc(1, sizeof(*txn));

	if (txn) {
		txn->base.kv = &lmdb->base;
		txn->lmdb = lmdb;
	}
	return txn;
}

static int begin_once(struct kv_lmdb *lmdb, bool write, struct lmdb_txn **out)
{
	struct lmdb_txn *txn = enter(lmdb, write);
	int status;

	if (txn) {
		status = mdb_txn_renew(txn->txn);
	} else {
		txn = txn_new(lmdb);
		status = txn ? mdb_txn_begin(lmdb->env, NULL, write ? 0 : MDB_RDONLY, &txn->txn)
			     : ENOMEM;
	}
	if (status != MDB_SUCCESS) {
		if (txn && txn->txn)
			mdb_txn_abort(txn->txn);
		free(txn);
		leave(lmdb, NULL);
		return status;
	}
	txn->write = write;
	*out = txn;
	return MDB_SUCCESS;
}

/* LMDB gives a reader the root page of the newest commit, of which there are two in turn. A reader
 * that was held up between the choice and the copy can get what has come into that page since: the
 * commit after next, which is whole, but perhaps not yet on disk; its next transaction would go
 * back by one. Two commits further on, this may have happened. */
static bool overtaken(const struct lmdb_txn *txn)
{
	MDB_envinfo info;

	return !txn->write && mdb_env_info(txn->lmdb->env, &info) == MDB_SUCCESS &&
	       info.me_last_txnid > mdb_txn_id(txn->txn) + 1;
}

static int begin_in_time(struct kv_lmdb *lmdb, bool write, struct lmdb_txn **out)
{
	int status = begin_once(lmdb, write, out);

	for (int i = 0; i < BEGIN_TRIES && status == MDB_SUCCESS && overtaken(*out); i++) {
		mdb_txn_reset((*out)->txn);
		status = mdb_txn_renew((*out)->txn);
		if (status != MDB_SUCCESS) {
			mdb_txn_abort((*out)->txn);
			free(*out);
			leave(lmdb, NULL);
		}
	}
	return status;
}

static enum err_code lmdb_begin(struct kv *kv, bool write, struct kv_txn **out, struct err *err)
{
	struct kv_lmdb *lmdb = container_of(kv, struct kv_lmdb, base);
	struct lmdb_txn *txn = NULL;
	int status = begin_in_time(lmdb, write, &txn);

	for (int i = 0; i < BEGIN_TRIES && status == MDB_MAP_RESIZED; i++) {
		enum err_code rc = lmdb_resize(lmdb, 0, err);

		if (rc != ERR_OK)
			return rc;
		status = begin_in_time(lmdb, write, &txn);
	}
	if (status == MDB_READERS_FULL) {
		(void)mdb_reader_check(lmdb->env, NULL);
		status = begin_in_time(lmdb, write, &txn);
	}
	if (status != MDB_SUCCESS)
		return lmdb_fail(lmdb, status, "the store cannot be read", err);
	if (write)
		lmdb->map_full = false;
	*out = &txn->base;
	return ERR_OK;
}

static void lmdb_abort(struct kv_txn *base)
{
	struct lmdb_txn *txn = lmdb_txn(base);
	struct kv_lmdb *lmdb = txn->lmdb;

	if (txn->write) {
		mdb_txn_abort(txn->txn);
		free(txn);
		txn = NULL;
	} else {
		mdb_txn_reset(txn->txn);
	}
	leave(lmdb, txn);
}

static enum err_code lmdb_commit(struct kv_txn *base, struct err *err)
{
	struct lmdb_txn *txn = lmdb_txn(base);
	struct kv_lmdb *lmdb = txn->lmdb;
	int status;

	assert(txn->write);
	status = mdb_txn_commit(txn->txn);
	free(txn);
	leave(lmdb, NULL);
	if (status != MDB_SUCCESS)
		return lmdb_fail(lmdb, status, "the store cannot be written", err);
	/* The commit stands whatever happens here; the next one lengthens the file too. */
	if (lmdb_lengthen(lmdb, NULL) != ERR_OK)
		log_debug("store_not_lengthened", log_str("dir", lmdb->dir));
	return ERR_OK;
}

static enum err_code lmdb_get(struct kv_txn *base, enum kv_table table, struct slice key,
	struct slice *out, struct err *err)
{
	struct lmdb_txn *txn = lmdb_txn(base);
	MDB_val name = to_val(key), value;
	int status = mdb_get(txn->txn, txn->lmdb->dbi[table], &name, &value);

	if (status != MDB_SUCCESS)
		return lmdb_fail(txn->lmdb, status, "the store cannot be read", err);
	*out = from_val(value);
	return ERR_OK;
}

static int move(MDB_cursor *cursor, enum kv_seek seek, MDB_val *key, MDB_val *value)
{
	MDB_val want = *key;
	int status = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);

	if (seek == KV_AT_LEAST)
		return status;
	if (status == MDB_NOTFOUND)
		return mdb_cursor_get(cursor, key, value, MDB_LAST);
	if (status != MDB_SUCCESS)
		return status;
	if (key->mv_size == want.mv_size && memcmp(key->mv_data, want.mv_data, want.mv_size) == 0)
		return status;
	return mdb_cursor_get(cursor, key, value, MDB_PREV);
}

static enum err_code lmdb_seek(struct kv_txn *base, enum kv_table table, enum kv_seek seek,
	struct slice key, struct header *out, struct err *err)
{
	struct lmdb_txn *txn = lmdb_txn(base);
	MDB_val name = to_val(key), value;
	MDB_cursor *cursor = NULL;
	int status = mdb_cursor_open(txn->txn, txn->lmdb->dbi[table], &cursor);

	if (status == MDB_SUCCESS) {
		status = move(cursor, seek, &name, &value);
		mdb_cursor_close(cursor);
	}
	if (status != MDB_SUCCESS)
		return lmdb_fail(txn->lmdb, status, "the store cannot be read", err);
	*out = (struct header){ from_val(name), from_val(value) };
	return ERR_OK;
}

static enum err_code lmdb_put(struct kv_txn *base, enum kv_table table, enum kv_put how,
	const struct header *row, struct err *err)
{
	struct lmdb_txn *txn = lmdb_txn(base);
	MDB_val name = to_val(row->name), value = to_val(row->value);
	int status = mdb_put(
		txn->txn, txn->lmdb->dbi[table], &name, &value, how == KV_APPEND ? MDB_APPEND : 0);

	return status == MDB_SUCCESS
		       ? ERR_OK
		       : lmdb_fail(txn->lmdb, status, "the store cannot be written", err);
}

static enum err_code lmdb_del(
	struct kv_txn *base, enum kv_table table, struct slice key, struct err *err)
{
	struct lmdb_txn *txn = lmdb_txn(base);
	MDB_val name = to_val(key);
	int status = mdb_del(txn->txn, txn->lmdb->dbi[table], &name, NULL);

	if (status == MDB_SUCCESS || status == MDB_NOTFOUND)
		return ERR_OK;
	return lmdb_fail(txn->lmdb, status, "the store cannot be written", err);
}

static enum err_code lmdb_grow(struct kv *kv, struct err *err)
{
	struct kv_lmdb *lmdb = container_of(kv, struct kv_lmdb, base);
	MDB_envinfo info;

	if (!lmdb->map_full)
		return err_set(err, ERR_FULL, "the store's map is not what is full");
	lmdb->map_full = false;
	(void)mdb_env_info(lmdb->env, &info);
	return lmdb_resize(lmdb, info.me_mapsize * 2, err);
}

static void lmdb_measure(struct kv *kv, struct kv_size *out)
{
	struct kv_lmdb *lmdb = container_of(kv, struct kv_lmdb, base);
	struct kv_txn *txn = NULL;
	MDB_envinfo info;
	MDB_stat stat;

	*out = (struct kv_size){ .ledger_bytes = 0 };
	if (lmdb_begin(kv, false, &txn, NULL) != ERR_OK)
		return;
	if (mdb_stat(lmdb_txn(txn)->txn, lmdb->dbi[KV_LEDGER], &stat) == MDB_SUCCESS &&
		mdb_env_info(lmdb->env, &info) == MDB_SUCCESS) {
		size_t pages = stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;

		out->ledger_bytes = (uint64_t)pages * stat.ms_psize;
		out->map_bytes = info.me_mapsize;
		out->file_bytes = (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
	}
	lmdb_abort(txn);
}

static void lmdb_tend(struct kv *kv)
{
	struct kv_lmdb *lmdb = container_of(kv, struct kv_lmdb, base);
	struct kv_txn *txn = NULL;
	struct header row = { .name = SLICE_EMPTY };

	(void)mdb_reader_check(lmdb->env, NULL);
	if (lmdb_begin(kv, false, &txn, NULL) != ERR_OK)
		return;
	if (lmdb_seek(txn, KV_META, KV_AT_LEAST, SLICE_LIT("\0"), &row, NULL) == ERR_OK)
		lmdb_release_map(lmdb, row.value.data);
	lmdb_abort(txn);
}

static void lmdb_close(struct kv *kv)
{
	struct kv_lmdb *lmdb = container_of(kv, struct kv_lmdb, base);

	while (lmdb->spares) {
		struct lmdb_txn *spare = lmdb->spares;

		lmdb->spares = spare->next;
		mdb_txn_abort(spare->txn);
		free(spare);
	}
	if (lmdb->env)
		mdb_env_close(lmdb->env);
	cond_done(&lmdb->idle);
	lock_done(&lmdb->lock);
	free(lmdb->dir);
	free(lmdb);
}

const struct kv_ops lmdb_ops = {
	.name = "lmdb",
	.begin = lmdb_begin,
	.get = lmdb_get,
	.seek = lmdb_seek,
	.put = lmdb_put,
	.del = lmdb_del,
	.commit = lmdb_commit,
	.abort = lmdb_abort,
	.grow = lmdb_grow,
	.measure = lmdb_measure,
	.tend = lmdb_tend,
	.close = lmdb_close,
};
