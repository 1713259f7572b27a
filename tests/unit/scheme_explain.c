/* scheme_explain.c - each known mistake, made on purpose: a sender signs as it understands things,
 * the source understands them a little differently, and scheme_explain() says what the difference
 * is. */

#include "support/scheme_lab.h"

#define KEYS "\"keys\": [{\"file\": \"k0\"}]"
#define GITHUB "\"preset\": \"github\", " KEYS
#define SVIX "\"preset\": \"svix\", " KEYS
#define STRIPE "\"preset\": \"stripe\", " KEYS
#define SLACK "\"preset\": \"slack\", " KEYS
#define PLAIN(more)                                                                                \
	"\"id\": \"sha256:body\", \"verify\": {\"sig\": \"header:Sig\", " more "}, " KEYS
#define HEX PLAIN("\"alg\": \"hmac-sha256\", \"match\": \"{hex}\"")
#define BASE64 PLAIN("\"alg\": \"hmac-sha256\", \"match\": \"{base64}\"")
#define TIMED(unit)                                                                                \
	PLAIN("\"alg\": \"hmac-sha256\", \"match\": \"{hex}\", \"time\": \"header:At\", "          \
	      "\"unit\": \"" unit "\"")
#define SIGNED(text)                                                                               \
	PLAIN("\"alg\": \"hmac-sha256\", \"match\": \"{hex}\", \"signed\": \"" text                \
	      "\", \"time\": \"header:At\"")
#define URL(url) SIGNED("{url}{body}") ", \"public_url\": \"" url "\""
#define B64_KEY "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

struct row {
	const char *mistake; /* NULL: accepted; "": none fits */
	const char *sender, *sender_key, *source, *key;
	const char *sent, *received; /* received NULL: what was sent */
	int64_t late_s;
	void (*change)(struct lab_request *r); /* of the headers on the way; or NULL */
};

/* ---- what happens to headers -------------------------------------------------------------------
 */

static char changed[1024];

static struct header *find(struct lab_request *r, const char *name)
{
	for (size_t i = 0; i < r->rq.header_count; i++) {
		if (slice_eq_nocase(r->headers[i].name, slice_str(name)))
			return &r->headers[i];
	}
	fail_msg("no header %s", name);
	return NULL;
}

static void quote(struct lab_request *r)
{
	struct header *sig = find(r, "Sig");

	(void)snprintf(changed, sizeof(changed), "\"%.*s\"", SLICE_FMT(sig->value));
	sig->value = slice_str(changed);
}

static void to_base64url(struct lab_request *r)
{
	struct header *sig = find(r, "Sig");

	(void)snprintf(changed, sizeof(changed), "%.*s", SLICE_FMT(sig->value));
	for (char *c = changed; *c; c++)
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
	sig->value = slice_str(changed);
}

static void rename_signature(struct lab_request *r)
{
	find(r, "X-Hub-Signature-256")->name = SLICE_LIT("X-Hub-Signature");
}

static void lose_the_id(struct lab_request *r)
{
	find(r, "X-GitHub-Delivery")->name = SLICE_LIT("X-Other");
}

static void say_form(struct lab_request *r)
{
	lab_header(r, "Content-Type", SLICE_LIT("application/x-www-form-urlencoded"));
}

static void garble(struct lab_request *r)
{
	find(r, "Sig")->value =
		SLICE_LIT("0000000000000000000000000000000000000000000000000000000000000000");
}

#define BODY "{\"id\":\"e1\",\"b\":[1,{\"c\":\"\xc3\xa4/\"}],\"a\":null}"

/* clang-format off */
static const struct row rows[] = {
	{ NULL, GITHUB, "k", GITHUB, "k", BODY, NULL, 0, NULL },
	/* keys */
	{ "key_time", GITHUB, "k", "\"preset\": \"github\", \"keys\": [{\"file\": \"k0\"}, {\"file\": \"k1\", \"role\": \"previous\", \"not_after\": \"2020-01-01T00:00:00Z\"}]", "other", BODY, NULL, 0, NULL },
	{ "key_of_other", GITHUB, "k", GITHUB "}, \"t\": {\"preset\": \"slack\", \"keys\": [{\"file\": \"k1\"}]", "other", BODY, NULL, 0, NULL },
	{ "key_text", GITHUB, "k\n\n", GITHUB, "k\n", BODY, NULL, 0, NULL },
	{ "key_text", GITHUB, "k\n", GITHUB, " k \r\n", BODY, NULL, 0, NULL },
	{ "key_text", GITHUB, "k\n", GITHUB, "\"k\"\n", BODY, NULL, 0, NULL },
	{ "key_text", GITHUB, "k\n", GITHUB, "WEBHOOK_SECRET=k\n", BODY, NULL, 0, NULL },
	{ "key_encoding", PLAIN("\"alg\": \"hmac-sha256\", \"match\": \"{hex}\", \"key\": \"base64:whsec_\""), "whsec_" B64_KEY, HEX, "whsec_" B64_KEY, BODY, NULL, 0, NULL },
	{ "key_encoding", HEX, "whsec_" B64_KEY, PLAIN("\"alg\": \"hmac-sha256\", \"match\": \"{hex}\", \"key\": \"base64:whsec_\""), "whsec_" B64_KEY, BODY, NULL, 0, NULL },
	{ "key_encoding", PLAIN("\"alg\": \"hmac-sha256\", \"match\": \"{hex}\", \"key\": \"hex\""), "c0ffee", HEX, "c0ffee", BODY, NULL, 0, NULL },
	{ "key_encoding", HEX, "c0ffee", PLAIN("\"alg\": \"hmac-sha256\", \"match\": \"{hex}\", \"key\": \"hex\""), "c0ffee", BODY, NULL, 0, NULL },
	{ "key_encoding", HEX, "c0ffee", PLAIN("\"alg\": \"hmac-sha256\", \"match\": \"{hex}\", \"key\": \"utf8\""), "whsec_c0ffee", BODY, NULL, 0, NULL },
	/* the form of a signature */
	{ "digest", PLAIN("\"alg\": \"hmac-sha1\", \"match\": \"{hex}\""), "k", HEX, "k", BODY, NULL, 0, NULL },
	{ "digest", PLAIN("\"alg\": \"hmac-sha512\", \"match\": \"{hex}\""), "k", HEX, "k", BODY, NULL, 0, NULL },
	{ "digest", HEX, "k", PLAIN("\"alg\": \"hmac-sha1\", \"match\": \"{hex}\""), "k", BODY, NULL, 0, NULL },
	{ "signature_coding", BASE64, "k", HEX, "k", BODY, NULL, 0, NULL },
	{ "signature_coding", HEX, "k", BASE64, "k", BODY, NULL, 0, NULL },
	{ "signature_form", PLAIN("\"alg\": \"hmac-sha256\", \"match\": \"sha256={hex}\""), "k", HEX, "k", BODY, NULL, 0, NULL },
	{ "signature_form", HEX, "k", PLAIN("\"alg\": \"hmac-sha256\", \"match\": \"sha256={hex}\""), "k", BODY, NULL, 0, NULL },
	{ "signature_quoted", HEX, "k", HEX, "k", BODY, NULL, 0, quote },
	{ "signature_base64url", BASE64, "k", BASE64, "k", BODY "1", NULL, 0, to_base64url },
	{ "signed_text", HEX, "k", PLAIN("\"alg\": \"hmac-sha256\", \"match\": \"{hex}\", \"signed\": \"{method}{body}\""), "k", BODY, NULL, 0, NULL },
	{ "signed_text", SIGNED("{time}.{body}"), "k", SIGNED("{time}:{body}"), "k", BODY, NULL, 0, NULL },
	{ "signed_text", SIGNED("{time}{body}"), "k", SIGNED("{time}.{body}"), "k", BODY, NULL, 0, NULL },
	{ "header_name", GITHUB, "k", GITHUB, "k", BODY, NULL, 0, rename_signature },
	{ "preset", SLACK, "k", GITHUB, "k", BODY, NULL, 0, NULL },
	/* bodies */
	{ "body_newline", HEX, "k", HEX, "k", BODY "\n", BODY, 0, NULL },
	{ "body_newline", HEX, "k", HEX, "k", BODY "\r\n", BODY, 0, NULL },
	{ "body_newline", HEX, "k", HEX, "k", BODY, BODY "\n", 0, NULL },
	{ "body_newline", HEX, "k", HEX, "k", BODY, BODY "\r\n", 0, NULL },
	{ "body_blanks", HEX, "k", HEX, "k", BODY, " " BODY "\n\n ", 0, NULL },
	{ "body_bom", HEX, "k", HEX, "k", BODY, "\xef\xbb\xbf" BODY, 0, NULL },
	{ "body_bom", HEX, "k", HEX, "k", "\xef\xbb\xbf" BODY, BODY, 0, NULL },
	{ "body_lines", HEX, "k", HEX, "k", "a\r\nb\r\n", "a\nb\n", 0, NULL },
	{ "body_lines", HEX, "k", HEX, "k", "a\nb", "a\r\nb", 0, NULL },
	{ "body_json", HEX, "k", HEX, "k", BODY, "{ \"id\": \"e1\", \"b\": [1, {\"c\": \"\\u00e4\\/\"}], \"a\": null }", 0, NULL },
	{ "body_json", HEX, "k", HEX, "k", "{\"id\": \"e1\", \"b\": [1, {\"c\": \"\\u00e4/\"}], \"a\": null}", BODY, 0, NULL },
	{ "body_json", HEX, "k", HEX, "k", "{\"a\":\"\\ud83d\\ude00\"}", "{\"a\":\"\xf0\x9f\x98\x80\"}", 0, NULL },
	{ "body_json", HEX, "k", HEX, "k", "{\"id\":\"e1\",\"b\":[1,{\"c\":\"\\u00e4\\/\"}],\"a\":null}", BODY, 0, NULL },
	{ "body_json", HEX, "k", HEX, "k", "{\"a\":null,\"b\":[1,{\"c\":\"\xc3\xa4/\"}],\"id\":\"e1\"}", BODY, 0, NULL },
	{ "body_json", HEX, "k", HEX, "k", "{\"a\":\"\\u003cb\\u003e\"}", "{\"a\":\"<b>\"}", 0, NULL },
	{ "body_json", HEX, "k", HEX, "k", "{\n  \"a\": [\n    1,\n    {}\n  ]\n}", "{\"a\":[1,{}]}", 0, NULL },
	{ "body_json", HEX, "k", HEX, "k", "{\n    \"a\": []\n}", "{\"a\":[]}", 0, NULL },
	/* URLs */
	{ "public_url", URL("https://a.example/hook"), "k", URL("http://a.example/hook"), "k", BODY, NULL, 0, NULL },
	{ "public_url", URL("https://a.example:443/hook"), "k", URL("https://a.example/hook"), "k", BODY, NULL, 0, NULL },
	{ "public_url", URL("https://a.example/hook"), "k", URL("https://a.example:8443/hook"), "k", BODY, NULL, 0, NULL },
	{ "public_url", URL("https://a.example/hook/"), "k", URL("https://a.example/hook"), "k", BODY, NULL, 0, NULL },
	{ "public_url", URL("https://a.example/hook"), "k", URL("http://a.example/hook/"), "k", BODY, NULL, 0, NULL },
	/* times */
	{ "time_unit", TIMED("ms"), "k", TIMED("rfc3339"), "k", BODY, NULL, 0, NULL },
	{ "time_unit", TIMED("rfc3339"), "k", TIMED("s"), "k", BODY, NULL, 0, NULL },
	{ "clock", TIMED("s"), "k", TIMED("s"), "k", BODY, NULL, 412, NULL },
	{ "clock", TIMED("s"), "k", TIMED("s"), "k", BODY, NULL, -412, NULL },
	{ "time_zone", TIMED("s"), "k", TIMED("s"), "k", BODY, NULL, 7203, NULL },
	{ "time_zone", TIMED("s"), "k", TIMED("s"), "k", BODY, NULL, -3599, NULL },
	/* meaning */
	{ "form", SVIX, B64_KEY, "\"extends\": \"svix\", \"id\": \"json:/id\", " KEYS, B64_KEY, "payload=%7B%7D", NULL, 0, NULL },
	{ "form", HEX, "k", PLAIN("\"alg\": \"hmac-sha256\", \"match\": \"{hex}\"") ", \"type\": \"json:/type\"", "k", "a=b", NULL, 0, say_form },
	{ "id_header", GITHUB, "k", GITHUB, "k", BODY, NULL, 0, lose_the_id },
	/* none */
	{ "", HEX, "k", HEX, "k", BODY, NULL, 0, garble },
	{ "", HEX, "k", HEX, "other", BODY, NULL, 0, NULL },
};
/* clang-format on */

static void sign(const struct row *row, struct lab *sender, struct scheme_signed *made)
{
	struct scheme_draft draft = {
		.body = slice_str(row->sent),
		.spare_id = SLICE_LIT("msg_1"),
		.now_ms = LAB_NOW * INT64_C(1000),
	};

	lab_open(sender, row->sender, (const char *const[]){ row->sender_key, NULL });
	assert_int_equal(scheme_sign(sender->scheme, &draft, made, &sender->err), ERR_OK);
}

static enum err_code judge(struct lab *lab, const struct lab_request *r, int64_t now_ms)
{
	enum err_code code = lab_verify(lab, r, now_ms);

	return code == ERR_OK ? lab_map(lab, r) : code;
}

static void check(size_t index, const struct row *row)
{
	const char *const keys[] = { row->key, row->sender_key, NULL };
	int64_t now_ms = (LAB_NOW + row->late_s) * INT64_C(1000);
	struct scheme_signed made = SCHEME_SIGNED_INIT;
	struct scheme_explanation answer = { .mistake = NULL };
	struct err err = ERR_INIT;
	struct lab sender, lab;
	struct lab_request r;
	enum err_code code;

	sign(row, &sender, &made);
	lab_open(&lab, row->source, keys);
	lab_request(&r, "", slice_str(row->received ? row->received : row->sent));
	for (size_t i = 0; i < made.header_count; i++) {
		lab_header(&r, "", SLICE_EMPTY);
		r.headers[i] = made.headers[i];
	}
	if (row->change)
		row->change(&r);
	code = judge(&lab, &r, now_ms);
	if ((code == ERR_OK) != (row->mistake == NULL))
		fail_msg("row %zu: %s (%s)", index, err_name(code), lab.verdict.detail);
	if (row->mistake) {
		struct scheme_question q = { lab.config, &lab.config->sources[0], lab.scheme, &r.rq,
			&lab.verdict, code, now_ms };
		enum err_code rc = scheme_explain(&q, &answer, &err);

		if (rc != (*row->mistake ? ERR_OK : ERR_NOT_FOUND) ||
			(rc == ERR_OK && strcmp(answer.mistake, row->mistake) != 0))
			fail_msg("row %zu: not %s but %s: %s (%s)", index, row->mistake,
				answer.mistake, answer.text, lab.verdict.detail);
		assert_true(rc != ERR_OK || (*answer.text && *answer.fix));
	}
	scheme_signed_done(&made);
	lab_close(&sender);
	lab_close(&lab);
}

static void every_known_mistake_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check(i, &rows[i]);
}

/* Whoever reads it sees files, never what is in them. */
static void a_fix_names_the_place_and_tells_no_secret(void **state)
{
	static const struct row row = { "key_text", GITHUB, "sEcReT\n", GITHUB, "'sEcReT'\n", BODY,
		NULL, 0, NULL };
	const char *const keys[] = { row.key, NULL };
	struct scheme_signed made = SCHEME_SIGNED_INIT;
	struct scheme_explanation answer;
	struct err err = ERR_INIT;
	struct lab sender, lab;
	struct lab_request r;

	(void)state;
	sign(&row, &sender, &made);
	lab_open(&lab, row.source, keys);
	lab_request(&r, "", slice_str(row.sent));
	r.rq.headers = made.headers;
	r.rq.header_count = made.header_count;
	assert_int_equal(lab_verify(&lab, &r, LAB_NOW * INT64_C(1000)), ERR_BAD_SIGNATURE);
	assert_int_equal(
		scheme_explain(
			&(struct scheme_question){ lab.config, &lab.config->sources[0], lab.scheme,
				&r.rq, &lab.verdict, ERR_BAD_SIGNATURE, LAB_NOW * INT64_C(1000) },
			&answer, &err),
		ERR_OK);
	assert_non_null(strstr(answer.fix, "/k0"));
	assert_null(strstr(answer.fix, "sEcReT"));
	assert_null(strstr(answer.text, "sEcReT"));
	scheme_signed_done(&made);
	lab_close(&sender);
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_known_mistake_is_named),
		cmocka_unit_test(a_fix_names_the_place_and_tells_no_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
