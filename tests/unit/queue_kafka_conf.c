/* queue_kafka_conf.c - properties of librdkafka: what is refused, and by which name; what is ours;
 * that secrets are in no text. No broker is needed. */
#include "support/c11_threads.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../src/queue/kafka_priv.h"

#define SECRET "correct horse battery"

static enum err_code open_with(
	const struct kafka_property *properties, size_t count, struct kafka **out, struct err *err)
{
	const struct kafka_opts opts = {
		.properties = properties,
		.property_count = count,
		.topic = "conf.events",
		.group = "conf",
		.writes_events = true,
		.works = true,
		.max_record_bytes = KIB(600),
		.clock = clock_system(),
	};

	return kafka_open(&opts, out, err);
}

static void properties_are_checked_by_name(void **state)
{
	static const struct {
		const char *name, *value;
		bool fine;
		const char *says;
	} rows[] = {
		{ "client.id", "me", true, NULL }, { "linger.ms", "5", true, NULL },
		{ "compression.codec", "none", true, NULL },
		{ "session.timeout.ms", "6000", true, NULL },
		{ "group.instance.id", "one", true, NULL }, { "debug", "broker", true, NULL },
		/* The same as ours, in the library's other spellings. */
		{ "acks", "all", true, NULL }, { "acks", "-1", true, NULL },
		{ "request.required.acks", "-1", true, NULL },
		{ "enable.idempotence", "1", true, NULL },
		{ "isolation.level", "read_uncommitted", true, NULL },
		{ "message.timeout.ms", "2000", true, NULL },
		{ "message.max.bytes", "2000000", true, NULL },
		/* Not known, not understood. */
		{ "bootstrap.server", "x", false, "no such property" },
		{ "linger.ms", "soon", false, NULL }, { "linger.ms", "-1", false, NULL },
		{ "security.protocol", "magic", false, NULL }, { "dr_msg_cb", "1", false, NULL },
		/* Ours. */
		{ "acks", "1", false, "always \"all\"" },
		{ "request.required.acks", "0", false, "always \"all\"" },
		{ "enable.idempotence", "false", false, "always \"true\"" },
		{ "isolation.level", "read_committed", false, "always \"read_uncommitted\"" },
		{ "auto.offset.reset", "earliest", false, "always \"error\"" },
		{ "enable.auto.commit", "true", false, "always \"false\"" },
		{ "auto.commit.enable", "false", false, "itself" },
		{ "partition.assignment.strategy", "cooperative-sticky", false,
			"always \"range\"" },
		{ "allow.auto.create.topics", "true", false, "always \"false\"" },
		{ "check.crcs", "false", false, "always \"true\"" },
		{ "log.queue", "false", false, "always \"true\"" },
		{ "group.id", "other", false, "/queue/group" },
		{ "transactional.id", "t", false, "transactions" },
		{ "message.timeout.ms", "0", false, "between 1 and" },
		{ "delivery.timeout.ms", "3600000", false, "between 1 and" },
		{ "message.max.bytes", "1000", false, "events need" },
		/* Only wrong together with what is ours. */
		{ "max.in.flight", "100", false, NULL },
		{ "ssl.ca.location", "/nowhere/ca.pem", true, NULL }, /* without TLS nobody looks */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct kafka_property properties[] = {
			{ "bootstrap.servers", "127.0.0.1:9" },
			{ rows[i].name, rows[i].value },
		};
		struct kafka *kafka = NULL;
		struct err err = ERR_INIT;
		enum err_code rc = open_with(properties, ARRAY_LEN(properties), &kafka, &err);

		if (rc != (rows[i].fine ? ERR_OK : ERR_CONFIG))
			fail_msg("%s=%s: %s %s", rows[i].name, rows[i].value, err_name(rc),
				err.text);
		if (!rows[i].fine && !strstr(err.text, rows[i].name) &&
			strcmp(rows[i].name, "max.in.flight") != 0)
			fail_msg("%s is not named: %s", rows[i].name, err.text);
		if (rows[i].says && !strstr(err.text, rows[i].says))
			fail_msg("%s=%s: %s", rows[i].name, rows[i].value, err.text);
		kafka_close(&kafka);
	}
}

static void the_address_of_kafka_is_needed(void **state)
{
	const struct kafka_property properties[] = { { "client.id", "me" } };
	struct kafka *kafka = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(open_with(properties, 1, &kafka, &err), ERR_CONFIG);
	assert_non_null(strstr(err.text, "bootstrap.servers"));
	assert_null(kafka);
}

static void topics_have_names_that_kafka_takes(void **state)
{
	static const struct {
		const char *topic;
		bool fine;
	} rows[] = {
		{ "postern.events", true },
		{ "A_b-9.", true },
		{ "", false },
		{ "..", false },
		{ "a b", false },
		{ "a/b", false },
		{ "\xc3\xa4", false },
	};
	const struct kafka_property properties[] = { { "bootstrap.servers", "127.0.0.1:9" } };
	char longest[300];

	(void)state;
	for (size_t i = 0; i <= ARRAY_LEN(rows) + 1; i++) {
		struct kafka_opts opts = {
			.properties = properties,
			.property_count = 1,
			.group = "conf",
			.writes_events = true,
			.max_record_bytes = KIB(600),
			.clock = clock_system(),
		};
		bool fine = i < ARRAY_LEN(rows) ? rows[i].fine : i == ARRAY_LEN(rows);
		struct kafka *kafka = NULL;
		struct err err = ERR_INIT;

		/* 249 bytes with the longest suffix, and one more. */
		memset(longest, 'a', sizeof(longest));
		longest[249 - strlen(".quarantine") + (i > ARRAY_LEN(rows) ? 1 : 0)] = '\0';
		opts.topic = i < ARRAY_LEN(rows) ? rows[i].topic : longest;
		assert_int_equal(kafka_open(&opts, &kafka, &err), fine ? ERR_OK : ERR_CONFIG);
		kafka_close(&kafka);
	}
}

static void the_last_value_of_a_property_counts(void **state)
{
	const struct kafka_property properties[] = {
		{ "bootstrap.servers", "127.0.0.1:9" },
		{ "delivery.timeout.ms", "1000" },
		{ "message.timeout.ms", "1500" },
		{ "message.timeout.ms", "2500" },
	};
	struct kafka *kafka = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(open_with(properties, ARRAY_LEN(properties), &kafka, &err), ERR_OK);
	assert_int_equal(kafka->opts.delivery_timeout_ms, 2500);
	assert_string_equal(kafka_property(&kafka->opts, "message.timeout.ms"), "2500");
	assert_null(kafka_property(&kafka->opts, "acks"));
	kafka_close(&kafka);
}

static void secrets_are_in_no_text(void **state)
{
	static const char *const names[] = { "sasl.password", "ssl.key.password",
		"ssl.keystore.password", "sasl.oauthbearer.client.secret",
		"sasl.oauthbearer.config" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct kafka_property properties[] = { { names[i], SECRET },
			{ "sasl.username", "user" } };
		const struct kafka_opts opts = { .properties = properties, .property_count = 2 };
		char text[KAFKA_TEXT_MAX], longest[600];

		kafka_text(&opts, "a " SECRET " user\n" SECRET, text);
		assert_string_equal(text, "a *** user ***");
		kafka_text(&opts, SECRET, text);
		assert_string_equal(text, "***");
		/* A long text is cut, never inside of a secret that would show its start. */
		memset(longest, 'x', sizeof(longest));
		memcpy(longest + KAFKA_TEXT_MAX - 8, SECRET, sizeof(SECRET));
		kafka_text(&opts, longest, text);
		assert_true(strlen(text) < KAFKA_TEXT_MAX);
		assert_null(strstr(text, "corr"));
	}
}

/* A value that the library refuses would be quoted by it. */
static void a_refused_secret_is_not_quoted(void **state)
{
	static const struct kafka_property rows[][3] = {
		{ { "bootstrap.servers", "127.0.0.1:9" }, { "security.protocol", "ssl" },
			{ "ssl.key.pem", SECRET } },
		{ { "bootstrap.servers", "127.0.0.1:9" }, { "sasl.mechanism", SECRET },
			{ "sasl.password", SECRET } },
		{ { "bootstrap.servers", "127.0.0.1:9" }, { "linger.ms", SECRET },
			{ "sasl.password", SECRET } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct kafka *kafka = NULL;
		struct err err = ERR_INIT;

		(void)open_with(rows[i], 3, &kafka, &err);
		assert_null(strstr(err.text, SECRET));
		kafka_close(&kafka);
	}
}

/* All of the library's lines, at its most talkative, while it fails to log in. */
static void the_log_has_no_secret(void **state)
{
	const struct kafka_property properties[] = {
		{ "bootstrap.servers", "127.0.0.1:9" },
		{ "security.protocol", "sasl_plaintext" },
		{ "sasl.mechanism", "PLAIN" },
		{ "sasl.username", "user" },
		{ "sasl.password", SECRET },
		{ "debug", "all" },
	};
	char path[] = "/tmp/postern-kafka-log-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	struct buf lines = BUF_INIT(MIB(16));
	struct kafka *kafka = NULL;
	struct err err = ERR_INIT;
	int32_t partitions;

	(void)state;
	assert_true(fd >= 0);
	(void)unlink(path);
	log_set_fd(fd);
	log_set_level(LOG_DEBUG);
	assert_int_equal(open_with(properties, ARRAY_LEN(properties), &kafka, &err), ERR_OK);
	assert_int_not_equal(
		kafka_settle(kafka, 0, kafka_now_ms(kafka) + 500, &partitions, &err), ERR_OK);
	kafka_close(&kafka);
	log_set_level(LOG_ERROR);
	log_set_fd(STDERR_FILENO);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	err_clear(&err);
	assert_int_equal(buf_read_fd(&lines, fd, &err), ERR_OK);
	assert_non_null(strstr(buf_str(&lines), "kafka_library"));
	assert_null(strstr(buf_str(&lines), SECRET));
	buf_done(&lines);
	(void)close(fd);
}

static void errors_mean_something_to_us(void **state)
{
	static const struct {
		rd_kafka_resp_err_t code;
		enum err_code means;
	} rows[] = {
		{ RD_KAFKA_RESP_ERR_NO_ERROR, ERR_OK },
		{ RD_KAFKA_RESP_ERR__TRANSPORT, ERR_UNREACHABLE },
		{ RD_KAFKA_RESP_ERR__TIMED_OUT, ERR_TIMEOUT },
		{ RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, ERR_TIMEOUT },
		{ RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ERR_NOT_FOUND },
		{ RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, ERR_NOT_FOUND },
		{ RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ERR_LIMIT },
		{ RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ERR_DENIED },
		{ RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, ERR_CORRUPT },
		{ RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, ERR_FENCED },
		{ RD_KAFKA_RESP_ERR_UNKNOWN, ERR_IO },
	};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(kafka_err_code(rows[i].code), rows[i].means);
	assert_int_equal(kafka_err(&err, RD_KAFKA_RESP_ERR__TIMED_OUT, "asking"), ERR_TIMEOUT);
	assert_string_equal(err.text, "asking: Local: Timed out");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(properties_are_checked_by_name),
		cmocka_unit_test(the_address_of_kafka_is_needed),
		cmocka_unit_test(topics_have_names_that_kafka_takes),
		cmocka_unit_test(the_last_value_of_a_property_counts),
		cmocka_unit_test(secrets_are_in_no_text),
		cmocka_unit_test(a_refused_secret_is_not_quoted),
		cmocka_unit_test(the_log_has_no_secret),
		cmocka_unit_test(errors_mean_something_to_us),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
