/* file.c - small files, read whole and written so that they are there after a power cut.
 *
 * Deliberately not here: logs and databases, which have their own rooms; locks (file_lock.c). */
#include "postern/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err_code open_failed(struct err *err, int errnum, const char *path)
{
	return err_sys(err, errnum == ENOENT ? ERR_NOT_FOUND : ERR_IO, errnum, path);
}

enum err_code file_read(const char *path, struct buf *out, struct err *err)
{
	enum err_code rc = ERR_OK;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return open_failed(err, errno, path);
	/* Room for the whole file at once: what is read may be a key, and growing leaves copies. */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		rc = buf_reserve(out, (size_t)st.st_size, err);
	if (rc == ERR_OK)
		rc = buf_read_fd(out, fd, err);
	if (rc != ERR_OK)
		(void)err_prefix(err, "%s", path);
	(void)close(fd);
	return rc;
}

enum err_code file_read_text(const char *path, struct buf *out, struct err *err)
{
	const size_t before = out->len;
	enum err_code rc = file_read(path, out, err);

	if (rc == ERR_OK && out->len > before && out->data[out->len - 1] == '\n')
		out->data[--out->len] = '\0'; /* for buf_str() */
	return rc;
}

static int64_t stamp_ns(struct timespec at)
{
	return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

enum err_code file_stamp(const char *path, struct file_stamp *out, struct err *err)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return open_failed(err, errno, path);
	*out = (struct file_stamp){
		.device = (uint64_t)st.st_dev,
		.inode = (uint64_t)st.st_ino,
		.size = (uint64_t)st.st_size,
		.changed_ns = { stamp_ns(st.st_mtim), stamp_ns(st.st_ctim) },
	};
	return ERR_OK;
}

bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->changed_ns[0] == b->changed_ns[0] && a->changed_ns[1] == b->changed_ns[1];
}

static int write_all(int fd, struct slice data)
{
	off_t at = 0;

	while (data.len > 0) {
		ssize_t put = pwrite(fd, data.data, data.len, at);

		if (put < 0 && errno != EINTR)
			return errno;
		if (put > 0) {
			data = slice_sub(data, (size_t)put, data.len);
			at += put;
		}
	}
	return 0;
}

/* A file that did not exist, complete and on the disk; or no file. */
static enum err_code write_fresh(
	const char *path, struct slice data, unsigned mode, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), bad = 0;

	if (fd < 0)
		return err_sys(err, errno == EEXIST ? ERR_LOCKED : ERR_IO, errno, path);
	/* The umask has no say in the mode, and the file is never more open than it will be. */
	if (fchmod(fd, (mode_t)mode) != 0)
		bad = errno;
	if (bad == 0)
		bad = write_all(fd, data);
	if (bad == 0 && fsync(fd) != 0)
		bad = errno;
	if (close(fd) != 0 && bad == 0)
		bad = errno;
	if (bad == 0)
		return ERR_OK;
	(void)unlink(path);
	return err_sys(err, ERR_IO, bad, path);
}

static enum err_code sync_parent(const char *path, struct err *err)
{
	char *copy = slice_dup_str(slice_str(path));
	enum err_code rc;

	if (!copy)
		return err_set(err, ERR_NOMEM, "%s: no memory", path);
	rc = file_sync_dir(dirname(copy), err);
	free(copy);
	return rc;
}

/* Write beside the final place, under a name that nobody else has. */
static enum err_code write_beside(
	const char *path, struct slice data, unsigned mode, char **out_beside, struct err *err)
{
	enum err_code rc;
	char *beside = NULL;

	if (asprintf(&beside, "%s.%016llx.tmp", path, (unsigned long long)random_u64()) < 0)
		return err_set(err, ERR_NOMEM, "%s: no memory", path);
	rc = write_fresh(beside, data, mode, err);
	if (rc != ERR_OK) {
		free(beside);
		return rc;
	}
	*out_beside = beside;
	return ERR_OK;
}

enum err_code file_write_atomic(const char *path, struct slice data, unsigned mode, struct err *err)
{
	char *beside = NULL;
	enum err_code rc = write_beside(path, data, mode, &beside, err);

	if (rc != ERR_OK)
		return rc;
	assert(beside);
	if (rename(beside, path) != 0) {
		rc = err_sys(err, ERR_IO, errno, path);
		(void)unlink(beside);
	} else {
		rc = sync_parent(path, err);
	}
	free(beside);
	return rc;
}

enum err_code file_write_new(const char *path, struct slice data, unsigned mode, struct err *err)
{
	char *beside = NULL;
	enum err_code rc = write_beside(path, data, mode, &beside, err);

	if (rc != ERR_OK)
		return rc;
	assert(beside);
	/* A link, unlike a rename, refuses a name that is taken. */
	if (link(beside, path) != 0)
		rc = err_sys(err, errno == EEXIST ? ERR_LOCKED : ERR_IO, errno, path);
	(void)unlink(beside);
	if (rc == ERR_OK)
		rc = sync_parent(path, err);
	free(beside);
	return rc;
}

enum err_code file_sync_dir(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum err_code rc = ERR_OK;

	if (fd < 0)
		return open_failed(err, errno, path);
	if (fsync(fd) != 0)
		rc = err_sys(err, ERR_IO, errno, path);
	(void)close(fd);
	return rc;
}

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static enum err_code make_dir(const char *path, struct err *err)
{
	if (mkdir(path, 0700) == 0)
		return sync_parent(path, err);
	if (errno == EEXIST && is_dir(path))
		return ERR_OK;
	return err_sys(err, ERR_IO, errno == EEXIST ? ENOTDIR : errno, path);
}

enum err_code file_make_dirs(const char *path, struct err *err)
{
	char *copy = slice_dup_str(slice_str(path));
	enum err_code rc = ERR_OK;

	if (!copy)
		return err_set(err, ERR_NOMEM, "%s: no memory", path);
	/* Each '/' behind a name ends one parent. */
	for (char *at = copy; rc == ERR_OK && *at; at++) {
		if (*at != '/' || at == copy || at[-1] == '/')
			continue;
		*at = '\0';
		rc = is_dir(copy) ? ERR_OK : make_dir(copy, err);
		*at = '/';
	}
	if (rc == ERR_OK && !is_dir(path))
		rc = make_dir(path, err);
	free(copy);
	return rc;
}

bool file_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

char *file_join(const char *dir, const char *name)
{
	size_t len = strlen(dir);
	char *joined = NULL;

	if (name[0] == '/' || len == 0)
		return slice_dup_str(slice_str(name));
	if (asprintf(&joined, "%s%s%s", dir, dir[len - 1] == '/' ? "" : "/", name) < 0)
		return NULL;
	return joined;
}

void random_bytes(void *out, size_t len)
{
	uint8_t *to = out;

	while (len > 0) {
		ssize_t got = getrandom(to, len, 0);

		assert(got > 0 || (got < 0 && errno == EINTR));
		if (got > 0) {
			to += got;
			len -= (size_t)got;
		}
	}
}

uint64_t random_u64(void)
{
	uint64_t v;

	random_bytes(&v, sizeof(v));
	return v;
}
