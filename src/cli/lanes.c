/* lanes.c - see lanes.h. Deliberately not here: what is asked (inspect*.c). */
#include "lanes.h"

#include "postern/crew.h"
#include "postern/file.h"
#include "postern/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define LANE_DIR "main"
/* Above the offsets of any stream, and room for more lanes than there may be. */
#define CURSOR_LANE_SHIFT 46

static enum err_code open_list(
	struct lanes *out, const struct config *config, size_t count, struct err *err)
{
	*out = (struct lanes){
		.config = config,
		.list = calloc(count, sizeof(*out->list)),
	};
	return out->list ? ERR_OK : err_set(err, ERR_NOMEM, "no memory for %zu lanes", count);
}

enum err_code lanes_of_files(
	const struct config *config, struct store_view *view, struct lanes *out, struct err *err)
{
	enum err_code rc = open_list(out, config, 1, err);

	if (rc == ERR_OK)
		out->list[out->count++].view = view;
	return rc;
}

enum err_code lanes_of_crew(
	const struct config *config, struct crew *crew, struct lanes *out, struct err *err)
{
	const int32_t count = crew_partitions(crew);
	enum err_code rc = open_list(out, config, (size_t)count, err);

	out->crew = crew;
	for (int32_t i = 0; i < count && rc == ERR_OK; i++) {
		struct err one = ERR_INIT;

		rc = crew_view(crew, i, &out->list[i].view, &one);
		if (rc == ERR_OK)
			out->count++;
		else
			rc = err_set(err, rc, "partition %d: %s", i, one.text);
	}
	if (rc != ERR_OK)
		lanes_close(out);
	return rc;
}

void lanes_close(struct lanes *lanes)
{
	for (size_t i = 0; i < lanes->count; i++) {
		struct lane *lane = &lanes->list[i];

		if (lanes->crew)
			store_view_close(&lane->view);
		else
			queue_close(&lane->queue);
	}
	free(lanes->list);
	*lanes = (struct lanes){ 0 };
}

static enum err_code open_files(const struct config *config, struct queue **out, struct err *err)
{
	char *dir = file_join(config->data_dir, LANE_DIR);
	struct queue_opts opts = {
		.dir = dir,
		.read_only = true,
		.segment_bytes = config->queue.segment_bytes,
		.clock = clock_system(),
	};
	enum err_code rc =
		dir ? queue_embedded_open(&opts, out, err) : err_set(err, ERR_NOMEM, "no memory");

	free(dir);
	return rc;
}

enum err_code lanes_queue(struct lanes *lanes, size_t lane, struct queue **out, struct err *err)
{
	struct lane *l = &lanes->list[lane];
	enum err_code rc = ERR_OK;

	assert(lane < lanes->count);
	if (!l->queue && lanes->crew)
		l->queue = crew_queue(lanes->crew, (int32_t)lane);
	else if (!l->queue)
		rc = open_files(lanes->config, &l->queue, err);
	*out = l->queue;
	return rc;
}

/* ---- places ------------------------------------------------------------------------------------
 */

static char letter_of(enum out_target target)
{
	return target == OUT_DLQ ? 'd' : 'q';
}

void place_text(const struct lanes *lanes, enum out_target target, const struct place *place,
	char out[PLACE_TEXT_MAX])
{
	if (lanes->crew)
		(void)snprintf(out, PLACE_TEXT_MAX, "%c%zu.%lld", letter_of(target), place->lane,
			(long long)place->offset);
	else
		(void)snprintf(
			out, PLACE_TEXT_MAX, "%c%lld", letter_of(target), (long long)place->offset);
}

bool place_parse(
	const struct lanes *lanes, enum out_target target, struct slice text, struct place *out)
{
	struct slice rest = slice_sub(text, 1, text.len);
	int64_t lane = 0;

	if (text.len < 2 || text.data[0] != (uint8_t)letter_of(target))
		return false;
	if (lanes->crew) {
		struct slice number = slice_sub(rest, 0, slice_find(rest, '.'));

		if (text_i64(number, &lane, NULL) != ERR_OK)
			return false;
		rest = slice_sub(rest, number.len + 1, rest.len);
	}
	*out = (struct place){ .lane = (size_t)lane };
	return text_i64(rest, &out->offset, NULL) == ERR_OK && out->offset >= 0 && lane >= 0 &&
	       (size_t)lane < lanes->count;
}

int64_t place_cursor(const struct place *place)
{
	return ((int64_t)place->lane << CURSOR_LANE_SHIFT) | place->offset;
}

struct place place_of_cursor(int64_t cursor)
{
	return (struct place){ .lane = (size_t)(cursor >> CURSOR_LANE_SHIFT),
		.offset = cursor & (((int64_t)1 << CURSOR_LANE_SHIFT) - 1) };
}
