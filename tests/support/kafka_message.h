/* kafka_message.h - kafka_record.c with messages that no broker has seen: the library makes a
 * message only from what it fetched, so the calls that look inside lead to these. Included by test
 * programs and fuzz targets. */
#pragma once

#include "../../src/queue/kafka_priv.h"

static rd_kafka_headers_t *message_headers; /* NULL: it has none */
static rd_kafka_resp_err_t message_error;   /* what decoding them gives */
static int64_t message_time_ms;

static inline rd_kafka_resp_err_t message_headers_of(
	const rd_kafka_message_t *message, rd_kafka_headers_t **out)
{
	(void)message;
	if (message_error != RD_KAFKA_RESP_ERR_NO_ERROR)
		return message_error;
	*out = message_headers;
	return message_headers ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR__NOENT;
}

static inline int64_t message_time_of(
	const rd_kafka_message_t *message, rd_kafka_timestamp_type_t *out)
{
	(void)message;
	(void)out;
	return message_time_ms;
}

#define rd_kafka_message_headers message_headers_of
#define rd_kafka_message_timestamp message_time_of
#include "../../src/queue/kafka_record.c"
#undef rd_kafka_message_headers
#undef rd_kafka_message_timestamp
