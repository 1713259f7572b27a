/* service.c - see service.h. */
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>

/* ---- the socket --------------------------------------------------------------------- */

enum err_code service_socket(int *out_fd, struct err *err)
{
	int count = sd_listen_fds(1), flags;

	*out_fd = -1;
	if (count == 0)
		return ERR_OK;
	if (count < 0)
		return err_sys(err, ERR_CONFIG, -count, "LISTEN_FDS");
	if (count > 1)
		return err_set(err, ERR_CONFIG,
			"the service manager passed %d sockets; one is taken, in place of "
			"/ingress/listen",
			count);
	if (sd_is_socket(SD_LISTEN_FDS_START, AF_UNSPEC, SOCK_STREAM, 1) <= 0)
		return err_set(err, ERR_CONFIG,
			"what the service manager passed is no listening stream socket");
	flags = fcntl(SD_LISTEN_FDS_START, F_GETFL);
	if (flags < 0 || fcntl(SD_LISTEN_FDS_START, F_SETFL, flags | O_NONBLOCK) != 0)
		return err_sys(err, ERR_IO, errno, "the passed socket");
	*out_fd = SD_LISTEN_FDS_START;
	return ERR_OK;
}

/* ---- states ------------------------------------------------------------------------- */

/* A manager that does not listen is no reason to stop. */
static void say(const char *text)
{
	(void)sd_notify(0, text);
}

void service_status(const char *line)
{
	(void)sd_notifyf(0, "STATUS=%s", line);
}

void service_alive(void)
{
	say("WATCHDOG=1");
}

int64_t service_watchdog_ms(void)
{
	uint64_t usec = 0;

	return sd_watchdog_enabled(0, &usec) > 0 ? (int64_t)(usec / 1000) : 0;
}

void service_ready(void)
{
	say("READY=1");
}

/* The manager compares the time with its own clock, so it is the system's, not an injected one. */
void service_reloading(void)
{
	struct timespec now = { 0 };
	char text[64];

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
		(int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	say(text);
}

void service_stopping(int64_t patience_ms)
{
	char text[64];

	(void)snprintf(
		text, sizeof(text), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64, patience_ms * 1000);
	say(text);
}
