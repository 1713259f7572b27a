/* fetch_priv.h - a slot: one of libcurl's easy handles, dressed for one call after the other. */
#pragma once

#include "postern/fetch.h"

#include <curl/curl.h>
#include <sys/socket.h>

struct fetch_slot {
	struct fetch_slot *next, *prev; /* in the list of idle or of busy slots */
	CURL *easy;
	struct fetch_call *call; /* NULL while idle */
	struct buf lines;        /* the request's header lines, each ended by NUL */
	struct curl_slist nodes[FETCH_HEADERS_MAX + 3];
	char error[CURL_ERROR_SIZE];
	size_t header_bytes, thrown; /* of the answer */
	bool headed;                 /* the empty line behind the answer's header lines came */
	bool cut;                    /* we closed the connection on a body that was too long */
};

/* May anyone on the internet be told to call this address? */
bool fetch_is_public(const struct sockaddr *address);
/* A handle with every setting that is the same for all calls. */
MUST_CHECK enum err_code fetch_slot_open(struct fetch_slot **out, struct err *err);
void fetch_slot_close(struct fetch_slot *slot);
/* Settings of this call. The slot then goes to the multi handle. */
MUST_CHECK enum err_code fetch_slot_begin(
	struct fetch_slot *slot, struct fetch_call *call, struct err *err);
/* Read libcurl's result into the call. */
void fetch_slot_end(struct fetch_slot *slot, CURLcode result);
