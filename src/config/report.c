/* report.c - the list of what is wrong with a config.
 *
 * Deliberately not here: printing it, which is floor 4's. */
#include "postern/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void problem_done(struct config_problem *problem)
{
	/* The members are const for readers only; the report owns them. */
	free((void *)(uintptr_t)problem->pointer);
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

void config_report_add(struct config_report *report, enum problem_level level, const char *pointer,
	unsigned line, const char *fmt, ...)
{
	struct config_problem problem = { .level = level, .line = line };
	char *text = NULL;
	va_list args;
	int len;

	if (!report)
		return;
	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len < 0)
		return;
	problem.text = text;
	problem.pointer = strdup(pointer ? pointer : "");
	if (!problem.pointer || !add(report, &problem))
		problem_done(&problem);
}
