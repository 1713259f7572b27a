/* bytes.c - integers in bytes, in both orders, and the cursor that reads encoded bytes carefully.
 *
 * Deliberately not here: what the bytes mean. Each format has its own room. */
#include "postern/buf.h"

void put_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

void put_le32(uint8_t *p, uint32_t v)
{
	put_le16(p, (uint16_t)v);
	put_le16(p + 2, (uint16_t)(v >> 16));
}

void put_le64(uint8_t *p, uint64_t v)
{
	put_le32(p, (uint32_t)v);
	put_le32(p + 4, (uint32_t)(v >> 32));
}

uint16_t get_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t get_le32(const uint8_t *p)
{
	return get_le16(p) | (uint32_t)get_le16(p + 2) << 16;
}

uint64_t get_le64(const uint8_t *p)
{
	return get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

void put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

void put_be64(uint8_t *p, uint64_t v)
{
	put_be32(p, (uint32_t)(v >> 32));
	put_be32(p + 4, (uint32_t)v);
}

uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t get_be64(const uint8_t *p)
{
	return (uint64_t)get_be32(p) << 32 | get_be32(p + 4);
}

struct slice cursor_bytes(struct cursor *c, size_t len)
{
	struct slice taken = { c->rest.data, len };

	if (c->bad || len > c->rest.len) {
		c->bad = true;
		return SLICE_EMPTY;
	}
	if (len > 0) {
		c->rest.data += len;
		c->rest.len -= len;
	}
	return taken;
}

uint8_t cursor_u8(struct cursor *c)
{
	struct slice s = cursor_bytes(c, 1);

	return s.len ? s.data[0] : 0;
}

uint16_t cursor_u16(struct cursor *c)
{
	struct slice s = cursor_bytes(c, 2);

	return s.len ? get_le16(s.data) : 0;
}

uint32_t cursor_u32(struct cursor *c)
{
	struct slice s = cursor_bytes(c, 4);

	return s.len ? get_le32(s.data) : 0;
}

uint64_t cursor_u64(struct cursor *c)
{
	struct slice s = cursor_bytes(c, 8);

	return s.len ? get_le64(s.data) : 0;
}

struct slice cursor_sized(struct cursor *c)
{
	uint32_t len = cursor_u32(c);

	return cursor_bytes(c, len);
}
