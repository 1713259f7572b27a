/* kv_lmdb.h - what the files of the LMDB backend share: the handle, and how its failures read. */
#pragma once

#include "kv.h"

#include <lmdb.h>

#include "postern/thread.h"

#define LMDB_DATA "data.mdb"
#define LMDB_MAGIC 0xBEEFC0DE
#define LMDB_PAGE_HEADER 16 /* begins with the page's number, u64 */

struct lmdb_txn;
struct kv_lmdb {
	struct kv base;
	MDB_env *env;
	MDB_dbi dbi[KV_TABLES];
	char *dir;
	bool read_only;
	bool map_full; /* owner: the last writing transaction found too little room */
	/* The map may only be replaced while no transaction of this process is open. */
	struct lock lock;
	struct cond idle;
	size_t open;             /* guarded by lock: transactions of this process */
	bool resizing;           /* guarded by lock: no new ones for the moment */
	struct lmdb_txn *spares; /* guarded by lock: reading transactions to be used again */
};

/* What an LMDB status means to us. */
MUST_CHECK enum err_code lmdb_fail(
	struct kv_lmdb *lmdb, int status, const char *what, struct err *err);
/* Replace the map; size 0: as large as another process made it. */
MUST_CHECK enum err_code lmdb_resize(struct kv_lmdb *lmdb, size_t size, struct err *err);
/* The file is at least as long as its root says: what is beyond its end cannot be mapped, only be
 * fallen over. */
MUST_CHECK enum err_code lmdb_lengthen(struct kv_lmdb *lmdb, struct err *err);
/* Let go of the mapped pages, of which one holds this value: they stay in the page cache, and no
 * longer count as memory of this process. Within a reading transaction. */
void lmdb_release_map(struct kv_lmdb *lmdb, const uint8_t *value);
/* Walk all pages of the file at path that hold structure, before LMDB believes them. */
MUST_CHECK enum err_code lmdb_check_file(const char *path, struct err *err);
extern const struct kv_ops lmdb_ops;
