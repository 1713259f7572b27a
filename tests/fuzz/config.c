/* config.c - any bytes as a config, with overrides from the lines at its start that look like some.
 *
 * A config is there exactly when loading succeeded; a refusal names at least one error; a config
 * that loads can be shown, what is shown loads again, and shows the same. Every place of it can be
 * explained. */
#include "postern/config.h"
#include "postern/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define VARIABLES_MAX 8
#define TEXT_LIMIT KIB(256)

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

/* The text as a file that has a name but no disk. */
static int put_file(struct slice text, char path[64])
{
	int fd = memfd_create("config", MFD_CLOEXEC);

	must(fd >= 0, "a file in memory");
	must(write(fd, text.data, text.len) == (ssize_t)text.len, "written whole");
	(void)snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

static size_t count_errors(const struct config_report *report)
{
	size_t count = 0;

	for (size_t i = 0; i < report->count; i++) {
		const struct config_problem *problem = &report->problems[i];

		must(problem->text && *problem->text && problem->pointer, "a problem has words");
		count += problem->level == PROBLEM_ERROR;
	}
	return count;
}

static struct config *load(struct slice text, char *const *environ_list)
{
	struct config_report report = { NULL, 0 };
	struct config *config = NULL;
	struct err err = ERR_INIT;
	char path[64];
	int fd = put_file(text, path);
	enum err_code rc = config_load(path, environ_list, &config, &report, &err);

	(void)close(fd);
	must((rc == ERR_OK) == (config != NULL), "a config exactly on success");
	must((rc == ERR_OK) == (err.code == ERR_OK), "result and report agree");
	if (rc == ERR_OK)
		must(count_errors(&report) == 0, "no error on success");
	else
		must(rc == ERR_CONFIG && count_errors(&report) > 0, "a refusal names an error");
	config_report_done(&report);
	return config;
}

/* Every member and element below a value, by its pointer. */
static void explain_all(const struct config *config, struct json_value value, const char *pointer)
{
	struct buf out = BUF_INIT(MIB(4)), below = BUF_INIT(KIB(64));
	struct json_value name, child;
	size_t at = 0, index = 0;

	must(config_explain(config, pointer, &out, NULL) == ERR_OK, "a place can be explained");
	buf_done(&out);
	while (value.type == JSON_OBJECT && json_next_member(value, &at, &name, &child)) {
		if (name.escaped || slice_find(name.raw, '/') < name.raw.len ||
			slice_find(name.raw, '~') < name.raw.len)
			continue;
		buf_reset(&below);
		err_ignored(buf_putf(&below, NULL, "%s/%.*s", pointer, SLICE_FMT(name.raw)));
		explain_all(config, child, buf_str(&below));
	}
	while (value.type == JSON_ARRAY && json_next(value, &at, &child)) {
		buf_reset(&below);
		err_ignored(buf_putf(&below, NULL, "%s/%zu", pointer, index++));
		explain_all(config, child, buf_str(&below));
	}
	buf_done(&below);
}

static void check_shown(struct config *config)
{
	struct buf first = BUF_INIT(MIB(8)), second = BUF_INIT(MIB(8)), none = BUF_INIT(KIB(1));
	struct json_value whole;
	struct config *again;

	must(config_show(config, &first, NULL) == ERR_OK, "it can be shown");
	again = load(buf_slice(&first), NULL);
	must(again != NULL, "what is shown loads");
	must(config_show(again, &second, NULL) == ERR_OK, "and can be shown");
	must(slice_eq(buf_slice(&first), buf_slice(&second)), "and shows the same");
	must(config_diff(config, again, &none, &none, NULL) == ERR_OK && none.len == 0,
		"and does not differ");
	if (json_get(buf_slice(&first), "", &whole, NULL) == ERR_OK && first.len < KIB(32))
		explain_all(config, whole, "");
	config_unref(&again);
	buf_done(&first);
	buf_done(&second);
	buf_done(&none);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { data, size };
	char *variables[VARIABLES_MAX + 1] = { NULL };
	struct config *config;
	size_t count = 0;

	if (size > TEXT_LIMIT)
		return 0;
	while (count < VARIABLES_MAX && slice_starts(text, SLICE_LIT("POSTERN__"))) {
		size_t end = slice_find(text, '\n');

		variables[count] = slice_dup_str(slice_sub(text, 0, end));
		must(variables[count++] != NULL, "memory");
		text = slice_sub(text, end + 1, text.len);
	}
	config = load(text, variables);
	if (config)
		check_shown(config);
	config_unref(&config);
	for (size_t i = 0; i < count; i++)
		free(variables[i]);
	return 0;
}

#include "replay_main.inc"
