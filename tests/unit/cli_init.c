/* cli_init.c - init writes a config that loads, fresh keys that fit, and nothing over what exists.
 *
 * What commands share is replaced by fakes that keep the output. */
#include "../../src/cli/cmd_init.c"

#include "postern/scheme.h"
#include "support/cli_output.h"
#include "support/config_files.h"

#include <dirent.h>

static const char *dir_option;

const char *cli_get(const struct cli *cli, const char *name)
{
	(void)cli;
	return strcmp(name, "--dir") == 0 ? dir_option : NULL;
}

int cli_fail(const struct err *err)
{
	print_message("# %s\n", err->text);
	return err_exit(err->code);
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
	(void)cli;
	(void)fmt;
	return 2;
}

/* ---- */

static int start(void **state)
{
	static char dir[64];

	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/postern-init-XXXXXX");
	dir_option = mkdtemp(dir);
	output_reset();
	return dir_option ? 0 : -1;
}

static int stop(void **state)
{
	char command[2][96];

	(void)state;
	(void)snprintf(command[0], sizeof(command[0]), "%s/keys", dir_option);
	(void)snprintf(command[1], sizeof(command[1]), "%s", dir_option);
	for (size_t i = 0; i < 2; i++) {
		DIR *dir = opendir(command[i]);
		struct dirent *entry;

		while (dir && (entry = readdir(dir))) {
			char *path = file_join(command[i], entry->d_name);

			(void)unlink(path);
			free(path);
		}
		if (dir)
			(void)closedir(dir);
		(void)rmdir(command[i]);
	}
	return 0;
}

static int init(bool json, int count, const char **args)
{
	struct cli cli = { .command = &cmd_init, .json = json, .args = args, .arg_count = count };

	return cmd_init.run(&cli);
}

static struct config *load(struct config_report *report)
{
	struct config *config = NULL;
	struct err err = ERR_INIT;
	char *path = file_join(dir_option, "postern.json");
	enum err_code rc = config_load(path, NULL, &config, report, &err);

	if (rc != ERR_OK)
		fail_msg("%s", err.text);
	free(path);
	return config;
}

static void read_key(const char *name, char *out, size_t size)
{
	struct buf text = BUF_INIT(KIB(1));
	char *path = file_join(dir_option, name);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(file_read(path, &text, NULL), ERR_OK);
	assert_true(text.len > 20 && text.len < size);
	assert_int_equal(text.data[text.len - 1], '\n');
	(void)snprintf(out, size, "%.*s", (int)text.len - 1, buf_str(&text));
	buf_done(&text);
	free(path);
}

static void what_is_written_works_as_it_is(void **state)
{
	const char *args[] = { "demo=standard-webhooks", "github" };
	struct config_report report = { NULL, 0 };
	const struct source_config *demo;
	struct config *config;
	char key[200], token[200];

	(void)state;
	assert_int_equal(init(false, 2, args), 0);
	config = load(&report);
	assert_int_equal(report.count, 0);
	assert_int_equal(config->source_count, 2);
	assert_int_equal(config->route_count, 1);
	demo = config_source(config, SLICE_LIT("demo"));
	assert_string_equal(demo->preset, "standard-webhooks");
	assert_string_equal(node_member(demo->scheme, "entity")->string, "json:/entity");
	assert_string_equal(node_member(demo->scheme, "version")->string, "json:/version");
	read_key("keys/demo.key", key, sizeof(key));
	assert_int_equal(strncmp(key, "whsec_", 6), 0);
	assert_int_equal(strlen(key), 6 + 44);
	assert_non_null(strstr(output, key));
	read_key("keys/github.key", key, sizeof(key));
	assert_int_equal(strlen(key), 64);
	assert_non_null(strstr(output, key));
	assert_non_null(strstr(output, "http://127.0.0.1:8080/hooks/github\n"));
	read_key("keys/admin.token", token, sizeof(token));
	assert_null(strstr(output, token));
	assert_string_not_equal(key, token);
	config_unref(&config);
	config_report_done(&report);
}

/* As an administrator does it for a daemon that is another user. */
static void root_writes_keys_for_the_owner_of_their_directory(void **state)
{
	const char *args[] = { "github" };
	const uid_t daemon = 65534;
	char *keys = file_join(dir_option, "keys"), *key = file_join(keys, "github.key");
	char *config = file_join(dir_option, "postern.json");
	struct stat st;

	(void)state;
	if (geteuid() == 0) {
		assert_int_equal(mkdir(keys, 0700), 0);
		assert_int_equal(chown(keys, daemon, daemon), 0);
		assert_int_equal(init(false, 1, args), 0);
		assert_int_equal(stat(key, &st), 0);
		assert_int_equal(st.st_uid, daemon);
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_int_equal(stat(config, &st), 0);
		assert_int_equal(st.st_uid, 0);
	}
	free(config);
	free(key);
	free(keys);
}

/* What the signature of each preset covers was worked out by hand: "preset binds replay id". */
static void check_audit(const char *preset, const struct scheme *scheme)
{
	struct buf table = BUF_INIT(KIB(16));
	struct scheme_audit audit;
	char row[256];
	struct err err = ERR_INIT;

	scheme_audit(scheme, &audit);
	(void)snprintf(
		row, sizeof(row), "\n%s %s %s %s\n", preset, audit.binds, audit.replay, audit.id);
	assert_int_equal(buf_put_str(&table, "\n", &err), ERR_OK);
	assert_int_equal(file_read("tests/vectors/audit.txt", &table, &err), ERR_OK);
	if (!strstr(buf_str(&table), row))
		fail_msg("not in the table: %s", row);
	buf_done(&table);
}

static void every_preset_can_be_written_and_covers_what_it_should(void **state)
{
	struct config_report report = { NULL, 0 };
	const char *args[128];
	struct config *config;
	int count = 0;

	(void)state;
	for (size_t i = 0; i < preset_count(); i++)
		args[count++] = preset_name(i);
	assert_int_equal(init(true, count, args), 0);
	config = load(&report);
	assert_int_equal(config->source_count, preset_count());
	assert_int_equal(report.count, 0);
	for (size_t i = 0; i < config->source_count; i++) {
		struct scheme *scheme = NULL;
		struct err err = ERR_INIT;

		if (scheme_open(&config->sources[i], &scheme, &report, &err) != ERR_OK)
			fail_msg("%s: %s", config->sources[i].name, report.problems[0].text);
		check_audit(config->sources[i].preset, scheme);
		scheme_close(&scheme);
	}
	config_report_done(&report);
	/* A line for each, each an object. */
	for (const char *line = output; *line; line = strchr(line, '\n') + 1) {
		struct json_value secret;

		assert_int_equal(json_get((struct slice){ (const uint8_t *)line,
						  (size_t)(strchr(line, '\n') - line) },
					 "/secret", &secret, NULL),
			ERR_OK);
		assert_true(secret.type == JSON_NULL || secret.raw.len >= 32);
		count--;
	}
	assert_int_equal(count, 0);
	config_unref(&config);
	config_report_done(&report);
}

static void without_a_preset_there_is_a_demo(void **state)
{
	struct config_report report = { NULL, 0 };
	struct config *config;

	(void)state;
	assert_int_equal(init(false, 0, NULL), 0);
	config = load(&report);
	assert_non_null(config_source(config, SLICE_LIT("demo")));
	config_unref(&config);
	config_report_done(&report);
}

static void nothing_that_exists_is_written_over(void **state)
{
	static const char *const names[] = { "postern.json", "postern.schema.json",
		"keys/admin.token", "keys/github.key" };
	const char *args[] = { "github" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *path = file_join(dir_option, names[i]), *keys = file_join(dir_option, "keys");
		struct buf text = BUF_INIT(64);

		assert_int_equal(file_make_dirs(keys, NULL), ERR_OK);
		assert_int_equal(file_write_new(path, SLICE_LIT("mine"), 0600, NULL), ERR_OK);
		assert_int_equal(init(false, 1, args), 1);
		assert_int_equal(output_len, 0);
		assert_int_equal(file_read(path, &text, NULL), ERR_OK);
		assert_string_equal(buf_str(&text), "mine");
		for (size_t j = 0; j < ARRAY_LEN(names); j++) {
			char *other = file_join(dir_option, names[j]);

			assert_int_equal(file_exists(other), i == j);
			free(other);
		}
		buf_done(&text);
		(void)unlink(path);
		free(path);
		free(keys);
	}
}

static void a_failure_half_way_leaves_nothing(void **state)
{
	static const char *const names[] = { "postern.schema.json", "keys/admin.token",
		"keys/github.key" };
	const char *args[] = { "github" };
	char *path = file_join(dir_option, "postern.json");

	(void)state;
	/* A link to nowhere looks free, but its name is taken when the config is written, at the
	 * end. */
	assert_int_equal(symlink("nowhere", path), 0);
	assert_int_equal(init(false, 1, args), 1);
	assert_int_equal(output_len, 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *other = file_join(dir_option, names[i]);

		assert_false(file_exists(other));
		free(other);
	}
	free(path);
}

static void arguments_that_make_no_sense(void **state)
{
	static const char *rows[][2] = {
		{ "nobody", NULL },
		{ "a=nobody", NULL },
		{ "=github", NULL },
		{ "a/b=github", NULL },
		{ "../x=github", NULL },
		{ "github", "github" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(init(false, rows[i][1] ? 2 : 1, rows[i]), 2);
	assert_int_equal(output_len, 0);
}

#define INIT_TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		INIT_TEST(what_is_written_works_as_it_is),
		INIT_TEST(root_writes_keys_for_the_owner_of_their_directory),
		INIT_TEST(every_preset_can_be_written_and_covers_what_it_should),
		INIT_TEST(without_a_preset_there_is_a_demo),
		INIT_TEST(nothing_that_exists_is_written_over),
		INIT_TEST(a_failure_half_way_leaves_nothing),
		INIT_TEST(arguments_that_make_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
