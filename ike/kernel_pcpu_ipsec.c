/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * charon's interface to IPsec, by the gateway.
 *
 * What charon installed is kept in two tables, as it was sent to the gateway. A
 * gateway that was restarted knows nothing: it gets all policies and inbound SAs
 * again. Outbound SAs it does not get: their counter, of which IVs are made, ended
 * with the gateway before. So their keys are not kept here, and each is reported
 * as expired softly, upon which charon rekeys it.
 */

#include "kernel_pcpu_ipsec.h"
#include "kernel_pcpu_events.h"
#include "kernel_pcpu_msg.h"
#include "kernel_pcpu_policies.h"
#include "kernel_pcpu_sas.h"
#include "kernel_pcpu_socket.h"

#include <errno.h>

#include <processing/jobs/callback_job.h>
#include <utils/debug.h>

/** Seconds until what the gateway refused is told again: at first, at last */
#define REFUSED_RETRY_MIN 1
#define REFUSED_RETRY_MAX 60

typedef struct private_kernel_pcpu_ipsec_t private_kernel_pcpu_ipsec_t;
typedef struct retry_t retry_t;

/**
 * Private data of kernel_pcpu_ipsec_t
 */
struct private_kernel_pcpu_ipsec_t {

	/**
	 * Public interface
	 */
	kernel_pcpu_ipsec_t public;

	/**
	 * Connection to the gateway
	 */
	kernel_pcpu_socket_t *socket;

	/**
	 * What charon installed
	 */
	kernel_pcpu_sas_t *sas;
	kernel_pcpu_policies_t *policies;

	/**
	 * How often all was told; read by whoever is between begin() and end()
	 */
	u_int syncs;
};

/**
 * Data of a job that tells again what the gateway refused
 */
struct retry_t {

	/**
	 * Whose it is
	 */
	private_kernel_pcpu_ipsec_t *ipsec;

	/**
	 * When that was: a later connection has a job of its own
	 */
	u_int syncs;

	/**
	 * Seconds until the next time
	 */
	u_int wait;
};

METHOD(kernel_ipsec_t, get_features, kernel_feature_t,
	private_kernel_pcpu_ipsec_t *this)
{
	/* KERNEL_SA_USE_TIME by its number, not all versions have a name for it.
	 * Without sequence numbers in acquires (KERNEL_ACQUIRE_SEQ): with them the
	 * reqid would change when the peer narrows selectors. */
	return KERNEL_NO_POLICY_UPDATES | (1<<5);
}

METHOD(kernel_ipsec_t, get_spi, status_t,
	private_kernel_pcpu_ipsec_t *this, host_t *src, host_t *dst,
	uint8_t protocol, uint32_t *spi)
{
	struct ike_alloc_spi msg = {
		.hdr.type = IKE_ALLOC_SPI,
		.proto = protocol,
	};
	struct ike_reply reply;
	int status = ENOTCONN;

	if (protocol != IPPROTO_ESP)
	{
		return NOT_SUPPORTED;
	}
	kernel_pcpu_put_addr(&msg.src, src);
	kernel_pcpu_put_addr(&msg.dst, dst);
	if (this->socket->begin(this->socket))
	{
		status = this->socket->request(this->socket, &msg.hdr, sizeof(msg),
									   &reply);
	}
	this->socket->end(this->socket);
	if (status)
	{
		DBG1(DBG_KNL, "no SPI from dpdk-pcpu-gw: %s", strerror(status));
		return kernel_pcpu_to_status(status);
	}
	*spi = reply.spi;
	return SUCCESS;
}

METHOD(kernel_ipsec_t, get_cpi, status_t,
	private_kernel_pcpu_ipsec_t *this, host_t *src, host_t *dst, uint16_t *cpi)
{
	return NOT_SUPPORTED;
}

METHOD(kernel_ipsec_t, add_sa, status_t,
	private_kernel_pcpu_ipsec_t *this, kernel_ipsec_sa_id_t *id,
	kernel_ipsec_add_sa_t *data)
{
	return this->sas->add(this->sas, id, data);
}

METHOD(kernel_ipsec_t, update_sa, status_t,
	private_kernel_pcpu_ipsec_t *this, kernel_ipsec_sa_id_t *id,
	kernel_ipsec_update_sa_t *data)
{
	return this->sas->update(this->sas, id, data);
}

METHOD(kernel_ipsec_t, query_sa, status_t,
	private_kernel_pcpu_ipsec_t *this, kernel_ipsec_sa_id_t *id,
	kernel_ipsec_query_sa_t *data, uint64_t *bytes, uint64_t *packets,
	time_t *time)
{
	return this->sas->query(this->sas, id, bytes, packets, time);
}

METHOD(kernel_ipsec_t, del_sa, status_t,
	private_kernel_pcpu_ipsec_t *this, kernel_ipsec_sa_id_t *id,
	kernel_ipsec_del_sa_t *data)
{
	return this->sas->del(this->sas, id);
}

/**
 * Forget all SAs or all policies, here and in the gateway
 */
static status_t flush(private_kernel_pcpu_ipsec_t *this, uint32_t what)
{
	struct ike_flush msg = {
		.hdr.type = IKE_FLUSH,
		.what = what,
	};
	int status = 0;

	if (this->socket->begin(this->socket))
	{
		status = this->socket->request(this->socket, &msg.hdr, sizeof(msg),
									   NULL);
	}
	if (what == IKE_FLUSH_SAS)
	{
		this->sas->clear(this->sas);
	}
	else
	{
		this->policies->clear(this->policies);
	}
	this->socket->end(this->socket);
	return kernel_pcpu_is_broken(status) ? SUCCESS
										 : kernel_pcpu_to_status(status);
}

METHOD(kernel_ipsec_t, flush_sas, status_t,
	private_kernel_pcpu_ipsec_t *this)
{
	return flush(this, IKE_FLUSH_SAS);
}

METHOD(kernel_ipsec_t, add_policy, status_t,
	private_kernel_pcpu_ipsec_t *this, kernel_ipsec_policy_id_t *id,
	kernel_ipsec_manage_policy_t *data)
{
	return this->policies->add(this->policies, id, data);
}

METHOD(kernel_ipsec_t, query_policy, status_t,
	private_kernel_pcpu_ipsec_t *this, kernel_ipsec_policy_id_t *id,
	kernel_ipsec_query_policy_t *data, time_t *use_time)
{
	/* many CHILD_SAs share a policy: query_sa() knows when each was used */
	return NOT_SUPPORTED;
}

METHOD(kernel_ipsec_t, del_policy, status_t,
	private_kernel_pcpu_ipsec_t *this, kernel_ipsec_policy_id_t *id,
	kernel_ipsec_manage_policy_t *data)
{
	return this->policies->del(this->policies, id, data);
}

METHOD(kernel_ipsec_t, flush_policies, status_t,
	private_kernel_pcpu_ipsec_t *this)
{
	return flush(this, IKE_FLUSH_POLICIES);
}

METHOD(kernel_ipsec_t, bypass_socket, bool,
	private_kernel_pcpu_ipsec_t *this, int fd, int family)
{
	/* the gateway hands IKE packets to the kernel, which has no policies */
	return TRUE;
}

METHOD(kernel_ipsec_t, enable_udp_decap, bool,
	private_kernel_pcpu_ipsec_t *this, int fd, int family, uint16_t port)
{
	/* the gateway takes ESP out of UDP before the kernel sees it */
	return TRUE;
}

/**
 * Job: tell again what the gateway refused, as long as there is any of it
 */
static job_requeue_t retry_refused(retry_t *retry)
{
	private_kernel_pcpu_ipsec_t *this = retry->ipsec;
	kernel_pcpu_synced_t synced = {};
	bool again;

	again = this->socket->begin(this->socket) &&
			this->syncs == retry->syncs &&
			this->policies->retry(this->policies, &synced) &&
			this->sas->retry(this->sas, &synced);
	this->socket->end(this->socket);

	if (synced.policies || synced.sas)
	{
		DBG1(DBG_KNL, "dpdk-pcpu-gw has %u policies and %u SAs that it refused "
			 "before", synced.policies, synced.sas);
	}
	if (!again || !synced.refused)
	{
		return JOB_REQUEUE_NONE;
	}
	retry->wait = min(retry->wait * 2, REFUSED_RETRY_MAX);
	return JOB_RESCHEDULE(retry->wait);
}

/**
 * Have what the gateway refused told again
 */
static void schedule_retry(private_kernel_pcpu_ipsec_t *this)
{
	retry_t *retry;

	INIT(retry,
		.ipsec = this,
		.syncs = this->syncs,
		.wait = REFUSED_RETRY_MIN,
	);
	lib->scheduler->schedule_job(lib->scheduler, (job_t*)callback_job_create(
									(callback_job_cb_t)retry_refused, retry,
									(callback_job_cleanup_t)free, NULL),
								 retry->wait);
}

/**
 * Tell a gateway that is there (again) all that was installed
 */
static bool sync_all(private_kernel_pcpu_ipsec_t *this, bool restarted)
{
	struct ike_sync_end end = {
		.hdr.type = IKE_SYNC_END,
	};
	kernel_pcpu_synced_t synced = {};
	int status;

	this->syncs++;
	if (!this->policies->sync(this->policies, &synced) ||
		!this->sas->sync(this->sas, restarted, &synced))
	{
		return FALSE;
	}
	status = this->socket->request(this->socket, &end.hdr, sizeof(end), NULL);
	if (kernel_pcpu_is_broken(status))
	{
		return FALSE;
	}
	if (synced.policies || synced.sas)
	{
		DBG1(DBG_KNL, "dpdk-pcpu-gw has %u policies and %u SAs again, %u outbound "
			 "SAs are to be rekeyed before they can be used", synced.policies,
			 synced.sas - synced.stale, synced.stale);
	}
	if (synced.refused)
	{
		DBG1(DBG_KNL, "dpdk-pcpu-gw refused %u of them", synced.refused);
		schedule_retry(this);
	}
	return TRUE;
}

/**
 * Take an event of the gateway's
 */
static void take_event(private_kernel_pcpu_ipsec_t *this, union ike_any *msg)
{
	kernel_pcpu_take_event(this->sas, msg);
}

METHOD(kernel_ipsec_t, destroy, void,
	private_kernel_pcpu_ipsec_t *this)
{
	/* ends the thread that calls the others */
	this->socket->destroy(this->socket);
	this->sas->destroy(this->sas);
	this->policies->destroy(this->policies);
	free(this);
}

/*
 * Described in header
 */
kernel_pcpu_ipsec_t *kernel_pcpu_ipsec_create()
{
	private_kernel_pcpu_ipsec_t *this;
	kernel_pcpu_user_t user = {
		.sync = (void*)sync_all,
		.event = (void*)take_event,
	};

	INIT(this,
		.public = {
			.interface = {
				.get_features = _get_features,
				.get_spi = _get_spi,
				.get_cpi = _get_cpi,
				.add_sa = _add_sa,
				.update_sa = _update_sa,
				.query_sa = _query_sa,
				.del_sa = _del_sa,
				.flush_sas = _flush_sas,
				.add_policy = _add_policy,
				.query_policy = _query_policy,
				.del_policy = _del_policy,
				.flush_policies = _flush_policies,
				.bypass_socket = _bypass_socket,
				.enable_udp_decap = _enable_udp_decap,
				.destroy = _destroy,
			},
		},
		.socket = kernel_pcpu_socket_create(),
	);
	this->sas = kernel_pcpu_sas_create(this->socket);
	this->policies = kernel_pcpu_policies_create(this->socket);
	user.data = this;
	if (!this->socket->start(this->socket, user))
	{
		destroy(this);
		return NULL;
	}
	return &this->public;
}
