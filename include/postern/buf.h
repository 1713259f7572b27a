/* buf.h - borrowed bytes (slice), owned bytes with a ceiling (buf), and careful readers of both.
 *
 * Owns:    a buf owns its memory until buf_done(); a slice owns nothing.
 * Threads: values; one thread at a time.
 * Errors:  ERR_LIMIT (the buffer's ceiling), ERR_NOMEM. On failure the buffer is unchanged.
 * Units:   bytes; integers are little-endian on disk. */
#pragma once

#include "postern/defs.h"
#include "postern/err.h"

#include <string.h>

struct slice {
	const uint8_t *data;
	size_t len;
};

#define SLICE_EMPTY ((struct slice){ NULL, 0 })
#define SLICE_LIT(s) ((struct slice){ (const uint8_t *)("" s), sizeof(s) - 1 })
/* for printf: "%.*s" */
#define SLICE_FMT(s) (int)(s).len, (const char *)((s).data ? (s).data : (const uint8_t *)"")

static inline struct slice slice_str(const char *s)
{
	return (struct slice){ (const uint8_t *)s, s ? strlen(s) : 0 };
}
bool slice_eq(struct slice a, struct slice b); /* not for secrets: crypto_equal() */
bool slice_eq_str(struct slice a, const char *b);
/* Bytes of one length, ASCII letters of either case. */
bool slice_same_nocase(const uint8_t *a, const uint8_t *b, size_t len);
/* Inline as far as it takes to see that two names differ, which most pairs do. */
static inline bool slice_eq_nocase(struct slice a, struct slice b)
{
	if (a.len != b.len)
		return false;
	if (a.len == 0)
		return true;
	return ((a.data[0] ^ b.data[0]) & ~0x20) == 0 && slice_same_nocase(a.data, b.data, a.len);
}
int slice_cmp(struct slice a, struct slice b); /* bytes, shorter first */
bool slice_starts(struct slice s, struct slice prefix);
/* s[from .. from+len), cut to what there is. */
struct slice slice_sub(struct slice s, size_t from, size_t len);
/* Without blanks and tabs at both ends. */
struct slice slice_trim(struct slice s);
/* Index of the first c, or s.len. */
size_t slice_find(struct slice s, uint8_t c);
/* Index of the first needle, or s.len. */
size_t slice_search(struct slice s, struct slice needle);
/* A NUL-terminated copy; free() it. NULL without memory. */
char *slice_dup_str(struct slice s);

/* A named value: an HTTP header, a header of a record. */
struct header {
	struct slice name, value;
};

struct buf {
	uint8_t *data;
	size_t len, cap, max;
};
#define BUF_INIT(ceiling) ((struct buf){ .max = (ceiling) })

/* What is put must not lie inside the buffer itself. */
MUST_CHECK enum err_code buf_reserve(struct buf *buf, size_t more, struct err *err);
MUST_CHECK enum err_code buf_put(struct buf *buf, const void *data, size_t len, struct err *err);
MUST_CHECK enum err_code buf_put_slice(struct buf *buf, struct slice s, struct err *err);
MUST_CHECK enum err_code buf_put_str(struct buf *buf, const char *s, struct err *err);
MUST_CHECK enum err_code buf_putf(struct buf *buf, struct err *err, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
MUST_CHECK enum err_code buf_put_u8(struct buf *buf, uint8_t v, struct err *err);
MUST_CHECK enum err_code buf_put_u16(struct buf *buf, uint16_t v, struct err *err);
MUST_CHECK enum err_code buf_put_u32(struct buf *buf, uint32_t v, struct err *err);
MUST_CHECK enum err_code buf_put_u64(struct buf *buf, uint64_t v, struct err *err);
/* u32 length, then the bytes. */
MUST_CHECK enum err_code buf_put_sized(struct buf *buf, struct slice s, struct err *err);
/* Read to the end of the file. A read of more than the ceiling is ERR_LIMIT. */
MUST_CHECK enum err_code buf_read_fd(struct buf *buf, int fd, struct err *err);
void buf_reset(struct buf *buf); /* length 0, memory kept */
void buf_wipe(struct buf *buf);  /* overwrites the whole capacity, then length 0 */
void buf_swap(struct buf *a, struct buf *b);
void buf_done(struct buf *buf);
static inline struct slice buf_slice(const struct buf *buf)
{
	return (struct slice){ buf->data, buf->len };
}
/* A NUL is kept behind the last byte (not counted) by every put, so this is a C string. */
static inline const char *buf_str(const struct buf *buf)
{
	return buf->data ? (const char *)buf->data : "";
}

/* Readers over encoded bytes. They never read past the end; after the first failure `bad` is set,
 * and every later read gives zero or an empty slice. Check `bad` once at the end. */
struct cursor {
	struct slice rest;
	bool bad;
};
#define CURSOR(s) ((struct cursor){ .rest = (s) })
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
struct slice cursor_bytes(struct cursor *c, size_t len);
struct slice cursor_sized(struct cursor *c); /* u32 length, then the bytes */

/* Fixed positions, for headers that are laid out by hand. */
void put_le16(uint8_t *p, uint16_t v);
void put_le32(uint8_t *p, uint32_t v);
void put_le64(uint8_t *p, uint64_t v);
uint16_t get_le16(const uint8_t *p);
uint32_t get_le32(const uint8_t *p);
uint64_t get_le64(const uint8_t *p);
void put_be32(uint8_t *p, uint32_t v); /* for sorted keys */
void put_be64(uint8_t *p, uint64_t v);
uint32_t get_be32(const uint8_t *p);
uint64_t get_be64(const uint8_t *p);

/* CRC32C (Castagnoli), as in iSCSI; start with seed 0, chain by passing the last result. Uses the
 * processor's instruction where there is one. */
uint32_t crc32c(uint32_t seed, const void *data, size_t len);

/* A hash keyed with a number chosen at random for each process, so that senders cannot choose keys
 * that collide. The same within one process only: never store it. For uthash, before its header:
 *   #define HASH_FUNCTION(key, len, out) ((out) = (unsigned)hash_bytes((key), (len)))
 *   #define uthash_fatal(msg) abort() */
uint64_t hash_bytes(const void *data, size_t len);
