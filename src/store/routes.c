/* routes.c - the small numbers that stand for names of routes in the ledger.
 *
 * A number is never used again, so an old entry keeps its name when the route is gone from the
 * config. Deliberately not here: what a route is. */
#include "store_priv.h"

#include <assert.h>
#include <stdlib.h>

/* A name stays where it is until the end: other threads may hold it. */
struct route_name {
	struct route_name *next;
	char text[];
};

void routes_init(struct routes *routes)
{
	*routes = (struct routes){ .names = NULL };
	lock_init(&routes->lock);
}

void routes_done(struct routes *routes)
{
	struct route_name *name;

	while ((name = routes->all)) {
		routes->all = name->next;
		free(name);
	}
	free(routes->names);
	lock_done(&routes->lock);
}

/* Room for this many numbers; the new ones have no name. */
static enum err_code widen_locked(struct routes *routes, size_t count, struct err *err)
{
	const char **names;

	lock_assert_held(&routes->lock);
	if (count <= routes->count)
		return ERR_OK;
	/* An array of pointers: NOLINTNEXTLINE(bugprone-sizeof-expression) */
	names = realloc(routes->names, count * sizeof(*names));
	if (!names)
		return err_set(err, ERR_NOMEM, "no memory for a route's name");
	for (size_t i = routes->count; i < count; i++)
		names[i] = NULL;
	routes->names = names;
	routes->count = count;
	return ERR_OK;
}

enum err_code routes_name(struct routes *routes, uint16_t number, struct slice name,
	const char **out_was, struct err *err)
{
	struct route_name *copy = malloc(sizeof(*copy) + name.len + 1);
	enum err_code rc;

	if (!copy)
		return err_set(err, ERR_NOMEM, "no memory for a route's name");
	if (name.len)
		memcpy(copy->text, name.data, name.len);
	copy->text[name.len] = '\0';
	lock_take(&routes->lock);
	rc = widen_locked(routes, (size_t)number + 1, err);
	if (rc == ERR_OK) {
		*out_was = routes->names[number];
		routes->names[number] = copy->text;
		copy->next = routes->all;
		routes->all = copy;
	}
	lock_give(&routes->lock);
	if (rc != ERR_OK)
		free(copy);
	return rc;
}

void routes_rename(struct routes *routes, uint16_t number, const char *was)
{
	lock_take(&routes->lock);
	routes->names[number] = was;
	lock_give(&routes->lock);
}

static enum err_code add(struct routes *routes, struct slice name, struct err *err)
{
	const char *was;

	if (routes->count > STORE_ROUTES_MAX)
		return err_set(err, ERR_LIMIT, "more than %d names of routes", STORE_ROUTES_MAX);
	return routes_name(routes, (uint16_t)routes->count, name, &was, err);
}

/* The names behind those that are known. */
static enum err_code load_more(struct routes *routes, struct kv_txn *txn, struct err *err)
{
	enum err_code rc = ERR_OK;

	while (rc == ERR_OK && routes->count <= STORE_ROUTES_MAX) {
		struct row_key key = key_of_u16((uint16_t)routes->count);
		struct header row;
		const char *was;

		rc = row_seek(txn, KV_ROUTES, KV_AT_LEAST, row_key_slice(&key), &row, err);
		if (rc == ERR_OK && row.name.len != 2)
			rc = err_set(err, ERR_CORRUPT, "a route's number does not decode");
		if (rc == ERR_OK)
			rc = routes_name(routes,
				(uint16_t)(row.name.data[0] << 8 | row.name.data[1]), row.value,
				&was, err);
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

enum err_code store_route_find(struct store *store, const char *name, uint16_t *out)
{
	const struct routes *routes = &store->routes;

	for (size_t i = 0; i < routes->count; i++) {
		if (routes->names[i] && strcmp(routes->names[i], name) == 0) {
			*out = (uint16_t)i;
			return ERR_OK;
		}
	}
	*out = (uint16_t)routes->count;
	return ERR_NOT_FOUND;
}

enum err_code store_route(struct store *store, const char *name, uint16_t *out, struct err *err)
{
	struct routes *routes = &store->routes;
	enum err_code rc;

	if (store_route_find(store, name, out) == ERR_OK)
		return ERR_OK;
	assert(!store->journaled);
	rc = add(routes, slice_str(name), err);
	if (rc == ERR_OK)
		*out = (uint16_t)(routes->count - 1);
	return rc;
}

const char *store_route_name(struct store *store, uint16_t route)
{
	const char *name = "";

	lock_take(&store->routes.lock);
	if (route < store->routes.count && store->routes.names[route])
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
