/* candidate.c - the signatures that a request brings: entries of a header, taken apart as match
 * says.
 *
 * Deliberately not here: what they are worth (prove.c). */
#include "scheme_priv.h"

static void keep_caps(struct judge *j, const struct slice *caps)
{
	const struct scheme *s = j->ev.scheme;

	for (size_t i = 0; i < s->cap_count; i++) {
		struct slice *kept = &j->ev.notes->caps[i];

		if (!caps[i].data)
			continue;
		if (kept->data && !slice_eq(*kept, caps[i]))
			j->found.ambiguous |= s->cap_read[i];
		else
			*kept = caps[i];
	}
}

static void read_entry(struct judge *j, struct slice entry)
{
	const struct way *w = j->way;
	struct candidates *found = &j->found;

	for (size_t i = 0; i < w->pattern_count; i++) {
		struct slice caps[CAPS_MAX] = { { NULL, 0 } }, sig = SLICE_EMPTY;

		if (!pattern_match(&w->patterns[i], entry, &sig, caps))
			continue;
		keep_caps(j, caps);
		if (w->patterns[i].coding == CODING_NONE)
			return;
		if (found->count == SCHEME_SIGNATURES_MAX) {
			found->too_many = true;
			return;
		}
		found->list[found->count].text = sig;
		found->list[found->count++].coding = w->patterns[i].coding;
		return;
	}
}

static void read_entries(struct judge *j, struct slice text)
{
	const bool *splits_at = j->way->splits_at;

	if (!j->way->split) {
		read_entry(j, text);
		return;
	}
	while (text.len > 0) {
		size_t len = 0;

		while (len < text.len && !splits_at[text.data[len]])
			len++;
		if (slice_trim(slice_sub(text, 0, len)).len > 0)
			read_entry(j, slice_trim(slice_sub(text, 0, len)));
		text = slice_sub(text, len + 1, text.len);
	}
}

/* Every header with the prefix. */
static enum found read_headers(struct judge *j)
{
	const struct scheme_request *rq = j->ev.rq;
	size_t count = 0;

	for (size_t i = 0; i < rq->header_count; i++) {
		if (!part_names_header(&j->way->sig, rq->headers[i].name) ||
			rq->headers[i].value.len == 0)
			continue;
		count++;
		read_entries(j, rq->headers[i].value);
	}
	return count > 0 ? FOUND : FOUND_NOT;
}

enum err_code judge_find(struct judge *j)
{
	const struct part *sig = &j->way->sig;
	struct slice text = SLICE_EMPTY;
	enum found found;

	if (sig->kind == REF_HEADERS) {
		found = read_headers(j);
	} else {
		found = eval_part(&j->ev, sig, &text);
		if (found == FOUND && text.len == 0)
			found = FOUND_NOT;
		if (found == FOUND)
			read_entries(j, text);
	}
	if (found == FOUND_NOT || found == FOUND_BROKEN)
		return judge_refuse_part(j, ERR_MISSING_SIGNATURE, sig, found);
	if (found != FOUND)
		return judge_refuse_part(j, ERR_BAD_SIGNATURE, sig, found);
	if (j->found.too_many)
		return judge_refuse(
			j, ERR_BAD_SIGNATURE, "more than %d signatures", SCHEME_SIGNATURES_MAX);
	if (j->found.ambiguous)
		return judge_refuse(j, ERR_BAD_SIGNATURE, "two values where one is signed");
	if (j->found.count == 0)
		return judge_refuse(j, ERR_BAD_SIGNATURE, "no signature of the expected form");
	return ERR_OK;
}
