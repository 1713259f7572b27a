/* compile_around.c - what stands around verify: the mapping, handshakes, fixed answers.
 *
 * Deliberately not here: members of a source that are no part of its scheme; config checks those.
 */
#include "scheme_priv.h"

#include <assert.h>

static bool some_way_has_time(const struct scheme *s)
{
	for (size_t i = 0; i < s->way_count; i++) {
		if (s->ways[i].has_time)
			return true;
	}
	return false;
}

/* One alternative of a mapping. */
static bool add_choice(struct compile *c, const struct node *at, struct choice *out)
{
	struct template *t = &out->list[out->count];
	struct slice text;

	if (!compile_string(c, at, &text))
		return false;
	if (text.len == 0)
		return compile_fail(c, at, "is empty; \"none\" takes a mapping away");
	if (slice_eq_str(text, "none"))
		return compile_fail(c, at, "\"none\" stands alone, not in a list");
	if (!compile_mapping(c, at, text, t))
		return false;
	if (template_has(t, REF_TIME) && !some_way_has_time(c->s))
		return compile_fail(c, at, "{time} is read, but verify has no time");
	out->count++;
	return true;
}

static bool read_choice(
	struct compile *c, const struct node *root, const char *name, struct choice *out)
{
	const struct node *at = node_member(root, name);
	bool ok = true;

	if (!at || (at->type == NODE_STRING && slice_eq_str(slice_str(at->string), "none")))
		return true;
	if (at->type != NODE_ARRAY)
		return add_choice(c, at, out);
	if (!at->child)
		return compile_fail(c, at, "an empty list; \"none\" takes a mapping away");
	for (const struct node *n = at->child; n && ok; n = n->next) {
		if (out->count == CHOICES_MAX)
			return compile_fail(c, n, "more than %d alternatives", CHOICES_MAX);
		ok = add_choice(c, n, out);
	}
	return ok;
}

static bool read_mapping(struct compile *c, const struct node *root)
{
	struct scheme *s = c->s;
	const struct {
		const char *name;
		struct choice *to;
	} rows[] = {
		{ "id", &s->id },
		{ "type", &s->type },
		{ "entity", &s->entity },
		{ "version", &s->version },
		{ "base", &s->base },
	};
	bool ok = true;

	if (!node_member(root, "id"))
		ok = compile_fail(c, root,
			"id is missing: where is the identity of a delivery? "
			"(\"sha256:body\" when the sender gives none)");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		ok &= read_choice(c, root, rows[i].name, rows[i].to);
	return ok;
}

/* What the guide has and this program cannot do yet. "none" takes an inherited one away. */
static bool refuse_later(struct compile *c, const struct node *root)
{
	static const char *const names[] = { "items", "nonce", "refetch", "gap", "body" };
	bool ok = true;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct node *at = node_member(root, names[i]);

		if (at && !(at->type == NODE_STRING && slice_eq_str(slice_str(at->string), "none")))
			ok = compile_unsupported(c, at, names[i]);
	}
	return ok;
}

static bool read_ack(struct compile *c, const struct node *root)
{
	static const char *const names[] = { "status", "type", "body", NULL };
	const struct node *at = node_member(root, "ack");
	const struct node *status, *type, *body;
	struct scheme *s = c->s;
	struct slice text = SLICE_EMPTY;

	if (!at)
		return true;
	if (!compile_members(c, at, names))
		return false;
	status = node_member(at, "status");
	type = node_member(at, "type");
	body = node_member(at, "body");
	s->ack_status = 200;
	s->ack_type = "text/plain";
	if ((status && !compile_status(c, status, 200, 299, &s->ack_status)) ||
		(type && !compile_content_type(c, type, &s->ack_type)) ||
		(body && !compile_string(c, body, &text)))
		return false;
	if (text.len > SCHEME_ECHO_MAX)
		return compile_fail(c, body, "more than %zu bytes", SCHEME_ECHO_MAX);
	if (text.len > 0 && s->ack_status == 204)
		return compile_fail(c, body, "an answer 204 has no body");
	s->ack_body = compile_keep_text(c, text);
	return s->ack_body != NULL;
}

static bool read_reject(struct compile *c, const struct node *root)
{
	static const unsigned never[] = { 404, 406, 410 };
	const struct node *at = node_member(root, "reject");

	if (!at)
		return true;
	if (!compile_status(c, at, 400, 499, &c->s->reject_status))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(never); i++) {
		if (c->s->reject_status == never[i])
			return compile_fail(
				c, at, "senders take a %u for the end of the endpoint", never[i]);
	}
	return true;
}

static bool read_word(struct compile *c, const struct node *root, const char *name,
	const char *const *words, const char **out)
{
	const struct node *at = node_member(root, name);
	struct slice text;

	if (!at)
		return true;
	if (!compile_string(c, at, &text))
		return false;
	for (; *words; words++) {
		if (slice_eq_str(text, *words)) {
			*out = *words;
			return true;
		}
	}
	return compile_fail(c, at, "no such value of %s", name);
}

bool compile_around(struct compile *c, const struct node *root)
{
	static const char *const retries[] = { "none", "short", "patient", NULL };
	static const char *const scopes[] = { "none", "type", NULL };
	const struct node *handshake = node_member(root, "handshake");
	const char *scope = "none";
	bool ok;

	c->s->retries = "short";
	ok = read_mapping(c, root);
	ok &= refuse_later(c, root);
	ok &= read_ack(c, root);
	ok &= read_reject(c, root);
	ok &= read_word(c, root, "retries", retries, &c->s->retries);
	ok &= read_word(c, root, "replay_scope", scopes, &scope);
	c->s->replay_by_type = slice_eq_str(slice_str(scope), "type");
	if (c->s->replay_by_type)
		compile_warn(c, NULL,
			"replay_scope: equal bodies pass once for each type, and the type is not "
			"signed");
	if (handshake)
		ok &= compile_handshakes(c, handshake);
	ok &= compile_webhook_origin(c, root);
	return ok;
}
