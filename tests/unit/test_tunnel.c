/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * SAs that come and go, and their sequence numbers, where workers are functions:
 * one that does not answer handles its messages when it wakes up. What it may
 * still use is not freed until then.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_workers.h"

#define N_WORKERS 3
#define KEY(first) first "102030405060708090a0b0c0d0e0f10111213"

static const char text[] =
		"state_file = \"%s/state\";\n"
		"ports = ( { name = \"w\"; device = \"d\"; addresses = [ \"192.0.2.1/24\" ]; } );\n"
		"tunnels = ( { name = \"t\"; local = \"192.0.2.1\"; remote = \"192.0.2.2\"; \n"
		"  selectors = ( { remote = \"10.2.0.0/16\"; } ); sas = (\n"
		"  { pcpu = 0; out = { spi = 0x1000; key = \"%s\"; }; in = { spi = 0x2000; key = \"%s\"; }; },\n"
		"  { pcpu = 1; out = { spi = 0x1001; key = \"" KEY(
				"a01") "\"; };\n"
				       "    in = { spi = 0x2001; key = \"" KEY(
						       "b01") "\"; }; } ); } );\n";

#define OUT0 KEY("a00")
#define IN0 KEY("b00")

static char dir[] = "/var/tmp/test_tunnel.XXXXXX";
static struct gw gw;

/* A gateway of one tunnel */

static int
try_start(const char *out0, const char *in0, struct gw_error *err)
{
	char conf[2000];
	int rc;

	memset(&gw, 0, sizeof(gw));
	fake_workers_reset();
	snprintf(conf, sizeof(conf), text, dir, out0, in0);
	if (gw_config_parse(conf, "gw.conf", &gw.cfg, err) != 0)
		fail_msg("%s", err->text);
	gw.n_workers = N_WORKERS;
	gw.ctx = aligned_alloc(64, RTE_ALIGN_CEIL(ipsec_pcpu_ctx_size(), 64));
	assert_int_equal(ipsec_pcpu_ctx_init(gw.ctx), 0);
	if (gw_reserve_open(gw.cfg.state_file, true, &gw.reserve, err) != 0)
		fail_msg("%s", err->text);
	gw.reserve_noted = gw_now_ns();
	rc = gw_tunnels_make(&gw, err);
	return rc;
}

static void
start(void)
{
	struct gw_error err;

	if (try_start(OUT0, IN0, &err) != 0)
		fail_msg("%s", err.text);
}

/* In order: numbers are given back. Not: as if killed. */
static void
stop(bool in_order)
{
	if (in_order)
		gw_tunnels_release(&gw);
	gw_tunnels_free(&gw);
	gw_reserve_close(gw.reserve);
	gw_reserve_close(gw.offers);
	ipsec_pcpu_ctx_fini(gw.ctx);
	free(gw.ctx);
	gw_config_free(&gw.cfg);
}

static struct gw_sa *
find(uint32_t spi)
{
	for (unsigned int i = 0; i < gw.tunnel[0].n_sas; i++)
		if (gw.tunnel[0].sas[i]->prm.spi == spi)
			return gw.tunnel[0].sas[i];
	return NULL;
}

/* A new SA with the parameters of one that is there, another SPI and key. */
static int
add(uint32_t like, uint32_t spi, uint8_t key, struct gw_error *err)
{
	struct gw_config_sa sa = {.prm = find(like)->prm};

	sa.prm.spi = spi;
	sa.prm.seq = sa.prm.seq_limit = 0;
	memset(sa.prm.key, key, sa.prm.algo->key_len);
	err->text[0] = '\0';
	return gw_sa_add(&gw, &gw.tunnel[0], &sa, err);
}

static int
del(enum ipsec_pcpu_dir way, uint32_t spi, struct gw_error *err)
{
	return gw_sa_del(&gw, &gw.tunnel[0], way, spi, err);
}

static bool
in_config(uint32_t spi)
{
	for (unsigned int i = 0; i < gw.cfg.tunnels[0].n_sas; i++)
		if (gw.cfg.tunnels[0].sas[i].prm.spi == spi)
			return true;
	return false;
}

static int
clean(void **state)
{
	char file[64];

	snprintf(file, sizeof(file), "%s/state", dir);
	unlink(file);
	strcat(file, ".lock");
	unlink(file);
	return 0;
}

/* The two keys of a pair swapped: the other end's file. */
static void
test_swapped(void **state)
{
	struct gw_error err;

	start();
	stop(false);
	assert_int_equal(try_start(IN0, OUT0, &err), -EINVAL);
	assert_string_equal(err.text,
			"tunnel \"t\": SA 0x00001000 out: this key was used in the other direction, "
			"by the peer: make new keys at both ends");
	stop(true);
	/* the refusal has left nothing behind */
	start();
	stop(true);
	/* after a stop in order as well: the peer may have sent */
	assert_int_equal(try_start(IN0, KEY("c00"), &err), -EINVAL);
	stop(true);
}

/* Outbound, and killed: what was sent is not known. */
static void
test_swapped_in(void **state)
{
	struct gw_error err;

	start();
	stop(false);
	assert_int_equal(try_start(KEY("c00"), OUT0, &err), -EINVAL);
	assert_string_equal(err.text,
			"tunnel \"t\": SA 0x00002000 in: this key was used in the other direction, "
			"by this gateway: make new keys at both ends");
	stop(true);
}

/* The same while it runs. */
static void
test_swapped_console(void **state)
{
	struct gw_error err;

	start();
	assert_int_equal(add(0x2000, 0x2010, 7, &err), 0);
	assert_int_equal(del(IPSEC_PCPU_IN, 0x2010, &err), 0);
	assert_int_equal(add(0x1000, 0x1010, 7, &err), -EINVAL);
	assert_non_null(strstr(err.text, "tunnel \"t\": SA 0x00001010 out: this key was used in"));
	assert_null(find(0x1010));
	assert_int_equal(add(0x2000, 0x2011, 7, &err), 0); /* the same direction */
	stop(true);
}

/* In the file from the start, before anything came. */
static void
test_in_entry(void **state)
{
	uint8_t id[GW_RESERVE_ID_LEN];
	struct gw_error err;
	char path[64];

	start();
	memcpy(id, find(0x2001)->reserve_id, sizeof(id));
	stop(false);
	snprintf(path, sizeof(path), "%s/state", dir);
	assert_int_equal(gw_reserve_open(path, true, &gw.reserve, &err), 0);
	assert_true(gw_reserve_known(gw.reserve, id, false));
	assert_true(gw_reserve_get(gw.reserve, id, GW_RESERVE_IN) == 0);
	gw_reserve_close(gw.reserve);
}

/* What a peer was told is never told again: after a crash, and of an SA that came back. */
static void
test_offers(void **state)
{
	struct gw_error err;
	uint64_t first, next;

	start();
	assert_int_equal(gw_sa_offer(&gw, find(0x2000), &first), 0);
	assert_true(first == 0);
	assert_int_equal(gw_sa_offer(&gw, find(0x2000), &first), 0);
	assert_true(first > 0);
	assert_int_equal(gw_offers_commit(&gw, &err), 0);
	stop(false);
	start();
	assert_int_equal(gw_sa_offer(&gw, find(0x2000), &next), 0);
	assert_true(next > first);
	assert_int_equal(add(0x2000, 0x2010, 7, &err), 0);
	assert_int_equal(gw_sa_offer(&gw, find(0x2010), &first), 0);
	assert_true(first == 0);
	assert_int_equal(gw_sa_offer(&gw, find(0x2010), &first), 0);
	/* no file: as long as the gateway lives */
	gw_reserve_close(gw.reserve);
	gw.reserve = NULL;
	assert_int_equal(gw_sa_offer(&gw, find(0x2010), &first), 0);
	assert_int_equal(del(IPSEC_PCPU_IN, 0x2010, &err), 0);
	assert_int_equal(add(0x2000, 0x2010, 7, &err), 0);
	assert_int_equal(gw_sa_offer(&gw, find(0x2010), &next), 0);
	assert_true(first == 0 && next > 0);
	assert_int_equal(gw_offers_commit(&gw, &err), 0);
	stop(false);
}

/* Inbound numbers that run fast: once a second. Outbound ones: at once. */
static void
test_notes(void **state)
{
	struct gw_config_sa far;
	struct gw_error err;
	struct gw_sa *in, *out;
	uint64_t then;

	start();
	far = (struct gw_config_sa){.prm = find(0x2000)->prm};
	far.prm.spi = 0x2010;
	memset(far.prm.key, 9, far.prm.algo->key_len);
	far.prm.seq = UINT64_C(1) << 20;
	assert_int_equal(gw_sa_add(&gw, &gw.tunnel[0], &far, &err), 0);
	in = find(0x2010);
	in->reserve_id[0] ^= 1; /* as if it had come so far since the note */

	then = gw.reserve_noted = gw_now_ns() - 500 * UINT64_C(1000000);
	gw_reservations_tick(&gw);
	assert_true(gw.reserve_noted == then);
	assert_true(gw_reserve_get(gw.reserve, in->reserve_id, GW_RESERVE_IN) == 0);

	gw.reserve_noted = gw_now_ns() - 1100 * UINT64_C(1000000);
	gw_reservations_tick(&gw);
	assert_true(gw_reserve_get(gw.reserve, in->reserve_id, GW_RESERVE_IN) == far.prm.seq);

	out = find(0x1000);
	out->reserved = 100; /* runs short */
	gw_reservations_tick(&gw); /* not a second later */
	assert_true(out->reserved >= GW_RESERVE_ESN);
	stop(true);
}

/* An outbound SA whose worker does not answer is not freed under its hands. */
static void
test_add_out_late(void **state)
{
	struct gw_tunnel *t;
	struct gw_error err;
	struct gw_sa *old, *new;

	start();
	t = &gw.tunnel[0];
	old = find(0x1000);
	worker[0].asleep = true;
	assert_int_equal(add(0x1000, 0x1010, 7, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "SA 0x00001010: a worker does not answer; the SA stays"));
	new = find(0x1010);
	assert_non_null(new);
	assert_ptr_equal(t->out[0].own, new); /* its message is on the way */
	assert_ptr_equal(worker[0].out.sa, old->sa);
	/* nothing to change for anybody, and still the worker has the old one */
	assert_int_equal(del(IPSEC_PCPU_OUT, 0x1000, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "SA 0x00001000 is removed, but a worker does not answer"));
	assert_null(find(0x1000));
	assert_false(in_config(0x1000));
	assert_int_equal(gw.n_zombies, 1);
	assert_ptr_equal(gw.zombies[0], old);
	assert_ptr_equal(worker[0].out.sa, old->sa);
	/* its numbers are not free: the worker may go on sending */
	assert_true(gw_reserve_get(gw.reserve, old->reserve_id, GW_RESERVE_OUT) == old->reserved);
	fake_wake(&worker[0]);
	assert_ptr_equal(worker[0].out.sa, new->sa);
	/* from now on as ever */
	assert_int_equal(add(0x1010, 0x1000, 8, &err), 0);
	assert_int_equal(del(IPSEC_PCPU_OUT, 0x1010, &err), 0);
	assert_int_equal(gw.n_zombies, 1);
	assert_ptr_equal(worker[0].out.sa, find(0x1000)->sa);
	stop(true);
	assert_int_equal(gw.n_zombies, 0);
	assert_null(gw.zombies);
}

/* Inbound: the others have it, the one that sleeps gets it later. */
static void
test_add_in_late(void **state)
{
	struct gw_error err;

	start();
	worker[1].asleep = true;
	assert_int_equal(add(0x2000, 0x2010, 7, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "a worker does not answer; the SA stays"));
	assert_non_null(find(0x2010));
	assert_true(fake_spi(&worker[0], 0x2010) != NULL && fake_spi(&worker[2], 0x2010) != NULL);
	assert_true(fake_spi(&worker[1], 0x2010) == NULL);
	fake_wake(&worker[1]);
	assert_true(fake_spi(&worker[1], 0x2010) != NULL);
	stop(true);
}

/* One worker does not know it any more, another one does not answer. */
static void
test_del_in_late(void **state)
{
	struct gw_error err;

	start();
	fake_spi(&worker[0], 0x2001)->spi = 0;
	worker[2].asleep = true;
	assert_int_equal(del(IPSEC_PCPU_IN, 0x2001, &err), -ETIMEDOUT);
	assert_int_equal(gw.n_zombies, 1);
	assert_null(find(0x2001));
	assert_false(in_config(0x2001));
	assert_int_equal(del(IPSEC_PCPU_IN, 0x2001, &err), -ENOENT);
	fake_wake(&worker[2]);
	assert_int_equal(add(0x2000, 0x2001, 7, &err), 0); /* its SPI is free */
	fake_spi(&worker[0], 0x2001)->spi = 0;
	assert_int_equal(del(IPSEC_PCPU_IN, 0x2001, &err), 0);
	assert_int_equal(gw.n_zombies, 1);
	stop(true);
}

/* The key of one that is removed, while a worker may send on it: its numbers are not known yet. */
static void
test_key_late(void **state)
{
	struct gw_error err;

	start();
	assert_int_equal(add(0x1000, 0x1010, 7, &err), 0);
	worker[0].asleep = true;
	assert_int_equal(del(IPSEC_PCPU_OUT, 0x1010, &err), -ETIMEDOUT);
	assert_int_equal(add(0x1001, 0x1011, 7, &err), -EBUSY);
	assert_non_null(strstr(err.text,
			"SA 0x00001010, which was removed, has the same key, and a worker"));
	assert_null(find(0x1011));
	fake_wake(&worker[0]);
	gw_zombies_reap(&gw);
	assert_int_equal(gw.n_zombies, 0);
	assert_int_equal(add(0x1001, 0x1011, 7, &err), 0);
	stop(true);
}

/* Other failures undo all. */
static void
test_add_fails(void **state)
{
	struct gw_error err;

	start();
	fake_spi(&worker[2], 0)->spi = 0x2010;
	assert_int_equal(add(0x2000, 0x2010, 7, &err), -EEXIST);
	assert_non_null(strstr(
			err.text, "SA 0x00002010 cannot be installed: there is one of that"));
	assert_null(find(0x2010));
	assert_false(gw_inbound_has(&gw, 0x2010));
	assert_int_equal(gw.n_zombies, 0);
	for (unsigned int w = 0; w < N_WORKERS; w++)
		assert_true(fake_spi(&worker[w], 0x2010) == NULL);
	stop(true);
}

static bool
has_key(uint8_t key)
{
	struct ipsec_pcpu_sa_params prm = find(0x1001)->prm;

	memset(prm.key, key, prm.algo->key_len);
	return gw_sa_key_is_used(&gw, &prm);
}

/* Found by SPI and by key from the moment they are added until they are removed, and no longer. */
static void
test_found(void **state)
{
	struct gw_error err;

	start();
	/* of the file; the outbound ones are not inbound */
	assert_true(gw_inbound_has(&gw, 0x2000) && gw_inbound_has(&gw, 0x2001));
	assert_false(gw_inbound_has(&gw, 0x1000) || gw_inbound_has(&gw, 0x2010));
	assert_int_equal(gw.sa_index.n, 4);
	assert_false(has_key(7));
	assert_int_equal(add(0x2000, 0x2010, 7, &err), 0);
	/* the SPI of one in each direction */
	assert_int_equal(add(0x1000, 0x2010, 8, &err), 0);
	assert_true(gw_inbound_has(&gw, 0x2010) && has_key(7) && has_key(8));
	assert_int_equal(del(IPSEC_PCPU_OUT, 0x2010, &err), 0);
	assert_true(gw_inbound_has(&gw, 0x2010) && has_key(7) && !has_key(8));
	/* a zombie has neither, and goes where another has its SPI by now */
	worker[0].asleep = true;
	assert_int_equal(del(IPSEC_PCPU_IN, 0x2010, &err), -ETIMEDOUT);
	assert_int_equal(gw.n_zombies, 1);
	assert_false(gw_inbound_has(&gw, 0x2010) || has_key(7));
	assert_int_equal(gw.sa_index.n, 4);
	fake_wake(&worker[0]);
	assert_int_equal(add(0x2000, 0x2010, 9, &err), 0);
	gw_zombies_reap(&gw);
	assert_true(gw_inbound_has(&gw, 0x2010) && has_key(9));
	assert_int_equal(del(IPSEC_PCPU_IN, 0x2010, &err), 0);
	gw_zombies_reap(&gw);
	assert_int_equal(gw.n_zombies, 0);
	assert_false(gw_inbound_has(&gw, 0x2010) || has_key(9));
	assert_int_equal(gw.sa_index.n, 4);
	stop(true);
	assert_null(gw.sa_index.by_spi);
}

static int
setup(void **state)
{
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_teardown(test_swapped, clean),
			cmocka_unit_test_teardown(test_swapped_in, clean),
			cmocka_unit_test_teardown(test_swapped_console, clean),
			cmocka_unit_test_teardown(test_in_entry, clean),
			cmocka_unit_test_teardown(test_offers, clean),
			cmocka_unit_test_teardown(test_notes, clean),
			cmocka_unit_test_teardown(test_add_out_late, clean),
			cmocka_unit_test_teardown(test_add_in_late, clean),
			cmocka_unit_test_teardown(test_del_in_late, clean),
			cmocka_unit_test_teardown(test_key_late, clean),
			cmocka_unit_test_teardown(test_add_fails, clean),
			cmocka_unit_test_teardown(test_found, clean),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
