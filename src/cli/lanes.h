/* lanes.h - where a question looks: one lane over files of this machine, one for each partition
 * over Kafka. A lane is a view of what is stored and a queue to look records up in.
 *
 * Opened for one question and closed behind it, so nothing here disturbs an owner thread. Not for
 * two threads. */
#pragma once

#include "postern/config.h"
#include "postern/queue.h"
#include "postern/store.h"

struct crew;

struct lane {
	struct store_view *view;
	struct queue *queue; /* NULL: not opened yet */
};
struct lanes {
	const struct config *config;
	struct crew *crew; /* NULL: files of this machine */
	size_t count;
	struct lane *list;
};
/* One lane; the view is borrowed. */
MUST_CHECK enum err_code lanes_of_files(
	const struct config *config, struct store_view *view, struct lanes *out, struct err *err);
/* All lanes that a crew follows; it is borrowed. */
MUST_CHECK enum err_code lanes_of_crew(
	const struct config *config, struct crew *crew, struct lanes *out, struct err *err);
void lanes_close(struct lanes *lanes);
/* For queue_lookup() and queue_stat(); the lanes' own. Files are opened read-only. */
MUST_CHECK enum err_code lanes_queue(
	struct lanes *lanes, size_t lane, struct queue **out, struct err *err);

/* A record of the dead letters or of the quarantine. */
struct place {
	size_t lane;
	int64_t offset; /* in the stream */
};
/* "d12", and over Kafka, where each partition counts for itself, "d3.12" for partition 3. */
#define PLACE_TEXT_MAX 40
void place_text(const struct lanes *lanes, enum out_target target, const struct place *place,
	char out[PLACE_TEXT_MAX]);
bool place_parse(
	const struct lanes *lanes, enum out_target target, struct slice text, struct place *out);
/* A page of a list goes on here: one number for both, and back. */
int64_t place_cursor(const struct place *place);
struct place place_of_cursor(int64_t cursor);
