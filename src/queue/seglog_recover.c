/* seglog_recover.c - where the log ends, by looking at the last segment; and its repair by the
 * writer.
 *
 * The writer, at open: what follows the last valid frame is zeroed, so that frames of a group that
 * was never answered cannot come back behind new ones. The last group, of which no later frame
 * proves that it was durable, is written again before it is synced: after a failed sync the kernel
 * may hold pages as clean that never reached the disk, and a second sync alone would succeed
 * without writing them.
 *
 * A reader without a writer since the machine started looks in the same way and changes nothing. */
#include "seglog_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The last segment, in memory. */
struct last {
	struct seglog_head head;
	struct seglog_scan scan;
	uint8_t *data;
	size_t size;
};

static enum err_code load(struct seglog *log, int64_t first, struct last *last, struct err *err)
{
	enum err_code rc;
	int64_t bytes;
	ssize_t got;
	int fd;

	rc = seglog_segment_open(log, first, &fd, &last->head, &bytes, err);
	if (rc != ERR_OK)
		return rc;
	last->data = malloc((size_t)bytes + 1);
	if (!last->data) {
		rc = err_set(err, ERR_NOMEM, "no memory to read a segment");
		goto out;
	}
	got = seglog_pread(fd, last->data, (size_t)bytes, 0);
	if (got < 0)
		rc = err_sys(err, ERR_IO, errno, log->opts.dir);
	else
		last->size = (size_t)got;
out:
	(void)close(fd);
	return rc;
}

/* The end was known to reach further: by a later frame, by the page, or by what the work has
 * passed. */
static enum err_code check(struct seglog *log, int64_t first, const struct seglog_scan *scan,
	int64_t known_end, struct err *err)
{
	int64_t position = seglog_shared_position(&log->shared);

	if (scan->proven > scan->end)
		return seglog_damaged(log, first, scan->end_at, scan->end,
			"damaged, though later records prove that it was whole", err);
	if (known_end > scan->end)
		return seglog_damaged(log, first, scan->end_at, scan->end,
			"missing or damaged, though it was durable", err);
	if (position > scan->end)
		return seglog_damaged(log, first, scan->end_at, scan->end,
			"missing, though the worker's position is beyond it", err);
	return ERR_OK;
}

static enum err_code check_empty(struct seglog *log, int64_t known_end, struct err *err)
{
	if (known_end > 0 || seglog_shared_position(&log->shared) > 0)
		return seglog_damaged(
			log, 0, 0, 0, "no segment is there, though records were", err);
	return ERR_OK;
}

/* ERR_NOT_FOUND: the log has no segment. The caller frees last->data. */
static enum err_code look(
	struct seglog *log, const struct seglog_list *files, struct last *last, struct err *err)
{
	/* Read before the file: the truth never falls behind what was published. */
	int64_t known_end = seglog_shared_end(&log->shared);
	int64_t first;
	enum err_code rc;

	*last = (struct last){ .size = 0 };
	if (files->count == 0) {
		rc = check_empty(log, known_end, err);
		return rc == ERR_OK ? ERR_NOT_FOUND : rc;
	}
	first = files->files[files->count - 1].first;
	rc = load(log, first, last, err);
	if (rc == ERR_NOT_FOUND) /* it was there a moment ago */
		rc = err_set(err, ERR_IO, "%s: the last segment went away", log->opts.dir);
	if (rc != ERR_OK)
		return rc;
	seglog_scan((struct slice){ last->data, last->size }, &last->head, &last->scan);
	return check(log, first, &last->scan, known_end, err);
}

static enum err_code repair(struct seglog *log, int fd, struct last *last, struct err *err)
{
	const struct seglog_scan *scan = &last->scan;
	size_t from = scan->uncertain_at, done;
	int bad = 0;

	if (scan->end_at < scan->dirty_end)
		memset(last->data + scan->end_at, 0, scan->dirty_end - scan->end_at);
	if (from < scan->dirty_end)
		bad = seglog_pwrite(log->opts.io, fd,
			(struct slice){ last->data + from, scan->dirty_end - from }, (int64_t)from,
			&done);
	if (bad == 0 && log->opts.io->fdatasync(fd) != 0)
		bad = errno;
	/* The name of the file may be younger than the last sync of the directory. */
	if (bad == 0 && log->opts.io->fsync_dir(log->dir_fd) != 0)
		bad = errno;
	return bad == 0 ? ERR_OK : err_sys(err, ERR_IO, bad, log->opts.dir);
}

/* Go on appending to the last segment. */
static enum err_code adopt(struct seglog *log, struct last *last, struct err *err)
{
	char name[SEGLOG_NAME_MAX];
	enum err_code rc;
	int fd;

	seglog_name(name, last->head.first);
	fd = openat(log->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(err, ERR_IO, errno, name);
	rc = repair(log, fd, last, err);
	if (rc != ERR_OK) {
		(void)close(fd);
		return rc;
	}
	log->fd = fd;
	log->salt = last->head.salt;
	log->next = last->scan.end;
	log->at = (int64_t)last->scan.end_at;
	log->bytes = (int64_t)last->size;
	log->last_time_ms = last->scan.last_time_ms;
	log->current_first = last->head.first;
	log->current_left = log->bytes - log->at;
	return ERR_OK;
}

enum err_code seglog_recover(struct seglog *log, struct err *err)
{
	struct last last;
	enum err_code rc = seglog_list_read(log->dir_fd, log->opts.dir, &log->files, err);

	if (rc != ERR_OK)
		return rc;
	rc = look(log, &log->files, &last, err);
	if (rc == ERR_OK)
		rc = adopt(log, &last, err);
	else if (rc == ERR_NOT_FOUND)
		rc = ERR_OK; /* a new log: the first append brings the first segment */
	free(last.data);
	if (rc != ERR_OK)
		return rc;
	seglog_shared_changed(&log->shared);
	seglog_shared_publish(&log->shared, log->next);
	seglog_shared_set_current(&log->shared);
	return ERR_OK;
}

/* What look() saw while a writer recovered and appended beside it says nothing: then the page is
 * current, and is used instead. */
enum err_code seglog_find_end(struct seglog *log, struct err *err)
{
	struct seglog_list files = { .count = 0 };
	struct err why = ERR_INIT;
	struct last last = { .size = 0 };
	enum err_code rc;

	if (log->absent || seglog_shared_current(&log->shared))
		return ERR_OK;
	rc = seglog_list_read(log->dir_fd, log->opts.dir, &files, &why);
	if (rc == ERR_OK)
		rc = look(log, &files, &last, &why);
	if (rc == ERR_OK)
		log->scanned_end = last.scan.end;
	else if (rc == ERR_NOT_FOUND)
		rc = ERR_OK;
	if (rc != ERR_OK && seglog_shared_current(&log->shared))
		rc = ERR_OK;
	if (rc != ERR_OK)
		*err = why;
	free(last.data);
	seglog_list_done(&files);
	return rc;
}

int64_t seglog_end(struct seglog *log)
{
	int64_t end = seglog_shared_end(&log->shared);

	/* Written at open only. */
	if (!seglog_shared_current(&log->shared) && end < log->scanned_end)
		end = log->scanned_end;
	return end;
}
