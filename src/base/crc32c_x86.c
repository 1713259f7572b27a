/* crc32c_x86.c - CRC32C by the instruction of SSE 4.2.
 *
 * On other processors this file only says that there is no such instruction. Deliberately not here:
 * the tables, and the choice (crc32c.c). */
#include "base_priv.h"

#include <assert.h>
#include <string.h>

#if defined(__x86_64__)

bool crc32c_have_instruction(void)
{
	return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) uint32_t crc32c_instruction(
	uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t wide = crc;

	for (; len >= 8; p += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, p, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; len > 0; p++, len--)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
}

#else

bool crc32c_have_instruction(void)
{
	return false;
}

uint32_t crc32c_instruction(uint32_t crc, const uint8_t *p, size_t len)
{
	(void)p;
	(void)len;
	assert(!"no such instruction on this processor");
	return crc;
}

#endif
