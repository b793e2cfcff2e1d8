/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef BENCH_H
#define BENCH_H

/*
 * Cycles for a packet through the whole gateway, beside the ports alone and the
 * cipher alone, in one process and interleaved. See docs/performance.md.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <control/control.h>

#define BENCH_MAX_WORKERS 2
#define BENCH_SIZE_IMIX 0
#define BENCH_MAX_ROWS 128
#define BENCH_MAX_SAMPLES 1024
#define BENCH_MAX_TURNS 720
#define BENCH_SETTLE_ROUNDS 24 /* at most so many, where CPUs are seldom quiet */
#define BENCH_MAX_COMPARES 16
#define BENCH_MAX_TUNNELS 10000
#define BENCH_MAX_SIZE 8900
#define BENCH_ALTERNATIONS 6 /* of gateway, ports and cipher while a row is up */
#define BENCH_WINDOWS 2 /* of each in a row */

/** What is measured: one row of the table. */
struct bench_cell {
	const struct ipsec_pcpu_algo *algo;
	enum ipsec_pcpu_dir dir;
	bool encap; /* ESP in UDP */
	bool ip6; /* outside */
	unsigned int size; /* inner Ethernet frame without FCS, or BENCH_SIZE_IMIX */
	unsigned int workers;
	unsigned int tunnels;
	unsigned int flows; /* per tunnel; all in random order */
	unsigned int burst; /* what a call of receive gives, at most */
	unsigned int window; /* inbound: replay window; 0: none */
	bool timed; /* what comes is told, and timed; see handoff.c */
	bool mixed; /* tunnels of all kinds, for streams that differ in that; see compare.c */
	bool udp_cksum; /* the output port makes the checksums of UDP over IPv6, as NICs do */
};

/** Streams of a mixed cell, and the tunnels that they are for. */
enum bench_stream {
	BENCH_ESP,
	BENCH_UDP,
	BENCH_ESP6,
	BENCH_UDP6,
	BENCH_MANY, /* all other tunnels, in UDP */
	BENCH_MAX_STREAMS,
	BENCH_SINGLES = BENCH_MANY,
};

/** A cell of one flow, one worker and 64 bytes in UDP, outbound, to be changed where it differs. */
static inline struct bench_cell
bench_cell_default(const struct ipsec_pcpu_algo *algo)
{
	return (struct bench_cell){.algo = algo,
			.dir = IPSEC_PCPU_OUT,
			.encap = true,
			.size = 64,
			.workers = 1,
			.tunnels = 1,
			.flows = 1,
			.burst = GW_BURST};
}

struct bench_options {
	const struct ipsec_pcpu_algo *algo; /* where a row does not say another one */
	bool quick;
	bool no_hugepages;
	bool only; /* cell is the one to measure */
	struct bench_cell cell;
	unsigned int rounds;
	unsigned int window_ms;
	unsigned int profile_s; /* keep the gateway running that long instead: for perf */
	bool handoff; /* only what a hand-off costs */
	const char *json; /* file */
	const char *gateway; /* binary whose start is timed */
};

/** Values of one kind, sorted before they are asked for a percentile. */
struct bench_samples {
	unsigned int n;
	double v[BENCH_MAX_SAMPLES];
};

struct bench_rig;

struct bench_result {
	struct bench_cell cell;
	struct bench_samples gw; /* TSC cycles of CPU time for a packet */
	struct bench_samples ports;
	struct bench_samples raw;
	struct bench_samples gw_pps; /* all workers, wall clock */
	uint64_t packets;
	uint64_t drops;
	double idle; /* share of rounds that found nothing */
	unsigned int checked; /* packets captured, decrypted by the peer and compared */
	unsigned int wrong;
	unsigned int duplicates; /* (SPI, sequence number) seen twice among them */
	int64_t lost; /* rx + injected + created - tx - punted - absorbed - drops, at the end */
	uint64_t leaked; /* mbufs */
};

/** What part of a hand-off is whose: cycles for a packet. */
enum bench_part {
	BENCH_OWN_PORTS, /* packets land on their owner: receive and transmit */
	BENCH_OWN_GW, /* the gateway in between */
	BENCH_RX_PORTS, /* they land on another worker: receive */
	BENCH_RX_GW, /* that worker: classify, look up, stage, enqueue */
	BENCH_OWNER_GW, /* the owner: dequeue, all that it does with its own */
	BENCH_OWNER_PORTS, /* transmit */
	BENCH_N_PARTS,
};

#define BENCH_HANDOFF_LIMIT 100 /* cycles for a packet at bursts of GW_BURST, ports not counted */

struct bench_handoff {
	unsigned int burst;
	struct bench_samples part[BENCH_N_PARTS]; /* medians of windows */
	struct bench_samples more_gw; /* both workers' when handed off, less that when landed right,
				    of windows one after the other */
	struct bench_samples
			more_ports; /* the same: mbufs that one takes and the other gives back */
	unsigned int checked; /* as in struct bench_result */
	unsigned int wrong;
	uint64_t drops;
	int64_t lost;
	uint64_t leaked;
};

void bench_sample(struct bench_samples *s, double v);
/** @p p from 0 to 1; 0.1 is what we call quiet. 0 where there are none. */
double bench_percentile(struct bench_samples *s, double p);

/**
 * What the CPU takes while it is nobody else's, for the verdicts: the fourth least. A percentile
 * would not do: in some hours that is a tenth of the time, in others a fiftieth.
 */
double bench_floor(struct bench_samples *s);
/** Is a value hardly more than a lesser one? */
bool bench_is_near(double value, double less);
/** Is it known well? The second least is hardly less; where it is, there is more to come. */
bool bench_is_settled(struct bench_samples *s);

/* lcore.c: what runs on the workers' lcores, and how much CPU time it takes */

/** A counter of packets that one lcore writes. */
struct bench_count {
	uint64_t packets;
} __rte_cache_aligned;

struct bench_io {
	uint16_t in, out; /* ports */
	uint16_t queue;
	bool stop;
	struct bench_count count;
};

/** Find out the clocks of the lcores' threads. Before anything else runs there. */
int bench_clocks_init(void);
/** The lcore of a worker. */
unsigned int bench_lcore(unsigned int worker);
/** CPU time of a worker lcore's thread, nanoseconds. */
uint64_t bench_cpu_ns(unsigned int lcore);
uint64_t bench_wall_ns(void);
void bench_sleep_ms(unsigned int ms);
/** For rte_eal_remote_launch(): until stop. */
int bench_io_main(void *io);

/* raw.c: the cipher alone */

struct bench_raw {
	const struct ipsec_pcpu_algo *algo;
	enum ipsec_pcpu_dir dir;
	unsigned int size;
	bool stop;
	struct bench_count count;
};

/** As bench_io_main(). */
int bench_raw_main(void *raw);

/* measure.c: windows of time */

struct bench_workers {
	unsigned int first;
	unsigned int n;
};

struct bench_windows {
	unsigned int n;
	unsigned int ms; /* each; half of it passes before the first */
	struct bench_samples *cycles; /* TSC cycles of CPU time for a packet */
	struct bench_samples *pps; /* by the wall clock; may be NULL */
};

void bench_measure_gw(struct bench_rig *rig, struct bench_workers ws, struct bench_windows *win);
/** No worker runs. */
void bench_measure_ports(
		const struct bench_rig *rig, struct bench_workers ws, struct bench_windows *win);
void bench_measure_raw(
		const struct bench_cell *cell, struct bench_workers ws, struct bench_windows *win);
int bench_measure_row(const struct bench_options *opt, struct bench_result *r);
/** What was dropped, and how idle the workers were, since the statistics were cleared. */
void bench_note_counters(const struct bench_rig *rig, struct bench_result *r);

/* compare.c: what the targets are about, window by window in one gateway */

enum bench_compare_kind {
	BENCH_KINDS, /* of tunnels: streams of the mixed cell */
	BENCH_WORKERS, /* the first, the second, both */
	BENCH_BURSTS, /* 1, 2, 4 ... GW_BURST */
	BENCH_CHECKSUMS, /* UDP over IPv4, and over IPv6 where the port makes its checksums */
};

#define BENCH_MAX_VARIANTS 6

/** Windows one after the other; cycles for a packet, 0: nothing came. */
struct bench_turn {
	double gw[BENCH_MAX_VARIANTS];
	double ports[BENCH_MAX_VARIANTS];
	double raw[BENCH_MAX_VARIANTS]; /* only the first, but for workers */
	double yardstick; /* the same in all comparisons: the cipher alone, 64 bytes out */
};

struct bench_compare {
	struct bench_result r; /* its cell, and what was checked */
	enum bench_compare_kind kind;
	unsigned int n; /* variants */
	unsigned int n_turns;
	struct bench_turn turn[BENCH_MAX_TURNS];
};

/** What to compare into @p c; returns how much. */
unsigned int bench_compare_rows(
		const struct bench_options *opt, struct bench_compare *c, unsigned int cpus);
int bench_compare_measure(struct bench_compare *c);
/** The least of its yardsticks. */
double bench_compare_yardstick(const struct bench_compare *c);
/**
 * Is all known well that is judged? Not so where the yardstick took longer than @p least, the least
 * of all comparisons: the CPU was slow each time that it was this one's turn.
 */
bool bench_compare_is_settled(const struct bench_compare *c, double least);

/* matrix.c: which rows there are */

/** Rows to measure into @p r, all or for a quick look; returns how many. */
unsigned int bench_rows(const struct bench_options *opt, struct bench_result *r, unsigned int cpus);

/* packets.c, traffic.c, check.c: packets in, and the check of what comes out */

struct bench_traffic;

/** Bytes of the IP packet with which frame @p i of a sequence is filled. */
uint32_t bench_inner_len(unsigned int size, unsigned int i);

/** Key of an SA: the tunnel, the worker and the direction as the gateway sees it name it. */
void bench_key(const struct ipsec_pcpu_algo *algo, unsigned int tunnel, unsigned int worker,
		enum ipsec_pcpu_dir dir, uint8_t *key);
uint32_t bench_spi(unsigned int tunnel, unsigned int worker, enum ipsec_pcpu_dir dir);

/** The outer address of the gateway (@p host 1) or its peer (2). */
union ipsec_pcpu_addr bench_outer_addr(bool ip6, unsigned int host);

/** What a tunnel of a cell has outside. */
bool bench_tunnel_encap(const struct bench_cell *cell, unsigned int tunnel);
bool bench_tunnel_ip6(const struct bench_cell *cell, unsigned int tunnel);

/** Make the packets that the input port is to deliver. NULL: no memory. */
struct bench_traffic *bench_traffic_new(
		const struct bench_cell *cell, const struct rte_ether_addr *in_mac);
void bench_traffic_free(struct bench_traffic *t);
/** From now on a worker gets at most @p burst packets at a time. */
void bench_traffic_set_burst(struct bench_traffic *t, unsigned int worker, uint16_t burst);
/**
 * The inbound SA of a worker, of a cell with a window: when all packets have come, its window
 * is put back to where it was at the start, so that they may come again.
 */
void bench_traffic_set_sa(struct bench_traffic *t, unsigned int worker, struct ipsec_pcpu_sa *sa);
/** The first packet comes next. No worker polls. */
void bench_traffic_rewind(struct bench_traffic *t);
/**
 * From now on a worker's queue of the input port delivers packets of a stream (0 in a cell that is
 * not mixed) for the SAs of @p owner; -1: none, as it is at first in a timed cell.
 */
void bench_traffic_deliver(
		struct bench_traffic *t, unsigned int worker, int owner, unsigned int stream);
/** Timed cell: TSC cycles that the worker has spent in our burst functions. Its own thread. */
uint64_t bench_traffic_tsc(const struct bench_traffic *t, unsigned int worker);
/**
 * Put our burst functions in place of the drivers'. No worker polls; ethdev
 * takes them out when it stops the ports.
 */
void bench_traffic_attach(
		struct bench_traffic *t, struct rte_mempool *pool, uint16_t in, uint16_t out);
/** Copy what the output port gets from now on, until it is enough or @p ms are over. */
void bench_traffic_capture(struct bench_traffic *t, unsigned int ms);
/** Decrypt what was captured as the peer would, and compare. */
void bench_traffic_check(struct bench_traffic *t, struct bench_result *r);

/* rig.c: the gateway */

#define BENCH_PEER_MAC \
	{ \
		{ \
			0x02, 0, 0, 0, 0, 0xb1 \
		} \
	}
#define BENCH_HOST_MAC \
	{ \
		{ \
			0x02, 0, 0, 0, 0, 0xb2 \
		} \
	}

struct bench_rig {
	struct gw *gw;
	struct bench_traffic *traffic;
	uint16_t in, out; /* ethdev ports */
};

/** The configuration of a cell as text, in fresh memory. */
char *bench_config_text(const struct bench_cell *cell);
/** Bring the gateway up, with traffic. */
int bench_rig_up(struct bench_rig *rig, const struct bench_cell *cell);
/** Take the workers out of their loops, and in again: their lcores are free in between. */
void bench_rig_halt(struct bench_rig *rig);
int bench_rig_resume(struct bench_rig *rig);
void bench_rig_down(struct bench_rig *rig, struct bench_result *r);

/* handoff.c: what a packet costs more that lands on the wrong worker */

/** Bursts to measure into @p h, all or for a quick look; returns how many. */
unsigned int bench_handoff_rows(struct bench_handoff *h, bool quick);
int bench_handoff_measure(const struct bench_options *opt, struct bench_handoff *h);
bool bench_handoff_is_settled(struct bench_handoff *h);
/** What a hand-off costs more: both workers', less the owner's when packets land right. */
double bench_handoff_more(struct bench_handoff *h);

/* load.c: starting */

struct bench_load {
	double start_s; /* of the binary, to its "up" line; 0: not measured */
	unsigned int tunnels;
	double parse_s;
	double init_s;
	double memory_mb; /* all that the gateway took but mempools */
	double pools_mb;
	unsigned int sas;
	double sa_bytes; /* what each of them takes more than a gateway of one tunnel */
};

int bench_load_tunnels(const struct bench_options *opt, struct bench_load *l);
int bench_load_start(const struct bench_options *opt, struct bench_load *l);

/* report.c */

/** All that was measured. */
struct bench_all {
	struct bench_result *row;
	unsigned int n;
	struct bench_compare *compare;
	unsigned int n_compare;
	struct bench_handoff *handoff;
	unsigned int n_handoff;
	struct bench_load load;
};

void bench_report(FILE *out, const struct bench_options *opt, const struct bench_all *all);
int bench_report_json(const struct bench_options *opt, const struct bench_all *all);

#endif /* BENCH_H */
