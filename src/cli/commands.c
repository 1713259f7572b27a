/* commands.c - every command of the program, in the order of the help. Nothing else. */
#include "commands.h"

const struct command *const commands[] = {
	&cmd_run,
	&cmd_ingress,
	&cmd_worker,
	&cmd_init,
	&cmd_lint,
	&cmd_send,
	&cmd_verify,
	&cmd_sign,
	&cmd_events_get,
	&cmd_events_ls,
	&cmd_state_get,
	&cmd_dlq_ls,
	&cmd_dlq_show,
	&cmd_dlq_replay,
	&cmd_dlq_drop,
	&cmd_quarantine_ls,
	&cmd_quarantine_show,
	&cmd_quarantine_accept,
	&cmd_quarantine_drop,
	&cmd_status,
	&cmd_config_show,
	&cmd_config_explain,
	&cmd_reload,
	NULL,
};
