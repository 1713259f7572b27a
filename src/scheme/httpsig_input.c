/* httpsig_input.c - Signature-Input and Signature, taken apart.
 *
 *   Signature-Input: sig1=("@method" "content-digest");created=1618884473;keyid="k", sig2=...
 *   Signature:       sig1=:...:, sig2=:...:
 *
 * Deliberately not here: what the components are (httpsig_base.c). */
#include "httpsig.h"

static bool same_text(struct slice a, const char *b)
{
	return slice_eq_str(a, b);
}

/* ---- components --------------------------------------------------------------------------------
 */

/* ;req is for responses and ;tr for trailers: neither is here. */
static bool read_component_params(struct sfv *p, struct httpsig_component *c)
{
	struct sfv_value v;
	struct slice key;

	while (sfv_param(p, &key, &v)) {
		bool is_true = v.type == SFV_BOOLEAN && v.number == 1;

		if (same_text(key, "sf") && is_true && !c->sf)
			c->sf = true;
		else if (same_text(key, "bs") && is_true && !c->bs)
			c->bs = true;
		else if (same_text(key, "key") && v.type == SFV_STRING && !c->key.data)
			c->key = v.text;
		else if (same_text(key, "name") && v.type == SFV_STRING && !c->param.data)
			c->param = v.text;
		else
			return false;
	}
	return !p->failed;
}

static bool is_name(struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];

		if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || (c >= 'A' && c <= 'Z'))
			return false;
	}
	return name.len > 0;
}

static bool read_component(struct sfv *p, struct httpsig_label *l)
{
	struct httpsig_component *c = &l->components[l->count];
	size_t at = p->canon->len;
	struct sfv_value v;

	if (l->count == HTTPSIG_COMPONENTS_MAX || !sfv_item(p, &v) || v.type != SFV_STRING ||
		!is_name(v.text))
		return false;
	*c = (struct httpsig_component){ .name = v.text };
	if (!read_component_params(p, c) || (c->bs && (c->sf || c->key.data)))
		return false;
	c->id = (struct slice){ p->canon->data + at, p->canon->len - at };
	for (size_t i = 0; i < l->count; i++) {
		if (slice_eq(l->components[i].id, c->id))
			return false;
	}
	l->count++;
	return true;
}

/* ---- parameters --------------------------------------------------------------------------------
 */

static bool read_number(struct sfv_value v, bool *has, int64_t *out)
{
	if (v.type != SFV_INTEGER || *has)
		return false;
	*has = true;
	*out = v.number;
	return true;
}

static bool read_text(struct sfv_value v, bool *has, struct slice *out)
{
	if (v.type != SFV_STRING || *has)
		return false;
	*has = true;
	*out = v.text;
	return true;
}

/* Others are signed like these, and say nothing here. */
static bool read_params(struct sfv *p, struct httpsig_label *l)
{
	struct slice key, nonce;
	bool has_nonce = false;
	struct sfv_value v;

	while (sfv_param(p, &key, &v)) {
		bool ok = true;

		if (same_text(key, "created"))
			ok = read_number(v, &l->has_created, &l->created_s);
		else if (same_text(key, "expires"))
			ok = read_number(v, &l->has_expires, &l->expires_s);
		else if (same_text(key, "keyid"))
			ok = read_text(v, &l->has_kid, &l->kid);
		else if (same_text(key, "alg"))
			ok = read_text(v, &l->has_alg, &l->alg);
		else if (same_text(key, "tag"))
			ok = read_text(v, &l->has_tag, &l->tag);
		else if (same_text(key, "nonce"))
			ok = read_text(v, &has_nonce, &nonce);
		if (!ok)
			return false;
	}
	return !p->failed;
}

/* ---- both fields -------------------------------------------------------------------------------
 */

static bool read_label(struct sfv *p, struct slice key, struct httpsig_label *l)
{
	struct sfv_value v;
	bool is_list, is_first = true;
	size_t at;

	*l = (struct httpsig_label){ .label = key };
	if (!sfv_member_value(p, &v, &is_list) || !is_list)
		return false;
	at = p->canon->len;
	if (!sfv_list_open(p))
		return false;
	while (sfv_list_next(p, &is_first)) {
		if (!read_component(p, l))
			return false;
	}
	if (p->failed || !read_params(p, l))
		return false;
	l->params = (struct slice){ p->canon->data + at, p->canon->len - at };
	return true;
}

static const char *read_input(struct slice field, struct httpsig_input *out)
{
	struct sfv p = { .rest = field, .canon = &out->canon, .text = &out->text };
	struct sfv_members seen = { .count = 0 };
	struct slice key;

	while (sfv_member(&p, &seen, &key)) {
		if (out->count == HTTPSIG_LABELS_MAX)
			return "more than 16 signatures";
		if (!read_label(&p, key, &out->labels[out->count]))
			return "a Signature-Input that cannot be read";
		out->count++;
	}
	return p.failed || out->count == 0 ? "a Signature-Input that cannot be read" : NULL;
}

static const char *read_signatures(struct slice field, struct httpsig_input *out)
{
	struct sfv p = { .rest = field, .canon = &out->canon, .text = &out->text };
	struct sfv_members seen = { .count = 0 };
	struct sfv_value v;
	struct slice key;

	while (sfv_member(&p, &seen, &key)) {
		if (!sfv_skip_value(&p, &v) || v.type != SFV_BYTES)
			return "a Signature that cannot be read";
		for (size_t i = 0; i < out->count; i++) {
			if (slice_eq(out->labels[i].label, key))
				out->labels[i].signature = v.text;
		}
	}
	return p.failed ? "a Signature that cannot be read" : NULL;
}

const char *httpsig_read(struct slice input, struct slice signature, struct httpsig_input *out)
{
	size_t room = 2 * (input.len + signature.len) + 64;
	const char *why;

	out->count = 0;
	out->canon = BUF_INIT(4 * HTTPSIG_FIELD_MAX + KIB(1));
	out->text = BUF_INIT(4 * HTTPSIG_FIELD_MAX + KIB(1));
	if (input.len > HTTPSIG_FIELD_MAX || signature.len > HTTPSIG_FIELD_MAX)
		return "a Signature-Input or Signature that is too long";
	if (buf_reserve(&out->canon, room, NULL) != ERR_OK ||
		buf_reserve(&out->text, room, NULL) != ERR_OK)
		return "no memory";
	why = read_input(input, out);
	return why ? why : read_signatures(signature, out);
}

void httpsig_input_done(struct httpsig_input *in)
{
	buf_done(&in->canon);
	buf_done(&in->text);
}
