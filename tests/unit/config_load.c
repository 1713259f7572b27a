/* config_load.c - whole configs: the defaults, the contract's example, files that are not there. */
#include "support/config_files.h"

static void an_empty_config_is_all_defaults(void **state)
{
	struct files *f = *state;
	const struct config *c;

	files_must_load(f, "{}", NULL);
	c = f->config;
	assert_string_equal(c->path, f->path);
	assert_string_equal(c->dir, f->dir);
	assert_true(strncmp(c->data_dir, f->dir, strlen(f->dir)) == 0);
	assert_string_equal(c->data_dir + strlen(f->dir), "/data");
	assert_int_equal(c->shutdown_timeout_s, 10);
	assert_string_equal(c->ingress.listen, "127.0.0.1:8080");
	assert_int_equal(c->ingress.max_body_bytes, 1048576);
	assert_int_equal(c->ingress.max_header_bytes, 16384);
	assert_int_equal(c->ingress.header_timeout_s, 10);
	assert_int_equal(c->ingress.body_timeout_s, 30);
	assert_int_equal(c->ingress.idle_timeout_s, 60);
	assert_int_equal(c->ingress.max_connections, 4096);
	assert_true(c->ingress.client_rate.per_second < 0.001);
	assert_string_equal(c->admin.listen, "127.0.0.1:8081");
	assert_string_equal(c->admin.worker_listen, "127.0.0.1:8082");
	assert_string_equal(c->admin.token_file + strlen(f->dir), "/keys/admin.token");
	assert_string_equal(c->queue.backend, "embedded");
	assert_int_equal(c->queue.retention_hours, 168);
	assert_int_equal(c->queue.max_bytes, 10737418240);
	assert_int_equal(c->queue.segment_bytes, 16777216);
	assert_int_equal(c->queue.reserve_bytes, 67108864);
	assert_int_equal(c->source_count, 0);
	assert_int_equal(c->route_count, 0);
	assert_int_equal(c->worker.dedupe_hours, 168);
	assert_int_equal(c->worker.ledger_max_bytes, 8589934592);
	assert_int_equal(c->worker.parked_max_events, 50000);
	assert_int_equal(c->worker.parked_max_bytes, 268435456);
	assert_int_equal(c->dlq.max_bytes, 1073741824);
	assert_int_equal(c->dlq.retention_hours, 720);
	assert_int_equal(c->quarantine.max_bytes, 268435456);
	assert_int_equal(c->quarantine.retention_hours, 720);
	assert_int_equal(c->spool.max_bytes, 1073741824);
	assert_int_equal(c->spool.max_age_s, 86400);
	assert_true(files_has(f, PROBLEM_WARNING, "/sources", 0, "no source"));
	assert_true(files_has(f, PROBLEM_WARNING, "/routes", 0, "no route"));
}

static const char example[] =
	"{\n"
	"  \"$schema\": \"postern.schema.json\", \"// why\": [1, {\"//\": 2}],\n"
	"  \"data_dir\": \"data\", \"shutdown_timeout_s\": 10,\n"
	"  \"ingress\": {\"listen\": \"127.0.0.1:8080\", \"client_rate_limit\": {\"per_second\": "
	"50, "
	"\"burst\": 100}},\n"
	"  \"sources\": {\n"
	"    \"github\": {\"preset\": \"github\", \"tenant\": \"acme\",\n"
	"      \"keys\": [{\"file\": \"keys/a.key\", \"role\": \"current\"}]},\n"
	"    \"billing\": {\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": "
	"\"header:X-Signature\",\n"
	"        \"match\": \"{hex}\", \"time\": \"json:/sent_at\", \"unit\": \"rfc3339\",\n"
	"        \"tolerance\": 300, \"future_tolerance\": 60},\n"
	"      \"id\": \"json:/event_id\", \"type\": \"json:/type\",\n"
	"      \"entity\": \"account:{json:/account}\", \"version\": \"json:/version\",\n"
	"      \"base\": \"json:/base_version\",\n"
	"      \"keys\": [{\"env\": \"BILLING_KEY\"}],\n"
	"      \"rate_limit\": {\"per_second\": 100, \"burst\": 200},\n"
	"      \"public_url\": \"https://hooks.example.com/hooks/billing\"}\n"
	"  },\n"
	"  \"routes\": [\n"
	"    {\"name\": \"ci\", \"match\": {\"source\": \"github\", \"type\": \"push*\"},\n"
	"     \"handler\": {\"type\": \"http\", \"url\": \"http://127.0.0.1:9000/ci\",\n"
	"       \"sign_key\": {\"file\": \"keys/b.key\"}}},\n"
	"    {\"name\": \"files\", \"match\": {\"source\": \"billing\"}, \"version_rule\": "
	"\"next\",\n"
	"     \"handler\": {\"type\": \"exec\", \"argv\": [\"/bin/sh\", \"-c\", \"exit 0\\n\"]}},\n"
	"    {\"name\": \"rest\", \"match\": {}, \"handler\": {\"type\": \"none\"}}\n"
	"  ]\n"
	"}\n";

static void check_example_sources(const struct files *f)
{
	const struct source_config *s = config_source(f->config, SLICE_LIT("github"));

	assert_non_null(s);
	assert_string_equal(s->tenant, "acme");
	assert_string_equal(s->preset, "github");
	assert_int_equal(s->key_count, 1);
	assert_string_equal(s->keys[0].file + strlen(f->dir), "/keys/a.key");
	assert_string_equal(s->keys[0].role, "current");
	assert_true(s->keys[0].not_before_ms == INT64_MIN && s->keys[0].not_after_ms == INT64_MAX);
	assert_int_equal(s->line, 6);
	s = config_source(f->config, SLICE_LIT("billing"));
	assert_non_null(s);
	assert_string_equal(s->tenant, "default");
	assert_null(s->preset);
	assert_string_equal(s->keys[0].env, "BILLING_KEY");
	assert_null(s->keys[0].file);
	assert_int_equal((int)s->rate.per_second, 100);
	assert_int_equal((int)s->rate.burst, 200);
	assert_int_equal(s->on_reuse, ON_REUSE_DUPLICATE);
	assert_int_equal(s->on_replay, ON_REPLAY_QUARANTINE);
	assert_false(s->quarantine_refused);
	assert_string_equal(node_member(s->scheme, "base")->string, "json:/base_version");
	assert_null(config_source(f->config, SLICE_LIT("nobody")));
}

static void check_example_routes(const struct files *f)
{
	const struct route_config *r = f->config->routes;

	assert_int_equal(f->config->route_count, 3);
	assert_string_equal(r[0].name, "ci");
	assert_int_equal(r[0].rule, RULE_NEWER);
	assert_int_equal(r[0].gap_timeout_s, 60);
	assert_int_equal(r[0].handler.type, HANDLER_HTTP);
	assert_string_equal(r[0].handler.url, "http://127.0.0.1:9000/ci");
	assert_string_equal(r[0].handler.sign_key.file + strlen(f->dir), "/keys/b.key");
	assert_int_equal(r[0].handler.timeout_ms, 5000);
	assert_int_equal(r[0].retry.attempts, 20);
	assert_int_equal(r[0].retry.base_ms, 1000);
	assert_int_equal(r[0].retry.cap_ms, 900000);
	assert_int_equal(r[0].retry.max_age_s, 86400);
	assert_int_equal(r[0].concurrency, 32);
	assert_int_equal(r[0].breaker.failures, 10);
	assert_true(r[0].breaker.ratio > 0.49 && r[0].breaker.ratio < 0.51);
	assert_int_equal(r[0].breaker.window_s, 30);
	assert_int_equal(r[0].breaker.open_s, 30);
	assert_int_equal(r[1].rule, RULE_NEXT);
	assert_int_equal(r[1].handler.timeout_ms, 30000);
	assert_int_equal(r[1].handler.max_output_bytes, 65536);
	assert_string_equal(r[1].handler.argv[2], "exit 0\n");
	assert_null(r[1].handler.argv[3]);
	assert_int_equal(r[2].handler.type, HANDLER_NONE);
	assert_null(r[2].match_source);
	assert_int_equal(r[2].line, 24);
}

static void the_example_of_the_manual_loads(void **state)
{
	char key[] = "BILLING_KEY=abc", *environ_list[] = { key, NULL };
	struct files *f = *state;

	files_must_load(f, example, environ_list);
	assert_int_equal((int)f->config->ingress.client_rate.burst, 100);
	check_example_sources(f);
	check_example_routes(f);
	/* The one thing to say: a key in the environment. */
	assert_int_equal(f->report.count, 1);
	assert_true(files_has(f, PROBLEM_WARNING, "/sources/billing/keys/0", 14, "environment"));
}

static void a_key_that_is_not_in_the_environment_is_a_warning(void **state)
{
	struct files *f = *state;

	files_must_load(f, example, NULL);
	assert_true(files_has(
		f, PROBLEM_WARNING, "/sources/billing/keys/0", 14, "BILLING_KEY is not set"));
}

static void a_missing_file_is_said_by_name(void **state)
{
	struct config_report report = { NULL, 0 };
	struct config *config = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(config_load("/nonexistent/postern.json", NULL, &config, &report, &err),
		ERR_NOT_FOUND);
	assert_non_null(strstr(err.text, "/nonexistent/postern.json"));
	assert_null(config);
	assert_int_equal(report.count, 0);
}

static void a_relative_path_is_made_absolute(void **state)
{
	struct config_report report = { NULL, 0 };
	struct config *config = NULL;
	struct files *f = *state;
	struct err err = ERR_INIT;
	char *before = getcwd(NULL, 0);

	files_put(f, "postern.json", "{\"data_dir\": \"/var/lib/x\"}", 0600);
	assert_int_equal(chdir(f->dir), 0);
	assert_int_equal(config_load(NULL, NULL, &config, &report, &err), ERR_OK);
	assert_int_equal(chdir(before), 0);
	free(before);
	assert_string_equal(config->path, f->path);
	assert_string_equal(config->dir, f->dir);
	assert_string_equal(config->data_dir, "/var/lib/x");
	config_unref(&config);
	config_report_done(&report);
}

static void references_keep_a_config(void **state)
{
	struct files *f = *state;
	struct config *second;

	files_must_load(f, "{}", NULL);
	second = config_ref(f->config);
	config_unref(&f->config);
	assert_null(f->config);
	assert_int_equal(second->shutdown_timeout_s, 10);
	config_unref(&second);
	config_unref(&second); /* nothing to give back */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			an_empty_config_is_all_defaults, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			the_example_of_the_manual_loads, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			a_key_that_is_not_in_the_environment_is_a_warning, files_open, files_close),
		cmocka_unit_test(a_missing_file_is_said_by_name),
		cmocka_unit_test_setup_teardown(
			a_relative_path_is_made_absolute, files_open, files_close),
		cmocka_unit_test_setup_teardown(references_keep_a_config, files_open, files_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
