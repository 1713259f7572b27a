/* text_number.c - decimal numbers and durations, read strictly.
 *
 * Deliberately not here: floating point. Versions, times and limits are whole numbers. */
#include "postern/text.h"

enum err_code text_u64(struct slice s, uint64_t *out, struct err *err)
{
	uint64_t value = 0;

	if (s.len == 0)
		return err_set(err, ERR_SYNTAX, "a number is missing");
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] < '0' || s.data[i] > '9')
			return err_set(err, ERR_SYNTAX, "not a whole number");
	}
	for (size_t i = 0; i < s.len; i++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(s.data[i] - '0'), &value))
			return err_set(err, ERR_LIMIT, "number too large");
	}
	*out = value;
	return ERR_OK;
}

enum err_code text_i64(struct slice s, int64_t *out, struct err *err)
{
	bool minus = s.len > 0 && s.data[0] == '-';
	uint64_t limit = (uint64_t)INT64_MAX + minus, size;
	enum err_code rc = text_u64(minus ? slice_sub(s, 1, s.len) : s, &size, err);

	if (rc != ERR_OK)
		return rc;
	if (size > limit)
		return err_set(err, ERR_LIMIT, "number too large");
	*out = (int64_t)(minus ? 0 - size : size);
	return ERR_OK;
}

enum err_code text_duration_s(struct slice s, int64_t *out, struct err *err)
{
	static const struct {
		uint8_t unit;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	int64_t count, total;
	enum err_code rc;

	if (s.len < 2 || s.data[0] == '-')
		return err_set(err, ERR_SYNTAX, "not a duration such as 90s, 15m, 2h or 7d");
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (s.data[s.len - 1] != units[i].unit)
			continue;
		rc = text_i64(slice_sub(s, 0, s.len - 1), &count, err);
		if (rc != ERR_OK)
			return rc;
		if (__builtin_mul_overflow(count, units[i].seconds, &total))
			return err_set(err, ERR_LIMIT, "duration too long");
		*out = total;
		return ERR_OK;
	}
	return err_set(err, ERR_SYNTAX, "not a duration such as 90s, 15m, 2h or 7d");
}
