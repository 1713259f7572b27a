/* scheme_memory.c - schemes without memory: a plain failure while one is made, and no verdict
 * rather than a wrong one while requests are looked at. */
#include "../../src/scheme/scheme_priv.h"

#include <stdlib.h>

#include "failing.h"
#define calloc(count, size) (failing_now() ? NULL : calloc((count), (size)))
#include "../../src/scheme/compile.c"
#undef calloc

#include "support/scheme_lab.h"

#define SOURCE                                                                                     \
	"\"verify\": {\"alg\": \"hmac-sha256\", \"key\": \"base64:p_\", \"sig\": \"header:S\", "   \
	"\"split\": \",\", \"match\": [\"t={ts}\", \"v{version}={hex}\"], \"signed\": "            \
	"[\"{url}.{cap:ts}.{body}\", \"x{json:/a}\"], \"time\": \"cap:ts\", \"require\": "         \
	"[[\"header:R\", \"{secret:word}\"]]}, \"public_url\": \"https://h/\", \"secrets\": "      \
	"{\"word\": {\"file\": \"k0\"}}, \"id\": [\"header:I\", \"{json:/a}:{form:b}\"], "         \
	"\"ack\": "                                                                                \
	"{\"body\": \"ok\"}, \"handshake\": [{\"signed\": true, \"when\": {\"json:/t\": \"v\"}, "  \
	"\"reply\": {\"body\": \"{json:/c}\"}}], \"keys\": [{\"file\": \"k0\"}, {\"file\": "       \
	"\"k0\", "                                                                                 \
	"\"kid\": \"2\", \"role\": \"next\"}]"

static const char *const one_key[] = { "p_a2V5", NULL };

static void every_piece_of_memory_may_be_missing(void **state)
{
	struct lab lab;
	unsigned rounds = 0;

	(void)state;
	lab_open(&lab, SOURCE, one_key);
	for (failing_at = 1;; failing_at++) {
		struct scheme *scheme = NULL;
		struct config_report report = { 0 };
		struct err err = ERR_INIT;
		enum err_code rc;

		failing_seen = 0;
		rc = scheme_open(&lab.config->sources[0], &scheme, &report, &err);
		config_report_done(&report);
		if (failing_seen < failing_at) {
			assert_int_equal(rc, ERR_OK);
			scheme_close(&scheme);
			break;
		}
		assert_int_equal(rc, ERR_NOMEM);
		assert_int_equal(err.code, ERR_NOMEM);
		assert_null(scheme);
		rounds++;
	}
	failing_at = 0;
	assert_true(rounds > 20);
	lab_close(&lab);
}

/* A ceiling that is too low stands for memory that is not there: both fail in buf_reserve(). */
static void without_memory_nothing_is_judged(void **state)
{
	struct scheme_verdict verdict = { .captures = BUF_INIT(64) };
	struct scheme_mapped mapped = { .text = BUF_INIT(64) };
	struct lab_request r;
	struct lab lab;

	(void)state;
	lab_open(&lab, "\"id\": \"header:I\", \"verify\": {\"alg\": \"none\"}", one_key);
	lab_request(&r, "I: 1", SLICE_LIT("{}"));
	scheme_verify(lab.scheme, &r.rq, 0, &verdict);
	assert_int_equal(verdict.code, ERR_UNAVAILABLE);
	assert_int_equal(verdict.key, -1);
	assert_int_equal(lab_verify(&lab, &r, 0), ERR_OK);
	scheme_map(lab.scheme, &r.rq, &lab.verdict, &mapped);
	assert_int_equal(mapped.code, ERR_UNAVAILABLE);
	scheme_verdict_done(&verdict);
	scheme_mapped_done(&mapped);
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_piece_of_memory_may_be_missing),
		cmocka_unit_test(without_memory_nothing_is_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
