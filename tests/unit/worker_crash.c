/* A worker over files that is killed again and again: each life is a child process.
 *
 *   parent: fork -> child: start, send, be killed ... -> a last child drains and checks
 *
 * What the handler did is written to a file at once, so the deaths do not take it along. */
#define LAB_FAKE_HANDLER
#include "support/worker_lab.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#define LIVES 12
#define PER_LIFE 120
#define ENTITIES 7

static const char config[] = LAB_CONFIG("{\"name\": \"none\", \"match\": {\"type\": \"plain\"}, "
					"\"handler\": {\"type\": \"none\"}}," LAB_CALL_ROUTE,
	"");

static int effects = -1; /* the child's */

/* One line a call: id, version, attempt. An id that begins with "kill" takes the process along. */
static void note_call(const struct handler_call *call)
{
	char line[128], version[VERSION_TEXT_MAX];
	int len;

	version_text(call->event->version, version);
	len = snprintf(line, sizeof(line), "%.*s %.*s %s %u\n", SLICE_FMT(call->event->entity),
		SLICE_FMT(call->event->id), version, call->attempt);
	if (write(effects, line, (size_t)len) != len)
		abort();
	if (slice_starts(call->event->id, SLICE_LIT("kill")))
		(void)kill(getpid(), SIGKILL);
}

static struct lab *live(const char *dir)
{
	struct lab *lab = lab_in(dir, config);
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/effects", dir);
	effects = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (effects < 0)
		abort();
	lab_handler.on_call = note_call;
	lab->disk = true;
	lab_start(lab);
	return lab;
}

/* The n-th event of all: entities take turns, versions rise, some ids fail for good or for a while.
 */
static void event_of(int n, struct lab_event *out, char (*text)[32])
{
	static const char *const words[] = { "done", "third", "done", "plain", "never", "done" };
	const char *word = words[n % (int)ARRAY_LEN(words)];

	(void)snprintf(text[0], sizeof(text[0]), "%s-%d", word, n);
	(void)snprintf(text[1], sizeof(text[1]), "e%d", n % ENTITIES);
	(void)snprintf(text[2], sizeof(text[2]), "%d", n / ENTITIES + 1);
	*out = (struct lab_event){ .id = text[0],
		.entity = text[1],
		.version = text[2],
		.type = strcmp(word, "plain") == 0 ? "plain" : "thing" };
}

/* A life: says on the pipe how many of its events are durable, until it is killed. */
static void life(const char *dir, int first, int pipe_fd)
{
	struct lab *lab = live(dir);

	for (int n = first; n < first + PER_LIFE; n++) {
		struct lab_event event;
		char text[3][32];

		event_of(n, &event, text);
		(void)lab_send(lab, &event);
		if (write(pipe_fd, "+", 1) != 1)
			abort();
		/* a copy of an older one now and then */
		if (n % 10 == 9) {
			event_of(n - 5, &event, text);
			(void)lab_send(lab, &event);
		}
	}
	for (;;)
		(void)pause();
}

/* Gives how many events were durable before the child was killed. */
static int one_life(const char *dir, int first, useconds_t length_us)
{
	int ends[2], durable = 0;
	char bytes[PER_LIFE];
	ssize_t got;
	pid_t child;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		life(dir, first, ends[1]);
		_exit(0);
	}
	(void)close(ends[1]);
	/* The clock of a life starts with its first event: slow machines start slowly. */
	assert_int_equal(read(ends[0], bytes, 1), 1);
	durable = 1;
	(void)usleep(length_us);
	assert_int_equal(kill(child, SIGKILL), 0);
	while ((got = read(ends[0], bytes, sizeof(bytes))) > 0)
		durable += (int)got;
	(void)close(ends[0]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	return durable;
}

/* ---- what must hold at the end ------------------------------------------------------ */

static bool ended_well(struct lab *lab, int n)
{
	struct lab_event event;
	struct item_seen seen;
	char text[3][32];

	event_of(n, &event, text);
	if (!lab_seen(lab, event.id, &seen))
		return false;
	/* Lives as short as these may end three times in the call of one event. */
	if (seen.outcome == OUTCOME_DEAD && seen.code == ERR_CRASH_LOOP)
		return true;
	return seen.outcome ==
	       (strncmp(event.id, "never", 5) == 0 ? OUTCOME_DEAD : OUTCOME_APPLIED);
}

/* Every dead letter stands once in its stream, and once in the index. */
static int dead_twice(struct lab *lab)
{
	const size_t count = lab_entries(lab, OUT_DLQ);
	struct store_entry *entries = calloc(count + 1, sizeof(*entries));
	struct buf text = BUF_INIT(MIB(1));
	struct stream_stat stat;
	int wrong = 0;

	for (size_t i = 0; entries && i < count; i++) {
		(void)lab_entry(lab, OUT_DLQ, i, &entries[i], &text);
		for (size_t j = 0; j < i; j++)
			wrong += memcmp(entries[i].id16, entries[j].id16, ID16_LEN) == 0;
	}
	queue_stat(lab->queue, STREAM_DLQ, &stat);
	if (wrong > 0 || stat.end != (int64_t)count)
		(void)fprintf(stderr, "%d dead twice, %zu entries for %lld records\n", wrong, count,
			(long long)stat.end);
	wrong += stat.end != (int64_t)count;
	free(entries);
	buf_done(&text);
	return wrong;
}

/* The first calls of one entity's events come in the order of its versions. A call whose outcome
 * was not committed when the worker died is repeated, and what followed it too. */
static bool in_order(const char *dir)
{
	char path[128], line[128];
	int last[ENTITIES] = { 0 };
	static bool seen[LIVES * PER_LIFE * 2];
	bool fine = true;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/effects", dir);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		int entity, n, version;

		if (sscanf(line, "e%d %*[a-z]-%d %d", &entity, &n, &version) != 3 || entity < 0 ||
			entity >= ENTITIES || n < 0 || n >= (int)ARRAY_LEN(seen) || seen[n])
			continue;
		seen[n] = true;
		if (version < last[entity]) {
			(void)fprintf(stderr, "out of order: %s", line);
			fine = false;
		}
		last[entity] = version;
	}
	if (file)
		(void)fclose(file);
	return fine;
}

/* In a child: 0 when everything that was durable ended as it must. */
static int check(const char *dir, const int *first, const int *durable, int lives)
{
	struct lab *lab = live(dir);
	const int64_t deadline = lab_mono_ms() + 60000;
	int wrong = 0, dead = 0;
	char entity[16];
	struct buf text = BUF_INIT(MIB(1));
	struct item_version stored;

	for (int l = 0; l < lives; l++) {
		for (int n = first[l]; n < first[l] + durable[l]; n++) {
			while (!ended_well(lab, n) && lab_mono_ms() < deadline)
				(void)usleep(1000);
			if (!ended_well(lab, n)) {
				(void)fprintf(stderr, "event %d of life %d did not end\n", n, l);
				wrong++;
			}
			dead += n % 6 == 4;
		}
	}
	while ((lab_entries(lab, OUT_DLQ) < (size_t)dead ||
		       lab_status(lab, "outputs_waiting") > 0) &&
		lab_mono_ms() < deadline)
		(void)usleep(1000);
	wrong += dead_twice(lab);
	for (int e = 0; e < ENTITIES; e++) {
		(void)snprintf(entity, sizeof(entity), "e%d", e);
		wrong += !lab_version(lab, entity, &stored, &text);
	}
	lab_leave(lab);
	buf_done(&text);
	wrong += !in_order(dir);
	return wrong > 100 ? 100 : wrong;
}

static void deaths_lose_nothing(void **state)
{
	char dir[] = "/tmp/postern-crash-XXXXXX";
	int first[LIVES], durable[LIVES], next = 0, status;
	unsigned seed = getenv("LAB_SEED") ? (unsigned)getpid() : 4711;
	pid_t child;

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (int l = 0; l < LIVES; l++) {
		seed = seed * 1103515245 + 12345;
		first[l] = next;
		durable[l] = one_life(dir, next, 1000 + (seed >> 16) % 60000);
		/* one more may be durable, unheard of: skip its number */
		next += durable[l] + 1;
	}
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(check(dir, first, durable, LIVES));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	lab_remove(dir);
}

/* ---- an event that kills the worker ----------------------------------------------------- */

static const struct lab_event poison[] = {
	{ .id = "done-1", .entity = "a" },
	{ .id = "kill", .entity = "b" },
	{ .id = "done-2", .entity = "b" },
	{ .id = "done-3", .entity = "c" },
};

static void poison_life(const char *dir)
{
	struct lab *lab = live(dir);

	/* Some may not be durable yet when the worker dies: sent again, the others are copies. */
	lab_send_all(lab, poison, ARRAY_LEN(poison));
	LAB_UNTIL(lab_outcome(lab, "kill") == OUTCOME_DEAD);
	LAB_UNTIL(lab_outcome(lab, "done-1") == OUTCOME_APPLIED);
	LAB_UNTIL(lab_outcome(lab, "done-2") == OUTCOME_APPLIED);
	LAB_UNTIL(lab_outcome(lab, "done-3") == OUTCOME_APPLIED);
	LAB_UNTIL(lab_entries(lab, OUT_DLQ) == 1);
	lab_leave(lab);
}

static void the_event_that_kills_ends_dead(void **state)
{
	char dir[] = "/tmp/postern-crash-XXXXXX";
	int deaths = 0, status = 0;

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (; deaths < 10; deaths++) {
		pid_t child = fork();

		assert_true(child >= 0);
		if (child == 0) {
			poison_life(dir);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		if (WIFEXITED(status))
			break;
		assert_int_equal(WTERMSIG(status), SIGKILL);
	}
	/* once in good faith, three times alone */
	assert_int_equal(deaths, 4);
	assert_int_equal(WEXITSTATUS(status), 0);
	lab_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deaths_lose_nothing),
		cmocka_unit_test(the_event_that_kills_ends_dead),
	};

	return lab_run(tests);
}
