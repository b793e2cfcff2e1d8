/* SPDX-License-Identifier: BSD-3-Clause */

/* app/control/ike_spi.c: which SPIs are given out, on a NIC that spreads plain ESP by them. */

#include <stdlib.h>
#include <sys/random.h>

#include "control/ike_priv.h"
#include "steer_fake.h"

#define N 16
#define PEER 1 /* host number in 192.0.2.0/24; others follow */
#define SPI_BITS UINT32_C(0x0fffffff)

static struct gw gw;
static struct gw_ike ike;
static struct gw_tunnel tunnel[4];
static struct gw_config_tunnel tunnel_cfg[4];
static struct gw_sa isa[64];
static struct gw_sa_ike info[64];
static struct gw_sa *list[4][64];
static bool pending[N];
static unsigned int n_looks;
static uint32_t used; /* an SPI that another SA has; 0: none */
static unsigned int n_again; /* so often the same comes by lot */

/** Of the C library; this test's numbers are as good. */
ssize_t
getrandom(void *to, size_t len, unsigned int flags)
{
	static uint32_t last[64];

	assert_int_equal(len, sizeof(last));
	if (n_again == 0)
		random_bytes(last, sizeof(last));
	else
		n_again--;
	memcpy(to, last, len);
	return (ssize_t)len;
}

const struct gw_steer_port *
gw_steering_port(const struct gw *g, unsigned int i)
{
	assert_int_equal(i, 1);
	return &sp;
}

uint16_t
gw_steering_port_to(const struct gw *g, const struct gw_addr *local)
{
	return 1;
}

void
gw_steering_look(struct gw *g)
{
	n_looks++;
}

bool
gw_inbound_has(const struct gw *g, uint32_t spi)
{
	return spi == used;
}

bool
gw_ike_is_pending(const struct gw_tunnel *t, uint32_t worker)
{
	return t == &tunnel[0] && pending[worker];
}

static struct gw_addr
host(unsigned int n)
{
	return (struct gw_addr){AF_INET, {.ip4 = rte_cpu_to_be_32(0xc0000200 | n)}};
}

static uint32_t
alloc(unsigned int peer)
{
	struct gw_addr from = host(peer), to = host(250);
	uint32_t spi = 0;

	assert_int_equal(gw_ike_alloc_spi(&gw, &from, &to, &spi, &err), 0);
	assert_int_equal(spi & ~SPI_BITS, 0xc0000000);
	return spi;
}

/** Where the NIC puts packets of an SPI that was given out to a peer. */
static unsigned int
lands_on(unsigned int peer, uint32_t spi)
{
	struct gw_steer_sa s = {.spi = spi,
			.tuple = {.family = AF_INET, .saddr = host(peer).a, .daddr = host(250).a}};

	return lands(&s);
}

static unsigned int
alloc_lands(unsigned int peer)
{
	return lands_on(peer, alloc(peer));
}

/** An inbound SA of a peer's on a worker, in the tunnel of that peer. */
static struct gw_sa *
add_sa(unsigned int peer, uint32_t spi, uint16_t worker, uint32_t cpu)
{
	struct gw_tunnel *t = &tunnel[peer - PEER];
	struct gw_sa *s = &isa[gw.sa_number];

	info[gw.sa_number] = (struct gw_sa_ike){.cpu = cpu};
	*s = (struct gw_sa){.prm = {.dir = IPSEC_PCPU_IN,
					    .spi = spi,
					    .family = AF_INET,
					    .saddr = host(peer).a,
					    .daddr = host(250).a},
			.worker = worker,
			.ike = &info[gw.sa_number],
			.steer_port = GW_NONE,
			.created = gw_now_ns(),
			.number = gw.sa_number};
	gw.sa_number++;
	t->sas[t->n_sas++] = s;
	gw_ike_spi_free(&ike, spi);
	return s;
}

/** As charon: an SPI, and the SA where it leads to. */
static struct gw_sa *
negotiate(unsigned int peer, uint32_t cpu)
{
	uint32_t spi = alloc(peer);
	uint16_t worker;
	struct ipsec_pcpu_sa_params prm = {.dir = IPSEC_PCPU_IN,
			.spi = spi,
			.family = AF_INET,
			.saddr = host(peer).a,
			.daddr = host(250).a};

	assert_true(gw_ike_spi_lands(&gw, &prm, &worker));
	assert_int_equal(worker, lands_on(peer, spi));
	return add_sa(peer, spi, worker, cpu);
}

static void
start(enum gw_steer_esp_by esp)
{
	make_nic(N, 128);
	nic.esp = esp;
	nic.update_rc = -ENOTSUP;
	open_it(GW_STEER_AUTO, "soft");
	sp.rss.esp4.by = esp;
	memset(&ike, 0, sizeof(ike));
	memset(pending, 0, sizeof(pending));
	used = 0;
	n_looks = 0;
	gw = (struct gw){.ike = &ike, .tunnel = tunnel, .n_tunnels = 4, .n_workers = N};
	for (unsigned int i = 0; i < 4; i++) {
		tunnel_cfg[i] = (struct gw_config_tunnel){.name = "t", .remote = host(PEER + i)};
		tunnel[i] = (struct gw_tunnel){.cfg = &tunnel_cfg[i],
				.ike = (struct gw_ike_tunnel *)&ike, /* not looked at */
				.id = (uint16_t)i,
				.sas = list[i]};
	}
}

/* Random, and unique */

static int
by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/** How many differ in these bits. */
static unsigned int
distinct(const uint32_t *spis, unsigned int n, uint32_t mask)
{
	static uint32_t v[GW_IKE_MAX_SPIS];
	unsigned int count = 1;

	for (unsigned int i = 0; i < n; i++)
		v[i] = spis[i] & mask;
	qsort(v, n, sizeof(v[0]), by_value);
	for (unsigned int i = 1; i < n; i++)
		count += v[i] != v[i - 1];
	return count;
}

/**
 * Each bit is set in half of them, and any 20 bits in a row repeat about as seldom as chance has
 * it: 8 of 4,096 numbers are another's of 20 bits, 125 would be of 16.
 */
static void
check_random(const uint32_t *spis)
{
	for (unsigned int bit = 0; bit < 28; bit++) {
		unsigned int n = 0;

		for (unsigned int i = 0; i < GW_IKE_MAX_SPIS; i++)
			n += spis[i] >> bit & 1;
		assert_in_range(n, GW_IKE_MAX_SPIS * 9 / 20, GW_IKE_MAX_SPIS * 11 / 20);
	}
	assert_int_equal(distinct(spis, GW_IKE_MAX_SPIS, UINT32_MAX), GW_IKE_MAX_SPIS);
	for (unsigned int shift = 0; shift <= 8; shift++)
		assert_true(distinct(spis, GW_IKE_MAX_SPIS, UINT32_C(0xfffff) << shift) >
				GW_IKE_MAX_SPIS - 24);
}

static void
run_random(enum gw_steer_esp_by esp, bool one_queue)
{
	struct gw_addr from = host(PEER), to = host(250);
	uint32_t spis[GW_IKE_MAX_SPIS], more;
	unsigned int n[N] = {0};

	start(esp);
	/* all that one worker gets: its queue is the only one, but for a few entries */
	for (unsigned int i = 0; one_queue && i < 128; i++)
		sp.rss.reta[i] = nic.reta[i] = nic.spread[i] = i % 16 == 5 ? 3 : 16;
	for (unsigned int i = 0; i < GW_IKE_MAX_SPIS; i++) {
		spis[i] = alloc(PEER);
		n[lands_on(PEER, spis[i]) % N] += 1;
	}
	check_random(spis);
	for (unsigned int w = 0; w < N && esp != GW_STEER_ESP_UNKNOWN; w++)
		if (one_queue)
			assert_int_equal(n[w], w == 3 ? GW_IKE_MAX_SPIS : 0);
		else
			assert_int_equal(n[w], GW_IKE_MAX_SPIS / N);
	assert_int_equal(gw_ike_alloc_spi(&gw, &from, &to, &more, &err), -ENOSPC);
	assert_true(gw_ike_spi_free(&ike, spis[7]));
	assert_false(gw_ike_spi_free(&ike, spis[7]));
	alloc(PEER);
	assert_int_equal(ike.counts.spis_allocated, GW_IKE_MAX_SPIS + 1);
	finish(NULL);
}

static void
test_random(void **state)
{
	run_random(GW_STEER_ESP_UNKNOWN, false);
	run_random(GW_STEER_ESP_SPI, false);
	run_random(GW_STEER_ESP_ADDRS, false);
	run_random(GW_STEER_ESP_SPI, true);
}

/** One that is drawn again is not given out again, nor one that an SA has. */
static void
test_unique(void **state)
{
	for (unsigned int i = 0; i < 2; i++) {
		uint32_t first, second;

		start(i == 0 ? GW_STEER_ESP_UNKNOWN : GW_STEER_ESP_SPI);
		/* all are for one worker */
		for (unsigned int k = 0; k < 128; k++)
			sp.rss.reta[k] = nic.reta[k] = nic.spread[k] = k % 2 == 0 ? 3 : N;
		first = alloc(PEER);
		n_again = 5;
		second = alloc(PEER);
		assert_int_not_equal(first, second);
		assert_int_equal(n_again, 0);
		if (i == 1)
			assert_int_equal(lands_on(PEER, second), 3);
		assert_true(gw_ike_spi_free(&ike, first));
		assert_true(gw_ike_spi_free(&ike, second));
		used = second;
		n_again = 5;
		assert_int_not_equal(alloc(PEER), second);
		assert_int_equal(n_again, 0);
		finish(NULL);
	}
}

/** One entry of many: the lot may not fall on it, so the next one that does is taken. */
static void
test_rare(void **state)
{
	start(GW_STEER_ESP_SPI);
	sp.rss.reta_size = nic.reta_size = 4096;
	for (unsigned int i = 0; i < 4096; i++)
		sp.rss.reta[i] = nic.reta[i] = nic.spread[i] = i == 77 ? 5 : N;
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(alloc_lands(PEER), 5);
}

/* Which worker */

/** One for each, whoever asks; then peers are apart from each other, but not on one worker. */
static void
test_spread(void **state)
{
	unsigned int n[N] = {0};

	start(GW_STEER_ESP_SPI);
	n[negotiate(PEER, IPSEC_PCPU_ANY)->worker]++;
	for (unsigned int i = 0; i < N; i++)
		n[negotiate(PEER, i)->worker]++;
	for (unsigned int w = 0; w < N; w++) {
		assert_in_range(n[w], 1, 2);
		n[w] = 0;
	}
	for (unsigned int i = 0; i < 2 * N; i++)
		n[alloc_lands(PEER + 1)]++;
	for (unsigned int w = 0; w < N; w++)
		assert_int_equal(n[w], 2);
}

/** Many peers with one SA each. */
static void
test_many_peers(void **state)
{
	unsigned int n[N] = {0};

	start(GW_STEER_ESP_ADDRS);
	for (unsigned int i = 0; i < 3 * N; i++)
		n[alloc_lands(100 + i)]++;
	for (unsigned int w = 0; w < N; w++)
		assert_int_equal(n[w], 3);
}

static void
test_asked(void **state)
{
	start(GW_STEER_ESP_SPI);
	pending[11] = pending[4] = true;
	assert_int_equal(negotiate(PEER, 4)->worker, 4);
	assert_int_equal(negotiate(PEER, 11)->worker, 11);
	/* not those of another peer */
	assert_int_not_equal(alloc_lands(PEER + 1), 4);
}

/** One whose time is over is renewed where it is, unless others have none at all. */
static void
test_due(void **state)
{
	struct gw_sa *s[N], *b;
	uint32_t first;

	start(GW_STEER_ESP_SPI);
	for (unsigned int i = 0; i < N; i++)
		s[i] = negotiate(PEER, i);
	s[9]->ike->soft_said = s[2]->ike->soft_said = true;
	first = alloc(PEER);
	assert_int_equal(lands_on(PEER, first), s[2]->worker);
	assert_int_equal(alloc_lands(PEER), s[9]->worker);
	/* it came to nothing: so the next one is for it */
	assert_true(gw_ike_spi_free(&ike, first));
	assert_int_equal(alloc_lands(PEER), s[2]->worker);
	/* by charon's clock, and by that of the one made with it */
	s[5]->ike->soft_s = 3600;
	s[5]->created -= 3599 * GW_NS_PER_S;
	assert_int_not_equal(alloc_lands(PEER), s[5]->worker); /* the oldest: s[0] */
	s[5]->created -= GW_NS_PER_S;
	assert_int_equal(alloc_lands(PEER), s[5]->worker);
	b = negotiate(PEER + 1, 0);
	s[6]->pair = b;
	b->ike->soft_said = true;
	assert_int_equal(alloc_lands(PEER), s[6]->worker);

	/* two on one worker, and most have none */
	finish(NULL);
	start(GW_STEER_ESP_SPI);
	b = negotiate(PEER, 0);
	add_sa(PEER, 0xd0000000, b->worker, 1);
	b->ike->soft_said = true;
	assert_int_not_equal(alloc_lands(PEER), b->worker);
}

/** A renewal that nobody has announced, where all have one: the oldest, then the next. */
static void
test_oldest(void **state)
{
	struct gw_sa *s[N];

	start(GW_STEER_ESP_SPI);
	for (unsigned int i = 0; i < N; i++)
		s[i] = negotiate(PEER, i);
	for (unsigned int i = 0; i < N; i++) {
		struct gw_sa *new = negotiate(PEER, i);

		assert_int_equal(new->worker, s[i]->worker);
		s[i]->ike->renewed = true;
	}
}

/* Where there is nothing to choose */

static bool
has_worker(uint32_t spi)
{
	for (unsigned int i = 0; i < GW_IKE_MAX_SPIS; i++)
		if (ike.spi[i].spi == spi)
			return ike.spi[i].worker != GW_NONE;
	fail_msg("0x%x was not given out", spi);
	return false;
}

static void
test_no_choice(void **state)
{
	struct gw_steer_sa seen = {.seen = true};
	struct gw_sa *s;

	start(GW_STEER_ESP_UNKNOWN);
	assert_false(has_worker(alloc(PEER)));
	assert_int_equal(n_looks, 0);
	s = add_sa(PEER, 0xd0000000, 0, 0); /* from now on it can be learned */
	assert_false(has_worker(alloc(PEER)));
	assert_int_equal(n_looks, 1);
	sp.rss.esp4.by = nic.esp = GW_STEER_ESP_SPI;
	assert_true(has_worker(alloc(PEER)));
	assert_int_equal(n_looks, 1);
	/* a peer whose packets come in UDP */
	s->prm.encap_dport = 4500;
	s->steer = &seen;
	s->steer_port = 1;
	assert_false(has_worker(alloc(PEER)));
	assert_true(has_worker(alloc(PEER + 1)));
}

/** What an SPI was chosen for counts as long as all is as it was then. */
static void
test_lands(void **state)
{
	struct ipsec_pcpu_sa_params prm = {.dir = IPSEC_PCPU_IN,
			.family = AF_INET,
			.saddr = host(PEER).a,
			.daddr = host(250).a};
	uint16_t worker;

	start(GW_STEER_ESP_ADDRS);
	prm.spi = alloc(PEER);
	assert_true(gw_ike_spi_lands(&gw, &prm, &worker));
	prm.encap_dport = 4500;
	assert_false(gw_ike_spi_lands(&gw, &prm, &worker));
	prm.encap_dport = 0;
	prm.dir = IPSEC_PCPU_OUT;
	assert_false(gw_ike_spi_lands(&gw, &prm, &worker));
	prm.dir = IPSEC_PCPU_IN;
	for (unsigned int i = 0; i < 128; i++)
		sp.rss.reta[i] = (sp.rss.reta[i] + 1) % N;
	assert_false(gw_ike_spi_lands(&gw, &prm, &worker));
	memcpy(sp.rss.reta, nic.reta, 128 * sizeof(nic.reta[0]));
	assert_true(gw_ike_spi_lands(&gw, &prm, &worker));
	gw_steer_esp_forget(&sp.rss);
	assert_false(gw_ike_spi_lands(&gw, &prm, &worker));
	/* one that was drawn before anything was known was for no worker */
	prm.spi = alloc(PEER);
	sp.rss.esp4.by = GW_STEER_ESP_ADDRS;
	assert_false(gw_ike_spi_lands(&gw, &prm, &worker));
	prm.spi = 0xc0ffee00;
	assert_false(gw_ike_spi_lands(&gw, &prm, &worker));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_random),
			cmocka_unit_test(test_unique),
			cmocka_unit_test_teardown(test_rare, finish),
			cmocka_unit_test_teardown(test_spread, finish),
			cmocka_unit_test_teardown(test_many_peers, finish),
			cmocka_unit_test_teardown(test_asked, finish),
			cmocka_unit_test_teardown(test_due, finish),
			cmocka_unit_test_teardown(test_oldest, finish),
			cmocka_unit_test_teardown(test_no_choice, finish),
			cmocka_unit_test_teardown(test_lands, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
