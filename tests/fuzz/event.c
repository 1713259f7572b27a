/* event.c - the header block: what decodes says the same when it is encoded again, whatever the
 * bytes.
 *
 * The input is taken twice: as a block, and as the members of an event. */
#include "postern/event.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(bool truth)
{
	if (!truth)
		abort();
}

static void same_event(const struct event *a, const struct event *b)
{
	same(slice_eq(a->id, b->id) && slice_eq(a->source, b->source));
	same(slice_eq(a->tenant, b->tenant) && slice_eq(a->entity, b->entity));
	same(slice_eq(a->type.len ? a->type : a->source, b->type));
	same(a->version.kind == b->version.kind && a->version.value == b->version.value);
	same(slice_eq(a->base, b->base) && a->time_ms == b->time_ms);
	same(a->received_ms == b->received_ms && slice_eq(a->content_type, b->content_type));
	same(slice_eq(a->traceparent, b->traceparent) && slice_eq(a->request_id, b->request_id));
	same(slice_eq(a->key_used, b->key_used) && slice_eq(a->digest, b->digest));
	same(slice_eq(a->replay, b->replay) && slice_eq(a->quarantine, b->quarantine));
	same(slice_eq(a->redrive, b->redrive));
	same(memcmp(a->attempt, b->attempt, ATTEMPT_LEN) == 0);
}

/* encode, decode: equal; and equal bytes the second time. */
static void round_trip(const struct event *event)
{
	struct buf first = BUF_INIT(EVENT_HEADERS_MAX), second = BUF_INIT(EVENT_HEADERS_MAX);
	struct err err = ERR_INIT;
	struct event again;
	enum err_code rc = event_encode(event, &first, &err);

	same((rc == ERR_OK) == (err.code == ERR_OK));
	same(rc == ERR_OK || first.len == 0);
	if (rc == ERR_OK) {
		same(event_decode(buf_slice(&first), &again, &err) == ERR_OK);
		same_event(event, &again);
		again.kept = event->kept;
		again.kept_count = event->kept_count;
		same(event_encode(&again, &second, &err) == ERR_OK);
		same(slice_eq(buf_slice(&first), buf_slice(&second)));
	}
	buf_done(&first);
	buf_done(&second);
}

static void as_block(struct slice block)
{
	struct dead_letter dead = { .reason = SLICE_LIT("R"), .error = block, .offset = 5 };
	struct buf out = BUF_INIT(4 * EVENT_HEADERS_MAX);
	struct err err = ERR_INIT;
	struct event event;
	enum err_code rc = event_decode(block, &event, &err);

	same((rc == ERR_OK) == (err.code == ERR_OK));
	if (rc == ERR_OK) {
		round_trip(&event);
		if (event_dead_letter(block, &dead, &out, &err) == ERR_OK)
			same(event_decode(buf_slice(&out), &event, &err) == ERR_OK &&
				slice_eq_str(event.dlq_reason, "R"));
		else
			same(out.len == 0);
	}
	buf_reset(&out);
	err = ERR_INIT;
	if (event_headers_json(block, &out, &err) != ERR_OK)
		same(out.len == 0);
	buf_done(&out);
}

static void as_members(struct slice data)
{
	struct cursor c = CURSOR(data);
	struct header kept[3];
	struct event event = { .kept = kept };
	int64_t ms_max = INT64_C(253402300799999); /* the year 9999 ends */
	struct slice *const members[] = { &event.id, &event.source, &event.tenant, &event.type,
		&event.entity, &event.base, &event.content_type, &event.traceparent,
		&event.request_id, &event.key_used, &event.quarantine, &event.redrive };

	event.version.kind = (enum version_kind)(cursor_u8(&c) % 3);
	event.version.value = (int64_t)cursor_u64(&c);
	if (event.version.kind == VERSION_NONE)
		event.version.value = 0;
	event.time_ms = (int64_t)(cursor_u64(&c) % (uint64_t)ms_max);
	event.received_ms = (int64_t)(cursor_u64(&c) % (uint64_t)ms_max);
	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		*members[i] = cursor_bytes(&c, cursor_u16(&c) % 600);
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		kept[i].name = cursor_bytes(&c, cursor_u8(&c));
		kept[i].value = cursor_bytes(&c, cursor_u16(&c));
		event.kept_count += kept[i].name.len > 0;
	}
	for (size_t i = 0; i < ATTEMPT_LEN; i++)
		event.attempt[i] = cursor_u8(&c);
	round_trip(&event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = { data, size };

	as_block(input);
	as_members(input);
	return 0;
}

#include "replay_main.inc"
