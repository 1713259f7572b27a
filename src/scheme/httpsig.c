/* httpsig.c - the module for HTTP Message Signatures (RFC 9421).
 *
 *   fields -> each signature with the right label and tag: time there? -> algorithm allowed? ->
 * covers what it must? -> key by keyid -> signature -> digest of the body -> fresh?
 *
 * The first signature that holds is enough; others may be those of proxies, or of keys that are on
 * their way. Deliberately not here: reading fields (httpsig_input.c), the signed text
 * (httpsig_base.c). */
#include "httpsig.h"

#include <stdlib.h>

static const struct {
	const char *name;
	enum jws_alg alg;
} algs[] = {
	{ "ed25519", JWS_EDDSA },
	{ "ecdsa-p256-sha256", JWS_ES256 },
	{ "ecdsa-p384-sha384", JWS_ES384 },
	{ "rsa-pss-sha512", JWS_PS512 },
	{ "rsa-v1_5-sha256", JWS_RS256 },
	{ "hmac-sha256", JWS_HS256 },
};

bool httpsig_alg_find(struct slice name, enum jws_alg *out)
{
	for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
		if (slice_eq_str(name, algs[i].name)) {
			*out = algs[i].alg;
			return true;
		}
	}
	return false;
}

const char *httpsig_alg_name(enum jws_alg alg)
{
	for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
		if (algs[i].alg == alg)
			return algs[i].name;
	}
	return "";
}

/* ---- coverage ----------------------------------------------------------------------------------
 */

/* By name, whole; or, where the name has quotes, by the component as it is written. */
bool httpsig_covers(const struct httpsig_label *label, const char *name)
{
	for (size_t i = 0; i < label->count; i++) {
		const struct httpsig_component *c = &label->components[i];

		if (name[0] == '"' ? slice_eq_str(c->id, name)
				   : slice_eq_str(c->name, name) && !c->key.data && !c->param.data)
			return true;
	}
	return false;
}

/* Where the request goes, in any of the ways to say it. */
static bool covers_target(const struct httpsig_label *l, bool has_query)
{
	if (httpsig_covers(l, "@target-uri"))
		return true;
	if (!httpsig_covers(l, "@authority"))
		return false;
	return httpsig_covers(l, "@request-target") ||
	       (httpsig_covers(l, "@path") && (!has_query || httpsig_covers(l, "@query")));
}

static enum err_code check_coverage(struct judge *j, const struct httpsig_label *l)
{
	const struct httpsig *hs = j->way->state;
	const struct scheme_request *rq = j->ev.rq;

	for (size_t i = 0; i < hs->cover_count; i++) {
		if (!httpsig_covers(l, (const char *)hs->cover[i].data))
			return judge_refuse(j, ERR_BAD_SIGNATURE, "%.*s is not covered",
				SLICE_FMT(hs->cover[i]));
	}
	if (!hs->is_default)
		return ERR_OK;
	if (!httpsig_covers(l, "@method") || !covers_target(l, rq->has_query))
		return judge_refuse(j, ERR_BAD_SIGNATURE,
			"@method and @target-uri (or @authority, @path and @query) are not "
			"covered");
	if (rq->body.len > 0 && !httpsig_covers(l, "content-digest"))
		return judge_refuse(j, ERR_BAD_SIGNATURE, "content-digest is not covered");
	return ERR_OK;
}

/* ---- one signature -----------------------------------------------------------------------------
 */

/* As the request calls it; or any that is allowed, as the key decides which it can be. */
static enum err_code prove(struct judge *j, const struct httpsig_label *l, struct slice base)
{
	const struct httpsig *hs = j->way->state;
	struct jws token = {
		.has_kid = l->has_kid, .kid = l->kid, .input = base, .signature = l->signature
	};
	enum err_code rc = ERR_BAD_SIGNATURE;

	if (l->has_alg && (!httpsig_alg_find(l->alg, &token.alg) || !hs->keys.allowed[token.alg]))
		return judge_refuse(
			j, ERR_BAD_SIGNATURE, "the algorithm is not one of those allowed");
	if (l->has_alg)
		return jose_prove(j, &hs->keys, &token);
	for (size_t i = 0; i < hs->keys.alg_count && rc == ERR_BAD_SIGNATURE; i++) {
		token.alg = hs->keys.algs[i];
		rc = jose_prove(j, &hs->keys, &token);
	}
	return rc;
}

static enum err_code check_signature(struct judge *j, const struct httpsig_label *l)
{
	const struct scheme_request *rq = j->ev.rq;
	struct slice url =
		rq->public_url.len > 0 ? rq->public_url : slice_str(j->ev.scheme->public_url);
	struct buf base = BUF_INIT(HTTPSIG_BASE_MAX), text = BUF_INIT(KIB(8));
	struct httpsig_target target;
	struct slice component = SLICE_EMPTY;
	enum err_code rc;
	const char *why;

	httpsig_target(rq, url, &text, &target);
	why = httpsig_base(rq, &target, l, &base, &component);
	rc = why ? judge_refuse(j, ERR_BAD_SIGNATURE, "%.*s %s", SLICE_FMT(component), why)
		 : prove(j, l, buf_slice(&base));
	buf_done(&base);
	buf_done(&text);
	return rc;
}

/* What is covered is the digest that the request brings; it is the body's, or nothing is. */
static enum err_code check_digest(struct judge *j, const struct httpsig_label *l)
{
	struct buf field = BUF_INIT(HTTPSIG_FIELD_MAX);
	const char *why = "Content-Digest is absent";

	if (!httpsig_covers(l, "content-digest"))
		return ERR_OK;
	if (httpsig_field(j->ev.rq, SLICE_LIT("content-digest"), &field))
		why = content_digest_refuse(buf_slice(&field), j->ev.rq->body);
	buf_done(&field);
	return why ? judge_refuse(j, ERR_BAD_SIGNATURE, "%s", why) : ERR_OK;
}

static enum err_code check_fresh(struct judge *j, const struct httpsig_label *l)
{
	int64_t now_s = j->now_ms / 1000, age_s = now_s - l->created_s;

	if (age_s > j->way->tolerance_s)
		return judge_refuse(j, ERR_EXPIRED, "%lld s old, of %lld", (long long)age_s,
			(long long)j->way->tolerance_s);
	if (l->has_expires && now_s > l->expires_s)
		return judge_refuse(
			j, ERR_EXPIRED, "expired %lld s ago", (long long)(now_s - l->expires_s));
	if (-age_s > j->way->future_tolerance_s)
		return judge_refuse(j, ERR_CLOCK_SKEW, "%lld s ahead, of %lld", (long long)-age_s,
			(long long)j->way->future_tolerance_s);
	return ERR_OK;
}

static enum err_code check_label(struct judge *j, const struct httpsig_label *l)
{
	enum err_code rc;

	if (!l->signature.data)
		return judge_refuse(
			j, ERR_BAD_SIGNATURE, "Signature has no \"%.*s\"", SLICE_FMT(l->label));
	if (!l->has_created || l->created_s < 0)
		return judge_refuse(j, ERR_BAD_TIMESTAMP, "the signature has no created");
	rc = check_coverage(j, l);
	if (rc == ERR_OK)
		rc = check_signature(j, l);
	if (rc == ERR_OK)
		rc = check_digest(j, l);
	if (rc != ERR_OK) {
		j->out->key = -1;
		return rc;
	}
	j->out->signed_ms = l->created_s * 1000;
	return check_fresh(j, l);
}

/* ---- all of them -------------------------------------------------------------------------------
 */

static bool is_asked_for(const struct httpsig *hs, const struct httpsig_label *l)
{
	return (!hs->label || slice_eq_str(l->label, hs->label)) &&
	       (!hs->tag || (l->has_tag && slice_eq_str(l->tag, hs->tag)));
}

/* The first that holds; what is told is of the last. */
static enum err_code check_labels(struct judge *j, const struct httpsig_input *in)
{
	const struct httpsig *hs = j->way->state;
	enum err_code rc = judge_refuse(
		j, ERR_BAD_SIGNATURE, "no signature has the label and tag that are asked for");

	for (size_t i = 0; i < in->count; i++) {
		if (!is_asked_for(hs, &in->labels[i]))
			continue;
		j->out->signed_ms = INT64_MIN;
		rc = check_label(j, &in->labels[i]);
		if (rc == ERR_OK || rc == ERR_UNAVAILABLE)
			return rc;
	}
	return rc;
}

static enum err_code read_and_check(struct judge *j, struct slice input, struct slice signature)
{
	struct httpsig_input *in = malloc(sizeof(*in));
	enum err_code rc;
	const char *why;

	if (!in)
		return judge_refuse(j, ERR_UNAVAILABLE, "no memory to verify");
	why = httpsig_read(input, signature, in);
	rc = why ? judge_refuse(j, ERR_BAD_SIGNATURE, "%s", why) : check_labels(j, in);
	httpsig_input_done(in);
	free(in);
	return rc;
}

static bool has_header(const struct scheme_request *rq, const char *name)
{
	for (size_t i = 0; i < rq->header_count; i++) {
		if (slice_eq_nocase(rq->headers[i].name, slice_str(name)) &&
			rq->headers[i].value.len > 0)
			return true;
	}
	return false;
}

static enum err_code precheck(struct judge *j)
{
	if (has_header(j->ev.rq, "signature") && has_header(j->ev.rq, "signature-input"))
		return ERR_OK;
	return judge_refuse(
		j, ERR_MISSING_SIGNATURE, "header:Signature or header:Signature-Input is absent");
}

static enum err_code verify(struct judge *j)
{
	struct buf input = BUF_INIT(HTTPSIG_FIELD_MAX), signature = BUF_INIT(HTTPSIG_FIELD_MAX);
	enum err_code rc = precheck(j);

	if (rc == ERR_OK && httpsig_field(j->ev.rq, SLICE_LIT("signature-input"), &input) &&
		httpsig_field(j->ev.rq, SLICE_LIT("signature"), &signature))
		rc = read_and_check(j, buf_slice(&input), buf_slice(&signature));
	else if (rc == ERR_OK)
		rc = judge_refuse(
			j, ERR_BAD_SIGNATURE, "a Signature-Input or Signature that is too long");
	buf_done(&input);
	buf_done(&signature);
	return rc;
}

/* ---- what it reads and covers ------------------------------------------------------------------
 */

/* What config asks to be covered is read through way->signs; the query, whenever it is signed. */
static bool reads(const struct way *way, const struct question *q)
{
	static const struct part parts[] = {
		{ .kind = REF_HEADER, .text = "signature", .len = 9 },
		{ .kind = REF_HEADER, .text = "signature-input", .len = 15 },
		{ .kind = REF_HEADER, .text = "content-digest", .len = 14 },
		{ .kind = REF_URL, .text = "" },
	};

	(void)way;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (q->fits(&parts[i], q->name))
			return true;
	}
	return false;
}

static void audit(const struct scheme *s, struct way *way)
{
	(void)s;
	way->time_covered = true; /* created is asked for */
}

const struct scheme_module httpsig_module = {
	.members = httpsig_members,
	.compile = httpsig_compile,
	.key = httpsig_key,
	.close = httpsig_close,
	.precheck = precheck,
	.verify = verify,
	.place = httpsig_place,
	.reads = reads,
	.audit = audit,
};
