/* item.c - the items of a batch as bytes, and back. Strict: an item has exactly its length, and
 * every enumeration in it is one that this program knows; nothing unknown is ever skipped.
 *
 * Deliberately not here: what an item does to the state (store). */
#include "journal_priv.h"

#define SEEN_LEN JOURNAL_SEEN_LEN

/* Writers chain: after the first failure the others do nothing, and `rc` says why. */
struct writer {
	struct buf *out;
	struct err *err;
	enum err_code rc;
};

static void w_bytes(struct writer *w, const void *data, size_t len)
{
	if (w->rc == ERR_OK)
		w->rc = buf_put(w->out, data, len, w->err);
}

static void w_u8(struct writer *w, unsigned v)
{
	uint8_t byte = (uint8_t)v;

	w_bytes(w, &byte, 1);
}

static void w_u16(struct writer *w, uint16_t v)
{
	if (w->rc == ERR_OK)
		w->rc = buf_put_u16(w->out, v, w->err);
}

static void w_u32(struct writer *w, uint32_t v)
{
	if (w->rc == ERR_OK)
		w->rc = buf_put_u32(w->out, v, w->err);
}

static void w_i64(struct writer *w, int64_t v)
{
	if (w->rc == ERR_OK)
		w->rc = buf_put_u64(w->out, (uint64_t)v, w->err);
}

static void w_sized(struct writer *w, struct slice s)
{
	if (s.len > JOURNAL_EMBEDDED_MAX && w->rc == ERR_OK)
		w->rc = err_set(w->err, ERR_LIMIT, "a field of %zu bytes", s.len);
	if (w->rc == ERR_OK)
		w->rc = buf_put_sized(w->out, s, w->err);
}

static void w_version(struct writer *w, struct version v)
{
	w_u8(w, v.kind);
	w_i64(w, v.kind == VERSION_NONE ? 0 : v.value);
}

/* The commonest item by far: one reservation, fixed places. */
static void put_seen(struct writer *w, const struct item_seen *seen)
{
	uint8_t bytes[SEEN_LEN];

	journal_seen_encode(seen, bytes);
	w_bytes(w, bytes, sizeof(bytes));
}

static void put_version(struct writer *w, const struct item_version *v)
{
	w_sized(w, v->subject);
	w_version(w, v->version);
	w_i64(w, v->offset);
	w_sized(w, v->event_id);
	w_sized(w, v->source);
	w_u16(w, v->route);
	w_i64(w, v->time_ms);
}

static void put_park(struct writer *w, const struct item_park *park)
{
	w_sized(w, park->subject);
	w_i64(w, park->offset);
	w_bytes(w, park->id16, ID16_LEN);
	w_u16(w, park->route);
	w_u32(w, park->attempts);
	w_i64(w, park->first_ms);
	w_i64(w, park->next_ts_ms);
	w_i64(w, park->deadline_ms);
	w_i64(w, park->first_failed_ms);
	w_u8(w, park->reason);
	w_u8(w, park->last_code);
	w_i64(w, (int64_t)park->redrive);
	w_version(w, park->version);
	w_sized(w, park->error);
	w_sized(w, park->key);
	w_sized(w, park->headers);
	w_sized(w, park->body);
}

static void put_out(struct writer *w, const struct item_out *out)
{
	w_i64(w, out->offset);
	w_u32(w, out->n);
	w_u8(w, out->target);
	w_bytes(w, out->id16, ID16_LEN);
	w_u8(w, out->reason);
	w_sized(w, out->topic);
	w_sized(w, out->key);
	w_sized(w, out->headers);
	w_sized(w, out->body);
}

static void put_small(struct writer *w, const struct item *item)
{
	if (item->type == ITEM_UNPARK) {
		w_sized(w, item->unpark.subject);
		w_i64(w, item->unpark.offset);
	} else if (item->type == ITEM_OUTOK) {
		w_i64(w, item->outok.offset);
		w_u32(w, item->outok.n);
		w_i64(w, item->outok.stream_offset);
	} else if (item->type == ITEM_TRY) {
		w_i64(w, item->attempt.offset);
		w_u32(w, item->attempt.n);
	} else {
		w_u8(w, item->mark.target);
		w_i64(w, item->mark.stream_offset);
		w_u8(w, item->mark.mark);
		w_i64(w, item->mark.time_ms);
	}
}

static void put_entry(struct writer *w, const struct item_entry *entry)
{
	const struct slice texts[] = { entry->event_id, entry->source, entry->tenant, entry->type,
		entry->entity, entry->route };

	w_u8(w, entry->target);
	w_i64(w, entry->stream_offset);
	w_bytes(w, entry->id16, ID16_LEN);
	w_i64(w, entry->offset);
	w_i64(w, entry->time_ms);
	w_i64(w, entry->received_ms);
	w_u8(w, entry->reason);
	w_i64(w, (int64_t)entry->bytes);
	w_u8(w, entry->mark);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		w_sized(w, texts[i]);
}

static void put_command(struct writer *w, const struct item_command *command)
{
	w_bytes(w, command->id16, ID16_LEN);
	w_u8(w, command->kind);
	w_u8(w, command->target);
	w_i64(w, command->stream_offset);
	w_i64(w, command->asked_ms);
	w_sized(w, command->headers);
	w_sized(w, command->key);
}

static void put_payload(struct writer *w, const struct item *item)
{
	switch (item->type) {
	case ITEM_SEEN: put_seen(w, &item->seen); return;
	case ITEM_VERSION: put_version(w, &item->version); return;
	case ITEM_PARK: put_park(w, &item->park); return;
	case ITEM_OUT: put_out(w, &item->out); return;
	case ITEM_UNPARK:
	case ITEM_OUTOK:
	case ITEM_TRY:
	case ITEM_MARK: put_small(w, item); return;
	case ITEM_ROUTE:
		w_u16(w, item->route.number);
		w_sized(w, item->route.name);
		return;
	case ITEM_ENTRY: put_entry(w, &item->entry); return;
	case ITEM_COMMAND: put_command(w, &item->command); return;
	case ITEM_DECIDED:
		w_bytes(w, item->decided.id16, ID16_LEN);
		w_u8(w, item->decided.code);
		w_sized(w, item->decided.text);
		return;
	case ITEM_ANSWER:
	case ITEM_ONCE: break;
	}
	w->rc = err_set(w->err, ERR_UNSUPPORTED, "journal item of type %d", (int)item->type);
}

enum err_code journal_put_item(struct buf *out, const struct item *item, struct err *err)
{
	size_t start = out->len;
	struct writer w = { .out = out, .err = err, .rc = ERR_OK };

	w_u8(&w, item->type);
	w_u32(&w, 0);
	put_payload(&w, item);
	if (w.rc != ERR_OK) {
		out->len = start;
		return w.rc;
	}
	put_le32(out->data + start + 1, (uint32_t)(out->len - start - ITEM_HEAD_LEN));
	return ERR_OK;
}

void journal_seen_encode(const struct item_seen *seen, uint8_t out[SEEN_LEN])
{
	memcpy(out, seen->id16, ID16_LEN);
	put_le64(out + 16, (uint64_t)seen->offset);
	memcpy(out + 24, seen->digest8, sizeof(seen->digest8));
	out[32] = (uint8_t)seen->outcome;
	out[33] = (uint8_t)seen->code;
	put_le16(out + 34, seen->route);
	out[36] = seen->attempts;
	put_le32(out + 37, seen->received_s);
}

bool journal_seen_decode(const uint8_t bytes[SEEN_LEN], struct item_seen *out)
{
	if (bytes[32] == OUTCOME_NONE || bytes[32] >= OUTCOME_COUNT || bytes[33] >= ERR_CODES)
		return false;
	memcpy(out->id16, bytes, ID16_LEN);
	out->offset = (int64_t)get_le64(bytes + 16);
	memcpy(out->digest8, bytes + 24, sizeof(out->digest8));
	out->outcome = (enum outcome)bytes[32];
	out->code = (enum err_code)bytes[33];
	out->route = get_le16(bytes + 34);
	out->attempts = bytes[36];
	out->received_s = get_le32(bytes + 37);
	return true;
}

/* Readers: an enumeration outside low..high makes the item unreadable. */
static unsigned r_enum(struct cursor *c, unsigned low, unsigned high)
{
	unsigned v = cursor_u8(c);

	if (v < low || v > high)
		c->bad = true;
	return v;
}

static int64_t r_i64(struct cursor *c)
{
	return (int64_t)cursor_u64(c);
}

static void r_id(struct cursor *c, uint8_t id16[ID16_LEN])
{
	struct slice bytes = cursor_bytes(c, ID16_LEN);

	if (bytes.len == ID16_LEN)
		memcpy(id16, bytes.data, ID16_LEN);
}

static struct version r_version(struct cursor *c)
{
	struct version v;

	v.kind = (enum version_kind)r_enum(c, VERSION_NONE, VERSION_TIME);
	v.value = r_i64(c);
	if (v.kind == VERSION_NONE && v.value != 0)
		c->bad = true;
	return v;
}

static void get_seen(struct cursor *c, struct item_seen *out)
{
	struct slice bytes = cursor_bytes(c, SEEN_LEN);

	if (bytes.len != SEEN_LEN || !journal_seen_decode(bytes.data, out))
		c->bad = true;
}

static void get_version(struct cursor *c, struct item_version *v)
{
	v->subject = cursor_sized(c);
	v->version = r_version(c);
	v->offset = r_i64(c);
	v->event_id = cursor_sized(c);
	v->source = cursor_sized(c);
	v->route = cursor_u16(c);
	v->time_ms = r_i64(c);
}

static void get_park(struct cursor *c, struct item_park *park)
{
	park->subject = cursor_sized(c);
	park->offset = r_i64(c);
	r_id(c, park->id16);
	park->route = cursor_u16(c);
	park->attempts = cursor_u32(c);
	park->first_ms = r_i64(c);
	park->next_ts_ms = r_i64(c);
	park->deadline_ms = r_i64(c);
	park->first_failed_ms = r_i64(c);
	park->reason = (enum park_reason)r_enum(c, PARK_RETRY, PARK_BUSY);
	park->last_code = (enum err_code)r_enum(c, ERR_OK, ERR_CODES - 1);
	park->redrive = cursor_u64(c);
	park->version = r_version(c);
	park->error = cursor_sized(c);
	park->key = cursor_sized(c);
	park->headers = cursor_sized(c);
	park->body = cursor_sized(c);
}

static void get_out(struct cursor *c, struct item_out *out)
{
	out->offset = r_i64(c);
	out->n = cursor_u32(c);
	out->target = (enum out_target)r_enum(c, OUT_DLQ, OUT_TOPIC);
	r_id(c, out->id16);
	out->reason = (enum err_code)r_enum(c, ERR_OK, ERR_CODES - 1);
	out->topic = cursor_sized(c);
	out->key = cursor_sized(c);
	out->headers = cursor_sized(c);
	out->body = cursor_sized(c);
}

static void get_small(struct cursor *c, struct item *item)
{
	if (item->type == ITEM_UNPARK) {
		item->unpark.subject = cursor_sized(c);
		item->unpark.offset = r_i64(c);
	} else if (item->type == ITEM_OUTOK) {
		item->outok.offset = r_i64(c);
		item->outok.n = cursor_u32(c);
		item->outok.stream_offset = r_i64(c);
	} else if (item->type == ITEM_TRY) {
		item->attempt.offset = r_i64(c);
		item->attempt.n = cursor_u32(c);
	} else {
		item->mark.target = (enum out_target)r_enum(c, OUT_DLQ, OUT_QUARANTINE);
		item->mark.stream_offset = r_i64(c);
		item->mark.mark = (enum mark)r_enum(c, MARK_REPLAYED, MARK_DROPPED);
		item->mark.time_ms = r_i64(c);
	}
}

static void get_entry(struct cursor *c, struct item_entry *entry)
{
	struct slice *const texts[] = { &entry->event_id, &entry->source, &entry->tenant,
		&entry->type, &entry->entity, &entry->route };

	entry->target = (enum out_target)r_enum(c, OUT_DLQ, OUT_QUARANTINE);
	entry->stream_offset = r_i64(c);
	r_id(c, entry->id16);
	entry->offset = r_i64(c);
	entry->time_ms = r_i64(c);
	entry->received_ms = r_i64(c);
	entry->reason = (enum err_code)r_enum(c, ERR_OK, ERR_CODES - 1);
	entry->bytes = cursor_u64(c);
	entry->mark = r_enum(c, 0, MARK_DROPPED);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		*texts[i] = cursor_sized(c);
}

static void get_command(struct cursor *c, struct item_command *command)
{
	r_id(c, command->id16);
	command->kind = (enum command_kind)r_enum(c, COMMAND_REPLAY, COMMAND_ACCEPT);
	command->target = (enum out_target)r_enum(c, OUT_DLQ, OUT_QUARANTINE);
	command->stream_offset = r_i64(c);
	command->asked_ms = r_i64(c);
	command->headers = cursor_sized(c);
	command->key = cursor_sized(c);
}

static void get_payload(struct cursor *c, struct item *item)
{
	switch (item->type) {
	case ITEM_SEEN: get_seen(c, &item->seen); return;
	case ITEM_VERSION: get_version(c, &item->version); return;
	case ITEM_PARK: get_park(c, &item->park); return;
	case ITEM_OUT: get_out(c, &item->out); return;
	case ITEM_UNPARK:
	case ITEM_OUTOK:
	case ITEM_TRY:
	case ITEM_MARK: get_small(c, item); return;
	case ITEM_ROUTE:
		item->route.number = cursor_u16(c);
		item->route.name = cursor_sized(c);
		return;
	case ITEM_ENTRY: get_entry(c, &item->entry); return;
	case ITEM_COMMAND: get_command(c, &item->command); return;
	case ITEM_DECIDED:
		r_id(c, item->decided.id16);
		item->decided.code = (enum err_code)r_enum(c, ERR_OK, ERR_CODES - 1);
		item->decided.text = cursor_sized(c);
		return;
	case ITEM_ANSWER:
	case ITEM_ONCE: break;
	}
	c->bad = true;
}

enum err_code journal_get_item(struct slice bytes, size_t *at, struct item *out, struct err *err)
{
	struct cursor outer = CURSOR(slice_sub(bytes, *at, bytes.len));
	unsigned type = r_enum(&outer, ITEM_SEEN, ITEM_DECIDED);
	struct cursor inner = CURSOR(cursor_sized(&outer));
	struct item item = { .type = (enum item_type)type };

	if (outer.bad)
		return err_set(err, ERR_CORRUPT, "journal item of unknown type %u or length", type);
	get_payload(&inner, &item);
	if (inner.bad || inner.rest.len != 0)
		return err_set(err, ERR_CORRUPT, "journal item of type %u does not decode", type);
	*at = bytes.len - outer.rest.len;
	*out = item;
	return ERR_OK;
}
