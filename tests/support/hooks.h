/* hooks.h - sources of every kind for the tests of the ingress, and requests that they accept.
 *
 * Signed by the scheme's own sender side; what the schemes themselves do is tested elsewhere. */
#pragma once

#include "config_files.h"

#include "postern/scheme.h"

#define HOOKS_NOW_MS INT64_C(1793000000000)

/* clang-format off */
#define HOOKS_VERIFY "'verify': {'alg': 'hmac-sha256', 'sig': 'header:X-Signature', 'match': '{hex}'}, 'keys': [{'file': 'keys/a.key'}]"
#define HOOKS_TIMED "'verify': {'alg': 'hmac-sha256', 'sig': 'header:X-Signature', 'match': '{hex}', 'signed': '{time}.{body}', 'time': 'header:X-Time', 'tolerance': 300}, 'keys': [{'file': 'keys/a.key'}]"
#define HOOKS_MAPPING "'id': 'json:/id', 'type': 'json:/type', 'entity': 'acct:{json:/account}', 'version': 'json:/version'"

static const char hooks_config[] =
	"{'admin': {'token_file': 'keys/admin.token'}, 'ingress': {'listen': '127.0.0.1:0', 'max_body_bytes': 4096%s}, 'sources': {"
	"'plain': {" HOOKS_VERIFY ", " HOOKS_MAPPING ", 'tenant': 'acme'},"
	"'rotating': {'verify': {'alg': 'hmac-sha256', 'sig': 'header:X-Signature', 'match': '{hex}'}, 'id': 'json:/id', 'keys': [{'file': 'keys/b.key', 'role': 'next'}, {'file': 'keys/a.key', 'role': 'current', 'kid': 'k1'}]},"
	"'timed': {" HOOKS_TIMED ", " HOOKS_MAPPING "},"
	"'unsigned': {" HOOKS_VERIFY ", 'id': 'header:X-Id', 'type': 'header:X-Type'},"
	"'unsigned-entity': {" HOOKS_VERIFY ", 'id': 'header:X-Id', 'entity': 'json:/account'},"
	"'unsigned-both': {" HOOKS_VERIFY ", 'id': 'header:X-Id', 'entity': 'header:X-Account'},"
	"'kept': {" HOOKS_VERIFY ", 'id': 'json:/id', 'quarantine_refused': true},"
	"'acked': {" HOOKS_VERIFY ", 'id': 'json:/id', 'ack': {'status': 202, 'type': 'text/plain', 'body': '[accepted]'}, 'reject': 403},"
	"'split': {" HOOKS_VERIFY ", 'items': '/all', 'id': 'item:/id', 'gap': ['json:/first', 'json:/last'], 'refetch': true},"
	"'unsigned-timed': {" HOOKS_TIMED ", 'id': 'header:X-Id'},"
	"'once': {" HOOKS_VERIFY ", 'id': 'json:/id', 'nonce': 'json:/id'},"
	"'pings': {" HOOKS_VERIFY ", 'id': 'none'},"
	"'learning': {" HOOKS_VERIFY ", 'id': 'json:/id', 'handshake': [{'when': {'header:X-Hook-Secret': true}, 'learn': 'header:X-Hook-Secret', 'reply': {'status': 204}}]},"
	"'open': {" HOOKS_VERIFY ", 'id': 'json:/id', 'handshake': [{'method': 'GET', 'when': {'query:challenge': true}, 'reply': {'type': 'text/plain', 'body': '{query:challenge}'}}]},"
	"'signed-hello': {" HOOKS_VERIFY ", 'id': 'json:/id', 'handshake': [{'when': {'json:/type': 'hello'}, 'signed': true, 'reply': {'type': 'text/plain', 'body': '{json:/word}'}}]},"
	"'limited': {" HOOKS_VERIFY ", 'id': 'json:/id', 'rate_limit': {'per_second': 0.5, 'burst': 3}}"
	"}}";
/* clang-format on */

/* more: further members of /ingress, as ", 'name': value". */
static inline void hooks_load(struct files *f, const char *more)
{
	static char text[sizeof(hooks_config) + 512];

	(void)snprintf(text, sizeof(text), hooks_config, more);
	for (char *c = text; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	files_must_load(f, text, NULL);
}

static inline struct scheme *hooks_scheme(struct files *f, const char *name)
{
	const struct source_config *source = config_source(f->config, slice_str(name));
	struct scheme *scheme = NULL;

	assert_non_null(source);
	if (scheme_open(source, &scheme, &f->report, &f->err) != ERR_OK) {
		files_print(f);
		fail_msg("%s: %s", name, f->err.text);
	}
	return scheme;
}

/* The headers that make this body acceptable; text of them in signed->text. */
static inline void hooks_sign(const struct scheme *scheme, const char *body, int64_t now_ms,
	bool bad, struct scheme_signed *out)
{
	struct scheme_draft draft = {
		.body = slice_str(body),
		.now_ms = now_ms,
		.bad_signature = bad,
	};
	struct err err = ERR_INIT;

	if (scheme_sign(scheme, &draft, out, &err) != ERR_OK)
		fail_msg("sign: %s", err.text);
}
