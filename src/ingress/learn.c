/* learn.c - windows in memory, keys in files.
 *
 * Deliberately not here: finding the key in a request (scheme), and taking a confirmed one into
 * force, which is a reload. */
#include "learn.h"

#include "postern/config.h"
#include "postern/file.h"
#include "postern/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PENDING ".pending"
#define KEY_TEXT_MAX KIB(2)

struct learn_window {
	struct learn_window *next;
	int64_t until_ms;
	char source[];
};

void learn_init(struct learn *learn)
{
	*learn = (struct learn){ .windows = NULL };
	lock_init(&learn->lock);
}

enum err_code learn_open(struct learn *learn, const char *data_dir, struct err *err)
{
	learn->dir = file_join(data_dir, CONFIG_LEARNT_DIR);
	return learn->dir ? ERR_OK : err_set(err, ERR_NOMEM, "no memory for a path");
}

void learn_done(struct learn *learn)
{
	while (learn->windows) {
		struct learn_window *window = learn->windows;

		learn->windows = window->next;
		free(window);
	}
	free(learn->dir);
	lock_done(&learn->lock);
}

/* ---- windows -----------------------------------------------------------------------------------
 */

static struct learn_window *find_locked(const struct learn *learn, const char *source)
{
	struct learn_window *window = learn->windows;

	lock_assert_held(&learn->lock);
	while (window && strcmp(window->source, source) != 0)
		window = window->next;
	return window;
}

enum err_code learn_window(
	struct learn *learn, const char *source, int64_t until_ms, struct err *err)
{
	size_t len = strlen(source) + 1;
	struct learn_window *window;

	lock_take(&learn->lock);
	window = find_locked(learn, source);
	if (!window) {
		window = calloc(1, sizeof(*window) + len);
		if (window) {
			memcpy(window->source, source, len);
			window->next = learn->windows;
			learn->windows = window;
		}
	}
	if (window)
		window->until_ms = until_ms;
	lock_give(&learn->lock);
	return window ? ERR_OK : err_set(err, ERR_NOMEM, "no memory to wait for a key");
}

bool learn_waits(struct learn *learn, const char *source, int64_t mono_ms)
{
	const struct learn_window *window;
	bool waits;

	lock_take(&learn->lock);
	window = find_locked(learn, source);
	waits = window && mono_ms < window->until_ms;
	lock_give(&learn->lock);
	return waits;
}

/* ---- files -------------------------------------------------------------------------------------
 */

static char *path_of(const struct learn *learn, const char *source, const char *ending)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s%s", learn->dir, source, ending) < 0 ? NULL : path;
}

static bool is_fingerprint(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (!(s.data[i] >= '0' && s.data[i] <= '9') &&
			!(s.data[i] >= 'a' && s.data[i] <= 'f'))
			return false;
	}
	return s.len == 8;
}

/* The path of a pending key, or NULL and why. */
static char *pending_path(
	const struct learn *learn, const char *source, struct slice fingerprint, struct err *err)
{
	char *path = NULL;

	if (!is_fingerprint(fingerprint))
		(void)err_set(err, ERR_USAGE, "a fingerprint is 8 hex digits");
	else if (asprintf(&path, "%s/%s.%.*s" PENDING, learn->dir, source, SLICE_FMT(fingerprint)) <
		 0)
		(void)err_set(err, ERR_NOMEM, "no memory for a path");
	return err->code == ERR_OK ? path : NULL;
}

/* "SOURCE.01234567.pending" gives the digits. */
static bool parse_name(const char *name, const char *source, char out[9])
{
	struct slice text = slice_str(name), prefix = slice_str(source);

	if (!slice_starts(text, prefix) || text.len != prefix.len + 1 + 8 + strlen(PENDING))
		return false;
	text = slice_sub(text, prefix.len, text.len);
	if (text.data[0] != '.' || !is_fingerprint(slice_sub(text, 1, 8)) ||
		!slice_eq_str(slice_sub(text, 9, text.len), PENDING))
		return false;
	memcpy(out, text.data + 1, 8);
	out[8] = '\0';
	return true;
}

static int64_t written_ms(int dir_fd, const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0
		       ? (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000
		       : 0;
}

size_t learn_list(
	struct learn *learn, const char *source, struct learn_pending out[LEARN_PENDING_MAX])
{
	DIR *dir = opendir(learn->dir);
	const struct dirent *entry;
	size_t count = 0;

	while (dir && count < LEARN_PENDING_MAX && (entry = readdir(dir)) != NULL) {
		if (!parse_name(entry->d_name, source, out[count].fingerprint))
			continue;
		out[count].told_ms = written_ms(dirfd(dir), entry->d_name);
		count++;
	}
	if (dir)
		(void)closedir(dir);
	return count;
}

static enum err_code write_key(const char *path, const struct secret *key, struct err *err)
{
	struct buf text = BUF_INIT(KEY_TEXT_MAX);
	enum err_code rc = buf_reserve(&text, key->len + 2, err); /* growing would leave copies */

	if (rc == ERR_OK)
		rc = buf_put(&text, key->data, key->len, err);
	if (rc == ERR_OK)
		rc = buf_put_u8(&text, '\n', err);
	if (rc == ERR_OK)
		rc = file_write_new(path, buf_slice(&text), 0600, err);
	if (text.data)
		buf_wipe(&text);
	buf_done(&text);
	return rc;
}

enum err_code learn_keep(struct learn *learn, const char *source, const struct secret *key,
	const char *client, struct err *err)
{
	struct learn_pending pending[LEARN_PENDING_MAX];
	char fingerprint[9], *path;
	enum err_code rc = file_make_dirs(learn->dir, err);

	crypto_fingerprint(key, fingerprint);
	if (rc != ERR_OK)
		return rc;
	path = pending_path(learn, source, slice_str(fingerprint), err);
	if (!path)
		return err->code;
	if (file_exists(path))
		rc = ERR_OK;
	else if (learn_list(learn, source, pending) == LEARN_PENDING_MAX)
		rc = err_set(err, ERR_FULL, "%d keys wait to be confirmed or dropped",
			LEARN_PENDING_MAX);
	else
		rc = write_key(path, key, err);
	free(path);
	if (rc == ERR_OK)
		log_warn("key_told", log_str("source", source), log_str("fingerprint", fingerprint),
			log_str("client", client));
	return rc;
}

static enum err_code move(const char *from, const char *to, struct err *err)
{
	return rename(from, to) == 0 ? ERR_OK : err_sys(err, ERR_IO, errno, from);
}

enum err_code learn_confirm(
	struct learn *learn, const char *source, struct slice fingerprint, struct err *err)
{
	char *from = pending_path(learn, source, fingerprint, err);
	char *to = path_of(learn, source, CONFIG_LEARNT_KEY);
	char *previous = path_of(learn, source, CONFIG_LEARNT_PREVIOUS);
	enum err_code rc = err->code;

	if (rc == ERR_OK && (!to || !previous))
		rc = err_set(err, ERR_NOMEM, "no memory for a path");
	if (rc == ERR_OK && !file_exists(from))
		rc = err_set(err, ERR_NOT_FOUND, "no such key waits for \"%s\"", source);
	/* Events that are on their way may still be signed with the one before. */
	if (rc == ERR_OK && file_exists(to))
		rc = move(to, previous, err);
	if (rc == ERR_OK)
		rc = move(from, to, err);
	if (rc == ERR_OK)
		rc = file_sync_dir(learn->dir, err);
	free(from);
	free(to);
	free(previous);
	return rc;
}

enum err_code learn_drop(
	struct learn *learn, const char *source, struct slice fingerprint, struct err *err)
{
	char *path = pending_path(learn, source, fingerprint, err);
	enum err_code rc = err->code;

	if (rc == ERR_OK && unlink(path) != 0)
		rc = errno == ENOENT
			     ? err_set(err, ERR_NOT_FOUND, "no such key waits for \"%s\"", source)
			     : err_sys(err, ERR_IO, errno, path);
	free(path);
	return rc;
}
