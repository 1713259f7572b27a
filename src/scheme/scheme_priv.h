/* scheme_priv.h - a compiled scheme, and how its files share the work. Private to this room.
 *
 *   ref.c, pattern.c   texts of the language -> templates and patterns
 *   compile*.c, key.c  a source's nodes -> struct scheme, problems into the report
 *   alg.c              what verify.alg may be
 *   eval.c, form.c     references -> bytes of a request
 *   verify.c, map.c, answer.c, audit.c, sign.c   what the door offers
 *   j*.c, key_file.c   the module for JSON Web Tokens (jose.h, jwt.h)
 *   x509*.c, cert_*.c  the module for certificates (x509.h)
 *   httpsig*.c, sfv.c, content_digest.c   the module for RFC 9421 (httpsig.h) */
#pragma once

#include "postern/json.h"
#include "postern/pkey.h"
#include "postern/scheme.h"

#define PARTS_MAX 24 /* of a template */
#define PATTERN_PARTS_MAX 8
#define PATTERNS_MAX 8
#define CAPS_MAX 8
#define CHOICES_MAX 8 /* alternatives of a mapping */
#define SIGNED_MAX 4  /* alternatives of the signed bytes */
#define WAYS_MAX 4    /* alternatives of verify */
#define REQUIRES_MAX 8
#define HANDSHAKES_MAX 8
#define REPLY_HEADERS_MAX 2
#define REPLY_PIECES_MAX 32
#define TOPICS_MAX 64
#define VISIT_URL_MAX 2000
#define SECRETS_MAX 16
#define DECODED_MAX 80      /* bytes of a signature; ECDSA over P-256 in DER has 72 at most */
#define SCRATCH_MAX KIB(16) /* decoded bytes while one request is looked at; see eval_need() */
#define ITEMS_MAX 4096      /* elements of one body */
#define LINES_MAX 16        /* names in lines( ) */

enum ref_kind {
	REF_LITERAL, /* not a reference: the text itself */
	REF_BODY,
	REF_METHOD,
	REF_URL,
	REF_URL_WITH_PORT,
	REF_URL_WITHOUT_PORT,
	REF_TIME,
	REF_KEY,         /* of alg sha256: the key itself */
	REF_FORM_SORTED, /* the body's parameters in order, without anything between them */
	REF_LINES,       /* named members of the body, a line each */
	REF_ITEM,        /* of the element that is looked at; len 0: all of it */
	REF_HEADER,
	REF_HEADERS, /* every header whose name starts with text; only for sig */
	REF_QUERY,
	REF_FORM,
	REF_JSON,
	REF_CAP,
	REF_SECRET,
	REF_PEER_SAN /* any name of the client's certificate; only for require */
};
enum ref_function {
	FN_NONE,
	FN_SHA256_HEX,
	FN_SHA256_BASE64,
	FN_CRC32,
	FN_HMAC_HEX, /* in replies of handshakes only */
	FN_HMAC_BASE64
};

struct lines;
struct part {
	enum ref_kind kind;
	enum ref_function function;
	const char *text; /* the literal, the header's name, the pointer, ... */
	size_t len;
	size_t index; /* into paths, item_paths, caps or secrets */
	const struct lines *lines;
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
enum coding { CODING_NONE, CODING_HEX, CODING_BASE64, CODING_TOKEN /* as it is */ };
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
	bool any_case;      /* its literals may be written in either case */
};

enum unit { UNIT_SECONDS, UNIT_MS, UNIT_RFC3339 };

/* lines(A,B): what its part's text points to. */
struct lines {
	struct part members[LINES_MAX];
	size_t count;
};

struct require {
	struct part ref;
	struct template value;
};

struct when {
	struct part ref;
	struct template value;
	bool present; /* true in place of a template */
};
/* A reply in JSON: text as it is (raw), and templates whose text becomes a JSON string. */
struct reply_piece {
	const char *raw; /* NULL: value */
	struct template value;
};
struct reply_header {
	const char *name;
	struct template value;
};
struct handshake {
	const char *method; /* "POST" unless given */
	struct when when[REQUIRES_MAX];
	size_t when_count;
	bool is_signed;
	/* the reply */
	unsigned status;
	const char *content_type;
	struct template body;
	const struct reply_piece *json; /* in place of body */
	size_t json_count;
	struct reply_header headers[REPLY_HEADERS_MAX];
	size_t header_count;
	bool learns; /* only inside a window that an operator opens */
	struct part learn;
	bool visits; /* a URL of the sender's hosts, for a topic that the source allows */
	struct part visit, topic;
};

/* A key as the config names it; what a way makes of it is in way.keyed, by the same index. */
struct key {
	const char *role, *kid;
	const char *file;          /* absolute; NULL: from the environment */
	const struct key_ref *ref; /* valid while the scheme is compiled */
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

/* What verify.alg names. */
enum alg_kind {
	ALG_MAC,
	ALG_DIGEST, /* plain, with the key inside the signed text */
	ALG_PUBLIC, /* receivers have the public key */
	ALG_TOKEN,  /* the key itself comes with every request */
	ALG_BASIC,  /* likewise, as user:password of HTTP's basic authentication */
	ALG_NONE,
	ALG_MODULE /* code of its own gives the verdict */
};
struct alg {
	const char *name;
	enum alg_kind kind;
	enum crypto_digest digest;
	enum pkey_alg pkey, pkey_raw; /* as DER, and as two joined numbers */
	const struct scheme_module *module;
};
/* By its name, or NULL. *out_hint: a did-you-mean. */
const struct alg *alg_find(struct slice name, const char **out_hint);

/* One way in which a request may be signed: verify, or one object of its list. */
struct way {
	const struct alg *alg;
	size_t index;
	struct part sig;
	const char *split;   /* NULL: one entry */
	bool splits_at[256]; /* the same as a table: it is asked for each byte of the header */
	struct pattern patterns[PATTERNS_MAX];
	size_t pattern_count;
	struct template signs[SIGNED_MAX];
	size_t sign_count;
	bool has_time;
	struct part time;
	enum unit unit;
	int64_t tolerance_s, future_tolerance_s;
	struct require requires[REQUIRES_MAX];
	size_t require_count;
	bool head_tells; /* signature and time are found without the body */
	bool has_each;   /* every element of an array is verified on its own */
	struct part each;
	struct keyed {
		bool is_ready; /* the way can use the key */
		struct crypto_mac *mac;
		struct pkey *pkey;
		struct secret secret; /* where the key itself is part of a text */
		uint8_t digest[32];   /* of a token */
	} keyed[SCHEME_KEYS_MAX];
	void *state; /* the module's own */
	/* derived by audit_derive() */
	enum cover cover;
	bool time_covered, signs_body_alone;
};
/* Does verify say where a signature is? */
bool way_has_sig(const struct way *way);

struct scheme {
	void *blocks; /* everything that compile_keep() gave */
	struct way ways[WAYS_MAX];
	size_t way_count;
	/* Names that patterns of any way capture. */
	const char *caps[CAPS_MAX];
	bool cap_read[CAPS_MAX]; /* something refers to it */
	size_t cap_count;
	/* keys */
	struct key keys[SCHEME_KEYS_MAX];
	size_t key_count;
	struct named_key secrets[SECRETS_MAX];
	size_t secret_count;
	/* around verify */
	struct choice id, type, entity, version, base;
	bool splits; /* several events in one body */
	struct part items;
	bool has_form; /* the JSON is a field of a form */
	struct part form;
	bool has_nonce;
	struct part nonce;
	bool refetch;
	bool has_gap;
	struct part gap[2];
	bool replay_by_type;
	struct handshake handshakes[HANDSHAKES_MAX];
	size_t handshake_count;
	const char *topics[TOPICS_MAX]; /* patterns: for which a URL is visited */
	size_t topic_count;
	const char *webhook_origin; /* who may ask for permission by OPTIONS; NULL: nobody */
	char webhook_rate[24];
	unsigned ack_status, reject_status;
	const char *ack_type, *ack_body;
	const char *retries;
	const char *public_url; /* NULL: none */
	/* every json: reference, scanned together */
	struct json_path *paths[JSON_PATHS_MAX];
	const char *pointers[JSON_PATHS_MAX];
	size_t path_count;
	/* every item: reference, likewise, within one element */
	struct json_path *item_paths[JSON_PATHS_MAX];
	const char *item_pointers[JSON_PATHS_MAX];
	size_t item_path_count;
	/* What may have to be decoded in whole: so many times the body's length. */
	size_t decoded_bodies;
	/* derived by audit_derive() */
	enum cover cover; /* of the weakest way */
	enum id_cover id_cover;
	bool time_covered, entity_covered;
};

/* ---- compile ----------------------------------------------------------------------------------
 */

struct compile {
	struct scheme *s;
	const struct source_config *source;
	struct config_report *report;
	struct way *way;  /* that is being compiled; NULL: what stands around verify */
	bool takes_items; /* references may be to an element */
	bool has_many;    /* ways: a key need not fit all of them */
	bool is_trying;   /* a failure is no problem */
	bool failed, no_memory;
	bool in_require; /* the reference, not its value */
	bool in_reply;   /* of a handshake: the only place where a challenge may be signed */
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
/* A member that is a text, kept for the scheme's life. True, and nothing in *out, without it. */
bool compile_text(struct compile *c, const struct node *node, const char *name, const char **out);
/* A problem for a member whose name is not in the NULL-ended list. Members that start with "//" are
 * comments. */
bool compile_members(struct compile *c, const struct node *object, const char *const *names);
/* "; did you mean ...?" for the nearest of the names (a NULL-ended list), or "". */
const char *compile_nearest(struct slice name, const char *const *names);

/* "header:X-Name" */
bool compile_ref(struct compile *c, const struct node *at, struct slice text, struct part *out);
/* "/a/b" as a json: reference. */
bool compile_pointer(
	struct compile *c, const struct node *at, struct slice pointer, struct part *out);
/* "v0:{time}:{body}" */
bool compile_template(
	struct compile *c, const struct node *at, struct slice text, struct template *out);
/* Of a mapping: a bare reference, or text with references in braces. */
bool compile_mapping(
	struct compile *c, const struct node *at, struct slice text, struct template *out);
/* Members of verify, into c->way: sig and split; match; time, unit and tolerances; signed. */
bool compile_sig(struct compile *c, const struct node *verify);
bool compile_match(struct compile *c, const struct node *verify);
bool compile_time(struct compile *c, const struct node *verify);
bool compile_signed(struct compile *c, const struct node *verify);
bool compile_pattern(
	struct compile *c, const struct node *at, struct slice text, struct pattern *out);
/* One way: c->way, by its object of verify. */
bool compile_verify(struct compile *c, const struct node *verify);
bool compile_form(struct compile *c, const struct node *root);   /* body, which verify may need */
bool compile_around(struct compile *c, const struct node *root); /* mapping, answers, the rest */
bool compile_handshakes(struct compile *c, const struct node *list);
bool compile_reply(struct compile *c, const struct node *reply, struct handshake *out);
/* Does a handshake of this source's tell its key? */
bool compile_learns(const struct node *root);
bool compile_webhook_origin(struct compile *c, const struct node *root);
/* A handshake's visit and topic; and the source's topics. */
bool compile_visit(struct compile *c, const struct node *handshake, struct handshake *out);
bool compile_topics(struct compile *c, const struct node *root);
/* "text/plain" or "application/json", as a static string. */
bool compile_content_type(struct compile *c, const struct node *at, const char **out);
bool compile_status(
	struct compile *c, const struct node *at, int64_t low, int64_t high, unsigned *out);
/* The source's keys in the order in which they are tried; then, for each way, what it makes of them
 * by its encoding ("utf8", "hex:", "base64:whsec_", ...). */
bool key_list(struct compile *c);
bool key_read_all(struct compile *c, const struct node *verify);
/* Several ways: each key goes with one of them at least. */
void key_check_used(struct compile *c);
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
	size_t way;                  /* that was looked at last; once it verified, the one */
	size_t sign;                 /* its template of signs whose bytes carry the signature */
	struct slice time;           /* as written */
	struct slice caps[CAPS_MAX]; /* data NULL: not captured */
	struct slice sorted;         /* form-sorted, once it was made; data NULL: not yet */
	bool scanned, item_scanned;
	enum err_code scan, item_scan;
	enum found form; /* whether the field that holds the JSON was found, once scanned */
	/* Valid once scanned; not cleared before. */
	struct json_value json[JSON_PATHS_MAX];
	struct json_value item[JSON_PATHS_MAX];
};

struct eval {
	const struct scheme *scheme;
	const struct scheme_request *rq;
	struct notes *notes;
	/* Decoded bytes. Reserved once and never grown, so that slices into it stay. */
	struct buf *scratch;
	struct crypto_mac *mac; /* signs challenges in replies; NULL: none does */
	size_t mac_len;
	struct json_value item; /* the element that is looked at; JSON_ABSENT: none is */
};
/* False without memory. The notes are empty (but for json, which is not touched). */
bool eval_start(struct eval *ev, const struct scheme *scheme, const struct scheme_request *rq,
	struct notes *notes, struct buf *scratch);
/* The room that is left in the scratch buffer. */
size_t eval_room(const struct eval *ev);
enum found eval_part(struct eval *ev, const struct part *part, struct slice *out);
/* The json: or item: reference as a value, not as text. */
enum found eval_json(struct eval *ev, const struct part *part, struct json_value *out);
/* JSON that has to be decoded is from now on, while the scratch buffer stays. */
void eval_body(struct eval *ev);
/* The bytes of a value, a string's quotes included. */
struct slice json_whole(struct json_value v);
/* From now on item: means this element. */
void eval_enter(struct eval *ev, struct json_value item);
/* What scheme_map() and scheme_verify() may have to decode of this request. */
size_t eval_need(const struct scheme *scheme, const struct scheme_request *rq);
/* Each part of a template, not joined. out has PARTS_MAX places. *out_bad: the part that has no
 * value. */
enum found eval_pieces(
	struct eval *ev, const struct template *t, struct slice *out, const struct part **out_bad);
/* Likewise of what is signed. A member that an element lacks is signed as if it were empty. */
enum found eval_signed(
	struct eval *ev, const struct template *t, struct slice *out, const struct part **out_bad);
/* The parts joined: in place when there is one, otherwise in the scratch buffer. */
enum found eval_joined(struct eval *ev, const struct template *t, struct slice *out);
/* Is the verified request of one of the source's topics, where it names any? */
bool visit_is_for_us(struct eval *ev);
/* Puts the URL into out->visit, or why not into out->visit_refused. */
void visit_allow(struct eval *ev, const struct handshake *h, struct scheme_answer *out);
/* Is the request one that this handshake answers? */
bool answer_applies(struct eval *ev, const struct handshake *h);
/* A challenge, signed with the handshake's key, into the scratch buffer. */
enum found answer_challenge(
	struct eval *ev, enum ref_function function, struct slice challenge, struct slice *out);
/* Would signing a challenge have made a signature of these bytes? */
bool answer_is_forgeable(const struct scheme *s, const struct slice *pieces, size_t count);
/* The one header of this name. */
enum found eval_header(const struct scheme_request *rq, struct slice name, struct slice *out);
/* A value of "a=1&b=2" by its decoded name. A broken escape anywhere is FOUND_BROKEN. */
enum found form_find(struct slice form, struct slice name, struct buf *scratch, struct slice *out);
/* For each name in order, for each distinct value of it in order: the name, then the value. */
enum found form_sorted(struct slice form, struct buf *scratch, struct slice *out);
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

/* ---- judge ------------------------------------------------------------------------------------
 */

/* The texts of signatures, as match found them. */
struct candidates {
	struct {
		struct slice text;
		enum coding coding;
	} list[SCHEME_SIGNATURES_MAX];
	size_t count;
	bool too_many;
	bool ambiguous; /* a capture that is read came with two values */
};

/* A request in front of one way. */
struct judge {
	struct eval ev;
	const struct way *way;
	struct candidates found;
	int64_t now_ms, time_ms;    /* time_ms: once time was read */
	struct scheme_verdict *out; /* NULL: only the code is wanted */
};
/* Say why in the verdict. Gives the code. */
enum err_code judge_refuse(struct judge *j, enum err_code code, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* Every reason why a reference has no value, told as one. */
enum err_code judge_refuse_part(
	struct judge *j, enum err_code code, const struct part *part, enum found found);

/* The way's sig and match: candidates and captures. (candidate.c) */
enum err_code judge_find(struct judge *j);
/* A key of the source made one of the candidates over one of the signed texts. (prove.c) */
enum err_code judge_prove(struct judge *j);

/* Asked about each reference: is it to a header of this name; is it to something of the URL? */
struct question {
	bool (*fits)(const struct part *part, struct slice name);
	struct slice name;
};

struct sender;
/* An algorithm that needs code of its own: its verdict takes the place of the MAC's. It has a row
 * in alg.c that names it; all else stays as it is for other algorithms:
 *
 *   compile:  alg -> compile() reads verify, which may use compile_sig(), compile_signed() and so
 * on for members that mean the same -> key() for each key of the source verify:   (way->sig given)
 * read signatures into j->found -> (way->has_time) read j->time_ms
 *             -> verify() -> require -> (way->has_time) freshness -> the next way, if it is not OK
 *
 * A module keeps its own in way->state, and may use compile_keep() for it. Many threads verify with
 * one way at the same time: what changes there needs a lock. */
struct scheme_module {
	/* Members of verify, NULL-ended: an unknown one is a problem before compile() is called. */
	const char *const *members;
	/* A source without keys is right. */
	bool keyless;
	/* Fill c->way, with problems told by compile_fail(). */
	bool (*compile)(struct compile *c, const struct node *verify);
	/* The text of a key's file, without its last newline: c->s->keys[key]. It is wiped
	 * afterwards. Keys that change while the program runs are the module's to read again. */
	bool (*key)(struct compile *c, size_t key, const struct node *at, struct slice text);
	void (*close)(struct way *way); /* may be NULL; also after compile() failed */
	/* Cheap checks of the head, once signature and time were found in it. NULL: none. */
	enum err_code (*precheck)(struct judge *j);
	/* ERR_OK, with j->out->key set where a key of the source matched, and j->out->signed_ms
	 * where the signature holds a time that is not way->time; or judge_refuse(). */
	enum err_code (*verify)(struct judge *j);
	/* The signature as its pattern has it, ERR_UNSUPPORTED when it takes a key that receivers
	 * do not have. NULL: never. */
	enum err_code (*sign)(const struct way *way, struct eval *ev,
		const struct scheme_draft *draft, struct buf *out, struct err *err);
	/* In place of sign(), where a signature is more than one value: puts them into the request
	 * itself. */
	enum err_code (*place)(struct sender *d, struct eval *ev);
	/* Does the module itself read something of this kind from a request? See struct question.
	 * NULL: it does not. */
	bool (*reads)(const struct way *way, const struct question *q);
	/* It may fetch what it needs through this; NULL: it never does. */
	void (*use_net)(struct way *way, struct scheme_net *net);
	/* What the way covers beside way->signs: raise cover and time_covered, which hold already
	 * what follows from the members of verify. NULL: nothing. */
	void (*audit)(const struct scheme *s, struct way *way);
};

extern const struct scheme_module jwt_module;     /* jwt.c */
extern const struct scheme_module httpsig_module; /* httpsig.c */
extern const struct scheme_module x509_module;    /* x509.c */
/* Does the template hold what the question is about? */
bool template_reads(const struct template *t, const struct question *q);

/* ---- sign -------------------------------------------------------------------------------------
 */

/* Set the member at a pointer of a JSON text to value (JSON), making objects on the way. ERR_USAGE:
 * the body has no place for it. */
MUST_CHECK enum err_code fill_member(
	struct buf *body, const char *pointer, struct slice value, struct err *err);
