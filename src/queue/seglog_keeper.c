/* seglog_keeper.c - the thread beside the writer: one spare segment ahead, and retention.
 *
 *   spare missing:  a segment may be dropped and there is a limit in the way?  -> it becomes the
 * spare there is room in max_bytes and on the disk?		     -> zeros, sync, rename neither
 * -> full; look again soon
 *
 * A segment may be dropped when all its records are below the position (drop_oldest apart), the
 * oldest first, each drop durable before the next. A lookup that still reads it finds the wrong
 * salt and looks again; batches of the reader are copies. It has a thread of its own because
 * filling a file takes as long as a hundred commits. */
#include "seglog_priv.h"

#include "postern/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define FILL_STEP MIB(1)

static int64_t now_ms(void)
{
	const struct clock *clock = clock_system();

	return clock->mono_ms(clock);
}

/* Never fewer than the current one and the spare. */
static int64_t budget(const struct seglog *log)
{
	int64_t max = log->opts.limits.max_bytes, least = 2 * log->opts.segment_bytes;

	return max > least ? max : least;
}

void seglog_bytes_changed_locked(struct seglog *log)
{
	metric_set(log->metric_bytes, seglog_list_bytes(&log->files) + log->spare_bytes);
}

void seglog_keeper_urge(struct seglog *log)
{
	lock_take(&log->lock);
	log->keeper_urged = true;
	cond_signal(&log->to_keeper);
	lock_give(&log->lock);
}

/* What the keeper decides from, taken at once. */
struct view {
	int64_t oldest,
		next; /* first offsets of the two oldest segments; next -1: there is one or none */
	int64_t bytes, oldest_bytes;
	bool need_spare, may_try;
};

static struct view look(struct seglog *log)
{
	struct view v = { .next = -1 };

	lock_take(&log->lock);
	v.need_spare = log->spare_fd < 0 && !log->spare_taken;
	v.may_try = v.need_spare && now_ms() >= log->retry_ms;
	v.bytes = seglog_list_bytes(&log->files) + log->spare_bytes;
	if (log->files.count >= 2) {
		v.oldest = log->files.files[0].first;
		v.oldest_bytes = log->files.files[0].bytes;
		v.next = log->files.files[1].first;
	}
	lock_give(&log->lock);
	return v;
}

static bool over_budget(const struct seglog *log, const struct view *v)
{
	return v->bytes + (v->need_spare ? log->opts.segment_bytes : 0) > budget(log);
}

static bool disk_short(const struct seglog *log, int64_t *out_free)
{
	*out_free = log->opts.io->free_bytes(log->dir_fd);
	return *out_free >= 0 && *out_free - log->opts.segment_bytes < log->opts.reserve_bytes;
}

/* No record of the oldest segment is younger than the head of the next. */
static bool too_old(const struct seglog *log, const struct view *v)
{
	const struct clock *clock = log->opts.clock;
	struct seglog_head head;
	struct err err = ERR_INIT;
	int64_t bytes;
	int fd;

	if (seglog_segment_open(log, v->next, &fd, &head, &bytes, &err) != ERR_OK)
		return false;
	(void)close(fd);
	return clock->wall_ms(clock) - head.created_ms >= log->opts.limits.retention_ms;
}

static bool may_drop(struct seglog *log, const struct view *v)
{
	return v->next >= 0 && v->next <= seglog_shared_position(&log->shared);
}

static bool should_drop(struct seglog *log, const struct view *v)
{
	int64_t free;

	if (!may_drop(log, v))
		return false;
	return over_budget(log, v) || (v->need_spare && disk_short(log, &free)) || too_old(log, v);
}

/* ---- dropping ---- */

static void set_spare(struct seglog *log, int fd)
{
	lock_take(&log->lock);
	log->spare_fd = fd;
	log->spare_bytes = log->opts.segment_bytes;
	log->no_spare = ERR_OK;
	seglog_bytes_changed_locked(log);
	cond_broadcast(&log->changed);
	lock_give(&log->lock);
}

/* Appends that need it are refused until there is one; the next try comes a little later. */
void seglog_no_spare_locked(struct seglog *log, const struct err *err)
{
	lock_assert_held(&log->lock);
	log->no_spare = err->code;
	memcpy(log->no_spare_text, err->text, sizeof(log->no_spare_text));
	log->retry_ms = now_ms() + SEGLOG_KEEPER_RETRY_MS;
	cond_broadcast(&log->changed);
	cond_signal(&log->to_keeper);
}

static void remove_oldest(struct seglog *log)
{
	lock_take(&log->lock);
	log->files.count--;
	memmove(log->files.files, log->files.files + 1,
		log->files.count * sizeof(*log->files.files));
	seglog_bytes_changed_locked(log);
	lock_give(&log->lock);
	seglog_shared_changed(&log->shared);
}

/* Its blocks are written and stay so: nothing to fill. */
static enum err_code recycle(struct seglog *log, const char *name, struct err *err)
{
	const struct seglog_io *io = log->opts.io;
	int fd = openat(log->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return err_sys(err, ERR_IO, errno, name);
	if (io->rename(log->dir_fd, name, SEGLOG_SPARE) != 0) {
		enum err_code rc = err_sys(err, ERR_IO, errno, name);

		(void)close(fd);
		return rc;
	}
	remove_oldest(log);
	if (io->fsync_dir(log->dir_fd) != 0) {
		enum err_code rc = err_sys(err, ERR_IO, errno, log->opts.dir);

		(void)close(fd);
		return rc;
	}
	set_spare(log, fd);
	return ERR_OK;
}

static enum err_code drop(struct seglog *log, const struct view *v, struct err *err)
{
	const struct seglog_io *io = log->opts.io;
	char name[SEGLOG_NAME_MAX];

	seglog_name(name, v->oldest);
	if (v->need_spare && v->oldest_bytes == log->opts.segment_bytes)
		return recycle(log, name, err);
	if (io->unlink(log->dir_fd, name) != 0 && errno != ENOENT)
		return err_sys(err, ERR_IO, errno, name);
	remove_oldest(log);
	if (io->fsync_dir(log->dir_fd) != 0)
		return err_sys(err, ERR_IO, errno, log->opts.dir);
	return ERR_OK;
}

static void apply_retention(struct seglog *log)
{
	struct err err = ERR_INIT;
	struct view v = look(log);

	while (should_drop(log, &v)) {
		if (drop(log, &v, &err) != ERR_OK)
			return; /* the next round tries again */
		v = look(log);
	}
}

/* The oldest goes whatever its records; never the one that is written. */
static void serve_drops(struct seglog *log)
{
	struct err err = ERR_INIT;
	struct view v = look(log);
	enum err_code rc;
	bool wanted;

	lock_take(&log->lock);
	wanted = log->drops_wanted != log->drops_done;
	lock_give(&log->lock);
	if (!wanted)
		return;
	rc = v.next >= 0 ? drop(log, &v, &err) : ERR_FULL;
	lock_take(&log->lock);
	log->drop_result = rc;
	log->drops_done = log->drops_wanted;
	cond_broadcast(&log->changed);
	lock_give(&log->lock);
}

/* ---- a new spare ---- */

/* Past the page cache where the file system can: nobody will read these zeros, and copying them
 * there costs as much processor time as the records themselves. */
static void set_direct(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT);
}

static int fill_step(struct seglog *log, int fd, struct slice zeros, int64_t at)
{
	size_t done;
	int bad = seglog_pwrite(log->opts.io, fd, zeros, at, &done);

	if (bad == EINVAL) { /* a file system that says yes to O_DIRECT and means no */
		set_direct(fd, false);
		bad = seglog_pwrite(log->opts.io, fd, zeros, at, &done);
	}
	return bad;
}

static int fill(struct seglog *log, int fd)
{
	uint8_t *zeros = aligned_alloc(SEGLOG_PAGE, FILL_STEP);
	int64_t left = log->opts.segment_bytes, at = 0;
	int bad = zeros ? 0 : ENOMEM;

	if (zeros)
		memset(zeros, 0, FILL_STEP);
	set_direct(fd, true);
	while (bad == 0 && left > 0) {
		size_t step = left < (int64_t)FILL_STEP ? (size_t)left : FILL_STEP;

		if (step % SEGLOG_PAGE != 0)
			set_direct(fd, false);
		bad = fill_step(log, fd, (struct slice){ zeros, step }, at);
		/* Small steps, so that a commit never waits behind a whole segment. */
		if (bad == 0 && log->opts.io->fdatasync(fd) != 0)
			bad = errno;
		at += (int64_t)step;
		left -= (int64_t)step;
	}
	set_direct(fd, false); /* records are written through the cache, where readers find them */
	free(zeros);
	return bad;
}

static enum err_code make_spare(struct seglog *log, struct err *err)
{
	const struct seglog_io *io = log->opts.io;
	enum err_code rc;
	int bad, fd = openat(log->dir_fd, SEGLOG_SPARE_NEW,
			 O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_sys(err, ERR_IO, errno, SEGLOG_SPARE_NEW);
	bad = fill(log, fd);
	if (bad == 0 && io->rename(log->dir_fd, SEGLOG_SPARE_NEW, SEGLOG_SPARE) != 0)
		bad = errno;
	if (bad == 0) {
		set_spare(log, fd);
		return ERR_OK;
	}
	rc = err_sys(err, ERR_IO, bad, log->opts.dir);
	(void)close(fd);
	(void)io->unlink(log->dir_fd, SEGLOG_SPARE_NEW);
	return rc;
}

static const char *const limit_names[STREAM_COUNT] = {
	[STREAM_EVENTS] = "/queue/max_bytes",
	[STREAM_DLQ] = "/dlq/max_bytes",
	[STREAM_QUARANTINE] = "/quarantine/max_bytes",
};

static void supply(struct seglog *log)
{
	struct err err = ERR_INIT;
	struct view v = look(log);
	int64_t free = 0;

	if (!v.may_try)
		return;
	if (over_budget(log, &v))
		(void)err_set(&err, ERR_FULL,
			"%s: %lld bytes of records that are still wanted, the limit is %s",
			log->opts.name, (long long)v.bytes,
			log->opts.limit_name ? log->opts.limit_name
					     : limit_names[log->opts.stream]);
	else if (disk_short(log, &free))
		(void)err_set(&err, ERR_FULL,
			"%s: %lld bytes of disk are free, a segment takes %lld and "
			"/queue/reserve_bytes stay free",
			log->opts.name, (long long)free, (long long)log->opts.segment_bytes);
	else
		(void)make_spare(log, &err);
	if (err.code == ERR_OK)
		return;
	lock_take(&log->lock);
	seglog_no_spare_locked(log, &err);
	lock_give(&log->lock);
}

/* ---- the thread ---- */

/* When something is due: now, or after a while. */
static int64_t next_due_locked(const struct seglog *log)
{
	int64_t due = log->next_tick_ms;

	if (log->keeper_urged || log->drops_wanted != log->drops_done)
		return 0;
	if (log->spare_fd < 0 && !log->spare_taken && log->retry_ms < due)
		due = log->retry_ms;
	return due;
}

/* False: stop. */
static bool wait_for_work(struct seglog *log)
{
	bool stop;

	lock_take(&log->lock);
	while (!log->keeper_stops) {
		int64_t due = next_due_locked(log);

		if (due <= now_ms())
			break;
		(void)cond_wait(&log->to_keeper, &log->lock, due);
	}
	stop = log->keeper_stops;
	if (log->keeper_urged)
		log->retry_ms = 0;
	log->keeper_urged = false;
	lock_give(&log->lock);
	return !stop;
}

void *seglog_keeper_run(void *arg)
{
	struct seglog *log = arg;

	while (wait_for_work(log)) {
		serve_drops(log);
		apply_retention(log);
		supply(log);
		if (log->next_tick_ms <= now_ms())
			log->next_tick_ms = now_ms() + SEGLOG_KEEPER_TICK_MS;
	}
	return NULL;
}
