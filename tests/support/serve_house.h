/* serve_house.h - a server for tests, whose paths say what the callbacks do: /now answers at once,
 * /later when the answering thread gets to it, /never not at all, /no refuses in head(). */
#pragma once

#include "postern/serve.h"
#include "raw_client.h"

#include "postern/thread.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HELD_MAX 4096

struct house {
	struct serve *serve;
	struct lock lock;
	struct cond more;
	struct thread thread;
	/* all guarded by lock */
	struct serve_request *later[HELD_MAX], *done[HELD_MAX], *never[HELD_MAX];
	size_t later_count, done_count, never_count;
	unsigned heads, readies, finished, gone, turns;
	enum err_code refused;
	bool stop;
};

/* ---- callbacks ---------------------------------------------------------------------------------
 */

static inline enum serve_next on_head(
	void *ctx, struct serve_request *rq, struct serve_reply *reply)
{
	struct house *h = ctx;

	lock_take(&h->lock);
	h->heads++;
	lock_give(&h->lock);
	rq->user = h;
	if (slice_eq_str(rq->path, "/small"))
		rq->max_body = 3;
	if (!slice_eq_str(rq->path, "/no"))
		return SERVE_CONTINUE;
	reply->status = 401;
	reply->content_type = "text/plain";
	reply->body = SLICE_LIT("no");
	return SERVE_REPLY;
}

static inline void fill(const struct serve_request *rq, struct serve_reply *reply)
{
	static const char *const made_of = "made of";

	reply->status = 200;
	reply->content_type = "application/octet-stream";
	reply->body = rq->body;
	reply->headers[reply->header_count++] = (struct header){
		.name = SLICE_LIT("X-Note"),
		.value = slice_str(made_of),
	};
}

static inline enum serve_next on_ready(
	void *ctx, struct serve_request *rq, struct serve_reply *reply)
{
	struct house *h = ctx;
	enum serve_next next = SERVE_DEFER;

	lock_take(&h->lock);
	h->readies++;
	if (slice_eq_str(rq->path, "/later")) {
		assert(h->later_count < HELD_MAX);
		h->later[h->later_count++] = serve_request_ref(rq);
		cond_signal(&h->more);
	} else if (slice_eq_str(rq->path, "/never")) {
		assert(h->never_count < HELD_MAX);
		h->never[h->never_count++] = serve_request_ref(rq);
	} else {
		fill(rq, reply);
		next = SERVE_REPLY;
	}
	lock_give(&h->lock);
	return next;
}

static inline void on_refused(void *ctx, struct serve_request *rq, enum err_code code,
	unsigned status, struct serve_reply *reply)
{
	struct house *h = ctx;

	(void)status;
	lock_take(&h->lock);
	h->heads += !rq->user; /* the guard's: head() never saw it */
	h->refused = code;
	lock_give(&h->lock);
	reply->content_type = "text/plain";
	reply->body = slice_str(err_name(code));
}

static inline void on_finished(void *ctx, struct serve_request *rq, unsigned status)
{
	struct house *h = ctx;

	(void)rq;
	lock_take(&h->lock);
	h->finished++;
	h->gone += status == 0;
	lock_give(&h->lock);
}

static inline void on_tick(void *ctx)
{
	struct house *h = ctx;
	struct serve_request *done[HELD_MAX];
	size_t count;

	lock_take(&h->lock);
	count = h->done_count;
	memcpy(done, h->done, count * sizeof(done[0]));
	h->done_count = 0;
	lock_give(&h->lock);
	for (size_t i = 0; i < count; i++) {
		struct serve_reply reply = { .status = 0 };

		fill(done[i], &reply);
		serve_answer(h->serve, done[i], &reply);
		serve_request_unref(done[i]);
	}
}

static inline void on_turn(void *ctx)
{
	struct house *h = ctx;

	lock_take(&h->lock);
	h->turns++;
	lock_give(&h->lock);
}

static const struct serve_ops house_ops = {
	.head = on_head,
	.ready = on_ready,
	.refused = on_refused,
	.finished = on_finished,
	.tick = on_tick,
	.turn = on_turn,
};

/* Stands for the writer that makes things durable: takes what there is, gives it back, wakes. */
static inline void *answerer(void *arg)
{
	struct house *h = arg;

	lock_take(&h->lock);
	while (!h->stop) {
		if (h->later_count == 0) {
			(void)cond_wait(&h->more, &h->lock, -1);
			continue;
		}
		if (h->done_count + h->later_count > HELD_MAX)
			continue;
		memcpy(h->done + h->done_count, h->later, h->later_count * sizeof(h->later[0]));
		h->done_count += h->later_count;
		h->later_count = 0;
		lock_give(&h->lock);
		serve_wake(h->serve);
		lock_take(&h->lock);
	}
	lock_give(&h->lock);
	return NULL;
}

static inline struct serve_opts usual_opts(struct house *h)
{
	return (struct serve_opts){
		.name = "life",
		.listen = "127.0.0.1:0",
		.listen_fd = -1,
		.max_connections = 1000,
		.max_header_bytes = 16384,
		.max_body_bytes = MIB(1),
		.header_timeout_ms = 20000,
		.body_timeout_ms = 20000,
		.idle_timeout_ms = 20000,
		.ops = &house_ops,
		.ctx = h,
		.clock = clock_system(),
	};
}

static inline struct house *open_house(const struct serve_opts *opts)
{
	struct house *h = opts->ctx;
	struct err err = ERR_INIT;

	lock_init(&h->lock);
	cond_init(&h->more);
	if (serve_open(opts, &h->serve, &err) != ERR_OK)
		fail_msg("%s", err.text);
	assert_int_equal(thread_start(&h->thread, "answerer", answerer, h, &err), ERR_OK);
	return h;
}

static inline void close_house(struct house *h)
{
	serve_close(&h->serve);
	lock_take(&h->lock);
	h->stop = true;
	cond_signal(&h->more);
	lock_give(&h->lock);
	thread_join(&h->thread);
	for (size_t i = 0; i < h->later_count; i++)
		serve_request_unref(h->later[i]);
	for (size_t i = 0; i < h->done_count; i++)
		serve_request_unref(h->done[i]);
	for (size_t i = 0; i < h->never_count; i++)
		serve_request_unref(h->never[i]);
	assert_int_equal(h->heads, h->finished);
	cond_done(&h->more);
	lock_done(&h->lock);
}

static inline bool reaches(struct house *h, const unsigned *counter, unsigned wanted)
{
	int64_t deadline = raw_now_ms() + RAW_DEADLINE_MS;
	unsigned now;

	do {
		(void)poll(NULL, 0, 1);
		lock_take(&h->lock);
		now = *counter;
		lock_give(&h->lock);
	} while (now < wanted && raw_now_ms() < deadline);
	return now >= wanted;
}

static inline bool post(int fd, const char *path, const char *body)
{
	char bytes[4096];
	int len = snprintf(bytes, sizeof(bytes),
		"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s", path, strlen(body),
		body);

	return raw_send(fd, bytes, (size_t)len);
}

static inline unsigned post_and_read(
	int fd, const char *path, const char *body, struct raw_answer *a)
{
	(void)post(fd, path, body);
	(void)raw_read(fd, a);
	return a->status;
}
