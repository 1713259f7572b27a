/* httpsig_sign.c - the sender's side: Content-Digest, Signature-Input and Signature.
 *
 * What is covered is what the same source asks for. Deliberately not here: choosing a key
 * (jose_keys.c). */
#include "httpsig.h"
#include "sign_priv.h"

#include <stdlib.h>

#define LABEL "sig1"

struct making {
	struct sender *d;
	const struct httpsig *hs;
	struct scheme_request rq;
	struct slice url;
	struct buf input, base, text, signature, value;
};

static struct scheme_request request_of(const struct sender *d)
{
	return (struct scheme_request){
		.method = SLICE_LIT("POST"),
		.query = buf_slice(&d->out->query),
		.has_query = d->out->has_query,
		.headers = d->out->headers,
		.header_count = d->out->header_count,
		.body = buf_slice(&d->out->body),
	};
}

static enum err_code put_digest(struct making *m)
{
	struct sender *d = m->d;
	uint8_t digest[32];
	enum err_code rc = buf_put_str(&m->value, "sha-256=:", d->err);

	crypto_sha256(m->rq.body, digest);
	if (rc == ERR_OK)
		rc = text_base64((struct slice){ digest, sizeof(digest) }, &m->value, d->err);
	if (rc == ERR_OK)
		rc = buf_put_str(&m->value, ":", d->err);
	if (rc == ERR_OK)
		rc = place_header(d, SLICE_LIT("Content-Digest"), buf_slice(&m->value));
	return rc;
}

/* ---- Signature-Input ---------------------------------------------------------------------------
 */

static enum err_code put_component(struct making *m, size_t index, struct slice name)
{
	bool is_whole = name.data[0] == '"';
	enum err_code rc = buf_putf(&m->input, m->d->err, "%s%s%.*s%s", index ? " " : "",
		is_whole ? "" : "\"", SLICE_FMT(name), is_whole ? "" : "\"");

	return rc;
}

static enum err_code put_components(struct making *m)
{
	static const struct slice usual[] = { SLICE_LIT("@method"), SLICE_LIT("@target-uri"),
		SLICE_LIT("content-digest") };
	const struct httpsig *hs = m->hs;
	const struct slice *list = hs->is_default ? usual : hs->cover;
	size_t count = hs->is_default ? ARRAY_LEN(usual) - (m->rq.body.len == 0) : hs->cover_count;
	enum err_code rc = ERR_OK;

	if (hs->is_default && m->url.len == 0)
		return err_set(m->d->err, ERR_USAGE,
			"the signature covers the URL: give --url, or the source its public_url");
	for (size_t i = 0; i < count && rc == ERR_OK; i++)
		rc = put_component(m, i, list[i]);
	return rc;
}

static enum err_code put_text(struct making *m, const char *name, const char *value)
{
	enum err_code rc = buf_putf(&m->input, m->d->err, ";%s=", name);

	if (rc == ERR_OK && !sfv_put_string(&m->input, slice_str(value)))
		rc = err_set(m->d->err, ERR_USAGE, "%s has other than printable ASCII", name);
	return rc;
}

static enum err_code put_input(struct making *m, const struct jose_signer *with)
{
	struct err *err = m->d->err;
	enum err_code rc = buf_put_str(&m->input, LABEL "=(", err);

	/* The label is the config's where it asks for one. */
	if (m->hs->label) {
		buf_reset(&m->input);
		rc = buf_putf(&m->input, err, "%s=(", m->hs->label);
	}
	if (rc == ERR_OK)
		rc = put_components(m);
	if (rc == ERR_OK)
		rc = buf_putf(
			&m->input, err, ");created=%lld", (long long)(m->d->draft->now_ms / 1000));
	if (rc == ERR_OK && with->kid)
		rc = put_text(m, "keyid", with->kid);
	if (rc == ERR_OK)
		rc = put_text(m, "alg", httpsig_alg_name(with->alg));
	if (rc == ERR_OK && m->hs->tag)
		rc = put_text(m, "tag", m->hs->tag);
	return rc;
}

/* ---- Signature ---------------------------------------------------------------------------------
 */

/* The text is made from the field as it is read again, so that both sides see the same. */
static enum err_code make_base(struct making *m)
{
	struct err *err = m->d->err;
	struct httpsig_input *in = malloc(sizeof(*in));
	struct httpsig_target target;
	struct slice component = SLICE_EMPTY;
	const char *why;

	if (!in)
		return err_set(err, ERR_NOMEM, "no memory to sign");
	httpsig_target(&m->rq, m->url, &m->text, &target);
	why = httpsig_read(buf_slice(&m->input), SLICE_EMPTY, in);
	if (!why)
		why = httpsig_base(&m->rq, &target, &in->labels[0], &m->base, &component);
	httpsig_input_done(in);
	free(in);
	return why ? err_set(err, ERR_USAGE, "%.*s%s%s", SLICE_FMT(component),
			     component.len ? " " : "", why)
		   : ERR_OK;
}

static enum err_code put_signature(struct making *m, const struct jose_signer *with)
{
	struct sender *d = m->d;
	size_t label = slice_find(buf_slice(&m->input), '=');
	enum err_code rc =
		jwk_sign(with->key, with->alg, buf_slice(&m->base), &m->signature, d->err);

	if (rc == ERR_OK && d->draft->bad_signature)
		m->signature.data[m->signature.len / 2] ^= 1;
	buf_reset(&m->value);
	if (rc == ERR_OK)
		rc = buf_putf(&m->value, d->err, "%.*s=:", (int)label, buf_str(&m->input));
	if (rc == ERR_OK)
		rc = text_base64(buf_slice(&m->signature), &m->value, d->err);
	if (rc == ERR_OK)
		rc = buf_put_str(&m->value, ":", d->err);
	if (rc == ERR_OK)
		rc = place_header(d, SLICE_LIT("Signature-Input"), buf_slice(&m->input));
	return rc == ERR_OK ? place_header(d, SLICE_LIT("Signature"), buf_slice(&m->value)) : rc;
}

static enum err_code make_all(struct making *m, const struct jose_signer *with)
{
	enum err_code rc = m->rq.body.len > 0 ? put_digest(m) : ERR_OK;

	m->rq = request_of(m->d); /* with the digest */
	if (rc == ERR_OK)
		rc = put_input(m, with);
	if (rc == ERR_OK)
		rc = make_base(m);
	return rc == ERR_OK ? put_signature(m, with) : rc;
}

enum err_code httpsig_place(struct sender *d, struct eval *ev)
{
	struct slice url = slice_sub(d->draft->url, 0, slice_find(d->draft->url, '?'));
	struct making m = { .d = d,
		.hs = d->way->state,
		.rq = request_of(d),
		.url = url.len > 0 ? url : slice_str(d->s->public_url),
		.input = BUF_INIT(HTTPSIG_FIELD_MAX),
		.base = BUF_INIT(HTTPSIG_BASE_MAX),
		.text = BUF_INIT(KIB(8)),
		.signature = BUF_INIT(KIB(2)),
		.value = BUF_INIT(KIB(4)) };
	struct jose_signer with;
	enum err_code rc = jose_find_signer(&m.hs->keys, d->s, d->draft->now_ms, &with, d->err);

	(void)ev;
	if (rc != ERR_OK)
		return rc;
	rc = make_all(&m, &with);
	jwk_set_unref(&with.set);
	buf_done(&m.input);
	buf_done(&m.base);
	buf_done(&m.text);
	buf_done(&m.signature);
	buf_done(&m.value);
	return rc;
}
