/* report.c - the list of what is wrong with a config, and how each problem reads.
 *
 * Deliberately not here: where it is printed, which is floor 4's. */
#include "config_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void problem_done(struct config_problem *problem)
{
	/* The members are const for readers only; the report owns them. */
	free((void *)(uintptr_t)problem->pointer);
	free((void *)(uintptr_t)problem->variable);
	free((void *)(uintptr_t)problem->text);
}

void config_report_done(struct config_report *report)
{
	for (size_t i = 0; i < report->count; i++)
		problem_done(&report->problems[i]);
	free(report->problems);
	*report = (struct config_report){ NULL, 0 };
}

static bool add(struct config_report *report, const struct config_problem *problem)
{
	struct config_problem *more =
		reallocarray(report->problems, report->count + 1, sizeof(*more));

	if (!more)
		return false;
	report->problems = more;
	report->problems[report->count++] = *problem;
	return true;
}

PRINTF_LIKE(3, 0)
static void keep(struct config_report *report, const struct config_problem *place, const char *fmt,
	va_list args)
{
	struct config_problem problem = { .level = place->level, .line = place->line };
	char *text = NULL;

	if (!report || vasprintf(&text, fmt, args) < 0)
		return;
	problem.text = text;
	problem.pointer = strdup(place->pointer ? place->pointer : "");
	problem.variable = place->variable ? strdup(place->variable) : NULL;
	if (!problem.pointer || (place->variable && !problem.variable) || !add(report, &problem))
		problem_done(&problem);
}

void report_problem(
	struct config_report *report, const struct config_problem *place, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	keep(report, place, fmt, args);
	va_end(args);
}

void config_report_add(struct config_report *report, enum problem_level level, const char *pointer,
	unsigned line, const char *fmt, ...)
{
	const struct config_problem place = { .level = level, .pointer = pointer, .line = line };
	va_list args;

	va_start(args, fmt);
	keep(report, &place, fmt, args);
	va_end(args);
}

const struct config_problem *config_report_error(const struct config_report *report)
{
	for (size_t i = 0; i < report->count; i++) {
		if (report->problems[i].level == PROBLEM_ERROR)
			return &report->problems[i];
	}
	return NULL;
}

enum err_code config_problem_put(
	struct buf *out, const struct config_problem *problem, const char *path, struct err *err)
{
	const char *warning = problem->level == PROBLEM_WARNING ? "warning: " : "";
	enum err_code rc = ERR_OK;

	/* The file is not to blame for a variable, which the text names. */
	if (!problem->variable && problem->line > 0)
		rc = buf_putf(out, err, "%s:%u: ", path, problem->line);
	else if (!problem->variable)
		rc = buf_putf(out, err, "%s: ", path);
	if (rc == ERR_OK && problem->pointer[0])
		rc = buf_putf(out, err, "%s: ", problem->pointer);
	if (rc == ERR_OK)
		rc = buf_putf(out, err, "%s%s", warning, problem->text);
	return rc;
}
