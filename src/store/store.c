/* store.c - opening and closing a store, its state and its upkeep, whatever the backend.
 *
 * Deliberately not here: changes (fold.c, commit.c), reads (read.c, view.c). */
#include "store_priv.h"

#include <stdlib.h>

#define STATE_LEN_SHORT 41 /* before there were journals */
#define STATE_LEN 65
#define FORMAT_NAME "format"
#define STATE_NAME "state"
#define LOG_NAME "log"
#define LOG_MAX 300
#define GROW_TRIES 40

enum err_code state_write(
	struct kv_txn *txn, const struct store_state *state, struct buf *scratch, struct err *err)
{
	struct row_key key = key_of_name(STATE_NAME);
	uint8_t payload[STATE_LEN];
	struct header row = { row_key_slice(&key), { payload, sizeof(payload) } };

	put_le64(payload, state->journal.epoch);
	memcpy(payload + 8, state->journal.writer, WRITER_LEN);
	put_le64(payload + 24, state->journal.seq);
	payload[32] = state->journal.released;
	put_le64(payload + 33, (uint64_t)state->next_offset);
	put_le64(payload + 41, (uint64_t)state->journal_next);
	put_le64(payload + 49, (uint64_t)state->base_offset);
	put_le64(payload + 57, (uint64_t)state->began);
	return row_put(txn, KV_META, KV_SET, &row, scratch, err);
}

enum err_code state_read(struct kv_txn *txn, struct store_state *out, struct err *err)
{
	struct row_key key = key_of_name(STATE_NAME);
	struct store_state state = { .next_offset = 0 };
	struct slice payload;
	enum err_code rc = row_get(txn, KV_META, row_key_slice(&key), &payload, err);

	if (rc == ERR_NOT_FOUND ||
		(rc == ERR_OK && payload.len != STATE_LEN && payload.len != STATE_LEN_SHORT))
		return err_set(err, ERR_CORRUPT, "the store's state does not decode");
	if (rc != ERR_OK)
		return rc;
	state.journal.epoch = get_le64(payload.data);
	memcpy(state.journal.writer, payload.data + 8, WRITER_LEN);
	state.journal.seq = get_le64(payload.data + 24);
	state.journal.released = payload.data[32] != 0;
	state.next_offset = (int64_t)get_le64(payload.data + 33);
	if (payload.len == STATE_LEN) {
		state.journal_next = (int64_t)get_le64(payload.data + 41);
		state.base_offset = (int64_t)get_le64(payload.data + 49);
		state.began = (int64_t)get_le64(payload.data + 57);
	}
	*out = state;
	return ERR_OK;
}

void store_state(struct store *store, struct store_state *out)
{
	*out = store->committed;
}

/* Room is made outside of the transaction; what was written in it is written again. */
enum err_code store_write(struct store *store, write_fn *fn, void *ctx, struct err *err)
{
	for (int i = 0; i < GROW_TRIES; i++) {
		struct err failed = ERR_INIT;
		struct kv_txn *txn = NULL;
		enum err_code rc = kv_begin(store->kv, true, &txn, &failed);

		if (rc == ERR_OK) {
			rc = fn(store, txn, ctx, &failed);
			if (rc == ERR_OK)
				rc = store->kv->ops->commit(txn, &failed);
			else
				kv_abort(txn);
		}
		if (rc == ERR_OK)
			return ERR_OK;
		if (rc != ERR_FULL || store->kv->ops->grow(store->kv, &failed) != ERR_OK)
			return err_set(err, rc, "%s", failed.text);
	}
	return err_set(err, ERR_FULL, "the store's map does not grow enough");
}

static enum err_code put_log(const struct store_log *log, struct buf *out, struct err *err)
{
	enum err_code rc = buf_put_u32(out, log->generation, err);

	if (rc == ERR_OK)
		rc = buf_put_u32(out, log->partitions, err);
	return rc == ERR_OK ? buf_put_sized(out, slice_str(log->cluster), err) : rc;
}

/* Which log this store is folded from. */
static enum err_code write_log(struct store *store, struct kv_txn *txn, struct err *err)
{
	struct row_key key = key_of_name(LOG_NAME);
	struct buf text = BUF_INIT(LOG_MAX);
	enum err_code rc = put_log(store->log, &text, err);

	if (rc == ERR_OK)
		rc = row_put(txn, KV_META, KV_SET,
			&(struct header){ row_key_slice(&key), buf_slice(&text) }, &store->scratch,
			err);
	buf_done(&text);
	return rc;
}

static enum err_code check_log(struct store *store, struct kv_txn *txn, struct err *err)
{
	struct row_key key = key_of_name(LOG_NAME);
	struct buf text = BUF_INIT(LOG_MAX);
	struct slice payload;
	enum err_code rc = put_log(store->log, &text, err);

	if (rc == ERR_OK)
		rc = row_get(txn, KV_META, row_key_slice(&key), &payload, err);
	if (rc == ERR_NOT_FOUND || (rc == ERR_OK && !slice_eq(payload, buf_slice(&text))))
		rc = err_set(err, ERR_CORRUPT, "the store was folded from another log");
	buf_done(&text);
	return rc;
}

/* A new store says what it is in its first transaction. */
static enum err_code write_format(
	struct store *store, struct kv_txn *txn, void *ctx, struct err *err)
{
	struct row_key key = key_of_name(FORMAT_NAME);
	uint8_t format = STORE_FORMAT;
	struct header row = { row_key_slice(&key), { &format, 1 } };
	enum err_code rc = row_put(txn, KV_META, KV_SET, &row, &store->scratch, err);

	(void)ctx;
	if (rc == ERR_OK && store->log)
		rc = write_log(store, txn, err);
	return rc == ERR_OK ? state_write(txn, &store->applied, &store->scratch, err) : rc;
}

/* ERR_NOT_FOUND: a store that was never written. */
static enum err_code read_format(struct kv_txn *txn, struct err *err)
{
	struct row_key key = key_of_name(FORMAT_NAME);
	struct slice payload;
	enum err_code rc = row_get(txn, KV_META, row_key_slice(&key), &payload, err);

	if (rc == ERR_OK && (payload.len != 1 || payload.data[0] != STORE_FORMAT))
		return err_set(
			err, ERR_CORRUPT, "the store has another format than %d", STORE_FORMAT);
	return rc;
}

static enum err_code load(struct store *store, struct err *err)
{
	struct kv_txn *txn = NULL;
	enum err_code rc = kv_begin(store->kv, false, &txn, err);

	if (rc != ERR_OK)
		return rc;
	rc = read_format(txn, err);
	if (rc == ERR_OK && store->log)
		rc = check_log(store, txn, err);
	if (rc == ERR_OK)
		rc = store_load(store, txn, err);
	kv_abort(txn);
	return rc;
}

static struct store *store_new(struct kv *kv, const struct store_opts *opts)
{
	struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return NULL;
	*store = (struct store){
		.kv = kv,
		.clock = opts->clock ? opts->clock : clock_system(),
		.ledger_max_bytes = opts->ledger_max_bytes,
		.read_only = opts->read_only,
		.log = opts->log,
		.journaled = opts->log != NULL,
		.trim = { INT64_MIN, INT64_MIN },
		.wanted = { INT64_MIN, INT64_MIN },
		.scratch = BUF_INIT(OVERLAY_MAX),
		.item = BUF_INIT(JOURNAL_EMBEDDED_MAX),
	};
	overlay_init(&store->overlay);
	park_init(&store->park);
	outs_init(&store->outs);
	routes_init(&store->routes);
	ledger_init(&store->ledger, opts->dedupe_ms > 0 ? opts->dedupe_ms : DEDUPE_DEFAULT_MS);
	return store;
}

enum err_code store_open(
	struct kv *kv, const struct store_opts *opts, struct store **out, struct err *err)
{
	struct store *store = store_new(kv, opts);
	enum err_code rc;

	if (!store) {
		kv->ops->close(kv);
		return err_set(err, ERR_NOMEM, "no memory for a store");
	}
	rc = load(store, err);
	if (rc == ERR_NOT_FOUND && opts->must_exist)
		rc = err_set(err, ERR_CORRUPT,
			"the store in %s is empty, but the log beside it is not", opts->dir);
	else if (rc == ERR_NOT_FOUND && opts->read_only)
		rc = err_set(err, ERR_NOT_FOUND, "there is no store in %s yet", opts->dir);
	else if (rc == ERR_NOT_FOUND) {
		rc = store_write(store, write_format, NULL, err);
		if (rc == ERR_OK)
			rc = load(store, err);
	}
	store->log = NULL; /* the caller's */
	if (rc != ERR_OK)
		store_close(&store);
	else
		*out = store;
	return rc;
}

void store_close(struct store **store)
{
	struct store *s = *store;

	if (!s)
		return;
	*store = NULL;
	s->overlay.applied = 0; /* what is not committed is forgotten */
	store_drop(s);
	overlay_done(&s->overlay);
	park_done(&s->park);
	outs_done(&s->outs);
	routes_done(&s->routes);
	ledger_done(&s->ledger);
	buf_done(&s->scratch);
	buf_done(&s->item);
	s->kv->ops->close(s->kv);
	free(s);
}

enum err_code store_room(struct store *store, struct err *err)
{
	struct kv_size size;

	if (store->ledger_max_bytes <= 0)
		return ERR_OK;
	store->kv->ops->measure(store->kv, &size);
	if (size.ledger_bytes < (uint64_t)store->ledger_max_bytes)
		return ERR_OK;
	return err_set(err, ERR_FULL,
		"the ledger is full: raise /worker/ledger_max_bytes or lower dedupe_hours");
}

static enum err_code seal_rows(struct store *store, struct kv_txn *txn, void *ctx, struct err *err)
{
	struct ledger_bucket *sealed = ctx;

	/* Of an attempt that found too little room. */
	filter_done(&sealed->filter);
	return ledger_seal(&store->ledger, txn, sealed, err);
}

static enum err_code drop_rows(struct store *store, struct kv_txn *txn, void *ctx, struct err *err)
{
	(void)ctx;
	return ledger_drop(&store->ledger, txn, err);
}

/* One bucket at a time: bounded work between two commits. */
enum err_code store_maintain(struct store *store, int64_t now_ms, struct err *err)
{
	struct ledger *ledger = &store->ledger;
	int64_t now = now_ms > ledger->last_ms ? now_ms : ledger->last_ms;
	struct ledger_bucket sealed = { .number = 0 };
	enum err_code rc = ERR_OK;

	if (now_ms < store->tended_ms || store->tended_ms < now_ms - TEND_MS) {
		store->kv->ops->tend(store->kv);
		store->tended_ms = now_ms;
	}
	if (ledger_wants_seal(ledger, now)) {
		rc = store_write(store, seal_rows, &sealed, err);
		if (rc == ERR_OK)
			ledger_sealed(ledger, &sealed);
		else
			filter_done(&sealed.filter);
		store->tended_ms = INT64_MIN; /* all of the bucket was read: let go of it */
	} else if (ledger_wants_drop(ledger, now)) {
		rc = store_write(store, drop_rows, NULL, err);
		if (rc == ERR_OK)
			ledger_dropped(ledger);
	}
	return rc;
}
