/* store_lmdb.c - what can happen to a store on disk: kills, damage, cuts, too little room, a second
 * process. */
#include "postern/store.h"

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

#include "postern/file.h"

#define BATCH 60
#define MUST(call)                                                                                 \
	do {                                                                                       \
		struct err err_ = ERR_INIT;                                                        \
		struct err *err = &err_;                                                           \
		if ((call) != ERR_OK)                                                              \
			fail_msg("%s: %s", #call, err_.text);                                      \
	} while (0)

static char dir[64];
static int64_t now_ms = INT64_C(1700000000000);
static int64_t test_now(const struct clock *clock)
{
	(void)clock;
	return now_ms;
}
static const struct clock test_clock = { test_now, test_now, test_now };
static struct store_opts opts = { .dir = dir,
	.dedupe_ms = INT64_C(80000000),
	.map_bytes = (int64_t)KIB(256),
	.clock = &test_clock };

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/store_lmdb.XXXXXX");
	opts.must_exist = opts.read_only = false;
	return mkdtemp(dir) ? 0 : -1;
}

static void path_of(const char *name, char path[128])
{
	(void)snprintf(path, 128, "%s/%s", dir, name);
}

static int tear_down(void **state)
{
	char path[128];

	(void)state;
	path_of("data.mdb", path);
	(void)unlink(path);
	path_of("lock.mdb", path);
	(void)unlink(path);
	return rmdir(dir);
}

static void make_id(uint64_t n, uint8_t id16[ID16_LEN])
{
	put_le64(id16, (n + 1) * UINT64_C(0x9E3779B97F4A7C15));
	put_le64(id16 + 8, (n + 1) * UINT64_C(0xD6E8FEB86659FD93));
}

/* The n-th batch of a life: entries, versions, a parked event with a body, one that leaves again.
 */
static enum err_code write_batch(struct store *store, uint64_t n, size_t body_len, struct err *err)
{
	static uint8_t body[MIB(1)];
	struct buf batch = BUF_INIT(JOURNAL_EMBEDDED_MAX);
	struct store_state fold;
	struct journal_header header = { .type = JOURNAL_BATCH, .writer = { 1 } };
	char subject[32];
	struct item items[BATCH + 3];
	enum err_code rc = ERR_OK;

	store_state(store, &fold);
	header.epoch = fold.journal.epoch;
	header.seq = fold.journal.seq + 1;
	header.next_offset = (int64_t)(n + 1);
	(void)snprintf(subject, sizeof(subject), "subject %llu", (unsigned long long)n % 50);
	memset(items, 0, sizeof(items));
	for (uint64_t i = 0; i < BATCH; i++) {
		items[i].type = ITEM_SEEN;
		items[i].seen.outcome = OUTCOME_APPLIED;
		items[i].seen.offset = (int64_t)n;
		make_id(n * BATCH + i, items[i].seen.id16);
	}
	items[BATCH] = (struct item){ .type = ITEM_VERSION,
		.version = { .subject = slice_str(subject),
			.version = { VERSION_INTEGER, (int64_t)n } } };
	items[BATCH + 1] = (struct item){ .type = ITEM_PARK,
		.park = { .subject = SLICE_LIT("parked"),
			.offset = (int64_t)n,
			.reason = PARK_RETRY,
			.body = { body, body_len } } };
	items[BATCH + 2] = (struct item){ .type = ITEM_UNPARK,
		.unpark = { .subject = SLICE_LIT("parked"), .offset = (int64_t)n - 5 } };
	rc = journal_begin(&batch, err);
	for (size_t i = 0; rc == ERR_OK && i < ARRAY_LEN(items); i++) {
		rc = store_stage(store, &items[i], err);
		if (rc == ERR_OK)
			rc = journal_add(&batch, &items[i], err);
	}
	if (rc == ERR_OK)
		rc = journal_end(&batch, &header, err);
	if (rc == ERR_OK)
		rc = store_apply(store, buf_slice(&batch), err);
	if (rc == ERR_OK)
		rc = store_commit(store, err);
	buf_done(&batch);
	return rc;
}

static enum err_code claim(struct store *store, struct err *err)
{
	struct buf batch = BUF_INIT(1000);
	struct store_state fold;
	struct journal_header header = { .type = JOURNAL_CLAIM, .writer = { 1 } };
	enum err_code rc = journal_begin(&batch, err);

	store_state(store, &fold);
	header.epoch = fold.journal.epoch + 1;
	if (rc == ERR_OK)
		rc = journal_end(&batch, &header, err);
	if (rc == ERR_OK)
		rc = store_apply(store, buf_slice(&batch), err);
	if (rc == ERR_OK)
		rc = store_commit(store, err);
	buf_done(&batch);
	return rc;
}

static void open_store(struct store **store)
{
	MUST(store_lmdb_open(&opts, store, err));
	MUST(claim(*store, err));
}

static bool knows(struct store *store, uint64_t n)
{
	struct err err = ERR_INIT;
	struct item_seen seen;
	uint8_t id16[ID16_LEN];
	enum err_code rc;

	make_id(n, id16);
	rc = store_seen(store, id16, &seen, &err);
	if (rc != ERR_OK && rc != ERR_NOT_FOUND)
		fail_msg("%s", err.text);
	return rc == ERR_OK && seen.offset == (int64_t)(n / BATCH);
}

/* Exactly `batches` batches are there, each of them whole. */
static void assert_batches(struct store *store, uint64_t batches)
{
	struct parked list[8];
	size_t parked = store_parked_list(store, SLICE_LIT("parked"), list, 8);

	for (uint64_t n = 0; n < batches * BATCH; n++) {
		if (!knows(store, n))
			fail_msg("entry %llu of %llu batches is missing", (unsigned long long)n,
				(unsigned long long)batches);
	}
	for (uint64_t n = batches * BATCH; n < (batches + 2) * BATCH; n++)
		assert_false(knows(store, n));
	assert_int_equal(parked, batches < 5 ? batches : 5);
	if (parked)
		assert_true(list[parked - 1].offset == (int64_t)batches - 1);
	for (uint64_t n = batches < 50 ? 0 : batches - 50; n < batches; n++) {
		struct buf text = BUF_INIT(1000);
		struct item_version v;
		char subject[32];

		(void)snprintf(
			subject, sizeof(subject), "subject %llu", (unsigned long long)n % 50);
		MUST(store_version(store, slice_str(subject), &v, &text, err));
		assert_true(v.version.value == (int64_t)n);
		buf_done(&text);
	}
}

static void every_commit_is_there_after_reopening(void **state)
{
	struct store *store = NULL;

	(void)state;
	for (uint64_t n = 0; n < 40; n++) {
		open_store(&store);
		MUST(write_batch(store, n, 100, err));
		store_close(&store);
		opts.must_exist = true;
	}
	open_store(&store);
	assert_batches(store, 40);
	store_close(&store);
}

static void the_map_grows_with_what_is_written(void **state)
{
	struct store_totals before, after;
	struct store *store = NULL;

	(void)state;
	open_store(&store);
	store_totals(store, &before);
	assert_true(before.map_bytes == KIB(256));
	for (uint64_t n = 0; n < 20; n++) /* each is larger than the map was */
		MUST(write_batch(store, n, MIB(1), err));
	store_totals(store, &after);
	assert_true(after.map_bytes >= MIB(5));
	assert_batches(store, 20);
	store_close(&store);
	open_store(&store);
	assert_batches(store, 20);
	store_close(&store);
}

static void no_store_beside_a_log_is_corrupt(void **state)
{
	struct store *store = NULL;
	struct err err = ERR_INIT;
	char path[128];
	int fd;

	(void)state;
	opts.must_exist = true;
	path_of("data.mdb", path);
	assert_int_equal(store_lmdb_open(&opts, &store, &err), ERR_CORRUPT);
	assert_null(store);
	assert_true(access(path, F_OK) != 0); /* and none was made */
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	err = ERR_INIT;
	assert_int_equal(store_lmdb_open(&opts, &store, &err), ERR_CORRUPT);
	assert_int_equal(write(fd, "not a store at all", 18), 18);
	err = ERR_INIT;
	assert_int_equal(store_lmdb_open(&opts, &store, &err), ERR_CORRUPT);
	opts.must_exist = false;
	err = ERR_INIT;
	assert_int_equal(store_lmdb_open(&opts, &store, &err), ERR_CORRUPT);
	(void)close(fd);
	(void)unlink(path);
	opts.read_only = true;
	err = ERR_INIT;
	assert_int_equal(store_lmdb_open(&opts, &store, &err), ERR_NOT_FOUND);
}

/* ---- kills -------------------------------------------------------------------------------- */

/* Writes batches for ever; tells how many are durable. */
static void live(int pipe_fd, uint64_t from)
{
	struct store *store = NULL;
	struct err err = ERR_INIT;

	if (store_lmdb_open(&opts, &store, &err) != ERR_OK || claim(store, &err) != ERR_OK)
		_exit(2);
	for (uint64_t n = from;; n++) {
		now_ms += 1000000; /* a bucket is sealed every tenth batch */
		if (write_batch(store, n, 3000, &err) != ERR_OK ||
			write(pipe_fd, &n, sizeof(n)) != sizeof(n))
			_exit(3);
		if (store_maintain(store, INT64_C(1700000000000), &err) != ERR_OK)
			_exit(4);
	}
}

/* Kill a writer some microseconds after its `after`-th commit; how many batches it told of. */
static uint64_t kill_writer(uint64_t from, unsigned after, unsigned delay_us)
{
	uint64_t told = from, n;
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(fds[0]);
		live(fds[1], from);
	}
	(void)close(fds[1]);
	for (unsigned i = 0; i < after; i++) {
		assert_int_equal(read(fds[0], &n, sizeof(n)), sizeof(n));
		told = n + 1;
	}
	/* The moment is what varies; nothing is waited for. */
	for (int64_t until = clock_system()->mono_ns(clock_system()) + delay_us * INT64_C(1000);
		clock_system()->mono_ns(clock_system()) < until;)
		;
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (read(fds[0], &n, sizeof(n)) == sizeof(n))
		told = n + 1;
	(void)close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return told;
}

static void a_killed_writer_loses_nothing_it_told_of(void **state)
{
	uint64_t batches = 0;

	(void)state;
	for (unsigned kill_number = 0; kill_number < 20; kill_number++) {
		struct store *store = NULL;
		struct store_state fold;
		uint64_t told =
			kill_writer(batches, 1 + kill_number * 7 % 13, kill_number * 7919 % 3000);

		opts.must_exist = true;
		MUST(store_lmdb_open(&opts, &store, err));
		store_state(store, &fold);
		/* One more than it told of may have been durable. */
		assert_true((uint64_t)fold.next_offset == told ||
			    (uint64_t)fold.next_offset == told + 1);
		batches = (uint64_t)fold.next_offset;
		assert_batches(store, batches);
		store_close(&store);
	}
}

/* ---- damage ------------------------------------------------------------------------------- */

static void make_store(uint64_t batches)
{
	struct store *store = NULL;

	open_store(&store);
	for (uint64_t n = 0; n < batches; n++) {
		now_ms += 1000000;
		MUST(write_batch(store, n, 6000, err));
		MUST(store_maintain(store, now_ms, err));
	}
	store_close(&store);
}

/* Open and read everything. What comes is right, or the store says that it is corrupt. */
static void survive(uint64_t batches, unsigned *opened)
{
	struct store *store = NULL;
	struct store_view *view = NULL;
	struct err failed = ERR_INIT;
	struct item_park park;
	struct buf bytes = BUF_INIT(MIB(1));
	enum err_code rc = store_lmdb_open(&opts, &store, &failed);

	if (rc != ERR_OK) {
		assert_int_equal(rc, ERR_CORRUPT);
		assert_true(strlen(failed.text) > 10);
		assert_null(store);
		return;
	}
	++*opened;
	MUST(store_view_open(store, &view, err));
	for (uint64_t n = 0; n < batches * BATCH; n++) {
		struct item_seen seen;
		uint8_t id16[ID16_LEN];

		make_id(n, id16);
		failed = ERR_INIT;
		rc = store_seen(store, id16, &seen, &failed);
		if (rc == ERR_OK)
			assert_true(seen.offset == (int64_t)(n / BATCH));
		else
			assert_int_equal(rc, ERR_CORRUPT);
		if (n % 16 == 0) {
			failed = ERR_INIT;
			rc = store_view_seen(view, id16, &seen, &failed);
			assert_true(rc == ERR_OK || rc == ERR_CORRUPT);
		}
	}
	for (uint64_t n = batches - 5; n < batches; n++) {
		failed = ERR_INIT;
		rc = store_parked_get(
			store, SLICE_LIT("parked"), (int64_t)n, &bytes, &park, &failed);
		assert_true(rc == ERR_CORRUPT || (rc == ERR_OK && park.body.len == 6000));
	}
	store_view_close(&view);
	store_close(&store);
	buf_done(&bytes);
}

static void read_whole(const char *path, struct buf *out)
{
	MUST(file_read(path, out, err));
}

static void write_whole(const char *path, struct slice data)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data.data, data.len), data.len);
	(void)close(fd);
}

static void a_file_that_was_cut_off_is_no_crash(void **state)
{
	struct buf whole = BUF_INIT(MIB(64));
	unsigned opened = 0;
	char path[128];

	(void)state;
	make_store(30);
	opts.must_exist = true;
	path_of("data.mdb", path);
	read_whole(path, &whole);
	for (size_t i = 0; i < 64; i++) {
		write_whole(path, (struct slice){ whole.data, whole.len * i / 64 });
		survive(30, &opened);
	}
	assert_true(opened < 8); /* only where unused pages were cut off */
	opened = 0;
	write_whole(path, buf_slice(&whole));
	survive(30, &opened);
	assert_int_equal(opened, 1);
	buf_done(&whole);
}

enum damage { DAMAGE_ZERO, DAMAGE_ONES, DAMAGE_HEAD, DAMAGE_BIT, DAMAGE_OTHER, DAMAGE_COUNT };

static void damage_page(struct buf *copy, size_t page, enum damage damage)
{
	uint8_t *p = copy->data + page * 4096;
	size_t pages = copy->len / 4096;

	switch (damage) {
	case DAMAGE_ZERO: memset(p, 0, 4096); return;
	case DAMAGE_ONES: memset(p, 0xff, 4096); return;
	case DAMAGE_HEAD: memset(p + 8, 0x5a, 40); return;
	case DAMAGE_BIT: p[page * 37 % 4096] ^= 0x10; return;
	case DAMAGE_OTHER: memcpy(p, copy->data + (page * 7 + 3) % pages * 4096, 4096); return;
	case DAMAGE_COUNT: return;
	}
}

static void a_damaged_page_is_found_or_harmless(void **state)
{
	struct buf whole = BUF_INIT(MIB(64)), copy = BUF_INIT(MIB(64));
	unsigned opened = 0, tried = 0;
	char path[128];

	(void)state;
	make_store(30);
	opts.must_exist = true;
	path_of("data.mdb", path);
	read_whole(path, &whole);
	for (size_t page = 0; page < whole.len / 4096; page++) {
		enum damage damage = (enum damage)(page % DAMAGE_COUNT);

		for (int i = 0; i < 2; i++, damage = (enum damage)((damage + 2) % DAMAGE_COUNT)) {
			buf_reset(&copy);
			MUST(buf_put_slice(&copy, buf_slice(&whole), err));
			damage_page(&copy, page, damage);
			write_whole(path, buf_slice(&copy));
			survive(30, &opened);
			tried++;
		}
	}
	assert_true(opened < tried);
	buf_done(&whole);
	buf_done(&copy);
}

/* Rot in the bodies of what is parked. */
static void damage_parked(const char *path)
{
	static const uint8_t zeros[1000];
	struct buf whole = BUF_INIT(MIB(64));
	unsigned found = 0;

	read_whole(path, &whole);
	for (size_t at = 0; at + 2000 < whole.len; at++) {
		if (memcmp(whole.data + at, "parked", 6) != 0 ||
			memcmp(whole.data + at + 500, zeros, sizeof(zeros)) != 0)
			continue;
		whole.data[at + 1000] = 1;
		found++;
	}
	assert_true(found > 0);
	write_whole(path, buf_slice(&whole));
	buf_done(&whole);
}

/* A question costs what it asks for: what is parked is read, and checked, by who wants it. */
static void who_only_reads_does_not_load_what_is_parked(void **state)
{
	struct store *store = NULL;
	struct store_view *view = NULL;
	struct buf text = BUF_INIT(MIB(1));
	struct item_version v;
	struct item_park park;
	struct err failed = ERR_INIT;
	char path[128];

	(void)state;
	make_store(3);
	opts.must_exist = true;
	path_of("data.mdb", path);
	damage_parked(path);
	assert_int_equal(store_lmdb_open(&opts, &store, &failed), ERR_CORRUPT);
	opts.read_only = true;
	MUST(store_lmdb_open(&opts, &store, err));
	MUST(store_view_open(store, &view, err));
	MUST(store_view_version(view, SLICE_LIT("subject 2"), &v, &text, err));
	assert_true(v.version.value == 2);
	failed = ERR_INIT;
	assert_int_equal(store_view_parked(view, SLICE_LIT("parked"), 2, &text, &park, &failed),
		ERR_CORRUPT);
	store_view_close(&view);
	store_close(&store);
	buf_done(&text);
}

/* ---- room --------------------------------------------------------------------------------- */

static void a_commit_that_found_no_room_is_tried_again(void **state)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
	struct rlimit limit, small;
	struct store *store = NULL;
	struct err failed = ERR_INIT;
	struct stat st;
	char path[128];
	enum err_code rc;

	(void)state;
	assert_int_equal(sigaction(SIGXFSZ, &ignore, &before), 0);
	open_store(&store);
	MUST(write_batch(store, 0, 100, err));
	path_of("data.mdb", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = limit;
	small.rlim_cur = (rlim_t)st.st_size;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	rc = write_batch(store, 1, MIB(1), &failed);
	assert_true(rc == ERR_IO || rc == ERR_FULL);
	assert_true(knows(store, BATCH)); /* it is applied, and waits */
	failed = ERR_INIT;
	rc = store_commit(store, &failed);
	assert_true(rc == ERR_IO || rc == ERR_FULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	MUST(store_commit(store, err));
	assert_batches(store, 2);
	store_close(&store);
	open_store(&store);
	assert_batches(store, 2);
	store_close(&store);
	assert_int_equal(sigaction(SIGXFSZ, &before, NULL), 0);
}

/* ---- another process ---------------------------------------------------------------------- */

/* Answers, for each byte it reads, whether the last entry of that many batches is there. */
static void answer(int questions, int answers)
{
	struct store *store = NULL;
	struct store_view *view = NULL;
	struct err err = ERR_INIT;
	uint8_t batches;

	opts.read_only = true;
	if (store_lmdb_open(&opts, &store, &err) != ERR_OK ||
		store_view_open(store, &view, &err) != ERR_OK)
		_exit(2);
	while (read(questions, &batches, 1) == 1) {
		struct item_seen seen;
		uint8_t id16[ID16_LEN], yes;

		make_id((uint64_t)batches * BATCH - 1, id16);
		yes = store_view_seen(view, id16, &seen, &err) == ERR_OK;
		if (write(answers, &yes, 1) != 1)
			_exit(3);
	}
	store_view_close(&view);
	store_close(&store);
	_exit(0);
}

static uint8_t ask(int questions, int answers, uint8_t batches)
{
	uint8_t yes = 2;

	assert_int_equal(write(questions, &batches, 1), 1);
	assert_int_equal(read(answers, &yes, 1), 1);
	return yes;
}

static void another_process_reads_while_the_map_grows(void **state)
{
	int questions[2], answers[2], status;
	struct store *store = NULL;
	pid_t pid;

	(void)state;
	make_store(1);
	assert_int_equal(pipe2(questions, O_CLOEXEC), 0);
	assert_int_equal(pipe2(answers, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(questions[1]);
		answer(questions[0], answers[1]);
	}
	open_store(&store);
	assert_int_equal(ask(questions[1], answers[0], 1), 1);
	assert_int_equal(ask(questions[1], answers[0], 2), 0);
	for (uint64_t n = 1; n < 10; n++) {
		MUST(write_batch(store, n, MIB(1), err));
		assert_int_equal(ask(questions[1], answers[0], (uint8_t)(n + 1)), 1);
	}
	(void)close(questions[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	(void)close(questions[0]);
	(void)close(answers[0]);
	(void)close(answers[1]);
	store_close(&store);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_commit_is_there_after_reopening),
		T(the_map_grows_with_what_is_written),
		T(no_store_beside_a_log_is_corrupt),
		T(a_killed_writer_loses_nothing_it_told_of),
		T(a_file_that_was_cut_off_is_no_crash),
		T(a_damaged_page_is_found_or_harmless),
		T(who_only_reads_does_not_load_what_is_parked),
		T(a_commit_that_found_no_room_is_tried_again),
		T(another_process_reads_while_the_map_grows),
	};

	return cmocka_run_group_tests_name("lmdb", tests, NULL, NULL);
}
