/* config_memory.c - a config is loaded with the first, second, third ... piece of memory missing,
 * until there is enough: each time a plain failure, nothing half-made, nothing lost. */
#include "../../src/config/config_priv.h"

#include <stdlib.h>

#include "failing.h"
/* Small chunks, so that there are many of them. */
#undef KIB
#define KIB(n) ((size_t)(n) << 5)
#define calloc(count, size) (failing_now() ? NULL : calloc((count), (size)))
#include "../../src/config/arena.c"
#undef calloc
#undef KIB
#define KIB(n) ((size_t)(n) << 10)

#include "support/config_files.h"

static const char text[] =
	"{\"ingress\":{\"client_rate_limit\":{\"per_second\":5}},\n"
	"\"sources\":{\"a\":{\"extends\":\"slack\",\"verify\":{\"sig\":\"header:X\"},\"tolerance\":"
	"9,\n"
	"\"keys\":[{\"file\":\"keys/a.key\"}],\"secrets\":{\"x\":{\"file\":\"keys/b.key\"}}},\n"
	"\"b\":{\"preset\":\"github\",\"keys\":[{\"file\":\"keys/a.key\"}]}},\n"
	"\"routes\":[{\"name\":\"x\",\"handler\":{\"type\":\"exec\",\"argv\":[\"./bin/"
	"run\",\"b\"]}}]}";

static void every_piece_of_memory_may_be_missing(void **state)
{
	char variable[] = "POSTERN__SOURCES__A__VERIFY__MATCH=\"x={hex}\"";
	char *env[] = { variable, NULL };
	struct files *f = *state;
	unsigned rounds = 0;

	for (failing_at = 1;; failing_at++) {
		enum err_code rc;

		failing_seen = 0;
		rc = files_load(f, text, env);
		if (failing_seen < failing_at)
			break;
		assert_int_equal(rc, ERR_NOMEM);
		assert_int_equal(f->err.code, ERR_NOMEM);
		assert_null(f->config);
		rounds++;
	}
	failing_at = 0;
	assert_true(rounds > 10);
	files_must_load(f, text, env);
	assert_int_equal(f->config->source_count, 2);
}

static void mistakes_do_not_hide_missing_memory(void **state)
{
	static const char bad[] = "{\"ingres\":1,\"sources\":{\"a\":{\"preset\":\"nobody\"}},\n"
				  "\"queue\":{\"backend\":\"rabbit\"},\"routes\":[{},{},7]}";
	struct files *f = *state;

	for (failing_at = 1;; failing_at++) {
		enum err_code rc;

		failing_seen = 0;
		rc = files_load(f, bad, NULL);
		assert_null(f->config);
		if (failing_seen < failing_at) {
			assert_int_equal(rc, ERR_CONFIG);
			break;
		}
		assert_int_equal(rc, ERR_NOMEM);
	}
	failing_at = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			every_piece_of_memory_may_be_missing, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			mistakes_do_not_hide_missing_memory, files_open, files_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
