/* fetch.c - the client: calls come in over a list, one thread moves them all.
 *
 *     fetch_start --> waiting --wake up--> [ take | perform | reap | poll ] --> done()
 *                                             ^                        |
 *                                             +------------------------+
 *
 * Deliberately not here: what a call looks like to libcurl (fetch_slot.c); retries, which are the
 * worker's. */
#include "fetch_priv.h"

#include "postern/thread.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define POLL_MS 10000 /* libcurl's own timers and wake-ups shorten it */

struct fetch {
	CURLM *multi;
	struct thread thread;
	struct lock lock;
	size_t max_calls;
	/* guarded by lock */
	size_t calls; /* waiting and busy */
	struct fetch_call *waiting, **waiting_end;
	bool stopping;
	/* the thread's own */
	struct fetch_slot *idle;
	struct fetch_slot busy; /* head of a ring */
};

static void ring_add(struct fetch_slot *head, struct fetch_slot *slot)
{
	slot->next = head;
	slot->prev = head->prev;
	head->prev->next = slot;
	head->prev = slot;
}

static void ring_remove(struct fetch_slot *slot)
{
	slot->prev->next = slot->next;
	slot->next->prev = slot->prev;
}

static void give_back(struct fetch *fetch, struct fetch_call *call)
{
	lock_take(&fetch->lock);
	assert(fetch->calls > 0);
	fetch->calls--;
	lock_give(&fetch->lock);
	call->done(call);
}

static void fail(struct fetch *fetch, struct fetch_call *call, enum err_code code, const char *why)
{
	call->code = code;
	(void)snprintf(call->error, sizeof(call->error), "%s", why);
	give_back(fetch, call);
}

static void release(struct fetch *fetch, struct fetch_slot *slot)
{
	slot->call = NULL;
	slot->next = fetch->idle;
	fetch->idle = slot;
}

static void begin(struct fetch *fetch, struct fetch_call *call)
{
	struct err err = ERR_INIT;
	struct fetch_slot *slot = fetch->idle;
	enum err_code rc = ERR_OK;

	if (slot)
		fetch->idle = slot->next;
	else
		rc = fetch_slot_open(&slot, &err);
	if (rc != ERR_OK) {
		fail(fetch, call, ERR_UNREACHABLE, err.text);
		return;
	}
	rc = fetch_slot_begin(slot, call, &err);
	if (rc == ERR_OK && curl_multi_add_handle(fetch->multi, slot->easy) != CURLM_OK)
		rc = err_set(&err, ERR_NOMEM, "no memory for a call");
	if (rc == ERR_OK) {
		ring_add(&fetch->busy, slot);
		return;
	}
	release(fetch, slot);
	fail(fetch, call, ERR_UNREACHABLE, err.text);
}

/* The call is read before the slot is given away, and comes back after: done() may start another.
 */
static void end(struct fetch *fetch, struct fetch_slot *slot, CURLcode result)
{
	struct fetch_call *call = slot->call;

	fetch_slot_end(slot, result);
	(void)curl_multi_remove_handle(fetch->multi, slot->easy);
	ring_remove(slot);
	release(fetch, slot);
	give_back(fetch, call);
}

static void reap(struct fetch *fetch)
{
	struct CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(fetch->multi, &left)) != NULL) {
		char *slot = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &slot);
		end(fetch, (struct fetch_slot *)(void *)slot, msg->data.result);
	}
}

static bool take(struct fetch *fetch, struct fetch_call **out)
{
	bool stopping;

	lock_take(&fetch->lock);
	*out = fetch->waiting;
	fetch->waiting = NULL;
	fetch->waiting_end = &fetch->waiting;
	stopping = fetch->stopping;
	lock_give(&fetch->lock);
	return !stopping;
}

static void stop_all(struct fetch *fetch, struct fetch_call *waiting)
{
	while (fetch->busy.next != &fetch->busy) {
		struct fetch_slot *slot = fetch->busy.next;
		struct fetch_call *call = slot->call;

		(void)curl_multi_remove_handle(fetch->multi, slot->easy);
		ring_remove(slot);
		release(fetch, slot);
		fail(fetch, call, ERR_STOPPED, "stopped");
	}
	while (waiting) {
		struct fetch_call *call = waiting;

		waiting = call->next;
		fail(fetch, call, ERR_STOPPED, "stopped");
	}
}

static void *run(void *arg)
{
	struct fetch *fetch = arg;
	struct fetch_call *list;
	int running;

	while (take(fetch, &list)) {
		while (list) {
			struct fetch_call *call = list;

			list = call->next;
			begin(fetch, call);
		}
		(void)curl_multi_perform(fetch->multi, &running);
		reap(fetch);
		/* A call that done() started has woken us up already. */
		(void)curl_multi_poll(fetch->multi, NULL, 0, POLL_MS, NULL);
	}
	stop_all(fetch, list);
	return NULL;
}

static enum err_code open_multi(struct fetch *fetch, struct err *err)
{
	fetch->multi = curl_multi_init();
	/* As many kept connections as there can be calls: none is closed only to make room. */
	if (!fetch->multi || curl_multi_setopt(fetch->multi, CURLMOPT_MAXCONNECTS,
				     (long)fetch->max_calls) != CURLM_OK)
		return err_set(err, ERR_NOMEM, "no memory for the HTTP client");
	return ERR_OK;
}

enum err_code fetch_open(size_t max_calls, struct fetch **out, struct err *err)
{
	struct fetch *fetch;
	enum err_code rc;

	assert(max_calls > 0);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(err, ERR_NOMEM, "the HTTP library does not start");
	fetch = calloc(1, sizeof(*fetch));
	if (!fetch) {
		curl_global_cleanup();
		return err_set(err, ERR_NOMEM, "no memory for the HTTP client");
	}
	fetch->max_calls = max_calls;
	fetch->waiting_end = &fetch->waiting;
	fetch->busy.next = fetch->busy.prev = &fetch->busy;
	lock_init(&fetch->lock);
	rc = open_multi(fetch, err);
	if (rc == ERR_OK)
		rc = thread_start(&fetch->thread, "fetch", run, fetch, err);
	if (rc != ERR_OK) {
		fetch_close(&fetch);
		return rc;
	}
	*out = fetch;
	return ERR_OK;
}

/* Control characters would end the line, and the rest would be a header that nobody meant. */
static bool is_safe(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((s.data[i] < ' ' && s.data[i] != '\t') || s.data[i] == 0x7f)
			return false;
	return true;
}

static enum err_code check_headers(const struct fetch_call *call, struct err *err)
{
	if (call->header_count > FETCH_HEADERS_MAX)
		return err_set(err, ERR_LIMIT, "more than %d headers", FETCH_HEADERS_MAX);
	for (size_t i = 0; i < call->header_count; i++) {
		const struct header *h = &call->headers[i];

		if (h->name.len == 0 || slice_find(h->name, ':') < h->name.len ||
			slice_find(h->name, ';') < h->name.len || !is_safe(h->name) ||
			!is_safe(h->value))
			return err_set(err, ERR_SYNTAX, "control character in header %.*s",
				is_safe(h->name) ? (int)h->name.len : 0,
				(const char *)h->name.data);
	}
	return ERR_OK;
}

enum err_code fetch_start(struct fetch *fetch, struct fetch_call *call, struct err *err)
{
	enum err_code rc = check_headers(call, err);
	bool wake = false;

	if (rc != ERR_OK)
		return rc;
	assert(call->url && call->done && call->timeout_ms > 0);
	call->status = 0;
	call->code = ERR_UNREACHABLE;
	call->retry_after_ms = -1;
	call->error[0] = '\0';
	call->next = NULL;
	call->answer.max = call->max_answer_bytes;
	buf_reset(&call->answer);
	lock_take(&fetch->lock);
	if (fetch->stopping) {
		rc = err_set(err, ERR_STOPPED, "the HTTP client is stopping");
	} else if (fetch->calls >= fetch->max_calls) {
		rc = err_set(err, ERR_FULL, "%zu calls are under way", fetch->calls);
	} else {
		/* One wake-up a list: whoever finds it empty gives it. */
		wake = fetch->waiting == NULL;
		*fetch->waiting_end = call;
		fetch->waiting_end = &call->next;
		fetch->calls++;
	}
	lock_give(&fetch->lock);
	if (wake)
		(void)curl_multi_wakeup(fetch->multi);
	return rc;
}

void fetch_close(struct fetch **out)
{
	struct fetch *fetch = *out;

	if (!fetch)
		return;
	*out = NULL;
	lock_take(&fetch->lock);
	fetch->stopping = true;
	lock_give(&fetch->lock);
	if (fetch->multi)
		(void)curl_multi_wakeup(fetch->multi);
	thread_join(&fetch->thread);
	while (fetch->idle) {
		struct fetch_slot *slot = fetch->idle;

		fetch->idle = slot->next;
		fetch_slot_close(slot);
	}
	(void)curl_multi_cleanup(fetch->multi);
	lock_done(&fetch->lock);
	free(fetch);
	curl_global_cleanup();
}

static bool has_part(CURLU *parts, CURLUPart part, const char *one, const char *other)
{
	char *text = NULL;
	bool ok = curl_url_get(parts, part, &text, 0) == CURLUE_OK && text[0] != '\0';

	if (ok && one)
		ok = strcmp(text, one) == 0 || strcmp(text, other) == 0;
	curl_free(text);
	return ok;
}

enum err_code fetch_check_url(const char *url, struct err *err)
{
	CURLU *parts = curl_url();
	enum err_code rc = ERR_OK;

	if (!parts)
		return err_set(err, ERR_NOMEM, "no memory for a URL");
	if (curl_url_set(parts, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
		rc = err_set(err, ERR_SYNTAX, "not a URL");
	else if (!has_part(parts, CURLUPART_SCHEME, "http", "https"))
		rc = err_set(err, ERR_SYNTAX, "only http and https URLs can be called");
	else if (!has_part(parts, CURLUPART_HOST, NULL, NULL))
		rc = err_set(err, ERR_SYNTAX, "a URL without a host");
	curl_url_cleanup(parts);
	return rc;
}

const char *fetch_version(void)
{
	return curl_version_info(CURLVERSION_NOW)->version;
}
