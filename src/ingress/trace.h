/* trace.h - W3C Trace Context, the one header of it that goes into a record. Pure. */
#pragma once

#include "postern/buf.h"

#define TRACE_LEN 55
#define TRACE_RANDOM 24 /* bytes for a trace id and a span id */

/* version 00 (or a later one with a known beginning), lower case, ids that are not zero. */
bool trace_is_valid(struct slice s);
void trace_start(const uint8_t random[TRACE_RANDOM], char out[TRACE_LEN + 1]);
