/* listen.c - the listening socket, addresses as text, and the limit of open files.
 *
 * Deliberately not here: accepting, which is the library's. */
#include "serve_priv.h"

#include "postern/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024
#define OTHER_FILES ((rlim_t)256) /* logs, stores, our own */

void listen_name(const struct sockaddr *address, bool with_port, char *out, size_t max)
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;
	char host[INET6_ADDRSTRLEN] = "";
	bool mapped = false;

	if (!address || (address->sa_family != AF_INET && address->sa_family != AF_INET6)) {
		(void)snprintf(out, max, "%s", "local");
		return;
	}
	if (address->sa_family == AF_INET) {
		(void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
	} else {
		mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
		if (mapped)
			(void)inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], host, sizeof(host));
		else
			(void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
	}
	if (!with_port)
		(void)snprintf(out, max, "%s", host);
	else if (address->sa_family == AF_INET || mapped)
		(void)snprintf(
			out, max, "%s:%u", host, ntohs(mapped ? v6->sin6_port : v4->sin_port));
	else
		(void)snprintf(out, max, "[%s]:%u", host, ntohs(v6->sin6_port));
}

/* "host:port" or "[v6]:port" into its parts. */
static enum err_code split_address(const char *text, char host[64], char port[8], struct err *err)
{
	const char *colon = strrchr(text, ':');
	struct slice name, number;
	uint64_t value;

	if (!colon)
		return err_set(err, ERR_USAGE, "'%s' is not host:port", text);
	name = (struct slice){ (const uint8_t *)text, (size_t)(colon - text) };
	number = slice_str(colon + 1);
	if (name.len >= 2 && name.data[0] == '[' && name.data[name.len - 1] == ']')
		name = slice_sub(name, 1, name.len - 2);
	if (name.len == 0 || name.len >= 64 || text_u64(number, &value, NULL) != ERR_OK ||
		value > 65535)
		return err_set(err, ERR_USAGE, "'%s' is not host:port", text);
	(void)snprintf(host, 64, "%.*s", SLICE_FMT(name));
	(void)snprintf(port, 8, "%u", (unsigned)value);
	return ERR_OK;
}

static int bind_one(const struct addrinfo *info)
{
	const int on = 1;
	int saved;
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	saved = errno;
	(void)close(fd);
	errno = saved;
	return -1;
}

static enum err_code bind_text(struct serve *s, const char *text, struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	char host[64], port[8], what[128];
	enum err_code rc = split_address(text, host, port, err);
	int failure;

	if (rc != ERR_OK)
		return rc;
	failure = getaddrinfo(host, port, &hints, &found);
	if (failure != 0)
		return err_set(err, ERR_IO, "listen on %s: %s", text, gai_strerror(failure));
	s->listen_fd = bind_one(found);
	failure = errno;
	freeaddrinfo(found);
	if (s->listen_fd >= 0) {
		s->owns_listen = true;
		return ERR_OK;
	}
	(void)snprintf(what, sizeof(what), "listen on %s", text);
	return err_sys(err, ERR_IO, failure, what);
}

enum err_code listen_open(struct serve *s, const struct serve_opts *opts, struct err *err)
{
	struct sockaddr_storage bound = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(bound);
	enum err_code rc;

	if (opts->listen_fd >= 0) {
		s->listen_fd = opts->listen_fd;
	} else {
		rc = bind_text(s, opts->listen, err);
		if (rc != ERR_OK)
			return rc;
	}
	if (getsockname(s->listen_fd, (void *)&bound, &len) != 0)
		return err_sys(err, ERR_IO, errno, "getsockname");
	listen_name((const void *)&bound, true, s->address, sizeof(s->address));
	return ERR_OK;
}

size_t listen_raise_limit(size_t connections)
{
	struct rlimit limit;
	rlim_t wanted = connections + LINGER_MAX + OTHER_FILES;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return connections;
	if (limit.rlim_cur < wanted) {
		limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur >= wanted)
		return connections;
	return limit.rlim_cur > 2 * OTHER_FILES ? limit.rlim_cur - OTHER_FILES : limit.rlim_cur / 2;
}
