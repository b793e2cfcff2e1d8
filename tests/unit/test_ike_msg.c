/* SPDX-License-Identifier: BSD-3-Clause */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "front/ike_msg.h"

#define SPI 0xc1234567
#define N_RANDOM 200000

static const uint32_t requests[] = {IKE_HELLO, IKE_ALLOC_SPI, IKE_SA_ADD, IKE_SA_UPDATE,
		IKE_SA_KEEP, IKE_SA_DEL, IKE_SA_QUERY, IKE_POL_ADD, IKE_POL_DEL, IKE_SYNC_END,
		IKE_FLUSH};

/* Messages that are right */

static struct ike_addr
addr(const char *text, uint16_t port)
{
	struct ike_addr a = {.port = htons(port)};

	a.family = strchr(text, ':') != NULL ? 6 : 4;
	assert_int_equal(inet_pton(a.family == 6 ? AF_INET6 : AF_INET, text, a.addr), 1);
	return a;
}

static struct ike_ts
ts(const char *from, const char *to)
{
	struct ike_ts t = {.to_port = UINT16_MAX};
	struct ike_addr a = addr(from, 0);
	struct ike_addr b = addr(to, 0);

	t.family = a.family;
	memcpy(t.from, a.addr, sizeof(t.from));
	memcpy(t.to, b.addr, sizeof(t.to));
	return t;
}

static struct ike_sa_id
sa_id(void)
{
	return (struct ike_sa_id){
			.dst = addr("192.0.2.1", 0), .spi = htonl(SPI), .proto = IPPROTO_ESP};
}

static void
fill_sa_add(struct ike_sa_add *m)
{
	m->sa = sa_id();
	m->sa.dst.port = htons(4500);
	m->src = addr("192.0.2.2", 0);
	m->flags = IKE_SA_INBOUND | IKE_SA_ENCAP | IKE_SA_ESN | IKE_SA_COPY_DF;
	m->reqid = 7;
	m->cpu = 3;
	m->replay_window = 100;
	m->enc_alg = 20;
	m->int_alg = 1024;
	m->enc_key_len = 20;
	for (unsigned int i = 0; i < 20; i++)
		m->enc_key[i] = i + 1;
	m->soft_bytes = 1000;
	m->hard_bytes = 2000;
	strcpy(m->name, "paris");
}

static void
fill_policy(struct ike_policy *m)
{
	m->dir = IKE_OUT;
	m->type = IKE_PROTECT;
	m->prio = IKE_PRIO_SA;
	m->flags = IKE_POLICY_PCPU;
	m->reqid = 7;
	m->spi = htonl(SPI);
	m->src = addr("192.0.2.1", 500);
	m->dst = addr("192.0.2.2", 500);
	m->src_ts = ts("10.1.0.0", "10.1.255.255");
	m->dst_ts = ts("10.2.0.0", "10.2.0.127");
}

static union ike_any
good(uint32_t type)
{
	union ike_any m;

	memset(&m, 0, sizeof(m));
	m.hdr = (struct ike_hdr){type, 42};
	switch (type) {
	case IKE_HELLO:
		m.hello.version = IKE_VERSION;
		m.hello.generation = 5;
		break;
	case IKE_ALLOC_SPI:
		m.alloc_spi.src = addr("2001:db8::2", 0);
		m.alloc_spi.dst = addr("2001:db8::1", 0);
		m.alloc_spi.proto = IPPROTO_ESP;
		break;
	case IKE_SA_ADD:
		fill_sa_add(&m.sa_add);
		break;
	case IKE_SA_UPDATE:
		m.sa_update.sa = sa_id();
		m.sa_update.new_src = addr("198.51.100.2", 0);
		m.sa_update.new_dst = addr("192.0.2.1", 4500);
		m.sa_update.flags = IKE_SA_ENCAP;
		break;
	case IKE_POL_ADD:
	case IKE_POL_DEL:
		fill_policy(&m.policy);
		break;
	case IKE_FLUSH:
		m.flush.what = IKE_FLUSH_SAS;
		break;
	case IKE_SYNC_END:
		break;
	default:
		m.sa_ref.sa = sa_id();
	}
	return m;
}

/** Decode in a block of just this size, so that a sanitizer sees what reads behind it. */
static int
decode(const void *msg, size_t len, struct gw_ike_request *req)
{
	const char *why = NULL;
	uint8_t *copy = malloc(len + 1);
	int rc;

	assert_non_null(copy);
	memcpy(copy + 1, msg, len); /* nothing is aligned */
	rc = gw_ike_decode(copy + 1, len, req, &why);
	assert_true(rc >= 0);
	assert_true(rc == 0 || (why != NULL && strlen(why) > 10));
	free(copy);
	return rc;
}

static int
decode_msg(const union ike_any *m, struct gw_ike_request *req)
{
	return decode(m, ike_msg_len(m->hdr.type), req);
}

/* Tests */

static void
test_good(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(requests); i++) {
		union ike_any m = good(requests[i]);
		struct gw_ike_request req;

		assert_int_equal(decode_msg(&m, &req), 0);
		assert_int_equal(req.type, requests[i]);
		assert_int_equal(req.id, 42);
	}
}

static void
test_lengths(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(requests); i++) {
		union ike_any m = good(requests[i]);
		struct gw_ike_request req;

		for (size_t len = 0; len <= sizeof(m); len++)
			if (len != ike_msg_len(requests[i]))
				assert_int_equal(decode(&m, len, &req), EBADMSG);
	}
}

static void
test_types(void **state)
{
	static const uint32_t foreign[] = {0, IKE_FLUSH + 1, IKE_REPLY, IKE_ACQUIRE, IKE_EXPIRE,
			IKE_MAPPING, IKE_MAPPING + 1, UINT32_MAX};
	union ike_any m;
	struct gw_ike_request req;

	(void)state;
	memset(&m, 0, sizeof(m));
	for (unsigned int i = 0; i < RTE_DIM(foreign); i++) {
		m.hdr.type = foreign[i];
		for (size_t len = 0; len <= sizeof(m); len++)
			assert_int_equal(decode(&m, len, &req), EBADMSG);
	}
}

static void
test_inbound(void **state)
{
	union ike_any m = good(IKE_SA_ADD);
	struct gw_ike_request req;
	const struct ipsec_pcpu_sa_params *prm = &req.u.new_sa.prm;

	(void)state;
	assert_int_equal(decode_msg(&m, &req), 0);
	assert_int_equal(prm->dir, IPSEC_PCPU_IN);
	assert_int_equal(prm->spi, SPI);
	assert_int_equal(prm->pcpu, 3);
	assert_string_equal(prm->algo->name, "aes128gcm16");
	assert_memory_equal(prm->key, m.sa_add.enc_key, 20);
	assert_true(prm->esn);
	assert_int_equal(prm->replay_window, 128);
	assert_int_equal(prm->family, AF_INET);
	assert_memory_equal(&prm->saddr, m.sa_add.src.addr, 4);
	assert_memory_equal(&prm->daddr, m.sa_add.sa.dst.addr, 4);
	assert_int_equal(prm->encap_sport, 4500); /* any: ours, for want of one */
	assert_int_equal(prm->encap_dport, 4500);
	assert_true(req.u.new_sa.any_sport);
	assert_false(req.u.new_sa.choose_sport);
	assert_int_equal(prm->hard_bytes, 2000);
	assert_int_equal(req.u.new_sa.soft_bytes, 1000);
	assert_int_equal(req.u.new_sa.reqid, 7);
	assert_string_equal(req.u.new_sa.name, "paris");
	assert_false(req.u.new_sa.initiator);
}

static void
test_outbound(void **state)
{
	union ike_any m = good(IKE_SA_ADD);
	struct gw_ike_request req;
	const struct ipsec_pcpu_sa_params *prm = &req.u.new_sa.prm;

	(void)state;
	m.sa_add.flags = IKE_SA_INITIATOR;
	m.sa_add.src.port = htons(500); /* not in UDP: means nothing */
	m.sa_add.cpu = IKE_CPU_NONE;
	m.sa_add.replay_window = 1 << 20; /* the peer's */
	m.sa_add.copy_dscp = 3;
	strcpy(m.sa_add.name, "a\033[1m\"b c");
	assert_int_equal(decode_msg(&m, &req), 0);
	assert_int_equal(prm->dir, IPSEC_PCPU_OUT);
	assert_int_equal(prm->pcpu, IPSEC_PCPU_ANY);
	assert_int_equal(prm->encap_sport | prm->encap_dport, 0);
	assert_false(req.u.new_sa.any_sport);
	assert_int_equal(prm->ttl, 64);
	assert_int_equal(prm->dscp, 0);
	assert_int_equal(prm->df, IPSEC_PCPU_DF_CLEAR);
	assert_int_equal(prm->replay_window, 0);
	assert_true(req.u.new_sa.initiator);
	assert_string_equal(req.u.new_sa.name, "a_[1m_b_c");
}

static void
test_sport(void **state)
{
	union ike_any m = good(IKE_SA_ADD);
	struct gw_ike_request req;
	const struct ipsec_pcpu_sa_params *prm = &req.u.new_sa.prm;

	(void)state;
	m.sa_add.flags = IKE_SA_ENCAP;
	m.sa_add.src.port = htons(50000); /* IKE's own */
	assert_int_equal(decode_msg(&m, &req), 0);
	assert_false(req.u.new_sa.choose_sport);
	m.sa_add.flags = IKE_SA_ENCAP | IKE_SA_ANY_SPORT;
	assert_int_equal(decode_msg(&m, &req), 0);
	assert_true(req.u.new_sa.choose_sport);
	assert_int_equal(prm->encap_sport, 50000);
	assert_int_equal(prm->encap_dport, 4500);
	m.sa_add.flags = IKE_SA_ENCAP | IKE_SA_INBOUND; /* from the port of the peer's IKE */
	assert_int_equal(decode_msg(&m, &req), 0);
	assert_int_equal(prm->encap_sport, 50000);
	assert_false(req.u.new_sa.any_sport);
}

static void
test_algos(void **state)
{
	static const struct {
		uint16_t transform;
		uint16_t key_len;
		const char *name;
	} algos[] = {{18, 20, "aes128gcm8"}, {19, 20, "aes128gcm12"}, {20, 20, "aes128gcm16"},
			{18, 28, "aes192gcm8"}, {19, 28, "aes192gcm12"}, {20, 28, "aes192gcm16"},
			{18, 36, "aes256gcm8"}, {19, 36, "aes256gcm12"}, {20, 36, "aes256gcm16"},
			{28, 36, "chacha20poly1305"}};
	const struct ipsec_pcpu_algo *algo;
	unsigned int found = 0;
	const char *why;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(algos); i++) {
		assert_int_equal(gw_ike_algo(algos[i].transform, algos[i].key_len, &algo, &why), 0);
		assert_string_equal(algo->name, algos[i].name);
	}
	/* each row of the library's table is reached, and nothing else */
	for (unsigned int t = 0; t <= UINT16_MAX; t++)
		for (unsigned int len = 0; len <= IKE_KEY_MAX; len++)
			found += gw_ike_algo(t, len, &algo, &why) == 0;
	assert_int_equal(found, RTE_DIM(algos));
	while (found > 0)
		assert_non_null(ipsec_pcpu_algo_get(--found));
	assert_null(ipsec_pcpu_algo_get(RTE_DIM(algos)));
}

static void
test_policy(void **state)
{
	union ike_any m = good(IKE_POL_ADD);
	struct gw_ike_request req;
	const struct gw_ike_policy *p = &req.u.policy;
	char text[GW_ADDR_STRLEN];

	(void)state;
	assert_int_equal(decode_msg(&m, &req), 0);
	assert_string_equal(gw_prefix_text(&p->sel.local, text), "10.1.0.0/16");
	assert_string_equal(gw_prefix_text(&p->sel.remote, text), "10.2.0.0/25");
	assert_int_equal(p->action, GW_ACTION_TUNNEL);
	assert_int_equal(p->prio, GW_IKE_PRIO_SA);
	assert_int_equal(p->spi, SPI);
	assert_true(p->pcpu);
	/* inbound: the same seen from the other side */
	m.policy.dir = IKE_IN;
	m.policy.src = addr("0.0.0.0", 0);
	m.policy.src_ts.proto = m.policy.dst_ts.proto = IPPROTO_TCP;
	m.policy.src_ts.from_port = m.policy.src_ts.to_port = 80;
	assert_int_equal(decode_msg(&m, &req), 0);
	assert_string_equal(gw_prefix_text(&p->sel.local, text), "10.2.0.0/25");
	assert_string_equal(gw_prefix_text(&p->sel.remote, text), "10.1.0.0/16");
	assert_int_equal(p->sel.remote_ports.min, 80);
	assert_int_equal(p->sel.remote_ports.max, 80);
	assert_int_equal(p->sel.local_ports.max, UINT16_MAX);
	assert_int_equal(p->sel.proto, IPPROTO_TCP);
	assert_int_equal(p->remote.family, 0);
	assert_int_equal(p->local.family, AF_INET);
}

static void
test_selector6(void **state)
{
	union ike_any m = good(IKE_POL_ADD);
	struct gw_ike_request req;
	char text[GW_ADDR_STRLEN];

	(void)state;
	m.policy.src_ts = ts("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	m.policy.dst_ts = ts("2001:db8::1", "2001:db8::1");
	assert_int_equal(decode_msg(&m, &req), 0);
	assert_string_equal(gw_prefix_text(&req.u.policy.sel.local, text), "::/0");
	assert_int_equal(req.u.policy.sel.remote.len, 128);
}

/* One thing wrong at a time; CHANGE may name m. */
#define REFUSE(type, error, change) \
	do { \
		union ike_any m = good(type); \
		struct gw_ike_request req; \
		change; \
		assert_int_equal(decode_msg(&m, &req), error); \
	} while (0)

static void
test_refuse_small(void **state)
{
	(void)state;
	REFUSE(IKE_HELLO, EPROTONOSUPPORT, m.hello.version = IKE_VERSION + 1);
	REFUSE(IKE_HELLO, EINVAL, m.hello.pcpu = 2);
	REFUSE(IKE_ALLOC_SPI, ENOTSUP, m.alloc_spi.proto = IPPROTO_AH);
	REFUSE(IKE_ALLOC_SPI, EINVAL, m.alloc_spi.pad[6] = 1);
	REFUSE(IKE_ALLOC_SPI, EINVAL, m.alloc_spi.src = addr("192.0.2.1", 0));
	REFUSE(IKE_ALLOC_SPI, EINVAL, m.alloc_spi.dst = addr("::", 0));
	REFUSE(IKE_ALLOC_SPI, EINVAL, m.alloc_spi.dst.family = 5);
	REFUSE(IKE_ALLOC_SPI, EINVAL, m.alloc_spi.dst.pad = 1);
	REFUSE(IKE_FLUSH, EINVAL, m.flush.what = 0);
	REFUSE(IKE_FLUSH, EINVAL, m.flush.what = 4);
	REFUSE(IKE_FLUSH, EINVAL, m.flush.pad = 1);
	for (uint32_t type = IKE_SA_KEEP; type <= IKE_SA_QUERY; type++) {
		REFUSE(type, EINVAL, m.sa_ref.sa.spi = htonl(255));
		REFUSE(type, ENOTSUP, m.sa_ref.sa.proto = 0);
		REFUSE(type, EINVAL, m.sa_ref.sa.pad[0] = 1);
		REFUSE(type, EINVAL, m.sa_ref.sa.dst.addr[4] = 1);
	}
	REFUSE(IKE_SA_UPDATE, EINVAL, m.sa_update.new_dst.port = 0);
	REFUSE(IKE_SA_UPDATE, EINVAL, m.sa_update.new_dst = addr("2001:db8::1", 4500));
	REFUSE(IKE_SA_UPDATE, EINVAL, m.sa_update.flags = IKE_SA_ENCAP | IKE_SA_ESN);
	REFUSE(IKE_SA_UPDATE, EINVAL, m.sa_update.pad = 1);
	REFUSE(IKE_SA_UPDATE, EINVAL, m.sa_update.sa.spi = 0);
}

static void
test_refuse_sa(void **state)
{
	(void)state;
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.flags |= 256);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.flags |= IKE_SA_ANY_SPORT);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.flags = IKE_SA_ANY_SPORT);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.flags = IKE_SA_REPLAYED);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.pad = 1);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.sa.spi = htonl(255));
	REFUSE(IKE_SA_ADD, ENOTSUP, m.sa_add.sa.proto = IPPROTO_AH);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.src = addr("2001:db8::2", 0));
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.src = addr("0.0.0.0", 0));
	REFUSE(IKE_SA_ADD, ENOTSUP, m.sa_add.enc_alg = 12);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.enc_alg = 28);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.enc_key_len = 16);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.enc_key_len = UINT16_MAX);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.enc_key[20] = 1);
	REFUSE(IKE_SA_ADD, ENOTSUP, m.sa_add.int_alg = 12);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.int_key_len = 1);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.int_key[79] = 1);
	REFUSE(IKE_SA_ADD, ENOTSUP, m.sa_add.replay_window = 4097);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.copy_dscp = 4);
	REFUSE(IKE_SA_ADD, ENOTSUP, m.sa_add.copy_dscp = 1);
	REFUSE(IKE_SA_ADD, ENOTSUP, m.sa_add.copy_dscp = 2);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.sa.dst.port = 0);
	REFUSE(IKE_SA_ADD, EINVAL, m.sa_add.flags &= ~(uint32_t)IKE_SA_INBOUND);
	REFUSE(IKE_SA_ADD, EINVAL, memset(m.sa_add.name, 'a', sizeof(m.sa_add.name)));
}

static void
test_refuse_policy(void **state)
{
	(void)state;
	REFUSE(IKE_POL_ADD, EINVAL, m.policy.dir = 2);
	REFUSE(IKE_POL_ADD, EINVAL, m.policy.type = 0);
	REFUSE(IKE_POL_ADD, EINVAL, m.policy.type = 4);
	REFUSE(IKE_POL_ADD, EINVAL, m.policy.prio = 4);
	REFUSE(IKE_POL_ADD, EINVAL, m.policy.flags = 2);
	REFUSE(IKE_POL_ADD, EINVAL, m.policy.pad = 1);
	REFUSE(IKE_POL_ADD, EINVAL, m.policy.spi = htonl(1));
	REFUSE(IKE_POL_ADD, EINVAL, m.policy.src = addr("2001:db8::1", 0));
	REFUSE(IKE_POL_ADD, EINVAL, m.policy.src_ts = ts("::", "::"));
	REFUSE(IKE_POL_ADD, EINVAL, m.policy.src_ts.family = 0);
	REFUSE(IKE_POL_ADD, EINVAL, m.policy.src_ts.pad = 1);
	REFUSE(IKE_POL_ADD, EINVAL, m.policy.dst_ts.to[4] = 1);
	REFUSE(IKE_POL_ADD, EINVAL, m.policy.dst_ts = ts("10.2.0.9", "10.2.0.8"));
	REFUSE(IKE_POL_ADD, ENOTSUP, m.policy.dst_ts = ts("10.2.0.1", "10.2.0.2"));
	REFUSE(IKE_POL_ADD, ENOTSUP, m.policy.dst_ts = ts("10.2.0.0", "10.2.0.2"));
	REFUSE(IKE_POL_ADD, ENOTSUP, m.policy.src_ts.from_port = 1);
	REFUSE(IKE_POL_ADD, EINVAL, (m.policy.src_ts.from_port = 9, m.policy.src_ts.to_port = 8));
	REFUSE(IKE_POL_ADD, ENOTSUP,
			(m.policy.src_ts.from_port = UINT16_MAX, m.policy.src_ts.to_port = 0));
	REFUSE(IKE_POL_ADD, ENOTSUP, (m.policy.src_ts.proto = 6, m.policy.src_ts.to_port = 8));
	REFUSE(IKE_POL_ADD, EINVAL, (m.policy.src_ts.proto = 6, m.policy.dst_ts.proto = 17));
}

/** Any bytes behind a right header, and single bytes of a right message changed. */
static void
test_random(void **state)
{
	struct gw_ike_request req;

	(void)state;
	srandom(1);
	for (unsigned int n = 0; n < N_RANDOM; n++) {
		union ike_any m = good(requests[n % RTE_DIM(requests)]);
		size_t len = ike_msg_len(m.hdr.type);
		uint8_t *bytes = (uint8_t *)&m;

		if (n % 2 == 0 && len > sizeof(m.hdr))
			bytes[sizeof(m.hdr) + random() % (len - sizeof(m.hdr))] = random();
		else
			for (size_t i = sizeof(m.hdr); i < len; i++)
				bytes[i] = random();
		decode(&m, len, &req);
	}
}

static void
test_wipe(void **state)
{
	union ike_any m = good(IKE_SA_ADD);
	struct gw_ike_request req;
	struct gw_ike_request clean;

	(void)state;
	memset(&clean, 0, sizeof(clean));
	assert_int_equal(decode_msg(&m, &req), 0);
	gw_ike_request_wipe(&req);
	assert_memory_equal(&req, &clean, sizeof(req));
}

static void
test_put(void **state)
{
	struct gw_ike_sa_key key = {.spi = SPI};
	struct ike_sa_id id;
	struct ike_sa_id want = sa_id();

	(void)state;
	assert_int_equal(gw_addr_parse("192.0.2.1", &key.dst), 0);
	memset(&id, 0xff, sizeof(id));
	gw_ike_put_key(&id, &key);
	assert_memory_equal(&id, &want, sizeof(id));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_good),
			cmocka_unit_test(test_lengths),
			cmocka_unit_test(test_types),
			cmocka_unit_test(test_inbound),
			cmocka_unit_test(test_outbound),
			cmocka_unit_test(test_sport),
			cmocka_unit_test(test_algos),
			cmocka_unit_test(test_policy),
			cmocka_unit_test(test_selector6),
			cmocka_unit_test(test_refuse_small),
			cmocka_unit_test(test_refuse_sa),
			cmocka_unit_test(test_refuse_policy),
			cmocka_unit_test(test_random),
			cmocka_unit_test(test_wipe),
			cmocka_unit_test(test_put),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
