/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * charon's SAs, here and in the gateway.
 *
 * The order of locks: the socket's begin() and end(), then this->mutex. Nothing
 * of charon is called with either held: events go through jobs.
 */

#include "kernel_pcpu_sas.h"
#include "kernel_pcpu_events.h"
#include "kernel_pcpu_msg.h"
#include "kernel_pcpu_sa.h"

#include <errno.h>

#include <collections/hashtable.h>
#include <threading/mutex.h>
#include <utils/debug.h>

typedef struct private_kernel_pcpu_sas_t private_kernel_pcpu_sas_t;

/**
 * Private data of kernel_pcpu_sas_t
 */
struct private_kernel_pcpu_sas_t {

	/**
	 * Public interface
	 */
	kernel_pcpu_sas_t public;

	/**
	 * Connection to the gateway
	 */
	kernel_pcpu_socket_t *socket;

	/**
	 * Guards all below
	 */
	mutex_t *mutex;

	/**
	 * SAs, kernel_ipsec_sa_id_t* => kernel_pcpu_sa_t*
	 */
	hashtable_t *sas;

	/**
	 * Number of the last SA, for jobs to know whether it is still theirs
	 */
	u_int instance;
};

/**
 * Hash what an SA is known by
 */
static u_int id_hash(kernel_ipsec_sa_id_t *id)
{
	return chunk_hash_inc(id->dst->get_address(id->dst),
						  chunk_hash(chunk_from_thing(id->spi)));
}

/**
 * Are two SAs the same? Ports do not count.
 */
static bool id_equals(kernel_ipsec_sa_id_t *a, kernel_ipsec_sa_id_t *b)
{
	return a->spi == b->spi && a->proto == b->proto &&
		   a->dst->ip_equals(a->dst, b->dst);
}

/**
 * Have the end of an SA reported, now or after a time
 */
static void schedule_expire(private_kernel_pcpu_sas_t *this,
							kernel_pcpu_sa_t *sa, bool hard, bool repeat,
							uint64_t seconds)
{
	kernel_pcpu_expire_t expire = {
		.sas = &this->public,
		.id = sa->id,
		.instance = sa->instance,
		.hard = hard,
		.repeat = repeat,
	};

	kernel_pcpu_schedule_expire(&expire, seconds);
}

/**
 * Have the lifetimes of an SA reported, as far as they are times. All else is
 * counted by the gateway.
 */
static void schedule_lifetime(private_kernel_pcpu_sas_t *this,
							  kernel_pcpu_sa_t *sa, lifetime_cfg_t *lifetime)
{
	if (lifetime->time.rekey)
	{
		schedule_expire(this, sa, FALSE, FALSE, lifetime->time.rekey);
	}
	if (lifetime->time.life)
	{
		schedule_expire(this, sa, TRUE, FALSE, lifetime->time.life);
	}
}

METHOD(kernel_pcpu_sas_t, add, status_t,
	private_kernel_pcpu_sas_t *this, kernel_ipsec_sa_id_t *id,
	kernel_ipsec_add_sa_t *data)
{
	int status = ENOTCONN;
	kernel_pcpu_sa_t *sa, *old;

	sa = kernel_pcpu_sa_create(id, data);
	if (!sa)
	{
		return NOT_SUPPORTED;
	}

	if (this->socket->begin(this->socket))
	{
		status = this->socket->request(this->socket, &sa->msg.hdr,
									   sizeof(sa->msg), NULL);
	}
	if (!data->inbound)
	{
		/* never sent again, see sync_sa() */
		memwipe(sa->msg.enc_key, sizeof(sa->msg.enc_key));
		memwipe(sa->msg.int_key, sizeof(sa->msg.int_key));
	}
	if (!status)
	{
		this->mutex->lock(this->mutex);
		sa->instance = ++this->instance ?: ++this->instance;
		old = this->sas->put(this->sas, &sa->id, sa);
		schedule_lifetime(this, sa, data->lifetime);
		this->mutex->unlock(this->mutex);
		if (old)
		{
			kernel_pcpu_sa_destroy(old);
		}
	}
	this->socket->end(this->socket);

	if (status)
	{
		DBG1(DBG_KNL, "dpdk-pcpu-gw does not take the %s SA with SPI %.8x: %s",
			 data->inbound ? "inbound" : "outbound", ntohl(id->spi),
			 strerror(status));
		kernel_pcpu_sa_destroy(sa);
	}
	return kernel_pcpu_to_status(status);
}

/**
 * The port that an SA has after an update. Its own stays: with encapsulation for
 * each CPU it is not that of the IKE_SA.
 */
static uint16_t updated_port(struct ike_addr *now, host_t *old, host_t *new,
							 bool old_encap)
{
	if (old_encap && ntohs(now->port) != old->get_port(old))
	{
		return now->port;
	}
	return htons(new->get_port(new));
}

METHOD(kernel_pcpu_sas_t, update, status_t,
	private_kernel_pcpu_sas_t *this, kernel_ipsec_sa_id_t *id,
	kernel_ipsec_update_sa_t *data)
{
	struct ike_sa_update msg = {
		.hdr.type = IKE_SA_UPDATE,
		.flags = data->new_encap ? IKE_SA_ENCAP : 0,
	};
	int status = ENOTSUP;
	bool up, stale = FALSE;
	kernel_pcpu_sa_t *sa;

	if (data->cpi)
	{
		return NOT_SUPPORTED;
	}
	up = this->socket->begin(this->socket);
	this->mutex->lock(this->mutex);
	sa = this->sas->get(this->sas, id);
	if (sa)
	{
		stale = sa->stale;
		msg.sa = sa->msg.sa;
		kernel_pcpu_put_addr(&msg.new_src, data->new_src);
		kernel_pcpu_put_addr(&msg.new_dst, data->new_dst);
		msg.new_src.port = updated_port(&sa->msg.src, id->src, data->new_src,
										data->encap);
		msg.new_dst.port = updated_port(&sa->msg.sa.dst, id->dst,
										data->new_dst, data->encap);
		/* the IKE_SA has moved, whatever becomes of this */
		sa->ike_dst->destroy(sa->ike_dst);
		sa->ike_dst = data->new_dst->clone(data->new_dst);
	}
	this->mutex->unlock(this->mutex);

	/* one that waits to be rekeyed is nowhere that it could be moved from */
	if (!sa)
	{
		status = ENOENT;
	}
	else if (!up)
	{
		status = ENOTCONN;
	}
	else if (!stale)
	{
		status = this->socket->request(this->socket, &msg.hdr, sizeof(msg),
									   NULL);
	}
	if (!status)
	{
		this->mutex->lock(this->mutex);
		/* its place in the table depends on what changes */
		sa = this->sas->remove(this->sas, id);
		if (sa)
		{
			sa->msg.src = msg.new_src;
			sa->msg.sa.dst = msg.new_dst;
			sa->msg.flags &= ~IKE_SA_ENCAP;
			sa->msg.flags |= msg.flags;
			sa->id.dst->destroy(sa->id.dst);
			sa->id.dst = data->new_dst->clone(data->new_dst);
			this->sas->put(this->sas, &sa->id, sa);
		}
		this->mutex->unlock(this->mutex);
	}
	this->socket->end(this->socket);
	if (status)
	{
		DBG1(DBG_KNL, "unable to move SA with SPI %.8x from %#H..%#H to "
			 "%#H..%#H: %s", ntohl(id->spi), id->src, id->dst, data->new_src,
			 data->new_dst, strerror(status));
	}
	return status ? NOT_SUPPORTED : SUCCESS;
}

METHOD(kernel_pcpu_sas_t, query, status_t,
	private_kernel_pcpu_sas_t *this, kernel_ipsec_sa_id_t *id,
	uint64_t *bytes, uint64_t *packets, time_t *time)
{
	struct ike_sa_ref msg = {
		.hdr.type = IKE_SA_QUERY,
	};
	struct ike_reply reply;
	bool ask, known;
	kernel_pcpu_sa_t *sa;

	ask = this->socket->begin(this->socket);
	this->mutex->lock(this->mutex);
	sa = this->sas->get(this->sas, id);
	if (sa)
	{
		msg.sa = sa->msg.sa;
	}
	ask = ask && sa && !sa->stale;
	this->mutex->unlock(this->mutex);

	/* of an SA that it does not have, or if it does not answer, the last known
	 * stays */
	ask = ask && this->socket->request(this->socket, &msg.hdr, sizeof(msg),
									   &reply) == 0;

	this->mutex->lock(this->mutex);
	sa = this->sas->get(this->sas, id);
	known = sa != NULL;
	if (sa)
	{
		if (ask)
		{
			sa->bytes = sa->bytes_before + reply.bytes;
			sa->packets = sa->packets_before + reply.packets;
			if (reply.packets)
			{
				sa->used = time_monotonic(NULL) - reply.idle_s;
			}
		}
		if (bytes)
		{
			*bytes = sa->bytes;
		}
		if (packets)
		{
			*packets = sa->packets;
		}
		if (time)
		{
			*time = sa->used;
		}
	}
	this->mutex->unlock(this->mutex);
	this->socket->end(this->socket);
	return known ? SUCCESS : NOT_FOUND;
}

METHOD(kernel_pcpu_sas_t, del, status_t,
	private_kernel_pcpu_sas_t *this, kernel_ipsec_sa_id_t *id)
{
	struct ike_sa_ref msg = {
		.hdr.type = IKE_SA_DEL,
	};
	int status = 0;
	bool up;
	kernel_pcpu_sa_t *sa;

	up = this->socket->begin(this->socket);
	this->mutex->lock(this->mutex);
	sa = this->sas->remove(this->sas, id);
	this->mutex->unlock(this->mutex);

	/* an unknown one may be an SPI that was allocated and came to nothing. A
	 * gateway that is away learns of the end of an SA when it comes back */
	if (up && !(sa && sa->stale))
	{
		kernel_pcpu_put_addr(&msg.sa.dst, id->dst);
		msg.sa.spi = id->spi;
		msg.sa.proto = id->proto;
		status = this->socket->request(this->socket, &msg.hdr, sizeof(msg),
									   NULL);
	}
	this->socket->end(this->socket);

	if (kernel_pcpu_is_broken(status) || (status == ENOENT && sa))
	{
		status = 0;
	}
	if (sa)
	{
		kernel_pcpu_sa_destroy(sa);
	}
	return kernel_pcpu_to_status(status);
}

METHOD(kernel_pcpu_sas_t, clear, void,
	private_kernel_pcpu_sas_t *this)
{
	enumerator_t *enumerator;
	kernel_pcpu_sa_t *sa;

	this->mutex->lock(this->mutex);
	enumerator = this->sas->create_enumerator(this->sas);
	while (enumerator->enumerate(enumerator, NULL, &sa))
	{
		this->sas->remove_at(this->sas, enumerator);
		kernel_pcpu_sa_destroy(sa);
	}
	enumerator->destroy(enumerator);
	this->mutex->unlock(this->mutex);
}

/**
 * Tell the gateway an inbound SA again
 */
static int tell_inbound(private_kernel_pcpu_sas_t *this, kernel_pcpu_sa_t *sa)
{
	int status;

	if (!kernel_pcpu_sa_age(sa))
	{
		/* the gateway has ended it, or is a new one, and would take it with an
		 * empty window; charon waits for the answer to its DELETE */
		sa->refused = FALSE;
		return 0;
	}
	sa->msg.flags |= IKE_SA_REPLAYED;
	status = this->socket->request(this->socket, &sa->msg.hdr,
								   sizeof(sa->msg), NULL);
	sa->refused = status != 0;
	return status;
}

/**
 * Tell the gateway an SA again, of which it may know nothing
 */
static int sync_sa(private_kernel_pcpu_sas_t *this, kernel_pcpu_sa_t *sa,
				   bool restarted)
{
	struct ike_sa_ref keep = {
		.hdr.type = IKE_SA_KEEP,
		.sa = sa->msg.sa,
	};
	int status;

	if (sa->msg.flags & IKE_SA_INBOUND)
	{
		if (restarted)
		{
			sa->bytes_before = sa->bytes;
			sa->packets_before = sa->packets;
		}
		return tell_inbound(this, sa);
	}
	/* an outbound one a new gateway does not get: its counter, of which IVs are
	 * made, ended with the gateway before. Its keys are not here any more */
	if (!restarted && !sa->stale)
	{
		status = this->socket->request(this->socket, &keep.hdr, sizeof(keep),
									   NULL);
		if (status != ENOENT)
		{
			return status;
		}
	}
	if (!sa->stale)
	{
		sa->stale = TRUE;
		schedule_expire(this, sa, FALSE, TRUE, 0);
	}
	return 0;
}

METHOD(kernel_pcpu_sas_t, sync_, bool,
	private_kernel_pcpu_sas_t *this, bool restarted,
	kernel_pcpu_synced_t *synced)
{
	enumerator_t *enumerator;
	int status = 0;
	kernel_pcpu_sa_t *sa;

	this->mutex->lock(this->mutex);
	enumerator = this->sas->create_enumerator(this->sas);
	while (!kernel_pcpu_is_broken(status) &&
		   enumerator->enumerate(enumerator, NULL, &sa))
	{
		synced->sas++;
		status = sync_sa(this, sa, restarted);
		synced->refused += status != 0;
		synced->stale += sa->stale;
	}
	enumerator->destroy(enumerator);
	this->mutex->unlock(this->mutex);
	return !kernel_pcpu_is_broken(status);
}

METHOD(kernel_pcpu_sas_t, retry, bool,
	private_kernel_pcpu_sas_t *this, kernel_pcpu_synced_t *synced)
{
	enumerator_t *enumerator;
	int status = 0;
	kernel_pcpu_sa_t *sa;

	/* nobody removes one meanwhile: what the gateway hears of its end comes
	 * after this */
	this->mutex->lock(this->mutex);
	enumerator = this->sas->create_enumerator(this->sas);
	while (!kernel_pcpu_is_broken(status) &&
		   enumerator->enumerate(enumerator, NULL, &sa))
	{
		if (sa->refused)
		{
			status = tell_inbound(this, sa);
			synced->refused += sa->refused;
			synced->sas += !sa->refused;
		}
	}
	enumerator->destroy(enumerator);
	this->mutex->unlock(this->mutex);
	return !kernel_pcpu_is_broken(status);
}

METHOD(kernel_pcpu_sas_t, get_state, bool,
	private_kernel_pcpu_sas_t *this, kernel_ipsec_sa_id_t *id,
	kernel_pcpu_sa_state_t *state)
{
	kernel_pcpu_sa_t *sa;

	this->mutex->lock(this->mutex);
	sa = this->sas->get(this->sas, id);
	if (sa)
	{
		state->instance = sa->instance;
		state->stale = sa->stale;
		state->ike_dst = sa->ike_dst->clone(sa->ike_dst);
	}
	this->mutex->unlock(this->mutex);
	return sa != NULL;
}

METHOD(kernel_pcpu_sas_t, destroy, void,
	private_kernel_pcpu_sas_t *this)
{
	clear(this);
	this->sas->destroy(this->sas);
	this->mutex->destroy(this->mutex);
	free(this);
}

/*
 * Described in header
 */
kernel_pcpu_sas_t *kernel_pcpu_sas_create(kernel_pcpu_socket_t *socket)
{
	private_kernel_pcpu_sas_t *this;

	INIT(this,
		.public = {
			.add = _add,
			.update = _update,
			.query = _query,
			.del = _del,
			.clear = _clear,
			.sync = _sync_,
			.retry = _retry,
			.get_state = _get_state,
			.destroy = _destroy,
		},
		.socket = socket,
		.mutex = mutex_create(MUTEX_TYPE_DEFAULT),
		.sas = hashtable_create((hashtable_hash_t)id_hash,
								(hashtable_equals_t)id_equals, 32),
	);
	return &this->public;
}
