/* compile_reply.c - what a handshake answers: a status, a text or real JSON, a few headers.
 *
 * What a sender chose comes back as plain text, as a JSON string or as a header, never as anything
 * that a browser would run. Deliberately not here: when it answers (compile_handshake.c). */
#include "scheme_priv.h"

#define REPLY_DEPTH_MAX 4

static bool is_echo_of_secret(const struct template *t)
{
	return template_has(t, REF_SECRET);
}

static bool read_template(
	struct compile *c, const struct node *at, struct slice text, struct template *out)
{
	bool ok;

	c->in_reply = true;
	ok = compile_template(c, at, text, out);
	c->in_reply = false;
	if (ok && is_echo_of_secret(out))
		return compile_fail(c, at, "a reply must not tell a secret");
	return ok;
}

/* ---- JSON --------------------------------------------------------------------------------------
 */

struct json_reply {
	struct compile *c;
	struct reply_piece pieces[REPLY_PIECES_MAX];
	size_t count;
	struct buf raw; /* what stands before the next template */
};

static bool flush(struct json_reply *r, const struct node *at)
{
	if (r->raw.len == 0)
		return true;
	if (r->count == REPLY_PIECES_MAX)
		return compile_fail(r->c, at, "a reply of more than %d parts", REPLY_PIECES_MAX);
	r->pieces[r->count].raw = compile_keep_text(r->c, buf_slice(&r->raw));
	buf_reset(&r->raw);
	return r->pieces[r->count++].raw != NULL;
}

static bool put_string(struct json_reply *r, const struct node *at)
{
	struct slice text;

	if (!compile_string(r->c, at, &text))
		return false;
	if (slice_find(text, '{') == text.len && slice_find(text, '}') == text.len)
		return json_put_string(&r->raw, text, NULL) == ERR_OK;
	if (!flush(r, at))
		return false;
	if (r->count == REPLY_PIECES_MAX)
		return compile_fail(r->c, at, "a reply of more than %d parts", REPLY_PIECES_MAX);
	return read_template(r->c, at, text, &r->pieces[r->count++].value);
}

static bool put_value(struct json_reply *r, const struct node *at, unsigned depth);

static bool put_children(struct json_reply *r, const struct node *at, unsigned depth)
{
	bool is_object = at->type == NODE_OBJECT;

	if (depth == REPLY_DEPTH_MAX)
		return compile_fail(r->c, at, "nested more than %d deep", REPLY_DEPTH_MAX);
	if (buf_put_str(&r->raw, is_object ? "{" : "[", NULL) != ERR_OK)
		return false;
	for (const struct node *m = at->child; m; m = m->next) {
		if (m != at->child && buf_put_str(&r->raw, ",", NULL) != ERR_OK)
			return false;
		if (is_object && (json_put_string(&r->raw, slice_str(m->name), NULL) != ERR_OK ||
					 buf_put_str(&r->raw, ":", NULL) != ERR_OK))
			return false;
		if (!put_value(r, m, depth + 1))
			return false;
	}
	return buf_put_str(&r->raw, is_object ? "}" : "]", NULL) == ERR_OK;
}

static bool put_value(struct json_reply *r, const struct node *at, unsigned depth)
{
	switch (at->type) {
	case NODE_NULL: return buf_put_str(&r->raw, "null", NULL) == ERR_OK;
	case NODE_BOOL: return buf_put_str(&r->raw, at->boolean ? "true" : "false", NULL) == ERR_OK;
	case NODE_INTEGER: return buf_putf(&r->raw, NULL, "%lld", (long long)at->integer) == ERR_OK;
	case NODE_REAL: return compile_fail(r->c, at, "must be a whole number");
	case NODE_STRING: return put_string(r, at);
	case NODE_ARRAY:
	case NODE_OBJECT: return put_children(r, at, depth);
	}
	return false;
}

static bool read_json(struct compile *c, const struct node *at, struct handshake *out)
{
	struct json_reply r = { .c = c, .raw = BUF_INIT(SCHEME_ECHO_MAX) };
	struct reply_piece *kept = NULL;
	bool ok = put_value(&r, at, 0) && flush(&r, at);

	if (ok)
		kept = compile_keep(c, r.count * sizeof(*kept));
	/* Neither a problem nor a lack of memory that was told: there was no room. */
	else if (!c->failed && !c->no_memory)
		(void)compile_fail(c, at, "a reply of more than %zu bytes", SCHEME_ECHO_MAX);
	if (kept) {
		memcpy(kept, r.pieces, r.count * sizeof(*kept));
		out->json = kept;
		out->json_count = r.count;
	}
	buf_done(&r.raw);
	return kept != NULL;
}

/* ---- the rest ----------------------------------------------------------------------------------
 */

static bool read_headers(struct compile *c, const struct node *at, struct handshake *out)
{
	if (at->type != NODE_OBJECT)
		return compile_fail(c, at, "must be an object of name: template");
	for (const struct node *m = at->child; m; m = m->next) {
		struct reply_header *header = &out->headers[out->header_count];
		struct slice text, name = slice_str(m->name);

		if (slice_starts(name, SLICE_LIT("//")))
			continue;
		if (out->header_count == ARRAY_LEN(out->headers))
			return compile_fail(c, m, "more than %zu headers", ARRAY_LEN(out->headers));
		/* Nothing that frames, caches, redirects or sets a cookie. */
		if (name.len < 3 || !slice_eq_nocase(slice_sub(name, 0, 2), SLICE_LIT("X-")))
			return compile_fail(
				c, m, "only headers whose name starts with X- may be set");
		if (!compile_string(c, m, &text) || !read_template(c, m, text, &header->value))
			return false;
		header->name = compile_keep_text(c, name);
		if (!header->name)
			return false;
		out->header_count++;
	}
	return true;
}

/* What a sender chose must not come back as anything but plain text. */
static bool check_body(struct compile *c, const struct node *reply, const struct handshake *h)
{
	bool echoes = false;

	for (size_t i = 0; i < h->body.count; i++)
		echoes |= h->body.parts[i].kind != REF_LITERAL;
	if (echoes && !slice_eq_str(slice_str(h->content_type), "text/plain"))
		return compile_fail(c, reply, "an echo must be text/plain, or stand in json");
	if (h->status == 204 && (h->body.count > 0 || h->json))
		return compile_fail(c, reply, "an answer 204 has no body");
	return true;
}

/* Real JSON is said to be JSON, whatever the type says. */
static bool check_json(struct compile *c, const struct node *reply, struct handshake *out)
{
	const struct node *type = node_member(reply, "type");

	if (!out->json)
		return true;
	if (node_member(reply, "body"))
		return compile_fail(c, reply, "has either a body or json");
	if (type && !slice_eq_str(slice_str(out->content_type), "application/json"))
		return compile_fail(c, type, "json is application/json");
	out->content_type = "application/json";
	return true;
}

bool compile_reply(struct compile *c, const struct node *reply, struct handshake *out)
{
	static const char *const names[] = { "status", "type", "body", "json", "headers", NULL };
	const struct node *status, *type, *body, *json, *headers;
	struct slice text;

	if (!compile_members(c, reply, names))
		return false;
	status = node_member(reply, "status");
	type = node_member(reply, "type");
	body = node_member(reply, "body");
	json = node_member(reply, "json");
	headers = node_member(reply, "headers");
	if (status && !compile_status(c, status, 200, 299, &out->status))
		return false;
	if (type && !compile_content_type(c, type, &out->content_type))
		return false;
	if (body && (!compile_string(c, body, &text) || !read_template(c, body, text, &out->body)))
		return false;
	if ((json && !read_json(c, json, out)) || (headers && !read_headers(c, headers, out)))
		return false;
	return check_json(c, reply, out) && check_body(c, reply, out);
}
