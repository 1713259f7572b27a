/* key_file.c - keys whose file changes while the program runs.
 *
 * A sender's keys turn over on their own; a timer of the operator's puts the new file in place. It
 * is seen without a reload: by its stamp once a second, and when a token names a key that is not
 * there. No lock is held while a file is read; two threads may read the same new file at the same
 * time, and the later one wins. */
#include "jose.h"

#include "postern/file.h"
#include "postern/log.h"

#include <stdlib.h>

#define LOOK_EVERY_MS 1000

struct key_file {
	char *path; /* NULL: they never change */
	struct lock lock;
	struct jwk_set *set;     /* guarded by lock */
	struct file_stamp stamp; /* guarded by lock; of what was read last */
	int64_t looked_ms;       /* guarded by lock; by the caller's clock */
	int64_t forced_ms;       /* guarded by lock; read although it seemed the same */
};

enum err_code key_file_open(
	const char *path, struct jwk_set *set, struct key_file **out, struct err *err)
{
	struct key_file *f = calloc(1, sizeof(*f));

	if (f && path)
		f->path = slice_dup_str(slice_str(path));
	if (!f || (path && !f->path)) {
		free(f);
		jwk_set_unref(&set);
		return err_set(err, ERR_NOMEM, "no memory for keys");
	}
	lock_init(&f->lock);
	f->set = set;
	f->looked_ms = f->forced_ms = INT64_MIN / 2;
	/* A stamp of nothing: the first look reads the file again, whatever happened meanwhile. */
	*out = f;
	return ERR_OK;
}

void key_file_close(struct key_file **file)
{
	struct key_file *f = *file;

	if (!f)
		return;
	jwk_set_unref(&f->set);
	lock_done(&f->lock);
	free(f->path);
	free(f);
	*file = NULL;
}

/* The clock may have been set back. */
static bool is_due(int64_t *last_ms, int64_t now_ms)
{
	int64_t since;

	if (__builtin_sub_overflow(now_ms, *last_ms, &since) == false && since >= 0 &&
		since < LOOK_EVERY_MS)
		return false;
	*last_ms = now_ms;
	return true;
}

static enum err_code read_keys(const char *path, struct jwk_set **out, struct err *err)
{
	struct buf text = BUF_INIT(JWK_TEXT_MAX + 1);
	enum err_code rc = file_read(path, &text, err);

	if (rc == ERR_OK)
		rc = jwk_set_open(buf_slice(&text), out, err);
	if (text.data)
		buf_wipe(&text);
	buf_done(&text);
	return rc;
}

/* Is the file another than was read? Then it counts as read from here on, whatever is in it: a
 * broken file is told of once, and not at every request. */
static bool take_turn(
	struct key_file *f, const struct file_stamp *stamp, int64_t now_ms, bool missed)
{
	bool turn;

	lock_take(&f->lock);
	turn = !file_stamp_equal(stamp, &f->stamp) || (missed && is_due(&f->forced_ms, now_ms));
	f->stamp = *stamp;
	lock_give(&f->lock);
	return turn;
}

static void refresh(struct key_file *f, int64_t now_ms, bool missed)
{
	struct file_stamp stamp;
	struct jwk_set *set = NULL, *old;
	struct err err = ERR_INIT;

	if (file_stamp(f->path, &stamp, NULL) != ERR_OK || !take_turn(f, &stamp, now_ms, missed))
		return;
	if (read_keys(f->path, &set, &err) != ERR_OK) {
		log_warn("keys_not_read", log_str("file", f->path), log_str("detail", err.text));
		return;
	}
	lock_take(&f->lock);
	old = f->set;
	f->set = set;
	lock_give(&f->lock);
	jwk_set_unref(&old);
	log_debug("keys_read", log_str("file", f->path));
}

struct jwk_set *key_file_keys(struct key_file *f, int64_t now_ms, bool missed)
{
	struct jwk_set *set;
	bool looks;

	lock_take(&f->lock);
	looks = f->path && (missed || is_due(&f->looked_ms, now_ms));
	lock_give(&f->lock);
	if (looks)
		refresh(f, now_ms, missed);
	lock_take(&f->lock);
	set = jwk_set_ref(f->set);
	lock_give(&f->lock);
	return set;
}
