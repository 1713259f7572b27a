/* kafka_record.c - a record's header block to the library's headers, and back.
 *
 * Names and values go over byte for byte and in order, so that any CloudEvents client reads them.
 * What the headers mean is the business of event.h. Deliberately not here: sending and reading. */
#include "kafka_priv.h"

#include <assert.h>

#define COUNT_LEN 2              /* count u16 */
#define NAME_LEN 2               /* length u16 */
#define VALUE_LEN 4              /* length u32 */
#define EMPTY ((const void *)"") /* where the library would take NULL for "no value" */

static const void *bytes_of(struct slice s)
{
	return s.data ? (const void *)s.data : EMPTY;
}

/* All of a block, no more and no less than it says. */
static bool is_whole(struct slice block, size_t *out_count)
{
	size_t at = 0, count = 0;
	struct header header;

	if (block.len < COUNT_LEN)
		return false;
	while (event_header_next(block, &at, &header))
		count++;
	*out_count = count;
	return (count ? at : COUNT_LEN) == block.len && count == get_le16(block.data);
}

enum err_code kafka_headers(struct slice block, rd_kafka_headers_t **out, struct err *err)
{
	rd_kafka_headers_t *headers;
	size_t at = 0, count = 0;
	struct header header;

	if (block.len > 0 && !is_whole(block, &count))
		return err_set(err, ERR_SYNTAX, "a header block is broken");
	*out = NULL;
	if (count == 0)
		return ERR_OK;
	headers = rd_kafka_headers_new(count);
	while (headers && event_header_next(block, &at, &header)) {
		/* A name ends at its first NUL where it is read. */
		if (slice_find(header.name, 0) < header.name.len) {
			rd_kafka_headers_destroy(headers);
			return err_set(err, ERR_SYNTAX, "a header's name has a zero byte");
		}
		if (rd_kafka_header_add(headers, (const char *)header.name.data,
			    (ssize_t)header.name.len, bytes_of(header.value),
			    (ssize_t)header.value.len) != RD_KAFKA_RESP_ERR_NO_ERROR) {
			rd_kafka_headers_destroy(headers);
			headers = NULL;
		}
	}
	if (!headers)
		return err_set(err, ERR_NOMEM, "no memory for headers");
	*out = headers;
	return ERR_OK;
}

/* ---- back ----
 */

/* False behind the last one. */
static bool header_at(const rd_kafka_headers_t *headers, size_t i, struct header *out)
{
	const char *name = NULL;
	const void *value = NULL;
	size_t len = 0;

	if (!headers || rd_kafka_header_get_all(headers, i, &name, &value, &len) !=
				RD_KAFKA_RESP_ERR_NO_ERROR)
		return false;
	out->name = slice_str(name);
	out->value = (struct slice){ value, value ? len : 0 };
	return true;
}

/* NULL: the message has none. The library decodes them at the first call, in the message itself;
 * false: it could not. */
static bool headers_of(const rd_kafka_message_t *message, const rd_kafka_headers_t **out)
{
	rd_kafka_headers_t *headers = NULL;
	rd_kafka_resp_err_t rc = rd_kafka_message_headers(message, &headers);

	*out = rc == RD_KAFKA_RESP_ERR_NO_ERROR ? headers : NULL;
	return rc == RD_KAFKA_RESP_ERR_NO_ERROR || rc == RD_KAFKA_RESP_ERR__NOENT;
}

bool kafka_block_size(const rd_kafka_message_t *message, size_t *out)
{
	const rd_kafka_headers_t *headers;
	size_t size = COUNT_LEN, i = 0;
	struct header header;

	if (!headers_of(message, &headers))
		return false;
	for (; header_at(headers, i, &header); i++) {
		if (header.name.len == 0 || header.name.len > UINT16_MAX ||
			header.value.len > EVENT_HEADERS_MAX)
			return false;
		size += NAME_LEN + header.name.len + VALUE_LEN + header.value.len;
		if (size > EVENT_HEADERS_MAX || i >= EVENT_HEADER_COUNT_MAX)
			return false;
	}
	*out = size;
	return true;
}

static uint8_t *put(uint8_t *at, struct slice s)
{
	if (s.len)
		memcpy(at, s.data, s.len);
	return at + s.len;
}

static struct slice put_block(const rd_kafka_headers_t *headers, uint8_t *block)
{
	uint8_t *at = block + COUNT_LEN;
	struct header header;
	size_t i = 0;

	for (; header_at(headers, i, &header); i++) {
		put_le16(at, (uint16_t)header.name.len);
		at = put(at + NAME_LEN, header.name);
		put_le32(at, (uint32_t)header.value.len);
		at = put(at + VALUE_LEN, header.value);
	}
	assert(i <= EVENT_HEADER_COUNT_MAX);
	put_le16(block, (uint16_t)i);
	return (struct slice){ block, (size_t)(at - block) };
}

void kafka_record(const rd_kafka_message_t *message, uint8_t *block, struct record *out)
{
	int64_t time_ms = rd_kafka_message_timestamp(message, NULL);
	const rd_kafka_headers_t *headers;

	*out = (struct record){
		.key = { message->key, message->key ? message->key_len : 0 },
		.body = { message->payload, message->payload ? message->len : 0 },
		.offset = message->offset,
		.time_ms = time_ms > 0 ? time_ms : 0,
	};
	if (block && headers_of(message, &headers))
		out->headers = put_block(headers, block);
}
