/* key_file.c - is a file fit to hold a secret? Looked at from outside only; nothing here reads one.
 */
#include "config_priv.h"

#include <errno.h>
#include <sys/stat.h>

void check_key_file(struct loader *l, const struct node *at, const char *path)
{
	struct stat st;
	char shown[200];

	text_printable(slice_str(path), shown, sizeof(shown));
	if (stat(path, &st) != 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			problem(l, at, "there is no file %s", shown);
		else
			caution(l, at, "%s cannot be looked at from here", shown);
	} else if (S_ISDIR(st.st_mode)) {
		problem(l, at, "%s is a directory", shown);
	} else if (!S_ISREG(st.st_mode)) {
		/* Reading a pipe would wait for whoever writes, at start and at every reload. */
		problem(l, at, "%s is not a regular file", shown);
	} else if (st.st_mode & (S_IWGRP | S_IWOTH)) {
		problem(l, at, "%s may be written by others: chmod 600 it", shown);
	} else if (st.st_mode & (S_IRGRP | S_IROTH)) {
		caution(l, at, "%s may be read by others: chmod 600 it", shown);
	}
}
