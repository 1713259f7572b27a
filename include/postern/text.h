/* text.h - strict readers and writers of numbers, hex, base64, times, patterns.
 *
 * "Strict" means: the whole slice matches, with nothing before, after or between.
 * Errors:  ERR_SYNTAX; ERR_LIMIT where a value does not fit. Out parameters change on success only.
 */
#pragma once

#include "postern/buf.h"

/* Digits only (a '-' for i64), no sign '+', no blanks, no leading zeros needed or refused. */
MUST_CHECK enum err_code text_u64(struct slice s, uint64_t *out, struct err *err);
MUST_CHECK enum err_code text_i64(struct slice s, int64_t *out, struct err *err);

/* Either case. An odd count of digits is ERR_SYNTAX. Appends to out. */
MUST_CHECK enum err_code text_hex_decode(struct slice s, struct buf *out, struct err *err);
void text_hex(const uint8_t *data, size_t len, char *out); /* lower case; out holds 2*len+1 */
/* RFC 4648 section 4 alphabet; padding may be whole or absent; non-zero trailing bits, blanks and
 * other alphabets are refused. Appends to out. */
MUST_CHECK enum err_code text_base64_decode(struct slice s, struct buf *out, struct err *err);
MUST_CHECK enum err_code text_base64(
	struct slice bytes, struct buf *out, struct err *err); /* padded */
/* RFC 4648 section 5 as RFC 7515 uses it: never padded, else as strict. Appends to out. */
MUST_CHECK enum err_code text_base64url_decode(struct slice s, struct buf *out, struct err *err);
MUST_CHECK enum err_code text_base64url(struct slice bytes, struct buf *out, struct err *err);

/* RFC 3339 in full ("2026-11-22T01:02:03.123456789Z", "+02:00"), 'T' and 'Z' in either case.
 * Milliseconds since 1970, rounded down; *out_ns (may be NULL) the nanoseconds within the second.
 */
MUST_CHECK enum err_code text_rfc3339(struct slice s, int64_t *out_ms, struct err *err);
/* As a version reads it (contract section 5): also a blank for the T, and no zone or " UTC", read
 * as UTC. Nanoseconds since 1970, so that two versions in one millisecond stay apart. */
MUST_CHECK enum err_code text_version_time(struct slice s, int64_t *out_ns, struct err *err);
#define TEXT_TIME_LEN 25                                /* "2026-11-22T01:02:03.123Z" and NUL */
void text_time_ms(int64_t ms, char out[TEXT_TIME_LEN]); /* RFC 3339, UTC, milliseconds */
#define TEXT_TIME_NS_LEN 31
void text_time_ns(int64_t ns, char out[TEXT_TIME_NS_LEN]); /* nine digits, UTC */
/* "90s", "15m", "2h", "7d": seconds. */
MUST_CHECK enum err_code text_duration_s(struct slice s, int64_t *out, struct err *err);

/* Shell-like match where only '*' is special (any run of bytes, also none). Linear time. */
bool text_glob(struct slice pattern, struct slice s);
/* Percent-encode all but RFC 3986 unreserved bytes and those in `keep`. */
MUST_CHECK enum err_code text_percent_encode(
	struct slice s, const char *keep, struct buf *out, struct err *err);
/* Decode %XX ('+' as blank where plus_is_blank). ERR_SYNTAX for a broken escape. */
MUST_CHECK enum err_code text_percent_decode(
	struct slice s, bool plus_is_blank, struct buf *out, struct err *err);
/* The first parameter of this name in a query string ("a=1&b=%20"), decoded ('+' is a blank) and
 * appended to out. False: it is not there, or does not decode. */
bool text_query_param(struct slice query, const char *name, struct buf *out);
/* Copy for people: control bytes, quotes and invalid UTF-8 escaped, cut at max bytes.
 * NUL-terminated. */
void text_printable(struct slice s, char *out, size_t max);
bool text_is_utf8(struct slice s);
/* Edit distance, cut off at 4; for "did you mean". */
unsigned text_distance(struct slice a, struct slice b);
