/* events.h - what the tools of `make bench` share: signed-looking events of 1 KiB, appended in
 * groups through the door of the queue, and the end of a tool that cannot go on. */
#pragma once

#include "postern/crypto.h"
#include "postern/event.h"
#include "postern/file.h"
#include "postern/queue.h"
#include "postern/text.h"
#include "postern/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define GROUP 1000

static _Noreturn void fail(const char *what)
{
	(void)fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
	exit(1);
}

static void check(enum err_code rc, const struct err *err)
{
	if (rc != ERR_OK)
		fail(err->text);
}

struct pending {
	struct lock lock;
	struct cond cond;
	size_t open; /* guarded by lock */
	bool failed; /* guarded by lock */
};

static void on_done(void *ctx, struct record *list)
{
	struct pending *pending = ctx;

	lock_take(&pending->lock);
	for (; list; list = list->next) {
		pending->open--;
		pending->failed |= list->result != ERR_OK;
	}
	cond_signal(&pending->cond);
	lock_give(&pending->lock);
}

struct slot {
	struct record record;
	struct buf headers, key;
	char id[32], entity[32], digest[65];
	uint8_t body[1024];
};

static void make_record(struct slot *slot, size_t at, const char *source, size_t entities)
{
	const int64_t now_ms = clock_system()->wall_ms(clock_system());
	struct err err = ERR_INIT;
	uint8_t digest[32];
	struct event event = {
		.source = slice_str(source),
		.tenant = SLICE_LIT("default"),
		.type = SLICE_LIT("bench"),
		.version = { VERSION_INTEGER, (int64_t)at + 1 },
		.time_ms = now_ms,
		.received_ms = now_ms,
		.content_type = SLICE_LIT("application/json"),
		.key_used = SLICE_LIT("current:00000000"),
	};

	(void)snprintf(slot->id, sizeof(slot->id), "evt_%zu", at);
	(void)snprintf(slot->entity, sizeof(slot->entity), "e:%zu", at % entities);
	memset(slot->body, 'x', sizeof(slot->body));
	memcpy(slot->body, slot->id, strlen(slot->id));
	crypto_sha256((struct slice){ slot->body, sizeof(slot->body) }, digest);
	text_hex(digest, sizeof(digest), slot->digest);
	event.id = slice_str(slot->id);
	event.entity = slice_str(slot->entity);
	event.digest = slice_str(slot->digest);
	random_bytes(event.attempt, sizeof(event.attempt));
	buf_reset(&slot->headers);
	buf_reset(&slot->key);
	check(event_encode(&event, &slot->headers, &err), &err);
	check(event_key(&event, false, &slot->key, &err), &err);
	slot->record = (struct record){
		.key = buf_slice(&slot->key),
		.headers = buf_slice(&slot->headers),
		.body = { slot->body, sizeof(slot->body) },
	};
	memcpy(slot->record.attempt, event.attempt, ATTEMPT_LEN);
}

static void append_group(
	struct queue *queue, struct pending *pending, struct slot *slots, size_t count)
{
	struct err err = ERR_INIT;

	for (size_t i = 0; i + 1 < count; i++)
		slots[i].record.next = &slots[i + 1].record;
	pending->open = count;
	check(queue_append(queue, STREAM_EVENTS, &slots[0].record, &err), &err);
	lock_take(&pending->lock);
	while (pending->open)
		(void)cond_wait(&pending->cond, &pending->lock, -1);
	if (pending->failed)
		fail("an append failed");
	lock_give(&pending->lock);
}
