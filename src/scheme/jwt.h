/* jwt.h - a compiled "jwt" member of verify. Private to this room. */
#pragma once

#include "jose_keys.h"

#define JWT_ISS_MAX 8
#define JWT_CLAIMS_MAX 8
#define JWT_LIFETIME_S 300 /* of tokens that are made here */

/* Where claims are kept: the registered ones, then those of the config. */
enum { JWT_ISS, JWT_AUD, JWT_EXP, JWT_NBF, JWT_IAT, JWT_CLAIMS };
#define JWT_PATHS_MAX (JWT_CLAIMS + JWT_CLAIMS_MAX)

struct jwt_claim {
	const char *name;
	enum json_type type;  /* JSON_STRING: the text; JSON_INTEGER, JSON_TRUE, JSON_FALSE */
	struct template text; /* may be of secrets */
	int64_t number;
};

struct jwt {
	struct jose_keys keys;
	struct jws_reader header;
	const char *iss[JWT_ISS_MAX];
	size_t iss_count;
	bool has_aud;
	struct template aud;
	struct jwt_claim claims[JWT_CLAIMS_MAX];
	size_t claim_count;
	struct json_path *paths[JWT_PATHS_MAX];
	bool needs_exp;
	int64_t max_age_s; /* -1: any */
	int64_t leeway_s, future_leeway_s;
};

/* jwt_compile.c */
extern const char *const jwt_members[];
bool jwt_compile(struct compile *c, const struct node *verify);
bool jwt_key(struct compile *c, size_t key, const struct node *at, struct slice text);
void jwt_close(struct way *way);

/* jwt_sign.c */
enum err_code jwt_sign(const struct way *way, struct eval *ev, const struct scheme_draft *draft,
	struct buf *out, struct err *err);
