/* scheme_jwt.c - JSON Web Tokens as signatures: the published examples, strict reading, keys and
 * their turning over, claims and times, and what nobody may smuggle in. */
#include "../../src/scheme/jose.h"
#include "support/jose_keys.h"
#include "support/scheme_lab.h"

#include <fcntl.h>
#include <sys/stat.h>

#define BODY "{\"webhook_type\":\"ITEM\",\"webhook_code\":\"ERROR\",\"item_id\":\"i1\"}"

/* ---- the examples of RFC 7515 and RFC 8037 -----------------------------------------------------
 */

static struct jwk_set *keys_of(const char *text)
{
	struct jwk_set *set = NULL;
	struct err err = ERR_INIT;

	if (jwk_set_open(slice_str(text), &set, &err) != ERR_OK)
		print_error("%s\n", err.text);
	assert_non_null(set);
	return set;
}

static const char *read_token(const char *text, struct buf *scratch, struct jws *out)
{
	struct jws_reader reader = { { NULL } };
	const char *why;

	buf_reset(scratch);
	assert_int_equal(buf_reserve(scratch, KIB(16), NULL), ERR_OK);
	assert_int_equal(jws_reader_open(&reader, NULL), ERR_OK);
	why = jws_read(&reader, slice_str(text), scratch, out);
	jws_reader_close(&reader);
	return why;
}

static void published_examples_verify(void **state)
{
	static const struct {
		const char *key, *token;
		enum jws_alg alg;
	} rows[] = {
		{ JWK_OCT,
			"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." JWS_PAYLOAD
			".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
			JWS_HS256 },
		{ JWK_RSA,
			"eyJhbGciOiJSUzI1NiJ9." JWS_PAYLOAD
			".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4"
			"Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_"
			"nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn"
			"6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI"
			"8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
			JWS_RS256 },
		{ JWK_P256,
			"eyJhbGciOiJFUzI1NiJ9." JWS_PAYLOAD
			".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfK"
			"TUJqPP3-Kg6NU1Q",
			JWS_ES256 },
		{ JWK_P521,
			"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA"
			".AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-"
			"KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7i"
			"KvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
			JWS_ES512 },
		{ JWK_ED,
			"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
			".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g"
			"7sVvpAr_MuM0KAg",
			JWS_EDDSA },
	};
	struct buf scratch = BUF_INIT(KIB(16) + 1);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct jwk_set *set = keys_of(rows[i].key);
		struct jws token;

		assert_null(read_token(rows[i].token, &scratch, &token));
		assert_int_equal(token.alg, rows[i].alg);
		assert_false(token.has_kid);
		assert_int_equal(set->count, 1);
		assert_int_equal(
			jwk_verify(&set->keys[0], token.alg, token.input, token.signature), ERR_OK);
		token.input.len--;
		assert_int_equal(jwk_verify(&set->keys[0], token.alg, token.input, token.signature),
			ERR_BAD_SIGNATURE);
		jwk_set_unref(&set);
	}
	buf_done(&scratch);
}

/* ---- making tokens -----------------------------------------------------------------------------
 */

#define TOKENS 8
static struct buf tokens[TOKENS];

/* Signed with the first key of the set; the text stays for the next seven calls. */
static const char *token_of(
	const char *keys, enum jws_alg alg, const char *header, const char *payload)
{
	static size_t next;
	struct buf *out = &tokens[next++ % TOKENS], signature = BUF_INIT(KIB(1));
	struct jwk_set *set = keys_of(keys);

	buf_done(out);
	*out = BUF_INIT(KIB(16));
	assert_int_equal(text_base64url(slice_str(header), out, NULL), ERR_OK);
	assert_int_equal(buf_put_str(out, ".", NULL), ERR_OK);
	assert_int_equal(text_base64url(slice_str(payload), out, NULL), ERR_OK);
	assert_int_equal(jwk_sign(&set->keys[0], alg, buf_slice(out), &signature, NULL), ERR_OK);
	assert_int_equal(buf_put_str(out, ".", NULL), ERR_OK);
	assert_int_equal(text_base64url(buf_slice(&signature), out, NULL), ERR_OK);
	buf_done(&signature);
	jwk_set_unref(&set);
	return buf_str(out);
}

static const char *es256(const char *payload)
{
	return token_of(JWK_P256_FULL, JWS_ES256, "{\"alg\":\"ES256\",\"kid\":\"k1\"}", payload);
}

static enum err_code judge(
	struct lab *lab, const char *header, const char *token, const char *body, int64_t now_s)
{
	struct lab_request r;
	char text[KIB(12)];
	enum err_code early, rc;

	assert_true(snprintf(text, sizeof(text), "%s%s", header, token) < (int)sizeof(text));
	lab_request(&r, text, slice_str(body));
	r.rq.public_url = SLICE_LIT("https://hooks.example/hooks/s");
	rc = lab_verify(lab, &r, now_s * 1000);
	early = scheme_precheck(lab->scheme, &r.rq);
	assert_true(early == rc || early == ERR_OK);
	assert_true((rc == ERR_OK || rc == ERR_EXPIRED || rc == ERR_CLOCK_SKEW) ==
		    (lab->verdict.key >= 0));
	return rc;
}

/* ---- strict reading ----------------------------------------------------------------------------
 */

static void what_is_no_token_is_refused(void **state)
{
	static const char *const texts[] = { "", ".", "..", "a.b.c", "e30.e30", "e30.e30.",
		"e30.e30.AA", "e30.e30.AA.AA", "eyJhbGciOiJFUzI1NiJ9.e30.",
		"eyJhbGciOiJFUzI1NiJ9=.e30.AA", "eyJhbGciOiJFUzI1NiJ9.e30=.AA",
		"eyJhbGciOiJFUzI1NiJ9.e3 0.AA", "eyJhbGciOiJFUzI1NiJ9.e30.AB", /* bits left over */
		"eyJhbGciOiJFUzI1NiJ9.e30.A+", " eyJhbGciOiJFUzI1NiJ9.e30.AA",
		"eyJhbGciOiJub25lIn0.e30.AA", /* none */
		"eyJhbGciOiJub25lIn0." JWS_PAYLOAD "." };
	struct buf scratch = BUF_INIT(KIB(16) + 1);
	struct jws token;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_non_null(read_token(texts[i], &scratch, &token));
	buf_done(&scratch);
}

static void headers_are_read_strictly(void **state)
{
	static const struct {
		const char *header;
		bool is_read;
	} rows[] = {
		{ "{\"alg\":\"ES256\"}", true },
		{ " {\"alg\":\"ES256\"}", false },
		{ "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"a\\u0062\"}", true },
		{ "{\"alg\":\"ES256\",\"jku\":\"https://evil.example/\",\"x5c\":[\"AA==\"]}",
			true },
		{ "{\"alg\":\"ES256\",\"alg\":\"ES256\"}", false },
		{ "{\"alg\":\"ES256\",\"kid\":\"a\",\"kid\":\"b\"}", false },
		{ "{\"alg\":\"es256\"}", false },
		{ "{\"alg\":\"E\\u0053256\"}", false },
		{ "{\"alg\":[\"ES256\"]}", false },
		{ "{\"alg\":\"\"}", false },
		{ "{\"alg\":null}", false },
		{ "{}", false },
		{ "[\"ES256\"]", false },
		{ "{\"alg\":\"None\"}", false },
		{ "{\"alg\":\"ES256\",\"kid\":1}", false },
		{ "{\"alg\":\"ES256\",\"kid\":null}", false },
		{ "{\"alg\":\"ES256\",\"crit\":[]}", false },
		{ "{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}", false },
		{ "{\"alg\":\"ES256\",\"b64\":false}", false },
		{ "{\"alg\":\"ES256\"} ", true },
		{ "{\"alg\":\"ES256\"}x", false },
	};
	struct buf scratch = BUF_INIT(KIB(16) + 1);
	struct jws token;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *text = token_of(JWK_P256_FULL, JWS_ES256, rows[i].header, "{\"a\":1}");

		assert_true((read_token(text, &scratch, &token) == NULL) == rows[i].is_read);
	}
	assert_null(read_token(
		token_of(JWK_P256_FULL, JWS_ES256, rows[2].header, "{}"), &scratch, &token));
	lab_is(token.kid, "ab");
	buf_done(&scratch);
}

static void long_tokens_are_refused(void **state)
{
	struct buf scratch = BUF_INIT(KIB(32)), text = BUF_INIT(KIB(16));
	struct jws token;

	(void)state;
	assert_int_equal(buf_put_str(&text, "eyJhbGciOiJFUzI1NiJ9.", NULL), ERR_OK);
	while (text.len < JWS_TEXT_MAX - 3)
		assert_int_equal(buf_put_str(&text, "A", NULL), ERR_OK);
	/* whatever length leaves whole base64 */
	while (text.len % 4 != 1)
		text.len--;
	text.data[text.len] = '\0';
	assert_int_equal(buf_put_str(&text, ".AA", NULL), ERR_OK);
	assert_true(text.len <= JWS_TEXT_MAX);
	assert_null(read_token(buf_str(&text), &scratch, &token));
	while (text.len <= JWS_TEXT_MAX)
		assert_int_equal(buf_put_str(&text, "AAAA", NULL), ERR_OK);
	assert_non_null(read_token(buf_str(&text), &scratch, &token));
	buf_done(&scratch);
	buf_done(&text);
}

/* ---- keys --------------------------------------------------------------------------------------
 */

static void sets_leave_out_what_is_of_no_use(void **state)
{
	static const char text[] =
		"{\"keys\": [{\"kty\":\"PQC\",\"kid\":\"new\"}, 7, {\"kid\":\"no kty\"}, "
		"{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AA\",\"y\":\"AA\"}, "
		"{" JWK_RSA_MEMBERS ",\"use\":\"enc\"}, {" JWK_RSA_MEMBERS
		",\"alg\":\"RSA-OAEP\"}, "
		"{" JWK_RSA_MEMBERS ",\"key_ops\":[\"encrypt\"]}, "
		"{" JWK_P256_MEMBERS ",\"kid\":\"k\\u0031\",\"use\":\"sig\",\"x5t\":\"!\"}, "
		"{" JWK_RSA_MEMBERS ",\"alg\":\"RS256\",\"key_ops\":[\"verify\"],\"n2\":{}}]}\n";
	struct jwk_set *set = keys_of(text);

	(void)state;
	assert_int_equal(set->count, 2);
	assert_string_equal(set->keys[0].kid, "k1");
	assert_true(jwk_fits(&set->keys[0], JWS_ES256));
	assert_false(jwk_fits(&set->keys[0], JWS_ES384));
	assert_false(jwk_fits(&set->keys[0], JWS_HS256));
	assert_null(set->keys[1].kid);
	assert_true(jwk_fits(&set->keys[1], JWS_RS256));
	assert_false(jwk_fits(&set->keys[1], JWS_PS256)); /* it says RS256 of itself */
	jwk_set_unref(&set);
}

static void what_holds_no_key_is_refused(void **state)
{
	static const char *const texts[] = { "", "secret", "{}", "[]", "{\"keys\":{}}",
		"{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
		"{\"kty\":\"oct\"}", "{\"kty\":\"oct\",\"k\":\"" JWK_OCT_K "=\"}",
		"{\"kty\":\"RSA\",\"n\":\"AQAB\"}",
		"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
		"{" JWK_P256_MEMBERS ",\"kty\":\"EC\"}", /* twice */
		"{" JWK_P256_MEMBERS ",\"use\":\"enc\"}", "{" JWK_P256_MEMBERS "}x",
		("{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":"
		 "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"),
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct jwk_set *set = NULL;
		struct err err = ERR_INIT;

		assert_int_equal(jwk_set_open(slice_str(texts[i]), &set, &err), ERR_SYNTAX);
		assert_null(set);
		assert_true(err.text[0] != '\0');
		assert_true(slice_search(slice_str(err.text), SLICE_LIT(JWK_OCT_K)) ==
			    strlen(err.text));
	}
}

/* ---- a source ----------------------------------------------------------------------------------
 */

#define NO_ID "\"id\": \"sha256:body\", "
#define SIG "\"verify\": {\"alg\": \"jwt\", \"sig\": \"header:X-Token\", \"jwt\": "
#define KEYS "\"keys\": [{\"file\": \"k0\"}]"
#define PLAID                                                                                      \
	"\"id\": \"sha256:body\", " SIG "{\"algs\": [\"ES256\"], \"max_age\": 300, \"claims\": "   \
	"{\"request_body_sha256\": \"{sha256hex(body)}\"}}}"

static const char *plaid_payload(const char *body, const char *iat)
{
	static char text[512];
	uint8_t digest[32];
	char hex[65];

	crypto_sha256(slice_str(body), digest);
	text_hex(digest, sizeof(digest), hex);
	(void)snprintf(text, sizeof(text), "{%s\"request_body_sha256\":\"%s\"}", iat, hex);
	return text;
}

static void the_body_and_its_age_are_bound(void **state)
{
	static const char *const keys[] = {
		"{\"keys\":[{" JWK_P256_MEMBERS ",\"kid\":\"k1\"}," JWK_RSA "]}", NULL
	};
	static const struct {
		const char *iat;
		enum err_code want;
	} rows[] = {
		{ "\"iat\":1614265330,", ERR_OK },
		{ "\"iat\":1614265330.9,", ERR_OK },
		{ "\"iat\":1614265030,", ERR_OK },
		{ "\"iat\":1614265029,", ERR_EXPIRED },
		{ "\"iat\":1614265390,", ERR_OK },
		{ "\"iat\":1614265391,", ERR_CLOCK_SKEW },
		{ "", ERR_BAD_TIMESTAMP },
		{ "\"iat\":\"1614265330\",", ERR_BAD_TIMESTAMP },
		{ "\"iat\":null,", ERR_BAD_TIMESTAMP },
		{ "\"iat\":-1,", ERR_BAD_TIMESTAMP },
		{ "\"iat\":1.6e9,", ERR_BAD_TIMESTAMP },
		{ "\"iat\":9999999999999,", ERR_BAD_TIMESTAMP },
		{ "\"iat\":1614265330,\"exp\":1614265300,", ERR_OK },
		{ "\"iat\":1614265330,\"exp\":1614265269,", ERR_EXPIRED },
		{ "\"iat\":1614265330,\"nbf\":1614265391,", ERR_CLOCK_SKEW },
		{ "\"iat\":1614265330,\"nbf\":\"\",", ERR_BAD_TIMESTAMP },
		{ "\"iat\":1614265330,\"iat\":1614265330,", ERR_BAD_SIGNATURE },
	};
	struct lab lab;

	(void)state;
	lab_open(&lab, PLAID ", " KEYS, keys);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *token = es256(plaid_payload(BODY, rows[i].iat));

		assert_int_equal(judge(&lab, "X-Token: ", token, BODY, LAB_NOW), rows[i].want);
		assert_int_equal(
			judge(&lab, "X-Token: ", token, BODY " ", LAB_NOW) == ERR_OK, false);
	}
	assert_int_equal(
		judge(&lab, "X-Token: ", es256(plaid_payload(BODY, rows[0].iat)), BODY, LAB_NOW),
		ERR_OK);
	assert_int_equal(lab.verdict.signed_ms, INT64_C(1614265330000));
	assert_int_equal(judge(&lab, "X-Other: ", "x", BODY, LAB_NOW), ERR_MISSING_SIGNATURE);
	assert_int_equal(judge(&lab, "X-Token: ", "x", BODY, LAB_NOW), ERR_BAD_SIGNATURE);
	assert_int_equal(
		judge(&lab, "X-Token: ", "x\nX-Token: y", BODY, LAB_NOW), ERR_BAD_SIGNATURE);
	lab_close(&lab);
}

static void algorithms_are_pinned(void **state)
{
	static const char *const keys[] = { "{\"keys\":[{" JWK_P256_MEMBERS
					    ",\"kid\":\"k1\"},{" JWK_RSA_MEMBERS
					    ",\"kid\":\"r\"},{" JWK_ED_MEMBERS "}]}",
		NULL };
	const char *payload = plaid_payload(BODY, "\"iat\":1614265330,");
	struct lab lab;

	(void)state;
	lab_open(&lab, PLAID ", " KEYS, keys);
	assert_int_equal(judge(&lab, "X-Token: ",
				 token_of(JWK_RSA_FULL, JWS_RS256,
					 "{\"alg\":\"RS256\",\"kid\":\"r\"}", payload),
				 BODY, LAB_NOW),
		ERR_BAD_SIGNATURE);
	assert_int_equal(judge(&lab, "X-Token: ",
				 token_of(JWK_ED_FULL, JWS_EDDSA, "{\"alg\":\"EdDSA\"}", payload),
				 BODY, LAB_NOW),
		ERR_BAD_SIGNATURE);
	/* the right key under the name of another, or of one that nobody has */
	assert_int_equal(judge(&lab, "X-Token: ",
				 token_of(JWK_P256_FULL, JWS_ES256,
					 "{\"alg\":\"ES256\",\"kid\":\"r\"}", payload),
				 BODY, LAB_NOW),
		ERR_BAD_SIGNATURE);
	assert_int_equal(judge(&lab, "X-Token: ",
				 token_of(JWK_P256_FULL, JWS_ES256, "{\"alg\":\"ES256\"}", payload),
				 BODY, LAB_NOW),
		ERR_OK);
	lab_close(&lab);
}

/* The oldest trick: the public key's text as the secret of a MAC. */
static void a_public_key_is_no_secret(void **state)
{
	static const char *const keys[] = { JOSE_RSA_PEM, NULL };
	static const char source[] = NO_ID SIG "{\"algs\": [\"RS256\", \"HS256\"]}}, " KEYS;
	struct buf jwk = BUF_INIT(KIB(4));
	struct lab lab;

	(void)state;
	lab_open(&lab, source, keys);
	assert_int_equal(buf_put_str(&jwk, "{\"kty\":\"oct\",\"k\":\"", NULL), ERR_OK);
	assert_int_equal(text_base64url(SLICE_LIT(JOSE_RSA_PEM), &jwk, NULL), ERR_OK);
	assert_int_equal(buf_put_str(&jwk, "\"}", NULL), ERR_OK);
	assert_int_equal(judge(&lab, "X-Token: ",
				 token_of(buf_str(&jwk), JWS_HS256, "{\"alg\":\"HS256\"}", "{}"),
				 BODY, LAB_NOW),
		ERR_BAD_SIGNATURE);
	assert_int_equal(judge(&lab, "X-Token: ",
				 token_of(JWK_RSA_FULL, JWS_RS256,
					 "{\"alg\":\"RS256\",\"kid\":\"any\"}", "{}"),
				 BODY, LAB_NOW),
		ERR_OK);
	buf_done(&jwk);
	lab_close(&lab);
}

static void secrets_sign_too(void **state)
{
	static const char *const keys[] = { JWK_OCT, NULL };
	static const char source[] = NO_ID SIG "{\"algs\": [\"HS256\", \"HS512\"]}}, " KEYS;
	struct lab lab;

	(void)state;
	lab_open(&lab, source, keys);
	assert_int_equal(
		judge(&lab, "X-Token: ", token_of(JWK_OCT, JWS_HS256, "{\"alg\":\"HS256\"}", "{}"),
			BODY, LAB_NOW),
		ERR_OK);
	assert_int_equal(
		judge(&lab, "X-Token: ", token_of(JWK_OCT, JWS_HS512, "{\"alg\":\"HS512\"}", "{}"),
			BODY, LAB_NOW),
		ERR_OK);
	/* allowed to the key, not by the config */
	assert_int_equal(
		judge(&lab, "X-Token: ", token_of(JWK_OCT, JWS_HS384, "{\"alg\":\"HS384\"}", "{}"),
			BODY, LAB_NOW),
		ERR_BAD_SIGNATURE);
	/* the tag of one digest under the name of another */
	assert_int_equal(
		judge(&lab, "X-Token: ", token_of(JWK_OCT, JWS_HS512, "{\"alg\":\"HS256\"}", "{}"),
			BODY, LAB_NOW),
		ERR_BAD_SIGNATURE);
	lab_close(&lab);
}

#define GOOGLE                                                                                     \
	"\"id\": \"json:/item_id\", \"public_url\": \"https://hooks.example/hooks/s\", "           \
	"\"secrets\": {\"service_account\": {\"file\": \"k1\"}}, "                                 \
	"\"verify\": {\"alg\": \"jwt\", \"sig\": \"header:Authorization\", "                       \
	"\"match\": \"Bearer {token}\", \"jwt\": {\"algs\": [\"RS256\"], "                         \
	"\"iss\": [\"https://accounts.google.com\", \"accounts.google.com\"], "                    \
	"\"aud\": \"{url}\", \"claims\": {\"email\": \"{secret:service_account}\", "               \
	"\"email_verified\": true, \"a/b~c\": 7}}}"
#define EXP "\"exp\":1614265930,"
#define ISS "\"iss\":\"accounts.google.com\","
#define AUD "\"aud\":\"https://hooks.example/hooks/s\","
#define REST "\"email\":\"push@proj.example\",\"email_verified\":true,\"a/b~c\":7"

static void claims_are_compared(void **state)
{
	static const char *const keys[] = { JWK_RSA, "push@proj.example\n", NULL };
	static const struct {
		const char *claims;
		enum err_code want;
	} rows[] = {
		{ ISS AUD EXP REST, ERR_OK },
		{ "\"iss\":\"https:\\/\\/accounts.google.com\"," AUD EXP REST, ERR_OK },
		{ ISS "\"aud\":[\"x\",\"https://hooks.example/hooks/s\"]," EXP REST, ERR_OK },
		{ ISS "\"aud\":[\"x\"]," EXP REST, ERR_BAD_SIGNATURE },
		{ ISS "\"aud\":\"https://hooks.example/hooks/s/\"," EXP REST, ERR_BAD_SIGNATURE },
		{ ISS "\"aud\":{\"a\":\"https://hooks.example/hooks/s\"}," EXP REST,
			ERR_BAD_SIGNATURE },
		{ ISS EXP REST, ERR_BAD_SIGNATURE },
		{ AUD EXP REST, ERR_BAD_SIGNATURE },
		{ "\"iss\":\"evil.example\"," AUD EXP REST, ERR_BAD_SIGNATURE },
		{ "\"iss\":[\"accounts.google.com\"]," AUD EXP REST, ERR_BAD_SIGNATURE },
		{ ISS AUD REST, ERR_BAD_TIMESTAMP }, /* such a token ends */
		{ ISS AUD "\"exp\":1614265270," REST, ERR_OK },
		{ ISS AUD "\"exp\":1614265269," REST, ERR_EXPIRED },
		{ ISS AUD EXP "\"email\":\"push@proj.example\",\"email_verified\":true",
			ERR_BAD_SIGNATURE },
		{ ISS AUD EXP "\"email\":\"push@proj.example\",\"email_verified\":\"true\","
			      "\"a/b~c\":7",
			ERR_BAD_SIGNATURE },
		{ ISS AUD EXP "\"email\":\"push@proj.example\",\"email_verified\":true,\"a/b~c\":8",
			ERR_BAD_SIGNATURE },
		{ ISS AUD EXP "\"email\":\"Push@proj.example\",\"email_verified\":true,\"a/b~c\":7",
			ERR_BAD_SIGNATURE },
	};
	struct scheme_audit audit;
	struct lab lab;
	char payload[512];

	(void)state;
	lab_open(&lab, GOOGLE ", " KEYS, keys);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		(void)snprintf(payload, sizeof(payload), "{%s}", rows[i].claims);
		assert_int_equal(
			judge(&lab, "Authorization: Bearer ",
				token_of(JWK_RSA_FULL, JWS_RS256, "{\"alg\":\"RS256\"}", payload),
				BODY, LAB_NOW),
			rows[i].want);
	}
	assert_int_equal(judge(&lab, "Authorization: Basic ", "e30.e30.AA", BODY, LAB_NOW),
		ERR_BAD_SIGNATURE);
	assert_true(scheme_reads_query(lab.scheme));
	assert_true(scheme_hides_header(lab.scheme, SLICE_LIT("authorization")));
	assert_false(scheme_keeps_header(lab.scheme, SLICE_LIT("authorization")));
	scheme_audit(lab.scheme, &audit);
	assert_string_equal(audit.binds, "none");
	assert_string_equal(audit.replay, "time");
	assert_string_equal(audit.id, "UNSIGNED");
	lab_close(&lab);
}

static void audits_follow_from_the_claims(void **state)
{
	static const char *const keys[] = { JWK_P256, NULL };
	static const struct {
		const char *source, *binds, *replay, *id;
	} rows[] = {
		{ PLAID, "full", "time", "derived" },
		{ "\"id\": \"json:/event/id\", " SIG "{\"algs\": [\"ES256\"], \"claims\": "
		  "{\"request_body_sha256\": \"{sha256b64(body)}\"}}}",
			"full", "dedup-only", "signed" },
		{ "\"id\": \"json:/event/id\", " SIG "{\"algs\": [\"ES256\"], \"iss\": [\"a\"]}}",
			"none", "time", "UNSIGNED" },
		{ "\"id\": \"json:/event/id\", " SIG "{\"algs\": [\"ES256\"], \"claims\": "
		  "{\"crc\": \"{crc32(body)}\"}}}",
			"none", "dedup-only", "UNSIGNED" },
	};
	struct scheme_audit audit;
	struct lab lab;
	char source[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		(void)snprintf(source, sizeof(source), "%s, %s", rows[i].source, KEYS);
		lab_open(&lab, source, keys);
		scheme_audit(lab.scheme, &audit);
		assert_string_equal(audit.binds, rows[i].binds);
		assert_string_equal(audit.replay, rows[i].replay);
		assert_string_equal(audit.id, rows[i].id);
		lab_close(&lab);
	}
}

/* ---- keys that turn over -----------------------------------------------------------------------
 */

static void put_keys(const struct lab *lab, const char *text)
{
	char *path = file_join(lab->dir, "k0");

	assert_non_null(path);
	assert_int_equal(file_write_atomic(path, slice_str(text), 0600, NULL), ERR_OK);
	free(path);
}

static enum err_code judge_kid(
	struct lab *lab, const char *key, enum jws_alg alg, const char *kid, int64_t now_s)
{
	char header[128];

	(void)snprintf(
		header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"}", jws_alg_name(alg), kid);
	return judge(lab, "X-Token: ", token_of(key, alg, header, "{}"), BODY, now_s);
}

#define ANY_ALG NO_ID SIG "{\"algs\": [\"ES256\", \"RS256\"]}}, "
#define OLD_KEYS "{\"keys\":[{" JWK_P256_MEMBERS ",\"kid\":\"old\"}]}"
#define NEW_KEYS "{\"keys\":[{" JWK_RSA_MEMBERS ",\"kid\":\"new\"}]}"

static void an_unknown_kid_has_the_file_read_again(void **state)
{
	static const char *const keys[] = { OLD_KEYS, NULL };
	struct lab lab;

	(void)state;
	lab_open(&lab, ANY_ALG KEYS, keys);
	assert_int_equal(judge_kid(&lab, JWK_P256_FULL, JWS_ES256, "old", LAB_NOW), ERR_OK);
	assert_int_equal(
		judge_kid(&lab, JWK_RSA_FULL, JWS_RS256, "new", LAB_NOW), ERR_KEY_NOT_FOUND);
	put_keys(&lab, NEW_KEYS);
	/* within the second in which it was looked at */
	assert_int_equal(judge_kid(&lab, JWK_RSA_FULL, JWS_RS256, "new", LAB_NOW), ERR_OK);
	assert_int_equal(
		judge_kid(&lab, JWK_P256_FULL, JWS_ES256, "old", LAB_NOW), ERR_KEY_NOT_FOUND);
	/* a file that cannot be read takes no key away */
	put_keys(&lab, "{\"keys\":[]}");
	assert_int_equal(judge_kid(&lab, JWK_RSA_FULL, JWS_RS256, "new", LAB_NOW + 5), ERR_OK);
	assert_int_equal(
		judge_kid(&lab, JWK_P256_FULL, JWS_ES256, "old", LAB_NOW + 5), ERR_KEY_NOT_FOUND);
	lab_close(&lab);
}

static void a_changed_file_is_seen_within_a_second(void **state)
{
	static const char *const keys[] = { OLD_KEYS, NULL };
	struct lab lab;

	(void)state;
	lab_open(&lab, ANY_ALG KEYS, keys);
	assert_int_equal(judge_kid(&lab, JWK_P256_FULL, JWS_ES256, "old", LAB_NOW), ERR_OK);
	/* the same kid names another key now */
	put_keys(&lab, "{\"keys\":[{" JWK_RSA_MEMBERS ",\"kid\":\"old\"}]}");
	assert_int_equal(judge_kid(&lab, JWK_P256_FULL, JWS_ES256, "old", LAB_NOW), ERR_OK);
	assert_int_equal(
		judge_kid(&lab, JWK_P256_FULL, JWS_ES256, "old", LAB_NOW + 1), ERR_BAD_SIGNATURE);
	assert_int_equal(judge_kid(&lab, JWK_RSA_FULL, JWS_RS256, "old", LAB_NOW + 1), ERR_OK);
	/* the clock was set back */
	put_keys(&lab, OLD_KEYS);
	assert_int_equal(judge_kid(&lab, JWK_P256_FULL, JWS_ES256, "old", LAB_NOW - 9000), ERR_OK);
	lab_close(&lab);
}

static void keys_have_names_and_times_in_the_config(void **state)
{
	static const char *const keys[] = { JWK_P256, JOSE_RSA_PEM, NULL };
	struct lab lab;

	(void)state;
	lab_open(&lab,
		ANY_ALG "\"keys\": [{\"file\": \"k0\", \"kid\": \"a\", \"role\": \"previous\", "
			"\"not_after\": \"2021-02-25T15:02:10Z\"}, {\"file\": \"k1\", \"kid\": "
			"\"b\"}]",
		keys);
	assert_int_equal(judge_kid(&lab, JWK_P256_FULL, JWS_ES256, "a", LAB_NOW), ERR_OK);
	assert_int_equal(lab.verdict.key, 1);
	assert_int_equal(
		judge_kid(&lab, JWK_P256_FULL, JWS_ES256, "a", LAB_NOW + 1), ERR_KEY_NOT_FOUND);
	assert_int_equal(judge_kid(&lab, JWK_RSA_FULL, JWS_RS256, "b", LAB_NOW), ERR_OK);
	assert_int_equal(lab.verdict.key, 0);
	assert_int_equal(judge_kid(&lab, JWK_RSA_FULL, JWS_RS256, "a", LAB_NOW), ERR_BAD_SIGNATURE);
	lab_close(&lab);
}

/* ---- the sender's side -------------------------------------------------------------------------
 */

static enum err_code signed_verdict(
	struct lab *lab, struct scheme_draft draft, int64_t now_s, struct err *err)
{
	struct scheme_signed out = SCHEME_SIGNED_INIT;
	enum err_code rc = scheme_sign(lab->scheme, &draft, &out, err);

	if (rc == ERR_OK) {
		struct scheme_request rq = {
			.method = SLICE_LIT("POST"),
			.headers = out.headers,
			.header_count = out.header_count,
			.body = buf_slice(&out.body),
			.public_url = SLICE_LIT("https://hooks.example/hooks/s"),
		};

		scheme_verify(lab->scheme, &rq, now_s * 1000, &lab->verdict);
		rc = lab->verdict.code;
	}
	scheme_signed_done(&out);
	return rc;
}

static void tokens_are_made_with_private_keys(void **state)
{
	static const char *const full[] = { JWK_P256_FULL, NULL };
	static const char *const google[] = { JWK_RSA_FULL, "push@proj.example", NULL };
	static const char *const open[] = { JWK_P256, NULL };
	struct scheme_draft draft = { .body = SLICE_LIT(BODY),
		.now_ms = INT64_C(1000) * LAB_NOW,
		.url = SLICE_LIT("https://hooks.example/hooks/s") };
	struct err err = ERR_INIT;
	struct lab lab;

	(void)state;
	lab_open(&lab, PLAID ", " KEYS, full);
	assert_int_equal(signed_verdict(&lab, draft, LAB_NOW, &err), ERR_OK);
	assert_int_equal(signed_verdict(&lab, draft,
				 LAB_NOW + scheme_tolerance_s(lab.scheme, false) + 1, &err),
		ERR_EXPIRED);
	assert_int_equal(signed_verdict(&lab, draft,
				 LAB_NOW - scheme_tolerance_s(lab.scheme, true) - 1, &err),
		ERR_CLOCK_SKEW);
	draft.bad_signature = true;
	assert_int_equal(signed_verdict(&lab, draft, LAB_NOW, &err), ERR_BAD_SIGNATURE);
	draft.bad_signature = false;
	lab_close(&lab);
	lab_open(&lab, GOOGLE ", " KEYS, google);
	assert_int_equal(signed_verdict(&lab, draft, LAB_NOW, &err), ERR_OK);
	assert_int_equal(signed_verdict(&lab, draft,
				 LAB_NOW + scheme_tolerance_s(lab.scheme, false) + 1, &err),
		ERR_EXPIRED);
	lab_close(&lab);
	lab_open(&lab, PLAID ", " KEYS, open);
	assert_int_equal(signed_verdict(&lab, draft, LAB_NOW, &err), ERR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "private key"));
	lab_close(&lab);
}

/* ---- mistakes ----------------------------------------------------------------------------------
 */

static void mistakes_in_a_config_are_told(void **state)
{
	static const struct {
		const char *source, *key, *word;
	} rows[] = {
		{ SIG "{}}", JWK_P256, "algs" },
		{ SIG "{\"algs\": []}}", JWK_P256, "algs" },
		{ SIG "{\"algs\": [\"none\"]}}", JWK_P256, "RS256" },
		{ SIG "{\"algs\": [\"ES256\"], \"issuer\": []}}", JWK_P256, "unknown member" },
		{ SIG "{\"algs\": [\"ES256\"], \"iss\": \"a\"}}", JWK_P256, "list" },
		{ SIG "{\"algs\": [\"ES256\"], \"aud\": \"{url}\"}}", JWK_P256, "public_url" },
		{ SIG "{\"algs\": [\"ES256\"], \"max_age\": -1}}", JWK_P256, "seconds" },
		{ SIG "{\"algs\": [\"ES256\"], \"claims\": {\"a\": []}}}", JWK_P256, "template" },
		{ "\"verify\": {\"alg\": \"jwt\", \"sig\": \"header:A\"}", JWK_P256, "jwt is" },
		{ "\"verify\": {\"alg\": \"jwt\", \"jwt\": {\"algs\": [\"ES256\"]}}", JWK_P256,
			"sig is" },
		{ SIG "{\"algs\": [\"ES256\"]}, \"time\": \"header:A\"}", JWK_P256, "unknown" },
		{ SIG "{\"algs\": [\"ES256\"]}}", "a secret of somebody", "JWK" },
	};
	char source[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *const keys[] = { rows[i].key, NULL };
		struct lab lab;
		bool told = false;

		(void)snprintf(source, sizeof(source), "%s, %s", rows[i].source, KEYS);
		assert_int_equal(lab_try(&lab, source, keys), ERR_CONFIG);
		for (size_t p = 0; p < lab.report.count; p++) {
			told |= strstr(lab.report.problems[p].text, rows[i].word) != NULL;
			assert_null(strstr(lab.report.problems[p].text, "somebody"));
		}
		if (!told && lab.report.count > 0)
			print_error("%s: %s\n", rows[i].source, lab.report.problems[0].text);
		assert_true(told);
		lab_close(&lab);
	}
}

static int forget_tokens(void **state)
{
	(void)state;
	for (size_t i = 0; i < TOKENS; i++)
		buf_done(&tokens[i]);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_examples_verify),
		cmocka_unit_test(what_is_no_token_is_refused),
		cmocka_unit_test(headers_are_read_strictly),
		cmocka_unit_test(long_tokens_are_refused),
		cmocka_unit_test(sets_leave_out_what_is_of_no_use),
		cmocka_unit_test(what_holds_no_key_is_refused),
		cmocka_unit_test(the_body_and_its_age_are_bound),
		cmocka_unit_test(algorithms_are_pinned),
		cmocka_unit_test(a_public_key_is_no_secret),
		cmocka_unit_test(secrets_sign_too),
		cmocka_unit_test(claims_are_compared),
		cmocka_unit_test(audits_follow_from_the_claims),
		cmocka_unit_test(an_unknown_kid_has_the_file_read_again),
		cmocka_unit_test(a_changed_file_is_seen_within_a_second),
		cmocka_unit_test(keys_have_names_and_times_in_the_config),
		cmocka_unit_test(tokens_are_made_with_private_keys),
		cmocka_unit_test(mistakes_in_a_config_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, forget_tokens);
}
