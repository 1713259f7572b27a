/* lanes.c: the names of dead letters and quarantined records, over files and over Kafka. */
#include "../../src/cli/lanes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Names depend on whether there is a crew and on how many lanes, on nothing in them. */
static struct lanes lanes_of(size_t partitions)
{
	static char some_crew;

	return (struct lanes){ .crew = partitions ? (struct crew *)(void *)&some_crew : NULL,
		.count = partitions ? partitions : 1 };
}

static void names_of_records(void **state)
{
	static const struct {
		size_t partitions; /* 0: files */
		enum out_target target;
		struct place place;
		const char *name;
	} rows[] = {
		{ 0, OUT_DLQ, { 0, 0 }, "d0" },
		{ 0, OUT_QUARANTINE, { 0, 17 }, "q17" },
		{ 12, OUT_DLQ, { 0, 0 }, "d0.0" },
		{ 12, OUT_DLQ, { 3, 17 }, "d3.17" },
		{ 12, OUT_QUARANTINE, { 11, 9007199254740993 }, "q11.9007199254740993" },
		{ 1000, OUT_QUARANTINE, { 999, INT64_MAX }, "q999.9223372036854775807" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct lanes lanes = lanes_of(rows[i].partitions);
		struct place place = { 77, 77 };
		char text[PLACE_TEXT_MAX];

		place_text(&lanes, rows[i].target, &rows[i].place, text);
		assert_string_equal(text, rows[i].name);
		assert_true(place_parse(&lanes, rows[i].target, slice_str(text), &place));
		assert_int_equal(place.lane, rows[i].place.lane);
		assert_int_equal(place.offset, rows[i].place.offset);
	}
}

static void what_is_no_name(void **state)
{
	static const struct {
		size_t partitions;
		const char *text;
	} rows[] = {
		{ 0, "" },
		{ 0, "d" },
		{ 0, "q1" }, /* of the other stream */
		{ 0, "1" },
		{ 0, "d-1" },
		{ 0, "d1x" },
		{ 0, "d0.1" },
		{ 0, "d9223372036854775808" },
		{ 3, "d1" },
		{ 3, "d1." },
		{ 3, "d.1" },
		{ 3, "d3.1" }, /* there is no partition 3 */
		{ 3, "d-1.1" },
		{ 3, "d1.-1" },
		{ 3, "d1.1.1" },
		{ 3, "evt_1" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct lanes lanes = lanes_of(rows[i].partitions);
		struct place place;

		if (place_parse(&lanes, OUT_DLQ, slice_str(rows[i].text), &place))
			fail_msg("\"%s\" is no name with %zu partitions", rows[i].text,
				rows[i].partitions);
	}
}

static void a_cursor_is_a_place(void **state)
{
	static const struct place rows[] = { { 0, 0 }, { 0, 5 }, { 1, 0 }, { 999, 1 },
		{ 12, INT64_C(1) << 45 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct place back = place_of_cursor(place_cursor(&rows[i]));

		assert_int_equal(back.lane, rows[i].lane);
		assert_int_equal(back.offset, rows[i].offset);
		assert_true(place_cursor(&rows[i]) >= 0);
	}
	/* Over files a cursor is the offset, as it always was. */
	assert_int_equal(place_cursor(&rows[1]), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_records),
		cmocka_unit_test(what_is_no_name),
		cmocka_unit_test(a_cursor_is_a_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
