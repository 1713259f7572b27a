/* slice.c - looking at borrowed bytes: comparing, searching, cutting.
 *
 * Deliberately not here: anything that allocates (but one copy for C interfaces), and comparing
 * secrets, which must take the same time whatever they hold. */
#include "base_priv.h"

#include <stdlib.h>

bool slice_eq(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool slice_eq_str(struct slice a, const char *b)
{
	return slice_eq(a, slice_str(b));
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* lower() of eight bytes: a byte's high bit says that it is a capital, and moves to where the cases
 * differ. The sums of seven bits never carry into the next byte. */
static uint64_t lower_word(uint64_t word)
{
	const uint64_t each = 0x0101010101010101u, high = 0x80 * each;
	uint64_t low = word & ~high;
	uint64_t from_a = low + (0x80 - 'A') * each, past_z = low + (0x7f - 'Z') * each;

	return word | ((from_a ^ past_z) & ~word & high) >> 2;
}

bool slice_same_nocase(const uint8_t *a, const uint8_t *b, size_t len)
{
	while (len >= 8) {
		/* The last word may begin in the one before it. */
		size_t step = len > 8 && len < 16 ? len - 8 : 8;

		if (lower_word(load_word(a)) != lower_word(load_word(b)))
			return false;
		a += step;
		b += step;
		len -= step;
	}
	for (size_t i = 0; i < len; i++) {
		if (lower(a[i]) != lower(b[i]))
			return false;
	}
	return true;
}

int slice_cmp(struct slice a, struct slice b)
{
	size_t common = a.len < b.len ? a.len : b.len;
	int order = common ? memcmp(a.data, b.data, common) : 0;

	if (order != 0)
		return order;
	return (a.len > b.len) - (a.len < b.len);
}

bool slice_starts(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len &&
	       (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

struct slice slice_sub(struct slice s, size_t from, size_t len)
{
	if (from >= s.len)
		return (struct slice){ s.data ? s.data + s.len : NULL, 0 };
	if (len > s.len - from)
		len = s.len - from;
	return (struct slice){ s.data + from, len };
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s)
{
	while (s.len > 0 && is_blank(s.data[0])) {
		s.data++;
		s.len--;
	}
	while (s.len > 0 && is_blank(s.data[s.len - 1]))
		s.len--;
	return s;
}

size_t slice_find(struct slice s, uint8_t c)
{
	const uint8_t *at = s.len ? memchr(s.data, c, s.len) : NULL;

	return at ? (size_t)(at - s.data) : s.len;
}

size_t slice_search(struct slice s, struct slice needle)
{
	const uint8_t *at;

	if (needle.len == 0)
		return 0;
	at = s.len ? memmem(s.data, s.len, needle.data, needle.len) : NULL;
	return at ? (size_t)(at - s.data) : s.len;
}

char *slice_dup_str(struct slice s)
{
	char *copy = malloc(s.len + 1);

	if (!copy)
		return NULL;
	if (s.len)
		memcpy(copy, s.data, s.len);
	copy[s.len] = '\0';
	return copy;
}
