/* crc32c.c - CRC32C (Castagnoli) by tables, and the choice between them and the processor.
 *
 * Eight tables let eight bytes be folded at once; they are computed once, at the first use.
 * Deliberately not here: the instruction (crc32c_x86.c), so that this file builds anywhere. */
#include "base_priv.h"
#include "postern/buf.h"

#include <pthread.h>

#define POLYNOMIAL 0x82f63b78u /* reflected */

/* Written once under `once`, read-only afterwards. */
static uint32_t tables[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_tables(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
		tables[0][i] = crc;
	}
	for (size_t t = 1; t < ARRAY_LEN(tables); t++) {
		for (size_t i = 0; i < 256; i++) {
			uint32_t crc = tables[t - 1][i];

			tables[t][i] = crc >> 8 ^ tables[0][crc & 0xff];
		}
	}
}

uint32_t crc32c_table(uint32_t crc, const uint8_t *p, size_t len)
{
	(void)pthread_once(&once, fill_tables);
	for (; len >= 8; p += 8, len -= 8) {
		uint32_t low = crc ^ get_le32(p);

		crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^
		      tables[5][low >> 16 & 0xff] ^ tables[4][low >> 24] ^ tables[3][p[4]] ^
		      tables[2][p[5]] ^ tables[1][p[6]] ^ tables[0][p[7]];
	}
	for (; len > 0; p++, len--)
		crc = crc >> 8 ^ tables[0][(crc ^ *p) & 0xff];
	return crc;
}

uint32_t crc32c(uint32_t seed, const void *data, size_t len)
{
	if (crc32c_have_instruction())
		return ~crc32c_instruction(~seed, data, len);
	return ~crc32c_table(~seed, data, len);
}
