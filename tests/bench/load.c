/* load.c - two small instruments for `make bench`:
 *
 *   load rate HOST PORT FILE CONNECTIONS PER_SECOND SECONDS
 *       sends the requests of FILE (NUL-separated, whole HTTP requests) at a fixed rate over kept
 *       connections and prints p50, p99 and the number of answers that were not 200. The latency
 * counts from the moment a request was due, so a server that stalls cannot hide it. load sync DIR
 * COUNT p50 and p99 of pwrite of 1 KiB and fdatasync into a zero-filled file: what the disk costs
 * here.
 *
 * Output: one JSON object. Not a general load generator: wrk does the closed-loop rows. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUESTS_MAX 65536
#define CONNECTIONS_MAX 1024

static int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static double percentile_ms(int64_t *values, size_t count, double p)
{
	size_t at = (size_t)((double)(count - 1) * p);

	return count ? (double)values[at] / 1e6 : 0;
}

static uint64_t number(const char *text)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 10);

	if (*text == '\0' || *end != '\0') {
		(void)fprintf(stderr, "load: \"%s\" is not a number\n", text);
		exit(2);
	}
	return value;
}

/* ---- rate --------------------------------------------------------------------------------------
 */

struct connection {
	int fd;
	int64_t due_ns; /* of the request under way; 0: idle */
	size_t got;
	char answer[4096];
};

struct requests {
	const char *text[REQUESTS_MAX];
	size_t len[REQUESTS_MAX], count;
};

static void read_requests(const char *path, struct requests *out)
{
	static char data[128 << 20];
	FILE *file = fopen(path, "rbe");
	size_t len, at = 0;

	if (!file)
		die(path);
	len = fread(data, 1, sizeof(data) - 1, file);
	(void)fclose(file);
	while (at < len && out->count < REQUESTS_MAX) {
		out->text[out->count] = data + at;
		out->len[out->count] = strlen(data + at);
		at += out->len[out->count++] + 1;
	}
	if (out->count == 0) {
		(void)fprintf(stderr, "load: no requests in %s\n", path);
		exit(1);
	}
}

static int connect_to(const char *host, uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || inet_pton(AF_INET, host, &address.sin_addr) != 1 ||
		connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		die("connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
		die("fcntl");
	return fd;
}

/* Is the answer whole? Every server here sends Content-Length. */
static bool answer_whole(struct connection *c)
{
	const char *end, *length;

	c->answer[c->got] = '\0';
	end = strstr(c->answer, "\r\n\r\n");
	length = strcasestr(c->answer, "content-length:");
	if (!end || !length || length > end)
		return false;
	return c->got >= (size_t)(end + 4 - c->answer) + strtoul(length + 15, NULL, 10);
}

struct run {
	struct connection connections[CONNECTIONS_MAX];
	size_t connection_count;
	struct requests requests;
	int64_t *latencies;
	size_t answered, sent, bad;
};

static void on_readable(struct run *run, struct connection *c)
{
	ssize_t n = read(c->fd, c->answer + c->got, sizeof(c->answer) - 1 - c->got);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		die("the server closed a connection");
	c->got += (size_t)n;
	if (!answer_whole(c))
		return;
	run->latencies[run->answered++] = now_ns() - c->due_ns;
	run->bad += strncmp(c->answer, "HTTP/1.1 200", 12) != 0;
	c->due_ns = 0;
	c->got = 0;
}

static struct connection *idle_connection(struct run *run)
{
	for (size_t i = 0; i < run->connection_count; i++)
		if (run->connections[i].due_ns == 0)
			return &run->connections[i];
	return NULL;
}

static void send_due(struct run *run, int64_t start, int64_t gap, size_t total)
{
	while (run->sent < total) {
		int64_t due = start + (int64_t)run->sent * gap;
		struct connection *c;
		size_t which = run->sent % run->requests.count;

		if (due > now_ns() || !(c = idle_connection(run)))
			return;
		c->due_ns = due;
		if (write(c->fd, run->requests.text[which], run->requests.len[which]) !=
			(ssize_t)run->requests.len[which])
			die("write");
		run->sent++;
	}
}

static int rate(char **args)
{
	static struct run run;
	uint64_t per_second = number(args[4]);
	size_t total = per_second * number(args[5]);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int64_t start;

	read_requests(args[2], &run.requests);
	run.connection_count = number(args[3]);
	run.latencies = calloc(total, sizeof(*run.latencies));
	if (epoll < 0 || !run.latencies || run.connection_count > CONNECTIONS_MAX)
		die("setup");
	for (size_t i = 0; i < run.connection_count; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = &run.connections[i] };

		run.connections[i].fd = connect_to(args[0], (uint16_t)number(args[1]));
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, run.connections[i].fd, &event) != 0)
			die("epoll_ctl");
	}
	start = now_ns();
	while (run.answered < total) {
		struct epoll_event events[64];
		int n;

		send_due(&run, start, (int64_t)(1000000000 / per_second), total);
		n = epoll_wait(epoll, events, 64, run.sent < total ? 0 : 5000);
		if (n == 0 && run.sent == total)
			die("an answer is missing");
		for (int i = 0; i < n; i++)
			on_readable(&run, events[i].data.ptr);
	}
	qsort(run.latencies, run.answered, sizeof(*run.latencies), compare);
	printf("{\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"answers\":%zu,\"not_200\":%zu}\n",
		percentile_ms(run.latencies, run.answered, 0.5),
		percentile_ms(run.latencies, run.answered, 0.99), run.answered, run.bad);
	return 0;
}

/* ---- sync --------------------------------------------------------------------------------------
 */

static int measure_sync(char **args)
{
	static char block[1024], zeros[1 << 20];
	size_t count = number(args[1]);
	int64_t *took = calloc(count, sizeof(*took));
	char path[4096];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/sync.tmp", args[0]);
	fd = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || !took)
		die(path);
	for (int i = 0; i < 16; i++)
		if (write(fd, zeros, sizeof(zeros)) != sizeof(zeros))
			die("write");
	if (fsync(fd) != 0)
		die("fsync");
	for (size_t i = 0; i < count; i++) {
		int64_t start = now_ns();

		if (pwrite(fd, block, sizeof(block), (off_t)(i % 16000 * sizeof(block))) !=
				sizeof(block) ||
			fdatasync(fd) != 0)
			die("fdatasync");
		took[i] = now_ns() - start;
	}
	(void)close(fd);
	(void)unlink(path);
	qsort(took, count, sizeof(*took), compare);
	printf("{\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"count\":%zu}\n", percentile_ms(took, count, 0.5),
		percentile_ms(took, count, 0.99), count);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 8 && strcmp(argv[1], "rate") == 0)
		return rate(argv + 2);
	if (argc == 4 && strcmp(argv[1], "sync") == 0)
		return measure_sync(argv + 2);
	(void)fputs("usage: load rate HOST PORT FILE CONNECTIONS PER_SECOND SECONDS | load sync "
		    "DIR COUNT\n",
		stderr);
	return 2;
}
