/* broker_opts.c: secrets among the properties, what the library says of them, and what a data_dir
 * remembers. */
#include "../../src/cli/broker_opts.h"

#include "support/config_files.h"

#define SERVERS "\"bootstrap.servers\":\"127.0.0.1:1\""
#define QUEUE(members, properties)                                                                 \
	"{\"queue\":{\"backend\":\"kafka\"," members "\n\"properties\":{" SERVERS properties "}}}"
#define HUSH "hush-hush-4711"
#define FROM_FILE QUEUE("", ",\"sasl.password\":{\"file\":\"keys/c.key\"}")
#define FROM_ENV QUEUE("", ",\"sasl.password\":{\"env\":\"POSTERN_TEST_SECRET\"}")

static void secrets_are_read(void **state)
{
	struct files *f = *state;
	struct properties p;

	files_put(f, "keys/c.key", HUSH "\n", 0600);
	files_must_load(f, FROM_FILE, NULL);
	assert_int_equal(properties_open(f->config, &p, &f->err), ERR_OK);
	assert_int_equal(p.count, 2);
	assert_string_equal(p.list[0].name, "bootstrap.servers");
	assert_string_equal(p.list[0].value, "127.0.0.1:1");
	assert_string_equal(p.list[1].name, "sasl.password");
	assert_string_equal(p.list[1].value, HUSH);
	properties_close(&p);
	assert_int_equal(setenv("POSTERN_TEST_SECRET", HUSH "2", 1), 0);
	files_must_load(f, FROM_ENV, NULL);
	assert_int_equal(properties_open(f->config, &p, &f->err), ERR_OK);
	assert_string_equal(p.list[1].value, HUSH "2");
	properties_close(&p);
	assert_int_equal(unsetenv("POSTERN_TEST_SECRET"), 0);
}

static void secrets_that_cannot_be_read(void **state)
{
	struct files *f = *state;
	struct properties p;
	char path[160];

	files_must_load(f, FROM_ENV, NULL);
	assert_int_equal(properties_open(f->config, &p, &f->err), ERR_CONFIG);
	assert_non_null(strstr(f->err.text, "/queue/properties/sasl.password: "
					    "POSTERN_TEST_SECRET is not set"));
	assert_null(p.list);
	files_put(f, "keys/c.key", "\n", 0600);
	files_must_load(f, FROM_FILE, NULL);
	assert_int_equal(properties_open(f->config, &p, &f->err), ERR_CONFIG);
	assert_non_null(strstr(f->err.text, "is empty"));
	(void)snprintf(path, sizeof(path), "%s/keys/c.key", f->dir);
	assert_int_equal(truncate(path, 100), 0);
	f->err = ERR_INIT;
	assert_int_equal(properties_open(f->config, &p, &f->err), ERR_CONFIG);
	assert_non_null(strstr(f->err.text, "holds a NUL"));
	assert_int_equal(unlink(path), 0);
	f->err = ERR_INIT;
	assert_int_equal(properties_open(f->config, &p, &f->err), ERR_CONFIG);
	assert_non_null(strstr(f->err.text, "/queue/properties/sasl.password"));
}

static void the_library_is_asked(void **state)
{
	static const struct {
		const char *properties, *pointer, *words; /* NULL: it takes it */
	} rows[] = {
		{ "", NULL, NULL },
		{ ",\"linger.ms\":5,\"compression.codec\":\"lz4\"", NULL, NULL },
		{ ",\"sasl.password\":{\"file\":\"keys/a.key\"}", NULL, NULL },
		{ ",\"linger.mz\":5", "/queue/properties/linger.mz", "no such property" },
		{ ",\"linger.ms\":\"soon\"", "/queue/properties/linger.ms", "linger.ms" },
		{ ",\"acks\":1", "/queue/properties/acks", "postern's own" },
		{ ",\"group.id\":\"x\"", "/queue/properties/group.id", "/queue/group" },
	};
	struct files *f = *state;
	char text[600];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct config_report report = { 0 };

		(void)snprintf(text, sizeof(text), QUEUE("", "%s"), rows[i].properties);
		files_must_load(f, text, NULL);
		properties_check(f->config, &report);
		assert_int_equal(report.count, rows[i].pointer ? 1 : 0);
		if (rows[i].pointer) {
			assert_string_equal(report.problems[0].pointer, rows[i].pointer);
			assert_int_equal(report.problems[0].line, 2);
			assert_non_null(strstr(report.problems[0].text, rows[i].words));
		}
		config_report_done(&report);
	}
}

static void options_follow_the_config(void **state)
{
	struct files *f = *state;
	struct kafka_opts opts = { 0 };

	files_must_load(f,
		QUEUE("\"topic\":\"t\",\"group\":\"g\",\"create_topics\":false,"
		      "\"partitions\":5,",
			""),
		NULL);
	kafka_opts_fill(f->config, &opts);
	assert_string_equal(opts.topic, "t");
	assert_string_equal(opts.group, "g");
	assert_false(opts.create_topics);
	assert_int_equal(opts.partitions, 5);
	assert_int_equal(opts.journal_retention_ms, INT64_C(3) * 168 * 3600 * 1000);
	assert_int_equal(opts.output_retention_ms[STREAM_DLQ], INT64_C(720) * 3600 * 1000);
	assert_true(opts.max_record_bytes > CONFIG_KAFKA_BODY_MAX);
}

static void clean_home(const struct files *f)
{
	static const char *const names[] = { "data/main/kafka.json", "data/main", "data" };
	char path[160];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
		(void)remove(path);
	}
}

static void a_data_dir_remembers(void **state)
{
	static const char *const broken[] = { "", "{}", "[1]", "{\"topic\":1}",
		"{\"topic\":\"postern.events\",\"cluster\":\"c\",\"partitions\":0}",
		"{\"topic\":\"postern.events\",\"cluster\":\"c\",\"partitions\":4294967296}",
		"{\"topic\":\"postern.events\",\"partitions\":3}" };
	struct files *f = *state;
	struct home home = { .cluster = "MkU3OEVBNTcwNTJENDM2Qg", .partitions = 3 }, read;
	char path[160];

	files_must_load(f, QUEUE("", ""), NULL);
	assert_int_equal(home_read(f->config, &read, &f->err), ERR_OK);
	assert_int_equal(read.partitions, 0);
	(void)snprintf(path, sizeof(path), "%s/data/main", f->dir);
	assert_int_equal(file_make_dirs(path, NULL), ERR_OK);
	assert_int_equal(home_write(f->config, &home, &f->err), ERR_OK);
	assert_int_equal(home_read(f->config, &read, &f->err), ERR_OK);
	assert_int_equal(read.partitions, 3);
	assert_string_equal(read.cluster, home.cluster);
	files_must_load(f, QUEUE("\"topic\":\"other\",", ""), NULL);
	assert_int_equal(home_read(f->config, &read, &f->err), ERR_CONFIG);
	assert_non_null(strstr(f->err.text, "belongs to the topic \"postern.events\""));
	files_must_load(f, QUEUE("", ""), NULL);
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		files_put(f, "data/main/kafka.json", broken[i], 0600);
		f->err = ERR_INIT;
		if (home_read(f->config, &read, &f->err) != ERR_CORRUPT)
			fail_msg("%s: %s", broken[i], f->err.text);
		assert_non_null(strstr(f->err.text, "kafka.json"));
	}
	clean_home(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, files_open, files_close)
	const struct CMUnitTest tests[] = {
		TEST(secrets_are_read),
		TEST(secrets_that_cannot_be_read),
		TEST(the_library_is_asked),
		TEST(options_follow_the_config),
		TEST(a_data_dir_remembers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
