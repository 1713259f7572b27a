/* fetch_slot.c - one call as libcurl sees it: options, header lines, the answer.
 *
 * A slot's handle lives as long as the client and keeps its options; only what differs from call to
 * call is set again. Deliberately not here: when calls start and end (fetch.c). */
#include "fetch_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define LINES_MAX KIB(64) /* the request's header lines */

/* libcurl's own sockets are inherited by children; ours are not. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	const struct fetch_slot *slot = arg;

	(void)purpose;
	if (slot->call->public_only && !fetch_is_public(&address->addr))
		return CURL_SOCKET_BAD;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, (int)address->protocol);
}

static size_t take_header(char *data, size_t size, size_t count, void *arg)
{
	struct fetch_slot *slot = arg;

	/* A status line begins the lines of an answer, the first or one after an interim answer; an
	 * empty line ends them. Lines behind the body are neither. */
	if (size * count >= 5 && memcmp(data, "HTTP/", 5) == 0)
		slot->headed = false;
	else if (data[0] == '\r' || data[0] == '\n')
		slot->headed = true;
	slot->header_bytes += size * count;
	return slot->header_bytes > FETCH_ANSWER_HEADERS_MAX ? 0 : size * count;
}

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
	struct fetch_slot *slot = arg;
	struct buf *answer = &slot->call->answer;
	size_t len = size * count, room = answer->max - answer->len;
	size_t kept = len < room ? len : room;

	/* Without memory the answer is as if it were too long: its status is what matters. */
	if (kept > 0 && buf_put(answer, data, kept, NULL) != ERR_OK)
		kept = 0;
	slot->thrown += len - kept;
	slot->cut = slot->thrown > FETCH_DISCARD_MAX;
	return slot->cut ? CURL_WRITEFUNC_ERROR : len;
}

static bool set_callbacks(struct fetch_slot *slot)
{
	CURL *easy = slot->easy;

	return curl_easy_setopt(easy, CURLOPT_PRIVATE, slot) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, slot->error) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, slot) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_HEADERDATA, slot) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_WRITEDATA, slot) == CURLE_OK;
}

static bool set_texts(CURL *easy)
{
	static const struct {
		CURLoption option;
		const char *value;
	} texts[] = {
		{ CURLOPT_PROTOCOLS_STR, "http,https" },
		{ CURLOPT_PROXY, "" }, /* nor one of the environment */
		{ CURLOPT_USERAGENT, "postern/" POSTERN_VERSION },
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (curl_easy_setopt(easy, texts[i].option, texts[i].value) != CURLE_OK)
			return false;
	return true;
}

static bool set_numbers(CURL *easy)
{
	static const struct {
		CURLoption option;
		long value;
	} numbers[] = {
		{ CURLOPT_NOSIGNAL, 1 },
		{ CURLOPT_FOLLOWLOCATION, 0 },
		/* One answer a connection at a time: a connection that we cut takes no other call
		   along. */
		{ CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
		/* A call that times out during name lookup must not make the thread wait for the
		   resolver. */
		{ CURLOPT_QUICK_EXIT, 1 },
		{ CURLOPT_TCP_KEEPALIVE, 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (curl_easy_setopt(easy, numbers[i].option, numbers[i].value) != CURLE_OK)
			return false;
	return true;
}

enum err_code fetch_slot_open(struct fetch_slot **out, struct err *err)
{
	struct fetch_slot *slot = calloc(1, sizeof(*slot));

	if (!slot)
		return err_set(err, ERR_NOMEM, "no memory for a call");
	slot->lines = BUF_INIT(LINES_MAX);
	slot->easy = curl_easy_init();
	if (!slot->easy || !set_callbacks(slot) || !set_texts(slot->easy) ||
		!set_numbers(slot->easy)) {
		fetch_slot_close(slot);
		return err_set(err, ERR_NOMEM, "no memory for a call");
	}
	*out = slot;
	return ERR_OK;
}

void fetch_slot_close(struct fetch_slot *slot)
{
	curl_easy_cleanup(slot->easy);
	buf_done(&slot->lines);
	free(slot);
}

/* libcurl wants "Name: value", and "Name;" where the value is empty. */
static enum err_code put_line(struct buf *lines, const struct header *h, struct err *err)
{
	enum err_code rc = buf_put_slice(lines, h->name, err);

	if (rc == ERR_OK)
		rc = buf_put_str(lines, h->value.len > 0 ? ": " : ";", err);
	if (rc == ERR_OK)
		rc = buf_put_slice(lines, h->value, err);
	return rc == ERR_OK ? buf_put_u8(lines, '\0', err) : rc;
}

static enum err_code put_lines(struct buf *lines, const struct fetch_call *call, struct err *err)
{
	/* What libcurl would add: no waiting for "100 Continue", no type that nobody gave. A header
	 * of the caller's with the same name, further down, is sent nevertheless. */
	static const char nothing[] = "Expect:\0Accept:";
	enum err_code rc = buf_put(lines, nothing, sizeof(nothing), err);
	bool typed = false;

	for (size_t i = 0; rc == ERR_OK && i < call->header_count; i++) {
		typed |= slice_eq_nocase(call->headers[i].name, SLICE_LIT("content-type"));
		rc = put_line(lines, &call->headers[i], err);
	}
	if (rc == ERR_OK && !typed)
		rc = buf_put(lines, "Content-Type:", sizeof("Content-Type:"), err);
	return rc;
}

/* The list that libcurl reads; its nodes are ours, and so is the text. */
static struct curl_slist *link_lines(struct fetch_slot *slot)
{
	size_t n = 0;

	for (size_t at = 0; at < slot->lines.len; n++) {
		char *line = (char *)slot->lines.data + at;

		slot->nodes[n].data = line;
		slot->nodes[n].next = NULL;
		if (n > 0)
			slot->nodes[n - 1].next = &slot->nodes[n];
		at += strlen(line) + 1;
	}
	return slot->nodes;
}

/* The handle may have been used for the other method before. */
static bool set_method(CURL *easy, const struct fetch_call *call)
{
	const char *body = call->body.len > 0 ? (const char *)call->body.data : "";

	if (call->get)
		return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK;
	return curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len) ==
		       CURLE_OK;
}

/* A handle keeps its options: the roots of the call before must go. */
static bool set_roots(CURL *easy, struct slice pem)
{
	struct curl_blob blob = {
		.data = (void *)(uintptr_t)pem.data, .len = pem.len, .flags = CURL_BLOB_COPY
	};

	return curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, pem.len > 0 ? &blob : NULL) == CURLE_OK;
}

enum err_code fetch_slot_begin(struct fetch_slot *slot, struct fetch_call *call, struct err *err)
{
	enum err_code rc;

	buf_reset(&slot->lines);
	rc = put_lines(&slot->lines, call, err);
	if (rc != ERR_OK)
		return rc;
	slot->call = call;
	slot->header_bytes = slot->thrown = 0;
	slot->cut = slot->headed = false;
	slot->error[0] = '\0';
	/* A connection that another call has opened was not looked at. */
	if (!set_method(slot->easy, call) || !set_roots(slot->easy, call->ca_pem) ||
		curl_easy_setopt(slot->easy, CURLOPT_FRESH_CONNECT, (long)call->public_only) !=
			CURLE_OK ||
		curl_easy_setopt(slot->easy, CURLOPT_URL, call->url) != CURLE_OK ||
		curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, link_lines(slot)) != CURLE_OK ||
		curl_easy_setopt(slot->easy, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms) !=
			CURLE_OK)
		return err_set(err, ERR_NOMEM, "no memory for a call");
	return ERR_OK;
}

/* Digits are seconds; anything else may be a date. */
static int64_t read_retry_after(const char *value)
{
	static const int64_t most_s = INT64_C(366) * 86400;
	int64_t s = 0;
	time_t when;

	if (*value < '0' || *value > '9') {
		when = curl_getdate(value, NULL);
		if (when == (time_t)-1)
			return -1;
		s = (int64_t)when - (int64_t)time(NULL);
		return s > 0 ? s * 1000 : 0;
	}
	for (; *value >= '0' && *value <= '9'; value++)
		s = s < most_s ? s * 10 + (*value - '0') : most_s;
	return *value == '\0' ? s * 1000 : -1;
}

static void read_answer(struct fetch_slot *slot, long status)
{
	struct fetch_call *call = slot->call;
	struct curl_header *h = NULL;

	call->code = ERR_OK;
	call->status = (unsigned)status;
	if (curl_easy_header(slot->easy, "Retry-After", 0, CURLH_HEADER, -1, &h) == CURLHE_OK)
		call->retry_after_ms = read_retry_after(h->value);
}

void fetch_slot_end(struct fetch_slot *slot, CURLcode result)
{
	struct fetch_call *call = slot->call;
	long status = 0;

	(void)curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
	/* libcurl takes a status line with the connection's end behind it for an answer. */
	if ((result == CURLE_OK || slot->cut) && status >= 200 && slot->headed) {
		read_answer(slot, status);
		return;
	}
	call->code = result == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_UNREACHABLE;
	if (slot->header_bytes > FETCH_ANSWER_HEADERS_MAX)
		(void)snprintf(call->error, sizeof(call->error), "headers of the answer too long");
	else if (result == CURLE_OK)
		(void)snprintf(call->error, sizeof(call->error), "the answer ended in its headers");
	else
		(void)snprintf(call->error, sizeof(call->error), "%.*s", ERR_TEXT_MAX - 1,
			slot->error[0] ? slot->error : curl_easy_strerror(result));
}
