/* seglog_priv.h - what the files of the segmented log share: its state, and who may touch what.
 *
 *   appenders --pending--> writer --one callback a group--> appender
 *                            ^ |                              (same thread)
 *                 spare ready| |segment taken into use
 *                            | v
 *                          keeper --> rename, unlink, zero-fill
 *
 * The lock is never held across I/O or a callback. */
#pragma once

#include "seglog.h"
#include "seglog_format.h"

#include "postern/metrics.h"
#include "postern/thread.h"

#include <stdatomic.h>

/* ---- files (seglog_files.c) ---- */

struct seglog_file {
	int64_t first, bytes;
};
struct seglog_list { /* ascending by first */
	struct seglog_file *files;
	size_t count, cap;
};
void seglog_list_done(struct seglog_list *list);
/* Puts a file at the end; one with the same first is replaced. */
MUST_CHECK enum err_code seglog_list_add(
	struct seglog_list *list, struct seglog_file file, struct err *err);
/* Reads the directory. */
MUST_CHECK enum err_code seglog_list_read(
	int dir_fd, const char *dir, struct seglog_list *out, struct err *err);
/* The index of the file that holds this offset; count if it is below the first. */
size_t seglog_list_find(const struct seglog_list *list, int64_t offset);
int64_t seglog_list_bytes(const struct seglog_list *list);

void seglog_name(char out[SEGLOG_NAME_MAX], int64_t first);
/* Opens a segment for reading and checks its head. ERR_NOT_FOUND: no such file. */
MUST_CHECK enum err_code seglog_segment_open(const struct seglog *log, int64_t first, int *out_fd,
	struct seglog_head *out_head, int64_t *out_bytes, struct err *err);
/* All of it; fewer bytes than asked only at the end of the file. -1: errno. */
ssize_t seglog_pread(int fd, uint8_t *out, size_t len, int64_t at);
/* What lies before `until` leaves the page cache, in large steps. A record is written once and read
 * once, a moment later: its pages would only push out others that are worth more, the store's first
 * of all; and a page that is new to a machine costs more than the copy into it. Who comes late
 * reads from the disk. uncached: up to where it was done, 0 for a file that was just opened. */
void seglog_uncache(int fd, int64_t *uncached, int64_t until);
/* 0 or errno. *out_done: how many bytes the file may have got. */
int seglog_pwrite(
	const struct seglog_io *io, int fd, struct slice data, int64_t at, size_t *out_done);
/* ERR_CORRUPT with the one sentence that names file, byte and what to do. */
enum err_code seglog_damaged(const struct seglog *log, int64_t first, size_t at, int64_t offset,
	const char *what, struct err *err);

/* ---- the shared page (seglog_shared.c) ---- */

struct seglog_page;
struct seglog_shared {
	int fd; /* -1: there is no file, the page is ours alone */
	struct seglog_page *page;
	bool writable;
	uint64_t boot; /* names the time since this machine started */
};
MUST_CHECK enum err_code seglog_shared_open(
	int dir_fd, enum seglog_mode mode, struct seglog_shared *out, struct err *err);
void seglog_shared_close(struct seglog_shared *shared);
/* Did the writer recover since this machine started? Only then is the end more than a lower bound.
 */
bool seglog_shared_current(const struct seglog_shared *shared);
void seglog_shared_set_current(struct seglog_shared *shared);
int64_t seglog_shared_end(const struct seglog_shared *shared);
void seglog_shared_publish(struct seglog_shared *shared, int64_t end); /* and wakes */
uint64_t seglog_shared_generation(const struct seglog_shared *shared);
void seglog_shared_changed(struct seglog_shared *shared); /* the list of files did */
int64_t seglog_shared_position(const struct seglog_shared *shared);
void seglog_shared_set_position(struct seglog_shared *shared, int64_t position);
/* A ticket taken before looking; a wait with it returns at once if something happened since. */
uint32_t seglog_shared_ticket(const struct seglog_shared *shared);
void seglog_shared_wait(struct seglog_shared *shared, uint32_t ticket, int64_t ms);
void seglog_shared_wake(struct seglog_shared *shared);

/* ---- the log ---- */

#define SEGLOG_PENDING_MAX MIB(64) /* bytes appended and not yet written; one list may pass it */
#define SEGLOG_GROUP_MAX MIB(4)    /* bytes of one write; one record may pass it */
#define SEGLOG_PAGE 4096
#define SEGLOG_MARK_STEP 128 /* records between two marks of a lookup */
#define SEGLOG_MARKS 512
#define SEGLOG_KEEPER_TICK_MS 1000
#define SEGLOG_KEEPER_RETRY_MS 100

struct seglog_reader;

/* A frame that a lookup has passed: where it begins. */
struct seglog_mark {
	int64_t offset, at;
};

struct seglog {
	struct seglog_opts opts; /* dir is a copy; io is set */
	int dir_fd;
	bool absent; /* read only, and there is no directory */
	struct seglog_shared shared;
	struct metric *metric_bytes, *metric_syncs, *metric_appends;

	struct lock lock;
	struct cond to_writer, to_keeper, changed;

	/* guarded by lock: appenders to writer */
	struct record *pending, **pending_tail;
	size_t pending_bytes, pending_count;
	bool writer_waits, stopping;

	/* guarded by lock: files. Only the writer adds, only the keeper removes. */
	struct seglog_list files;
	int spare_fd;     /* -1: none is ready */
	bool spare_taken; /* the writer has it, and it still has the spare's name: no other may */
	int64_t spare_bytes;
	enum err_code no_spare; /* why the last try failed; ERR_OK: it did not */
	char no_spare_text[ERR_TEXT_MAX];
	int64_t retry_ms;      /* not before */
	bool segment_wanted;   /* the writer waits, or gave up, for the lack of a spare */
	int64_t current_first; /* -1: no segment is open for appends */
	int64_t current_left;  /* bytes */
	bool keeper_stops, keeper_urged;
	uint64_t drops_wanted, drops_done; /* calls of drop_oldest */
	enum err_code drop_result;         /* of the last one */
	int64_t syncs, appended;

	/* guarded by lock: readers' list of files, and where the last lookup was */
	struct seglog_list seen;
	uint64_t seen_generation;
	bool seen_valid;
	int64_t scanned_end; /* end found by looking, while the shared page is not current */
	int64_t marks_of;    /* first offset of the segment that the marks are of */
	uint64_t marks_salt;
	struct seglog_mark marks[SEGLOG_MARKS]; /* ascending */
	size_t mark_count;

	/* the writer thread's own */
	struct thread writer;
	int fd; /* -1: none */
	uint64_t salt;
	int64_t next, at, bytes; /* next offset, byte in the file, size of the file */
	int64_t last_time_ms;
	int64_t uncached; /* byte in the file: those before it were taken out of the page cache */
	uint8_t *group;
	size_t group_cap;
	unsigned pause_us, since_probe;

	/* the keeper thread's own */
	struct thread keeper;
	int64_t next_tick_ms;

	atomic_bool woken; /* set by wake(), taken by the reader */
	struct seglog_reader *reader;
};

/* seglog_recover.c: the end of the log by looking at the last file; the writer's repair. */
MUST_CHECK enum err_code seglog_recover(struct seglog *log, struct err *err);
/* The end for a reader; looks itself while no writer has recovered since the machine started. */
MUST_CHECK enum err_code seglog_find_end(struct seglog *log, struct err *err);
int64_t seglog_end(struct seglog *log);

/* seglog_writer.c */
void *seglog_writer_run(void *log);
/* seglog_roll.c: take the spare into use as the segment of log->next. Waits for the keeper. */
MUST_CHECK enum err_code seglog_roll(struct seglog *log, struct err *err);
void seglog_abandon(struct seglog *log);

/* seglog_keeper.c */
void seglog_no_spare_locked(struct seglog *log, const struct err *err);
void *seglog_keeper_run(void *log);
void seglog_keeper_urge(struct seglog *log);
void seglog_bytes_changed_locked(struct seglog *log);

/* seglog_read.c, seglog_lookup.c */
MUST_CHECK enum err_code seglog_reader_open(struct seglog_reader **out, struct err *err);
void seglog_reader_close(struct seglog_reader **reader);
struct seglog_place { /* the segment of an offset */
	int64_t first,
		limit; /* offsets: its first, the next one's first (INT64_MAX: it is the last) */
};
/* ERR_NOT_FOUND: below the first. */
MUST_CHECK enum err_code seglog_place(
	struct seglog *log, int64_t offset, struct seglog_place *out, struct err *err);
int64_t seglog_first(struct seglog *log);
/* Walk over frames from a known one to the one with this offset. False: the frames do not lead
 * there. */
bool seglog_walk(
	int fd, int64_t bytes, uint64_t salt, int64_t from_offset, int64_t *at, int64_t to_offset);
