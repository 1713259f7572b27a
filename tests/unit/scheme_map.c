/* scheme_map.c - what authentic requests mean: fields, alternatives, versions, what is unusable,
 * and the digest that knows a copy again. */
#include "support/scheme_lab.h"

#define OPEN "\"verify\": {\"alg\": \"none\"}, "
#define KEYS "\"keys\": [{\"file\": \"k0\"}]"
#define LONG_64 "0123456789012345678901234567890123456789012345678901234567890123"
#define LONG_512 LONG_64 LONG_64 LONG_64 LONG_64 LONG_64 LONG_64 LONG_64 LONG_64

static const char *const one_key[] = { "k", NULL };

struct row {
	const char *headers, *body;
	enum err_code want;
	const char *id, *type, *entity, *version, *base;
};

static void check_rows(const char *source, const struct row *rows, size_t count)
{
	struct lab lab;

	lab_open(&lab, source, one_key);
	for (size_t i = 0; i < count; i++) {
		const struct row *row = &rows[i];
		char version[VERSION_TEXT_MAX];
		struct lab_request r;

		lab_request(&r, row->headers, slice_str(row->body));
		assert_int_equal(lab_verify(&lab, &r, 0), ERR_OK);
		if (lab_map(&lab, &r) != row->want)
			fail_msg("row %zu: %s %s", i, err_name(lab.mapped.code), lab.mapped.detail);
		if (row->want != ERR_OK)
			continue;
		version_text(lab.mapped.version, version);
		lab_is(lab.mapped.id, row->id);
		lab_is(lab.mapped.type, row->type ? row->type : "");
		lab_is(lab.mapped.entity, row->entity ? row->entity : "");
		lab_is(slice_str(version), row->version ? row->version : "");
		lab_is(lab.mapped.base, row->base ? row->base : "");
	}
	lab_close(&lab);
}

static void fields_come_from_headers_and_members(void **state)
{
	static const struct row rows[] = {
		{ "X-Id: 7", "{\"t\":\"a.b\",\"e\":{\"k\":\"x\",\"n\":5},\"v\":12}", ERR_OK, "7",
			"a.b", "x/5", "12", NULL },
		{ "X-Id: 7", "{\"t\":\"\\u00e4\\n\",\"v\":1}", ERR_MALFORMED_BODY, NULL, NULL, NULL,
			NULL, NULL },
		{ "X-Id: 7", "{\"t\":\"\\u00e4\",\"e\":{\"k\":\"\\\"\",\"n\":true},\"b\":\"3\"}",
			ERR_OK, "7", "\xc3\xa4", "\"/true", NULL, "3" },
		{ "X-Id: 7", "{\"e\":{\"k\":\"x\"},\"v\":null}", ERR_OK, "7", NULL, NULL, NULL,
			NULL },
		{ "X-Id: 7", "{\"e\":{\"k\":\"\",\"n\":1}}", ERR_OK, "7", NULL, NULL, NULL, NULL },
		{ "X-Id: 7", "{\"e\":{\"k\":{},\"n\":1},\"t\":[1]}", ERR_OK, "7", NULL, NULL, NULL,
			NULL },
		{ "X-Id: 7", "[]", ERR_OK, "7", NULL, NULL, NULL, NULL },
	};

	(void)state;
	check_rows(OPEN "\"id\": \"header:X-Id\", \"type\": \"json:/t\", \"entity\": "
			"\"{json:/e/k}/{json:/e/n}\", \"version\": \"json:/v\", \"base\": "
			"\"json:/b\"",
		rows, ARRAY_LEN(rows));
}

static void the_first_alternative_with_all_its_references_counts(void **state)
{
	static const struct row rows[] = {
		{ "A: 1\nB: 2", "", ERR_OK, "1-2", NULL, NULL, NULL, NULL },
		{ "A: 1", "", ERR_OK, "1", NULL, NULL, NULL, NULL },
		{ "A: 1\nB: ", "", ERR_OK, "1", NULL, NULL, NULL, NULL },
		{ "A: 1\nB: 2\nb: 3", "", ERR_OK, "1", NULL, NULL, NULL, NULL },
		{ "B: 2", "{\"id\":3}", ERR_OK, "3", NULL, NULL, NULL, NULL },
		{ "B: 2", "{\"id\":\"\"}", ERR_MISSING_EVENT_ID, NULL, NULL, NULL, NULL, NULL },
		{ "B: 2", "{}", ERR_MISSING_EVENT_ID, NULL, NULL, NULL, NULL, NULL },
		/* The body is read only where a reference has to. */
		{ "A: 1", "not JSON", ERR_OK, "1", NULL, NULL, NULL, NULL },
		{ "B: 1", "not JSON", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "B: 1", "{\"id\":1,\"id\":2}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
	};

	(void)state;
	check_rows(OPEN "\"id\": [\"{header:A}-{header:B}\", \"header:A\", \"json:/id\"]", rows,
		ARRAY_LEN(rows));
}

static void versions_are_numbers_or_times(void **state)
{
	static const struct row rows[] = {
		{ "I: 1", "{\"v\":\"0041\"}", ERR_OK, "1", NULL, NULL, "41", NULL },
		{ "I: 1", "{\"v\":-3}", ERR_OK, "1", NULL, NULL, "-3", NULL },
		{ "I: 1", "{\"v\":9223372036854775807}", ERR_OK, "1", NULL, NULL,
			"9223372036854775807", NULL },
		{ "I: 1", "{\"v\":9223372036854775808}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL,
			NULL },
		{ "I: 1", "{\"v\":1.5}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "I: 1", "{\"v\":1e3}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "I: 1", "{\"v\":true}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "I: 1", "{\"v\":{}}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "I: 1", "{\"v\":[3]}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "I: 1", "{\"v\":\"soon\"}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "I: 1", "{\"v\":\"\"}", ERR_OK, "1", NULL, NULL, NULL, NULL },
		{ "I: 1", "{\"v\":1,\"b\":\"x\"}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL,
			NULL },
	};
	struct lab lab;
	struct lab_request r;

	(void)state;
	check_rows(OPEN "\"id\": \"header:I\", \"version\": \"json:/v\", \"base\": \"json:/b\"",
		rows, ARRAY_LEN(rows));
	lab_open(&lab, OPEN "\"id\": \"header:I\", \"version\": \"header:V\"", one_key);
	lab_request(&r, "I: 1\nV: 2026-11-22 01:02:03.5 UTC", SLICE_LIT(""));
	assert_int_equal(lab_verify(&lab, &r, 0), ERR_OK);
	assert_int_equal(lab_map(&lab, &r), ERR_OK);
	assert_int_equal(lab.mapped.version.kind, VERSION_TIME);
	assert_int_equal(lab.mapped.version.value, 1795309323500000000);
	lab_close(&lab);
}

static void fields_have_limits(void **state)
{
	static const struct row rows[] = {
		{ "A: " LONG_512, "{}", ERR_OK, LONG_512, NULL, NULL, NULL, NULL },
		{ "A: " LONG_512 "x", "{}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "A: 1\nE: " LONG_512, "{}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "A: \x01", "{}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "A: a\x7f", "{}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "A: a\xc2\x85", "{}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "A: a\xff", "{}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "A: a\tb", "{}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "A: 1", "{\"t\":\"" LONG_512 "\"}", ERR_OK, "1", LONG_512, NULL, NULL, NULL },
		{ "A: 1", "{\"t\":\"" LONG_512 "x\"}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL,
			NULL },
		{ "A: 1", "{\"t\":\"" LONG_512 "\\n\"}", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL,
			NULL },
	};

	(void)state;
	check_rows(OPEN "\"id\": \"header:A\", \"type\": \"json:/t\", \"entity\": "
			"\"e:{header:E}\"",
		rows, ARRAY_LEN(rows));
}

static void forms_and_queries_are_decoded(void **state)
{
	static const struct row rows[] = {
		{ "", "id=a%2Bb+c&kind=x", ERR_OK, "a+b c", "x", "q/1", NULL, NULL },
		{ "", "kind=x&%69d=7", ERR_OK, "7", "x", "q/1", NULL, NULL },
		{ "", "id=7&id=8", ERR_MISSING_EVENT_ID, NULL, NULL, NULL, NULL, NULL },
		{ "", "id", ERR_MISSING_EVENT_ID, NULL, NULL, NULL, NULL, NULL },
		{ "", "", ERR_MISSING_EVENT_ID, NULL, NULL, NULL, NULL, NULL },
		{ "", "id=7&x=%zz", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
		{ "", "id=7&x=%4", ERR_MALFORMED_BODY, NULL, NULL, NULL, NULL, NULL },
	};
	static const char source[] =
		OPEN "\"id\": \"form:id\", \"type\": \"form:kind\", \"entity\": "
		     "\"query:e\"";
	struct lab lab;

	(void)state;
	lab_open(&lab, source, one_key);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab_request r;

		lab_request(&r, "", slice_str(rows[i].body));
		r.rq.query = SLICE_LIT("e=q%2f1");
		r.rq.has_query = true;
		assert_int_equal(lab_verify(&lab, &r, 0), ERR_OK);
		assert_int_equal(lab_map(&lab, &r), rows[i].want);
		if (rows[i].want != ERR_OK)
			continue;
		lab_is(lab.mapped.id, rows[i].id);
		lab_is(lab.mapped.type, rows[i].type);
		lab_is(lab.mapped.entity, rows[i].entity);
	}
	lab_close(&lab);
}

static void a_digest_may_be_the_id(void **state)
{
	static const struct row rows[] = {
		{ "", "abc", ERR_OK,
			"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", NULL,
			NULL, NULL, NULL },
	};

	(void)state;
	check_rows(OPEN "\"id\": \"sha256:body\"", rows, ARRAY_LEN(rows));
	check_rows(OPEN "\"id\": \"{sha256hex(body)}\"", rows, ARRAY_LEN(rows));
}

static void none_takes_a_mapping_away(void **state)
{
	struct lab_request r;
	struct lab lab;

	(void)state;
	lab_open(&lab, OPEN "\"id\": \"none\", \"type\": \"none\"", one_key);
	lab_request(&r, "A: 1", SLICE_LIT("{}"));
	assert_int_equal(lab_verify(&lab, &r, 0), ERR_OK);
	/* A sender of pings gives no id: no two of them are the same event. */
	assert_int_equal(lab_map(&lab, &r), ERR_OK);
	assert_true(lab.mapped.has_no_id);
	assert_int_equal(lab.mapped.id.len, 0);
	assert_false(lab.mapped.has_replay);
	lab_close(&lab);
}

#define GITHUB_TYPE                                                                                \
	"\"type\": [\"{header:X-GitHub-Event}.{json:/action}\", \"{header:X-GitHub-Event}\"]"

static void github_types_have_an_action_or_not(void **state)
{
	static const struct row rows[] = {
		{ "I: 1\nX-GitHub-Event: push", "{\"ref\":\"x\"}", ERR_OK, "1", "push", NULL, NULL,
			NULL },
		{ "I: 1\nX-GitHub-Event: issues", "{\"action\":\"opened\"}", ERR_OK, "1",
			"issues.opened", NULL, NULL, NULL },
		{ "I: 1", "{\"action\":\"opened\"}", ERR_OK, "1", NULL, NULL, NULL, NULL },
	};

	(void)state;
	check_rows(OPEN "\"id\": \"header:I\", " GITHUB_TYPE, rows, ARRAY_LEN(rows));
}

/* Sign with the scheme itself; give the digest that map found, in hex, or "". */
static void replay_of(struct lab *lab, const char *id, const char *type, const char *body,
	char out[65], bool *is_digest)
{
	struct scheme_signed made = SCHEME_SIGNED_INIT;
	struct scheme_draft draft = {
		.id = slice_str(id),
		.type = slice_str(type),
		.body = slice_str(body),
		.now_ms = LAB_NOW * INT64_C(1000),
	};
	struct lab_request r = { .rq = { .method = SLICE_LIT("POST") } };

	assert_int_equal(scheme_sign(lab->scheme, &draft, &made, &lab->err), ERR_OK);
	r.rq.headers = made.headers;
	r.rq.header_count = made.header_count;
	r.rq.body = buf_slice(&made.body);
	assert_int_equal(lab_verify(lab, &r, draft.now_ms), ERR_OK);
	assert_int_equal(lab_map(lab, &r), ERR_OK);
	out[0] = '\0';
	if (lab->mapped.has_replay)
		text_hex(lab->mapped.replay, 32, out);
	*is_digest = lab->mapped.replay_is_digest;
	scheme_signed_done(&made);
}

/* printf '{"a":1}' | sha256sum; printf '{"a":1}\0products/update' | sha256sum */
#define DIGEST "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
#define DIGEST_WITH_TYPE "4b4f8130213caddda50ed4576ae46bad696b5e0ade8e1df80a7ebba8e166c877"

static void copies_of_unsigned_ids_are_known_by_their_bytes(void **state)
{
	struct lab lab;
	char first[65], second[65];
	bool is_digest;

	(void)state;
	lab_open(&lab, "\"preset\": \"github\", " KEYS, one_key);
	replay_of(&lab, "1", "push", "{\"a\":1}", first, &is_digest);
	assert_string_equal(first, DIGEST);
	assert_true(is_digest);
	replay_of(&lab, "2", "pull", "{\"a\":1}", second, &is_digest);
	assert_string_equal(first, second);
	replay_of(&lab, "1", "push", "{\"a\":2}", second, &is_digest);
	assert_string_not_equal(first, second);
	lab_close(&lab);

	lab_open(&lab, "\"preset\": \"shopify\", " KEYS, one_key);
	replay_of(&lab, "1", "products/update", "{\"a\":1}", first, &is_digest);
	assert_string_equal(first, DIGEST_WITH_TYPE);
	assert_false(is_digest);
	replay_of(&lab, "2", "products/update", "{\"a\":1}", second, &is_digest);
	assert_string_equal(first, second);
	replay_of(&lab, "2", "products/create", "{\"a\":1}", second, &is_digest);
	assert_string_not_equal(first, second);
	lab_close(&lab);

	lab_open(&lab, "\"preset\": \"standard-webhooks\", " KEYS,
		(const char *const[]){ "whsec_aw==", NULL });
	replay_of(&lab, "1", "", "{\"a\":1}", first, &is_digest);
	assert_string_equal(first, "");
	lab_close(&lab);
}

/* Nothing moves or stays when a verdict and its mapping are used again and again. */
static void buffers_may_be_used_again(void **state)
{
	struct lab lab;
	struct lab_request one, two;

	(void)state;
	lab_open(&lab, OPEN "\"id\": \"{header:A}{json:/b}\", \"type\": \"json:/t\"", one_key);
	lab_request(&one, "A: 1", SLICE_LIT("{\"b\":\"\\u0062\",\"t\":\"\\u0074\"}"));
	lab_request(&two, "A: 2", SLICE_LIT("{\"b\":3}"));
	for (int i = 0; i < 100; i++) {
		assert_int_equal(lab_verify(&lab, &one, 0), ERR_OK);
		assert_int_equal(lab_map(&lab, &one), ERR_OK);
		lab_is(lab.mapped.id, "1b");
		lab_is(lab.mapped.type, "t");
		assert_int_equal(lab_verify(&lab, &two, 0), ERR_OK);
		assert_int_equal(lab_map(&lab, &two), ERR_OK);
		lab_is(lab.mapped.id, "23");
		lab_is(lab.mapped.type, "");
	}
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_come_from_headers_and_members),
		cmocka_unit_test(the_first_alternative_with_all_its_references_counts),
		cmocka_unit_test(versions_are_numbers_or_times),
		cmocka_unit_test(fields_have_limits),
		cmocka_unit_test(forms_and_queries_are_decoded),
		cmocka_unit_test(a_digest_may_be_the_id),
		cmocka_unit_test(none_takes_a_mapping_away),
		cmocka_unit_test(github_types_have_an_action_or_not),
		cmocka_unit_test(copies_of_unsigned_ids_are_known_by_their_bytes),
		cmocka_unit_test(buffers_may_be_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
