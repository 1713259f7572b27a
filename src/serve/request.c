/* request.c - a request outlives its connection: its head and body in memory of its own, counted.
 *
 * Deliberately not here: what the library shows (library.c) and what is sent back (answer.c). */
#include "serve_priv.h"

#include "postern/file.h"
#include "postern/text.h"

#include <assert.h>
#include <stdlib.h>

#define ID_BYTES 12 /* 24 hex digits for a made request id */

/* A request that fits into this much memory behind its struct is used again, with what its buffers
 * have up to a limit. */
#define ROOM KIB(2)
#define SPARES_MAX 256
#define SPARE_BUF_MAX KIB(8)

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

/* Not under a sanitizer: it could not tell a request that is used after its end from the next. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
	__has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define KEEPS_SPARES false
#else
#define KEEPS_SPARES true
#endif

/* ---- the identity of a request ----------------------------------------------------------------
 */

static bool is_request_id(struct slice s)
{
	static const char others[] = "._-";

	if (s.len < 1 || s.len > 64)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i];
		bool alnum =
			(c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

		if (!alnum && (c == '\0' || !strchr(others, c)))
			return false;
	}
	return true;
}

static void make_id(struct serve *s, char out[65])
{
	if (s->ids_left < ID_BYTES) {
		random_bytes(s->ids, sizeof(s->ids));
		s->ids_left = sizeof(s->ids);
	}
	s->ids_left -= ID_BYTES;
	text_hex(s->ids + s->ids_left, ID_BYTES, out);
}

/* Taken from the head, also from one that is refused: the sender may look for it in our log. */
static void choose_id(struct serve *s, const struct head_view *head, char out[65])
{
	size_t count = head->guard.header_count;

	for (size_t i = 0; i < count && i < SERVE_HEADERS_MAX; i++) {
		struct slice value = slice_trim(head->headers[i].value);

		if (!slice_eq_nocase(head->headers[i].name, SLICE_LIT("X-Request-Id")))
			continue;
		if (!is_request_id(value))
			break;
		memcpy(out, value.data, value.len);
		out[value.len] = '\0';
		return;
	}
	make_id(s, out);
}

/* ---- copying -----------------------------------------------------------------------------------
 */

static size_t text_size(const struct head_view *head, size_t count)
{
	size_t size = head->guard.method.len + head->guard.uri.len;

	for (size_t i = 0; i < count; i++)
		size += head->headers[i].name.len + head->headers[i].value.len;
	return size;
}

static struct slice keep(uint8_t **at, struct slice s)
{
	struct slice copy = { *at, s.len };

	if (s.len > 0)
		memcpy(*at, s.data, s.len);
	*at += s.len;
	return copy;
}

static void copy_head(struct request *rq, const struct head_view *head, size_t count)
{
	uint8_t *at = (uint8_t *)&rq->headers[count];
	struct serve_request *shown = &rq->shown;
	struct slice uri;

	shown->method = keep(&at, head->guard.method);
	uri = keep(&at, head->guard.uri);
	(void)guard_split_uri(uri, &shown->path, &shown->query, &shown->has_query);
	for (size_t i = 0; i < count; i++) {
		rq->headers[i].name = keep(&at, head->headers[i].name);
		rq->headers[i].value = keep(&at, slice_trim(head->headers[i].value));
	}
	shown->headers = rq->headers;
	shown->header_count = count;
}

/* ---- memory ------------------------------------------------------------------------------------
 */

/* Spares of the loop that runs on this thread. A burst of requests makes and frees hundreds of
 * blocks of a size that the allocator is slow with. Other threads keep none. */
static _Thread_local struct {
	struct request *first;
	size_t count;
	bool kept;
} spares;

void requests_keep(void)
{
	spares.kept = KEEPS_SPARES;
}

static void discard(struct request *rq)
{
	buf_done(&rq->body);
	buf_done(&rq->answer);
	free(rq);
}

void requests_forget(void)
{
	while (spares.first) {
		struct request *rq = spares.first;

		spares.first = rq->next;
		discard(rq);
	}
	spares.count = 0;
	spares.kept = false;
}

/* With empty buffers; the rest is not filled in. */
static struct request *take(size_t need)
{
	struct request *rq = need <= ROOM ? spares.first : NULL;
	size_t room = need <= ROOM ? ROOM : need;

	if (rq) {
		spares.first = rq->next;
		spares.count--;
		return rq;
	}
	rq = malloc(sizeof(*rq) + room);
	if (!rq)
		return NULL;
	rq->room = room;
	rq->body = BUF_INIT(0);
	rq->answer = BUF_INIT(SERVE_BODY_MAX);
	return rq;
}

static void give(struct request *rq)
{
	if (!spares.kept || spares.count >= SPARES_MAX || rq->room != ROOM ||
		rq->body.cap > SPARE_BUF_MAX || rq->answer.cap > SPARE_BUF_MAX) {
		discard(rq);
		return;
	}
	buf_reset(&rq->body);
	buf_reset(&rq->answer);
	rq->next = spares.first;
	spares.first = rq;
	spares.count++;
}

struct request *request_make(struct connection *c, const struct head_view *head, bool with_headers)
{
	size_t count = with_headers ? head->guard.header_count : 0;
	struct request *rq = take(count * sizeof(rq->headers[0]) + text_size(head, count));

	assert(count <= SERVE_HEADERS_MAX);
	if (!rq)
		return NULL;
	*rq = (struct request){
		.shown = {
			.max_body = c->serve->now.max_body_bytes,
			.start_mono_ns = c->head_ns,
		},
		.connection = c,
		.head_bytes = head->guard.block_bytes,
		.room = rq->room,
		.body = rq->body,
		.answer = rq->answer,
	};
	atomic_init(&rq->refs, 1);
	memcpy(rq->shown.client, c->client, sizeof(c->client));
	choose_id(c->serve, head, rq->shown.request_id);
	copy_head(rq, head, count);
	return rq;
}

/* ---- references --------------------------------------------------------------------------------
 */

struct request *request_of(struct serve_request *shown)
{
	return container_of(shown, struct request, shown);
}

struct serve_request *serve_request_ref(struct serve_request *shown)
{
	(void)atomic_fetch_add_explicit(&request_of(shown)->refs, 1, memory_order_relaxed);
	return shown;
}

void request_unref(struct request *rq)
{
	unsigned before = atomic_fetch_sub_explicit(&rq->refs, 1, memory_order_acq_rel);

	assert(before > 0);
	if (before > 1)
		return;
	assert(!rq->response && !rq->connection);
	free(rq->peer);
	rq->peer = NULL;
	give(rq);
}

void serve_request_unref(struct serve_request *shown)
{
	request_unref(request_of(shown));
}

bool serve_header(const struct serve_request *rq, const char *name, size_t n, struct slice *out)
{
	struct slice wanted = slice_str(name);

	for (size_t i = 0; i < rq->header_count; i++) {
		if (!slice_eq_nocase(rq->headers[i].name, wanted))
			continue;
		if (n-- > 0)
			continue;
		*out = rq->headers[i].value;
		return true;
	}
	return false;
}
