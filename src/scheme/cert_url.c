/* cert_url.c - URLs that come from outside, and may name any place at all.
 *
 * A reader of URLs that forgives is a way to other hosts than the one that was looked at. So what
 * is taken here has one reading: lower-case host, no user, no escapes, no dots that climb.
 * Deliberately not here: fetching. */
#include "x509.h"

#include "postern/text.h"

#include <stdio.h>
#include <string.h>

#define HOST_MAX 253

static bool is_host_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

static bool is_path_char(uint8_t c)
{
	return is_host_char(c) || (c >= 'A' && c <= 'Z') || c == '_' || c == '~' || c == '/' ||
	       c == '+' || c == '=';
}

static bool consists_of(struct slice s, bool (*fits)(uint8_t c))
{
	for (size_t i = 0; i < s.len; i++) {
		if (!fits(s.data[i]))
			return false;
	}
	return s.len > 0;
}

/* No empty label, and none that begins or ends with a hyphen. */
static bool is_host(struct slice host)
{
	size_t label = 0;

	if (host.len > HOST_MAX || !consists_of(host, is_host_char))
		return false;
	for (size_t i = 0; i <= host.len; i++) {
		if (i < host.len && host.data[i] != '.') {
			label++;
			continue;
		}
		if (label == 0 || label > 63 || host.data[i - 1] == '-' ||
			host.data[i - label] == '-')
			return false;
		label = 0;
	}
	return true;
}

static bool fits_pattern(const struct cert_place *place, struct slice host)
{
	char text[HOST_MAX + 1];

	memcpy(text, host.data, host.len);
	text[host.len] = '\0';
	return regexec(&place->host, text, 0, NULL, 0) == 0;
}

static const char *refuse_path(const struct cert_place *place, struct slice path)
{
	struct slice suffix = slice_str(place->suffix);

	if (!consists_of(path, is_path_char) || slice_search(path, SLICE_LIT("..")) < path.len ||
		slice_search(path, SLICE_LIT("//")) < path.len)
		return "the certificate's URL has an odd path";
	if (path.len < suffix.len ||
		!slice_eq(slice_sub(path, path.len - suffix.len, suffix.len), suffix))
		return "the certificate's URL does not end as it should";
	return NULL;
}

const char *cert_url_refuse(
	const struct cert_place *place, struct slice url, struct slice *out_host)
{
	static const struct slice scheme = SLICE_LIT("https://");
	struct slice rest = slice_sub(url, scheme.len, url.len), authority, host;
	size_t colon;
	uint64_t port = 443;

	if (url.len > CERT_URL_MAX)
		return "the certificate's URL is too long";
	if (!slice_starts(url, scheme))
		return "the certificate's URL is not https";
	authority = slice_sub(rest, 0, slice_find(rest, '/'));
	colon = slice_find(authority, ':');
	host = slice_sub(authority, 0, colon);
	if (!is_host(host) || !fits_pattern(place, host))
		return "the certificate's URL is of a host that is not the sender's";
	if (colon < authority.len &&
		text_u64(slice_sub(authority, colon + 1, authority.len), &port, NULL) != ERR_OK)
		return "the certificate's URL has an odd port";
	if (port != place->port)
		return "the certificate's URL has another port";
	*out_host = host;
	return refuse_path(place, slice_sub(rest, authority.len, rest.len));
}

/* "example.com"; "example.co.jp" and "example.com.cn", where the last but one label is a kind. */
void cert_url_domain(struct slice host, char *out)
{
	size_t dots = 0, at = host.len, end = host.len, last = 0;

	while (at > 0) {
		if (host.data[at - 1] == '.') {
			size_t len = end - at;

			dots++;
			if (dots == 1)
				last = len;
			else if (dots > 2 || last != 2 || len > 3)
				break;
			end = at - 1;
		}
		at--;
	}
	(void)snprintf(
		out, CERT_URL_MAX, "%.*s", (int)(host.len - at), (const char *)host.data + at);
}
