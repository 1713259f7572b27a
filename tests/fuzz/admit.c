/* admit.c - fuzz target: from a request to records.
 *
 * Input: a byte that picks the source, a byte of flags (sign it, spoil the signature, has a query,
 * late), a byte for the length of the path's text that goes into a header, then the body.
 * Properties: nothing that is not signed becomes a record; what the head refuses the whole refuses
 * alike; every record that comes out can be read again, is of this source and this attempt, and
 * keeps its limits. */
#include "postern/file.h"
#include "postern/scheme.h"

#include "../../src/ingress/admit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NOW_MS INT64_C(1700000000000)
#define HEADERS_MAX (SCHEME_DRAFT_HEADERS + 2)
#define NAME_MAX_ 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum flag { SIGNED = 1, SPOILT = 2, QUERY = 4, LATE = 8, TYPED = 16 };

static const char config_text[] =
	"{\"sources\": {"
	"\"mapped\": {\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:X-S\", \"match\": "
	"\"{hex}\"}, "
	"  \"id\": \"json:/id\", \"type\": \"json:/type\", \"entity\": \"a:{json:/a}\", "
	"  \"version\": \"json:/v\", \"base\": \"json:/b\", \"keys\": [{\"file\": \"key\"}]}, "
	"\"split\": {\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:X-S\", \"match\": "
	"\"{hex}\"}, "
	"  \"items\": \"/list\", \"id\": [\"item:/id\", \"sha256:item\"], \"entity\": \"item:/e\", "
	"  \"version\": \"item:/v\", \"keys\": [{\"file\": \"key\"}]}, "
	"\"github\": {\"preset\": \"github\", \"entity\": \"json:/repository/id\", "
	"  \"keys\": [{\"file\": \"key\"}]}, "
	"\"slack\": {\"preset\": \"slack\", \"keys\": [{\"file\": \"key\"}]}, "
	"\"pings\": {\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:X-S\", \"match\": "
	"\"{hex}\"}, "
	"  \"id\": \"none\", \"keys\": [{\"file\": \"key\"}]}}}";

static struct config *config;
static struct scheme *schemes[8];
static struct admit_tools tools;
static struct admission whole, head;
static struct scheme_signed made;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void write_file(const char *dir, const char *name, const char *text, char path[NAME_MAX_])
{
	(void)snprintf(path, NAME_MAX_, "%s/%s", dir, name);
	must(file_write_new(path, slice_str(text), 0600, NULL) == ERR_OK);
}

static void start(void)
{
	static char *none[] = { NULL };
	char dir[] = "/tmp/postern-fuzz.XXXXXX", key[NAME_MAX_], path[NAME_MAX_];
	struct config_report report = { 0 };
	struct err err = ERR_INIT;

	must(mkdtemp(dir) != NULL);
	write_file(dir, "key", "It is a key for tests, nothing else", key);
	write_file(dir, "postern.json", config_text, path);
	must(config_load(path, none, &config, &report, &err) == ERR_OK);
	must(config->source_count <= ARRAY_LEN(schemes));
	for (size_t i = 0; i < config->source_count; i++)
		must(scheme_open(&config->sources[i], &schemes[i], &report, &err) == ERR_OK);
	config_report_done(&report);
	(void)unlink(key);
	(void)unlink(path);
	(void)rmdir(dir);
	tools = ADMIT_TOOLS_INIT;
	whole = head = ADMISSION_INIT;
	made = SCHEME_SIGNED_INIT;
}

/* ---- what must hold ----------------------------------------------------------------------------
 */

static void check_record(const struct admit_request *rq, const struct record *record)
{
	struct event event = { 0 };

	must(record->headers.len > 0 && record->headers.len <= EVENT_HEADERS_MAX);
	must(record->key.len > 0 && record->key.len <= EVENT_KEY_MAX);
	must(event_decode(record->headers, &event, NULL) == ERR_OK);
	must(slice_eq_str(event.source, rq->source->name));
	/* Each element of a body has an attempt of its own, made from the request's. */
	must(whole.is_split || memcmp(event.attempt, rq->attempt, ATTEMPT_LEN) == 0);
	must(event.received_ms == rq->now_ms && slice_eq(event.request_id, rq->request_id));
	must(event.id.len > 0 && event.id.len <= EVENT_ID_MAX);
}

static void check_records(const struct admit_request *rq)
{
	size_t count = 0;

	if (!whole.is_split) {
		check_record(rq, &whole.record);
		must(whole.record.body.data == rq->http.body.data);
		return;
	}
	for (const struct element *e = whole.elements; e; e = e->next, count++)
		check_record(rq, &e->record);
	must(count == whole.element_count && count > 0);
}

static void check(const struct admit_request *rq, unsigned flags)
{
	struct admit_rates no_rates = { 0 };

	admit_head(rq, &no_rates, &tools, &head);
	admit_whole(rq, &tools, &whole);
	must(whole.next != ADMIT_GO_ON);
	if (head.next == ADMIT_REFUSE)
		must(whole.next == ADMIT_REFUSE && whole.code == head.code);
	if (whole.next == ADMIT_REFUSE)
		must(whole.code != ERR_OK && whole.status >= 400);
	if (!(flags & SIGNED) || (flags & SPOILT))
		must(whole.next != ADMIT_APPEND && whole.next != ADMIT_EMPTY);
	if (whole.next == ADMIT_APPEND)
		check_records(rq);
	admission_reset(&head);
	admission_reset(&whole);
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static size_t sign(struct admit_request *rq, struct header *headers, unsigned flags, size_t source)
{
	struct scheme_draft draft = {
		.body = rq->http.body,
		.spare_id = SLICE_LIT("given"),
		.now_ms = flags & LATE ? NOW_MS - 400000 : NOW_MS,
		.bad_signature = flags & SPOILT,
	};
	struct err err = ERR_INIT;

	if (!(flags & SIGNED) || scheme_sign(schemes[source], &draft, &made, &err) != ERR_OK)
		return 0;
	memcpy(headers, made.headers, made.header_count * sizeof(*headers));
	return made.header_count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct header headers[HEADERS_MAX];
	struct admit_request rq = {
		.http = { .method = SLICE_LIT("POST"),
			.path = SLICE_LIT("/hooks/x"),
			.headers = headers },
		.max_body = MIB(1),
		.client = SLICE_LIT("127.0.0.1"),
		.request_id = SLICE_LIT("request"),
		.now_ms = NOW_MS,
		.attempt = { 1, 2, 3 },
		.trace = { 4, 5, 6 },
	};
	size_t source, text;
	unsigned flags;

	if (!config)
		start();
	if (size < 3)
		return 0;
	source = data[0] % config->source_count;
	flags = data[1];
	text = data[2] < size - 3 ? data[2] : size - 3;
	rq.source = &config->sources[source];
	rq.scheme = schemes[source];
	rq.http.body = (struct slice){ data + 3 + text, size - 3 - text };
	rq.declared = rq.http.body.len;
	rq.http.header_count = sign(&rq, headers, flags, source);
	if (flags & TYPED)
		headers[rq.http.header_count++] =
			(struct header){ SLICE_LIT("X-GitHub-Event"), { data + 3, text } };
	if (flags & QUERY)
		rq.http.query = (struct slice){ data + 3, text };
	rq.http.has_query = flags & QUERY;
	check(&rq, flags);
	return 0;
}

#include "replay_main.inc"
