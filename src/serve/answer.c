/* answer.c - from a reply of the callbacks to a response of the library.
 *
 * Deliberately not here: when it is sent (library.c). */
#include "serve_priv.h"

#include <assert.h>
#include <stdlib.h>

static bool add(struct MHD_Response *response, const char *name, const char *value)
{
	return MHD_add_response_header(response, name, value) == MHD_YES;
}

static bool add_slice(struct MHD_Response *response, const struct header *h)
{
	char *name = slice_dup_str(h->name);
	char *value = slice_dup_str(h->value);
	bool added = name && value && add(response, name, value);

	free(name);
	free(value);
	return added;
}

static bool add_all(struct MHD_Response *response, const struct request *rq,
	const struct serve_reply *reply, bool close)
{
	assert(reply->header_count <= SERVE_REPLY_HEADERS);
	for (size_t i = 0; i < reply->header_count; i++) {
		if (!add_slice(response, &reply->headers[i]))
			return false;
	}
	if (reply->content_type && !add(response, "Content-Type", reply->content_type))
		return false;
	if (close && !add(response, "Connection", "close"))
		return false;
	return add(response, "X-Request-Id", rq->shown.request_id) &&
	       add(response, "X-Content-Type-Options", "nosniff");
}

/* What is left of doubt about where a request ends, although the guard let it pass: the library
 * takes bare line feeds between chunks, and takes a NUL before a bare line feed for a CR, so that a
 * header may hide in another one - which matters only where no length was expected. With the
 * connection closed behind the answer nothing that was hidden is ever read as a request. */
static bool is_doubtful(const struct request *rq)
{
	uint64_t length = rq->shown.content_length;

	return length == SERVE_LENGTH_UNKNOWN ||
	       (length > 0 && !slice_eq_str(rq->shown.method, "POST"));
}

bool answer_prepare(struct request *rq, const struct serve_reply *reply, bool close)
{
	struct slice body = reply->content_type ? reply->body : SLICE_EMPTY;
	struct serve *s = rq->connection->serve;
	struct MHD_Response *response;

	assert(!rq->response && reply->status >= 200 && reply->status <= 599);
	assert(body.len <= SERVE_BODY_MAX);
	close = close || reply->close || s->quiet || is_doubtful(rq);
	buf_reset(&rq->answer);
	if (buf_put_slice(&rq->answer, body, NULL) != ERR_OK)
		return false;
	/* The library is done with the bytes before it says that the request is over. */
	response =
		MHD_create_response_from_buffer(body.len, rq->answer.data, MHD_RESPMEM_PERSISTENT);
	if (!response)
		return false;
	if (!add_all(response, rq, reply, close)) {
		MHD_destroy_response(response);
		return false;
	}
	rq->response = response;
	rq->status = reply->status;
	return true;
}

static void fill_refusal(
	struct request *rq, enum err_code code, unsigned status, struct serve_reply *reply)
{
	struct serve *s = rq->connection->serve;

	*reply = (struct serve_reply){ .status = status };
	s->ops->refused(s->ctx, &rq->shown, code, status, reply);
	reply->status = status;
	reply->close = true;
}

bool answer_refusal(struct request *rq, enum err_code code, unsigned status)
{
	struct serve_reply reply;

	fill_refusal(rq, code, status, &reply);
	return answer_prepare(rq, &reply, true);
}

void answer_unknown(struct request *rq)
{
	struct serve_reply reply;

	fill_refusal(rq, ERR_OUTCOME_UNKNOWN, err_status(ERR_OUTCOME_UNKNOWN), &reply);
	answer_deferred(rq, &reply);
}

void answer_deferred(struct request *rq, const struct serve_reply *reply)
{
	struct serve *s = rq->connection->serve;

	assert(rq->state == REQUEST_WAITING);
	s->waiting--;
	s->activity++;
	rq->state = reply && answer_prepare(rq, reply, false) ? REQUEST_ANSWER : REQUEST_LOST;
}

enum MHD_Result answer_queue(struct request *rq, struct MHD_Connection *connection)
{
	struct connection *c = rq->connection;
	enum MHD_Result queued = MHD_queue_response(connection, rq->status, rq->response);

	MHD_destroy_response(rq->response);
	rq->response = NULL;
	rq->state = REQUEST_SENT;
	c->answered = true;
	c->serve->activity++;
	c->serve->writing++;
	connection_phase(c, PHASE_WRITING);
	return queued;
}
