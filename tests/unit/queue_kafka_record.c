/* queue_kafka_record.c - header blocks to the library's headers and back: byte for byte, in order,
 * and what fits into no block is said to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/kafka_message.h"

static const rd_kafka_message_t bare = { .offset = 42 };

struct pair {
	struct slice name, value;
};

static void block_of(const struct pair *pairs, size_t count, struct buf *out)
{
	struct err err = ERR_INIT;

	assert_int_equal(buf_put_u16(out, (uint16_t)count, &err), ERR_OK);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(buf_put_u16(out, (uint16_t)pairs[i].name.len, &err), ERR_OK);
		assert_int_equal(buf_put_slice(out, pairs[i].name, &err), ERR_OK);
		assert_int_equal(buf_put_sized(out, pairs[i].value, &err), ERR_OK);
	}
}

static void blocks_go_there_and_back(void **state)
{
	static const struct pair pairs[] = {
		{ SLICE_LIT("ce_specversion"), SLICE_LIT("1.0") },
		{ SLICE_LIT("ce_id"), SLICE_LIT("") },
		{ SLICE_LIT("postern-h-x"), SLICE_LIT("a\0b\xff\r\n") },
		{ SLICE_LIT("postern-h-x"), SLICE_LIT("the same name again") },
		{ SLICE_LIT("X"), SLICE_LIT("\0") },
	};

	(void)state;
	for (size_t count = 0; count <= ARRAY_LEN(pairs); count++) {
		struct buf block = BUF_INIT(KIB(64));
		struct err err = ERR_INIT;
		struct record record;
		uint8_t back[1024];
		size_t size = 0;

		block_of(pairs, count, &block);
		assert_int_equal(kafka_headers(buf_slice(&block), &message_headers, &err), ERR_OK);
		assert_int_equal(message_headers != NULL, count > 0);
		if (message_headers)
			assert_int_equal(rd_kafka_header_cnt(message_headers), count);
		assert_true(kafka_block_size(&bare, &size));
		assert_int_equal(size, block.len);
		kafka_record(&bare, back, &record);
		assert_true(slice_eq(record.headers, buf_slice(&block)));
		if (message_headers)
			rd_kafka_headers_destroy(message_headers);
		message_headers = NULL;
		buf_done(&block);
	}
}

static void a_record_is_what_the_message_says(void **state)
{
	static const char key[] = "tenant/1", body[] = "body";
	const rd_kafka_message_t message = {
		.key = (void *)(uintptr_t)key,
		.key_len = sizeof(key) - 1,
		.payload = (void *)(uintptr_t)body,
		.len = sizeof(body) - 1,
		.offset = 7,
	};
	struct record record;
	uint8_t block[2];

	(void)state;
	message_time_ms = 1234;
	kafka_record(&message, block, &record);
	assert_true(slice_eq_str(record.key, "tenant/1"));
	assert_true(slice_eq_str(record.body, "body"));
	assert_int_equal(record.offset, 7);
	assert_int_equal(record.time_ms, 1234);
	assert_int_equal(record.headers.len, 2);
	/* No key, no value, no time, no room for headers: empty, never undefined. */
	message_time_ms = -1;
	kafka_record(&bare, NULL, &record);
	assert_int_equal(record.key.len + record.body.len + record.headers.len, 0);
	assert_int_equal(record.time_ms, 0);
	assert_int_equal(record.offset, 42);
}

static void an_empty_block_has_no_headers(void **state)
{
	rd_kafka_headers_t *headers = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(kafka_headers(SLICE_EMPTY, &headers, &err), ERR_OK);
	assert_null(headers);
	assert_int_equal(kafka_headers(SLICE_LIT("\0\0"), &headers, &err), ERR_OK);
	assert_null(headers);
}

static void broken_blocks_are_refused(void **state)
{
	static const struct slice rows[] = {
		SLICE_LIT("\0"),                    /* half a count */
		SLICE_LIT("\1\0"),                  /* a header that is not there */
		SLICE_LIT("\0\0x"),                 /* something behind the end */
		SLICE_LIT("\2\0\1\0a\0\0\0\0"),     /* one of two */
		SLICE_LIT("\1\0\1\0a\0\0\0\0\0"),   /* and a byte more */
		SLICE_LIT("\1\0\0\0\0\0\0\0"),      /* no name */
		SLICE_LIT("\1\0\1\0a\5\0\0\0four"), /* a value that breaks off */
		SLICE_LIT("\1\0\3\0a\0b\0\0\0\0"),  /* a name that would be cut */
		SLICE_LIT("\1\0\xff\xff"
			  "a\0\0\0\0"), /* a name that breaks off */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		rd_kafka_headers_t *headers = NULL;
		struct err err = ERR_INIT;

		if (kafka_headers(rows[i], &headers, &err) != ERR_SYNTAX)
			fail_msg("row %zu", i);
		assert_null(headers);
	}
}

static void add(const char *name, size_t value_len)
{
	char *value = calloc(1, value_len + 1);

	assert_non_null(value);
	assert_int_equal(rd_kafka_header_add(message_headers, name, -1, value, (ssize_t)value_len),
		RD_KAFKA_RESP_ERR_NO_ERROR);
	free(value);
}

/* Headers that others wrote. */
static void foreign_headers_fit_or_are_said_not_to(void **state)
{
	static const size_t overhead = 2 + 2 + 1 + 4;
	char *name = calloc(1, UINT16_MAX + 2);
	struct record record;
	uint8_t block[64];
	size_t size = 0;

	(void)state;
	assert_non_null(name);
	memset(name, 'n', UINT16_MAX + 1);
	/* A null value is an empty one. */
	message_headers = rd_kafka_headers_new(4);
	assert_int_equal(
		rd_kafka_header_add(message_headers, "a", -1, NULL, 0), RD_KAFKA_RESP_ERR_NO_ERROR);
	assert_true(kafka_block_size(&bare, &size));
	assert_int_equal(size, overhead);
	kafka_record(&bare, block, &record);
	assert_true(slice_eq(record.headers, SLICE_LIT("\1\0\1\0a\0\0\0\0")));
	rd_kafka_headers_destroy(message_headers);

	/* Up to the limit of a block, and one byte more. */
	for (size_t more = 0; more < 2; more++) {
		message_headers = rd_kafka_headers_new(1);
		add("a", EVENT_HEADERS_MAX - overhead + more);
		assert_int_equal(kafka_block_size(&bare, &size), more == 0);
		rd_kafka_headers_destroy(message_headers);
	}
	/* As many as a block may have, and one more. */
	message_headers = rd_kafka_headers_new(1);
	for (size_t i = 0; i < EVENT_HEADER_COUNT_MAX; i++)
		add("a", 1);
	assert_true(kafka_block_size(&bare, &size));
	add("a", 1);
	assert_false(kafka_block_size(&bare, &size));
	rd_kafka_headers_destroy(message_headers);
	/* Names that no block can say. */
	for (size_t i = 0; i < 2; i++) {
		message_headers = rd_kafka_headers_new(1);
		add(i ? name : "", 1);
		assert_false(kafka_block_size(&bare, &size));
		rd_kafka_headers_destroy(message_headers);
	}
	message_headers = NULL;
	/* Bytes that are no headers at all. */
	message_error = RD_KAFKA_RESP_ERR__BAD_MSG;
	assert_false(kafka_block_size(&bare, &size));
	message_error = RD_KAFKA_RESP_ERR_NO_ERROR;
	free(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_go_there_and_back),
		cmocka_unit_test(a_record_is_what_the_message_says),
		cmocka_unit_test(an_empty_block_has_no_headers),
		cmocka_unit_test(broken_blocks_are_refused),
		cmocka_unit_test(foreign_headers_fit_or_are_said_not_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
