/* ledger_table.c - what the ledger keeps in memory: fingerprints of the open bucket, filters of the
 * others.
 *
 * A fingerprint gives its place in the table by its upper bits, so that the table grows without
 * reading an entry again; a hit is only a hint, and whoever asks compares the entry. Identities are
 * digests, so their bytes serve as hashes. Deliberately not here: reading entries (ledger.c). */
#include "ledger.h"

#include <stdlib.h>

#define SLOTS_FIRST 1024
#define FILTER_BITS_PER_ENTRY 16
#define FILTER_PROBES 7
#define FILTER_PIECE_BLOCKS 63 /* with its checksum a piece fills one page */

uint32_t table_fingerprint(const uint8_t id16[ID16_LEN])
{
	return get_le32(id16 + 8);
}

static size_t home(const struct ledger_table *table, uint32_t fingerprint)
{
	return (size_t)((uint64_t)fingerprint * table->count >> 32);
}

void table_add(struct ledger_table *table, uint32_t fingerprint, uint32_t place)
{
	size_t at = home(table, fingerprint);

	while (table->slots[at].place != 0)
		at = (at + 1) & (table->count - 1);
	table->slots[at] = (struct ledger_slot){ fingerprint, place };
	table->used++;
}

static enum err_code resize(struct ledger_table *table, size_t count, struct err *err)
{
	struct ledger_table larger = { .slots = calloc(count, sizeof(struct ledger_slot)),
		.count = count };

	if (!larger.slots)
		return err_set(err, ERR_NOMEM, "no memory for %zu fingerprints", count);
	for (size_t i = 0; i < table->count; i++) {
		if (table->slots[i].place != 0)
			table_add(&larger, table->slots[i].fingerprint, table->slots[i].place);
	}
	free(table->slots);
	*table = larger;
	return ERR_OK;
}

enum err_code table_reserve(struct ledger_table *table, size_t more, struct err *err)
{
	size_t need = (table->used + more) * 8 / 5, count = table->count;

	if (count == 0)
		count = SLOTS_FIRST;
	while (count < need)
		count *= 2;
	return count == table->count ? ERR_OK : resize(table, count, err);
}

void table_done(struct ledger_table *table)
{
	free(table->slots);
	*table = (struct ledger_table){ .slots = NULL };
}

struct ledger_slot *table_next(struct ledger_table *table, uint32_t fingerprint, size_t *at)
{
	if (table->count == 0)
		return NULL;
	if (*at == SIZE_MAX)
		*at = home(table, fingerprint);
	else
		*at = (*at + 1) & (table->count - 1);
	while (table->slots[*at].place != 0) {
		if (table->slots[*at].fingerprint == fingerprint)
			return &table->slots[*at];
		*at = (*at + 1) & (table->count - 1);
	}
	return NULL;
}

enum err_code filter_make(struct ledger_filter *filter, size_t entries, struct err *err)
{
	uint32_t blocks = (uint32_t)(entries * FILTER_BITS_PER_ENTRY / (FILTER_BLOCK * 8) + 1);
	uint8_t *bits = aligned_alloc(FILTER_BLOCK, (size_t)blocks * FILTER_BLOCK);

	if (!bits)
		return err_set(err, ERR_NOMEM, "no memory for a filter");
	memset(bits, 0, (size_t)blocks * FILTER_BLOCK);
	*filter = (struct ledger_filter){ .bits = bits, .blocks = blocks };
	return ERR_OK;
}

void filter_done(struct ledger_filter *filter)
{
	free(filter->bits);
	*filter = (struct ledger_filter){ .bits = NULL };
}

static uint8_t *block_of(const struct ledger_filter *filter, const uint8_t id16[ID16_LEN])
{
	size_t block = (size_t)((uint64_t)get_le32(id16) * filter->blocks >> 32);

	return filter->bits + block * FILTER_BLOCK;
}

/* Seven times nine bits of the second half of the id. */
void filter_add(struct ledger_filter *filter, const uint8_t id16[ID16_LEN])
{
	uint8_t *block = block_of(filter, id16);
	uint64_t bits = get_le64(id16 + 8);

	for (int i = 0; i < FILTER_PROBES; i++, bits >>= 9)
		block[bits >> 3 & (FILTER_BLOCK - 1)] |= (uint8_t)(1U << (bits & 7));
}

bool filter_may_have(const struct ledger_filter *filter, const uint8_t id16[ID16_LEN])
{
	const uint8_t *block = block_of(filter, id16);
	uint64_t bits = get_le64(id16 + 8);

	for (int i = 0; i < FILTER_PROBES; i++, bits >>= 9) {
		if (!(block[bits >> 3 & (FILTER_BLOCK - 1)] & 1U << (bits & 7)))
			return false;
	}
	return true;
}

static struct slice piece_of(const struct ledger_filter *filter, uint32_t piece)
{
	struct slice all = { filter->bits, (size_t)filter->blocks * FILTER_BLOCK };
	size_t len = (size_t)FILTER_PIECE_BLOCKS * FILTER_BLOCK;

	return slice_sub(all, piece * len, len);
}

enum err_code filter_write(struct kv_txn *txn, uint32_t bucket, const struct ledger_filter *filter,
	struct buf *scratch, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (uint32_t i = 0; rc == ERR_OK && i * FILTER_PIECE_BLOCKS < filter->blocks; i++) {
		struct row_key key = ledger_key_number(bucket, LEDGER_FILTER, i);
		struct header row = { row_key_slice(&key), piece_of(filter, i) };

		rc = row_put(txn, KV_LEDGER, KV_APPEND, &row, scratch, err);
	}
	return rc;
}

enum err_code filter_read(
	struct kv_txn *txn, uint32_t bucket, struct ledger_filter *filter, struct err *err)
{
	uint32_t blocks = filter->blocks;
	uint8_t *bits;

	if (blocks == 0 || blocks > UINT32_MAX / FILTER_BLOCK)
		return err_set(err, ERR_CORRUPT, "a ledger filter of %u blocks", blocks);
	bits = aligned_alloc(FILTER_BLOCK, (size_t)blocks * FILTER_BLOCK);
	if (!bits)
		return err_set(err, ERR_NOMEM, "no memory for a filter");
	filter->bits = bits;
	for (uint32_t i = 0; i * FILTER_PIECE_BLOCKS < blocks; i++) {
		struct row_key key = ledger_key_number(bucket, LEDGER_FILTER, i);
		struct slice want = piece_of(filter, i), payload;
		enum err_code rc = row_get(txn, KV_LEDGER, row_key_slice(&key), &payload, err);

		if (rc == ERR_NOT_FOUND || (rc == ERR_OK && payload.len != want.len))
			rc = err_set(err, ERR_CORRUPT, "a ledger filter is not whole");
		if (rc != ERR_OK)
			return rc;
		memcpy(bits + (want.data - bits), payload.data, payload.len);
	}
	return ERR_OK;
}
