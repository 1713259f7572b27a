/* pattern.c - how one entry of a signature header is written, "v1={hex}", and taken apart.
 *
 * A placeholder runs to the first place of the text that follows it, the last one to the end; so
 * there is one way to read an entry. Deliberately not here: splitting into entries (verify.c). */
#include "scheme_priv.h"
#include "postern/text.h"

static const struct {
	const char *name;
	enum coding coding;
} codings[] = {
	{ "hex", CODING_HEX },
	{ "base64", CODING_BASE64 },
	{ "token", CODING_TOKEN },
};

/* What a signature of the algorithm may be written as. */
static bool may_be(const struct alg *alg, enum coding coding)
{
	switch (alg->kind) {
	case ALG_TOKEN: return coding == CODING_TOKEN;
	case ALG_BASIC: return coding == CODING_BASE64;
	case ALG_MODULE: return true;
	case ALG_MAC:
	case ALG_DIGEST:
	case ALG_PUBLIC:
	case ALG_NONE: break;
	}
	return coding != CODING_TOKEN;
}

static bool add_signature(struct compile *c, const struct node *at, struct slice name,
	struct pattern *p, struct pattern_part *out)
{
	for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
		if (!slice_eq_str(name, codings[i].name))
			continue;
		if (!may_be(c->way->alg, codings[i].coding))
			return compile_fail(c, at, "alg \"%s\" is not written {%s}",
				c->way->alg->name, codings[i].name);
		if (p->coding != CODING_NONE)
			return compile_fail(c, at, "two signatures in one entry");
		if (codings[i].coding == CODING_TOKEN && c->way->alg->kind == ALG_MAC)
			break;
		p->coding = codings[i].coding;
		out->kind = PATTERN_SIGNATURE;
		return true;
	}
	return compile_fail(c, at, "no such signature");
}

static bool add_cap(
	struct compile *c, const struct node *at, struct slice name, struct pattern_part *out)
{
	struct scheme *s = c->s;

	if (name.len == 0)
		return compile_fail(c, at, "a placeholder without a name");
	out->kind = PATTERN_CAP;
	for (out->cap = 0; out->cap < s->cap_count; out->cap++) {
		if (slice_eq_str(name, s->caps[out->cap]))
			return true;
	}
	if (s->cap_count == CAPS_MAX)
		return compile_fail(c, at, "more than %d captures", CAPS_MAX);
	s->caps[s->cap_count] = compile_keep_text(c, name);
	return s->caps[s->cap_count++] != NULL;
}

static bool add_placeholder(
	struct compile *c, const struct node *at, struct slice name, struct pattern *p)
{
	struct pattern_part *part = &p->parts[p->count];

	if (p->count > 0 && part[-1].kind != PATTERN_LITERAL)
		return compile_fail(c, at, "nothing tells two placeholders apart");
	if (slice_eq_str(name, "hex") || slice_eq_str(name, "base64") ||
		slice_eq_str(name, "token"))
		return add_signature(c, at, name, p, part);
	return add_cap(c, at, name, part);
}

bool compile_pattern(
	struct compile *c, const struct node *at, struct slice text, struct pattern *out)
{
	*out = (struct pattern){ .coding = CODING_NONE };
	for (; text.len > 0; out->count++) {
		size_t open = slice_find(text, '{'), close = slice_find(text, '}');

		if (out->count == PATTERN_PARTS_MAX)
			return compile_fail(
				c, at, "a pattern of more than %d parts", PATTERN_PARTS_MAX);
		if (open > 0) {
			struct pattern_part *part = &out->parts[out->count];

			if (close < open)
				return compile_fail(c, at, "a } without its {");
			*part = (struct pattern_part){ .kind = PATTERN_LITERAL, .len = open };
			part->text = compile_keep_text(c, slice_sub(text, 0, open));
			if (!part->text)
				return false;
			text = slice_sub(text, open, text.len);
			continue;
		}
		if (close == text.len)
			return compile_fail(c, at, "a { without its }");
		if (!add_placeholder(c, at, slice_sub(text, 1, close - 1), out))
			return false;
		text = slice_sub(text, close + 1, text.len);
	}
	return out->count > 0 || compile_fail(c, at, "an empty pattern");
}

static struct slice part_text(const struct pattern_part *part)
{
	return (struct slice){ (const uint8_t *)part->text, part->len };
}

bool pattern_match(
	const struct pattern *p, struct slice entry, struct slice *out_sig, struct slice *caps)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct pattern_part *part = &p->parts[i];
		size_t len = entry.len;

		if (part->kind == PATTERN_LITERAL) {
			struct slice have = slice_sub(entry, 0, part->len);

			if (!slice_eq(have, part_text(part)) &&
				!(p->any_case && slice_eq_nocase(have, part_text(part))))
				return false;
			entry = slice_sub(entry, part->len, entry.len);
			continue;
		}
		if (i + 1 < p->count) {
			len = slice_search(entry, part_text(&p->parts[i + 1]));
			if (len == entry.len)
				return false;
		}
		if (part->kind == PATTERN_SIGNATURE)
			*out_sig = slice_sub(entry, 0, len);
		else
			caps[part->cap] = slice_sub(entry, 0, len);
		entry = slice_sub(entry, len, entry.len);
	}
	return entry.len == 0;
}
