/* x509.c - the module for RSA signatures whose key is in a certificate.
 *
 *   signature text -> digest (fixed, or named by the request) -> certificate (the operator's, or
 * the one at the URL that the request names) -> signature over the signed bytes
 *
 * Deliberately not here: fetching (cert_net.c), and reading the config (x509_compile.c). */
#include "x509.h"

#include "postern/text.h"

static enum err_code find_alg(struct judge *j, enum pkey_alg *out)
{
	const struct x509 *x = j->way->state;
	struct slice value;
	enum found found;

	if (!x->has_hash_ref) {
		*out = x->hashes[0].alg;
		return ERR_OK;
	}
	found = eval_part(&j->ev, &x->hash_ref, &value);
	if (found != FOUND)
		return judge_refuse_part(j, ERR_BAD_SIGNATURE, &x->hash_ref, found);
	for (size_t i = 0; i < x->hash_count; i++) {
		if (slice_eq_str(value, x->hashes[i].value)) {
			*out = x->hashes[i].alg;
			return ERR_OK;
		}
	}
	return judge_refuse(j, ERR_BAD_SIGNATURE, "a version of the signature that is not known");
}

/* ---- one key, all signatures -------------------------------------------------------------------
 */

struct proof {
	enum pkey_alg alg;
	struct slice signatures[SCHEME_SIGNATURES_MAX];
	size_t count;
};

static void decode(struct judge *j, struct proof *out)
{
	struct buf *scratch = j->ev.scratch;

	out->count = 0;
	for (size_t i = 0; i < j->found.count; i++) {
		struct slice text = j->found.list[i].text;
		bool is_hex = j->found.list[i].coding == CODING_HEX;
		size_t at = scratch->len;

		if (text.len > (size_t)2 * PKEY_SIGNATURE_MAX || text.len > eval_room(&j->ev) ||
			(is_hex ? text_hex_decode(text, scratch, NULL)
				: text_base64_decode(text, scratch, NULL)) != ERR_OK)
			continue;
		out->signatures[out->count++] =
			(struct slice){ scratch->data + at, scratch->len - at };
	}
}

/* ERR_BAD_SIGNATURE where no text could be put together is told by the caller. */
static enum err_code try_key(
	struct judge *j, const struct pkey *key, const struct proof *proof, const struct part **bad)
{
	const struct way *w = j->way;
	struct slice pieces[PARTS_MAX] = { SLICE_EMPTY };
	enum err_code rc = ERR_BAD_SIGNATURE;

	for (size_t s = 0; s < w->sign_count && rc == ERR_BAD_SIGNATURE; s++) {
		size_t kept = j->ev.scratch->len;

		if (eval_pieces(&j->ev, &w->signs[s], pieces, bad) != FOUND)
			continue;
		*bad = NULL;
		for (size_t i = 0; i < proof->count && rc == ERR_BAD_SIGNATURE; i++)
			rc = pkey_verify(
				key, proof->alg, pieces, w->signs[s].count, proof->signatures[i]);
		j->ev.notes->sign = s;
		if (rc != ERR_OK)
			j->ev.scratch->len = kept;
	}
	return rc;
}

static enum err_code conclude(struct judge *j, enum err_code rc, const struct part *bad)
{
	if (rc == ERR_OK)
		return ERR_OK;
	j->out->key = -1;
	if (rc == ERR_NOMEM)
		return judge_refuse(j, ERR_UNAVAILABLE, "no memory to verify");
	if (bad)
		return judge_refuse_part(j, ERR_BAD_SIGNATURE, bad, FOUND_NOT);
	return judge_refuse(j, ERR_BAD_SIGNATURE, "the signature is not one of the certificate's");
}

/* ---- which certificate -------------------------------------------------------------------------
 */

static enum err_code try_own(struct judge *j, const struct proof *proof)
{
	const struct scheme *s = j->ev.scheme;
	const struct x509 *x = j->way->state;
	const struct part *bad = NULL;
	enum err_code rc = ERR_BAD_SIGNATURE;

	for (size_t k = 0; k < s->key_count && rc == ERR_BAD_SIGNATURE; k++) {
		if (!key_valid(&s->keys[k], j->now_ms))
			continue;
		rc = try_key(j, x->keys[k], proof, &bad);
		j->out->key = (int)k;
	}
	return conclude(j, rc, bad);
}

static enum err_code try_fetched(struct judge *j, const struct proof *proof)
{
	const struct x509 *x = j->way->state;
	struct cert_held *held = NULL;
	const struct part *bad = NULL;
	struct err why = ERR_INIT;
	struct slice url, host;
	enum found found = eval_part(&j->ev, &x->url, &url);
	const char *refused;
	enum err_code rc;

	if (found != FOUND)
		return judge_refuse_part(j, ERR_KEY_NOT_FOUND, &x->url, found);
	refused = cert_url_refuse(&x->place, url, &host);
	if (refused)
		return judge_refuse(j, ERR_KEY_NOT_FOUND, "%s", refused);
	if (!x->net)
		return judge_refuse(j, ERR_KEY_NOT_FOUND,
			"nothing is fetched here: give the certificate as a key");
	rc = cert_net_get(x->net, url, host, &x->policy, j->now_ms, &held, &why);
	if (rc != ERR_OK)
		return judge_refuse(j, rc, "%s", why.text);
	rc = try_key(j, cert_held_key(held), proof, &bad);
	cert_held_unref(&held);
	return conclude(j, rc, bad);
}

static enum err_code verify(struct judge *j)
{
	struct proof proof = { .alg = PKEY_RSA_SHA256 };
	enum err_code rc = find_alg(j, &proof.alg);

	if (rc != ERR_OK)
		return rc;
	decode(j, &proof);
	if (proof.count == 0)
		return judge_refuse(j, ERR_BAD_SIGNATURE, "the signature cannot be decoded");
	return j->ev.scheme->key_count > 0 ? try_own(j, &proof) : try_fetched(j, &proof);
}

/* ---- the sender's side -------------------------------------------------------------------------
 */

static const struct pkey *find_signer(const struct scheme *s, const struct x509 *x, int64_t now_ms)
{
	for (size_t k = 0; k < s->key_count; k++) {
		if (key_valid(&s->keys[k], now_ms) && pkey_is_private(x->keys[k]))
			return x->keys[k];
	}
	return NULL;
}

static enum err_code signing_alg(const struct x509 *x, struct eval *ev, enum pkey_alg *out)
{
	struct slice value;

	*out = x->hashes[0].alg;
	if (!x->has_hash_ref || eval_part(ev, &x->hash_ref, &value) != FOUND)
		return ERR_OK;
	for (size_t i = 0; i < x->hash_count; i++) {
		if (slice_eq_str(value, x->hashes[i].value))
			*out = x->hashes[i].alg;
	}
	return ERR_OK;
}

static enum err_code write_signature(
	const struct way *way, struct slice signature, struct buf *out, struct err *err)
{
	char hex[2 * PKEY_SIGNATURE_MAX + 1];

	if (way->pattern_count != 1 || way->patterns[0].count != 1)
		return err_set(err, ERR_UNSUPPORTED,
			"sending a signature that other text stands around is not supported yet");
	if (way->patterns[0].coding != CODING_HEX)
		return text_base64(signature, out, err);
	text_hex(signature.data, signature.len, hex);
	return buf_put_str(out, hex, err);
}

static enum err_code sign(const struct way *way, struct eval *ev, const struct scheme_draft *draft,
	struct buf *out, struct err *err)
{
	const struct x509 *x = way->state;
	const struct pkey *key = find_signer(ev->scheme, x, draft->now_ms);
	struct slice pieces[PARTS_MAX];
	struct buf signature = BUF_INIT(PKEY_SIGNATURE_MAX + 1);
	const struct part *bad;
	enum pkey_alg alg;
	enum err_code rc;

	if (!key)
		return err_set(err, ERR_UNSUPPORTED,
			"none of the source's keys can sign: it takes a private key (PEM) in its "
			"key file");
	if (eval_pieces(ev, &way->signs[0], pieces, &bad) != FOUND)
		return err_set(err, ERR_USAGE, "the request lacks something that is signed");
	rc = signing_alg(x, ev, &alg);
	if (rc == ERR_OK)
		rc = pkey_sign(key, alg, pieces, way->signs[0].count, &signature, err);
	if (rc == ERR_OK && draft->bad_signature)
		signature.data[0] ^= 1;
	if (rc == ERR_OK)
		rc = write_signature(way, buf_slice(&signature), out, err);
	buf_done(&signature);
	return rc;
}

static bool reads(const struct way *way, const struct question *q)
{
	const struct x509 *x = way->state;

	return (x->has_url && q->fits(&x->url, q->name)) ||
	       (x->has_hash_ref && q->fits(&x->hash_ref, q->name));
}

static void use_net(struct way *way, struct scheme_net *net)
{
	struct x509 *x = way->state;

	x->net = net;
}

const struct scheme_module x509_module = {
	.members = x509_members,
	.keyless = true,
	.compile = x509_compile,
	.key = x509_key,
	.close = x509_close,
	.verify = verify,
	.sign = sign,
	.reads = reads,
	.use_net = use_net,
};
