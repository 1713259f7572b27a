/* admin.c - what the tests do to topics, in a program that starts at once (Kafka's own tools need a
 * second each to start). scripts/kafka builds it and waits with it; the system suite shapes topics
 * with it.
 *
 *   admin -X bootstrap.servers=ADDRESS [-X NAME=VALUE]... COMMAND
 *     ready NODES SECONDS                              wait until a cluster of so many nodes is
 * usable create TOPIC PARTITIONS REPLICAS [NAME=VALUE]... a topic, with configuration grow TOPIC
 * PARTITIONS                            more partitions for a topic delete TOPIC trim TOPIC
 * PARTITION OFFSET                      delete the records below an offset
 *
 * Usable means that a client's work is done: a topic can be created with a replica on every node,
 * and a record in it is acknowledged by all replicas. An open port says nothing of that.
 *
 * Not here: producing and consuming. kcat does that, so that another program than ours looks at our
 * records.
 *
 * Exit status: 0 done, 1 not done (one line says why), 2 wrong usage. */

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#define READY_TOPIC "kafka-ready"
#define REQUEST_MS 10000
#define ATTEMPT_MS 2000
#define PAUSE_US 50000

struct admin {
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	rd_kafka_AdminOptions_t *options;
	char why[512]; /* what the last attempt failed with */
};

static void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "admin: %s: %s\n", what, why);
	exit(1);
}

static void usage(void)
{
	(void)fputs("usage: admin -X bootstrap.servers=ADDRESS [-X NAME=VALUE]... COMMAND\n"
		    "  ready NODES SECONDS\n"
		    "  create TOPIC PARTITIONS REPLICAS [NAME=VALUE]...\n"
		    "  grow TOPIC PARTITIONS\n"
		    "  delete TOPIC\n"
		    "  trim TOPIC PARTITION OFFSET\n",
		stderr);
	exit(2);
}

static long long number(const char *text, long long min, long long max)
{
	char *end = NULL;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < min || value > max)
		die(text, "not a number, or out of range");
	return value;
}

static int small_number(const char *text, int max)
{
	return (int)number(text, 0, max);
}

static long long now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- one request --------------------------------------------------------------------- */

static rd_kafka_resp_err_t topics_outcome(
	struct admin *admin, const rd_kafka_topic_result_t **topics, size_t count)
{
	const char *why;

	if (count != 1)
		return RD_KAFKA_RESP_ERR__BAD_MSG;
	why = rd_kafka_topic_result_error_string(topics[0]);
	(void)snprintf(admin->why, sizeof(admin->why), "%s", why ? why : "");
	return rd_kafka_topic_result_error(topics[0]);
}

static rd_kafka_resp_err_t trim_outcome(const rd_kafka_DeleteRecords_result_t *result)
{
	const rd_kafka_topic_partition_list_t *list = rd_kafka_DeleteRecords_result_offsets(result);

	return list->cnt == 1 ? list->elems[0].err : RD_KAFKA_RESP_ERR__BAD_MSG;
}

static rd_kafka_resp_err_t outcome(struct admin *admin, rd_kafka_event_t *event)
{
	const rd_kafka_topic_result_t **topics;
	size_t count = 0;

	if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
		(void)snprintf(
			admin->why, sizeof(admin->why), "%s", rd_kafka_event_error_string(event));
		return rd_kafka_event_error(event);
	}
	switch (rd_kafka_event_type(event)) {
	case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
		topics = rd_kafka_CreateTopics_result_topics(
			rd_kafka_event_CreateTopics_result(event), &count);
		break;
	case RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT:
		topics = rd_kafka_CreatePartitions_result_topics(
			rd_kafka_event_CreatePartitions_result(event), &count);
		break;
	case RD_KAFKA_EVENT_DELETETOPICS_RESULT:
		topics = rd_kafka_DeleteTopics_result_topics(
			rd_kafka_event_DeleteTopics_result(event), &count);
		break;
	case RD_KAFKA_EVENT_DELETERECORDS_RESULT:
		return trim_outcome(rd_kafka_event_DeleteRecords_result(event));
	default: return RD_KAFKA_RESP_ERR__BAD_MSG;
	}
	return topics_outcome(admin, topics, count);
}

/* The answer to the request that was just sent. */
static rd_kafka_resp_err_t answer(struct admin *admin)
{
	rd_kafka_event_t *event;
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;

	admin->why[0] = '\0';
	/* The library ends every request by its timeout; the wait here is only longer. */
	event = rd_kafka_queue_poll(admin->queue, 2 * REQUEST_MS);
	if (event != NULL) {
		code = outcome(admin, event);
		rd_kafka_event_destroy(event);
	}
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR && admin->why[0] == '\0')
		(void)snprintf(admin->why, sizeof(admin->why), "%s", rd_kafka_err2str(code));
	return code;
}

static void set_timeout(struct admin *admin, int timeout_ms)
{
	char why[256];

	if (rd_kafka_AdminOptions_set_request_timeout(
		    admin->options, timeout_ms, why, sizeof(why)) != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("request timeout", why);
}

/* `config`: count texts NAME=VALUE, which are split in place. */
static rd_kafka_resp_err_t create(struct admin *admin, const char *name, int partitions,
	int replicas, char **config, int count)
{
	char why[256];
	rd_kafka_NewTopic_t *topic =
		rd_kafka_NewTopic_new(name, partitions, replicas, why, sizeof(why));
	rd_kafka_resp_err_t code;

	if (topic == NULL)
		die(name, why);
	for (int i = 0; i < count; i++) {
		char *value = strchr(config[i], '=');

		if (value == NULL)
			usage();
		*value++ = '\0';
		if (rd_kafka_NewTopic_set_config(topic, config[i], value) !=
			RD_KAFKA_RESP_ERR_NO_ERROR)
			die(config[i], "cannot be set");
	}
	rd_kafka_CreateTopics(admin->rk, &topic, 1, admin->options, admin->queue);
	code = answer(admin);
	rd_kafka_NewTopic_destroy(topic);
	return code;
}

/* True when the topic has so many partitions, each with a leader and so many replicas in sync, and
 * the cluster at least so many nodes. A created topic is known to its brokers a moment later than
 * to the controller. */
static bool spread(struct admin *admin, rd_kafka_topic_t *topic, int partitions, int replicas)
{
	const struct rd_kafka_metadata *seen = NULL;
	rd_kafka_resp_err_t code = rd_kafka_metadata(admin->rk, 0, topic, &seen, ATTEMPT_MS);
	bool good;

	if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
		(void)snprintf(
			admin->why, sizeof(admin->why), "metadata: %s", rd_kafka_err2str(code));
		return false;
	}
	good = seen->broker_cnt >= replicas && seen->topic_cnt == 1 &&
	       seen->topics[0].partition_cnt == partitions;
	for (int p = 0; good && p < partitions; p++)
		good = seen->topics[0].partitions[p].leader >= 0 &&
		       seen->topics[0].partitions[p].isr_cnt >= replicas;
	if (!good)
		(void)snprintf(admin->why, sizeof(admin->why),
			"%d nodes are there, not all replicas in sync", seen->broker_cnt);
	rd_kafka_metadata_destroy(seen);
	return good;
}

static bool wait_spread(
	struct admin *admin, const char *name, int partitions, int replicas, long long deadline)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(admin->rk, name, NULL);
	bool good;

	if (topic == NULL)
		die(name, rd_kafka_err2str(rd_kafka_last_error()));
	while (!(good = spread(admin, topic, partitions, replicas)) && now_ms() < deadline)
		(void)usleep(PAUSE_US);
	rd_kafka_topic_destroy(topic);
	return good;
}

/* ---- ready --------------------------------------------------------------------------- */

/* Counts what was acknowledged; `opaque` is the handle's. */
static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	struct admin *admin = opaque;

	(void)rk;
	if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		*(int *)message->_private += 1;
	else
		(void)snprintf(admin->why, sizeof(admin->why), "record: %s",
			rd_kafka_err2str(message->err));
}

static bool acknowledged(struct admin *admin, long long deadline)
{
	char value[] = "ready";
	int count = 0;
	rd_kafka_resp_err_t code = rd_kafka_producev(admin->rk, RD_KAFKA_V_TOPIC(READY_TOPIC),
		RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE(value, strlen(value)),
		RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(&count),
		RD_KAFKA_V_END);
	long long left = deadline - now_ms();

	if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
		(void)snprintf(
			admin->why, sizeof(admin->why), "record: %s", rd_kafka_err2str(code));
		return false;
	}
	if (rd_kafka_flush(admin->rk, left > 0 ? (int)left : 0) != RD_KAFKA_RESP_ERR_NO_ERROR) {
		/* The report must not come when `count` is gone. */
		(void)rd_kafka_purge(admin->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
		(void)rd_kafka_flush(admin->rk, REQUEST_MS);
	}
	return count > 0;
}

static bool write_ready(struct admin *admin, int nodes, long long deadline)
{
	/* Held all the while: the library asks at once for a topic that it knows, else up to a
	 * second later. */
	rd_kafka_topic_t *topic = rd_kafka_topic_new(admin->rk, READY_TOPIC, NULL);
	bool good;

	if (topic == NULL)
		die(READY_TOPIC, rd_kafka_err2str(rd_kafka_last_error()));
	good = wait_spread(admin, READY_TOPIC, 1, nodes, deadline);
	/* One node may know of the topic while another, asked next, does not yet. */
	while (good && !acknowledged(admin, deadline)) {
		good = now_ms() < deadline;
		(void)usleep(PAUSE_US);
	}
	rd_kafka_topic_destroy(topic);
	return good;
}

static bool ready(struct admin *admin, int nodes, int seconds)
{
	long long deadline = now_ms() + seconds * 1000LL;
	rd_kafka_resp_err_t code;

	set_timeout(admin, ATTEMPT_MS);
	for (;;) {
		code = create(admin, READY_TOPIC, 1, nodes, NULL, 0);
		if (code == RD_KAFKA_RESP_ERR_NO_ERROR ||
			code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
			break;
		if (now_ms() >= deadline)
			return false;
		(void)usleep(PAUSE_US);
	}
	return write_ready(admin, nodes, deadline);
}

/* ---- the commands -------------------------------------------------------------------- */

static bool command_ready(struct admin *admin, int argc, char **argv)
{
	(void)argc;
	return ready(admin, small_number(argv[1], 100), small_number(argv[2], 3600));
}

static bool command_create(struct admin *admin, int argc, char **argv)
{
	int partitions = small_number(argv[2], 10000);
	int replicas = small_number(argv[3], 100);

	return create(admin, argv[1], partitions, replicas, argv + 4, argc - 4) ==
		       RD_KAFKA_RESP_ERR_NO_ERROR &&
	       wait_spread(admin, argv[1], partitions, replicas, now_ms() + REQUEST_MS);
}

static bool command_grow(struct admin *admin, int argc, char **argv)
{
	int partitions = small_number(argv[2], 10000);
	char why[256];
	rd_kafka_NewPartitions_t *more =
		rd_kafka_NewPartitions_new(argv[1], (size_t)partitions, why, sizeof(why));
	bool done;

	(void)argc;
	if (more == NULL)
		die(argv[1], why);
	rd_kafka_CreatePartitions(admin->rk, &more, 1, admin->options, admin->queue);
	done = answer(admin) == RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_NewPartitions_destroy(more);
	return done && wait_spread(admin, argv[1], partitions, 1, now_ms() + REQUEST_MS);
}

static bool command_delete(struct admin *admin, int argc, char **argv)
{
	rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(argv[1]);
	bool done;

	(void)argc;
	if (topic == NULL)
		die(argv[1], "out of memory");
	rd_kafka_DeleteTopics(admin->rk, &topic, 1, admin->options, admin->queue);
	done = answer(admin) == RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_DeleteTopic_destroy(topic);
	return done;
}

static bool command_trim(struct admin *admin, int argc, char **argv)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_DeleteRecords_t *records;
	bool done;

	(void)argc;
	rd_kafka_topic_partition_list_add(list, argv[1], small_number(argv[2], INT_MAX))->offset =
		number(argv[3], 0, LLONG_MAX);
	records = rd_kafka_DeleteRecords_new(list);
	if (records == NULL)
		die(argv[1], "out of memory");
	rd_kafka_DeleteRecords(admin->rk, &records, 1, admin->options, admin->queue);
	done = answer(admin) == RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_DeleteRecords_destroy(records);
	rd_kafka_topic_partition_list_destroy(list);
	return done;
}

static const struct command {
	const char *name;
	int args_min;
	int args_max;
	bool (*run)(struct admin *admin, int argc, char **argv);
} commands[] = {
	{ "ready", 2, 2, command_ready },
	{ "create", 3, 100, command_create },
	{ "grow", 2, 2, command_grow },
	{ "delete", 1, 1, command_delete },
	{ "trim", 3, 3, command_trim },
};

static const struct command *find_command(const char *name, int args)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0 && args >= commands[i].args_min &&
			args <= commands[i].args_max)
			return &commands[i];
	usage();
	return NULL;
}

/* ---- the handle ---------------------------------------------------------------------- */

/* A client that looks again at once, and is silent: what fails is said once, in the end. */
static const char *const properties[][2] = {
	{ "acks", "all" },
	{ "reconnect.backoff.ms", "20" },
	{ "reconnect.backoff.max.ms", "100" },
	{ "topic.metadata.refresh.fast.interval.ms", "50" },
	{ "socket.timeout.ms", "2000" },
	{ "linger.ms", "0" },
};

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char why[256];

	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
		die(name, why);
}

static void set_option(rd_kafka_conf_t *conf, char *option)
{
	char *value = strchr(option, '=');

	if (value == NULL)
		usage();
	*value++ = '\0';
	set(conf, option, value);
}

static void open_admin(struct admin *admin, rd_kafka_conf_t *conf)
{
	rd_kafka_conf_set_opaque(conf, admin);
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	rd_kafka_conf_set_log_cb(conf, NULL);
	admin->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, admin->why, sizeof(admin->why));
	if (admin->rk == NULL)
		die("cannot start", admin->why);
	admin->queue = rd_kafka_queue_new(admin->rk);
	admin->options = rd_kafka_AdminOptions_new(admin->rk, RD_KAFKA_ADMIN_OP_ANY);
	if (admin->queue == NULL || admin->options == NULL)
		die("cannot start", "out of memory");
	set_timeout(admin, REQUEST_MS);
}

int main(int argc, char **argv)
{
	struct admin admin = { .rk = NULL };
	const struct command *command;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	int option;

	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
		set(conf, properties[i][0], properties[i][1]);
	while ((option = getopt(argc, argv, "+X:")) != -1) {
		if (option != 'X')
			usage();
		set_option(conf, optarg);
	}
	if (optind >= argc)
		usage();
	command = find_command(argv[optind], argc - optind - 1);
	open_admin(&admin, conf);
	if (!command->run(&admin, argc - optind, argv + optind))
		die(command->name, admin.why);
	/* Without taking the handle down: nothing is in flight, and a topic that is gone can hold
	 * its threads. */
	_exit(0);
}
