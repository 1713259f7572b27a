/* config.h - the configuration: a table of options, a typed result, and every mistake with its
 * place.
 *
 * Sources of a value, weakest first: default, file, environment (POSTERN__A__B=value). Secrets are
 * only ever references ({"file"} or {"env"}); this room never reads a key.
 *
 * Owns:    config_load() gives a struct config away; config_unref() takes it back. A config is
 * immutable; reload builds another one. Everything it points to lives as long as it does. Threads:
 * immutable, so any; references are atomic. Errors:  ERR_CONFIG, with every problem in the report;
 * ERR_IO for the file itself. */
#pragma once

#include "postern/buf.h"

/* A neutral JSON tree, for the parts that another room compiles (verify, mapping, handshake, ack).
 */
enum node_type {
	NODE_NULL,
	NODE_BOOL,
	NODE_INTEGER,
	NODE_REAL,
	NODE_STRING,
	NODE_ARRAY,
	NODE_OBJECT
};
struct node {
	enum node_type type;
	const char *name;    /* as a member; NULL in an array */
	const char *pointer; /* where it came from, for messages: "/sources/a/verify/sig" or
				"preset:github/verify/sig" */
	unsigned line;       /* in the config file; 0 in a preset */
	bool boolean;
	int64_t integer;
	double real;
	const char *string;
	size_t length;      /* of string: it may hold a NUL */
	struct node *child; /* first */
	struct node *next;  /* sibling */
};
const struct node *node_member(const struct node *object, const char *name); /* NULL: absent */
size_t node_count(const struct node *parent);

struct key_ref {
	const char *file, *env;              /* exactly one is set; file is absolute */
	const char *role;                    /* "current", "next", "previous" */
	const char *kid;                     /* or NULL */
	int64_t not_before_ms, not_after_ms; /* INT64_MIN, INT64_MAX */
	const char *pointer;
	unsigned line;
};
struct named_secret {
	const char *name;
	struct key_ref ref;
};
/* A setting of the Kafka library's. */
struct queue_property {
	const char *name;
	const char *value;     /* as text; NULL: it is a secret */
	struct key_ref secret; /* where that is; file and env NULL: nowhere */
	const char *pointer;
	unsigned line;
};
struct rate {
	double per_second; /* 0: off */
	double burst;
};

enum on_reuse { ON_REUSE_DUPLICATE, ON_REUSE_QUARANTINE };
enum on_replay { ON_REPLAY_QUARANTINE, ON_REPLAY_APPLY };
enum stream_start { STREAM_START_EARLIEST, STREAM_START_LATEST };
struct source_config {
	const char *name, *tenant; /* tenant defaults to "default" */
	const char *preset;        /* or NULL */
	const struct node
		*scheme; /* preset, extends and own members merged: verify id type entity ... */
	const struct key_ref *keys;
	size_t key_count;
	const struct named_secret *secrets;
	size_t secret_count;
	const char *public_url; /* or NULL */
	bool has_client_ca;     /* its clients may show a certificate: ingress.tls.client_ca */
	struct {
		const char *topic; /* that others write, in place of HTTP; NULL: none */
		enum stream_start start;
	} stream;
	struct rate rate;
	enum on_reuse on_reuse;
	enum on_replay on_replay;
	bool quarantine_refused;
	bool ack_from_spool; /* on Kafka only, and there by default for senders that never retry */
	const char *pointer;
	unsigned line;
};

enum version_rule { RULE_NEWER, RULE_NOT_OLDER, RULE_NEXT, RULE_MATCH, RULE_NONE };
enum handler_type { HANDLER_NONE, HANDLER_HTTP, HANDLER_EXEC, HANDLER_TOPIC };
struct route_config {
	const char *name;
	const char *match_source, *match_type, *match_tenant; /* globs; NULL matches all */
	enum version_rule rule;
	int64_t gap_timeout_s;
	struct {
		enum handler_type type;
		const char *url;         /* http */
		struct key_ref sign_key; /* file and env NULL: none */
		const char *const *argv; /* exec, NULL-ended */
		const char *topic;       /* topic */
		int64_t timeout_ms, max_output_bytes;
	} handler;
	struct {
		int64_t attempts, base_ms, cap_ms, max_age_s;
	} retry;
	int64_t concurrency;
	struct {
		int64_t failures;
		double ratio;
		int64_t window_s, open_s;
	} breaker;
	const char *pointer;
	unsigned line;
};

struct config {
	const char *path, *dir; /* absolute */
	const char *data_dir;   /* absolute */
	int64_t shutdown_timeout_s;
	struct {
		const char *listen;
		int64_t max_body_bytes, max_header_bytes, header_timeout_s, body_timeout_s,
			idle_timeout_s, max_connections;
		struct rate client_rate;
		const char *tls_cert, *tls_key; /* absolute; NULL: plain HTTP */
		const char
			*tls_client_ca; /* absolute; NULL: no client is asked for a certificate */
		unsigned tls_line;      /* of the option */
	} ingress;
	struct {
		const char *listen, *worker_listen, *token_file; /* token_file absolute */
	} admin;
	struct {
		const char *backend;                /* "embedded" or "kafka": config_on_kafka() */
		int64_t retention_hours, max_bytes; /* embedded alone, 0 on Kafka; dlq.max_bytes too
						     */
		int64_t segment_bytes, reserve_bytes; /* of the log, or of the spool */
		const char *topic, *group;            /* on Kafka alone, as all below */
		bool create_topics;
		int64_t partitions; /* of topics that are created */
		const struct queue_property *properties;
		size_t property_count;
	} queue;
	const struct source_config *sources;
	size_t source_count;
	const struct route_config *routes;
	size_t route_count;
	struct {
		int64_t dedupe_hours, ledger_max_bytes, parked_max_events, parked_max_bytes;
	} worker;
	struct {
		int64_t max_bytes, retention_hours;
	} dlq, quarantine;
	struct {
		int64_t max_bytes, max_age_s;
	} spool;
};

/* Of the admin token, in bytes. */
#define CONFIG_TOKEN_MIN 16
#define CONFIG_TOKEN_MAX 1024

/* Is the queue Kafka? */
bool config_on_kafka(const struct config *config);
/* On Kafka no body may be larger: a record of the journal holds a whole event. */
#define CONFIG_KAFKA_BODY_MAX KIB(512)

enum problem_level { PROBLEM_ERROR, PROBLEM_WARNING };
struct config_problem {
	enum problem_level level;
	const char *pointer;
	unsigned line;        /* in the config file; 0: not of the file */
	const char *variable; /* of the environment, which set or named this; or NULL */
	const char *text;     /* what is wrong, what is allowed, the nearest name */
};
struct config_report {
	struct config_problem *problems;
	size_t count;
};
void config_report_done(struct config_report *report);
/* For rooms that check more (scheme): add a line to a report. */
void config_report_add(struct config_report *report, enum problem_level level, const char *pointer,
	unsigned line, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* As people read it: "FILE:3: /a/b: text"; of a variable only what it set, if that is a place. */
MUST_CHECK enum err_code config_problem_put(
	struct buf *out, const struct config_problem *problem, const char *path, struct err *err);
/* The first error of a report; NULL: it has none. */
const struct config_problem *config_report_error(const struct config_report *report);

/* path NULL: ./postern.json, then /etc/postern/postern.json. environ_list: NULL-ended "NAME=value".
 */
MUST_CHECK enum err_code config_load(const char *path, char *const *environ_list,
	struct config **out, struct config_report *report, struct err *err);
struct config *config_ref(struct config *config);
void config_unref(struct config **config);
const struct source_config *config_source(const struct config *config, struct slice name);
/* The first route that fits, or NULL. *out_index: its place in routes. */
const struct route_config *config_route(const struct config *config, struct slice source,
	struct slice type, struct slice tenant, size_t *out_index);

/* Effective values as JSON, defaults included (never a secret: references only). */
MUST_CHECK enum err_code config_show(const struct config *config, struct buf *out, struct err *err);
/* One pointer, as one JSON object: pointer, value, from ("default", "file", "environment",
 * "preset", "absent"), file and line or variable or preset, then what the table says: type,
 * default, min, max, unit, words, restart, help. ERR_NOT_FOUND: no such place and no such option.
 */
MUST_CHECK enum err_code config_explain(
	const struct config *config, const char *pointer, struct buf *out, struct err *err);
/* Pointers whose values differ, one a line, and of those the ones that need a restart (second
 * buffer). A preset is as good as constant: what it brings is not compared. */
MUST_CHECK enum err_code config_diff(const struct config *old_config,
	const struct config *new_config, struct buf *out, struct buf *out_restart, struct err *err);

/* Keys that a sender told and an operator confirmed, in data_dir: "learnt/SOURCE.key". They are
 * among the source's keys as soon as they are there. */
#define CONFIG_LEARNT_DIR "learnt"
#define CONFIG_LEARNT_KEY ".key"
#define CONFIG_LEARNT_PREVIOUS ".previous.key"

/* May a source or a route have this name? 1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first. */
bool config_name_is_sane(struct slice name);

/* The option table, for help, the manual and whoever checks a name. Its rows are in the order of
 * the manual; a row stands before the rows below it. */
enum option_type {
	OPTION_OBJECT,  /* members of its own, each with a row */
	OPTION_MAP,     /* any name; the row named "*" below it is about its members */
	OPTION_LIST,    /* likewise about its elements */
	OPTION_INTEGER, /* min and max hold */
	OPTION_NUMBER,  /* likewise; with OPTION_ABOVE min itself is too small */
	OPTION_BOOL,
	OPTION_TEXT,    /* min and max bytes */
	OPTION_WORD,    /* one of words */
	OPTION_PATH,    /* relative to the config file */
	OPTION_ADDRESS, /* "127.0.0.1:8080", "[::1]:8080" */
	OPTION_URL,     /* http or https */
	OPTION_TIME,    /* RFC 3339 */
	OPTION_SETTING, /* a text, a number or a boolean, or a reference to a secret */
	OPTION_SCHEME,  /* part of the scheme language, which the scheme room reads */
	OPTION_LATER    /* reserved: not supported yet */
};
enum option_flag {
	OPTION_REQUIRED = 1,    /* in the object that it belongs to */
	OPTION_OPTIONAL = 2,    /* an object that stays absent, without its defaults */
	OPTION_RESTART = 4,     /* a reload does not change it */
	OPTION_SECRET = 8,      /* a reference to a secret */
	OPTION_ABOVE = 16,      /* min is excluded */
	OPTION_MANY = 32,       /* one such object, or a list of them */
	OPTION_PRESET = 64,     /* the name of a preset */
	OPTION_WORD_TEXT = 128, /* stored as its word, not as its place among the words */
	OPTION_LINES = 256,     /* a text that may hold any character but NUL */
	OPTION_KAFKA = 512,     /* only on Kafka */
	OPTION_EMBEDDED = 1024  /* does nothing on Kafka, and has no default there */
};
struct config_option {
	/* As a pointer, with a star for any name or index of a map or list; "" is the whole. */
	const char *pattern;
	enum option_type type;
	unsigned flags;
	const char *fallback; /* the default, as JSON; NULL: none */
	int64_t min, max;
	const char *unit;         /* or NULL */
	const char *const *words; /* ended by NULL; or NULL */
	const char *const *later; /* words that are reserved; or NULL */
	const char *help;
};
const struct config_option *config_option(size_t index); /* NULL behind the last */
/* The row about a place in a config ("/routes/3/retry/attempts"), or NULL. */
const struct config_option *config_option_at(const char *pointer);
/* A JSON Schema (draft 2020-12) of the file, for editors. */
MUST_CHECK enum err_code config_schema(struct buf *out, struct err *err);

/* Presets, compiled in. */
size_t preset_count(void);
const char *preset_name(size_t index);
struct slice preset_text(const char *name); /* empty: no such preset */
