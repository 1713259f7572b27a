/* diff.c - what a reload would change, and what of it needs a restart. */
#include "config_priv.h"

struct diff {
	struct buf *all, *restart;
	struct err *err;
	enum err_code rc;
};

static void put(struct diff *d, const char *pointer)
{
	const struct option_row *row = option_at(pointer);

	if (d->rc == ERR_OK)
		d->rc = buf_putf(d->all, d->err, "%s\n", pointer);
	if (d->rc == ERR_OK && row && (row->option.flags & OPTION_RESTART))
		d->rc = buf_putf(d->restart, d->err, "%s\n", pointer);
}

static void compare(struct diff *d, const struct node *a, const struct node *b);

static void compare_members(struct diff *d, const struct node *a, const struct node *b)
{
	for (const struct node *old = a->child; old; old = old->next)
		compare(d, old, node_member(b, old->name));
	for (const struct node *added = b->child; added; added = added->next) {
		if (!node_member(a, added->name))
			put(d, added->pointer);
	}
}

static void compare_elements(struct diff *d, const struct node *a, const struct node *b)
{
	const struct node *old = a->child, *new = b->child;

	for (; old && new; old = old->next, new = new->next)
		compare(d, old, new);
	for (; old; old = old->next)
		put(d, old->pointer);
	for (; new; new = new->next)
		put(d, new->pointer);
}

static void compare(struct diff *d, const struct node *a, const struct node *b)
{
	if (b && a->type == NODE_OBJECT && b->type == NODE_OBJECT)
		compare_members(d, a, b);
	else if (b && a->type == NODE_ARRAY && b->type == NODE_ARRAY)
		compare_elements(d, a, b);
	else if (!b || !node_same(a, b))
		put(d, a->pointer);
}

enum err_code config_diff(const struct config *old_config, const struct config *new_config,
	struct buf *out, struct buf *out_restart, struct err *err)
{
	struct diff d = { .all = out, .restart = out_restart, .err = err, .rc = ERR_OK };

	compare(&d, state_of(old_config)->tree, state_of(new_config)->tree);
	return d.rc;
}
