/* cmd_send.c - play the sender: sign with the source's own scheme and post, also badly on purpose.
 *
 * Events go one after the other over one kept connection. Deliberately not here: load (the
 * benchmarks have their own), and retries: what the daemon answered is what is shown. */
#include "commands.h"
#include "lines.h"
#include "source.h"

#include "postern/clock.h"
#include "postern/file.h"
#include "postern/json.h"
#include "postern/text.h"

#include <stdio.h>

#define BODY_MAX MIB(16)
#define ANSWER_MAX MIB(8)
#define TIMEOUT_MS 30000
#define COUNT_MAX 1000000
#define PAST_S 60 /* how far beyond a tolerance a bad time lies */

enum need { NEED_NOTHING, NEED_SIGNATURE, NEED_BODY, NEED_TIME };

struct bad_kind {
	const char *name;
	enum need need;     /* what a scheme must have to show it */
	enum err_code want; /* the answer that this kind should get */
};

static const char *const lacks[] = {
	[NEED_NOTHING] = "",
	[NEED_SIGNATURE] = "has no signature",
	[NEED_BODY] = "signs no body",
	[NEED_TIME] = "signs no time",
};

static const struct bad_kind kinds[] = {
	{ "signature", NEED_SIGNATURE, ERR_BAD_SIGNATURE },
	{ "stale", NEED_TIME, ERR_EXPIRED },
	{ "future", NEED_TIME, ERR_CLOCK_SKEW },
	{ "unsigned", NEED_SIGNATURE, ERR_MISSING_SIGNATURE },
	{ "duplicate", NEED_NOTHING, ERR_OK },
	{ "body", NEED_BODY, ERR_BAD_SIGNATURE },
};

struct sender {
	const struct cli *cli;
	struct source source;
	const struct bad_kind *bad; /* NULL: a good request */
	struct buf url, signed_url, data;
	bool has_data;
	uint64_t count;
	size_t fine, answered; /* answers as they should be; answers at all */
	unsigned last_status;
};

static bool is_bad(const struct sender *s, const char *name)
{
	return s->bad && strcmp(s->bad->name, name) == 0;
}

/* ---- what is asked for -------------------------------------------------------------------------
 */

static bool can_show(const struct scheme *scheme, enum need need)
{
	struct scheme_audit audit;

	scheme_audit(scheme, &audit);
	switch (need) {
	case NEED_NOTHING: return true;
	case NEED_SIGNATURE: return scheme_key_count(scheme) > 0;
	case NEED_BODY: return strcmp(audit.binds, "full") == 0;
	case NEED_TIME: return scheme_has_time(scheme);
	}
	return false;
}

static int read_kind(struct sender *s)
{
	const char *name = cli_get(s->cli, "--bad");

	if (!name)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (strcmp(kinds[i].name, name) != 0)
			continue;
		if (!can_show(s->source.scheme, kinds[i].need))
			return cli_usage(s->cli, "this source cannot show --bad %s: it %s", name,
				lacks[kinds[i].need]);
		s->bad = &kinds[i];
		return 0;
	}
	return cli_usage(s->cli,
		"no --bad \"%s\": it takes signature, stale, future, unsigned, duplicate or body",
		name);
}

/* The daemon's own address; a wildcard address is reached by the loopback one. */
static int default_url(struct sender *s, struct err *err)
{
	const char *listen = s->source.config->ingress.listen;
	struct slice text = slice_str(listen);
	const char *host = NULL;

	if (slice_starts(text, SLICE_LIT("0.0.0.0:")))
		host = "127.0.0.1";
	else if (slice_starts(text, SLICE_LIT("[::]:")))
		host = "[::1]";
	if (slice_eq_str(slice_sub(text, text.len - 2, 2), ":0"))
		return cli_usage(s->cli, "the daemon's port is not in the config: --url is needed");
	if (host)
		err_ignored(buf_putf(&s->url, err, "http://%s%s", host, strrchr(listen, ':')));
	else
		err_ignored(buf_putf(&s->url, err, "http://%s", listen));
	err_ignored(buf_putf(&s->url, err, "/hooks/%s", s->source.config_row->name));
	return err->code == ERR_OK ? 0 : cli_fail(err);
}

/* What a scheme signs is the public URL with the query that goes out. */
static int read_url(struct sender *s)
{
	const char *given = cli_get(s->cli, "--url");
	const char *public_url = s->source.config_row->public_url;
	struct err err = ERR_INIT;
	const char *query;

	if (!given)
		return default_url(s, &err);
	err_ignored(buf_put_str(&s->url, given, &err));
	query = strchr(given, '?');
	if (query)
		err_ignored(buf_putf(
			&s->signed_url, &err, "%s%s", public_url ? public_url : "", query));
	return err.code == ERR_OK ? 0 : cli_fail(&err);
}

static int read_data(struct sender *s)
{
	const char *data = cli_get(s->cli, "--data"), *count = cli_get(s->cli, "--count");
	struct err err = ERR_INIT;

	s->count = 1;
	if (count && (text_u64(slice_str(count), &s->count, NULL) != ERR_OK || s->count == 0 ||
			     s->count > COUNT_MAX))
		return cli_usage(s->cli, "--count takes a number from 1 to %d", COUNT_MAX);
	s->has_data = data != NULL;
	if (data && source_body(data, &s->data, &err) != ERR_OK)
		return cli_fail(&err);
	return 0;
}

/* ---- one request -------------------------------------------------------------------------------
 */

/* Bodies that differ, so that events do not look like copies of one another. */
static enum err_code make_body(struct sender *s, uint64_t n, struct err *err)
{
	uint8_t bytes[8];
	char nonce[2 * sizeof(bytes) + 1];

	random_bytes(bytes, sizeof(bytes));
	text_hex(bytes, sizeof(bytes), nonce);
	buf_reset(&s->data);
	if (scheme_takes_form(s->source.scheme))
		return buf_putf(&s->data, err, "sender=postern+send&number=%llu&nonce=%s",
			(unsigned long long)n, nonce);
	return buf_putf(&s->data, err,
		"{\"sender\":\"postern send\",\"number\":%llu,\"nonce\":\"%s\"}",
		(unsigned long long)n, nonce);
}

static int64_t send_time(const struct sender *s)
{
	int64_t now_ms = clock_system()->wall_ms(clock_system());

	if (is_bad(s, "stale"))
		return now_ms - (scheme_tolerance_s(s->source.scheme, false) + PAST_S) * 1000;
	if (is_bad(s, "future"))
		return now_ms + (scheme_tolerance_s(s->source.scheme, true) + PAST_S) * 1000;
	return now_ms;
}

static enum err_code make_request(
	struct sender *s, uint64_t n, struct scheme_signed *out, struct err *err)
{
	char id[SOURCE_ID_LEN + 1];
	struct scheme_draft draft = {
		.id = slice_str(cli_get(s->cli, "--id")),
		.type = slice_str(cli_get(s->cli, "--type")),
		.entity = slice_str(cli_get(s->cli, "--entity")),
		.version = slice_str(cli_get(s->cli, "--version")),
		.url = buf_slice(&s->signed_url),
		.now_ms = send_time(s),
		.fill_body = true,
		.bad_signature = is_bad(s, "signature"),
		.unsigned_request = is_bad(s, "unsigned"),
	};
	enum err_code rc = s->has_data ? ERR_OK : make_body(s, n, err);

	source_make_id(id);
	draft.spare_id = slice_str(id);
	draft.body = buf_slice(&s->data);
	if (rc == ERR_OK)
		rc = scheme_sign(s->source.scheme, &draft, out, err);
	/* One more byte: the body is still the same JSON, and not what was signed. */
	if (rc == ERR_OK && is_bad(s, "body"))
		rc = buf_put_str(&out->body, " ", err);
	return rc;
}

/* An answer's "code", where it has one. */
static enum err_code code_of(struct slice answer)
{
	struct json_value v;

	if (json_get(answer, "/code", &v, NULL) != ERR_OK || v.type != JSON_STRING)
		return ERR_CODES;
	return err_by_name((const char *)v.raw.data, v.raw.len);
}

static bool is_as_wanted(const struct sender *s, unsigned status, struct slice answer)
{
	unsigned reject = scheme_reject_status(s->source.scheme);
	enum err_code want = s->bad ? s->bad->want : ERR_OK;

	if (want == ERR_OK)
		return status >= 200 && status < 300;
	return status == (reject ? reject : err_status(want)) && code_of(answer) == want;
}

static void print(const struct sender *s, unsigned status, struct slice answer)
{
	struct buf out = BUF_INIT(ANSWER_MAX * 6 + KIB(1));
	struct err err = ERR_INIT;
	struct line line = { .out = &out, .err = &err };
	bool is_json = json_scan(answer, NULL, 0, NULL, NULL) == ERR_OK;

	while (answer.len > 0 && answer.data[answer.len - 1] == '\n')
		answer.len--;
	if (!s->cli->json) {
		cli_outf("%u %.*s\n", status, SLICE_FMT(answer));
		return;
	}
	line_begin(&line);
	line_int(&line, "status", status);
	if (is_json)
		line_raw(&line, "answer", answer);
	else
		line_text(&line, "answer", answer);
	line_end(&line);
	cli_outf("%s\n", buf_str(&out));
	buf_done(&out);
}

static struct slice content_type(const struct sender *s, struct slice body)
{
	if (json_scan(body, NULL, 0, NULL, NULL) == ERR_OK)
		return SLICE_LIT("application/json");
	return scheme_takes_form(s->source.scheme) || scheme_wraps_json(s->source.scheme)
		       ? SLICE_LIT("application/x-www-form-urlencoded")
		       : SLICE_LIT("text/plain");
}

/* With the query as it was signed. */
static enum err_code post_url(
	const struct sender *s, const struct scheme_signed *made, struct buf *out, struct err *err)
{
	struct slice url = buf_slice(&s->url);
	enum err_code rc = buf_put_slice(out, slice_sub(url, 0, slice_find(url, '?')), err);

	if (rc != ERR_OK || (made->query.len == 0 && !made->has_query))
		return rc;
	return buf_putf(out, err, "?%s", buf_str(&made->query));
}

static enum err_code post(struct sender *s, const struct scheme_signed *made, struct err *err)
{
	struct header headers[SCHEME_DRAFT_HEADERS + 1];
	struct slice body = buf_slice(&made->body);
	struct buf answer = BUF_INIT(ANSWER_MAX), url = BUF_INIT(KIB(64));
	unsigned status = 0;
	enum err_code rc = post_url(s, made, &url, err);

	memcpy(headers, made->headers, made->header_count * sizeof(*headers));
	headers[made->header_count] =
		(struct header){ SLICE_LIT("Content-Type"), content_type(s, body) };
	if (rc == ERR_OK)
		rc = cli_http("POST", buf_str(&url), headers, made->header_count + 1, body,
			TIMEOUT_MS, &answer, &status, err);
	if (rc == ERR_OK) {
		print(s, status, buf_slice(&answer));
		s->answered++;
		s->last_status = status;
		s->fine += is_as_wanted(s, status, buf_slice(&answer));
	}
	buf_done(&answer);
	buf_done(&url);
	return rc;
}

/* ---- all of them -------------------------------------------------------------------------------
 */

static enum err_code send_all(struct sender *s, struct err *err)
{
	struct scheme_signed made = SCHEME_SIGNED_INIT;
	enum err_code rc = ERR_OK;

	for (uint64_t n = 1; n <= s->count && rc == ERR_OK; n++) {
		rc = make_request(s, n, &made, err);
		if (rc == ERR_OK)
			rc = post(s, &made, err);
		if (rc == ERR_OK && is_bad(s, "duplicate"))
			rc = post(s, &made, err);
	}
	scheme_signed_done(&made);
	return rc;
}

static int result_of(const struct sender *s)
{
	if (s->fine == s->answered)
		return 0;
	if (s->fine > 0)
		return err_exit(ERR_PARTLY);
	return s->last_status == 429 || s->last_status == 503 ? err_exit(ERR_UNAVAILABLE) : 1;
}

static int run_send(struct cli *cli)
{
	struct sender s = {
		.cli = cli,
		.url = BUF_INIT(KIB(64)),
		.signed_url = BUF_INIT(KIB(64)),
		.data = BUF_INIT(BODY_MAX),
	};
	struct err err = ERR_INIT;
	int status = source_open(cli, &s.source);

	if (status == 0)
		status = read_kind(&s);
	if (status == 0)
		status = read_url(&s);
	if (status == 0)
		status = read_data(&s);
	if (status == 0)
		status = send_all(&s, &err) == ERR_OK ? result_of(&s) : cli_fail(&err);
	source_close(&s.source);
	buf_done(&s.url);
	buf_done(&s.signed_url);
	buf_done(&s.data);
	return status;
}

static const struct cli_option options[] = {
	{ "--type", "T", "the event's type, put where the mapping reads it; so are:" },
	{ "--id", "ID", "the event's id; else a fresh one" },
	{ "--entity", "E", "what the event changes" },
	{ "--version", "V", "the version that it makes" },
	{ "--data", "@FILE|TEXT", "the body; without it each event's body differs" },
	{ "--bad", "KIND", "signature, stale, future, unsigned, duplicate, body" },
	{ "--url", "URL", "post here, in place of the config's ingress.listen" },
	{ "--count", "N", "this many events" },
	{ 0 },
};

const struct command cmd_send = {
	.words = "send",
	.usage = "SOURCE [--type T] [--id ID] [--data @FILE|TEXT] [--entity E] [--version V] "
		 "[--bad KIND] [--url URL] [--count N]",
	.summary = "sign as the sender would, and post",
	.examples = "  postern send demo --type order.paid --entity order:1 --version 1\n"
		    "  postern send demo --bad signature\n"
		    "  postern send github --type push --data @push.json --count 10\n",
	.options = options,
	.args_min = 1,
	.args_max = 1,
	.run = run_send,
};
