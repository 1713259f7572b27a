/* status_screen.h - what /v1/status says, as one screen for people. */
#pragma once

#include "cli.h"

/* status: the answer, one JSON object. To stdout. */
void status_screen(struct slice status);
