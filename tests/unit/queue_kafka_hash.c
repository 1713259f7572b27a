/* queue_kafka_hash.c - the partition of a key is the one that Kafka's producer for Java chooses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "postern/kafka.h"

/* The vectors of Kafka's own test of its murmur2, as the positive number that it divides. */
static void hashes_are_those_of_kafka(void **state)
{
	static const struct {
		const char *key;
		int32_t hash;
	} rows[] = {
		{ "21", -973932308 },
		{ "foobar", -790332482 },
		{ "a-little-bit-long-string", -985981536 },
		{ "a-little-bit-longer-string", -1486304829 },
		{ "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971 },
		{ "abc", 479470107 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const int32_t positive = rows[i].hash & 0x7fffffff;

		assert_int_equal(
			kafka_partition(slice_str(rows[i].key), INT32_MAX), positive % INT32_MAX);
		for (int32_t count = 1; count < 100; count++)
			assert_int_equal(
				kafka_partition(slice_str(rows[i].key), count), positive % count);
	}
}

static void keys_of_every_length_have_a_partition(void **state)
{
	uint8_t key[64];
	size_t hits[8] = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(0x80 + i * 37); /* bytes that are negative in Java */
	for (size_t len = 0; len <= sizeof(key); len++) {
		int32_t partition = kafka_partition((struct slice){ key, len }, 8);

		assert_in_range(partition, 0, 7);
		hits[partition]++;
	}
	for (size_t i = 0; i < ARRAY_LEN(hits); i++)
		assert_true(hits[i] > 0);
}

static void an_empty_key_is_no_accident(void **state)
{
	(void)state;
	assert_int_equal(kafka_partition(SLICE_EMPTY, 12), kafka_partition(SLICE_LIT(""), 12));
	assert_int_equal(kafka_partition(SLICE_LIT("anything"), 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_are_those_of_kafka),
		cmocka_unit_test(keys_of_every_length_have_a_partition),
		cmocka_unit_test(an_empty_key_is_no_accident),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
