/* seglog_format.c - heads and frames of a segment file. Pure; deliberately not here: files. */
#include "seglog_format.h"

#include <assert.h>

static const uint8_t magic[8] = { 'p', 'o', 's', 't', 's', 'e', 'g', '\n' };

enum {
	HEAD_CRC = 8,
	HEAD_FORMAT = 12,
	HEAD_FIRST = 16,
	HEAD_SALT = 24,
	HEAD_CREATED = 32,
	HEAD_STREAM = 40
};
enum {
	FRAME_LENGTH = 0,
	FRAME_CRC = 4,
	FRAME_OFFSET = 8,
	FRAME_TIME = 16,
	FRAME_COMMITTED = 24,
	FRAME_ATTEMPT = 32,
	FRAME_SALT = 48,
	FRAME_KEY = 56,
	FRAME_HEADERS = 60
};

static uint32_t head_crc(const uint8_t *head)
{
	return crc32c(0, head + HEAD_FORMAT, SEGLOG_HEAD - HEAD_FORMAT);
}

void seglog_head_put(uint8_t out[SEGLOG_HEAD], const struct seglog_head *head)
{
	memset(out, 0, SEGLOG_HEAD);
	memcpy(out, magic, sizeof(magic));
	put_le32(out + HEAD_FORMAT, SEGLOG_FORMAT);
	put_le64(out + HEAD_FIRST, (uint64_t)head->first);
	put_le64(out + HEAD_SALT, head->salt);
	put_le64(out + HEAD_CREATED, (uint64_t)head->created_ms);
	put_le32(out + HEAD_STREAM, head->stream);
	put_le32(out + HEAD_CRC, head_crc(out));
}

bool seglog_head_get(const uint8_t in[SEGLOG_HEAD], struct seglog_head *out, uint32_t *out_format)
{
	*out_format = SEGLOG_FORMAT;
	if (memcmp(in, magic, sizeof(magic)) != 0 || get_le32(in + HEAD_CRC) != head_crc(in))
		return false;
	*out_format = get_le32(in + HEAD_FORMAT);
	out->first = (int64_t)get_le64(in + HEAD_FIRST);
	out->salt = get_le64(in + HEAD_SALT);
	out->created_ms = (int64_t)get_le64(in + HEAD_CREATED);
	out->stream = get_le32(in + HEAD_STREAM);
	return *out_format == SEGLOG_FORMAT && out->first >= 0 && out->created_ms >= 0;
}

static size_t padded(size_t len)
{
	return (len + (SEGLOG_ALIGN - 1)) & ~(size_t)(SEGLOG_ALIGN - 1);
}

size_t seglog_frame_size(const struct record *r)
{
	return padded(SEGLOG_FRAME + r->key.len + r->headers.len + r->body.len);
}

static uint8_t *put_slice(uint8_t *at, struct slice s)
{
	if (s.len)
		memcpy(at, s.data, s.len);
	return at + s.len;
}

void seglog_frame_put(uint8_t *at, const struct record *r, int64_t committed, uint64_t salt)
{
	size_t length = SEGLOG_FRAME + r->key.len + r->headers.len + r->body.len;
	uint8_t *p = at + SEGLOG_FRAME;

	assert(length <= UINT32_MAX && r->offset >= 0 && r->time_ms >= 0);
	put_le32(at + FRAME_LENGTH, (uint32_t)length);
	put_le64(at + FRAME_OFFSET, (uint64_t)r->offset);
	put_le64(at + FRAME_TIME, (uint64_t)r->time_ms);
	put_le64(at + FRAME_COMMITTED, (uint64_t)committed);
	memcpy(at + FRAME_ATTEMPT, r->attempt, ATTEMPT_LEN);
	put_le64(at + FRAME_SALT, salt);
	put_le32(at + FRAME_KEY, (uint32_t)r->key.len);
	put_le32(at + FRAME_HEADERS, (uint32_t)r->headers.len);
	p = put_slice(p, r->key);
	p = put_slice(p, r->headers);
	p = put_slice(p, r->body);
	memset(p, 0, padded(length) - length);
	put_le32(at + FRAME_CRC, crc32c(0, at + FRAME_OFFSET, length - FRAME_OFFSET));
}

bool seglog_frame_peek(const uint8_t *in, size_t room, uint64_t salt, struct seglog_frame *out)
{
	size_t length, inner;

	if (room < SEGLOG_FRAME || get_le64(in + FRAME_SALT) != salt)
		return false;
	length = get_le32(in + FRAME_LENGTH);
	inner = (size_t)get_le32(in + FRAME_KEY) + get_le32(in + FRAME_HEADERS);
	if (length < SEGLOG_FRAME || padded(length) > room || inner > length - SEGLOG_FRAME)
		return false;
	*out = (struct seglog_frame){
		.size = padded(length),
		.offset = (int64_t)get_le64(in + FRAME_OFFSET),
		.time_ms = (int64_t)get_le64(in + FRAME_TIME),
		.committed = (int64_t)get_le64(in + FRAME_COMMITTED),
	};
	return out->offset >= 0 && out->offset < INT64_MAX && out->time_ms >= 0 &&
	       out->committed >= 0 && out->committed <= out->offset;
}

bool seglog_frame_get(
	struct slice in, uint64_t salt, struct seglog_frame *out, struct record *record)
{
	size_t length, key, headers;
	const uint8_t *p = in.data;

	if (!seglog_frame_peek(p, in.len, salt, out))
		return false;
	length = get_le32(p + FRAME_LENGTH);
	if (crc32c(0, p + FRAME_OFFSET, length - FRAME_OFFSET) != get_le32(p + FRAME_CRC))
		return false;
	key = get_le32(p + FRAME_KEY);
	headers = get_le32(p + FRAME_HEADERS);
	*record = (struct record){ .offset = out->offset, .time_ms = out->time_ms };
	memcpy(record->attempt, p + FRAME_ATTEMPT, ATTEMPT_LEN);
	p += SEGLOG_FRAME;
	record->key = (struct slice){ p, key };
	record->headers = (struct slice){ p + key, headers };
	record->body = (struct slice){ p + key + headers, length - SEGLOG_FRAME - key - headers };
	return true;
}
