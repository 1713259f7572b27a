/* version.c - reading and writing the version of an entity.
 *
 * Deliberately not here: comparing versions. Which of two versions wins is a rule of the route, and
 * belongs to whoever decides. */
#include "postern/version.h"

#include <inttypes.h>
#include <stdio.h>

#include "postern/text.h"

static bool is_number(struct slice text)
{
	size_t first = text.len > 0 && text.data[0] == '-' ? 1 : 0;

	for (size_t i = first; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
	}
	return text.len > first;
}

enum err_code version_parse(struct slice text, struct version *out, struct err *err)
{
	enum version_kind kind = is_number(text) ? VERSION_INTEGER : VERSION_TIME;
	int64_t value;
	enum err_code rc;

	rc = kind == VERSION_INTEGER ? text_i64(text, &value, err)
				     : text_version_time(text, &value, err);
	if (rc != ERR_OK)
		return rc;
	*out = (struct version){ .kind = kind, .value = value };
	return ERR_OK;
}

void version_text(struct version v, char out[VERSION_TEXT_MAX])
{
	out[0] = '\0';
	switch (v.kind) {
	case VERSION_NONE: break;
	case VERSION_INTEGER: (void)snprintf(out, VERSION_TEXT_MAX, "%" PRId64, v.value); break;
	case VERSION_TIME: text_time_ns(v.value, out); break;
	}
}
