/* metrics_text.c - all series in the Prometheus text exposition format 0.0.4.
 *
 * Deliberately not here: compression and other formats. */
#include "metrics_priv.h"

#include <stdio.h>

static const char *const type_names[] = {
	[METRIC_COUNTER] = "counter",
	[METRIC_GAUGE] = "gauge",
	[METRIC_HISTOGRAM] = "histogram",
};

/* A label with its value; `first` decides between '{' and ','. */
static enum err_code put_label(
	struct buf *out, bool first, const char *name, const char *value, struct err *err)
{
	enum err_code rc = buf_putf(out, err, "%c%s=\"", first ? '{' : ',', name);

	for (; rc == ERR_OK && *value; value++) {
		if (*value == '\n')
			rc = buf_put_str(out, "\\n", err);
		else if (*value == '\\' || *value == '"')
			rc = buf_putf(out, err, "\\%c", *value);
		else
			rc = buf_put_u8(out, (uint8_t)*value, err);
	}
	return rc == ERR_OK ? buf_put_str(out, "\"", err) : rc;
}

/* The name and labels of one line, up to the blank before its value. `le` is NULL but for buckets.
 */
static enum err_code put_name(struct buf *out, const struct metric *m, const char *suffix,
	const char *le, struct err *err)
{
	enum err_code rc = buf_putf(out, err, "%s%s", m->row->name, suffix);
	bool first = true;

	for (size_t i = 0; i < METRIC_LABELS && rc == ERR_OK; i++) {
		if (!m->row->label[i])
			continue;
		rc = put_label(out, first, m->row->label[i], m->value[i], err);
		first = false;
	}
	if (le && rc == ERR_OK) {
		rc = put_label(out, first, "le", le, err);
		first = false;
	}
	if (rc != ERR_OK)
		return rc;
	return buf_put_str(out, first ? " " : "} ", err);
}

static enum err_code put_buckets(struct buf *out, const struct metric *m, struct err *err)
{
	enum err_code rc = ERR_OK;
	long long count = 0;
	char le[32];

	for (size_t i = 0; i <= m->row->bounds_count && rc == ERR_OK; i++) {
		count += atomic_load_explicit(&m->bucket[i], memory_order_relaxed);
		if (i < m->row->bounds_count)
			(void)snprintf(le, sizeof(le), "%g", m->row->bounds[i]);
		else
			(void)snprintf(le, sizeof(le), "+Inf");
		rc = put_name(out, m, "_bucket", le, err);
		if (rc == ERR_OK)
			rc = buf_putf(out, err, "%lld\n", count);
	}
	if (rc == ERR_OK)
		rc = put_name(out, m, "_sum", NULL, err);
	if (rc == ERR_OK)
		rc = buf_putf(
			out, err, "%.9g\n", atomic_load_explicit(&m->sum, memory_order_relaxed));
	if (rc == ERR_OK)
		rc = put_name(out, m, "_count", NULL, err);
	/* The same count as the last bucket's, whatever was observed in between. */
	return rc == ERR_OK ? buf_putf(out, err, "%lld\n", count) : rc;
}

static enum err_code put_series(struct buf *out, const struct metric *m, struct err *err)
{
	enum err_code rc;

	if (m->row->type == METRIC_HISTOGRAM)
		return put_buckets(out, m, err);
	rc = put_name(out, m, "", NULL, err);
	if (rc != ERR_OK)
		return rc;
	return buf_putf(out, err, "%lld\n", (long long)metric_value(m));
}

static enum err_code put_build_info(struct buf *out, const char *name, struct err *err)
{
	const char *const *pairs = metrics_build_info();
	enum err_code rc = buf_put_str(out, name, err);
	bool first = true;

	for (; rc == ERR_OK && pairs && pairs[0]; pairs += 2) {
		rc = put_label(out, first, pairs[0], pairs[1] ? pairs[1] : "", err);
		first = false;
		if (!pairs[1])
			break;
	}
	return rc == ERR_OK ? buf_put_str(out, first ? " 1\n" : "} 1\n", err) : rc;
}

static enum err_code put_family(struct buf *out, enum metric_family family, struct err *err)
{
	const struct metric_row *row = metric_row(family);
	const struct metric *m;
	enum err_code rc = buf_putf(out, err, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help,
		row->name, type_names[row->type]);

	if (rc != ERR_OK)
		return rc;
	if (family == METRIC_BUILD_INFO)
		return put_build_info(out, row->name, err);
	/* What has no labels exists without being asked for. */
	if (!row->label[0])
		(void)metric_series(family, NULL, NULL);
	m = metrics_next(family, NULL);
	for (; m && rc == ERR_OK; m = metrics_next(family, m))
		rc = put_series(out, m, err);
	return rc;
}

enum err_code metrics_render(struct buf *out, struct err *err)
{
	enum err_code rc = ERR_OK;
	size_t before = out->len;

	for (unsigned i = 0; i < METRIC_FAMILIES && rc == ERR_OK; i++)
		rc = put_family(out, (enum metric_family)i, err);
	if (rc != ERR_OK && out->data) {
		out->len = before;
		out->data[before] = '\0';
	}
	return rc;
}
