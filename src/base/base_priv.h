/* base_priv.h - what the files of base share with each other, and with their own unit tests. */
#pragma once

#include "postern/buf.h"

#include <assert.h>

/* The two ways to compute a CRC32C. The state is not inverted here. */
bool crc32c_have_instruction(void);
uint32_t crc32c_instruction(uint32_t crc, const uint8_t *p, size_t len);
uint32_t crc32c_table(uint32_t crc, const uint8_t *p, size_t len);

/* Length in bytes (1 to 4) of the well-formed UTF-8 sequence at p, or 0. Surrogates, overlong forms
 * and everything past U+10FFFF are not well-formed. */
size_t utf8_sequence(const uint8_t *p, size_t len);

/* The value of a hexadecimal digit of either case, or -1. */
int hex_digit(uint8_t c);

/* Take one character (or one byte that is not UTF-8) off *s, which is not empty, and write it as it
 * stands in a JSON string. Returns the length of what was written. */
#define JSON_ESCAPE_MAX 6
size_t json_escape(struct slice *s, char out[JSON_ESCAPE_MAX]);

/* A keyed hash in the making: bytes gather in a word, full words are folded in. The context is any
 * number that tells hashes of equal bytes apart. Inline, because a name of a JSON member is shorter
 * than the call. */
struct hashing {
	uint64_t hash, word;
	unsigned filled;
	size_t total;
};

/* Eight bytes, the first one lowest. */
static inline uint64_t load_word(const uint8_t *p)
{
	uint64_t word;

	static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte is the lowest");
	memcpy(&word, p, sizeof(word));
	return word;
}

/* Chosen at random by the first hash_choose_key(); constant from then on. */
extern uint64_t hash_key[2];
void hash_choose_key(void);

static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The key must have been chosen. */
static inline struct hashing hash_begin(uint64_t context)
{
	return (struct hashing){ .hash = hash_key[0] ^ context * 0x9e3779b97f4a7c15 };
}

static inline void hash_byte(struct hashing *h, uint8_t byte)
{
	h->word |= (uint64_t)byte << 8 * h->filled++;
	h->total++;
	if (h->filled == 8) {
		h->hash = hash_mix(h->hash ^ h->word, hash_key[1]);
		h->word = h->filled = 0;
	}
}

/* The same as hash_byte() for each byte, but faster; once, and for all the bytes. */
static inline void hash_whole(struct hashing *h, const uint8_t *p, size_t len)
{
	h->total = len;
	for (; len >= 8; p += 8, len -= 8)
		h->hash = hash_mix(h->hash ^ load_word(p), hash_key[1]);
	for (size_t i = 0; i < len; i++)
		h->word |= (uint64_t)p[i] << 8 * i;
}

static inline uint64_t hash_end(const struct hashing *h)
{
	return hash_mix(h->hash ^ h->word, hash_key[1] ^ h->total << 1);
}
