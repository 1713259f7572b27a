/* worker_crew_moves.c - three crews, lanes that move, owners that fall silent, records that come
 * twice or late, stores that are lost: at the end everybody has folded to the same state, in which
 * every event had its one effect, in order. CREW_SEED and CREW_ROUNDS for longer runs. */
#define LAB_FAKE_HANDLER
#include "support/worker_lab.h"

#include "support/crew_house.h"

static const char call_config[] = LAB_CONFIG(LAB_CALL_ROUTE, "");

#define ROUNDS 24
#define EVENTS_A_ROUND 12
#define ENTITIES 5

static uint64_t seed;

static unsigned dice(unsigned sides)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 11) % sides);
}

static unsigned long from_environment(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

static void name_event(char *out, size_t max, unsigned n)
{
	(void)snprintf(out, max, "%s%u", n % 10 == 3 ? "never" : n % 10 == 6 ? "third" : "done", n);
}

static void send_some(struct house *h, unsigned *sent)
{
	for (int i = 0; i < EVENTS_A_ROUND; i++) {
		const unsigned n = (*sent)++;
		char id[32], entity[16], version[16];

		name_event(id, sizeof(id), n);
		(void)snprintf(entity, sizeof(entity), "e%u", n % ENTITIES);
		(void)snprintf(version, sizeof(version), "%u", n + 1);
		(void)house_send(h, 0,
			&(struct lab_event){ .id = id, .entity = entity, .version = version });
		if (dice(4) == 0) /* a copy */
			(void)house_send(h, 0,
				&(struct lab_event){
					.id = id, .entity = entity, .version = version });
	}
}

static void heal(struct house_crew *c)
{
	for (int lane = 0; lane < HOUSE_LANES; lane++) {
		struct journal_queue *q = c->queues[lane];

		journal_log_faults(q, 0, 0);
		journal_log_set(q, &q->deaf, false);
		journal_log_set(q, &q->cut, false);
		(void)journal_log_release(q);
	}
}

/* Without a word, and sometimes without its store. */
static void die_and_return(struct house *h, struct house_crew *c)
{
	struct journal_queue *q = c->queues[0];
	const bool late = dice(2) == 0;

	journal_log_set(q, &q->cut, true);
	(void)usleep(dice(50) * 1000);
	if (late) /* what was on its way arrives all the same */
		(void)journal_log_release(q);
	house_stop(c, 0);
	if (dice(3) == 0)
		lab_remove(c->dir);
	(void)house_start(h, c->number);
}

static void disturb(struct house *h)
{
	struct house_crew *c = &h->crews[dice(HOUSE_CREWS)];
	const unsigned owner = dice(HOUSE_CREWS + 1); /* or all of them */

	switch (dice(6)) {
	case 0:
		for (unsigned i = 0; i < HOUSE_CREWS; i++)
			house_assign(&h->crews[i], i == owner || owner == HOUSE_CREWS, false);
		break;
	case 1: journal_log_set(c->queues[0], &c->queues[0]->cut, true); break;
	case 2: journal_log_faults(c->queues[0], (int)dice(20), (int)dice(3)); break;
	case 3: journal_log_set(c->queues[0], &c->queues[0]->deaf, true); break;
	case 4: die_and_return(h, c); break;
	case 5:
		for (int i = 0; i < HOUSE_CREWS; i++)
			heal(&h->crews[i]);
		break;
	}
}

static void check_events(struct house *h, unsigned sent)
{
	size_t dead = 0;

	for (unsigned n = 0; n < sent; n++) {
		char id[32];

		name_event(id, sizeof(id), n);
		dead += n % 10 == 3;
		for (int i = 0; i < HOUSE_CREWS; i++)
			assert_int_equal(house_outcome(&h->crews[i], 0, id),
				n % 10 == 3 ? OUTCOME_DEAD : OUTCOME_APPLIED);
	}
	for (int i = 0; i < HOUSE_CREWS; i++) {
		LAB_UNTIL(house_entries(&h->crews[i], 0, OUT_DLQ) == dead);
		for (unsigned e = 0; e < ENTITIES; e++) {
			unsigned last = sent - 1;
			char entity[16];

			while (last % ENTITIES != e || last % 10 == 3)
				last--;
			(void)snprintf(entity, sizeof(entity), "e%u", e);
			assert_int_equal(house_version(&h->crews[i], 0, entity), (int64_t)last + 1);
		}
	}
}

static bool all_ended(struct house *h, unsigned sent)
{
	for (unsigned n = 0; n < sent; n++) {
		char id[32];

		name_event(id, sizeof(id), n);
		for (int i = 0; i < HOUSE_CREWS; i++) {
			const enum outcome outcome = house_outcome(&h->crews[i], 0, id);

			if (outcome == OUTCOME_NONE || outcome == OUTCOME_PARKED)
				return false;
		}
	}
	return true;
}

static void lanes_move(void **state)
{
	struct house *h = house_open(call_config);
	const unsigned long rounds = from_environment("CREW_ROUNDS", ROUNDS);
	unsigned sent = 0;

	(void)state;
	seed = from_environment("CREW_SEED", 4711);
	for (int i = 0; i < HOUSE_CREWS; i++)
		(void)house_start(h, i);
	house_assign(&h->crews[0], true, false);
	for (unsigned long round = 0; round < rounds; round++) {
		send_some(h, &sent);
		(void)usleep(dice(150) * 1000);
		disturb(h);
	}
	for (int i = 0; i < HOUSE_CREWS; i++) {
		heal(&h->crews[i]);
		house_assign(&h->crews[i], i == 1, false);
	}
	LAB_UNTIL(all_ended(h, sent));
	check_events(h, sent);
	for (int i = 0; i < HOUSE_CREWS; i++)
		assert_int_equal(crew_failed(h->crews[i].crew, NULL), ERR_OK);
	for (int i = 0; i < HOUSE_CREWS; i++)
		house_stop(&h->crews[i], 5000);
	for (int i = 0; i < HOUSE_CREWS; i++) {
		if (i == 2) /* and one from nothing */
			lab_remove(h->crews[i].dir);
		(void)house_start(h, i);
		LAB_UNTIL(house_lane(&h->crews[i], 0).journal_next == journal_log_end(&h->logs[0]));
		LAB_UNTIL(all_ended(h, i == 2 ? sent : 0));
	}
	house_equal(&h->crews[0], &h->crews[1], 0);
	house_equal(&h->crews[0], &h->crews[2], 0);
	print_message("%u events, %lld records, epoch %llu\n", sent,
		(long long)journal_log_end(&h->logs[0]),
		(unsigned long long)house_lane(&h->crews[0], 0).epoch);
	house_close(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lanes_move),
	};

	return lab_run(tests);
}
