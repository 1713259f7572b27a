/* judge.h - one request, judged offline as the ingress would: what verify and test share. */
#pragma once

#include "postern/config.h"
#include "postern/scheme.h"

struct judged {
	enum err_code code;
	unsigned status; /* of the answer */
	bool is_handshake;
	struct scheme_verdict verdict;
	struct scheme_mapped mapped;
	struct scheme_answer answer; /* its own words, of a handshake or of the scheme's ack */
};
#define JUDGED_INIT                                                                                \
	((struct judged){ .verdict = SCHEME_VERDICT_INIT,                                          \
		.mapped = SCHEME_MAPPED_INIT,                                                      \
		.answer = SCHEME_ANSWER_INIT })
void judge(const struct config *config, const struct scheme *scheme,
	const struct scheme_request *rq, int64_t now_ms, struct judged *out);
/* Why it was refused, or "". */
const char *judged_detail(const struct judged *judged);
void judged_done(struct judged *judged);
