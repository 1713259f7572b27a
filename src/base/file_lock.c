/* file_lock.c - one process at a time: a flock on a small file that says who holds it.
 *
 * To ask whether a lock is held one has to try to take it, and the try may be what a starting
 * process runs into. So a process that finds the lock taken tries again for a moment before it
 * believes it. Deliberately not here: locks between threads (thread.h). */
#include "postern/clock.h"
#include "postern/file.h"
#include "postern/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#define PATIENCE_MS 200
#define PAUSE_MS 5
#define PID_TEXT_MAX 24

/* The pid inside, or 0. */
static int read_pid(int fd)
{
	char text[PID_TEXT_MAX];
	ssize_t len = pread(fd, text, sizeof(text), 0);
	struct slice s = { (const uint8_t *)text, len > 0 ? (size_t)len : 0 };
	int64_t pid;

	s = slice_sub(s, 0, slice_find(s, '\n'));
	if (text_i64(s, &pid, NULL) != ERR_OK || pid <= 0 || pid > INT32_MAX)
		return 0;
	return (int)pid;
}

/* The new pid is there before the rest of an old, longer one is cut off, so that a reader never
 * finds the file empty once it has had a holder. */
static int write_pid(int fd)
{
	char text[PID_TEXT_MAX];
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (pwrite(fd, text, (size_t)len, 0) != len)
		return errno ? errno : EIO;
	return ftruncate(fd, len) == 0 ? 0 : errno;
}

/* 0, or the errno of the last try. */
static int take(int fd)
{
	const struct clock *clock = clock_system();
	int64_t deadline = clock->mono_ms(clock) + PATIENCE_MS;

	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EINTR && errno != EWOULDBLOCK)
			return errno;
		if (clock->mono_ms(clock) >= deadline)
			return EWOULDBLOCK;
		(void)poll(NULL, 0, PAUSE_MS);
	}
	return 0;
}

enum err_code file_lock(const char *path, int *out_fd, struct err *err)
{
	enum err_code rc;
	int bad, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, path);
	bad = take(fd);
	if (bad == EWOULDBLOCK) {
		rc = err_set(err, ERR_LOCKED, "%s: held by process %d", path, read_pid(fd));
		goto out;
	}
	if (bad == 0) {
		errno = 0;
		bad = write_pid(fd);
	}
	if (bad == 0) {
		*out_fd = fd;
		return ERR_OK;
	}
	rc = err_sys(err, ERR_IO, bad, path);
out:
	(void)close(fd);
	return rc;
}

int file_lock_holder(const char *path)
{
	int pid = 0, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
		pid = read_pid(fd);
	(void)close(fd);
	return pid;
}
