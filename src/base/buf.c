/* buf.c - owned bytes that grow up to a ceiling.
 *
 * A NUL is kept behind the last byte, so that the memory is always one byte larger than the
 * content. Deliberately not here: secrets. Growing copies, and the old memory is not wiped; whoever
 * fills a buf with a secret reserves its size first and wipes it afterwards. */
#include "postern/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_CAP 64
#define READ_STEP KIB(16)

enum err_code buf_reserve(struct buf *buf, size_t more, struct err *err)
{
	size_t need, cap;
	uint8_t *data;

	if (buf->len > buf->max || more > buf->max - buf->len)
		return err_set(err, ERR_LIMIT, "more than %zu bytes", buf->max);
	if (buf->len + more == SIZE_MAX)
		return err_set(err, ERR_NOMEM, "no memory for %zu bytes", more);
	need = buf->len + more + 1;
	if (need <= buf->cap)
		return ERR_OK;
	/* Doubling keeps many small puts cheap; the ceiling keeps one large buffer from doubling.
	 */
	cap = buf->cap < FIRST_CAP ? FIRST_CAP : buf->cap;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	if (cap - 1 > buf->max)
		cap = buf->max + 1;
	data = realloc(buf->data, cap);
	if (!data)
		return err_set(err, ERR_NOMEM, "no memory for %zu bytes", cap);
	buf->data = data;
	buf->cap = cap;
	data[buf->len] = '\0';
	return ERR_OK;
}

enum err_code buf_put(struct buf *buf, const void *data, size_t len, struct err *err)
{
	enum err_code rc = buf_reserve(buf, len, err);

	if (rc != ERR_OK)
		return rc;
	if (len)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
	return ERR_OK;
}

enum err_code buf_put_slice(struct buf *buf, struct slice s, struct err *err)
{
	return buf_put(buf, s.data, s.len, err);
}

enum err_code buf_put_str(struct buf *buf, const char *s, struct err *err)
{
	return buf_put(buf, s, strlen(s), err);
}

enum err_code buf_putf(struct buf *buf, struct err *err, const char *fmt, ...)
{
	enum err_code rc;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (len < 0)
		return err_set(err, ERR_LIMIT, "text too long to format");
	rc = buf_reserve(buf, (size_t)len, err);
	if (rc != ERR_OK)
		return rc;
	va_start(args, fmt);
	(void)vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, fmt, args);
	va_end(args);
	buf->len += (size_t)len;
	return ERR_OK;
}

enum err_code buf_put_u8(struct buf *buf, uint8_t v, struct err *err)
{
	return buf_put(buf, &v, 1, err);
}

enum err_code buf_put_u16(struct buf *buf, uint16_t v, struct err *err)
{
	uint8_t bytes[2];

	put_le16(bytes, v);
	return buf_put(buf, bytes, sizeof(bytes), err);
}

enum err_code buf_put_u32(struct buf *buf, uint32_t v, struct err *err)
{
	uint8_t bytes[4];

	put_le32(bytes, v);
	return buf_put(buf, bytes, sizeof(bytes), err);
}

enum err_code buf_put_u64(struct buf *buf, uint64_t v, struct err *err)
{
	uint8_t bytes[8];

	put_le64(bytes, v);
	return buf_put(buf, bytes, sizeof(bytes), err);
}

enum err_code buf_put_sized(struct buf *buf, struct slice s, struct err *err)
{
	enum err_code rc;

	if (s.len > UINT32_MAX)
		return err_set(err, ERR_LIMIT, "more than %u bytes", UINT32_MAX);
	rc = buf_reserve(buf, s.len + 4, err);
	if (rc != ERR_OK)
		return rc;
	put_le32(buf->data + buf->len, (uint32_t)s.len);
	buf->len += 4;
	return buf_put_slice(buf, s, err);
}

/* One read into the room that is left; the byte past the ceiling tells "full" from "too much". */
static ssize_t read_some(struct buf *buf, int fd)
{
	uint8_t past;
	size_t room = buf->max - buf->len;
	ssize_t got;

	if (room > buf->cap - buf->len - 1)
		room = buf->cap - buf->len - 1;
	do {
		got = room ? read(fd, buf->data + buf->len, room) : read(fd, &past, 1);
	} while (got < 0 && errno == EINTR);
	return got;
}

enum err_code buf_read_fd(struct buf *buf, int fd, struct err *err)
{
	size_t before = buf->len;
	enum err_code rc = buf_reserve(buf, 0, err);
	ssize_t got;

	while (rc == ERR_OK) {
		size_t room = buf->max - buf->len;
		bool full = room == 0;

		/* Memory that the caller reserved is filled before any is added. */
		if (!full && buf->cap - buf->len - 1 == 0)
			rc = buf_reserve(buf, room < READ_STEP ? room : READ_STEP, err);
		if (rc != ERR_OK)
			break;
		got = read_some(buf, fd);
		if (got < 0)
			rc = err_sys(err, ERR_IO, errno, "read");
		else if (got == 0)
			break;
		else if (full)
			rc = err_set(err, ERR_LIMIT, "more than %zu bytes", buf->max);
		else
			buf->len += (size_t)got;
	}
	if (rc != ERR_OK)
		buf->len = before;
	if (buf->data)
		buf->data[buf->len] = '\0';
	return rc;
}

void buf_reset(struct buf *buf)
{
	buf->len = 0;
	if (buf->data)
		buf->data[0] = '\0';
}

void buf_wipe(struct buf *buf)
{
	if (buf->data)
		explicit_bzero(buf->data, buf->cap);
	buf->len = 0;
}

void buf_swap(struct buf *a, struct buf *b)
{
	struct buf tmp = *a;

	*a = *b;
	*b = tmp;
}

void buf_done(struct buf *buf)
{
	free(buf->data);
	buf->data = NULL;
	buf->len = buf->cap = 0;
}
