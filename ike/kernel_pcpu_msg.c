/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What charon has and what messages have of it.
 */

#include "kernel_pcpu_msg.h"

#include <errno.h>

/*
 * Described in header
 */
void kernel_pcpu_put_addr(struct ike_addr *addr, host_t *host)
{
	chunk_t chunk = host->get_address(host);

	addr->family = host->get_family(host) == AF_INET6 ? 6 : 4;
	addr->port = htons(host->get_port(host));
	memcpy(addr->addr, chunk.ptr, min(chunk.len, sizeof(addr->addr)));
}

/*
 * Described in header
 */
bool kernel_pcpu_is_addr(struct ike_addr *addr)
{
	return addr->family == 4 || addr->family == 6;
}

/*
 * Described in header
 */
host_t *kernel_pcpu_get_host(struct ike_addr *addr)
{
	bool v6 = addr->family == 6;

	return host_create_from_chunk(v6 ? AF_INET6 : AF_INET,
								  chunk_create(addr->addr, v6 ? 16 : 4),
								  ntohs(addr->port));
}

/*
 * Described in header
 */
bool kernel_pcpu_put_ts(struct ike_ts *to, traffic_selector_t *ts)
{
	chunk_t from = ts->get_from_address(ts), last = ts->get_to_address(ts);

	switch (ts->get_type(ts))
	{
		case TS_IPV4_ADDR_RANGE:
			to->family = 4;
			break;
		case TS_IPV6_ADDR_RANGE:
			to->family = 6;
			break;
		default:
			return FALSE;
	}
	to->proto = ts->get_protocol(ts);
	to->from_port = ts->get_from_port(ts);
	to->to_port = ts->get_to_port(ts);
	memcpy(to->from, from.ptr, min(from.len, sizeof(to->from)));
	memcpy(to->to, last.ptr, min(last.len, sizeof(to->to)));
	return TRUE;
}

/*
 * Described in header
 */
traffic_selector_t *kernel_pcpu_get_ts(struct ike_addr *addr, uint8_t proto)
{
	host_t *host = kernel_pcpu_get_host(addr);
	uint16_t port = host->get_port(host);

	return traffic_selector_create_from_subnet(host,
											   addr->family == 6 ? 128 : 32,
											   proto, port, port ?: 0xffff);
}

/*
 * Described in header
 */
bool kernel_pcpu_is_broken(int status)
{
	return status == ENOTCONN || status == ETIMEDOUT;
}

/*
 * Described in header
 */
status_t kernel_pcpu_to_status(int status)
{
	switch (status)
	{
		case 0:
			return SUCCESS;
		case ENOTSUP:
			return NOT_SUPPORTED;
		case ENOENT:
			return NOT_FOUND;
		case EEXIST:
			return ALREADY_DONE;
		default:
			return FAILED;
	}
}
