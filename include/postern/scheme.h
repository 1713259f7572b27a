/* scheme.h - signature schemes as data: compile a source's description, then verify, map, sign,
 * audit.
 *
 * Everything after scheme_open() is a pure function over a request. The language is written down in
 * docs/schemes.md; its safety rules hold in code and cannot be switched off by a preset: raw bytes
 * only, decoded constant-time comparison, at most SCHEME_SIGNATURES_MAX candidates and
 * SCHEME_KEYS_MAX keys, strict times, two-sided tolerance.
 *
 * Owns:    a scheme owns its keys (wiped on close). Verdicts, mapped fields and signed requests own
 *          small buffers, which may be used again for the next request without allocating; each has
 *          its ..._done().
 * Threads: a scheme may be shared; a verdict and what came of it belong to one thread.
 * Errors:  scheme_open(): ERR_CONFIG with every problem in the report (a key that cannot be read
 * and what is not supported yet are problems too); ERR_NOMEM. */
#pragma once

#include "postern/config.h"
#include "postern/crypto.h"
#include "postern/event.h"
#include "postern/json.h"

#define SCHEME_SIGNATURES_MAX 16
#define SCHEME_KEYS_MAX 8
#define SCHEME_DECODED_MAX MIB(1024) /* of one request; in truth a small multiple of its body */
#define SCHEME_ECHO_MAX KIB(1)       /* of a handshake's or ack's body */

struct scheme;
/* Reads the keys. The source may go once this has returned. */
MUST_CHECK enum err_code scheme_open(const struct source_config *source, struct scheme **out,
	struct config_report *report, struct err *err);
void scheme_close(struct scheme **scheme);

/* What schemes fetch for themselves: certificates that requests point to (alg x509-rsa). One for
 * all schemes of a process; it keeps what was fetched, also when the schemes are made anew. Without
 * it nothing is fetched, and such a request is KEY_NOT_FOUND unless the source has the certificate.
 *
 * scheme_verify() never waits: while a certificate is fetched the verdict is ERR_UNAVAILABLE. */
struct scheme_net;
MUST_CHECK enum err_code scheme_net_open(struct scheme_net **out, struct err *err);
/* After the last scheme that uses it. Fetches under way are given up. */
void scheme_net_close(struct scheme_net **net);
bool scheme_wants_net(const struct scheme *scheme);
/* Before the scheme is shared. */
void scheme_use_net(struct scheme *scheme, struct scheme_net *net);

/* What a scheme looks at. headers as received, in order. */
struct scheme_request {
	struct slice method, path, query;
	bool has_query;
	const struct header *headers;
	size_t header_count;
	struct slice body;
	struct slice public_url; /* without a query; empty: the source's own */
	/* The subjectAltNames of the client's certificate as text, when it is a valid one. */
	const struct slice *peer_sans;
	size_t peer_san_count;
};

struct scheme_verdict {
	/* ERR_OK; a refusal of contract section 3; ERR_UNAVAILABLE: there was no memory to tell. */
	enum err_code code;
	int key;             /* index of the key that matched (of an untimely request too); -1 */
	int64_t signed_ms;   /* the signed (or sent) time; INT64_MIN: none */
	struct buf captures; /* private */
	/* For logs, "signature of 63 digits": never a secret or an expected value. */
	char detail[ERR_TEXT_MAX];
};
#define SCHEME_VERDICT_INIT                                                                        \
	((struct scheme_verdict){                                                                  \
		.key = -1, .signed_ms = INT64_MIN, .captures = BUF_INIT(SCHEME_DECODED_MAX) })
void scheme_verdict_done(struct scheme_verdict *v);
/* The cheap part, before the body was read: is there a signature, is its time well-formed. ERR_OK
 * when only the whole request can tell (also when sig or time point into the body). Freshness is
 * not judged here: a forged request is BAD_SIGNATURE, however old it says it is. */
enum err_code scheme_precheck(const struct scheme *scheme, const struct scheme_request *rq);
/* The order of contract section 3. now_ms: wall clock. The request must stay as it is until the
 * verdict is not used any more. */
void scheme_verify(const struct scheme *scheme, const struct scheme_request *rq, int64_t now_ms,
	struct scheme_verdict *out);

/* The mapping, after a verdict of ERR_OK: one event, or one for each element of the array that
 * `items` names. Slices point into the request, the verdict or *text.
 *
 * ERR_MISSING_EVENT_ID: nothing found for the id, or only empty text. ERR_MALFORMED_BODY: a body
 * that had to be read and cannot be; a version or base that cannot be read; an id, type, entity or
 * base of more than EVENT_ID_MAX bytes, with control characters or not in UTF-8. A header, query or
 * form name that comes twice has no one value, and counts as absent. ERR_UNAVAILABLE: no memory. */
struct scheme_mapped {
	enum err_code code;
	struct slice id, type, entity, base;
	struct version version;
	bool has_no_id;      /* id "none": the sender gives none, and no two events are the same */
	struct slice body;   /* what the event's record holds: the request's body, or the element */
	bool is_item;        /* body is an element: */
	size_t index;        /* its place */
	struct slice gap[2]; /* first and last number of the batch; empty: none */
	/* What postern-replay carries: SHA-256 of the signed bytes, for an element also of a zero
	 * byte and its index, with replay_scope "type" also of a zero byte and the type. Only for
	 * sources whose id is unsigned while something of the body is signed; and in place of the
	 * signed bytes the nonce, where there is one. Set also when code is not ERR_OK. */
	bool has_replay;
	/* replay is the SHA-256 of the raw body, so that nobody need compute that again. */
	bool replay_is_digest;
	uint8_t replay[32];
	struct buf text;
	char detail[ERR_TEXT_MAX];
};
#define SCHEME_MAPPED_INIT ((struct scheme_mapped){ .text = BUF_INIT(SCHEME_DECODED_MAX) })
void scheme_mapped_done(struct scheme_mapped *m);
void scheme_map(const struct scheme *scheme, const struct scheme_request *rq,
	const struct scheme_verdict *verdict, struct scheme_mapped *out);
/* All events of a request, one after the other:
 *
 *   struct scheme_events events = SCHEME_EVENTS_INIT;
 *   while (scheme_events_next(scheme, rq, verdict, &events, &mapped)) ...
 *
 * An empty array has none, and is fine. A body that cannot be split is one event, of
 * ERR_MALFORMED_BODY. Where a body is not split this gives what scheme_map() gives, once;
 * scheme_map() gives the first of several, and ERR_OK with an empty id when there is none. */
struct scheme_events {
	bool has_started;
	size_t at, index;
	struct json_value array; /* private */
};
#define SCHEME_EVENTS_INIT ((struct scheme_events){ .has_started = false })
bool scheme_events_next(const struct scheme *scheme, const struct scheme_request *rq,
	const struct scheme_verdict *verdict, struct scheme_events *events,
	struct scheme_mapped *out);

/* Handshakes and fixed answers. */
#define SCHEME_ANSWER_HEADERS 3
struct scheme_answer {
	unsigned status;
	const char *content_type; /* static; NULL: no body */
	struct buf body;
	/* Names live as long as the scheme, values in text. */
	struct header headers[SCHEME_ANSWER_HEADERS];
	size_t header_count;
	struct buf text;
	/* A URL that is to be visited: scheme_visit(). In text; empty: none. */
	struct slice visit;
	const char *visit_refused; /* why one is not; static, or NULL */
};
#define SCHEME_ANSWER_INIT                                                                         \
	((struct scheme_answer){ .body = BUF_INIT(SCHEME_ECHO_MAX), .text = BUF_INIT(KIB(8)) })
void scheme_answer_done(struct scheme_answer *answer);
/* Does a handshake answer this request instead of the normal way? Verified ones pass their verdict
 * (ERR_OK); call with NULL first, for unsigned ones. Both calls are next to free for a scheme
 * without handshakes. A challenge is signed with the key that matched, or with the first that is
 * valid at now_ms. An answer with a body goes out with X-Content-Type-Options: nosniff. */
bool scheme_handshake(const struct scheme *scheme, const struct scheme_request *rq,
	const struct scheme_verdict *verdict, int64_t now_ms, struct scheme_answer *out);
/* Visit what an answer says, later and without waiting; its end is logged under the source's name.
 * The URL is https, of a host that verify.cert allows, with an address that is not a private one
 * (unless the source brings authorities of its own: cert.ca); redirects are not followed.
 * ERR_UNAVAILABLE: too many are under way, or there is no net. */
MUST_CHECK enum err_code scheme_visit(const struct scheme *scheme, const char *source,
	const struct scheme_answer *answer, struct err *err);
/* Does a sender of this scheme tell its key itself? Such a source may have no keys yet. */
bool scheme_learns(const struct scheme *scheme);
/* Is this a request that tells a key: a line of 8 to 512 printable characters without blanks? Only
 * to be asked while an operator waits for one: whoever sends first is believed. */
bool scheme_learn(const struct scheme *scheme, const struct scheme_request *rq,
	struct scheme_answer *out, struct secret *out_key);
/* POST, and the methods of handshakes (GET, OPTIONS). What is not POST and no handshake answers is
 * METHOD_NOT_ALLOWED. */
bool scheme_takes_method(const struct scheme *scheme, struct slice method);
unsigned scheme_ack(
	const struct scheme *scheme, struct scheme_answer *out); /* 0: the usual answer */
unsigned scheme_reject_status(const struct scheme *scheme);      /* 0: the code's own */

/* Facts about a scheme and its keys. Keys are numbered in the order in which they are tried. */
size_t scheme_key_count(const struct scheme *scheme);
const char *scheme_key_role(const struct scheme *scheme, size_t key);
const char *scheme_key_fingerprint(const struct scheme *scheme, size_t key);
const char *scheme_key_used(const struct scheme *scheme, size_t key); /* "role:fingerprint" */
const char *scheme_key_kid(const struct scheme *scheme, size_t key);  /* NULL: none */
const char *scheme_key_file(const struct scheme *scheme, size_t key); /* NULL: from elsewhere */
bool scheme_key_is_valid(const struct scheme *scheme, size_t key, int64_t now_ms);
bool scheme_key_is_past(
	const struct scheme *scheme, size_t key, int64_t now_ms); /* its not_after */
bool scheme_id_is_signed(const struct scheme *scheme);            /* signed or derived */
bool scheme_entity_is_signed(const struct scheme *scheme); /* all references of its templates */
/* Is this header read by the scheme, and not a credential by itself? (postern-h-*) */
bool scheme_keeps_header(const struct scheme *scheme, struct slice name);
bool scheme_splits(const struct scheme *scheme);    /* a body may hold any number of events */
bool scheme_refetches(const struct scheme *scheme); /* an event is only a hint */
/* Does verifying or mapping need the URL's query? Records do not keep it. */
bool scheme_reads_query(const struct scheme *scheme);
/* Does verifying need the client's certificate? Records do not keep that either. */
bool scheme_reads_peer(const struct scheme *scheme);
/* Is the value of this request header secret (signature, token)? For redaction. */
bool scheme_hides_header(const struct scheme *scheme, struct slice name);

struct scheme_audit {
	const char *binds;   /* "full", "fields", "crc32", "none" */
	const char *replay;  /* "time", "dedup-only" */
	const char *id;      /* "signed", "derived", "UNSIGNED", "none" */
	const char *retries; /* "none", "short", "patient" */
	bool weak;           /* contract section 1, lint --strict */
	bool refetch;        /* an event is a hint: fetch the object before acting on it */
	bool has_gap;        /* batches are numbered: a missing one shows */
	bool has_nonce;      /* a value that comes twice is a replay */
};
void scheme_audit(const struct scheme *scheme, struct scheme_audit *out);

/* The sender's side: make a request that verifies. */
struct scheme_draft {
	struct slice id, type, entity, version; /* empty: not given */
	struct slice spare_id;                  /* used where the request has no id otherwise */
	struct slice body;                      /* raw; empty with fill_body: {} */
	struct slice url;                       /* full public URL with its query, or empty */
	int64_t now_ms;
	/* Put what is given, and the time, where json: references of the mapping read them. Without
	 * it the body is not touched, and what it would have to hold is not looked at. */
	bool fill_body;
	bool bad_signature;    /* sign with a wrong key */
	bool unsigned_request; /* leave the signature header out */
};
#define SCHEME_DRAFT_HEADERS 16
struct scheme_signed {
	struct header headers[SCHEME_DRAFT_HEADERS]; /* into text */
	size_t header_count;
	/* body: the draft's, but for members and parameters that were put into it; a signature that
	 * stands in the body is put there also without fill_body. query: that of the draft's URL,
	 * and what the scheme adds. */
	struct buf text, body, query;
	bool has_query;
};
#define SCHEME_SIGNED_INIT                                                                         \
	((struct scheme_signed){ .text = BUF_INIT(KIB(64)),                                        \
		.body = BUF_INIT(MIB(16)),                                                         \
		.query = BUF_INIT(KIB(64)) })
void scheme_signed_done(struct scheme_signed *s);
/* By the first alternative of verify. ERR_UNSUPPORTED when the source has no key that signs (of
 * public keys receivers have one half, unless the file is a private key in PEM). ERR_USAGE when
 * what was given has no place in the request; the text says why. */
MUST_CHECK enum err_code scheme_sign(const struct scheme *scheme, const struct scheme_draft *draft,
	struct scheme_signed *out, struct err *err);
/* Is the body of this sender a form (and not JSON)? */
bool scheme_takes_form(const struct scheme *scheme);
bool scheme_wraps_json(const struct scheme *scheme); /* is the JSON a field of a form? */
bool scheme_has_time(const struct scheme *scheme); /* a signed time: stale and future make sense */
/* Does the id come from bytes that the sender chose for it (not from a digest of the body)? */
bool scheme_has_id(const struct scheme *scheme);
/* Tolerances in seconds, as in force. */
int64_t scheme_tolerance_s(const struct scheme *scheme, bool future);

/* Why a request does not verify: the known mistakes are tried, offline, one at a time.
 *
 * It never accepts anything: what it finds is a sentence, and what mends it, for the person who
 * asked. Some hundred verifications at most, and key files are read; never in the path of a
 * request, and never told to whoever sent it. ERR_NOT_FOUND: no mistake that it knows fits. */
struct scheme_question {
	const struct config *config; /* all sources: the key of another one may fit */
	const struct source_config *source;
	const struct scheme *scheme; /* of this source */
	const struct scheme_request *rq;
	const struct scheme_verdict *verdict; /* what was judged */
	enum err_code code;                   /* what came of it: of the mapping too */
	int64_t now_ms;
};
struct scheme_explanation {
	const char *mistake; /* a word for programs: "key_encoding" */
	char text[ERR_TEXT_MAX], fix[ERR_TEXT_MAX];
};
MUST_CHECK enum err_code scheme_explain(
	const struct scheme_question *question, struct scheme_explanation *out, struct err *err);
