/* Programs as handlers, with real processes: how they end, hang, flood, hide, and that none is
 * left. */
#include "postern/handler.h"

#include "postern/clock.h"
#include "postern/thread.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define LONG_MS 30000
#define TEXT_MAX 4096

struct world {
	struct exec_host *host;
	struct lock lock;
	struct cond changed;
	size_t ended; /* guarded by lock */
};
/* A route with one program, and a call to it. */
struct job {
	struct world *world;
	const char *argv[8];
	struct route_config route;
	struct handler *handler;
	struct event event;
	struct handler_call call;
};

static int64_t now_ms(void)
{
	return clock_system()->mono_ms(clock_system());
}

/* Poll until the condition holds. */
#define UNTIL(condition)                                                                           \
	for (int64_t until_ = now_ms() + LONG_MS; !(condition); (void)usleep(2000))                \
	assert_true(now_ms() < until_)

static void world_init(struct world *world)
{
	memset(world, 0, sizeof(*world));
	lock_init(&world->lock);
	cond_init(&world->changed);
	assert(exec_host_open(&world->host, NULL) == ERR_OK);
}

static int open_world(void **state)
{
	struct world *world = malloc(sizeof(*world));

	assert_non_null(world);
	world_init(world);
	*state = world;
	return 0;
}

static int close_world(void **state)
{
	struct world *world = *state;

	exec_host_close(&world->host);
	assert_null(world->host);
	cond_done(&world->changed);
	lock_done(&world->lock);
	free(world);
	return 0;
}

static void on_done(struct handler_call *call)
{
	struct job *job = container_of(call, struct job, call);

	lock_take(&job->world->lock);
	job->world->ended++;
	cond_broadcast(&job->world->changed);
	lock_give(&job->world->lock);
}

static bool wait_for(struct world *world, size_t count)
{
	int64_t deadline = now_ms() + LONG_MS;
	bool in_time = true;

	lock_take(&world->lock);
	while (in_time && world->ended < count)
		in_time = cond_wait(&world->changed, &world->lock, deadline);
	world->ended -= in_time ? count : 0;
	lock_give(&world->lock);
	return in_time;
}

static size_t ended(struct world *world)
{
	size_t count;

	lock_take(&world->lock);
	count = world->ended;
	lock_give(&world->lock);
	return count;
}

/* script NULL: job->argv is set already. */
static void job_open(struct world *world, struct job *job, const char *script)
{
	struct handler_opts opts = { .route = &job->route, .exec = world->host };

	if (script) {
		memset(job, 0, sizeof(*job));
		job->argv[0] = "/bin/sh";
		job->argv[1] = "-c";
		job->argv[2] = script;
	}
	job->world = world;
	job->route.name = "files";
	job->route.handler.type = HANDLER_EXEC;
	job->route.handler.argv = job->argv;
	job->route.handler.timeout_ms = LONG_MS;
	job->route.handler.max_output_bytes = 1000;
	job->event.id = SLICE_LIT("evt 1/2");
	job->event.source = SLICE_LIT("billing");
	job->event.tenant = SLICE_LIT("acme");
	job->call.event = &job->event;
	job->call.body = SLICE_LIT("{\"a\":1}\n");
	job->call.route = SLICE_LIT("files");
	job->call.attempt = 3;
	job->call.done = on_done;
	assert(handler_open(&opts, &job->handler, NULL) == ERR_OK);
}

static void job_run(struct job *job)
{
	assert_int_equal(handler_start(job->handler, &job->call, NULL), ERR_OK);
	assert_true(wait_for(job->world, 1));
	handler_close(&job->handler);
	assert_null(job->handler);
}

static void each_way_to_end(void **state)
{
	static const struct {
		const char *script;
		int64_t timeout_ms;
		enum handler_verdict verdict;
		enum err_code code;
		unsigned status;
	} rows[] = {
		{ "exit 0", LONG_MS, HANDLER_DONE, ERR_OK, 0 },
		{ "cat >/dev/null", LONG_MS, HANDLER_DONE, ERR_OK, 0 },
		{ "exit 65", LONG_MS, HANDLER_NEVER, ERR_HANDLER_REFUSED, 65 },
		{ "exit 1", LONG_MS, HANDLER_RETRY, ERR_HANDLER_FAILED, 1 },
		{ "exit 64", LONG_MS, HANDLER_RETRY, ERR_HANDLER_FAILED, 64 },
		{ "exit 75", LONG_MS, HANDLER_RETRY, ERR_HANDLER_FAILED, 75 },
		{ "exit 255", LONG_MS, HANDLER_RETRY, ERR_HANDLER_FAILED, 255 },
		{ "kill -SEGV $$", LONG_MS, HANDLER_RETRY, ERR_HANDLER_FAILED, 128 + SIGSEGV },
		{ "kill -TERM $$", LONG_MS, HANDLER_RETRY, ERR_HANDLER_FAILED, 128 + SIGTERM },
		{ "kill -KILL $$", LONG_MS, HANDLER_RETRY, ERR_HANDLER_FAILED, 128 + SIGKILL },
		{ "kill -KILL -$$", LONG_MS, HANDLER_RETRY, ERR_HANDLER_FAILED, 128 + SIGKILL },
		{ "exec sleep 300", 50, HANDLER_RETRY, ERR_HANDLER_TIMEOUT, 0 },
		{ "trap '' TERM INT HUP; sleep 300; sleep 300", 50, HANDLER_RETRY,
			ERR_HANDLER_TIMEOUT, 0 },
		{ "sleep 300 & sleep 300 & wait", 50, HANDLER_RETRY, ERR_HANDLER_TIMEOUT, 0 },
		{ "kill -STOP $$", 50, HANDLER_RETRY, ERR_HANDLER_TIMEOUT, 0 },
		{ "exec yes", 50, HANDLER_RETRY, ERR_HANDLER_TIMEOUT, 0 },
		{ "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2", LONG_MS,
			HANDLER_DONE, ERR_OK, 0 },
		{ "exec <&-; exit 0", LONG_MS, HANDLER_DONE, ERR_OK, 0 },
		{ "exec 1>&- 2>&-; cat >/dev/null; exit 0", LONG_MS, HANDLER_DONE, ERR_OK, 0 },
		{ "exec /nonexistent/program", LONG_MS, HANDLER_RETRY, ERR_HANDLER_FAILED, 127 },
	};
	static uint8_t big[MIB(1)];
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct job job;

		job_open(world, &job, rows[i].script);
		job.route.handler.timeout_ms = rows[i].timeout_ms;
		job.call.body = (struct slice){ big, sizeof(big) };
		job_run(&job);
		print_message("# %s: %u %s\n", rows[i].script, job.call.status, job.call.error);
		assert_int_equal(job.call.verdict, rows[i].verdict);
		assert_int_equal(job.call.code, rows[i].code);
		assert_int_equal(job.call.status, rows[i].status);
		assert_int_equal(job.call.retry_after_ms, -1);
		assert_true(rows[i].timeout_ms == LONG_MS || job.call.took_ms >= 50);
		assert_true((job.call.code == ERR_OK) == (job.call.error[0] == '\0'));
	}
}

static void what_a_program_can_check(void **state)
{
	static const char *const scripts[] = {
		"[ \"$(cat)\" = '{\"a\":1}' ]",
		"[ \"$(cat /dev/stdin)\" = '{\"a\":1}' ]",
		"! echo x >&0",
		"[ \"$POSTERN_EVENT_ID\" = 'evt 1/2' ]",
		"[ \"$POSTERN_SOURCE:$POSTERN_TENANT:$POSTERN_ROUTE\" = billing:acme:files ]",
		"[ \"$POSTERN_TYPE:$POSTERN_ATTEMPT\" = billing:3 ]",
		"[ \"$POSTERN_IDEMPOTENCY_KEY\" = acme/billing/evt%201%2F2 ]",
		"[ \"$POSTERN_RECEIVED\" = 1970-01-01T00:00:00.000Z ]",
		"[ \"${POSTERN_ENTITY-unset}${POSTERN_VERSION-unset}${POSTERN_REDRIVE-unset}\" = "
		"'' ]",
		"[ \"${TRACEPARENT-unset}:${HOME-unset}:${POSTERN_LEAK-unset}\" = "
		"unset:unset:unset ]",
		"[ \"$(ls /proc/self/fd | tr '\\n' ' ')\" = '0 1 2 3 ' ]",
		"grep -q '^SigBlk:[^1-9a-f]*$' /proc/self/status",
		/* Signals 32 and 33 are the C library's own: a parent's posix_spawn may have
		 * ignored them, and sigaction does not touch them. */
		"grep -qE '^SigIgn:[[:space:]]*0{7}[01][08]0{7}$' /proc/self/status",
		"[ \"$(ps -o pgid= -p $$ | tr -d ' ')\" = $$ ]",
	};
	struct world *world = *state;

	assert_int_equal(setenv("POSTERN_LEAK", "1", 1), 0);
	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		struct job job;

		print_message("# %s\n", scripts[i]);
		job_open(world, &job, scripts[i]);
		job_run(&job);
		assert_int_equal(job.call.status, 0);
		assert_int_equal(job.call.verdict, HANDLER_DONE);
	}
}

static void the_rest_of_the_envelope(void **state)
{
	struct world *world = *state;
	struct job job;

	job_open(world, &job,
		"[ "
		"\"$POSTERN_TYPE,$POSTERN_ENTITY,$POSTERN_VERSION,$POSTERN_BASE,$POSTERN_REDRIVE\" "
		"= "
		"paid,account:7,41,40,again ] && [ $TRACEPARENT = 00-a-b-01 ] && "
		"[ $POSTERN_CONTENT_TYPE = text/plain ] && [ $POSTERN_REQUEST_ID = r1 ] && "
		"[ $POSTERN_TIME = 1970-01-01T00:00:01.500Z ]");
	job.event.type = SLICE_LIT("paid");
	job.event.entity = SLICE_LIT("account:7");
	job.event.version = (struct version){ VERSION_INTEGER, 41 };
	job.event.base = SLICE_LIT("40");
	job.event.redrive = SLICE_LIT("again");
	job.event.traceparent = SLICE_LIT("00-a-b-01");
	job.event.content_type = SLICE_LIT("text/plain");
	job.event.request_id = SLICE_LIT("r1");
	job.event.time_ms = 1500;
	job_run(&job);
	assert_int_equal(job.call.verdict, HANDLER_DONE);
}

static void there_is_no_shell(void **state)
{
	struct world *world = *state;
	struct job job = { .argv = { "test", "$HOME; exit 9", "=", "$HOME; exit 9" } };

	job_open(world, &job, NULL); /* found in PATH */
	job_run(&job);
	assert_int_equal(job.call.verdict, HANDLER_DONE);

	job = (struct job){ .argv = { "/etc/passwd" } };
	job_open(world, &job, NULL);
	job_run(&job);
	assert_int_equal(job.call.status, 126);
	assert_int_equal(job.call.verdict, HANDLER_RETRY);

	job = (struct job){ .argv = { "no-such-program" } };
	job_open(world, &job, NULL);
	job_run(&job);
	assert_int_equal(job.call.status, 127);
}

static void an_event_with_a_nul_is_never_started(void **state)
{
	struct world *world = *state;
	struct job job;

	job_open(world, &job, "exit 0");
	job.event.entity = SLICE_LIT("a\0b");
	job_run(&job);
	assert_int_equal(job.call.verdict, HANDLER_NEVER);
	assert_int_equal(job.call.code, ERR_HANDLER_REFUSED);
}

static void output_is_counted_but_not_kept(void **state)
{
	struct world *world = *state;
	struct job job;

	job_open(world, &job, "head -c 100000 /dev/zero; echo secret-of-the-body >&2; exit 3");
	job_run(&job);
	assert_int_equal(job.call.status, 3);
	assert_non_null(strstr(job.call.error, "max_output_bytes"));
	assert_null(strstr(job.call.error, "secret"));

	job_open(world, &job, "echo secret-of-the-body; exit 3");
	job_run(&job);
	assert_string_equal(job.call.error, "exit status 3");
}

/* ---- who is left --------------------------------------------------------------------------------
 */

static char directory[] = "/tmp/handler_exec.XXXXXX";

static void path_in(char out[TEXT_MAX], const char *name)
{
	(void)snprintf(out, TEXT_MAX, "%s/%s", directory, name);
}

/* The numbers in a file, once it has `count` of them. */
static bool read_pids(const char *name, pid_t *out, size_t count)
{
	char path[TEXT_MAX];
	FILE *file;
	size_t n = 0;

	path_in(path, name);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (n < count && fscanf(file, "%d\n", &out[n]) == 1)
		n++;
	(void)fclose(file);
	return n == count;
}

/* Neither running nor a zombie that nobody reaped. */
static bool is_gone(pid_t pid)
{
	return kill(pid, 0) != 0 && errno == ESRCH;
}

/* The process whose parent is `parent` and which calls itself the keeper; 0: none. */
static pid_t keeper_of(pid_t parent)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	assert_non_null(proc);
	while (found == 0 && (entry = readdir(proc)) != NULL) {
		char path[TEXT_MAX], comm[64];
		int pid, ppid;
		FILE *file;

		(void)snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fscanf(file, "%d (%63[^)]) %*c %d", &pid, comm, &ppid) == 3 && ppid == parent &&
			strcmp(comm, "postern-keeper") == 0)
			found = pid;
		(void)fclose(file);
	}
	(void)closedir(proc);
	return found;
}

/* The keeper takes its name a moment after it was forked. */
static pid_t find_keeper(pid_t parent)
{
	pid_t keeper = 0;

	UNTIL((keeper = keeper_of(parent)) > 1);
	return keeper;
}

static void job_with_file(
	struct world *world, struct job *job, const char *format, const char *name)
{
	static char scripts[8][TEXT_MAX];
	static size_t turn;
	char path[TEXT_MAX], *script = scripts[turn++ % ARRAY_LEN(scripts)];

	path_in(path, name);
	(void)unlink(path);
	/* %F stands for the file. */
	for (size_t at = 0; *format; format++) {
		int put = 1;

		if (format[0] == '%' && format[1] == 'F') {
			put = snprintf(script + at, TEXT_MAX - at, "%s", path);
			format++;
		} else {
			script[at] = *format;
		}
		at += (size_t)put;
		script[at] = '\0';
	}
	job_open(world, job, script);
}

static void at_the_timeout_the_group_dies(void **state)
{
	struct world *world = *state;
	struct job job;
	pid_t pids[3];

	job_with_file(world, &job,
		"(trap '' TERM; sleep 300 & echo $! >>%F; wait) & echo $! >>%F; echo $$ >>%F; wait",
		"timeout");
	job.route.handler.timeout_ms = 1000;
	job_run(&job);
	assert_int_equal(job.call.code, ERR_HANDLER_TIMEOUT);
	assert_true(read_pids("timeout", pids, 3));
	for (size_t i = 0; i < 3; i++)
		UNTIL(is_gone(pids[i]));
}

static void what_a_program_leaves_behind_dies(void **state)
{
	struct world *world = *state;
	struct job job;
	pid_t pids[2];

	job_with_file(world, &job, "sleep 300 & echo $! >>%F; (sleep 300 & echo $! >>%F); exit 0",
		"left");
	job_run(&job);
	assert_int_equal(job.call.verdict, HANDLER_DONE);
	assert_true(read_pids("left", pids, 2));
	UNTIL(is_gone(pids[0]) && is_gone(pids[1]));
}

#define HIDING_SCRIPT                                                                              \
	"sleep 300 & echo $! >>%F; setsid sleep 300 & echo $! >>%F; "                              \
	"(setsid sh -c 'sleep 300 & echo $! >>%F; wait' &); echo $$ >>%F; wait"
#define HIDING_PIDS 4

static void close_cancels_and_kills(void **state)
{
	struct world *world = *state;
	struct job jobs[3];
	pid_t pids[HIDING_PIDS], keeper;

	assert_int_equal(keeper_of(getpid()), 0); /* not needed yet */
	job_with_file(world, &jobs[0], HIDING_SCRIPT, "close");
	keeper = find_keeper(getpid());
	job_open(world, &jobs[1], "exec sleep 300");
	job_open(world, &jobs[2], "exit 0");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(handler_start(jobs[i].handler, &jobs[i].call, NULL), ERR_OK);
	UNTIL(read_pids("close", pids, HIDING_PIDS) && ended(world) == 1);
	exec_host_close(&world->host);
	assert_true(wait_for(world, 3));
	assert_int_equal(jobs[0].call.verdict, HANDLER_CANCELLED);
	assert_int_equal(jobs[0].call.code, ERR_STOPPED);
	assert_int_equal(jobs[1].call.verdict, HANDLER_CANCELLED);
	assert_int_equal(jobs[2].call.verdict, HANDLER_DONE);
	for (size_t i = 0; i < HIDING_PIDS; i++)
		UNTIL(is_gone(pids[i]));
	assert_true(is_gone(keeper));
	for (size_t i = 0; i < 3; i++)
		handler_close(&jobs[i].handler);
}

/* The other process: starts a hiding program, and hangs until it is killed. */
static int victim(const char *dir)
{
	struct world world;
	struct job job;

	memcpy(directory, dir, sizeof(directory));
	world_init(&world);
	job_with_file(&world, &job, HIDING_SCRIPT, "victim");
	if (handler_start(job.handler, &job.call, NULL) != ERR_OK)
		return 1;
	for (;;)
		(void)pause();
}

static void a_killed_worker_leaves_no_process(void **state)
{
	pid_t pids[HIDING_PIDS], child, keeper;
	char path[TEXT_MAX];

	(void)state;
	path_in(path, "victim");
	(void)unlink(path);
	child = fork();
	if (child == 0) {
		(void)execl("/proc/self/exe", "handler_exec", "victim", directory, NULL);
		_exit(1);
	}
	assert_true(child > 0);
	UNTIL(read_pids("victim", pids, HIDING_PIDS));
	keeper = find_keeper(child);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	for (size_t i = 0; i < HIDING_PIDS; i++)
		UNTIL(is_gone(pids[i]));
	UNTIL(is_gone(keeper));
}

static void a_killed_keeper_is_replaced(void **state)
{
	struct world *world = *state;
	struct job job;
	pid_t pids[2], keeper;

	job_with_file(world, &job, "sleep 300 & echo $! >>%F; echo $$ >>%F; wait", "keeper");
	assert_int_equal(handler_start(job.handler, &job.call, NULL), ERR_OK);
	UNTIL(read_pids("keeper", pids, 2));
	keeper = find_keeper(getpid());
	assert_int_equal(kill(keeper, SIGKILL), 0);
	assert_true(wait_for(world, 1));
	assert_int_equal(job.call.verdict, HANDLER_RETRY);
	assert_int_equal(job.call.code, ERR_HANDLER_FAILED);
	for (size_t i = 0; i < 2; i++)
		UNTIL(is_gone(pids[i]));
	handler_close(&job.handler);

	job_open(world, &job, "exit 0");
	job_run(&job);
	assert_int_equal(job.call.verdict, HANDLER_DONE);
	assert_true(find_keeper(getpid()) != keeper);
}

/* Terminal signals and a service manager's stop go to everyone in sight; the keeper must stay. */
static void the_keeper_ignores_signals(void **state)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1,
		SIGTSTP };
	struct world *world = *state;
	struct job job;
	pid_t keeper;

	job_open(world, &job, "exit 0");
	keeper = find_keeper(getpid());
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		assert_int_equal(kill(keeper, signals[i]), 0);
	job_run(&job);
	assert_int_equal(job.call.verdict, HANDLER_DONE);
	assert_int_equal(find_keeper(getpid()), keeper);
}

static void many_at_once_and_one_too_many(void **state)
{
	struct world *world = *state;
	struct job *jobs = calloc(EXEC_CHILDREN_MAX + 1, sizeof(*jobs));
	struct rlimit files;
	pid_t pids[1];

	assert_non_null(jobs);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max < 8192 ? files.rlim_max : 8192;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	for (size_t i = 0; i <= EXEC_CHILDREN_MAX; i++) {
		if (i == 0) {
			job_with_file(world, &jobs[i], "echo $$ >>%F; exec sleep 300", "many");
		} else {
			jobs[i].argv[0] = "/bin/sleep";
			jobs[i].argv[1] = "300";
			job_open(world, &jobs[i], NULL);
		}
		assert_int_equal(handler_start(jobs[i].handler, &jobs[i].call, NULL),
			i < EXEC_CHILDREN_MAX ? ERR_OK : ERR_FULL);
	}
	UNTIL(read_pids("many", pids, 1));
	assert_int_equal(ended(world), 0);
	exec_host_close(&world->host);
	assert_true(wait_for(world, EXEC_CHILDREN_MAX));
	UNTIL(is_gone(pids[0]));
	for (size_t i = 0; i <= EXEC_CHILDREN_MAX; i++) {
		if (i < EXEC_CHILDREN_MAX)
			assert_int_equal(jobs[i].call.verdict, HANDLER_CANCELLED);
		handler_close(&jobs[i].handler);
	}
	free(jobs);
}

static void hundreds_of_short_ones(void **state)
{
	struct world *world = *state;
	struct job *jobs = calloc(300, sizeof(*jobs));
	int64_t start = now_ms();

	assert_non_null(jobs);
	for (size_t i = 0; i < 300; i++) {
		jobs[i].argv[0] = i % 3 ? "/bin/true" : "/bin/false";
		job_open(world, &jobs[i], NULL);
		assert_int_equal(handler_start(jobs[i].handler, &jobs[i].call, NULL), ERR_OK);
	}
	assert_true(wait_for(world, 300));
	print_message("# 300 programs in %lld ms\n", (long long)(now_ms() - start));
	for (size_t i = 0; i < 300; i++) {
		assert_int_equal(jobs[i].call.verdict, i % 3 ? HANDLER_DONE : HANDLER_RETRY);
		handler_close(&jobs[i].handler);
	}
	free(jobs);
}

static void without_descriptors_it_is_a_retry(void **state)
{
	struct world *world = *state;
	struct rlimit files, none;
	struct job job;

	job_open(world, &job, "exit 0");
	(void)find_keeper(getpid());
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	none = files;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(handler_start(job.handler, &job.call, NULL), ERR_OK);
	(void)wait_for(world, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	assert_int_equal(job.call.verdict, HANDLER_RETRY);
	assert_int_equal(job.call.code, ERR_HANDLER_FAILED);
	assert_non_null(strstr(job.call.error, "Too many open files"));
	job_run(&job);
	assert_int_equal(job.call.verdict, HANDLER_DONE);
}

static int make_directory(void **state)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	(void)state;
	/* As a worker may: none of it must reach the programs. */
	assert_int_equal(sigaction(SIGPIPE, &ignore, NULL), 0);
	assert_int_equal(sigaction(SIGHUP, &ignore, NULL), 0);
	return mkdtemp(directory) ? 0 : 1;
}

static int remove_directory(void **state)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	char path[TEXT_MAX];

	(void)state;
	while (dir && (entry = readdir(dir)) != NULL) {
		path_in(path, entry->d_name);
		(void)unlink(path);
	}
	if (dir)
		(void)closedir(dir);
	return rmdir(directory);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_way_to_end, open_world, close_world),
		cmocka_unit_test_setup_teardown(what_a_program_can_check, open_world, close_world),
		cmocka_unit_test_setup_teardown(the_rest_of_the_envelope, open_world, close_world),
		cmocka_unit_test_setup_teardown(there_is_no_shell, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			an_event_with_a_nul_is_never_started, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			output_is_counted_but_not_kept, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			at_the_timeout_the_group_dies, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			what_a_program_leaves_behind_dies, open_world, close_world),
		cmocka_unit_test_setup_teardown(close_cancels_and_kills, open_world, close_world),
		cmocka_unit_test(a_killed_worker_leaves_no_process),
		cmocka_unit_test_setup_teardown(
			a_killed_keeper_is_replaced, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			the_keeper_ignores_signals, open_world, close_world),
		cmocka_unit_test_setup_teardown(hundreds_of_short_ones, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			without_descriptors_it_is_a_retry, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			many_at_once_and_one_too_many, open_world, close_world),
	};

	if (argc == 3 && strcmp(argv[1], "victim") == 0)
		return victim(argv[2]);
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
