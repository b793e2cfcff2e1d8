/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An SA of charon's, as the gateway gets it.
 */

#include "kernel_pcpu_sa.h"
#include "kernel_pcpu_msg.h"

#include <daemon.h>

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

/**
 * Was an outbound SA's source port drawn by lot? With encapsulation for each CPU
 * it is. Else it is that of IKE, which NATs on the way know.
 */
static bool is_any_sport(kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data)
{
	ike_sa_t *ike_sa = charon->bus->get_sa(charon->bus);
	uint16_t port = id->src->get_port(id->src);
	host_t *me;

	if (data->inbound || !data->encap || !port ||
		port == charon->socket->get_port(charon->socket, TRUE))
	{
		return FALSE;
	}
	/* some sockets have as many ports as connections want (local_port) */
	me = ike_sa ? ike_sa->get_my_host(ike_sa) : NULL;
	return !me || port != me->get_port(me);
}

/*
 * Described in header
 */
kernel_pcpu_sa_t *kernel_pcpu_sa_create(kernel_ipsec_sa_id_t *id,
										kernel_ipsec_add_sa_t *data)
{
	lifetime_cfg_t *lifetime = data->lifetime;
	struct ike_sa_add *msg;
	kernel_pcpu_sa_t *sa;

	if (is_unsupported(id, data))
	{
		return NULL;
	}
	INIT(sa,
		.msg = {
			.hdr.type = IKE_SA_ADD,
			.flags = (data->inbound ? IKE_SA_INBOUND : 0) |
					 (data->encap ? IKE_SA_ENCAP : 0) |
					 (data->esn ? IKE_SA_ESN : 0) |
					 (data->copy_df ? IKE_SA_COPY_DF : 0) |
					 (data->copy_ecn ? IKE_SA_COPY_ECN : 0) |
					 (data->initiator ? IKE_SA_INITIATOR : 0) |
					 (is_any_sport(id, data) ? IKE_SA_ANY_SPORT : 0),
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
		.id = {
			.dst = id->dst->clone(id->dst),
			.spi = id->spi,
			.proto = id->proto,
		},
		.ike_dst = id->dst->clone(id->dst),
		.since = time_monotonic(NULL),
	);
	msg = &sa->msg;
#ifdef CPU_ID_MAX
	msg->cpu = data->cpu;
#endif
	kernel_pcpu_put_addr(&msg->src, id->src);
	kernel_pcpu_put_addr(&msg->sa.dst, id->dst);
	msg->sa.spi = id->spi;
	msg->sa.proto = id->proto;
	put_name(msg->name, sizeof(msg->name));
	memcpy(msg->enc_key, data->enc_key.ptr, data->enc_key.len);
	memcpy(msg->int_key, data->int_key.ptr, data->int_key.len);
	return sa;
}

/**
 * What is left of a lifetime; not 0, which is none
 */
static uint64_t left(uint64_t lifetime, uint64_t age)
{
	return lifetime > age ? lifetime - age : min(lifetime, 1);
}

/*
 * Described in header
 */
bool kernel_pcpu_sa_age(kernel_pcpu_sa_t *sa)
{
	time_t now = time_monotonic(NULL);
	uint64_t age = now - sa->since;

	if (sa->msg.hard_s && age >= sa->msg.hard_s)
	{
		return FALSE;
	}
	sa->msg.soft_s = left(sa->msg.soft_s, age);
	sa->msg.hard_s = left(sa->msg.hard_s, age);
	sa->since = now;
	return TRUE;
}

/*
 * Described in header
 */
void kernel_pcpu_sa_destroy(kernel_pcpu_sa_t *sa)
{
	sa->id.dst->destroy(sa->id.dst);
	sa->ike_dst->destroy(sa->ike_dst);
	memwipe(sa, sizeof(*sa));
	free(sa);
}
