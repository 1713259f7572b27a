/* seglog_roll.c - the next segment, and leaving one that failed.
 *
 * The spare gets its head, is synced, and only then its name: a file with the name of a segment
 * always has a whole head, so that a bad head is damage and never an accident. The directory is
 * synced before the first record goes in. Runs on the writer thread. */
#include "seglog_priv.h"

#include "postern/file.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Wait until the keeper has made a spare or could not. */
static enum err_code take_spare(
	struct seglog *log, int *out_fd, int64_t *out_bytes, struct err *err)
{
	enum err_code rc = ERR_OK;

	lock_take(&log->lock);
	log->segment_wanted = true;
	while (log->spare_fd < 0 && log->no_spare == ERR_OK) {
		cond_signal(&log->to_keeper);
		(void)cond_wait(&log->changed, &log->lock, -1);
	}
	if (log->spare_fd >= 0) {
		*out_fd = log->spare_fd;
		*out_bytes = log->spare_bytes;
		log->spare_fd = -1;
		log->spare_taken = true;
		log->spare_bytes = 0;
	} else {
		rc = err_set(err, log->no_spare, "%s", log->no_spare_text);
	}
	lock_give(&log->lock);
	return rc;
}

static int prepare(struct seglog *log, int fd, uint64_t salt, int64_t time_ms)
{
	const struct seglog_io *io = log->opts.io;
	const struct seglog_head head = { log->next, time_ms, salt, (uint32_t)log->opts.stream };
	uint8_t raw[SEGLOG_HEAD];
	char name[SEGLOG_NAME_MAX];
	size_t done;
	int bad;

	seglog_head_put(raw, &head);
	seglog_name(name, log->next);
	bad = seglog_pwrite(io, fd, (struct slice){ raw, sizeof(raw) }, 0, &done);
	if (bad == 0 && io->fdatasync(fd) != 0)
		bad = errno;
	if (bad == 0 && io->rename(log->dir_fd, SEGLOG_SPARE, name) != 0)
		bad = errno;
	if (bad == 0 && io->fsync_dir(log->dir_fd) != 0)
		bad = errno;
	return bad;
}

/* Appends are refused until the keeper has made another spare; it pauses first. */
static enum err_code give_up(struct seglog *log, int bad, struct err *err)
{
	enum err_code rc = err_sys(err, ERR_IO, bad, log->opts.dir);

	lock_take(&log->lock);
	log->spare_taken = false;
	seglog_no_spare_locked(log, err);
	seglog_bytes_changed_locked(log);
	lock_give(&log->lock);
	return rc;
}

static enum err_code enter(struct seglog *log, int fd, int64_t bytes, struct err *err)
{
	enum err_code rc;

	lock_take(&log->lock);
	log->spare_taken = false;
	rc = seglog_list_add(&log->files, (struct seglog_file){ log->next, bytes }, err);
	if (rc == ERR_OK) {
		log->segment_wanted = false;
		log->current_first = log->next;
		log->current_left = bytes - SEGLOG_HEAD;
		seglog_bytes_changed_locked(log);
		cond_signal(&log->to_keeper);
	}
	lock_give(&log->lock);
	if (rc != ERR_OK)
		return rc;
	log->fd = fd;
	log->bytes = bytes;
	log->at = SEGLOG_HEAD;
	log->uncached = 0;
	seglog_shared_changed(&log->shared);
	return ERR_OK;
}

enum err_code seglog_roll(struct seglog *log, struct err *err)
{
	int64_t bytes = 0, now = log->opts.clock->wall_ms(log->opts.clock);
	uint64_t salt = random_u64();
	enum err_code rc;
	int bad, fd = -1;

	assert(log->fd < 0);
	rc = take_spare(log, &fd, &bytes, err);
	if (rc != ERR_OK)
		return rc;
	if (now < log->last_time_ms)
		now = log->last_time_ms;
	bad = prepare(log, fd, salt, now);
	/* A name without a durable entry is replaced by the next try, which has the same offset. */
	rc = bad == 0 ? enter(log, fd, bytes, err) : give_up(log, bad, err);
	if (rc != ERR_OK) {
		(void)close(fd);
		return rc;
	}
	log->salt = salt;
	log->last_time_ms = now;
	return ERR_OK;
}

/* The records of this segment end at log->next; what was written behind is never believed again,
 * because the next segment starts there. */
void seglog_abandon(struct seglog *log)
{
	if (log->fd < 0)
		return;
	(void)close(log->fd);
	log->fd = -1;
	lock_take(&log->lock);
	log->current_first = -1;
	log->current_left = 0;
	lock_give(&log->lock);
}
