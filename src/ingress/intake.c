/* intake.c - the life of a request's state and of the table it works with; random bytes by the
 * handful.
 *
 * Two ends must come before it goes: the server's finished(), and the completion of its records. */
#include "ingress_priv.h"

#include "postern/file.h"

#include <assert.h>
#include <stdlib.h>

/* ---- the table ---------------------------------------------------------------------------------
 */

static void renew(struct shard *shard)
{
	struct ingress *in = shard->ingress;
	struct tenure *fresh = malloc(sizeof(*fresh));

	tenure_give(shard->tenure);
	shard->tenure = fresh;
	if (!fresh)
		return;
	fresh->uses = 1;
	lock_take(&in->lock);
	shard->generation = atomic_load_explicit(&in->generation, memory_order_relaxed);
	fresh->table = table_ref(in->table);
	shard->rates.client_rate = in->client_rate;
	lock_give(&in->lock);
}

struct tenure *tenure_now(struct shard *shard)
{
	unsigned now = atomic_load_explicit(&shard->ingress->generation, memory_order_acquire);

	if (!shard->tenure || shard->generation != now)
		renew(shard);
	return shard->tenure;
}

void tenure_give(struct tenure *tenure)
{
	if (!tenure || --tenure->uses > 0)
		return;
	table_unref(tenure->table);
	free(tenure);
}

/* ---- intakes -----------------------------------------------------------------------------------
 */

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

struct intake *intake_take(struct shard *shard, struct tenure *tenure, struct source *source)
{
	struct intake *intake = take_spare(shard);

	if (!intake)
		return NULL;
	tenure->uses++;
	*intake = (struct intake){
		.shard = shard,
		.tenure = tenure,
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
	tenure_give(intake->tenure);
	intake->tenure = NULL;
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
