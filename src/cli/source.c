/* source.c - see source.h. Deliberately not here: HTTP, and what any one command prints. */
#include "source.h"

#include "postern/clock.h"
#include "postern/file.h"
#include "postern/text.h"

#include <stdio.h>

static int refuse_name(const struct cli *cli, const struct config *config)
{
	const char *nearest = NULL;
	unsigned best = 3;
	char shown[80];

	for (size_t i = 0; i < config->source_count; i++) {
		unsigned distance =
			text_distance(slice_str(config->sources[i].name), slice_str(cli->args[0]));

		if (distance < best) {
			best = distance;
			nearest = config->sources[i].name;
		}
	}
	text_printable(slice_str(cli->args[0]), shown, sizeof(shown));
	return cli_usage(cli, "no source \"%s\" in the config%s%s%s", shown,
		nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

int source_open(const struct cli *cli, struct source *out)
{
	struct config_report report = { 0 };
	struct err err = ERR_INIT;
	enum err_code rc;
	int status;

	*out = (struct source){ 0 };
	status = cli_config(cli, false, &out->config);
	if (status != 0)
		return status;
	out->config_row = config_source(out->config, slice_str(cli->args[0]));
	if (!out->config_row) {
		status = refuse_name(cli, out->config);
		source_close(out);
		return status;
	}
	if (out->config_row->stream.topic) {
		status = cli_usage(cli,
			"the source \"%s\" reads the topic %s: write to that with any "
			"client of Kafka",
			cli->args[0], out->config_row->stream.topic);
		source_close(out);
		return status;
	}
	rc = scheme_open(out->config_row, &out->scheme, &report, &err);
	cli_report(out->config->path, &report, false);
	config_report_done(&report);
	if (rc == ERR_OK)
		return 0;
	source_close(out);
	return cli_fail(&err);
}

void source_close(struct source *source)
{
	scheme_close(&source->scheme);
	config_unref(&source->config);
}

enum err_code source_body(const char *value, struct buf *out, struct err *err)
{
	if (value[0] != '@')
		return buf_put_str(out, value, err);
	return file_read(strcmp(value, "@-") == 0 ? "/dev/stdin" : value + 1, out, err);
}

bool source_now(const struct cli *cli, int64_t *out_ms)
{
	const char *text = cli_get(cli, "--now");
	uint64_t seconds;

	if (!text) {
		*out_ms = clock_system()->wall_ms(clock_system());
		return true;
	}
	if (text_u64(slice_str(text), &seconds, NULL) != ERR_OK || seconds > INT64_MAX / 1000)
		return false;
	*out_ms = (int64_t)seconds * 1000;
	return true;
}

void source_make_id(char out[SOURCE_ID_LEN + 1])
{
	uint8_t bytes[10];
	char hex[2 * sizeof(bytes) + 1];

	random_bytes(bytes, sizeof(bytes));
	text_hex(bytes, sizeof(bytes), hex);
	(void)snprintf(out, SOURCE_ID_LEN + 1, "msg_%s", hex);
}

void source_split_url(struct slice url, struct scheme_request *rq)
{
	size_t mark = slice_find(url, '?');

	rq->public_url = slice_sub(url, 0, mark);
	rq->has_query = mark < url.len;
	rq->query = slice_sub(url, mark + 1, url.len);
}
