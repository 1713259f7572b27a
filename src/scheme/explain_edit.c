/* explain_edit.c - the same request under a scheme or keys that are a little different.
 *
 * The scheme's tree is copied with one change and compiled like any other, so that a trial judges
 * exactly as the real thing does. Keys that are changed stand in memory files.
 *
 * Deliberately not here: what is worth a trial (explain.c). */
#include "explain_priv.h"

#include "postern/file.h"
#include "postern/json.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define NODES_MAX 512
#define KEY_TEXT_MAX KIB(16)
#define TEXT_MAX 256

/* ---- a tree with one change --------------------------------------------------------------------
 */

struct tree {
	struct node nodes[NODES_MAX];
	size_t count;
	char text[TEXT_MAX]; /* of a pattern that was rewritten */
};

static struct node *copy(struct tree *t, const struct node *node)
{
	assert(t);
	if (t->count == NODES_MAX)
		return NULL;
	t->nodes[t->count] = *node;
	t->nodes[t->count].next = NULL;
	return &t->nodes[t->count++];
}

static struct node *text_node(
	struct tree *t, const struct node *at, const char *name, const char *text)
{
	return copy(t, &(struct node){ .type = NODE_STRING,
			       .name = name,
			       .pointer = at->pointer,
			       .line = at->line,
			       .string = text,
			       .length = strlen(text) });
}

/* A copy of the object with each of its children as change() gives it; NULL: left out. */
typedef struct node *change_child(struct tree *t, const struct node *child, const void *ctx);
static struct node *rebuild(
	struct tree *t, const struct node *parent, change_child *change, const void *ctx)
{
	struct node *made = copy(t, parent), **tail;

	if (!made)
		return NULL;
	tail = &made->child;
	*tail = NULL;
	for (const struct node *child = parent->child; child; child = child->next) {
		struct node *one = change(t, child, ctx);

		if (!one)
			continue;
		*tail = one;
		tail = &one->next;
	}
	return made;
}

/* What changes in verify. */
struct edit {
	const char *member, *value; /* a member in place of the one that is there */
	const char *from, *to;      /* or a placeholder of match, written differently */
};

static const char *replaced(struct tree *t, struct slice text, struct slice from, const char *to)
{
	size_t at = slice_search(text, from);
	int len;

	if (at == text.len)
		return NULL;
	len = snprintf(t->text, sizeof(t->text), "%.*s%s%.*s", SLICE_FMT(slice_sub(text, 0, at)),
		to, SLICE_FMT(slice_sub(text, at + from.len, text.len)));
	return len > 0 && (size_t)len < sizeof(t->text) ? t->text : NULL;
}

static struct node *change_pattern(struct tree *t, const struct node *at, const void *ctx)
{
	const struct edit *edit = ctx;
	struct slice text = { (const uint8_t *)at->string, at->length };
	const char *other;

	if (at->type == NODE_ARRAY)
		return rebuild(t, at, change_pattern, ctx);
	if (at->type != NODE_STRING)
		return copy(t, at);
	other = replaced(t, text, slice_str(edit->from), edit->to);
	return other ? text_node(t, at, at->name, other) : copy(t, at);
}

static struct node *change_verify_member(struct tree *t, const struct node *child, const void *ctx)
{
	const struct edit *edit = ctx;

	if (edit->from && slice_eq_str(slice_str(child->name), "match"))
		return change_pattern(t, child, edit);
	if (edit->member && slice_eq_str(slice_str(child->name), edit->member))
		return NULL;
	return copy(t, child);
}

static struct node *change_way(struct tree *t, const struct node *way, const void *ctx)
{
	const struct edit *edit = ctx;
	struct node *made = rebuild(t, way, change_verify_member, ctx), *own;

	if (made && edit->member) {
		own = text_node(t, way, edit->member, edit->value);
		if (own) {
			own->next = made->child;
			made->child = own;
		}
	}
	return made;
}

static struct node *change_root_member(struct tree *t, const struct node *child, const void *ctx)
{
	if (!slice_eq_str(slice_str(child->name), "verify"))
		return copy(t, child);
	if (child->type == NODE_ARRAY)
		return rebuild(t, child, change_way, ctx);
	return change_way(t, child, ctx);
}

/* ---- trials ------------------------------------------------------------------------------------
 */

bool explain_holds(const struct scheme *scheme, const struct scheme_question *q,
	const struct scheme_request *rq)
{
	struct scheme_verdict verdict = SCHEME_VERDICT_INIT;
	bool holds;

	scheme_verify(scheme, rq, q->now_ms, &verdict);
	holds = verdict.code == ERR_OK || verdict.code == ERR_EXPIRED ||
		verdict.code == ERR_CLOCK_SKEW;
	scheme_verdict_done(&verdict);
	return holds;
}

static bool try_source(const struct scheme_question *q, const struct source_config *source)
{
	struct config_report report = { 0 };
	struct scheme *scheme = NULL;
	bool holds = scheme_open(source, &scheme, &report, NULL) == ERR_OK &&
		     explain_holds(scheme, q, q->rq);

	scheme_close(&scheme);
	config_report_done(&report);
	return holds;
}

static bool try_edit(const struct scheme_question *q, const struct edit *edit)
{
	struct tree *tree = calloc(1, sizeof(*tree));
	struct source_config source = *q->source;
	bool holds = false;

	if (tree && source.scheme) {
		source.scheme = rebuild(tree, source.scheme, change_root_member, edit);
		/* A tree that did not fit would be another scheme. */
		holds = source.scheme && tree->count < NODES_MAX && try_source(q, &source);
	}
	free(tree);
	return holds;
}

bool explain_with_member(const struct scheme_question *q, const char *member, const char *value)
{
	return try_edit(q, &(struct edit){ .member = member, .value = value });
}

bool explain_with_coding(const struct scheme_question *q, const char *from, const char *to)
{
	return try_edit(q, &(struct edit){ .from = from, .to = to });
}

bool explain_with_keys(
	const struct scheme_question *q, const struct key_ref *keys, size_t key_count)
{
	struct source_config source = *q->source;
	struct key_ref always[SCHEME_KEYS_MAX];

	if (key_count == 0 || key_count > SCHEME_KEYS_MAX)
		return false;
	for (size_t i = 0; i < key_count; i++) {
		always[i] = keys[i];
		always[i].not_before_ms = INT64_MIN;
		always[i].not_after_ms = INT64_MAX;
	}
	source.keys = always;
	source.key_count = key_count;
	return try_source(q, &source);
}

/* ---- keys --------------------------------------------------------------------------------------
 */

static bool is_blank(uint8_t c)
{
	return c <= ' ';
}

static struct slice without_blanks(struct slice s)
{
	while (s.len > 0 && is_blank(s.data[s.len - 1]))
		s.len--;
	while (s.len > 0 && is_blank(s.data[0]))
		s = slice_sub(s, 1, s.len);
	return s;
}

static bool is_quoted(struct slice s)
{
	return s.len > 2 && s.data[0] == s.data[s.len - 1] &&
	       (s.data[0] == '"' || s.data[0] == '\'');
}

enum key_style { KEY_NEWLINE, KEY_TRIMMED, KEY_UNQUOTED, KEY_SUFFIX };
static const struct {
	enum key_style style;
	struct key_change change;
} key_changes[] = {
	{ KEY_NEWLINE, { "the sender's key ends with a newline, which a key file's last one is not",
			       "echo >> %s && postern reload" } },
	{ KEY_TRIMMED,
		{ "the key in the file has blanks around it that are not the sender's",
			"sed -i 's/^[[:space:]]*//; s/[[:space:]]*$//' %s && postern reload" } },
	{ KEY_UNQUOTED, { "the key in the file stands in quotes that are not part of it",
				"sed -i \"s/^[\\\"']//; s/[\\\"']$//\" %s && postern reload" } },
	{ KEY_SUFFIX, { "the key in the file is a whole NAME=KEY line",
			      "sed -i 's/^[^=]*=//' %s && postern reload" } },
};

/* The text with the newline that is not part of it. */
static bool change_key(struct slice text, enum key_style style, struct buf *out)
{
	struct slice bare = without_blanks(text), made = SLICE_EMPTY;
	size_t equals = slice_find(bare, '=');

	switch (style) {
	case KEY_NEWLINE: made = slice_sub(text, 0, slice_find(text, '\n')); break;
	case KEY_TRIMMED: made = bare; break;
	case KEY_UNQUOTED: made = is_quoted(bare) ? slice_sub(bare, 1, bare.len - 2) : made; break;
	case KEY_SUFFIX: made = slice_sub(bare, equals + 1, bare.len); break;
	}
	return made.len > 0 && buf_put_slice(out, made, NULL) == ERR_OK &&
	       (style != KEY_NEWLINE || buf_put_u8(out, '\n', NULL) == ERR_OK) &&
	       buf_put_u8(out, '\n', NULL) == ERR_OK;
}

static bool try_key_text(
	const struct scheme_question *q, const struct key_ref *key, struct slice text)
{
	struct key_ref other = *key;
	char path[64];
	int fd = memfd_create("key", MFD_CLOEXEC);
	bool holds = false;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other.file = path;
	other.env = NULL;
	if (fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len)
		holds = explain_with_keys(q, &other, 1);
	if (fd >= 0)
		(void)close(fd);
	return holds;
}

static const struct key_change *try_texts(
	const struct scheme_question *q, const struct key_ref *key, struct slice text)
{
	const struct key_change *found = NULL;

	for (size_t i = 0; i < ARRAY_LEN(key_changes) && !found; i++) {
		struct buf made = BUF_INIT(KEY_TEXT_MAX + 2);

		/* Growing would leave copies. */
		if (buf_reserve(&made, text.len + 2, NULL) == ERR_OK &&
			change_key(text, key_changes[i].style, &made) &&
			try_key_text(q, key, buf_slice(&made)))
			found = &key_changes[i].change;
		if (made.data)
			buf_wipe(&made);
		buf_done(&made);
	}
	return found;
}

const struct key_change *explain_with_text(
	const struct scheme_question *q, const struct key_ref **out_key)
{
	const struct key_change *found = NULL;

	for (size_t i = 0; i < q->source->key_count && !found; i++) {
		const struct key_ref *key = &q->source->keys[i];
		struct buf text = BUF_INIT(KEY_TEXT_MAX);

		if (key->file && file_read(key->file, &text, NULL) == ERR_OK)
			found = try_texts(q, key, buf_slice(&text));
		if (text.data)
			buf_wipe(&text);
		buf_done(&text);
		*out_key = key;
	}
	return found;
}

/* ---- presets -----------------------------------------------------------------------------------
 */

static bool has_header(const struct scheme_question *q, struct slice name)
{
	for (size_t i = 0; i < q->rq->header_count; i++) {
		if (slice_eq_nocase(q->rq->headers[i].name, name))
			return true;
	}
	return false;
}

/* The header of a preset's signature: in its own text, where it extends none. */
static bool is_of_preset(const struct scheme_question *q, const char *name)
{
	const struct slice prefix = SLICE_LIT("header:");
	struct json_value sig;

	return json_get(preset_text(name), "/verify/sig", &sig, NULL) == ERR_OK &&
	       sig.type == JSON_STRING && slice_starts(sig.raw, prefix) &&
	       has_header(q, slice_sub(sig.raw, prefix.len, sig.raw.len));
}

/* A config of one source, in a memory file, with this source's keys. */
static bool write_config(int fd, const struct scheme_question *q, const char *preset)
{
	struct buf text = BUF_INIT(KIB(64));
	const char *between = "";
	bool ok = buf_putf(&text, NULL, "{\"sources\":{\"s\":{\"preset\":\"%s\",\"keys\":[",
			  preset) == ERR_OK;

	for (size_t i = 0; ok && i < q->source->key_count; i++) {
		const struct key_ref *key = &q->source->keys[i];

		ok = buf_putf(&text, NULL, "%s{\"%s\":", between, key->file ? "file" : "env") ==
			     ERR_OK &&
		     json_put_string(&text, slice_str(key->file ? key->file : key->env), NULL) ==
			     ERR_OK &&
		     buf_put_str(&text, "}", NULL) == ERR_OK;
		between = ",";
	}
	ok = ok && buf_put_str(&text, "]", NULL) == ERR_OK;
	if (ok && q->source->public_url)
		ok = json_put_str(&text, "public_url", slice_str(q->source->public_url), NULL) ==
		     ERR_OK;
	ok = ok && buf_put_str(&text, "}}}", NULL) == ERR_OK &&
	     write(fd, text.data, text.len) == (ssize_t)text.len;
	buf_done(&text);
	return ok;
}

static bool try_preset(const struct scheme_question *q, const char *preset)
{
	struct config_report report = { 0 };
	struct config *config = NULL;
	char *no_environment[] = { NULL };
	char path[64];
	int fd = memfd_create("config", MFD_CLOEXEC);
	bool holds = false;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0 && write_config(fd, q, preset) &&
		config_load(path, no_environment, &config, &report, NULL) == ERR_OK)
		holds = try_source(q, &config->sources[0]);
	config_unref(&config);
	config_report_done(&report);
	if (fd >= 0)
		(void)close(fd);
	return holds;
}

const char *explain_with_preset(const struct scheme_question *q)
{
	for (size_t i = 0; i < preset_count(); i++) {
		const char *name = preset_name(i);
		bool is_own = q->source->preset && strcmp(q->source->preset, name) == 0;

		if (!is_own && is_of_preset(q, name) && try_preset(q, name))
			return name;
	}
	return NULL;
}

struct slice explain_sig_header(const struct scheme_question *q)
{
	const struct slice prefix = SLICE_LIT("header:");
	const struct node *verify = node_member(q->source->scheme, "verify"), *sig;
	struct slice text;

	if (verify && verify->type == NODE_ARRAY)
		verify = verify->child;
	sig = verify ? node_member(verify, "sig") : NULL;
	if (!sig || sig->type != NODE_STRING)
		return SLICE_EMPTY;
	text = (struct slice){ (const uint8_t *)sig->string, sig->length };
	if (!slice_starts(text, prefix) || slice_find(text, '*') < text.len)
		return SLICE_EMPTY;
	return slice_sub(text, prefix.len, text.len);
}
