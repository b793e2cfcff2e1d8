/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What parses a packet before anyone has vouched for it: the flow, and the MSS
 * clamp behind it. The first byte of the input says which; the rest is the
 * packet, in a block of its exact size so that ASan sees the edge of it.
 */

#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "check.h"
#include "datapath/flow.h"
#include "datapath/icmp.h"

static void
fuzz_flow(const uint8_t *p, uint32_t len)
{
	struct gw_flow f, r, rr;

	gw_flow_parse(&f, p, len);
	check(f.family == 0 || f.family == AF_INET || f.family == AF_INET6);
	check(gw_flow_has_ports(f.proto) || (f.sport == 0 && f.dport == 0));
	check(f.pad[0] == 0 && f.pad[1] == 0);
	gw_flow_reverse(&r, &f);
	gw_flow_reverse(&rr, &r);
	check(gw_flow_equal(&f, &rr));
}

static void
fuzz_mss(uint8_t *p, uint16_t len)
{
	struct rte_mbuf m;

	memset(&m, 0, sizeof(m));
	m.buf_addr = p;
	m.buf_len = m.data_len = len;
	m.pkt_len = len;
	m.nb_segs = 1;
	gw_mss_clamp(&m, 1360, 1340);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	if (size < 1 || size > UINT16_MAX)
		return 0;
	copy = malloc(size - 1);
	if (copy == NULL)
		return 0;
	memcpy(copy, data + 1, size - 1);
	if (data[0] & 1)
		fuzz_mss(copy, size - 1);
	else
		fuzz_flow(copy, size - 1);
	free(copy);
	return 0;
}
