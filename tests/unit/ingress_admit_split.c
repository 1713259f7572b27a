/* ingress_admit_split.c - several events in one body: each a record of its own, and all or nothing.
 */
#include "support/admit_scene.h"

struct row {
	const char *name, *body;
	enum admit_next next;
	enum err_code code;       /* one event that can be worked makes the body accepted */
	const char *elements;     /* how each ends, by its first letter: fine, no id, malformed */
	const char *first, *last; /* bodies of the first and the last record */
};

#define BODY(elements) "{\"first\":7,\"last\":9,\"all\":[" elements "]}"
#define A "{\"id\":\"a\"}"
#define B "{\"id\":\"b\"}"
#define BAD "{\"id\":\"a\\u0001\"}"

/* clang-format off */
static const struct row rows[] = {
	{ "one", BODY(A), ADMIT_APPEND, ERR_OK, "f", A, A },
	{ "two", BODY(A "," B), ADMIT_APPEND, ERR_OK, "ff", A, B },
	{ "none", BODY(""), ADMIT_EMPTY, ERR_OK, "", NULL, NULL },
	{ "the second is unusable", BODY(A ", {}"), ADMIT_APPEND, ERR_OK, "fn", A, "{}" },
	{ "the first is unusable", BODY("{}," B), ADMIT_APPEND, ERR_OK, "nf", "{}", B },
	{ "all are: the first says why", BODY("{}," BAD), ADMIT_APPEND, ERR_MISSING_EVENT_ID, "nm", "{}", BAD },
	{ "all are, the other way", BODY(BAD ",{}"), ADMIT_APPEND, ERR_MALFORMED_BODY, "mn", BAD, "{}" },
	{ "not there", "{}", ADMIT_APPEND, ERR_MALFORMED_BODY, "m", "{}", "{}" },
	{ "not JSON", "all=1", ADMIT_APPEND, ERR_MALFORMED_BODY, "m", "all=1", "all=1" },
	{ "empty body", "", ADMIT_APPEND, ERR_MALFORMED_BODY, "m", "", "" },
};
/* clang-format on */

static char end_of(const struct element *e)
{
	static const struct {
		const char *code;
		char letter;
	} ends[] = { { "", 'f' }, { "MISSING_EVENT_ID", 'n' }, { "MALFORMED_BODY", 'm' } };
	struct event event;

	assert_int_equal(event_decode(e->record.headers, &event, NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		if (slice_eq_str(event.quarantine, ends[i].code))
			return ends[i].letter;
	}
	fail_msg("'%.*s'", SLICE_FMT(event.quarantine));
	return 0;
}

static void assert_elements(const struct scene *s, const struct row *row)
{
	size_t count = 0;

	for (const struct element *e = s->out.elements; e; e = e->next) {
		assert_true(row->elements[count] != '\0');
		if (end_of(e) != row->elements[count])
			fail_msg("%s: element %zu is '%c'", row->name, count, end_of(e));
		if (count++ == 0)
			assert_text(e->record.body, row->first);
		if (!e->next)
			assert_text(e->record.body, row->last);
	}
	assert_int_equal(count, strlen(row->elements));
	assert_int_equal(s->out.element_count, count);
}

static void every_body_has_its_elements(void **state)
{
	struct files *f = *state;

	hooks_load(f, "");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s;

		scene_open(f, &s, "split");
		sign_at(&s, rows[i].body, HOOKS_NOW_MS, false);
		(void)run(&s);
		if (s.out.next != rows[i].next || s.out.code != rows[i].code ||
			s.out.status != 200 || !s.out.is_split)
			fail_msg("%s: %s, status %u, next %d", rows[i].name, err_name(s.out.code),
				s.out.status, (int)s.out.next);
		assert_elements(&s, &rows[i]);
		scene_close(&s);
	}
}

/* Each element is a record of its own, with an attempt that follows from the request's. */
static void elements_are_records_of_their_own(void **state)
{
	static const char body[] =
		"{\"first\":7,\"last\":9,\"all\":[{\"id\":\"a\"}, {} ,{\"id\":\"c\"}]}";
	static const char *const bodies[] = { "{\"id\":\"a\"}", "{}", "{\"id\":\"c\"}" };
	static const char *const codes[] = { "", "MISSING_EVENT_ID", "" };
	uint8_t attempts[3][ATTEMPT_LEN];
	struct files *f = *state;
	struct scene s;
	size_t i = 0;

	hooks_load(f, "");
	scene_open(f, &s, "split");
	sign_at(&s, body, HOOKS_NOW_MS, false);
	assert_int_equal(run(&s), ERR_OK);
	assert_int_equal(s.out.next, ADMIT_APPEND);
	assert_true(s.out.is_split);
	assert_int_equal(s.out.element_count, 3);
	assert_text(s.out.event_id, "a");
	for (struct element *e = s.out.elements; e; e = e->next, i++) {
		struct event event;

		assert_int_equal(event_decode(e->record.headers, &event, NULL), ERR_OK);
		assert_text(e->record.body, bodies[i]);
		assert_text(event.quarantine, codes[i]);
		assert_memory_equal(event.attempt, e->record.attempt, ATTEMPT_LEN);
		memcpy(attempts[i], event.attempt, ATTEMPT_LEN);
		for (size_t other = 0; other < i; other++)
			assert_memory_not_equal(attempts[other], attempts[i], ATTEMPT_LEN);
		assert_text(event.gap_first, codes[i][0] ? "" : "7");
		assert_text(event.refetch, codes[i][0] ? "" : "true");
	}
	/* A copy of the request makes copies of its elements. */
	assert_int_equal(run(&s), ERR_OK);
	assert_memory_equal(s.out.elements->record.attempt, attempts[0], ATTEMPT_LEN);
	scene_close(&s);
	scene_open(f, &s, "split");
	sign_at(&s, "{\"all\":[]}", HOOKS_NOW_MS, false);
	assert_int_equal(run(&s), ERR_OK);
	assert_int_equal(s.out.next, ADMIT_EMPTY);
	assert_int_equal(s.out.element_count, 0);
	scene_close(&s);
}

/* Without room for one of them nothing is kept: the sender repeats the whole body. */
static void it_is_all_or_nothing(void **state)
{
	static const struct {
		const char *body;
		size_t map_max, text_max; /* 0: as much as there is */
		size_t made;              /* before it failed */
	} rows_[] = {
		{ BODY(A "," B), 8, 0, 0 }, { BODY(A "," B), 0, 8, 0 },
		{ BODY(A ",{}"), 0, 20, 1 }, /* what is unusable has a long key */
	};
	struct files *f = *state;

	hooks_load(f, "");
	for (size_t i = 0; i < ARRAY_LEN(rows_); i++) {
		struct scene s;

		scene_open(f, &s, "split");
		sign_at(&s, rows_[i].body, HOOKS_NOW_MS, false);
		if (rows_[i].map_max)
			s.tools.mapped.text.max = rows_[i].map_max;
		if (rows_[i].text_max)
			s.out.text.max = rows_[i].text_max;
		assert_int_equal(run(&s), ERR_UNAVAILABLE);
		assert_int_equal(s.out.next, ADMIT_REFUSE);
		assert_int_equal(s.out.status, 503);
		assert_int_equal(s.out.element_count, rows_[i].made);
		/* and there is nothing left of it in the next request */
		s.tools.mapped.text.max = SCHEME_DECODED_MAX;
		s.out.text.max = EVENT_KEY_MAX + EVENT_ID_MAX;
		assert_int_equal(run(&s), ERR_OK);
		assert_int_equal(s.out.element_count, 2);
		assert_text(s.out.event_id, "a");
		scene_close(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			every_body_has_its_elements, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			elements_are_records_of_their_own, files_open, files_close),
		cmocka_unit_test_setup_teardown(it_is_all_or_nothing, files_open, files_close),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
