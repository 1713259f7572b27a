/* config_mistakes.c - each kind of mistake: the pointer, the line and the words it is reported
 * with. */
#include "support/config_files.h"

#define KEYS "\"keys\":[{\"file\":\"keys/a.key\"}]"
#define SOURCE(members) "{\"sources\":\n{\"a\":{" members "}}}"
#define ROUTE(members) "{\"routes\":\n[{" members "}]}"
#define NONE "\"handler\":{\"type\":\"none\"}"
#define VERIFY "\"verify\":{\"alg\":\"hmac-sha256\",\"sig\":\"header:X\"}"

struct mistake {
	const char *text, *pointer;
	unsigned line;
	const char *words;
};

static void check_rows(struct files *f, const struct mistake *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		enum err_code rc = files_load(f, rows[i].text, NULL);

		if (rc != ERR_CONFIG || f->config ||
			!files_has(
				f, PROBLEM_ERROR, rows[i].pointer, rows[i].line, rows[i].words)) {
			files_print(f);
			fail_msg("row %zu: %s", i, rows[i].text);
		}
		assert_int_equal(f->err.code, ERR_CONFIG);
	}
}

static void texts_that_are_no_config(void **state)
{
	static const struct mistake rows[] = {
		{ "", "", 1, "unexpected token near end of file" },
		{ "{\n\"a\": }", "", 2, "unexpected" },
		{ "[]", "", 1, "must be an object" },
		{ "{\"admin\":\n{\"listen\":\"x\",\n\"listen\":\"y\"}}", "/admin/listen", 3,
			"duplicate" },
		{ "{\"routes\":[1,{\"// a\":0,\"x\":[{\"b~/\":1}]},\n{\"x\":1,\"x\":2}]}",
			"/routes/2/x", 2, "duplicate" },
		{ "{\"dlq\":\n[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
			"", 0, "line 2: nested deeper" },
		{ "{\"shutdown_timeout_s\":\n99999999999999999999}", "", 2, "too big integer" },
	};

	check_rows(*state, rows, ARRAY_LEN(rows));
}

static void names_that_are_not_known(void **state)
{
	static const struct mistake rows[] = {
		{ "{\n\"ingres\":{}}", "/ingres", 2, "did you mean \"ingress\"?" },
		{ "{\"ingress\":{\n\n\"max_body\":1}}", "/ingress/max_body", 3,
			"unknown member \"max_body\"; there are listen, max_body_bytes" },
		{ "{\"ingress\":{\"max_body_byte\":1}}", "/ingress/max_body_byte", 1,
			"did you mean \"max_body_bytes\"?" },
		{ "{\"zzzzzzzz\":1}", "/zzzzzzzz", 1, "there are $schema, data_dir" },
		{ SOURCE("\"presett\":\"github\"," KEYS), "/sources/a/presett", 2,
			"did you mean \"preset\"?" },
		{ SOURCE("\"verify\":{\"algo\":1}," KEYS), "/sources/a/verify/algo", 2,
			"did you mean \"alg\"?" },
		{ SOURCE("\"verify\":[{\"alg\":\"none\"},{\"tim\":1}]," KEYS),
			"/sources/a/verify/1/tim", 2, "did you mean \"time\"?" },
		{ SOURCE("\"preset\":\"githb\"," KEYS), "/sources/a/preset", 2,
			"unknown preset; did you mean \"github\"?" },
		{ SOURCE("\"preset\":\"nobody\"," KEYS), "/sources/a/preset", 2,
			"unknown preset; there are adyen-payments, " },
		{ ROUTE("\"name\":\"x\",\"retri\":{}," NONE), "/routes/0/retri", 2,
			"did you mean \"retry\"?" },
		{ ROUTE("\"name\":\"x\",\"version_rule\":\"nwer\"," NONE), "/routes/0/version_rule",
			2, "did you mean \"newer\"?" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"htp\"}"), "/routes/0/handler/type",
			2, "did you mean \"http\"?" },
		{ "{\"queue\":{\"backend\":\"rabbit\"}}", "/queue/backend", 1,
			"must be one of \"embedded\"" },
		{ "{\"\\u0041\":1}", "/A", 1, "unknown member" },
		{ "{\"a/b~\":1}", "/a~1b~0", 1, "unknown member \"a/b~\"" },
	};

	check_rows(*state, rows, ARRAY_LEN(rows));
}

static void what_is_not_supported_yet(void **state)
{
	static const struct mistake rows[] = {
		{ "{\"lanes\":{}}", "/lanes", 1, "not supported yet" },
		{ "{\"security\":{}}", "/security", 1, "not supported yet" },
		{ SOURCE("\"answer\":\"outcome\""), "/sources/a/answer", 2, "not supported yet" },
		{ SOURCE("\"idempotency\":{}"), "/sources/a/idempotency", 2, "not supported yet" },
		{ SOURCE("\"paths\":[]"), "/sources/a/paths", 2, "not supported yet" },
		{ SOURCE("\"methods\":[]"), "/sources/a/methods", 2, "not supported yet" },
		{ SOURCE("\"issuer\":{}"), "/sources/a/issuer", 2, "not supported yet" },
		{ SOURCE("\"principal\":\"x\""), "/sources/a/principal", 2, "not supported yet" },
		{ SOURCE("\"lane\":\"x\""), "/sources/a/lane", 2, "not supported yet" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"plugin\"}"),
			"/routes/0/handler/type", 2, "\"plugin\" is not supported yet" },
	};

	check_rows(*state, rows, ARRAY_LEN(rows));
}

static void types_and_limits(void **state)
{
	static const struct mistake rows[] = {
		{ "{\"ingress\":1}", "/ingress", 1, "must be an object, but is a whole number" },
		{ "{\"sources\":[]}", "/sources", 1, "must be an object, but is a list" },
		{ "{\"routes\":{}}", "/routes", 1, "must be a list, but is an object" },
		{ "{\"shutdown_timeout_s\":\"10\"}", "/shutdown_timeout_s", 1,
			"must be a whole number, but is a text" },
		{ "{\"shutdown_timeout_s\":1.5}", "/shutdown_timeout_s", 1, "with a fraction" },
		{ "{\"shutdown_timeout_s\":0}", "/shutdown_timeout_s", 1,
			"must be from 1 to 3600 s" },
		{ "{\"shutdown_timeout_s\":3601}", "/shutdown_timeout_s", 1, "from 1 to 3600" },
		{ "{\"shutdown_timeout_s\":null}", "/shutdown_timeout_s", 1, "but is null" },
		{ "{\"data_dir\":true}", "/data_dir", 1, "must be a text, but is true or false" },
		{ "{\"data_dir\":\"\"}", "/data_dir", 1, "must have 1 to 4000 bytes" },
		{ "{\"data_dir\":\"a\\u0000b\"}", "/data_dir", 1, "control characters" },
		{ "{\"ingress\":{\"client_rate_limit\":{}}}", "/ingress/client_rate_limit", 1,
			"needs \"per_second\"" },
		{ "{\"ingress\":{\"client_rate_limit\":{\"per_second\":0}}}",
			"/ingress/client_rate_limit/per_second", 1, "must be above 0" },
		{ "{\"ingress\":{\"client_rate_limit\":{\"per_second\":1,\"burst\":0.5}}}",
			"/ingress/client_rate_limit/burst", 1, "must be at least 1" },
		{ "{\"ingress\":{\"client_rate_limit\":{\"per_second\":\"9\"}}}",
			"/ingress/client_rate_limit/per_second", 1, "must be a number" },
		{ SOURCE("\"preset\":\"github\",\"quarantine_refused\":1," KEYS),
			"/sources/a/quarantine_refused", 2, "must be true or false" },
		{ SOURCE("\"preset\":\"github\",\"on_reuse\":1," KEYS), "/sources/a/on_reuse", 2,
			"must be a text" },
		{ SOURCE("\"verify\":[]," KEYS), "/sources/a/verify", 2, "must not be empty" },
		{ SOURCE("\"verify\":[1]," KEYS), "/sources/a/verify/0", 2, "must be an object" },
		{ SOURCE("\"preset\":\"github\",\"tolerance\":-1," KEYS), "/sources/a/tolerance", 2,
			"from 0 to" },
		{ "{\"admin\":{\"listen\":\"8081\"}}", "/admin/listen", 1,
			"an address and a port" },
		{ "{\"admin\":{\"listen\":\"127.0.0.1:\"}}", "/admin/listen", 1, "a port" },
		{ "{\"admin\":{\"listen\":\"127.0.0.1:65536\"}}", "/admin/listen", 1, "a port" },
		{ "{\"admin\":{\"listen\":\"127.0.0.300:80\"}}", "/admin/listen", 1, "a port" },
		{ "{\"admin\":{\"listen\":\"[::1:80\"}}", "/admin/listen", 1, "a port" },
		{ "{\"admin\":{\"listen\":\":80\"}}", "/admin/listen", 1, "a port" },
		{ "{\"admin\":{\"listen\":\"a b:80\"}}", "/admin/listen", 1, "a port" },
		{ "{\"admin\":{\"listen\":80}}", "/admin/listen", 1, "must be a text" },
	};

	check_rows(*state, rows, ARRAY_LEN(rows));
}

static void options_that_do_not_fit_each_other(void **state)
{
	static const struct mistake rows[] = {
		{ "{\"queue\":{\"max_bytes\":1000000}}", "/queue/segment_bytes", 0,
			"at most half" },
		{ "{\"admin\":{\"listen\":\"127.0.0.1:8080\"}}", "/admin/listen", 1,
			"is the address of /ingress/listen too" },
		{ "{\"admin\":{\"worker_listen\":\"127.0.0.1:8080\"}}", "/admin/worker_listen", 1,
			"is the address of /ingress/listen too" },
		{ "{\"admin\":{\"worker_listen\":\"127.0.0.1:8081\"}}", "/admin/worker_listen", 1,
			"is the address of /admin/listen too" },
		{ ROUTE("\"name\":\"x\",\"retry\":{\"base_ms\":9,\"cap_ms\":8}," NONE),
			"/routes/0/retry", 2, "at most \"cap_ms\"" },
	};

	check_rows(*state, rows, ARRAY_LEN(rows));
}

static void sources_that_are_not_whole(void **state)
{
	static const struct mistake rows[] = {
		{ SOURCE(KEYS), "/sources/a", 2, "needs \"preset\" or \"verify\"" },
		{ SOURCE("\"preset\":\"github\""), "/sources/a", 2,
			"needs \"keys\": [{\"file\": \"keys/a.key\"}]" },
		{ SOURCE("\"preset\":\"github\",\"keys\":[]"), "/sources/a", 2, "needs \"keys\"" },
		{ SOURCE("\"verify\":[{\"alg\":\"none\"},{\"alg\":\"token\"}]"), "/sources/a", 2,
			"needs \"keys\"" },
		{ SOURCE("\"preset\":\"github\"," VERIFY "," KEYS), "/sources/a/verify", 2,
			"must not stand beside \"preset\"" },
		{ SOURCE("\"preset\":\"github\",\"extends\":\"svix\"," KEYS), "/sources/a/extends",
			2, "must not stand beside \"preset\"" },
		{ SOURCE("\"extends\":7," KEYS), "/sources/a/extends", 2, "the name of a preset" },
		{ SOURCE("\"preset\":\"github\",\"tenant\":\"a/b\"," KEYS), "/sources/a/tenant", 2,
			"must not hold a \"/\"" },
		{ SOURCE("\"preset\":\"github\",\"tenant\":\"\"," KEYS), "/sources/a/tenant", 2,
			"1 to 64 bytes" },
		{ SOURCE("\"preset\":\"github\",\"public_url\":\"ftp://x\"," KEYS),
			"/sources/a/public_url", 2, "must be a URL" },
		{ SOURCE("\"preset\":\"github\",\"public_url\":\"https://x/?a\"," KEYS),
			"/sources/a/public_url", 2, "must not hold a query" },
		{ "{\"sources\":{\"\":{\"preset\":\"github\"," KEYS "}}}", "/sources/", 1,
			"1 to 64 of" },
		{ "{\"sources\":{\"a b\":{\"preset\":\"github\"," KEYS "}}}", "/sources/a b", 1,
			"1 to 64 of" },
		{ "{\"sources\":{\".a\":{\"preset\":\"github\"," KEYS "}}}", "/sources/.a", 1,
			"start with a letter or digit" },
		{ "{\"sources\":{\"a\":7}}", "/sources/a", 1, "must be an object" },
	};

	check_rows(*state, rows, ARRAY_LEN(rows));
}

#define KEY_LIST(keys) SOURCE("\"preset\":\"github\",\"keys\":[" keys "]")
#define KEY_A "{\"file\":\"keys/a.key\"}"

static void keys_that_are_not_fit(void **state)
{
	static const struct mistake rows[] = {
		{ SOURCE("\"preset\":\"github\",\"keys\":{}"), "/sources/a/keys", 2,
			"must be a list" },
		{ KEY_LIST("{}"), "/sources/a/keys/0", 2, "needs one of \"file\" and \"env\"" },
		{ KEY_LIST("{\"file\":\"keys/a.key\",\"env\":\"X\"}"), "/sources/a/keys/0", 2,
			"not both" },
		{ KEY_LIST(KEY_A ",{\"file\":\"keys/none.key\"}"), "/sources/a/keys/1", 2,
			"there is no file" },
		{ KEY_LIST("{\"file\":\"keys\"}"), "/sources/a/keys/0", 2, "is a directory" },
		{ KEY_LIST("{\"file\":\"keys/c.key\"}"), "/sources/a/keys/0", 2,
			"may be written by others" },
		{ KEY_LIST("{\"env\":\"A=B\"}"), "/sources/a/keys/0", 2, "holds no \"=\"" },
		{ KEY_LIST("{\"file\":\"keys/a.key\",\"role\":\"old\"}"), "/sources/a/keys/0/role",
			2, "must be one of \"current\", \"next\", \"previous\"" },
		{ KEY_LIST("{\"file\":\"keys/a.key\",\"not_after\":\"2026-01-01\"}"),
			"/sources/a/keys/0/not_after", 2, "a time like" },
		{ KEY_LIST("{\"file\":\"keys/a.key\",\"not_before\":\"2026-01-02T00:00:00Z\","
			   "\"not_after\":\"2026-01-01T00:00:00Z\"}"),
			"/sources/a/keys/0", 2, "must be earlier" },
		{ KEY_LIST(KEY_A "," KEY_A "," KEY_A "," KEY_A "," KEY_A "," KEY_A "," KEY_A
				 "," KEY_A "," KEY_A),
			"/sources/a/keys", 2, "at most 8" },
		{ SOURCE("\"preset\":\"github\",\"secrets\":{\"x "
			 "y\":{\"file\":\"keys/a.key\"}}," KEYS),
			"/sources/a/secrets/x y", 2, "the name must have" },
		{ SOURCE("\"preset\":\"github\",\"secrets\":{\"x\":{}}," KEYS),
			"/sources/a/secrets/x", 2, "needs one of" },
	};
	struct files *f = *state;

	files_put(f, "keys/c.key", "0123456789abcdef\n", 0622);
	check_rows(f, rows, ARRAY_LEN(rows));
}

/* Every place where people put a secret, and the hint they get. The secret is never repeated. */
static void secrets_that_stand_in_the_config(void **state)
{
	static const struct mistake rows[] = {
		{ SOURCE("\"preset\":\"github\",\"keys\":\"hunter2\""), "/sources/a/keys", 2,
			"never inline" },
		{ KEY_LIST("\"hunter2\""), "/sources/a/keys/0", 2,
			"write {\"file\": \"keys/NAME.key\"} or {\"env\": \"NAME\"}" },
		{ KEY_LIST("{\"value\":\"hunter2\"}"), "/sources/a/keys/0/value", 2,
			"never inline" },
		{ KEY_LIST("{\"secret\":\"hunter2\"}"), "/sources/a/keys/0/secret", 2,
			"never inline" },
		{ SOURCE("\"preset\":\"github\",\"key\":\"hunter2\""), "/sources/a/key", 2,
			"never inline: write \"keys\"" },
		{ SOURCE("\"preset\":\"github\",\"secret\":\"hunter2\""), "/sources/a/secret", 2,
			"never inline" },
		{ SOURCE("\"preset\":\"github\",\"secrets\":{\"x\":\"hunter2\"}," KEYS),
			"/sources/a/secrets/x", 2, "never inline" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"http\",\"url\":\"http://h\","
			"\"sign_key\":\"hunter2\"}"),
			"/routes/0/handler/sign_key", 2, "never inline" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"http\","
			"\"url\":\"http://me:hunter2@h/\"}"),
			"/routes/0/handler/url", 2, "never inline" },
		{ "{\"admin\":{\"token\":\"hunter2\"}}", "/admin/token", 1,
			"never inline: write \"token_file\"" },
	};
	struct files *f = *state;

	check_rows(f, rows, ARRAY_LEN(rows));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(files_load(f, rows[i].text, NULL), ERR_CONFIG);
		assert_null(strstr(f->err.text, "hunter2"));
		for (size_t j = 0; j < f->report.count; j++)
			assert_null(strstr(f->report.problems[j].text, "hunter2"));
	}
}

static void routes_that_are_not_whole(void **state)
{
	static const struct mistake rows[] = {
		{ ROUTE(NONE), "/routes/0", 2, "needs \"name\"" },
		{ ROUTE("\"name\":\"x\""), "/routes/0", 2, "needs \"handler\"" },
		{ ROUTE("\"name\":\"x\",\"handler\":{}"), "/routes/0/handler", 2,
			"needs \"type\"" },
		{ ROUTE("\"name\":\"a/b\"," NONE), "/routes/0/name", 2, "1 to 64 of" },
		{ ROUTE("\"name\":\"x\"," NONE "},\n{\"name\":\"x\"," NONE), "/routes/1/name", 3,
			"the route at line 2 too" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"http\"}"), "/routes/0/handler", 2,
			"needs \"url\"" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"http\",\"url\":\"https://:80/\"}"),
			"/routes/0/handler/url", 2, "must be a URL" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"http\",\"url\":\"https://h/#x\"}"),
			"/routes/0/handler/url", 2, "without a fragment" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"http\",\"url\":\"/ci\"}"),
			"/routes/0/handler/url", 2, "must be a URL" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"exec\"}"), "/routes/0/handler", 2,
			"needs \"argv\"" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"exec\",\"argv\":[]}"),
			"/routes/0/handler/argv", 2, "must start with a program" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"exec\",\"argv\":[\"\"]}"),
			"/routes/0/handler/argv", 2, "must start with a program" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"exec\",\"argv\":[\"a\",1]}"),
			"/routes/0/handler/argv/1", 2, "must be a text" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"exec\",\"argv\":\"ls\"}"),
			"/routes/0/handler/argv", 2, "must be a list" },
		{ ROUTE("\"name\":\"x\",\"handler\":{\"type\":\"none\",\"url\":\"http://h\"}"),
			"/routes/0/handler/url", 2, "\"none\" has no such member" },
		{ ROUTE("\"name\":\"x\",\"breaker\":{\"ratio\":0}," NONE),
			"/routes/0/breaker/ratio", 2, "above 0" },
		{ ROUTE("\"name\":\"x\",\"match\":{\"type\":\"\"}," NONE), "/routes/0/match/type",
			2, "1 to 1024 bytes" },
	};

	check_rows(*state, rows, ARRAY_LEN(rows));
}

static void all_problems_come_at_once(void **state)
{
	struct files *f = *state;

	assert_int_equal(files_load(f,
				 "{\"ingres\":1,\n"
				 "\"shutdown_timeout_s\":0,\n"
				 "\"sources\":{\"a\":{" KEYS "},\n"
				 "\"b\":{\"preset\":\"nobody\"," KEYS "}},\n"
				 "\"routes\":[{\"name\":\"x\"}]}",
				 NULL),
		ERR_CONFIG);
	assert_true(files_has(f, PROBLEM_ERROR, "/ingres", 1, "unknown"));
	assert_true(files_has(f, PROBLEM_ERROR, "/shutdown_timeout_s", 2, "from 1"));
	assert_true(files_has(f, PROBLEM_ERROR, "/sources/a", 3, "needs"));
	assert_true(files_has(f, PROBLEM_ERROR, "/sources/b/preset", 4, "unknown preset"));
	assert_true(files_has(f, PROBLEM_ERROR, "/routes/0", 5, "needs"));
	assert_non_null(strstr(f->err.text, "postern.json:1: /ingres: unknown"));
	assert_non_null(strstr(f->err.text, "(and more)"));
}

static void warnings_do_not_refuse(void **state)
{
	struct files *f = *state;

	files_put(f, "keys/c.key", "0123456789abcdef\n", 0644);
	files_must_load(f,
		"{\"ingress\":{\"max_body_bytes\":1000000},\n"
		"\"queue\":{\"segment_bytes\":1000000},\"admin\":{\"token_file\":\"keys/none\"},"
		"\"dlq\":{\"max_bytes\":1999999},\"quarantine\":{\"max_bytes\":2000000},\n"
		"\"sources\":{\"abc\":{\"preset\":\"github\",\"keys\":[{\"file\":\"keys/"
		"c.key\"}]}},\n"
		"\"routes\":[{\"name\":\"a\",\"match\":{\"source\":\"abd\"}," NONE "},\n"
		"{\"name\":\"b\",\"match\":{\"type\":\"*\"}," NONE "},\n"
		"{\"name\":\"c\",\"handler\":{\"type\":\"exec\",\"argv\":[\"./none\"]}}]}",
		NULL);
	assert_true(files_has(f, PROBLEM_WARNING, "/queue/segment_bytes", 2, "does not fit"));
	assert_true(files_has(f, PROBLEM_WARNING, "/admin/token_file", 2, "no such file"));
	assert_true(
		files_has(f, PROBLEM_WARNING, "/sources/abc/keys/0", 3, "may be read by others"));
	assert_true(files_has(f, PROBLEM_WARNING, "/routes/0/match/source", 4, "mean \"abc\"?"));
	assert_true(
		files_has(f, PROBLEM_WARNING, "/routes/2", 6, "never reached: the route \"b\""));
	assert_true(files_has(f, PROBLEM_WARNING, "/routes/2/handler/argv/0", 6, "no program"));
	assert_true(files_has(f, PROBLEM_WARNING, "/dlq/max_bytes", 2, "2000000 bytes"));
	assert_int_equal(f->report.count, 7);
}

#define FILES_TEST(name) cmocka_unit_test_setup_teardown(name, files_open, files_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILES_TEST(texts_that_are_no_config),
		FILES_TEST(names_that_are_not_known),
		FILES_TEST(what_is_not_supported_yet),
		FILES_TEST(types_and_limits),
		FILES_TEST(options_that_do_not_fit_each_other),
		FILES_TEST(sources_that_are_not_whole),
		FILES_TEST(keys_that_are_not_fit),
		FILES_TEST(secrets_that_stand_in_the_config),
		FILES_TEST(routes_that_are_not_whole),
		FILES_TEST(all_problems_come_at_once),
		FILES_TEST(warnings_do_not_refuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
