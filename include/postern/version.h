/* version.h - the version of an entity: what orders its changes.
 *
 * Signed 64-bit integers or times, never floats; the two kinds never mix within an entity.
 * Threads: pure.
 * Errors:  ERR_SYNTAX, ERR_LIMIT. */
#pragma once

#include "postern/buf.h"

enum version_kind { VERSION_NONE, VERSION_INTEGER, VERSION_TIME };
struct version {
	enum version_kind kind;
	int64_t value; /* integer, or nanoseconds since 1970 */
};
/* "41" (a JSON number passes its raw text) or RFC 3339, as the sender may have written it: also
 * with a blank for the T, and without zone or with " UTC", read as UTC. */
MUST_CHECK enum err_code version_parse(struct slice text, struct version *out, struct err *err);
#define VERSION_TEXT_MAX 40
void version_text(struct version v, char out[VERSION_TEXT_MAX]); /* "" for none */
