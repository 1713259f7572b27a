/* cli_verify.c - the headers of one request, as `verify` is given them and as the ingress reads
 * them.
 */
#include "../../src/cli/cmd_verify.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_header_is_read_as_the_ingress_reads_it(void **state)
{
	static const struct {
		const char *text, *name, *value; /* name NULL: refused */
	} rows[] = {
		{ "X: a", "X", "a" },
		{ "X:a", "X", "a" },
		{ "X:   a", "X", "a" },
		{ "X:\ta", "X", "a" },
		{ "X: \t a b\t c \t ", "X", "a b\t c" },
		{ "X:", "X", "" },
		{ "X: \t", "X", "" },
		{ "X: a:b", "X", "a:b" },
		{ ": a", NULL, NULL },
		{ "X", NULL, NULL },
		{ "", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct header header = { .name = SLICE_EMPTY };

		assert_int_equal(read_header(rows[i].text, &header), rows[i].name != NULL);
		if (!rows[i].name)
			continue;
		if (!slice_eq_str(header.name, rows[i].name) ||
			!slice_eq_str(header.value, rows[i].value))
			fail_msg("\"%s\": \"%.*s\"", rows[i].text, SLICE_FMT(header.value));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_is_read_as_the_ingress_reads_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
