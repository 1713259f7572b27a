/* exec_keeper.c - the process that is the parent of every child, and outlives whom it serves just
 * long enough to kill them all.
 *
 *     host --(start, kill)--> keeper --fork, exec--> children, each in a group of its own
 *          <--(started, ended, failed)--
 *     host gone (the socket ends): kill all groups, then all orphans, until none is left; exit
 *
 * It is one thread, takes no memory and no lock: it may have been forked from a process with
 * threads. It is a subreaper, so that a grandchild whose parent ended becomes its child and not
 * that of process 1; that is how it finds those that left their group. Deliberately not here:
 * timeouts and output, which are the host's. */
#include "handler_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LAST_ROUND_MS 20     /* between two looks at what is left */
#define LAST_ROUNDS_MAX 1500 /* what cannot be killed (a dead disk) is left to process 1 */

/* The keeper's own, in its own process: no other thread or process sees them change. */
static struct keeper {
	int socket, signals;
	size_t count;
	struct {
		pid_t pid;
		uint32_t id;
	} children[EXEC_CHILDREN_MAX];
	_Alignas(struct exec_message) char message[EXEC_START_MAX];
} keeper;

/* ---- in the child, before exec -----------------------------------------------------------------
 */

static void reset_signals(void)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void)sigaction(number, &plain, NULL); /* fails for two of them, rightly */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(char **argv, char **env, const int fds[2], pid_t parent)
{
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	if (dup2(fds[0], 0) < 0 || dup2(fds[1], 1) < 0 || dup2(fds[1], 2) < 0)
		_exit(126);
	(void)close_range(3, ~0U, 0);
	reset_signals();
	environ = env; /* its PATH is the one to search */
	(void)execvp(argv[0], argv);
	_exit(errno == ENOENT ? 127 : 126);
}

/* ---- messages ----------------------------------------------------------------------------------
 */

static void tell(enum exec_kind kind, uint32_t id, int value)
{
	struct exec_message message = { .kind = kind, .id = id, .value = value };

	/* The host always reads. When it is gone, nobody is there to be told. */
	while (send(keeper.socket, &message, sizeof(message), MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

/* The texts behind the head, as two NULL-ended lists. */
static bool unpack(size_t len, char **argv, char **env)
{
	const struct exec_message *head = (const struct exec_message *)(void *)keeper.message;
	char *at = keeper.message + sizeof(*head), *end = keeper.message + len;

	if (head->argc == 0 || head->argc >= EXEC_TEXTS_MAX || head->envc >= EXEC_TEXTS_MAX)
		return false;
	for (uint32_t i = 0; i < head->argc + head->envc; i++) {
		char *nul = memchr(at, '\0', (size_t)(end - at));

		if (!nul)
			return false;
		if (i < head->argc)
			argv[i] = at;
		else
			env[i - head->argc] = at;
		at = nul + 1;
	}
	argv[head->argc] = env[head->envc] = NULL;
	return true;
}

static void start_child(size_t len, const int fds[2])
{
	static char *argv[EXEC_TEXTS_MAX], *env[EXEC_TEXTS_MAX];
	uint32_t id = ((const struct exec_message *)(void *)keeper.message)->id;
	pid_t self = getpid(), pid;

	if (fds[0] < 0 || fds[1] < 0 || keeper.count == EXEC_CHILDREN_MAX) {
		tell(EXEC_FAILED, id, EMFILE);
		return;
	}
	if (!unpack(len, argv, env)) {
		tell(EXEC_FAILED, id, E2BIG);
		return;
	}
	pid = fork();
	if (pid == 0)
		become(argv, env, fds, self);
	if (pid < 0) {
		tell(EXEC_FAILED, id, errno);
		return;
	}
	/* Both sides do it: whoever comes first, a kill that follows finds the group. */
	(void)setpgid(pid, pid);
	keeper.children[keeper.count].pid = pid;
	keeper.children[keeper.count++].id = id;
	tell(EXEC_STARTED, id, pid);
}

static void kill_child(uint32_t id)
{
	for (size_t i = 0; i < keeper.count; i++)
		if (keeper.children[i].id == id)
			(void)kill(-keeper.children[i].pid, SIGKILL);
}

/* A message, and the two descriptors that may come with it. False when the host is gone. */
static bool receive(size_t *out_len, int fds[2])
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))];
	struct iovec part = { keeper.message, sizeof(keeper.message) };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	const struct cmsghdr *head;
	ssize_t got;

	fds[0] = fds[1] = -1;
	do {
		got = recvmsg(keeper.socket, &message, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got <= 0)
		return false;
	head = CMSG_FIRSTHDR(&message);
	if (head && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(2 * sizeof(int)))
		memcpy(fds, CMSG_DATA(head), 2 * sizeof(int));
	*out_len = (size_t)got;
	return true;
}

static bool serve_host(void)
{
	const struct exec_message *head = (const struct exec_message *)(void *)keeper.message;
	int fds[2];
	size_t len;

	if (!receive(&len, fds))
		return false;
	if (len >= sizeof(*head) && head->kind == EXEC_START)
		start_child(len, fds);
	else if (len >= sizeof(*head) && head->kind == EXEC_KILL)
		kill_child(head->id);
	for (size_t i = 0; i < 2; i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	return true;
}

/* ---- the dead ----------------------------------------------------------------------------------
 */

/* The child is a zombie until it is reaped here, so that its number, and that of its group, are
 * still its own while the rest of the group is killed. */
static void bury(pid_t pid)
{
	int status = 0;
	size_t i = 0;

	while (i < keeper.count && keeper.children[i].pid != pid)
		i++;
	if (i < keeper.count)
		(void)kill(-pid, SIGKILL);
	(void)waitpid(pid, &status, 0);
	if (i == keeper.count)
		return; /* an orphan */
	tell(EXEC_ENDED, keeper.children[i].id, status);
	keeper.children[i] = keeper.children[--keeper.count];
}

/* False when there is no child at all any more. */
static bool bury_all(void)
{
	for (;;) {
		siginfo_t info = { .si_pid = 0 };

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
			return errno != ECHILD;
		if (info.si_pid == 0)
			return true;
		bury(info.si_pid);
	}
}

/* ---- the end -----------------------------------------------------------------------------------
 */

/* The parent's number in /proc/PID/stat stands behind the name's closing parenthesis and the state.
 */
static pid_t parent_of(int proc, const char *name)
{
	int dir = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;
	char text[512], *at;
	ssize_t got;
	pid_t parent = 0;

	if (dir < 0)
		return 0;
	fd = openat(dir, "stat", O_RDONLY | O_CLOEXEC);
	(void)close(dir);
	if (fd < 0)
		return 0;
	got = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	text[got > 0 ? got : 0] = '\0';
	at = strrchr(text, ')');
	if (!at || strlen(at) < 5)
		return 0;
	for (at += 4; *at >= '0' && *at <= '9'; at++)
		parent = parent * 10 + (*at - '0');
	return parent;
}

static pid_t number_of(const char *name)
{
	pid_t pid = 0;

	for (; *name >= '0' && *name <= '9' && pid < 100000000; name++)
		pid = pid * 10 + (*name - '0');
	return *name == '\0' ? pid : 0;
}

/* Every process whose parent is this one now: children, and orphans that it adopted. */
static void kill_adopted(void)
{
	_Alignas(struct dirent64) char entries[4096];
	int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return;
	while ((got = getdents64(fd, entries, sizeof(entries))) > 0) {
		for (ssize_t at = 0; at < got;) {
			const struct dirent64 *entry = (void *)(entries + at);
			pid_t pid = number_of(entry->d_name);

			if (pid > 1 && parent_of(fd, entry->d_name) == getpid())
				(void)kill(pid, SIGKILL);
			at += entry->d_reclen;
		}
	}
	(void)close(fd);
}

/* Each round may free new orphans, so it goes on until none is left. */
static void kill_all(void)
{
	struct pollfd wait_for = { .fd = keeper.signals, .events = POLLIN };
	struct signalfd_siginfo info;

	for (int round = 0; round < LAST_ROUNDS_MAX; round++) {
		for (size_t i = 0; i < keeper.count; i++)
			(void)kill(-keeper.children[i].pid, SIGKILL);
		kill_adopted();
		if (!bury_all())
			return;
		if (poll(&wait_for, 1, LAST_ROUND_MS) > 0)
			(void)!read(keeper.signals, &info, sizeof(info));
	}
}

/* ---- the process -------------------------------------------------------------------------------
 */

/* Nothing of the parent stays open: not its locks, its listeners, its log. */
static bool keep_only(int fd)
{
	int null = open("/dev/null", O_RDWR), high;

	high = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	if (null < 0 || high < 0)
		return false;
	for (int i = 0; i < 3; i++)
		if (dup2(null, i) < 0)
			return false;
	if (dup3(high, 3, O_CLOEXEC) < 0)
		return false;
	keeper.socket = 3;
	if (close_range(4, ~0U, 0) == 0)
		return true;
	for (int i = 4; i < 65536; i++)
		(void)close(i);
	return true;
}

/* Signals for the parent's group are not for the keeper: it ends when the socket does. */
static bool prepare(int fd)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t set;

	(void)sigfillset(&set);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	(void)sigaction(SIGCHLD, &plain, NULL);
	(void)setsid();
	(void)prctl(PR_SET_NAME, "postern-keeper");
	/* Its memory is a copy of the parent's, keys included: nobody may look at it. */
	(void)prctl(PR_SET_DUMPABLE, 0);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 || !keep_only(fd))
		return false;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	keeper.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return keeper.signals >= 0;
}

static _Noreturn void keep(int fd)
{
	struct pollfd wait_for[2] = { { .events = POLLIN }, { .events = POLLIN } };
	struct signalfd_siginfo info;

	keeper.count = 0;
	if (!prepare(fd))
		_exit(1);
	wait_for[0].fd = keeper.socket;
	wait_for[1].fd = keeper.signals;
	for (;;) {
		if (poll(wait_for, 2, -1) < 0 && errno != EINTR)
			break;
		if (wait_for[1].revents != 0) {
			(void)!read(keeper.signals, &info, sizeof(info));
			(void)bury_all();
		}
		if (wait_for[0].revents != 0 && !serve_host())
			break;
	}
	kill_all();
	_exit(0);
}

enum err_code exec_keeper_fork(int *out_fd, pid_t *out_pid, struct err *err)
{
	static const int room = 2 * EXEC_START_MAX;
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return err_sys(err, ERR_IO, errno, "a socket to the keeper");
	/* The largest message must fit, whatever the system's default is. */
	(void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	pid = fork();
	if (pid == 0) {
		/* Kept open, our own end would hide that the parent is gone. */
		(void)close(pair[0]);
		keep(pair[1]);
	}
	(void)close(pair[1]);
	if (pid < 0) {
		(void)close(pair[0]);
		return err_sys(err, ERR_IO, errno, "fork the keeper");
	}
	*out_fd = pair[0];
	*out_pid = pid;
	return ERR_OK;
}
