/* scheme_sign.c - the sender's side: what it makes verifies and means what was asked for, also
 * around real bodies, byte for byte. */
#include "support/scheme_lab.h"

#include <dirent.h>

#define KEYS "\"keys\": [{\"file\": \"k0\"}]"
#define NOW_MS (LAB_NOW * INT64_C(1000) + 123)

static const char *const b64_key[] = { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", NULL };

static void request_of(const struct scheme_signed *made, struct lab_request *out)
{
	*out = (struct lab_request){ .rq = { .method = SLICE_LIT("POST"),
					     .headers = made->headers,
					     .header_count = made->header_count,
					     .body = buf_slice(&made->body) } };
}

#define BILLING                                                                                    \
	"\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:X-Signature\", \"match\": "      \
	"\"{hex}\", \"time\": \"json:/sent_at\", \"unit\": \"rfc3339\", \"tolerance\": 300, "      \
	"\"future_tolerance\": 60}, \"id\": \"json:/event_id\", \"type\": \"json:/type\", "        \
	"\"entity\": \"account:{json:/account}\", \"version\": \"json:/version\", \"base\": "      \
	"\"json:/base_version\", " KEYS
#define MILLIS                                                                                     \
	"\"verify\": {\"alg\": \"hmac-sha512\", \"sig\": \"header:Sig-*\", \"match\": "            \
	"\"k={base64}\", \"time\": \"json:/meta/at\", \"unit\": \"ms\", \"require\": "             \
	"[[\"header:D\", \"{sha256hex(body)}\"]]}, \"id\": \"{json:/meta/a}:{json:/meta/b}\", "    \
	"\"type\": \"header:T\", \"version\": \"json:/meta/version\", " KEYS

static const struct {
	const char *source, *id, *type, *entity, *version;
	const char *want_id, *want_type, *want_entity, *want_version;
} rows[] = {
	{ "\"preset\": \"standard-webhooks\", " KEYS, "msg_1", "invoice.paid", NULL,
		"2026-11-22T01:02:03Z", "msg_1", "invoice.paid", "",
		"2026-11-22T01:02:03.000000000Z" },
	{ "\"preset\": \"standard-webhooks\", \"entity\": \"json:/data/id\", \"version\": "
	  "\"json:/data/version\", " KEYS,
		"msg_1", NULL, "o1", "41", "msg_1", "", "o1", "41" },
	{ "\"preset\": \"svix\", " KEYS, "msg_1", "a", NULL, NULL, "msg_1", "a", "", "" },
	{ "\"preset\": \"stripe\", " KEYS, "evt_1", "charge.ok", "charge:ch_1", NULL, "evt_1",
		"charge.ok", "charge:ch_1", "" },
	{ "\"preset\": \"github\", " KEYS, "g1", "push", "repo:1", NULL, "g1", "push", "repo:1",
		"" },
	{ "\"preset\": \"github\", " KEYS, "g1", "issues.opened", "7", NULL, "g1", "issues.opened",
		"repo:7", "" },
	{ "\"preset\": \"slack\", " KEYS, "Ev1", "message", NULL, "1360782804", "Ev1", "message",
		"", "1360782804" },
	{ "\"preset\": \"shopify\", " KEYS, "w1", "orders/create", "gid://shopify/Order/1",
		"2026-11-22T01:02:03-05:00", "w1", "orders/create", "gid://shopify/Order/1",
		"2026-11-22T06:02:03.000000000Z" },
	{ BILLING, "e\"1", "paid", "account:a1", "9223372036854775807", "e\"1", "paid",
		"account:a1", "9223372036854775807" },
	{ BILLING, "e1", "paid", "a1", "-5", "e1", "paid", "account:a1", "-5" },
	{ MILLIS, "x:y:z", "t", NULL, "3", "x:y:z", "t", "", "3" },
};

static void what_is_signed_verifies_and_means_what_was_asked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scheme_draft draft = {
			.id = slice_str(rows[i].id),
			.type = slice_str(rows[i].type),
			.entity = slice_str(rows[i].entity),
			.version = slice_str(rows[i].version),
			.body = SLICE_LIT("{\"seq\":1}"),
			.now_ms = NOW_MS,
			.fill_body = true,
		};
		struct scheme_signed made = SCHEME_SIGNED_INIT;
		char version[VERSION_TEXT_MAX];
		struct lab_request r;
		struct lab lab;

		lab_open(&lab, rows[i].source, b64_key);
		if (scheme_sign(lab.scheme, &draft, &made, &lab.err) != ERR_OK)
			fail_msg("row %zu: %s", i, lab.err.text);
		request_of(&made, &r);
		if (lab_verify(&lab, &r, NOW_MS) != ERR_OK)
			fail_msg("row %zu: %s", i, lab.verdict.detail);
		assert_int_equal(lab_map(&lab, &r), ERR_OK);
		lab_is(lab.mapped.id, rows[i].want_id);
		lab_is(lab.mapped.type, rows[i].want_type);
		lab_is(lab.mapped.entity, rows[i].want_entity);
		version_text(lab.mapped.version, version);
		lab_is(slice_str(version), rows[i].want_version);
		/* What was given stays where it was. */
		assert_true(slice_starts(r.rq.body, SLICE_LIT("{\"seq\":1")));
		scheme_signed_done(&made);
		lab_close(&lab);
	}
}

static void bad_requests_are_bad_in_the_way_asked_for(void **state)
{
	static const struct {
		int64_t shift_s;
		bool bad, bare;
		enum err_code want;
	} kinds[] = {
		{ 0, false, false, ERR_OK },
		{ 0, true, false, ERR_BAD_SIGNATURE },
		{ 0, false, true, ERR_MISSING_SIGNATURE },
		{ -301, false, false, ERR_EXPIRED },
		{ 301, false, false, ERR_CLOCK_SKEW },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scheme_signed made = SCHEME_SIGNED_INIT;
		struct lab lab;

		lab_open(&lab, rows[i].source, b64_key);
		for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
			struct scheme_draft draft = {
				.spare_id = SLICE_LIT("x"),
				.now_ms = NOW_MS + kinds[k].shift_s * 1000,
				.fill_body = true,
				.bad_signature = kinds[k].bad,
				.unsigned_request = kinds[k].bare,
			};
			struct lab_request r;

			if (kinds[k].shift_s != 0 && !scheme_has_time(lab.scheme))
				continue;
			assert_int_equal(scheme_sign(lab.scheme, &draft, &made, &lab.err), ERR_OK);
			request_of(&made, &r);
			assert_int_equal(lab_verify(&lab, &r, NOW_MS), kinds[k].want);
		}
		scheme_signed_done(&made);
		lab_close(&lab);
	}
}

static void a_spare_id_is_used_where_there_is_none(void **state)
{
	static const struct {
		const char *source, *body, *want;
		enum err_code code;
	} cases[] = {
		{ "\"preset\": \"github\", " KEYS, "{}", "spare", ERR_OK },
		{ "\"preset\": \"stripe\", " KEYS, "{}", "spare", ERR_OK },
		{ "\"preset\": \"stripe\", " KEYS, "{\"id\":\"mine\"}", "mine", ERR_OK },
		{ "\"preset\": \"stripe\", " KEYS, "text", "", ERR_MALFORMED_BODY },
		{ "\"preset\": \"github\", \"id\": \"sha256:body\", \"entity\": \"none\", "
		  "\"type\": "
		  "\"none\", " KEYS,
			"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
			ERR_OK },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct scheme_draft draft = {
			.spare_id = SLICE_LIT("spare"),
			.body = slice_str(cases[i].body),
			.now_ms = NOW_MS,
			.fill_body = true,
		};
		struct scheme_signed made = SCHEME_SIGNED_INIT;
		struct lab_request r;
		struct lab lab;

		lab_open(&lab, cases[i].source, b64_key);
		assert_int_equal(scheme_sign(lab.scheme, &draft, &made, &lab.err), ERR_OK);
		request_of(&made, &r);
		assert_int_equal(lab_verify(&lab, &r, NOW_MS), ERR_OK);
		assert_int_equal(lab_map(&lab, &r), cases[i].code);
		if (cases[i].code == ERR_OK)
			lab_is(lab.mapped.id, cases[i].want);
		scheme_signed_done(&made);
		lab_close(&lab);
	}
}

static void what_has_no_place_is_told(void **state)
{
	static const struct {
		const char *source;
		struct scheme_draft draft;
		const char *text;
	} cases[] = {
		{ "\"preset\": \"slack\", " KEYS, { .entity = SLICE_LIT("e") }, "have no entity" },
		{ "\"preset\": \"github\", \"id\": \"sha256:body\", " KEYS,
			{ .id = SLICE_LIT("e") }, "is not what the mapping of the id can yield" },
		{ "\"preset\": \"stripe\", " KEYS, { .entity = SLICE_LIT("e") },
			"is not what the mapping of the entity can yield" },
		{ "\"preset\": \"github\", " KEYS, { .id = SLICE_LIT("a\nb") },
			"control character" },
		{ "\"preset\": \"stripe\", " KEYS,
			{ .id = SLICE_LIT("a"), .body = SLICE_LIT("text") }, "no place in a body" },
		{ "\"preset\": \"stripe\", \"entity\": \"x{json:/id}\", " KEYS,
			{ .id = SLICE_LIT("a"), .entity = SLICE_LIT("xb") }, "two values" },
		{ "\"preset\": \"standard-webhooks\", " KEYS, { .type = SLICE_LIT("t") },
			"the signature covers header:webhook-id" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct scheme_draft draft = cases[i].draft;
		struct scheme_signed made = SCHEME_SIGNED_INIT;
		struct lab lab;

		draft.now_ms = NOW_MS;
		draft.fill_body = true;
		lab_open(&lab, cases[i].source, b64_key);
		assert_int_equal(scheme_sign(lab.scheme, &draft, &made, &lab.err), ERR_USAGE);
		if (!strstr(lab.err.text, cases[i].text))
			fail_msg("row %zu: %s", i, lab.err.text);
		scheme_signed_done(&made);
		lab_close(&lab);
	}
}

static void urls_are_signed_as_given(void **state)
{
	struct scheme_draft draft = {
		.url = SLICE_LIT("https://h.example/hooks/s?a=1"),
		.body = SLICE_LIT("x"),
		.now_ms = NOW_MS,
	};
	struct scheme_signed made = SCHEME_SIGNED_INIT;
	struct lab_request r;
	struct lab lab;

	(void)state;
	lab_open(&lab,
		"\"public_url\": \"https://h.example/hooks/s\", \"id\": \"sha256:body\", "
		"\"verify\": "
		"{\"alg\": \"hmac-sha1\", \"sig\": \"header:S\", \"match\": \"{base64}\", "
		"\"signed\": \"{url}{body}\"}, " KEYS,
		b64_key);
	assert_int_equal(scheme_sign(lab.scheme, &draft, &made, &lab.err), ERR_OK);
	request_of(&made, &r);
	assert_int_equal(lab_verify(&lab, &r, NOW_MS), ERR_BAD_SIGNATURE);
	r.rq.has_query = true;
	r.rq.query = SLICE_LIT("a=1");
	assert_int_equal(lab_verify(&lab, &r, NOW_MS), ERR_OK);
	scheme_signed_done(&made);
	lab_close(&lab);
}

/* ---- real bodies
 * --------------------------------------------------------------------------------- */

#define PAYLOADS "../shared/data/payloads"

static void round_trip(struct lab *lab, struct slice body)
{
	struct scheme_draft draft = {
		.spare_id = SLICE_LIT("id-1"), .body = body, .now_ms = NOW_MS
	};
	struct scheme_signed made = SCHEME_SIGNED_INIT;
	struct lab_request r;
	enum err_code mapped;

	assert_int_equal(scheme_sign(lab->scheme, &draft, &made, &lab->err), ERR_OK);
	request_of(&made, &r);
	assert_true(slice_eq(r.rq.body, body)); /* byte for byte */
	assert_int_equal(lab_verify(lab, &r, NOW_MS), ERR_OK);
	/* The body is that of another provider: it may lack the id, but it is JSON. */
	mapped = lab_map(lab, &r);
	assert_true(mapped == ERR_OK || mapped == ERR_MISSING_EVENT_ID);
	made.body.data[body.len / 2] ^= 1;
	assert_int_equal(lab_verify(lab, &r, NOW_MS), ERR_BAD_SIGNATURE);
	scheme_signed_done(&made);
}

static size_t each_payload(struct lab *lab)
{
	DIR *dir = opendir(PAYLOADS);
	struct dirent *entry;
	size_t count = 0;

	if (!dir)
		fail_msg("the real bodies are missing: there is no %s beside the checkout",
			PAYLOADS);
	while ((entry = readdir(dir)) != NULL) {
		struct buf body = BUF_INIT(MIB(1));
		struct err err = ERR_INIT;
		char path[512];

		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), PAYLOADS "/%s", entry->d_name);
		assert_int_equal(file_read(path, &body, &err), ERR_OK);
		round_trip(lab, buf_slice(&body));
		buf_done(&body);
		count++;
	}
	(void)closedir(dir);
	return count;
}

static void real_bodies_pass_unchanged(void **state)
{
	static const char *const presets[] = { "standard-webhooks", "svix", "github", "stripe",
		"slack", "shopify" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(presets); i++) {
		char source[128];
		struct lab lab;

		(void)snprintf(source, sizeof(source), "\"preset\": \"%s\", " KEYS, presets[i]);
		lab_open(&lab, source, b64_key);
		assert_true(each_payload(&lab) >= 40);
		lab_close(&lab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_signed_verifies_and_means_what_was_asked),
		cmocka_unit_test(bad_requests_are_bad_in_the_way_asked_for),
		cmocka_unit_test(a_spare_id_is_used_where_there_is_none),
		cmocka_unit_test(what_has_no_place_is_told),
		cmocka_unit_test(urls_are_signed_as_given),
		cmocka_unit_test(real_bodies_pass_unchanged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
