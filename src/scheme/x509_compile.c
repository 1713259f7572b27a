/* x509_compile.c - the members "cert" and "hash" of verify.
 *
 * Deliberately not here: judging requests (x509.c). */
#include "x509.h"

#include "postern/text.h"

const char *const x509_members[] = { "alg", "sig", "split", "match", "signed", "time", "unit",
	"tolerance", "future_tolerance", "require", "cert", "hash", NULL };

/* ---- hash --------------------------------------------------------------------------------------
 */

static bool read_digest(struct compile *c, const struct node *at, enum pkey_alg *out)
{
	static const struct {
		const char *name;
		enum pkey_alg alg;
	} rows[] = {
		{ "sha1", PKEY_RSA_SHA1 },
		{ "sha256", PKEY_RSA_SHA256 },
		{ "sha384", PKEY_RSA_SHA384 },
		{ "sha512", PKEY_RSA_SHA512 },
	};
	struct slice text;

	if (!compile_string(c, at, &text))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (slice_eq_str(text, rows[i].name)) {
			*out = rows[i].alg;
			return true;
		}
	}
	return compile_fail(c, at, "must be sha1, sha256, sha384 or sha512");
}

/* {"json:/SignatureVersion": {"1": "sha1", "2": "sha256"}} */
static bool read_hash_choice(struct compile *c, const struct node *at, struct x509 *x)
{
	const struct node *ref = at->child;

	if (at->type != NODE_OBJECT || !ref || ref->next || ref->type != NODE_OBJECT || !ref->child)
		return compile_fail(c, at,
			"must be a digest, or {reference: {value: digest}} with one reference");
	x->has_hash_ref = true;
	if (!compile_ref(c, at, slice_str(ref->name), &x->hash_ref))
		return false;
	for (const struct node *n = ref->child; n; n = n->next) {
		if (x->hash_count == HASHES_MAX)
			return compile_fail(c, n, "more than %d digests", HASHES_MAX);
		x->hashes[x->hash_count].value = compile_keep_text(c, slice_str(n->name));
		if (!x->hashes[x->hash_count].value ||
			!read_digest(c, n, &x->hashes[x->hash_count].alg))
			return false;
		x->hash_count++;
	}
	return true;
}

static bool read_hash(struct compile *c, const struct node *verify, struct x509 *x)
{
	const struct node *at = node_member(verify, "hash");

	if (!at)
		return compile_fail(
			c, verify, "hash is missing: which digest is signed, such as \"sha256\"?");
	if (at->type != NODE_STRING)
		return read_hash_choice(c, at, x);
	x->hash_count = 1;
	return read_digest(c, at, &x->hashes[0].alg);
}

/* ---- cert --------------------------------------------------------------------------------------
 */

/* A pattern that is not anchored fits hosts that only look like the sender's. */
static bool read_host(struct compile *c, const struct node *cert, struct x509 *x)
{
	const struct node *at = node_member(cert, "host");
	struct slice text;
	const char *pattern;

	if (!at)
		return compile_fail(c, cert, "host is missing: whose certificates are fetched?");
	if (!compile_string(c, at, &text))
		return false;
	if (text.len < 3 || text.data[0] != '^' || text.data[text.len - 1] != '$' ||
		slice_find(text, '|') < text.len)
		return compile_fail(c, at,
			"must be a pattern from ^ to $, without |, such as "
			"\"^certs\\\\.example\\\\.com$\"");
	pattern = compile_keep_text(c, text);
	if (!pattern)
		return false;
	x->has_host = regcomp(&x->place.host, pattern, REG_EXTENDED | REG_NOSUB) == 0;
	return x->has_host || compile_fail(c, at, "is not a regular expression");
}

static bool read_url(struct compile *c, const struct node *cert, struct x509 *x)
{
	const struct node *at = node_member(cert, "url");
	struct slice text;

	if (!at)
		return compile_fail(c, cert, "url is missing: where does a request name it?");
	if (!compile_string(c, at, &text) || !compile_ref(c, at, text, &x->url))
		return false;
	x->has_url = true;
	if (x->url.kind == REF_HEADER || x->url.kind == REF_JSON)
		return true;
	return compile_fail(c, at, "must be header:NAME or json:/POINTER");
}

static bool read_port(struct compile *c, const struct node *cert, struct x509 *x)
{
	const struct node *at = node_member(cert, "port");

	x->place.port = 443;
	if (!at)
		return true;
	if (at->type != NODE_INTEGER || at->integer < 1 || at->integer > 65535)
		return compile_fail(c, at, "must be a port");
	x->place.port = (unsigned)at->integer;
	return true;
}

static bool read_chain(struct compile *c, const struct node *cert, struct x509 *x)
{
	const struct node *at = node_member(cert, "chain");
	struct slice text;

	if (!at)
		return true;
	if (!compile_string(c, at, &text))
		return false;
	x->policy.needs_root = slice_eq_str(text, "required");
	return x->policy.needs_root || slice_eq_str(text, "given") ||
	       compile_fail(c, at, "must be \"required\" or \"given\"");
}

/* Secrets are files of the operator's; roots are one as well. */
static bool read_ca(struct compile *c, const struct node *cert, struct x509 *x)
{
	const struct node *at = node_member(cert, "ca");
	struct cert_roots *roots = NULL;
	struct slice text;
	struct part part;

	if (!at)
		return true;
	if (!compile_string(c, at, &text) || !compile_ref(c, at, text, &part))
		return false;
	if (part.kind != REF_SECRET)
		return compile_fail(c, at, "must be secret:NAME, whose file has the roots in PEM");
	x->policy.ca_pem = (struct slice){ c->s->secrets[part.index].secret.data,
		c->s->secrets[part.index].secret.len };
	if (cert_roots_open(x->policy.ca_pem, &roots, NULL) != ERR_OK)
		return compile_fail(c, at, "has no certificate in PEM");
	cert_roots_close(&roots);
	return true;
}

static bool read_cert(struct compile *c, const struct node *verify, struct x509 *x)
{
	static const char *const names[] = { "url", "host", "suffix", "port", "subject", "chain",
		"ca", NULL };
	const struct node *at = node_member(verify, "cert");

	if (!at)
		return c->s->key_count > 0 ||
		       compile_fail(c, verify,
			       "cert is missing: without keys of the source, where is the "
			       "certificate?");
	return compile_members(c, at, names) && read_url(c, at, x) && read_host(c, at, x) &&
	       compile_text(c, at, "suffix", &x->place.suffix) &&
	       compile_text(c, at, "subject", &x->policy.subject) && read_port(c, at, x) &&
	       read_chain(c, at, x) && read_ca(c, at, x);
}

bool x509_compile(struct compile *c, const struct node *verify)
{
	struct x509 *x = compile_keep(c, sizeof(*x));

	c->way->state = x;
	return x && compile_match(c, verify) && compile_sig(c, verify) && compile_time(c, verify) &&
	       compile_signed(c, verify) && read_hash(c, verify, x) && read_cert(c, verify, x);
}

/* ---- keys --------------------------------------------------------------------------------------
 */

bool x509_key(struct compile *c, size_t key, const struct node *at, struct slice text)
{
	struct x509 *x = c->way->state;
	struct err err = ERR_INIT;

	if (!x)
		return false;
	if (pkey_from_pem(text, &x->keys[key], &err) != ERR_OK) {
		c->no_memory |= err.code == ERR_NOMEM;
		return compile_fail(c, at, "%s: it takes a certificate in PEM", err.text);
	}
	if (!pkey_fits(x->keys[key], x->hashes[0].alg))
		return compile_fail(c, at, "the certificate's key is not an RSA key");
	return true;
}

void x509_close(struct way *way)
{
	struct x509 *x = way->state;

	if (!x)
		return;
	if (x->has_host)
		regfree(&x->place.host);
	for (size_t i = 0; i < ARRAY_LEN(x->keys); i++)
		pkey_close(&x->keys[i]);
}
