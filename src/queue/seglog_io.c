/* seglog_io.c - the system calls of the log, as a table that tests can replace. */
#include "seglog.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int system_rename(int dir_fd, const char *from, const char *to)
{
	return renameat(dir_fd, from, dir_fd, to);
}

static int system_unlink(int dir_fd, const char *name)
{
	return unlinkat(dir_fd, name, 0);
}

static int64_t system_free_bytes(int dir_fd)
{
	struct statvfs st;

	if (fstatvfs(dir_fd, &st) != 0)
		return -1;
	return (int64_t)(st.f_bavail * st.f_frsize);
}

const struct seglog_io seglog_io_system = {
	.pwrite = pwrite,
	.fdatasync = fdatasync,
	.fsync_dir = fsync,
	.rename = system_rename,
	.unlink = system_unlink,
	.free_bytes = system_free_bytes,
};
