/* show.c - the effective config for people and tools: whole, one place explained, two compared.
 *
 * What is shown is a valid config again, with the same meaning. Secrets cannot be in it: a config
 * holds references only. */
#include "config_priv.h"

#include "postern/json.h"

enum err_code config_show(const struct config *config, struct buf *out, struct err *err)
{
	enum err_code rc = node_write(out, state_of(config)->tree, 0, err);

	return rc == ERR_OK ? buf_put_u8(out, '\n', err) : rc;
}

/* ---- explain -----------------------------------------------------------------------------------
 */

/* A step of a pointer, its escapes undone. False when it is longer than any name. */
static bool take_step(struct slice *rest, char *room, size_t size, struct slice *out)
{
	size_t len = 0;

	*rest = slice_sub(*rest, 1, rest->len);
	while (rest->len > 0 && rest->data[0] != '/' && len + 1 < size) {
		char c = (char)rest->data[0];

		*rest = slice_sub(*rest, 1, rest->len);
		if (c == '~' && rest->len > 0 && (rest->data[0] == '0' || rest->data[0] == '1')) {
			c = rest->data[0] == '0' ? '~' : '/';
			*rest = slice_sub(*rest, 1, rest->len);
		}
		room[len++] = c;
	}
	*out = (struct slice){ (const uint8_t *)room, len };
	return rest->len == 0 || rest->data[0] == '/';
}

static const struct node *node_below(const struct node *node, struct slice rest)
{
	char room[512];
	struct slice name;

	while (node && rest.len > 0) {
		if (rest.data[0] != '/' || !take_step(&rest, room, sizeof(room), &name))
			return NULL;
		node = node->type == NODE_ARRAY ? node_element(node, name) : node_find(node, name);
	}
	return node;
}

/* In the config itself, or, for a source, in what its preset brings. */
static const struct node *find_value(const struct config *config, const char *pointer)
{
	const struct node *node = node_below(state_of(config)->tree, slice_str(pointer));

	for (size_t i = 0; !node && i < config->source_count; i++) {
		const struct source_config *source = &config->sources[i];
		size_t len = strlen(source->pointer);

		if (strncmp(pointer, source->pointer, len) == 0 && pointer[len] == '/')
			node = node_below(source->scheme, slice_str(pointer + len));
	}
	return node;
}

static enum err_code put_node(
	struct buf *out, const char *name, const struct node *node, struct err *err)
{
	enum err_code rc = json_put_name(out, name, err);

	if (rc != ERR_OK)
		return rc;
	return node ? node_write(out, node, -1, err) : buf_put_str(out, "null", err);
}

static enum err_code put_text(struct buf *out, const char *name, const char *text, struct err *err)
{
	return json_put_str(out, name, slice_str(text), err);
}

static enum err_code put_origin(struct buf *out, const struct config *config, const char *pointer,
	const struct node *node, struct err *err)
{
	const struct config_state *state = state_of(config);
	const struct override *set = override_of(state->overrides, state->override_count, pointer);
	enum err_code rc;

	if (!node)
		return put_text(out, "from", "absent", err);
	if (strncmp(node->pointer, "preset:", 7) == 0) {
		rc = put_text(out, "from", "preset", err);
		return rc == ERR_OK ? put_text(out, "preset", node->pointer + 7, err) : rc;
	}
	if (set) {
		rc = put_text(out, "from", "environment", err);
		return rc == ERR_OK ? put_text(out, "variable", set->variable, err) : rc;
	}
	if (node->line == 0)
		return put_text(out, "from", "default", err);
	rc = put_text(out, "from", "file", err);
	if (rc == ERR_OK)
		rc = put_text(out, "file", config->path, err);
	return rc == ERR_OK ? json_put_int(out, "line", node->line, err) : rc;
}

static const char *type_text(enum option_type type)
{
	switch (type) {
	case OPTION_OBJECT:
	case OPTION_MAP: return "object";
	case OPTION_LIST: return "list";
	case OPTION_INTEGER: return "integer";
	case OPTION_NUMBER: return "number";
	case OPTION_BOOL: return "boolean";
	case OPTION_TEXT: return "text";
	case OPTION_WORD: return "word";
	case OPTION_PATH: return "path";
	case OPTION_ADDRESS: return "address";
	case OPTION_URL: return "url";
	case OPTION_TIME: return "time";
	case OPTION_SETTING: return "text or reference";
	case OPTION_SCHEME: return "scheme";
	case OPTION_LATER: return "not supported yet";
	}
	return "";
}

static enum err_code put_words(struct buf *out, const struct config_option *option, struct err *err)
{
	enum err_code rc = json_put_raw(out, "words", SLICE_LIT("["), err);

	for (const char *const *word = option->words; rc == ERR_OK && *word; word++) {
		if (word != option->words)
			rc = buf_put_u8(out, ',', err);
		if (rc == ERR_OK)
			rc = json_put_string(out, slice_str(*word), err);
	}
	return rc == ERR_OK ? buf_put_u8(out, ']', err) : rc;
}

static enum err_code put_limits(
	struct buf *out, const struct config_option *option, struct err *err)
{
	enum err_code rc = ERR_OK;

	if (option->type == OPTION_INTEGER || option->type == OPTION_NUMBER) {
		rc = json_put_int(out, "min", option->min, err);
		if (rc == ERR_OK)
			rc = json_put_int(out, "max", option->max, err);
	}
	if (rc == ERR_OK && option->unit)
		rc = put_text(out, "unit", option->unit, err);
	if (rc == ERR_OK && option->words)
		rc = put_words(out, option, err);
	return rc;
}

static enum err_code put_option(
	struct buf *out, const struct config_option *option, struct err *err)
{
	enum err_code rc = put_text(out, "type", type_text(option->type), err);

	if (rc == ERR_OK && option->fallback)
		rc = json_put_raw(out, "default", slice_str(option->fallback), err);
	if (rc == ERR_OK)
		rc = put_limits(out, option, err);
	if (rc == ERR_OK)
		rc = json_put_bool(out, "restart", option->flags & OPTION_RESTART, err);
	return rc == ERR_OK ? put_text(out, "help", option->help, err) : rc;
}

static enum err_code no_such_place(const char *pointer, struct err *err)
{
	char parent[512], near[NEAREST_TEXT_MAX], shown[120];
	const char *slash = strrchr(pointer, '/');
	size_t len = slash ? (size_t)(slash - pointer) : 0;
	const struct option_row *row;

	text_printable(slice_str(pointer), shown, sizeof(shown));
	if (!slash || len >= sizeof(parent))
		return err_set(err, ERR_NOT_FOUND,
			"%s is no pointer; write one like /ingress/listen", shown);
	memcpy(parent, pointer, len);
	parent[len] = '\0';
	row = option_at(parent);
	if (!row || row->option.type != OPTION_OBJECT)
		return err_set(err, ERR_NOT_FOUND, "%s: there is no such option", shown);
	nearest_member(row, slice_str(slash + 1), near);
	return err_set(err, ERR_NOT_FOUND, "%s: there is no such option%s", shown, near);
}

enum err_code config_explain(
	const struct config *config, const char *pointer, struct buf *out, struct err *err)
{
	const struct option_row *row = option_at(pointer);
	const struct node *node = find_value(config, pointer);
	struct buf text = BUF_INIT(CONFIG_BYTES_MAX);
	enum err_code rc;

	if (!row)
		return no_such_place(pointer, err);
	rc = buf_put_u8(&text, '{', err);
	if (rc == ERR_OK)
		rc = put_text(&text, "pointer", pointer, err);
	if (rc == ERR_OK)
		rc = put_node(&text, "value", node, err);
	if (rc == ERR_OK)
		rc = put_origin(&text, config, pointer, node, err);
	if (rc == ERR_OK)
		rc = put_option(&text, &row->option, err);
	if (rc == ERR_OK)
		rc = buf_put_str(&text, "}\n", err);
	if (rc == ERR_OK)
		rc = buf_put_slice(out, buf_slice(&text), err);
	buf_done(&text);
	return rc;
}
