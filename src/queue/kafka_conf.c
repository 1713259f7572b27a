/* kafka_conf.c - from properties to a handle of librdkafka: our defaults, then the user's, then
 * what must be so; and its log lines and errors to our log, without secrets.
 *
 * Deliberately not here: what a handle is used for. */
#include "kafka_priv.h"

#include "postern/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define WINDOW_MS 10000
#define LINES_A_WINDOW 5
#define VALUE_MAX 512
#define TIMEOUT_MAX_MS 30000
#define LIBRARY_TEXT 512

#define PRODUCERS ((1u << KAFKA_PRODUCER_KINDS) - 1)
#define JOURNAL (1u << KAFKA_KIND_JOURNAL)
#define OUTPUTS (1u << KAFKA_KIND_OUTPUTS)
#define FOREVER (JOURNAL | 1u << KAFKA_KIND_SPOOL)
#define PATIENCE (PRODUCERS & ~FOREVER)
#define CONSUMERS (ALL & ~PRODUCERS)
#define DATA (1u << KAFKA_KIND_DATA)
#define CONTROL (1u << KAFKA_KIND_CONTROL)
#define STREAM (1u << KAFKA_KIND_STREAM)
#define ALL ((1u << KAFKA_KIND_COUNT) - 1)

struct row {
	unsigned kinds;
	const char *name, *value;
};
/* What a user may set otherwise. */
static const struct row defaults[] = {
	{ ALL, "client.id", "postern" },
	{ ALL, "socket.keepalive.enable", "true" },
	{ ALL, "socket.nagle.disable", "true" },
	{ ALL, "socket.connection.setup.timeout.ms", "5000" },
	{ ALL, "reconnect.backoff.ms", "50" },
	{ ALL, "reconnect.backoff.max.ms", "500" },
	{ ALL, "log.connection.close", "false" }, /* brokers close what is idle */
	/* A lost answer must not eat the whole time that a record has. */
	{ PATIENCE, "socket.timeout.ms", "5000" },
	{ PATIENCE, "request.timeout.ms", "4000" },
	{ ALL & ~PATIENCE, "socket.timeout.ms", "10000" },
	{ FOREVER, "request.timeout.ms", "8000" },
	/* Load makes the batches; lingering adds its full value to every answer. */
	{ PRODUCERS, "linger.ms", "0" },
	{ PRODUCERS, "compression.codec", "lz4" },
	{ PRODUCERS, "retry.backoff.ms", "50" },
	/* The library chooses their partitions: one request at a time keeps the order of each. */
	{ OUTPUTS, "max.in.flight", "1" },
	{ PRODUCERS, "queue.buffering.max.messages", "50000" },
	{ PRODUCERS, "queue.buffering.max.kbytes", "131072" },
	{ PRODUCERS, "partitioner", "murmur2_random" }, /* topics of users: as Java has it */
	/* An idle broker answers as soon as there is something. */
	{ DATA, "fetch.wait.max.ms", "50" },
	{ DATA, "fetch.error.backoff.ms", "100" },
	{ DATA, "queued.max.messages.kbytes", "8192" },
	{ CONTROL | STREAM, "session.timeout.ms", "15000" },
	{ CONTROL | STREAM, "heartbeat.interval.ms", "1000" },
	/* Topics of others may come later, or grow. */
	{ STREAM, "topic.metadata.refresh.interval.ms", "10000" },
	{ STREAM, "queued.max.messages.kbytes", "16384" },
};
/* What postern's promises rest on. */
static const struct row musts[] = {
	{ ALL, "log.queue", "true" },
	{ PRODUCERS, "enable.idempotence", "true" },
	{ PRODUCERS, "acks", "all" },
	{ PRODUCERS, "enable.gapless.guarantee", "false" },
	{ CONSUMERS, "isolation.level", "read_uncommitted" },
	{ CONSUMERS, "enable.auto.commit", "false" },
	{ CONSUMERS, "enable.auto.offset.store", "false" },
	{ CONSUMERS, "auto.offset.reset", "error" },
	{ CONSUMERS, "allow.auto.create.topics", "false" },
	{ CONSUMERS, "check.crcs", "true" },
	{ CONTROL, "partition.assignment.strategy", "range" },
};
/* Other names of those, and what is said elsewhere. NULL: not at all. */
static const struct {
	const char *name, *same_as, *instead;
} known[] = {
	{ "request.required.acks", "acks", NULL },
	{ "auto.commit.enable", NULL, "postern keeps positions itself" },
	{ "group.id", NULL, "set /queue/group" },
	{ "transactional.id", NULL, "postern does not use transactions" },
	{ "enable.partition.eof", NULL, "postern does not wait for it" },
};
/* What a property's name must contain for its value to be a secret. */
static const char *const secret_words[] = { "password", "secret", "key.pem", "oauthbearer.config",
	"token" };

static bool is_secret(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(secret_words); i++) {
		if (strstr(name, secret_words[i]))
			return true;
	}
	return false;
}

const char *kafka_property(const struct kafka_opts *opts, const char *name)
{
	for (size_t i = opts->property_count; i > 0; i--) {
		if (strcmp(opts->properties[i - 1].name, name) == 0)
			return opts->properties[i - 1].value;
	}
	return NULL;
}

/* How long a secret is that begins here. */
static size_t secret_at(const struct kafka_opts *opts, const char *at)
{
	size_t longest = 0;

	for (size_t i = 0; i < opts->property_count; i++) {
		const struct kafka_property *p = &opts->properties[i];
		size_t len = strlen(p->value);

		if (len > longest && is_secret(p->name) && strncmp(at, p->value, len) == 0)
			longest = len;
	}
	return longest;
}

void kafka_text(const struct kafka_opts *opts, const char *from, char out[KAFKA_TEXT_MAX])
{
	static const char hidden[] = "***";
	size_t len = 0;

	while (*from && len < KAFKA_TEXT_MAX - sizeof(hidden)) {
		size_t secret = secret_at(opts, from);

		if (secret > 0) {
			memcpy(out + len, hidden, sizeof(hidden) - 1);
			len += sizeof(hidden) - 1;
			from += secret;
		} else {
			out[len++] = (uint8_t)*from < ' ' ? ' ' : *from;
			from++;
		}
	}
	out[len] = '\0';
}

/* ---- the user's properties ---------------------------------------------------------------------
 */

static enum err_code refused(
	struct err *err, const struct kafka_opts *opts, const char *name, const char *why)
{
	char text[KAFKA_TEXT_MAX];

	/* The library's text may quote the value. */
	kafka_text(opts, is_secret(name) ? "its value is not understood" : why, text);
	return err_set(err, ERR_CONFIG, "Kafka property \"%s\": %s", name, text);
}

static enum err_code set(const struct kafka_opts *opts, rd_kafka_conf_t *conf, const char *name,
	const char *value, struct err *err)
{
	char why[LIBRARY_TEXT] = "";

	switch (rd_kafka_conf_set(conf, name, value, why, sizeof(why))) {
	case RD_KAFKA_CONF_OK: return ERR_OK;
	case RD_KAFKA_CONF_UNKNOWN: return refused(err, opts, name, "there is no such property");
	case RD_KAFKA_CONF_INVALID: return refused(err, opts, name, why);
	}
	return refused(err, opts, name, why);
}

/* As the library writes a value: "true" for "1", "-1" for "all". */
static bool same_value(const char *name, const char *a, const char *b)
{
	const char *values[] = { a, b };
	char written[2][VALUE_MAX];
	bool same = true;

	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		rd_kafka_conf_t *conf = rd_kafka_conf_new();
		size_t len = VALUE_MAX;

		same = same &&
		       rd_kafka_conf_set(conf, name, values[i], NULL, 0) == RD_KAFKA_CONF_OK &&
		       rd_kafka_conf_get(conf, name, written[i], &len) == RD_KAFKA_CONF_OK;
		rd_kafka_conf_destroy(conf);
	}
	return same && strcmp(written[0], written[1]) == 0;
}

/* Does this property touch what must be so? */
static enum err_code leaves_ours(
	const struct kafka_opts *opts, const struct kafka_property *p, struct err *err)
{
	const char *name = p->name;

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strcmp(known[i].name, name) != 0)
			continue;
		if (!known[i].same_as)
			return refused(err, opts, name, known[i].instead);
		name = known[i].same_as;
		break;
	}
	for (size_t i = 0; i < ARRAY_LEN(musts); i++) {
		if (strcmp(musts[i].name, name) == 0 && !same_value(name, p->value, musts[i].value))
			return err_set(err, ERR_CONFIG,
				"Kafka property \"%s\" is postern's own: it is always \"%s\"",
				p->name, musts[i].value);
	}
	return ERR_OK;
}

static bool is_timeout(const char *name)
{
	return strcmp(name, "message.timeout.ms") == 0 || strcmp(name, "delivery.timeout.ms") == 0;
}

/* Numbers that the library takes, and that do not fit to what we promise. */
static enum err_code check_number(
	const struct kafka_opts *opts, const struct kafka_property *p, struct err *err)
{
	const size_t least = kafka_message_bytes(opts);
	uint64_t number = 0;

	if (text_u64(slice_str(p->value), &number, NULL) != ERR_OK)
		return ERR_OK; /* the library's business */
	if (is_timeout(p->name) && (number < 1 || number > TIMEOUT_MAX_MS))
		return err_set(err, ERR_CONFIG, "Kafka property \"%s\": between 1 and %d", p->name,
			TIMEOUT_MAX_MS);
	if (strcmp(p->name, "message.max.bytes") == 0 && number < least)
		return err_set(err, ERR_CONFIG,
			"Kafka property \"message.max.bytes\" is %llu: events need %zu",
			(unsigned long long)number, least);
	return ERR_OK;
}

static enum err_code check_one(const struct kafka_opts *opts, const struct kafka_property *p,
	rd_kafka_conf_t *conf, struct err *err)
{
	enum err_code rc = leaves_ours(opts, p, err);

	if (rc == ERR_OK)
		rc = set(opts, conf, p->name, p->value, err);
	return rc == ERR_OK ? check_number(opts, p, err) : rc;
}

static bool names_brokers(const struct kafka_opts *opts)
{
	return kafka_property(opts, "bootstrap.servers") ||
	       kafka_property(opts, "metadata.broker.list") ||
	       kafka_property(opts, "test.mock.num.brokers");
}

enum err_code kafka_conf_check(const struct kafka_opts *opts, struct err *err)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < opts->property_count && rc == ERR_OK; i++)
		rc = check_one(opts, &opts->properties[i], conf, err);
	rd_kafka_conf_destroy(conf);
	if (rc == ERR_OK && !names_brokers(opts))
		return err_set(err, ERR_CONFIG,
			"/queue/properties has no \"bootstrap.servers\": where is Kafka?");
	return rc;
}

/* ---- log lines ---------------------------------------------------------------------------------
 */

/* At most so many lines a window; what was held back is told with the next one. */
static bool gate_opens(struct kafka_hook *hook, unsigned *out_held_back)
{
	const int64_t now = kafka_now_ms(hook->kafka);

	if (hook->lines == 0 || now - hook->window_ms >= WINDOW_MS) {
		hook->window_ms = now;
		hook->lines = 0;
	}
	if (hook->lines >= LINES_A_WINDOW) {
		hook->held_back++;
		return false;
	}
	hook->lines++;
	*out_held_back = hook->held_back;
	hook->held_back = 0;
	return true;
}

static void tell(struct kafka_hook *hook, enum log_level level, const char *what, const char *from)
{
	char text[KAFKA_TEXT_MAX];
	unsigned held_back = 0;

	if (level > LOG_DEBUG && !gate_opens(hook, &held_back))
		return;
	kafka_text(&hook->kafka->opts, from, text);
	LOG_AT(level, "kafka_library", log_str("handle", hook->name), log_str("what", what),
		log_str("text", text), log_int("held_back", held_back));
}

static enum log_level level_of(int syslog_level)
{
	if (syslog_level <= 2)
		return LOG_ERROR;
	if (syslog_level <= 4)
		return LOG_WARN;
	return syslog_level <= 6 ? LOG_INFO : LOG_DEBUG;
}

static void on_log(const rd_kafka_t *rk, int level, const char *what, const char *text)
{
	/* One set of properties serves handles of every kind: some are not for this one. */
	if (strcmp(what, "CONFWARN") != 0)
		tell(rd_kafka_opaque(rk), level_of(level), what, text);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
	struct kafka_hook *hook = opaque;

	(void)rk;
	/* The library has put the same into a log line of its own. */
	tell(hook, LOG_DEBUG, rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
	if (hook->failed)
		hook->failed(hook, (rd_kafka_resp_err_t)code, reason);
}

static void on_delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	struct kafka_hook *hook = opaque;

	(void)rk;
	hook->delivered(hook, message);
}

/* ---- handles -----------------------------------------------------------------------------------
 */

static enum err_code set_rows(const struct kafka_opts *opts, rd_kafka_conf_t *conf,
	const struct row *rows, size_t count, unsigned kind, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < count && rc == ERR_OK; i++) {
		if (rows[i].kinds & kind)
			rc = set(opts, conf, rows[i].name, rows[i].value, err);
	}
	return rc;
}

static enum err_code set_number(const struct kafka_opts *opts, rd_kafka_conf_t *conf,
	const char *name, int64_t number, struct err *err)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%lld", (long long)number);
	return set(opts, conf, name, text, err);
}

bool kafka_gives_up(const struct kafka_opts *opts, enum kafka_kind kind)
{
	if (FOREVER & (1u << kind))
		return false;
	return !(kind == KAFKA_KIND_EVENTS && opts->spools);
}

/* What depends on the options. A larger message.max.bytes of the user's stays. */
static enum err_code set_numbers(
	struct kafka *kafka, enum kafka_kind kind, rd_kafka_conf_t *conf, struct err *err)
{
	const struct kafka_opts *opts = &kafka->opts;
	const char *text = kafka_property(opts, "message.max.bytes");
	uint64_t bytes = 0;
	enum err_code rc;

	if (text && text_u64(slice_str(text), &bytes, NULL) != ERR_OK)
		bytes = 0;
	if (bytes < kafka->max_message_bytes)
		bytes = kafka->max_message_bytes;
	rc = set_number(opts, conf, "message.max.bytes", (int64_t)bytes, err);
	if (rc == ERR_OK)
		rc = set_number(opts, conf, "message.timeout.ms",
			kafka_gives_up(opts, kind) ? opts->delivery_timeout_ms : 0, err);
	return rc;
}

static enum err_code set_all(
	struct kafka *kafka, enum kafka_kind kind, rd_kafka_conf_t *conf, struct err *err)
{
	const struct kafka_opts *opts = &kafka->opts;
	const unsigned bit = 1u << kind;
	enum err_code rc = set_rows(opts, conf, defaults, ARRAY_LEN(defaults), bit, err);

	for (size_t i = 0; i < opts->property_count && rc == ERR_OK; i++)
		rc = set(opts, conf, opts->properties[i].name, opts->properties[i].value, err);
	if (rc == ERR_OK)
		rc = set_rows(opts, conf, musts, ARRAY_LEN(musts), bit, err);
	if (rc == ERR_OK && (PRODUCERS & bit))
		rc = set_numbers(kafka, kind, conf, err);
	if (rc == ERR_OK && (CONTROL & bit))
		rc = set(opts, conf, "group.id", opts->group, err);
	return rc;
}

enum err_code kafka_conf_new(struct kafka *kafka, enum kafka_kind kind, struct kafka_hook *hook,
	rd_kafka_conf_t **out, struct err *err)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	enum err_code rc = set_all(kafka, kind, conf, err);

	if (rc != ERR_OK) {
		rd_kafka_conf_destroy(conf);
		return rc;
	}
	rd_kafka_conf_set_opaque(conf, hook);
	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_error_cb(conf, on_error);
	if (PRODUCERS & (1u << kind))
		rd_kafka_conf_set_dr_msg_cb(conf, on_delivered);
	*out = conf;
	return ERR_OK;
}

enum err_code kafka_handle_new(struct kafka *kafka, enum kafka_kind kind, rd_kafka_conf_t *conf,
	rd_kafka_t **out, struct err *err)
{
	const bool produces = PRODUCERS & (1u << kind);
	char why[LIBRARY_TEXT] = "", text[KAFKA_TEXT_MAX];
	rd_kafka_t *rk = rd_kafka_new(
		produces ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, why, sizeof(why));

	if (!rk) {
		rd_kafka_resp_err_t code = rd_kafka_last_error();

		rd_kafka_conf_destroy(conf); /* a handle that was made has taken it */
		kafka_text(&kafka->opts, why, text);
		return err_set(err,
			code == RD_KAFKA_RESP_ERR__INVALID_ARG ? ERR_CONFIG : kafka_err_code(code),
			"/queue/properties: %s", text);
	}
	(void)rd_kafka_set_log_queue(rk, NULL); /* to the main queue, which its owner polls */
	*out = rk;
	return ERR_OK;
}
