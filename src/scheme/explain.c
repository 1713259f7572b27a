/* explain.c - the known mistakes, in the order in which they are tried, and what is said of them.
 *
 *   wrong place -> wrong key -> read or written differently -> changed on the way -> other sender
 *
 * Deliberately not here: how a trial is made (explain_edit.c, explain_body.c). */
#include "explain_priv.h"
#include "postern/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BODY_MAX MIB(64)

struct explainer {
	const struct scheme_question *q;
	struct scheme_explanation *out;
};

static bool say(struct explainer *e, const char *mistake, const char *fmt, ...) PRINTF_LIKE(3, 4);
static bool say(struct explainer *e, const char *mistake, const char *fmt, ...)
{
	va_list args;

	e->out->mistake = mistake;
	va_start(args, fmt);
	(void)vsnprintf(e->out->text, sizeof(e->out->text), fmt, args);
	va_end(args);
	return true;
}

static bool fix(struct explainer *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
static bool fix(struct explainer *e, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(e->out->fix, sizeof(e->out->fix), fmt, args);
	va_end(args);
	return true;
}

/* A preset's verify is changed by extending it. */
static bool fix_member(struct explainer *e, const char *member, const char *value)
{
	const struct source_config *source = e->q->source;

	if (source->preset)
		return fix(e,
			"in /sources/%s write \"extends\": \"%s\", \"verify\": {\"%s\": \"%s\"} in "
			"place of \"preset\", then: postern reload",
			source->name, source->preset, member, value);
	return fix(e, "in /sources/%s/verify write \"%s\": \"%s\", then: postern reload",
		source->name, member, value);
}

/* ---- headers -----------------------------------------------------------------------------------
 */

static bool has_header(const struct scheme_question *q, struct slice name)
{
	for (size_t i = 0; i < q->rq->header_count; i++) {
		if (slice_eq_nocase(q->rq->headers[i].name, name))
			return true;
	}
	return false;
}

/* One name holds the other ("X-Hub-Signature-256"), or a few letters differ. */
static bool is_similar(struct slice have, struct slice want)
{
	char a[80], b[80];
	size_t len = have.len < want.len ? have.len : want.len;

	if (have.len == 0 || have.len >= sizeof(a) || want.len >= sizeof(b))
		return false;
	for (size_t i = 0; i <= have.len; i++)
		a[i] = (char)(i < have.len ? have.data[i] | 0x20 : 0);
	for (size_t i = 0; i <= want.len; i++)
		b[i] = (char)(i < want.len ? want.data[i] | 0x20 : 0);
	return (len >= 8 && strncmp(a, b, len) == 0) ||
	       text_distance(slice_str(a), slice_str(b)) <= 3;
}

static const struct header *similar_header(const struct scheme_question *q, struct slice want)
{
	for (size_t i = 0; want.len > 0 && i < q->rq->header_count; i++) {
		if (is_similar(q->rq->headers[i].name, want))
			return &q->rq->headers[i];
	}
	return NULL;
}

static bool tell_similar_header(struct explainer *e, bool must_fit)
{
	struct slice want = explain_sig_header(e->q);
	const struct header *have = has_header(e->q, want) ? NULL : similar_header(e->q, want);
	char sig[100];
	bool fits;

	if (!have)
		return false;
	(void)snprintf(sig, sizeof(sig), "header:%.*s", SLICE_FMT(have->name));
	fits = explain_with_member(e->q, "sig", sig);
	return (fits || !must_fit) &&
	       say(e, "header_name", "there is no %.*s, but a %.*s%s", SLICE_FMT(want),
		       SLICE_FMT(have->name), fits ? ", and its signature fits" : "") &&
	       fix_member(e, "sig", sig);
}

static bool try_similar_header(struct explainer *e)
{
	return tell_similar_header(e, true);
}

/* The name alone is worth a word where nothing fits. */
static bool name_similar_header(struct explainer *e)
{
	return tell_similar_header(e, false);
}

/* ---- the signature's own text ------------------------------------------------------------------
 */

static bool unquote(struct slice text, char *out, size_t max)
{
	return text.len > 2 && text.len < max && text.data[0] == '"' &&
	       text.data[text.len - 1] == '"' &&
	       snprintf(out, max, "%.*s", SLICE_FMT(slice_sub(text, 1, text.len - 2))) > 0;
}

static bool from_base64url(struct slice text, char *out, size_t max)
{
	bool differs = false;

	if (text.len >= max)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		out[i] = (char)(c == '-' ? '+' : c == '_' ? '/' : c);
		differs |= c == '-' || c == '_';
	}
	out[text.len] = '\0';
	return differs;
}

static const struct {
	bool (*change)(struct slice text, char *out, size_t max);
	const char *mistake, *text, *fix;
} signature_changes[] = {
	{ unquote, "signature_quoted", "the signature stands in quotes",
		"find out who puts the quotes there: the sender's header, or a proxy's" },
	{ from_base64url, "signature_base64url",
		"the signature is written with - and _ in place of + and / (base64url)",
		"have the sender write plain base64" },
};

static bool try_signature_texts(struct explainer *e)
{
	struct slice name = explain_sig_header(e->q);
	struct scheme_request rq = *e->q->rq;
	struct header *headers = calloc(rq.header_count + 1, sizeof(*headers));
	bool found = false;

	for (size_t t = 0; headers && t < ARRAY_LEN(signature_changes) && !found; t++) {
		char text[1024];

		memcpy(headers, rq.headers, rq.header_count * sizeof(*headers));
		for (size_t i = 0; i < rq.header_count; i++) {
			if (slice_eq_nocase(headers[i].name, name) &&
				signature_changes[t].change(headers[i].value, text, sizeof(text)))
				headers[i].value = slice_str(text);
		}
		rq.headers = headers;
		found = explain_holds(e->q->scheme, e->q, &rq) &&
			say(e, signature_changes[t].mistake, "%s", signature_changes[t].text) &&
			fix(e, "%s", signature_changes[t].fix);
		rq.headers = e->q->rq->headers;
	}
	free(headers);
	return found;
}

/* ---- keys --------------------------------------------------------------------------------------
 */

static const char *name_of(const struct key_ref *key)
{
	return key->file ? key->file : key->env;
}

static bool try_own_keys(struct explainer *e)
{
	const struct source_config *source = e->q->source;

	for (size_t i = 0; i < source->key_count; i++) {
		const struct key_ref *key = &source->keys[i];

		if (!explain_with_keys(e->q, key, 1))
			continue;
		(void)say(e, "key_time", "signed with the %s key (%s), which is not valid now",
			key->role, name_of(key));
		return fix(e, "change \"not_before\" and \"not_after\" in %s, then: postern reload",
			key->pointer);
	}
	return false;
}

static bool try_other_keys(struct explainer *e)
{
	const struct config *config = e->q->config;

	for (size_t i = 0; i < config->source_count; i++) {
		const struct source_config *other = &config->sources[i];

		for (size_t k = 0; other != e->q->source && k < other->key_count; k++) {
			if (!explain_with_keys(e->q, &other->keys[k], 1))
				continue;
			(void)say(e, "key_of_other", "signed with the %s key of source \"%s\" (%s)",
				other->keys[k].role, other->name, name_of(&other->keys[k]));
			return fix(e,
				"have the sender post to /hooks/%s, or name that file in "
				"/sources/%s/keys, then: postern reload",
				other->name, e->q->source->name);
		}
	}
	return false;
}

static bool try_key_texts(struct explainer *e)
{
	const struct key_ref *key = NULL;
	const struct key_change *change = explain_with_text(e->q, &key);
	const char *mark;

	if (!change)
		return false;
	mark = strstr(change->fix, "%s");
	(void)say(e, "key_text", "%s", change->text);
	return fix(e, "%.*s%s%s", (int)(mark - change->fix), change->fix, key->file, mark + 2);
}

/* ---- another reading of the scheme -------------------------------------------------------------
 */

/* clang-format off */
static const struct {
	const char *mistake, *member, *value, *text;
} members[] = {
	{ "key_encoding", "key", "utf8", "the sender's key is its text as it is (whsec_ included); this source decodes it" },
	{ "key_encoding", "key", "base64:whsec_", "the sender's key is base64, behind whsec_ where that is there; this source takes another reading" },
	{ "key_encoding", "key", "hex", "the sender's key is hex; this source takes another reading" },
	{ "key_encoding", "key", "utf8:whsec_", "the sender's key is the text behind whsec_; this source takes another reading" },
	{ "digest", "alg", "hmac-sha256", "the sender signs with SHA-256" },
	{ "digest", "alg", "hmac-sha1", "the sender signs with SHA-1" },
	{ "digest", "alg", "hmac-sha512", "the sender signs with SHA-512" },
	{ "digest", "alg", "hmac-sha384", "the sender signs with SHA-384" },
	{ "signature_form", "match", "{hex}", "the signature is bare hex" },
	{ "signature_form", "match", "{base64}", "the signature is bare base64" },
	{ "signature_form", "match", "sha256={hex}", "the signature is written sha256=HEX" },
	{ "signature_form", "match", "sha256={base64}", "the signature is written sha256=BASE64" },
	{ "signature_form", "match", "v1={hex}", "the signature is written v1=HEX" },
	{ "signature_form", "match", "v0={hex}", "the signature is written v0=HEX" },
	{ "time_unit", "unit", "s", "the time is in seconds" },
	{ "time_unit", "unit", "ms", "the time is in milliseconds" },
	{ "time_unit", "unit", "rfc3339", "the time is written as RFC 3339 has it" },
	{ "signed_text", "signed", "{body}", "the sender signs the body alone" },
	{ "signed_text", "signed", "{time}.{body}", "the sender signs the time, a dot and the body" },
	{ "signed_text", "signed", "{time}{body}", "the sender signs the time and the body, with nothing between" },
	{ "signed_text", "signed", "{time}:{body}", "the sender signs the time, a colon and the body" },
	{ "signed_text", "signed", "{url}{body}", "the sender signs the URL and the body" },
};
/* clang-format on */

static bool try_members(struct explainer *e)
{
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		if (explain_with_member(e->q, members[i].member, members[i].value))
			return say(e, members[i].mistake, "%s", members[i].text) &&
			       fix_member(e, members[i].member, members[i].value);
	}
	return false;
}

static bool try_codings(struct explainer *e)
{
	static const struct {
		const char *from, *to, *text;
	} rows[] = {
		{ "{hex}", "{base64}", "the signature is base64, not hex" },
		{ "{base64}", "{hex}", "the signature is hex, not base64" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (explain_with_coding(e->q, rows[i].from, rows[i].to))
			return say(e, "signature_coding", "%s", rows[i].text) &&
			       fix(e,
				       "in \"match\" of /sources/%s/verify write %s in place of "
				       "%s (\"extends\" lets a preset be changed), then: postern "
				       "reload",
				       e->q->source->name, rows[i].to, rows[i].from);
	}
	return false;
}

/* ---- bodies and URLs ---------------------------------------------------------------------------
 */

static bool try_bodies(struct explainer *e)
{
	bool found = false;

	for (size_t i = 0; i < body_change_count && !found; i++) {
		const struct body_change *change = &body_changes[i];
		struct buf body = BUF_INIT(BODY_MAX);
		struct scheme_request rq = *e->q->rq;

		if (change->change(rq.body, change->style, &body)) {
			rq.body = buf_slice(&body);
			found = explain_holds(e->q->scheme, e->q, &rq) &&
				say(e, change->mistake, "%s", change->text) &&
				fix(e, "%s", change->fix);
		}
		buf_done(&body);
	}
	return found;
}

struct url {
	struct slice scheme, host, port, path;
};

static void take_apart(struct slice text, struct url *out)
{
	size_t start = slice_search(text, SLICE_LIT("://")), colon;
	struct slice rest = slice_sub(text, start + 3, text.len);

	out->scheme = slice_sub(text, 0, start);
	out->host = slice_sub(rest, 0, slice_find(rest, '/'));
	out->path = slice_sub(rest, out->host.len, rest.len);
	colon = slice_find(out->host, ':');
	out->port = slice_sub(out->host, colon + 1, out->host.len);
	out->host = slice_sub(out->host, 0, colon);
}

static bool try_url(struct explainer *e, const struct url *url)
{
	struct scheme_request rq = *e->q->rq;
	char text[2100];

	(void)snprintf(text, sizeof(text), "%.*s://%.*s%s%.*s%.*s", SLICE_FMT(url->scheme),
		SLICE_FMT(url->host), url->port.len ? ":" : "", SLICE_FMT(url->port),
		SLICE_FMT(url->path));
	rq.public_url = slice_str(text);
	if (!explain_holds(e->q->scheme, e->q, &rq))
		return false;
	(void)say(e, "public_url", "the sender signed the URL %.150s", text);
	return fix(e, "in /sources/%s write \"public_url\": \"%.120s\", then: postern reload",
		e->q->source->name, text);
}

/* The request's own idea of its host, where there is one. */
static struct slice host_header(const struct scheme_question *q)
{
	for (size_t i = 0; i < q->rq->header_count; i++) {
		if (slice_eq_nocase(q->rq->headers[i].name, SLICE_LIT("host")))
			return q->rq->headers[i].value;
	}
	return SLICE_EMPTY;
}

static bool try_paths(struct explainer *e, struct url url)
{
	struct slice path = url.path;
	char with_slash[2048];
	bool ends = path.len > 0 && path.data[path.len - 1] == '/';

	if (try_url(e, &url))
		return true;
	(void)snprintf(with_slash, sizeof(with_slash), "%.*s/", SLICE_FMT(path));
	url.path = ends ? slice_sub(path, 0, path.len - 1) : slice_str(with_slash);
	return try_url(e, &url);
}

static bool try_ports(struct explainer *e, const struct url *given)
{
	static const char *const schemes[] = { "https", "http" };
	static const char *const ports[] = { "", "443", "80", "8080" };

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		for (size_t p = 0; p < ARRAY_LEN(ports); p++) {
			struct url url = *given;

			url.scheme = slice_str(schemes[i]);
			url.port = slice_str(ports[p]);
			if (try_paths(e, url))
				return true;
		}
	}
	return false;
}

static bool try_urls(struct explainer *e)
{
	struct slice text = e->q->rq->public_url, host = host_header(e->q);
	struct url url, other;

	if (text.len == 0)
		text = slice_str(e->q->source->public_url);
	if (text.len == 0)
		return false;
	take_apart(text, &url);
	if (try_paths(e, url) || try_ports(e, &url))
		return true;
	other = url;
	other.host = slice_sub(host, 0, slice_find(host, ':'));
	return other.host.len > 0 && try_ports(e, &other);
}

/* ---- other senders, other times ----------------------------------------------------------------
 */

static bool try_presets(struct explainer *e)
{
	const char *preset = explain_with_preset(e->q);

	if (!preset)
		return false;
	(void)say(e, "preset", "this is a request of %s, and its key fits", preset);
	return fix(e, "in /sources/%s write \"preset\": \"%s\", then: postern reload",
		e->q->source->name, preset);
}

static bool tell_offset(struct explainer *e)
{
	const struct scheme_question *q = e->q;
	int64_t ahead_ms = q->verdict->signed_ms - q->now_ms;
	long long off = (long long)(ahead_ms < 0 ? -ahead_ms : ahead_ms) / 1000;
	const char *side = ahead_ms < 0 ? "behind" : "ahead of";
	long long rest = off % 3600;

	if (off >= 3480 && off <= 14 * 3600LL && (rest < 120 || rest > 3480))
		return say(e, "time_zone",
			       "the signature is right; its time is %lld s %s this clock: whole "
			       "hours, as of a clock that shows local time as UTC",
			       off, side) &&
		       fix(e, "timedatectl status");
	return say(e, "clock",
		       "the signature is right; its time is %lld s %s this clock, of which %lld s "
		       "are allowed",
		       off, side, (long long)scheme_tolerance_s(q->scheme, ahead_ms > 0)) &&
	       fix(e, ahead_ms > 0 ? "timedatectl status"
				   : "timedatectl status (if the clock is right, this request "
				     "came late, or is a copy)");
}

static bool is_form(const struct scheme_question *q)
{
	for (size_t i = 0; i < q->rq->header_count; i++) {
		if (slice_eq_nocase(q->rq->headers[i].name, SLICE_LIT("content-type")))
			return slice_search(q->rq->headers[i].value,
				       SLICE_LIT("x-www-form-urlencoded")) <
			       q->rq->headers[i].value.len;
	}
	return slice_starts(q->rq->body, SLICE_LIT("payload="));
}

static bool try_form(struct explainer *e)
{
	return is_form(e->q) &&
	       say(e, "form", "the signature is right, but the body is a form and not JSON") &&
	       fix(e, "at the sender choose application/json as the content type");
}

/* The id stands in a header that the request does not have. */
static bool try_id_header(struct explainer *e)
{
	const struct node *id = node_member(e->q->source->scheme, "id");
	struct slice name, prefix = SLICE_LIT("header:");

	if (!id || id->type != NODE_STRING)
		return false;
	name = (struct slice){ (const uint8_t *)id->string, id->length };
	if (!slice_starts(name, prefix))
		return false;
	name = slice_sub(name, prefix.len, name.len);
	return !has_header(e->q, name) &&
	       say(e, "id_header", "the signature is right, but there is no header %.*s",
		       SLICE_FMT(name)) &&
	       fix(e,
		       "have every header handed on, or write another \"id\" in /sources/%s "
		       "(\"sha256:body\" where the sender gives none)",
		       e->q->source->name);
}

/* ---- the order ---------------------------------------------------------------------------------
 */

typedef bool attempt(struct explainer *e);
static attempt *const of_signatures[] = { try_own_keys, try_other_keys, try_key_texts, try_codings,
	try_members, try_signature_texts, try_bodies, try_urls, try_presets };
static attempt *const of_absences[] = { try_similar_header, try_presets, name_similar_header };
static attempt *const of_times[] = { try_members, try_presets };
static attempt *const of_ages[] = { tell_offset };
static attempt *const of_meanings[] = { try_form, try_id_header };

static const struct {
	enum err_code code;
	attempt *const *attempts;
	size_t count;
} orders[] = {
	{ ERR_BAD_SIGNATURE, of_signatures, ARRAY_LEN(of_signatures) },
	{ ERR_KEY_NOT_FOUND, of_signatures, ARRAY_LEN(of_signatures) },
	{ ERR_MISSING_SIGNATURE, of_absences, ARRAY_LEN(of_absences) },
	{ ERR_BAD_TIMESTAMP, of_times, ARRAY_LEN(of_times) },
	{ ERR_EXPIRED, of_ages, ARRAY_LEN(of_ages) },
	{ ERR_CLOCK_SKEW, of_ages, ARRAY_LEN(of_ages) },
	{ ERR_MALFORMED_BODY, of_meanings, ARRAY_LEN(of_meanings) },
	{ ERR_MISSING_EVENT_ID, of_meanings, ARRAY_LEN(of_meanings) },
};

enum err_code scheme_explain(
	const struct scheme_question *question, struct scheme_explanation *out, struct err *err)
{
	struct explainer e = { .q = question, .out = out };

	*out = (struct scheme_explanation){ .mistake = "unknown" };
	for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
		for (size_t a = 0; orders[i].code == question->code && a < orders[i].count; a++) {
			if (orders[i].attempts[a](&e))
				return ERR_OK;
		}
	}
	return err_set(err, ERR_NOT_FOUND, "none of the known mistakes fits");
}
