/* intake.c - the life of a request's state, and random bytes by the handful.
 *
 * Two ends must come before it goes: the server's finished(), and the completion of its records. */
#include "ingress_priv.h"

#include "postern/file.h"

#include <assert.h>
#include <stdlib.h>

static struct intake *take_spare(struct ingress *in)
{
	struct intake *intake = in->spare;

	if (!intake) {
		intake = calloc(1, sizeof(*intake));
		if (intake)
			intake->admission = ADMISSION_INIT;
		return intake;
	}
	in->spare = intake->next;
	in->spare_count--;
	admission_reset(&intake->admission);
	return intake;
}

struct intake *intake_take(struct ingress *in, struct table *table, struct source *source)
{
	struct intake *intake = take_spare(in);

	if (!intake)
		return NULL;
	*intake = (struct intake){
		.ingress = in,
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
	struct ingress *in = intake->ingress;

	if (!intake->is_over || intake->awaited > 0)
		return;
	assert(!intake->request);
	table_unref(intake->table);
	intake->table = NULL;
	if (in->spare_count >= SPARE_INTAKES) {
		discard(intake);
		return;
	}
	intake->next = in->spare;
	in->spare = intake;
	in->spare_count++;
}

void intake_free_spares(struct ingress *in)
{
	while (in->spare) {
		struct intake *intake = in->spare;

		in->spare = intake->next;
		discard(intake);
	}
	in->spare_count = 0;
}

void ingress_random(struct ingress *in, void *out, size_t len)
{
	assert(len <= sizeof(in->random));
	if (in->random_left < len) {
		random_bytes(in->random, sizeof(in->random));
		in->random_left = sizeof(in->random);
	}
	in->random_left -= len;
	memcpy(out, in->random + in->random_left, len);
}
