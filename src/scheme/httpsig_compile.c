/* httpsig_compile.c - the member "httpsig" of verify.
 *
 * What a signature has to cover is written as way->signs too, so that what lint tells of it follows
 * as for every other algorithm. Deliberately not here: judging requests (httpsig.c). */
#include "httpsig.h"

const char *const httpsig_members[] = { "alg", "httpsig", "tolerance", "future_tolerance",
	"require", NULL };

static bool read_algs(struct compile *c, const struct node *node, struct httpsig *hs)
{
	const struct node *at = node_member(node, "algs");
	struct slice name;
	enum jws_alg alg;

	if (!at || at->type != NODE_ARRAY || !at->child)
		return compile_fail(c, at ? at : node,
			"algs is a list of the algorithms that the sender uses, such as "
			"[\"ed25519\"]");
	for (const struct node *n = at->child; n; n = n->next) {
		if (!compile_string(c, n, &name))
			return false;
		if (!httpsig_alg_find(name, &alg))
			return compile_fail(c, n,
				"must be ed25519, ecdsa-p256-sha256, ecdsa-p384-sha384, "
				"rsa-pss-sha512, rsa-v1_5-sha256 or hmac-sha256");
		jose_allow(&hs->keys, alg);
	}
	return true;
}

/* ---- coverage ----------------------------------------------------------------------------------
 */

static bool is_lower_name(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] <= ' ' || s.data[i] >= 0x7f || (s.data[i] >= 'A' && s.data[i] <= 'Z'))
			return false;
	}
	return s.len > 0;
}

static bool read_cover_name(struct compile *c, const struct node *at, struct httpsig *hs)
{
	struct slice text;
	const char *kept;

	if (hs->cover_count == HTTPSIG_COMPONENTS_MAX)
		return compile_fail(c, at, "more than %d components", HTTPSIG_COMPONENTS_MAX);
	if (!compile_string(c, at, &text))
		return false;
	if (!is_lower_name(slice_sub(text, 0, text.len > 0 && text.data[0] == '"' ? 1 : text.len)))
		return compile_fail(c, at, "must be a component such as @method or content-type");
	if (!c->s->public_url &&
		(slice_eq_str(text, "@target-uri") || slice_eq_str(text, "@scheme")))
		return compile_fail(
			c, at, "the signature covers the URL: the source needs its public_url");
	kept = compile_keep_text(c, text);
	hs->cover[hs->cover_count++] = slice_str(kept);
	return kept != NULL;
}

static bool read_cover(struct compile *c, const struct node *node, struct httpsig *hs)
{
	const struct node *at = node_member(node, "cover");

	hs->is_default = !at;
	if (!at)
		return true;
	if (at->type != NODE_ARRAY)
		return compile_fail(c, at, "must be a list of components");
	for (const struct node *n = at->child; n; n = n->next) {
		if (!read_cover_name(c, n, hs))
			return false;
	}
	return true;
}

static bool put(struct buf *out, const char *before, struct slice name, const char *after)
{
	return buf_put_str(out, before, NULL) == ERR_OK &&
	       buf_put_slice(out, name, NULL) == ERR_OK && buf_put_str(out, after, NULL) == ERR_OK;
}

static bool put_cover(struct compile *c, struct slice name, struct buf *out)
{
	if (slice_eq_str(name, "@method"))
		return put(out, "{method}", SLICE_EMPTY, "");
	if (slice_eq_str(name, "@target-uri") && c->s->public_url)
		return put(out, "{url}", SLICE_EMPTY, "");
	if (slice_eq_str(name, "content-digest"))
		return put(out, "{body}", SLICE_EMPTY, "");
	if (name.data[0] == '@' || name.data[0] == '"')
		return true;
	return put(out, "{header:", name, "}");
}

static bool derive_signed(struct compile *c, const struct node *at, const struct httpsig *hs)
{
	static const struct slice usual[] = { SLICE_LIT("@method"), SLICE_LIT("@target-uri"),
		SLICE_LIT("content-digest") };
	const struct slice *list = hs->is_default ? usual : hs->cover;
	size_t count = hs->is_default ? ARRAY_LEN(usual) : hs->cover_count;
	struct buf text = BUF_INIT(KIB(8));
	bool ok = true;

	for (size_t i = 0; i < count && ok; i++)
		ok = put_cover(c, list[i], &text);
	c->no_memory |= !ok;
	c->way->sign_count = text.len > 0;
	if (ok && text.len > 0)
		ok = compile_template(c, at, buf_slice(&text), &c->way->signs[0]);
	buf_done(&text);
	return ok;
}

/* ---- the rest ----------------------------------------------------------------------------------
 */

bool httpsig_compile(struct compile *c, const struct node *verify)
{
	static const char *const names[] = { "algs", "cover", "label", "tag", NULL };
	const struct node *at = node_member(verify, "httpsig");
	struct httpsig *hs;

	if (!at)
		return compile_fail(c, verify,
			"httpsig is missing: which signatures are taken, such as "
			"{\"algs\": [\"ed25519\"]}?");
	if (!compile_members(c, at, names))
		return false;
	hs = compile_keep(c, sizeof(*hs));
	c->way->state = hs;
	return hs && compile_time(c, verify) && read_algs(c, at, hs) && read_cover(c, at, hs) &&
	       compile_text(c, at, "label", &hs->label) && compile_text(c, at, "tag", &hs->tag) &&
	       derive_signed(c, at, hs);
}

bool httpsig_key(struct compile *c, size_t key, const struct node *at, struct slice text)
{
	struct httpsig *hs = c->way->state;

	return hs && jose_key(c, &hs->keys, key, at, text);
}

void httpsig_close(struct way *way)
{
	struct httpsig *hs = way->state;

	if (hs)
		jose_close(&hs->keys);
}
