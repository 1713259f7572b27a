/* scheme_lab.h - a source as a config file would have it, for tests of schemes.
 *
 * Writes keys and a config into a directory of its own, loads the config and opens the scheme.
 * Deliberately not here: anything that a test asserts about schemes. */
#pragma once

#include "postern/file.h"
#include "postern/scheme.h"
#include "postern/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define LAB_HEADERS 32
#define LAB_NOW 1614265330 /* seconds; the time of the published Standard Webhooks example */

struct lab {
	char dir[64];
	struct config *config;
	struct scheme *scheme;
	struct config_report report;
	struct scheme_verdict verdict;
	struct scheme_mapped mapped;
	struct err err;
};

static inline void lab_write(const struct lab *lab, const char *name, const char *text)
{
	struct err err = ERR_INIT;
	char *path = file_join(lab->dir, name);

	assert_non_null(path);
	assert_int_equal(file_write_new(path, slice_str(text), 0600, &err), ERR_OK);
	free(path);
}

/* top: members of the config before its sources, each with a comma behind it. source: the members
 * of the source's object. keys: texts of the files k0, k1, ... (NULL-ended). */
static inline enum err_code lab_try_in(
	struct lab *lab, const char *top, const char *source, const char *const *keys)
{
	char text[8192], name[32], *path;
	enum err_code rc;
	static char *none[] = { NULL };

	*lab = (struct lab){ .verdict = SCHEME_VERDICT_INIT, .mapped = SCHEME_MAPPED_INIT };
	(void)snprintf(lab->dir, sizeof(lab->dir), "/tmp/postern-lab.XXXXXX");
	assert_non_null(mkdtemp(lab->dir));
	for (size_t i = 0; keys[i]; i++) {
		(void)snprintf(name, sizeof(name), "k%zu", i);
		lab_write(lab, name, keys[i]);
	}
	assert_true(snprintf(text, sizeof(text), "{%s\"sources\": {\"s\": {%s}}}\n", top, source) <
		    (int)sizeof(text));
	lab_write(lab, "postern.json", text);
	path = file_join(lab->dir, "postern.json");
	assert_non_null(path);
	rc = config_load(path, none, &lab->config, &lab->report, &lab->err);
	if (rc == ERR_OK) {
		config_report_done(&lab->report); /* its warnings are not the scheme's */
		rc = scheme_open(&lab->config->sources[0], &lab->scheme, &lab->report, &lab->err);
	}
	free(path);
	assert_int_equal(rc, lab->err.code);
	return rc;
}

static inline enum err_code lab_try(struct lab *lab, const char *source, const char *const *keys)
{
	return lab_try_in(lab, "", source, keys);
}

static inline void lab_open_in(
	struct lab *lab, const char *top, const char *source, const char *const *keys)
{
	enum err_code rc = lab_try_in(lab, top, source, keys);

	for (size_t i = 0; rc != ERR_OK && i < lab->report.count; i++)
		print_error(
			"%s: %s\n", lab->report.problems[i].pointer, lab->report.problems[i].text);
	if (rc != ERR_OK)
		print_error("%s\n", lab->err.text);
	assert_int_equal(rc, ERR_OK);
	assert_non_null(lab->scheme);
}

static inline void lab_open(struct lab *lab, const char *source, const char *const *keys)
{
	lab_open_in(lab, "", source, keys);
}

static inline void lab_close(struct lab *lab)
{
	static const char *const files[] = { "postern.json", "k0", "k1", "k2", "k3", "k4", "k5",
		"k6", "k7", "k8" };

	scheme_close(&lab->scheme);
	config_unref(&lab->config);
	config_report_done(&lab->report);
	scheme_verdict_done(&lab->verdict);
	scheme_mapped_done(&lab->mapped);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		char *path = file_join(lab->dir, files[i]);

		assert_non_null(path);
		(void)unlink(path);
		free(path);
	}
	assert_int_equal(rmdir(lab->dir), 0);
}

/* A mistake: the source is refused, and a problem says this word. */
static inline void lab_refuses(const char *source, const char *const *keys, const char *word)
{
	struct lab lab;
	bool told = false;

	assert_int_equal(lab_try(&lab, source, keys), ERR_CONFIG);
	for (size_t p = 0; p < lab.report.count; p++)
		told |= strstr(lab.report.problems[p].text, word) != NULL;
	if (!told && lab.report.count > 0)
		print_error("%s: %s\n", source, lab.report.problems[0].text);
	assert_true(told);
	lab_close(&lab);
}

/* A request from "Name: value" lines. */
struct lab_request {
	struct header headers[LAB_HEADERS];
	struct scheme_request rq;
};

static inline void lab_header(struct lab_request *r, const char *name, struct slice value)
{
	assert_true(r->rq.header_count < LAB_HEADERS);
	r->headers[r->rq.header_count++] = (struct header){ slice_str(name), value };
	r->rq.headers = r->headers;
}

static inline void lab_request(struct lab_request *r, const char *headers, struct slice body)
{
	struct slice text = slice_str(headers);

	*r = (struct lab_request){
		.rq = { .method = SLICE_LIT("POST"), .path = SLICE_LIT("/hooks/s"), .body = body }
	};
	r->rq.headers = r->headers;
	while (text.len > 0) {
		struct slice line = slice_sub(text, 0, slice_find(text, '\n'));
		size_t colon = slice_find(line, ':');

		assert_true(r->rq.header_count < LAB_HEADERS);
		r->headers[r->rq.header_count++] = (struct header){
			slice_sub(line, 0, colon),
			slice_sub(line, colon + 2, line.len),
		};
		text = slice_sub(text, line.len + 1, text.len);
	}
}

static inline enum err_code lab_verify(struct lab *lab, const struct lab_request *r, int64_t now_ms)
{
	scheme_verify(lab->scheme, &r->rq, now_ms, &lab->verdict);
	return lab->verdict.code;
}

static inline enum err_code lab_map(struct lab *lab, const struct lab_request *r)
{
	scheme_map(lab->scheme, &r->rq, &lab->verdict, &lab->mapped);
	return lab->mapped.code;
}

static inline void lab_is(struct slice have, const char *want)
{
	if (!slice_eq_str(have, want))
		print_error("have \"%.*s\", want \"%s\"\n", SLICE_FMT(have), want);
	assert_true(slice_eq_str(have, want));
}
