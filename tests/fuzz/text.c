/* text.c - the strict readers of text: whatever they accept has one canonical form, and back again.
 *
 * The first byte chooses the reader; the rest is its text. */
#include "postern/text.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_LIMIT MIB(4)

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

static void check_base64(struct slice s)
{
	struct buf bytes = BUF_INIT(TEXT_LIMIT), text = BUF_INIT(TEXT_LIMIT);
	struct err err = ERR_INIT;
	enum err_code rc = text_base64_decode(s, &bytes, &err);

	must(rc == err.code, "result and report agree");
	must(rc == ERR_OK || bytes.len == 0, "all of it, or nothing");
	if (rc == ERR_OK) {
		must(text_base64(buf_slice(&bytes), &text, NULL) == ERR_OK, "encodes");
		/* Only the padding may be missing. */
		must(slice_starts(buf_slice(&text), s), "one form");
		must(text.len == s.len || text.len == (s.len + 3) / 4 * 4, "whole padding");
	}
	buf_done(&bytes);
	buf_done(&text);
}

static void check_hex(struct slice s)
{
	struct buf bytes = BUF_INIT(TEXT_LIMIT);
	char *text;

	if (text_hex_decode(s, &bytes, NULL) == ERR_OK) {
		must(bytes.len * 2 == s.len, "all of it");
		text = malloc(s.len + 1);
		must(text != NULL, "memory");
		text_hex(bytes.data, bytes.len, text);
		must(slice_eq_nocase(slice_str(text), s), "the same digits");
		free(text);
	} else {
		must(bytes.len == 0, "nothing");
	}
	buf_done(&bytes);
}

static void check_percent(struct slice s)
{
	struct buf text = BUF_INIT(TEXT_LIMIT), bytes = BUF_INIT(TEXT_LIMIT);

	must(text_percent_encode(s, "/", &text, NULL) == ERR_OK, "encodes");
	must(text_percent_decode(buf_slice(&text), false, &bytes, NULL) == ERR_OK, "decodes");
	must(slice_eq(buf_slice(&bytes), s), "the same bytes");
	buf_reset(&bytes);
	if (text_percent_decode(s, true, &bytes, NULL) == ERR_OK)
		must(bytes.len <= s.len, "never longer");
	else
		must(bytes.len == 0, "nothing");
	buf_done(&text);
	buf_done(&bytes);
}

static void check_time(struct slice s)
{
	char text[TEXT_TIME_LEN], fine[TEXT_TIME_NS_LEN];
	int64_t ms, ns, again;
	enum err_code rc = text_rfc3339(s, &ms, NULL);

	if (rc == ERR_OK) {
		text_time_ms(ms, text);
		/* Near both ends of the calendar the zone may lead outside of four-digit years. */
		must(text_rfc3339(slice_str(text), &again, NULL) == ERR_OK, "readable");
		must(again == ms || s.data[0] == '0' || s.data[0] == '9', "the same time");
	}
	if (text_version_time(s, &ns, NULL) == ERR_OK) {
		text_time_ns(ns, fine);
		must(text_version_time(slice_str(fine), &again, NULL) == ERR_OK, "readable");
		must(again == ns, "the same version");
		must(rc != ERR_OK || (ns < 0 ? (ns + 1) / 1000000 - 1 : ns / 1000000) == ms,
			"both readers agree");
	} else {
		must(rc != ERR_OK || ms >= 9223372036854 || ms <= -9223372036855,
			"loose is looser");
	}
}

static void check_number(struct slice s)
{
	struct buf text = BUF_INIT(64);
	uint64_t u = 0;
	int64_t i = 0, seconds = 0;
	enum err_code unsigned_rc = text_u64(s, &u, NULL), signed_rc = text_i64(s, &i, NULL);

	if (unsigned_rc == ERR_OK && u <= INT64_MAX)
		must(signed_rc == ERR_OK && (uint64_t)i == u, "signed reads what unsigned reads");
	if (signed_rc == ERR_OK && s.data[0] != '0' && s.data[0] != '-') {
		must(buf_putf(&text, NULL, "%lld", (long long)i) == ERR_OK, "writes");
		must(slice_eq(buf_slice(&text), s), "the same digits");
	}
	if (text_duration_s(s, &seconds, NULL) == ERR_OK)
		must(seconds >= 0, "no time runs backwards");
	buf_done(&text);
}

static bool slow_glob(struct slice pattern, struct slice s)
{
	if (pattern.len == 0)
		return s.len == 0;
	if (pattern.data[0] == '*') {
		for (size_t i = 0; i <= s.len; i++) {
			if (slow_glob(slice_sub(pattern, 1, pattern.len), slice_sub(s, i, s.len)))
				return true;
		}
		return false;
	}
	return s.len > 0 && s.data[0] == pattern.data[0] &&
	       slow_glob(slice_sub(pattern, 1, pattern.len), slice_sub(s, 1, s.len));
}

/* Pattern and text, a newline in between. */
static void check_glob(struct slice s)
{
	size_t cut = slice_find(s, '\n');
	struct slice pattern = slice_sub(s, 0, cut), text = slice_sub(s, cut + 1, s.len);

	if (pattern.len > 12 || text.len > 16)
		return;
	must(text_glob(pattern, text) == slow_glob(pattern, text), "the same as by trying all");
	must(text_distance(pattern, text) == text_distance(text, pattern), "as far back");
	must((text_distance(pattern, text) == 0) == slice_eq(pattern, text), "0 means equal");
}

static void check_printable(struct slice s)
{
	char out[64];

	text_printable(s, out, sizeof(out));
	must(text_is_utf8(slice_str(out)), "people get UTF-8");
	for (const char *c = out; *c; c++)
		must((unsigned char)*c >= 0x20 && *c != 0x7f, "no controls");
	for (size_t i = 0; i < strlen(out); i++)
		must(out[i] != '"' || (i > 0 && out[i - 1] == '\\'), "no bare quotes");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const checks[])(struct slice s) = { check_base64, check_hex, check_percent,
		check_time, check_number, check_glob, check_printable };
	char *copy;

	if (size == 0 || size > KIB(64))
		return 0;
	/* Of its exact size, so that a byte read past the end is noticed. */
	copy = malloc(size);
	must(copy != NULL, "memory");
	memcpy(copy, data + 1, size - 1);
	checks[data[0] % ARRAY_LEN(checks)]((struct slice){ (uint8_t *)copy, size - 1 });
	free(copy);
	return 0;
}

#include "replay_main.inc"
