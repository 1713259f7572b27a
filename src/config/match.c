/* match.c - which source has this name, which route takes this event. Called for every request and
 * every event, so it looks at the typed config only. */
#include "postern/config.h"
#include "postern/text.h"

const struct source_config *config_source(const struct config *config, struct slice name)
{
	for (size_t i = 0; i < config->source_count; i++) {
		if (slice_eq_str(name, config->sources[i].name))
			return &config->sources[i];
	}
	return NULL;
}

static bool fits(const char *pattern, struct slice value)
{
	return !pattern || text_glob(slice_str(pattern), value);
}

const struct route_config *config_route(const struct config *config, struct slice source,
	struct slice type, struct slice tenant, size_t *out_index)
{
	for (size_t i = 0; i < config->route_count; i++) {
		const struct route_config *route = &config->routes[i];

		if (!fits(route->match_source, source) || !fits(route->match_type, type) ||
			!fits(route->match_tenant, tenant))
			continue;
		if (out_index)
			*out_index = i;
		return route;
	}
	return NULL;
}
