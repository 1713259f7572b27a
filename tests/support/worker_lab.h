/* worker_lab.h - a worker with its queue and store, and a handler whose answers the test writes.
 *
 * The program that includes this defines the handler's door itself (LAB_FAKE_HANDLER), so a call is
 * answered by a script: by the first word of the event's id (done, fail, never, hold, ...), or by
 * hand. Included by test programs only; assertions run on the main thread. */
#pragma once

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "postern/crypto.h"
#include "postern/handler.h"
#include "postern/log.h"
#include "postern/metrics.h"
#include "postern/text.h"
#include "postern/thread.h"
#include "postern/worker.h"

/* Nothing takes so long, not even with a sanitizer on a busy machine: who waits longer failed. */
#define LAB_WAIT_MS 60000
#define LAB_CALLS 4096

static inline int64_t lab_mono_ms(void)
{
	return clock_system()->mono_ms(clock_system());
}

/* Wall time that a test may turn; the monotonic clock is the machine's. */
static _Atomic int64_t lab_wall_step_ms;
static int64_t lab_wall_ms(const struct clock *clock)
{
	(void)clock;
	return clock_system()->wall_ms(clock_system()) + lab_wall_step_ms;
}
static int64_t lab_clock_mono_ms(const struct clock *clock)
{
	(void)clock;
	return clock_system()->mono_ms(clock_system());
}
static int64_t lab_clock_mono_ns(const struct clock *clock)
{
	(void)clock;
	return clock_system()->mono_ns(clock_system());
}
static const struct clock lab_clock = { lab_wall_ms, lab_clock_mono_ms, lab_clock_mono_ns };

#define LAB_UNTIL(condition)                                                                       \
	do {                                                                                       \
		const int64_t lab_deadline = lab_mono_ms() + LAB_WAIT_MS;                          \
		while (!(condition)) {                                                             \
			if (lab_mono_ms() > lab_deadline)                                          \
				fail_msg("waited too long for: %s", #condition);                   \
			(void)usleep(500);                                                         \
		}                                                                                  \
	} while (0)

#include "lab_handler.h"

/* "a b c": the ids in the order of their calls. */
static inline void lab_order(char *out, size_t max)
{
	size_t at = 0;

	out[0] = '\0';
	lock_take(&lab_handler.lock);
	for (size_t i = 0; i < lab_handler.count && i < LAB_CALLS && at < max; i++)
		at += (size_t)snprintf(
			out + at, max - at, "%s%s", i ? " " : "", lab_handler.calls[i].id);
	lock_give(&lab_handler.lock);
}

/* ---- configs ----------------------------------------------------------------------- */

#define LAB_SOURCES                                                                                \
	"\"sources\": {\"shop\": {\"preset\": \"github\", \"tenant\": \"acme\","                   \
	" \"keys\": [{\"env\": \"K\"}]},"                                                          \
	"\"strict\": {\"preset\": \"github\", \"tenant\": \"acme\", \"on_reuse\": \"quarantine\"," \
	" \"keys\": [{\"env\": \"K\"}]},"                                                          \
	"\"loose\": {\"preset\": \"github\", \"tenant\": \"acme\", \"on_replay\": \"apply\","      \
	" \"keys\": [{\"env\": \"K\"}]}}"
#define LAB_RETRY                                                                                  \
	"\"retry\": {\"attempts\": 3, \"base_ms\": 2, \"cap_ms\": 4},"                             \
	"\"breaker\": {\"failures\": 1000, \"ratio\": 1}"
#define LAB_HTTP "\"handler\": {\"type\": \"http\", \"url\": \"http://127.0.0.1:1/\"}"
#define LAB_CONFIG(routes, more)                                                                   \
	"{\"data_dir\": \"data\"," more LAB_SOURCES ", \"routes\": [" routes "]}"
#define LAB_NONE_ROUTE "{\"name\": \"all\", \"match\": {}, \"handler\": {\"type\": \"none\"}}"
#define LAB_CALL_ROUTE "{\"name\": \"call\", \"match\": {}, " LAB_HTTP ", " LAB_RETRY "}"
#define LAB_REPLAY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* ---- the lab ----------------------------------------------------------------------- */

struct lab {
	char dir[64], path[96];
	const char *config_text;
	struct config *config;
	struct queue *queue;
	struct store *store;
	struct worker *worker;
	struct store_view *view;
	struct lock lock;
	size_t appended, durable;                          /* durable: guarded by lock */
	bool disk;                                         /* lmdb and files instead of memory */
	int64_t dlq_bytes, quarantine_bytes, ledger_bytes; /* 0: plenty */
	bool raw;            /* outputs are the test's, not the worker's */
	bool raw_done;       /* guarded by lock */
	int64_t received_ms; /* 0: now */
};

static void lab_events_done(void *ctx, struct record *list)
{
	struct lab *lab = ctx;

	lock_take(&lab->lock);
	for (; list; list = list->next)
		lab->durable++;
	lock_give(&lab->lock);
}

static void lab_outputs_done(void *ctx, struct record *list)
{
	struct lab *lab = ctx;

	if (!lab->raw) {
		worker_outputs_done(lab->worker, list);
		return;
	}
	lock_take(&lab->lock);
	lab->raw_done = true;
	lock_give(&lab->lock);
}

static inline struct config *lab_config(struct lab *lab, const char *text)
{
	struct config_report report = { .count = 0 };
	struct config *config = NULL;
	struct err err = ERR_INIT;
	FILE *file = fopen(lab->path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	if (config_load(lab->path, NULL, &config, &report, &err) != ERR_OK)
		fail_msg("%s: %s", err.text, report.count ? report.problems[0].text : "");
	config_report_done(&report);
	return config;
}

/* The lane, as a daemon lays it out: the locks of both halves stand beside it. */
static inline void lab_lane(const struct lab *lab, const char *below, char *out, size_t max)
{
	(void)snprintf(out, max, "%s/data", lab->dir);
	assert_true(mkdir(out, 0700) == 0 || errno == EEXIST);
	(void)snprintf(out, max, "%s/data/main", lab->dir);
	assert_true(mkdir(out, 0700) == 0 || errno == EEXIST);
	(void)snprintf(out, max, "%s/data/main%s", lab->dir, below);
}

static inline void lab_open_queue(struct lab *lab)
{
	char dir[128];
	struct queue_opts opts = { .dir = dir,
		.writes_events = true,
		.works = true,
		.segment_bytes = (int64_t)MIB(4),
		.events_done = lab_events_done,
		.outputs_done = lab_outputs_done,
		.events_ctx = lab,
		.outputs_ctx = lab,
		.clock = &lab_clock };
	struct err err = ERR_INIT;

	lab_lane(lab, "", dir, sizeof(dir));
	for (size_t i = 0; i < STREAM_COUNT; i++)
		opts.limits[i] = (struct stream_limits){ (int64_t)MIB(512), 3600000 };
	if (lab->dlq_bytes)
		opts.limits[STREAM_DLQ].max_bytes = lab->dlq_bytes;
	if (lab->quarantine_bytes)
		opts.limits[STREAM_QUARANTINE].max_bytes = lab->quarantine_bytes;
	if ((lab->disk ? queue_embedded_open(&opts, &lab->queue, &err)
		       : queue_mem_open(&opts, &lab->queue, &err)) != ERR_OK)
		fail_msg("queue: %s", err.text);
}

static inline void lab_open_store(struct lab *lab)
{
	char dir[128];
	const struct store_opts opts = { .dir = dir,
		.dedupe_ms = 3600000,
		.ledger_max_bytes = lab->ledger_bytes ? lab->ledger_bytes : (int64_t)MIB(64),
		.clock = &lab_clock };
	struct err err = ERR_INIT;

	lab_lane(lab, "/state", dir, sizeof(dir));
	if ((lab->disk ? store_lmdb_open(&opts, &lab->store, &err)
		       : store_mem_open(&opts, &lab->store, &err)) != ERR_OK)
		fail_msg("store: %s", err.text);
	assert_int_equal(store_view_open(lab->store, &lab->view, &err), ERR_OK);
}

/* A lab in a directory that is there (and stays), without a worker. */
static inline struct lab *lab_in(const char *dir, const char *config_text)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	assert_non_null(lab);
	lab_wall_step_ms = 0;
	log_set_level(getenv("LAB_LOG") ? LOG_DEBUG : LOG_ERROR);
	(void)snprintf(lab->dir, sizeof(lab->dir), "%s", dir);
	(void)snprintf(lab->path, sizeof(lab->path), "%s/postern.json", lab->dir);
	lock_init(&lab->lock);
	lock_init(&lab_handler.lock);
	lab_handler.count = lab_handler.now = lab_handler.most = 0;
	lab_handler.over = false;
	lab_handler.retry_after_ms = -1;
	lab->config = lab_config(lab, config_text);
	return lab;
}

static inline struct lab *lab_new(const char *config_text)
{
	char dir[] = "/tmp/postern-worker-XXXXXX";

	assert_non_null(mkdtemp(dir));
	return lab_in(dir, config_text);
}

static inline void lab_start(struct lab *lab)
{
	struct config_report report = { .count = 0 };
	struct err err = ERR_INIT;

	if (worker_open(lab->config, &lab_clock, &lab->worker, &report, &err) != ERR_OK)
		fail_msg("worker: %s", err.text);
	config_report_done(&report);
	if (!lab->queue)
		lab_open_queue(lab);
	if (!lab->store)
		lab_open_store(lab);
	if (worker_start(lab->worker, lab->queue, lab->store, &err) != ERR_OK)
		fail_msg("start: %s", err.text);
}

static inline struct lab *lab_open(const char *config_text)
{
	struct lab *lab = lab_new(config_text);

	lab_start(lab);
	return lab;
}

static inline void lab_stop(struct lab *lab, int64_t in_ms)
{
	worker_stop(lab->worker, lab_mono_ms() + in_ms);
}

static inline int lab_remove_one(
	const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path);
}

/* Stopped or not. */
static inline void lab_close_worker(struct lab *lab)
{
	if (lab->worker)
		lab_stop(lab, 2000);
}

static inline void lab_remove(const char *dir)
{
	(void)nftw(dir, lab_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The files stay. */
static inline void lab_leave(struct lab *lab)
{
	lab_close_worker(lab);
	queue_close(&lab->queue);
	worker_close(&lab->worker);
	store_view_close(&lab->view);
	store_close(&lab->store);
	config_unref(&lab->config);
	lock_done(&lab->lock);
	lock_done(&lab_handler.lock);
	free(lab);
}

static inline void lab_close(struct lab *lab)
{
	char dir[64];

	(void)snprintf(dir, sizeof(dir), "%s", lab->dir);
	lab_leave(lab);
	lab_remove(dir);
}

/* The disk takes no byte, until it is given back what it had. */
static inline void lab_disk_full(struct rlimit *was)
{
	struct rlimit none;

	assert_int_equal(sigaction(SIGXFSZ, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, was), 0);
	none = (struct rlimit){ 1, was->rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
}

static inline void lab_disk_has_room(const struct rlimit *was)
{
	assert_int_equal(setrlimit(RLIMIT_FSIZE, was), 0);
}

/* ---- events ------------------------------------------------------------------------ */

struct lab_event {
	const char *id, *entity, *type, *source, *version, *base, *body, *replay, *quarantine;
};

static inline struct event lab_decode(
	const struct lab *lab, const struct lab_event *e, char digest[65])
{
	const char *body = e->body ? e->body : "{}";
	uint8_t sum[32];
	struct event event = { .id = slice_str(e->id),
		.source = slice_str(e->source ? e->source : "shop"),
		.tenant = slice_str("acme"),
		.type = slice_str(e->type ? e->type : "thing"),
		.entity = slice_str(e->entity),
		.base = slice_str(e->base),
		.replay = slice_str(e->replay),
		.quarantine = slice_str(e->quarantine) };

	event.received_ms = event.time_ms =
		lab->received_ms ? lab->received_ms : lab_clock.wall_ms(&lab_clock);
	if (e->version)
		assert_int_equal(
			version_parse(slice_str(e->version), &event.version, NULL), ERR_OK);
	crypto_sha256(slice_str(body), sum);
	text_hex(sum, sizeof(sum), digest);
	event.digest = (struct slice){ (const uint8_t *)digest, 64 };
	return event;
}

static inline void lab_append(struct lab *lab, struct record *record)
{
	struct err err = ERR_INIT;
	size_t want;

	want = ++lab->appended;
	if (queue_append(lab->queue, STREAM_EVENTS, record, &err) != ERR_OK)
		fail_msg("append: %s", err.text);
	for (;;) {
		size_t durable;

		lock_take(&lab->lock);
		durable = lab->durable;
		lock_give(&lab->lock);
		if (durable >= want)
			break;
		(void)usleep(50);
	}
	assert_int_equal(record->result, ERR_OK);
}

/* Put a record into the dlq behind the worker's back, before it starts. */
static inline void lab_outputs_raw(
	struct lab *lab, const struct item_out *out, struct record *record)
{
	bool done = false;

	*record = (struct record){ .key = out->key, .headers = out->headers, .body = out->body };
	lab->raw = true;
	assert_int_equal(queue_append(lab->queue, STREAM_DLQ, record, NULL), ERR_OK);
	while (!done) {
		(void)usleep(100);
		lock_take(&lab->lock);
		done = lab->raw_done;
		lock_give(&lab->lock);
	}
	lab->raw = false;
}

/* Append one event; gives its offset. */
static inline int64_t lab_send(struct lab *lab, const struct lab_event *e)
{
	char digest[65];
	struct event event = lab_decode(lab, e, digest);
	struct buf headers = BUF_INIT(EVENT_HEADERS_MAX), key = BUF_INIT(EVENT_KEY_MAX + 1);
	struct record record = { .body = slice_str(e->body ? e->body : "{}") };

	assert_int_equal(event_encode(&event, &headers, NULL), ERR_OK);
	assert_int_equal(event_key(&event, false, &key, NULL), ERR_OK);
	record.headers = buf_slice(&headers);
	record.key = buf_slice(&key);
	lab_append(lab, &record);
	buf_done(&headers);
	buf_done(&key);
	return record.offset;
}

static inline void lab_send_all(struct lab *lab, const struct lab_event *events, size_t count)
{
	for (size_t i = 0; i < count; i++)
		(void)lab_send(lab, &events[i]);
}

static inline void lab_id16(const char *source, const char *id, uint8_t out[ID16_LEN])
{
	const struct event event = {
		.id = slice_str(id), .source = slice_str(source), .tenant = slice_str("acme")
	};
	struct buf bytes = BUF_INIT(4096);
	uint8_t sum[32];

	assert_int_equal(event_identity(&event, &bytes, NULL), ERR_OK);
	crypto_sha256(buf_slice(&bytes), sum);
	memcpy(out, sum, ID16_LEN);
	buf_done(&bytes);
}

/* What a worker that died left in the store: a claim without a release, and these items. */
static inline void lab_die(
	struct lab *lab, const struct item *items, size_t count, int64_t next_offset)
{
	struct journal_header header = {
		.type = JOURNAL_CLAIM, .epoch = 41, .generation = 1, .partitions = 1
	};
	struct buf batch = BUF_INIT(MIB(1));

	memset(header.writer, 7, WRITER_LEN);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(journal_begin(&batch, NULL), ERR_OK);
		for (size_t j = 0; i == 1 && j < count; j++) {
			assert_int_equal(journal_add(&batch, &items[j], NULL), ERR_OK);
			assert_int_equal(store_stage(lab->store, &items[j], NULL), ERR_OK);
		}
		assert_int_equal(journal_end(&batch, &header, NULL), ERR_OK);
		assert_int_equal(store_apply(lab->store, buf_slice(&batch), NULL), ERR_OK);
		header.type = JOURNAL_BATCH;
		header.seq = 1;
		header.next_offset = next_offset;
	}
	assert_int_equal(store_commit(lab->store, NULL), ERR_OK);
	buf_done(&batch);
}

/* The event parked after one attempt; its headers live in the buffer. */
static inline struct item lab_park_item(const struct lab *lab, const struct lab_event *e,
	int64_t offset, enum park_reason reason, struct buf *headers)
{
	char digest[65];
	struct event event = lab_decode(lab, e, digest);
	static struct buf subject = BUF_INIT(4096);
	struct item item = { .type = ITEM_PARK,
		.park = { .offset = offset,
			.route = 1,
			.attempts = 1,
			.first_ms = lab_clock.wall_ms(&lab_clock),
			.deadline_ms = lab_clock.wall_ms(&lab_clock) + 60000,
			.reason = reason,
			.body = SLICE_LIT("{}") } };

	buf_reset(&subject);
	assert_int_equal(event_subject(&event, &subject, NULL), ERR_OK);
	assert_int_equal(event_encode(&event, headers, NULL), ERR_OK);
	lab_id16("shop", e->id, item.park.id16);
	item.park.subject = buf_slice(&subject);
	item.park.headers = buf_slice(headers);
	return item;
}

/* ---- what became of them ----------------------------------------------------------- */

static inline bool lab_seen(struct lab *lab, const char *id, struct item_seen *out)
{
	uint8_t id16[ID16_LEN];

	lab_id16("shop", id, id16);
	return store_view_seen(lab->view, id16, out, NULL) == ERR_OK;
}

static inline enum outcome lab_outcome(struct lab *lab, const char *id)
{
	struct item_seen seen;

	return lab_seen(lab, id, &seen) ? seen.outcome : OUTCOME_NONE;
}

static inline int64_t lab_position(struct lab *lab)
{
	struct store_state state;

	return store_view_state(lab->view, &state, NULL) == ERR_OK ? state.next_offset : -1;
}

/* The worker has passed everything that was sent (ended or parked). */
static inline void lab_passed(struct lab *lab)
{
	struct stream_stat stat;

	queue_stat(lab->queue, STREAM_EVENTS, &stat);
	LAB_UNTIL(lab_position(lab) == stat.end);
}

static inline void lab_ends(
	struct lab *lab, const char *id, enum outcome outcome, enum err_code code)
{
	struct item_seen seen = { .outcome = OUTCOME_NONE };

	LAB_UNTIL(lab_outcome(lab, id) == outcome);
	assert_true(lab_seen(lab, id, &seen));
	assert_string_equal(err_name(seen.code), err_name(code));
}

static inline bool lab_version(
	struct lab *lab, const char *entity, struct item_version *out, struct buf *text)
{
	const struct event event = { .entity = slice_str(entity), .tenant = slice_str("acme") };
	struct buf subject = BUF_INIT(4096);
	bool found;

	assert_int_equal(event_subject(&event, &subject, NULL), ERR_OK);
	found = store_view_version(lab->view, buf_slice(&subject), out, text, NULL) == ERR_OK;
	buf_done(&subject);
	return found;
}

/* The stored version of an entity as text, and its last event. */
static inline void lab_state(
	struct lab *lab, const char *entity, const char *version, const char *event_id)
{
	struct buf text = BUF_INIT(MIB(1));
	struct item_version stored;
	char have[VERSION_TEXT_MAX];

	assert_true(lab_version(lab, entity, &stored, &text));
	version_text(stored.version, have);
	assert_string_equal(have, version);
	assert_true(slice_eq_str(stored.event_id, event_id));
	buf_done(&text);
}

/* The n-th entry of an index; false: there are not so many. */
static inline bool lab_entry(struct lab *lab, enum out_target target, size_t n,
	struct store_entry *out, struct buf *text)
{
	int64_t from = 0;

	for (size_t i = 0;; i++) {
		if (store_view_entry_next(lab->view, target, from, text, out, NULL) != ERR_OK)
			return false;
		if (i == n)
			return true;
		from = out->stream_offset + 1;
	}
}

static inline size_t lab_entries(struct lab *lab, enum out_target target)
{
	struct buf text = BUF_INIT(MIB(1));
	struct store_entry entry;
	size_t n = 0;

	while (lab_entry(lab, target, n, &entry, &text))
		n++;
	buf_done(&text);
	return n;
}

static inline int64_t lab_count(enum metric_family family, const char *a, const char *b)
{
	return metric_value(metric_series(family, a, b));
}

/* A number of the status: {"queue":{"lag":3 ...: the first member with this name. -1: none. */
static inline int64_t lab_status(struct lab *lab, const char *name)
{
	struct buf out = BUF_INIT(MIB(1));
	char quoted[64];
	const char *at;
	long long value = -1;

	assert_int_equal(buf_put_str(&out, "{", NULL), ERR_OK);
	assert_int_equal(worker_status(lab->worker, &out, NULL), ERR_OK);
	(void)snprintf(quoted, sizeof(quoted), "\"%s\":", name);
	at = strstr(buf_str(&out), quoted);
	if (at)
		(void)sscanf(at + strlen(quoted), "%lld", &value);
	buf_done(&out);
	return value;
}

/* LAB_TEST names one test, for looking at it alone. */
#define lab_run(tests)                                                                             \
	(cmocka_set_test_filter(getenv("LAB_TEST")), cmocka_run_group_tests((tests), NULL, NULL))
