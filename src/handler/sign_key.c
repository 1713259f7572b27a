/* sign_key.c - the key that signs what the http handler sends.
 *
 * Deliberately not here: keys of sources, whose encodings and roles belong to their schemes. */
#include "handler_priv.h"

#include "postern/file.h"
#include "postern/text.h"

#include <stdlib.h>

#define KEY_TEXT_MAX KIB(8)

static enum err_code read_text(const struct key_ref *ref, struct buf *out, struct err *err)
{
	const char *value;

	if (ref->file)
		return file_read(ref->file, out, err);
	value = getenv(ref->env);
	if (!value)
		return err_set(err, ERR_NOT_FOUND, "environment variable %s is not set", ref->env);
	return buf_put_str(out, value, err);
}

static struct slice key_part(struct slice text)
{
	static const struct slice prefix = SLICE_LIT("whsec_");

	if (text.len > 0 && text.data[text.len - 1] == '\n')
		text.len--;
	return slice_starts(text, prefix) ? slice_sub(text, prefix.len, text.len) : text;
}

static enum err_code open_mac(struct slice bytes, struct crypto_mac **out, struct err *err)
{
	struct secret key = { NULL, 0 };
	enum err_code rc;

	if (bytes.len == 0)
		return err_set(err, ERR_SYNTAX, "the key is empty");
	rc = secret_set(&key, bytes, err);
	if (rc == ERR_OK)
		rc = crypto_mac_open(CRYPTO_SHA256, &key, out, err);
	secret_done(&key);
	return rc;
}

static enum err_code load(const struct key_ref *ref, struct crypto_mac **out, struct err *err)
{
	struct buf text = BUF_INIT(KEY_TEXT_MAX), bytes = BUF_INIT(KEY_TEXT_MAX);
	enum err_code rc;

	/* All the room at once: a buffer that grows leaves copies of what it held. */
	rc = buf_reserve(&text, KEY_TEXT_MAX, err);
	if (rc == ERR_OK)
		rc = read_text(ref, &text, err);
	if (rc == ERR_OK)
		rc = text_base64_decode(key_part(buf_slice(&text)), &bytes, err);
	if (rc == ERR_OK)
		rc = open_mac(buf_slice(&bytes), out, err);
	buf_wipe(&text);
	buf_wipe(&bytes);
	buf_done(&text);
	buf_done(&bytes);
	return rc;
}

enum err_code handler_sign_key(const struct key_ref *ref, struct config_report *report,
	struct crypto_mac **out, struct err *err)
{
	struct err why = ERR_INIT;

	*out = NULL;
	if (!ref->file && !ref->env)
		return ERR_OK;
	if (load(ref, out, &why) == ERR_OK)
		return ERR_OK;
	if (report)
		config_report_add(report, PROBLEM_ERROR, ref->pointer, ref->line,
			"sign_key: %s (expected \"whsec_\" and base64)", why.text);
	return err_set(err, ERR_CONFIG, "sign_key: %s", why.text);
}
