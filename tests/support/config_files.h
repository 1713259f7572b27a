/* config_files.h - a directory with a postern.json and key files, for tests of the config room. */
#pragma once

#include "postern/config.h"
#include "postern/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct files {
	char dir[64], path[96];
	struct config *config;
	struct config_report report;
	struct err err;
};

static inline void files_put(const struct files *f, const char *name, const char *text, mode_t mode)
{
	char path[160];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static inline int files_open(void **state)
{
	struct files *f = calloc(1, sizeof(*f));
	char keys[96];

	if (!f)
		return -1;
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/postern-config-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/postern.json", f->dir);
	(void)snprintf(keys, sizeof(keys), "%s/keys", f->dir);
	if (mkdir(keys, 0700) != 0)
		return -1;
	*state = f;
	files_put(f, "keys/a.key", "0123456789abcdef0123456789abcdef\n", 0600);
	files_put(f, "keys/b.key", "0123456789abcdef0123456789abcdef\n", 0600);
	files_put(f, "keys/admin.token", "0123456789abcdef0123456789abcdef\n", 0600);
	return 0;
}

static inline int files_close(void **state)
{
	static const char *const names[] = { "keys/a.key", "keys/b.key", "keys/admin.token",
		"keys/c.key", "postern.json", "keys", "" };
	struct files *f = *state;
	char path[160];

	config_unref(&f->config);
	config_report_done(&f->report);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
		(void)remove(path);
	}
	free(f);
	return 0;
}

/* Load this text as postern.json; what was loaded before goes. */
static inline enum err_code files_load(struct files *f, const char *text, char *const *environ_list)
{
	config_unref(&f->config);
	config_report_done(&f->report);
	f->err = ERR_INIT;
	files_put(f, "postern.json", text, 0600);
	return config_load(f->path, environ_list, &f->config, &f->report, &f->err);
}

static inline void files_print(const struct files *f)
{
	for (size_t i = 0; i < f->report.count; i++)
		print_message("# %u %s: %s\n", f->report.problems[i].line,
			f->report.problems[i].pointer, f->report.problems[i].text);
}

static inline void files_must_load(struct files *f, const char *text, char *const *environ_list)
{
	if (files_load(f, text, environ_list) != ERR_OK) {
		files_print(f);
		fail_msg("%s", f->err.text);
	}
	assert_non_null(f->config);
}

/* Is there a problem of this level at this pointer and line whose text holds these words? */
static inline bool files_has(const struct files *f, enum problem_level level, const char *pointer,
	unsigned line, const char *words)
{
	for (size_t i = 0; i < f->report.count; i++) {
		const struct config_problem *p = &f->report.problems[i];

		if (p->level == level && p->line == line && strcmp(p->pointer, pointer) == 0 &&
			strstr(p->text, words))
			return true;
	}
	return false;
}
