/* status_screen.c - see status_screen.h. Sizes and ages are rounded for the eye; --json has them
 * whole.
 *
 * A half that is a process of its own has its members only; what is not there is not shown. */
#include "status_screen.h"

#include "postern/json.h"
#include "postern/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SILENT_MS 1500 /* an owner that works says something more often */
#define SIZE_TEXT_MAX 32

/* ---- values ------------------------------------------------------------------------- */

static bool member(struct slice object, const char *pointer, struct json_value *out)
{
	return json_get(object, pointer, out, NULL) == ERR_OK && out->type != JSON_ABSENT &&
	       out->type != JSON_NULL;
}

static int64_t number_of(struct slice object, const char *pointer)
{
	struct json_value value;
	int64_t number = 0;

	if (!member(object, pointer, &value) || value.type != JSON_INTEGER ||
		text_i64(value.raw, &number, NULL) != ERR_OK)
		return 0;
	return number;
}

static bool is_true(struct slice object, const char *pointer)
{
	struct json_value value;

	return member(object, pointer, &value) && value.type == JSON_TRUE;
}

/* A text, or a number as it is written. */
static void print_text(struct slice object, const char *pointer, const char *before)
{
	struct json_value value;
	struct buf text = BUF_INIT(KIB(64));

	if (member(object, pointer, &value) && json_text(value, &text, NULL) == ERR_OK)
		cli_outf("%s%s", before, buf_str(&text));
	buf_done(&text);
}

static const char *size_text(int64_t bytes, char out[SIZE_TEXT_MAX])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double size = (double)bytes;
	size_t unit = 0;

	while (size >= 1024 && unit + 1 < ARRAY_LEN(units)) {
		size /= 1024;
		unit++;
	}
	(void)snprintf(
		out, SIZE_TEXT_MAX, unit && size < 100 ? "%.1f %s" : "%.0f %s", size, units[unit]);
	return out;
}

static const char *age_text(int64_t seconds, char out[SIZE_TEXT_MAX])
{
	if (seconds < 120)
		(void)snprintf(out, SIZE_TEXT_MAX, "%" PRId64 " s", seconds);
	else if (seconds < 7200)
		(void)snprintf(out, SIZE_TEXT_MAX, "%" PRId64 " min", seconds / 60);
	else
		(void)snprintf(out, SIZE_TEXT_MAX, "%" PRId64 " h", seconds / 3600);
	return out;
}

/* ---- the top ------------------------------------------------------------------------ */

static void print_head(struct slice status)
{
	print_text(status, "/version", "postern ");
	print_text(status, "/half", ", half ");
	cli_outf(is_true(status, "/ready") ? ": ready\n" : ": NOT READY");
	if (!is_true(status, "/ready")) {
		print_text(status, "/reason", ", ");
		cli_outf("\n");
	}
}

static void print_queue(struct slice status)
{
	char age[SIZE_TEXT_MAX], size[SIZE_TEXT_MAX];
	struct json_value queue, lag, parked;

	if (!member(status, "/queue", &queue))
		return;
	if (!member(queue.raw, "/lag", &lag)) {
		cli_outf("%-10s not known yet\n", "queue");
		return;
	}
	cli_outf("%-10s %" PRId64 " behind, oldest %s", "queue", number_of(queue.raw, "/lag"),
		age_text(number_of(queue.raw, "/oldest_s"), age));
	if (!member(status, "/parked", &parked)) { /* an ingress knows the log alone */
		cli_outf("\n");
		return;
	}
	cli_outf(", in work %" PRId64 "\n", number_of(queue.raw, "/calls"));
	cli_outf("%-10s %" PRId64 " events, %s; outputs waiting %" PRId64 "\n", "parked",
		number_of(parked.raw, "/events"), size_text(number_of(parked.raw, "/bytes"), size),
		number_of(status, "/outputs_waiting"));
	if (member(status, "/paused", &lag) && lag.raw.len > 0)
		print_text(status, "/paused", "PAUSED     ");
	if (member(status, "/paused", &lag) && lag.raw.len > 0)
		cli_outf("\n");
}

static void print_ledger(struct slice status)
{
	char used[SIZE_TEXT_MAX], file[SIZE_TEXT_MAX];
	struct json_value ledger;

	if (member(status, "/ledger", &ledger))
		cli_outf("%-10s %" PRId64 " ids remembered, %s; file %s\n", "ledger",
			number_of(ledger.raw, "/entries"),
			size_text(number_of(ledger.raw, "/bytes"), used),
			size_text(number_of(ledger.raw, "/file_bytes"), file));
}

static void print_disk(struct slice status)
{
	char left[SIZE_TEXT_MAX], size[SIZE_TEXT_MAX];
	struct json_value disk;

	if (!member(status, "/disk", &disk))
		return;
	cli_outf("%-10s %s free of %s", "disk", size_text(number_of(disk.raw, "/free_bytes"), left),
		size_text(number_of(disk.raw, "/size_bytes"), size));
	print_text(disk.raw, "/data_dir", ", ");
	cli_outf("\n");
}

/* {"a":1,"b":"c"} as "a 1, b c" behind a name. */
static void print_members(struct slice status, const char *name)
{
	struct json_value object, key, value;
	const char *between = " ";
	char pointer[32];
	size_t at = 0;

	(void)snprintf(pointer, sizeof(pointer), "/%s", name);
	if (!member(status, pointer, &object) || object.type != JSON_OBJECT)
		return;
	cli_outf("%-10s", name);
	while (json_next_member(object, &at, &key, &value)) {
		struct buf text = BUF_INIT(KIB(64));

		if (value.type != JSON_NULL && json_text(value, &text, NULL) == ERR_OK) {
			cli_outf("%s%.*s %s", between, SLICE_FMT(key.raw), buf_str(&text));
			between = ", ";
		}
		buf_done(&text);
	}
	cli_outf("\n");
}

/* ---- partitions --------------------------------------------------------------------- */

struct lanes_seen {
	size_t count, owned, claiming, ownerless, silent;
};

static void count_lane(struct slice lane, struct lanes_seen *seen)
{
	struct json_value state = { 0 }, owner = { 0 };

	if (json_get(lane, "/state", &state, NULL) != ERR_OK ||
		json_get(lane, "/owner", &owner, NULL) != ERR_OK)
		return;
	seen->count++;
	if (slice_eq_str(state.raw, "owned"))
		seen->owned++;
	else if (slice_eq_str(state.raw, "claiming"))
		seen->claiming++;
	else if (owner.type != JSON_STRING || owner.raw.len == 0)
		seen->ownerless++;
	else if (number_of(lane, "/silent_ms") > SILENT_MS && number_of(lane, "/lag") > 0)
		seen->silent++;
}

static void print_part(size_t count, const char *what)
{
	if (count > 0)
		cli_outf(", %zu %s", count, what);
}

/* The partitions of Kafka in one line; --json has each. */
static void print_lanes(struct slice status)
{
	struct lanes_seen seen = { 0 };
	struct json_value list, lane;
	size_t at = 0;

	if (!member(status, "/lanes", &list) || list.type != JSON_ARRAY)
		return;
	while (json_next(list, &at, &lane))
		count_lane(lane.raw, &seen);
	cli_outf("%-10s %zu of %zu owned here", "partitions", seen.owned, seen.count);
	print_part(seen.claiming, "being claimed");
	print_part(seen.count - seen.owned - seen.claiming - seen.ownerless - seen.silent,
		"owned by others");
	print_part(seen.silent, "whose owner is silent");
	print_part(seen.ownerless, "without an owner");
	cli_outf("\n");
}

/* ---- sources and routes ------------------------------------------------------------- */

/* Refusals, the most frequent codes as they come: "BAD_SIGNATURE 2, EXPIRED 1". */
static void print_codes(struct slice codes)
{
	struct json_value object = { .type = JSON_OBJECT, .raw = codes }, code, count;
	const char *between = "";
	size_t at = 0;

	while (json_next_member(object, &at, &code, &count)) {
		if (slice_eq_str(code.raw, err_name(ERR_OK)))
			continue;
		cli_outf("%s%.*s %.*s", between, SLICE_FMT(code.raw), SLICE_FMT(count.raw));
		between = ", ";
	}
	cli_outf("\n");
}

/* Requests that were answered as accepted: also those whose events went to quarantine. */
static int64_t accepted_of(struct slice codes)
{
	struct json_value object = { .type = JSON_OBJECT, .raw = codes }, code, count;
	int64_t sum = 0, number;
	size_t at = 0;

	while (json_next_member(object, &at, &code, &count))
		if (err_status(err_by_name((const char *)code.raw.data, code.raw.len)) == 200 &&
			text_i64(count.raw, &number, NULL) == ERR_OK)
			sum += number;
	return sum;
}

static double rate_of(struct slice row)
{
	struct json_value rate;
	char text[32];

	if (!member(row, "/per_second", &rate))
		return 0;
	(void)snprintf(text, sizeof(text), "%.*s", SLICE_FMT(rate.raw));
	return strtod(text, NULL);
}

static void print_source(struct slice name, struct slice row)
{
	const struct slice shown = name.len ? name : SLICE_LIT("(unknown)");
	const int64_t requests = number_of(row, "/requests");
	struct json_value codes;
	int64_t accepted;

	if (name.len == 0 && requests == 0)
		return;
	if (!member(row, "/codes", &codes))
		codes.raw = SLICE_EMPTY;
	accepted = accepted_of(codes.raw);
	cli_outf("%-24.*s %8.1f %12" PRId64 " %10" PRId64 "  ", SLICE_FMT(shown), rate_of(row),
		accepted, requests - accepted);
	print_codes(codes.raw);
}

static void print_route(struct slice name, struct slice row)
{
	const struct slice shown = name.len ? name : SLICE_LIT("(none)");
	const int64_t parked = number_of(row, "/parked");
	struct json_value breaker;

	if (name.len == 0 && parked == 0)
		return;
	if (!member(row, "/breaker", &breaker))
		breaker.raw = SLICE_EMPTY;
	cli_outf("%-24.*s %8" PRId64 " %12" PRId64 "  %.*s%s\n", SLICE_FMT(shown),
		number_of(row, "/calls"), parked, SLICE_FMT(breaker.raw),
		is_true(row, "/paused") ? ", PAUSED" : "");
}

static void print_table(struct slice status, const char *pointer, const char *title,
	void (*print)(struct slice name, struct slice row))
{
	struct json_value table, name, row;
	size_t at = 0;

	if (!member(status, pointer, &table) || table.type != JSON_OBJECT)
		return;
	cli_outf("\n%s\n", title);
	while (json_next_member(table, &at, &name, &row))
		if (row.type == JSON_OBJECT)
			print(name.raw, row.raw);
}

void status_screen(struct slice status)
{
	print_head(status);
	print_queue(status);
	print_ledger(status);
	print_disk(status);
	print_members(status, "kafka");
	print_members(status, "spool");
	print_lanes(status);
	print_table(status, "/sources",
		"SOURCE                     per s     accepted    refused  codes", print_source);
	print_table(status, "/routes", "ROUTE                     in work       parked  breaker",
		print_route);
}
