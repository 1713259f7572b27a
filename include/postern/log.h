/* log.h - one JSON object a line on stderr: ts, level, event, then fields.
 *
 * Text from outside is escaped and cut at LOG_VALUE_MAX. Bodies, keys, tokens and signatures must
 * not be passed; there is no field type that takes a secret. Threads: any; a line is one write().
 */
#pragma once

#include "postern/buf.h"

#define LOG_LINE_MAX 4096
#define LOG_VALUE_MAX 512

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
	const char *name; /* NULL ends the list */
	enum { LOG_FIELD_TEXT, LOG_FIELD_INT } type;
	struct slice text; /* an empty slice is left out */
	int64_t number;
};
static inline struct log_field log_text(const char *name, struct slice s)
{
	return (struct log_field){ .name = name, .type = LOG_FIELD_TEXT, .text = s };
}
static inline struct log_field log_str(const char *name, const char *s)
{
	return log_text(name, slice_str(s));
}
static inline struct log_field log_int(const char *name, int64_t n)
{
	return (struct log_field){ .name = name, .type = LOG_FIELD_INT, .number = n };
}
/* code: err_name, text: the sentence. */
static inline struct log_field log_code(enum err_code code)
{
	return log_str("code", err_name(code));
}
void log_emit(enum log_level level, const char *event, const struct log_field *fields);
/* The first field is never read: it takes the comma where there are no others. */
#define LOG_AT(level, event, ...)                                                                  \
	log_emit(level, event,                                                                     \
		(const struct log_field[]){ { .name = "" }, ##__VA_ARGS__, { .name = NULL } } + 1)
#define log_debug(...) LOG_AT(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) LOG_AT(LOG_INFO, __VA_ARGS__)
#define log_warn(...) LOG_AT(LOG_WARN, __VA_ARGS__)
#define log_error(...) LOG_AT(LOG_ERROR, __VA_ARGS__)
/* Default LOG_INFO. Tests may send lines elsewhere (fd). */
void log_set_level(enum log_level level);
void log_set_fd(int fd);

/* For lines that anybody can cause: LOG_GATE_LINES a second, the others are counted. All zeros is a
 * new one; it has no lock of its own. mono_ms: monotonic, and the same clock in all calls. */
#define LOG_GATE_LINES 20
struct log_gate {
	int64_t since_ms, lines, dropped;
};
/* May this line be written? *out_dropped: of a second that has ended, as in log_gate_dropped(). */
bool log_gate_opens(struct log_gate *gate, int64_t mono_ms, int64_t *out_dropped);
/* Once its second has ended, how many lines were not written in it; that is said once. 0: none, or
 * the second goes on. To be asked now and then, as the next line may be long in coming. */
int64_t log_gate_dropped(struct log_gate *gate, int64_t mono_ms);
