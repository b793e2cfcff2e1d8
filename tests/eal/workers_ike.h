/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef WORKERS_IKE_H
#define WORKERS_IKE_H

/*
 * charon, played by the test: it calls the verbs of control/ike.h and hears their events, and
 * it gives the peer its half of each CHILD_SA. Time is the test's as well.
 */

#include <stdbool.h>
#include <stdint.h>

#include "control/ike.h"
#include "workers_site.h"

#define IKE_REQID 1 /* of what takes all packets between the two sides */
#define IKE_MAX_ACQUIRES 256
#define IKE_S UINT64_C(1000000000)

/** A CHILD_SA. */
struct ike_pair {
	unsigned int number; /* of the pair, for the peer and the site's counts */
	uint32_t reqid;
	uint32_t cpu; /* as charon says it */
	bool initiator;
	uint16_t sport; /* that charon has drawn for the outbound SA, and the peer for the other */
	bool any_sport; /* inbound: charon does not know the peer's port, and says so */
	uint32_t in, out; /* SPIs; 0: none yet */
};

struct ike_events {
	bool refuse; /* acquires and mappings cannot be sent */
	struct gw_ike_acquire acquire[IKE_MAX_ACQUIRES];
	unsigned int n; /* of them, those refused not counted */
	unsigned int refused;
	unsigned int asked[SITE_WORKERS + 1]; /* by CPU; the last: for any */
	unsigned int soft, hard; /* expires */
	unsigned int mappings;
	struct {
		struct gw_ike_sa_key key;
		struct gw_addr remote;
		uint16_t port;
	} mapping; /* the last one */
};

/** What the gateway has said. */
extern struct ike_events ike;

/** A gateway that has no tunnel but by IKE; nobody is connected yet. Time is nearly still. */
void ike_start(void);
/** The same with so many workers; what follows is for all of them, unless it says so. */
void ike_start_with(unsigned int workers);
/** The same with room for so many tunnels. */
void ike_start_many(unsigned int workers, unsigned int tunnels);
/** For cmocka. */
int ike_teardown(void **state);

/** Time goes on by so much at once. */
void ike_later(uint64_t ns);
/** As time goes outside; until the next ike_start(). */
void ike_clock_runs(void);
/** A worker handles no more messages, but packets; and control does not wait for it. */
void ike_stall(unsigned int worker);
/** It has answered all afterwards. */
void ike_unstall(void);
/** A packet goes out on some queue, and one on the worker's, whenever control tells a worker. */
extern bool ike_busy;
/** Messages whose answer was waited for, of all workers. */
extern unsigned int ike_messages;
/** What the machine is said to have; 0: what it has. */
extern long ike_cpus;

/** So many acquires have come, and no more do. */
void ike_until_asked(unsigned int n);

/** charon connects, and says nothing yet. */
void ike_hello(uint64_t generation);
void ike_sync_end(void);
void ike_gone(void);
/** It connects and has a trap for all packets, once workers are told to. */
void ike_connect(uint64_t generation);

/** A policy from text like "10.10.0.0/16", outbound, a trap. */
struct gw_ike_policy ike_policy(uint32_t reqid, const char *local, const char *remote);
void ike_policy_add(const struct gw_ike_policy *p);
void ike_policy_del(const struct gw_ike_policy *p);
/** All that charon has of policies for a CHILD_SA or trap: both families, both directions. */
void ike_policies_add(uint32_t reqid, enum gw_ike_prio prio, uint32_t in, uint32_t out);
void ike_policies_del(uint32_t reqid, enum gw_ike_prio prio, uint32_t in, uint32_t out);

/** What charon says of an SA. */
void ike_sa_params(struct gw_ike_new_sa *sa, const struct ike_pair *p, enum ipsec_pcpu_dir dir);
struct gw_ike_sa_key ike_key(enum ipsec_pcpu_dir dir, uint32_t spi);

/** A pair to be added; nothing is done yet. */
struct ike_pair ike_pair(unsigned int number, uint32_t cpu, bool initiator);
/** charon asks for an inbound SPI. */
uint32_t ike_alloc_spi(void);
/** Half a pair, at both ends; this one, which comes first, gives both SPIs. */
void ike_add_in(struct ike_pair *p);
void ike_add_out(struct ike_pair *p);
/** As charon does it: the inbound SA, policies, the outbound one. */
void ike_add(struct ike_pair *p);
/** Remove half a pair; nothing may be under way for it. */
void ike_del_in(struct ike_pair *p);
void ike_del_out(struct ike_pair *p);
void ike_del(struct ike_pair *p);
/** Remove an SA from the gateway alone. */
void ike_remove(enum ipsec_pcpu_dir dir, uint32_t spi);
/** The same charon, connected again, says that a pair is still there, and its policies. */
void ike_say_again(const struct ike_pair *p);
/** The peer forgets what the gateway has removed by itself. */
void ike_forget(struct ike_pair *p);

/** A pair for each worker, initiated here, cpu = worker, and a fallback pair. */
extern struct ike_pair ike_own[SITE_WORKERS], ike_fallback;
void ike_add_fallback(void);
void ike_add_own(void);

/** The gateway's SA; NULL: there is none. */
struct gw_sa *ike_sa(uint32_t spi);
uint32_t ike_worker(uint32_t spi);

/** Packets out on all queues. */
void ike_send_out(unsigned int packets);
/** Out on all queues, in by each worker's own pair. */
void ike_traffic(unsigned int packets);
/** Packets out on a queue that there is no SA for. */
void ike_send_in_vain(unsigned int queue, unsigned int packets);
/** One from the peer that is not authentic. */
void ike_send_forged(unsigned int flow, uint32_t spi, unsigned int queue);
/** Some turns of control, as if nothing happened. */
void ike_wait(void);
/** Packets put in on a queue that have left by a pair. */
#define ike_sent(queue, number) (site.out[queue][number])

/** The worker that does not answer, but carries packets, in tests of such a one. */
#define IKE_LATE 4

struct gw_ike_status ike_status(void);
/** Control looks again, as it does by itself within a second. */
void ike_look_again(void);
/** All workers have what they should have, and nothing waits for any. */
void ike_check_settled(void);

#endif /* WORKERS_IKE_H */
