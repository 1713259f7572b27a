/* trace.c - is this a traceparent, and a new one where there is none.
 *
 * Source: W3C Trace Context, section 3.2. Deliberately not here: tracestate, spans of our own. */
#include "trace.h"

#include "postern/text.h"

#include <stdio.h>

static bool is_hex(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
	}
	return true;
}

static bool is_zero(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] != '0')
			return false;
	}
	return true;
}

bool trace_is_valid(struct slice s)
{
	static const size_t dashes[] = { 2, 35, 52 };
	struct slice trace = slice_sub(s, 3, 32), span = slice_sub(s, 36, 16);
	struct slice version = slice_sub(s, 0, 2);

	if (s.len != TRACE_LEN)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(dashes); i++) {
		if (s.data[dashes[i]] != '-')
			return false;
	}
	return is_hex(version) && !slice_eq_str(version, "ff") && is_hex(trace) &&
	       !is_zero(trace) && is_hex(span) && !is_zero(span) && is_hex(slice_sub(s, 53, 2));
}

void trace_start(const uint8_t random[TRACE_RANDOM], char out[TRACE_LEN + 1])
{
	/* The rest follows. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
	memcpy(out, "00-", 3);
	text_hex(random, 16, out + 3);
	out[35] = '-';
	text_hex(random + 16, 8, out + 36);
	memcpy(out + 52, "-01", 4); /* sampled; and the NUL */
}
