/* limits.c: options that are fine each by itself, and not together. */
#include "support/config_files.h"

#define WAITS "its events may wait as long as ids are remembered"
#define HTTP "\"handler\": {\"type\": \"http\", \"url\": \"http://127.0.0.1:1/\"}"
#define CALLED(max_age) HTTP ", \"retry\": {\"max_age_s\": " max_age "}"

static void ids_are_remembered_longer_than_events_wait(void **state)
{
	static const struct {
		const char *hours, *route;
		bool told;
	} rows[] = {
		{ "168", HTTP, false }, /* the defaults */
		{ "24", CALLED("86399"), false },
		{ "24", CALLED("86400"), true },
		{ "24", HTTP, true },
		{ "1", CALLED("3600"), true },
		{ "1", CALLED("60") ", \"gap_timeout_s\": 3600", false }, /* no gaps by its rule */
		{ "1", CALLED("60") ", \"version_rule\": \"next\", \"gap_timeout_s\": 3599",
			false },
		{ "1", CALLED("60") ", \"version_rule\": \"next\", \"gap_timeout_s\": 3600", true },
		/* nothing is called, so nothing is tried again */
		{ "1", "\"handler\": {\"type\": \"none\"}", false },
		{ "1",
			"\"handler\": {\"type\": \"none\"}, \"version_rule\": \"next\", "
			"\"gap_timeout_s\": 3600",
			true },
	};
	struct files *f = *state;
	char text[1024];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		(void)snprintf(text, sizeof(text),
			"{\"worker\": {\"dedupe_hours\": %s}, \"routes\": [\n"
			"{\"name\": \"first\", \"match\": {\"type\": \"x\"}, "
			"\"handler\": {\"type\": \"none\"}},\n"
			"{\"name\": \"r\", \"match\": {}, %s}]}",
			rows[i].hours, rows[i].route);
		files_must_load(f, text, NULL);
		if (files_has(f, PROBLEM_WARNING, "/routes/1", 3, WAITS) != rows[i].told ||
			files_has(f, PROBLEM_WARNING, "/routes/0", 2, WAITS)) {
			files_print(f);
			fail_msg("row %zu", i);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			ids_are_remembered_longer_than_events_wait, files_open, files_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
