/* config_show.c - the effective config shown, explained, compared, and its schema. */
#include "support/config_files.h"

#include "postern/json.h"

#define KEYS "\"keys\":[{\"file\":\"keys/a.key\"}]"

static const char base[] =
	"{\"ingress\":{\"max_body_bytes\":100,\n"
	"\"client_rate_limit\":{\"per_second\":0.1}},\n"
	"\"sources\":{\"a\":{\"preset\":\"stripe\",\"// note\":\"x\",\n"
	"\"version\":\"json:/created\"," KEYS "}},\n"
	"\"routes\":[{\"name\":\"x\",\"handler\":{\"type\":\"exec\",\"argv\":[\"./bin/run\"]}}]}";

static void expect(struct slice text, const char *pointer, const char *raw)
{
	struct json_value value;
	struct err err = ERR_INIT;

	if (json_get(text, pointer, &value, &err) != ERR_OK)
		fail_msg("%s: %s in %.*s", pointer, err.text, SLICE_FMT(text));
	if (!slice_eq_str(value.raw, raw))
		fail_msg("%s: %.*s", pointer, SLICE_FMT(value.raw));
}

static void what_is_shown_is_whole(void **state)
{
	struct files *f = *state;
	struct buf out = BUF_INIT(MIB(1));
	char path[160];

	files_must_load(f, base, NULL);
	assert_int_equal(config_show(f->config, &out, NULL), ERR_OK);
	expect(buf_slice(&out), "/ingress/max_body_bytes", "100");
	expect(buf_slice(&out), "/ingress/listen", "127.0.0.1:8080");
	expect(buf_slice(&out), "/ingress/client_rate_limit/per_second", "0.1");
	expect(buf_slice(&out), "/ingress/client_rate_limit/burst", "1");
	expect(buf_slice(&out), "/queue/max_bytes", "10737418240");
	expect(buf_slice(&out), "/sources/a/preset", "stripe");
	expect(buf_slice(&out), "/sources/a/tenant", "default");
	expect(buf_slice(&out), "/sources/a/on_replay", "quarantine");
	expect(buf_slice(&out), "/routes/0/handler/timeout_ms", "30000");
	expect(buf_slice(&out), "/routes/0/breaker/ratio", "0.5");
	(void)snprintf(path, sizeof(path), "%s/keys/a.key", f->dir);
	expect(buf_slice(&out), "/sources/a/keys/0/file", path);
	(void)snprintf(path, sizeof(path), "%s/./bin/run", f->dir);
	expect(buf_slice(&out), "/routes/0/handler/argv/0", path);
	assert_null(strstr(buf_str(&out), "note"));
	buf_done(&out);
}

static void what_is_shown_means_the_same(void **state)
{
	struct files *f = *state;
	struct buf first = BUF_INIT(MIB(1)), second = BUF_INIT(MIB(1));

	files_must_load(f, base, NULL);
	assert_int_equal(config_show(f->config, &first, NULL), ERR_OK);
	files_must_load(f, buf_str(&first), NULL);
	assert_int_equal(config_show(f->config, &second, NULL), ERR_OK);
	assert_string_equal(buf_str(&first), buf_str(&second));
	buf_done(&first);
	buf_done(&second);
}

static void show_fits_its_buffer_or_fails(void **state)
{
	struct files *f = *state;
	struct buf out = BUF_INIT(100);

	files_must_load(f, base, NULL);
	assert_int_equal(config_show(f->config, &out, NULL), ERR_LIMIT);
	buf_done(&out);
}

static void every_origin_is_told(void **state)
{
	char variable[] = "POSTERN__DLQ__MAX_BYTES=100000", *env[] = { variable, NULL };
	static const struct {
		const char *pointer, *member, *raw;
	} rows[] = {
		{ "/ingress/max_body_bytes", "/value", "100" },
		{ "/ingress/max_body_bytes", "/from", "file" },
		{ "/ingress/max_body_bytes", "/line", "1" },
		{ "/ingress/max_body_bytes", "/default", "1048576" },
		{ "/ingress/max_body_bytes", "/min", "1" },
		{ "/ingress/max_body_bytes", "/unit", "bytes" },
		{ "/ingress/max_body_bytes", "/type", "integer" },
		{ "/ingress/max_body_bytes", "/restart", "false" },
		{ "/ingress/listen", "/from", "default" },
		{ "/ingress/listen", "/restart", "true" },
		{ "/dlq/max_bytes", "/from", "environment" },
		{ "/dlq/max_bytes", "/value", "100000" },
		{ "/dlq/max_bytes", "/variable", "POSTERN__DLQ__MAX_BYTES" },
		{ "/dlq", "/value/retention_hours", "720" },
		{ "/sources/a/version", "/from", "file" },
		{ "/sources/a/version", "/line", "4" },
		{ "/sources/a/type", "/from", "preset" },
		{ "/sources/a/type", "/preset", "stripe/type" },
		{ "/sources/a/verify/match/1", "/value", "v1={hex}" },
		{ "/sources/a/rate_limit", "/from", "absent" },
		{ "/sources/a/rate_limit", "/value", "null" },
		{ "/routes/0/version_rule", "/words/2", "next" },
		{ "/routes/0/handler/timeout_ms", "/from", "default" },
		{ "/routes/9/handler", "/from", "absent" },
		{ "/queue/topic", "/type", "text" },
		{ "/queue/topic", "/from", "absent" },
		{ "/lanes", "/type", "not supported yet" },
		{ "", "/value/shutdown_timeout_s", "10" },
	};
	struct files *f = *state;

	files_must_load(f, base, env);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf out = BUF_INIT(MIB(1));
		struct err err = ERR_INIT;

		if (config_explain(f->config, rows[i].pointer, &out, &err) != ERR_OK)
			fail_msg("%s: %s", rows[i].pointer, err.text);
		expect(buf_slice(&out), rows[i].member, rows[i].raw);
		expect(buf_slice(&out), "/pointer", rows[i].pointer);
		buf_done(&out);
	}
}

static void places_that_are_none(void **state)
{
	static const struct {
		const char *pointer, *words;
	} rows[] = {
		{ "/ingress/liste", "did you mean \"listen\"?" },
		{ "/nothing/at/all", "no such option" },
		{ "ingress", "is no pointer" },
		{ "/ingress/listen/x", "no such option" },
	};
	struct files *f = *state;

	files_must_load(f, base, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf out = BUF_INIT(MIB(1));
		struct err err = ERR_INIT;

		assert_int_equal(
			config_explain(f->config, rows[i].pointer, &out, &err), ERR_NOT_FOUND);
		assert_non_null(strstr(err.text, rows[i].words));
		assert_int_equal(out.len, 0);
		buf_done(&out);
	}
}

static void differences_are_listed(void **state)
{
	static const char changed[] =
		"{\"data_dir\":\"other\",\"ingress\":{\"max_body_bytes\":101},\n"
		"\"sources\":{\"a\":{\"preset\":\"github\"," KEYS
		"},\"b\":{\"preset\":\"svix\"," KEYS "}},\n"
		"\"routes\":[{\"name\":\"x\",\"handler\":{\"type\":\"exec\",\"argv\":[\"./bin/"
		"run\","
		"\"-v\"]}}]}";
	static const char all[] = "/data_dir\n/ingress/max_body_bytes\n/ingress/client_rate_limit\n"
				  "/sources/a/preset\n/sources/a/version\n/sources/b\n"
				  "/routes/0/handler/argv/1\n";
	struct files *f = *state;
	struct buf out = BUF_INIT(KIB(8)), restart = BUF_INIT(KIB(8));
	struct config *old;

	files_must_load(f, base, NULL);
	old = config_ref(f->config);
	files_must_load(f, base, NULL);
	assert_int_equal(config_diff(old, f->config, &out, &restart, NULL), ERR_OK);
	assert_string_equal(buf_str(&out), "");
	files_must_load(f, changed, NULL);
	assert_int_equal(config_diff(old, f->config, &out, &restart, NULL), ERR_OK);
	assert_string_equal(buf_str(&out), all);
	assert_string_equal(buf_str(&restart), "/data_dir\n");
	buf_reset(&out);
	assert_int_equal(config_diff(f->config, old, &out, &restart, NULL), ERR_OK);
	assert_non_null(strstr(buf_str(&out), "/routes/0/handler/argv/1\n"));
	assert_non_null(strstr(buf_str(&out), "/sources/b\n"));
	config_unref(&old);
	buf_done(&out);
	buf_done(&restart);
}

static void the_schema_has_every_option(void **state)
{
	struct buf out = BUF_INIT(MIB(1));
	static const struct {
		const char *pointer, *raw;
	} rows[] = {
		{ "/type", "object" },
		{ "/additionalProperties", "false" },
		{ "/properties/ingress/properties/max_body_bytes/maximum", "8388608" },
		{ "/properties/ingress/properties/max_body_bytes/default", "1048576" },
		{ "/properties/sources/additionalProperties/properties/preset/enum/0",
			"adyen-payments" },
		{ "/properties/sources/additionalProperties/properties/verify/oneOf/1/items/type",
			"object" },
		{ "/properties/routes/items/required/1", "handler" },
		{ "/properties/routes/items/properties/breaker/properties/ratio/exclusiveMinimum",
			"0" },
	};

	(void)state;
	assert_int_equal(config_schema(&out, NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(buf_slice(&out), rows[i].pointer, rows[i].raw);
	assert_null(strstr(buf_str(&out), "not supported"));
	buf_done(&out);
}

static void the_table_is_in_order(void **state)
{
	const struct config_option *option;

	(void)state;
	for (size_t i = 0; (option = config_option(i)); i++) {
		char parent[200];

		/* Each row is found by its own pattern, has help, and stands behind its parent. */
		assert_ptr_equal(config_option_at(option->pattern), option);
		assert_true(strlen(option->help) > 4);
		assert_int_equal(option->help[strlen(option->help) - 1], '.');
		assert_int_equal(!option->words, option->type != OPTION_WORD);
		if (i == 0)
			continue;
		(void)snprintf(parent, sizeof(parent), "%s", option->pattern);
		*strrchr(parent, '/') = '\0';
		assert_non_null(config_option_at(parent));
		assert_true(config_option_at(parent) < option);
	}
}

#define FILES_TEST(name) cmocka_unit_test_setup_teardown(name, files_open, files_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILES_TEST(what_is_shown_is_whole),
		FILES_TEST(what_is_shown_means_the_same),
		FILES_TEST(show_fits_its_buffer_or_fails),
		FILES_TEST(every_origin_is_told),
		FILES_TEST(places_that_are_none),
		FILES_TEST(differences_are_listed),
		cmocka_unit_test(the_schema_has_every_option),
		cmocka_unit_test(the_table_is_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
