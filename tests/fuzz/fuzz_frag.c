/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Outer fragments from anybody, in any order: what the gateway puts together before it knows
 * whose they are. The input is read as one fragment after the other; each byte of data says where
 * in its datagram it stands, so that a whole one shows whether it was put together right.
 */

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include "check.h"
#include "datapath/counters.h"
#include "datapath/flow.h"
#include "datapath/frag.h"

#define HZ 1000
#define FLOWS 8 /* few: that datagrams give way to each other */
#define ROOM 512 /* bytes of an mbuf, headroom included: that many a datagram needs a large one */
#define LARGE 4096
#define N_MBUFS 255

/** How a fragment stands in the input. */
struct op {
	uint8_t kind; /* bit 0: IPv6; 1: more to come; 2: options; 3, 4: ECN; 5 to 7: enum wrong */
	uint8_t id;
	uint8_t off; /* in units of 8 bytes */
	uint8_t len; /* likewise; of a last one in bytes */
	uint8_t wait; /* ms before it */
	uint8_t byte; /* put where enum wrong says */
};

/** 0 to 4: nothing is. */
enum wrong {
	WRONG_HEADER = 5, /* any byte of the header */
	WRONG_LENGTH, /* total length */
	WRONG_FAR, /* offset times 32: up to and beyond the end of what IP can be */
};

static struct rte_mempool *pool, *large;

int LLVMFuzzerInitialize(int *argc, char ***argv);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static char args[][20] = {"fuzz_frag", "--no-huge", "--no-shconf", "--no-pci",
			"--no-telemetry", "--log-level=error", "-m", "64", "-l", "0"};
	char *eal[RTE_DIM(args)];

	(void)argc;
	(void)argv;
	for (unsigned int i = 0; i < RTE_DIM(args); i++)
		eal[i] = args[i];
	check(rte_eal_init(RTE_DIM(eal), eal) >= 0);
	pool = rte_pktmbuf_pool_create("pool", N_MBUFS, 0, 0, ROOM, SOCKET_ID_ANY);
	large = rte_pktmbuf_pool_create("large", 3, 0, 0, LARGE, SOCKET_ID_ANY);
	check(pool != NULL && large != NULL);
	return 0;
}

static uint8_t
data_at(uint32_t off)
{
	return off * 7 + off / 251;
}

static uint32_t
header4(uint8_t *p, const struct op *op, uint16_t frag, uint32_t len)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)p;
	uint32_t hlen = op->kind & 4 ? 28 : 20;

	memset(p, 1, hlen); /* options: NOP */
	ip->version_ihl = 4 << 4 | hlen / 4;
	ip->type_of_service = op->kind >> 3 & 3;
	ip->total_length = rte_cpu_to_be_16(hlen + len);
	ip->packet_id = op->id;
	ip->fragment_offset =
			rte_cpu_to_be_16(frag / 8 | (op->kind & 2 ? RTE_IPV4_HDR_MF_FLAG : 0));
	ip->next_proto_id = IPPROTO_ESP;
	return hlen;
}

static uint32_t
header6(uint8_t *p, const struct op *op, uint16_t frag, uint32_t len)
{
	uint32_t opts = op->kind & 4 ? 8 : 0;
	uint8_t *f = p + 40 + opts;

	memset(p, 0, 48 + opts);
	p[0] = 6 << 4;
	p[1] = (op->kind >> 3 & 3) << 4;
	p[4] = (opts + 8 + len) >> 8;
	p[5] = opts + 8 + len;
	p[6] = opts != 0 ? IPPROTO_DSTOPTS : IPPROTO_FRAGMENT;
	p[40] = IPPROTO_FRAGMENT;
	f[0] = IPPROTO_ESP;
	f[2] = frag >> 8;
	f[3] = frag | (op->kind & 2 ? 1 : 0);
	f[7] = op->id;
	return 48 + opts;
}

/** The fragment of an op; NULL where there is no mbuf left. Says whether it is well-formed. */
static struct rte_mbuf *
make(const struct op *op, bool *good)
{
	enum wrong wrong = op->kind >> 5;
	uint32_t len = op->kind & 2 ? op->len % 40 * 8u : op->len;
	uint16_t off = op->off * (wrong == WRONG_FAR ? 256u : 8u);
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *p;
	uint32_t hlen;

	if (m == NULL)
		return NULL;
	p = rte_pktmbuf_mtod(m, uint8_t *);
	hlen = op->kind & 1 ? header6(p, op, off, len) : header4(p, op, off, len);
	for (uint32_t i = 0; i < len; i++)
		p[hlen + i] = data_at(off + i);
	m->data_len = m->pkt_len = hlen + len;
	*good = wrong < WRONG_HEADER || wrong == WRONG_FAR;
	if (wrong == WRONG_HEADER)
		p[op->len % hlen] = op->byte;
	else if (wrong == WRONG_LENGTH)
		p[op->kind & 1 ? 5 : 3] = op->byte;
	return m;
}

/** What is whole is an IP packet and no fragment, and of good ones each byte is in its place. */
static void
check_whole(const struct rte_mbuf *m, bool all_good)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t hlen;

	check(m->nb_segs == 1 && m->pkt_len == m->data_len);
	if (p[0] >> 4 == 4) {
		hlen = (p[0] & 0xf) * 4u;
		check((p[6] & 0x3f) == 0 && p[7] == 0);
		check((p[2] << 8 | p[3]) == m->data_len);
		check(rte_raw_cksum(p, hlen) == 0xffff);
	} else {
		check(p[0] >> 4 == 6 && (p[4] << 8 | p[5]) + 40 == m->data_len);
		hlen = p[6] == IPPROTO_DSTOPTS ? 48 : 40;
	}
	for (uint32_t i = hlen; all_good && i < m->data_len; i++)
		check(p[i] == data_at(i - hlen));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gw_counters count = {0};
	struct gw_reass *r = gw_reass_create(FLOWS, HZ, SOCKET_ID_ANY, large, &count);
	uint64_t now = 1, came = 0, went = 0, ended;
	bool all_good = true, good;
	struct rte_mbuf *m;
	struct op op;

	check(r != NULL);
	for (; size >= sizeof(op); data += sizeof(op), size -= sizeof(op)) {
		memcpy(&op, data, sizeof(op));
		m = make(&op, &good);
		if (m == NULL)
			continue;
		all_good &= good;
		now += op.wait;
		gw_reass_expire(r, now);
		came++;
		m = gw_reass_add(r, m, now);
		if (m == NULL)
			continue;
		went++;
		check_whole(m, all_good);
		rte_pktmbuf_free(m);
	}
	gw_reass_free(r);
	/* each has become a packet, or part of one, or has been dropped by name; no mbuf is lost */
	ended = went + count.absorbed;
	for (unsigned int i = 0; i < GW_N_DROPS; i++)
		ended += count.drop[i];
	check(ended == came);
	check(rte_mempool_avail_count(pool) == N_MBUFS && rte_mempool_avail_count(large) == 3);
	return 0;
}
