/* presets.c - the presets, compiled in from config/presets by scripts/embed-presets.
 *
 * Deliberately not here: what they mean; source.c merges them, the scheme room compiles them. */
#include "postern/config.h"

struct preset {
	const char *name;
	const uint8_t *text;
	size_t len;
};

#include "presets.inc"

size_t preset_count(void)
{
	return ARRAY_LEN(presets);
}

const char *preset_name(size_t index)
{
	return index < ARRAY_LEN(presets) ? presets[index].name : NULL;
}

struct slice preset_text(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(presets); i++) {
		if (strcmp(presets[i].name, name) == 0)
			return (struct slice){ presets[i].text, presets[i].len };
	}
	return SLICE_EMPTY;
}
