/* broker_opts.c - see broker_opts.h. */
#include "broker_opts.h"

#include "postern/clock.h"
#include "postern/event.h"
#include "postern/file.h"
#include "postern/json.h"
#include "postern/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_MAX KIB(64)
#define HOUR_MS INT64_C(3600000)
#define HOME_FILE "main/kafka.json"
#define HOME_MAX KIB(4)

/* ---- properties --------------------------------------------------------------------------------
 */

static enum err_code read_value(const struct key_ref *ref, struct buf *out, struct err *err)
{
	const char *value = ref->env ? getenv(ref->env) : NULL;
	enum err_code rc;

	if (ref->env && !value)
		return err_set(err, ERR_CONFIG, "%s is not set in the environment", ref->env);
	rc = ref->env ? buf_put_str(out, value, err) : file_read_text(ref->file, out, err);
	if (rc != ERR_OK)
		return rc;
	if (out->len == 0)
		return err_set(err, ERR_CONFIG, "%s is empty", ref->env ? ref->env : ref->file);
	if (slice_find(buf_slice(out), 0) < out->len)
		return err_set(err, ERR_CONFIG, "%s holds a NUL", ref->env ? ref->env : ref->file);
	return ERR_OK;
}

static enum err_code read_secret(const struct queue_property *property, char **out, struct err *err)
{
	struct buf text = BUF_INIT(SECRET_MAX);
	struct err why = ERR_INIT;
	/* All the room at once: a buffer that grows leaves copies of what it held. */
	enum err_code rc = buf_reserve(&text, SECRET_MAX, &why);

	if (rc == ERR_OK)
		rc = read_value(&property->secret, &text, &why);
	if (rc == ERR_OK) {
		*out = slice_dup_str(buf_slice(&text));
		if (!*out)
			rc = err_set(&why, ERR_NOMEM, "no memory");
	}
	buf_wipe(&text);
	buf_done(&text);
	if (rc != ERR_OK)
		return err_set(err, rc == ERR_NOMEM ? rc : ERR_CONFIG, "%s: %s",
			property->secret.pointer, why.text);
	return ERR_OK;
}

enum err_code properties_open(const struct config *config, struct properties *out, struct err *err)
{
	const size_t count = config->queue.property_count;
	enum err_code rc = ERR_OK;

	*out = (struct properties){
		.list = calloc(count + 1, sizeof(*out->list)),
		.secrets = calloc(count + 1, sizeof(*out->secrets)),
	};
	if (!out->list || !out->secrets)
		rc = err_set(err, ERR_NOMEM, "no memory for properties");
	for (size_t i = 0; i < count && rc == ERR_OK; i++) {
		const struct queue_property *from = &config->queue.properties[i];
		struct kafka_property *to = &out->list[out->count];

		to->name = from->name;
		to->value = from->value ? from->value : "";
		if (!from->value) {
			rc = read_secret(from, &out->secrets[out->secret_count], err);
			if (rc == ERR_OK)
				to->value = out->secrets[out->secret_count++];
		}
		out->count++;
	}
	if (rc != ERR_OK)
		properties_close(out);
	return rc;
}

void properties_close(struct properties *properties)
{
	for (size_t i = 0; properties->secrets && i < properties->secret_count; i++) {
		explicit_bzero(properties->secrets[i], strlen(properties->secrets[i]));
		free(properties->secrets[i]);
	}
	free(properties->secrets);
	free(properties->list);
	*properties = (struct properties){ 0 };
}

void properties_check(const struct config *config, struct config_report *report)
{
	for (size_t i = 0; i < config->queue.property_count; i++) {
		const struct queue_property *p = &config->queue.properties[i];
		const struct kafka_property alone[] = {
			{ "bootstrap.servers", "127.0.0.1" }, /* without one nothing is right */
			{ p->name, p->value ? p->value : "secret" },
		};
		struct kafka_opts opts = { .properties = alone, .property_count = 2 };
		struct err err = ERR_INIT;

		kafka_opts_fill(config, &opts);
		if (kafka_check(&opts, &err) != ERR_OK)
			config_report_add(
				report, PROBLEM_ERROR, p->pointer, p->line, "%s", err.text);
	}
}

void kafka_opts_fill(const struct config *config, struct kafka_opts *out)
{
	out->topic = config->queue.topic;
	out->group = config->queue.group;
	out->create_topics = config->queue.create_topics;
	out->partitions = (int32_t)config->queue.partitions;
	/* A state must be found again after the longest time that an id is remembered, and while
	 * somebody looks what is wrong. */
	out->journal_retention_ms = 3 * config->worker.dedupe_hours * HOUR_MS;
	out->output_retention_ms[STREAM_DLQ] = config->dlq.retention_hours * HOUR_MS;
	out->output_retention_ms[STREAM_QUARANTINE] = config->quarantine.retention_hours * HOUR_MS;
	/* Not the limit of now: a reload may raise that. */
	out->max_record_bytes = CONFIG_KAFKA_BODY_MAX + EVENT_HEADERS_MAX + EVENT_KEY_MAX;
	out->clock = clock_system();
}

/* ---- the data_dir's home -----------------------------------------------------------------------
 */

static enum err_code get_text(
	struct slice text, const char *pointer, struct buf *out, struct err *err)
{
	struct json_value value = { 0 };
	enum err_code rc = json_get(text, pointer, &value, err);

	buf_reset(out);
	if (rc == ERR_OK && value.type != JSON_STRING)
		return err_set(err, ERR_SYNTAX, "it has no %s", pointer);
	return rc == ERR_OK ? json_text(value, out, err) : rc;
}

static enum err_code parse_home(
	const struct config *config, struct slice text, struct home *out, struct err *err)
{
	struct buf member = BUF_INIT(HOME_MAX);
	struct json_value count = { 0 };
	int64_t partitions = 0;
	enum err_code rc = get_text(text, "/topic", &member, err);

	if (rc == ERR_OK && strcmp(buf_str(&member), config->queue.topic) != 0)
		rc = err_set(err, ERR_CONFIG,
			"%s belongs to the topic \"%s\": give \"%s\" a data_dir of its own",
			config->data_dir, buf_str(&member), config->queue.topic);
	if (rc == ERR_OK)
		rc = get_text(text, "/cluster", &member, err);
	if (rc == ERR_OK)
		(void)snprintf(out->cluster, sizeof(out->cluster), "%s", buf_str(&member));
	if (rc == ERR_OK)
		rc = json_get(text, "/partitions", &count, err);
	if (rc == ERR_OK &&
		(count.type != JSON_INTEGER || text_i64(count.raw, &partitions, NULL) != ERR_OK ||
			partitions < 1 || partitions > INT32_MAX))
		rc = err_set(err, ERR_SYNTAX, "it has no /partitions");
	out->partitions = (int32_t)partitions;
	buf_done(&member);
	return rc;
}

enum err_code home_read(const struct config *config, struct home *out, struct err *err)
{
	char *path = file_join(config->data_dir, HOME_FILE);
	struct buf text = BUF_INIT(HOME_MAX);
	struct err why = ERR_INIT;
	enum err_code rc = path ? file_read(path, &text, &why) : ERR_NOMEM;

	*out = (struct home){ .partitions = 0 };
	if (rc == ERR_OK)
		rc = parse_home(config, buf_slice(&text), out, &why);
	if (rc == ERR_NOT_FOUND)
		rc = ERR_OK;
	else if (rc == ERR_SYNTAX)
		rc = err_set(err, ERR_CORRUPT, "%s: %s", path, why.text);
	else if (rc != ERR_OK)
		rc = err_set(err, rc, "%s", path ? why.text : "no memory");
	buf_done(&text);
	free(path);
	return rc;
}

enum err_code home_write(const struct config *config, const struct home *home, struct err *err)
{
	char *path = file_join(config->data_dir, HOME_FILE);
	struct buf text = BUF_INIT(HOME_MAX);
	enum err_code rc = path ? ERR_OK : err_set(err, ERR_NOMEM, "no memory");

	if (rc == ERR_OK)
		rc = buf_put_str(&text, "{", err);
	if (rc == ERR_OK)
		rc = json_put_int(&text, "v", 1, err);
	if (rc == ERR_OK)
		rc = json_put_str(&text, "topic", slice_str(config->queue.topic), err);
	if (rc == ERR_OK)
		rc = json_put_int(&text, "partitions", home->partitions, err);
	if (rc == ERR_OK)
		rc = json_put_str(&text, "cluster", slice_str(home->cluster), err);
	if (rc == ERR_OK)
		rc = buf_put_str(&text, "}\n", err);
	if (rc == ERR_OK)
		rc = file_write_atomic(path, buf_slice(&text), 0600, err);
	buf_done(&text);
	free(path);
	return rc;
}
