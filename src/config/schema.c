/* schema.c - the option table as a JSON Schema, so that editors complete and underline.
 *
 * It is as strict as one file can tell: what two options mean together stays with the checks. */
#include "config_priv.h"

#include "postern/json.h"

/* Failure sticks in rc, so that the walk reads like what it writes. */
struct writer {
	struct buf *out;
	struct err *err;
	enum err_code rc;
};

static void raw(struct writer *w, const char *text)
{
	if (w->rc == ERR_OK)
		w->rc = buf_put_str(w->out, text, w->err);
}

static void name(struct writer *w, const char *text)
{
	if (w->rc == ERR_OK)
		w->rc = json_put_name(w->out, text, w->err);
}

static void text(struct writer *w, const char *member, const char *value)
{
	if (w->rc == ERR_OK)
		w->rc = json_put_str(w->out, member, slice_str(value), w->err);
}

static void number(struct writer *w, const char *member, int64_t value)
{
	if (w->rc == ERR_OK)
		w->rc = json_put_int(w->out, member, value, w->err);
}

static void element(struct writer *w, const char *value, bool first)
{
	if (!first)
		raw(w, ",");
	if (w->rc == ERR_OK)
		w->rc = json_put_string(w->out, slice_str(value), w->err);
}

static void write_row(struct writer *w, const struct option_row *row);

static void write_required(struct writer *w, const struct option_row *row)
{
	const struct option_row *child = NULL;
	bool first = true;

	while ((child = option_next(row, child))) {
		if (!(child->option.flags & OPTION_REQUIRED))
			continue;
		if (first) {
			name(w, "required");
			raw(w, "[");
		}
		element(w, option_name(child), first);
		first = false;
	}
	if (!first)
		raw(w, "]");
}

static void write_object(struct writer *w, const struct option_row *row)
{
	const struct option_row *child = NULL;

	text(w, "type", "object");
	name(w, "properties");
	raw(w, "{");
	while ((child = option_next(row, child))) {
		if (child->option.type == OPTION_LATER)
			continue;
		name(w, option_name(child));
		raw(w, "{");
		write_row(w, child);
		raw(w, "}");
	}
	raw(w, "}");
	name(w, "patternProperties");
	raw(w, "{\"^//\":{}}");
	name(w, "additionalProperties");
	raw(w, "false");
	write_required(w, row);
}

static void write_many(struct writer *w, const struct option_row *row)
{
	name(w, "oneOf");
	raw(w, "[{");
	write_object(w, row);
	raw(w, "},{\"type\":\"array\",\"minItems\":1,\"items\":{");
	write_object(w, row);
	raw(w, "}}]");
}

static void write_below(struct writer *w, const struct option_row *row, const char *member)
{
	name(w, member);
	raw(w, "{");
	write_row(w, option_child(row, SLICE_EMPTY));
	raw(w, "}");
}

static void write_text(struct writer *w, const struct config_option *option)
{
	text(w, "type", "string");
	if (option->flags & OPTION_PRESET) {
		name(w, "enum");
		raw(w, "[");
		for (size_t i = 0; i < preset_count(); i++)
			element(w, preset_name(i), i == 0);
		raw(w, "]");
	} else if (option->words) {
		name(w, "enum");
		raw(w, "[");
		for (const char *const *word = option->words; *word; word++)
			element(w, *word, word == option->words);
		raw(w, "]");
	} else if (option->min > 0) {
		number(w, "minLength", option->min);
	}
	if (option->type == OPTION_TIME)
		text(w, "format", "date-time");
	if (option->type == OPTION_URL)
		text(w, "pattern", "^[hH][tT][tT][pP][sS]?://[^ #@]+$");
	if (option->type == OPTION_ADDRESS)
		text(w, "pattern", "^[^ ]+:[0-9]{1,5}$");
}

static void write_number(struct writer *w, const struct config_option *option)
{
	text(w, "type", option->type == OPTION_INTEGER ? "integer" : "number");
	number(w, option->flags & OPTION_ABOVE ? "exclusiveMinimum" : "minimum", option->min);
	number(w, "maximum", option->max);
}

static void write_setting(struct writer *w, const struct option_row *row)
{
	name(w, "anyOf");
	raw(w, "[{\"type\":[\"string\",\"number\",\"boolean\"]},{");
	write_object(w, row);
	raw(w, "}]");
}

static void write_type(struct writer *w, const struct option_row *row)
{
	const struct config_option *option = &row->option;

	switch (option->type) {
	case OPTION_OBJECT:
		if (option->flags & OPTION_MANY)
			write_many(w, row);
		else
			write_object(w, row);
		break;
	case OPTION_MAP:
		text(w, "type", "object");
		name(w, "patternProperties");
		raw(w, "{\"^//\":{}}");
		write_below(w, row, "additionalProperties");
		break;
	case OPTION_LIST:
		text(w, "type", "array");
		number(w, "maxItems", option->max);
		write_below(w, row, "items");
		break;
	case OPTION_INTEGER:
	case OPTION_NUMBER: write_number(w, option); break;
	case OPTION_BOOL: text(w, "type", "boolean"); break;
	case OPTION_SETTING: write_setting(w, row); break;
	case OPTION_TEXT:
	case OPTION_WORD:
	case OPTION_PATH:
	case OPTION_ADDRESS:
	case OPTION_URL:
	case OPTION_TIME: write_text(w, option); break;
	case OPTION_SCHEME:
	case OPTION_LATER: break;
	}
}

static void write_row(struct writer *w, const struct option_row *row)
{
	const struct config_option *option = &row->option;

	text(w, "description", option->help);
	if (option->fallback) {
		name(w, "default");
		raw(w, option->fallback);
	}
	write_type(w, row);
}

enum err_code config_schema(struct buf *out, struct err *err)
{
	struct writer w = { .out = out, .err = err, .rc = ERR_OK };

	raw(&w, "{");
	text(&w, "$schema", "https://json-schema.org/draft/2020-12/schema");
	text(&w, "title", "postern.json");
	write_row(&w, option_root());
	raw(&w, "}\n");
	return w.rc;
}
