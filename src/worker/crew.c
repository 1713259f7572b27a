/* crew.c - the door of the crew: open, start, reload, change, stop, close; and what lanes share.
 *
 * Deliberately not here: what a lane does (lane.c), and what is told of it (crew_status.c). */
#include "crew_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define TAKEOVER_MS 1500
#define BEAT_MS 500
#define IDLE_BEAT_MS                                                                               \
	30000 /* of an owner with nothing to do: a lane's journal grows by so little               \
	       */
#define GRACE_MS 5000
#define RELOAD_MS 2000 /* all lanes; those that wait for Kafka take it up later */
#define CHANGE_MS 5000 /* an operator's; longer than a takeover takes */
#define GENERATION 1
#define TEXT_MAX MIB(1)

/* ---- Kafka's ports ------------------------------------------------------------------ */

static enum err_code open_kafka_lane(
	void *ctx, const struct kafka_lane_opts *opts, struct queue **out, struct err *err)
{
	return queue_kafka_lane(ctx, opts, out, err);
}

static enum err_code join_kafka(
	void *ctx, kafka_group_fn *changed, void *changed_ctx, void **out, struct err *err)
{
	struct kafka_group *group = NULL;
	enum err_code rc = kafka_group_open(ctx, changed, changed_ctx, &group, err);

	*out = group;
	return rc;
}

static void leave_kafka(void *ctx, void *group)
{
	struct kafka_group *one = group;

	(void)ctx;
	kafka_group_close(&one);
}

static struct crew_ports ports_of(const struct crew_opts *opts)
{
	if (opts->ports)
		return *opts->ports;
	return (struct crew_ports){ .ctx = opts->kafka,
		.cluster = kafka_cluster_id(opts->kafka),
		.open_lane = open_kafka_lane,
		.join = join_kafka,
		.leave = leave_kafka };
}

/* ---- what lanes share --------------------------------------------------------------- */

struct config *crew_config(struct crew *crew)
{
	struct config *config;

	lock_take(&crew->lock);
	config = config_ref(crew->config);
	lock_give(&crew->lock);
	return config;
}

void crew_fail(struct crew *crew, int32_t partition, const struct err *err)
{
	log_error("lane_failed", log_int("lane", partition), log_code(err->code),
		log_str("text", err->text));
	lock_take(&crew->lock);
	if (crew->failed.code == ERR_OK)
		crew->failed = *err;
	lock_give(&crew->lock);
}

static struct member *find_locked(struct crew *crew, const uint8_t writer[WRITER_LEN])
{
	struct member *oldest = NULL;

	lock_assert_held(&crew->lock);
	for (size_t i = 0; i < crew->member_count; i++) {
		struct member *m = &crew->members[i];

		if (memcmp(m->writer, writer, WRITER_LEN) == 0)
			return m;
		if (!oldest || m->seen_ms < oldest->seen_ms)
			oldest = m;
	}
	if (crew->member_count < CREW_MEMBERS)
		oldest = &crew->members[crew->member_count++];
	memcpy(oldest->writer, writer, WRITER_LEN);
	return oldest;
}

void crew_heard(struct crew *crew, const uint8_t writer[WRITER_LEN])
{
	lock_take(&crew->lock);
	find_locked(crew, writer)->seen_ms = crew_now_ms(crew);
	lock_give(&crew->lock);
}

/* The same for all who ask. */
static uint32_t weight(int32_t partition, const uint8_t writer[WRITER_LEN])
{
	uint8_t number[4];

	put_le32(number, (uint32_t)partition);
	return crc32c(crc32c(0, writer, WRITER_LEN), number, sizeof(number));
}

size_t crew_rank(struct crew *crew, int32_t partition, const uint8_t silent[WRITER_LEN])
{
	/* Who has nothing to do lives all the same. */
	const int64_t since_ms =
		crew_now_ms(crew) - crew->opts.takeover_ms - crew->opts.idle_beat_ms;
	const uint32_t own = weight(partition, crew->writer);
	size_t rank = 0;

	lock_take(&crew->lock);
	for (size_t i = 0; i < crew->member_count; i++) {
		const struct member *m = &crew->members[i];

		if (m->seen_ms < since_ms || memcmp(m->writer, silent, WRITER_LEN) == 0 ||
			memcmp(m->writer, crew->writer, WRITER_LEN) == 0)
			continue;
		rank += weight(partition, m->writer) > own;
	}
	lock_give(&crew->lock);
	return rank;
}

/* On the group's thread. */
static void changed(void *ctx, const bool *owned, int32_t partitions)
{
	struct crew *crew = ctx;

	for (size_t i = 0; i < crew->lane_count && i < (size_t)partitions; i++) {
		struct lane *lane = &crew->lanes[i];

		lock_take(&lane->lock);
		if (owned[i] && !lane->assigned)
			lane->assigned_ms = crew_now_ms(crew);
		lane->assigned = owned[i];
		/* Also one that was taken over from the silent: the group knows better now. */
		lane->leave = !owned[i];
		cond_broadcast(&lane->changed);
		lock_give(&lane->lock);
	}
}

/* ---- open --------------------------------------------------------------------------- */

/* Outputs of a lane's workers, the one that runs and those that ended. */
static void outputs_done(void *ctx, struct record *list)
{
	(void)ctx;
	worker_outputs_back(list);
}

static enum err_code open_lane(struct crew *crew, struct lane *lane, struct err *err)
{
	const struct kafka_lane_opts opts = {
		.partition = lane->partition, .outputs_done = outputs_done, .outputs_ctx = lane
	};

	if (asprintf(&lane->dir, "%s/state-%d", crew->opts.dir, lane->partition) < 0) {
		lane->dir = NULL;
		return err_set(err, ERR_NOMEM, "no memory for a path");
	}
	if (getrandom(&lane->random, sizeof(lane->random), 0) != (ssize_t)sizeof(lane->random))
		return err_sys(err, ERR_IO, errno, "getrandom");
	lane->random |= 1;
	return crew->ports.open_lane(crew->ports.ctx, &opts, &lane->queue, err);
}

static void init_lanes(struct crew *crew, size_t count)
{
	crew->lane_count = count;
	for (size_t i = 0; i < count; i++) {
		struct lane *lane = &crew->lanes[i];

		lane->crew = crew;
		lane->partition = (int32_t)i;
		lane->batch = BUF_INIT(JOURNAL_BATCH_MAX);
		lane->text = BUF_INIT(TEXT_MAX);
		TAILQ_INIT(&lane->commands);
		TAILQ_INIT(&lane->asks);
		lane->last_turn_ms = crew_now_ms(crew);
		lock_init(&lane->lock);
		cond_init(&lane->changed);
	}
}

static void init(struct crew *crew, const struct crew_opts *opts, struct config *config)
{
	crew->opts = *opts;
	if (crew->opts.takeover_ms == 0)
		crew->opts.takeover_ms = TAKEOVER_MS;
	if (crew->opts.beat_ms == 0)
		crew->opts.beat_ms = BEAT_MS;
	if (crew->opts.idle_beat_ms == 0)
		crew->opts.idle_beat_ms = IDLE_BEAT_MS;
	if (crew->opts.grace_ms == 0)
		crew->opts.grace_ms = GRACE_MS;
	crew->ports = ports_of(opts);
	crew->config = config_ref(config);
	lock_init(&crew->lock);
	init_lanes(crew, (size_t)opts->partitions);
}

/* A worker that is never started says whether the config is good. */
static enum err_code try_config(
	struct crew *crew, struct config *config, struct config_report *report, struct err *err)
{
	struct worker *w = NULL;
	enum err_code rc =
		worker_open_with(config, crew->opts.clock, &crew->hosts, &w, report, err);

	worker_close(&w);
	return rc;
}

static enum err_code fill(struct crew *crew, struct config_report *report, struct err *err)
{
	enum err_code rc;

	crew->cluster = slice_dup_str(slice_str(crew->ports.cluster));
	if (!crew->cluster)
		return err_set(err, ERR_NOMEM, "no memory for a crew");
	crew->log = (struct store_log){ .cluster = crew->cluster,
		.generation = GENERATION,
		.partitions = (uint32_t)crew->lane_count };
	if (getrandom(crew->writer, WRITER_LEN, 0) != WRITER_LEN)
		return err_sys(err, ERR_IO, errno, "getrandom");
	rc = crew_begin_life(crew, err);
	if (rc == ERR_OK)
		rc = worker_hosts_open(&crew->hosts, err);
	if (rc == ERR_OK)
		rc = try_config(crew, crew->config, report, err);
	for (size_t i = 0; i < crew->lane_count && rc == ERR_OK; i++)
		rc = open_lane(crew, &crew->lanes[i], err);
	return rc;
}

enum err_code crew_open(struct config *config, const struct crew_opts *opts, struct crew **out,
	struct config_report *report, struct err *err)
{
	struct crew *crew;
	enum err_code rc;

	assert(opts->partitions > 0 && opts->clock && (opts->kafka || opts->ports));
	crew = calloc(1, sizeof(*crew) + (size_t)opts->partitions * sizeof(crew->lanes[0]));
	if (!crew)
		return err_set(err, ERR_NOMEM, "no memory for a crew");
	init(crew, opts, config);
	rc = fill(crew, report, err);
	if (rc != ERR_OK)
		crew_close(&crew);
	else
		*out = crew;
	return rc;
}

enum err_code crew_start(struct crew *crew, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < crew->lane_count && rc == ERR_OK; i++)
		rc = thread_start(&crew->lanes[i].thread, "lane", lane_run, &crew->lanes[i], err);
	if (rc == ERR_OK)
		rc = crew->ports.join(crew->ports.ctx, changed, crew, &crew->group, err);
	crew->joined = rc == ERR_OK;
	return rc;
}

/* ---- to the worker of a lane -------------------------------------------------------- */

static struct worker *borrow(struct lane *lane)
{
	struct worker *w;

	lock_take(&lane->lock);
	w = lane->worker;
	lane->users += w != NULL;
	lock_give(&lane->lock);
	return w;
}

static void give_back(struct lane *lane)
{
	lock_take(&lane->lock);
	lane->users--;
	cond_broadcast(&lane->changed);
	lock_give(&lane->lock);
}

struct lane *crew_lane_of(struct crew *crew, int32_t partition)
{
	assert(partition >= 0 && (size_t)partition < crew->lane_count);
	return &crew->lanes[partition];
}

/* By the worker that has the lane here; *out_gone: there is none, or it lost it and did nothing. */
static enum err_code change_here(struct lane *lane, const struct change_request *request,
	int64_t deadline_ms, bool *out_gone, struct err *err)
{
	struct worker *w = borrow(lane);
	struct err own = ERR_INIT;
	enum err_code rc;

	*out_gone = !w;
	if (!w)
		return ERR_OK;
	if (worker_waits_long(w))
		rc = err_set(
			&own, ERR_UNREACHABLE, "partition %d waits for Kafka", lane->partition);
	else
		rc = worker_change_until(w, request, deadline_ms, &own);
	*out_gone = rc == ERR_STOPPED && worker_failed(w, NULL) == ERR_FENCED;
	give_back(lane);
	return rc == ERR_OK || *out_gone ? ERR_OK : err_set(err, rc, "%s", own.text);
}

static enum err_code change(
	struct crew *crew, int32_t partition, const struct change_request *request, struct err *err)
{
	struct lane *lane = crew_lane_of(crew, partition);
	const int64_t deadline_ms = crew_now_ms(crew) + CHANGE_MS;
	bool gone;
	enum err_code rc = change_here(lane, request, deadline_ms, &gone, err);

	return gone ? lane_ask_owner(lane, request, deadline_ms, err) : rc;
}

enum err_code crew_change(struct crew *crew, int32_t partition, enum worker_change what,
	enum out_target target, int64_t stream_offset, struct err *err)
{
	const struct change_request request = {
		.change = what, .target = target, .stream_offset = stream_offset
	};

	return change(crew, partition, &request, err);
}

enum err_code crew_accept(struct crew *crew, int32_t partition, int64_t stream_offset,
	struct slice headers, struct slice key, struct err *err)
{
	const struct change_request request = { .change = CHANGE_ACCEPT,
		.target = OUT_QUARANTINE,
		.stream_offset = stream_offset,
		.headers = headers,
		.key = key };

	return change(crew, partition, &request, err);
}

/* Those that run take it up; those that come begin with it. */
enum err_code crew_reload(
	struct crew *crew, struct config *config, struct config_report *report, struct err *err)
{
	const int64_t deadline_ms = crew_now_ms(crew) + RELOAD_MS;
	struct config *old;
	enum err_code rc = try_config(crew, config, report, err);

	if (rc != ERR_OK)
		return rc;
	lock_take(&crew->lock);
	old = crew->config;
	crew->config = config_ref(config);
	lock_give(&crew->lock);
	config_unref(&old);
	for (size_t i = 0; i < crew->lane_count && rc == ERR_OK; i++) {
		struct lane *lane = &crew->lanes[i];
		struct worker *w = borrow(lane);
		struct err own = ERR_INIT;

		if (!w)
			continue;
		rc = worker_reload_until(w, config, deadline_ms, report, &own);
		/* It ends, and whoever follows has the new one; or it has it when Kafka is back. */
		if (rc == ERR_STOPPED || rc == ERR_TIMEOUT)
			rc = ERR_OK;
		if (rc != ERR_OK)
			err_ignored(err_set(err, rc, "%s", own.text));
		give_back(lane);
	}
	return rc;
}

/* ---- stop and close ----------------------------------------------------------------- */

static void tell_to_stop(struct lane *lane, int64_t deadline_ms)
{
	lock_take(&lane->lock);
	lane->stop = true;
	lane->stop_deadline_ms = deadline_ms;
	cond_broadcast(&lane->changed);
	lock_give(&lane->lock);
	queue_wake(lane->queue, STREAM_EVENTS);
}

/* Those that still wait for Kafka by then do not release. */
static void wait_for(struct lane *lane, int64_t deadline_ms)
{
	bool in_time = true;

	if (!lane->thread.running)
		return;
	lock_take(&lane->lock);
	while (!lane->over && in_time)
		in_time = cond_wait(&lane->changed, &lane->lock, deadline_ms);
	in_time = lane->over;
	lock_give(&lane->lock);
	if (!in_time)
		queue_journal_stop(lane->queue);
}

void crew_stop(struct crew *crew, int64_t deadline_ms)
{
	for (size_t i = 0; i < crew->lane_count; i++) {
		if (crew->lanes[i].queue)
			tell_to_stop(&crew->lanes[i], deadline_ms);
	}
	for (size_t i = 0; i < crew->lane_count; i++)
		wait_for(&crew->lanes[i], deadline_ms);
	/* Not one after the other: what is cut off takes its time to notice. */
	for (size_t i = 0; i < crew->lane_count; i++)
		thread_join(&crew->lanes[i].thread);
	if (crew->joined)
		crew->ports.leave(crew->ports.ctx, crew->group);
	crew->joined = false;
}

static void close_lane(struct lane *lane)
{
	queue_close(&lane->queue); /* the last outputs come back */
	lane_reap(lane);
	assert(lane->ended_count == 0);
	store_close(&lane->store);
	for (size_t i = 0; i < lane->old_count; i++)
		store_close(&lane->old[i]);
	command_free(&lane->commands);
	buf_done(&lane->batch);
	buf_done(&lane->text);
	cond_done(&lane->changed);
	lock_done(&lane->lock);
	free(lane->dir);
}

void crew_close(struct crew **out)
{
	struct crew *crew = *out;

	*out = NULL;
	if (!crew)
		return;
	crew_stop(crew, crew_now_ms(crew));
	worker_hosts_close(&crew->hosts); /* the last calls come back */
	for (size_t i = 0; i < crew->lane_count; i++)
		close_lane(&crew->lanes[i]);
	config_unref(&crew->config);
	lock_done(&crew->lock);
	free(crew->cluster);
	free(crew);
}
