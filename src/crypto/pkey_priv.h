/* pkey_priv.h - an open key, for the files of this room that work with one. */
#pragma once

#include "postern/pkey.h"

#include <openssl/evp.h>

struct pkey {
	EVP_PKEY *evp;
	enum pkey_type type;
	bool is_private;
	char fingerprint[9];
};

/* Checks what OpenSSL has read, and takes it over: freed also when it is refused. */
enum err_code pkey_adopt(EVP_PKEY *evp, bool is_private, struct pkey **out, struct err *err);
