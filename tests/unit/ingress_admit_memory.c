/* ingress_admit_memory.c - admission without memory: the sender is asked to come again, and a
 * refusal stays one.
 *
 * The linker leads malloc() and realloc() of the whole program here (Makefile). */
#include "failing.h"
#include "support/admit_scene.h"

#include <stdlib.h>

void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);

void *__wrap_malloc(size_t size)
{
	return failing_now() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return failing_now() ? NULL : __real_realloc(p, size);
}

#define TWO "{\"all\":[{\"id\":\"a\"},{\"id\":\"b\"}]}"

static const struct row {
	const char *source, *body;
	bool bad;
	unsigned calls;         /* at least so many must have failed */
	enum err_code failed;   /* one of them did */
	enum err_code complete; /* none did */
} rows[] = {
	{ "plain", "{\"id\":\"e1\"}", false, 4, ERR_UNAVAILABLE, ERR_OK },
	{ "split", TWO, false, 6, ERR_UNAVAILABLE, ERR_OK },
	{ "plain", "not json", false, 4, ERR_UNAVAILABLE, ERR_MALFORMED_BODY },
	{ "plain", "{}", true, 0, ERR_UNAVAILABLE, ERR_BAD_SIGNATURE },
};

/* False: it went through, no call is left that could fail. */
static bool try_without(struct files *f, const struct row *row, unsigned at)
{
	struct scene s;
	bool failed;

	failing_at = 0;
	scene_open(f, &s, row->source);
	sign_at(&s, row->body, HOOKS_NOW_MS, row->bad);
	admit_head(&s.rq, &s.rates, &s.tools, &s.out);
	assert_int_equal(s.out.next, ADMIT_GO_ON);
	failing_at = at;
	failing_seen = 0;
	admit_whole(&s.rq, &s.tools, &s.out);
	failing_at = 0;
	failed = failing_seen >= at;
	assert_int_equal(s.out.code, failed ? row->failed : row->complete);
	if (failed)
		assert_int_equal(s.out.next, ADMIT_REFUSE);
	scene_close(&s);
	return failed;
}

static void every_piece_of_memory_may_be_missing(void **state)
{
	struct files *f = *state;

	hooks_load(f, "");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		unsigned at = 1;

		while (try_without(f, &rows[i], at))
			at++;
		assert_true(at > rows[i].calls);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			every_piece_of_memory_may_be_missing, files_open, files_close),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
