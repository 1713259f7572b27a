/* kafka_hash.c - the partition of a key, as Kafka's own producer for Java chooses it.
 *
 * MurmurHash2 by Austin Appleby (public domain) in 32 bits with Kafka's seed, so that other
 * producers put the events of an entity into the same partition as we do. Deliberately not here:
 * how many partitions there are. */
#include "postern/kafka.h"

#include <assert.h>

#define SEED 0x9747b28cu
#define MULTIPLIER 0x5bd1e995u
#define SHIFT 24

static uint32_t murmur2(struct slice key)
{
	uint32_t h = SEED ^ (uint32_t)key.len;
	const uint8_t *p = key.data;
	size_t left = key.len;

	for (; left >= 4; left -= 4, p += 4) {
		uint32_t k = get_le32(p) * MULTIPLIER;

		h = (h * MULTIPLIER) ^ ((k ^ (k >> SHIFT)) * MULTIPLIER);
	}
	if (left > 0) {
		for (size_t i = left; i > 0; i--)
			h ^= (uint32_t)p[i - 1] << (8 * (i - 1));
		h *= MULTIPLIER;
	}
	h = (h ^ (h >> 13)) * MULTIPLIER;
	return h ^ (h >> 15);
}

int32_t kafka_partition(struct slice key, int32_t partitions)
{
	assert(partitions > 0);
	return (int32_t)(murmur2(key) & 0x7fffffffu) % partitions;
}
