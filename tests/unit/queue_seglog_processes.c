/* queue_seglog_processes.c - the two halves as two processes over one directory, each killed alone.
 */
#include "support/seglog_kit.h"

#include <signal.h>
#include <sys/wait.h>

#define BODY 300

static struct queue_opts options(const char *dir, const struct clock *clock, struct kit_sink *sink)
{
	struct queue_opts opts = {
		.dir = dir,
		.segment_bytes = KIB(16),
		.events_done = kit_sink_put,
		.outputs_done = kit_sink_put,
		.events_ctx = sink,
		.outputs_ctx = sink,
		.clock = clock,
	};

	for (size_t i = 0; i < STREAM_COUNT; i++)
		opts.limits[i] = (struct stream_limits){ MIB(2), INT64_MAX / 4 };
	return opts;
}

struct ready { /* what a child tells through a pipe after each completion */
	int64_t end;
};

/* Appends from `number` on, and says through the pipe what is durable, until it is killed. */
static _Noreturn void ingress_child(const char *dir, uint64_t number, int out)
{
	struct kit_sink sink;
	struct queue_opts opts = options(dir, clock_system(), &sink);
	struct err err = ERR_INIT;
	struct queue *queue;

	kit_sink_init(&sink);
	opts.writes_events = true;
	if (queue_embedded_open(&opts, &queue, &err) != ERR_OK)
		_exit(11);
	for (size_t count = 0;; count++) {
		struct record *list = kit_list(number + count, 1, BODY);
		struct ready ready;

		while (queue_append(queue, STREAM_EVENTS, list, NULL) != ERR_OK)
			(void)usleep(1000);
		lock_take(&sink.lock);
		while (sink.count <= count)
			(void)cond_wait(&sink.more, &sink.lock, -1);
		ready.end = sink.done[count].offset + 1;
		if (sink.done[count].result != ERR_OK)
			_exit(12);
		lock_give(&sink.lock);
		if (write(out, &ready, sizeof(ready)) != sizeof(ready))
			_exit(13);
	}
}

static pid_t start_ingress(const char *dir, uint64_t number, int *out_fd)
{
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(fds[0]);
		ingress_child(dir, number, fds[1]);
	}
	(void)close(fds[1]);
	*out_fd = fds[0];
	return pid;
}

static void kill_and_wait(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* What the child said last, before the pipe's end. */
static int64_t last_said(int fd)
{
	struct ready ready;
	int64_t end = 0;

	while (read(fd, &ready, sizeof(ready)) == sizeof(ready))
		end = ready.end;
	(void)close(fd);
	return end;
}

/* Reads from *at on, checking each record, up to this offset. */
static void read_up_to(struct queue *queue, int64_t *at, int64_t to)
{
	int64_t deadline = kit_now_ms() + KIT_WAIT_MS;

	while (*at < to && kit_now_ms() < deadline) {
		struct queue_batch batch;
		struct err err = ERR_INIT;

		if (queue_read(queue, STREAM_EVENTS, *at, 100, KIB(64), deadline, &batch, &err) !=
			ERR_OK)
			fail_msg("%s", err.text);
		for (size_t i = 0; i < batch.count; i++, ++*at) {
			assert_int_equal(batch.records[i].offset, *at);
			assert_true(kit_record_is(&batch.records[i], (uint64_t)*at, BODY));
		}
		queue_release(queue, &batch);
	}
	assert_true(*at >= to);
}

static void an_ingress_is_killed_again_and_again_beside_a_worker(void **state)
{
	struct kit_sink sink;
	char *root = kit_dir(), *dir = file_join(root, "main");
	struct queue_opts opts = options(dir, clock_system(), &sink);
	struct queue *worker = NULL;
	struct err err = ERR_INIT;
	int64_t at = 0;

	(void)state;
	kit_sink_init(&sink);
	opts.works = true;
	for (int round = 0; round < 6; round++) {
		struct stream_stat stat;
		int64_t said;
		int fd;
		pid_t pid;

		/* The worker comes and goes; its threads must not run across a fork. */
		queue_close(&worker);
		pid = start_ingress(dir, (uint64_t)at, &fd);
		assert_int_equal(queue_embedded_open(&opts, &worker, &err), ERR_OK);
		read_up_to(worker, &at, at + 150);
		kill_and_wait(pid);
		said = last_said(fd);
		/* All that was said to be durable is there, and perhaps a little more. */
		read_up_to(worker, &at, said);
		queue_stat(worker, STREAM_EVENTS, &stat);
		assert_true(stat.end >= said);
		read_up_to(worker, &at, stat.end);
		assert_int_equal(queue_done(worker, STREAM_EVENTS, at, &err), ERR_OK);
		{
			/* The next one numbers its records on: what the killed one left in its last
			 * group may become durable at the next start. */
			struct queue_opts repair = options(dir, clock_system(), &sink);
			struct queue *ingress = NULL;

			repair.writes_events = true;
			assert_int_equal(queue_embedded_open(&repair, &ingress, &err), ERR_OK);
			queue_stat(ingress, STREAM_EVENTS, &stat);
			queue_close(&ingress);
			read_up_to(worker, &at, stat.end);
		}
	}
	assert_true(at >= 900);
	queue_close(&worker);
	kit_sink_done(&sink);
	free(dir);
	kit_dir_done(root);
}

static void a_second_process_of_a_half_is_refused_and_told_the_pid(void **state)
{
	char *root = kit_dir(), *dir = file_join(root, "main"), want[64];
	struct kit_sink sink;
	struct queue_opts opts = options(dir, clock_system(), &sink);
	struct queue *queue = NULL;
	struct err err = ERR_INIT;
	struct ready ready;
	pid_t pid;
	int fd;

	(void)state;
	kit_sink_init(&sink);
	pid = start_ingress(dir, 0, &fd);
	assert_int_equal(read(fd, &ready, sizeof(ready)), sizeof(ready));
	opts.writes_events = true;
	assert_int_equal(queue_embedded_open(&opts, &queue, &err), ERR_LOCKED);
	(void)snprintf(want, sizeof(want), "ingress.lock: held by process %d", (int)pid);
	assert_non_null(strstr(err.text, want));
	opts.works = true;
	err_clear(&err);
	assert_int_equal(queue_embedded_open(&opts, &queue, &err), ERR_LOCKED);
	/* The other half is free, also after the try above. */
	opts.writes_events = false;
	err_clear(&err);
	assert_int_equal(queue_embedded_open(&opts, &queue, &err), ERR_OK);
	queue_close(&queue);
	kill_and_wait(pid);
	(void)close(fd);
	kit_sink_done(&sink);
	free(dir);
	kit_dir_done(root);
}

static void a_worker_alone_finds_the_end_after_a_power_loss(void **state)
{
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	kit_log_open(&k);
	kit_log_append(&k, 0, 50, BODY);
	seglog_close(&k.log);
	kit_unlink_file(&k, "shared"); /* it says nothing about this boot */
	k.opts.mode = SEGLOG_READ;
	kit_log_open(&k);
	kit_log_expect(&k, 0, 0, 50, BODY);
	{
		/* Then the ingress comes: its word counts from now on. */
		struct kit_log writer = k;
		struct err err = ERR_INIT;

		writer.opts.mode = SEGLOG_WRITE;
		writer.opts.ctx = &writer.sink;
		kit_sink_init(&writer.sink);
		kit_log_open(&writer);
		kit_log_append(&writer, 50, 5, BODY);
		kit_log_expect(&k, 0, 0, 55, BODY);
		assert_int_equal(seglog_done(k.log, 55, &err), ERR_OK);
		assert_int_equal(kit_log_stat(&writer).position, 55);
		seglog_close(&writer.log);
		kit_sink_done(&writer.sink);
	}
	kit_log_done(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ingress_is_killed_again_and_again_beside_a_worker),
		cmocka_unit_test(a_second_process_of_a_half_is_refused_and_told_the_pid),
		cmocka_unit_test(a_worker_alone_finds_the_end_after_a_power_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
