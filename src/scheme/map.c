/* map.c - what an authentic request means: identity, type, entity, version.
 *
 * References are read in the order in which the mapping names them, and only as far as needed: a
 * body that no reference had to read may be anything. Deliberately not here: what the worker makes
 * of it. */
#include "scheme_priv.h"
#include "postern/text.h"

#include <assert.h>
#include <stdio.h>

#define GAP_DIGITS_MAX 40 /* of a batch's number */

struct mapper {
	struct eval ev;
	struct scheme_mapped *out;
};

static bool fail(struct mapper *m, enum err_code code, const char *what, const char *why)
{
	m->out->code = code;
	(void)snprintf(m->out->detail, sizeof(m->out->detail), "%s %s", what, why);
	return false;
}

/* One part's text. An empty text or, unless it must be judged as it is, an array or object is no
 * value. */
static enum found part_text(
	struct mapper *m, const struct part *part, bool whole, struct slice *out)
{
	struct json_value v;
	enum found found;

	if ((part->kind == REF_JSON || (part->kind == REF_ITEM && part->len > 0)) &&
		part->function == FN_NONE) {
		found = eval_json(&m->ev, part, &v);
		if (found != FOUND)
			return found;
		if ((v.type == JSON_ARRAY || v.type == JSON_OBJECT) && !whole)
			return FOUND_NOT;
		/* Escapes are at most six bytes for one: what is longer is too long decoded. */
		if (v.raw.len > (size_t)6 * EVENT_ID_MAX)
			return FOUND_LONG;
	}
	found = eval_part(&m->ev, part, out);
	if (found == FOUND && out->len > EVENT_ID_MAX)
		return FOUND_LONG;
	if (found == FOUND && out->len == 0 && part->kind != REF_LITERAL)
		return FOUND_NOT;
	return found == FOUND_TWICE ? FOUND_NOT : found;
}

static enum found join(
	struct mapper *m, const struct slice *pieces, size_t count, struct slice *out)
{
	struct buf *text = &m->out->text;
	size_t at = text->len;

	for (size_t i = 0; i < count; i++) {
		if (text->len - at + pieces[i].len > EVENT_ID_MAX ||
			pieces[i].len > eval_room(&m->ev) ||
			buf_put_slice(text, pieces[i], NULL) != ERR_OK)
			return FOUND_LONG;
	}
	*out = (struct slice){ text->data + at, text->len - at };
	return FOUND;
}

static enum found template_text(
	struct mapper *m, const struct template *t, bool whole, struct slice *out)
{
	struct slice pieces[PARTS_MAX];

	for (size_t i = 0; i < t->count; i++) {
		enum found found = part_text(m, &t->parts[i], whole, &pieces[i]);

		if (found != FOUND)
			return found;
	}
	if (t->count == 1) {
		*out = pieces[0];
		return FOUND;
	}
	return join(m, pieces, t->count, out);
}

/* False: the mapping ends here, with the reason in out. Nothing found is an empty slice. */
static bool choose(struct mapper *m, const struct choice *choice, const char *what, bool whole,
	struct slice *out)
{
	*out = SLICE_EMPTY;
	for (size_t i = 0; i < choice->count; i++) {
		switch (template_text(m, &choice->list[i], whole, out)) {
		case FOUND: return true;
		case FOUND_NOT:
		case FOUND_TWICE: *out = SLICE_EMPTY; break;
		case FOUND_BROKEN:
			return fail(m, ERR_MALFORMED_BODY, what,
				"has to be read from a body that cannot be parsed");
		case FOUND_LONG: return fail(m, ERR_MALFORMED_BODY, what, "is too long");
		case FOUND_NOMEM: return fail(m, ERR_UNAVAILABLE, what, "needs memory");
		}
	}
	return true;
}

/* Fit for headers of a record, for lines of a log and for a person's terminal. */
static bool is_clean(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		bool c1 = s.data[i] == 0xc2 && i + 1 < s.len && s.data[i + 1] < 0xa0;

		if (s.data[i] < 0x20 || s.data[i] == 0x7f || c1)
			return false;
	}
	return text_is_utf8(s);
}

static bool choose_text(
	struct mapper *m, const struct choice *choice, const char *what, struct slice *out)
{
	if (!choose(m, choice, what, false, out))
		return false;
	if (is_clean(*out))
		return true;
	*out = SLICE_EMPTY;
	return fail(m, ERR_MALFORMED_BODY, what, "has control characters or is not UTF-8");
}

static bool choose_version(struct mapper *m, const struct choice *choice, const char *what,
	struct slice *out_text, struct version *out)
{
	*out = (struct version){ .kind = VERSION_NONE };
	if (!choose(m, choice, what, true, out_text))
		return false;
	if (out_text->len == 0 || version_parse(*out_text, out, NULL) == ERR_OK)
		return true;
	*out_text = SLICE_EMPTY;
	return fail(m, ERR_MALFORMED_BODY, what, "is neither a whole number nor a time");
}

static void map_all(struct mapper *m)
{
	const struct scheme *s = m->ev.scheme;
	struct scheme_mapped *out = m->out;
	struct slice version;
	struct version base;

	/* The type first: the replay index may need it whatever becomes of the rest. The entity
	 * before what may be unusable: it and the type say where the event goes once somebody
	 * accepts it in spite of that. */
	if (!choose_text(m, &s->type, "the type", &out->type) ||
		!choose_text(m, &s->entity, "the entity", &out->entity) ||
		!choose_text(m, &s->id, "the id", &out->id) ||
		!choose_version(m, &s->version, "the version", &version, &out->version) ||
		!choose_version(m, &s->base, "the base version", &out->base, &base))
		return;
	out->has_no_id = s->id.count == 0;
	if (out->id.len == 0 && !out->has_no_id)
		(void)fail(m, ERR_MISSING_EVENT_ID, "the event id", "was not found");
}

/* What must not come a second time, in pieces: the nonce, or the signed bytes. Gives their number.
 */
static size_t once_only(struct mapper *m, struct slice *pieces)
{
	const struct scheme *s = m->ev.scheme;
	const struct way *w = &s->ways[m->ev.notes->way];
	const struct template *t = &w->signs[m->ev.notes->sign];
	const struct part *bad;

	if (s->has_nonce)
		return eval_part(&m->ev, &s->nonce, &pieces[0]) == FOUND ? 1 : 0;
	if (s->id_cover != ID_UNSIGNED || w->cover == COVER_NONE || w->sign_count == 0 ||
		eval_signed(&m->ev, t, pieces, &bad) != FOUND)
		return 0;
	return t->count;
}

/* The digest by which a copy under a fresh id is known. */
static void map_replay(struct mapper *m)
{
	const struct scheme *s = m->ev.scheme;
	struct scheme_mapped *out = m->out;
	struct slice pieces[PARTS_MAX + 4];
	size_t count = once_only(m, pieces);
	char index[24];

	if (count == 0)
		return;
	if (out->is_item) {
		(void)snprintf(index, sizeof(index), "%zu", out->index);
		pieces[count++] = (struct slice){ (const uint8_t *)"", 1 };
		pieces[count++] = slice_str(index);
	}
	if (s->replay_by_type) {
		pieces[count++] = (struct slice){ (const uint8_t *)"", 1 };
		pieces[count++] = out->type;
	}
	crypto_digest(CRYPTO_SHA256, pieces, count, out->replay);
	out->has_replay = true;
	out->replay_is_digest = s->ways[m->ev.notes->way].signs_body_alone && !s->has_nonce &&
				!s->replay_by_type && !out->is_item;
}

static void clear(struct scheme_mapped *out, struct slice body)
{
	struct buf text = out->text;

	buf_reset(&text);
	*out = (struct scheme_mapped){ .code = ERR_OK, .text = text, .body = body };
}

static void map_gap(struct mapper *m)
{
	const struct scheme *s = m->ev.scheme;

	for (size_t i = 0; s->has_gap && i < ARRAY_LEN(s->gap); i++) {
		struct slice *to = &m->out->gap[i];

		if (part_text(m, &s->gap[i], false, to) != FOUND || to->len > GAP_DIGITS_MAX ||
			!is_clean(*to))
			*to = SLICE_EMPTY;
	}
}

/* The verdict's notes are ours; what map learns there a handshake may use, and the reverse. */
static bool start(struct mapper *m, const struct scheme *scheme, const struct scheme_request *rq,
	const struct scheme_verdict *verdict)
{
	struct notes *notes = (struct notes *)(void *)verdict->captures.data;

	assert(verdict->code == ERR_OK && verdict->captures.len >= sizeof(*notes));
	clear(m->out, rq->body);
	if (eval_start(&m->ev, scheme, rq, notes, &m->out->text))
		return true;
	return fail(m, ERR_UNAVAILABLE, "the mapping", "needs memory");
}

static void map_event(struct mapper *m)
{
	map_all(m);
	map_replay(m);
	map_gap(m);
}

/* False: the array is not there; the event in out says so. */
static bool find_items(struct mapper *m, struct json_value *out)
{
	const struct scheme *s = m->ev.scheme;
	enum found found = eval_json(&m->ev, &s->items, out);

	if (found == FOUND_NOMEM)
		return fail(m, ERR_UNAVAILABLE, "the mapping", "needs memory");
	if (found == FOUND_BROKEN)
		return fail(m, ERR_MALFORMED_BODY, "the array of events",
			"is in a body that cannot be parsed");
	if (found != FOUND || out->type != JSON_ARRAY)
		return fail(m, ERR_MALFORMED_BODY, "the array of events", "is not there");
	return true;
}

/* The next element, which out is about from now on. */
static void map_element(struct mapper *m, struct scheme_events *events, struct json_value item)
{
	m->out->is_item = true;
	m->out->index = events->index++;
	m->out->body = json_whole(item);
	eval_enter(&m->ev, item);
	if (m->out->index >= ITEMS_MAX)
		(void)fail(m, ERR_MALFORMED_BODY, "the array of events", "is too long");
	else
		map_event(m);
}

/* The first of several, or what a body that is not split means. */
static bool map_first(struct mapper *m, struct scheme_events *events)
{
	struct json_value item;

	if (!m->ev.scheme->splits) {
		map_event(m);
		return true;
	}
	if (!find_items(m, &events->array)) {
		events->array.type = JSON_ABSENT;
		map_replay(m);
		return true;
	}
	if (!json_next(events->array, &events->at, &item))
		return false;
	map_element(m, events, item);
	return true;
}

bool scheme_events_next(const struct scheme *scheme, const struct scheme_request *rq,
	const struct scheme_verdict *verdict, struct scheme_events *events,
	struct scheme_mapped *out)
{
	struct mapper m = { .out = out };
	bool is_first = !events->has_started;
	struct json_value item;

	events->has_started = true;
	/* At the end out stays as the last event left it. */
	if (!is_first &&
		(events->array.type != JSON_ARRAY || !json_next(events->array, &events->at, &item)))
		return false;
	if (!start(&m, scheme, rq, verdict))
		return true;
	if (is_first)
		return map_first(&m, events);
	map_element(&m, events, item);
	return true;
}

void scheme_map(const struct scheme *scheme, const struct scheme_request *rq,
	const struct scheme_verdict *verdict, struct scheme_mapped *out)
{
	struct scheme_events events = SCHEME_EVENTS_INIT;

	if (!scheme_events_next(scheme, rq, verdict, &events, out))
		clear(out, SLICE_EMPTY);
}

/* Of several events the first. */
static void enter_first(struct mapper *m)
{
	struct json_value array, item;
	size_t at = 0;

	if (m->ev.scheme->splits && eval_json(&m->ev, &m->ev.scheme->items, &array) == FOUND &&
		array.type == JSON_ARRAY && json_next(array, &at, &item))
		eval_enter(&m->ev, item);
}

bool map_has_id(const struct scheme *scheme, const struct scheme_request *rq, struct notes *notes)
{
	struct scheme_mapped mapped = SCHEME_MAPPED_INIT;
	struct mapper m = { .out = &mapped };
	struct slice id = SLICE_EMPTY;
	bool has = false;

	if (eval_start(&m.ev, scheme, rq, notes, &mapped.text)) {
		enter_first(&m);
		has = choose(&m, &scheme->id, "the id", false, &id) && id.len > 0;
	}
	scheme_mapped_done(&mapped);
	return has;
}

void scheme_mapped_done(struct scheme_mapped *m)
{
	buf_done(&m->text);
}
