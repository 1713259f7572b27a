/* aside.c - setting a store aside that is of no use any more, where a journal holds the truth.
 *
 *   DIR -> DIR.bad-TIME      the one before it goes, so that a disk does not fill up with them
 *
 * Deliberately not here: deciding that it is of no use, and folding it again (worker). */
#include "postern/file.h"
#include "postern/store.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const files[] = { "data.mdb", "lock.mdb" };

/* What cannot be removed stays: it is only in the way of the disk. */
static void remove_store(const char *dir)
{
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		char *path = file_join(dir, files[i]);

		if (path)
			(void)unlink(path);
		free(path);
	}
	(void)rmdir(dir);
}

/* All directories beside this one whose names begin with the prefix. */
static void remove_older(const char *parent, const char *prefix)
{
	DIR *dir = opendir(parent);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char *path;

		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		path = file_join(parent, entry->d_name);
		if (path)
			remove_store(path);
		free(path);
	}
	if (dir)
		(void)closedir(dir);
}

static enum err_code move(const char *dir, const char *to, struct err *err)
{
	if (rename(dir, to) == 0 || errno == ENOENT)
		return ERR_OK;
	return err_sys(err, ERR_IO, errno, dir);
}

enum err_code store_lmdb_set_aside(const char *dir, int64_t wall_ms, struct err *err)
{
	const char *name = strrchr(dir, '/');
	char *parent =
		slice_dup_str(name ? (struct slice){ (const uint8_t *)dir, (size_t)(name - dir) }
				   : SLICE_LIT("."));
	char *prefix = NULL, *to = NULL;
	enum err_code rc;

	if (asprintf(&prefix, "%s.bad-", name ? name + 1 : dir) < 0)
		prefix = NULL;
	if (asprintf(&to, "%s.bad-%lld", dir, (long long)wall_ms) < 0)
		to = NULL;
	if (!parent || !prefix || !to) {
		rc = err_set(err, ERR_NOMEM, "no memory for a path");
	} else {
		remove_older(parent, prefix);
		rc = move(dir, to, err);
	}
	free(parent);
	free(prefix);
	free(to);
	return rc;
}
