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

/* ---- what the body holds -----------------------------------------------------------------------
 */

/* The member, unless it is absent or "none", which takes an inherited one away. */
static const struct node *given(const struct node *root, const char *name)
{
	const struct node *at = node_member(root, name);

	if (at && at->type == NODE_STRING && slice_eq_str(slice_str(at->string), "none"))
		return NULL;
	return at;
}

/* Where the JSON stands, when the body is not it. References of verify may need it already. */
bool compile_form(struct compile *c, const struct node *root)
{
	const struct node *at = given(root, "body");
	struct scheme *s = c->s;
	struct slice text;

	if (!at)
		return true;
	if (!compile_string(c, at, &text) || !compile_ref(c, at, text, &s->form))
		return false;
	if (s->form.kind != REF_FORM || s->form.function != FN_NONE)
		return compile_fail(c, at, "must be form:NAME, the field that holds the JSON");
	s->has_form = true;
	s->decoded_bodies++;
	return true;
}

static bool read_items(struct compile *c, const struct node *root)
{
	const struct node *at = given(root, "items");
	struct scheme *s = c->s;
	struct slice text;

	if (!at)
		return true;
	s->splits = compile_string(c, at, &text) && compile_pointer(c, at, text, &s->items);
	c->takes_items = s->splits;
	return s->splits;
}

static bool read_place(struct compile *c, const struct node *at, struct part *out)
{
	struct slice text;

	if (!compile_string(c, at, &text) || !compile_ref(c, at, text, out))
		return false;
	switch (out->kind) {
	case REF_HEADER:
	case REF_QUERY:
	case REF_FORM:
	case REF_JSON:
	case REF_CAP: return true;
	case REF_LITERAL:
	case REF_BODY:
	case REF_METHOD:
	case REF_URL:
	case REF_URL_WITH_PORT:
	case REF_URL_WITHOUT_PORT:
	case REF_TIME:
	case REF_KEY:
	case REF_FORM_SORTED:
	case REF_LINES:
	case REF_ITEM:
	case REF_HEADERS:
	case REF_PEER_SAN:
	case REF_SECRET: break;
	}
	return compile_fail(c, at, "must be a place such as header:NAME or json:/POINTER");
}

static bool read_nonce(struct compile *c, const struct node *root)
{
	const struct node *at = given(root, "nonce");

	if (!at)
		return true;
	c->s->has_nonce = read_place(c, at, &c->s->nonce);
	return c->s->has_nonce;
}

static bool read_refetch(struct compile *c, const struct node *root)
{
	const struct node *at = given(root, "refetch");

	if (!at)
		return true;
	if (at->type != NODE_BOOL)
		return compile_fail(c, at, "must be true or false");
	c->s->refetch = at->boolean;
	return true;
}

static bool read_gap(struct compile *c, const struct node *root)
{
	const struct node *at = given(root, "gap");
	struct scheme *s = c->s;

	if (!at)
		return true;
	if (at->type != NODE_ARRAY || node_count(at) != 2)
		return compile_fail(
			c, at, "must be two references: the first and the last number of a batch");
	s->has_gap =
		read_place(c, at->child, &s->gap[0]) && read_place(c, at->child->next, &s->gap[1]);
	return s->has_gap;
}

/* ---- fixed answers -----------------------------------------------------------------------------
 */

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
	c->takes_items = false;
	ok = read_items(c, root);
	ok = ok && read_mapping(c, root);
	c->takes_items = false;
	ok &= read_nonce(c, root);
	ok &= read_refetch(c, root);
	ok &= read_gap(c, root);
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
	ok &= compile_topics(c, root);
	return ok;
}
