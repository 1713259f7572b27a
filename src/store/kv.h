/* kv.h - ordered tables of bytes with transactions: all that the store wants from a backend.
 *
 * Everything the store means is above this line, so both backends mean the same.
 *
 * Owns:    slices that a transaction gives out live until it ends or, when it writes, until its
 * next put or del. Threads: a reading transaction on any thread, any number at once. The writing
 * one on the owner's, with no reading one of that thread open (growing waits for all of them to
 * end). Errors:  ERR_FULL, ERR_IO (nothing happened: abort, retry), ERR_CORRUPT, ERR_NOMEM.
 * ERR_NOT_FOUND is an answer, and leaves err as it is. */
#pragma once

#include "postern/buf.h"
#include "postern/store.h"

enum kv_table {
	KV_META,
	KV_ROUTES,
	KV_LEDGER,
	KV_VERSIONS,
	KV_PARKED,
	KV_OUTS,
	KV_TRIES,
	KV_DLQ,
	KV_QUARANTINE,
	KV_TABLES
};
#define KV_KEY_MAX 500

enum kv_seek { KV_AT_LEAST, KV_AT_MOST };
/* KV_APPEND: the key comes after all others of its table. */
enum kv_put { KV_SET, KV_APPEND };

struct kv;
struct kv_txn;
struct kv_size {
	uint64_t ledger_bytes, map_bytes, file_bytes;
};
struct kv_ops {
	const char *name;
	enum err_code (*begin)(struct kv *kv, bool write, struct kv_txn **out, struct err *err);
	enum err_code (*get)(struct kv_txn *txn, enum kv_table table, struct slice key,
		struct slice *out, struct err *err);
	enum err_code (*seek)(struct kv_txn *txn, enum kv_table table, enum kv_seek seek,
		struct slice key, struct header *out, struct err *err);
	enum err_code (*put)(struct kv_txn *txn, enum kv_table table, enum kv_put how,
		const struct header *row, struct err *err);
	/* Deleting what is not there is ERR_OK. */
	enum err_code (*del)(
		struct kv_txn *txn, enum kv_table table, struct slice key, struct err *err);
	/* Both end the transaction, whatever they return. */
	enum err_code (*commit)(struct kv_txn *txn, struct err *err);
	void (*abort)(struct kv_txn *txn);
	/* ERR_OK: there was too little room and now there is more. Otherwise ERR_FULL. */
	enum err_code (*grow)(struct kv *kv, struct err *err);
	void (*measure)(struct kv *kv, struct kv_size *out);
	/* Now and then: forget readers that died, let go of mapped pages. */
	void (*tend)(struct kv *kv);
	void (*close)(struct kv *kv);
};
struct kv {
	const struct kv_ops *ops;
};
struct kv_txn {
	struct kv *kv;
};

static inline enum err_code kv_get(struct kv_txn *txn, enum kv_table table, struct slice key,
	struct slice *out, struct err *err)
{
	return txn->kv->ops->get(txn, table, key, out, err);
}
/* The row is a name (its key) and a value. */
static inline enum err_code kv_seek(struct kv_txn *txn, enum kv_table table, enum kv_seek seek,
	struct slice key, struct header *out, struct err *err)
{
	return txn->kv->ops->seek(txn, table, seek, key, out, err);
}
static inline enum err_code kv_put(struct kv_txn *txn, enum kv_table table, enum kv_put how,
	const struct header *row, struct err *err)
{
	return txn->kv->ops->put(txn, table, how, row, err);
}
static inline enum err_code kv_del(
	struct kv_txn *txn, enum kv_table table, struct slice key, struct err *err)
{
	return txn->kv->ops->del(txn, table, key, err);
}
static inline enum err_code kv_begin(
	struct kv *kv, bool write, struct kv_txn **out, struct err *err)
{
	return kv->ops->begin(kv, write, out, err);
}
static inline void kv_abort(struct kv_txn *txn)
{
	txn->kv->ops->abort(txn);
}
