/* ref.c - references and templates: the texts of the language, taken apart once.
 *
 *   template    literal {reference} literal ...
 *   reference   header:NAME | json:/POINTER | body | ... | function(reference)
 *
 * Deliberately not here: values (eval.c). */
#include "scheme_priv.h"
#include "postern/text.h"

#include <stdio.h>

struct ref_row {
	const char *word; /* with a ':' where a name follows */
	enum ref_kind kind;
};

static const struct ref_row refs[] = {
	{ "body", REF_BODY },
	{ "method", REF_METHOD },
	{ "url", REF_URL },
	{ "url+port", REF_URL_WITH_PORT },
	{ "url-port", REF_URL_WITHOUT_PORT },
	{ "time", REF_TIME },
	{ "header:", REF_HEADER },
	{ "query:", REF_QUERY },
	{ "form:", REF_FORM },
	{ "json:", REF_JSON },
	{ "cap:", REF_CAP },
	{ "secret:", REF_SECRET },
	{ "form-sorted", REF_FORM_SORTED },
	{ "key", REF_KEY },
	{ "item:", REF_ITEM },
	{ "peer.san", REF_PEER_SAN },
};

static const struct {
	const char *name;
	enum ref_function function;
} functions[] = {
	{ "sha256hex", FN_SHA256_HEX },
	{ "sha256b64", FN_SHA256_BASE64 },
	{ "crc32", FN_CRC32 },
	{ "hmachex", FN_HMAC_HEX },
	{ "hmacb64", FN_HMAC_BASE64 },
};

static bool refuse_word(struct compile *c, const struct node *at, struct slice text)
{
	const char *names[ARRAY_LEN(refs) + 1] = { NULL };
	struct slice word = slice_sub(text, 0, slice_find(text, ':') + 1);
	char shown[80];

	for (size_t i = 0; i < ARRAY_LEN(refs); i++)
		names[i] = refs[i].word;
	text_printable(text, shown, sizeof(shown));
	return compile_fail(c, at,
		"\"%s\" is not a reference such as header:NAME or json:/POINTER%s", shown,
		compile_nearest(word, names));
}

static const struct ref_row *find_row(struct slice text)
{
	for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
		struct slice word = slice_str(refs[i].word);
		bool is_named = word.data[word.len - 1] == ':';

		if (is_named ? slice_starts(text, word) : slice_eq(text, word))
			return &refs[i];
	}
	return NULL;
}

/* Pointers that are read of the same text are scanned for together. */
struct paths {
	struct json_path **list;
	const char **pointers;
	size_t *count;
};

static bool add_to(struct compile *c, const struct node *at, struct part *part, struct paths to)
{
	struct err err = ERR_INIT;

	for (part->index = 0; part->index < *to.count; part->index++) {
		if (slice_eq_str(slice_str(to.pointers[part->index]), part->text))
			return true;
	}
	if (*to.count == JSON_PATHS_MAX)
		return compile_fail(c, at, "more than %d json: references", JSON_PATHS_MAX);
	if (json_path_open(slice_str(part->text), &to.list[*to.count], &err) != ERR_OK)
		return compile_fail(
			c, at, "\"%s\" is not a JSON pointer: %s", part->text, err.text);
	to.pointers[(*to.count)++] = part->text;
	return true;
}

static bool add_path(struct compile *c, const struct node *at, struct part *part)
{
	struct scheme *s = c->s;

	return add_to(c, at, part, (struct paths){ s->paths, s->pointers, &s->path_count });
}

static bool add_item(struct compile *c, const struct node *at, struct part *part)
{
	struct scheme *s = c->s;

	if (!c->takes_items)
		return compile_fail(
			c, at, "%s", c->way ? "item: goes with each" : "item: goes with items");
	if (part->len == 0)
		return true;
	return add_to(c, at, part,
		(struct paths){ s->item_paths, s->item_pointers, &s->item_path_count });
}

bool compile_pointer(
	struct compile *c, const struct node *at, struct slice pointer, struct part *out)
{
	*out = (struct part){ .kind = REF_JSON, .len = pointer.len };
	out->text = compile_keep_text(c, pointer);
	return out->text && add_path(c, at, out);
}

static bool add_cap(struct compile *c, const struct node *at, struct part *part)
{
	for (size_t i = 0; i < c->s->cap_count; i++) {
		if (slice_eq_str(slice_str(c->s->caps[i]), part->text)) {
			c->s->cap_read[i] = true;
			part->index = i;
			return true;
		}
	}
	return compile_fail(c, at, "no pattern of match captures {%s}", part->text);
}

static bool add_secret(struct compile *c, const struct node *at, struct part *part)
{
	for (size_t i = 0; i < c->s->secret_count; i++) {
		if (slice_eq_str(slice_str(c->s->secrets[i].name), part->text)) {
			part->index = i;
			return true;
		}
	}
	return compile_fail(c, at, "the source has no \"%s\" in its secrets", part->text);
}

static bool is_header_name(struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		uint8_t ch = name.data[i];
		bool ok = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
			  (ch >= '0' && ch <= '9') || (ch && strchr("!#$%&'+-.^_`|~", ch));

		if (!ok)
			return false;
	}
	return name.len > 0;
}

/* A star at the end: the caller knows whether it may be there. */
static bool add_header(struct compile *c, const struct node *at, struct part *part)
{
	if (part->len > 0 && part->text[part->len - 1] == '*') {
		part->kind = REF_HEADERS;
		part->len--;
	}
	if (!is_header_name((struct slice){ (const uint8_t *)part->text, part->len }))
		return compile_fail(c, at, "\"%s\" is not the name of a header", part->text);
	return true;
}

/* What is as long as a body is put together while a request is verified, and not elsewhere. */
static bool in_verify(struct compile *c, const struct node *at)
{
	if (!c->way)
		return compile_fail(c, at, "this reference belongs into verify");
	c->s->decoded_bodies++;
	return true;
}

/* A name is compared with, and nothing else: of several there is no one value. */
static bool check_peer(struct compile *c, const struct node *at)
{
	if (!c->in_require)
		return compile_fail(c, at, "peer.san goes with require");
	return c->source->has_client_ca ||
	       compile_fail(c, at,
		       "no client shows a certificate: peer.san needs client_ca in ingress.tls");
}

static bool finish_ref(struct compile *c, const struct node *at, struct part *part)
{
	switch (part->kind) {
	case REF_HEADER: return add_header(c, at, part);
	case REF_JSON: return add_path(c, at, part);
	case REF_ITEM: return add_item(c, at, part);
	case REF_CAP: return add_cap(c, at, part);
	case REF_SECRET: return add_secret(c, at, part);
	case REF_QUERY:
	case REF_FORM:
		if (part->len == 0)
			return compile_fail(c, at, "the reference names no parameter");
		return true;
	case REF_URL:
	case REF_URL_WITH_PORT:
	case REF_URL_WITHOUT_PORT:
		if (!c->s->public_url)
			return compile_fail(c, at,
				"the signature covers the URL: the source "
				"needs its public_url");
		return true;
	case REF_KEY:
		if (!c->way || c->way->alg->kind != ALG_DIGEST)
			return compile_fail(c, at, "only alg \"sha256\" signs its key");
		return true;
	case REF_FORM_SORTED: return in_verify(c, at);
	case REF_PEER_SAN: return check_peer(c, at);
	case REF_LITERAL:
	case REF_BODY:
	case REF_METHOD:
	case REF_TIME:
	case REF_LINES:
	case REF_HEADERS: break;
	}
	return true;
}

static bool plain_ref(struct compile *c, const struct node *at, struct slice text, struct part *out)
{
	const struct ref_row *row = find_row(text);

	if (!row)
		return refuse_word(c, at, text);
	*out = (struct part){ .kind = row->kind };
	text = slice_sub(text, strlen(row->word), text.len);
	out->text = compile_keep_text(c, text);
	out->len = text.len;
	return out->text && finish_ref(c, at, out);
}

/* "sha256:body", as mappings write it, is the same as sha256hex(body). */
static bool digest_ref(
	struct compile *c, const struct node *at, struct slice text, struct part *out)
{
	*out = (struct part){ .kind = REF_BODY, .function = FN_SHA256_HEX, .text = "" };
	if (slice_eq_str(text, "sha256:body"))
		return true;
	out->kind = REF_ITEM;
	if (slice_eq_str(text, "sha256:item"))
		return finish_ref(c, at, out);
	return refuse_word(c, at, text);
}

static bool is_member_name(struct slice name)
{
	return name.len > 0 && name.len <= 64 && slice_find(name, '/') == name.len &&
	       slice_find(name, '~') == name.len && slice_find(name, '\n') == name.len;
}

/* "A,B": a member of the body's object for each name. */
static bool lines_ref(
	struct compile *c, const struct node *at, struct slice names, struct part *out)
{
	struct lines *lines = compile_keep(c, sizeof(*lines));
	char pointer[80];

	if (!lines || !in_verify(c, at))
		return false;
	for (; names.len > 0; lines->count++) {
		struct slice name = slice_sub(names, 0, slice_find(names, ','));

		names = slice_sub(names, name.len + 1, names.len);
		if (lines->count == LINES_MAX || !is_member_name(name))
			return compile_fail(
				c, at, "lines( ) takes 1 to %d names of members", LINES_MAX);
		(void)snprintf(pointer, sizeof(pointer), "/%.*s", SLICE_FMT(name));
		if (!compile_pointer(c, at, slice_str(pointer), &lines->members[lines->count]))
			return false;
	}
	*out = (struct part){ .kind = REF_LINES, .text = "", .lines = lines };
	return lines->count > 0 || compile_fail(c, at, "lines( ) names no member");
}

bool compile_ref(struct compile *c, const struct node *at, struct slice text, struct part *out)
{
	size_t open = slice_find(text, '(');
	struct slice name = slice_sub(text, 0, open);

	if (slice_starts(text, SLICE_LIT("sha256:")))
		return digest_ref(c, at, text, out);
	if (text.len == 0 || open == text.len || text.data[text.len - 1] != ')')
		return plain_ref(c, at, text, out);
	if (slice_eq_str(name, "lines"))
		return lines_ref(c, at, slice_sub(text, open + 1, text.len - open - 2), out);
	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		if (!slice_eq_str(name, functions[i].name))
			continue;
		if (functions[i].function >= FN_HMAC_HEX && !c->in_reply)
			return compile_fail(
				c, at, "%s( ) is for replies of handshakes", functions[i].name);
		if (!plain_ref(c, at, slice_sub(text, open + 1, text.len - open - 2), out))
			return false;
		out->function = functions[i].function;
		return true;
	}
	return plain_ref(c, at, text, out);
}

static bool literal(struct compile *c, const struct node *at, struct slice text, struct part *out)
{
	if (slice_find(text, '}') < text.len)
		return compile_fail(c, at, "a } without its {");
	*out = (struct part){ .kind = REF_LITERAL, .len = text.len };
	out->text = compile_keep_text(c, text);
	return out->text != NULL;
}

/* The next part is taken off the text. */
static bool next_part(
	struct compile *c, const struct node *at, struct slice *text, struct part *out)
{
	size_t open = slice_find(*text, '{'), close;
	struct slice ref;

	if (open > 0) {
		struct slice plain = slice_sub(*text, 0, open);

		*text = slice_sub(*text, open, text->len);
		return literal(c, at, plain, out);
	}
	close = slice_find(*text, '}');
	if (close == text->len)
		return compile_fail(c, at, "a { without its }");
	ref = slice_sub(*text, 1, close - 1);
	*text = slice_sub(*text, close + 1, text->len);
	if (!compile_ref(c, at, ref, out))
		return false;
	if (out->kind == REF_HEADERS)
		return compile_fail(c, at, "only sig may name several headers with a *");
	return true;
}

static bool keep_parts(
	struct compile *c, const struct part *parts, size_t count, struct template *out)
{
	struct part *kept = compile_keep(c, (count ? count : 1) * sizeof(*kept));

	if (!kept)
		return false;
	if (count > 0)
		memcpy(kept, parts, count * sizeof(*kept));
	*out = (struct template){ .parts = kept, .count = count };
	return true;
}

bool compile_template(
	struct compile *c, const struct node *at, struct slice text, struct template *out)
{
	struct part parts[PARTS_MAX] = { 0 };
	size_t count = 0;

	while (text.len > 0) {
		if (count == PARTS_MAX)
			return compile_fail(c, at, "a template of more than %d parts", PARTS_MAX);
		if (!next_part(c, at, &text, &parts[count++]))
			return false;
	}
	return keep_parts(c, parts, count, out);
}

bool compile_mapping(
	struct compile *c, const struct node *at, struct slice text, struct template *out)
{
	struct part part = { 0 };

	if (slice_find(text, '{') < text.len) {
		if (!compile_template(c, at, text, out))
			return false;
		for (size_t i = 0; i < out->count; i++) {
			if (out->parts[i].kind == REF_SECRET)
				return compile_fail(c, at, "a secret is no part of an event");
		}
		return true;
	}
	if (!compile_ref(c, at, text, &part))
		return false;
	if (part.kind == REF_HEADERS || part.kind == REF_SECRET)
		return compile_fail(c, at, "this reference has no place here");
	return keep_parts(c, &part, 1, out);
}

bool template_has(const struct template *t, enum ref_kind kind)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->parts[i].kind == kind)
			return true;
	}
	return false;
}

void part_name(const struct part *part, char *out, size_t max)
{
	const char *word = "text";

	for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
		if (refs[i].kind == part->kind)
			word = refs[i].word;
	}
	if (part->kind == REF_LINES)
		word = "lines()";
	if (part->kind == REF_HEADERS)
		word = "header:";
	(void)snprintf(out, max, "%s%.*s%s", word, (int)part->len, part->text,
		part->kind == REF_HEADERS ? "*" : "");
}
