/* admit_scene.h - one request on its way through admission, and what came of it.
 *
 * For the tests of admit.c. Deliberately not here: sources and signatures (hooks.h). */
#pragma once

#include "../../src/ingress/admit.h"
#include "hooks.h"

#include "postern/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MORE_HEADERS 72 /* more than a record keeps */

struct scene {
	struct scheme *scheme;
	struct scheme_signed signed_request;
	struct header headers[SCHEME_DRAFT_HEADERS + MORE_HEADERS];
	struct admit_request rq;
	struct admit_rates rates;
	struct admit_tools tools;
	struct admission out;
	struct event event;
};

static inline void scene_open(struct files *f, struct scene *s, const char *source)
{
	*s = (struct scene){ .signed_request = SCHEME_SIGNED_INIT,
		.tools = ADMIT_TOOLS_INIT,
		.out = ADMISSION_INIT };
	s->scheme = hooks_scheme(f, source);
	assert_int_equal(limit_open(10, &s->rates.sources, NULL), ERR_OK);
	assert_int_equal(limit_open(10, &s->rates.clients, NULL), ERR_OK);
	s->rq = (struct admit_request){
		.source = config_source(f->config, slice_str(source)),
		.scheme = s->scheme,
		.http = { .method = SLICE_LIT("POST"),
			.path = SLICE_LIT("/hooks/x"),
			.headers = s->headers },
		.max_body = 4096,
		.client = SLICE_LIT("127.0.0.1"),
		.request_id = SLICE_LIT("rid-1"),
		.now_ms = HOOKS_NOW_MS,
		.mono_ms = 1000,
	};
	memset(s->rq.attempt, 0xab, sizeof(s->rq.attempt));
	memset(s->rq.trace, 0x11, sizeof(s->rq.trace));
}

static inline void scene_close(struct scene *s)
{
	limit_close(&s->rates.sources);
	limit_close(&s->rates.clients);
	admit_tools_done(&s->tools);
	admission_done(&s->out);
	scheme_signed_done(&s->signed_request);
	scheme_close(&s->scheme);
}

static inline void add(struct scene *s, const char *name, const char *value)
{
	s->headers[s->rq.http.header_count++] =
		(struct header){ .name = slice_str(name), .value = slice_str(value) };
}

static inline void sign_at(struct scene *s, const char *body, int64_t now_ms, bool bad)
{
	hooks_sign(s->scheme, body, now_ms, bad, &s->signed_request);
	for (size_t i = 0; i < s->signed_request.header_count; i++)
		s->headers[s->rq.http.header_count++] = s->signed_request.headers[i];
	s->rq.http.body = slice_str(body);
	s->rq.declared = strlen(body);
}

static inline enum err_code run(struct scene *s)
{
	struct err err = ERR_INIT;

	admission_reset(&s->out);
	admit_head(&s->rq, &s->rates, &s->tools, &s->out);
	if (s->out.next == ADMIT_GO_ON)
		admit_whole(&s->rq, &s->tools, &s->out);
	if (s->out.next == ADMIT_APPEND &&
		event_decode(s->out.record.headers, &s->event, &err) != ERR_OK)
		fail_msg("%s", err.text);
	return s->out.code;
}

static inline void assert_text(struct slice have, const char *want)
{
	if (!slice_eq_str(have, want))
		fail_msg("'%.*s', not '%s'", SLICE_FMT(have), want);
}
