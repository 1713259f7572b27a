/* sign_proof.c - the sender's side: the signature is made, written as match says, and put where
 * verify finds it.
 *
 * Deliberately not here: all that has to be in the request before (sign.c). */
#include "sign_priv.h"
#include "postern/text.h"

#include <stdio.h>

/* A proof before it is written down: bytes, or a text as it is. */
struct proof {
	uint8_t bytes[DECODED_MAX];
	size_t len;
	struct buf text;
};

/* The key a sender would use: the first that is valid. */
static const struct keyed *signing_key(const struct sender *d)
{
	const struct scheme *s = d->s;
	const struct keyed *first = NULL;

	for (size_t i = 0; i < s->key_count; i++) {
		if (!d->way->keyed[i].is_ready)
			continue;
		if (key_valid(&s->keys[i], d->draft->now_ms))
			return &d->way->keyed[i];
		first = first ? first : &d->way->keyed[i];
	}
	return first;
}

static enum err_code make_public(struct sender *d, const struct keyed *key,
	const struct slice *pieces, size_t count, struct proof *out)
{
	struct buf sig = BUF_INIT(KIB(4));
	enum err_code rc;

	if (!pkey_is_private(key->pkey))
		return err_set(d->err, ERR_UNSUPPORTED,
			"%s: the source has the sender's public key, which cannot sign",
			d->way->alg->name);
	rc = pkey_sign(key->pkey, d->way->alg->pkey, pieces, count, &sig, d->err);
	if (rc == ERR_OK && sig.len > sizeof(out->bytes))
		rc = err_set(d->err, ERR_UNSUPPORTED, "a signature of %zu bytes", sig.len);
	if (rc == ERR_OK) {
		memcpy(out->bytes, sig.data, sig.len);
		out->len = sig.len;
	}
	buf_done(&sig);
	return rc;
}

static enum err_code make_from(struct sender *d, const struct keyed *key, struct slice *pieces,
	const struct template *t, struct proof *out)
{
	const struct alg *alg = d->way->alg;

	out->len = crypto_digest_len(alg->digest);
	if (alg->kind == ALG_PUBLIC)
		return make_public(d, key, pieces, t->count, out);
	if (alg->kind == ALG_MAC)
		return crypto_mac(key->mac, pieces, t->count, out->bytes, d->err);
	for (size_t i = 0; i < t->count; i++) {
		if (t->parts[i].kind == REF_KEY)
			pieces[i] = (struct slice){ key->secret.data, key->secret.len };
	}
	crypto_digest(alg->digest, pieces, t->count, out->bytes);
	return ERR_OK;
}

/* A bearer sends the key itself. */
static enum err_code make_bearer(struct sender *d, const struct keyed *key, struct proof *out)
{
	struct slice secret = { key->secret.data, key->secret.len };
	enum err_code rc = buf_put_slice(&out->text, secret, d->err);

	/* Another one of the same length: no header may be empty. */
	if (rc == ERR_OK && d->draft->bad_signature)
		out->text.data[0] = out->text.data[0] == 'x' ? 'y' : 'x';
	return rc;
}

static enum err_code make(struct sender *d, struct eval *ev, struct proof *out)
{
	const struct keyed *key = signing_key(d);
	struct slice pieces[PARTS_MAX];
	const struct part *bad;
	enum err_code rc;
	char name[80];

	if (!key)
		return err_set(d->err, ERR_UNSUPPORTED, "the source has no key to sign with");
	if (d->way->sign_count == 0)
		return make_bearer(d, key, out);
	if (eval_signed(ev, &d->way->signs[0], pieces, &bad) != FOUND) {
		part_name(bad, name, sizeof(name));
		return err_set(d->err, ERR_USAGE,
			"the signature covers %s, which the request lacks", name);
	}
	rc = make_from(d, key, pieces, &d->way->signs[0], out);
	/* As another key would have it: wrong. The last byte of a public key's is one of its
	 * number. */
	if (rc == ERR_OK && d->draft->bad_signature)
		out->bytes[out->len - 1] ^= 1;
	return rc;
}

/* ---- writing -----------------------------------------------------------------------------------
 */

static enum err_code write_proof(
	struct sender *d, enum coding coding, const struct proof *proof, struct buf *out)
{
	struct slice bytes = proof->text.len > 0 ? buf_slice(&proof->text)
						 : (struct slice){ proof->bytes, proof->len };
	char hex[2 * DECODED_MAX + 1];

	switch (coding) {
	case CODING_HEX:
		text_hex(proof->bytes, proof->len, hex);
		return buf_put_str(out, hex, d->err);
	case CODING_BASE64: return text_base64(bytes, out, d->err);
	case CODING_TOKEN:
	case CODING_NONE: break;
	}
	return buf_put_slice(out, bytes, d->err);
}

static enum err_code write_entry(
	struct sender *d, const struct pattern *p, const struct proof *proof, struct buf *out)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < p->count && rc == ERR_OK; i++) {
		const struct pattern_part *part = &p->parts[i];

		switch (part->kind) {
		case PATTERN_LITERAL: rc = buf_put(out, part->text, part->len, d->err); break;
		case PATTERN_CAP:
			if (!d->notes.caps[part->cap].data)
				return err_set(d->err, ERR_UNSUPPORTED,
					"nothing says what {%s} would be", d->s->caps[part->cap]);
			rc = buf_put_slice(out, d->notes.caps[part->cap], d->err);
			break;
		case PATTERN_SIGNATURE: rc = write_proof(d, p->coding, proof, out); break;
		}
	}
	return rc;
}

/* Every pattern that only captures, and the first that has the signature. */
static enum err_code write_entries(struct sender *d, const struct proof *proof, struct buf *out)
{
	const struct way *w = d->way;
	enum err_code rc = ERR_OK;
	bool is_signed = false;

	for (size_t i = 0; i < w->pattern_count && rc == ERR_OK; i++) {
		const struct pattern *p = &w->patterns[i];

		if (p->coding != CODING_NONE && is_signed)
			continue;
		is_signed |= p->coding != CODING_NONE;
		if (out->len > 0 && !w->split)
			return err_set(d->err, ERR_UNSUPPORTED,
				"several entries, and no split to write between them");
		if (out->len > 0)
			rc = buf_put(out, w->split, 1, d->err);
		if (rc == ERR_OK)
			rc = write_entry(d, p, proof, out);
	}
	return rc;
}

/* ---- where it goes -----------------------------------------------------------------------------
 */

static enum err_code write_signature(struct sender *d, struct eval *ev, struct buf *out)
{
	const struct alg *alg = d->way->alg;
	struct proof proof = { .text = BUF_INIT(CRYPTO_SECRET_MAX + 1) };
	enum err_code rc;

	if (alg->kind != ALG_MODULE) {
		rc = make(d, ev, &proof);
		if (rc == ERR_OK)
			rc = write_entries(d, &proof, out);
	} else if (alg->module && alg->module->sign) {
		rc = alg->module->sign(d->way, ev, d->draft, out, d->err);
	} else {
		rc = err_set(d->err, ERR_UNSUPPORTED, "%s: a receiver has no key to sign with",
			alg->name);
	}
	if (proof.text.data)
		buf_wipe(&proof.text);
	buf_done(&proof.text);
	return rc;
}

/* Of headers that share a prefix, the first. */
static enum err_code put_numbered(struct sender *d, struct slice prefix, struct slice value)
{
	struct buf name = BUF_INIT(KIB(1));
	enum err_code rc = buf_put_slice(&name, prefix, d->err);

	if (rc == ERR_OK)
		rc = buf_put_str(&name, "1", d->err);
	if (rc == ERR_OK)
		rc = place_header(d, buf_slice(&name), value);
	buf_done(&name);
	return rc;
}

/* The body is part of what a signature in it covers by its other members, so it is changed even
 * where it is to stay as it is. */
static enum err_code put_member(struct sender *d, const char *pointer, struct slice value)
{
	struct buf json = BUF_INIT(KIB(16));
	enum err_code rc = json_put_string(&json, value, d->err);

	if (rc == ERR_OK)
		rc = fill_member(&d->out->body, pointer, buf_slice(&json), d->err);
	buf_done(&json);
	return rc;
}

static enum err_code put_signature(struct sender *d, struct slice value)
{
	const struct part *sig = &d->way->sig;
	const struct slice name = { (const uint8_t *)sig->text, sig->len };

	switch (sig->kind) {
	case REF_HEADERS: return put_numbered(d, name, value);
	case REF_HEADER: return place_header(d, name, value);
	case REF_QUERY: return place_param(&d->out->query, name, value, d->err);
	case REF_FORM: return place_param(&d->out->body, name, value, d->err);
	case REF_JSON: return put_member(d, sig->text, value);
	case REF_LITERAL:
	case REF_BODY:
	case REF_METHOD:
	case REF_URL:
	case REF_URL_WITH_PORT:
	case REF_URL_WITHOUT_PORT:
	case REF_TIME:
	case REF_KEY:
	case REF_FORM_SORTED:
	case REF_LINES:
	case REF_ITEM:
	case REF_CAP:
	case REF_PEER_SAN:
	case REF_SECRET: break;
	}
	return err_set(d->err, ERR_UNSUPPORTED, "the signature has a place that nothing is put in");
}

/* ---- element by element ------------------------------------------------------------------------
 */

/* The element at this index as the body stands now. False: there are no more. */
static bool find_element(struct sender *d, size_t index, struct json_value *out)
{
	struct json_value array;
	size_t at = 0;

	if (json_get(buf_slice(&d->out->body), d->way->each.text, &array, NULL) != ERR_OK ||
		array.type != JSON_ARRAY)
		return false;
	for (size_t i = 0; json_next(array, &at, out); i++) {
		if (i == index)
			return true;
	}
	return false;
}

static enum err_code sign_element(struct sender *d, struct eval *ev, size_t index)
{
	struct buf value = BUF_INIT(KIB(16)), pointer = BUF_INIT(KIB(4));
	enum err_code rc = write_signature(d, ev, &value);

	if (rc == ERR_OK)
		rc = place_pointer(d, &d->way->each, index, d->way->sig.text, &pointer);
	if (rc == ERR_OK)
		rc = put_member(d, buf_str(&pointer), buf_slice(&value));
	buf_done(&value);
	buf_done(&pointer);
	return rc;
}

/* The body moves with each signature that is put into it. */
static enum err_code sign_elements(struct sender *d, const struct eval *ev)
{
	struct scheme_request rq = *ev->rq;
	struct eval now = *ev;
	struct json_value item;
	enum err_code rc = ERR_OK;
	size_t index = 0;

	if (d->way->sig.kind != REF_ITEM)
		return err_set(d->err, ERR_UNSUPPORTED,
			"each element is signed, and no element has a place for it");
	now.rq = &rq;
	for (; rc == ERR_OK && find_element(d, index, &item); index++) {
		rq.body = buf_slice(&d->out->body);
		d->notes.scanned = false;
		eval_enter(&now, item);
		rc = sign_element(d, &now, index);
	}
	if (rc == ERR_OK && index == 0)
		rc = err_set(d->err, ERR_USAGE, "the body has no elements at %s to sign",
			d->way->each.text);
	return rc;
}

enum err_code sign_prove(struct sender *d, struct eval *ev)
{
	struct buf value = BUF_INIT(KIB(16));
	enum err_code rc;

	if (d->way->alg->kind == ALG_NONE || d->draft->unsigned_request)
		return ERR_OK;
	if (d->way->has_each)
		return sign_elements(d, ev);
	if (d->way->alg->module && d->way->alg->module->place)
		return d->way->alg->module->place(d, ev);
	rc = write_signature(d, ev, &value);
	if (rc == ERR_OK && way_has_sig(d->way))
		rc = put_signature(d, buf_slice(&value));
	if (value.data)
		buf_wipe(&value);
	buf_done(&value);
	return rc;
}
