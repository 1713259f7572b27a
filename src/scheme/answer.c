/* answer.c - what goes back in place of the usual answer: handshakes, acknowledgements, refusals.
 *
 * Four things can go wrong with handshakes, and are closed here and where they are compiled: a
 * challenge that would make us sign an event (is_challenge()), a key that anyone may tell us
 * (scheme_learn() is only asked while an operator waits), an echo that a browser would run
 * (is_echo(), text/plain or a JSON string), and unsigned bodies, which are not read.
 *
 * Deliberately not here: the usual answer, and HTTP. */
#include "scheme_priv.h"
#include "postern/text.h"

#define CHALLENGE_MAX 128
#define LEARN_MIN 8
#define LEARN_MAX 512

static bool is_method(struct slice method, const char *name)
{
	return slice_eq_str(method, name);
}

/* ---- challenges --------------------------------------------------------------------------------
 */

static bool is_challenge_byte(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       (c && strchr("+/=_-", c));
}

static bool is_challenge(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (!is_challenge_byte(s.data[i]))
			return false;
	}
	return s.len >= 1 && s.len <= CHALLENGE_MAX;
}

enum found answer_challenge(
	struct eval *ev, enum ref_function function, struct slice challenge, struct slice *out)
{
	struct buf *scratch = ev->scratch;
	uint8_t mac[CRYPTO_DIGEST_MAX];
	char hex[2 * CRYPTO_DIGEST_MAX + 1];
	size_t at = scratch->len, len = ev->mac_len;
	enum err_code rc;

	if (!ev->mac || !is_challenge(challenge) || eval_room(ev) < sizeof(hex))
		return FOUND_NOT;
	if (crypto_mac(ev->mac, &challenge, 1, mac, NULL) != ERR_OK)
		return FOUND_NOMEM;
	text_hex(mac, len, hex);
	rc = function == FN_HMAC_HEX ? buf_put_str(scratch, hex, NULL)
				     : text_base64((struct slice){ mac, len }, scratch, NULL);
	if (rc != ERR_OK)
		return FOUND_NOMEM;
	*out = (struct slice){ scratch->data + at, scratch->len - at };
	return FOUND;
}

static bool signs_challenges(const struct template *t)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->parts[i].function == FN_HMAC_HEX || t->parts[i].function == FN_HMAC_BASE64)
			return true;
	}
	return false;
}

static bool handshake_signs(const struct handshake *h)
{
	bool signs = signs_challenges(&h->body);

	for (size_t i = 0; i < h->json_count; i++)
		signs |= signs_challenges(&h->json[i].value);
	for (size_t i = 0; i < h->header_count; i++)
		signs |= signs_challenges(&h->headers[i].value);
	return signs;
}

/* Where the body alone is signed, a body may look like a challenge: nobody can tell then who had it
 * signed. */
bool answer_is_forgeable(const struct scheme *s, const struct slice *pieces, size_t count)
{
	size_t total = 0;

	if (s->handshake_count == 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (pieces[i].len > CHALLENGE_MAX ||
			(pieces[i].len > 0 && !is_challenge(pieces[i])))
			return false;
		total += pieces[i].len;
	}
	for (size_t i = 0; i < s->handshake_count && total <= CHALLENGE_MAX; i++) {
		if (handshake_signs(&s->handshakes[i]))
			return true;
	}
	return false;
}

/* ---- one handshake -----------------------------------------------------------------------------
 */

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

bool answer_applies(struct eval *ev, const struct handshake *h)
{
	if (!is_method(ev->rq->method, h->method))
		return false;
	for (size_t i = 0; i < h->when_count; i++) {
		if (!condition_holds(ev, &h->when[i]))
			return false;
	}
	return true;
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

static bool echo(struct eval *ev, const struct template *t, struct slice *out)
{
	*out = SLICE_EMPTY;
	return t->count == 0 || (eval_joined(ev, t, out) == FOUND && is_echo(*out));
}

static bool put_body(struct eval *ev, const struct handshake *h, struct buf *out)
{
	struct slice text;

	for (size_t i = 0; i < h->json_count; i++) {
		const struct reply_piece *piece = &h->json[i];

		if (piece->raw ? buf_put_str(out, piece->raw, NULL) != ERR_OK
			       : !echo(ev, &piece->value, &text) ||
					 json_put_string(out, text.data ? text : SLICE_LIT(""),
						 NULL) != ERR_OK)
			return false;
	}
	return h->json || (echo(ev, &h->body, &text) && buf_put_slice(out, text, NULL) == ERR_OK);
}

static void clear(struct scheme_answer *out)
{
	buf_reset(&out->body);
	buf_reset(&out->text);
	out->header_count = 0;
	out->visit = SLICE_EMPTY;
	out->visit_refused = NULL;
}

/* Room for all values was reserved: what stands in the text stays where it is. */
static bool add_header(struct scheme_answer *out, const char *name, struct slice value)
{
	size_t at = out->text.len;

	if (value.len >= out->text.cap - at || buf_put_slice(&out->text, value, NULL) != ERR_OK)
		return false;
	out->headers[out->header_count++] = (struct header){
		.name = slice_str(name),
		.value = { out->text.data + at, value.len },
	};
	return true;
}

static bool put_headers(struct eval *ev, const struct handshake *h, struct scheme_answer *out)
{
	struct slice value;

	if (h->header_count > 0 && buf_reserve(&out->text, KIB(4), NULL) != ERR_OK)
		return false;
	for (size_t i = 0; i < h->header_count; i++) {
		if (!echo(ev, &h->headers[i].value, &value) ||
			!add_header(out, h->headers[i].name, value))
			return false;
	}
	return true;
}

static bool reply(struct eval *ev, const struct handshake *h, struct scheme_answer *out)
{
	clear(out);
	if (!put_body(ev, h, &out->body) || !put_headers(ev, h, out))
		return false;
	out->status = h->status;
	out->content_type = out->body.len > 0 ? h->content_type : NULL;
	if (h->visits)
		visit_allow(ev, h, out);
	return true;
}

/* ---- permission by OPTIONS ---------------------------------------------------------------------
 */

static bool is_origin(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (!is_challenge_byte(s.data[i]) && s.data[i] != '.' && s.data[i] != ':')
			return false;
	}
	return s.len >= 1 && s.len <= 253;
}

/* As the CloudEvents web hooks ask. A callback that they name is never called: the answer to this
 * request is the permission. */
static bool permit(
	const struct scheme *scheme, const struct scheme_request *rq, struct scheme_answer *out)
{
	struct slice origin;

	if (!scheme->webhook_origin || !is_method(rq->method, "OPTIONS") ||
		eval_header(rq, SLICE_LIT("WebHook-Request-Origin"), &origin) != FOUND ||
		!is_origin(origin) || !text_glob(slice_str(scheme->webhook_origin), origin))
		return false;
	clear(out);
	out->status = 200;
	out->content_type = NULL;
	return buf_reserve(&out->text, KIB(1), NULL) == ERR_OK &&
	       add_header(out, "WebHook-Allowed-Origin", origin) &&
	       add_header(out, "WebHook-Allowed-Rate", slice_str(scheme->webhook_rate)) &&
	       add_header(out, "Allow", SLICE_LIT("POST"));
}

/* ---- the door ----------------------------------------------------------------------------------
 */

/* The key that matched, or the first that is valid, of a way that signs with MACs. */
static void set_signer(struct eval *ev, const struct scheme_verdict *verdict, int64_t now_ms)
{
	const struct scheme *s = ev->scheme;
	const struct way *way = &s->ways[verdict ? ev->notes->way : 0];
	size_t key = 0;

	if (verdict && verdict->key >= 0)
		key = (size_t)verdict->key;
	else
		while (key < s->key_count && !key_valid(&s->keys[key], now_ms))
			key++;
	if (way->alg->kind != ALG_MAC || key >= s->key_count)
		return;
	ev->mac = way->keyed[key].mac;
	ev->mac_len = crypto_digest_len(way->alg->digest);
}

static bool has_handshake(const struct scheme *scheme, bool is_signed, bool learns)
{
	for (size_t i = 0; i < scheme->handshake_count; i++) {
		if (scheme->handshakes[i].is_signed == is_signed &&
			scheme->handshakes[i].learns == learns)
			return true;
	}
	return false;
}

/* Notes of our own, where there was no verdict. */
static bool start_unsigned(struct eval *ev, const struct scheme *scheme,
	const struct scheme_request *rq, struct notes *notes, struct buf *scratch)
{
	memset(notes, 0, offsetof(struct notes, json));
	return eval_start(ev, scheme, rq, notes, scratch);
}

bool scheme_handshake(const struct scheme *scheme, const struct scheme_request *rq,
	const struct scheme_verdict *verdict, int64_t now_ms, struct scheme_answer *out)
{
	struct notes own;
	struct buf scratch = BUF_INIT(SCHEME_DECODED_MAX);
	struct eval ev;
	bool done = false, ok;

	if (!verdict && permit(scheme, rq, out))
		return true;
	if (!has_handshake(scheme, verdict != NULL, false) || (verdict && verdict->code != ERR_OK))
		return false;
	ok = verdict ? eval_start(&ev, scheme, rq, (struct notes *)(void *)verdict->captures.data,
			       &scratch)
		     : start_unsigned(&ev, scheme, rq, &own, &scratch);
	if (ok) {
		set_signer(&ev, verdict, now_ms);
		for (size_t i = 0; i < scheme->handshake_count && !done; i++) {
			const struct handshake *h = &scheme->handshakes[i];

			done = h->is_signed == (verdict != NULL) && !h->learns &&
			       answer_applies(&ev, h) && reply(&ev, h, out);
		}
	}
	buf_done(&scratch);
	return done;
}

bool scheme_learns(const struct scheme *scheme)
{
	return has_handshake(scheme, false, true);
}

static bool is_key(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] <= ' ' || s.data[i] > '~')
			return false;
	}
	return s.len >= LEARN_MIN && s.len <= LEARN_MAX;
}

static bool learn(struct eval *ev, const struct handshake *h, struct scheme_answer *out,
	struct secret *out_key)
{
	struct slice key;

	return h->learns && answer_applies(ev, h) && eval_part(ev, &h->learn, &key) == FOUND &&
	       is_key(key) && reply(ev, h, out) && secret_set(out_key, key, NULL) == ERR_OK;
}

bool scheme_learn(const struct scheme *scheme, const struct scheme_request *rq,
	struct scheme_answer *out, struct secret *out_key)
{
	struct notes own;
	struct buf scratch = BUF_INIT(SCHEME_DECODED_MAX);
	struct eval ev;
	bool done = false;

	if (scheme_learns(scheme) && start_unsigned(&ev, scheme, rq, &own, &scratch)) {
		for (size_t i = 0; i < scheme->handshake_count && !done; i++)
			done = learn(&ev, &scheme->handshakes[i], out, out_key);
	}
	if (scratch.data)
		buf_wipe(&scratch);
	buf_done(&scratch);
	return done;
}

bool scheme_takes_method(const struct scheme *scheme, struct slice method)
{
	if (is_method(method, "POST") || (scheme->webhook_origin && is_method(method, "OPTIONS")))
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
	clear(out);
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
	buf_done(&answer->text);
}
