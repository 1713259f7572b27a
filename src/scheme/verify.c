/* verify.c - is this request what its sender signed, and is it fresh?
 *
 *   signature there? -> time there, well-formed? -> signature right? -> requirements? -> fresh?
 *
 * in this order, so that a forged request is called forged however old it says it is. Deliberately
 * not here: what the request means (map.c). */
#include "scheme_priv.h"
#include "postern/text.h"

#include <stdarg.h>
#include <stdio.h>

enum err_code judge_refuse(struct judge *j, enum err_code code, const char *fmt, ...)
{
	va_list args;

	if (!j->out)
		return code;
	va_start(args, fmt);
	(void)vsnprintf(j->out->detail, sizeof(j->out->detail), fmt, args);
	va_end(args);
	return code;
}

/* Every reason why a reference has no value, told as one. */
enum err_code judge_refuse_part(
	struct judge *j, enum err_code code, const struct part *part, enum found found)
{
	static const char *const why[] = {
		[FOUND] = "cannot be read",
		[FOUND_NOT] = "is absent",
		[FOUND_TWICE] = "comes twice",
		[FOUND_BROKEN] = "is in a body that cannot be parsed",
		[FOUND_LONG] = "is too long",
		[FOUND_NOMEM] = "needs memory",
	};
	char name[80];

	if (found == FOUND_NOMEM)
		code = ERR_UNAVAILABLE;
	part_name(part, name, sizeof(name));
	return judge_refuse(j, code, "%s %s", name, why[found]);
}

/* ---- the time
 * ------------------------------------------------------------------------------------ */

bool time_parse(enum unit unit, struct slice text, int64_t *out_ms)
{
	uint64_t number;

	if (unit == UNIT_RFC3339)
		return text_rfc3339(text, out_ms, NULL) == ERR_OK;
	/* Fields may be signed without anything between them: a time that could be longer or
	 * shorter would let bytes move from one field to the next under the same signature. */
	if (text.len < 9 || text.len > 14 || text_u64(text, &number, NULL) != ERR_OK)
		return false;
	*out_ms = (int64_t)number * (unit == UNIT_SECONDS ? 1000 : 1);
	return true;
}

static enum err_code read_time(struct judge *j)
{
	const struct way *w = j->way;
	enum found found = eval_part(&j->ev, &w->time, &j->ev.notes->time);

	if (found != FOUND)
		return judge_refuse_part(j, ERR_BAD_TIMESTAMP, &w->time, found);
	if (!time_parse(w->unit, j->ev.notes->time, &j->time_ms))
		return judge_refuse(j, ERR_BAD_TIMESTAMP, "the time is not written as expected");
	return ERR_OK;
}

/* Exactly at the tolerance is accepted. Whole seconds are compared with whole seconds, also when
 * they are written as a date. */
static enum err_code check_fresh(struct judge *j)
{
	const struct way *w = j->way;
	bool whole = w->unit == UNIT_SECONDS || (w->unit == UNIT_RFC3339 && j->time_ms % 1000 == 0);
	int64_t unit_ms = whole ? 1000 : 1;
	int64_t now = j->now_ms / unit_ms * unit_ms;
	int64_t age_ms = now - j->time_ms;

	if (age_ms > w->tolerance_s * 1000)
		return judge_refuse(j, ERR_EXPIRED, "%lld s old, of %lld",
			(long long)(age_ms / 1000), (long long)w->tolerance_s);
	if (-age_ms > w->future_tolerance_s * 1000)
		return judge_refuse(j, ERR_CLOCK_SKEW, "%lld s ahead, of %lld",
			(long long)(-age_ms / 1000), (long long)w->future_tolerance_s);
	return ERR_OK;
}

static bool is_equal(struct slice a, struct slice b)
{
	return a.len == b.len && crypto_equal(a.data, b.data, a.len);
}

/* FOUND_NOT without a certificate that holds: it has no names then. */
static enum found find_peer(struct judge *j, struct slice want, bool *out_holds)
{
	const struct scheme_request *rq = j->ev.rq;

	*out_holds = false;
	for (size_t i = 0; i < rq->peer_san_count; i++)
		*out_holds |= is_equal(rq->peer_sans[i], want);
	return rq->peer_san_count > 0 ? FOUND : FOUND_NOT;
}

static enum found judge_required(struct judge *j, const struct require *r, bool *out_holds)
{
	struct slice have = SLICE_EMPTY, want;
	enum found found = FOUND;

	if (r->ref.kind != REF_PEER_SAN)
		found = eval_part(&j->ev, &r->ref, &have);
	if (found == FOUND)
		found = eval_joined(&j->ev, &r->value, &want);
	if (found != FOUND)
		return found;
	if (r->ref.kind == REF_PEER_SAN)
		return find_peer(j, want, out_holds);
	*out_holds = is_equal(have, want);
	return FOUND;
}

static enum err_code check_requirements(struct judge *j)
{
	const struct way *w = j->way;

	for (size_t i = 0; i < w->require_count; i++) {
		const struct require *r = &w->requires[i];
		bool holds = false;
		enum found found = judge_required(j, r, &holds);

		if (found != FOUND)
			return judge_refuse_part(j, ERR_BAD_SIGNATURE, &r->ref, found);
		if (!holds)
			return judge_refuse(
				j, ERR_BAD_SIGNATURE, "requirement %zu does not hold", i + 1);
	}
	return ERR_OK;
}

/* ---- one way, and all of them
 * ------------------------------------------------------------------------------------ */

/* What can be told without the keys. */
static enum err_code check_form(struct judge *j)
{
	const struct way *w = j->way;
	enum err_code rc = way_has_sig(w) ? judge_find(j) : ERR_OK;

	if (rc == ERR_OK && w->has_time)
		rc = read_time(j);
	return rc;
}

static enum err_code check_proof(struct judge *j)
{
	switch (j->way->alg->kind) {
	case ALG_NONE: return ERR_OK;
	case ALG_MODULE: return j->way->alg->module->verify(j);
	case ALG_MAC:
	case ALG_DIGEST:
	case ALG_PUBLIC:
	case ALG_TOKEN:
	case ALG_BASIC: break;
	}
	return judge_prove(j);
}

static enum err_code check_one(struct judge *j)
{
	const struct way *w = j->way;
	enum err_code rc = check_form(j);

	if (rc == ERR_OK)
		rc = check_proof(j);
	if (rc == ERR_OK) {
		rc = check_requirements(j);
		j->out->key = rc == ERR_OK ? j->out->key : -1;
	}
	if (rc == ERR_OK && w->has_time) {
		j->out->signed_ms = j->time_ms;
		rc = check_fresh(j);
	}
	return rc;
}

/* What was learnt of the request as it stands before one way, or one element. */
static void forget(struct judge *j)
{
	struct notes *notes = j->ev.notes;

	j->found.count = 0;
	j->found.too_many = false;
	j->found.ambiguous = false;
	notes->sign = 0;
	notes->time = SLICE_EMPTY;
	memset(notes->caps, 0, sizeof(notes->caps));
}

/* Every element must hold. The key that is told is the one that is tried last, as it is in use as
 * long as one element needs it. */
static enum err_code check_elements(struct judge *j, struct json_value array)
{
	struct json_value item;
	size_t at = 0, count = 0;
	int key = -1;

	while (json_next(array, &at, &item)) {
		enum err_code rc;
		size_t kept = j->ev.scratch->len;

		if (++count > ITEMS_MAX)
			return judge_refuse(
				j, ERR_BAD_SIGNATURE, "more than %d elements", ITEMS_MAX);
		forget(j);
		eval_enter(&j->ev, item);
		rc = check_one(j);
		if (rc != ERR_OK)
			return rc;
		key = j->out->key > key ? j->out->key : key;
		j->ev.scratch->len = kept;
	}
	j->out->key = key;
	if (count == 0)
		return judge_refuse(j, ERR_MISSING_SIGNATURE, "no element carries a signature");
	return ERR_OK;
}

static enum err_code check_way(struct judge *j)
{
	const struct way *w = j->way;
	struct json_value array;
	enum found found;
	enum err_code rc;

	if (!w->has_each)
		return check_one(j);
	found = eval_json(&j->ev, &w->each, &array);
	if (found != FOUND || array.type != JSON_ARRAY)
		return judge_refuse_part(
			j, ERR_MISSING_SIGNATURE, &w->each, found == FOUND ? FOUND_NOT : found);
	rc = check_elements(j, array);
	eval_enter(&j->ev, (struct json_value){ .type = JSON_ABSENT });
	return rc;
}

static void clear_notes(struct notes *notes)
{
	/* The places for JSON are many, and count only once they are filled. */
	memset(notes, 0, offsetof(struct notes, json));
}

static void start_way(struct judge *j, size_t index)
{
	j->way = &j->ev.scheme->ways[index];
	j->ev.notes->way = index;
	forget(j);
}

/* Of several refusals the one that came furthest says most. */
static unsigned progress(enum err_code code)
{
	static const enum err_code order[] = { ERR_MISSING_SIGNATURE, ERR_BAD_TIMESTAMP,
		ERR_BAD_SIGNATURE, ERR_KEY_NOT_FOUND, ERR_CLOCK_SKEW, ERR_EXPIRED };

	for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
		if (order[i] == code)
			return i;
	}
	return ARRAY_LEN(order); /* no memory: nothing was judged */
}

static enum err_code precheck_way(struct judge *j)
{
	const struct way *w = j->way;
	enum err_code rc = w->head_tells ? check_form(j) : ERR_OK;

	if (rc == ERR_OK && w->alg->module && w->alg->module->precheck)
		rc = w->alg->module->precheck(j);
	return rc;
}

enum err_code scheme_precheck(const struct scheme *scheme, const struct scheme_request *rq)
{
	struct judge j = { .out = NULL };
	enum err_code best = ERR_OK;
	struct notes notes;
	uint8_t space[KIB(4)];
	/* Never grown: headers are slices of the request, and little is decoded from a query. */
	struct buf scratch = { .data = space, .cap = sizeof(space), .max = sizeof(space) - 1 };

	clear_notes(&notes);
	j.ev = (struct eval){ .scheme = scheme, .rq = rq, .notes = &notes, .scratch = &scratch };
	for (size_t i = 0; i < scheme->way_count; i++) {
		enum err_code rc;

		start_way(&j, i);
		rc = precheck_way(&j);
		if (rc == ERR_OK)
			return ERR_OK;
		if (i == 0 || progress(rc) > progress(best))
			best = rc;
	}
	return best;
}

/* Any way that holds is enough. The text of a refusal is that of the one that is told. */
static enum err_code check_all(struct judge *j)
{
	struct scheme_verdict *out = j->out, best = { .code = ERR_OK };

	for (size_t i = 0; i < j->ev.scheme->way_count; i++) {
		start_way(j, i);
		out->key = -1;
		out->signed_ms = INT64_MIN;
		out->detail[0] = '\0';
		out->code = check_way(j);
		if (out->code == ERR_OK || j->ev.scheme->way_count == 1)
			return out->code;
		if (i == 0 || progress(out->code) > progress(best.code)) {
			best = *out;
			j->ev.notes->way = i;
		}
	}
	out->key = best.key;
	out->signed_ms = best.signed_ms;
	memcpy(out->detail, best.detail, sizeof(out->detail));
	return best.code;
}

void scheme_verify(const struct scheme *scheme, const struct scheme_request *rq, int64_t now_ms,
	struct scheme_verdict *out)
{
	struct judge j = { .now_ms = now_ms, .out = out };
	struct notes *notes;

	buf_reset(&out->captures);
	if (buf_reserve(&out->captures, sizeof(*notes) + eval_need(scheme, rq), NULL) != ERR_OK) {
		out->key = -1;
		out->signed_ms = INT64_MIN;
		out->detail[0] = '\0';
		out->code = ERR_UNAVAILABLE;
		return;
	}
	notes = (struct notes *)(void *)out->captures.data;
	out->captures.len = sizeof(*notes);
	clear_notes(notes);
	j.ev = (struct eval){
		.scheme = scheme, .rq = rq, .notes = notes, .scratch = &out->captures
	};
	out->code = check_all(&j);
	if (out->code == ERR_OK)
		eval_body(&j.ev);
	if (out->code == ERR_OK && !visit_is_for_us(&j.ev)) {
		out->key = -1;
		out->code = judge_refuse(
			&j, ERR_BAD_SIGNATURE, "its topic is not among the source's topics");
	}
}

void scheme_verdict_done(struct scheme_verdict *v)
{
	buf_done(&v->captures);
}
