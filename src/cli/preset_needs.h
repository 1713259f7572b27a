/* preset_needs.h - what a source of a preset needs besides the preset, and fresh secrets for it.
 * Private to this room. */
#pragma once

#include "postern/buf.h"

#define NEEDS_SECRETS_MAX 4
#define NEEDS_NAME_MAX 64
#define NEEDS_TEXT_MAX 2048 /* of a key */

enum key_kind {
	KEY_NONE,   /* requests are not signed, or by a certificate that is fetched */
	KEY_SECRET, /* both sides have it: a fresh one is as good as any */
	KEY_PUBLIC  /* the sender's: a fresh one only holds its place */
};
struct preset_needs {
	enum key_kind key;
	bool public_url; /* the URL is signed */
	bool learns;     /* its sender tells the key itself */
	/* Names of the source's secrets. */
	char secrets[NEEDS_SECRETS_MAX][NEEDS_NAME_MAX];
	size_t secret_count;
};
MUST_CHECK enum err_code preset_needs_of(
	const char *preset, struct preset_needs *out, struct err *err);
/* A fresh key as the preset wants it written, NUL-terminated. The caller wipes it. */
MUST_CHECK enum err_code preset_make_key(
	const char *preset, char out[NEEDS_TEXT_MAX], struct err *err);
