/* text_time.c - times of day as people and senders write them.
 *
 * The calendar is the proleptic Gregorian one, without the C library: no time zone data, no locale,
 * no shared state. Deliberately not here: reading the clock. */
#include "postern/text.h"

#include <assert.h>

#define DAY_S 86400
#define NS_PER_S 1000000000
#define YEAR_0000_S (-62167219200) /* first second of the year 0000 */
#define YEAR_9999_S 253402300799   /* last second of the year 9999 */

struct civil {
	int year, month, day, hour, minute, second;
	int32_t ns;
	int offset_min; /* east of UTC */
};

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int month_days(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days since 1970-01-01. Years begin in March here, so that the leap day is the last of its year.
 */
static int64_t days_of(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
	       day_of_year - 719468;
}

static void civil_of(int64_t seconds, struct civil *c)
{
	int64_t days = (seconds >= 0 ? seconds : seconds - (DAY_S - 1)) / DAY_S;
	int64_t rest = seconds - days * DAY_S;
	int64_t shifted = days + 719468;
	int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int64_t doe = shifted - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t month = (5 * doy + 2) / 153;

	c->day = (int)(doy - (153 * month + 2) / 5 + 1);
	c->month = (int)(month < 10 ? month + 3 : month - 9);
	c->year = (int)(yoe + era * 400 + (c->month <= 2));
	c->hour = (int)(rest / 3600);
	c->minute = (int)(rest / 60 % 60);
	c->second = (int)(rest % 60);
}

/* Exactly `digits` digits in low..high. */
static bool take_number(struct slice *s, size_t digits, int low, int high, int *out)
{
	int value = 0;

	if (s->len < digits)
		return false;
	for (size_t i = 0; i < digits; i++) {
		if (s->data[i] < '0' || s->data[i] > '9')
			return false;
		value = value * 10 + (s->data[i] - '0');
	}
	*s = slice_sub(*s, digits, s->len);
	*out = value;
	return value >= low && value <= high;
}

static bool take_one_of(struct slice *s, const char *any)
{
	if (s->len == 0 || s->data[0] == '\0' || !strchr(any, s->data[0]))
		return false;
	*s = slice_sub(*s, 1, s->len);
	return true;
}

/* An optional fraction. Digits past the ninth are read, and do not count. */
static bool take_fraction(struct slice *s, int32_t *out_ns)
{
	int32_t unit = NS_PER_S / 10;
	size_t digits = 0;

	*out_ns = 0;
	if (!take_one_of(s, "."))
		return true;
	for (; s->len > 0 && s->data[0] >= '0' && s->data[0] <= '9'; digits++) {
		*out_ns += unit * (s->data[0] - '0');
		unit /= 10;
		*s = slice_sub(*s, 1, s->len);
	}
	return digits > 0;
}

static bool take_zone(struct slice *s, bool loose, int *out_min)
{
	int hours, minutes;
	bool west = s->len > 0 && s->data[0] == '-';

	*out_min = 0;
	if (loose && (s->len == 0 || slice_eq_str(*s, " UTC"))) {
		*s = SLICE_EMPTY;
		return true;
	}
	if (take_one_of(s, "Zz"))
		return true;
	if (!take_one_of(s, "+-") || !take_number(s, 2, 0, 23, &hours) || !take_one_of(s, ":") ||
		!take_number(s, 2, 0, 59, &minutes))
		return false;
	*out_min = (west ? -1 : 1) * (hours * 60 + minutes);
	return true;
}

static bool take_civil(struct slice s, bool loose, struct civil *c)
{
	return take_number(&s, 4, 0, 9999, &c->year) && take_one_of(&s, "-") &&
	       take_number(&s, 2, 1, 12, &c->month) && take_one_of(&s, "-") &&
	       take_number(&s, 2, 1, month_days(c->year, c->month), &c->day) &&
	       take_one_of(&s, loose ? "Tt " : "Tt") && take_number(&s, 2, 0, 23, &c->hour) &&
	       take_one_of(&s, ":") && take_number(&s, 2, 0, 59, &c->minute) &&
	       take_one_of(&s, ":") && take_number(&s, 2, 0, 60, &c->second) &&
	       take_fraction(&s, &c->ns) && take_zone(&s, loose, &c->offset_min) && s.len == 0;
}

/* Seconds since 1970. A leap second is the first of the next minute; it exists only in the last
 * minute of a UTC day. */
static bool seconds_of(const struct civil *c, int64_t *out)
{
	int64_t of_day = (int64_t)c->hour * 60 + c->minute - c->offset_min;
	int64_t minute = days_of(c->year, c->month, c->day) * 1440 + of_day;

	if (c->second == 60 && (minute + 1) % 1440 != 0)
		return false;
	*out = minute * 60 + c->second;
	return true;
}

static enum err_code read_time(
	struct slice s, bool loose, int64_t *out_s, int32_t *out_ns, struct err *err)
{
	struct civil c;

	if (!take_civil(s, loose, &c) || !seconds_of(&c, out_s))
		return err_set(err, ERR_SYNTAX, "not a time such as 2026-11-22T01:02:03Z");
	*out_ns = c.ns;
	return ERR_OK;
}

enum err_code text_rfc3339(struct slice s, int64_t *out_ms, struct err *err)
{
	int64_t seconds;
	int32_t ns;
	enum err_code rc = read_time(s, false, &seconds, &ns, err);

	if (rc == ERR_OK)
		*out_ms = seconds * 1000 + ns / 1000000;
	return rc;
}

enum err_code text_version_time(struct slice s, int64_t *out_ns, struct err *err)
{
	int64_t seconds, total;
	int32_t ns;
	enum err_code rc = read_time(s, true, &seconds, &ns, err);

	if (rc != ERR_OK)
		return rc;
	/* For times before 1970 the product alone may not fit although the sum does. */
	if (seconds < 0 && ns > 0) {
		seconds++;
		ns -= NS_PER_S;
	}
	if (__builtin_mul_overflow(seconds, (int64_t)NS_PER_S, &total) ||
		__builtin_add_overflow(total, (int64_t)ns, &total))
		return err_set(err, ERR_LIMIT, "time outside of 1677 to 2262");
	*out_ns = total;
	return ERR_OK;
}

/* Divide, rounding down, so that the fraction is never negative. */
static int64_t split(int64_t value, int64_t unit, int64_t *out_rest)
{
	int64_t rest = value % unit;

	*out_rest = rest < 0 ? rest + unit : rest;
	return value / unit - (rest < 0);
}

/* Every event has two times: snprintf would take a tenth of what its record costs. */
static char *put_number(char *at, int64_t value, int digits, char after)
{
	for (int i = digits; i-- > 0; value /= 10)
		at[i] = (char)('0' + value % 10);
	at[digits] = after;
	return at + digits + 1;
}

/* Years past four digits have no RFC 3339 form; they are shown as the nearest time that has one. */
static void write_time(int64_t seconds, int64_t fraction, int digits, char *out, size_t size)
{
	struct civil c = { 0 };
	char *at = out;

	if (seconds < YEAR_0000_S)
		seconds = YEAR_0000_S;
	if (seconds > YEAR_9999_S)
		seconds = YEAR_9999_S;
	civil_of(seconds, &c);
	at = put_number(at, c.year, 4, '-');
	at = put_number(at, c.month, 2, '-');
	at = put_number(at, c.day, 2, 'T');
	at = put_number(at, c.hour, 2, ':');
	at = put_number(at, c.minute, 2, ':');
	at = put_number(at, c.second, 2, '.');
	at = put_number(at, fraction, digits, 'Z');
	*at = '\0';
	assert((size_t)(at - out) == size - 1);
}

void text_time_ms(int64_t ms, char out[TEXT_TIME_LEN])
{
	int64_t rest, seconds = split(ms, 1000, &rest);

	write_time(seconds, rest, 3, out, TEXT_TIME_LEN);
}

void text_time_ns(int64_t ns, char out[TEXT_TIME_NS_LEN])
{
	int64_t rest, seconds = split(ns, NS_PER_S, &rest);

	write_time(seconds, rest, 9, out, TEXT_TIME_NS_LEN);
}
