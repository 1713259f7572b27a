/* check_value.c - is one value of the type and within the limits that its row gives?
 *
 * Deliberately not here: objects and their names (check.c). Messages never repeat the value: it may
 * be a secret in the wrong place. */
#include "check_priv.h"

#include <arpa/inet.h>

static const char *type_name(const struct node *node)
{
	switch (node->type) {
	case NODE_NULL: return "null";
	case NODE_BOOL: return "true or false";
	case NODE_INTEGER: return "a whole number";
	case NODE_REAL: return "a number with a fraction";
	case NODE_STRING: return "a text";
	case NODE_ARRAY: return "a list";
	case NODE_OBJECT: return "an object";
	}
	return "something else";
}

void wrong_type(struct loader *l, const struct node *node, const char *wanted)
{
	problem(l, node, "must be %s, but is %s", wanted, type_name(node));
}

static void check_integer(
	struct loader *l, const struct node *node, const struct config_option *option)
{
	const char *unit = option->unit ? option->unit : "";

	if (node->type != NODE_INTEGER)
		wrong_type(l, node, "a whole number");
	else if (node->integer < option->min || node->integer > option->max)
		problem(l, node, "must be from %lld to %lld%s%s", (long long)option->min,
			(long long)option->max, *unit ? " " : "", unit);
}

static void check_number(
	struct loader *l, const struct node *node, const struct config_option *option)
{
	const bool above = option->flags & OPTION_ABOVE;
	double value = node->type == NODE_INTEGER ? (double)node->integer : node->real;

	if (node->type != NODE_INTEGER && node->type != NODE_REAL)
		wrong_type(l, node, "a number");
	else if (value < (double)option->min || value > (double)option->max ||
		 (above && value <= (double)option->min))
		problem(l, node, "must be %s %lld, at most %lld", above ? "above" : "at least",
			(long long)option->min, (long long)option->max);
}

static bool has_control(struct slice text, bool lines_allowed)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		if (c == 0 || (!lines_allowed && (c < 0x20 || c == 0x7f)))
			return true;
	}
	return false;
}

static bool check_text(
	struct loader *l, const struct node *node, const struct config_option *option)
{
	size_t errors = l->errors;

	if (node->type != NODE_STRING)
		wrong_type(l, node, "a text");
	else if (has_control(node_text(node), option->flags & OPTION_LINES))
		problem(l, node, "must not hold control characters");
	else if (option->max > 0 &&
		 (node->length < (size_t)option->min || node->length > (size_t)option->max))
		problem(l, node, "must have %lld to %lld bytes", (long long)option->min,
			(long long)option->max);
	return l->errors == errors;
}

static bool is_word(const char *const *words, struct slice text)
{
	for (; words && *words; words++) {
		if (slice_eq_str(text, *words))
			return true;
	}
	return false;
}

static const char *words_text(
	struct loader *l, const struct config_option *option, struct slice given)
{
	struct nearest nearest = NEAREST(given);
	const char *list = "", *between = "";

	for (const char *const *word = option->words; *word; word++) {
		nearest_try(&nearest, *word);
		list = arena_format(l->arena, "%s%s\"%s\"", list, between, *word);
		if (!list)
			return "";
		between = ", ";
	}
	if (nearest.best)
		list = arena_format(l->arena, "%s; did you mean \"%s\"?", list, nearest.best);
	return list ? list : "";
}

static void check_word(
	struct loader *l, const struct node *node, const struct config_option *option)
{
	struct slice text = node_text(node);

	if (node->type != NODE_STRING)
		wrong_type(l, node, "a text");
	else if (is_word(option->later, text))
		problem(l, node, "\"%s\" is not supported yet", node->string);
	else if (!is_word(option->words, text))
		problem(l, node, "must be one of %s", words_text(l, option, text));
}

static bool is_host(struct slice host)
{
	bool v6 = host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
	uint8_t room[16];
	char copy[64];

	if (v6)
		host = slice_sub(host, 1, host.len - 2);
	if (host.len == 0 || host.len >= sizeof(copy))
		return false;
	memcpy(copy, host.data, host.len);
	copy[host.len] = '\0';
	if (v6)
		return inet_pton(AF_INET6, copy, room) == 1;
	/* A name is looked up when it is bound; what is all digits and dots must be an address. */
	if (copy[strspn(copy, "0123456789.")] == '\0')
		return inet_pton(AF_INET, copy, room) == 1;
	return copy[strspn(copy,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")] == '\0';
}

static bool address_is_sane(struct slice text)
{
	struct slice host = text, port;
	uint64_t number;

	while (host.len > 0 && host.data[host.len - 1] != ':')
		host.len--;
	port = slice_sub(text, host.len, text.len);
	host = slice_sub(host, 0, host.len > 0 ? host.len - 1 : 0);
	return is_host(host) && port.len <= 5 && text_u64(port, &number, NULL) == ERR_OK &&
	       number <= 65535;
}

static struct slice after_scheme(struct slice url)
{
	static const char *const schemes[] = { "http://", "https://" };

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		struct slice scheme = slice_str(schemes[i]);

		if (slice_eq_nocase(slice_sub(url, 0, scheme.len), scheme))
			return slice_sub(url, scheme.len, url.len);
	}
	return SLICE_EMPTY;
}

static void check_url(struct loader *l, const struct node *node, const struct config_option *option)
{
	struct slice rest, host;

	if (!check_text(l, node, option))
		return;
	rest = after_scheme(node_text(node));
	host = slice_sub(rest, 0, slice_find(rest, '/'));
	host = slice_sub(host, 0, slice_find(host, '?'));
	if (slice_find(host, '@') < host.len)
		problem(l, node, "must not hold a user or a password: secrets are never inline");
	else if (host.len == 0 || host.data[0] == ':')
		problem(l, node, "must be a URL like https://host/path");
	else if (slice_find(node_text(node), ' ') < node->length ||
		 slice_find(node_text(node), '#') < node->length)
		problem(l, node, "must be a URL without blanks and without a fragment");
}

static void check_time(struct loader *l, const struct node *node)
{
	int64_t ms;

	if (node->type != NODE_STRING)
		wrong_type(l, node, "a time");
	else if (text_rfc3339(node_text(node), &ms, NULL) != ERR_OK)
		problem(l, node, "must be a time like 2026-11-22T09:30:00Z");
}

/* Objects have been looked at by their members. */
static void check_setting(
	struct loader *l, const struct node *node, const struct config_option *option)
{
	switch (node->type) {
	case NODE_BOOL:
	case NODE_INTEGER:
	case NODE_REAL:
	case NODE_OBJECT: break;
	case NODE_STRING: (void)check_text(l, node, option); break;
	case NODE_NULL:
	case NODE_ARRAY:
		wrong_type(l, node, "a text, a number, true or false, or a reference");
		break;
	}
}

void check_scalar(struct loader *l, const struct node *node, const struct config_option *option)
{
	switch (option->type) {
	case OPTION_INTEGER: check_integer(l, node, option); break;
	case OPTION_NUMBER: check_number(l, node, option); break;
	case OPTION_BOOL:
		if (node->type != NODE_BOOL)
			wrong_type(l, node, "true or false");
		break;
	case OPTION_TEXT:
	case OPTION_PATH: (void)check_text(l, node, option); break;
	case OPTION_WORD: check_word(l, node, option); break;
	case OPTION_ADDRESS:
		if (node->type != NODE_STRING)
			wrong_type(l, node, "a text");
		else if (!address_is_sane(node_text(node)))
			problem(l, node,
				"must be an address and a port, like 127.0.0.1:8080 or "
				"[::1]:8080");
		break;
	case OPTION_URL: check_url(l, node, option); break;
	case OPTION_TIME: check_time(l, node); break;
	case OPTION_SETTING: check_setting(l, node, option); break;
	case OPTION_LATER: problem(l, node, "is not supported yet"); break;
	case OPTION_SCHEME:
	case OPTION_OBJECT:
	case OPTION_MAP:
	case OPTION_LIST: break;
	}
}
