/* event_record.c - events into header blocks and back, keys and identities, marks and dead letters.
 */
#include "postern/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const struct header kept[] = {
	{ SLICE_LIT("X-Signature"), SLICE_LIT("abc") },
	{ SLICE_LIT("X-Signature"), SLICE_LIT("def") },
	{ SLICE_LIT("x-time"), SLICE_LIT("17") },
};

static struct event whole_event(void)
{
	return (struct event){
		.id = SLICE_LIT("evt_1"),
		.source = SLICE_LIT("billing"),
		.tenant = SLICE_LIT("acme"),
		.type = SLICE_LIT("invoice.paid"),
		.entity = SLICE_LIT("account:1"),
		.version = { VERSION_INTEGER, 41 },
		.base = SLICE_LIT("40"),
		.time_ms = 1763773312123,
		.received_ms = 1763773312456,
		.content_type = SLICE_LIT("application/json"),
		.traceparent = SLICE_LIT("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
		.request_id = SLICE_LIT("req-1"),
		.key_used = SLICE_LIT("current:1a2b3c4d"),
		.digest = SLICE_LIT(DIGEST),
		.replay = SLICE_LIT(DIGEST),
		.quarantine = SLICE_LIT("MALFORMED_BODY"),
		.redrive = SLICE_LIT("12"),
		.attempt = { 0xde, 0xad, 0xbe, 0xef, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255 },
		.kept = kept,
		.kept_count = ARRAY_LEN(kept),
	};
}

static void must_encode(const struct event *event, struct buf *out)
{
	struct err err = ERR_INIT;

	if (event_encode(event, out, &err) != ERR_OK)
		fail_msg("%s", err.text);
}

static struct slice value_of(struct slice block, const char *name)
{
	struct header header;
	size_t at = 0;

	while (event_header_next(block, &at, &header)) {
		if (slice_eq_str(header.name, name))
			return header.value;
	}
	return SLICE_EMPTY;
}

static void all_members_come_back(void **state)
{
	struct event in = whole_event(), out;
	struct buf block = BUF_INIT(EVENT_HEADERS_MAX);
	struct err err = ERR_INIT;

	(void)state;
	must_encode(&in, &block);
	assert_int_equal(event_decode(buf_slice(&block), &out, &err), ERR_OK);
	assert_true(slice_eq(in.id, out.id) && slice_eq(in.source, out.source));
	assert_true(slice_eq(in.tenant, out.tenant) && slice_eq(in.type, out.type));
	assert_true(slice_eq(in.entity, out.entity) && slice_eq(in.base, out.base));
	assert_true(out.version.kind == VERSION_INTEGER && out.version.value == 41);
	assert_true(in.time_ms == out.time_ms && in.received_ms == out.received_ms);
	assert_true(slice_eq(in.content_type, out.content_type));
	assert_true(slice_eq(in.traceparent, out.traceparent));
	assert_true(slice_eq(in.request_id, out.request_id));
	assert_true(slice_eq(in.key_used, out.key_used));
	assert_true(slice_eq(in.digest, out.digest) && slice_eq(in.replay, out.replay));
	assert_true(slice_eq(in.quarantine, out.quarantine) && slice_eq(in.redrive, out.redrive));
	assert_memory_equal(in.attempt, out.attempt, ATTEMPT_LEN);
	assert_int_equal(out.dlq_reason.len, 0);
	buf_done(&block);
}

static void headers_have_the_names_of_the_contract(void **state)
{
	static const struct {
		const char *name, *value;
	} rows[] = {
		{ "ce_specversion", "1.0" },
		{ "ce_id", "evt_1" },
		{ "ce_source", "/acme/billing" },
		{ "ce_type", "invoice.paid" },
		{ "ce_time", "2025-11-22T01:01:52.123Z" },
		{ "ce_subject", "account:1" },
		{ "content-type", "application/json" },
		{ "postern-source", "billing" },
		{ "postern-tenant", "acme" },
		{ "postern-request-id", "req-1" },
		{ "postern-received", "2025-11-22T01:01:52.456Z" },
		{ "postern-version", "41" },
		{ "postern-base", "40" },
		{ "postern-key", "current:1a2b3c4d" },
		{ "postern-digest", DIGEST },
		{ "postern-replay", DIGEST },
		{ "postern-quarantine", "MALFORMED_BODY" },
		{ "postern-redrive", "12" },
		{ "postern-attempt", "deadbeef000102030405060708090aff" },
		{ "postern-h-x-signature", "abc" },
		{ "postern-h-x-time", "17" },
	};
	struct event event = whole_event();
	struct buf block = BUF_INIT(EVENT_HEADERS_MAX);

	(void)state;
	must_encode(&event, &block);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!slice_eq_str(value_of(buf_slice(&block), rows[i].name), rows[i].value))
			fail_msg("%s", rows[i].name);
	}
	buf_done(&block);
}

static void what_is_absent_has_no_header(void **state)
{
	static const char *const names[] = { "ce_subject", "postern-version", "postern-base",
		"postern-replay", "postern-quarantine", "postern-redrive", "traceparent" };
	struct event in = { .id = SLICE_LIT("1"), .source = SLICE_LIT("s") }, out;
	struct buf block = BUF_INIT(EVENT_HEADERS_MAX);
	struct err err = ERR_INIT;

	(void)state;
	must_encode(&in, &block);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_null(value_of(buf_slice(&block), names[i]).data);
	assert_true(slice_eq_str(value_of(buf_slice(&block), "ce_type"), "s"));
	assert_true(slice_eq_str(value_of(buf_slice(&block), "ce_source"), "/s"));
	assert_int_equal(event_decode(buf_slice(&block), &out, &err), ERR_OK);
	assert_true(out.version.kind == VERSION_NONE && out.entity.len == 0);
	buf_done(&block);
}

static void kept_headers_are_walked_by_their_old_names(void **state)
{
	struct event event = whole_event();
	struct buf block = BUF_INIT(EVENT_HEADERS_MAX);
	struct header header;
	size_t at = 0, count = 0;

	(void)state;
	must_encode(&event, &block);
	while (event_kept_next(buf_slice(&block), &at, &header)) {
		assert_true(slice_eq_nocase(header.name, kept[count].name));
		assert_true(slice_eq(header.value, kept[count].value));
		count++;
	}
	assert_int_equal(count, ARRAY_LEN(kept));
	buf_done(&block);
}

static void limits_hold_at_and_one_past(void **state)
{
	static uint8_t bytes[EVENT_HEADERS_MAX];
	struct buf block = BUF_INIT(2 * EVENT_HEADERS_MAX);
	struct slice *members[5];
	struct event event;

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	members[0] = &event.id;
	members[1] = &event.type;
	members[2] = &event.entity;
	members[3] = &event.base;
	members[4] = &event.content_type;
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		size_t limit = i == 4 ? EVENT_HEADERS_MAX : EVENT_ID_MAX;
		struct err err = ERR_INIT;

		event = whole_event();
		if (i < 4) {
			*members[i] = (struct slice){ bytes, limit };
			assert_int_equal(event_encode(&event, &block, &err), ERR_OK);
			buf_reset(&block);
		}
		*members[i] = (struct slice){ bytes, limit + (i < 4) };
		assert_int_equal(event_encode(&event, &block, &err), ERR_LIMIT);
		assert_int_equal(block.len, 0);
	}
	buf_done(&block);
}

static void too_many_kept_headers_are_refused(void **state)
{
	static struct header many[EVENT_HEADER_COUNT_MAX];
	struct event event = whole_event();
	struct buf block = BUF_INIT(EVENT_HEADERS_MAX);
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (struct header){ SLICE_LIT("a"), SLICE_LIT("b") };
	event.kept = many;
	event.kept_count = 64; /* as many as a request may have */
	assert_int_equal(event_encode(&event, &block, &err), ERR_OK);
	buf_reset(&block);
	event.kept_count = ARRAY_LEN(many);
	assert_int_equal(event_encode(&event, &block, &err), ERR_LIMIT);
	assert_int_equal(block.len, 0);
	buf_done(&block);
}

static void put_header(struct buf *block, const char *name, const char *value)
{
	struct err err = ERR_INIT;

	if (block->len == 0)
		assert_int_equal(buf_put_u16(block, 0, &err), ERR_OK);
	put_le16(block->data, (uint16_t)(get_le16(block->data) + 1));
	assert_int_equal(buf_put_u16(block, (uint16_t)strlen(name), &err), ERR_OK);
	assert_int_equal(buf_put_str(block, name, &err), ERR_OK);
	assert_int_equal(buf_put_sized(block, slice_str(value), &err), ERR_OK);
}

static void decoding_is_strict(void **state)
{
	static const struct {
		const char *name, *value;
		enum err_code want;
	} rows[] = {
		{ "x-unknown", "anything", ERR_OK },
		{ "postern-h-a", "", ERR_OK },
		{ "ce_id", "again", ERR_SYNTAX },
		{ "ce_time", "yesterday", ERR_SYNTAX },
		{ "postern-received", "", ERR_SYNTAX },
		{ "postern-version", "1.5", ERR_SYNTAX },
		{ "postern-version", "2026-11-22 01:02:03", ERR_OK },
		{ "postern-digest", "00", ERR_SYNTAX },
		{ "postern-digest", DIGEST, ERR_OK },
		{ "postern-attempt", "deadbeef", ERR_SYNTAX },
		{ "postern-attempt", "DEADBEEF000102030405060708090AFF", ERR_SYNTAX },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf block = BUF_INIT(EVENT_HEADERS_MAX);
		struct event out = { .id = SLICE_LIT("untouched") };
		struct err err = ERR_INIT;

		put_header(&block, "ce_specversion", "1.0");
		put_header(&block, "ce_id", "1");
		put_header(&block, "postern-source", "s");
		put_header(&block, rows[i].name, rows[i].value);
		if (event_decode(buf_slice(&block), &out, &err) != rows[i].want)
			fail_msg("%s: %s", rows[i].name, rows[i].value);
		assert_true(slice_eq_str(out.id, rows[i].want == ERR_OK ? "1" : "untouched"));
		buf_done(&block);
	}
}

static void broken_blocks_are_refused(void **state)
{
	struct event event = whole_event(), out;
	struct buf block = BUF_INIT(EVENT_HEADERS_MAX), marked = BUF_INIT(EVENT_HEADERS_MAX);
	struct dead_letter dead = { .attempts = 1 };
	struct err err;

	(void)state;
	must_encode(&event, &block);
	for (size_t len = 0; len < block.len; len++) { /* cut at every byte */
		struct slice cut = { block.data, len };

		err = ERR_INIT;
		assert_int_equal(event_decode(cut, &out, &err), ERR_SYNTAX);
		assert_int_equal(event_dead_letter(cut, &dead, &marked, &err), ERR_SYNTAX);
		assert_int_equal(marked.len, 0);
	}
	put_le16(block.data, (uint16_t)(get_le16(block.data) - 1)); /* one more than it says */
	err = ERR_INIT;
	assert_int_equal(event_decode(buf_slice(&block), &out, &err), ERR_SYNTAX);
	buf_done(&block);
	buf_done(&marked);
}

static void each_of_the_needed_headers_is_missed(void **state)
{
	static const char *const needed[] = { "ce_specversion", "ce_id", "postern-source" };

	(void)state;
	for (size_t missing = 0; missing < ARRAY_LEN(needed); missing++) {
		struct buf block = BUF_INIT(EVENT_HEADERS_MAX);
		struct err err = ERR_INIT;
		struct event out;

		for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
			if (i != missing)
				put_header(&block, needed[i], i == 0 ? "1.0" : "x");
		}
		assert_int_equal(event_decode(buf_slice(&block), &out, &err), ERR_SYNTAX);
		buf_done(&block);
	}
}

static void keys_and_subjects(void **state)
{
	static const struct {
		const char *entity, *replay;
		bool by_replay;
		struct slice key, subject;
	} rows[] = {
		{ "e", "", false, SLICE_LIT("t/e"), SLICE_LIT("t\0e") },
		{ "", "", false, SLICE_LIT("t/i"), SLICE_LIT("t\0s\0i") },
		{ "e", "r", true, SLICE_LIT("t/r"), SLICE_LIT("t\0e") },
		{ "", "r", false, SLICE_LIT("t/i"), SLICE_LIT("t\0s\0i") },
		{ "", "", true, SLICE_LIT("t/i"), SLICE_LIT("t\0s\0i") },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct event event = { .id = SLICE_LIT("i"),
			.source = SLICE_LIT("s"),
			.tenant = SLICE_LIT("t"),
			.entity = slice_str(rows[i].entity),
			.replay = slice_str(rows[i].replay) };
		struct buf key = BUF_INIT(100), subject = BUF_INIT(100);
		struct err err = ERR_INIT;

		assert_int_equal(event_key(&event, rows[i].by_replay, &key, &err), ERR_OK);
		assert_true(slice_eq(buf_slice(&key), rows[i].key));
		assert_int_equal(event_subject(&event, &subject, &err), ERR_OK);
		assert_true(slice_eq(buf_slice(&subject), rows[i].subject));
		buf_done(&key);
		buf_done(&subject);
	}
}

static void identities_cannot_be_shifted_between_fields(void **state)
{
	struct event a = { .tenant = SLICE_LIT("ab"),
		.source = SLICE_LIT("c"),
		.id = SLICE_LIT("d"),
		.replay = SLICE_LIT("d") };
	struct event b = { .tenant = SLICE_LIT("a"),
		.source = SLICE_LIT("bc"),
		.id = SLICE_LIT("d"),
		.replay = SLICE_LIT("d") };
	struct buf of_a = BUF_INIT(100), of_b = BUF_INIT(100), replay = BUF_INIT(100);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(event_identity(&a, &of_a, &err), ERR_OK);
	assert_int_equal(event_identity(&b, &of_b, &err), ERR_OK);
	assert_int_equal(event_replay_identity(&a, &replay, &err), ERR_OK);
	assert_true(slice_eq(buf_slice(&of_a), SLICE_LIT("\2\0\0\0ab\1\0\0\0c\1\0\0\0d")));
	assert_false(slice_eq(buf_slice(&of_a), buf_slice(&of_b)));
	assert_false(slice_eq(buf_slice(&of_a), buf_slice(&replay)));
	buf_done(&of_a);
	buf_done(&of_b);
	buf_done(&replay);
}

static void a_dead_letter_keeps_the_original_and_replaces_what_it_adds(void **state)
{
	static char long_error[2000];
	struct event event = whole_event(), out;
	struct buf block = BUF_INIT(EVENT_HEADERS_MAX), once = BUF_INIT(EVENT_HEADERS_MAX),
		   twice = BUF_INIT(EVENT_HEADERS_MAX);
	struct dead_letter dead = { .reason = SLICE_LIT("HANDLER_REFUSED"),
		.route = SLICE_LIT("ci"),
		.attempts = 20,
		.topic = SLICE_LIT("events"),
		.partition = 0,
		.offset = 77,
		.first_failed_ms = 1000,
		.last_failed_ms = 2000 };
	struct err err = ERR_INIT;

	(void)state;
	memset(long_error, 'e', sizeof(long_error) - 1);
	long_error[DEAD_ERROR_MAX - 1] = (char)0xc3; /* a character across the cut */
	long_error[DEAD_ERROR_MAX] = (char)0xa4;
	dead.error = slice_str(long_error);
	must_encode(&event, &block);
	assert_int_equal(event_dead_letter(buf_slice(&block), &dead, &once, &err), ERR_OK);
	assert_int_equal(event_decode(buf_slice(&once), &out, &err), ERR_OK);
	assert_true(slice_eq(out.id, event.id) && slice_eq_str(out.dlq_reason, "HANDLER_REFUSED"));
	assert_true(slice_eq_str(out.dlq_route, "ci") && slice_eq_str(out.dlq_attempts, "20"));
	assert_true(slice_eq_str(out.dlq_offset, "77"));
	assert_true(slice_eq_str(out.dlq_first_failed, "1970-01-01T00:00:01.000Z"));
	assert_true(slice_eq_str(out.dlq_last_failed, "1970-01-01T00:00:02.000Z"));
	assert_int_equal(out.dlq_error.len, DEAD_ERROR_MAX - 1);
	assert_true(slice_eq_str(value_of(buf_slice(&once), "postern-dlq-topic"), "events"));
	assert_true(slice_eq_str(value_of(buf_slice(&once), "postern-dlq-partition"), "0"));
	/* Everything of the original stands where it stood. */
	assert_memory_equal(once.data + 2, block.data + 2, block.len - 2);

	dead.reason = SLICE_LIT("AGE_EXHAUSTED");
	assert_int_equal(event_dead_letter(buf_slice(&once), &dead, &twice, &err), ERR_OK);
	assert_int_equal(twice.len, once.len - 2);
	assert_int_equal(event_decode(buf_slice(&twice), &out, &err), ERR_OK);
	assert_true(slice_eq_str(out.dlq_reason, "AGE_EXHAUSTED"));
	buf_done(&block);
	buf_done(&once);
	buf_done(&twice);
}

static void the_largest_block_still_takes_a_dead_letter_and_marks(void **state)
{
	static uint8_t bytes[EVENT_HEADERS_MAX];
	struct header filler = { SLICE_LIT("x"), { bytes, 0 } };
	struct event event = whole_event();
	struct buf block = BUF_INIT(EVENT_HEADERS_MAX), dead_block = BUF_INIT(EVENT_HEADERS_MAX),
		   marked = BUF_INIT(EVENT_HEADERS_MAX);
	struct dead_letter dead = { .error = { bytes, sizeof(bytes) } };
	struct err err = ERR_INIT;

	(void)state;
	memset(bytes, 'e', sizeof(bytes));
	event.kept = &filler;
	event.kept_count = 1;
	filler.value.len = sizeof(bytes);
	while (event_encode(&event, &block, &err) == ERR_LIMIT)
		filler.value.len--;
	err = ERR_INIT;
	assert_int_equal(event_dead_letter(buf_slice(&block), &dead, &dead_block, &err), ERR_OK);
	assert_int_equal(event_with_mark(buf_slice(&dead_block), EVENT_MARK_REDRIVE,
				 SLICE_LIT("12345678901234567890"), &marked, &err),
		ERR_OK);
	buf_done(&block);
	buf_done(&dead_block);
	buf_done(&marked);
}

static void marks_are_set_and_taken_away(void **state)
{
	struct event event = whole_event(), out;
	struct buf block = BUF_INIT(EVENT_HEADERS_MAX), without = BUF_INIT(EVENT_HEADERS_MAX),
		   with = BUF_INIT(EVENT_HEADERS_MAX);
	struct err err = ERR_INIT;

	(void)state;
	must_encode(&event, &block);
	assert_int_equal(event_with_mark(buf_slice(&block), EVENT_MARK_QUARANTINE, SLICE_EMPTY,
				 &without, &err),
		ERR_OK);
	assert_int_equal(event_decode(buf_slice(&without), &out, &err), ERR_OK);
	assert_true(out.quarantine.len == 0 && slice_eq_str(out.redrive, "12"));
	assert_int_equal(event_with_mark(buf_slice(&without), EVENT_MARK_REDRIVE, SLICE_LIT("13"),
				 &with, &err),
		ERR_OK);
	assert_int_equal(event_decode(buf_slice(&with), &out, &err), ERR_OK);
	assert_true(slice_eq_str(out.redrive, "13"));
	buf_done(&block);
	buf_done(&without);
	buf_done(&with);
}

static void a_block_is_an_object_with_each_name_once(void **state)
{
	struct buf block = BUF_INIT(1000), json = BUF_INIT(1000);
	struct err err = ERR_INIT;

	(void)state;
	put_header(&block, "a", "1");
	put_header(&block, "b", "\"");
	put_header(&block, "a", "2");
	put_header(&block, "c", "");
	assert_int_equal(event_headers_json(buf_slice(&block), &json, &err), ERR_OK);
	assert_string_equal(buf_str(&json), "{\"a\":\"1, 2\",\"b\":\"\\\"\",\"c\":\"\"}");
	buf_done(&block);
	buf_done(&json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_members_come_back),
		cmocka_unit_test(headers_have_the_names_of_the_contract),
		cmocka_unit_test(what_is_absent_has_no_header),
		cmocka_unit_test(kept_headers_are_walked_by_their_old_names),
		cmocka_unit_test(limits_hold_at_and_one_past),
		cmocka_unit_test(too_many_kept_headers_are_refused),
		cmocka_unit_test(decoding_is_strict),
		cmocka_unit_test(broken_blocks_are_refused),
		cmocka_unit_test(each_of_the_needed_headers_is_missed),
		cmocka_unit_test(keys_and_subjects),
		cmocka_unit_test(identities_cannot_be_shifted_between_fields),
		cmocka_unit_test(a_dead_letter_keeps_the_original_and_replaces_what_it_adds),
		cmocka_unit_test(the_largest_block_still_takes_a_dead_letter_and_marks),
		cmocka_unit_test(marks_are_set_and_taken_away),
		cmocka_unit_test(a_block_is_an_object_with_each_name_once),
	};

	return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
