/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Messages of charon's plugin. Who writes to the socket is root or us, but a message may come
 * from another version: so nothing is taken that is not understood whole.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "ike_msg.h"

#define ENCR_AES_GCM_8 18 /* IANA, IKEv2 transform type 1 */
#define ENCR_AES_GCM_12 19
#define ENCR_AES_GCM_16 20
#define ENCR_CHACHA20_POLY1305 28
#define AUTH_NONE 1024 /* strongSwan's: no integrity transform */
#define SA_FLAGS \
	(IKE_SA_INBOUND | IKE_SA_ENCAP | IKE_SA_ESN | IKE_SA_COPY_DF | IKE_SA_COPY_ECN | \
			IKE_SA_INITIATOR | IKE_SA_REPLAYED | IKE_SA_ANY_SPORT)
#define TTL 64
#define WINDOW_STEP 64 /* the library's windows are made of words */

enum copy_dscp {
	DSCP_OUT_ONLY,
	DSCP_IN_ONLY,
	DSCP_BOTH,
	DSCP_NEITHER,
	N_DSCP
};

static int
fail(const char **why, int error, const char *sentence)
{
	*why = sentence;
	return error;
}

static bool
is_zero(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t all = 0;

	for (size_t i = 0; i < len; i++)
		all |= p[i];
	return all == 0;
}

/* Algorithms */

int
gw_ike_algo(uint16_t transform, size_t key_len, const struct ipsec_pcpu_algo **algo,
		const char **why)
{
	static const struct {
		uint16_t transform;
		uint8_t icv_len;
		const char *xfrm_name; /* the modes are told apart by it */
	} known[] = {
			{ENCR_AES_GCM_8, 8, "rfc4106(gcm(aes))"},
			{ENCR_AES_GCM_12, 12, "rfc4106(gcm(aes))"},
			{ENCR_AES_GCM_16, 16, "rfc4106(gcm(aes))"},
			{ENCR_CHACHA20_POLY1305, 16, "rfc7539esp(chacha20,poly1305)"},
	};
	unsigned int k = 0;

	*algo = NULL;
	while (k < RTE_DIM(known) && known[k].transform != transform)
		k++;
	if (k == RTE_DIM(known))
		return fail(why, ENOTSUP,
				"the encryption is none that the gateway has: AES-GCM or "
				"ChaCha20-Poly1305, "
				"esp_proposals = aes128gcm16");
	for (unsigned int i = 0; (*algo = ipsec_pcpu_algo_get(i)) != NULL; i++)
		if ((*algo)->icv_len == known[k].icv_len && (*algo)->key_len == key_len &&
				strcmp((*algo)->xfrm_name, known[k].xfrm_name) == 0)
			return 0;
	return fail(why, EINVAL, "the key has a length that the encryption does not have");
}

/* Addresses and selectors */

/** @p from may be unspecified: then @p to has family 0. */
static int
get_any_addr(struct gw_addr *to, const struct ike_addr *from, const char **why)
{
	size_t len = from->family == 4 ? 4 : 16;

	memset(to, 0, sizeof(*to));
	if (from->family != 4 && from->family != 6)
		return fail(why, EINVAL, "an address is neither IPv4 nor IPv6");
	if (from->pad != 0 || !is_zero(from->addr + len, sizeof(from->addr) - len))
		return fail(why, EINVAL, "bytes behind an address that should be 0 are not");
	if (is_zero(from->addr, len))
		return 0;
	to->family = from->family == 4 ? AF_INET : AF_INET6;
	memcpy(&to->a, from->addr, len);
	return 0;
}

static int
get_addr(struct gw_addr *to, const struct ike_addr *from, const char **why)
{
	int rc = get_any_addr(to, from, why);

	if (rc == 0 && to->family == 0)
		rc = fail(why, EINVAL, "an address is not set");
	return rc;
}

static int
get_addrs(struct gw_addr *src, const struct ike_addr *from_src, struct gw_addr *dst,
		const struct ike_addr *from_dst, const char **why)
{
	int rc = get_addr(src, from_src, why);

	if (rc == 0)
		rc = get_addr(dst, from_dst, why);
	if (rc == 0 && src->family != dst->family)
		rc = fail(why, EINVAL, "source and destination are of two families");
	return rc;
}

static int
get_key(struct gw_ike_sa_key *to, const struct ike_sa_id *from, const char **why)
{
	if (from->proto != IPPROTO_ESP)
		return fail(why, ENOTSUP, "the protocol is not ESP");
	if (!is_zero(from->pad, sizeof(from->pad)))
		return fail(why, EINVAL, "a field that should be 0 is not");
	to->spi = ntohl(from->spi);
	if (to->spi < IPSEC_PCPU_MIN_SPI)
		return fail(why, EINVAL, "the SPI is below 256: those are reserved");
	return get_addr(&to->dst, &from->dst, why);
}

/** Length of the prefix that the range is; -1: it is none. */
static int
prefix_len(const uint8_t *from, const uint8_t *to, unsigned int bits)
{
	unsigned int len = 0;

	while (len < bits && ((from[len / 8] ^ to[len / 8]) & (0x80 >> len % 8)) == 0)
		len++;
	for (unsigned int i = len; i < bits; i++)
		if ((from[i / 8] & (0x80 >> i % 8)) != 0 || (to[i / 8] & (0x80 >> i % 8)) == 0)
			return -1;
	return len;
}

static int
get_net(struct gw_prefix *to, const struct ike_ts *from, const char **why)
{
	size_t len = from->family == 4 ? 4 : 16;
	int bits;

	if (from->family != 4 && from->family != 6)
		return fail(why, EINVAL, "a selector is neither of IPv4 nor of IPv6");
	if (from->pad != 0 || !is_zero(from->from + len, sizeof(from->from) - len) ||
			!is_zero(from->to + len, sizeof(from->to) - len))
		return fail(why, EINVAL, "bytes of a selector that should be 0 are not");
	if (memcmp(from->from, from->to, len) > 0)
		return fail(why, EINVAL, "a selector ends before it begins");
	bits = prefix_len(from->from, from->to, len * 8);
	if (bits < 0)
		return fail(why, ENOTSUP,
				"a selector is a range of addresses that is no prefix: the "
				"gateway has prefixes only");
	memset(to, 0, sizeof(*to));
	to->addr.family = from->family == 4 ? AF_INET : AF_INET6;
	memcpy(&to->addr.a, from->from, len);
	to->len = bits;
	return 0;
}

static int
get_ports(struct gw_port_range *to, const struct ike_ts *from, const char **why)
{
	bool has_ports = from->proto == IPPROTO_TCP || from->proto == IPPROTO_UDP ||
			from->proto == IPPROTO_SCTP;

	*to = (struct gw_port_range){from->from_port, from->to_port};
	if (from->from_port == 0 && from->to_port == UINT16_MAX)
		return 0;
	if (from->from_port == UINT16_MAX && from->to_port == 0)
		return fail(why, ENOTSUP, "a selector has opaque ports: the gateway has no such");
	if (from->from_port > from->to_port)
		return fail(why, EINVAL, "a selector's ports end before they begin");
	if (!has_ports)
		return fail(why, ENOTSUP,
				"a selector has ports, or ICMP types, with another protocol than "
				"TCP, UDP and SCTP");
	if (from->from_port == 0)
		return fail(why, ENOTSUP, "a selector has the port 0: only of all ports it may");
	return 0;
}

static int
get_selector(struct gw_selector *to, const struct ike_ts *local, const struct ike_ts *remote,
		const char **why)
{
	int rc = get_net(&to->local, local, why);

	if (rc == 0)
		rc = get_net(&to->remote, remote, why);
	if (rc == 0 && local->family != remote->family)
		rc = fail(why, EINVAL, "the two selectors are of two families");
	/* a narrowed selector may name its protocol at one end only */
	if (rc == 0 && local->proto != remote->proto && local->proto != 0 && remote->proto != 0)
		rc = fail(why, EINVAL, "the two selectors are of two protocols");
	to->proto = local->proto != 0 ? local->proto : remote->proto;
	if (rc == 0)
		rc = get_ports(&to->local_ports, local, why);
	if (rc == 0)
		rc = get_ports(&to->remote_ports, remote, why);
	return rc;
}

/* SAs */

static int
get_crypto(struct ipsec_pcpu_sa_params *prm, const struct ike_sa_add *m, const char **why)
{
	int rc;

	if (m->int_alg != 0 && m->int_alg != AUTH_NONE)
		return fail(why, ENOTSUP, "an integrity algorithm besides the AEAD");
	if (m->int_key_len != 0 || !is_zero(m->int_key, sizeof(m->int_key)))
		return fail(why, EINVAL, "an integrity key without an algorithm");
	rc = gw_ike_algo(m->enc_alg, m->enc_key_len, &prm->algo, why);
	if (rc != 0)
		return rc;
	/* every length of the table is below both */
	if (m->enc_key_len > sizeof(prm->key) || m->enc_key_len > sizeof(m->enc_key))
		return fail(why, EINVAL, "the key is too long");
	if (!is_zero(m->enc_key + m->enc_key_len, sizeof(m->enc_key) - m->enc_key_len))
		return fail(why, EINVAL, "there is something behind the key");
	memcpy(prm->key, m->enc_key, m->enc_key_len);
	return 0;
}

/** Ports in UDP: of an inbound SA ours is enough, the library takes any of the peer's. */
static int
get_encap(struct gw_ike_new_sa *sa, const struct ike_sa_add *m, const char **why)
{
	struct ipsec_pcpu_sa_params *prm = &sa->prm;

	sa->choose_sport = (m->flags & IKE_SA_ANY_SPORT) != 0;
	if (sa->choose_sport && (prm->dir == IPSEC_PCPU_IN || (m->flags & IKE_SA_ENCAP) == 0))
		return fail(why, EINVAL, "a source port to be chosen where there is none of ours");
	/* without UDP charon puts IKE's ports there: they say nothing */
	if ((m->flags & IKE_SA_ENCAP) == 0)
		return 0;
	prm->encap_sport = ntohs(m->src.port);
	prm->encap_dport = ntohs(m->sa.dst.port);
	if (prm->encap_dport == 0)
		return fail(why, EINVAL, "UDP encapsulation without a destination port");
	if (prm->encap_sport == 0 && prm->dir == IPSEC_PCPU_OUT)
		return fail(why, EINVAL, "UDP encapsulation without a source port");
	sa->any_sport = prm->encap_sport == 0;
	if (sa->any_sport)
		prm->encap_sport = prm->encap_dport;
	return 0;
}

/** What only one of the directions has. */
static int
get_headers(struct ipsec_pcpu_sa_params *prm, const struct ike_sa_add *m, const char **why)
{
	bool copy_out = m->copy_dscp == DSCP_OUT_ONLY || m->copy_dscp == DSCP_BOTH;

	if (m->copy_dscp >= N_DSCP)
		return fail(why, EINVAL, "a way to copy DSCP that is not known");
	if (prm->dir == IPSEC_PCPU_OUT) {
		prm->ttl = TTL;
		prm->dscp = copy_out ? IPSEC_PCPU_DSCP_COPY : 0;
		prm->df = (m->flags & IKE_SA_COPY_DF) != 0 ? IPSEC_PCPU_DF_COPY
							   : IPSEC_PCPU_DF_CLEAR;
		return 0;
	}
	if (m->copy_dscp == DSCP_IN_ONLY || m->copy_dscp == DSCP_BOTH)
		return fail(why, ENOTSUP,
				"copy_dscp = in or yes: the gateway never copies DSCP to inner "
				"packets");
	if (m->replay_window > IPSEC_PCPU_MAX_REPLAY_WINDOW)
		return fail(why, ENOTSUP, "replay_window is above 4096 packets");
	prm->replay_window = RTE_ALIGN_CEIL(m->replay_window, (uint32_t)WINDOW_STEP);
	return 0;
}

/** The console shows it: what could upset a terminal or a table goes. */
static int
get_name(char *to, const char *from, const char **why)
{
	size_t len = strnlen(from, IKE_NAME_MAX);

	if (len == IKE_NAME_MAX)
		return fail(why, EINVAL, "the name of the connection has no end");
	for (size_t i = 0; i < len; i++)
		to[i] = from[i] > ' ' && from[i] <= '~' && from[i] != '"' ? from[i] : '_';
	return 0;
}

static void
get_rest(struct gw_ike_new_sa *sa, const struct ike_sa_add *m)
{
	sa->prm.pcpu = m->cpu;
	sa->prm.esn = (m->flags & IKE_SA_ESN) != 0;
	sa->prm.hard_bytes = m->hard_bytes;
	sa->prm.hard_packets = m->hard_packets;
	sa->soft_bytes = m->soft_bytes;
	sa->soft_packets = m->soft_packets;
	sa->soft_s = m->soft_s;
	sa->hard_s = m->hard_s;
	sa->reqid = m->reqid;
	sa->if_id = m->if_id;
	sa->initiator = (m->flags & IKE_SA_INITIATOR) != 0;
	sa->replayed = (m->flags & IKE_SA_REPLAYED) != 0;
}

static int
get_sa_addrs(struct ipsec_pcpu_sa_params *prm, const struct ike_sa_add *m, const char **why)
{
	struct gw_ike_sa_key key;
	struct gw_addr src;
	int rc = get_key(&key, &m->sa, why);

	if (rc == 0)
		rc = get_addrs(&src, &m->src, &key.dst, &m->sa.dst, why);
	if (rc != 0)
		return rc;
	prm->spi = key.spi;
	prm->family = key.dst.family;
	prm->saddr = src.a;
	prm->daddr = key.dst.a;
	return 0;
}

static int
get_new_sa(struct gw_ike_new_sa *sa, const struct ike_sa_add *m, const char **why)
{
	int rc;

	if ((m->flags & ~SA_FLAGS) != 0)
		return fail(why, EINVAL, "a flag of the SA that is not known");
	if (m->pad != 0)
		return fail(why, EINVAL, "a field that should be 0 is not");
	sa->prm.dir = (m->flags & IKE_SA_INBOUND) != 0 ? IPSEC_PCPU_IN : IPSEC_PCPU_OUT;
	if (sa->prm.dir == IPSEC_PCPU_OUT && (m->flags & IKE_SA_REPLAYED) != 0)
		return fail(why, EINVAL, "an outbound SA for the second time would repeat IVs");
	rc = get_sa_addrs(&sa->prm, m, why);
	if (rc == 0)
		rc = get_crypto(&sa->prm, m, why);
	if (rc == 0)
		rc = get_encap(sa, m, why);
	if (rc == 0)
		rc = get_headers(&sa->prm, m, why);
	if (rc == 0)
		rc = get_name(sa->name, m->name, why);
	get_rest(sa, m);
	if (rc == 0 && ipsec_pcpu_sa_check(&sa->prm, why) < 0)
		rc = EINVAL;
	return rc;
}

static int
get_moved_sa(struct gw_ike_moved_sa *sa, const struct ike_sa_update *m, const char **why)
{
	int rc = get_key(&sa->key, &m->sa, why);

	if (rc == 0)
		rc = get_addrs(&sa->src, &m->new_src, &sa->dst, &m->new_dst, why);
	if (rc != 0)
		return rc;
	if (m->pad != 0 || (m->flags & ~(uint32_t)IKE_SA_ENCAP) != 0)
		return fail(why, EINVAL, "a field that should be 0 is not");
	if ((m->flags & IKE_SA_ENCAP) == 0)
		return 0;
	sa->sport = ntohs(m->new_src.port);
	sa->dport = ntohs(m->new_dst.port);
	/* any source port is for inbound SAs: which way this one goes is not said here */
	if (sa->dport == 0)
		return fail(why, EINVAL, "UDP encapsulation without a destination port");
	return 0;
}

/* Policies */

static int
get_action(struct gw_ike_policy *pol, const struct ike_policy *m, const char **why)
{
	switch (m->type) {
	case IKE_PROTECT:
		pol->action = GW_ACTION_TUNNEL;
		return 0;
	case IKE_PASS:
		pol->action = GW_ACTION_BYPASS;
		return 0;
	case IKE_DROP:
		pol->action = GW_ACTION_DROP;
		return 0;
	default:
		return fail(why, EINVAL, "a policy of no known type");
	}
}

/** Its outer addresses: a trap may wait for any. */
static int
get_outer(struct gw_ike_policy *pol, const struct ike_policy *m, const char **why)
{
	bool out = pol->dir == IPSEC_PCPU_OUT;
	int rc = get_any_addr(&pol->local, out ? &m->src : &m->dst, why);

	if (rc == 0)
		rc = get_any_addr(&pol->remote, out ? &m->dst : &m->src, why);
	if (rc == 0 && pol->local.family != 0 && pol->remote.family != 0 &&
			pol->local.family != pol->remote.family)
		rc = fail(why, EINVAL, "source and destination are of two families");
	return rc;
}

static int
get_policy(struct gw_ike_policy *pol, const struct ike_policy *m, const char **why)
{
	bool out = m->dir == IKE_OUT;
	int rc;

	if (m->dir != IKE_IN && m->dir != IKE_OUT)
		return fail(why, EINVAL, "a policy of no known direction");
	if (m->prio >= GW_IKE_N_PRIOS)
		return fail(why, EINVAL, "a policy of no known priority");
	if (m->pad != 0 || (m->flags & ~IKE_POLICY_PCPU) != 0)
		return fail(why, EINVAL, "a field that should be 0 is not");
	pol->dir = out ? IPSEC_PCPU_OUT : IPSEC_PCPU_IN;
	pol->prio = (enum gw_ike_prio)m->prio;
	pol->pcpu = (m->flags & IKE_POLICY_PCPU) != 0;
	pol->reqid = m->reqid;
	pol->spi = ntohl(m->spi);
	pol->if_id = m->if_id;
	pol->manual_prio = m->manual_prio;
	if (pol->spi != 0 && pol->spi < IPSEC_PCPU_MIN_SPI)
		return fail(why, EINVAL, "the SPI is below 256: those are reserved");
	rc = get_action(pol, m, why);
	if (rc == 0)
		rc = get_outer(pol, m, why);
	if (rc == 0)
		rc = get_selector(&pol->sel, out ? &m->src_ts : &m->dst_ts,
				out ? &m->dst_ts : &m->src_ts, why);
	return rc;
}

/* Requests */

static int
get_hello(struct gw_ike_request *req, const struct ike_hello *m, const char **why)
{
	if (m->version != IKE_VERSION)
		return fail(why, EPROTONOSUPPORT,
				"charon's plugin and the gateway are of different versions");
	if (m->pcpu > 1)
		return fail(why, EINVAL, "a field that should be 0 or 1 is not");
	req->u.hello.generation = m->generation;
	req->u.hello.pcpu = m->pcpu == 1;
	return 0;
}

static int
get_alloc_spi(struct gw_ike_request *req, const struct ike_alloc_spi *m, const char **why)
{
	if (m->proto != IPPROTO_ESP)
		return fail(why, ENOTSUP, "the protocol is not ESP");
	if (!is_zero(m->pad, sizeof(m->pad)))
		return fail(why, EINVAL, "a field that should be 0 is not");
	return get_addrs(&req->u.alloc_spi.src, &m->src, &req->u.alloc_spi.dst, &m->dst, why);
}

static int
get_flush(struct gw_ike_request *req, const struct ike_flush *m, const char **why)
{
	const uint32_t known = IKE_FLUSH_SAS | IKE_FLUSH_POLICIES;

	if (m->pad != 0 || m->what == 0 || (m->what & ~known) != 0)
		return fail(why, EINVAL, "what to flush is not known");
	req->u.flush.sas = (m->what & IKE_FLUSH_SAS) != 0;
	req->u.flush.policies = (m->what & IKE_FLUSH_POLICIES) != 0;
	return 0;
}

static int
get_request(struct gw_ike_request *req, const union ike_any *m, const char **why)
{
	switch (req->type) {
	case IKE_HELLO:
		return get_hello(req, &m->hello, why);
	case IKE_ALLOC_SPI:
		return get_alloc_spi(req, &m->alloc_spi, why);
	case IKE_SA_ADD:
		return get_new_sa(&req->u.new_sa, &m->sa_add, why);
	case IKE_SA_UPDATE:
		return get_moved_sa(&req->u.moved_sa, &m->sa_update, why);
	case IKE_SA_KEEP:
	case IKE_SA_DEL:
	case IKE_SA_QUERY:
		return get_key(&req->u.key, &m->sa_ref.sa, why);
	case IKE_POL_ADD:
	case IKE_POL_DEL:
		return get_policy(&req->u.policy, &m->policy, why);
	case IKE_FLUSH:
		return get_flush(req, &m->flush, why);
	case IKE_SYNC_END:
		return 0;
	default:
		return fail(why, EBADMSG, "charon sent what only the gateway sends");
	}
}

int
gw_ike_decode(const void *msg, size_t len, struct gw_ike_request *req, const char **why)
{
	union ike_any m;
	int rc;

	memset(req, 0, sizeof(*req));
	if (len < sizeof(m.hdr) || len > sizeof(m))
		return fail(why, EBADMSG, "a message of no known length");
	memcpy(&m, msg, len); /* the buffer may begin anywhere */
	req->type = (enum ike_type)m.hdr.type;
	req->id = m.hdr.id;
	if (len != ike_msg_len(m.hdr.type))
		rc = fail(why, EBADMSG, "a message of no known type, or not of its type's length");
	else
		rc = get_request(req, &m, why);
	explicit_bzero(&m, sizeof(m));
	return rc;
}

void
gw_ike_request_wipe(struct gw_ike_request *req)
{
	explicit_bzero(req, sizeof(*req));
}

/* What we say */

void
gw_ike_put_addr(struct ike_addr *to, const struct gw_addr *addr, uint16_t port)
{
	memset(to, 0, sizeof(*to));
	to->family = addr->family == AF_INET6 ? 6 : 4;
	to->port = htons(port);
	if (addr->family != 0)
		memcpy(to->addr, &addr->a, gw_addr_len(addr->family));
}

void
gw_ike_put_key(struct ike_sa_id *to, const struct gw_ike_sa_key *key)
{
	memset(to, 0, sizeof(*to));
	gw_ike_put_addr(&to->dst, &key->dst, 0);
	to->spi = htonl(key->spi);
	to->proto = IPPROTO_ESP;
}
