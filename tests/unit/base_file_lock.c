/* Unit tests of src/base/file_lock.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/file.h"
#include "postern/thread.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[] = "/tmp/postern-lock-XXXXXX";

static int make_file(void **state)
{
	int fd = mkostemp(path, O_CLOEXEC);

	(void)state;
	return fd >= 0 ? close(fd) : -1;
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static void a_lock_names_its_holder(void **state)
{
	struct err err = ERR_INIT;
	int fd = -1, second = -1;
	char want[32];

	(void)state;
	assert_int_equal(file_lock_holder(path), 0);
	assert_int_equal(file_lock(path, &fd, NULL), ERR_OK);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(file_lock_holder(path), getpid());
	assert_int_equal(file_lock(path, &second, &err), ERR_LOCKED);
	assert_int_equal(second, -1);
	(void)snprintf(want, sizeof(want), "held by process %d", (int)getpid());
	assert_true(slice_search(slice_str(err.text), slice_str(want)) < strlen(err.text));
	(void)close(fd);
	assert_int_equal(file_lock_holder(path), 0);
	assert_int_equal(file_lock(path, &fd, NULL), ERR_OK);
	(void)close(fd);
}

static void what_stood_in_the_file_is_replaced(void **state)
{
	struct buf content = BUF_INIT(100);
	char want[32];
	int fd;

	(void)state;
	assert_int_equal(
		file_write_atomic(path, SLICE_LIT("999999999999\nold\n"), 0600, NULL), ERR_OK);
	assert_int_equal(file_lock(path, &fd, NULL), ERR_OK);
	assert_int_equal(file_read(path, &content, NULL), ERR_OK);
	(void)snprintf(want, sizeof(want), "%d\n", (int)getpid());
	assert_string_equal(buf_str(&content), want);
	(void)close(fd);
	buf_done(&content);
}

static void a_lock_ends_with_its_process(void **state)
{
	int ready[2], fd = -1;
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		if (file_lock(path, &fd, NULL) != ERR_OK || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	assert_true(pid > 0);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(file_lock_holder(path), pid);
	assert_int_equal(file_lock(path, &fd, NULL), ERR_LOCKED);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(file_lock_holder(path), 0);
	assert_int_equal(file_lock(path, &fd, NULL), ERR_OK);
	(void)close(fd);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

static void *ask(void *arg)
{
	atomic_bool *stop = arg;

	while (!atomic_load(stop))
		(void)file_lock_holder(path);
	return NULL;
}

/* Asking takes the lock for a moment; a process that starts just then must not be turned away. */
static void asking_turns_nobody_away(void **state)
{
	atomic_bool stop = false;
	struct thread asker = { 0 };
	int fd;

	(void)state;
	assert_int_equal(thread_start(&asker, "ask", ask, &stop, NULL), ERR_OK);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(file_lock(path, &fd, NULL), ERR_OK);
		(void)close(fd);
	}
	atomic_store(&stop, true);
	thread_join(&asker);
}

static void a_file_that_cannot_be_is_told(void **state)
{
	int fd = -1;

	(void)state;
	assert_int_equal(file_lock("/no/such/dir/lock", &fd, NULL), ERR_NOT_FOUND);
	assert_int_equal(file_lock("/tmp", &fd, NULL), ERR_IO);
	assert_int_equal(file_lock_holder("/no/such/lock"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lock_names_its_holder),
		cmocka_unit_test(what_stood_in_the_file_is_replaced),
		cmocka_unit_test(a_lock_ends_with_its_process),
		cmocka_unit_test(asking_turns_nobody_away),
		cmocka_unit_test(a_file_that_cannot_be_is_told),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
