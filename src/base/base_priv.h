/* base_priv.h - what the files of base share with each other, and with their own unit tests. */
#pragma once

#include "postern/buf.h"

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
 * number that tells hashes of equal bytes apart. */
struct hashing {
	uint64_t hash, word;
	unsigned filled;
	size_t total;
};
struct hashing hash_begin(uint64_t context);
void hash_byte(struct hashing *h, uint8_t byte);
/* The same as hash_byte() for each byte, but faster; once, and for all the bytes. */
void hash_whole(struct hashing *h, const uint8_t *p, size_t len);
uint64_t hash_end(const struct hashing *h);
