/* routes.c - the small numbers that stand for names of routes in the ledger.
 *
 * A number is never used again, so an old entry keeps its name when the route is gone from the
 * config. Deliberately not here: what a route is. */
#include "store_priv.h"

#include <stdlib.h>

void routes_init(struct routes *routes)
{
	*routes = (struct routes){ .names = NULL };
	lock_init(&routes->lock);
}

void routes_done(struct routes *routes)
{
	for (size_t i = 0; i < routes->count; i++)
		free(routes->names[i]);
	free(routes->names);
	lock_done(&routes->lock);
}

static enum err_code add_locked(struct routes *routes, char *name, struct err *err)
{
	char **names;

	lock_assert_held(&routes->lock);
	if (routes->count > STORE_ROUTES_MAX)
		return err_set(err, ERR_LIMIT, "more than %d names of routes", STORE_ROUTES_MAX);
	names = realloc(routes->names, (routes->count + 1) * sizeof(*names));
	if (!names)
		return err_set(err, ERR_NOMEM, "no memory for a route's name");
	routes->names = names;
	names[routes->count++] = name;
	return ERR_OK;
}

static enum err_code add(struct routes *routes, struct slice name, struct err *err)
{
	char *copy = slice_dup_str(name);
	enum err_code rc;

	if (!copy)
		return err_set(err, ERR_NOMEM, "no memory for a route's name");
	lock_take(&routes->lock);
	rc = add_locked(routes, copy, err);
	lock_give(&routes->lock);
	if (rc != ERR_OK)
		free(copy);
	return rc;
}

/* The names behind those that are known. */
static enum err_code load_more(struct routes *routes, struct kv_txn *txn, struct err *err)
{
	enum err_code rc = ERR_OK;

	while (rc == ERR_OK) {
		struct row_key key = key_of_u16((uint16_t)routes->count);
		struct slice name;

		rc = row_get(txn, KV_ROUTES, row_key_slice(&key), &name, err);
		if (rc == ERR_OK)
			rc = add(routes, name, err);
	}
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

enum err_code routes_load(struct routes *routes, struct kv_txn *txn, struct err *err)
{
	enum err_code rc = add(routes, SLICE_LIT(""), err);

	if (rc == ERR_OK)
		rc = load_more(routes, txn, err);
	routes->committed = routes->count;
	return rc;
}

enum err_code routes_write(
	struct routes *routes, struct kv_txn *txn, struct buf *scratch, struct err *err)
{
	enum err_code rc = ERR_OK;

	/* Only the owner adds names, and this is the owner. */
	for (size_t i = routes->committed; i < routes->count && rc == ERR_OK; i++) {
		struct row_key key = key_of_u16((uint16_t)i);
		struct header row = { row_key_slice(&key), slice_str(routes->names[i]) };

		rc = row_put(txn, KV_ROUTES, KV_SET, &row, scratch, err);
	}
	return rc;
}

enum err_code store_route(struct store *store, const char *name, uint16_t *out, struct err *err)
{
	struct routes *routes = &store->routes;
	enum err_code rc;

	for (size_t i = 0; i < routes->count; i++) {
		if (strcmp(routes->names[i], name) == 0) {
			*out = (uint16_t)i;
			return ERR_OK;
		}
	}
	rc = add(routes, slice_str(name), err);
	if (rc == ERR_OK)
		*out = (uint16_t)(routes->count - 1);
	return rc;
}

const char *store_route_name(struct store *store, uint16_t route)
{
	const char *name = "";

	lock_take(&store->routes.lock);
	if (route < store->routes.count)
		name = store->routes.names[route];
	lock_give(&store->routes.lock);
	return name;
}

/* Beside a worker in another process new names appear while this one only reads. */
const char *store_view_route_name(struct store_view *view, uint16_t route)
{
	struct store *store = view->store;
	struct kv_txn *txn = NULL;
	struct err err = ERR_INIT;

	if (store->read_only && route >= store->routes.count &&
		kv_begin(store->kv, false, &txn, &err) == ERR_OK) {
		err_ignored(load_more(&store->routes, txn, &err));
		kv_abort(txn);
	}
	return store_route_name(store, route);
}
