/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef BENCH_PORTS_H
#define BENCH_PORTS_H

/*
 * What bench_ports.so (ports.c) and tools/lib/bench_ports.py have in common: a file that
 * both map. All in the byte order of the machine; bench_ports.py has the offsets, too.
 */

#include <stdint.h>

#define PORTS_QUEUES 4
#define PORTS_SAMPLES 1024 /* the last ones */
#define PORTS_SAMPLE_PACKETS 4096
#define PORTS_FRAMES 1024
#define PORTS_FRAME_LEN 2048
#define PORTS_PAIRS (1 << 18)

/** How far the thread that transmits on a queue has come. */
struct ports_sample {
	uint64_t cpu_ns; /* CPU time of the thread */
	uint64_t wall_ns;
	uint64_t packets;
};

/** A queue of the output port. */
struct ports_queue {
	uint64_t n_samples;
	uint64_t n_frames; /* captured */
	uint64_t n_pairs;
	uint64_t idle; /* of the input port's queue: asked while there was no mbuf */
	struct ports_sample sample[PORTS_SAMPLES];
	uint64_t pair[PORTS_PAIRS]; /* SPI and sequence number as in the packet */
	uint16_t len[PORTS_FRAMES];
	uint8_t frame[PORTS_FRAMES][PORTS_FRAME_LEN];
};

struct ports_shared {
	uint64_t size; /* of this structure: both mean the same */
	uint64_t tsc_hz;
	uint64_t capture; /* not 0: frames and pairs are wanted */
	uint64_t unused;
	struct ports_queue queue[PORTS_QUEUES];
};

#endif /* BENCH_PORTS_H */
