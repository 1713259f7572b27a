/* guard.h - is this one HTTP request with one reading? Pure; private to the room.
 *
 * The library in front of the guard is lenient: it takes framing headers with blanks, both lengths,
 * bare line feeds, folded lines and NULs, each of which lets two readers of the same bytes disagree
 * about where a request ends. The guard judges the head as the library reports it. What the library
 * hides (line ends, folds, NULs) shows in where the pieces lie: see `contiguous`.
 *
 * The library leaves zeros behind for CR, LF, NUL and the colon alike, and lengths are all that is
 * seen. So two forms stay hidden: a NUL in the place of a CR, and "colon, bare line feed" (or NULs)
 * in the place of the empty line. is_doubtful() in answer.c bounds what they can do. */
#pragma once

#include "postern/buf.h"

struct guard_head {
	struct slice method, uri, version;
	/* As received after the colon and leading blanks; names and values may hold anything. Only
	 * the first SERVE_HEADERS_MAX are here, header_count has them all. */
	const struct header *headers;
	size_t header_count;
	bool uri_cut; /* longer than SERVE_URI_MAX */
	/* The pieces lie in the received bytes with exactly one blank between the parts of the
	 * first line and exactly two bytes between the lines: no byte was hidden. */
	bool contiguous;
	size_t block_bytes, block_max; /* the whole head, up to and with the empty line */
};

struct guard_verdict {
	enum err_code code; /* ERR_OK, ERR_BAD_REQUEST, ERR_TOO_LARGE */
	unsigned status;    /* of the refusal */
	const char *what;   /* static, for the log */
	bool expects;       /* Expect: 100-continue */
	uint64_t length;    /* of the body, or SERVE_LENGTH_UNKNOWN */
};
void guard_check(const struct guard_head *head, struct guard_verdict *out);

/* Token characters of RFC 9110 only, and at least one. */
bool guard_is_token(struct slice s);
/* "/path?query", or "http://host/path?query" without its first part, or "*". False for others. */
bool guard_split_uri(struct slice uri, struct slice *path, struct slice *query, bool *has_query);
