/* scheme_vectors.c - signatures that providers publish, verified as received, and what must be
 * refused of each when anything about it is changed. */
#include "support/scheme_lab.h"

#define KEYS "\"keys\": [{\"file\": \"k0\"}]"
#define OPAQUE                                                                                     \
	"\"id\": \"sha256:body\", \"type\": \"none\", \"entity\": \"none\", \"version\": "         \
	"\"none\", "
#define PRESET(name) "\"preset\": \"" name "\", " KEYS
#define PLAIN_PRESET(name) OPAQUE "\"preset\": \"" name "\", " KEYS
#define PLAIN(verify) OPAQUE "\"verify\": {" verify "}, " KEYS

#define SLACK_BODY                                                                                 \
	"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"                 \
	"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"         \
	"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"  \
	"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"                                   \
	"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"

#define TWILIO_URL "https://mycompany.com/myapp.php"
#define TWILIO_DIGEST "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"

struct vector {
	const char *name, *source, *key, *headers, *body;
	int64_t now; /* seconds */
	const char *url, *query;
	const char *sig_header;
};

static const struct vector vectors[] = {
	{ "github, plain text", PLAIN_PRESET("github"), "It's a Secret to Everybody",
		"X-Hub-Signature-256: "
		"sha256="
		"757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b"
		"043e17",
		"Hello, World!", LAB_NOW, NULL, NULL, "X-Hub-Signature-256" },
	{ "github, JSON", PLAIN_PRESET("github"), "mysecret",
		"X-Hub-Signature-256: "
		"sha256="
		"4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f34842"
		"36bda3",
		"{\"foo\":\"bar\"}", LAB_NOW, NULL, NULL, "X-Hub-Signature-256" },
	{ "standard-webhooks", PRESET("standard-webhooks"),
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek\n"
		"webhook-timestamp: 1614265330\n"
		"webhook-signature: "
		"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		"{\"test\": 2432232314}", 1614265330, NULL, NULL, "webhook-signature" },
	{ "svix", PRESET("svix"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"svix-id: msg_p5jXN8AQM9LWM0D4loKWxJek\n"
		"svix-timestamp: 1614265330\n"
		"svix-signature: "
		"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		"{\"test\": 2432232314}", 1614265330, NULL, NULL, "svix-signature" },
	{ "slack", PLAIN_PRESET("slack"), "8f742231b10e8888abcd99yyyzzz85a5",
		"X-Slack-Request-Timestamp: 1531420618\n"
		"X-Slack-Signature: "
		"v0="
		"a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c"
		"69b503",
		SLACK_BODY, 1531420618, NULL, NULL, "X-Slack-Signature" },
	{ "paddle",
		PLAIN("\"alg\": \"hmac-sha256\", \"sig\": "
		      "\"header:Paddle-Signature\", "
		      "\"split\": \";\", \"match\": [\"ts={ts}\", "
		      "\"h1={hex}\"], "
		      "\"signed\": \"{cap:ts}:{body}\", \"time\": "
		      "\"cap:ts\""),
		"VALID_SECRET",
		"Paddle-Signature: "
		"ts=1698796800;h1="
		"a300428748dce5c70e4da19bffd60769591ea969c99dea3105d0ec9612"
		"cf43f9",
		"{\"data\": [\"1\", \"2\"]}", 1698796800, NULL, NULL, "Paddle-Signature" },
	{ "square",
		PLAIN("\"alg\": \"hmac-sha256\", \"sig\": "
		      "\"header:x-square-hmacsha256-signature\", "
		      "\"match\": \"{base64}\", \"signed\": "
		      "\"{url}{body}\"") ", \"public_url\": "
					 "\"https://webhook.site/"
					 "webhooks\"",
		"signature-key",
		"x-square-hmacsha256-signature: "
		"W3FlCNk5IA3ZQ2LHTWoajvzfaDu/OwY2tNHIHC3IUOA=",
		"{\"data\":{\"type\":\"webhooks\",\"id\":\"fake_id\"}}", LAB_NOW, NULL, NULL,
		"x-square-hmacsha256-signature" },
	{ "square, unescaped",
		PLAIN("\"alg\": \"hmac-sha256\", \"sig\": "
		      "\"header:x-square-hmacsha256-signature\", "
		      "\"match\": \"{base64}\", \"signed\": "
		      "\"{url}{body}\"") ", \"public_url\": "
					 "\"https://elsewhere.example\"",
		"signature-key",
		"x-square-hmacsha256-signature: "
		"Cxt7+aTi4rKgcA0bC4g9EHdVtLSDWdqccmL5MvihU4U=",
		"{\"data\":{\"type\":\"webhooks\",\"id\":\">id<\"}}", LAB_NOW,
		"https://webhook.site/webhooks", NULL, "x-square-hmacsha256-signature" },
	{ "hubspot, version 3",
		PLAIN("\"alg\": \"hmac-sha256\", \"sig\": "
		      "\"header:X-HubSpot-Signature-v3\", "
		      "\"match\": \"{base64}\", \"signed\": "
		      "\"{method}{url}{body}{time}\", "
		      "\"time\": \"header:X-HubSpot-Request-Timestamp\", "
		      "\"unit\": \"ms\"") ", \"public_url\": "
					  "\"https://www.example.com/"
					  "webhook_uri\"",
		"yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
		"X-HubSpot-Request-Timestamp: 1693657560000\n"
		"X-HubSpot-Signature-v3: "
		"K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=",
		"{'example_field':'example_value'}", 1693657560, NULL, NULL,
		"X-HubSpot-Signature-v3" },
	{ "twilio, JSON",
		PLAIN("\"alg\": \"hmac-sha1\", \"sig\": "
		      "\"header:X-Twilio-Signature\", "
		      "\"match\": \"{base64}\", \"signed\": "
		      "[\"{url-port}\", \"{url+port}\"], "
		      "\"require\": [[\"query:bodySHA256\", "
		      "\"{sha256hex(body)}\"]]") ", \"public_url\": "
						 "\"" TWILIO_URL "\"",
		"12345", "X-Twilio-Signature: a9nBmqA0ju/hNViExpshrM61xv4=",
		"{\"property\": \"value\", \"boolean\": true}", LAB_NOW, NULL,
		"foo=1&bar=2&bodySHA256=" TWILIO_DIGEST, "X-Twilio-Signature" },
	{ "circleci",
		PLAIN("\"alg\": \"hmac-sha256\", \"sig\": "
		      "\"header:circleci-signature\", "
		      "\"split\": \",\", \"match\": \"v1={hex}\""),
		"another-secret",
		"circleci-signature: "
		"v1="
		"daa220016c8f29a8b214fbfc3671aeec2145cfb1e6790184ffb38b6d04"
		"25fa00",
		"lalala", LAB_NOW, NULL, NULL, "circleci-signature" },
	{ "dropbox",
		PLAIN("\"alg\": \"hmac-sha256\", \"sig\": "
		      "\"header:X-Dropbox-Signature\", "
		      "\"match\": \"{hex}\""),
		"the_secret",
		"X-Dropbox-Signature: "
		"0a8c16b085420b960dc78664279fe09e936a2a01b1f91064869d9e77df"
		"d64529",
		"{\"delta\": {\"users\": [12345]}}", LAB_NOW, NULL, NULL, "X-Dropbox-Signature" },
};

struct fixture {
	struct lab lab;
	struct lab_request request;
};

static void open_vector(struct fixture *f, const struct vector *v)
{
	const char *keys[] = { v->key, NULL };

	lab_open(&f->lab, v->source, keys);
	lab_request(&f->request, v->headers, slice_str(v->body));
	f->request.rq.public_url = slice_str(v->url);
	f->request.rq.query = slice_str(v->query);
	f->request.rq.has_query = v->query != NULL;
}

static enum err_code judge(struct fixture *f, const struct vector *v)
{
	enum err_code rc = lab_verify(&f->lab, &f->request, v->now * 1000);

	assert_int_equal(f->lab.verdict.key, rc == ERR_OK ? 0 : -1);
	return rc;
}

static struct slice *signature(struct fixture *f, const struct vector *v)
{
	for (size_t i = 0; i < f->request.rq.header_count; i++) {
		if (slice_eq_str(f->request.headers[i].name, v->sig_header))
			return &f->request.headers[i].value;
	}
	fail_msg("no signature in the vector %s", v->name);
	return NULL;
}

static void published_signatures_verify(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		struct fixture f;

		open_vector(&f, &vectors[i]);
		if (judge(&f, &vectors[i]) != ERR_OK)
			fail_msg("%s: %s", vectors[i].name, f.lab.verdict.detail);
		assert_int_equal(scheme_precheck(f.lab.scheme, &f.request.rq), ERR_OK);
		assert_int_equal(lab_map(&f.lab, &f.request), ERR_OK);
		assert_true(f.lab.mapped.id.len > 0);
		lab_close(&f.lab);
	}
}

/* Each byte of the body, of the signature and of the time, one after the other. */
static void any_changed_byte_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct fixture f;
		char changed[1024];
		struct slice *places[LAB_HEADERS + 1];
		size_t count = 0;

		open_vector(&f, v);
		places[count++] = &f.request.rq.body;
		for (size_t h = 0; h < f.request.rq.header_count; h++)
			places[count++] = &f.request.headers[h].value;
		for (size_t p = 0; p < count; p++) {
			struct slice whole = *places[p];

			assert_true(whole.len < sizeof(changed));
			for (size_t at = 0; at < whole.len; at++) {
				memcpy(changed, whole.data, whole.len);
				changed[at] = (char)(changed[at] ^ 1);
				*places[p] = (struct slice){ (uint8_t *)changed, whole.len };
				/* The last letter of base64 holds bits that must be zero, and
				 * hex may be of either case; bit 0 changes neither. */
				assert_int_not_equal(judge(&f, v), ERR_OK);
			}
			*places[p] = whole;
		}
		assert_int_equal(judge(&f, v), ERR_OK);
		lab_close(&f.lab);
	}
}

static void other_lengths_and_prefixes_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct fixture f;
		struct slice *sig, whole;
		char text[1024];

		open_vector(&f, v);
		sig = signature(&f, v);
		whole = *sig;
		*sig = slice_sub(whole, 0, whole.len - 2);
		assert_int_equal(judge(&f, v), ERR_BAD_SIGNATURE);
		(void)snprintf(text, sizeof(text), "%.*s00", SLICE_FMT(whole));
		*sig = slice_str(text);
		assert_int_equal(judge(&f, v), ERR_BAD_SIGNATURE);
		(void)snprintf(text, sizeof(text), "md5=%.*s", SLICE_FMT(whole));
		*sig = slice_str(text);
		assert_int_not_equal(judge(&f, v), ERR_OK);
		*sig = SLICE_EMPTY;
		assert_int_equal(judge(&f, v), ERR_MISSING_SIGNATURE);
		assert_int_equal(
			scheme_precheck(f.lab.scheme, &f.request.rq), ERR_MISSING_SIGNATURE);
		lab_close(&f.lab);
	}
}

static void a_second_signature_header_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct fixture f;

		open_vector(&f, v);
		lab_header(&f.request, v->sig_header, *signature(&f, v));
		assert_int_equal(judge(&f, v), ERR_BAD_SIGNATURE);
		assert_int_equal(scheme_precheck(f.lab.scheme, &f.request.rq), ERR_BAD_SIGNATURE);
		lab_close(&f.lab);
	}
}

static void without_its_header_a_signature_is_missing(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct fixture f;
		struct slice *sig;

		open_vector(&f, v);
		sig = signature(&f, v);
		((struct header *)(void *)((char *)sig - offsetof(struct header, value)))->name =
			SLICE_LIT("X-Other");
		assert_int_equal(judge(&f, v), ERR_MISSING_SIGNATURE);
		lab_close(&f.lab);
	}
}

static void another_key_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		struct vector v = vectors[i];
		struct fixture f;
		char key[128];

		/* One newline at the end is not part of a key; two leave one that is. */
		(void)snprintf(key, sizeof(key), "%s\n", v.key);
		v.key = key;
		open_vector(&f, &v);
		assert_int_equal(judge(&f, &v), ERR_OK);
		lab_close(&f.lab);
		v.key = strstr(v.source, "webhooks\"") || strstr(v.source, "svix")
				? "whsec_AAAA9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
				: strcat(key, "\n");
		open_vector(&f, &v);
		assert_int_equal(judge(&f, &v), ERR_BAD_SIGNATURE);
		lab_close(&f.lab);
	}
}

/* Upper case hex and base64 without its padding are the same signature. */
static void the_writing_of_a_signature_may_vary(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct fixture f;
		struct slice *sig;
		char text[1024];

		open_vector(&f, v);
		sig = signature(&f, v);
		(void)snprintf(text, sizeof(text), "%.*s", SLICE_FMT(*sig));
		if (text[sig->len - 1] == '=') {
			sig->len--;
		} else {
			for (size_t at = sig->len - 40; at < sig->len; at++) {
				if (text[at] >= 'a' && text[at] <= 'f')
					text[at] = (char)(text[at] - ('a' - 'A'));
			}
			*sig = slice_str(text);
		}
		assert_int_equal(judge(&f, v), ERR_OK);
		(void)snprintf(text, sizeof(text), "%.*s ", SLICE_FMT(*sig));
		*sig = slice_str(text);
		/* Blanks around an entry are taken off only where entries are split. */
		if (strstr(v->source, "split") == NULL && strstr(v->source, "preset") == NULL)
			assert_int_equal(judge(&f, v), ERR_BAD_SIGNATURE);
		lab_close(&f.lab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_signatures_verify),
		cmocka_unit_test(any_changed_byte_is_refused),
		cmocka_unit_test(other_lengths_and_prefixes_are_refused),
		cmocka_unit_test(a_second_signature_header_is_refused),
		cmocka_unit_test(without_its_header_a_signature_is_missing),
		cmocka_unit_test(another_key_is_refused),
		cmocka_unit_test(the_writing_of_a_signature_may_vary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
