/* ref.c - references and templates: the texts of the language, taken apart once.
 *
 *   template    literal {reference} literal ...
 *   reference   header:NAME | json:/POINTER | body | ... | function(reference)
 *
 * What the guide names and this program cannot do yet is in the table too, so that it is refused as
 * such and not as a typing error. Deliberately not here: values (eval.c). */
#include "scheme_priv.h"
#include "postern/text.h"

#include <stdio.h>

struct ref_row {
	const char *word; /* with a ':' where a name follows */
	enum ref_kind kind;
	bool is_built;
};

static const struct ref_row refs[] = {
	{ "body", REF_BODY, true },
	{ "method", REF_METHOD, true },
	{ "url", REF_URL, true },
	{ "url+port", REF_URL_WITH_PORT, true },
	{ "url-port", REF_URL_WITHOUT_PORT, true },
	{ "time", REF_TIME, true },
	{ "header:", REF_HEADER, true },
	{ "query:", REF_QUERY, true },
	{ "form:", REF_FORM, true },
	{ "json:", REF_JSON, true },
	{ "cap:", REF_CAP, true },
	{ "secret:", REF_SECRET, true },
	{ "form-sorted", REF_LITERAL, false },
	{ "key", REF_LITERAL, false },
	{ "item:", REF_LITERAL, false },
};

static const struct {
	const char *name;
	enum ref_function function;
	bool is_built;
} functions[] = {
	{ "sha256hex", FN_SHA256_HEX, true },
	{ "sha256b64", FN_SHA256_BASE64, true },
	{ "crc32", FN_CRC32, true },
	{ "lines", FN_NONE, false },
	{ "hmachex", FN_HMAC_HEX, true },
	{ "hmacb64", FN_HMAC_BASE64, true },
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

static bool add_path(struct compile *c, const struct node *at, struct part *part)
{
	struct err err = ERR_INIT;
	struct scheme *s = c->s;

	for (part->index = 0; part->index < s->path_count; part->index++) {
		if (slice_eq_str(slice_str(s->pointers[part->index]), part->text))
			return true;
	}
	if (s->path_count == JSON_PATHS_MAX)
		return compile_fail(c, at, "more than %d json: references", JSON_PATHS_MAX);
	if (json_path_open(slice_str(part->text), &s->paths[s->path_count], &err) != ERR_OK)
		return compile_fail(
			c, at, "\"%s\" is not a JSON pointer: %s", part->text, err.text);
	s->pointers[s->path_count++] = part->text;
	return true;
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

static bool finish_ref(struct compile *c, const struct node *at, struct part *part)
{
	switch (part->kind) {
	case REF_HEADER: return add_header(c, at, part);
	case REF_JSON: return add_path(c, at, part);
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
	case REF_LITERAL:
	case REF_BODY:
	case REF_METHOD:
	case REF_TIME:
	case REF_HEADERS: break;
	}
	return true;
}

static bool plain_ref(struct compile *c, const struct node *at, struct slice text, struct part *out)
{
	const struct ref_row *row = find_row(text);
	char shown[80];

	if (!row)
		return refuse_word(c, at, text);
	if (!row->is_built) {
		text_printable(text, shown, sizeof(shown));
		return compile_unsupported(c, at, shown);
	}
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
	if (slice_eq_str(text, "sha256:item"))
		return compile_unsupported(c, at, "sha256:item");
	if (!slice_eq_str(text, "sha256:body"))
		return refuse_word(c, at, text);
	*out = (struct part){ .kind = REF_BODY, .function = FN_SHA256_HEX, .text = "" };
	return true;
}

bool compile_ref(struct compile *c, const struct node *at, struct slice text, struct part *out)
{
	size_t open = slice_find(text, '(');
	struct slice name = slice_sub(text, 0, open);

	if (slice_starts(text, SLICE_LIT("sha256:")))
		return digest_ref(c, at, text, out);
	if (text.len == 0 || open == text.len || text.data[text.len - 1] != ')')
		return plain_ref(c, at, text, out);
	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		if (!slice_eq_str(name, functions[i].name))
			continue;
		if (!functions[i].is_built)
			return compile_unsupported(c, at, functions[i].name);
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
		if (refs[i].is_built && refs[i].kind == part->kind)
			word = refs[i].word;
	}
	if (part->kind == REF_HEADERS)
		word = "header:";
	(void)snprintf(out, max, "%s%.*s%s", word, (int)part->len, part->text,
		part->kind == REF_HEADERS ? "*" : "");
}
