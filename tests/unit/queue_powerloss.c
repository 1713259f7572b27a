/* queue_powerloss.c - writes a queue while it is traced, and checks what a power loss has left of
 * it.
 *
 *   queue_powerloss write DIR ACKS TRACE SEED    under tests/preload/powerloss.c; notes what was
 * durable when queue_powerloss check IMAGE CUT ACKS         opens an image of the moment CUT
 *
 * tests/system/test_powerloss_log.py drives it. Without arguments it is a test of itself: writes,
 * and checks the whole directory. */
#include "support/queue_kit.h"

#include "postern/file.h"

#define ROUNDS 300
#define NEW_NUMBER 1000000
#define NEW_COUNT 20
#define SAID(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), false)

static size_t body_len(uint64_t number)
{
	return (size_t)(number * 37 % 900);
}

static struct queue_opts options(const char *dir, struct kit_sink *sinks)
{
	struct queue_opts opts = {
		.dir = dir,
		.segment_bytes = KIB(16),
		.works = true,
		.writes_events = true,
		.events_done = kit_sink_put,
		.outputs_done = kit_sink_put,
		.events_ctx = &sinks[STREAM_EVENTS],
		.outputs_ctx = &sinks[STREAM_DLQ],
		.clock = clock_system(),
	};

	for (size_t i = 0; i < STREAM_COUNT; i++)
		opts.limits[i] = (struct stream_limits){ KIB(112), INT64_MAX / 4 };
	return opts;
}

/* ---- write ---- */

struct writer {
	struct queue *queue;
	struct kit_sink sinks[STREAM_COUNT]; /* of events and dlq */
	size_t noted[STREAM_COUNT];
	int64_t durable[STREAM_COUNT]; /* offsets below */
	uint64_t next, random;
	const char *trace;
	FILE *acks;
};

static uint64_t next_random(struct writer *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

static long long trace_len(const struct writer *w)
{
	struct stat st;

	return stat(w->trace, &st) == 0 ? (long long)st.st_size : 0;
}

/* What has completed since the last call: it was durable at this length of the trace at the latest.
 */
static bool note_completions(struct writer *w, enum stream stream)
{
	struct kit_sink *sink = &w->sinks[stream];
	bool ok = true;

	lock_take(&sink->lock);
	for (; w->noted[stream] < sink->count; w->noted[stream]++) {
		const struct kit_done *done = &sink->done[w->noted[stream]];

		ok = ok && done->result == ERR_OK;
		w->durable[stream] = done->offset + 1;
		(void)fprintf(w->acks, "a %d %llu %lld %lld\n", (int)stream,
			(unsigned long long)done->number, (long long)done->offset, trace_len(w));
	}
	lock_give(&sink->lock);
	return ok;
}

static bool append_some(struct writer *w, enum stream stream)
{
	struct record *list = NULL, **tail = &list;
	size_t count = 1 + (size_t)(next_random(w) % 8);
	int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
	enum err_code rc;

	for (size_t i = 0; i < count; i++, w->next++) {
		*tail = &kit_record_new(w->next, body_len(w->next))->record;
		tail = &(*tail)->next;
	}
	while ((rc = queue_append(w->queue, stream, list, NULL)) == ERR_FULL &&
		kit_now_ms() < deadline)
		(void)usleep(500);
	if (next_random(w) % 3) {
		struct kit_sink *sink = &w->sinks[stream];

		lock_take(&sink->lock);
		while (sink->count < w->noted[stream] + 1 &&
			cond_wait(&sink->more, &sink->lock, deadline))
			;
		lock_give(&sink->lock);
	}
	return rc == ERR_OK && note_completions(w, stream);
}

/* The position is noted before it is told: from then on what is below may go. */
static bool advance(struct writer *w, enum stream stream)
{
	int64_t position = w->durable[stream] - (int64_t)(next_random(w) % 30);

	if (position <= 0)
		return true;
	(void)fprintf(
		w->acks, "p %d 0 %lld %lld\n", (int)stream, (long long)position, trace_len(w));
	(void)fflush(w->acks);
	return queue_done(w->queue, stream, position, NULL) == ERR_OK;
}

static bool write_rounds(struct writer *w)
{
	bool ok = true;

	for (size_t i = 0; ok && i < ROUNDS; i++) {
		enum stream stream = next_random(w) % 4 ? STREAM_EVENTS : STREAM_DLQ;

		ok = append_some(w, stream) &&
		     (i % 4 || (advance(w, STREAM_EVENTS) && advance(w, STREAM_DLQ)));
	}
	return ok;
}

static bool write_all(const char *root, const char *acks, const char *trace, uint64_t seed)
{
	struct writer w = { .random = seed * 2654435761u + 88172645463325252ull, .trace = trace };
	char *dir = file_join(root, "main");
	struct queue_opts opts = options(dir, w.sinks);
	struct err err = ERR_INIT;
	bool ok = false;

	w.acks = fopen(acks, "we");
	for (size_t i = 0; i < STREAM_COUNT; i++)
		kit_sink_init(&w.sinks[i]);
	/* Opened again in the middle, so that recovery is in the trace as well. */
	for (int life = 0; w.acks && life < 2; life++) {
		ok = queue_embedded_open(&opts, &w.queue, &err) == ERR_OK && write_rounds(&w);
		queue_close(&w.queue);
		ok = ok && note_completions(&w, STREAM_EVENTS) && note_completions(&w, STREAM_DLQ);
		if (!ok)
			break;
	}
	if (w.acks)
		(void)fclose(w.acks);
	for (size_t i = 0; i < STREAM_COUNT; i++)
		kit_sink_done(&w.sinks[i]);
	free(dir);
	return ok || SAID("writing failed: %s", err.text);
}

/* ---- check ---- */

struct ack {
	int stream;
	uint64_t number;
	int64_t offset;
};
struct acks { /* what was said before the cut */
	struct ack *list;
	size_t count;
	int64_t position[STREAM_COUNT];
};

static bool read_acks(const char *name, long long cut, struct acks *out)
{
	FILE *file = fopen(name, "re");
	unsigned long long number;
	long long offset, when;
	int stream;
	char kind;

	*out = (struct acks){ .count = 0 };
	if (!file)
		return SAID("%s: cannot be read", name);
	while (fscanf(file, " %c %d %llu %lld %lld", &kind, &stream, &number, &offset, &when) ==
		5) {
		if (when > cut || stream < 0 || stream >= STREAM_COUNT)
			continue;
		if (kind == 'p') {
			out->position[stream] = offset;
			continue;
		}
		out->list = reallocarray(out->list, out->count + 1, sizeof(*out->list));
		if (!out->list)
			abort();
		out->list[out->count++] = (struct ack){ stream, number, offset };
	}
	(void)fclose(file);
	return true;
}

/* Everything from the first to the end is whole, and nothing is there twice. */
static bool check_stream(struct queue *queue, enum stream stream, const struct acks *acks)
{
	static uint8_t seen[NEW_NUMBER + NEW_COUNT];
	struct queue_batch batch;
	struct stream_stat stat;
	struct err err = ERR_INIT;
	int64_t at;

	memset(seen, 0, sizeof(seen));
	queue_stat(queue, stream, &stat);
	if (stat.first > acks->position[stream])
		return SAID("%s: begins at %lld, the position was %lld", stream_name(stream),
			(long long)stat.first, (long long)acks->position[stream]);
	for (at = stat.first; at < stat.end;) {
		if (queue_read(queue, stream, at, 50, KIB(64), 0, &batch, &err) != ERR_OK)
			return SAID("%s", err.text);
		for (size_t i = 0; i < batch.count; i++, at++) {
			uint64_t number = get_le64(batch.records[i].attempt);

			if (number >= sizeof(seen) || seen[number]++ ||
				!kit_record_is(&batch.records[i], number, body_len(number)))
				return SAID("%s: record %lld is wrong or there twice",
					stream_name(stream), (long long)at);
		}
		queue_release(queue, &batch);
	}
	return true;
}

static bool check_acks(struct queue *queue, const struct acks *acks)
{
	struct buf bytes = BUF_INIT(MIB(1));
	bool ok = true;

	for (size_t i = 0; ok && i < acks->count; i++) {
		const struct ack *ack = &acks->list[i];
		struct err err = ERR_INIT;
		struct record record;
		enum err_code rc = queue_lookup(
			queue, (enum stream)ack->stream, ack->offset, &bytes, &record, &err);

		if (rc == ERR_NOT_FOUND && ack->offset < acks->position[ack->stream])
			continue; /* it had ended, and may be dropped */
		ok = rc == ERR_OK && get_le64(record.attempt) == ack->number;
		if (!ok)
			(void)SAID("%s: record %lld, number %llu was durable and is not there: %s",
				stream_name((enum stream)ack->stream), (long long)ack->offset,
				(unsigned long long)ack->number, err.text);
	}
	buf_done(&bytes);
	return ok;
}

/* Goes on with the image, and adds what it appends to acks. */
static bool go_on(struct queue *queue, struct kit_sink *sink, struct acks *acks)
{
	struct record *list = NULL, **tail = &list;

	for (uint64_t i = 0; i < NEW_COUNT; i++) {
		*tail = &kit_record_new(NEW_NUMBER + i, body_len(NEW_NUMBER + i))->record;
		tail = &(*tail)->next;
	}
	acks->list = reallocarray(acks->list, acks->count + NEW_COUNT, sizeof(*acks->list));
	if (!acks->list)
		abort();
	if (queue_append(queue, STREAM_EVENTS, list, NULL) != ERR_OK)
		return SAID("the image takes no records");
	lock_take(&sink->lock);
	while (sink->count < NEW_COUNT)
		(void)cond_wait(&sink->more, &sink->lock, -1);
	for (size_t i = 0; i < NEW_COUNT; i++) {
		if (sink->done[i].result == ERR_OK)
			acks->list[acks->count++] = (struct ack){ STREAM_EVENTS,
				sink->done[i].number, sink->done[i].offset };
	}
	lock_give(&sink->lock);
	return true;
}

/* A worker that starts before its ingress must find the same end. */
static bool end_for_worker(struct queue_opts opts, int64_t *out_end)
{
	struct queue *queue = NULL;
	struct err err = ERR_INIT;
	struct stream_stat stat;

	opts.writes_events = false;
	if (queue_embedded_open(&opts, &queue, &err) != ERR_OK)
		return SAID("worker: %s", err.text);
	queue_stat(queue, STREAM_EVENTS, &stat);
	*out_end = stat.end;
	queue_close(&queue);
	return true;
}

static bool check_life(const struct queue_opts *opts, struct kit_sink *sink, struct acks *acks,
	int64_t want_end, bool append)
{
	struct queue *queue = NULL;
	struct err err = ERR_INIT;
	struct stream_stat stat;
	bool ok;

	if (queue_embedded_open(opts, &queue, &err) != ERR_OK)
		return SAID("%s", err.text);
	queue_stat(queue, STREAM_EVENTS, &stat);
	ok = stat.end == want_end || want_end < 0 ||
	     SAID("the worker saw the end at %lld, the ingress at %lld", (long long)want_end,
		     (long long)stat.end);
	ok = ok && check_stream(queue, STREAM_EVENTS, acks) &&
	     check_stream(queue, STREAM_DLQ, acks) && check_acks(queue, acks);
	ok = ok && (!append || go_on(queue, sink, acks));
	queue_close(&queue);
	return ok;
}

static bool check(const char *root, long long cut, const char *acks_name)
{
	struct kit_sink sinks[STREAM_COUNT];
	char *dir = file_join(root, "main");
	struct queue_opts opts = options(dir, sinks);
	struct acks acks = { .count = 0 };
	int64_t end = -1;
	bool ok;

	for (size_t i = 0; i < STREAM_COUNT; i++)
		kit_sink_init(&sinks[i]);
	ok = read_acks(acks_name, cut, &acks) &&
	     (!file_exists(dir) || end_for_worker(opts, &end)) &&
	     check_life(&opts, &sinks[STREAM_EVENTS], &acks, end, true) &&
	     check_life(&opts, &sinks[STREAM_EVENTS], &acks, -1, false);
	for (size_t i = 0; i < STREAM_COUNT; i++)
		kit_sink_done(&sinks[i]);
	free(acks.list);
	free(dir);
	return ok;
}

static void what_was_written_checks(void **state)
{
	char *root = kit_dir(), *acks = NULL;

	(void)state;
	assert_true(asprintf(&acks, "%s/acks", root) > 0);
	assert_true(write_all(root, acks, "", 1));
	assert_true(check(root, INT64_MAX, acks));
	free(acks);
	kit_dir_done(root);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_was_written_checks) };

	if (argc == 6 && strcmp(argv[1], "write") == 0)
		return !write_all(argv[2], argv[3], argv[4], strtoull(argv[5], NULL, 10));
	if (argc == 5 && strcmp(argv[1], "check") == 0)
		return !check(argv[2], strtoll(argv[3], NULL, 10), argv[4]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
