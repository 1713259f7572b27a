/* log.c - one JSON object a line, put together on the stack and written at once.
 *
 * It needs no memory and takes no lock, so that it also works when those are the trouble. A field
 * that does not fit is left out whole: every line is valid JSON. Deliberately not here: rotation,
 * files, and any way to log a secret. */
#include "base_priv.h"
#include "postern/clock.h"
#include "postern/log.h"
#include "postern/text.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

/* Set at start or by a reload, read by every thread; nothing else is ordered by them. */
static _Atomic enum log_level lowest = LOG_INFO;
static atomic_int log_fd = STDERR_FILENO;

struct line {
	char text[LOG_LINE_MAX];
	size_t len;
	bool cut; /* something did not fit: the caller takes the field back */
};
#define LINE_END 2 /* room that stays free for "}\n" */

static void add(struct line *line, const char *text, size_t len)
{
	if (line->cut || len > sizeof(line->text) - LINE_END - line->len) {
		line->cut = true;
		return;
	}
	memcpy(line->text + line->len, text, len);
	line->len += len;
}

static void add_string(struct line *line, struct slice s)
{
	char escaped[JSON_ESCAPE_MAX];

	add(line, "\"", 1);
	while (s.len > 0 && !line->cut) {
		size_t len = json_escape(&s, escaped);

		add(line, escaped, len);
	}
	add(line, "\"", 1);
}

/* At most LOG_VALUE_MAX bytes, and no half character at the end. */
static struct slice cut_value(struct slice s)
{
	size_t end = LOG_VALUE_MAX;

	if (s.len <= end)
		return s;
	while (end > LOG_VALUE_MAX - 4 && (s.data[end] & 0xc0) == 0x80)
		end--;
	return slice_sub(s, 0, end);
}

static void add_field(struct line *line, const struct log_field *field)
{
	size_t before = line->len;
	char number[24];

	if (field->type == LOG_FIELD_TEXT && field->text.len == 0)
		return;
	add(line, ",", 1);
	add_string(line, slice_str(field->name));
	add(line, ":", 1);
	if (field->type == LOG_FIELD_TEXT) {
		add_string(line, cut_value(field->text));
	} else {
		int len = snprintf(number, sizeof(number), "%lld", (long long)field->number);

		add(line, number, (size_t)len);
	}
	if (line->cut)
		line->len = before;
	line->cut = false;
}

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_DEBUG: return "debug";
	case LOG_INFO: return "info";
	case LOG_WARN: return "warn";
	case LOG_ERROR: return "error";
	}
	return "error";
}

static void put_line(const struct line *line)
{
	int before = errno;
	ssize_t put;

	do
		put = write(atomic_load(&log_fd), line->text, line->len);
	while (put < 0 && errno == EINTR);
	/* There is nobody to tell that a log line was lost. */
	errno = before;
}

void log_emit(enum log_level level, const char *event, const struct log_field *fields)
{
	const struct clock *clock = clock_system();
	struct line line;
	char ts[TEXT_TIME_LEN];
	struct log_field head[3];

	if (level < atomic_load(&lowest))
		return;
	text_time_ms(clock->wall_ms(clock), ts);
	head[0] = log_str("ts", ts);
	head[1] = log_str("level", level_name(level));
	head[2] = log_str("event", event);
	line.len = 0;
	line.cut = false;
	for (size_t i = 0; i < ARRAY_LEN(head); i++)
		add_field(&line, &head[i]);
	for (; fields && fields->name; fields++)
		add_field(&line, fields);
	line.text[0] = '{'; /* in the place of the first comma */
	line.text[line.len++] = '}';
	line.text[line.len++] = '\n';
	put_line(&line);
}

void log_set_level(enum log_level level)
{
	atomic_store(&lowest, level);
}

void log_set_fd(int fd)
{
	atomic_store(&log_fd, fd);
}

/* ---- lines that anybody can cause --------------------------------------------------------------
 */

#define GATE_MS 1000

int64_t log_gate_dropped(struct log_gate *gate, int64_t mono_ms)
{
	const int64_t dropped = gate->dropped;

	if (mono_ms - gate->since_ms < GATE_MS)
		return 0;
	*gate = (struct log_gate){ .since_ms = mono_ms };
	return dropped;
}

bool log_gate_opens(struct log_gate *gate, int64_t mono_ms, int64_t *out_dropped)
{
	*out_dropped = log_gate_dropped(gate, mono_ms);
	if (gate->lines < LOG_GATE_LINES) {
		gate->lines++;
		return true;
	}
	gate->dropped++;
	return false;
}
