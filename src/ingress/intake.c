/* intake.c - the life of a request's state, and random bytes by the handful.
 *
 * Two ends must come before it goes: the server's finished(), and the completion of its records. */
#include "ingress_priv.h"

#include "postern/file.h"

#include <assert.h>
#include <stdlib.h>

static struct intake *take_spare(struct shard *shard)
{
	struct intake *intake = shard->spare;

	if (!intake) {
		intake = calloc(1, sizeof(*intake));
		if (intake)
			intake->admission = ADMISSION_INIT;
		return intake;
	}
	shard->spare = intake->next;
	shard->spare_count--;
	admission_reset(&intake->admission);
	return intake;
}

struct intake *intake_take(struct shard *shard, struct table *table, struct source *source)
{
	struct intake *intake = take_spare(shard);

	if (!intake)
		return NULL;
	*intake = (struct intake){
		.shard = shard,
		.table = table_ref(table),
		.source = source,
		.admission = intake->admission,
	};
	return intake;
}

static void discard(struct intake *intake)
{
	admission_done(&intake->admission);
	free(intake);
}

void intake_release(struct intake *intake)
{
	struct shard *shard = intake->shard;

	if (!intake->is_over || intake->awaited > 0)
		return;
	assert(!intake->request);
	table_unref(intake->table);
	intake->table = NULL;
	if (shard->spare_count >= SPARE_INTAKES) {
		discard(intake);
		return;
	}
	intake->next = shard->spare;
	shard->spare = intake;
	shard->spare_count++;
}

void intake_free_spares(struct shard *shard)
{
	while (shard->spare) {
		struct intake *intake = shard->spare;

		shard->spare = intake->next;
		discard(intake);
	}
	shard->spare_count = 0;
}

void ingress_random(struct shard *shard, void *out, size_t len)
{
	assert(len <= sizeof(shard->random));
	if (shard->random_left < len) {
		random_bytes(shard->random, sizeof(shard->random));
		shard->random_left = sizeof(shard->random);
	}
	shard->random_left -= len;
	memcpy(out, shard->random + shard->random_left, len);
}
