/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * charon's policies, here and in the gateway.
 */

#include "kernel_pcpu_policies.h"
#include "kernel_pcpu_msg.h"

#include <errno.h>

#include <collections/linked_list.h>
#include <threading/mutex.h>
#include <utils/debug.h>

typedef struct private_kernel_pcpu_policies_t private_kernel_pcpu_policies_t;
typedef struct policy_t policy_t;

/**
 * Private data of kernel_pcpu_policies_t
 */
struct private_kernel_pcpu_policies_t {

	/**
	 * Public interface
	 */
	kernel_pcpu_policies_t public;

	/**
	 * Connection to the gateway
	 */
	kernel_pcpu_socket_t *socket;

	/**
	 * Guards the list
	 */
	mutex_t *mutex;

	/**
	 * Policies, policy_t*
	 */
	linked_list_t *policies;
};

/**
 * A policy
 */
struct policy_t {

	/**
	 * As the gateway gets it
	 */
	struct ike_policy msg;

	/**
	 * TRUE if the gateway did not take it when all was told again
	 */
	bool refused;
};

/**
 * Fill in a policy
 *
 * @return			FALSE if it is of a kind that the gateway does not have
 */
static bool put_policy(struct ike_policy *msg, kernel_ipsec_policy_id_t *id,
					   kernel_ipsec_manage_policy_t *data)
{
	if (id->mark.value || id->interface || id->label)
	{
		DBG1(DBG_KNL, "dpdk-pcpu-gw has no policies with a mark, an interface or "
			 "a security label");
		return FALSE;
	}
	if (data->type == POLICY_IPSEC && (data->sa->mode != MODE_TUNNEL ||
		data->sa->ah.use || data->sa->ipcomp.transform != IPCOMP_NONE))
	{
		DBG1(DBG_KNL, "dpdk-pcpu-gw has policies for ESP in tunnel mode only");
		return FALSE;
	}
	msg->dir = id->dir;
	msg->type = data->type;
	msg->prio = data->prio;
	msg->manual_prio = data->manual_prio;
	msg->if_id = id->if_id;
#ifdef CPU_ID_MAX
	msg->flags = data->pcpu_acquires ? IKE_POLICY_PCPU : 0;
#endif
	if (data->type == POLICY_IPSEC)
	{
		msg->reqid = data->sa->reqid;
		msg->spi = data->sa->esp.use ? data->sa->esp.spi : 0;
	}
	kernel_pcpu_put_addr(&msg->src, data->src);
	kernel_pcpu_put_addr(&msg->dst, data->dst);
	return kernel_pcpu_put_ts(&msg->src_ts, id->src_ts) &&
		   kernel_pcpu_put_ts(&msg->dst_ts, id->dst_ts);
}

/**
 * Are two policies of the same CHILD_SA? Its addresses may have changed meanwhile.
 */
static bool policy_equals(struct ike_policy *a, struct ike_policy *b)
{
	return a->dir == b->dir && a->type == b->type && a->prio == b->prio &&
		   a->reqid == b->reqid && a->spi == b->spi && a->if_id == b->if_id &&
		   a->manual_prio == b->manual_prio &&
		   memeq(&a->src_ts, &b->src_ts, sizeof(a->src_ts)) &&
		   memeq(&a->dst_ts, &b->dst_ts, sizeof(a->dst_ts));
}

METHOD(kernel_pcpu_policies_t, add, status_t,
	private_kernel_pcpu_policies_t *this, kernel_ipsec_policy_id_t *id,
	kernel_ipsec_manage_policy_t *data)
{
	policy_t *policy;
	int status = 0;

	if (id->dir == POLICY_FWD)
	{
		/* to the gateway all that comes in is forwarded */
		return SUCCESS;
	}
	INIT(policy,
		.msg.hdr.type = IKE_POL_ADD,
	);
	if (!put_policy(&policy->msg, id, data))
	{
		free(policy);
		return NOT_SUPPORTED;
	}
	if (this->socket->begin(this->socket))
	{
		status = this->socket->request(this->socket, &policy->msg.hdr,
									   sizeof(policy->msg), NULL);
	}
	/* a trap that cannot be installed charon never tries again; a gateway that
	 * is away gets it when it comes */
	if (status == 0 || kernel_pcpu_is_broken(status))
	{
		status = 0;
		this->mutex->lock(this->mutex);
		this->policies->insert_last(this->policies, policy);
		this->mutex->unlock(this->mutex);
	}
	this->socket->end(this->socket);
	if (status)
	{
		DBG1(DBG_KNL, "dpdk-pcpu-gw does not take the policy %R === %R %N: %s",
			 id->src_ts, id->dst_ts, policy_dir_names, id->dir,
			 strerror(status));
		free(policy);
		return status == ENOTSUP ? NOT_SUPPORTED : FAILED;
	}
	return SUCCESS;
}

METHOD(kernel_pcpu_policies_t, del, status_t,
	private_kernel_pcpu_policies_t *this, kernel_ipsec_policy_id_t *id,
	kernel_ipsec_manage_policy_t *data)
{
	policy_t *policy, *found = NULL;
	struct ike_policy want = {};
	enumerator_t *enumerator;
	int status = 0;
	bool up;

	if (id->dir == POLICY_FWD)
	{
		return SUCCESS;
	}
	if (!put_policy(&want, id, data))
	{
		return NOT_SUPPORTED;
	}
	up = this->socket->begin(this->socket);
	this->mutex->lock(this->mutex);
	enumerator = this->policies->create_enumerator(this->policies);
	while (enumerator->enumerate(enumerator, &policy))
	{
		if (policy_equals(&policy->msg, &want))
		{
			this->policies->remove_at(this->policies, enumerator);
			found = policy;
			break;
		}
	}
	enumerator->destroy(enumerator);
	this->mutex->unlock(this->mutex);

	if (found && up)
	{
		found->msg.hdr.type = IKE_POL_DEL;
		status = this->socket->request(this->socket, &found->msg.hdr,
									   sizeof(found->msg), NULL);
	}
	this->socket->end(this->socket);
	if (!found)
	{
		return NOT_FOUND;
	}
	free(found);
	if (kernel_pcpu_is_broken(status) || status == ENOENT)
	{
		/* it learns of it when it comes back, or has forgotten it already */
		status = 0;
	}
	return kernel_pcpu_to_status(status);
}

METHOD(kernel_pcpu_policies_t, clear, void,
	private_kernel_pcpu_policies_t *this)
{
	policy_t *policy;

	this->mutex->lock(this->mutex);
	while (this->policies->remove_last(this->policies,
									   (void**)&policy) == SUCCESS)
	{
		free(policy);
	}
	this->mutex->unlock(this->mutex);
}

/**
 * Tell all, or those that were refused. Nobody removes one meanwhile: what the
 * gateway hears of its end comes after this.
 */
static bool tell(private_kernel_pcpu_policies_t *this, bool all,
				 kernel_pcpu_synced_t *synced)
{
	enumerator_t *enumerator;
	policy_t *policy;
	int status = 0;

	this->mutex->lock(this->mutex);
	enumerator = this->policies->create_enumerator(this->policies);
	while (!kernel_pcpu_is_broken(status) &&
		   enumerator->enumerate(enumerator, &policy))
	{
		if (!all && !policy->refused)
		{
			continue;
		}
		status = this->socket->request(this->socket, &policy->msg.hdr,
									   sizeof(policy->msg), NULL);
		policy->refused = status != 0;
		synced->refused += policy->refused;
		synced->policies += all || !policy->refused;
	}
	enumerator->destroy(enumerator);
	this->mutex->unlock(this->mutex);
	return !kernel_pcpu_is_broken(status);
}

METHOD(kernel_pcpu_policies_t, sync_, bool,
	private_kernel_pcpu_policies_t *this, kernel_pcpu_synced_t *synced)
{
	return tell(this, TRUE, synced);
}

METHOD(kernel_pcpu_policies_t, retry, bool,
	private_kernel_pcpu_policies_t *this, kernel_pcpu_synced_t *synced)
{
	return tell(this, FALSE, synced);
}

METHOD(kernel_pcpu_policies_t, destroy, void,
	private_kernel_pcpu_policies_t *this)
{
	clear(this);
	this->policies->destroy(this->policies);
	this->mutex->destroy(this->mutex);
	free(this);
}

/*
 * Described in header
 */
kernel_pcpu_policies_t *kernel_pcpu_policies_create(
												kernel_pcpu_socket_t *socket)
{
	private_kernel_pcpu_policies_t *this;

	INIT(this,
		.public = {
			.add = _add,
			.del = _del,
			.clear = _clear,
			.sync = _sync_,
			.retry = _retry,
			.destroy = _destroy,
		},
		.socket = socket,
		.mutex = mutex_create(MUTEX_TYPE_DEFAULT),
		.policies = linked_list_create(),
	);
	return &this->public;
}
