/* config_kafka.c - the options of Kafka: defaults, properties, secrets, and what goes with which
 * backend. */
#include "support/config_files.h"

#include "postern/buf.h"

#include <string.h>

#define SERVERS "\"bootstrap.servers\":\"127.0.0.1:9092\""
#define KAFKA(members, properties)                                                                 \
	"\"queue\":{\"backend\":\"kafka\"," members "\n\"properties\":{" SERVERS properties "}}"
#define QUEUE(members, properties) "{" KAFKA(members, properties) "}"
#define KEYS "\"keys\":[{\"file\":\"keys/a.key\"}]"
#define HUSH "hush-hush-4711"

static const struct queue_property *property_of(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->queue.property_count; i++) {
		if (strcmp(c->queue.properties[i].name, name) == 0)
			return &c->queue.properties[i];
	}
	return NULL;
}

static void defaults_of_kafka(void **state)
{
	struct files *f = *state;
	const struct config *c;

	files_must_load(f, QUEUE("", ""), NULL);
	c = f->config;
	assert_true(config_on_kafka(c));
	assert_string_equal(c->queue.topic, "postern.events");
	assert_string_equal(c->queue.group, "postern");
	assert_true(c->queue.create_topics);
	assert_int_equal(c->queue.partitions, 12);
	assert_int_equal(c->queue.property_count, 1);
	assert_int_equal(c->queue.max_bytes, 0);
	assert_int_equal(c->queue.retention_hours, 0);
	assert_int_equal(c->queue.segment_bytes, 16777216);
	assert_int_equal(c->dlq.retention_hours, 720);
	assert_int_equal(c->spool.max_bytes, 1073741824);
	assert_int_equal(c->ingress.max_body_bytes, 524288);
	files_must_load(f, "{}", NULL);
	assert_false(config_on_kafka(f->config));
	assert_null(f->config->queue.topic);
	assert_int_equal(f->config->queue.property_count, 0);
}

static void properties_become_texts(void **state)
{
	static const struct {
		const char *name, *value;
	} rows[] = {
		{ "bootstrap.servers", "127.0.0.1:9092" },
		{ "linger.ms", "5" },
		{ "queue.buffering.max.kbytes", "-1" },
		{ "socket.keepalive.enable", "true" },
		{ "enable.ssl.certificate.verification", "false" },
		{ "ssl.ca.pem", "-----BEGIN\nX\n" },
		{ "sasl.oauthbearer.token.endpoint.url", "https://id.example.com/" },
		{ "ratio", "0.5" },
		{ "sasl.username", "me" },
	};
	struct files *f = *state;
	const struct queue_property *secret;

	files_must_load(f,
		QUEUE("\"topic\":\"a.B_c-1\",\"group\":\"some group\",\"create_topics\":false,"
		      "\"partitions\":3,",
			",\"linger.ms\":5,\"queue.buffering.max.kbytes\":-1,"
			"\"socket.keepalive.enable\":true,"
			"\"enable.ssl.certificate.verification\":false,"
			"\"ssl.ca.pem\":\"-----BEGIN\\nX\\n\","
			"\"sasl.oauthbearer.token.endpoint.url\":\"https://id.example.com/\","
			"\"ratio\":0.5,\"sasl.username\":\"me\","
			"\"sasl.password\":{\"file\":\"keys/a.key\"},"
			"\"ssl.key.password\":{\"env\":\"KEY_PASSWORD\"}"),
		(char *const[]){ (char[]){ "KEY_PASSWORD=" HUSH }, NULL });
	assert_string_equal(f->config->queue.topic, "a.B_c-1");
	assert_string_equal(f->config->queue.group, "some group");
	assert_false(f->config->queue.create_topics);
	assert_int_equal(f->config->queue.partitions, 3);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct queue_property *p = property_of(f->config, rows[i].name);

		assert_non_null(p);
		assert_string_equal(p->value, rows[i].value);
		assert_null(p->secret.file);
	}
	secret = property_of(f->config, "sasl.password");
	assert_null(secret->value);
	assert_string_equal(secret->secret.file + strlen(f->dir), "/keys/a.key");
	secret = property_of(f->config, "ssl.key.password");
	assert_null(secret->value);
	assert_string_equal(secret->secret.env, "KEY_PASSWORD");
}

static void mistakes_have_their_place(void **state)
{
	static const struct {
		const char *text, *pointer;
		unsigned line;
		const char *words;
	} rows[] = {
		{ "{\"queue\":{\"backend\":\"kafka\"}}", "/queue", 1,
			"needs \"properties\": {\"bootstrap.servers\"" },
		{ "{\"queue\":{\"backend\":\"kafka\",\n\"properties\":{}}}", "/queue/properties", 2,
			"needs \"bootstrap.servers\"" },
		{ "{\"queue\":{\"backend\":\"kafka\",\"properties\":{\"bootstrap.servers\":\"\"}}}",
			"/queue/properties/bootstrap.servers", 1, "must name a broker" },
		{ QUEUE("\"topic\":\"\",", ""), "/queue/topic", 1, "must have 1 to 249 bytes" },
		{ QUEUE("\"topic\":\"..\",", ""), "/queue/topic", 1, "is no name of a topic" },
		{ QUEUE("\"topic\":\"a b\",", ""), "/queue/topic", 1, "A-Z a-z 0-9 . _ -" },
		{ QUEUE("\"topic\":\"a/b\",", ""), "/queue/topic", 1, "A-Z a-z 0-9 . _ -" },
		{ QUEUE("\"partitions\":0,", ""), "/queue/partitions", 1, "must be from 1 to" },
		{ QUEUE("\"group\":\"\",", ""), "/queue/group", 1, "must have 1 to 255 bytes" },
		{ QUEUE("\"create_topics\":1,", ""), "/queue/create_topics", 1, "true or false" },
		{ QUEUE("", ",\"a b\":1"), "/queue/properties/a b", 2, "no name of a property" },
		{ QUEUE("", ",\"linger.ms\":null"), "/queue/properties/linger.ms", 2,
			"must be a text, a number, true or false, or a reference, but is null" },
		{ QUEUE("", ",\"linger.ms\":[1]"), "/queue/properties/linger.ms", 2, "is a list" },
		{ QUEUE("", ",\"sasl.password\":{}"), "/queue/properties/sasl.password", 2,
			"needs one of \"file\" and \"env\"" },
		{ QUEUE("", ",\"sasl.password\":{\"file\":\"keys/none\"}"),
			"/queue/properties/sasl.password", 2, "there is no file" },
		{ QUEUE("", ",\"sasl.password\":{\"value\":\"" HUSH "\"}"),
			"/queue/properties/sasl.password/value", 2, "never inline" },
		{ QUEUE("", ",\"sasl.password\":\"" HUSH "\""), "/queue/properties/sasl.password",
			2, "a secret is never inline: write {\"file\"" },
		{ QUEUE("", ",\"ssl.key.password\":\"" HUSH "\""),
			"/queue/properties/ssl.key.password", 2, "never inline" },
		{ QUEUE("", ",\"ssl.keystore.password\":\"" HUSH "\""),
			"/queue/properties/ssl.keystore.password", 2, "never inline" },
		{ QUEUE("", ",\"ssl.key.pem\":\"" HUSH "\""), "/queue/properties/ssl.key.pem", 2,
			"never inline" },
		{ QUEUE("", ",\"sasl.oauthbearer.config\":\"" HUSH "\""),
			"/queue/properties/sasl.oauthbearer.config", 2, "never inline" },
		{ QUEUE("", ",\"sasl.oauthbearer.client.secret\":4711"),
			"/queue/properties/sasl.oauthbearer.client.secret", 2, "never inline" },
		{ "{\"ingress\":{\"max_body_bytes\":524289},\n" KAFKA("", "") "}",
			"/ingress/max_body_bytes", 1, "must be at most 524288 on Kafka" },
		{ QUEUE("\"segment_bytes\":1073741824,", ""), "/queue/segment_bytes", 1,
			"at most half of /spool/max_bytes" },
		/* beside files of this machine */
		{ "{\"queue\":{\"topic\":\"t\"}}", "/queue/topic", 1,
			"goes with \"backend\": \"kafka\"" },
		{ "{\"queue\":{\"group\":\"t\"}}", "/queue/group", 1, "goes with" },
		{ "{\"queue\":{\"properties\":{}}}", "/queue/properties", 1, "goes with" },
		{ "{\"queue\":{\"create_topics\":true}}", "/queue/create_topics", 1, "goes with" },
		{ "{\"queue\":{\"partitions\":3}}", "/queue/partitions", 1, "goes with" },
		{ "{\"sources\":\n{\"a\":{\"preset\":\"github\",\"ack_from\":\"spool\"," KEYS "}}}",
			"/sources/a/ack_from", 2, "goes with \"backend\": \"kafka\"" },
	};
	struct files *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		enum err_code rc = files_load(f, rows[i].text, NULL);

		if (rc != ERR_CONFIG || !files_has(f, PROBLEM_ERROR, rows[i].pointer, rows[i].line,
						rows[i].words)) {
			files_print(f);
			fail_msg("row %zu: %s", i, rows[i].text);
		}
		assert_null(strstr(f->err.text, HUSH));
		for (size_t at = 0; at < f->report.count; at++)
			assert_null(strstr(f->report.problems[at].text, HUSH));
	}
}

#define TOPIC(name) "\"routes\":[{\"name\":\"out\",\"handler\":{\"type\":\"topic\"" name "}}]"
#define ROUTED(name) "{" KAFKA("\"topic\":\"t\",", "") "," TOPIC(",\"topic\":\"" name "\"") "}"

/* A topic that routes publish to is none that postern reads. */
static void a_routes_topic(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{ "{" TOPIC(",\"topic\":\"other\"") "}",
			"needs \"queue\": {\"backend\": \"kafka\"}" },
		{ "{" KAFKA("", "") "," TOPIC("") "}", "needs \"topic\"" },
		{ "{" KAFKA("", "") "," TOPIC(",\"topic\":\"o\",\"timeout_ms\":1") "}",
			"has no such member" },
		{ ROUTED("t"), "is a topic of postern's own" },
		{ ROUTED("t.journal"), "is a topic of postern's own" },
		{ ROUTED("t.dlq"), "is a topic of postern's own" },
		{ ROUTED("t.quarantine"), "is a topic of postern's own" },
		{ ROUTED("t.control"), "is a topic of postern's own" },
		{ ROUTED("a b"), "A-Z a-z 0-9 . _ -" },
		{ ROUTED(""), "must have 1 to 249 bytes" },
	};
	struct files *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool found = false;

		assert_int_equal(files_load(f, rows[i].text, NULL), ERR_CONFIG);
		for (size_t p = 0; p < f->report.count; p++)
			found |= strstr(f->report.problems[p].text, rows[i].words) != NULL;
		if (!found)
			fail_msg("row %zu: no problem says: %s", i, rows[i].words);
	}
	files_must_load(f, ROUTED("t.other"), NULL);
	assert_int_equal(f->config->routes[0].handler.type, HANDLER_TOPIC);
	assert_string_equal(f->config->routes[0].handler.topic, "t.other");
}

#define STREAM(members) "{" KAFKA("\"topic\":\"t\",", "") ",\"sources\":{\"s\":{" members "}}}"
#define FROM(name) "\"stream\":{\"topic\":\"" name "\"}"

/* A source may be a topic that others write: then nothing about requests has a meaning. */
static void a_stream_takes_the_place_of_requests(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{ "{\"sources\":{\"s\":{" FROM("x") "}}}", "goes with \"backend\": \"kafka\"" },
		{ STREAM("\"stream\":{}"), "needs \"topic\"" },
		{ STREAM("\"stream\":{\"topic\":\"x\",\"start\":\"now\"}"), "earliest" },
		{ STREAM(FROM("t")), "is a topic of postern's own" },
		{ STREAM(FROM("t.journal")), "is a topic of postern's own" },
		{ STREAM(FROM("a b")), "A-Z a-z 0-9 . _ -" },
		{ STREAM(FROM("x") ",\"preset\":\"github\""), "has no meaning beside \"stream\"" },
		{ STREAM(FROM("x") ",\"verify\":{\"alg\":\"none\"}"), "has no meaning beside" },
		{ STREAM(FROM("x") "," KEYS), "has no meaning beside" },
		{ STREAM(FROM("x") ",\"rate_limit\":{\"per_second\":1}"), "has no meaning beside" },
		{ STREAM(FROM("x") ",\"ack_from\":\"spool\""), "has no meaning beside" },
		{ STREAM(FROM("x") ",\"items\":\"json:/a\""), "has no meaning beside" },
		{ "{" KAFKA("", "") ",\"sources\":{\"s\":{" FROM("x") "}}," TOPIC(
			  ",\"topic\":\"x\"") "}",
			"is read by the source \"s\"" },
	};
	struct files *f = *state;
	const struct source_config *source;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool found = false;

		assert_int_equal(files_load(f, rows[i].text, NULL), ERR_CONFIG);
		for (size_t p = 0; p < f->report.count; p++)
			found |= strstr(f->report.problems[p].text, rows[i].words) != NULL;
		if (!found) {
			files_print(f);
			fail_msg("row %zu: no problem says: %s", i, rows[i].words);
		}
	}
	files_must_load(f, STREAM(FROM("x")), NULL);
	source = &f->config->sources[0];
	assert_string_equal(source->stream.topic, "x");
	assert_int_equal(source->stream.start, STREAM_START_EARLIEST);
	assert_false(source->ack_from_spool);
	files_must_load(f,
		STREAM("\"stream\":{\"topic\":\"x\",\"start\":\"latest\"},\"tenant\":\"a\","
		       "\"id\":\"json:/"
		       "id\",\"entity\":\"header:kafka-key\",\"on_reuse\":\"quarantine\""),
		NULL);
	assert_int_equal(f->config->sources[0].stream.start, STREAM_START_LATEST);
}

static void a_long_topic_leaves_room_for_the_others(void **state)
{
	struct files *f = *state;
	char name[240], text[600];

	for (size_t len = 238; len <= 239; len++) {
		memset(name, 'x', len);
		name[len] = '\0';
		(void)snprintf(text, sizeof(text),
			"{\"queue\":{\"backend\":\"kafka\",\"topic\":\"%s\","
			"\"properties\":{" SERVERS "}}}",
			name);
		assert_int_equal(files_load(f, text, NULL), len == 238 ? ERR_OK : ERR_CONFIG);
	}
}

static void what_does_nothing_on_kafka_is_told(void **state)
{
	struct files *f = *state;

	files_must_load(f,
		"{\"dlq\":{\"max_bytes\":100000},\n\"spool\":{\"max_age_s\":60},\n" KAFKA(
			"\"max_bytes\":33554432,\"retention_hours\":1,\"segment_bytes\":8388608,",
			"") "}",
		NULL);
	assert_true(files_has(f, PROBLEM_WARNING, "/queue/max_bytes", 3, "does nothing on Kafka"));
	assert_true(files_has(f, PROBLEM_WARNING, "/queue/retention_hours", 3, "does nothing"));
	assert_true(files_has(f, PROBLEM_WARNING, "/dlq/max_bytes", 1, "does nothing on Kafka"));
	assert_false(files_has(f, PROBLEM_WARNING, "/queue/segment_bytes", 3, "does nothing"));
	assert_int_equal(f->config->spool.max_age_s, 60);
	/* Nothing is said of what was not written. */
	files_must_load(f, QUEUE("", ""), NULL);
	assert_false(files_has(f, PROBLEM_WARNING, "/queue/max_bytes", 0, ""));
}

static void senders_that_never_try_again_are_spooled(void **state)
{
#define SOURCE(name, members) "\"" name "\":{" members "," KEYS "}"
	struct files *f = *state;
	static const char sources[] =
		"{\"sources\":{" SOURCE("never", "\"preset\":\"github\"") "," SOURCE(
			"told", "\"preset\":\"github\",\"ack_from\":\"queue\"") "," SOURCE("tries",
			"\"preset\":\"stripe\"") "," SOURCE("asked",
			"\"preset\":\"stripe\",\"ack_from\":\"spool\"") "," SOURCE("own",
			"\"verify\":{\"alg\":\"hmac-sha256\",\"sig\":\"header:X\"},\"retries\":"
			"\"none\"") "},\n" KAFKA("", "") "}";
	static const struct {
		const char *name;
		bool spooled;
	} rows[] = { { "never", true }, { "told", false }, { "tries", false }, { "asked", true },
		{ "own", true } };
	struct buf shown = BUF_INIT(MIB(1));

	files_must_load(f, sources, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct source_config *source =
			config_source(f->config, slice_str(rows[i].name));

		assert_int_equal(source->ack_from_spool, rows[i].spooled);
	}
	assert_int_equal(
		config_explain(f->config, "/sources/never/ack_from", &shown, NULL), ERR_OK);
	assert_non_null(strstr(buf_str(&shown), "\"value\":\"spool\""));
	assert_non_null(strstr(buf_str(&shown), "\"from\":\"default\""));
	buf_done(&shown);
	files_must_load(f, "{\"sources\":{" SOURCE("never", "\"preset\":\"github\"") "}}", NULL);
	assert_false(f->config->sources[0].ack_from_spool);
}

static void what_is_shown_means_the_same(void **state)
{
	struct files *f = *state;
	struct buf first = BUF_INIT(MIB(1)), second = BUF_INIT(MIB(1));

	files_must_load(f,
		QUEUE("\"partitions\":3,",
			",\"linger.ms\":5,\"sasl.password\":{\"env\":\"SASL_PASSWORD\"}"),
		(char *const[]){ (char[]){ "SASL_PASSWORD=" HUSH }, NULL });
	assert_int_equal(config_show(f->config, &first, NULL), ERR_OK);
	assert_null(strstr(buf_str(&first), HUSH));
	assert_null(strstr(buf_str(&first), "10737418240"));
	files_must_load(f, buf_str(&first), NULL);
	assert_int_equal(config_show(f->config, &second, NULL), ERR_OK);
	assert_string_equal(buf_str(&first), buf_str(&second));
	buf_done(&first);
	buf_done(&second);
}

static void the_environment_sets_properties(void **state)
{
	struct files *f = *state;
	char servers[] = "POSTERN__QUEUE__PROPERTIES__BOOTSTRAP_SERVERS=other:1";
	char linger[] = "POSTERN__QUEUE__PROPERTIES__LINGER_MS=7";
	char password[] = "POSTERN__QUEUE__PROPERTIES__SASL_PASSWORD={\"env\":\"P\"}";
	char inline_one[] = "POSTERN__QUEUE__PROPERTIES__SASL_PASSWORD=" HUSH;
	char whole[] = "POSTERN__QUEUE__PROPERTIES={\"bootstrap.servers\":\"third:1\"}";
	static const char text[] =
		QUEUE("", ",\"linger.ms\":5,\"sasl.password\":{\"file\":\"keys/a.key\"}");

	files_must_load(f, text, (char *const[]){ servers, linger, password, NULL });
	assert_string_equal(property_of(f->config, "bootstrap.servers")->value, "other:1");
	assert_string_equal(property_of(f->config, "linger.ms")->value, "7");
	assert_string_equal(property_of(f->config, "sasl.password")->secret.env, "P");
	files_must_load(f, "{\"queue\":{\"backend\":\"kafka\"}}", (char *const[]){ whole, NULL });
	assert_string_equal(property_of(f->config, "bootstrap.servers")->value, "third:1");
	assert_int_equal(files_load(f, text, (char *const[]){ inline_one, NULL }), ERR_CONFIG);
	assert_true(files_has(f, PROBLEM_ERROR, "/queue/properties/sasl.password", 0,
		"set by POSTERN__QUEUE__PROPERTIES__SASL_PASSWORD"));
	assert_null(strstr(f->err.text, HUSH));
}

/* In a container there may be nothing in the file. */
static void the_environment_adds_properties(void **state)
{
	struct files *f = *state;
	char backend[] = "POSTERN__QUEUE__BACKEND=kafka";
	char servers[] = "POSTERN__QUEUE__PROPERTIES__BOOTSTRAP_SERVERS=b:1,b:2";
	char number[] = "POSTERN__QUEUE__PROPERTIES__LINGER_MS=007";
	char file[] = "POSTERN__QUEUE__PROPERTIES__SASL_PASSWORD__FILE=keys/a.key";
	char nothing[] = "POSTERN__QUEUE__PROPERTIES____X=1";

	files_must_load(f, "{}", (char *const[]){ backend, servers, number, file, NULL });
	assert_int_equal(f->config->queue.property_count, 3);
	assert_string_equal(property_of(f->config, "bootstrap.servers")->value, "b:1,b:2");
	assert_string_equal(property_of(f->config, "linger.ms")->value, "007");
	assert_string_equal(property_of(f->config, "sasl.password")->secret.file + strlen(f->dir),
		"/keys/a.key");
	assert_int_equal(files_load(f, "{}", (char *const[]){ backend, servers, nothing, NULL }),
		ERR_CONFIG);
}

static void a_change_needs_a_restart(void **state)
{
	struct files *f = *state;
	struct buf all = BUF_INIT(KIB(4)), restart = BUF_INIT(KIB(4));
	struct config *before;

	files_must_load(f, QUEUE("", ",\"sasl.password\":{\"file\":\"keys/a.key\"}"), NULL);
	before = config_ref(f->config);
	files_must_load(f,
		QUEUE("\"group\":\"g\",\"topic\":\"t\",\"partitions\":4,\"create_topics\":false,",
			",\"linger.ms\":5,\"sasl.password\":{\"file\":\"keys/b.key\"}"),
		NULL);
	assert_int_equal(config_diff(before, f->config, &all, &restart, NULL), ERR_OK);
	assert_string_equal(buf_str(&restart),
		"/queue/topic\n/queue/group\n/queue/create_topics\n/queue/partitions\n"
		"/queue/properties/sasl.password/file\n/queue/properties/linger.ms\n");
	assert_string_equal(buf_str(&all), buf_str(&restart));
	config_unref(&before);
	buf_done(&all);
	buf_done(&restart);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, files_open, files_close)
	const struct CMUnitTest tests[] = {
		TEST(defaults_of_kafka),
		TEST(properties_become_texts),
		TEST(mistakes_have_their_place),
		TEST(a_routes_topic),
		TEST(a_stream_takes_the_place_of_requests),
		TEST(a_long_topic_leaves_room_for_the_others),
		TEST(what_does_nothing_on_kafka_is_told),
		TEST(senders_that_never_try_again_are_spooled),
		TEST(what_is_shown_means_the_same),
		TEST(the_environment_sets_properties),
		TEST(the_environment_adds_properties),
		TEST(a_change_needs_a_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
