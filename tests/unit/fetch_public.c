/* fetch_public.c - which addresses a URL of others may lead to. */
#include "../../src/fetch/fetch_priv.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool is_public(const char *text)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return fetch_is_public((const struct sockaddr *)&v4);
	assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
	return fetch_is_public((const struct sockaddr *)&v6);
}

static void private_addresses_are_told_from_public_ones(void **state)
{
	static const struct {
		const char *text;
		bool is_public;
	} rows[] = {
		{ "8.8.8.8", true },
		{ "0.0.0.0", false },
		{ "0.255.255.255", false },
		{ "1.0.0.0", true },
		{ "9.255.255.255", true },
		{ "10.0.0.0", false },
		{ "10.255.255.255", false },
		{ "11.0.0.0", true },
		{ "100.63.255.255", true },
		{ "100.64.0.0", false },
		{ "100.127.255.255", false },
		{ "100.128.0.0", true },
		{ "127.0.0.1", false },
		{ "127.255.255.255", false },
		{ "169.254.169.254", false },
		{ "172.15.255.255", true },
		{ "172.16.0.0", false },
		{ "172.31.255.255", false },
		{ "172.32.0.0", true },
		{ "192.0.0.255", false },
		{ "192.168.0.1", false },
		{ "192.169.0.0", true },
		{ "198.18.0.1", false },
		{ "198.19.255.255", false },
		{ "198.20.0.0", true },
		{ "223.255.255.255", true },
		{ "224.0.0.1", false },
		{ "255.255.255.255", false },
		{ "2a00:1450::1", true },
		{ "2600::1", true },
		{ "::", false },
		{ "::1", false },
		{ "::ffff:8.8.8.8", false },
		{ "::ffff:127.0.0.1", false },
		{ "64:ff9b::8.8.8.8", true },
		{ "64:ff9b::10.0.0.1", false },
		{ "64:ff9b:1::8.8.8.8", false },
		{ "2001::1", false },
		{ "2001:200::1", true },
		{ "2002:7f00:1::", false },
		{ "fc00::1", false },
		{ "fe80::1", false },
		{ "ff02::1", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (is_public(rows[i].text) != rows[i].is_public)
			fail_msg("%s", rows[i].text);
	}
	assert_false(fetch_is_public(&(struct sockaddr){ .sa_family = AF_UNIX }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(private_addresses_are_told_from_public_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
