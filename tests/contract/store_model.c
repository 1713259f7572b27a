/* store_model.c - random changes against a plain model, over every backend. */
#include "postern/store.h"

#include "support/store_kit.h"

/* Random changes against a plain model, dropped, committed and reopened at random. */
#define MODEL_SUBJECTS 12
#define MODEL_OFFSETS 40
struct model {
	unsigned outcome[200];
	int64_t version[MODEL_SUBJECTS];
	int64_t next[MODEL_SUBJECTS][MODEL_OFFSETS]; /* 0: not parked */
	unsigned tries[MODEL_OFFSETS];
};

static uint32_t random_below(uint64_t *seed, uint32_t below)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((*seed >> 33) % below);
}

static struct item random_item(uint64_t *seed, struct model *model, char subject[8])
{
	uint32_t kind = random_below(seed, 8), s = random_below(seed, MODEL_SUBJECTS);
	uint32_t offset = random_below(seed, MODEL_OFFSETS), n = random_below(seed, 200);

	(void)snprintf(subject, 8, "s%u", s);
	if (kind < 3) {
		enum outcome outcome = (enum outcome)(1 + random_below(seed, 5));

		model->outcome[n] = outcome;
		return seen(n, outcome);
	}
	if (kind == 3) {
		model->version[s] = 1 + random_below(seed, 1000);
		return version_of(subject, VERSION_INTEGER, model->version[s]);
	}
	if (kind == 4) {
		model->tries[offset] = random_below(seed, 3);
		return try_of(offset, model->tries[offset]);
	}
	if (kind < 7) {
		model->next[s][offset] = 1 + random_below(seed, 1000);
		return park_of(subject, offset, model->next[s][offset]);
	}
	model->next[s][offset] = 0;
	return unpark_of(subject, offset);
}

static void assert_subject(struct fixture *f, const struct model *model, uint32_t s, int64_t *due)
{
	struct parked list[MODEL_OFFSETS];
	struct buf text = BUF_INIT(4096);
	struct item_version v = { .version = { VERSION_NONE, 0 } };
	char subject[8];
	size_t count, at = 0;

	(void)snprintf(subject, sizeof(subject), "s%u", s);
	count = store_parked_list(f->store, slice_str(subject), list, MODEL_OFFSETS);
	for (uint32_t offset = 0; offset < MODEL_OFFSETS; offset++) {
		if (model->next[s][offset] == 0)
			continue;
		assert_true(at < count && list[at].offset == offset);
		assert_true(list[at].next_ts_ms == model->next[s][offset]);
		if (at++ == 0 && model->next[s][offset] < *due)
			*due = model->next[s][offset];
	}
	assert_true(at == count);
	IS(store_version(f->store, slice_str(subject), &v, &text, err),
		model->version[s] ? ERR_OK : ERR_NOT_FOUND);
	assert_true(v.version.value == model->version[s]);
	buf_done(&text);
}

static void assert_model(struct fixture *f, const struct model *model)
{
	int64_t due = INT64_MAX;
	struct item_seen out;

	for (uint64_t n = 0; n < ARRAY_LEN(model->outcome); n++) {
		enum err_code rc = find(f, n, &out);

		assert_int_equal(rc, model->outcome[n] ? ERR_OK : ERR_NOT_FOUND);
		if (rc == ERR_OK)
			assert_int_equal(out.outcome, model->outcome[n]);
	}
	for (uint32_t s = 0; s < MODEL_SUBJECTS; s++)
		assert_subject(f, model, s, &due);
	assert_true(store_parked_next(f->store) == due);
	for (uint32_t offset = 0; offset < MODEL_OFFSETS; offset++)
		assert_int_equal(store_tries(f->store, offset), model->tries[offset]);
}

static void random_changes_agree_with_a_model(void **state)
{
	struct fixture *f = *state;
	struct model committed = { .version = { 0 } }, staged;
	uint64_t seed = 20261122;

	for (int round = 0; round < 150; round++) {
		struct item items[30];
		char subjects[30][8];
		size_t count = random_below(&seed, 30);
		uint32_t fate = random_below(&seed, 4);

		staged = committed;
		for (size_t i = 0; i < count; i++)
			items[i] = random_item(&seed, &staged, subjects[i]);
		if (fate == 0) {
			for (size_t i = 0; i < count; i++)
				OK(store_stage(f->store, &items[i], err));
			assert_model(f, &staged);
			store_drop(f->store);
		} else {
			apply_items(f, items, count, fate > 1);
			committed = staged;
			assert_model(f, &committed);
			OK(store_commit(f->store, err));
		}
		if (round % 10 == 9) {
			now_ms += HOUR_MS / 4;
			OK(store_maintain(f->store, now_ms, err));
			OK(store_commit(f->store, err));
			reopen(f);
		}
		assert_model(f, &committed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(random_changes_agree_with_a_model),
	};

	RUN_BACKENDS(tests);
}
