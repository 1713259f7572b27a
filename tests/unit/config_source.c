/* config_source.c - sources: presets and own members merged, tolerances, keys, secrets. */
#include "support/config_files.h"

#define KEYS "\"keys\":[{\"file\":\"keys/a.key\"}]"

static const struct source_config *load_one(struct files *f, const char *members)
{
	char text[2048];

	(void)snprintf(text, sizeof(text), "{\"sources\":{\"a\":{%s," KEYS "}}}", members);
	files_must_load(f, text, NULL);
	return config_source(f->config, SLICE_LIT("a"));
}

static const struct node *verify_of(const struct source_config *source)
{
	return node_member(source->scheme, "verify");
}

static void every_preset_loads_and_knows_its_place(void **state)
{
	struct files *f = *state;

	assert_true(preset_count() > 60);
	assert_null(preset_name(preset_count()));
	assert_null(preset_text("nobody").data);
	for (size_t i = 0; i < preset_count(); i++) {
		char members[100], pointer[100];
		const struct source_config *source;
		const struct node *verify;

		(void)snprintf(members, sizeof(members), "\"preset\":\"%s\"", preset_name(i));
		source = load_one(f, members);
		assert_string_equal(source->preset, preset_name(i));
		verify = verify_of(source);
		assert_non_null(verify);
		/* Of several ways the first. */
		verify = verify->type == NODE_ARRAY ? verify->child : verify;
		assert_int_equal(node_member(verify, "alg")->type, NODE_STRING);
		/* Its own, or that of a preset that it extends. */
		assert_int_equal(strncmp(node_member(verify, "alg")->pointer, "preset:", 7), 0);
		assert_int_equal(node_member(verify, "alg")->line, 0);
		assert_null(node_member(source->scheme, "keys"));
		/* Nothing in a preset is unknown to the table. */
		for (const struct node *m = source->scheme->child; m; m = m->next) {
			(void)snprintf(pointer, sizeof(pointer), "/sources/a/%s", m->name);
			assert_non_null(config_option_at(pointer));
		}
		for (const struct node *m = verify->child; m; m = m->next) {
			(void)snprintf(pointer, sizeof(pointer), "/sources/a/verify/%s", m->name);
			assert_non_null(config_option_at(pointer));
		}
	}
}

static void own_mapping_takes_the_place_of_the_presets(void **state)
{
	struct files *f = *state;
	const struct source_config *source =
		load_one(f, "\"preset\":\"stripe\",\"type\":\"json:/kind\",\"entity\":null,"
			    "\"version\":\"json:/v\"");
	const struct node *type = node_member(source->scheme, "type");

	assert_string_equal(type->string, "json:/kind");
	assert_string_equal(type->pointer, "/sources/a/type");
	assert_int_equal(type->line, 1);
	assert_null(node_member(source->scheme, "entity"));
	assert_string_equal(node_member(source->scheme, "version")->string, "json:/v");
	assert_string_equal(node_member(source->scheme, "id")->string, "json:/id");
	assert_string_equal(node_member(source->scheme, "id")->pointer, "preset:stripe/id");
	assert_null(node_member(source->scheme, "tenant"));
}

static void tolerances_go_into_verify(void **state)
{
	struct files *f = *state;
	const struct source_config *source =
		load_one(f, "\"preset\":\"slack\",\"tolerance\":60,\"future_tolerance\":5");
	const struct node *verify = verify_of(source);

	assert_int_equal(node_member(verify, "tolerance")->integer, 60);
	assert_int_equal(node_member(verify, "future_tolerance")->integer, 5);
	assert_string_equal(node_member(verify, "tolerance")->pointer, "/sources/a/tolerance");
	assert_string_equal(node_member(verify, "match")->string, "v0={hex}");
	assert_null(node_member(source->scheme, "tolerance"));
	assert_non_null(node_member(source->scheme, "handshake"));

	source = load_one(f, "\"tolerance\":7,\"id\":\"sha256:body\","
			     "\"verify\":[{\"alg\":\"token\",\"tolerance\":1},{\"alg\":\"none\"}]");
	verify = verify_of(source);
	assert_int_equal(node_count(verify), 2);
	assert_int_equal(node_member(verify->child, "tolerance")->integer, 7);
	assert_int_equal(node_member(verify->child->next, "tolerance")->integer, 7);
	assert_string_equal(node_member(verify->child->next, "alg")->string, "none");
	/* The config's own tree is not touched by the merge. */
	assert_int_equal(node_count(verify), 2);
}

static void extends_merges_verify_too(void **state)
{
	struct files *f = *state;
	const struct source_config *source = load_one(
		f, "\"extends\":\"svix\",\"verify\":{\"sig\":\"header:x-sig\",\"split\":null}");
	const struct node *verify = verify_of(source);

	assert_null(source->preset);
	assert_string_equal(node_member(verify, "sig")->string, "header:x-sig");
	assert_string_equal(node_member(verify, "sig")->pointer, "/sources/a/verify/sig");
	assert_null(node_member(verify, "split"));
	assert_string_equal(node_member(verify, "match")->pointer, "preset:svix/verify/match");
	assert_null(node_member(source->scheme, "extends"));
}

static void switches_are_stored(void **state)
{
	struct files *f = *state;
	const struct source_config *source = load_one(f,
		"\"preset\":\"github\",\"ack_from\":\"queue\",\"on_reuse\":\"quarantine\","
		"\"on_replay\":\"apply\",\"quarantine_refused\":true,"
		"\"rate_limit\":{\"per_second\":2.5}");

	assert_int_equal(source->on_reuse, ON_REUSE_QUARANTINE);
	assert_int_equal(source->on_replay, ON_REPLAY_APPLY);
	assert_true(source->quarantine_refused);
	assert_false(source->ack_from_spool);
	assert_true(source->rate.per_second > 2.4 && source->rate.per_second < 2.6);
	assert_int_equal((int)source->rate.burst, 3);
}

static void keys_and_secrets_are_references(void **state)
{
	struct files *f = *state;
	const struct source_config *source;

	files_must_load(f,
		"{\"sources\":{\"a\":{\"preset\":\"github\",\"//\":1,\"//\":2,\n"
		"\"secrets\":{\"hook\":{\"file\":\"keys/b.key\"}},\n"
		"\"keys\":[{\"file\":\"keys/a.key\",\"role\":\"next\",\"kid\":\"k1\",\n"
		"\"not_before\":\"2026-01-01T00:00:00Z\",\n"
		"\"not_after\":\"2026-01-01T02:00:00+01:00\"},\n"
		"{\"file\":\"keys/b.key\",\"role\":\"previous\"}]}}}",
		NULL);
	source = config_source(f->config, SLICE_LIT("a"));
	assert_int_equal(source->key_count, 2);
	assert_string_equal(source->keys[0].role, "next");
	assert_string_equal(source->keys[0].kid, "k1");
	assert_int_equal(source->keys[0].not_before_ms, 1767225600000);
	assert_int_equal(source->keys[0].not_after_ms, 1767229200000);
	assert_string_equal(source->keys[0].pointer, "/sources/a/keys/0");
	assert_int_equal(source->keys[0].line, 3);
	assert_string_equal(source->keys[1].role, "previous");
	assert_int_equal(source->keys[1].line, 6);
	assert_int_equal(source->secret_count, 1);
	assert_string_equal(source->secrets[0].name, "hook");
	assert_string_equal(source->secrets[0].ref.file + strlen(f->dir), "/keys/b.key");
}

/* Opening a pipe waits for its writer: a reload would hang, and a stop with it. */
static void a_pipe_is_no_key_file(void **state)
{
	struct files *f = *state;
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/keys/c.key", f->dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(files_load(f,
				 "{\"sources\":{\"a\":{\"preset\":\"github\",\n"
				 "\"keys\":[{\"file\":\"keys/c.key\"}]}}}",
				 NULL),
		ERR_CONFIG);
	assert_true(files_has(f, PROBLEM_ERROR, "/sources/a/keys/0", 2, "is not a regular file"));
}

static void a_source_without_a_signature_needs_no_key(void **state)
{
	struct files *f = *state;

	files_must_load(f,
		"{\"sources\":{\"a\":{\"verify\":{\"alg\":\"none\"},\"id\":\"sha256:body\"}}}",
		NULL);
	assert_int_equal(config_source(f->config, SLICE_LIT("a"))->key_count, 0);
}

#define FILES_TEST(name) cmocka_unit_test_setup_teardown(name, files_open, files_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILES_TEST(every_preset_loads_and_knows_its_place),
		FILES_TEST(own_mapping_takes_the_place_of_the_presets),
		FILES_TEST(tolerances_go_into_verify),
		FILES_TEST(extends_merges_verify_too),
		FILES_TEST(switches_are_stored),
		FILES_TEST(keys_and_secrets_are_references),
		FILES_TEST(a_pipe_is_no_key_file),
		FILES_TEST(a_source_without_a_signature_needs_no_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
