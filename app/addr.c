/* SPDX-License-Identifier: BSD-3-Clause */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "addr.h"

int
gw_addr_parse(const char *text, struct gw_addr *addr)
{
	struct gw_addr tmp = {.family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET};

	if (inet_pton(tmp.family, text, &tmp.a) != 1)
		return -EINVAL;
	*addr = tmp;
	return 0;
}

/* Decimal digits only, at most five: no sign, no white space, unlike strtoul(). */
static int
parse_number(const char *text, unsigned int max, unsigned int *number)
{
	unsigned int n = 0;
	size_t i;

	for (i = 0; text[i] >= '0' && text[i] <= '9' && i < 5; i++)
		n = n * 10 + (text[i] - '0');
	if (i == 0 || text[i] != '\0' || n > max)
		return -EINVAL;
	*number = n;
	return 0;
}

static int
parse_len(const char *text, unsigned int max, uint8_t *len)
{
	unsigned int n;

	if (strlen(text) > 3 || parse_number(text, max, &n) != 0)
		return -EINVAL;
	*len = n;
	return 0;
}

/* @text is "ADDRESS:PORT" or "[ADDRESS]:PORT", @colon the last one in it. */
static int
parse_host(const char *text, const char *colon, struct gw_addr *addr)
{
	size_t n = colon - text;
	bool brackets = n >= 2 && text[0] == '[' && colon[-1] == ']';
	char copy[GW_ADDR_STRLEN];

	if (n >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text + brackets, n - 2 * brackets);
	copy[n - 2 * brackets] = '\0';
	/* without brackets the last group of an IPv6 address would be the port */
	if (gw_addr_parse(copy, addr) != 0 || (addr->family == AF_INET6) != brackets)
		return -EINVAL;
	return 0;
}

int
gw_listen_parse(const char *text, struct gw_listen *listen)
{
	const char *colon = strrchr(text, ':');
	struct gw_listen tmp;
	unsigned int port;

	if (colon == NULL)
		gw_addr_parse("127.0.0.1", &tmp.addr);
	else if (parse_host(text, colon, &tmp.addr) != 0)
		return -EINVAL;
	if (parse_number(colon != NULL ? colon + 1 : text, UINT16_MAX, &port) != 0 || port == 0)
		return -EINVAL;
	tmp.port = port;
	*listen = tmp;
	return 0;
}

int
gw_prefix_parse(const char *text, struct gw_prefix *prefix)
{
	const char *slash = strchr(text, '/');
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
	struct gw_prefix tmp;
	char addr[GW_ADDR_STRLEN];
	unsigned int max;

	if (n >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, n);
	addr[n] = '\0';
	if (gw_addr_parse(addr, &tmp.addr) != 0)
		return -EINVAL;
	max = gw_addr_len(tmp.addr.family) * 8;
	tmp.len = max;
	if (slash != NULL && parse_len(slash + 1, max, &tmp.len) != 0)
		return -EINVAL;
	*prefix = tmp;
	return 0;
}

const char *
gw_addr_text(const struct gw_addr *addr, char *buf)
{
	if (addr->family == 0 || inet_ntop(addr->family, &addr->a, buf, GW_ADDR_STRLEN) == NULL)
		strcpy(buf, "-");
	return buf;
}

const char *
gw_prefix_text(const struct gw_prefix *prefix, char *buf)
{
	size_t n;

	gw_addr_text(&prefix->addr, buf);
	if (prefix->addr.family == 0)
		return buf;
	n = strlen(buf);
	snprintf(buf + n, GW_ADDR_STRLEN - n, "/%u", prefix->len);
	return buf;
}

const char *
gw_listen_text(const struct gw_listen *listen, char *buf)
{
	char addr[GW_ADDR_STRLEN];
	bool brackets = listen->addr.family == AF_INET6;

	gw_addr_text(&listen->addr, addr);
	snprintf(buf, GW_ADDR_STRLEN, "%s%.46s%s:%u", brackets ? "[" : "", addr,
			brackets ? "]" : "", listen->port);
	return buf;
}

bool
gw_addr_equal(const struct gw_addr *a, const struct gw_addr *b)
{
	if (a->family != b->family)
		return false;
	return a->family == 0 || memcmp(&a->a, &b->a, gw_addr_len(a->family)) == 0;
}

/* The bits of byte i that a prefix of this length covers. */
static uint8_t
mask_byte(unsigned int len, size_t i)
{
	if (len >= (i + 1) * 8)
		return 0xff;
	if (len <= i * 8)
		return 0;
	return 0xff << (8 - len % 8);
}

bool
gw_prefix_has(const struct gw_prefix *prefix, const struct gw_addr *addr)
{
	const uint8_t *p = (const uint8_t *)&prefix->addr.a;
	const uint8_t *a = (const uint8_t *)&addr->a;

	if (prefix->addr.family != addr->family || addr->family == 0)
		return false;
	for (size_t i = 0; i < gw_addr_len(addr->family); i++)
		if (((p[i] ^ a[i]) & mask_byte(prefix->len, i)) != 0)
			return false;
	return true;
}

bool
gw_prefix_overlap(const struct gw_prefix *a, const struct gw_prefix *b)
{
	return a->len <= b->len ? gw_prefix_has(a, &b->addr) : gw_prefix_has(b, &a->addr);
}

int
gw_prefix_compare(const struct gw_prefix *a, const struct gw_prefix *b)
{
	int diff = (int)a->addr.family - b->addr.family;

	if (diff == 0)
		diff = memcmp(&a->addr.a, &b->addr.a, gw_addr_len(a->addr.family));
	return diff != 0 ? diff : (int)a->len - b->len;
}

void
gw_prefix_mask(struct gw_prefix *prefix)
{
	uint8_t *p = (uint8_t *)&prefix->addr.a;

	if (prefix->addr.family == 0)
		return;
	for (size_t i = 0; i < gw_addr_len(prefix->addr.family); i++)
		p[i] &= mask_byte(prefix->len, i);
}
