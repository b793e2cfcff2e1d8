/* SPDX-License-Identifier: BSD-3-Clause */

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "argument.h"
#include "peer_commands.h"

static const struct {
	uint8_t number;
	const char *name;
} protocols[] = {
		{IPPROTO_ICMP, "icmp"},
		{IPPROTO_TCP, "tcp"},
		{IPPROTO_UDP, "udp"},
		{IPPROTO_DCCP, "dccp"},
		{IPPROTO_GRE, "gre"},
		{IPPROTO_ESP, "esp"},
		{IPPROTO_ICMPV6, "icmpv6"},
		{IPPROTO_ICMPV6, "icmp6"},
		{IPPROTO_SCTP, "sctp"},
};

bool
gw_cmd_number(const char *s, uint64_t max, uint64_t *v)
{
	unsigned long long n;
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
	char *end;

	/* strtoull() takes signs and white space, and octal: we do not */
	if (!(hex ? isxdigit((unsigned char)s[2]) : isdigit((unsigned char)s[0])))
		return false;
	errno = 0;
	n = strtoull(s, &end, hex ? 16 : 10);
	if (errno != 0 || *end != '\0' || n > max)
		return false;
	*v = n;
	return true;
}

bool
gw_cmd_proto(const char *s, uint8_t *proto)
{
	uint64_t n;

	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		if (strcmp(s, protocols[i].name) == 0) {
			*proto = protocols[i].number;
			return true;
		}
	}
	if (!gw_cmd_number(s, 255, &n))
		return false;
	*proto = n;
	return true;
}

const char *
gw_cmd_proto_text(uint8_t proto, char *buf)
{
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (protocols[i].number == proto)
			return protocols[i].name;
	snprintf(buf, 16, "%u", proto);
	return buf;
}

static bool
is_spi(const char *s)
{
	uint64_t v;

	return gw_cmd_number(s, UINT32_MAX, &v);
}

static bool
is_port_number(const char *s)
{
	uint64_t v;

	return gw_cmd_number(s, UINT16_MAX, &v);
}

static bool
is_pcpu(const char *s)
{
	uint64_t v;

	return gw_cmd_number(s, IPSEC_PCPU_ANY - 1, &v);
}

static bool
is_worker(const char *s)
{
	uint64_t v;

	return gw_cmd_number(s, GW_MAX_WORKERS - 1, &v);
}

static bool
is_addr(const char *s)
{
	struct gw_addr addr;

	return gw_addr_parse(s, &addr) == 0;
}

static bool
is_proto(const char *s)
{
	uint8_t proto;

	return gw_cmd_proto(s, &proto);
}

static bool
is_path(const char *s)
{
	return s[0] == '/';
}

static bool
is_cpus(const char *s)
{
	uint64_t v;

	return gw_cmd_number(s, GW_PEER_MAX_CPUS, &v) && v > 0;
}

static bool
is_word(const char *s)
{
	return s[0] != '\0';
}

static const struct gw_argument arguments[] = {
		{"NAME", "of a tunnel", NULL, GW_CMD_TUNNELS},
		{"TUNNEL", "of a tunnel", NULL, GW_CMD_TUNNELS},
		{"PORT", "of a port", NULL, GW_CMD_PORTS},
		{"SPI", "a number, 0x... or decimal", is_spi, 0},
		{"PCPU", "the number of the worker that is to own it, from 0", is_pcpu, 0},
		{"WORKER", "the number of a worker, from 0", is_worker, 0},
		{"SRC", "an IPv4 or IPv6 address", is_addr, 0},
		{"DST", "an IPv4 or IPv6 address", is_addr, 0},
		{"PROTO", "tcp, udp, icmp, icmpv6, sctp, dccp, gre, esp or 0 to 255", is_proto, 0},
		{"SPORT", "a port number, 0 to 65535", is_port_number, 0},
		{"DPORT", "a port number, 0 to 65535", is_port_number, 0},
		{"KEYFILE", "path of a file, from / on: the gateway reads it", is_path, 0},
		{"CPUS", "how many CPUs the peer has, 1 to 65536", is_cpus, 0},
		{"WORD", "a word", is_word, 0},
};

const struct gw_argument *
gw_argument_find(const char *s, unsigned int len)
{
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++)
		if (strlen(arguments[i].name) == len && memcmp(arguments[i].name, s, len) == 0)
			return &arguments[i];
	return NULL;
}

void
gw_argument_doc(FILE *out)
{
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++)
		fprintf(out, "| `%s` | %s%s |\n", arguments[i].name,
				arguments[i].fits == NULL ? "the name " : "", arguments[i].what);
}
