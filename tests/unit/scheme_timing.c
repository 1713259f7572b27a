/* scheme_timing.c - how long a wrong signature is looked at does not tell where it is wrong.
 *
 * Samples of the two kinds are taken in turns, and their lower quartiles compared: what else the
 * machine does only makes samples slower. The same yardstick is held against a comparison that
 * stops at the first difference, which it must find out. */
#include "support/scheme_lab.h"

#include "postern/clock.h"

#define SAMPLES 401
#define LEN 64
#define ROUNDS 400 /* comparisons in a sample */
#define TRIES 5    /* a machine that does much else may spoil one */
#define ALIKE 1.15 /* of two quartiles; one that stops early is several times as far apart */

static int64_t now_ns(void)
{
	return clock_system()->mono_ns(clock_system());
}

static int by_size(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

struct timed {
	bool (*run)(void *what, bool late); /* late: wrong in the last byte, not in the first */
	void *what;
};

static volatile unsigned sink; /* so that nothing is computed in vain */

/* The larger lower quartile by the smaller one. */
static double spread(const struct timed *t)
{
	static int64_t samples[2][SAMPLES];
	double early, late;

	for (size_t i = 0; i < SAMPLES; i++) {
		for (size_t kind = 0; kind < 2; kind++) {
			bool is_late = (kind == 0) == (i % 2 == 0);
			int64_t start = now_ns();

			sink += t->run(t->what, is_late);
			samples[is_late][i] = now_ns() - start;
		}
	}
	qsort(samples[0], SAMPLES, sizeof(samples[0][0]), by_size);
	qsort(samples[1], SAMPLES, sizeof(samples[1][0]), by_size);
	early = (double)samples[0][SAMPLES / 4];
	late = (double)samples[1][SAMPLES / 4];
	return early > late ? early / late : late / early;
}

static double smallest_spread(const struct timed *t)
{
	double best = spread(t);

	for (int i = 1; i < TRIES && best > ALIKE; i++) {
		double again = spread(t);

		best = again < best ? again : best;
	}
	return best;
}

/* ---- the comparison ----------------------------------------------------------------------------
 */

struct pair {
	uint8_t right[LEN], early[LEN], late[LEN];
	bool (*equal)(const void *a, const void *b, size_t len);
};

static bool stops_early(const void *a, const void *b, size_t len)
{
	const volatile uint8_t *x = a, *y = b;

	for (size_t i = 0; i < len; i++) {
		if (x[i] != y[i])
			return false;
	}
	return true;
}

static bool compare(void *what, bool late)
{
	const struct pair *p = what;
	bool any = false;

	for (int i = 0; i < ROUNDS; i++)
		any |= p->equal(p->right, late ? p->late : p->early, LEN);
	return any;
}

static void comparisons_take_as_long_wherever_the_difference_is(void **state)
{
	struct pair p = { .equal = crypto_equal };
	const struct timed t = { compare, &p };

	(void)state;
	p.early[0] = 1;
	p.late[LEN - 1] = 1;
	assert_true(smallest_spread(&t) < ALIKE);
	p.equal = stops_early;
	assert_true(smallest_spread(&t) > ALIKE);
}

/* ---- the whole verdict -------------------------------------------------------------------------
 */

struct requests {
	struct lab lab;
	struct lab_request early, late;
};

static bool verify(void *what, bool late)
{
	struct requests *r = what;
	bool any = false;

	for (int i = 0; i < 20; i++)
		any |= lab_verify(&r->lab, late ? &r->late : &r->early, 0) == ERR_OK;
	return any;
}

static void verdicts_take_as_long_wherever_the_signature_is_wrong(void **state)
{
	static const struct {
		const char *source, *key, *early, *late;
	} rows[] = {
		{ "\"preset\": \"github\", ", "mysecret",
			"X-Hub-Signature-256: "
			"sha256=5864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3",
			"X-Hub-Signature-256: "
			"sha256=4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda4" },
		{ "\"preset\": \"gitlab\", ", "0123456789abcdef0123456789abcdef",
			"X-Gitlab-Token: x123456789abcdef0123456789abcdef",
			"X-Gitlab-Token: 0123456789abcdef0123456789abcdex" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *keys[] = { rows[i].key, NULL };
		static struct requests r;
		const struct timed t = { verify, &r };
		char source[128];

		(void)snprintf(
			source, sizeof(source), "%s\"keys\": [{\"file\": \"k0\"}]", rows[i].source);
		lab_open(&r.lab, source, keys);
		lab_request(&r.early, rows[i].early, SLICE_LIT("{\"foo\":\"bar\"}"));
		lab_request(&r.late, rows[i].late, SLICE_LIT("{\"foo\":\"bar\"}"));
		assert_int_equal(lab_verify(&r.lab, &r.early, 0), ERR_BAD_SIGNATURE);
		assert_int_equal(lab_verify(&r.lab, &r.late, 0), ERR_BAD_SIGNATURE);
		assert_true(smallest_spread(&t) < ALIKE);
		lab_close(&r.lab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comparisons_take_as_long_wherever_the_difference_is),
		cmocka_unit_test(verdicts_take_as_long_wherever_the_signature_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
