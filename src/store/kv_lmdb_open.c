/* kv_lmdb_open.c - opening the environment with care, and giving it room.
 *
 * Whoever opens for writing has checked the file's structure first: LMDB believes what it reads.
 * Deliberately not here: the lock that keeps a second worker out (it lies beside the directory). */
#include "kv_lmdb.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "postern/file.h"
#include "store_priv.h"

#define MAP_DEFAULT (INT64_C(4) << 30)
#define MAP_MIN ((int64_t)KIB(256))
#define MAP_MAX (INT64_C(1) << 42)
#define READERS_MAX 254

static const char *const table_names[KV_TABLES] = {
	[KV_META] = "meta",
	[KV_ROUTES] = "routes",
	[KV_LEDGER] = "ledger",
	[KV_VERSIONS] = "versions",
	[KV_PARKED] = "parked",
	[KV_OUTS] = "outs",
	[KV_TRIES] = "tries",
	[KV_DLQ] = "dlq",
	[KV_QUARANTINE] = "quarantine",
};

/* LMDB takes its map away before it knows that there is room for a larger one: ask first. */
static bool address_space_for(size_t size)
{
	void *probe =
		mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (probe == MAP_FAILED)
		return false;
	(void)munmap(probe, size);
	return true;
}

enum err_code lmdb_resize(struct kv_lmdb *lmdb, size_t size, struct err *err)
{
	int status = MDB_SUCCESS;

	if (size > (size_t)MAP_MAX || (size != 0 && !address_space_for(size)))
		return err_set(err, ERR_FULL, "no address space for a store of %zu bytes", size);
	lock_take(&lmdb->lock);
	while (lmdb->resizing)
		(void)cond_wait(&lmdb->idle, &lmdb->lock, -1);
	lmdb->resizing = true;
	while (lmdb->open > 0)
		(void)cond_wait(&lmdb->idle, &lmdb->lock, -1);
	status = mdb_env_set_mapsize(lmdb->env, size);
	lmdb->resizing = false;
	cond_broadcast(&lmdb->idle);
	lock_give(&lmdb->lock);
	return status == MDB_SUCCESS
		       ? ERR_OK
		       : lmdb_fail(lmdb, status, "the store's map does not grow", err);
}

/* LMDB does not tell where its map begins. But each page begins with its number, so the page that a
 * value is on leads there; the first page has a magic number to make sure of it. */
void lmdb_release_map(struct kv_lmdb *lmdb, const uint8_t *value)
{
	MDB_envinfo info;
	MDB_stat env;
	uint64_t number;
	uintptr_t page, base;
	size_t len;

	if (mdb_env_info(lmdb->env, &info) != MDB_SUCCESS ||
		mdb_env_stat(lmdb->env, &env) != MDB_SUCCESS)
		return;
	page = (uintptr_t)value & ~((uintptr_t)env.ms_psize - 1);
	number = get_le64((const uint8_t *)page);
	if (number > info.me_last_pgno || number > page / env.ms_psize)
		return;
	base = page - number * env.ms_psize;
	len = (info.me_last_pgno + 1) * env.ms_psize;
	if (get_le32((const uint8_t *)base + LMDB_PAGE_HEADER) == LMDB_MAGIC)
		(void)madvise((void *)base, len, MADV_DONTNEED);
}

/* Pages that were taken from the end and given back within one transaction are counted, but never
 * written. A file that ends before them could not be told from one that was cut off. */
enum err_code lmdb_lengthen(struct kv_lmdb *lmdb, struct err *err)
{
	MDB_envinfo info;
	MDB_stat env;
	struct stat st;
	uint64_t want;
	int fd;

	if (mdb_env_info(lmdb->env, &info) != MDB_SUCCESS ||
		mdb_env_stat(lmdb->env, &env) != MDB_SUCCESS ||
		mdb_env_get_fd(lmdb->env, &fd) != MDB_SUCCESS || fstat(fd, &st) != 0)
		return err_sys(err, ERR_IO, errno, lmdb->dir);
	want = (uint64_t)(info.me_last_pgno + 1) * env.ms_psize;
	if ((uint64_t)st.st_size >= want)
		return ERR_OK;
	if (lmdb->read_only)
		return err_set(err, ERR_CORRUPT,
			"the store in %s is shorter than it says; start the worker, which checks "
			"it",
			lmdb->dir);
	return ftruncate(fd, (off_t)want) == 0 ? ERR_OK
					       : err_sys(err, ERR_IO, errno, "the store's file");
}

/* A map of a file that another machine may change under us is not a store. */
static enum err_code check_place(const char *dir, struct err *err)
{
	static const struct {
		uint32_t magic;
		const char *name;
	} refused[] = {
		{ 0x6969, "NFS" },
		{ 0xFF534D42, "CIFS" },
		{ 0xFE534D42, "SMB" },
		{ 0x01021997, "9p" },
	};
	struct statfs fs;

	if (statfs(dir, &fs) != 0)
		return err_sys(err, ERR_IO, errno, dir);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		if ((uint32_t)fs.f_type == refused[i].magic)
			return err_set(err, ERR_CONFIG, "%s is on %s; the store needs a local disk",
				dir, refused[i].name);
	}
	return ERR_OK;
}

/* ERR_NOT_FOUND: there is no store yet. */
static enum err_code check_data(const char *dir, struct err *err)
{
	char *path = file_join(dir, LMDB_DATA);
	struct stat st;
	enum err_code rc = ERR_OK;

	if (!path)
		return err_set(err, ERR_NOMEM, "no memory for a path");
	if (lstat(path, &st) != 0)
		rc = errno == ENOENT ? ERR_NOT_FOUND : err_sys(err, ERR_IO, errno, path);
	else if (!S_ISREG(st.st_mode))
		rc = err_set(err, ERR_CORRUPT, "%s is not a regular file", path);
	else if (st.st_size == 0)
		rc = ERR_NOT_FOUND;
	else
		rc = lmdb_check_file(path, err);
	if (rc == ERR_CORRUPT)
		(void)err_prefix(err, "%s", path);
	free(path);
	return rc;
}

static enum err_code prepare(const struct store_opts *opts, struct err *err)
{
	enum err_code rc =
		opts->read_only || opts->must_exist ? ERR_OK : file_make_dirs(opts->dir, err);

	if (rc == ERR_OK)
		rc = check_data(opts->dir, err);
	if (rc == ERR_NOT_FOUND && opts->must_exist)
		return err_set(err, ERR_CORRUPT,
			"there is no store in %s, but the log beside it is not empty", opts->dir);
	if (rc == ERR_NOT_FOUND && opts->read_only)
		return err_set(err, ERR_NOT_FOUND, "there is no store in %s yet", opts->dir);
	if (rc == ERR_OK || rc == ERR_NOT_FOUND)
		rc = check_place(opts->dir, err);
	return rc;
}

/* Where a journal is the truth, a commit that a power cut takes back is folded again. */
static unsigned env_flags(const struct store_opts *opts)
{
	return MDB_NOTLS | (opts->read_only ? MDB_RDONLY : 0) | (opts->log ? MDB_NOMETASYNC : 0);
}

static int open_env(struct kv_lmdb *lmdb, const struct store_opts *opts)
{
	int64_t map = opts->map_bytes > 0 ? opts->map_bytes : MAP_DEFAULT;
	int status = mdb_env_create(&lmdb->env);

	if (status == MDB_SUCCESS)
		status = mdb_env_set_maxdbs(lmdb->env, KV_TABLES);
	if (status == MDB_SUCCESS)
		status = mdb_env_set_maxreaders(lmdb->env, READERS_MAX);
	if (status == MDB_SUCCESS && !opts->read_only)
		status = mdb_env_set_mapsize(lmdb->env, (size_t)(map < MAP_MIN ? MAP_MIN : map));
	if (status == MDB_SUCCESS)
		status = mdb_env_open(lmdb->env, opts->dir, env_flags(opts), 0600);
	return status;
}

/* All tables are made in one transaction; so one that is missing later was lost. */
static int open_tables_in(struct kv_lmdb *lmdb, MDB_txn *txn)
{
	int status = mdb_dbi_open(txn, table_names[KV_META], 0, &lmdb->dbi[KV_META]);
	unsigned flags = 0;

	if (status == MDB_NOTFOUND && !lmdb->read_only) {
		flags = MDB_CREATE;
		status = MDB_SUCCESS;
	}
	for (size_t i = 0; i < KV_TABLES && status == MDB_SUCCESS; i++) {
		status = mdb_dbi_open(txn, table_names[i], flags, &lmdb->dbi[i]);
		if (status == MDB_NOTFOUND)
			status = MDB_CORRUPTED;
	}
	return status;
}

static int open_tables(struct kv_lmdb *lmdb)
{
	MDB_txn *txn = NULL;
	int status = mdb_txn_begin(lmdb->env, NULL, lmdb->read_only ? MDB_RDONLY : 0, &txn);

	if (status != MDB_SUCCESS)
		return status;
	status = open_tables_in(lmdb, txn);
	if (status == MDB_SUCCESS)
		return mdb_txn_commit(txn); /* also of a reading one: it keeps the handles */
	mdb_txn_abort(txn);
	return status;
}

static enum err_code open_lmdb(struct kv_lmdb *lmdb, const struct store_opts *opts, struct err *err)
{
	int status = open_env(lmdb, opts);
	enum err_code rc;

	if (status != MDB_SUCCESS)
		return lmdb_fail(lmdb, status, "the store cannot be opened", err);
	rc = lmdb_lengthen(lmdb, err);
	if (rc != ERR_OK)
		return rc;
	(void)mdb_reader_check(lmdb->env, NULL);
	status = open_tables(lmdb);
	if (status == MDB_MAP_FULL)
		return err_set(err, ERR_FULL, "the store's map is too small to begin with");
	if (status == MDB_NOTFOUND)
		return err_set(err, ERR_NOT_FOUND, "there is no store in %s yet", opts->dir);
	if (status != MDB_SUCCESS)
		return lmdb_fail(lmdb, status, "the store cannot be opened", err);
	/* The names of new files must survive a power cut as their contents do. */
	return opts->read_only ? ERR_OK : file_sync_dir(opts->dir, err);
}

enum err_code store_lmdb_open(const struct store_opts *opts, struct store **out, struct err *err)
{
	struct kv_lmdb *lmdb;
	enum err_code rc = prepare(opts, err);

	if (rc != ERR_OK)
		return rc;
	lmdb = calloc(1, sizeof(*lmdb));
	if (!lmdb)
		return err_set(err, ERR_NOMEM, "no memory for a store");
	lmdb->base.ops = &lmdb_ops;
	lmdb->read_only = opts->read_only;
	lock_init(&lmdb->lock);
	cond_init(&lmdb->idle);
	lmdb->dir = slice_dup_str(slice_str(opts->dir));
	rc = lmdb->dir ? open_lmdb(lmdb, opts, err)
		       : err_set(err, ERR_NOMEM, "no memory for a store");
	if (rc != ERR_OK) {
		lmdb_ops.close(&lmdb->base);
		return rc;
	}
	return store_open(&lmdb->base, opts, out, err);
}

const char *store_version_text(void)
{
	return mdb_version(NULL, NULL, NULL);
}
