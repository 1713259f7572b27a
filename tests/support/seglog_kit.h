/* seglog_kit.h - one log on files for tests: opened with small segments, calls that can be made to
 * fail, and what it must hold by what its completions said. Included by test programs only. */
#pragma once

#include "support/queue_kit.h"

#include <dirent.h>

#include "postern/file.h"

#include "../../src/queue/seglog.h"
#include "../../src/queue/seglog_format.h"

#define KIT_SEGMENT KIB(8)

/* ---- calls that fail ---- */

enum kit_call { KIT_PWRITE, KIT_SYNC, KIT_SYNC_DIR, KIT_RENAME, KIT_UNLINK, KIT_CALLS };
struct kit_faults {
	enum kit_call call;
	unsigned at;        /* the first that fails, counted from 1; 0: none */
	unsigned count;     /* how many fail from there */
	bool half;          /* pwrite writes half, and then fails */
	int64_t free_bytes; /* what the disk says; 0: the truth */
	unsigned seen;
};
static struct kit_faults kit_faults; /* read and written with atomics: the log's threads count */

static inline bool kit_fails(enum kit_call call)
{
	unsigned at = __atomic_load_n(&kit_faults.at, __ATOMIC_SEQ_CST), seen;

	if (at == 0 || __atomic_load_n(&kit_faults.call, __ATOMIC_SEQ_CST) != call)
		return false;
	seen = __atomic_add_fetch(&kit_faults.seen, 1, __ATOMIC_SEQ_CST);
	return seen >= at && seen < at + __atomic_load_n(&kit_faults.count, __ATOMIC_SEQ_CST);
}

/* From now on, while the log runs. */
static inline void kit_fail_next(enum kit_call call, unsigned count)
{
	__atomic_store_n(&kit_faults.at, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&kit_faults.call, call, __ATOMIC_SEQ_CST);
	__atomic_store_n(&kit_faults.count, count, __ATOMIC_SEQ_CST);
	__atomic_store_n(&kit_faults.seen, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&kit_faults.at, 1, __ATOMIC_SEQ_CST);
}

static inline ssize_t kit_pwrite(int fd, const void *data, size_t len, off_t at)
{
	if (kit_fails(KIT_PWRITE)) {
		errno = EIO;
		return kit_faults.half ? pwrite(fd, data, len / 2, at) : -1;
	}
	return pwrite(fd, data, len, at);
}

static inline int kit_fdatasync(int fd)
{
	errno = EIO;
	return kit_fails(KIT_SYNC) ? -1 : fdatasync(fd);
}

static inline int kit_fsync_dir(int fd)
{
	errno = EIO;
	return kit_fails(KIT_SYNC_DIR) ? -1 : fsync(fd);
}

static inline int kit_rename(int dir_fd, const char *from, const char *to)
{
	errno = EIO;
	return kit_fails(KIT_RENAME) ? -1 : renameat(dir_fd, from, dir_fd, to);
}

static inline int kit_unlink(int dir_fd, const char *name)
{
	errno = EIO;
	return kit_fails(KIT_UNLINK) ? -1 : unlinkat(dir_fd, name, 0);
}

static inline int64_t kit_free_bytes(int dir_fd)
{
	int64_t free = __atomic_load_n(&kit_faults.free_bytes, __ATOMIC_SEQ_CST);

	return free ? free : seglog_io_system.free_bytes(dir_fd);
}

static const struct seglog_io kit_io = {
	.pwrite = kit_pwrite,
	.fdatasync = kit_fdatasync,
	.fsync_dir = kit_fsync_dir,
	.rename = kit_rename,
	.unlink = kit_unlink,
	.free_bytes = kit_free_bytes,
};

/* ---- a log ---- */

static int64_t kit_wall_ms = 1000000;
static inline int64_t kit_wall(const struct clock *clock)
{
	(void)clock;
	return __atomic_load_n(&kit_wall_ms, __ATOMIC_RELAXED);
}

struct kit_log {
	char *root, *dir;
	struct clock clock;
	struct kit_sink sink;
	struct seglog_opts opts;
	struct seglog *log;
};

static inline void kit_log_init(struct kit_log *k)
{
	kit_faults = (struct kit_faults){ .at = 0 };
	kit_wall_ms = 1000000;
	k->root = kit_dir();
	k->dir = file_join(k->root, "log");
	k->log = NULL;
	k->clock = *clock_system();
	k->clock.wall_ms = kit_wall;
	kit_sink_init(&k->sink);
	k->opts = (struct seglog_opts){
		.dir = k->dir,
		.stream = STREAM_EVENTS,
		.mode = SEGLOG_WRITE,
		.segment_bytes = KIT_SEGMENT,
		.limits = { .max_bytes = MIB(4), .retention_ms = INT64_MAX / 4 },
		.done = kit_sink_put,
		.ctx = &k->sink,
		.clock = &k->clock,
		.io = &kit_io,
	};
}

static inline void kit_log_done(struct kit_log *k)
{
	seglog_close(&k->log);
	kit_sink_done(&k->sink);
	free(k->dir);
	kit_dir_done(k->root);
}

static inline void kit_log_open(struct kit_log *k)
{
	struct err err = ERR_INIT;

	if (seglog_open(&k->opts, &k->log, &err) != ERR_OK)
		fail_msg("%s", err.text);
}

/* It must not open; *err says why. */
static inline void kit_log_open_fails(struct kit_log *k, enum err_code want, struct err *err)
{
	err_clear(err);
	assert_int_equal(seglog_open(&k->opts, &k->log, err), want);
	assert_null(k->log);
	assert_int_equal(err->code, want);
}

/* One record after the other, each completed before the next: every group is one record. */
static inline void kit_log_append(struct kit_log *k, uint64_t number, size_t count, size_t body_len)
{
	for (size_t i = 0; i < count; i++) {
		struct record *list = kit_list(number + i, 1, body_len);
		size_t before = k->sink.count; /* nothing is under way */
		int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
		enum err_code rc;

		while ((rc = seglog_append(k->log, list, NULL)) != ERR_OK &&
			kit_now_ms() < deadline)
			(void)usleep(1000); /* refused: until the keeper has tried again */
		assert_int_equal(rc, ERR_OK);
		kit_sink_wait(&k->sink, before + 1);
	}
}

static inline struct stream_stat kit_log_stat(struct kit_log *k)
{
	struct stream_stat stat = { .first = 0 };

	seglog_stat(k->log, &stat);
	return stat;
}

/* The log holds exactly these, from offset on. */
static inline void kit_log_expect(
	struct kit_log *k, int64_t offset, uint64_t number, size_t count, size_t body_len)
{
	size_t seen = 0;

	while (seen < count) {
		const struct queue_read_args args = { offset + (int64_t)seen, count - seen, KIB(4),
			0 };
		struct queue_batch batch = { .count = 0 };
		struct err err = ERR_INIT;

		if (seglog_read(k->log, &args, &batch, &err) != ERR_OK)
			fail_msg("%s", err.text);
		assert_true(batch.count > 0);
		for (size_t i = 0; i < batch.count; i++, seen++) {
			assert_int_equal(batch.records[i].offset, offset + (int64_t)seen);
			assert_true(kit_record_is(&batch.records[i], number + seen, body_len));
		}
		seglog_release(&batch);
	}
	assert_int_equal(kit_log_stat(k).end, offset + (int64_t)count);
}

/* ---- its files ---- */

static inline size_t kit_segments(struct kit_log *k, int64_t *out_firsts, size_t max)
{
	size_t count = 0;
	struct dirent *entry;
	DIR *dir = opendir(k->dir);

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (strlen(entry->d_name) != 24)
			continue;
		assert_true(count < max);
		out_firsts[count++] = strtoll(entry->d_name, NULL, 10);
	}
	(void)closedir(dir);
	for (size_t i = 0; i < count; i++) {
		for (size_t j = i + 1; j < count; j++) {
			if (out_firsts[j] < out_firsts[i]) {
				int64_t swap = out_firsts[i];

				out_firsts[i] = out_firsts[j];
				out_firsts[j] = swap;
			}
		}
	}
	return count;
}

static inline int kit_segment_fd(struct kit_log *k, int64_t first)
{
	char name[64];
	char *path;
	int fd;

	(void)snprintf(name, sizeof(name), "%020lld.seg", (long long)first);
	path = file_join(k->dir, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	free(path);
	return fd;
}

static inline void kit_flip(struct kit_log *k, int64_t first, off_t at)
{
	int fd = kit_segment_fd(k, first);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	(void)close(fd);
}

static inline void kit_unlink_file(struct kit_log *k, const char *name)
{
	char *path = file_join(k->dir, name);

	assert_int_equal(unlink(path), 0);
	free(path);
}
