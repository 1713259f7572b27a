/* cli_ask.c - lists that come page by page, printed and walked.
 *
 * What commands share is replaced by fakes: a daemon that answers from a table, and an output that
 * is kept. */
#include "../../src/cli/ask.c"

#include "support/cli_output.h"

static const char *route_option;

struct page {
	const char *target, *answer;
	unsigned status; /* 0: nobody listens */
};
static const struct page *pages;
static size_t page_count, asked;

const char *cli_get(const struct cli *cli, const char *name)
{
	(void)cli;
	return strcmp(name, "--route") == 0 ? route_option : NULL;
}

const char *cli_get_nth(const struct cli *cli, const char *name, int n)
{
	return n == 0 ? cli_get(cli, name) : NULL;
}

int cli_fail(const struct err *err)
{
	return err_exit(err->code);
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
	(void)cli;
	(void)fmt;
	return 2;
}

enum err_code cli_problem(struct slice answer, unsigned status, struct err *err)
{
	(void)answer;
	return err_set(err, ERR_IO, "the daemon answered %u", status);
}

int cli_with_config(struct cli *cli, bool warnings, cli_work *work, const void *ctx)
{
	static struct config config;
	struct err err = ERR_INIT;

	(void)warnings;
	return work(cli, &config, ctx, &err) == ERR_OK ? 0 : err_exit(err.code);
}

enum err_code cli_admin(const struct config *config, enum cli_half half, const char *method,
	const char *path, struct slice body, struct buf *out, unsigned *out_status, struct err *err)
{
	(void)config;
	(void)body;
	assert_int_equal(half, HALF_WORKER);
	assert_string_equal(method, "GET");
	assert_true(asked < page_count);
	assert_string_equal(path, pages[asked].target);
	*out_status = pages[asked].status;
	buf_reset(out);
	return buf_put_str(out, pages[asked++].answer, err);
}

static int list(const struct page *rows, size_t count)
{
	struct cli cli = { .json = true };

	pages = rows;
	page_count = count;
	asked = 0;
	output_reset();
	return ask_list(&cli, "/v1/dlq", "");
}

static void all_pages_are_printed(void **state)
{
	static const struct page rows[] = {
		{ "/v1/dlq?&route=a%26b&from=0",
			"{\"items\":[{\"id\":\"d0\"},{\"id\":\"d7\"}],\"next\":8}\n", 200 },
		{ "/v1/dlq?&route=a%26b&from=8", "{\"items\":[],\"next\":20008}\n", 200 },
		{ "/v1/dlq?&route=a%26b&from=20008",
			"{\"items\":[{\"id\":\"d20009\"}],\"next\":null}\n", 200 },
	};

	(void)state;
	route_option = "a&b";
	assert_int_equal(list(rows, ARRAY_LEN(rows)), 0);
	assert_int_equal(asked, ARRAY_LEN(rows));
	assert_string_equal(output, "{\"id\":\"d0\"}\n{\"id\":\"d7\"}\n{\"id\":\"d20009\"}\n");
}

static void a_page_that_fails_ends_the_list(void **state)
{
	static const struct page rows[] = {
		{ "/v1/dlq?&from=0", "{\"items\":[{\"id\":\"d0\"}],\"next\":1}\n", 200 },
		{ "/v1/dlq?&from=1", "{\"code\":\"IO\"}\n", 500 },
	};

	(void)state;
	route_option = NULL;
	assert_int_equal(list(rows, ARRAY_LEN(rows)), 1);
	assert_int_equal(asked, ARRAY_LEN(rows));
	assert_string_equal(output, "{\"id\":\"d0\"}\n");
}

static enum err_code refuse_second(void *ctx, struct slice items, struct err *err)
{
	size_t *seen = ctx;

	assert_true(items.len > 0);
	return ++*seen < 2 ? ERR_OK : err_set(err, ERR_LIMIT, "too many");
}

static void who_walks_may_stop(void **state)
{
	static const struct page rows[] = {
		{ "/v1/dlq?&from=0", "{\"items\":[1],\"next\":1}", 200 },
		{ "/v1/dlq?&from=1", "{\"items\":[2],\"next\":2}", 200 },
	};
	static const struct config config;
	struct err err = ERR_INIT;
	size_t seen = 0;

	(void)state;
	pages = rows;
	page_count = ARRAY_LEN(rows);
	asked = 0;
	assert_int_equal(ask_each_page(&config, "/v1/dlq?", refuse_second, &seen, &err), ERR_LIMIT);
	assert_int_equal(seen, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_pages_are_printed),
		cmocka_unit_test(a_page_that_fails_ends_the_list),
		cmocka_unit_test(who_walks_may_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
