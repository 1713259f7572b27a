/* run.c: the count of a suspect's tries is the count of the deaths that it may have caused. */
#define LAB_FAKE_HANDLER
#include "support/worker_lab.h"

static const char call_config[] = LAB_CONFIG(LAB_CALL_ROUTE, "");

/* Somebody stops the worker while the disk takes no byte, and makes room when it has been told. */
struct stopper {
	struct lab *lab;
	struct thread thread;
};

static void *stop(void *arg)
{
	struct stopper *stopper = arg;

	worker_stop(stopper->lab->worker, lab_mono_ms() + 20000);
	return NULL;
}

/* Two events and a crash: both are suspects, and called one after the other. The first ends while
 * there is no room, so that the second one's TRY is committed only when the worker has been told to
 * stop: its call is not made any more. It had died once before. */
static void a_stop_before_the_call_is_no_death(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "hold-a", .entity = "a" },
		{ .id = "hold-b", .entity = "b" },
	};
	const struct item before = { .type = ITEM_TRY, .attempt = { .offset = 1, .n = 1 } };
	struct stopper stopper = { .lab = lab_new(call_config) };
	struct lab *lab = stopper.lab;
	struct store_state stored;
	struct rlimit limit;
	struct err err = ERR_INIT;

	(void)state;
	lab->disk = true;
	lab_open_queue(lab);
	lab_open_store(lab);
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_die(lab, &before, 1, 0);
	lab_start(lab);
	LAB_UNTIL(lab_called("hold-a"));
	lab_disk_full(&limit);
	lab_answer("hold-a", HANDLER_DONE, ERR_OK);
	LAB_UNTIL(worker_ready(lab->worker, &err) == ERR_FULL);
	assert_int_equal(thread_start(&stopper.thread, "stopper", stop, &stopper, NULL), ERR_OK);
	/* The commit is tried again a second after it failed; being told takes no time. */
	(void)usleep(300000);
	lab_disk_has_room(&limit);
	thread_join(&stopper.thread);
	lab_ends(lab, "hold-a", OUTCOME_APPLIED, ERR_OK);
	assert_int_equal(store_view_state(lab->view, &stored, NULL), ERR_OK);
	assert_true(stored.journal.released);
	/* Should the machine have been that slow, the call was made, and its TRY stays. */
	assert_int_equal(store_tries(lab->store, 1), lab_calls_of("hold-b") == 0 ? 1 : 2);
	if (lab_calls_of("hold-b") > 0)
		lab_answer("hold-b", HANDLER_CANCELLED, ERR_STOPPED);
	worker_close(&lab->worker);
	lab_start(lab);
	lab_answer("hold-b", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "hold-b", OUTCOME_APPLIED, ERR_OK);
	lab_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stop_before_the_call_is_no_death),
	};

	return lab_run(tests);
}
