/* answer.c - what goes back in place of the usual answer: handshakes, acknowledgements, refusals.
 *
 * Deliberately not here: the usual answer, and HTTP. */
#include "scheme_priv.h"

static bool is_method(struct slice method, const char *name)
{
	return slice_eq_str(method, name);
}

static bool condition_holds(struct eval *ev, const struct when *when)
{
	struct slice have, want;

	if (eval_part(ev, &when->ref, &have) != FOUND)
		return false;
	if (when->present)
		return true;
	if (eval_joined(ev, &when->value, &want) != FOUND)
		return false;
	/* One side may be a secret. */
	return have.len == want.len && crypto_equal(have.data, want.data, have.len);
}

/* What a sender wrote comes back only as a short line of printable ASCII. */
static bool is_echo(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < 0x20 || text.data[i] > 0x7e)
			return false;
	}
	return text.len <= SCHEME_ECHO_MAX;
}

static bool reply(struct eval *ev, const struct handshake *h, struct scheme_answer *out)
{
	struct slice text = SLICE_EMPTY;

	if (h->body.count > 0 && eval_joined(ev, &h->body, &text) != FOUND)
		return false;
	buf_reset(&out->body);
	if (!is_echo(text) || buf_put_slice(&out->body, text, NULL) != ERR_OK)
		return false;
	out->status = h->status;
	out->content_type = text.len > 0 ? h->content_type : NULL;
	return true;
}

static bool try_handshake(struct eval *ev, const struct handshake *h, struct scheme_answer *out)
{
	if (!is_method(ev->rq->method, h->method))
		return false;
	for (size_t i = 0; i < h->when_count; i++) {
		if (!condition_holds(ev, &h->when[i]))
			return false;
	}
	return reply(ev, h, out);
}

static bool has_handshake(const struct scheme *scheme, bool is_signed)
{
	for (size_t i = 0; i < scheme->handshake_count; i++) {
		if (scheme->handshakes[i].is_signed == is_signed)
			return true;
	}
	return false;
}

bool scheme_handshake(const struct scheme *scheme, const struct scheme_request *rq,
	const struct scheme_verdict *verdict, struct scheme_answer *out)
{
	struct notes own, *notes = &own;
	struct buf scratch = BUF_INIT(KIB(64));
	struct eval ev;
	bool done = false;

	if (!has_handshake(scheme, verdict != NULL) || (verdict && verdict->code != ERR_OK))
		return false;
	if (verdict)
		notes = (struct notes *)(void *)verdict->captures.data;
	else
		memset(&own, 0, offsetof(struct notes, json));
	if (eval_start(&ev, scheme, rq, notes, &scratch)) {
		for (size_t i = 0; i < scheme->handshake_count && !done; i++) {
			if (scheme->handshakes[i].is_signed == (verdict != NULL))
				done = try_handshake(&ev, &scheme->handshakes[i], out);
		}
	}
	buf_done(&scratch);
	return done;
}

bool scheme_takes_method(const struct scheme *scheme, struct slice method)
{
	if (is_method(method, "POST"))
		return true;
	for (size_t i = 0; i < scheme->handshake_count; i++) {
		if (is_method(method, scheme->handshakes[i].method))
			return true;
	}
	return false;
}

unsigned scheme_ack(const struct scheme *scheme, struct scheme_answer *out)
{
	struct slice text = slice_str(scheme->ack_body);

	if (scheme->ack_status == 0)
		return 0;
	buf_reset(&out->body);
	/* Without memory the status alone still says what matters. */
	if (buf_put_slice(&out->body, text, NULL) != ERR_OK)
		text = SLICE_EMPTY;
	out->status = scheme->ack_status;
	out->content_type = text.len > 0 ? scheme->ack_type : NULL;
	return scheme->ack_status;
}

unsigned scheme_reject_status(const struct scheme *scheme)
{
	return scheme->reject_status;
}

void scheme_answer_done(struct scheme_answer *answer)
{
	buf_done(&answer->body);
}
