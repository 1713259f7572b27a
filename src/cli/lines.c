/* lines.c - a thin coat over json_put_*: see lines.h. */
#include "lines.h"

#include "postern/json.h"
#include "postern/text.h"

void line_begin(struct line *line)
{
	bool follows = line->out->len && line->out->data[line->out->len - 1] == '}';

	err_ignored(buf_put_str(line->out, follows ? ",{" : "{", line->err));
}

void line_end(struct line *line)
{
	err_ignored(buf_put_str(line->out, "}", line->err));
}

void line_text(struct line *line, const char *name, struct slice value)
{
	if (value.len == 0)
		line_null(line, name);
	else
		err_ignored(json_put_str(line->out, name, value, line->err));
}

void line_str(struct line *line, const char *name, const char *value)
{
	line_text(line, name, slice_str(value));
}

void line_int(struct line *line, const char *name, int64_t value)
{
	err_ignored(json_put_int(line->out, name, value, line->err));
}

void line_bool(struct line *line, const char *name, bool value)
{
	err_ignored(json_put_bool(line->out, name, value, line->err));
}

void line_null(struct line *line, const char *name)
{
	line_raw(line, name, SLICE_LIT("null"));
}

void line_time(struct line *line, const char *name, int64_t ms)
{
	char text[TEXT_TIME_LEN];

	if (ms == 0) {
		line_null(line, name);
		return;
	}
	text_time_ms(ms, text);
	line_str(line, name, text);
}

void line_raw(struct line *line, const char *name, struct slice json)
{
	err_ignored(json_put_raw(line->out, name, json, line->err));
}
