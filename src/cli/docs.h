/* docs.h - pages that are written from tables: the commands' and the options'. They cannot say
 * something else than the program does. Private to this room.
 *
 * Each appends a whole page. Errors: ERR_NOMEM, ERR_LIMIT. */
#pragma once

#include "cli.h"

/* postern(1) and postern.json(5), in mdoc. */
MUST_CHECK enum err_code docs_commands_man(struct buf *out, struct err *err);
MUST_CHECK enum err_code docs_options_man(struct buf *out, struct err *err);
/* The options as a Markdown page. */
MUST_CHECK enum err_code docs_options(struct buf *out, struct err *err);
/* What shells load. Names of sources come from the config that the command line names. */
MUST_CHECK enum err_code docs_bash(struct buf *out, struct err *err);
MUST_CHECK enum err_code docs_zsh(struct buf *out, struct err *err);
MUST_CHECK enum err_code docs_fish(struct buf *out, struct err *err);

/* What the writers share. Failure sticks in rc, so that a page reads like what it writes. */
struct page {
	struct buf *out;
	struct err *err;
	enum err_code rc;
};
void page_text(struct page *page, const char *text);
void page_putf(struct page *page, const char *fmt, ...) PRINTF_LIKE(2, 3);
