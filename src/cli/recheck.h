/* recheck.h - may a request that was refused at the door be worked after all? */
#pragma once

#include "inspect.h"

/* ERR_OK for a quarantined record that was authentic, and for a refused one whose signature
 * verifies with the keys as they are now; freshness is judged as at its reception. Otherwise
 * ERR_DENIED, with what is still wrong; ERR_NOT_FOUND: retention has dropped the record. */
enum err_code recheck_record(
	const struct config *config, int64_t quarantine_offset, struct err *err);
