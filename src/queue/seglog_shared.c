/* seglog_shared.c - the page that the writing and the reading process have in common.
 *
 * It says how far the log is durable (never more than the truth: it is set after fdatasync), how
 * far the work has come, and carries the word on which a reader sleeps. After a kill its content is
 * exact, because the memory is the file's; after a power loss it is an old state of itself, so that
 * the end is only a lower bound until a writer has recovered: `boot` tells the two apart. Losing
 * the file loses nothing.
 *
 * Deliberately not here: locks between processes; the halves hold theirs elsewhere. */
#include "seglog_priv.h"

#include "postern/clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define PAGE_MAGIC 0x31307261687374ull /* "tshar01" */
#define POLL_MS 20                     /* a reader that cannot be woken looks this often */
#define SLEEP_MAX_MS 1000

/* All within one sector. Every member is atomic: the other side may be another process.
 * Sequentially consistent throughout; the order that matters is noted at the functions. */
struct seglog_page {
	_Atomic uint64_t magic, boot;
	_Atomic int64_t end;
	_Atomic uint64_t generation;
	_Atomic int64_t position, position_not; /* complements, or the position is not believed */
	_Atomic uint32_t wake, waiters;
};
static_assert(sizeof(struct seglog_page) <= 512, "the page's content is one sector");

/* The kernel's name for this boot. Without it the page is believed always, which is right as long
 * as the ingress half starts before the worker half does. */
static uint64_t read_boot(void)
{
	char text[64] = { 0 };
	uint64_t boot = 1469598103934665603u;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;

	if (fd >= 0)
		(void)close(fd);
	for (ssize_t i = 0; i < len; i++)
		boot = (boot ^ (uint8_t)text[i]) * 1099511628211u;
	return boot ? boot : 1;
}

/* Under flock, so that two processes that start together make it once. Blocks are written, not left
 * as a hole: a store into a hole kills the process when the disk is full. */
static enum err_code prepare(int fd, struct err *err)
{
	static const uint8_t zeros[PAGE_BYTES];
	uint64_t magic = 0;
	struct stat st;
	size_t done;
	int bad;

	if (fstat(fd, &st) != 0)
		return err_sys(err, ERR_IO, errno, SEGLOG_SHARED);
	if (st.st_size >= PAGE_BYTES && pread(fd, &magic, sizeof(magic), 0) == sizeof(magic) &&
		magic == PAGE_MAGIC)
		return ERR_OK;
	magic = PAGE_MAGIC;
	bad = seglog_pwrite(&seglog_io_system, fd, (struct slice){ zeros, PAGE_BYTES }, 0, &done);
	if (bad == 0)
		bad = seglog_pwrite(&seglog_io_system, fd,
			(struct slice){ (const uint8_t *)&magic, sizeof(magic) }, 0, &done);
	return bad == 0 ? ERR_OK : err_sys(err, ERR_IO, bad, SEGLOG_SHARED);
}

static enum err_code open_file(int dir_fd, int *out_fd, struct err *err)
{
	enum err_code rc;
	int fd = openat(dir_fd, SEGLOG_SHARED, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_sys(err, ERR_IO, errno, SEGLOG_SHARED);
	while (flock(fd, LOCK_EX) != 0) {
		if (errno != EINTR) {
			rc = err_sys(err, ERR_IO, errno, SEGLOG_SHARED);
			goto out;
		}
	}
	rc = prepare(fd, err);
	(void)flock(fd, LOCK_UN);
out:
	if (rc == ERR_OK)
		*out_fd = fd;
	else
		(void)close(fd);
	return rc;
}

/* Only a whole page of ours is of use; anything else reads as an absent file. */
static int open_read_only(int dir_fd)
{
	struct stat st;
	uint64_t magic = 0;
	int fd = dir_fd < 0 ? -1 : openat(dir_fd, SEGLOG_SHARED, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0 && (fstat(fd, &st) != 0 || st.st_size < PAGE_BYTES ||
			       pread(fd, &magic, sizeof(magic), 0) != sizeof(magic) ||
			       magic != PAGE_MAGIC)) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

enum err_code seglog_shared_open(
	int dir_fd, enum seglog_mode mode, struct seglog_shared *out, struct err *err)
{
	bool writable = mode != SEGLOG_READ_ONLY;
	enum err_code rc = ERR_OK;
	void *page;
	int fd = -1;

	if (writable)
		rc = open_file(dir_fd, &fd, err);
	else
		fd = open_read_only(dir_fd);
	if (rc != ERR_OK)
		return rc;
	page = mmap(NULL, PAGE_BYTES, writable ? PROT_READ | PROT_WRITE : PROT_READ,
		fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
	if (page == MAP_FAILED) {
		rc = err_sys(err, ERR_IO, errno, SEGLOG_SHARED);
		if (fd >= 0)
			(void)close(fd);
		return rc;
	}
	*out = (struct seglog_shared){ fd, page, writable, read_boot() };
	if (mode == SEGLOG_READ) /* what a killed reader left behind */
		out->page->waiters = 0;
	return ERR_OK;
}

void seglog_shared_close(struct seglog_shared *shared)
{
	if (shared->page)
		(void)munmap(shared->page, PAGE_BYTES);
	if (shared->page && shared->fd >= 0)
		(void)close(shared->fd);
	shared->page = NULL;
	shared->fd = -1;
}

bool seglog_shared_current(const struct seglog_shared *shared)
{
	return shared->page->boot == shared->boot;
}

void seglog_shared_set_current(struct seglog_shared *shared)
{
	shared->page->boot = shared->boot;
}

int64_t seglog_shared_end(const struct seglog_shared *shared)
{
	return shared->page->end;
}

/* The list of files changed before the end that needs it: a reader loads them the other way round.
 */
void seglog_shared_publish(struct seglog_shared *shared, int64_t end)
{
	shared->page->end = end;
	seglog_shared_wake(shared);
}

uint64_t seglog_shared_generation(const struct seglog_shared *shared)
{
	return shared->page->generation;
}

void seglog_shared_changed(struct seglog_shared *shared)
{
	shared->page->generation++;
}

int64_t seglog_shared_position(const struct seglog_shared *shared)
{
	/* A change may be seen half; it is whole a moment later. */
	for (int i = 0; i < 100; i++) {
		int64_t position = shared->page->position;

		if (shared->page->position_not == ~position)
			return position;
	}
	return 0;
}

void seglog_shared_set_position(struct seglog_shared *shared, int64_t position)
{
	shared->page->position = position;
	shared->page->position_not = ~position;
}

uint32_t seglog_shared_ticket(const struct seglog_shared *shared)
{
	return shared->page->wake;
}

static long futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
	return syscall(SYS_futex, (uintptr_t)word, op, value, timeout, NULL, 0);
}

void seglog_shared_wait(struct seglog_shared *shared, uint32_t ticket, int64_t ms)
{
	struct timespec timeout;

	if (!shared->writable) {
		(void)poll(NULL, 0, ms < POLL_MS ? (int)ms : POLL_MS);
		return;
	}
	if (ms > SLEEP_MAX_MS)
		ms = SLEEP_MAX_MS;
	timeout = (struct timespec){ ms / 1000, ms % 1000 * 1000000 };
	/* waiters is raised before the kernel compares the word: a waker that still sees 0 has
	 * changed the word already, and the wait returns at once. */
	shared->page->waiters++;
	(void)futex(&shared->page->wake, FUTEX_WAIT, ticket, &timeout);
	shared->page->waiters--;
}

void seglog_shared_wake(struct seglog_shared *shared)
{
	if (!shared->writable)
		return;
	shared->page->wake++;
	if (shared->page->waiters != 0)
		(void)futex(&shared->page->wake, FUTEX_WAKE, INT32_MAX, NULL);
}
