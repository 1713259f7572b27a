/* cli_output.h - in place of the commands' own: what they print is kept in `output`.
 *
 * For tests that include a command's source, and so bring the rest of what it needs themselves. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#define OUTPUT_MAX KIB(512)

static char output[OUTPUT_MAX];
static size_t output_len;

static void output_reset(void)
{
	output_len = 0;
	output[0] = '\0';
}

void cli_out(struct slice text)
{
	assert_true(text.len < sizeof(output) - output_len);
	memcpy(output + output_len, text.data, text.len);
	output_len += text.len;
	output[output_len] = '\0';
}

void cli_outf(const char *fmt, ...)
{
	char text[KIB(4)];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	cli_out(slice_str(text));
}
