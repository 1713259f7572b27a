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

struct candidates {
	struct {
		struct slice text;
		enum coding coding;
	} list[SCHEME_SIGNATURES_MAX];
	size_t count;
	bool too_many;
	bool ambiguous; /* a capture that is read came with two values */
};

struct judge {
	struct eval ev;
	struct candidates found;
	int64_t now_ms, time_ms;
	struct scheme_verdict *out; /* NULL: only the code is wanted */
};

static enum err_code refuse(struct judge *j, enum err_code code, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
static enum err_code refuse(struct judge *j, enum err_code code, const char *fmt, ...)
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
static enum err_code refuse_part(
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
	return refuse(j, code, "%s %s", name, why[found]);
}

/* ---- the signature header
 * ------------------------------------------------------------------------ */

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
	const struct scheme *s = j->ev.scheme;
	struct candidates *found = &j->found;

	for (size_t i = 0; i < s->pattern_count; i++) {
		struct slice caps[CAPS_MAX] = { { NULL, 0 } }, sig = SLICE_EMPTY;

		if (!pattern_match(&s->patterns[i], entry, &sig, caps))
			continue;
		keep_caps(j, caps);
		if (s->patterns[i].coding == CODING_NONE)
			return;
		if (found->count == SCHEME_SIGNATURES_MAX) {
			found->too_many = true;
			return;
		}
		found->list[found->count].text = sig;
		found->list[found->count++].coding = s->patterns[i].coding;
		return;
	}
}

static void read_entries(struct judge *j, struct slice text)
{
	const bool *splits_at = j->ev.scheme->splits_at;

	if (!j->ev.scheme->split) {
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
		if (!part_names_header(&j->ev.scheme->sig, rq->headers[i].name) ||
			rq->headers[i].value.len == 0)
			continue;
		count++;
		read_entries(j, rq->headers[i].value);
	}
	return count > 0 ? FOUND : FOUND_NOT;
}

static enum err_code read_signature(struct judge *j)
{
	const struct part *sig = &j->ev.scheme->sig;
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
		return refuse_part(j, ERR_MISSING_SIGNATURE, sig, found);
	if (found != FOUND)
		return refuse_part(j, ERR_BAD_SIGNATURE, sig, found);
	if (j->found.too_many)
		return refuse(
			j, ERR_BAD_SIGNATURE, "more than %d signatures", SCHEME_SIGNATURES_MAX);
	if (j->found.ambiguous)
		return refuse(j, ERR_BAD_SIGNATURE, "two values where one is signed");
	if (j->found.count == 0)
		return refuse(j, ERR_BAD_SIGNATURE, "no signature of the expected form");
	return ERR_OK;
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
	const struct scheme *s = j->ev.scheme;
	enum found found = eval_part(&j->ev, &s->time, &j->ev.notes->time);

	if (found != FOUND)
		return refuse_part(j, ERR_BAD_TIMESTAMP, &s->time, found);
	if (!time_parse(s->unit, j->ev.notes->time, &j->time_ms))
		return refuse(j, ERR_BAD_TIMESTAMP, "the time is not written as expected");
	return ERR_OK;
}

/* Exactly at the tolerance is accepted. Whole seconds are compared with whole seconds. */
static enum err_code check_fresh(struct judge *j)
{
	const struct scheme *s = j->ev.scheme;
	int64_t unit_ms = s->unit == UNIT_SECONDS ? 1000 : 1;
	int64_t now = j->now_ms / unit_ms * unit_ms;
	int64_t age_ms = now - j->time_ms;

	if (age_ms > s->tolerance_s * 1000)
		return refuse(j, ERR_EXPIRED, "%lld s old, of %lld", (long long)(age_ms / 1000),
			(long long)s->tolerance_s);
	if (-age_ms > s->future_tolerance_s * 1000)
		return refuse(j, ERR_CLOCK_SKEW, "%lld s ahead, of %lld",
			(long long)(-age_ms / 1000), (long long)s->future_tolerance_s);
	return ERR_OK;
}

/* ---- the signature
 * ------------------------------------------------------------------------------- */

struct decoded {
	uint8_t list[SCHEME_SIGNATURES_MAX][CRYPTO_DIGEST_MAX];
	size_t count;   /* of those that have the right length */
	size_t odd_len; /* of one that has not */
};

/* Only what is as long as a MAC can be right. Decoding uses the end of the scratch buffer. */
static void decode(struct judge *j, struct decoded *out)
{
	struct buf *scratch = j->ev.scratch;
	size_t want = crypto_digest_len(j->ev.scheme->digest), kept = scratch->len;

	/* The list is a KiB: it is not cleared, count says how much of it is filled. */
	out->count = 0;
	out->odd_len = 0;
	for (size_t i = 0; i < j->found.count; i++) {
		struct slice text = j->found.list[i].text;
		bool is_hex = j->found.list[i].coding == CODING_HEX;
		enum err_code rc = ERR_LIMIT;

		if (text.len <= eval_room(&j->ev))
			rc = is_hex ? text_hex_decode(text, scratch, NULL)
				    : text_base64_decode(text, scratch, NULL);
		if (rc == ERR_OK && scratch->len - kept != want)
			out->odd_len = scratch->len - kept;
		else if (rc == ERR_OK)
			memcpy(out->list[out->count++], scratch->data + kept, want);
		scratch->len = kept;
	}
}

/* The first of the keys that are valid now whose MAC is among the candidates. */
static enum err_code try_keys(struct judge *j, const struct slice *pieces, size_t count,
	const struct decoded *decoded, size_t *tried)
{
	const struct scheme *s = j->ev.scheme;
	size_t len = crypto_digest_len(s->digest);

	for (size_t k = 0; k < s->key_count; k++) {
		uint8_t mac[CRYPTO_DIGEST_MAX];

		if (!key_valid(&s->keys[k], j->now_ms))
			continue;
		++*tried;
		if (crypto_mac(s->keys[k].mac, pieces, count, mac, NULL) != ERR_OK)
			return refuse(j, ERR_UNAVAILABLE, "no memory to verify");
		for (size_t i = 0; i < decoded->count; i++) {
			if (crypto_equal(mac, decoded->list[i], len)) {
				j->out->key = (int)k;
				return ERR_OK;
			}
		}
	}
	return ERR_BAD_SIGNATURE;
}

static enum err_code refuse_signature(struct judge *j, const struct decoded *decoded, size_t tried)
{
	if (decoded->count == 0 && decoded->odd_len > 0)
		return refuse(j, ERR_BAD_SIGNATURE, "a signature of %zu bytes in place of %zu",
			decoded->odd_len, crypto_digest_len(j->ev.scheme->digest));
	if (decoded->count == 0)
		return refuse(j, ERR_BAD_SIGNATURE, "the signature cannot be decoded");
	if (tried == 0)
		return refuse(j, ERR_BAD_SIGNATURE, "no key is valid at this time");
	return refuse(j, ERR_BAD_SIGNATURE, "%zu signature%s, %zu key%s tried, none fits",
		decoded->count, decoded->count == 1 ? "" : "s", tried, tried == 1 ? "" : "s");
}

static enum err_code check_signature(struct judge *j)
{
	const struct scheme *s = j->ev.scheme;
	struct decoded decoded;
	struct slice pieces[PARTS_MAX];
	const struct part *bad = NULL;
	enum found bad_found = FOUND;
	size_t tried = 0;

	decode(j, &decoded);
	for (size_t i = 0; i < s->sign_count && decoded.count > 0; i++) {
		enum found found = eval_pieces(&j->ev, &s->signs[i], pieces, &bad);
		enum err_code rc;

		if (found != FOUND) {
			bad_found = found;
			continue;
		}
		rc = try_keys(j, pieces, s->signs[i].count, &decoded, &tried);
		j->ev.notes->sign = i;
		if (rc != ERR_BAD_SIGNATURE)
			return rc;
	}
	if (bad_found != FOUND && bad && tried == 0)
		return refuse_part(j, ERR_BAD_SIGNATURE, bad, bad_found);
	return refuse_signature(j, &decoded, tried);
}

static enum err_code check_requirements(struct judge *j)
{
	const struct scheme *s = j->ev.scheme;

	for (size_t i = 0; i < s->require_count; i++) {
		const struct require *r = &s->requires[i];
		struct slice have, want;
		enum found found = eval_part(&j->ev, &r->ref, &have);

		if (found == FOUND)
			found = eval_joined(&j->ev, &r->value, &want);
		if (found != FOUND)
			return refuse_part(j, ERR_BAD_SIGNATURE, &r->ref, found);
		if (have.len != want.len || !crypto_equal(have.data, want.data, have.len))
			return refuse(j, ERR_BAD_SIGNATURE, "requirement %zu does not hold", i + 1);
	}
	return ERR_OK;
}

/* ---- the door
 * ------------------------------------------------------------------------------------ */

/* What can be told without the keys. */
static enum err_code check_form(struct judge *j)
{
	const struct scheme *s = j->ev.scheme;
	enum err_code rc = s->is_signed ? read_signature(j) : ERR_OK;

	if (rc == ERR_OK && s->has_time)
		rc = read_time(j);
	return rc;
}

static enum err_code check_all(struct judge *j)
{
	const struct scheme *s = j->ev.scheme;
	enum err_code rc = check_form(j);

	if (rc == ERR_OK && s->is_signed)
		rc = check_signature(j);
	if (rc == ERR_OK) {
		rc = check_requirements(j);
		j->out->key = rc == ERR_OK ? j->out->key : -1;
	}
	if (rc == ERR_OK && s->has_time) {
		j->out->signed_ms = j->time_ms;
		rc = check_fresh(j);
	}
	return rc;
}

static void clear_notes(struct notes *notes)
{
	/* The places for JSON are many, and count only once they are filled. */
	memset(notes, 0, offsetof(struct notes, json));
}

enum err_code scheme_precheck(const struct scheme *scheme, const struct scheme_request *rq)
{
	struct judge j = { .out = NULL };
	struct notes notes;
	uint8_t space[KIB(4)];
	/* Never grown: headers are slices of the request, and little is decoded from a query. */
	struct buf scratch = { .data = space, .cap = sizeof(space), .max = sizeof(space) - 1 };

	if (!scheme->head_tells)
		return ERR_OK;
	clear_notes(&notes);
	j.ev = (struct eval){ .scheme = scheme, .rq = rq, .notes = &notes, .scratch = &scratch };
	return check_form(&j);
}

void scheme_verify(const struct scheme *scheme, const struct scheme_request *rq, int64_t now_ms,
	struct scheme_verdict *out)
{
	struct judge j = { .now_ms = now_ms, .out = out };
	struct notes *notes;

	out->key = -1;
	out->signed_ms = INT64_MIN;
	out->detail[0] = '\0';
	buf_reset(&out->captures);
	if (buf_reserve(&out->captures, sizeof(*notes) + SCRATCH_MAX, NULL) != ERR_OK) {
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
}

void scheme_verdict_done(struct scheme_verdict *v)
{
	buf_done(&v->captures);
}
