/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * SAs that go from worker to worker, where workers are functions: in which order they are
 * told, and what becomes of it where one does not answer. That no SA is ever with two
 * workers is checked at each message (fake_workers.c).
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_workers.h"

#define N_WORKERS 3
#define KEY(first) first "102030405060708090a0b0c0d0e0f10111213"
#define PAIR(pcpu, n, key) \
	"  { " pcpu " out = { spi = 0x100" n \
	"; key = \"" KEY("a0" key) "\"; };\n" \
				   "    in = { spi = 0x200" n \
				   "; key = \"" KEY("b0" key) "\"; }; }"

static const char head[] =
		"allow_iv_reuse = true;\n"
		"ports = ( { name = \"w\"; device = \"d\"; addresses = [ \"192.0.2.1/24\" ]; } );\n"
		"tunnels = ( { name = \"t\"; local = \"192.0.2.1\"; remote = \"192.0.2.2\"; \n"
		"  selectors = ( { remote = \"10.2.0.0/16\"; } ); sas = (\n";
static const char own_only[] = PAIR("pcpu = 0;", "0", "0") ", " PAIR("pcpu = 1;", "1", "1");
static const char one_and_fallback[] = PAIR("pcpu = 0;", "0", "0") ", " PAIR("", "9", "9");
static const char with_fallback[] = PAIR("pcpu = 0;", "0", "0") ", " PAIR(
		"pcpu = 1;", "1", "1") ", " PAIR("", "9", "9");

static struct gw gw;
static struct gw_error err;

static void
start(const char *sas)
{
	char conf[2000];

	memset(&gw, 0, sizeof(gw));
	fake_workers_reset();
	snprintf(conf, sizeof(conf), "%s%s ); } );\n", head, sas);
	if (gw_config_parse(conf, "gw.conf", &gw.cfg, &err) != 0)
		fail_msg("%s", err.text);
	gw.n_workers = N_WORKERS;
	gw.ctx = aligned_alloc(64, RTE_ALIGN_CEIL(ipsec_pcpu_ctx_size(), 64));
	assert_int_equal(ipsec_pcpu_ctx_init(gw.ctx), 0);
	if (gw_tunnels_make(&gw, &err) != 0)
		fail_msg("%s", err.text);
	fake_log[0] = '\0';
}

static int
stop(void **state)
{
	gw_tunnels_free(&gw);
	gw_reserve_close(gw.offers);
	ipsec_pcpu_ctx_fini(gw.ctx);
	free(gw.ctx);
	gw_config_free(&gw.cfg);
	return 0;
}

static struct gw_sa *
sa(uint32_t spi)
{
	for (unsigned int i = 0; i < gw.tunnel[0].n_sas; i++)
		if (gw.tunnel[0].sas[i]->prm.spi == spi)
			return gw.tunnel[0].sas[i];
	fail_msg("no SA 0x%x", spi);
	return NULL;
}

static int
move(uint32_t spi, uint16_t to)
{
	enum ipsec_pcpu_dir dir = spi < 0x2000 ? IPSEC_PCPU_OUT : IPSEC_PCPU_IN;

	fake_log[0] = err.text[0] = '\0';
	return gw_sa_move(&gw, &gw.tunnel[0], dir, spi, to, &err);
}

static int
add(uint32_t like, uint32_t spi)
{
	struct gw_config_sa new = {.prm = sa(like)->prm};

	new.prm.spi = spi;
	new.prm.seq = new.prm.seq_limit = 0;
	memset(new.prm.key, 0, new.prm.algo->key_len);
	memcpy(new.prm.key, &spi, sizeof(spi));
	return gw_sa_add(&gw, &gw.tunnel[0], &new, &err);
}

/** All know that an inbound SA is with @p owner. */
static void
check_in(uint32_t spi, uint16_t owner)
{
	assert_int_equal(sa(spi)->worker, owner);
	assert_int_equal(sa(spi)->move, GW_MOVE_NONE);
	for (unsigned int w = 0; w < N_WORKERS; w++) {
		const struct ipsec_pcpu_sad_entry *e = fake_spi(&worker[w], spi);

		assert_non_null(e);
		assert_int_equal(e->owner, owner);
		assert_ptr_equal(e->sa, w == owner ? sa(spi)->sa : NULL);
	}
}

/** Outbound SAs by worker; 0: none. */
static void
check_out(uint32_t own0, uint32_t own1, uint32_t own2)
{
	const uint32_t own[] = {own0, own1, own2};

	for (unsigned int w = 0; w < N_WORKERS; w++) {
		assert_ptr_equal(worker[w].out.sa, own[w] != 0 ? sa(own[w])->sa : NULL);
		if (own[w] != 0)
			assert_int_equal(sa(own[w])->worker, w);
	}
	assert_false(gw.tunnel[0].unsettled);
}

static void
check_fallback(uint16_t owner)
{
	for (unsigned int w = 0; w < N_WORKERS; w++) {
		assert_ptr_equal(worker[w].out.fallback, w == owner ? sa(0x1009)->sa : NULL);
		assert_int_equal(worker[w].out.owner, owner);
	}
}

/* Others wait first; what they have handed over by then is still the old owner's. */
static void
test_inbound(void **state)
{
	start(with_fallback);
	check_in(0x2000, 0);
	assert_int_equal(move(0x2000, 2), 0);
	assert_string_equal(fake_log,
			"1: set 2000 -> 1\n"
			"2: set 2000 -> 2\n"
			"0: set 2000 -> 2 drain\n"
			"2: set 2000 sa -> 2\n"
			"0: set 2000 -> 2\n"
			"1: set 2000 -> 2\n");
	check_in(0x2000, 2);
	/* where it is already: nobody is told */
	assert_int_equal(move(0x2000, 2), 0);
	assert_string_equal(fake_log, "");
	/* its successor goes there (R5) */
	assert_int_equal(add(0x2000, 0x2010), 0);
	check_in(0x2010, 2);
	assert_int_equal(move(0x2000, 0), 0);
	check_in(0x2000, 0);
	check_in(0x2010, 2);
}

static void
test_inbound_refusals(void **state)
{
	start(with_fallback);
	assert_int_equal(move(0x2000, 3), -EINVAL);
	assert_string_equal(err.text, "there is no worker 3: there are workers 0 to 2");
	assert_int_equal(move(0x2077, 1), -ENOENT);
	assert_string_equal(err.text, "tunnel \"t\" has no inbound SA 0x00002077; show tunnel t");
	assert_int_equal(move(0x1077, 1), -ENOENT);
	assert_string_equal(err.text, "tunnel \"t\" has no outbound SA 0x00001077; show tunnel t");
	check_in(0x2000, 0);
}

/* One of the others refuses: nothing has happened. */
static void
test_inbound_undone(void **state)
{
	start(with_fallback);
	worker[1].refuses = -ENOBUFS;
	assert_int_equal(move(0x2000, 2), -ENOBUFS);
	assert_non_null(strstr(err.text, "SA 0x00002000 stays on worker 0: "));
	worker[1].refuses = 0;
	check_in(0x2000, 0);
	assert_int_equal(move(0x2000, 2), 0);
	check_in(0x2000, 2);
}

/* The owner does not answer: it may still have it, so nobody else gets it until it does. */
static void
test_inbound_owner_late(void **state)
{
	start(with_fallback);
	worker[0].asleep = true;
	assert_int_equal(move(0x2000, 2), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "SA 0x00002000 is on its way to worker 2"));
	assert_int_equal(fake_spi(&worker[1], 0x2000)->owner, 1); /* its packets wait */
	assert_int_equal(sa(0x2000)->worker, 0);
	gw_places_tick(&gw); /* does not wait for it */
	assert_int_equal(sa(0x2000)->move, GW_MOVE_RELEASE);
	assert_int_equal(worker[0].n_waiting, 1);
	assert_int_equal(move(0x2000, 1), -EBUSY);
	assert_int_equal(move(0x2001, 2), -ETIMEDOUT);
	assert_string_equal(err.text, "worker 0 does not answer: nothing was moved");
	fake_wake(&worker[0]);
	gw_places_tick(&gw);
	check_in(0x2000, 2);
}

/* The next one does not answer: it has the message, and is the owner. */
static void
test_inbound_taker_late(void **state)
{
	start(with_fallback);
	worker[2].asleep = true;
	assert_int_equal(move(0x2000, 2), -ETIMEDOUT);
	/* that others wait was not even begun with where one of them does not say so */
	assert_int_equal(sa(0x2000)->worker, 0);
	fake_wake(&worker[2]);
	gw_places_tick(&gw);
	assert_int_equal(move(0x2000, 2), 0);
	check_in(0x2000, 2);
}

/* Two change places: nobody is without, none is left over. */
static void
test_outbound_swap(void **state)
{
	start(own_only);
	check_out(0x1000, 0x1001, 0);
	assert_int_equal(move(0x1000, 1), 0);
	check_out(0x1001, 0x1000, 0);
	assert_int_equal(worker[0].drains + worker[1].drains, 2);
	/* successors as well (R5) */
	assert_int_equal(add(0x1000, 0x1010), 0);
	check_out(0x1001, 0x1010, 0);
	assert_int_equal(sa(0x1000)->worker, GW_NONE);
	assert_int_equal(move(0x1010, 2), 0);
	check_out(0x1001, 0, 0x1010);
	assert_int_equal(gw_sa_del(&gw, &gw.tunnel[0], IPSEC_PCPU_OUT, 0x1010, &err), 0);
	/* its predecessor, still there, takes the place */
	check_out(0x1001, 0, 0x1000);
}

static void
test_outbound_fallback(void **state)
{
	start(with_fallback);
	check_out(0x1000, 0x1001, 0);
	check_fallback(2);
	assert_int_equal(move(0x1009, 0), 0);
	check_out(0x1000, 0x1001, 0);
	check_fallback(0);
	/* those that used it waited, and what was on its way went through the old owner first */
	assert_non_null(strstr(fake_log, "2: out -> 2 drain\n"));
	assert_true(strstr(fake_log, "2: out -> 2 drain\n") <
			strstr(fake_log, "0: out own fallback"));
	assert_int_equal(move(0x1000, 2), 0);
	check_out(0, 0x1001, 0x1000);
	check_fallback(0);
}

/* Who has the SA does not answer: no other gets it, and nobody else is stopped. */
static void
test_outbound_late(void **state)
{
	start(with_fallback);
	worker[0].asleep = true;
	assert_int_equal(move(0x1000, 2), -ETIMEDOUT);
	assert_ptr_equal(worker[0].out.sa, sa(0x1000)->sa);
	assert_null(worker[2].out.sa);
	assert_ptr_equal(worker[1].out.sa, sa(0x1001)->sa);
	assert_ptr_equal(worker[2].out.fallback, sa(0x1009)->sa);
	assert_true(gw.tunnel[0].unsettled);
	gw_places_tick(&gw);
	assert_null(worker[2].out.sa);
	assert_int_equal(move(0x1001, 2), -EBUSY);
	fake_wake(&worker[0]);
	gw_places_tick(&gw);
	check_out(0, 0x1001, 0x1000);
	check_fallback(2);
}

/* Who has the SA cannot be told to give it up, while another one is late: nobody else gets it. */
static void
test_outbound_refused(void **state)
{
	start(one_and_fallback);
	check_fallback(1);
	worker[2].asleep = true;
	worker[1].refuses = -ENOBUFS;
	assert_true(move(0x1009, 0) < 0);
	assert_null(worker[0].out.fallback);
	assert_ptr_equal(worker[1].out.fallback, sa(0x1009)->sa);
	fake_wake(&worker[2]);
	worker[1].refuses = 0;
	gw_places_tick(&gw);
	check_fallback(0);
}

/* A new SA that one cannot be told of, while another one is late: it is not there by halves. */
static void
test_add_refused(void **state)
{
	start(with_fallback);
	worker[0].asleep = true;
	worker[2].refuses = -ENOBUFS;
	assert_int_equal(add(0x2001, 0x2010), -ENOBUFS);
	worker[2].refuses = 0;
	fake_wake(&worker[0]);
	for (unsigned int w = 0; w < N_WORKERS; w++)
		assert_null(fake_spi(&worker[w], 0x2010));
	assert_int_equal(gw.tunnel[0].n_sas, 6);
}

/* It is deleted while it is on its way: nobody keeps it. */
static void
test_deleted_on_its_way(void **state)
{
	struct ipsec_pcpu_sa *gone;

	start(with_fallback);
	gone = sa(0x2000)->sa;
	worker[0].asleep = true;
	assert_int_equal(move(0x2000, 2), -ETIMEDOUT);
	assert_int_equal(gw_sa_del(&gw, &gw.tunnel[0], IPSEC_PCPU_IN, 0x2000, &err), -ETIMEDOUT);
	assert_int_equal(gw.n_zombies, 1);
	fake_wake(&worker[0]);
	gw_places_tick(&gw);
	assert_int_equal(gw.n_zombies, 0);
	assert_int_equal(fake_owners(gone), 0);
	for (unsigned int w = 0; w < N_WORKERS; w++)
		assert_null(fake_spi(&worker[w], 0x2000));
}

/* Any moves at all, with workers that sleep now and then: in the end all is where it was put. */
static void
test_random(void **state)
{
	static const uint32_t spi[] = {0x1000, 0x1001, 0x1009, 0x2000, 0x2001, 0x2009};

	start(with_fallback);
	srand(4);
	for (unsigned int i = 0; i < 20000; i++) {
		if (rand() % 8 == 0)
			worker[rand() % N_WORKERS].asleep = true;
		if (rand() % 3 == 0) {
			for (unsigned int w = 0; w < N_WORKERS; w++)
				fake_wake(&worker[w]);
			gw_places_tick(&gw);
		}
		move(spi[rand() % RTE_DIM(spi)], rand() % N_WORKERS);
		for (unsigned int k = 0; k < RTE_DIM(spi); k++)
			assert_true(fake_owners(sa(spi[k])->sa) <= 1);
	}
	for (unsigned int w = 0; w < N_WORKERS; w++)
		fake_wake(&worker[w]);
	gw_places_tick(&gw);
	for (unsigned int k = 3; k < RTE_DIM(spi); k++)
		check_in(spi[k], sa(spi[k])->worker);
	assert_int_equal(fake_owners(sa(0x1000)->sa), 1);
	assert_int_equal(fake_owners(sa(0x1001)->sa), 1);
	check_fallback(sa(0x1009)->worker);
}

/** A successor of an SA comes, or the SA goes: what is freed nobody has, nor will get. */
static void
add_or_delete(struct gw_sa *s, uint32_t spi)
{
	const struct ipsec_pcpu_sa *mem = s->sa;
	unsigned int n = gw.tunnel[0].n_sas;

	if (n < 8 || (n < 14 && rand() % 2 == 0)) {
		add(s->prm.spi, spi);
		return;
	}
	if (gw_sa_del(&gw, &gw.tunnel[0], s->prm.dir, s->prm.spi, &err) != 0)
		return;
	assert_int_equal(fake_owners(mem), 0);
	for (unsigned int w = 0; w < N_WORKERS; w++)
		for (unsigned int i = 0; i < worker[w].n_waiting; i++)
			assert_true(worker[w].waiting[i].sa != mem &&
					worker[w].waiting[i].fallback != mem);
}

static void
wake_all(void)
{
	for (unsigned int w = 0; w < N_WORKERS; w++) {
		worker[w].refuses = 0;
		fake_wake(&worker[w]);
	}
	gw_places_tick(&gw);
}

/* The same with SAs that come and go, and workers that sleep until they can be told no more. */
static void
test_random_life(void **state)
{
	struct gw_tunnel *t;

	start(with_fallback);
	t = &gw.tunnel[0];
	srand(5);
	for (uint32_t i = 0; i < 20000; i++) {
		struct fake *w = &worker[rand() % N_WORKERS];
		struct gw_sa *s = t->sas[rand() % t->n_sas];

		w->asleep |= rand() % 16 == 0;
		if (w->n_waiting > 0 && rand() % 4 == 0)
			w->refuses = -ENOBUFS;
		if (rand() % 3 == 0)
			wake_all();
		if (rand() % 4 == 0)
			add_or_delete(s, (s->prm.dir == IPSEC_PCPU_OUT ? 0x10000 : 0x100000) + i);
		else
			gw_sa_move(&gw, t, s->prm.dir, s->prm.spi, rand() % N_WORKERS, &err);
		for (unsigned int k = 0; k < t->n_sas; k++)
			assert_true(fake_owners(t->sas[k]->sa) <= 1);
	}
	wake_all();
	assert_false(t->unsettled);
	for (unsigned int k = 0; k < t->n_sas; k++) {
		struct gw_sa *s = t->sas[k];

		if (s->prm.dir == IPSEC_PCPU_IN)
			check_in(s->prm.spi, s->worker);
		else
			assert_int_equal(fake_owners(s->sa), s->worker != GW_NONE);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_teardown(test_inbound, stop),
			cmocka_unit_test_teardown(test_inbound_refusals, stop),
			cmocka_unit_test_teardown(test_inbound_undone, stop),
			cmocka_unit_test_teardown(test_inbound_owner_late, stop),
			cmocka_unit_test_teardown(test_inbound_taker_late, stop),
			cmocka_unit_test_teardown(test_outbound_swap, stop),
			cmocka_unit_test_teardown(test_outbound_fallback, stop),
			cmocka_unit_test_teardown(test_outbound_late, stop),
			cmocka_unit_test_teardown(test_outbound_refused, stop),
			cmocka_unit_test_teardown(test_add_refused, stop),
			cmocka_unit_test_teardown(test_deleted_on_its_way, stop),
			cmocka_unit_test_teardown(test_random, stop),
			cmocka_unit_test_teardown(test_random_life, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
