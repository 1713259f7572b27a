/* crew_house.h - crews in one process, each as if it were a process of its own, on journals in
 * memory: for tests of ownership and of the fold. Include it behind worker_lab.h. */
#pragma once

#include "journal_queue.h"

#include "postern/crew.h"

#define HOUSE_LANES 2
#define HOUSE_CREWS 3
#define HOUSE_TAKEOVER_MS 600
#define HOUSE_BEAT_MS 50
#define HOUSE_IDLE_MS 4000
#define HOUSE_GRACE_MS 1200

struct house;
struct house_crew {
	struct house *house;
	int number;
	char dir[96];
	struct crew *crew;
	struct crew_ports ports;
	struct journal_queue *queues[HOUSE_LANES];
	kafka_group_fn *changed;
	void *changed_ctx;
};
struct house {
	struct lab *lab;
	struct journal_log logs[HOUSE_LANES];
	struct house_crew crews[HOUSE_CREWS];
};

static enum err_code house_open_lane(
	void *ctx, const struct kafka_lane_opts *opts, struct queue **out, struct err *err)
{
	struct house_crew *c = ctx;

	(void)err;
	c->queues[opts->partition] =
		journal_queue_open(&c->house->logs[opts->partition], &lab_clock, opts);
	*out = &c->queues[opts->partition]->base;
	return ERR_OK;
}

static enum err_code house_join(
	void *ctx, kafka_group_fn *changed, void *changed_ctx, void **out, struct err *err)
{
	struct house_crew *c = ctx;

	(void)err;
	c->changed = changed;
	c->changed_ctx = changed_ctx;
	*out = c;
	return ERR_OK;
}

static void house_leave(void *ctx, void *group)
{
	struct house_crew *c = ctx;

	assert(group == c);
	c->changed = NULL;
}

static inline struct house *house_open(const char *config_text)
{
	struct house *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	h->lab = lab_new(config_text);
	for (size_t i = 0; i < HOUSE_LANES; i++)
		journal_log_init(&h->logs[i]);
	for (int i = 0; i < HOUSE_CREWS; i++) {
		struct house_crew *c = &h->crews[i];

		c->house = h;
		c->number = i;
		(void)snprintf(c->dir, sizeof(c->dir), "%s/crew-%d", h->lab->dir, i);
		c->ports = (struct crew_ports){ .ctx = c,
			.cluster = "house",
			.open_lane = house_open_lane,
			.join = house_join,
			.leave = house_leave };
	}
	return h;
}

/* Its lanes can be looked at. */
static inline bool house_opened(struct house_crew *c)
{
	for (int i = 0; i < HOUSE_LANES; i++) {
		struct store_view *view = NULL;

		if (crew_view(c->crew, i, &view, NULL) != ERR_OK)
			return false;
		store_view_close(&view);
	}
	return true;
}

static inline struct house_crew *house_start(struct house *h, int number)
{
	struct house_crew *c = &h->crews[number];
	const struct crew_opts opts = { .dir = c->dir,
		.partitions = HOUSE_LANES,
		.clock = &lab_clock,
		.takeover_ms = HOUSE_TAKEOVER_MS,
		.beat_ms = HOUSE_BEAT_MS,
		.idle_beat_ms = HOUSE_IDLE_MS,
		.grace_ms = HOUSE_GRACE_MS,
		.map_bytes = (int64_t)MIB(1),
		.ports = &c->ports };
	struct config_report report = { .count = 0 };
	struct err err = ERR_INIT;

	if (crew_open(h->lab->config, &opts, &c->crew, &report, &err) != ERR_OK)
		fail_msg("crew: %s", err.text);
	config_report_done(&report);
	if (crew_start(c->crew, &err) != ERR_OK)
		fail_msg("start: %s", err.text);
	LAB_UNTIL(house_opened(c));
	return c;
}

/* "1 0": lane 0 is assigned to it, lane 1 is not. */
static inline void house_assign(struct house_crew *c, bool first, bool second)
{
	const bool owned[HOUSE_LANES] = { first, second };

	c->changed(c->changed_ctx, owned, HOUSE_LANES);
}

static inline void house_stop(struct house_crew *c, int64_t in_ms)
{
	crew_stop(c->crew, lab_mono_ms() + in_ms);
	crew_close(&c->crew);
}

static inline void house_close(struct house *h)
{
	lab_hold_none();
	for (int i = 0; i < HOUSE_CREWS; i++) {
		if (h->crews[i].crew)
			house_stop(&h->crews[i], 2000);
	}
	for (size_t i = 0; i < HOUSE_LANES; i++)
		journal_log_done(&h->logs[i]);
	lab_close(h->lab);
	free(h);
}

static inline struct lane_info house_lane(struct house_crew *c, int lane)
{
	struct lane_info info;

	crew_lane(c->crew, lane, &info);
	return info;
}

static inline bool house_owns(struct house_crew *c, int lane)
{
	return house_lane(c, lane).state == LANE_OWNED;
}

/* Its store has everything that stands in the journal now. */
static inline void house_follows(struct house_crew *c, int lane)
{
	const int64_t end = journal_log_end(&c->house->logs[lane]);

	LAB_UNTIL(house_lane(c, lane).journal_next >= end);
}

static inline int64_t house_send(struct house *h, int lane, const struct lab_event *e)
{
	char digest[65];
	struct event event = lab_decode(h->lab, e, digest);
	struct buf headers = BUF_INIT(EVENT_HEADERS_MAX), key = BUF_INIT(EVENT_KEY_MAX + 1);
	struct record record = { .body = slice_str(e->body ? e->body : "{}") };
	int64_t offset;

	assert_int_equal(event_encode(&event, &headers, NULL), ERR_OK);
	assert_int_equal(event_key(&event, false, &key, NULL), ERR_OK);
	record.headers = buf_slice(&headers);
	record.key = buf_slice(&key);
	offset = journal_log_send(&h->logs[lane], &record, lab_clock.wall_ms(&lab_clock));
	buf_done(&headers);
	buf_done(&key);
	return offset;
}

static inline bool house_seen(struct house_crew *c, int lane, const char *id, struct item_seen *out)
{
	struct store_view *view = NULL;
	uint8_t id16[ID16_LEN];
	bool found;

	if (crew_view(c->crew, lane, &view, NULL) != ERR_OK)
		return false;
	lab_id16("shop", id, id16);
	found = store_view_seen(view, id16, out, NULL) == ERR_OK;
	store_view_close(&view);
	return found;
}

static inline enum outcome house_outcome(struct house_crew *c, int lane, const char *id)
{
	struct item_seen seen;

	return house_seen(c, lane, id, &seen) ? seen.outcome : OUTCOME_NONE;
}

/* The stored version of an entity; INT64_MIN: none. */
static inline int64_t house_version(struct house_crew *c, int lane, const char *entity)
{
	const struct event event = { .entity = slice_str(entity), .tenant = slice_str("acme") };
	struct buf subject = BUF_INIT(4096), text = BUF_INIT(4096);
	struct store_view *view = NULL;
	struct item_version version;
	int64_t value = INT64_MIN;

	assert_int_equal(crew_view(c->crew, lane, &view, NULL), ERR_OK);
	assert_int_equal(event_subject(&event, &subject, NULL), ERR_OK);
	if (store_view_version(view, buf_slice(&subject), &version, &text, NULL) == ERR_OK)
		value = version.version.value;
	store_view_close(&view);
	buf_done(&subject);
	buf_done(&text);
	return value;
}

static inline size_t house_entries(struct house_crew *c, int lane, enum out_target target)
{
	struct buf text = BUF_INIT(MIB(1));
	struct store_view *view = NULL;
	struct store_entry entry;
	int64_t from = 0;
	size_t n = 0;

	assert_int_equal(crew_view(c->crew, lane, &view, NULL), ERR_OK);
	while (store_view_entry_next(view, target, from, &text, &entry, NULL) == ERR_OK) {
		from = entry.stream_offset + 1;
		n++;
	}
	store_view_close(&view);
	buf_done(&text);
	return n;
}

/* Two crews folded to the same state: position, the journal's state, every entry of the ledger. */
static inline void house_equal(struct house_crew *a, struct house_crew *b, int lane)
{
	static struct item_seen of_a[8192], of_b[8192];
	struct store_view *va = NULL, *vb = NULL;
	struct store_state sa, sb;
	size_t na = 0, nb = 0;

	assert_int_equal(crew_view(a->crew, lane, &va, NULL), ERR_OK);
	assert_int_equal(crew_view(b->crew, lane, &vb, NULL), ERR_OK);
	assert_int_equal(store_view_state(va, &sa, NULL), ERR_OK);
	assert_int_equal(store_view_state(vb, &sb, NULL), ERR_OK);
	assert_int_equal(sa.next_offset, sb.next_offset);
	assert_int_equal(sa.journal.epoch, sb.journal.epoch);
	assert_memory_equal(sa.journal.writer, sb.journal.writer, WRITER_LEN);
	assert_int_equal(store_view_recent(va, ARRAY_LEN(of_a), of_a, &na, NULL), ERR_OK);
	assert_int_equal(store_view_recent(vb, ARRAY_LEN(of_b), of_b, &nb, NULL), ERR_OK);
	assert_int_equal(na, nb);
	for (size_t i = 0; i < na; i++) {
		struct item_seen other;

		assert_int_equal(store_view_seen(vb, of_a[i].id16, &other, NULL), ERR_OK);
		assert_int_equal(of_a[i].outcome, other.outcome);
		assert_int_equal(of_a[i].offset, other.offset);
		assert_int_equal(of_a[i].route, other.route);
		assert_string_equal(store_view_route_name(va, of_a[i].route),
			store_view_route_name(vb, other.route));
	}
	store_view_close(&va);
	store_view_close(&vb);
}
