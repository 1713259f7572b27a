/* cli_config.c - config show and config explain, for people and as JSON.
 *
 * What commands share is replaced by fakes that keep the output. */
#include "../../src/cli/cmd_config.c"

#include "support/cli_output.h"
#include "support/config_files.h"

static struct files *files;
static bool running;
static unsigned asked;

const char *cli_get(const struct cli *cli, const char *name)
{
	(void)cli;
	return running && strcmp(name, "--running") == 0 ? "" : NULL;
}

int cli_with_config(struct cli *cli, bool warnings, cli_work *work, const void *ctx)
{
	struct err err = ERR_INIT;

	(void)warnings;
	return work(cli, files->config, ctx, &err) == ERR_OK ? 0 : err_exit(err.code);
}

/* Only the worker half listens. */
enum err_code cli_admin(const struct config *config, enum cli_half half, const char *method,
	const char *path, struct slice body, struct buf *out, unsigned *out_status, struct err *err)
{
	(void)config;
	assert_string_equal(method, "GET");
	assert_string_equal(path, "/v1/config");
	assert_int_equal(body.len, 0);
	asked++;
	if (half == HALF_INGRESS)
		return err_set(err, ERR_UNREACHABLE, "nobody listens");
	*out_status = 200;
	return buf_put_str(out, "{\n  \"a\": \"x  y\"\n}\n", err);
}

static int start(void **state)
{
	int rc = files_open(state);

	files = *state;
	running = false;
	output_len = 0;
	return rc;
}

static int run(const struct command *command, bool json, const char *arg)
{
	const char *args[] = { arg };
	struct cli cli = {
		.command = command, .json = json, .args = args, .arg_count = arg ? 1 : 0
	};

	output_reset();
	return command->run(&cli);
}

static void show_gives_json_in_either_form(void **state)
{
	struct json_value value;

	(void)state;
	files_must_load(files, "{\"data_dir\":\"a  b\"}", NULL);
	assert_int_equal(run(&cmd_config_show, false, NULL), 0);
	assert_non_null(strstr(output, "{\n  \"data_dir\": \""));
	assert_int_equal(run(&cmd_config_show, true, NULL), 0);
	assert_ptr_equal(strchr(output, '\n'), output + output_len - 1);
	assert_non_null(strstr(output, "/a  b\"")); /* blanks inside of a text stay */
	assert_int_equal(json_get(slice_str(output), "/spool/max_age_s", &value, NULL), ERR_OK);
	assert_true(slice_eq_str(value.raw, "86400"));
}

static void show_can_ask_the_daemon(void **state)
{
	(void)state;
	files_must_load(files, "{}", NULL);
	running = true;
	asked = 0;
	assert_int_equal(run(&cmd_config_show, true, NULL), 0);
	assert_string_equal(output, "{\"a\": \"x  y\"}\n");
	assert_int_equal(asked, 2);
}

static void explain_tells_what_there_is(void **state)
{
	(void)state;
	files_must_load(files, "{\"dlq\":\n{\"max_bytes\":100000}}", NULL);
	assert_int_equal(run(&cmd_config_explain, false, "/dlq/max_bytes"), 0);
	assert_non_null(strstr(output, "/dlq/max_bytes\n  value    100000\n  from     file /"));
	assert_non_null(strstr(output, "postern.json, line 2\n"));
	assert_non_null(strstr(output, "from 65536 to 1125899906842624 bytes\n"));
	assert_non_null(strstr(output, "  default  1073741824\n"));
	assert_non_null(strstr(output, "needs a restart\n"));
	assert_int_equal(run(&cmd_config_explain, false, "/ingress/client_rate_limit"), 0);
	assert_non_null(strstr(output, "  from     absent\n"));
	assert_int_equal(run(&cmd_config_explain, true, "/queue/backend"), 0);
	assert_non_null(strstr(output, "\"words\":[\"embedded\",\"kafka\"]"));
	assert_int_equal(run(&cmd_config_explain, false, "/dlq/max_byte"), 1);
	assert_int_equal(output_len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(show_gives_json_in_either_form, start, files_close),
		cmocka_unit_test_setup_teardown(show_can_ask_the_daemon, start, files_close),
		cmocka_unit_test_setup_teardown(explain_tells_what_there_is, start, files_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
