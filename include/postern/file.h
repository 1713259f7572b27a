/* file.h - small files: read whole, write so that they are there after a power cut, lock.
 *
 * Errors: ERR_IO, ERR_FULL, ERR_NOT_FOUND, ERR_LIMIT, ERR_LOCKED. Texts name the path. */
#pragma once

#include "postern/buf.h"

/* Appends the whole file. A regular file is read without growing the buffer, which would leave
 * copies. */
MUST_CHECK enum err_code file_read(const char *path, struct buf *out, struct err *err);
/* The same, without the one newline that editors leave at the end: keys, tokens, passwords. */
MUST_CHECK enum err_code file_read_text(const char *path, struct buf *out, struct err *err);
/* temporary file, fsync, rename, fsync of the directory. */
MUST_CHECK enum err_code file_write_atomic(
	const char *path, struct slice data, unsigned mode, struct err *err);
MUST_CHECK enum err_code file_write_new(const char *path, struct slice data, unsigned mode,
	struct err *err); /* EEXIST: ERR_LOCKED */
MUST_CHECK enum err_code file_sync_dir(const char *path, struct err *err);
/* mkdir -p, mode 0700 for what it makes; fsyncs the parents it changed. */
MUST_CHECK enum err_code file_make_dirs(const char *path, struct err *err);
bool file_exists(const char *path);
/* What tells one state of a file from another without reading it. Only to be compared. */
struct file_stamp {
	uint64_t device, inode, size;
	int64_t changed_ns[2]; /* its bytes; anything of it */
};
MUST_CHECK enum err_code file_stamp(const char *path, struct file_stamp *out, struct err *err);
bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);
/* "dir/name"; free() it; NULL without memory. An absolute name is copied as it is. */
char *file_join(const char *dir, const char *name);
/* flock; writes our pid. ERR_LOCKED names the holder's pid. The lock lives as long as the
 * descriptor. */
MUST_CHECK enum err_code file_lock(const char *path, int *out_fd, struct err *err);
/* Does a living process hold this lock? Its pid, or 0. */
int file_lock_holder(const char *path);
/* getrandom(); cannot fail on a running system (asserts). */
void random_bytes(void *out, size_t len);
uint64_t random_u64(void);
