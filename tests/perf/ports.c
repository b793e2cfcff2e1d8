/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The memory-only ports of the bench (traffic.c) for any DPDK program, by LD_PRELOAD:
 * when a port named net_null... starts, its burst functions give way to ours. One
 * whose name has "_in" delivers the frames of the file BENCH_PORTS_FRAMES, again and
 * again; all others free what they get. The thread that transmits notes its own CPU
 * time now and then in the file BENCH_PORTS_SHARED: see ports.h.
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_malloc.h>

#include "ports.h"

#define MAX_FRAMES 64
#define PAIR_OFFSET (RTE_ETHER_HDR_LEN + 20) /* of ESP in IPv4 */
#define EXPORT __attribute__((visibility("default")))

struct frame {
	uint8_t *data;
	uint16_t len;
};

/** A queue of the input port. */
struct source {
	struct rte_mempool *pool;
	const struct frame *frame;
	uint32_t n;
	uint32_t next;
	uint16_t port;
	struct ports_queue *shared;
} __rte_cache_aligned;

/** A queue of the output port. */
struct sink {
	uint64_t packets;
	uint64_t next_sample;
	struct ports_shared *shared;
	struct ports_queue *queue;
} __rte_cache_aligned;

static struct source sources[PORTS_QUEUES];
static struct sink sinks[PORTS_QUEUES];
static struct frame frames[MAX_FRAMES];
static struct rte_mempool *pools[RTE_MAX_ETHPORTS][PORTS_QUEUES];

static void
fail(const char *what)
{
	fprintf(stderr, "bench_ports: %s\n", what);
	exit(EXIT_FAILURE);
}

static const char *
variable(const char *name)
{
	const char *value = getenv(name);

	if (value == NULL)
		fail(name);
	return value;
}

static struct ports_shared *
map_shared(void)
{
	int fd = open(variable("BENCH_PORTS_SHARED"), O_RDWR | O_CLOEXEC);
	struct ports_shared *s;

	if (fd < 0 || lseek(fd, 0, SEEK_END) != sizeof(*s))
		fail("the shared file is not as it has to be");
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (s == MAP_FAILED)
		fail("cannot map the shared file");
	s->size = sizeof(*s);
	s->tsc_hz = rte_get_tsc_hz();
	return s;
}

static unsigned int
read_frames(const struct rte_ether_addr *mac)
{
	FILE *f = fopen(variable("BENCH_PORTS_FRAMES"), "r");
	unsigned int n;

	if (f == NULL)
		fail("cannot read the frames");
	for (n = 0; n < MAX_FRAMES; n++) {
		struct frame *p = &frames[n];

		if (fread(&p->len, sizeof(p->len), 1, f) != 1)
			break;
		p->data = rte_zmalloc("frame", p->len, RTE_CACHE_LINE_SIZE);
		if (p->data == NULL || p->len < RTE_ETHER_HDR_LEN ||
				fread(p->data, p->len, 1, f) != 1)
			fail("bad frames");
		memcpy(p->data, mac, sizeof(*mac));
	}
	fclose(f);
	return n;
}

/* Burst functions */

static uint16_t
receive(void *queue, struct rte_mbuf *pkts[], uint16_t n)
{
	struct source *s = queue;
	uint32_t next = s->next;

	if (unlikely(rte_pktmbuf_alloc_bulk(s->pool, pkts, n) < 0)) {
		s->shared->idle++;
		return 0;
	}
	for (uint16_t i = 0; i < n; i++) {
		const struct frame *p = &s->frame[next];
		struct rte_mbuf *m = pkts[i];

		rte_memcpy(rte_pktmbuf_mtod(m, void *), p->data, p->len);
		m->data_len = p->len;
		m->pkt_len = p->len;
		m->port = s->port;
		next = next + 1 == s->n ? 0 : next + 1;
	}
	s->next = next;
	return n;
}

static uint16_t
receive_none(void *queue, struct rte_mbuf *pkts[], uint16_t n)
{
	return 0;
}

static uint64_t
clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

static __rte_noinline void
sample(struct sink *s)
{
	struct ports_queue *q = s->queue;

	q->sample[q->n_samples % PORTS_SAMPLES] =
			(struct ports_sample){.cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID),
					.wall_ns = clock_ns(CLOCK_MONOTONIC),
					.packets = s->packets};
	__atomic_store_n(&q->n_samples, q->n_samples + 1, __ATOMIC_RELEASE);
	s->next_sample = s->packets + PORTS_SAMPLE_PACKETS;
}

static __rte_noinline void
capture(struct ports_queue *q, struct rte_mbuf *pkts[], uint16_t n)
{
	uint64_t frame = q->n_frames, pair = q->n_pairs;

	for (uint16_t i = 0; i < n; i++) {
		const uint8_t *p = rte_pktmbuf_mtod(pkts[i], const uint8_t *);

		if (frame < PORTS_FRAMES && pkts[i]->data_len <= PORTS_FRAME_LEN) {
			q->len[frame] = pkts[i]->data_len;
			memcpy(q->frame[frame++], p, pkts[i]->data_len);
		}
		if (pair < PORTS_PAIRS)
			memcpy(&q->pair[pair++], p + PAIR_OFFSET, sizeof(q->pair[0]));
	}
	__atomic_store_n(&q->n_frames, frame, __ATOMIC_RELEASE);
	__atomic_store_n(&q->n_pairs, pair, __ATOMIC_RELEASE);
}

static uint16_t
transmit(void *queue, struct rte_mbuf *pkts[], uint16_t n)
{
	struct sink *s = queue;

	if (unlikely(__atomic_load_n(&s->shared->capture, __ATOMIC_RELAXED)))
		capture(s->queue, pkts, n);
	rte_pktmbuf_free_bulk(pkts, n);
	s->packets += n;
	if (unlikely(s->packets >= s->next_sample))
		sample(s);
	return n;
}

/** What goes out where nobody looks: the input port's own output. */
static uint16_t
transmit_away(void *queue, struct rte_mbuf *pkts[], uint16_t n)
{
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

/* Taking over */

static void
take_input(uint16_t port)
{
	struct ports_shared *shared = map_shared();
	static void *data[PORTS_QUEUES];
	struct rte_ether_addr mac;
	unsigned int n;

	if (rte_eth_macaddr_get(port, &mac) < 0)
		fail("no MAC address");
	n = read_frames(&mac);
	if (n == 0)
		fail("no frames");
	for (unsigned int i = 0; i < PORTS_QUEUES; i++) {
		sources[i] = (struct source){.pool = pools[port][i],
				.frame = frames,
				.n = n,
				.port = port,
				.shared = &shared->queue[i]};
		data[i] = &sources[i];
	}
	rte_eth_fp_ops[port].rxq.data = data;
	rte_eth_fp_ops[port].rx_pkt_burst = receive;
	rte_eth_fp_ops[port].tx_pkt_burst = transmit_away;
}

static void
take_output(uint16_t port)
{
	struct ports_shared *shared = map_shared();
	static void *data[PORTS_QUEUES];

	for (unsigned int i = 0; i < PORTS_QUEUES; i++) {
		sinks[i] = (struct sink){.shared = shared, .queue = &shared->queue[i]};
		data[i] = &sinks[i];
	}
	rte_eth_fp_ops[port].txq.data = data;
	rte_eth_fp_ops[port].tx_pkt_burst = transmit;
	rte_eth_fp_ops[port].rx_pkt_burst = receive_none;
}

/** The function that this one stands before. */
static void *
real(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (f == NULL)
		fail(name);
	return f;
}

EXPORT int
rte_eth_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t n_desc, unsigned int socket,
		const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	int (*f)(uint16_t, uint16_t, uint16_t, unsigned int, const struct rte_eth_rxconf *,
			struct rte_mempool *) = real("rte_eth_rx_queue_setup");

	if (port < RTE_MAX_ETHPORTS && queue < PORTS_QUEUES)
		pools[port][queue] = pool;
	return f(port, queue, n_desc, socket, conf, pool);
}

EXPORT int
rte_eth_dev_start(uint16_t port)
{
	int (*f)(uint16_t) = real("rte_eth_dev_start");
	char name[RTE_ETH_NAME_MAX_LEN];
	int rc = f(port);

	if (rc < 0 || rte_eth_dev_get_name_by_port(port, name) < 0 ||
			strncmp(name, "net_null", 8) != 0)
		return rc;
	if (strstr(name, "_in") != NULL)
		take_input(port);
	else
		take_output(port);
	return rc;
}
