/* text_match.c - patterns, nearness of names, UTF-8, and text made safe for people to read.
 *
 * Deliberately not here: regular expressions. Patterns come from the config, and '*' is all they
 * have. */
#include "base_priv.h"
#include "postern/text.h"

/* The run of ordinary bytes at the start of a pattern, which is taken off it. */
static struct slice take_literal(struct slice *pattern)
{
	struct slice literal = slice_sub(*pattern, 0, slice_find(*pattern, '*'));

	*pattern = slice_sub(*pattern, literal.len, pattern->len);
	return literal;
}

bool text_glob(struct slice pattern, struct slice s)
{
	struct slice literal = take_literal(&pattern);

	if (!slice_starts(s, literal))
		return false;
	s = slice_sub(s, literal.len, s.len);
	if (pattern.len == 0)
		return s.len == 0;
	/* Behind a star, the first place of each literal is as good as any; the last one is an end.
	 */
	while (pattern.len > 0) {
		size_t at;

		pattern = slice_sub(pattern, 1, pattern.len);
		literal = take_literal(&pattern);
		if (pattern.len == 0)
			return s.len >= literal.len &&
			       slice_eq(slice_sub(s, s.len - literal.len, s.len), literal);
		at = slice_search(s, literal);
		if (literal.len > 0 && at == s.len)
			return false;
		s = slice_sub(s, at + literal.len, s.len);
	}
	return true;
}

static bool is_continuation(uint8_t c)
{
	return (c & 0xc0) == 0x80;
}

size_t utf8_sequence(const uint8_t *p, size_t len)
{
	uint8_t first = len ? p[0] : 0xff;

	if (first < 0x80)
		return 1;
	if (first < 0xc2 || len < 2 || !is_continuation(p[1]))
		return 0;
	if (first < 0xe0)
		return 2;
	if (len < 3 || !is_continuation(p[2]))
		return 0;
	if (first < 0xf0) {
		bool overlong = first == 0xe0 && p[1] < 0xa0;
		bool surrogate = first == 0xed && p[1] >= 0xa0;

		return overlong || surrogate ? 0 : 3;
	}
	if (first > 0xf4 || len < 4 || !is_continuation(p[3]))
		return 0;
	if ((first == 0xf0 && p[1] < 0x90) || (first == 0xf4 && p[1] >= 0x90))
		return 0;
	return 4;
}

bool text_is_utf8(struct slice s)
{
	while (s.len > 0) {
		bool is_ascii = s.len >= 8 && (load_word(s.data) & 0x8080808080808080u) == 0;
		size_t len = is_ascii ? 8 : utf8_sequence(s.data, s.len);

		if (len == 0)
			return false;
		s = slice_sub(s, len, s.len);
	}
	return true;
}

/* The C1 controls are two bytes in UTF-8, and terminals obey them too. */
static bool is_plain(const uint8_t *p, size_t len)
{
	if (len == 0)
		return false;
	if (len == 1)
		return *p >= 0x20 && *p != 0x7f && *p != '"' && *p != '\\';
	return !(len == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

void text_printable(struct slice s, char *out, size_t max)
{
	static const char digits[] = "0123456789abcdef";
	size_t used = 0;

	if (max == 0)
		return;
	while (s.len > 0) {
		size_t len = utf8_sequence(s.data, s.len);
		bool plain = is_plain(s.data, len);

		if (!plain)
			len = 1;
		if (used + (plain ? len : 4) >= max)
			break;
		if (plain) {
			memcpy(out + used, s.data, len);
			used += len;
		} else if (s.data[0] == '"' || s.data[0] == '\\') {
			out[used++] = '\\';
			out[used++] = (char)s.data[0];
		} else {
			out[used++] = '\\';
			out[used++] = 'x';
			out[used++] = digits[s.data[0] >> 4];
			out[used++] = digits[s.data[0] & 15];
		}
		s = slice_sub(s, len, s.len);
	}
	out[used] = '\0';
}

#define DISTANCE_FAR 4
#define DISTANCE_NAME_MAX 64 /* longer names are either equal or far */

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned low = a < b ? a : b;

	return low < c ? low : c;
}

unsigned text_distance(struct slice a, struct slice b)
{
	unsigned row[DISTANCE_NAME_MAX + 1];
	size_t apart = a.len > b.len ? a.len - b.len : b.len - a.len;

	if (slice_eq(a, b))
		return 0;
	if (apart >= DISTANCE_FAR || a.len > DISTANCE_NAME_MAX || b.len > DISTANCE_NAME_MAX)
		return DISTANCE_FAR;
	for (unsigned j = 0; j <= b.len; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.len; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			unsigned above = row[j];
			unsigned change = diagonal + (a.data[i - 1] != b.data[j - 1]);

			row[j] = least(change, above + 1, row[j - 1] + 1);
			diagonal = above;
		}
	}
	return row[b.len] < DISTANCE_FAR ? row[b.len] : DISTANCE_FAR;
}
