/* limit.c - token buckets. A bucket begins full, and so may be forgotten once it is full again.
 *
 * The hash table keeps its rows in the order in which they were added; a row that is used is taken
 * out and added again, so the first row is the one that was not used for longest. Deliberately not
 * here: what a refusal looks like. */
#include "limit.h"

#include <math.h>
#include <stdlib.h>

#define HASH_FUNCTION(key, len, out) ((out) = (unsigned)hash_bytes((key), (len)))
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(row) ((void)(row))
#include <uthash.h>

#define NAME_MAX_LEN 255

struct bucket {
	UT_hash_handle hh;
	double tokens;
	int64_t at_ms; /* when tokens was true */
	size_t name_len;
	uint8_t name[];
};

struct limit {
	struct lock lock;
	struct bucket *buckets; /* guarded by lock */
	size_t max;
};

enum err_code limit_open(size_t max, struct limit **out, struct err *err)
{
	struct limit *limit = calloc(1, sizeof(*limit));

	if (!limit)
		return err_set(err, ERR_NOMEM, "no memory for rate limits");
	limit->max = max;
	lock_init(&limit->lock);
	*out = limit;
	return ERR_OK;
}

static void drop(struct limit *limit, struct bucket *b)
{
	HASH_DEL(limit->buckets, b);
	free(b);
}

void limit_close(struct limit **limit)
{
	if (!*limit)
		return;
	while ((*limit)->buckets)
		drop(*limit, (*limit)->buckets);
	lock_done(&(*limit)->lock);
	free(*limit);
	*limit = NULL;
}

static double burst_of(const struct rate *rate)
{
	return rate->burst < 1 ? 1 : rate->burst;
}

static bool insert(struct limit *limit, struct bucket *b)
{
	HASH_ADD_KEYPTR(hh, limit->buckets, b->name, b->name_len, b);
	return b->hh.tbl != NULL;
}

static struct bucket *add(
	struct limit *limit, struct slice name, const struct rate *rate, int64_t now_ms)
{
	struct bucket *b;

	if (name.len > NAME_MAX_LEN)
		return NULL;
	if (HASH_COUNT(limit->buckets) >= limit->max)
		drop(limit, limit->buckets);
	b = calloc(1, sizeof(*b) + name.len);
	if (!b)
		return NULL;
	b->tokens = burst_of(rate);
	b->at_ms = now_ms;
	b->name_len = name.len;
	memcpy(b->name, name.data, name.len);
	if (insert(limit, b))
		return b;
	free(b);
	return NULL;
}

/* Found rows become the youngest. */
static struct bucket *find(struct limit *limit, struct slice name)
{
	struct bucket *b = NULL;

	HASH_FIND(hh, limit->buckets, name.data, name.len, b);
	if (!b || !b->hh.next)
		return b;
	HASH_DEL(limit->buckets, b);
	if (insert(limit, b))
		return b;
	free(b);
	return NULL;
}

static void fill(struct bucket *b, const struct rate *rate, int64_t now_ms)
{
	double burst = burst_of(rate);

	if (now_ms > b->at_ms)
		b->tokens += (double)(now_ms - b->at_ms) * rate->per_second / 1000;
	if (b->tokens > burst)
		b->tokens = burst;
	b->at_ms = now_ms;
}

static int64_t take_locked(
	struct limit *limit, struct slice name, const struct rate *rate, int64_t now_ms)
{
	struct bucket *b = find(limit, name);
	double missing;

	if (!b)
		b = add(limit, name, rate, now_ms);
	if (!b)
		return 0;
	fill(b, rate, now_ms);
	if (b->tokens >= 1) {
		b->tokens -= 1;
		return 0;
	}
	missing = (1 - b->tokens) * 1000 / rate->per_second;
	return missing < 1 ? 1 : missing > 3600000 ? 3600000 : (int64_t)ceil(missing);
}

int64_t limit_take(struct limit *limit, struct slice name, const struct rate *rate, int64_t now_ms)
{
	int64_t wait_ms;

	if (rate->per_second <= 0 || name.len == 0)
		return 0;
	lock_take(&limit->lock);
	wait_ms = take_locked(limit, name, rate, now_ms);
	lock_give(&limit->lock);
	return wait_ms;
}

size_t limit_count(struct limit *limit)
{
	size_t count;

	lock_take(&limit->lock);
	count = HASH_COUNT(limit->buckets);
	lock_give(&limit->lock);
	return count;
}
