/* judge.c - the order of the ingress, without its limits on rates.
 *
 * Deliberately not here: deduplication and versions, which need the worker's memory. */
#include "judge.h"

static bool handshakes(const struct scheme *scheme, const struct scheme_request *rq,
	const struct scheme_verdict *verdict, int64_t now_ms, struct judged *out)
{
	out->is_handshake = scheme_handshake(scheme, rq, verdict, now_ms, &out->answer);
	return out->is_handshake;
}

static enum err_code judge_code(const struct config *config, const struct scheme *scheme,
	const struct scheme_request *rq, int64_t now_ms, struct judged *out)
{
	if (!scheme_takes_method(scheme, rq->method))
		return ERR_METHOD_NOT_ALLOWED;
	if (rq->body.len > (size_t)config->ingress.max_body_bytes)
		return ERR_TOO_LARGE;
	if (handshakes(scheme, rq, NULL, now_ms, out))
		return ERR_OK;
	if (!slice_eq_str(rq->method, "POST"))
		return ERR_METHOD_NOT_ALLOWED;
	scheme_verify(scheme, rq, now_ms, &out->verdict);
	if (out->verdict.code != ERR_OK || handshakes(scheme, rq, &out->verdict, now_ms, out))
		return out->verdict.code;
	scheme_map(scheme, rq, &out->verdict, &out->mapped);
	return out->mapped.code;
}

static bool is_the_schemes(enum err_code code)
{
	return code >= ERR_MISSING_SIGNATURE && code <= ERR_CLOCK_SKEW;
}

void judge(const struct config *config, const struct scheme *scheme,
	const struct scheme_request *rq, int64_t now_ms, struct judged *out)
{
	out->code = judge_code(config, scheme, rq, now_ms, out);
	out->status = err_status(out->code);
	if (out->is_handshake)
		out->status = out->answer.status;
	else if (is_the_schemes(out->code) && scheme_reject_status(scheme) != 0)
		out->status = scheme_reject_status(scheme);
	else if (out->status < 400 && scheme_ack(scheme, &out->answer) != 0)
		out->status = out->answer.status;
}

const char *judged_detail(const struct judged *judged)
{
	return judged->verdict.detail[0] ? judged->verdict.detail : judged->mapped.detail;
}

void judged_done(struct judged *judged)
{
	scheme_verdict_done(&judged->verdict);
	scheme_mapped_done(&judged->mapped);
	scheme_answer_done(&judged->answer);
}
