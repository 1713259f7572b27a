/* times.c - when the journal stood where: samples, so that an age can be told as an offset.
 *
 * All that is asked is asked roughly, and answered on the safe side. */
#include "store_priv.h"

#define TIMES_NAME "times"
#define SAMPLES_A_WINDOW 16
#define SAMPLE_LEN ((size_t)16)

void times_note(struct store_times *times, int64_t dedupe_ms, int64_t time_ms, int64_t offset)
{
	size_t n = times->count;

	if (time_ms == 0 ||
		(n > 0 && time_ms - times->at[n - 1].time_ms < dedupe_ms / SAMPLES_A_WINDOW))
		return;
	if (n == STORE_TIMES) {
		n--;
		memmove(times->at, times->at + 1, n * sizeof(times->at[0]));
	}
	times->at[n].time_ms = time_ms;
	times->at[n].offset = offset;
	times->count = n + 1;
	times->changed = true;
}

enum err_code times_write(
	struct store_times *times, struct kv_txn *txn, struct buf *scratch, struct err *err)
{
	struct row_key key = key_of_name(TIMES_NAME);
	uint8_t payload[STORE_TIMES * SAMPLE_LEN];

	for (size_t i = 0; i < times->count; i++) {
		put_le64(payload + i * SAMPLE_LEN, (uint64_t)times->at[i].time_ms);
		put_le64(payload + i * SAMPLE_LEN + 8, (uint64_t)times->at[i].offset);
	}
	return row_put(txn, KV_META, KV_SET,
		&(struct header){ row_key_slice(&key), { payload, times->count * SAMPLE_LEN } },
		scratch, err);
}

enum err_code times_read(struct store_times *times, struct kv_txn *txn, struct err *err)
{
	struct row_key key = key_of_name(TIMES_NAME);
	struct slice payload;
	enum err_code rc = row_get(txn, KV_META, row_key_slice(&key), &payload, err);

	if (rc == ERR_NOT_FOUND)
		return ERR_OK;
	if (rc == ERR_OK &&
		(payload.len % SAMPLE_LEN != 0 || payload.len > STORE_TIMES * SAMPLE_LEN))
		rc = err_set(err, ERR_CORRUPT, "the store's times do not decode");
	if (rc != ERR_OK)
		return rc;
	times->count = payload.len / SAMPLE_LEN;
	for (size_t i = 0; i < times->count; i++) {
		times->at[i].time_ms = (int64_t)get_le64(payload.data + i * SAMPLE_LEN);
		times->at[i].offset = (int64_t)get_le64(payload.data + i * SAMPLE_LEN + 8);
	}
	return ERR_OK;
}

int64_t store_journal_at(const struct store *store, int64_t time_ms)
{
	const struct store_times *times = &store->times;

	for (size_t i = times->count; i > 0; i--) {
		if (times->at[i - 1].time_ms <= time_ms)
			return times->at[i - 1].offset;
	}
	return -1;
}

int64_t store_journal_time(const struct store *store, int64_t offset)
{
	const struct store_times *times = &store->times;

	for (size_t i = times->count; i > 0; i--) {
		if (times->at[i - 1].offset <= offset)
			return times->at[i - 1].time_ms;
	}
	return times->count > 0 ? times->at[0].time_ms : 0;
}
