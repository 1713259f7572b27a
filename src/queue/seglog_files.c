/* seglog_files.c - names, lists and careful reads of segment files.
 *
 * Deliberately not here: who may add or remove a file (seglog_roll.c, seglog_keeper.c). */
#include "seglog_priv.h"

#include "postern/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_DIGITS 20
#define UNCACHE_STEP ((int64_t)MIB(1))

void seglog_list_done(struct seglog_list *list)
{
	free(list->files);
	*list = (struct seglog_list){ .count = 0 };
}

enum err_code seglog_list_add(struct seglog_list *list, struct seglog_file file, struct err *err)
{
	struct seglog_file *files = list->files;

	if (list->count > 0 && files[list->count - 1].first == file.first) {
		files[list->count - 1] = file;
		return ERR_OK;
	}
	if (list->count == list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 16;

		files = reallocarray(files, cap, sizeof(*files));
		if (!files)
			return err_set(err, ERR_NOMEM, "no memory for a list of segments");
		list->files = files;
		list->cap = cap;
	}
	files[list->count++] = file;
	return ERR_OK;
}

void seglog_name(char out[SEGLOG_NAME_MAX], int64_t first)
{
	(void)snprintf(out, SEGLOG_NAME_MAX, "%0*lld.seg", NAME_DIGITS, (long long)first);
}

/* -1: not the name of a segment. */
static int64_t parse_name(const char *name)
{
	char back[SEGLOG_NAME_MAX];
	int64_t first = 0;

	if (strlen(name) != NAME_DIGITS + strlen(".seg"))
		return -1;
	for (size_t i = 0; i < NAME_DIGITS; i++) {
		if (name[i] < '0' || name[i] > '9' || first > (INT64_MAX - 9) / 10)
			return -1;
		first = first * 10 + (name[i] - '0');
	}
	seglog_name(back, first);
	return strcmp(back, name) == 0 ? first : -1;
}

static int by_first(const void *a, const void *b)
{
	const struct seglog_file *left = a, *right = b;

	return left->first < right->first ? -1 : left->first > right->first;
}

/* A file that went away between the two calls is one that was just dropped. */
static enum err_code list_entry(
	int dir_fd, const char *name, struct seglog_list *out, struct err *err)
{
	struct stat st;
	int64_t first = parse_name(name);

	if (first < 0)
		return ERR_OK;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? ERR_OK : err_sys(err, ERR_IO, errno, name);
	return seglog_list_add(out, (struct seglog_file){ first, st.st_size }, err);
}

enum err_code seglog_list_read(
	int dir_fd, const char *dir, struct seglog_list *out, struct err *err)
{
	enum err_code rc = ERR_OK;
	struct dirent *entry;
	/* A descriptor of its own: the position in a directory belongs to the open file. */
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;

	out->count = 0;
	if (!stream) {
		rc = err_sys(err, ERR_IO, errno, dir);
		if (fd >= 0)
			(void)close(fd);
		return rc;
	}
	errno = 0;
	while (rc == ERR_OK && (entry = readdir(stream)) != NULL) {
		rc = list_entry(dir_fd, entry->d_name, out, err);
		errno = 0;
	}
	if (rc == ERR_OK && errno != 0)
		rc = err_sys(err, ERR_IO, errno, dir);
	(void)closedir(stream);
	if (out->count > 1)
		qsort(out->files, out->count, sizeof(*out->files), by_first);
	return rc;
}

size_t seglog_list_find(const struct seglog_list *list, int64_t offset)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list->files[middle].first <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? low - 1 : list->count;
}

int64_t seglog_list_bytes(const struct seglog_list *list)
{
	int64_t bytes = 0;

	for (size_t i = 0; i < list->count; i++)
		bytes += list->files[i].bytes;
	return bytes;
}

ssize_t seglog_pread(int fd, uint8_t *out, size_t len, int64_t at)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, out + done, len - done, at + (int64_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

void seglog_uncache(int fd, int64_t *uncached, int64_t until)
{
	until -= until % UNCACHE_STEP;
	if (until <= *uncached)
		return;
	/* From the start: a block of pages that lay across the last `until` goes now. */
	(void)posix_fadvise(fd, 0, until, POSIX_FADV_DONTNEED);
	*uncached = until;
}

int seglog_pwrite(
	const struct seglog_io *io, int fd, struct slice data, int64_t at, size_t *out_done)
{
	*out_done = 0;
	while (*out_done < data.len) {
		ssize_t n = io->pwrite(
			fd, data.data + *out_done, data.len - *out_done, at + (int64_t)*out_done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO;
		*out_done += (size_t)n;
	}
	return 0;
}

enum err_code seglog_damaged(const struct seglog *log, int64_t first, size_t at, int64_t offset,
	const char *what, struct err *err)
{
	char name[SEGLOG_NAME_MAX];

	seglog_name(name, first);
	return err_set(err, ERR_CORRUPT,
		"%s/%s, byte %zu, record %lld: %s; restore data_dir from a backup, see "
		"docs/recovery.md",
		log->opts.dir, name, at, (long long)offset, what);
}

static enum err_code check_head(const struct seglog *log, int64_t first,
	const uint8_t raw[SEGLOG_HEAD], struct seglog_head *head, struct err *err)
{
	uint32_t format;

	if (!seglog_head_get(raw, head, &format)) {
		if (format == SEGLOG_FORMAT)
			return seglog_damaged(
				log, first, 0, first, "the head of the file is damaged", err);
		return seglog_damaged(log, first, 0, first,
			"the file was written by another version of this program", err);
	}
	if (head->first != first || head->stream != (uint32_t)log->opts.stream)
		return seglog_damaged(
			log, first, 0, first, "the file belongs to another place or stream", err);
	return ERR_OK;
}

enum err_code seglog_segment_open(const struct seglog *log, int64_t first, int *out_fd,
	struct seglog_head *out_head, int64_t *out_bytes, struct err *err)
{
	char name[SEGLOG_NAME_MAX];
	uint8_t raw[SEGLOG_HEAD] = { 0 };
	enum err_code rc;
	struct stat st;
	int fd;

	seglog_name(name, first);
	fd = openat(log->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, name);
	if (fstat(fd, &st) != 0 || seglog_pread(fd, raw, sizeof(raw), 0) < 0)
		rc = err_sys(err, ERR_IO, errno, name);
	else
		rc = check_head(log, first, raw, out_head, err);
	if (rc != ERR_OK) {
		(void)close(fd);
		return rc;
	}
	*out_fd = fd;
	*out_bytes = st.st_size;
	return ERR_OK;
}
