/* scheme_httpsig.c - HTTP Message Signatures: the published examples, structured fields,
 * components, digests of bodies, what a signature must cover, and requests that were made here. */
#include "../../src/scheme/httpsig.h"
#include "support/httpsig_vectors.h"
#include "support/jose_keys.h"
#include "support/scheme_lab.h"

#define NOW 1618884473
#define ID "\"id\": \"sha256:body\", "
#define URL ", \"public_url\": \"https://example.com/foo\""
#define KEYS ", \"keys\": [{\"file\": \"k0\"}]"
#define SIG(algs, more)                                                                            \
	ID "\"verify\": {\"alg\": \"httpsig\", \"httpsig\": {\"algs\": [" algs "]" more "}}"
#define PSS "\"rsa-pss-sha512\""
#define BODY "{\"hello\": \"world\"}"
#define DIGEST_512                                                                                 \
	"sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTH" \
	"WXvJwew==:"
#define REQUEST                                                                                    \
	"Host: example.com\nDate: Tue, 20 Apr 2021 02:07:55 GMT\nContent-Type: "                   \
	"application/json\nContent-Digest: " DIGEST_512 "\nContent-Length: 18\n"

/* The request of appendix B.2, with these two fields. */
static void rfc_request(struct lab_request *r, const char *input, const char *signature)
{
	static char text[4096];

	(void)snprintf(
		text, sizeof(text), REQUEST "Signature-Input: %s\nSignature: %s", input, signature);
	lab_request(r, text, SLICE_LIT(BODY));
	r->rq.path = SLICE_LIT("/foo");
	r->rq.query = SLICE_LIT("param=Value&Pet=dog");
	r->rq.has_query = true;
}

/* ---- the examples of RFC 9421, appendix B.2 ----------------------------------------------------
 */

static const struct {
	const char *source, *key, *input, *signature;
} examples[] = {
	{ SIG(PSS, ", \"cover\": []"), RFC_RSA_PSS, B21_INPUT, B21_SIGNATURE },
	{ SIG(PSS, ", \"cover\": [\"@authority\", \"content-digest\", "
		   "\"\\\"@query-param\\\";name=\\\"Pet\\\"\"], \"tag\": \"header-example\""),
		RFC_RSA_PSS, B22_INPUT, B22_SIGNATURE },
	{ SIG(PSS, ""), RFC_RSA_PSS, B23_INPUT, B23_SIGNATURE },
	{ SIG("\"hmac-sha256\"", ", \"cover\": [\"date\"]"), RFC_SHARED_SECRET, B25_INPUT,
		B25_SIGNATURE },
	{ SIG("\"ed25519\"", ", \"cover\": [\"@method\", \"@path\"]"), RFC_ED25519, B26_INPUT,
		B26_SIGNATURE },
};

static void published_examples_verify(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
		const char *const keys[] = { examples[i].key, NULL };
		struct lab_request r;
		struct lab lab;
		char source[1024];

		(void)snprintf(source, sizeof(source), "%s" KEYS, examples[i].source);
		lab_open(&lab, source, keys);
		rfc_request(&r, examples[i].input, examples[i].signature);
		if (lab_verify(&lab, &r, INT64_C(1000) * NOW) != ERR_OK)
			print_error("row %zu: %s\n", i, lab.verdict.detail);
		assert_int_equal(lab.verdict.code, ERR_OK);
		assert_int_equal(lab.verdict.signed_ms, INT64_C(1000) * NOW);
		assert_int_equal(lab_verify(&lab, &r, INT64_C(1000) * (NOW + 300)), ERR_OK);
		assert_int_equal(lab_verify(&lab, &r, INT64_C(1000) * (NOW + 301)), ERR_EXPIRED);
		assert_int_equal(lab_verify(&lab, &r, INT64_C(1000) * (NOW - 301)), ERR_CLOCK_SKEW);
		r.rq.method = SLICE_LIT("PUT");
		r.headers[0].value = SLICE_LIT("example.org");
		r.headers[1].value = SLICE_LIT("Tue, 20 Apr 2021 02:07:56 GMT");
		assert_int_equal(lab_verify(&lab, &r, INT64_C(1000) * NOW),
			i == 0 ? ERR_OK : ERR_BAD_SIGNATURE);
		lab_close(&lab);
	}
}

static void the_example_of_a_response_verifies(void **state)
{
	struct buf sig = BUF_INIT(KIB(1));
	struct pkey *pkey = NULL;
	struct slice base = SLICE_LIT(B24_BASE);

	(void)state;
	assert_int_equal(pkey_from_pem(SLICE_LIT(RFC_P256), &pkey, NULL), ERR_OK);
	assert_int_equal(text_base64_decode(SLICE_LIT(B24_SIGNATURE), &sig, NULL), ERR_OK);
	assert_int_equal(pkey_verify(pkey, PKEY_ECDSA_P256, &base, 1, buf_slice(&sig)), ERR_OK);
	buf_done(&sig);
	pkey_close(&pkey);
}

/* ---- what a signature must cover ---------------------------------------------------------------
 */

static void coverage_is_the_configs_choice(void **state)
{
	static const char *const keys[] = { RFC_RSA_PSS, NULL };
	static const struct {
		const char *source, *input, *signature, *word;
	} rows[] = {
		{ SIG(PSS, ""), B21_INPUT, B21_SIGNATURE, "@method" },
		{ SIG(PSS, ""), B22_INPUT, B22_SIGNATURE, "@method" },
		{ SIG(PSS, ", \"cover\": [\"@method\"]"), B22_INPUT, B22_SIGNATURE, "@method" },
		{ SIG(PSS, ", \"cover\": [\"content-digest\"]"), B21_INPUT, B21_SIGNATURE,
			"content-digest" },
		{ SIG(PSS, ", \"cover\": [\"x-id\"]"), B23_INPUT, B23_SIGNATURE, "x-id" },
		{ SIG(PSS, ", \"tag\": \"other\""), B22_INPUT, B22_SIGNATURE, "tag" },
		{ SIG(PSS, ", \"label\": \"sig1\""), B23_INPUT, B23_SIGNATURE, "label" },
		{ SIG("\"rsa-v1_5-sha256\", \"ed25519\"", ""), B23_INPUT, B23_SIGNATURE,
			"no valid key" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab_request r;
		struct lab lab;
		char source[1024];

		(void)snprintf(source, sizeof(source), "%s" KEYS, rows[i].source);
		lab_open(&lab, source, keys);
		rfc_request(&r, rows[i].input, rows[i].signature);
		assert_int_equal(lab_verify(&lab, &r, INT64_C(1000) * NOW), ERR_BAD_SIGNATURE);
		if (!strstr(lab.verdict.detail, rows[i].word))
			print_error("row %zu: %s\n", i, lab.verdict.detail);
		assert_non_null(strstr(lab.verdict.detail, rows[i].word));
		lab_close(&lab);
	}
}

static void the_body_is_what_its_digest_says(void **state)
{
	static const char *const keys[] = { RFC_RSA_PSS, NULL };
	struct lab_request r;
	struct lab lab;

	(void)state;
	lab_open(&lab, SIG(PSS, "") KEYS, keys);
	rfc_request(&r, B23_INPUT, B23_SIGNATURE);
	r.rq.body = SLICE_LIT(BODY " ");
	assert_int_equal(lab_verify(&lab, &r, INT64_C(1000) * NOW), ERR_BAD_SIGNATURE);
	assert_non_null(strstr(lab.verdict.detail, "Content-Digest"));
	assert_int_equal(lab.verdict.key, -1);
	r.rq.body = SLICE_LIT("");
	assert_int_equal(lab_verify(&lab, &r, INT64_C(1000) * NOW), ERR_BAD_SIGNATURE);
	lab_close(&lab);
}

static void digests_are_checked(void **state)
{
	static const struct {
		const char *field, *body;
		bool holds;
	} rows[] = {
		/* RFC 9530, appendix B */
		{ "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:",
			"{\"hello\": \"world\"}\n", true },
		{ "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", BODY, true },
		{ DIGEST_512, BODY, true },
		{ DIGEST_512 ", sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", BODY,
			true },
		{ "md5=:AAAA:, " DIGEST_512, BODY, true },
		{ DIGEST_512 ", sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:", BODY,
			false },
		{ DIGEST_512, BODY "\n", false },
		{ "md5=:AAAA:", BODY, false },
		{ "sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=", BODY, false },
		{ "sha-256=:X48E:", BODY, false },
		{ "sha-256", BODY, false },
		{ "SHA-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", BODY, false },
		{ DIGEST_512 ",", BODY, false },
		{ DIGEST_512 ", " DIGEST_512, BODY, false },
		{ "", BODY, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *why =
			content_digest_refuse(slice_str(rows[i].field), slice_str(rows[i].body));

		if ((why == NULL) != rows[i].holds)
			print_error("%s: %s\n", rows[i].field, why ? why : "holds");
		assert_true((why == NULL) == rows[i].holds);
	}
}

/* ---- structured fields -------------------------------------------------------------------------
 */

static void fields_are_written_canonically(void **state)
{
	static const struct {
		const char *field, *canon; /* NULL: no dictionary */
	} rows[] = {
		{ "a=1, b=2;x;y=2.50,   c=(a  b);z=?1", "a=1, b=2;x;y=2.5, c=(a b);z" },
		{ "a", "a" },
		{ "a=?1", "a" },
		{ "a=?1;b=?0", "a;b=?0" },
		{ "a=\"x\\\"y\\\\\"", "a=\"x\\\"y\\\\\"" },
		{ "a=:aGk=:, b=:aGk:", "a=:aGk=:, b=:aGk=:" },
		{ "a=-007, b=0.0, c=-1.100", "a=-7, b=0.0, c=-1.1" },
		{ "a=@1659578233", "a=@1659578233" },
		{ "a=%\"f%c3%bc\"", "a=%\"f%c3%bc\"" },
		{ "a=tok/en:*, *b=*", "a=tok/en:*, *b=*" },
		{ "a=( ), b=(\"x\";y (", NULL },
		{ "a=( )", "a=()" },
		{ "  a=1 ,\tb=2  ", "a=1, b=2" },
		{ "", "" },
		{ "a=1,", NULL },
		{ ",a=1", NULL },
		{ "a=1 b=2", NULL },
		{ "A=1", NULL },
		{ "a=1, a=2", NULL },
		{ "a;x;x", NULL },
		{ "a=", NULL },
		{ "a= 1", NULL },
		{ "a=1234567890123456", NULL },
		{ "a=1.2345", NULL },
		{ "a=1.", NULL },
		{ "a=--1", NULL },
		{ "a=\"x", NULL },
		{ "a=\"\\x\"", NULL },
		{ "a=\"\x01\"", NULL },
		{ "a=\"\xc3\xbc\"", NULL },
		{ "a=:a GU=:", NULL },
		{ "a=:aGk=", NULL },
		{ "a=?2", NULL },
		{ "a=(1 2", NULL },
		{ "a=(1,2)", NULL },
		{ "a=(\"x\"\"y\")", NULL },
		{ "a=%\"%C3%BC\"", NULL },
		{ "a=((1))", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf canon = BUF_INIT(KIB(1)), text = BUF_INIT(KIB(1));
		struct sfv p = { .rest = slice_str(rows[i].field), .canon = &canon, .text = &text };
		bool ok;

		assert_int_equal(buf_reserve(&canon, 512, NULL), ERR_OK);
		assert_int_equal(buf_reserve(&text, 512, NULL), ERR_OK);
		ok = sfv_dictionary(&p);
		if (ok != (rows[i].canon != NULL))
			print_error("%s: %s\n", rows[i].field, ok ? buf_str(&canon) : "refused");
		assert_true(ok == (rows[i].canon != NULL));
		if (ok)
			lab_is(buf_slice(&canon), rows[i].canon);
		buf_done(&canon);
		buf_done(&text);
	}
}

/* ---- components --------------------------------------------------------------------------------
 */

static void components_are_written_as_the_rfc_does(void **state)
{
	static const struct {
		const char *component, *value; /* NULL: none */
	} rows[] = {
		{ "\"@method\"", "POST" },
		{ "\"@target-uri\"", "https://www.example.com/path?param=value&a=b%20c&p=1&p=2" },
		{ "\"@authority\"", "www.example.com" },
		{ "\"@scheme\"", "https" },
		{ "\"@request-target\"", "/path?param=value&a=b%20c&p=1&p=2" },
		{ "\"@path\"", "/path" },
		{ "\"@query\"", "?param=value&a=b%20c&p=1&p=2" },
		{ "\"@query-param\";name=\"param\"", "value" },
		{ "\"@query-param\";name=\"a\"", "b%20c" },
		{ "\"@query-param\";name=\"p\"", NULL },
		{ "\"@query-param\";name=\"none\"", NULL },
		{ "\"@query-param\"", NULL },
		{ "\"@path\";name=\"x\"", NULL },
		{ "\"@status\"", NULL },
		{ "\"@method\";sf", NULL },
		{ "\"x-list\"", "a, b" },
		{ "\"x-empty\"", "" },
		{ "\"x-absent\"", NULL },
		{ "\"x-wide\"", NULL },
		{ "\"x-wide\";bs", ":w7w=:" },
		{ "\"x-list\";bs", ":YQ==:, :Yg==:" },
		{ "\"priority\"", "u=1,   i" },
		{ "\"priority\";sf", "u=1, i" },
		{ "\"priority\";key=\"u\"", "1" },
		{ "\"priority\";key=\"i\"", "?1" },
		{ "\"priority\";key=\"x\"", NULL },
		{ "\"x-list\";sf", NULL }, /* nobody knows its structure */
		{ "\"x-list\";name=\"a\"", NULL },
	};
	struct buf text = BUF_INIT(KIB(1)), base = BUF_INIT(KIB(4)), input_text = BUF_INIT(KIB(1));
	struct httpsig_input *in = malloc(sizeof(*in));
	struct httpsig_target target;
	struct lab_request r;
	struct slice which;

	(void)state;
	assert_non_null(in);
	lab_request(&r,
		"Host: other.example\nX-List: a\nX-List:   b \nX-Empty:  \nX-Wide: \xc3\xbc\n"
		"Priority: u=1,   i",
		SLICE_EMPTY);
	r.rq.query = SLICE_LIT("param=value&a=b%20c&p=1&p=2");
	r.rq.has_query = true;
	httpsig_target(&r.rq, SLICE_LIT("https://WWW.example.com:443/path"), &text, &target);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char line[256];
		const char *why;

		buf_reset(&base);
		buf_reset(&input_text);
		assert_int_equal(buf_putf(&input_text, NULL, "s=(%s)", rows[i].component), ERR_OK);
		assert_null(httpsig_read(buf_slice(&input_text), SLICE_EMPTY, in));
		why = httpsig_base(&r.rq, &target, &in->labels[0], &base, &which);
		if ((why == NULL) != (rows[i].value != NULL))
			print_error("%s: %s\n", rows[i].component, why ? why : buf_str(&base));
		assert_true((why == NULL) == (rows[i].value != NULL));
		if (!why) {
			(void)snprintf(line, sizeof(line), "%s: %s\n\"@signature-params\": (%s)",
				rows[i].component, rows[i].value, rows[i].component);
			lab_is(buf_slice(&base), line);
		}
		httpsig_input_done(in);
	}
	/* without a public URL: what the request says of itself, as far as it does */
	buf_reset(&text);
	httpsig_target(&r.rq, SLICE_EMPTY, &text, &target);
	lab_is(target.authority, "other.example");
	lab_is(target.path, "/hooks/s");
	assert_false(target.has_url);
	free(in);
	buf_done(&text);
	buf_done(&base);
	buf_done(&input_text);
}

static void inputs_are_read_strictly(void **state)
{
	static const struct {
		const char *input, *signature;
		bool is_read;
	} rows[] = {
		{ "a=();created=1", "a=:AA==:", true },
		{ "a=(\"@method\" \"x\");created=1;custom=tok", "a=:AA==:, b=:AA==:", true },
		{ "a=(\"x\" \"x\")", "a=:AA==:", false },
		{ "a=(\"x\" \"x\";bs)", "a=:AA==:", true },
		{ "a=(\"X\")", "a=:AA==:", false },
		{ "a=(\"\")", "a=:AA==:", false },
		{ "a=(x)", "a=:AA==:", false },
		{ "a=(\"x\";req)", "a=:AA==:", false },
		{ "a=(\"x\";tr)", "a=:AA==:", false },
		{ "a=(\"x\";sf;bs)", "a=:AA==:", false },
		{ "a=(\"x\";sf=?0)", "a=:AA==:", false },
		{ "a=();created=\"1\"", "a=:AA==:", false },
		{ "a=();created=1;created=1", "a=:AA==:", false },
		{ "a=();keyid=1", "a=:AA==:", false },
		{ "a=();keyid=tok", "a=:AA==:", false },
		{ "a=1", "a=:AA==:", false },
		{ "a", "a=:AA==:", false },
		{ "a=(), a=()", "a=:AA==:", false },
		{ "a=()", "a=\"AA==\"", false },
		{ "a=()", "a=:A:", false },
		{ "a=()", "a=(:AA==:)", false },
		{ "", "a=:AA==:", false },
		{ "a=(),b=(),c=(),d=(),e=(),f=(),g=(),h=(),i=(),j=(),k=(),l=(),m=(),n=(),o=(),p=()",
			"a=:AA==:", true },
		{ "a=(),b=(),c=(),d=(),e=(),f=(),g=(),h=(),i=(),j=(),k=(),l=(),m=(),n=(),o=(),p=(),"
		  "q=()",
			"a=:AA==:", false },
	};
	struct httpsig_input *in = malloc(sizeof(*in));

	(void)state;
	assert_non_null(in);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *why =
			httpsig_read(slice_str(rows[i].input), slice_str(rows[i].signature), in);

		if ((why == NULL) != rows[i].is_read)
			print_error("%s | %s: %s\n", rows[i].input, rows[i].signature,
				why ? why : "read");
		assert_true((why == NULL) == rows[i].is_read);
		httpsig_input_done(in);
	}
	free(in);
}

/* ---- made here ---------------------------------------------------------------------------------
 */

static enum err_code made(struct lab *lab, const struct scheme_draft *draft,
	struct scheme_signed *out, int64_t now_s, struct err *err)
{
	enum err_code rc = scheme_sign(lab->scheme, draft, out, err);
	struct scheme_request rq;

	if (rc != ERR_OK)
		return rc;
	rq = (struct scheme_request){
		.method = SLICE_LIT("POST"),
		.path = SLICE_LIT("/hooks/s"),
		.headers = out->headers,
		.header_count = out->header_count,
		.body = buf_slice(&out->body),
		.query = buf_slice(&out->query),
		.has_query = out->has_query,
	};
	scheme_verify(lab->scheme, &rq, now_s * 1000, &lab->verdict);
	return lab->verdict.code;
}

static void requests_are_made_and_verified(void **state)
{
	static const struct {
		const char *source, *key;
	} rows[] = {
		{ SIG("\"ed25519\"", "") URL, RFC_ED25519_PRIVATE },
		{ SIG("\"ecdsa-p256-sha256\"", ", \"tag\": \"a\\\"b\", \"label\": \"l\"") URL,
			"{" JWK_P256_MEMBERS "," JWK_P256_PRIVATE ",\"kid\":\"k\\\\1\"}" },
		{ SIG("\"rsa-pss-sha512\"", "") URL, JWK_RSA_FULL },
		{ SIG("\"rsa-v1_5-sha256\"", "") URL, JWK_RSA_FULL },
		{ SIG("\"hmac-sha256\"", ", \"cover\": [\"@method\", \"content-digest\", "
					 "\"\\\"@query-param\\\";name=\\\"a\\\"\"]") URL,
			RFC_SHARED_SECRET },
	};
	struct scheme_draft draft = { .body = SLICE_LIT(BODY),
		.now_ms = INT64_C(1000) * NOW,
		.url = SLICE_LIT("https://example.com/foo?a=1%202") };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *const keys[] = { rows[i].key, NULL };
		struct scheme_signed out = SCHEME_SIGNED_INIT;
		struct err err = ERR_INIT;
		struct lab lab;
		char source[1024];

		(void)snprintf(source, sizeof(source), "%s" KEYS, rows[i].source);
		lab_open(&lab, source, keys);
		draft.bad_signature = false;
		if (made(&lab, &draft, &out, NOW, &err) != ERR_OK)
			print_error("row %zu: %s %s\n", i, err.text, lab.verdict.detail);
		assert_int_equal(lab.verdict.code, ERR_OK);
		assert_int_equal(out.header_count, 3);
		draft.bad_signature = true;
		assert_int_equal(made(&lab, &draft, &out, NOW, &err), ERR_BAD_SIGNATURE);
		lab_close(&lab);
		scheme_signed_done(&out);
	}
}

static void keys_are_found_by_their_id(void **state)
{
	static const char *const keys[] = {
		"{" JWK_ED_MEMBERS ",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\","
		"\"kid\":\"one\"}",
		NULL
	};
	struct scheme_draft draft = { .body = SLICE_LIT(BODY), .now_ms = INT64_C(1000) * NOW };
	struct scheme_signed out = SCHEME_SIGNED_INIT;
	struct err err = ERR_INIT;
	struct lab lab;
	struct lab_request r;

	(void)state;
	lab_open(&lab, SIG("\"ed25519\"", "") URL KEYS, keys);
	assert_int_equal(made(&lab, &draft, &out, NOW, &err), ERR_OK);
	rfc_request(&r, B26_INPUT, B26_SIGNATURE);
	r.rq.query = SLICE_EMPTY;
	r.rq.has_query = false;
	r.rq.body = SLICE_EMPTY;
	assert_int_equal(lab_verify(&lab, &r, INT64_C(1000) * NOW), ERR_KEY_NOT_FOUND);
	lab_request(&r, REQUEST "Signature: a=:AA==:", SLICE_LIT(BODY));
	assert_int_equal(lab_verify(&lab, &r, INT64_C(1000) * NOW), ERR_MISSING_SIGNATURE);
	assert_int_equal(scheme_precheck(lab.scheme, &r.rq), ERR_MISSING_SIGNATURE);
	lab_request(&r, REQUEST "Signature: a=:AA==:\nSignature-Input: a=(\"@method\")",
		SLICE_LIT(BODY));
	assert_int_equal(lab_verify(&lab, &r, INT64_C(1000) * NOW), ERR_BAD_TIMESTAMP);
	assert_true(scheme_keeps_header(lab.scheme, SLICE_LIT("Signature-Input")));
	assert_true(scheme_reads_query(lab.scheme));
	scheme_signed_done(&out);
	lab_close(&lab);
}

/* ---- configs -----------------------------------------------------------------------------------
 */

static void audits_follow_from_the_coverage(void **state)
{
	static const char *const keys[] = { RFC_ED25519, NULL };
	static const struct {
		const char *source, *binds, *id;
	} rows[] = {
		{ SIG("\"ed25519\"", "") URL, "full", "derived" },
		{ SIG("\"ed25519\"", ", \"cover\": [\"@method\"]"), "none", "derived" },
		{ "\"id\": \"header:X-Id\", \"verify\": {\"alg\": \"httpsig\", \"httpsig\": "
		  "{\"algs\": [\"ed25519\"]}}" URL,
			"full", "UNSIGNED" },
		{ "\"id\": \"header:X-Id\", \"verify\": {\"alg\": \"httpsig\", \"httpsig\": "
		  "{\"algs\": [\"ed25519\"], \"cover\": [\"x-id\", \"content-digest\"]}}",
			"full", "signed" },
		{ "\"id\": \"header:X-Id\", \"verify\": {\"alg\": \"httpsig\", \"httpsig\": "
		  "{\"algs\": [\"ed25519\"], \"cover\": []}}",
			"none", "UNSIGNED" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scheme_audit audit;
		struct lab lab;
		char source[1024];

		(void)snprintf(source, sizeof(source), "%s" KEYS, rows[i].source);
		lab_open(&lab, source, keys);
		scheme_audit(lab.scheme, &audit);
		assert_string_equal(audit.binds, rows[i].binds);
		assert_string_equal(audit.replay, "time");
		assert_string_equal(audit.id, rows[i].id);
		lab_close(&lab);
	}
}

static void mistakes_in_a_config_are_told(void **state)
{
	static const char *const keys[] = { RFC_ED25519, NULL };
	static const struct {
		const char *source, *word;
	} rows[] = {
		{ SIG("", ""), "algs" },
		{ SIG("\"rsa\"", ""), "ed25519" },
		{ SIG("\"ed25519\"", ", \"cover\": \"@method\""), "list" },
		{ SIG("\"ed25519\"", ", \"cover\": [\"@target-uri\"]"), "public_url" },
		{ SIG("\"ed25519\"", ", \"cover\": [\"Date\"]"), "component" },
		{ SIG("\"ed25519\"", ", \"sig\": \"x\""), "unknown" },
		{ ID "\"verify\": {\"alg\": \"httpsig\"}", "httpsig is missing" },
	};
	char source[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		(void)snprintf(source, sizeof(source), "%s" KEYS, rows[i].source);
		lab_refuses(source, keys, rows[i].word);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_examples_verify),
		cmocka_unit_test(the_example_of_a_response_verifies),
		cmocka_unit_test(coverage_is_the_configs_choice),
		cmocka_unit_test(the_body_is_what_its_digest_says),
		cmocka_unit_test(digests_are_checked),
		cmocka_unit_test(fields_are_written_canonically),
		cmocka_unit_test(components_are_written_as_the_rfc_does),
		cmocka_unit_test(inputs_are_read_strictly),
		cmocka_unit_test(requests_are_made_and_verified),
		cmocka_unit_test(keys_are_found_by_their_id),
		cmocka_unit_test(audits_follow_from_the_coverage),
		cmocka_unit_test(mistakes_in_a_config_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
