/* scheme_presets.c - every preset against requests that were signed elsewhere (tests/vectors), and
 * what must be refused of each when anything about it is changed. */
#include "support/scheme_lab.h"

#define VECTORS "tests/vectors/presets.json"
#define SOURCE_MAX 4096
#define REQUEST_MAX 16384

/* One row of the file, its texts decoded. */
struct vector {
	char preset[64], members[512], key[1024], body[REQUEST_MAX], query[512], public_url[128];
	char sig[1024], time[64];
	char names[8][128], values[8][1024];
	size_t header_count;
	bool published;
	int64_t now_ms;
	struct json_value want, secrets;
};

struct fixture {
	struct vector v;
	struct lab lab;
	struct lab_request request;
	/* Copies that may be changed. */
	char body[REQUEST_MAX], query[1024], values[24][2048];
};

static struct buf file = BUF_INIT(MIB(1));

/* ---- reading the file --------------------------------------------------------------------------
 */

static struct json_value member(struct json_value object, const char *pointer)
{
	struct json_value v = { .type = JSON_ABSENT };
	struct err err = ERR_INIT;

	assert_int_equal(json_get(object.raw, pointer, &v, &err), ERR_OK);
	return v;
}

static void text_of(struct json_value v, char *out, size_t max)
{
	struct buf text = BUF_INIT(max);

	out[0] = '\0';
	if (v.type == JSON_ABSENT)
		return;
	assert_int_equal(json_text(v, &text, NULL), ERR_OK);
	assert_true(text.len < max);
	memcpy(out, buf_str(&text), text.len + 1);
	buf_done(&text);
}

static void read_headers(struct json_value row, struct vector *out)
{
	struct json_value list = member(row, "/headers"), pair;
	size_t at = 0;

	while (json_next(list, &at, &pair)) {
		assert_true(out->header_count < ARRAY_LEN(out->names));
		text_of(member(pair, "/0"), out->names[out->header_count], sizeof(out->names[0]));
		text_of(member(pair, "/1"), out->values[out->header_count++],
			sizeof(out->values[0]));
	}
}

static void read_vector(struct json_value row, struct vector *out)
{
	char now[32];

	*out = (struct vector){ .want = member(row, "/want"), .secrets = member(row, "/secrets") };
	text_of(member(row, "/preset"), out->preset, sizeof(out->preset));
	text_of(member(row, "/members"), out->members, sizeof(out->members));
	text_of(member(row, "/key"), out->key, sizeof(out->key));
	text_of(member(row, "/body"), out->body, sizeof(out->body));
	text_of(member(row, "/query"), out->query, sizeof(out->query));
	text_of(member(row, "/public_url"), out->public_url, sizeof(out->public_url));
	text_of(member(row, "/sig"), out->sig, sizeof(out->sig));
	text_of(member(row, "/time"), out->time, sizeof(out->time));
	text_of(member(row, "/now"), now, sizeof(now));
	assert_int_equal(text_i64(slice_str(now), &out->now_ms, NULL), ERR_OK);
	out->now_ms *= 1000;
	out->published = member(row, "/published").type == JSON_TRUE;
	read_headers(row, out);
}

/* ---- a source and a request --------------------------------------------------------------------
 */

static void open_source(struct fixture *f, const char *key)
{
	const struct vector *v = &f->v;
	const char *keys[] = { key, NULL, NULL };
	char source[SOURCE_MAX], url[256] = "", secrets[128] = "", token[64];

	if (v->public_url[0])
		(void)snprintf(url, sizeof(url), "\"public_url\": \"%s\", ", v->public_url);
	if (v->secrets.type == JSON_OBJECT) {
		text_of(member(v->secrets, "/verify_token"), token, sizeof(token));
		(void)snprintf(secrets, sizeof(secrets),
			"\"secrets\": {\"verify_token\": {\"file\": \"k1\"}}, ");
		keys[1] = token;
	}
	(void)snprintf(source, sizeof(source), "\"preset\": \"%s\", %s%s%s\"keys\": [%s]",
		v->preset, v->members, url, secrets, key[0] ? "{\"file\": \"k0\"}" : "");
	lab_open(&f->lab, source, keys);
}

/* The request as it was signed; what is in it may be changed. */
static void fill_request(struct fixture *f)
{
	const struct vector *v = &f->v;
	struct lab_request *r = &f->request;

	(void)snprintf(f->body, sizeof(f->body), "%s", v->body);
	(void)snprintf(f->query, sizeof(f->query), "%s", v->query);
	*r = (struct lab_request){ .rq = { .method = SLICE_LIT("POST"),
					   .path = SLICE_LIT("/hooks/s"),
					   .body = slice_str(f->body),
					   .query = slice_str(f->query),
					   .has_query = v->query[0] != '\0' } };
	for (size_t i = 0; i < v->header_count; i++) {
		(void)snprintf(f->values[i], sizeof(f->values[i]), "%s", v->values[i]);
		lab_header(r, v->names[i], slice_str(f->values[i]));
	}
}

static enum err_code judge(struct fixture *f, int64_t now_ms)
{
	enum err_code rc = lab_verify(&f->lab, &f->request, now_ms);
	enum err_code early = scheme_precheck(f->lab.scheme, &f->request.rq);

	/* What the head shows is what the whole request shows, or nothing. */
	if (early != ERR_OK && early != rc)
		fail_msg("%s: %s early, then %s", f->v.preset, err_name(early), err_name(rc));
	return rc;
}

/* Put other text in the place of the signature (or the time), wherever that stands. False: it does
 * not stand in the request. */
static bool replace(struct fixture *f, const char *old_text, const char *new_text)
{
	char *places[LAB_HEADERS + 2], made[REQUEST_MAX];
	size_t sizes[LAB_HEADERS + 2], count = 0;
	bool done = false;

	fill_request(f);
	for (size_t i = 0; i < f->v.header_count; i++) {
		places[count] = f->values[i];
		sizes[count++] = sizeof(f->values[i]);
	}
	places[count] = f->body;
	sizes[count++] = sizeof(f->body);
	places[count] = f->query;
	sizes[count++] = sizeof(f->query);
	for (size_t i = 0; i < count && !done; i++) {
		char *at = strstr(places[i], old_text);

		if (!at)
			continue;
		(void)snprintf(made, sizeof(made), "%.*s%s%s", (int)(at - places[i]), places[i],
			new_text, at + strlen(old_text));
		(void)snprintf(places[i], sizes[i], "%s", made);
		done = true;
	}
	for (size_t i = 0; i < f->v.header_count; i++)
		f->request.headers[i].value = slice_str(f->values[i]);
	f->request.rq.body = slice_str(f->body);
	f->request.rq.query = slice_str(f->query);
	return done;
}

static void expect(struct fixture *f, int64_t now_ms, enum err_code want, const char *what)
{
	enum err_code rc = judge(f, now_ms);

	if (rc != want)
		fail_msg("%s: %s: %s, not %s (%s)", f->v.preset, what, err_name(rc), err_name(want),
			f->lab.verdict.detail);
}

/* ---- each row ----------------------------------------------------------------------------------
 */

static void for_each(void (*check)(struct fixture *f))
{
	struct json_value list = { .type = JSON_ARRAY, .raw = buf_slice(&file) }, row;
	size_t at = 0, count = 0;

	for (; json_next(list, &at, &row); count++) {
		static struct fixture f;

		f = (struct fixture){ .body = "" };
		read_vector(row, &f.v);
		open_source(&f, f.v.key);
		fill_request(&f);
		expect(&f, f.v.now_ms, ERR_OK, "as it was sent");
		check(&f);
		lab_close(&f.lab);
	}
	assert_true(count >= 80);
}

/* ---- what it means -----------------------------------------------------------------------------
 */

static void wants(const struct fixture *f, const char *pointer, struct slice have)
{
	struct json_value v = member(f->v.want, pointer);
	char want[256];

	if (v.type == JSON_ABSENT)
		return;
	text_of(v, want, sizeof(want));
	if (!slice_eq_str(have, want))
		fail_msg("%s: %s is \"%.*s\", not \"%s\"", f->v.preset, pointer, SLICE_FMT(have),
			want);
}

static size_t count_events(struct fixture *f)
{
	struct scheme_events events = SCHEME_EVENTS_INIT;
	size_t count = 0;

	while (scheme_events_next(
		f->lab.scheme, &f->request.rq, &f->lab.verdict, &events, &f->lab.mapped)) {
		if (f->lab.mapped.code != ERR_OK)
			fail_msg("%s: event %zu: %s", f->v.preset, count, f->lab.mapped.detail);
		assert_true(f->lab.mapped.id.len > 0 || f->lab.mapped.has_no_id);
		count++;
	}
	return count;
}

static void check_meaning(struct fixture *f)
{
	struct scheme_mapped *m = &f->lab.mapped;
	char gap[64], events[16];

	if (lab_map(&f->lab, &f->request) != ERR_OK)
		fail_msg("%s: %s", f->v.preset, m->detail);
	wants(f, "/id", m->id);
	wants(f, "/type", m->type);
	wants(f, "/entity", m->entity);
	(void)snprintf(gap, sizeof(gap), "%.*s-%.*s", SLICE_FMT(m->gap[0]), SLICE_FMT(m->gap[1]));
	wants(f, "/gap", slice_str(gap));
	assert_int_equal(m->has_no_id, member(f->v.want, "/no_id").type == JSON_TRUE);
	if (member(f->v.want, "/version").type == JSON_TRUE && m->version.kind == VERSION_NONE)
		fail_msg("%s: no version", f->v.preset);
	(void)snprintf(events, sizeof(events), "%zu", count_events(f));
	if (member(f->v.want, "/events").type != JSON_ABSENT)
		wants(f, "/events", slice_str(events));
	else
		assert_string_equal(events, "1");
}

static void requests_as_they_are_sent_verify_and_mean_what_they_should(void **state)
{
	(void)state;
	for_each(check_meaning);
}

/* ---- what must be refused ----------------------------------------------------------------------
 */

static bool binds_body(const struct fixture *f)
{
	struct scheme_audit audit;

	scheme_audit(f->lab.scheme, &audit);
	return strcmp(audit.binds, "full") == 0;
}

/* A digit that stays one of its alphabet and means something else. */
static char other_digit(char c)
{
	return c == '1' ? '2' : '1';
}

static void check_changed_body(struct fixture *f)
{
	size_t len = strlen(f->v.body), step = len > 64 ? len / 64 : 1;

	for (size_t at = 0; binds_body(f) && at < len; at += step) {
		enum err_code rc;

		fill_request(f);
		f->body[at] = (char)(f->body[at] ^ 1);
		rc = judge(f, f->v.now_ms);
		if (rc == ERR_OK)
			fail_msg("%s: byte %zu of the body may change", f->v.preset, at);
	}
}

static void any_changed_byte_of_a_bound_body_is_refused(void **state)
{
	(void)state;
	for_each(check_changed_body);
}

static void check_changed_signature(struct fixture *f)
{
	size_t len = strlen(f->v.sig);
	char sig[2048];

	/* The last letter of base64 may hold bits that must be zero: the one before it does not. */
	for (size_t at = 0; len > 0 && at + 3 < len; at += len > 40 ? len / 20 : 1) {
		enum err_code rc;

		(void)snprintf(sig, sizeof(sig), "%s", f->v.sig);
		sig[at] = other_digit(sig[at]);
		assert_true(replace(f, f->v.sig, sig));
		rc = judge(f, f->v.now_ms);
		if (rc != ERR_BAD_SIGNATURE)
			fail_msg("%s: digit %zu of the signature: %s", f->v.preset, at,
				err_name(rc));
	}
}

static void any_changed_digit_of_a_signature_is_refused(void **state)
{
	(void)state;
	for_each(check_changed_signature);
}

static void check_lengths(struct fixture *f)
{
	size_t len = strlen(f->v.sig);
	char sig[2048];

	if (len == 0)
		return;
	(void)snprintf(sig, sizeof(sig), "%.*s", (int)(len - 4), f->v.sig);
	assert_true(replace(f, f->v.sig, sig));
	expect(f, f->v.now_ms, ERR_BAD_SIGNATURE, "shorter");
	(void)snprintf(sig, sizeof(sig), "0000%s", f->v.sig);
	assert_true(replace(f, f->v.sig, sig));
	expect(f, f->v.now_ms, ERR_BAD_SIGNATURE, "longer");
	(void)snprintf(sig, sizeof(sig), " %s", f->v.sig);
	assert_true(replace(f, f->v.sig, sig));
	if (!strstr(f->v.preset, "standard-webhooks"))
		expect(f, f->v.now_ms, ERR_BAD_SIGNATURE, "behind a blank");
}

static void signatures_of_other_lengths_are_refused(void **state)
{
	(void)state;
	for_each(check_lengths);
}

/* The header that carries the signature; header_count: it stands elsewhere. */
static size_t sig_header(const struct fixture *f)
{
	size_t i = 0;

	while (i < f->v.header_count && (!f->v.sig[0] || !strstr(f->v.values[i], f->v.sig)))
		i++;
	return i;
}

static void check_header(struct fixture *f)
{
	size_t at = sig_header(f);
	bool is_wild = strcmp(f->v.preset, "docusign") == 0 || strcmp(f->v.preset, "mollie") == 0;
	char text[2048];

	if (at == f->v.header_count)
		return;
	fill_request(f);
	f->request.headers[at].value = SLICE_EMPTY;
	expect(f, f->v.now_ms, ERR_MISSING_SIGNATURE, "an empty header");
	fill_request(f);
	f->request.headers[at].name = SLICE_LIT("X-Other");
	expect(f, f->v.now_ms, ERR_MISSING_SIGNATURE, "without its header");
	fill_request(f);
	lab_header(&f->request, f->v.names[at], f->request.headers[at].value);
	expect(f, f->v.now_ms, is_wild ? ERR_OK : ERR_BAD_SIGNATURE, "a second header");
	fill_request(f);
	(void)snprintf(text, sizeof(text), "md5=%s", f->v.values[at]);
	f->request.headers[at].value = slice_str(text);
	if (judge(f, f->v.now_ms) == ERR_OK)
		fail_msg("%s: with the prefix of another algorithm", f->v.preset);
}

static void headers_must_be_there_once_and_as_they_should(void **state)
{
	(void)state;
	for_each(check_header);
}

static void check_count(struct fixture *f)
{
	static const char *const between[][2] = { { "standard-webhooks", " " }, { "stripe", "," },
		{ "paddle", ";" }, { "pagerduty", "," }, { "mollie", "," } };
	size_t at = sig_header(f);
	struct buf text = BUF_INIT(KIB(16));

	for (size_t i = 0; i < ARRAY_LEN(between); i++) {
		const char *entry = NULL;

		if (strcmp(f->v.preset, between[i][0]) != 0)
			continue;
		entry = strrchr(f->v.values[at], between[i][1][0]);
		entry = entry ? entry + 1 : f->v.values[at];
		for (size_t count = 16; count <= 17; count++) {
			buf_reset(&text);
			assert_int_equal(buf_put_str(&text, f->v.values[at], NULL), ERR_OK);
			for (size_t n = 1; n < count; n++)
				assert_int_equal(
					buf_putf(&text, NULL, "%s%s", between[i][1], entry),
					ERR_OK);
			fill_request(f);
			f->request.headers[at].value = buf_slice(&text);
			expect(f, f->v.now_ms, count == 16 ? ERR_OK : ERR_BAD_SIGNATURE,
				"many signatures");
		}
	}
	buf_done(&text);
}

static void seventeen_signatures_are_too_many(void **state)
{
	(void)state;
	for_each(check_count);
}

static void check_times(struct fixture *f)
{
	int64_t past_s = scheme_tolerance_s(f->lab.scheme, false);
	int64_t future_s = scheme_tolerance_s(f->lab.scheme, true);
	int64_t at_ms = f->v.now_ms;
	static const char *const around[] = { " ", "+", "0x", "00000" };
	char text[128];

	if (f->v.time[0] == '\0')
		return;
	assert_true(f->lab.verdict.signed_ms != INT64_MIN);
	at_ms = f->lab.verdict.signed_ms;
	expect(f, at_ms + past_s * 1000, ERR_OK, "at the edge");
	expect(f, at_ms + (past_s + 1) * 1000, ERR_EXPIRED, "a second past the edge");
	expect(f, at_ms - future_s * 1000, ERR_OK, "at the other edge");
	expect(f, at_ms - (future_s + 1) * 1000, ERR_CLOCK_SKEW, "a second before it");
	for (size_t i = 0; i < ARRAY_LEN(around); i++) {
		(void)snprintf(text, sizeof(text), "%s%s", around[i], f->v.time);
		assert_true(replace(f, f->v.time, text));
		if (judge(f, f->v.now_ms) == ERR_OK)
			fail_msg("%s: the time may be written \"%s\"", f->v.preset, text);
	}
}

static void times_have_edges_and_one_way_to_be_written(void **state)
{
	(void)state;
	for_each(check_times);
}

static void check_key(struct fixture *f)
{
	const struct vector *v = &f->v;
	char key[1100];

	if (v->key[0] == '\0')
		return;
	lab_close(&f->lab);
	/* One newline at the end is the editor's. */
	(void)snprintf(key, sizeof(key), "%s\n", v->key);
	open_source(f, key);
	fill_request(f);
	expect(f, v->now_ms, ERR_OK, "a key with a newline");
}

static void one_newline_at_the_end_of_a_key_is_no_part_of_it(void **state)
{
	(void)state;
	for_each(check_key);
}

/* ---- the sender's side -------------------------------------------------------------------------
 */

/* The same request, made by ourselves from the same parts: its signature is that of the other
 * signer, digit by digit. */
static void check_sign(struct fixture *f)
{
	struct scheme_draft draft = { .body = slice_str(f->v.body), .now_ms = f->v.now_ms };
	struct scheme_signed made = SCHEME_SIGNED_INIT;
	struct scheme_audit audit;
	struct err err = ERR_INIT;
	char url[1024], id[256];
	enum err_code rc;
	size_t at = sig_header(f);

	scheme_audit(f->lab.scheme, &audit);
	(void)snprintf(url, sizeof(url), "%s?%s", f->v.public_url, f->v.query);
	if (f->v.query[0])
		draft.url = slice_str(url);
	text_of(member(f->v.want, "/id"), id, sizeof(id));
	draft.id = slice_str(id);
	rc = scheme_sign(f->lab.scheme, &draft, &made, &err);
	if (rc == ERR_UNSUPPORTED)
		assert_true(strstr(err.text, "key") != NULL);
	else if (rc != ERR_OK && draft.id.len > 0) {
		draft.id = SLICE_EMPTY; /* the id is made of several members of the body */
		rc = scheme_sign(f->lab.scheme, &draft, &made, &err);
	}
	if (rc == ERR_OK && at < f->v.header_count) {
		bool is_found = false;

		for (size_t i = 0; i < made.header_count; i++)
			is_found |= slice_search(made.headers[i].value, slice_str(f->v.sig)) <
				    made.headers[i].value.len;
		/* Twilio writes URLs with or without a port, times may be finer than ours. */
		if (!is_found && strncmp(f->v.preset, "twilio", 6) != 0 && !strchr(f->v.time, '-'))
			fail_msg("%s: signed otherwise", f->v.preset);
	} else if (rc == ERR_OK && f->v.sig[0]) {
		assert_true(strstr(buf_str(&made.body), f->v.sig) ||
			    strstr(buf_str(&made.query), f->v.sig));
	} else if (rc != ERR_OK && rc != ERR_UNSUPPORTED) {
		fail_msg("%s: %s", f->v.preset, err.text);
	}
	scheme_signed_done(&made);
}

static void our_own_signatures_are_the_same(void **state)
{
	(void)state;
	for_each(check_sign);
}

/* What send makes out of nothing verifies, and in each bad way it is bad. */
static void check_send(struct fixture *f)
{
	struct scheme_draft draft = {
		.spare_id = SLICE_LIT("spare-1"), .now_ms = f->v.now_ms, .fill_body = true
	};
	struct scheme_signed made = SCHEME_SIGNED_INIT;
	struct err err = ERR_INIT;
	bool has_key = scheme_key_count(f->lab.scheme) > 0;

	for (int kind = 0; kind < 3; kind++) {
		enum err_code want = ERR_OK, rc;

		draft.bad_signature = kind == 1;
		draft.unsigned_request = kind == 2;
		draft.body = scheme_takes_form(f->lab.scheme) ? SLICE_LIT("a=b&c=d%20e")
							      : SLICE_LIT("{\"a\":1}");
		rc = scheme_sign(f->lab.scheme, &draft, &made, &err);
		if (rc == ERR_UNSUPPORTED)
			break;
		if (rc != ERR_OK)
			fail_msg("%s: %s", f->v.preset, err.text);
		f->request = (struct lab_request){ .rq = { .method = SLICE_LIT("POST"),
							   .headers = made.headers,
							   .header_count = made.header_count,
							   .body = buf_slice(&made.body),
							   .query = buf_slice(&made.query),
							   .has_query = made.query.len > 0 } };
		if (kind > 0 && has_key)
			want = kind == 1 ? ERR_BAD_SIGNATURE : ERR_MISSING_SIGNATURE;
		expect(f, f->v.now_ms, want, "made by ourselves");
		if (kind == 0 && !f->v.published)
			assert_true(lab_map(&f->lab, &f->request) == ERR_OK ||
				    f->lab.mapped.code == ERR_MISSING_EVENT_ID);
	}
	scheme_signed_done(&made);
}

static void what_is_sent_verifies_unless_it_is_bad(void **state)
{
	(void)state;
	for_each(check_send);
}

static int read_file(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(file_read(VECTORS, &file, &err), ERR_OK);
	assert_int_equal(json_scan(buf_slice(&file), NULL, 0, NULL, &err), ERR_OK);
	return 0;
}

static int forget_file(void **state)
{
	(void)state;
	buf_done(&file);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_as_they_are_sent_verify_and_mean_what_they_should),
		cmocka_unit_test(any_changed_byte_of_a_bound_body_is_refused),
		cmocka_unit_test(any_changed_digit_of_a_signature_is_refused),
		cmocka_unit_test(signatures_of_other_lengths_are_refused),
		cmocka_unit_test(headers_must_be_there_once_and_as_they_should),
		cmocka_unit_test(seventeen_signatures_are_too_many),
		cmocka_unit_test(times_have_edges_and_one_way_to_be_written),
		cmocka_unit_test(one_newline_at_the_end_of_a_key_is_no_part_of_it),
		cmocka_unit_test(our_own_signatures_are_the_same),
		cmocka_unit_test(what_is_sent_verifies_unless_it_is_bad),
	};

	return cmocka_run_group_tests(tests, read_file, forget_file);
}
