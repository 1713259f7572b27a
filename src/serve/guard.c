/* guard.c - the rules for a request's head, as a table: what is wrong, and the status that says so.
 *
 *   gather (one pass over the headers) -> facts -> first rule that fits -> verdict
 *
 * Deliberately not here: limits of the body (they depend on the callbacks), and reading anything
 * from the library. */
#include "guard.h"

#include "postern/serve.h"
#include "postern/text.h"

struct facts {
	const struct guard_head *head;
	size_t hosts, lengths, encodings, expects;
	struct slice length, encoding, expect;
	bool bad_name, bad_value;
	uint64_t declared; /* 0 where it cannot be read */
	bool length_unreadable;
	bool is_1_0, is_1_1;
	struct slice path, query;
	bool has_query, bad_form;
};

/* ---- characters -------------------------------------------------------------------------------
 */

/* clang-format off */
static const bool token_chars[256] = {
	['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
	['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true, ['&'] = true, ['\''] = true,
	['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true, ['^'] = true, ['_'] = true,
	['`'] = true, ['|'] = true, ['~'] = true,
};
static const bool control_chars[256] = {
	[0x00 ... 0x08] = true, [0x0a ... 0x1f] = true, [0x7f] = true, /* not the tab */
};
/* clang-format on */

bool guard_is_token(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (!token_chars[s.data[i]])
			return false;
	}
	return s.len > 0;
}

static bool is_field_value(struct slice s)
{
	bool bad = false;

	for (size_t i = 0; i < s.len; i++)
		bad |= control_chars[s.data[i]];
	return !bad;
}

static bool is_printable(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] <= 0x20 || s.data[i] >= 0x7f)
			return false;
	}
	return s.len > 0;
}

/* ---- the request target ------------------------------------------------------------------------
 */

static struct slice without_authority(struct slice uri)
{
	static const struct slice schemes[] = { SLICE_LIT("http://"), SLICE_LIT("https://") };

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		size_t at = schemes[i].len;

		if (!slice_eq_nocase(slice_sub(uri, 0, at), schemes[i]))
			continue;
		while (at < uri.len && uri.data[at] != '/' && uri.data[at] != '?')
			at++;
		if (at == schemes[i].len)
			return SLICE_EMPTY; /* no host */
		return at == uri.len ? SLICE_LIT("/") : slice_sub(uri, at, uri.len);
	}
	return uri;
}

bool guard_split_uri(struct slice uri, struct slice *path, struct slice *query, bool *has_query)
{
	struct slice rest = without_authority(uri);
	size_t mark = slice_find(rest, '?');

	*path = slice_sub(rest, 0, mark);
	*has_query = mark < rest.len;
	*query = *has_query ? slice_sub(rest, mark + 1, rest.len) : SLICE_EMPTY;
	return (path->len > 0 && path->data[0] == '/') || slice_eq_str(rest, "*");
}

/* ---- facts -------------------------------------------------------------------------------------
 */

static void gather_header(struct facts *f, const struct header *h)
{
	f->bad_name = f->bad_name || !guard_is_token(h->name);
	f->bad_value = f->bad_value || !is_field_value(h->value);
	if (slice_eq_nocase(h->name, SLICE_LIT("Host"))) {
		f->hosts++;
	} else if (slice_eq_nocase(h->name, SLICE_LIT("Content-Length"))) {
		f->lengths++;
		f->length = h->value;
	} else if (slice_eq_nocase(h->name, SLICE_LIT("Transfer-Encoding"))) {
		f->encodings++;
		f->encoding = h->value;
	} else if (slice_eq_nocase(h->name, SLICE_LIT("Expect"))) {
		f->expects++;
		f->expect = h->value;
	}
}

static void gather(const struct guard_head *head, struct facts *f)
{
	*f = (struct facts){ .head = head };
	for (size_t i = 0; i < head->header_count && i < SERVE_HEADERS_MAX; i++)
		gather_header(f, &head->headers[i]);
	f->length_unreadable = f->lengths > 0 && text_u64(f->length, &f->declared, NULL) != ERR_OK;
	f->is_1_0 = slice_eq_str(head->version, "HTTP/1.0");
	f->is_1_1 = slice_eq_str(head->version, "HTTP/1.1");
	f->bad_form = !guard_split_uri(head->uri, &f->path, &f->query, &f->has_query);
}

/* ---- rules -------------------------------------------------------------------------------------
 */

static bool hides_bytes(const struct facts *f)
{
	return !f->head->contiguous;
}

static bool has_long_uri(const struct facts *f)
{
	return f->head->uri_cut || f->head->uri.len > SERVE_URI_MAX;
}

static bool has_large_head(const struct facts *f)
{
	return f->head->block_bytes > f->head->block_max;
}

static bool has_many_headers(const struct facts *f)
{
	return f->head->header_count > SERVE_HEADERS_MAX;
}

static bool has_other_version(const struct facts *f)
{
	return !f->is_1_0 && !f->is_1_1;
}

static bool has_bad_method(const struct facts *f)
{
	return !guard_is_token(f->head->method);
}

static bool has_bad_uri(const struct facts *f)
{
	return f->bad_form || !is_printable(f->head->uri) ||
	       slice_search(f->head->uri, SLICE_LIT("%00")) < f->head->uri.len;
}

static bool has_bad_name(const struct facts *f)
{
	return f->bad_name;
}

static bool has_bad_value(const struct facts *f)
{
	return f->bad_value;
}

static bool has_bad_host(const struct facts *f)
{
	return f->hosts > 1 || (f->is_1_1 && f->hosts == 0);
}

static bool has_two_framings(const struct facts *f)
{
	return f->lengths + f->encodings > 1;
}

static bool has_bad_length(const struct facts *f)
{
	return f->length_unreadable;
}

/* Also what would look like SERVE_LENGTH_UNKNOWN, here and in the library. */
static bool has_absurd_length(const struct facts *f)
{
	return f->declared > INT64_MAX;
}

static bool has_encoding_on_1_0(const struct facts *f)
{
	return f->is_1_0 && f->encodings > 0;
}

static bool has_padded_encoding(const struct facts *f)
{
	return f->encodings > 0 && !slice_eq_nocase(f->encoding, SLICE_LIT("chunked")) &&
	       slice_eq_nocase(slice_trim(f->encoding), SLICE_LIT("chunked"));
}

static bool has_other_encoding(const struct facts *f)
{
	return f->encodings > 0 && !slice_eq_nocase(f->encoding, SLICE_LIT("chunked"));
}

static bool has_body_on_get(const struct facts *f)
{
	bool bodiless =
		slice_eq_str(f->head->method, "GET") || slice_eq_str(f->head->method, "HEAD");

	return bodiless && (f->encodings > 0 || f->declared > 0);
}

static bool has_no_length(const struct facts *f)
{
	return slice_eq_str(f->head->method, "POST") && f->lengths + f->encodings == 0;
}

static bool has_other_expectation(const struct facts *f)
{
	return f->expects > 1 || (f->expects == 1 && !slice_eq_nocase(slice_trim(f->expect),
							     SLICE_LIT("100-continue")));
}

struct rule {
	bool (*fits)(const struct facts *facts);
	unsigned status;
	enum err_code code;
	const char *what;
};

/* clang-format off */
static const struct rule rules[] = {
	{ has_long_uri,          414, ERR_BAD_REQUEST, "the request target is too long" },
	{ has_large_head,        431, ERR_TOO_LARGE,   "the head is too large" },
	{ has_many_headers,      431, ERR_TOO_LARGE,   "too many headers" },
	{ hides_bytes,           400, ERR_BAD_REQUEST, "bare line feed, folded line, NUL or extra blank" },
	{ has_bad_method,        400, ERR_BAD_REQUEST, "the method is no token" },
	{ has_other_version,     505, ERR_BAD_REQUEST, "not HTTP/1.0 or HTTP/1.1" },
	{ has_bad_uri,           400, ERR_BAD_REQUEST, "the request target is not plain" },
	{ has_bad_name,          400, ERR_BAD_REQUEST, "a header name is no token" },
	{ has_bad_value,         400, ERR_BAD_REQUEST, "a header value holds control bytes" },
	{ has_bad_host,          400, ERR_BAD_REQUEST, "not exactly one Host" },
	{ has_two_framings,      400, ERR_BAD_REQUEST, "more than one length" },
	{ has_bad_length,        400, ERR_BAD_REQUEST, "Content-Length is no number" },
	{ has_absurd_length,     413, ERR_TOO_LARGE,   "Content-Length beyond all limits" },
	{ has_encoding_on_1_0,   400, ERR_BAD_REQUEST, "Transfer-Encoding on HTTP/1.0" },
	{ has_padded_encoding,   400, ERR_BAD_REQUEST, "Transfer-Encoding with blanks" },
	{ has_other_encoding,    501, ERR_BAD_REQUEST, "Transfer-Encoding other than chunked" },
	{ has_body_on_get,       400, ERR_BAD_REQUEST, "a body on GET or HEAD" },
	{ has_no_length,         411, ERR_BAD_REQUEST, "a POST without a length" },
	{ has_other_expectation, 417, ERR_BAD_REQUEST, "Expect other than 100-continue" },
};
/* clang-format on */

void guard_check(const struct guard_head *head, struct guard_verdict *out)
{
	struct facts facts;

	gather(head, &facts);
	*out = (struct guard_verdict){
		.code = ERR_OK,
		.expects = facts.expects > 0,
		.length = facts.encodings > 0 ? SERVE_LENGTH_UNKNOWN : facts.declared,
	};
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		if (!rules[i].fits(&facts))
			continue;
		out->code = rules[i].code;
		out->status = rules[i].status;
		out->what = rules[i].what;
		return;
	}
}
