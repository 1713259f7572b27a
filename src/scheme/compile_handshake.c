/* compile_handshake.c - guarded replies that a sender asks for before it sends events.
 *
 * Deliberately not here: answering (answer.c). */
#include "scheme_priv.h"

static bool reads_body(const struct part *part)
{
	return part->kind == REF_JSON || part->kind == REF_FORM || part->kind == REF_BODY;
}

static bool template_reads_body(const struct template *t)
{
	for (size_t i = 0; i < t->count; i++) {
		if (reads_body(&t->parts[i]))
			return true;
	}
	return false;
}

static bool read_condition(struct compile *c, const struct node *at, struct when *out)
{
	struct slice text;

	if (!compile_ref(c, at, slice_str(at->name), &out->ref))
		return false;
	if (out->ref.kind == REF_HEADERS)
		return compile_fail(c, at, "only sig may name several headers with a *");
	if (at->type == NODE_BOOL) {
		out->present = true;
		return at->boolean || compile_fail(c, at, "must be a template or true");
	}
	return compile_string(c, at, &text) && compile_template(c, at, text, &out->value);
}

static bool read_when(struct compile *c, const struct node *at, struct handshake *out)
{
	if (at->type != NODE_OBJECT)
		return compile_fail(c, at, "must be an object of reference: template");
	for (const struct node *m = at->child; m; m = m->next) {
		if (slice_starts(slice_str(m->name), SLICE_LIT("//")))
			continue;
		if (out->when_count == ARRAY_LEN(out->when))
			return compile_fail(c, m, "more than %zu conditions", ARRAY_LEN(out->when));
		if (!read_condition(c, m, &out->when[out->when_count++]))
			return false;
	}
	return true;
}

/* What a sender chose must not come back as anything but plain text. */
static bool check_echo(struct compile *c, const struct node *reply, const struct handshake *h)
{
	bool echoes = false;

	for (size_t i = 0; i < h->body.count; i++)
		echoes |= h->body.parts[i].kind != REF_LITERAL;
	if (echoes && !slice_eq_str(slice_str(h->content_type), "text/plain"))
		return compile_fail(c, reply, "an echo must be text/plain");
	if (template_has(&h->body, REF_SECRET))
		return compile_fail(c, reply, "a reply must not tell a secret");
	if (h->status == 204 && h->body.count > 0)
		return compile_fail(c, reply, "an answer 204 has no body");
	return true;
}

static bool read_reply(struct compile *c, const struct node *reply, struct handshake *out)
{
	static const char *const names[] = { "status", "type", "body", "json", "headers", NULL };
	const struct node *status, *type, *body;
	struct slice text;

	if (!compile_members(c, reply, names))
		return false;
	if (node_member(reply, "json"))
		return compile_unsupported(c, node_member(reply, "json"), "a reply in JSON");
	if (node_member(reply, "headers"))
		return compile_unsupported(c, node_member(reply, "headers"), "headers of a reply");
	status = node_member(reply, "status");
	type = node_member(reply, "type");
	body = node_member(reply, "body");
	if (status && !compile_status(c, status, 200, 299, &out->status))
		return false;
	if (type && !compile_content_type(c, type, &out->content_type))
		return false;
	if (body &&
		(!compile_string(c, body, &text) || !compile_template(c, body, text, &out->body)))
		return false;
	return check_echo(c, reply, out);
}

/* Nothing of the body is read before its signature holds. */
static bool check_unsigned(struct compile *c, const struct node *at, const struct handshake *h)
{
	bool reads = template_reads_body(&h->body);

	for (size_t i = 0; i < h->when_count; i++)
		reads |= reads_body(&h->when[i].ref) || template_reads_body(&h->when[i].value);
	if (reads)
		return compile_fail(c, at, "reads the body, so it must be \"signed\": true");
	return true;
}

static bool read_method(struct compile *c, const struct node *at, const char **out)
{
	static const char *const methods[] = { "POST", "GET" };
	struct slice text;

	if (!compile_string(c, at, &text))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		if (slice_eq_str(text, methods[i])) {
			*out = methods[i];
			return true;
		}
	}
	return compile_fail(c, at, "must be \"POST\" or \"GET\"");
}

static bool read_one(struct compile *c, const struct node *at, struct handshake *out)
{
	static const char *const names[] = { "method", "when", "signed", "reply", "learn", "visit",
		NULL };
	const struct node *method, *when, *is_signed, *reply;

	if (!compile_members(c, at, names))
		return false;
	if (node_member(at, "learn"))
		return compile_unsupported(c, node_member(at, "learn"), "learn");
	if (node_member(at, "visit"))
		return compile_unsupported(c, node_member(at, "visit"), "visit");
	*out = (struct handshake){ .method = "POST", .status = 200, .content_type = "text/plain" };
	method = node_member(at, "method");
	when = node_member(at, "when");
	is_signed = node_member(at, "signed");
	reply = node_member(at, "reply");
	if (!when || !reply)
		return compile_fail(c, at, "needs when and reply");
	if (is_signed && is_signed->type != NODE_BOOL)
		return compile_fail(c, is_signed, "must be true or false");
	out->is_signed = is_signed && is_signed->boolean;
	if ((method && !read_method(c, method, &out->method)) || !read_when(c, when, out) ||
		!read_reply(c, reply, out))
		return false;
	return out->is_signed || check_unsigned(c, at, out);
}

bool compile_handshakes(struct compile *c, const struct node *list)
{
	struct scheme *s = c->s;
	bool ok = true;

	if (list->type == NODE_STRING && slice_eq_str(slice_str(list->string), "none"))
		return true;
	if (list->type != NODE_ARRAY)
		return compile_fail(c, list, "must be a list");
	for (const struct node *at = list->child; at; at = at->next) {
		if (s->handshake_count == HANDSHAKES_MAX)
			return compile_fail(c, at, "more than %d handshakes", HANDSHAKES_MAX);
		ok &= read_one(c, at, &s->handshakes[s->handshake_count++]);
	}
	return ok;
}
