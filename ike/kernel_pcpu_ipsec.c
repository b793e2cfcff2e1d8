/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * charon's interface to IPsec, by the gateway.
 *
 * What charon installed is kept in two tables, as it was sent to the gateway. A
 * gateway that was restarted knows nothing: it gets all policies and inbound SAs
 * again. Outbound SAs it does not get: their counter, of which IVs are made, ended
 * with the gateway before. So their keys are not kept here, and each is reported
 * as expired softly, upon which charon rekeys it.
 *
 * The order of locks: the socket's begin() and end(), then this->mutex. Nothing
 * of charon is called with either held: events go through jobs.
 */

#include "kernel_pcpu_ipsec.h"
#include "kernel_pcpu_socket.h"

#include <errno.h>
#include <time.h>

#include <daemon.h>
#include <collections/hashtable.h>
#include <collections/linked_list.h>
#include <processing/jobs/callback_job.h>
#include <threading/mutex.h>

/** Seconds after which an SA that waits to be rekeyed is reported once more */
#define STALE_RETRY 10

typedef struct private_kernel_pcpu_ipsec_t private_kernel_pcpu_ipsec_t;
typedef struct sa_t sa_t;
typedef struct policy_t policy_t;
typedef struct expire_t expire_t;
typedef struct acquire_t acquire_t;
typedef struct mapping_t mapping_t;

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
	 * Guards the tables
	 */
	mutex_t *mutex;

	/**
	 * SAs, sa_t* => sa_t*
	 */
	hashtable_t *sas;

	/**
	 * Policies in the order of their installation, policy_t*. One for each
	 * CHILD_SA and pair of selectors: many are equal but for the SPI.
	 */
	linked_list_t *policies;

	/**
	 * Number of the last SA, for jobs to know whether it is still theirs
	 */
	u_int instance;
};

/**
 * An SA. It is known by its destination, SPI and protocol: in later calls the
 * source may have another port than in the first.
 */
struct sa_t {

	/**
	 * As the gateway gets it; of an outbound SA the keys are wiped
	 */
	struct ike_sa_add msg;

	/**
	 * Destination
	 */
	host_t *dst;

	/**
	 * SPI, in network order
	 */
	uint32_t spi;

	/**
	 * IP protocol
	 */
	uint8_t proto;

	/**
	 * Number of its own
	 */
	u_int instance;

	/**
	 * TRUE if the gateway does not have it, and waits for it to be rekeyed
	 */
	bool stale;

	/**
	 * Counted by earlier gateways
	 */
	uint64_t bytes_before, packets_before;

	/**
	 * Counted in all when last asked
	 */
	uint64_t bytes, packets;

	/**
	 * Monotonic time of its last use, 0 if there was none
	 */
	time_t used;
};

/**
 * A policy
 */
struct policy_t {

	/**
	 * As the gateway gets it
	 */
	struct ike_policy msg;
};

/**
 * Data of a job that reports an expired SA
 */
struct expire_t {

	/**
	 * Whose SA it is
	 */
	private_kernel_pcpu_ipsec_t *this;

	/**
	 * Destination
	 */
	host_t *dst;

	/**
	 * SPI, in network order
	 */
	uint32_t spi;

	/**
	 * IP protocol
	 */
	uint8_t proto;

	/**
	 * Number of the SA, 0 if any with that SPI will do
	 */
	u_int instance;

	/**
	 * TRUE if it must not be used any more
	 */
	bool hard;

	/**
	 * TRUE to report it again until it is gone
	 */
	bool repeat;
};

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
	private_kernel_pcpu_ipsec_t *this;

	/**
	 * The message
	 */
	struct ike_mapping msg;
};

/**
 * Hash an SA
 */
static u_int sa_hash(sa_t *sa)
{
	return chunk_hash_inc(sa->dst->get_address(sa->dst),
						  chunk_hash(chunk_from_thing(sa->spi)));
}

/**
 * Are two SAs the same? Ports do not count.
 */
static bool sa_equals(sa_t *a, sa_t *b)
{
	return a->spi == b->spi && a->proto == b->proto &&
		   a->dst->ip_equals(a->dst, b->dst);
}

/**
 * Destroy an SA, and its keys
 */
static void sa_destroy(sa_t *sa)
{
	sa->dst->destroy(sa->dst);
	memwipe(sa, sizeof(*sa));
	free(sa);
}

/**
 * Destroy the data of a job
 */
static void expire_destroy(expire_t *e)
{
	e->dst->destroy(e->dst);
	free(e);
}

/**
 * Find an SA; this->mutex is held
 */
static sa_t *find_sa(private_kernel_pcpu_ipsec_t *this, host_t *dst,
					 uint32_t spi, uint8_t proto)
{
	sa_t key = { .dst = dst, .spi = spi, .proto = proto };

	return this->sas->get(this->sas, &key);
}

/**
 * Take an SA out of the table; this->mutex is held
 */
static sa_t *take_sa(private_kernel_pcpu_ipsec_t *this, host_t *dst,
					 uint32_t spi, uint8_t proto)
{
	sa_t key = { .dst = dst, .spi = spi, .proto = proto };

	return this->sas->remove(this->sas, &key);
}

/**
 * Forget all SAs; this->mutex is held
 */
static void clear_sas(private_kernel_pcpu_ipsec_t *this)
{
	enumerator_t *enumerator;
	sa_t *sa;

	enumerator = this->sas->create_enumerator(this->sas);
	while (enumerator->enumerate(enumerator, NULL, &sa))
	{
		this->sas->remove_at(this->sas, enumerator);
		sa_destroy(sa);
	}
	enumerator->destroy(enumerator);
}

/**
 * Job: report an expired SA, if it is still there
 */
static job_requeue_t report_expire(expire_t *e)
{
	sa_t *sa;
	bool report;

	e->this->mutex->lock(e->this->mutex);
	sa = find_sa(e->this, e->dst, e->spi, e->proto);
	report = sa && (!e->instance || sa->instance == e->instance) &&
			 (!e->repeat || sa->stale);
	e->this->mutex->unlock(e->this->mutex);

	if (!report)
	{
		return JOB_REQUEUE_NONE;
	}
	DBG2(DBG_KNL, "%s lifetime of SA with SPI %.8x to %H is over",
		 e->hard ? "hard" : "soft", ntohl(e->spi), e->dst);
	charon->kernel->expire(charon->kernel, e->proto, e->spi, e->dst, e->hard);
	return e->repeat ? JOB_RESCHEDULE(STALE_RETRY) : JOB_REQUEUE_NONE;
}

/**
 * Have an expired SA reported, now or after a time.
 */
static void schedule_expire(private_kernel_pcpu_ipsec_t *this, host_t *dst,
							uint32_t spi, uint8_t proto, u_int instance,
							bool hard, bool repeat, uint64_t seconds)
{
	expire_t *e;
	job_t *job;

	INIT(e,
		.this = this,
		.dst = dst->clone(dst),
		.spi = spi,
		.proto = proto,
		.instance = instance,
		.hard = hard,
		.repeat = repeat,
	);
	job = (job_t*)callback_job_create((callback_job_cb_t)report_expire, e,
									  (callback_job_cleanup_t)expire_destroy,
									  NULL);
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
 * Fill in an address with its port
 */
static void put_addr(struct ike_addr *addr, host_t *host)
{
	chunk_t chunk = host->get_address(host);

	addr->family = host->get_family(host) == AF_INET6 ? 6 : 4;
	addr->port = htons(host->get_port(host));
	memcpy(addr->addr, chunk.ptr, min(chunk.len, sizeof(addr->addr)));
}

/**
 * Create a host of an address
 */
static host_t *get_host(struct ike_addr *addr)
{
	bool v6 = addr->family == 6;

	return host_create_from_chunk(v6 ? AF_INET6 : AF_INET,
								  chunk_create(addr->addr, v6 ? 16 : 4),
								  ntohs(addr->port));
}

/**
 * Fill in a selector
 *
 * @return			FALSE if it is none of addresses
 */
static bool put_ts(struct ike_ts *to, traffic_selector_t *ts)
{
	chunk_t from = ts->get_from_address(ts), last = ts->get_to_address(ts);

	switch (ts->get_type(ts))
	{
		case TS_IPV4_ADDR_RANGE:
			to->family = 4;
			break;
		case TS_IPV6_ADDR_RANGE:
			to->family = 6;
			break;
		default:
			return FALSE;
	}
	to->proto = ts->get_protocol(ts);
	to->from_port = ts->get_from_port(ts);
	to->to_port = ts->get_to_port(ts);
	memcpy(to->from, from.ptr, min(from.len, sizeof(to->from)));
	memcpy(to->to, last.ptr, min(last.len, sizeof(to->to)));
	return TRUE;
}

/**
 * Create a selector of a packet's address and port
 */
static traffic_selector_t *get_ts(struct ike_addr *addr, uint8_t proto)
{
	host_t *host = get_host(addr);
	uint16_t port = host->get_port(host);

	return traffic_selector_create_from_subnet(host,
											   addr->family == 6 ? 128 : 32,
											   proto, port, port ?: 0xffff);
}

/**
 * Is it the connection that failed, not the request?
 */
static bool is_broken(int status)
{
	return status == ENOTCONN || status == ETIMEDOUT;
}

/**
 * What charon is to know of a request's end
 */
static status_t to_status(int status)
{
	switch (status)
	{
		case 0:
			return SUCCESS;
		case ENOTSUP:
			return NOT_SUPPORTED;
		case ENOENT:
			return NOT_FOUND;
		case EEXIST:
			return ALREADY_DONE;
		default:
			return FAILED;
	}
}

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
	put_addr(&msg.src, src);
	put_addr(&msg.dst, dst);
	if (this->socket->begin(this->socket))
	{
		status = this->socket->request(this->socket, &msg.hdr, sizeof(msg),
									   &reply);
	}
	this->socket->end(this->socket);
	if (status)
	{
		DBG1(DBG_KNL, "no SPI from dpdk-pcpu-gw: %s", strerror(status));
		return to_status(status);
	}
	*spi = reply.spi;
	return SUCCESS;
}

METHOD(kernel_ipsec_t, get_cpi, status_t,
	private_kernel_pcpu_ipsec_t *this, host_t *src, host_t *dst, uint16_t *cpi)
{
	return NOT_SUPPORTED;
}

/**
 * Is an SA of a kind that the gateway does not have? Logs what it is.
 */
static bool is_unsupported(kernel_ipsec_sa_id_t *id,
						   kernel_ipsec_add_sa_t *data)
{
	char *what = NULL;

	if (id->proto != IPPROTO_ESP)
	{
		what = "protocol other than ESP";
	}
	else if (data->mode != MODE_TUNNEL)
	{
		what = "mode other than tunnel";
	}
	else if (data->ipcomp != IPCOMP_NONE)
	{
		what = "IP compression (ipcomp)";
	}
	else if (data->tfc)
	{
		what = "traffic flow confidentiality (tfc_padding)";
	}
	else if (id->mark.value || data->mark.value)
	{
		what = "mark (mark_in, mark_out, set_mark_in, set_mark_out)";
	}
	else if (data->label)
	{
		what = "security label";
	}
	else if (data->hw_offload != HW_OFFLOAD_NO &&
			 data->hw_offload != HW_OFFLOAD_AUTO)
	{
		what = "hardware offload (hw_offload)";
	}
	else if (data->enc_key.len > IKE_KEY_MAX || data->int_key.len > IKE_KEY_MAX)
	{
		what = "key so long";
	}
	if (what)
	{
		DBG1(DBG_KNL, "dpdk-pcpu-gw has no SAs with a %s", what);
	}
	return what != NULL;
}

/**
 * Have the lifetimes of an SA reported, as far as they are times. All else is
 * counted by the gateway.
 */
static void schedule_lifetime(private_kernel_pcpu_ipsec_t *this, sa_t *sa,
							  lifetime_cfg_t *lifetime)
{
	if (lifetime->time.rekey)
	{
		schedule_expire(this, sa->dst, sa->spi, sa->proto, sa->instance, FALSE,
						FALSE, lifetime->time.rekey);
	}
	if (lifetime->time.life)
	{
		schedule_expire(this, sa->dst, sa->spi, sa->proto, sa->instance, TRUE,
						FALSE, lifetime->time.life);
	}
}

/**
 * Fill in the name of the connection that this thread works for, if it has one
 */
static void put_name(char *name, size_t len)
{
	ike_sa_t *ike_sa = charon->bus->get_sa(charon->bus);

	if (ike_sa)
	{
		snprintf(name, len, "%s", ike_sa->get_name(ike_sa));
	}
}

METHOD(kernel_ipsec_t, add_sa, status_t,
	private_kernel_pcpu_ipsec_t *this, kernel_ipsec_sa_id_t *id,
	kernel_ipsec_add_sa_t *data)
{
	lifetime_cfg_t *lifetime = data->lifetime;
	struct ike_sa_add *msg;
	int status = ENOTCONN;
	sa_t *sa, *old;

	if (is_unsupported(id, data))
	{
		return NOT_SUPPORTED;
	}

	INIT(sa,
		.msg = {
			.hdr.type = IKE_SA_ADD,
			.flags = (data->inbound ? IKE_SA_INBOUND : 0) |
					 (data->encap ? IKE_SA_ENCAP : 0) |
					 (data->esn ? IKE_SA_ESN : 0) |
					 (data->copy_df ? IKE_SA_COPY_DF : 0) |
					 (data->copy_ecn ? IKE_SA_COPY_ECN : 0) |
					 (data->initiator ? IKE_SA_INITIATOR : 0),
			.reqid = data->reqid,
			.cpu = IKE_CPU_NONE,
			.if_id = id->if_id,
			.replay_window = data->replay_window,
			.enc_alg = data->enc_alg,
			.int_alg = data->int_alg,
			.enc_key_len = data->enc_key.len,
			.int_key_len = data->int_key.len,
			.copy_dscp = data->copy_dscp,
			.soft_bytes = lifetime->bytes.rekey,
			.hard_bytes = lifetime->bytes.life,
			.soft_packets = lifetime->packets.rekey,
			.hard_packets = lifetime->packets.life,
			.soft_s = lifetime->time.rekey,
			.hard_s = lifetime->time.life,
		},
		.dst = id->dst->clone(id->dst),
		.spi = id->spi,
		.proto = id->proto,
	);
#ifdef CPU_ID_MAX
	sa->msg.cpu = data->cpu;
#endif
	msg = &sa->msg;
	put_addr(&msg->src, id->src);
	put_addr(&msg->sa.dst, id->dst);
	msg->sa.spi = id->spi;
	msg->sa.proto = id->proto;
	put_name(msg->name, sizeof(msg->name));
	memcpy(msg->enc_key, data->enc_key.ptr, data->enc_key.len);
	memcpy(msg->int_key, data->int_key.ptr, data->int_key.len);

	if (this->socket->begin(this->socket))
	{
		status = this->socket->request(this->socket, &msg->hdr, sizeof(*msg),
									   NULL);
	}
	if (!data->inbound)
	{
		/* never sent again, see above */
		memwipe(msg->enc_key, sizeof(msg->enc_key));
		memwipe(msg->int_key, sizeof(msg->int_key));
	}
	if (!status)
	{
		this->mutex->lock(this->mutex);
		sa->instance = ++this->instance ?: ++this->instance;
		old = this->sas->put(this->sas, sa, sa);
		schedule_lifetime(this, sa, lifetime);
		this->mutex->unlock(this->mutex);
		if (old)
		{
			sa_destroy(old);
		}
	}
	this->socket->end(this->socket);

	if (status)
	{
		DBG1(DBG_KNL, "dpdk-pcpu-gw does not take the %s SA with SPI %.8x: %s",
			 data->inbound ? "inbound" : "outbound", ntohl(id->spi),
			 strerror(status));
		sa_destroy(sa);
	}
	return to_status(status);
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

METHOD(kernel_ipsec_t, update_sa, status_t,
	private_kernel_pcpu_ipsec_t *this, kernel_ipsec_sa_id_t *id,
	kernel_ipsec_update_sa_t *data)
{
	struct ike_sa_update msg = {
		.hdr.type = IKE_SA_UPDATE,
		.flags = data->new_encap ? IKE_SA_ENCAP : 0,
	};
	int status = ENOTCONN;
	bool up, stale = FALSE;
	sa_t *sa;

	if (data->cpi)
	{
		return NOT_SUPPORTED;
	}
	up = this->socket->begin(this->socket);
	this->mutex->lock(this->mutex);
	sa = find_sa(this, id->dst, id->spi, id->proto);
	if (sa)
	{
		stale = sa->stale;
		msg.sa = sa->msg.sa;
		put_addr(&msg.new_src, data->new_src);
		put_addr(&msg.new_dst, data->new_dst);
		msg.new_src.port = updated_port(&sa->msg.src, id->src, data->new_src,
										data->encap);
		msg.new_dst.port = updated_port(&sa->msg.sa.dst, id->dst,
										data->new_dst, data->encap);
	}
	this->mutex->unlock(this->mutex);

	if (!sa)
	{
		status = ENOENT;
	}
	else if (up)
	{
		status = stale ? 0 : this->socket->request(this->socket, &msg.hdr,
												   sizeof(msg), NULL);
	}
	if (!status)
	{
		this->mutex->lock(this->mutex);
		/* its place in the table depends on what changes */
		sa = take_sa(this, id->dst, id->spi, id->proto);
		if (sa)
		{
			sa->msg.src = msg.new_src;
			sa->msg.sa.dst = msg.new_dst;
			sa->msg.flags &= ~IKE_SA_ENCAP;
			sa->msg.flags |= msg.flags;
			sa->dst->destroy(sa->dst);
			sa->dst = data->new_dst->clone(data->new_dst);
			this->sas->put(this->sas, sa, sa);
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
	return to_status(status);
}

/**
 * Ask the gateway what an SA has done; between begin() and end(). Of an SA that
 * it does not have, or if it does not answer, the last known stays.
 *
 * @return			FALSE if there is no such SA
 */
static bool query(private_kernel_pcpu_ipsec_t *this, bool up, host_t *dst,
				  uint32_t spi, uint8_t proto, uint64_t *bytes,
				  uint64_t *packets, time_t *used)
{
	struct ike_sa_ref msg = {
		.hdr.type = IKE_SA_QUERY,
	};
	struct ike_reply reply;
	bool known = FALSE, ask = FALSE;
	sa_t *sa;

	this->mutex->lock(this->mutex);
	sa = find_sa(this, dst, spi, proto);
	if (sa)
	{
		msg.sa = sa->msg.sa;
		ask = up && !sa->stale;
	}
	this->mutex->unlock(this->mutex);

	ask = ask && this->socket->request(this->socket, &msg.hdr, sizeof(msg),
									   &reply) == 0;

	this->mutex->lock(this->mutex);
	sa = find_sa(this, dst, spi, proto);
	if (sa)
	{
		known = TRUE;
		if (ask)
		{
			sa->bytes = sa->bytes_before + reply.bytes;
			sa->packets = sa->packets_before + reply.packets;
			if (reply.packets)
			{
				sa->used = time_monotonic(NULL) - reply.idle_s;
			}
		}
		*bytes = sa->bytes;
		*packets = sa->packets;
		*used = sa->used;
	}
	this->mutex->unlock(this->mutex);
	return known;
}

METHOD(kernel_ipsec_t, query_sa, status_t,
	private_kernel_pcpu_ipsec_t *this, kernel_ipsec_sa_id_t *id,
	kernel_ipsec_query_sa_t *data, uint64_t *bytes, uint64_t *packets,
	time_t *time)
{
	uint64_t b = 0, p = 0;
	time_t t = 0;
	bool up, known;

	up = this->socket->begin(this->socket);
	known = query(this, up, id->dst, id->spi, id->proto, &b, &p, &t);
	this->socket->end(this->socket);
	if (!known)
	{
		return NOT_FOUND;
	}
	if (bytes)
	{
		*bytes = b;
	}
	if (packets)
	{
		*packets = p;
	}
	if (time)
	{
		*time = t;
	}
	return SUCCESS;
}

METHOD(kernel_ipsec_t, del_sa, status_t,
	private_kernel_pcpu_ipsec_t *this, kernel_ipsec_sa_id_t *id,
	kernel_ipsec_del_sa_t *data)
{
	struct ike_sa_ref msg = {
		.hdr.type = IKE_SA_DEL,
	};
	int status = 0;
	bool up;
	sa_t *sa;

	up = this->socket->begin(this->socket);
	this->mutex->lock(this->mutex);
	sa = take_sa(this, id->dst, id->spi, id->proto);
	this->mutex->unlock(this->mutex);

	/* an unknown one may be an SPI that was allocated and came to nothing. A
	 * gateway that is away learns of the end of an SA when it comes back */
	if (up && !(sa && sa->stale))
	{
		put_addr(&msg.sa.dst, id->dst);
		msg.sa.spi = id->spi;
		msg.sa.proto = id->proto;
		status = this->socket->request(this->socket, &msg.hdr, sizeof(msg),
									   NULL);
	}
	this->socket->end(this->socket);

	if (is_broken(status) || (status == ENOENT && sa))
	{
		status = 0;
	}
	if (sa)
	{
		sa_destroy(sa);
	}
	return to_status(status);
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
	policy_t *policy;
	int status = 0;

	if (this->socket->begin(this->socket))
	{
		status = this->socket->request(this->socket, &msg.hdr, sizeof(msg),
									   NULL);
	}
	this->mutex->lock(this->mutex);
	if (what == IKE_FLUSH_SAS)
	{
		clear_sas(this);
	}
	else
	{
		while (this->policies->remove_last(this->policies,
										   (void**)&policy) == SUCCESS)
		{
			free(policy);
		}
	}
	this->mutex->unlock(this->mutex);
	this->socket->end(this->socket);
	return is_broken(status) ? SUCCESS : to_status(status);
}

METHOD(kernel_ipsec_t, flush_sas, status_t,
	private_kernel_pcpu_ipsec_t *this)
{
	return flush(this, IKE_FLUSH_SAS);
}

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
	put_addr(&msg->src, data->src);
	put_addr(&msg->dst, data->dst);
	return put_ts(&msg->src_ts, id->src_ts) && put_ts(&msg->dst_ts, id->dst_ts);
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

METHOD(kernel_ipsec_t, add_policy, status_t,
	private_kernel_pcpu_ipsec_t *this, kernel_ipsec_policy_id_t *id,
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
	if (status == 0 || is_broken(status))
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
	if (is_broken(status) || status == ENOENT)
	{
		/* it learns of it when it comes back, or has forgotten it already */
		status = 0;
	}
	return to_status(status);
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
 * Tell the gateway an SA again, of which it may know nothing
 */
static int sync_sa(private_kernel_pcpu_ipsec_t *this,
				   kernel_pcpu_socket_t *socket, sa_t *sa, bool restarted)
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
		sa->msg.flags |= IKE_SA_REPLAYED;
		return socket->request(socket, &sa->msg.hdr, sizeof(sa->msg), NULL);
	}
	if (!restarted && !sa->stale)
	{
		status = socket->request(socket, &keep.hdr, sizeof(keep), NULL);
		if (status != ENOENT)
		{
			return status;
		}
	}
	if (!sa->stale)
	{
		sa->stale = TRUE;
		schedule_expire(this, sa->dst, sa->spi, sa->proto, sa->instance, FALSE,
						TRUE, 0);
	}
	return 0;
}

/**
 * Tell a gateway that is there (again) all that was installed
 */
static bool sync_all(private_kernel_pcpu_ipsec_t *this,
					 kernel_pcpu_socket_t *socket, bool restarted)
{
	struct ike_sync_end end = {
		.hdr.type = IKE_SYNC_END,
	};
	u_int policies = 0, sas = 0, stale = 0, refused = 0;
	enumerator_t *enumerator;
	policy_t *policy;
	int status = 0;
	sa_t *sa;

	this->mutex->lock(this->mutex);
	enumerator = this->policies->create_enumerator(this->policies);
	while (!is_broken(status) && enumerator->enumerate(enumerator, &policy))
	{
		policies++;
		status = socket->request(socket, &policy->msg.hdr, sizeof(policy->msg),
								 NULL);
		refused += status != 0;
	}
	enumerator->destroy(enumerator);
	enumerator = this->sas->create_enumerator(this->sas);
	while (!is_broken(status) && enumerator->enumerate(enumerator, NULL, &sa))
	{
		sas++;
		status = sync_sa(this, socket, sa, restarted);
		refused += status != 0;
		stale += sa->stale;
	}
	enumerator->destroy(enumerator);
	this->mutex->unlock(this->mutex);

	if (!is_broken(status))
	{
		status = socket->request(socket, &end.hdr, sizeof(end), NULL);
	}
	if (is_broken(status))
	{
		return FALSE;
	}
	if (policies || sas)
	{
		DBG1(DBG_KNL, "dpdk-pcpu-gw has %u policies and %u SAs again, %u outbound "
			 "SAs are to be rekeyed before they can be used", policies, sas - stale,
			 stale);
	}
	if (refused)
	{
		DBG1(DBG_KNL, "dpdk-pcpu-gw refused %u of them", refused);
	}
	return TRUE;
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
 * Job: report a peer that moved, if its SA is not one for packets from any port
 */
static job_requeue_t report_mapping(mapping_t *mapping)
{
	private_kernel_pcpu_ipsec_t *this = mapping->this;
	struct ike_mapping *msg = &mapping->msg;
	host_t *dst, *remote;
	bool report;
	sa_t *sa;

	dst = get_host(&msg->sa.dst);
	remote = get_host(&msg->remote);
	this->mutex->lock(this->mutex);
	sa = find_sa(this, dst, msg->sa.spi, msg->sa.proto);
	/* else charon would move the whole IKE_SA to the port of one SA's packets */
	report = sa && sa->msg.src.port;
	this->mutex->unlock(this->mutex);
	if (report)
	{
		charon->kernel->mapping(charon->kernel, msg->sa.proto, msg->sa.spi, dst,
								remote);
	}
	dst->destroy(dst);
	remote->destroy(remote);
	return JOB_REQUEUE_NONE;
}

/**
 * Queue a job for an event
 */
static void queue(void *cb, void *data, void *cleanup)
{
	lib->processor->queue_job(lib->processor,
			(job_t*)callback_job_create((callback_job_cb_t)cb, data,
										(callback_job_cleanup_t)cleanup, NULL));
}

/**
 * Is an address in a message one?
 */
static bool is_addr(struct ike_addr *addr)
{
	return addr->family == 4 || addr->family == 6;
}

/**
 * Take an event of the gateway's
 */
static void take_event(private_kernel_pcpu_ipsec_t *this, union ike_any *msg)
{
	acquire_t *acquire;
	mapping_t *mapping;
	host_t *dst;

	if (!lib->processor->get_total_threads(lib->processor))
	{
		/* charon ends: nobody would take it */
		return;
	}
	switch (msg->hdr.type)
	{
		case IKE_ACQUIRE:
			if (!is_addr(&msg->acquire.src) || !is_addr(&msg->acquire.dst))
			{
				break;
			}
			INIT(acquire,
				.reqid = msg->acquire.reqid,
				.cpu = msg->acquire.cpu,
				.src = get_ts(&msg->acquire.src, msg->acquire.proto),
				.dst = get_ts(&msg->acquire.dst, msg->acquire.proto),
			);
			DBG2(DBG_KNL, "dpdk-pcpu-gw wants an SA for reqid %u, worker %d: "
				 "%R === %R", acquire->reqid, (int)acquire->cpu, acquire->src,
				 acquire->dst);
			queue(report_acquire, acquire, acquire_destroy);
			return;
		case IKE_EXPIRE:
			if (!is_addr(&msg->expire.sa.dst))
			{
				break;
			}
			dst = get_host(&msg->expire.sa.dst);
			schedule_expire(this, dst, msg->expire.sa.spi, msg->expire.sa.proto,
							0, msg->expire.hard, FALSE, 0);
			dst->destroy(dst);
			return;
		case IKE_MAPPING:
			if (!is_addr(&msg->mapping.sa.dst) || !is_addr(&msg->mapping.remote))
			{
				break;
			}
			INIT(mapping,
				.this = this,
				.msg = msg->mapping,
			);
			queue(report_mapping, mapping, free);
			return;
		default:
			break;
	}
	DBG1(DBG_KNL, "dpdk-pcpu-gw sent an event that is none (type %u)",
		 msg->hdr.type);
}

METHOD(kernel_ipsec_t, destroy, void,
	private_kernel_pcpu_ipsec_t *this)
{
	policy_t *policy;

	DESTROY_IF(this->socket);
	clear_sas(this);
	while (this->policies->remove_last(this->policies,
									   (void**)&policy) == SUCCESS)
	{
		free(policy);
	}
	this->policies->destroy(this->policies);
	this->sas->destroy(this->sas);
	this->mutex->destroy(this->mutex);
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
		.mutex = mutex_create(MUTEX_TYPE_DEFAULT),
		.sas = hashtable_create((hashtable_hash_t)sa_hash,
								(hashtable_equals_t)sa_equals, 32),
		.policies = linked_list_create(),
	);
	user.data = this;
	this->socket = kernel_pcpu_socket_create(user);
	if (!this->socket)
	{
		destroy(this);
		return NULL;
	}
	return &this->public;
}
