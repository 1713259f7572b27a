/* scheme_priv.h - a compiled scheme, and how its files share the work. Private to this room.
 *
 *   ref.c, pattern.c   texts of the language -> templates and patterns
 *   compile*.c, key.c  a source's nodes -> struct scheme, problems into the report
 *   eval.c, form.c     references -> bytes of a request
 *   verify.c, map.c, answer.c, audit.c, sign.c   what the door offers */
#pragma once

#include "postern/json.h"
#include "postern/scheme.h"

#define PARTS_MAX 24 /* of a template */
#define PATTERN_PARTS_MAX 8
#define PATTERNS_MAX 8
#define CAPS_MAX 8
#define CHOICES_MAX 8 /* alternatives of a mapping */
#define SIGNED_MAX 4  /* alternatives of the signed bytes */
#define REQUIRES_MAX 8
#define HANDSHAKES_MAX 8
#define SECRETS_MAX 16
#define SCRATCH_MAX KIB(16) /* decoded bytes while one request is looked at */

enum ref_kind {
	REF_LITERAL, /* not a reference: the text itself */
	REF_BODY,
	REF_METHOD,
	REF_URL,
	REF_URL_WITH_PORT,
	REF_URL_WITHOUT_PORT,
	REF_TIME,
	REF_HEADER,
	REF_HEADERS, /* every header whose name starts with text; only for sig */
	REF_QUERY,
	REF_FORM,
	REF_JSON,
	REF_CAP,
	REF_SECRET
};
enum ref_function { FN_NONE, FN_SHA256_HEX, FN_SHA256_BASE64, FN_CRC32 };

struct part {
	enum ref_kind kind;
	enum ref_function function;
	const char *text; /* the literal, the header's name, the pointer, ... */
	size_t len;
	size_t index; /* into paths, caps or secrets */
};

struct template
{
	const struct part *parts;
	size_t count;
};
/* A mapping: the first template all of whose references exist counts. */
struct choice {
	struct template list[CHOICES_MAX];
	size_t count; /* 0: none */
};

/* How a signature is written. */
enum coding { CODING_NONE, CODING_HEX, CODING_BASE64 };
struct pattern_part {
	enum { PATTERN_LITERAL, PATTERN_SIGNATURE, PATTERN_CAP } kind;
	const char *text;
	size_t len;
	size_t cap;
};
struct pattern {
	struct pattern_part parts[PATTERN_PARTS_MAX];
	size_t count;
	enum coding coding; /* of its signature; CODING_NONE: it only captures */
};

enum unit { UNIT_SECONDS, UNIT_MS, UNIT_RFC3339 };

struct require {
	struct part ref;
	struct template value;
};

struct when {
	struct part ref;
	struct template value;
	bool present; /* true in place of a template */
};
struct handshake {
	const char *method; /* "POST" unless given */
	struct when when[REQUIRES_MAX];
	size_t when_count;
	bool is_signed;
	unsigned status;
	const char *content_type;
	struct template body;
};

struct key {
	struct crypto_mac *mac; /* NULL for alg none */
	const char *role, *kid;
	int64_t not_before_ms, not_after_ms;
	char fingerprint[9];
	char used[24]; /* "role:fingerprint" */
};
struct named_key {
	const char *name;
	struct secret secret;
};

enum cover { COVER_NONE, COVER_CRC32, COVER_FIELDS, COVER_FULL };
enum id_cover { ID_NONE, ID_UNSIGNED, ID_DERIVED, ID_SIGNED };

struct scheme {
	void *blocks; /* everything that compile_keep() gave */
	/* verify */
	bool is_signed; /* false: alg none */
	enum crypto_digest digest;
	struct part sig;
	bool sig_wild;
	const char *split;   /* NULL: one entry */
	bool splits_at[256]; /* the same as a table: it is asked for each byte of the header */
	struct pattern patterns[PATTERNS_MAX];
	size_t pattern_count;
	const char *caps[CAPS_MAX];
	bool cap_read[CAPS_MAX]; /* something refers to it */
	size_t cap_count;
	struct template signs[SIGNED_MAX];
	size_t sign_count;
	bool has_time;
	struct part time;
	enum unit unit;
	int64_t tolerance_s, future_tolerance_s;
	struct require requires[REQUIRES_MAX];
	size_t require_count;
	bool head_tells; /* signature and time are found without the body */
	/* keys */
	struct key keys[SCHEME_KEYS_MAX];
	size_t key_count;
	struct named_key secrets[SECRETS_MAX];
	size_t secret_count;
	/* around verify */
	struct choice id, type, entity, version, base;
	bool replay_by_type;
	struct handshake handshakes[HANDSHAKES_MAX];
	size_t handshake_count;
	unsigned ack_status, reject_status;
	const char *ack_type, *ack_body;
	const char *retries;
	const char *public_url; /* NULL: none */
	/* every json: reference, scanned together */
	struct json_path *paths[JSON_PATHS_MAX];
	const char *pointers[JSON_PATHS_MAX];
	size_t path_count;
	/* derived by audit_derive() */
	enum cover cover;
	enum id_cover id_cover;
	bool time_covered, entity_covered, signs_body_alone;
};

/* ---- compile ----------------------------------------------------------------------------------
 */

struct compile {
	struct scheme *s;
	const struct source_config *source;
	struct config_report *report;
	bool failed, no_memory;
};
/* Memory that lives as long as the scheme; NULL (and no_memory set) without any. */
void *compile_keep(struct compile *c, size_t size);
/* NUL-terminated. */
const char *compile_keep_text(struct compile *c, struct slice text);
/* Put a problem into the report. Gives false. */
bool compile_fail(struct compile *c, const struct node *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool compile_unsupported(struct compile *c, const struct node *at, const char *what);
void compile_warn(struct compile *c, const struct node *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* A problem, unless the node is a string without NUL. */
bool compile_string(struct compile *c, const struct node *at, struct slice *out);
/* A problem for a member whose name is not in the NULL-ended list. Members that start with "//" are
 * comments. */
bool compile_members(struct compile *c, const struct node *object, const char *const *names);
/* "; did you mean ...?" for the nearest of the names (a NULL-ended list), or "". */
const char *compile_nearest(struct slice name, const char *const *names);

/* "header:X-Name" */
bool compile_ref(struct compile *c, const struct node *at, struct slice text, struct part *out);
/* "v0:{time}:{body}" */
bool compile_template(
	struct compile *c, const struct node *at, struct slice text, struct template *out);
/* Of a mapping: a bare reference, or text with references in braces. */
bool compile_mapping(
	struct compile *c, const struct node *at, struct slice text, struct template *out);
bool compile_pattern(
	struct compile *c, const struct node *at, struct slice text, struct pattern *out);
bool compile_verify(struct compile *c, const struct node *verify);
bool compile_around(struct compile *c, const struct node *root); /* mapping, answers, the rest */
bool compile_handshakes(struct compile *c, const struct node *list);
/* "text/plain" or "application/json", as a static string. */
bool compile_content_type(struct compile *c, const struct node *at, const char **out);
bool compile_status(
	struct compile *c, const struct node *at, int64_t low, int64_t high, unsigned *out);
/* Reads the source's keys by the scheme's encoding ("utf8", "hex:", "base64:whsec_", ...). */
bool key_read_all(struct compile *c, const struct node *verify);
bool key_read_secrets(struct compile *c);
void key_close_all(struct scheme *s);
void audit_derive(struct scheme *s);
bool template_has(const struct template *t, enum ref_kind kind);

/* ---- evaluate ---------------------------------------------------------------------------------
 */

enum found {
	FOUND,
	FOUND_NOT,
	FOUND_TWICE,  /* a name with two values has none */
	FOUND_BROKEN, /* the body would have to be read, and cannot be */
	FOUND_LONG,   /* over SCRATCH_MAX */
	FOUND_NOMEM
};

/* What was learnt about a request, kept from verify to map at the start of verdict.captures. */
struct notes {
	size_t sign;                 /* the template of signs whose bytes carry the signature */
	struct slice time;           /* as written */
	struct slice caps[CAPS_MAX]; /* data NULL: not captured */
	bool scanned;
	enum err_code scan;
	struct json_value json[JSON_PATHS_MAX]; /* valid once scanned */
};

struct eval {
	const struct scheme *scheme;
	const struct scheme_request *rq;
	struct notes *notes;
	/* Decoded bytes. Reserved once and never grown, so that slices into it stay. */
	struct buf *scratch;
};
/* False without memory. The notes are empty (but for json, which is not touched). */
bool eval_start(struct eval *ev, const struct scheme *scheme, const struct scheme_request *rq,
	struct notes *notes, struct buf *scratch);
/* The room that is left in the scratch buffer. */
size_t eval_room(const struct eval *ev);
enum found eval_part(struct eval *ev, const struct part *part, struct slice *out);
/* The json: reference as a value, not as text. */
enum found eval_json(struct eval *ev, const struct part *part, struct json_value *out);
/* Each part of a template, not joined. out has PARTS_MAX places. *out_bad: the part that has no
 * value. */
enum found eval_pieces(
	struct eval *ev, const struct template *t, struct slice *out, const struct part **out_bad);
/* The parts joined: in place when there is one, otherwise in the scratch buffer. */
enum found eval_joined(struct eval *ev, const struct template *t, struct slice *out);
/* The one header of this name. */
enum found eval_header(const struct scheme_request *rq, struct slice name, struct slice *out);
/* A value of "a=1&b=2" by its decoded name. A broken escape anywhere is FOUND_BROKEN. */
enum found form_find(struct slice form, struct slice name, struct buf *scratch, struct slice *out);
/* The public URL in the form that kind asks for, into the scratch buffer. */
enum found eval_url(struct eval *ev, enum ref_kind kind, struct slice *out);
/* Does this header belong to the part (REF_HEADER: its name, REF_HEADERS: its prefix)? */
bool part_names_header(const struct part *part, struct slice name);
/* Take one entry of a signature header apart. caps are set as captured. */
bool pattern_match(
	const struct pattern *p, struct slice entry, struct slice *out_sig, struct slice *caps);
bool time_parse(enum unit unit, struct slice text, int64_t *out_ms);
/* The compiled part that a person would recognise: "header:X-Name". */
void part_name(const struct part *part, char *out, size_t max);
/* Would the mapping find an id in this request? */
bool map_has_id(const struct scheme *scheme, const struct scheme_request *rq, struct notes *notes);
bool key_valid(const struct key *key, int64_t now_ms);
uint32_t crc32_ieee(struct slice s);

/* ---- sign -------------------------------------------------------------------------------------
 */

/* Set the member at a pointer of a JSON text to value (JSON), making objects on the way. ERR_USAGE:
 * the body has no place for it. */
MUST_CHECK enum err_code fill_member(
	struct buf *body, const char *pointer, struct slice value, struct err *err);
