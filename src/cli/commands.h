/* commands.h - the rows that commands.c lists; each is defined in a cmd_*.c file. */
#pragma once

#include "cli.h"

extern const struct command cmd_run, cmd_ingress, cmd_worker;
extern const struct command cmd_init, cmd_lint, cmd_send, cmd_verify, cmd_sign;
extern const struct command cmd_events_get, cmd_events_ls, cmd_state_get;
extern const struct command cmd_dlq_ls, cmd_dlq_show, cmd_dlq_replay, cmd_dlq_drop;
extern const struct command cmd_quarantine_ls, cmd_quarantine_show, cmd_quarantine_accept,
	cmd_quarantine_drop;
extern const struct command cmd_test;
extern const struct command cmd_keys_ls, cmd_learn;
extern const struct command cmd_status, cmd_config_show, cmd_config_explain, cmd_reload;
extern const struct command cmd_quarantine_verify;
extern const struct command cmd_completion, cmd_docs;
