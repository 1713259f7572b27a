/* scheme_audit.c - what signatures cover, derived: the table of the guide for the presets that are
 * here, and the forms that presets to come will have. */
#include "support/scheme_lab.h"

#define KEYS "\"keys\": [{\"file\": \"k0\"}]"
#define HMAC "\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:S\", \"match\": "

static const struct {
	const char *source, *key, *binds, *replay, *id, *retries;
	bool weak, entity_is_signed;
} rows[] = {
	{ "\"preset\": \"standard-webhooks\", " KEYS, "aw==", "full", "time", "signed", "patient",
		false, false },
	{ "\"preset\": \"svix\", " KEYS, "aw==", "full", "time", "signed", "patient", false,
		false },
	{ "\"preset\": \"stripe\", " KEYS, "k", "full", "time", "signed", "patient", false, true },
	{ "\"preset\": \"github\", " KEYS, "k", "full", "dedup-only", "UNSIGNED", "none", true,
		true },
	{ "\"preset\": \"slack\", " KEYS, "k", "full", "time", "signed", "short", false, false },
	{ "\"preset\": \"shopify\", " KEYS, "k", "full", "dedup-only", "UNSIGNED", "short", true,
		true },
	{ "\"preset\": \"github\", \"id\": \"sha256:body\", " KEYS, "k", "full", "dedup-only",
		"derived", "none", false, true },
	{ "\"preset\": \"github\", \"id\": [\"json:/id\", \"header:X\"], " KEYS, "k", "full",
		"dedup-only", "UNSIGNED", "none", true, true },
	{ "\"preset\": \"github\", \"id\": \"none\", \"entity\": \"header:E\", " KEYS, "k", "full",
		"dedup-only", "none", "none", false, false },
	{ "\"preset\": \"standard-webhooks\", \"id\": \"header:Other\", " KEYS, "aw==", "full",
		"time", "UNSIGNED", "patient", false, false },
	{ "\"id\": \"json:/id\", " HMAC
	  "\"{hex}\", \"time\": \"json:/t\", \"unit\": \"ms\"}, " KEYS,
		"k", "full", "time", "signed", "short", false, false },
	{ "\"id\": \"json:/id\", " HMAC "\"{hex}\", \"time\": \"header:T\"}, " KEYS, "k", "full",
		"dedup-only", "signed", "short", false, false },
	{ "\"id\": \"json:/id\", " HMAC "\"{hex}\", \"signed\": \"{json:/id}:{json:/n}\"}, " KEYS,
		"k", "fields", "dedup-only", "signed", "short", true, false },
	{ "\"id\": \"json:/id\", " HMAC "\"{hex}\", \"time\": \"json:/t\", \"signed\": "
	  "\"{json:/t}.{header:X}\"}, " KEYS,
		"k", "none", "time", "UNSIGNED", "short", true, false },
	{ "\"id\": \"header:X\", " HMAC
	  "\"{hex}\", \"signed\": \"{header:x}|{crc32(body)}\"}, " KEYS,
		"k", "crc32", "dedup-only", "signed", "short", true, false },
	{ "\"id\": \"header:X\", " HMAC
	  "\"{hex}\", \"signed\": [\"{header:x}{body}\", \"{body}\"]}, " KEYS,
		"k", "full", "dedup-only", "UNSIGNED", "short", true, false },
	{ "\"id\": \"header:X\", " HMAC
	  "\"{hex}\", \"signed\": [\"{body}\", \"{header:X}\"]}, " KEYS,
		"k", "none", "dedup-only", "UNSIGNED", "short", true, false },
	{ "\"id\": \"query:i\", \"public_url\": \"https://h\", " HMAC "\"{hex}\", \"signed\": "
	  "\"{url}\", \"require\": [[\"query:d\", \"{sha256hex(body)}\"]]}, " KEYS,
		"k", "full", "dedup-only", "signed", "short", false, false },
	{ "\"id\": \"json:/id\", \"retries\": \"patient\", \"verify\": {\"alg\": \"none\"}", "k",
		"none", "dedup-only", "UNSIGNED", "patient", true, false },
	{ "\"id\": \"sha256:body\", \"verify\": {\"alg\": \"none\"}", "k", "none", "dedup-only",
		"derived", "short", true, false },
	{ "\"id\": \"cap:i\", " HMAC "\"{hex}.{i}\"}, " KEYS, "k", "full", "dedup-only", "UNSIGNED",
		"short", true, false },
	{ "\"id\": \"{cap:i}-{method}\", " HMAC "\"{hex}.{i}\", \"signed\": "
	  "\"{cap:i}{method}{body}\"}, " KEYS,
		"k", "full", "dedup-only", "signed", "short", false, false },
};

static void coverage_follows_from_the_scheme(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *const keys[] = { rows[i].key, NULL };
		struct scheme_audit audit;
		struct lab lab;

		lab_open(&lab, rows[i].source, keys);
		scheme_audit(lab.scheme, &audit);
		if (strcmp(audit.binds, rows[i].binds) != 0 || strcmp(audit.id, rows[i].id) != 0)
			print_error("row %zu: %s %s\n", i, audit.binds, audit.id);
		assert_string_equal(audit.binds, rows[i].binds);
		assert_string_equal(audit.replay, rows[i].replay);
		assert_string_equal(audit.id, rows[i].id);
		assert_string_equal(audit.retries, rows[i].retries);
		assert_int_equal(audit.weak, rows[i].weak);
		assert_int_equal(scheme_has_time(lab.scheme), strcmp(audit.replay, "time") == 0);
		assert_int_equal(scheme_id_is_signed(lab.scheme),
			strcmp(audit.id, "signed") == 0 || strcmp(audit.id, "derived") == 0);
		assert_int_equal(scheme_entity_is_signed(lab.scheme), rows[i].entity_is_signed);
		lab_close(&lab);
	}
}

static void headers_that_are_read_are_kept_and_signatures_hidden(void **state)
{
	static const struct {
		const char *name;
		bool kept, hidden;
	} names[] = {
		{ "webhook-id", true, false },
		{ "Webhook-Timestamp", true, false },
		{ "WEBHOOK-SIGNATURE", true, true },
		{ "X-Entity", true, false },
		{ "Authorization", false, true },
		{ "cookie", false, true },
		{ "User-Agent", false, false },
	};
	struct lab lab;

	(void)state;
	lab_open(&lab,
		"\"preset\": \"standard-webhooks\", \"entity\": [\"x:{header:x-entity}\", "
		"\"header:authorization\"], " KEYS,
		(const char *const[]){ "aw==", NULL });
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		assert_int_equal(
			scheme_keeps_header(lab.scheme, slice_str(names[i].name)), names[i].kept);
		assert_int_equal(
			scheme_hides_header(lab.scheme, slice_str(names[i].name)), names[i].hidden);
	}
	assert_string_equal(scheme_key_fingerprint(lab.scheme, 0), "8254c329");
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(coverage_follows_from_the_scheme),
		cmocka_unit_test(headers_that_are_read_are_kept_and_signatures_hidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
