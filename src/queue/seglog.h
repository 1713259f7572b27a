/* seglog.h - one segmented log of files: the door inside the room (embedded.c and the tests use
 * it).
 *
 * A log is a directory. "00000000000000000042.seg" holds the records from offset 42 up to the first
 * offset of the next file; what lies behind them in the file is ignored. Files are filled with
 * zeros and synced before their first use, so that an append changes no metadata and fdatasync
 * stays cheap; "spare" is the next one, ready. "shared" is a small mapped file in which the writing
 * process tells the reading one how far the log is durable, and is told how far the work has come.
 *
 * One thread (the writer) appends: it takes the whole pending list, encodes it into one buffer, one
 * pwrite, one fdatasync, one completion. Another (the keeper) makes spares and drops old segments.
 *
 * Owns:    the log owns its files; a segment is dropped only when all its records are below the
 * position. Threads: append, room, stat, lookup, wake, done: any. read, release: one reader.
 * Errors:  as queue.h says. */
#pragma once

#include "queue_priv.h"

#include <sys/types.h>

/* The system calls whose failure changes what the log may claim. Tests put their own here. */
struct seglog_io {
	ssize_t (*pwrite)(int fd, const void *data, size_t len, off_t at);
	int (*fdatasync)(int fd);
	int (*fsync_dir)(int dir_fd);
	int (*rename)(int dir_fd, const char *from, const char *to);
	int (*unlink)(int dir_fd, const char *name);
	int64_t (*free_bytes)(int dir_fd); /* -1: errno */
};
extern const struct seglog_io seglog_io_system;

enum seglog_mode {
	SEGLOG_WRITE,     /* recovers, appends, drops; also reads */
	SEGLOG_READ,      /* the other process writes: reads what is durable, tells its position */
	SEGLOG_READ_ONLY, /* nothing is created, locked or changed */
};

struct seglog_opts {
	const char *dir;
	enum stream stream;
	const char *name;       /* in metrics and texts; NULL: the stream's */
	const char *limit_name; /* of limits.max_bytes; NULL: the stream's */
	enum seglog_mode mode;
	int64_t segment_bytes, reserve_bytes;
	struct stream_limits limits;
	queue_done_fn *done;
	void *ctx;
	const struct clock *clock;
	const struct seglog_io *io; /* NULL: the system's */
};

struct seglog;
MUST_CHECK enum err_code seglog_open(
	const struct seglog_opts *opts, struct seglog **out, struct err *err);
void seglog_close(struct seglog **log);
/* After the first open of all: waits until the first segment is ready, or it is known why there is
 * none, or until deadline_ms (monotonic). */
void seglog_settle(struct seglog *log, int64_t deadline_ms);
MUST_CHECK enum err_code seglog_append(struct seglog *log, struct record *list, struct err *err);
MUST_CHECK enum err_code seglog_room(struct seglog *log, size_t bytes, struct err *err);
MUST_CHECK enum err_code seglog_read(struct seglog *log, const struct queue_read_args *args,
	struct queue_batch *out, struct err *err);
void seglog_release(struct queue_batch *batch);
void seglog_wake(struct seglog *log);
void seglog_stat(struct seglog *log, struct stream_stat *out);
MUST_CHECK enum err_code seglog_lookup(
	struct seglog *log, int64_t offset, struct buf *bytes, struct record *out, struct err *err);
MUST_CHECK enum err_code seglog_done(struct seglog *log, int64_t position, struct err *err);
MUST_CHECK enum err_code seglog_drop_oldest(
	struct seglog *log, int64_t *out_first, struct err *err);
