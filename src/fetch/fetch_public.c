/* fetch_public.c - addresses that anyone on the internet may name: not this machine, not the
 * networks around it.
 *
 * The address is looked at when the socket is made, so that a name that leads to another address
 * the second time does not help. Deliberately not here: which URLs may be called at all. */
#include "fetch_priv.h"

#include <netinet/in.h>
#include <string.h>

struct net {
	uint32_t prefix; /* host order */
	unsigned bits;
};

static const struct net private_nets[] = {
	{ 0x00000000, 8 },  /* this network */
	{ 0x0a000000, 8 },  /* private */
	{ 0x64400000, 10 }, /* shared by carriers */
	{ 0x7f000000, 8 },  /* this machine */
	{ 0xa9fe0000, 16 }, /* the link; and what clouds tell their machines */
	{ 0xac100000, 12 }, /* private */
	{ 0xc0000000, 24 }, /* protocols */
	{ 0xc0a80000, 16 }, /* private */
	{ 0xc6120000, 15 }, /* benchmarks */
	{ 0xe0000000, 3 },  /* groups, and what is reserved */
};

static bool is_public_v4(uint32_t address)
{
	for (size_t i = 0; i < ARRAY_LEN(private_nets); i++) {
		if ((address ^ private_nets[i].prefix) >> (32 - private_nets[i].bits) == 0)
			return false;
	}
	return true;
}

static uint32_t last_four(const uint8_t *bytes)
{
	return (uint32_t)bytes[12] << 24 | (uint32_t)bytes[13] << 16 | (uint32_t)bytes[14] << 8 |
	       bytes[15];
}

/* Only what is handed out to be reached (2000::/3), and neither what holds an address of the old
 * kind in disguise nor a tunnel to one. */
static bool is_public_v6(const uint8_t bytes[16])
{
	static const uint8_t translated[12] = { 0, 0x64, 0xff, 0x9b };

	if (memcmp(bytes, translated, sizeof(translated)) == 0)
		return is_public_v4(last_four(bytes));
	if ((bytes[0] & 0xe0) != 0x20 || (bytes[0] == 0x20 && bytes[1] == 0x02))
		return false;
	return !(bytes[0] == 0x20 && bytes[1] == 0x01 && bytes[2] < 0x02);
}

bool fetch_is_public(const struct sockaddr *address)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (address->sa_family == AF_INET) {
		memcpy(&v4, address, sizeof(v4));
		return is_public_v4(ntohl(v4.sin_addr.s_addr));
	}
	if (address->sa_family != AF_INET6)
		return false;
	memcpy(&v6, address, sizeof(v6));
	return is_public_v6(v6.sin6_addr.s6_addr);
}
