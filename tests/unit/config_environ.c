/* config_environ.c - overrides from the environment: what they set, and which names are refused. */
#include "support/config_files.h"

#define KEYS "\"keys\":[{\"file\":\"keys/a.key\"}]"

static const char base[] = "{\"ingress\":{\"max_body_bytes\":100},\n"
			   "\"sources\":{\"My-Shop.eu\":{\"preset\":\"shopify\"," KEYS "},\n"
			   "\"own\":{\"id\":\"sha256:body\",\"verify\":[{\"alg\":\"hmac-sha256\","
			   "\"sig\":\"header:X\"},\n"
			   "{\"alg\":\"hmac-sha1\",\"sig\":\"header:Y\"}]," KEYS "}},\n"
			   "\"routes\":[{\"name\":\"x\",\"handler\":{\"type\":\"none\"}}]}";

/* An environment of one or two variables; they are given as char *, as main() gets them. */
#define ENVIRON(name, first, second)                                                               \
	char name##_a[] = first, name##_b[] = second;                                              \
	char *name[] = { name##_a, name##_b, NULL }

static void a_variable_wins_over_the_file(void **state)
{
	struct files *f = *state;
	ENVIRON(env, "POSTERN__INGRESS__MAX_BODY_BYTES=200", "POSTERN_INGRESS=1");

	files_must_load(f, base, env);
	assert_int_equal(f->config->ingress.max_body_bytes, 200);
}

static void the_case_of_a_name_does_not_matter(void **state)
{
	struct files *f = *state;
	ENVIRON(env, "postern__Ingress__max_BODY_bytes=300",
		"Postern__Sources__my_shop_eu__TENANT=Acme");

	files_must_load(f, base, env);
	assert_int_equal(f->config->ingress.max_body_bytes, 300);
	assert_string_equal(config_source(f->config, SLICE_LIT("My-Shop.eu"))->tenant, "Acme");
}

static void a_member_that_the_file_lacks_is_added(void **state)
{
	struct files *f = *state;
	ENVIRON(env, "POSTERN__ROUTES__0__RETRY__ATTEMPTS=3", "POSTERN__ADMIN__LISTEN=[::1]:9");

	files_must_load(f, base, env);
	assert_int_equal(f->config->routes[0].retry.attempts, 3);
	assert_int_equal(f->config->routes[0].retry.base_ms, 1000);
	assert_string_equal(f->config->admin.listen, "[::1]:9");
}

static void an_inner_variable_changes_what_an_outer_one_set(void **state)
{
	struct files *f = *state;
	ENVIRON(env, "POSTERN__DLQ__MAX_BYTES=100000",
		"POSTERN__DLQ={\"max_bytes\":200000,\"retention_hours\":5}");

	files_must_load(f, base, env);
	assert_int_equal(f->config->dlq.max_bytes, 100000);
	assert_int_equal(f->config->dlq.retention_hours, 5);
}

static void a_text_stays_a_text(void **state)
{
	struct files *f = *state;
	ENVIRON(env, "POSTERN__SOURCES__OWN__TENANT=42", "POSTERN__DATA_DIR=true");

	files_must_load(f, base, env);
	assert_string_equal(config_source(f->config, SLICE_LIT("own"))->tenant, "42");
	assert_string_equal(f->config->data_dir + strlen(f->dir), "/true");
}

static void the_scheme_can_be_reached(void **state)
{
	struct files *f = *state;
	const struct node *verify;
	ENVIRON(env, "POSTERN__SOURCES__OWN__VERIFY__1__SIG=header:Z",
		"POSTERN__SOURCES__OWN__TYPE=[\"json:/a\",\"json:/b\"]");

	files_must_load(f, base, env);
	verify = node_member(config_source(f->config, SLICE_LIT("own"))->scheme, "verify");
	assert_string_equal(node_member(verify->child->next, "sig")->string, "header:Z");
	assert_int_equal(
		node_count(node_member(config_source(f->config, SLICE_LIT("own"))->scheme, "type")),
		2);
}

static void a_whole_object_may_come_from_a_variable(void **state)
{
	struct files *f = *state;
	ENVIRON(env, "POSTERN__SOURCES={\"hub\":{\"preset\":\"github\"," KEYS "}}",
		"POSTERN__SOURCES__HUB__TENANT=t");

	files_must_load(f, base, env);
	assert_int_equal(f->config->source_count, 1);
	assert_string_equal(config_source(f->config, SLICE_LIT("hub"))->tenant, "t");
}

static void names_that_fit_nothing_or_too_much(void **state)
{
	static const struct {
		const char *variable, *words;
	} rows[] = {
		{ "POSTERN__INGRES__LISTEN=x",
			"POSTERN__INGRES__LISTEN in the environment: no such option; did you mean "
			"POSTERN__INGRESS__LISTEN (/ingress/listen)?" },
		{ "POSTERN__INGRESS__LISTE=x", "did you mean POSTERN__INGRESS__LISTEN (" },
		{ "POSTERN__INGRES__LISTE=x", "did you mean POSTERN__INGRESS__LISTEN (" },
		{ "POSTERN__INGRESS__=x", "did you mean POSTERN__INGRESS (/ingress)?" },
		{ "POSTERN__INGRESS__LISTEN__X=1", "did you mean POSTERN__INGRESS__LISTEN (" },
		{ "POSTERN__SOURCES__A_C__TENENT=x",
			"did you mean POSTERN__SOURCES__A_B__TENANT (/sources/a-b/tenant)?" },
		{ "POSTERN__ROUTES__0__HANDLE__URL=x",
			"did you mean POSTERN__ROUTES__0__HANDLER__URL (/routes/0/handler/url)?" },
		{ "POSTERN__INGRESS__ZZZZZZ=x", "no such option; there are listen, max_body_" },
		{ "POSTERN__=x", "no such option; there are $schema, data_dir" },
		{ "POSTERN__ZZZZZZZZZ__LISTEN=x", "no such option; there are $schema, data_dir" },
		{ "POSTERN__SOURCES__NOBODY__TENANT=x", "no such source" },
		{ "POSTERN__ROUTES__1__CONCURRENCY=1", "no such option" },
		{ "POSTERN__ROUTES__X__CONCURRENCY=1", "no such option" },
		{ "POSTERN__SOURCES__A_B__TENANT=x",
			"ambiguous: /sources/a-b/tenant or /sources/a_b/tenant" },
	};
	static const char twins[] = "{\"sources\":{\"a-b\":{\"preset\":\"github\"," KEYS "},"
				    "\"a_b\":{\"preset\":\"github\"," KEYS "}},"
				    "\"routes\":[{\"name\":\"x\","
				    "\"handler\":{\"type\":\"none\"}}]}";
	struct files *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *copy = strdup(rows[i].variable), *env[] = { copy, NULL };

		assert_non_null(copy);
		assert_int_equal(files_load(f, twins, env), ERR_CONFIG);
		free(copy);
		if (!files_has(f, PROBLEM_ERROR, "", 0, rows[i].words)) {
			files_print(f);
			fail_msg("%s", rows[i].variable);
		}
	}
}

/* Neither the file nor a line of it is blamed for what the environment says. */
static void a_mistake_in_the_environment_reads_so(void **state)
{
	struct files *f = *state;
	struct buf text = BUF_INIT(KIB(4));
	const struct config_problem *first;
	ENVIRON(env, "POSTERN__INGRES__LISTEN=x", "X=1");
	ENVIRON(late, "POSTERN__SHUTDOWN_TIMEOUT_S=soon", "X=1");

	assert_int_equal(files_load(f, base, env), ERR_CONFIG);
	first = config_report_error(&f->report);
	assert_non_null(first);
	assert_string_equal(first->variable, "POSTERN__INGRES__LISTEN");
	assert_int_equal(config_problem_put(&text, first, f->path, NULL), ERR_OK);
	assert_string_equal(buf_str(&text),
		"POSTERN__INGRES__LISTEN in the environment: no such option; did you mean "
		"POSTERN__INGRESS__LISTEN (/ingress/listen)?");
	assert_string_equal(f->err.text, buf_str(&text));
	assert_int_equal(files_load(f, base, late), ERR_CONFIG);
	assert_string_equal(f->err.text,
		"/shutdown_timeout_s: must be a whole number, but is a text (set by "
		"POSTERN__SHUTDOWN_TIMEOUT_S in the environment)");
	assert_string_equal(
		config_report_error(&f->report)->variable, "POSTERN__SHUTDOWN_TIMEOUT_S");
	buf_done(&text);
}

static void two_variables_for_one_place(void **state)
{
	struct files *f = *state;
	ENVIRON(env, "POSTERN__SHUTDOWN_TIMEOUT_S=1", "postern__shutdown_timeout_s=2");

	assert_int_equal(files_load(f, base, env), ERR_CONFIG);
	assert_true(
		files_has(f, PROBLEM_ERROR, "/shutdown_timeout_s", 0, "set by another variable"));
}

static void a_mistake_in_a_variable_names_it(void **state)
{
	struct files *f = *state;
	ENVIRON(env, "POSTERN__SHUTDOWN_TIMEOUT_S=soon", "POSTERN__DLQ={\"max_byte\":1}");

	assert_int_equal(files_load(f, base, env), ERR_CONFIG);
	assert_true(files_has(f, PROBLEM_ERROR, "/shutdown_timeout_s", 0,
		"must be a whole number, but is a text (set by POSTERN__SHUTDOWN_TIMEOUT_S in"));
	assert_true(files_has(f, PROBLEM_ERROR, "/dlq/max_byte", 0, "(set by POSTERN__DLQ in"));
}

static void a_value_is_utf8(void **state)
{
	struct files *f = *state;
	ENVIRON(env, "POSTERN__SOURCES__OWN__TENANT=a\xff", "X=\xff");

	assert_int_equal(files_load(f, base, env), ERR_CONFIG);
	assert_true(files_has(f, PROBLEM_ERROR, "/sources/own/tenant", 0, "must be UTF-8"));
}

static void a_variable_below_something_of_the_wrong_type(void **state)
{
	struct files *f = *state;
	ENVIRON(env, "POSTERN__INGRESS__LISTEN=127.0.0.1:1", "POSTERN__SOURCES__X__TENANT=a");

	assert_int_equal(files_load(f, "{\"ingress\":7,\"sources\":[]}", env), ERR_CONFIG);
	assert_true(files_has(f, PROBLEM_ERROR, "/ingress", 1, "must be an object"));
	assert_true(files_has(f, PROBLEM_ERROR, "/sources", 1, "must be an object"));
}

#define FILES_TEST(name) cmocka_unit_test_setup_teardown(name, files_open, files_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILES_TEST(a_variable_wins_over_the_file),
		FILES_TEST(the_case_of_a_name_does_not_matter),
		FILES_TEST(a_member_that_the_file_lacks_is_added),
		FILES_TEST(an_inner_variable_changes_what_an_outer_one_set),
		FILES_TEST(a_text_stays_a_text),
		FILES_TEST(the_scheme_can_be_reached),
		FILES_TEST(a_whole_object_may_come_from_a_variable),
		FILES_TEST(names_that_fit_nothing_or_too_much),
		FILES_TEST(a_mistake_in_the_environment_reads_so),
		FILES_TEST(two_variables_for_one_place),
		FILES_TEST(a_mistake_in_a_variable_names_it),
		FILES_TEST(a_value_is_utf8),
		FILES_TEST(a_variable_below_something_of_the_wrong_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
