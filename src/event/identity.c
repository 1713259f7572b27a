/* identity.c - by what an event is known: its key, its subject, and the bytes that are hashed.
 *
 * Deliberately not here: hashing. The fields are put together here, without another way to read
 * them. */
#include "postern/event.h"

static enum err_code put_parts(
	struct buf *out, const struct slice *parts, size_t count, char between, struct err *err)
{
	size_t start = out->len;
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < count && rc == ERR_OK; i++) {
		if (i > 0)
			rc = buf_put_u8(out, (uint8_t)between, err);
		if (rc == ERR_OK)
			rc = buf_put_slice(out, parts[i], err);
	}
	if (rc != ERR_OK)
		out->len = start;
	return rc;
}

static enum err_code put_fields(
	struct buf *out, const struct slice *fields, size_t count, struct err *err)
{
	size_t start = out->len;
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < count && rc == ERR_OK; i++)
		rc = buf_put_sized(out, fields[i], err);
	if (rc != ERR_OK)
		out->len = start;
	return rc;
}

enum err_code event_key(const struct event *event, bool by_replay, struct buf *out, struct err *err)
{
	struct slice usual = event->entity.len ? event->entity : event->id;
	struct slice parts[] = { event->tenant,
		by_replay && event->replay.len ? event->replay : usual };

	if (parts[0].len + parts[1].len + 1 > EVENT_KEY_MAX)
		return err_set(err, ERR_LIMIT, "the key of an event is longer than %d bytes",
			EVENT_KEY_MAX);
	return put_parts(out, parts, ARRAY_LEN(parts), '/', err);
}

enum err_code event_subject(const struct event *event, struct buf *out, struct err *err)
{
	struct slice entity[] = { event->tenant, event->entity };
	struct slice single[] = { event->tenant, event->source, event->id };

	if (event->entity.len)
		return put_parts(out, entity, ARRAY_LEN(entity), '\0', err);
	return put_parts(out, single, ARRAY_LEN(single), '\0', err);
}

enum err_code event_identity(const struct event *event, struct buf *out, struct err *err)
{
	struct slice fields[] = { event->tenant, event->source, event->id };

	return put_fields(out, fields, ARRAY_LEN(fields), err);
}

enum err_code event_replay_identity(const struct event *event, struct buf *out, struct err *err)
{
	struct slice fields[] = { SLICE_LIT("replay"), event->tenant, event->source,
		event->replay };

	return put_fields(out, fields, ARRAY_LEN(fields), err);
}
