/* serve_priv.h - what the files of this room share: the server, its connections, its requests.
 *
 * Everything here belongs to the loop's thread, unless a field says otherwise. */
#pragma once

#include "guard.h"
#include "postern/serve.h"
#include "postern/thread.h"

#include <stdatomic.h>

#include <microhttpd.h>

#define LINGER_MAX 256       /* connections that are closed slowly at one time */
#define LINGER_MS 2000       /* how long each of them may go on sending */
#define DRAIN_MAX MIB(64)    /* of a chunked body that is over the limit */
#define QUIESCE_HEAD_MS 1000 /* for heads under way, or about to be, when the server must stop */

struct limits {
	size_t max_body_bytes;
	int64_t header_timeout_ms, body_timeout_ms, idle_timeout_ms;
};

/* idle -> (head read) -> body -> waiting -> writing -> idle */
enum phase {
	PHASE_IDLE,    /* no head yet, or a part of one */
	PHASE_BODY,    /* the head was accepted, the body is being read */
	PHASE_WAITING, /* deferred */
	PHASE_WRITING  /* there is an answer */
};

struct connection {
	struct connection *next, **link; /* in serve.connections */
	struct serve *serve;
	int fd; /* the library's */
	char client[64];
	enum phase phase;
	int64_t since_ms;  /* the phase began */
	int64_t quiet_ms;  /* PHASE_IDLE: up to then no byte of the next head had come */
	int64_t check_ms;  /* PHASE_IDLE: when to look again */
	uint64_t consumed; /* bytes of finished requests */
	bool early;        /* answered although the request goes on: close slowly */
	unsigned answers;  /* that were sent whole */
	bool answered;     /* the library has an answer to the request that goes on */
	bool ended;        /* by us: a deadline, or the server stops */
	struct request *request;
	/* The request target as received, before the library works on it in place. */
	int64_t head_ns;
	const char *uri_at;
	size_t uri_len;
	char uri[SERVE_URI_MAX + 1];
};

enum request_state {
	REQUEST_BODY,    /* reading */
	REQUEST_DRAIN,   /* reading and throwing away; the answer is there */
	REQUEST_WAITING, /* deferred */
	REQUEST_ANSWER,  /* the answer is there */
	REQUEST_SENT,    /* the library has it */
	REQUEST_LOST     /* there is nothing to say, or nobody to hear it: the connection goes */
};

struct request {
	struct serve_request shown; /* to the callbacks */
	atomic_uint refs;           /* acq_rel on release, so that the last one sees all writes */
	struct connection *connection; /* NULL: the client is gone */
	enum request_state state;
	struct request *next; /* among the spares */
	size_t room;          /* bytes behind the struct */
	struct buf body;
	struct buf answer; /* the body of the response, which points to it */
	size_t drained;
	size_t head_bytes;
	struct peer *peer;             /* NULL: no certificate that counts */
	struct MHD_Response *response; /* REQUEST_DRAIN and REQUEST_ANSWER */
	unsigned status;
	struct header headers[]; /* and the bytes of the head behind them */
};

/* A connection that was answered in the middle of a request: closing at once would reset it, and
 * the answer could be lost on the way. */
struct slow_close {
	int fd;
	int64_t until_ms;
};

struct serve {
	const struct serve_ops *ops;
	void *ctx;
	const struct clock *clock;
	char name[16], address[80];
	int listen_fd;
	bool owns_listen;
	size_t max_header_bytes;
	int64_t answer_timeout_ms;
	struct MHD_Daemon *daemon;
	int epoll, wake_fd;
	struct thread thread;

	struct lock lock;
	struct cond drained;    /* signalled when the last connection of a quiet server is gone */
	struct limits limits;   /* guarded by lock; the loop works on `now` */
	bool is_drained;        /* guarded by lock */
	atomic_bool limits_set; /* set with release under lock, cleared by the loop */
	struct tls_pair *tls;   /* guarded by lock: the newest, then older ones */
	bool is_tls;
	char *client_ca; /* PEM; NULL: no client is asked for a certificate */
	atomic_bool stop,
		quiesce;   /* set with release by any thread, read with acquire by the loop */
	atomic_bool woken; /* acq_rel both ways: one write to wake_fd for many wakes */
	/* Written by the loop, read by anyone, relaxed: numbers for people and watchdogs. */
	_Atomic int64_t last_turn_ms;
	atomic_size_t connection_count, open_requests;

	struct limits now;
	struct connection *connections;
	struct slow_close lingers[LINGER_MAX];
	uint64_t activity; /* grows with everything the library did that may let it do more */
	size_t waiting;    /* deferred requests whose client is there */
	size_t writing;    /* answers that are not at the socket yet */
	bool quiet;        /* the server was told to stop accepting */
	int64_t run_ms;    /* monotonic; of this run of the library */
	int64_t quiet_since_ms, last_tick_ms, next_reap_ms;
	uint8_t ids[512]; /* random bytes for request ids */
	size_t ids_left;
};

/* serve.c */
void take_limits(struct serve *s); /* what was set meanwhile holds from here on */

/* listen.c */
enum err_code listen_open(struct serve *s, const struct serve_opts *opts, struct err *err);
size_t listen_raise_limit(size_t connections); /* how many connections the descriptors allow */
void listen_name(const struct sockaddr *address, bool with_port, char *out, size_t max);

/* library.c: the callbacks of libmicrohttpd */
enum err_code library_open(struct serve *s, const struct serve_opts *opts, struct err *err);
void library_close(struct serve *s);
void connection_phase(struct connection *c, enum phase phase);

/* tls.c. The loop's thread says whose it is before the library runs on it. */
void tls_enter(struct serve *s);
void tls_close(struct serve *s);
enum err_code tls_set_client_ca(struct serve *s, struct slice roots, struct err *err);
/* The names of the client's certificate into rq. False without memory. */
struct peer;
bool tls_see_peer(struct request *rq, struct MHD_Connection *mc);
struct gnutls_session_int;
struct gnutls_cert_retr_st;
struct gnutls_pcert_st;
struct gnutls_ocsp_data_st;
struct gnutls_privkey_st;
int tls_retrieve(struct gnutls_session_int *session, const struct gnutls_cert_retr_st *info,
	struct gnutls_pcert_st **out_chain, unsigned *out_count,
	struct gnutls_ocsp_data_st **out_ocsp, unsigned *out_ocsp_count,
	struct gnutls_privkey_st **out_key, unsigned *out_flags);

/* request.c */
struct head_view { /* what the library shows of a head */
	struct guard_head guard;
	struct header headers[SERVE_HEADERS_MAX];
};
/* with_headers: false for a head that was refused. NULL without memory. */
struct request *request_make(struct connection *c, const struct head_view *head, bool with_headers);
struct request *request_of(struct serve_request *shown);
/* From here to requests_forget() this thread keeps the memory of requests for others. */
void requests_keep(void);
void requests_forget(void);
void request_unref(struct request *rq);

/* answer.c */
/* Make the answer of rq from reply. False without memory: the connection must go. */
bool answer_prepare(struct request *rq, const struct serve_reply *reply, bool close);
/* The same with the body of refused(). */
bool answer_refusal(struct request *rq, enum err_code code, unsigned status);
/* A deferred request has an answer; NULL: it is given up. */
void answer_deferred(struct request *rq, const struct serve_reply *reply);
/* A deferred request has waited too long. */
void answer_unknown(struct request *rq);
/* Hand the answer to the library, from within its call. */
enum MHD_Result answer_queue(struct request *rq, struct MHD_Connection *connection);

/* reap.c: deadlines */
void reap(struct serve *s, int64_t now_ms);
void reap_lingers(struct serve *s, int64_t now_ms);
void linger_start(struct serve *s, int fd);
void linger_read(struct serve *s, size_t slot, int64_t now_ms);
void linger_close_all(struct serve *s);
/* Bytes of an unfinished head have come. */
bool connection_has_bytes(const struct connection *c);
/* All that came is accounted for: under TLS it is not known byte by byte. */
void connection_settle(struct connection *c);
/* Nothing has left since the last whole answer, as far as the kernel can tell: when in doubt,
 * something has. */
bool connection_sent_nothing(const struct connection *c);
/* Tags of descriptors in the loop's epoll set. */
enum { TAG_WAKE, TAG_LIBRARY, TAG_LINGER };
