/* Unit tests of src/base/file.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failing.h"

/* The file under test, with system calls that can be made to fail. */
#define FAIL_OR(call) (failing_now() ? (errno = ENOSPC, -1) : (call))

static int failing_fsync(int fd)
{
	return FAIL_OR(fsync(fd));
}

static int failing_rename(const char *from, const char *to)
{
	return FAIL_OR(rename(from, to));
}

static int failing_link(const char *from, const char *to)
{
	return FAIL_OR(link(from, to));
}

static int failing_fchmod(int fd, mode_t mode)
{
	return FAIL_OR(fchmod(fd, mode));
}

static int failing_mkdir(const char *path, mode_t mode)
{
	return FAIL_OR(mkdir(path, mode));
}

/* Every other write is short, as the system is free to make it. */
static ssize_t failing_pwrite(int fd, const void *data, size_t len, off_t at)
{
	static bool cut;

	cut = !cut;
	return FAIL_OR(pwrite(fd, data, cut ? (len + 1) / 2 : len, at));
}
#define fsync failing_fsync
#define rename failing_rename
#define link failing_link
#define fchmod failing_fchmod
#define mkdir failing_mkdir
#define pwrite failing_pwrite
#include "../../src/base/file.c"
#undef fsync
#undef rename
#undef link
#undef fchmod
#undef mkdir
#undef pwrite

#include <dirent.h>

static char dir[] = "/tmp/postern-file-XXXXXX";

static int enter_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

/* Everything is removed by name, so that a file nobody knows of is noticed. */
static int leave_dir(void **state)
{
	(void)state;
	return chdir("/") == 0 && rmdir(dir) == 0 ? 0 : -1;
}

static size_t entries(void)
{
	DIR *d = opendir(".");
	size_t count = 0;

	assert_non_null(d);
	while (readdir(d))
		count++;
	(void)closedir(d);
	return count - 2; /* "." and ".." */
}

static void check_content(const char *path, const char *want)
{
	struct buf content = BUF_INIT(KIB(64));

	assert_int_equal(file_read(path, &content, NULL), ERR_OK);
	assert_string_equal(buf_str(&content), want);
	buf_done(&content);
}

static void what_is_written_is_read(void **state)
{
	struct stat st;
	mode_t before = umask(077);

	(void)state;
	assert_int_equal(file_write_atomic("a", SLICE_LIT("one"), 0644, NULL), ERR_OK);
	check_content("a", "one");
	assert_int_equal(file_write_atomic("a", SLICE_LIT("two and more"), 0600, NULL), ERR_OK);
	check_content("a", "two and more");
	assert_int_equal(stat("a", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(file_write_atomic("a", SLICE_EMPTY, 0640, NULL), ERR_OK);
	check_content("a", "");
	assert_int_equal(stat("a", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(entries(), 1);
	assert_int_equal(unlink("a"), 0);
	(void)umask(before);
}

static void a_new_file_replaces_nothing(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(file_write_new("n", SLICE_LIT("first"), 0600, NULL), ERR_OK);
	assert_int_equal(file_write_new("n", SLICE_LIT("second"), 0600, &err), ERR_LOCKED);
	assert_int_equal(err.code, ERR_LOCKED);
	assert_true(slice_starts(slice_str(err.text), SLICE_LIT("n: ")));
	check_content("n", "first");
	assert_int_equal(entries(), 1);
	assert_int_equal(unlink("n"), 0);
}

static void a_text_is_without_the_newline_at_its_end(void **state)
{
	static const struct {
		const char *file, *want;
	} rows[] = {
		{ "key\n", "+key" },
		{ "key", "+key" },
		{ "key\n\n", "+key\n" },
		{ "key\r\n", "+key\r" },
		{ "\n", "+" },
		{ "", "+" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf out = BUF_INIT(16);

		assert_int_equal(
			file_write_atomic("t", slice_str(rows[i].file), 0600, NULL), ERR_OK);
		assert_int_equal(buf_put_str(&out, "+", NULL), ERR_OK);
		assert_int_equal(file_read_text("t", &out, NULL), ERR_OK);
		assert_string_equal(buf_str(&out), rows[i].want);
		buf_done(&out);
	}
	assert_int_equal(unlink("t"), 0);
}

static void failures_name_the_path(void **state)
{
	struct buf out = BUF_INIT(3);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(file_read("missing", &out, &err), ERR_NOT_FOUND);
	assert_true(slice_starts(slice_str(err.text), SLICE_LIT("missing: ")));
	err_clear(&err);
	assert_int_equal(file_read(".", &out, &err), ERR_IO);
	assert_true(slice_starts(slice_str(err.text), SLICE_LIT(".: ")));
	err_clear(&err);
	assert_int_equal(file_write_atomic("f", SLICE_LIT("four"), 0600, NULL), ERR_OK);
	assert_int_equal(file_read("f", &out, &err), ERR_LIMIT);
	assert_string_equal(err.text, "f: more than 3 bytes");
	assert_int_equal(out.len, 0);
	err_clear(&err);
	assert_int_equal(file_write_atomic("no/such", SLICE_LIT("x"), 0600, &err), ERR_IO);
	assert_int_equal(file_sync_dir("no", NULL), ERR_NOT_FOUND);
	assert_int_equal(file_sync_dir("f", NULL), ERR_IO);
	assert_int_equal(unlink("f"), 0);
	buf_done(&out);
}

/* Whatever fails, the file is the old one or the new one, and nothing else stays behind. */
static void a_failure_leaves_the_old_or_the_new(void **state)
{
	(void)state;
	for (failing_at = 1;; failing_at++) {
		struct err err = ERR_INIT;
		struct buf content = BUF_INIT(100);
		enum err_code rc;

		failing_seen = failing_at; /* none of these fails */
		assert_int_equal(file_write_atomic("f", SLICE_LIT("old"), 0600, NULL), ERR_OK);
		failing_seen = 0;
		rc = file_write_atomic("f", SLICE_LIT("new text"), 0600, &err);
		assert_int_equal(rc, err.code);
		assert_int_equal(entries(), 1);
		assert_int_equal(file_read("f", &content, NULL), ERR_OK);
		assert_true(slice_eq_str(buf_slice(&content), "new text") ||
			    (rc != ERR_OK && slice_eq_str(buf_slice(&content), "old")));
		buf_done(&content);
		if (failing_seen < failing_at) {
			assert_int_equal(rc, ERR_OK);
			break;
		}
		assert_int_equal(rc, ERR_FULL);
	}
	assert_true(failing_at > 5);
	failing_at = 0;
	assert_int_equal(unlink("f"), 0);
}

static void a_failure_leaves_a_whole_new_file_or_none(void **state)
{
	(void)state;
	for (failing_at = 1;; failing_at++) {
		enum err_code rc;

		failing_seen = 0;
		rc = file_write_new("f", SLICE_LIT("new text"), 0600, NULL);
		if (file_exists("f")) {
			check_content("f", "new text");
			assert_int_equal(unlink("f"), 0);
		} else {
			assert_int_equal(rc, ERR_FULL);
		}
		assert_int_equal(entries(), 0);
		if (failing_seen < failing_at)
			break;
		assert_int_equal(rc, ERR_FULL);
	}
	failing_at = 0;
}

static void a_full_disk_is_told(void **state)
{
	struct err err = ERR_INIT;
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_true(full >= 0);
	assert_int_equal(write_all(full, SLICE_LIT("x")), ENOSPC);
	assert_int_equal(err_sys(&err, ERR_IO, ENOSPC, "x"), ERR_FULL);
	(void)close(full);
}

static void directories_are_made_with_their_parents(void **state)
{
	struct stat st;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(file_make_dirs("a//b/c/", NULL), ERR_OK);
	assert_int_equal(file_make_dirs("a/b/c", NULL), ERR_OK);
	assert_int_equal(stat("a/b/c", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(file_make_dirs("/", NULL), ERR_OK);
	assert_int_equal(file_make_dirs(".", NULL), ERR_OK);
	assert_int_equal(file_write_new("a/file", SLICE_EMPTY, 0600, NULL), ERR_OK);
	assert_int_equal(file_make_dirs("a/file", &err), ERR_IO);
	assert_int_equal(file_make_dirs("a/file/x", NULL), ERR_IO);
	assert_int_equal(unlink("a/file"), 0);
	assert_int_equal(rmdir("a/b/c"), 0);
	for (failing_at = 1;; failing_at++) {
		enum err_code rc;

		failing_seen = 0;
		rc = file_make_dirs("a/b/c/d", NULL);
		(void)rmdir("a/b/c/d");
		(void)rmdir("a/b/c");
		if (failing_seen < failing_at)
			break;
		assert_int_equal(rc, ERR_FULL);
	}
	assert_int_equal(failing_at, 5);
	failing_at = 0;
	assert_int_equal(rmdir("a/b"), 0);
	assert_int_equal(rmdir("a"), 0);
}

static void paths_are_joined(void **state)
{
	static const struct {
		const char *dir, *name, *want;
	} rows[] = {
		{ "a", "b", "a/b" },
		{ "a/", "b", "a/b" },
		{ "/", "b", "/b" },
		{ "a", "/b", "/b" },
		{ "", "b", "b" },
		{ "a", "b/c", "a/b/c" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *joined = file_join(rows[i].dir, rows[i].name);

		assert_non_null(joined);
		assert_string_equal(joined, rows[i].want);
		free(joined);
	}
}

static void random_bytes_differ(void **state)
{
	uint8_t a[64] = { 0 }, b[64] = { 0 };

	(void)state;
	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_true(random_u64() != random_u64());
	random_bytes(a, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(a_new_file_replaces_nothing),
		cmocka_unit_test(a_text_is_without_the_newline_at_its_end),
		cmocka_unit_test(failures_name_the_path),
		cmocka_unit_test(a_failure_leaves_the_old_or_the_new),
		cmocka_unit_test(a_failure_leaves_a_whole_new_file_or_none),
		cmocka_unit_test(a_full_disk_is_told),
		cmocka_unit_test(directories_are_made_with_their_parents),
		cmocka_unit_test(paths_are_joined),
		cmocka_unit_test(random_bytes_differ),
	};

	return cmocka_run_group_tests(tests, enter_dir, leave_dir);
}
