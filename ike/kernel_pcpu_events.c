/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the gateway says by itself, and what a clock says: jobs that tell charon.
 */

#include "kernel_pcpu_events.h"
#include "kernel_pcpu_msg.h"

#include <daemon.h>
#include <processing/jobs/callback_job.h>

/** Seconds after which an SA that waits to be rekeyed is reported once more */
#define STALE_RETRY 10

typedef struct acquire_t acquire_t;
typedef struct mapping_t mapping_t;

/**
 * Data of a job that reports a packet without an SA
 */
struct acquire_t {

	/**
	 * Reqid of the policy
	 */
	uint32_t reqid;

	/**
	 * CPU that has no SA, IKE_CPU_NONE if none has
	 */
	uint32_t cpu;

	/**
	 * Source and destination of the packet
	 */
	traffic_selector_t *src, *dst;
};

/**
 * Data of a job that reports a peer that moved
 */
struct mapping_t {

	/**
	 * Whose SA it is
	 */
	kernel_pcpu_sas_t *sas;

	/**
	 * The message
	 */
	struct ike_mapping msg;
};

/**
 * Destroy the data of a job
 */
static void expire_destroy(kernel_pcpu_expire_t *e)
{
	e->id.dst->destroy(e->id.dst);
	free(e);
}

/**
 * Destroy the data of a job
 */
static void acquire_destroy(acquire_t *acquire)
{
	DESTROY_IF(acquire->src);
	DESTROY_IF(acquire->dst);
	free(acquire);
}

/**
 * Create a job
 */
static job_t *create_job(void *cb, void *data, void *cleanup)
{
	return (job_t*)callback_job_create((callback_job_cb_t)cb, data,
									   (callback_job_cleanup_t)cleanup, NULL);
}

/**
 * Queue a job for an event
 */
static void queue(void *cb, void *data, void *cleanup)
{
	lib->processor->queue_job(lib->processor, create_job(cb, data, cleanup));
}

/**
 * Job: report an expired SA, if it is still there
 */
static job_requeue_t report_expire(kernel_pcpu_expire_t *e)
{
	kernel_pcpu_sa_state_t sa;
	bool report;

	if (!e->sas->get_state(e->sas, &e->id, &sa))
	{
		return JOB_REQUEUE_NONE;
	}
	report = (!e->instance || sa.instance == e->instance) &&
			 (!e->repeat || sa.stale);
	if (report)
	{
		DBG2(DBG_KNL, "%s lifetime of SA with SPI %.8x to %H is over",
			 e->hard ? "hard" : "soft", ntohl(e->id.spi), e->id.dst);
		charon->kernel->expire(charon->kernel, e->id.proto, e->id.spi,
							   sa.ike_dst, e->hard);
	}
	sa.ike_dst->destroy(sa.ike_dst);
	return report && e->repeat ? JOB_RESCHEDULE(STALE_RETRY) : JOB_REQUEUE_NONE;
}

/**
 * Job: report a packet without an SA
 */
static job_requeue_t report_acquire(acquire_t *acquire)
{
	kernel_acquire_data_t data = {
		.src = acquire->src,
		.dst = acquire->dst,
#ifdef CPU_ID_MAX
		.cpu = acquire->cpu,
#endif
	};

	charon->kernel->acquire(charon->kernel, acquire->reqid, &data);
	return JOB_REQUEUE_NONE;
}

/**
 * Job: report a peer that moved. Of an SA for packets from any port the gateway
 * says it only if they come IKE's own way, so that the whole IKE_SA may be moved.
 */
static job_requeue_t report_mapping(mapping_t *mapping)
{
	struct ike_mapping *msg = &mapping->msg;
	kernel_ipsec_sa_id_t id = {
		.dst = kernel_pcpu_get_host(&msg->sa.dst),
		.spi = msg->sa.spi,
		.proto = msg->sa.proto,
	};
	kernel_pcpu_sa_state_t sa;
	host_t *remote;

	if (mapping->sas->get_state(mapping->sas, &id, &sa))
	{
		remote = kernel_pcpu_get_host(&msg->remote);
		charon->kernel->mapping(charon->kernel, id.proto, id.spi, sa.ike_dst,
								remote);
		remote->destroy(remote);
		sa.ike_dst->destroy(sa.ike_dst);
	}
	id.dst->destroy(id.dst);
	return JOB_REQUEUE_NONE;
}

/*
 * Described in header
 */
void kernel_pcpu_schedule_expire(kernel_pcpu_expire_t *expire,
								 uint64_t seconds)
{
	kernel_pcpu_expire_t *e;
	job_t *job;

	e = malloc_thing(kernel_pcpu_expire_t);
	*e = *expire;
	e->id.dst = expire->id.dst->clone(expire->id.dst);
	job = create_job(report_expire, e, expire_destroy);
	if (seconds)
	{
		/* as far as the scheduler can */
		lib->scheduler->schedule_job(lib->scheduler, job,
									 min(seconds, INT32_MAX));
	}
	else
	{
		lib->processor->queue_job(lib->processor, job);
	}
}

/**
 * A packet found no SA
 */
static void take_acquire(struct ike_acquire *msg)
{
	acquire_t *acquire;

	INIT(acquire,
		.reqid = msg->reqid,
		.cpu = msg->cpu,
		.src = kernel_pcpu_get_ts(&msg->src, msg->proto),
		.dst = kernel_pcpu_get_ts(&msg->dst, msg->proto),
	);
	DBG2(DBG_KNL, "dpdk-pcpu-gw wants an SA for reqid %u, worker %d: %R === %R",
		 acquire->reqid, (int)acquire->cpu, acquire->src, acquire->dst);
	queue(report_acquire, acquire, acquire_destroy);
}

/**
 * An SA has carried what it may
 */
static void take_expire(kernel_pcpu_sas_t *sas, struct ike_expire *msg)
{
	kernel_pcpu_expire_t expire = {
		.sas = sas,
		.id = {
			.dst = kernel_pcpu_get_host(&msg->sa.dst),
			.spi = msg->sa.spi,
			.proto = msg->sa.proto,
		},
		.hard = msg->hard,
	};

	kernel_pcpu_schedule_expire(&expire, 0);
	expire.id.dst->destroy(expire.id.dst);
}

/**
 * A peer moved
 */
static void take_mapping(kernel_pcpu_sas_t *sas, struct ike_mapping *msg)
{
	mapping_t *mapping;

	INIT(mapping,
		.sas = sas,
		.msg = *msg,
	);
	queue(report_mapping, mapping, free);
}

/*
 * Described in header
 */
void kernel_pcpu_take_event(kernel_pcpu_sas_t *sas, union ike_any *msg)
{
	if (!lib->processor->get_total_threads(lib->processor))
	{
		/* charon ends: nobody would take it */
		return;
	}
	switch (msg->hdr.type)
	{
		case IKE_ACQUIRE:
			if (kernel_pcpu_is_addr(&msg->acquire.src) &&
				kernel_pcpu_is_addr(&msg->acquire.dst))
			{
				take_acquire(&msg->acquire);
				return;
			}
			break;
		case IKE_EXPIRE:
			if (kernel_pcpu_is_addr(&msg->expire.sa.dst))
			{
				take_expire(sas, &msg->expire);
				return;
			}
			break;
		case IKE_MAPPING:
			if (kernel_pcpu_is_addr(&msg->mapping.sa.dst) &&
				kernel_pcpu_is_addr(&msg->mapping.remote))
			{
				take_mapping(sas, &msg->mapping);
				return;
			}
			break;
		default:
			break;
	}
	DBG1(DBG_KNL, "dpdk-pcpu-gw sent an event that is none (type %u)",
		 msg->hdr.type);
}
