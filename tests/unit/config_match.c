/* config_match.c - which route takes an event: the first that fits, with stars. */
#include "support/config_files.h"

#define NONE "\"handler\":{\"type\":\"none\"}}"

static const char routes[] =
	"{\"routes\":["
	"{\"name\":\"exact\",\"match\":{\"source\":\"hub\",\"type\":\"push\",\"tenant\":\"acme\"}"
	"," NONE ","
	"{\"name\":\"prefix\",\"match\":{\"source\":\"hub\",\"type\":\"pull*\"}," NONE ","
	"{\"name\":\"middle\",\"match\":{\"type\":\"order.*.paid\"}," NONE ","
	"{\"name\":\"tenant\",\"match\":{\"tenant\":\"*corp\"}," NONE ","
	"{\"name\":\"typed\",\"match\":{\"source\":\"shop\",\"type\":\"*\"}," NONE "]}";

static void the_first_route_that_fits(void **state)
{
	static const struct {
		const char *source, *type, *tenant, *route;
	} rows[] = {
		{ "hub", "push", "acme", "exact" },
		{ "hub", "push", "other", NULL },
		{ "Hub", "push", "acme", NULL },
		{ "hub", "push2", "acme", NULL },
		{ "hub", "pull", "acme", "prefix" },
		{ "hub", "pull_request.opened", "x", "prefix" },
		{ "hubs", "pull", "acme", NULL },
		{ "any", "order.eu.paid", "x", "middle" },
		{ "any", "order..paid", "bigcorp", "middle" },
		{ "any", "order.paid", "bigcorp", "tenant" },
		{ "any", "order.paid", "corp", "tenant" },
		{ "any", "order.paid", "corps", NULL },
		{ "shop", "", "x", "typed" },
	};
	struct files *f = *state;

	files_must_load(f, routes, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t index = 99;
		const struct route_config *route =
			config_route(f->config, slice_str(rows[i].source), slice_str(rows[i].type),
				slice_str(rows[i].tenant), &index);

		if (!rows[i].route) {
			assert_null(route);
			assert_int_equal(index, 99);
			continue;
		}
		assert_non_null(route);
		assert_string_equal(route->name, rows[i].route);
		assert_ptr_equal(route, &f->config->routes[index]);
		assert_ptr_equal(
			route, config_route(f->config, slice_str(rows[i].source),
				       slice_str(rows[i].type), slice_str(rows[i].tenant), NULL));
	}
}

static void an_empty_match_takes_everything(void **state)
{
	struct files *f = *state;

	files_must_load(f, "{\"routes\":[{\"name\":\"a\",\"match\":{}," NONE "]}", NULL);
	assert_non_null(config_route(f->config, SLICE_EMPTY, SLICE_EMPTY, SLICE_EMPTY, NULL));
	files_must_load(f, "{\"routes\":[{\"name\":\"a\"," NONE "]}", NULL);
	assert_non_null(
		config_route(f->config, SLICE_LIT("x"), SLICE_LIT("y"), SLICE_LIT("z"), NULL));
	files_must_load(f, "{}", NULL);
	assert_null(config_route(f->config, SLICE_LIT("x"), SLICE_LIT("y"), SLICE_LIT("z"), NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_first_route_that_fits, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			an_empty_match_takes_everything, files_open, files_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
