/* batch.c - a batch: its header, its checksum, and the walk over its items.
 *
 *   header | type u8, length u32, bytes | type, length, bytes | ...
 *
 * Deliberately not here: what is inside an item (item.c), and whether a batch is valid (judge.c).
 */
#include "journal_priv.h"

#include <assert.h>

static const uint8_t magic[4] = { 'P', 'J', 'N', 'L' };

static uint32_t checksum(const uint8_t *data, size_t len)
{
	static const uint8_t none[4];
	uint32_t crc = crc32c(0, data, AT_CRC);

	crc = crc32c(crc, none, sizeof(none));
	return crc32c(crc, data + JOURNAL_HEADER_LEN, len - JOURNAL_HEADER_LEN);
}

enum err_code journal_begin(struct buf *batch, struct err *err)
{
	static const uint8_t empty[JOURNAL_HEADER_LEN];

	buf_reset(batch);
	return buf_put(batch, empty, sizeof(empty), err);
}

enum err_code journal_add(struct buf *batch, const struct item *item, struct err *err)
{
	enum err_code rc;

	assert(batch->len >= JOURNAL_HEADER_LEN);
	rc = journal_put_item(batch, item, err);
	if (rc == ERR_OK)
		put_le32(batch->data + AT_ITEMS, get_le32(batch->data + AT_ITEMS) + 1);
	return rc;
}

enum err_code journal_end(struct buf *batch, const struct journal_header *header, struct err *err)
{
	uint8_t *p = batch->data;

	assert(batch->len >= JOURNAL_HEADER_LEN);
	if (batch->len > JOURNAL_EMBEDDED_MAX)
		return err_set(err, ERR_LIMIT, "a batch of %zu bytes", batch->len);
	memcpy(p + AT_MAGIC, magic, sizeof(magic));
	p[AT_FORMAT] = JOURNAL_FORMAT;
	p[AT_TYPE] = (uint8_t)header->type;
	put_le16(p + AT_RESERVED, 0);
	put_le64(p + AT_EPOCH, header->epoch);
	memcpy(p + AT_WRITER, header->writer, WRITER_LEN);
	put_le64(p + AT_SEQ, header->seq);
	put_le64(p + AT_NEXT, (uint64_t)header->next_offset);
	put_le64(p + AT_BASE, (uint64_t)header->base_offset);
	put_le32(p + AT_GENERATION, header->generation);
	put_le32(p + AT_PARTITIONS, header->partitions);
	put_le32(p + AT_LENGTH, (uint32_t)batch->len);
	put_le64(p + AT_CHECKPOINT, (uint64_t)header->checkpoint_offset);
	put_le64(p + AT_CHECKPOINT + 8, header->checkpoint_epoch);
	put_le64(p + AT_CHECKPOINT + 16, header->checkpoint_seq);
	memcpy(p + AT_CHECKPOINT + 24, header->checkpoint_writer, WRITER_LEN);
	put_le32(p + AT_CRC, checksum(p, batch->len));
	return ERR_OK;
}

static void read_header(const uint8_t *p, struct journal_header *out)
{
	*out = (struct journal_header){
		.type = (enum journal_type)p[AT_TYPE],
		.epoch = get_le64(p + AT_EPOCH),
		.seq = get_le64(p + AT_SEQ),
		.next_offset = (int64_t)get_le64(p + AT_NEXT),
		.base_offset = (int64_t)get_le64(p + AT_BASE),
		.generation = get_le32(p + AT_GENERATION),
		.partitions = get_le32(p + AT_PARTITIONS),
		.items = get_le32(p + AT_ITEMS),
		.checkpoint_offset = (int64_t)get_le64(p + AT_CHECKPOINT),
		.checkpoint_epoch = get_le64(p + AT_CHECKPOINT + 8),
		.checkpoint_seq = get_le64(p + AT_CHECKPOINT + 16),
	};
	memcpy(out->writer, p + AT_WRITER, WRITER_LEN);
	memcpy(out->checkpoint_writer, p + AT_CHECKPOINT + 24, WRITER_LEN);
}

struct slice journal_items(struct slice batch)
{
	return slice_sub(batch, JOURNAL_HEADER_LEN, batch.len);
}

/* The walk alone, so that a batch with the wrong number of items is refused before one is believed.
 */
static bool items_agree(struct slice batch, uint32_t items)
{
	struct cursor cursor = CURSOR(journal_items(batch));
	uint32_t count = 0;

	while (!cursor.bad && cursor.rest.len > 0) {
		(void)cursor_u8(&cursor);
		(void)cursor_sized(&cursor);
		count++;
	}
	return !cursor.bad && count == items;
}

enum err_code journal_open(struct slice batch, struct journal_header *out, struct err *err)
{
	const uint8_t *p = batch.data;

	if (batch.len < JOURNAL_HEADER_LEN || batch.len > JOURNAL_EMBEDDED_MAX)
		return err_set(err, ERR_CORRUPT, "a journal batch of %zu bytes", batch.len);
	if (memcmp(p + AT_MAGIC, magic, sizeof(magic)) != 0)
		return err_set(err, ERR_CORRUPT, "not a journal batch");
	if (get_le32(p + AT_LENGTH) != batch.len || get_le32(p + AT_CRC) != checksum(p, batch.len))
		return err_set(err, ERR_CORRUPT, "a journal batch whose checksum does not agree");
	if (p[AT_FORMAT] != JOURNAL_FORMAT || get_le16(p + AT_RESERVED) != 0)
		return err_set(err, ERR_CORRUPT,
			"a journal batch of format %u; this program knows %d", p[AT_FORMAT],
			JOURNAL_FORMAT);
	if (p[AT_TYPE] < JOURNAL_CLAIM || p[AT_TYPE] > JOURNAL_COMMAND)
		return err_set(err, ERR_CORRUPT, "a journal batch of type %u", p[AT_TYPE]);
	if (!items_agree(batch, get_le32(p + AT_ITEMS)))
		return err_set(err, ERR_CORRUPT, "a journal batch with other items than it says");
	read_header(p, out);
	return ERR_OK;
}

enum err_code journal_next(struct slice batch, size_t *at, struct item *out, struct err *err)
{
	size_t from = *at ? *at : JOURNAL_HEADER_LEN;
	enum err_code rc;

	if (from >= batch.len)
		return ERR_NOT_FOUND;
	rc = journal_get_item(batch, &from, out, err);
	if (rc == ERR_OK)
		*at = from;
	return rc;
}
