/* presets.c - fuzz target: requests of every preset, spoilt.
 *
 * Input: a byte that picks one of the requests in tests/vectors, then edits of four bytes each:
 * which part of the request, where in it, what to do, with which byte. Properties: what the audit
 * says is bound cannot be changed without a refusal; what the head shows is what the whole request
 * shows; what a mapping yields keeps its limits. */
#include "postern/file.h"
#include "postern/json.h"
#include "postern/scheme.h"
#include "postern/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VECTORS "tests/vectors/presets.json"
#define ROWS_MAX 128
#define HEADERS_MAX 8
#define PART_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct row {
	struct scheme *scheme;
	struct scheme_audit audit;
	bool is_form; /* order and writing of parameters may vary */
	char names[HEADERS_MAX][128], headers[HEADERS_MAX][1024], body[PART_MAX], query[512];
	char time[64], public_url[128];
	size_t header_count;
	int64_t now_ms;
};
static struct row rows[ROWS_MAX];
static size_t row_count;

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* ---- the requests ------------------------------------------------------------------------------
 */

static struct json_value member(struct json_value object, const char *pointer)
{
	struct json_value v = { .type = JSON_ABSENT };

	must(json_get(object.raw, pointer, &v, NULL) == ERR_OK);
	return v;
}

static void text_of(struct json_value v, char *out, size_t max)
{
	struct buf text = BUF_INIT(MIB(1));

	out[0] = '\0';
	if (v.type == JSON_ABSENT)
		return;
	must(json_text(v, &text, NULL) == ERR_OK && text.len < max);
	memcpy(out, buf_str(&text), text.len + 1);
	buf_done(&text);
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char *path = file_join(dir, name);

	must(path && file_write_new(path, slice_str(text), 0600, NULL) == ERR_OK);
	free(path);
}

static void remove_file(const char *dir, const char *name)
{
	char *path = file_join(dir, name);

	(void)unlink(path);
	free(path);
}

/* One source of its own config, whose files are gone again afterwards. */
static struct scheme *open_scheme(struct json_value row, const char *public_url)
{
	static char *none[] = { NULL };
	char dir[] = "/tmp/postern-fuzz.XXXXXX", text[4096], path[64], preset[64], members[512];
	char key[1024], word[64];
	struct config_report report = { 0 };
	struct config *config = NULL;
	struct scheme *scheme = NULL;
	struct err err = ERR_INIT;

	text_of(member(row, "/preset"), preset, sizeof(preset));
	text_of(member(row, "/members"), members, sizeof(members));
	text_of(member(row, "/key"), key, sizeof(key));
	text_of(member(row, "/secrets/verify_token"), word, sizeof(word));
	must(mkdtemp(dir) != NULL);
	write_file(dir, "key", key);
	write_file(dir, "word", word);
	(void)snprintf(text, sizeof(text),
		"{\"sources\": {\"s\": {\"preset\": \"%s\", %s%s%s%s%s%s}}}", preset, members,
		public_url[0] ? "\"public_url\": \"" : "", public_url, public_url[0] ? "\", " : "",
		word[0] ? "\"secrets\": {\"verify_token\": {\"file\": \"word\"}}, " : "",
		key[0] ? "\"keys\": [{\"file\": \"key\"}]" : "\"keys\": []");
	write_file(dir, "postern.json", text);
	(void)snprintf(path, sizeof(path), "%s/postern.json", dir);
	must(config_load(path, none, &config, &report, &err) == ERR_OK);
	must(scheme_open(&config->sources[0], &scheme, &report, &err) == ERR_OK);
	config_report_done(&report);
	config_unref(&config);
	remove_file(dir, "postern.json");
	remove_file(dir, "key");
	remove_file(dir, "word");
	(void)rmdir(dir);
	return scheme;
}

static void read_row(struct json_value from, struct row *row)
{
	struct json_value list = member(from, "/headers"), pair;
	char now[32], preset[64];
	size_t at = 0;

	text_of(member(from, "/preset"), preset, sizeof(preset));
	text_of(member(from, "/body"), row->body, sizeof(row->body));
	text_of(member(from, "/query"), row->query, sizeof(row->query));
	text_of(member(from, "/time"), row->time, sizeof(row->time));
	text_of(member(from, "/public_url"), row->public_url, sizeof(row->public_url));
	text_of(member(from, "/now"), now, sizeof(now));
	must(text_i64(slice_str(now), &row->now_ms, NULL) == ERR_OK);
	row->now_ms *= 1000;
	row->scheme = open_scheme(from, row->public_url);
	scheme_audit(row->scheme, &row->audit);
	row->is_form = strcmp(preset, "twilio") == 0 || strcmp(preset, "mandrill") == 0;
	while (json_next(list, &at, &pair)) {
		text_of(member(pair, "/0"), row->names[row->header_count], sizeof(row->names[0]));
		text_of(member(pair, "/1"), row->headers[row->header_count++],
			sizeof(row->headers[0]));
	}
}

static void read_rows(void)
{
	struct buf file = BUF_INIT(MIB(1));
	struct json_value list = { .type = JSON_ARRAY }, from;
	size_t at = 0;

	must(file_read(VECTORS, &file, NULL) == ERR_OK);
	list.raw = buf_slice(&file);
	while (json_next(list, &at, &from)) {
		must(row_count < ROWS_MAX);
		read_row(from, &rows[row_count++]);
	}
	buf_done(&file);
}

/* ---- edits -------------------------------------------------------------------------------------
 */

/* A text that may have any bytes, and at most a quarter more of them than before. */
struct part {
	uint8_t text[PART_MAX + 512];
	size_t len, max;
};

static void fill(struct part *part, const char *text)
{
	part->len = strlen(text);
	part->max = part->len + 256;
	memcpy(part->text, text, part->len);
}

static void edit(struct part *part, size_t at, uint8_t what, uint8_t byte)
{
	at = part->len > 0 ? at % part->len : 0;
	switch (what % 5) {
	case 0:
		if (part->len > 0)
			part->text[at] ^= byte;
		break;
	case 1:
		if (part->len > 0)
			part->text[at] = byte;
		break;
	case 2:
		if (part->len < part->max) {
			memmove(part->text + at + 1, part->text + at, part->len - at);
			part->text[at] = byte;
			part->len++;
		}
		break;
	case 3:
		if (part->len > 0) {
			memmove(part->text + at, part->text + at + 1, part->len - at - 1);
			part->len--;
		}
		break;
	default: part->len = at; break;
	}
}

static struct slice text_now(const struct part *part)
{
	return (struct slice){ part->text, part->len };
}

/* ---- what must hold ----------------------------------------------------------------------------
 */

static void check_text(struct slice s)
{
	must(s.len <= EVENT_ID_MAX && text_is_utf8(s));
	for (size_t i = 0; i < s.len; i++)
		must(s.data[i] >= 0x20 && s.data[i] != 0x7f);
}

static void check_events(const struct row *row, const struct scheme_request *rq,
	const struct scheme_verdict *verdict)
{
	static struct scheme_mapped mapped;
	struct scheme_events events = SCHEME_EVENTS_INIT;

	if (mapped.text.max == 0)
		mapped = SCHEME_MAPPED_INIT;
	while (scheme_events_next(row->scheme, rq, verdict, &events, &mapped)) {
		if (mapped.code != ERR_OK) {
			must(mapped.detail[0] != '\0');
			continue;
		}
		must(mapped.id.len > 0 || mapped.has_no_id);
		check_text(mapped.id);
		check_text(mapped.type);
		check_text(mapped.entity);
	}
}

/* Accepted, whenever that is: then what is bound is what it was. */
static void check_bound(const struct row *row, const struct scheme_request *rq)
{
	if (strcmp(row->audit.binds, "full") == 0 && !row->is_form)
		must(slice_eq_str(rq->body, row->body));
	if (strcmp(row->audit.replay, "time") != 0)
		return;
	for (size_t i = 0; i < row->header_count; i++) {
		if (strcmp(row->headers[i], row->time) == 0)
			must(slice_eq_str(rq->headers[i].value, row->time));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct scheme_verdict verdict;
	static struct part parts[HEADERS_MAX + 2];
	struct header headers[HEADERS_MAX];
	struct scheme_request rq = { .method = SLICE_LIT("POST"), .headers = headers };
	const struct row *row;
	enum err_code early;
	size_t count;

	if (row_count == 0) {
		read_rows();
		verdict = SCHEME_VERDICT_INIT;
	}
	if (size == 0)
		return 0;
	row = &rows[data[0] % row_count];
	count = row->header_count;
	for (size_t i = 0; i < count; i++)
		fill(&parts[i], row->headers[i]);
	fill(&parts[count], row->body);
	fill(&parts[count + 1], row->query);
	for (size_t at = 1; at + 4 <= size; at += 4)
		edit(&parts[data[at] % (count + 2)], (size_t)data[at + 1] * 7 + data[at + 2] % 7,
			data[at + 2], data[at + 3]);
	for (size_t i = 0; i < count; i++)
		headers[i] = (struct header){ slice_str(row->names[i]), text_now(&parts[i]) };
	rq.header_count = count;
	rq.body = text_now(&parts[count]);
	rq.query = text_now(&parts[count + 1]);
	rq.has_query = rq.query.len > 0;
	early = scheme_precheck(row->scheme, &rq);
	scheme_verify(row->scheme, &rq, row->now_ms, &verdict);
	must(early == ERR_OK || early == verdict.code);
	if (size == 1)
		must(verdict.code == ERR_OK);
	/* Untimely requests are authentic too. */
	if (verdict.code == ERR_OK || verdict.code == ERR_EXPIRED || verdict.code == ERR_CLOCK_SKEW)
		check_bound(row, &rq);
	if (verdict.code == ERR_OK)
		check_events(row, &rq, &verdict);
	return 0;
}

#include "replay_main.inc"
