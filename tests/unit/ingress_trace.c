/* ingress_trace.c - which traceparents are passed on, and that a new one is well-formed. */
#include "../../src/ingress/trace.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"

static void only_well_formed_ones_pass(void **state)
{
	static const struct {
		const char *text;
		bool valid;
	} rows[] = {
		{ "00-" TRACE "-" SPAN "-01", true },
		{ "00-" TRACE "-" SPAN "-00", true },
		{ "cc-" TRACE "-" SPAN "-09", true }, /* a later version with the same beginning */
		{ "", false },
		{ "00-" TRACE "-" SPAN "-1", false },
		{ "00-" TRACE "-" SPAN "-011", false },
		{ "00-" TRACE "-" SPAN "-01-more", false },
		{ "ff-" TRACE "-" SPAN "-01", false },
		{ "0-" TRACE "-" SPAN "-011", false },
		{ "00_" TRACE "-" SPAN "-01", false },
		{ "00-" TRACE "_" SPAN "-01", false },
		{ "00-" TRACE "-" SPAN "_01", false },
		{ "00-0AF7651916cd43dd8448eb211c80319c-" SPAN "-01", false },
		{ "00-00000000000000000000000000000000-" SPAN "-01", false },
		{ "00-" TRACE "-0000000000000000-01", false },
		{ "00-" TRACE "-" SPAN "-0g", false },
		{ "zz-" TRACE "-" SPAN "-01", false },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (trace_is_valid(slice_str(rows[i].text)) != rows[i].valid)
			fail_msg("%s", rows[i].text);
	}
}

static void a_new_one_is_valid(void **state)
{
	uint8_t random[TRACE_RANDOM];
	char text[TRACE_LEN + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(random); i++)
		random[i] = (uint8_t)(i * 7 + 1);
	trace_start(random, text);
	assert_true(trace_is_valid(slice_str(text)));
	assert_string_equal(text, "00-01080f161d242b323940474e555c636a-71787f868d949ba2-01");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_well_formed_ones_pass),
		cmocka_unit_test(a_new_one_is_valid),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
