/* compile_handshake.c - guarded replies that a sender asks for before it sends events.
 *
 * Deliberately not here: what they say (compile_reply.c), answering (answer.c). */
#include "scheme_priv.h"

#include <stdio.h>

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

static bool reply_reads_body(const struct handshake *h)
{
	bool reads = template_reads_body(&h->body);

	for (size_t i = 0; i < h->json_count; i++)
		reads |= template_reads_body(&h->json[i].value);
	for (size_t i = 0; i < h->header_count; i++)
		reads |= template_reads_body(&h->headers[i].value);
	return reads;
}

/* Nothing of the body is read before its signature holds - unless an operator waits for a key that
 * stands in it. */
static bool check_unsigned(struct compile *c, const struct node *at, const struct handshake *h)
{
	bool reads = reply_reads_body(h);

	if (h->learns)
		return true;
	for (size_t i = 0; i < h->when_count; i++)
		reads |= reads_body(&h->when[i].ref) || template_reads_body(&h->when[i].value);
	if (reads)
		return compile_fail(c, at, "reads the body, so it must be \"signed\": true");
	if (h->when_count == 0 && slice_eq_str(slice_str(h->method), "POST"))
		return compile_fail(c, at, "would answer every event: it needs a condition");
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

static bool read_learn(struct compile *c, const struct node *at, struct handshake *out)
{
	struct slice text;

	if (!compile_string(c, at, &text) || !compile_ref(c, at, text, &out->learn))
		return false;
	if ((out->learn.kind != REF_HEADER && out->learn.kind != REF_JSON) ||
		out->learn.function != FN_NONE)
		return compile_fail(c, at, "must be header:NAME or json:/POINTER");
	out->learns = true;
	return !out->is_signed ||
	       compile_fail(c, at, "what tells the key cannot be signed with it");
}

static bool read_is_signed(struct compile *c, const struct node *at, struct handshake *out)
{
	if (at && at->type != NODE_BOOL)
		return compile_fail(c, at, "must be true or false");
	out->is_signed = at && at->boolean;
	return true;
}

static bool read_one(struct compile *c, const struct node *at, struct handshake *out)
{
	static const char *const names[] = { "method", "when", "signed", "reply", "learn", "visit",
		"topic", NULL };
	const struct node *method, *when, *reply, *learn;

	if (!compile_members(c, at, names))
		return false;
	*out = (struct handshake){ .method = "POST", .status = 200, .content_type = "text/plain" };
	method = node_member(at, "method");
	when = node_member(at, "when");
	reply = node_member(at, "reply");
	learn = node_member(at, "learn");
	if (!when || (!reply && !learn && !node_member(at, "visit")))
		return compile_fail(c, at, "needs when and reply");
	if (!read_is_signed(c, node_member(at, "signed"), out) ||
		(method && !read_method(c, method, &out->method)) || !read_when(c, when, out) ||
		(reply && !compile_reply(c, reply, out)) || (learn && !read_learn(c, learn, out)) ||
		!compile_visit(c, at, out))
		return false;
	return out->is_signed || check_unsigned(c, at, out);
}

bool compile_learns(const struct node *root)
{
	const struct node *list = node_member(root, "handshake");

	for (const struct node *at = list ? list->child : NULL; at; at = at->next) {
		if (node_member(at, "learn"))
			return true;
	}
	return false;
}

/* One switch: who may ask for permission as the CloudEvents web hooks do. */
bool compile_webhook_origin(struct compile *c, const struct node *root)
{
	const struct node *at = node_member(root, "webhook_origin");
	double per_minute = c->source->rate.per_second * 60;
	struct scheme *s = c->s;
	struct slice text;

	if (!at)
		return true;
	if (!compile_string(c, at, &text))
		return false;
	if (text.len == 0)
		return compile_fail(c, at,
			"must be an origin such as \"events.example.com\", or \"*\" for any");
	s->webhook_origin = compile_keep_text(c, text);
	if (per_minute >= 1)
		(void)snprintf(s->webhook_rate, sizeof(s->webhook_rate), "%.0f", per_minute);
	else
		(void)snprintf(s->webhook_rate, sizeof(s->webhook_rate), "*");
	return s->webhook_origin != NULL;
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
