/* library.c - the callbacks of libmicrohttpd, and the way of a request through them.
 *
 *   request line -> see_target        keeps the target before the library rewrites it
 *   head whole   -> first_call        guard, head()
 *   body bytes   -> body_call         one buffer
 *   body whole   -> last_call         ready(); called again in every run while the answer is
 * deferred request over -> completed         the connection's reference goes
 *
 * A handler that returns without queueing an answer and without suspending is called again in the
 * next MHD_run(). That is what deferring an answer means here; it is documented by the library and
 * costs a third of the system calls of suspending. The library's own threads and timeouts are not
 * used. Deliberately not here: the judgement of a head (guard.c), deadlines (reap.c). */
#include "serve_priv.h"

#include "postern/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
#define POOL_EXTRA KIB(16) /* header records, cookies and the head of the answer */

static struct connection *connection_of(struct MHD_Connection *mc)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mc, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

void connection_phase(struct connection *c, enum phase phase)
{
	c->phase = phase;
	c->since_ms = c->serve->run_ms;
	c->quiet_ms = c->since_ms;
	c->check_ms = c->since_ms;
}

/* ---- the head ----------------------------------------------------------------------------------
 */

/* As long as the head is parsed in place, its pieces tell what lay between them. One CR LF is two
 * bytes. A bare line feed is one, a NUL makes the library end a value too early, a folded line
 * leaves its text behind: then the next piece is not where it should be. A library that parsed
 * elsewhere would have every request refused, and not one let through. */
struct sight {
	struct head_view *head;
	uintptr_t next; /* where the next piece must begin */
	bool contiguous;
};

static enum MHD_Result see_header(void *cls, enum MHD_ValueKind kind, const char *key,
	size_t key_size, const char *value, size_t value_size)
{
	struct sight *sight = cls;
	size_t n = sight->head->guard.header_count++;

	(void)kind;
	if (!key || !value) {
		sight->contiguous = false;
		return MHD_YES;
	}
	if ((uintptr_t)key != sight->next || (uintptr_t)value <= (uintptr_t)key + key_size)
		sight->contiguous = false;
	sight->next = (uintptr_t)value + value_size + 2;
	if (n < SERVE_HEADERS_MAX) {
		sight->head->headers[n] = (struct header){
			.name = { (const uint8_t *)key, key_size },
			.value = { (const uint8_t *)value, value_size },
		};
	}
	return MHD_YES;
}

static void view_head(struct connection *c, struct MHD_Connection *mc, const char *method,
	const char *version, struct head_view *head)
{
	const union MHD_ConnectionInfo *size =
		MHD_get_connection_info(mc, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	struct sight sight = { .head = head };
	struct guard_head *guard = &head->guard;

	*guard = (struct guard_head){
		.method = slice_str(method),
		.uri = slice_str(c->uri),
		.version = slice_str(version),
		.headers = head->headers,
		.uri_cut = c->uri_len > SERVE_URI_MAX,
		.block_bytes = size ? size->header_size : SIZE_MAX,
		.block_max = c->serve->max_header_bytes,
	};
	sight.contiguous = c->uri_at == method + guard->method.len + 1 &&
			   version == c->uri_at + c->uri_len + 1;
	sight.next = (uintptr_t)version + guard->version.len + 2;
	(void)MHD_get_connection_values_n(mc, MHD_HEADER_KIND, see_header, &sight);
	guard->contiguous =
		sight.contiguous && sight.next + 2 == (uintptr_t)method + guard->block_bytes;
}

/* The library would make a header of every parameter, and loses its way when they are more than its
 * memory takes. It is shown the query empty; the memory is its own and may be written. */
static void hide_query(const char *uri)
{
	char *mark = strchr(uri, '?');

	if (mark && mark[1] != '\0')
		mark[1] = '\0';
}

static void *see_target(void *cls, const char *uri, struct MHD_Connection *mc)
{
	struct connection *c = connection_of(mc);
	size_t kept;

	(void)cls;
	if (!c || !uri)
		return NULL;
	take_limits(c->serve); /* they hold for a request that was sent after they were set */
	c->head_ns = c->serve->clock->mono_ns(c->serve->clock);
	c->serve->activity++;
	c->uri_at = uri;
	c->uri_len = strlen(uri);
	kept = c->uri_len < sizeof(c->uri) ? c->uri_len : sizeof(c->uri) - 1;
	memcpy(c->uri, uri, kept);
	c->uri[kept] = '\0';
	hide_query(uri);
	return NULL;
}

/* ---- the way of a request ----------------------------------------------------------------------
 */

/* Answer while the request goes on: the library closes the connection behind it. */
static enum MHD_Result refuse_early(
	struct request *rq, struct MHD_Connection *mc, enum err_code code, unsigned status)
{
	rq->connection->early = true;
	if (!answer_refusal(rq, code, status))
		return MHD_NO;
	return answer_queue(rq, mc);
}

static enum MHD_Result take_body(struct request *rq, struct MHD_Connection *mc)
{
	uint64_t length = rq->shown.content_length;
	bool chunked = length == SERVE_LENGTH_UNKNOWN;

	if (!chunked && length > rq->shown.max_body)
		return refuse_early(rq, mc, ERR_TOO_LARGE, err_status(ERR_TOO_LARGE));
	rq->body.max = rq->shown.max_body;
	if (!chunked && length > 0 && buf_reserve(&rq->body, (size_t)length, NULL) != ERR_OK)
		return refuse_early(rq, mc, ERR_UNAVAILABLE, err_status(ERR_UNAVAILABLE));
	rq->state = REQUEST_BODY;
	connection_phase(rq->connection, PHASE_BODY);
	return MHD_YES;
}

/* head() has an answer. A body of bounded length is read and thrown away first: a sender that is
 * answered while it writes may see a reset and no answer. */
static enum MHD_Result take_reply(struct request *rq, struct MHD_Connection *mc,
	const struct serve_reply *reply, bool expects)
{
	uint64_t length = rq->shown.content_length;
	bool drains = length == 0 || (!expects && length <= rq->shown.max_body);

	if (!answer_prepare(rq, reply, !drains))
		return MHD_NO;
	if (!drains) {
		rq->connection->early = true;
		return answer_queue(rq, mc);
	}
	rq->state = length > 0 ? REQUEST_DRAIN : REQUEST_ANSWER;
	connection_phase(rq->connection, PHASE_BODY);
	return MHD_YES;
}

static struct request *make_request(
	struct connection *c, struct MHD_Connection *mc, const struct head_view *head, bool is_sane)
{
	struct request *rq = request_make(c, head, is_sane);

	if (!rq || !is_sane || !c->serve->client_ca || tls_see_peer(rq, mc))
		return rq;
	rq->connection = NULL;
	request_unref(rq);
	return NULL;
}

static enum MHD_Result first_call(struct serve *s, struct MHD_Connection *mc, const char *method,
	const char *version, void **con_cls)
{
	struct connection *c = connection_of(mc);
	struct serve_reply reply = { .status = 0 };
	struct guard_verdict verdict;
	struct head_view head;
	struct request *rq;

	if (!c)
		return MHD_NO;
	view_head(c, mc, method, version, &head);
	guard_check(&head.guard, &verdict);
	rq = make_request(c, mc, &head, verdict.code == ERR_OK);
	if (!rq)
		return MHD_NO;
	*con_cls = rq;
	c->request = rq;
	(void)atomic_fetch_add_explicit(&s->open_requests, 1, memory_order_relaxed);
	if (verdict.code != ERR_OK) {
		log_debug("request_not_http", log_str("server", s->name),
			log_str("request_id", rq->shown.request_id),
			log_str("detail", verdict.what));
		return refuse_early(rq, mc, verdict.code, verdict.status);
	}
	rq->shown.content_length = verdict.length;
	switch (s->ops->head(s->ctx, &rq->shown, &reply)) {
	case SERVE_CONTINUE: return take_body(rq, mc);
	case SERVE_REPLY: return take_reply(rq, mc, &reply, verdict.expects);
	case SERVE_DEFER: break;
	}
	assert(false);
	return MHD_NO;
}

/* The library takes no answer in the middle of a body: keep it until the end. */
static enum MHD_Result drain(struct request *rq, enum err_code code)
{
	buf_done(&rq->body);
	if (!answer_refusal(rq, code, err_status(code)))
		return MHD_NO;
	rq->state = REQUEST_DRAIN;
	return MHD_YES;
}

static enum MHD_Result body_call(struct request *rq, const char *data, size_t *size)
{
	size_t len = *size;

	rq->connection->serve->activity++;
	*size = 0;
	if (rq->state == REQUEST_DRAIN) {
		rq->drained += len;
		return rq->drained <= DRAIN_MAX ? MHD_YES : MHD_NO;
	}
	if (rq->state != REQUEST_BODY)
		return MHD_NO;
	if (len > rq->shown.max_body - rq->body.len)
		return drain(rq, ERR_TOO_LARGE);
	if (buf_put(&rq->body, data, len, NULL) != ERR_OK)
		return drain(rq, ERR_UNAVAILABLE);
	return MHD_YES;
}

static enum MHD_Result body_whole(struct serve *s, struct request *rq, struct MHD_Connection *mc)
{
	struct serve_reply reply = { .status = 0 };

	s->activity++;
	rq->shown.body = buf_slice(&rq->body);
	switch (s->ops->ready(s->ctx, &rq->shown, &reply)) {
	case SERVE_REPLY:
		if (!answer_prepare(rq, &reply, false))
			return MHD_NO;
		return answer_queue(rq, mc);
	case SERVE_DEFER:
		rq->state = REQUEST_WAITING;
		s->waiting++;
		connection_phase(rq->connection, PHASE_WAITING);
		return MHD_YES;
	case SERVE_CONTINUE: break;
	}
	assert(false);
	return MHD_NO;
}

static enum MHD_Result last_call(struct serve *s, struct request *rq, struct MHD_Connection *mc)
{
	switch (rq->state) {
	case REQUEST_WAITING:
	case REQUEST_SENT: return MHD_YES;
	case REQUEST_BODY: return body_whole(s, rq, mc);
	case REQUEST_DRAIN:
	case REQUEST_ANSWER: return answer_queue(rq, mc);
	case REQUEST_LOST: return MHD_NO;
	}
	return MHD_NO;
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *mc, const char *url,
	const char *method, const char *version, const char *data, size_t *size, void **con_cls)
{
	struct serve *s = cls;
	struct request *rq = *con_cls;

	(void)url; /* the library's reading of it; ours is the one it was received as */
	if (!rq)
		return first_call(s, mc, method, version, con_cls);
	if (*size > 0)
		return body_call(rq, data, size);
	return last_call(s, rq, mc);
}

static void release(struct serve *s, struct connection *c, struct request *rq, bool sent)
{
	uint64_t body = rq->shown.content_length;

	if (rq->state == REQUEST_WAITING)
		s->waiting--;
	if (rq->state == REQUEST_SENT)
		s->writing--;
	if (rq->response)
		MHD_destroy_response(rq->response);
	rq->response = NULL;
	if (s->ops->finished)
		s->ops->finished(
			s->ctx, &rq->shown, sent && rq->state == REQUEST_SENT ? rq->status : 0);
	c->consumed += rq->head_bytes + (body == SERVE_LENGTH_UNKNOWN ? 0 : body);
	c->request = NULL;
	rq->connection = NULL;
	(void)atomic_fetch_sub_explicit(&s->open_requests, 1, memory_order_relaxed);
	request_unref(rq);
}

/* The end of a request; the client may have gone long before its answer. */
static void completed(
	void *cls, struct MHD_Connection *mc, void **con_cls, enum MHD_RequestTerminationCode why)
{
	struct serve *s = cls;
	struct connection *c = connection_of(mc);
	struct request *rq = *con_cls;

	*con_cls = NULL;
	s->activity++;
	if (!c)
		return;
	if (why == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		c->answers++;
	else if (why == MHD_REQUEST_TERMINATED_WITH_ERROR)
		c->early = true;
	c->answered = c->answered && c->early;
	if (rq)
		release(s, c, rq, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
	if (s->is_tls)
		connection_settle(c);
	connection_phase(c, PHASE_IDLE);
}

/* ---- connections -------------------------------------------------------------------------------
 */

static void *connection_started(struct serve *s, struct MHD_Connection *mc)
{
	const union MHD_ConnectionInfo *info;
	struct connection *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->serve = s;
	c->fd = -1;
	info = MHD_get_connection_info(mc, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (info)
		c->fd = info->connect_fd;
	info = MHD_get_connection_info(mc, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	listen_name(info ? info->client_addr : NULL, false, c->client, sizeof(c->client));
	connection_phase(c, PHASE_IDLE);
	c->next = s->connections;
	c->link = &s->connections;
	if (c->next)
		c->next->link = &c->next;
	s->connections = c;
	(void)atomic_fetch_add_explicit(&s->connection_count, 1, memory_order_relaxed);
	return c;
}

/* The library closes without a word when, for one, the first line has no blank in it. */
static void tell_garbage(const struct connection *c)
{
	static const char text[] =
		"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

	(void)send(c->fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void connection_closed(struct serve *s, struct connection *c)
{
	bool partial = !c->early && connection_has_bytes(c);

	assert(!c->request);
	if (!c->ended && (c->early || partial)) {
		if (!s->is_tls && !c->answered && connection_sent_nothing(c))
			tell_garbage(c);
		linger_start(s, c->fd);
	}
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	(void)atomic_fetch_sub_explicit(&s->connection_count, 1, memory_order_relaxed);
	free(c);
}

static void connection_changed(void *cls, struct MHD_Connection *mc, void **context,
	enum MHD_ConnectionNotificationCode what)
{
	struct serve *s = cls;

	s->activity++;
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		*context = connection_started(s, mc);
	else if (*context)
		connection_closed(s, *context);
}

/* ---- opening -----------------------------------------------------------------------------------
 */

/* The target is read as it was received: nothing is decoded. */
static size_t leave_escapes(void *cls, struct MHD_Connection *mc, char *text)
{
	(void)cls;
	(void)mc;
	return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void log_library(
	void *cls, const char *fmt, va_list args)
{
	const struct serve *s = cls;
	char text[256];
	int len = vsnprintf(text, sizeof(text), fmt, args);

	if (len > 0)
		log_debug("http_library", log_str("server", s->name),
			log_text("detail", slice_trim(slice_str(text))));
}

/* Strictness 0: at 1 the library closes without an answer where the guard has one, and sends the
 * head of some of its own answers twice. Everything that 1 refuses the guard refuses too. TURBO
 * leaves closing to us, so that an answer in the middle of a request is not lost. */
enum err_code library_open(struct serve *s, const struct serve_opts *opts, struct err *err)
{
	size_t connections = listen_raise_limit(opts->max_connections);
	const unsigned flags = MHD_USE_EPOLL | MHD_USE_TURBO | MHD_USE_ERROR_LOG |
			       (s->is_tls ? (unsigned)MHD_USE_TLS : 0);

	s->daemon = MHD_start_daemon(flags, 0, NULL, NULL, handle, s,
		/* first, so that it hears about the others */
		MHD_OPTION_EXTERNAL_LOGGER, log_library, s, MHD_OPTION_LISTEN_SOCKET, s->listen_fd,
		MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_CONNECTION_LIMIT, (unsigned)connections,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, opts->max_header_bytes + POOL_EXTRA,
		MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_URI_LOG_CALLBACK, see_target, s,
		MHD_OPTION_UNESCAPE_CALLBACK, leave_escapes, s, MHD_OPTION_NOTIFY_COMPLETED,
		completed, s, MHD_OPTION_NOTIFY_CONNECTION, connection_changed, s,
		s->is_tls ? MHD_OPTION_HTTPS_CERT_CALLBACK2 : MHD_OPTION_END, tls_retrieve,
		MHD_OPTION_HTTPS_PRIORITIES, TLS_PRIORITIES,
		s->client_ca ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, s->client_ca,
		MHD_OPTION_END);
	if (!s->daemon)
		return err_set(err, ERR_IO, "the HTTP library does not start on %s", s->address);
	return ERR_OK;
}

void library_close(struct serve *s)
{
	if (!s->daemon)
		return;
	for (struct connection *c = s->connections; c; c = c->next)
		c->ended = true;
	/* Quiesced, so that the listening socket stays ours to close. */
	(void)MHD_quiesce_daemon(s->daemon);
	MHD_stop_daemon(s->daemon);
	s->daemon = NULL;
}

const char *serve_version(void)
{
	return MHD_get_version();
}
