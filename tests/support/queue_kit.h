/* queue_kit.h - what the tests of the queue share: a directory that goes away, records with known
 * bytes, and a sink that collects completions so that a test can wait for them. Included by test
 * programs only. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "postern/queue.h"
#include "postern/thread.h"

#define KIT_WAIT_MS 20000 /* nothing takes so long; a test that waits longer has failed */

static inline int64_t kit_now_ms(void)
{
	const struct clock *clock = clock_system();

	return clock->mono_ms(clock);
}

/* ---- a directory ---- */

static inline char *kit_dir(void)
{
	const char *base = getenv("TMPDIR");
	char *path = NULL;
	char *made;

	assert_true(asprintf(&path, "%s/postern-queue-XXXXXX", base ? base : "/tmp") > 0);
	made = mkdtemp(path);
	assert_non_null(made);
	return path;
}

static inline int kit_remove_one(
	const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path);
}

static inline void kit_dir_done(char *path)
{
	(void)nftw(path, kit_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(path);
}

/* ---- records ---- */

struct kit_record {
	struct record record;
	uint64_t number;
	uint8_t *bytes;
};

/* Bytes that depend on number and place, so that a mixed-up record is seen. */
static inline uint8_t kit_byte(uint64_t number, size_t i)
{
	return (uint8_t)(number * 131 + i * 7 + (i >> 8));
}

static inline struct kit_record *kit_record_new(uint64_t number, size_t body_len)
{
	struct kit_record *k = calloc(1, sizeof(*k));
	char key[32];
	size_t key_len, headers_len = 16;

	assert_non_null(k);
	key_len = (size_t)snprintf(key, sizeof(key), "tenant/%llu", (unsigned long long)number);
	k->number = number;
	k->bytes = malloc(key_len + headers_len + body_len + 1);
	assert_non_null(k->bytes);
	memcpy(k->bytes, key, key_len);
	for (size_t i = 0; i < headers_len + body_len; i++)
		k->bytes[key_len + i] = kit_byte(number, i);
	k->record.key = (struct slice){ k->bytes, key_len };
	k->record.headers = (struct slice){ k->bytes + key_len, headers_len };
	k->record.body = (struct slice){ k->bytes + key_len + headers_len, body_len };
	put_le64(k->record.attempt, number);
	k->record.owner = k;
	return k;
}

static inline void kit_record_free(struct kit_record *k)
{
	free(k->bytes);
	free(k);
}

/* Is this the record that kit_record_new(number) made? Says so without assertions: usable on any
 * thread. */
static inline bool kit_record_is(const struct record *r, uint64_t number, size_t body_len)
{
	char key[32];
	int len = snprintf(key, sizeof(key), "tenant/%llu", (unsigned long long)number);

	if (get_le64(r->attempt) != number || !slice_eq_str(r->key, key) || len <= 0 ||
		r->headers.len != 16 || r->body.len != body_len)
		return false;
	for (size_t i = 0; i < 16; i++) {
		if (r->headers.data[i] != kit_byte(number, i))
			return false;
	}
	for (size_t i = 0; i < body_len; i++) {
		if (r->body.data[i] != kit_byte(number, 16 + i))
			return false;
	}
	return true;
}

/* ---- completions ---- */

struct kit_done {
	uint64_t number;
	int64_t offset, time_ms;
	enum err_code result;
};
struct kit_sink {
	struct lock lock;
	struct cond more;
	struct kit_done *done; /* guarded by lock, in the order of the completions */
	size_t count, cap, calls;
};

static inline void kit_sink_init(struct kit_sink *sink)
{
	*sink = (struct kit_sink){ .count = 0 };
	lock_init(&sink->lock);
	cond_init(&sink->more);
}

static inline void kit_sink_done(struct kit_sink *sink)
{
	cond_done(&sink->more);
	lock_done(&sink->lock);
	free(sink->done);
}

static inline void kit_sink_put(void *ctx, struct record *list)
{
	struct kit_sink *sink = ctx;

	lock_take(&sink->lock);
	sink->calls++;
	while (list) {
		struct kit_record *k = list->owner;
		struct record *next = list->next;

		if (sink->count == sink->cap) {
			sink->cap = sink->cap ? sink->cap * 2 : 256;
			sink->done = reallocarray(sink->done, sink->cap, sizeof(*sink->done));
			if (!sink->done)
				abort();
		}
		sink->done[sink->count++] =
			(struct kit_done){ k->number, list->offset, list->time_ms, list->result };
		kit_record_free(k);
		list = next;
	}
	cond_broadcast(&sink->more);
	lock_give(&sink->lock);
}

/* How many records have completed until now. */
static inline size_t kit_sink_count(struct kit_sink *sink)
{
	size_t count;

	lock_take(&sink->lock);
	count = sink->count;
	lock_give(&sink->lock);
	return count;
}

/* Between two looks at what nobody tells: short, and no load for those who work. */
static inline void kit_pause(void)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	(void)nanosleep(&pause, NULL);
}

/* Waits until this many records have completed in all. */
static inline void kit_sink_wait(struct kit_sink *sink, size_t count)
{
	int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
	bool enough;

	lock_take(&sink->lock);
	while (sink->count < count && cond_wait(&sink->more, &sink->lock, deadline))
		;
	enough = sink->count >= count;
	lock_give(&sink->lock);
	assert_true(enough);
}

static inline struct kit_done kit_sink_at(struct kit_sink *sink, size_t i)
{
	struct kit_done done = { .result = ERR_CODES };

	lock_take(&sink->lock);
	if (i < sink->count)
		done = sink->done[i];
	lock_give(&sink->lock);
	return done;
}

/* A list of count records with consecutive numbers. */
static inline struct record *kit_list(uint64_t number, size_t count, size_t body_len)
{
	struct record *list = NULL, **tail = &list;

	for (size_t i = 0; i < count; i++) {
		*tail = &kit_record_new(number + i, body_len)->record;
		tail = &(*tail)->next;
	}
	return list;
}

static inline void kit_list_free(struct record *list)
{
	while (list) {
		struct record *next = list->next;

		kit_record_free(list->owner);
		list = next;
	}
}
