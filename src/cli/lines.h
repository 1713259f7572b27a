/* lines.h - writing one JSON object without an error check a member: the first failure sticks in
 * err. */
#pragma once

#include "postern/buf.h"

struct line {
	struct buf *out;
	struct err *err;
};
void line_begin(struct line *line);
void line_end(struct line *line);
/* An empty text is null. */
void line_text(struct line *line, const char *name, struct slice value);
void line_str(struct line *line, const char *name, const char *value);
void line_int(struct line *line, const char *name, int64_t value);
void line_bool(struct line *line, const char *name, bool value);
void line_null(struct line *line, const char *name);
/* RFC 3339 in UTC; 0 is null. */
void line_time(struct line *line, const char *name, int64_t ms);
void line_raw(struct line *line, const char *name, struct slice json);
