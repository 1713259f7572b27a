/* scheme.c - fuzz target: requests, looked at by schemes whose keys nobody guesses.
 *
 * Input: a letter that picks a scheme, then lines: signature, time, id; the rest is the body.
 * Properties: only what was signed is accepted, with its fields cut as they were signed; what the
 * head shows is what the whole request shows; what a mapping yields keeps its limits. */
#include "postern/file.h"
#include "postern/scheme.h"
#include "postern/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The published examples, and what they were signed over. id NULL: the scheme signs none. */
static const struct {
	const char *name, *members, *key;
	const char *sig, *time_header, *id_header;
	const char *time, *id, *body;
} rows[] = {
	{ "w", "\"preset\": \"standard-webhooks\"", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"webhook-signature", "webhook-timestamp", "webhook-id", "1614265330",
		"msg_p5jXN8AQM9LWM0D4loKWxJek", "{\"test\": 2432232314}" },
	/* No separators: only strict times keep the fields apart. */
	{ "t",
		"\"id\": \"header:Id\", \"verify\": {\"alg\": \"hmac-sha256\", \"sig\": "
		"\"header:Sig\", "
		"\"match\": \"sha256={hex}\", \"signed\": \"{header:Id}{time}{body}\", \"time\": "
		"\"header:Time\", \"unit\": \"rfc3339\"}",
		"twitchy", "Sig", "Time", "Id", "2023-11-14T22:13:20.123456789Z", "a1b2",
		"{\"a\":1}" },
	{ "s", "\"preset\": \"stripe\"", "whsec_text-not-base64", "Stripe-Signature", "X-Time",
		"X-Id", NULL, NULL,
		"{\"id\":\"evt_1\",\"type\":\"invoice.paid\",\"data\":{\"object\":"
		"{\"object\":\"invoice\",\"id\":\"in_1\"}}}" },
	{ "m",
		"\"verify\": {\"alg\": \"none\"}, \"id\": [\"{header:Id}-{json:/id}\", "
		"\"form:id\"], "
		"\"type\": [\"json:/a/0/b\", \"form:type\"], \"entity\": \"e:{json:/e}{form:e}\", "
		"\"version\": [\"json:/v\", \"header:Time\"], \"base\": \"json:/b\"",
		"", "Sig", "Time", "Id", NULL, NULL, NULL },
};
#define SCHEMES ARRAY_LEN(rows)

static struct scheme *schemes[SCHEMES];

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void write_file(const char *dir, const char *name, const char *text)
{
	struct err err = ERR_INIT;
	char *path = file_join(dir, name);

	must(path && file_write_new(path, slice_str(text), 0600, &err) == ERR_OK);
	free(path);
}

/* One source of its own config, whose files are gone again afterwards. */
static struct scheme *open_scheme(size_t row)
{
	char dir[] = "/tmp/postern-fuzz.XXXXXX", text[2048], path[64];
	static char *none[] = { NULL };
	struct config_report report = { 0 };
	struct config *config = NULL;
	struct scheme *scheme = NULL;
	struct err err = ERR_INIT;

	must(mkdtemp(dir) != NULL);
	write_file(dir, "key", rows[row].key);
	(void)snprintf(text, sizeof(text), "{\"sources\": {\"s\": {%s%s}}}", rows[row].members,
		rows[row].key[0] ? ", \"keys\": [{\"file\": \"key\"}]" : "");
	write_file(dir, "postern.json", text);
	(void)snprintf(path, sizeof(path), "%s/postern.json", dir);
	must(config_load(path, none, &config, &report, &err) == ERR_OK);
	must(scheme_open(&config->sources[0], &scheme, &report, &err) == ERR_OK);
	config_report_done(&report);
	config_unref(&config);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/key", dir);
	(void)unlink(path);
	(void)rmdir(dir);
	return scheme;
}

static struct slice next_line(struct slice *text)
{
	struct slice line = slice_sub(*text, 0, slice_find(*text, '\n'));

	*text = slice_sub(*text, line.len + 1, text->len);
	return line;
}

/* Accepted: then it is the published request, with every field where it was. */
static void check_accepted(size_t row, const struct scheme_request *rq)
{
	must(slice_eq_str(rq->body, rows[row].body));
	if (rows[row].time)
		must(slice_eq_str(rq->headers[1].value, rows[row].time));
	if (rows[row].id)
		must(slice_eq_str(rq->headers[2].value, rows[row].id));
}

static void check_text(struct slice s)
{
	must(s.len <= EVENT_ID_MAX && text_is_utf8(s));
	for (size_t i = 0; i < s.len; i++)
		must(s.data[i] >= 0x20 && s.data[i] != 0x7f);
}

static void check_mapped(const struct scheme_mapped *mapped)
{
	if (mapped->code != ERR_OK) {
		must(mapped->code == ERR_MALFORMED_BODY || mapped->code == ERR_MISSING_EVENT_ID);
		must(mapped->detail[0] != '\0');
		return;
	}
	must(mapped->id.len > 0);
	check_text(mapped->id);
	check_text(mapped->type);
	check_text(mapped->entity);
	check_text(mapped->base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct scheme_verdict verdict;
	static struct scheme_mapped mapped;
	static bool is_open;
	struct slice text = { data, size };
	struct header headers[3];
	struct scheme_request rq = { .method = SLICE_LIT("POST"), .headers = headers };
	size_t row = 0;
	enum err_code early;

	if (!is_open) {
		for (size_t i = 0; i < SCHEMES; i++)
			schemes[i] = open_scheme(i);
		verdict = SCHEME_VERDICT_INIT;
		mapped = SCHEME_MAPPED_INIT;
		is_open = true;
	}
	while (row < SCHEMES && (size == 0 || rows[row].name[0] != (char)data[0]))
		row++;
	if (row == SCHEMES)
		return 0;
	text = slice_sub(text, 1, text.len);
	headers[0] = (struct header){ slice_str(rows[row].sig), next_line(&text) };
	headers[1] = (struct header){ slice_str(rows[row].time_header), next_line(&text) };
	headers[2] = (struct header){ slice_str(rows[row].id_header), next_line(&text) };
	rq.header_count = ARRAY_LEN(headers);
	rq.body = text;
	early = scheme_precheck(schemes[row], &rq);
	scheme_verify(schemes[row], &rq, INT64_C(1700000000000), &verdict);
	must(early == ERR_OK || early == verdict.code);
	/* The time of the first example is long past: its signature is right all the same. */
	if (verdict.code == ERR_OK || verdict.code == ERR_EXPIRED ||
		verdict.code == ERR_CLOCK_SKEW) {
		if (rows[row].body)
			check_accepted(row, &rq);
		must((verdict.key >= 0) == (rows[row].body != NULL));
	}
	if (verdict.code != ERR_OK)
		return 0;
	scheme_map(schemes[row], &rq, &verdict, &mapped);
	check_mapped(&mapped);
	return 0;
}

#include "replay_main.inc"
