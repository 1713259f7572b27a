/* kafka_err.c - what an error of librdkafka means to us: one table.
 *
 * What is not in it may pass and is ERR_IO. Deliberately not here: what becomes of a record
 * (kafka_poll.c), which depends on where it may be, not on the error. */
#include "kafka_priv.h"

#define E(name) RD_KAFKA_RESP_ERR_##name
static const struct {
	rd_kafka_resp_err_t code;
	enum err_code means;
} meanings[] = {
	{ E(NO_ERROR), ERR_OK },
	{ E(_TRANSPORT), ERR_UNREACHABLE },
	{ E(_RESOLVE), ERR_UNREACHABLE },
	{ E(_ALL_BROKERS_DOWN), ERR_UNREACHABLE },
	{ E(_WAIT_COORD), ERR_UNREACHABLE },
	{ E(_UNKNOWN_BROKER), ERR_UNREACHABLE },
	{ E(LEADER_NOT_AVAILABLE), ERR_UNREACHABLE },
	{ E(NOT_LEADER_FOR_PARTITION), ERR_UNREACHABLE },
	{ E(BROKER_NOT_AVAILABLE), ERR_UNREACHABLE },
	{ E(REPLICA_NOT_AVAILABLE), ERR_UNREACHABLE },
	{ E(NETWORK_EXCEPTION), ERR_UNREACHABLE },
	{ E(COORDINATOR_LOAD_IN_PROGRESS), ERR_UNREACHABLE },
	{ E(COORDINATOR_NOT_AVAILABLE), ERR_UNREACHABLE },
	{ E(NOT_COORDINATOR), ERR_UNREACHABLE },
	{ E(NOT_CONTROLLER), ERR_UNREACHABLE },
	{ E(NOT_ENOUGH_REPLICAS), ERR_UNREACHABLE },
	{ E(NOT_ENOUGH_REPLICAS_AFTER_APPEND), ERR_UNREACHABLE },
	{ E(KAFKA_STORAGE_ERROR), ERR_UNREACHABLE },
	/* We ask for as many replicas as there were brokers: some went, or are still to come. */
	{ E(INVALID_REPLICATION_FACTOR), ERR_UNREACHABLE },
	{ E(_TIMED_OUT), ERR_TIMEOUT },
	{ E(_MSG_TIMED_OUT), ERR_TIMEOUT },
	{ E(_TIMED_OUT_QUEUE), ERR_TIMEOUT },
	{ E(REQUEST_TIMED_OUT), ERR_TIMEOUT },
	{ E(_UNKNOWN_TOPIC), ERR_NOT_FOUND },
	{ E(_UNKNOWN_PARTITION), ERR_NOT_FOUND },
	{ E(UNKNOWN_TOPIC_OR_PART), ERR_NOT_FOUND },
	{ E(_AUTHENTICATION), ERR_DENIED },
	{ E(_SSL), ERR_DENIED },
	{ E(SASL_AUTHENTICATION_FAILED), ERR_DENIED },
	{ E(UNSUPPORTED_SASL_MECHANISM), ERR_DENIED },
	{ E(ILLEGAL_SASL_STATE), ERR_DENIED },
	{ E(SECURITY_DISABLED), ERR_DENIED },
	{ E(TOPIC_AUTHORIZATION_FAILED), ERR_DENIED },
	{ E(GROUP_AUTHORIZATION_FAILED), ERR_DENIED },
	{ E(CLUSTER_AUTHORIZATION_FAILED), ERR_DENIED },
	{ E(MSG_SIZE_TOO_LARGE), ERR_LIMIT },
	{ E(INVALID_MSG_SIZE), ERR_LIMIT },
	{ E(RECORD_LIST_TOO_LARGE), ERR_LIMIT },
	{ E(INVALID_RECORD), ERR_SYNTAX },
	{ E(INVALID_TIMESTAMP), ERR_SYNTAX },
	{ E(UNSUPPORTED_FOR_MESSAGE_FORMAT), ERR_SYNTAX },
	{ E(_QUEUE_FULL), ERR_FULL },
	{ E(OFFSET_OUT_OF_RANGE), ERR_CORRUPT },
	{ E(_AUTO_OFFSET_RESET), ERR_CORRUPT },
	{ E(_BAD_MSG), ERR_CORRUPT },
	{ E(_BAD_COMPRESSION), ERR_CORRUPT },
	{ E(INVALID_MSG), ERR_CORRUPT },
	{ E(_FENCED), ERR_FENCED },
	{ E(FENCED_INSTANCE_ID), ERR_FENCED },
	{ E(PRODUCER_FENCED), ERR_FENCED },
	{ E(_INVALID_ARG), ERR_CONFIG },
	{ E(INVALID_CONFIG), ERR_CONFIG },
	{ E(INVALID_PARTITIONS), ERR_CONFIG },
	{ E(TOPIC_EXCEPTION), ERR_CONFIG },
	{ E(POLICY_VIOLATION), ERR_CONFIG },
	{ E(UNSUPPORTED_VERSION), ERR_UNSUPPORTED },
	{ E(_UNSUPPORTED_FEATURE), ERR_UNSUPPORTED },
	{ E(_CRIT_SYS_RESOURCE), ERR_NOMEM },
	{ E(_DESTROY), ERR_STOPPED },
};

enum err_code kafka_err_code(rd_kafka_resp_err_t code)
{
	for (size_t i = 0; i < ARRAY_LEN(meanings); i++) {
		if (meanings[i].code == code)
			return meanings[i].means;
	}
	return ERR_IO;
}

bool kafka_refuses(rd_kafka_resp_err_t code)
{
	static const rd_kafka_resp_err_t refusals[] = {
		E(MSG_SIZE_TOO_LARGE),
		E(INVALID_MSG_SIZE),
		E(RECORD_LIST_TOO_LARGE),
		E(INVALID_RECORD),
		E(INVALID_TIMESTAMP),
		E(UNSUPPORTED_FOR_MESSAGE_FORMAT),
	};

	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		if (refusals[i] == code)
			return true;
	}
	return false;
}

enum err_code kafka_err(struct err *err, rd_kafka_resp_err_t code, const char *what)
{
	return err_set(err, kafka_err_code(code), "%s: %s", what, rd_kafka_err2str(code));
}
