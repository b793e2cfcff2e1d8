/* SPDX-License-Identifier: BSD-3-Clause */

/* What --make-tunnel prints loads at both ends, and the ends match. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/config.h"
#include "rss_key.h"

static void
fill(struct gw_make_tunnel *mt, const char *a, const char *b, unsigned int pairs)
{
	*mt = (struct gw_make_tunnel){.name = "t", .pairs = pairs, .replay_window = 128};
	mt->algo = ipsec_pcpu_algo_find("aes128gcm16");
	assert_int_equal(gw_addr_parse(a, &mt->a), 0);
	assert_int_equal(gw_addr_parse(b, &mt->b), 0);
	assert_int_equal(gw_prefix_parse("10.1.0.0/16", &mt->a_net), 0);
	assert_int_equal(gw_prefix_parse("10.2.0.0/16", &mt->b_net), 0);
}

/* The fragment of one end, with the rest of a file around it. */
static void
load(const char *fragment, const char *local, struct gw_config *cfg)
{
	char *text = malloc(strlen(fragment) + 200);
	struct gw_error err;

	sprintf(text,
			"state_file = \"s\"; ports = ( { name = \"w\"; device = \"d\"; "
			"addresses = [ \"%s/%d\" ]; } );\n%s",
			local, strchr(local, ':') != NULL ? 64 : 24, fragment);
	if (gw_config_parse(text, "gw.conf", cfg, &err) != 0)
		fail_msg("%s", err.text);
	free(text);
}

static void
compare(const struct gw_make_tunnel *mt, const struct gw_config *a, const struct gw_config *b)
{
	const struct gw_config_tunnel *ta = &a->tunnels[0], *tb = &b->tunnels[0];
	const struct ipsec_pcpu_sa_params *out, *in;
	char x[GW_ADDR_STRLEN];

	assert_int_equal(ta->n_sas, 2 * (mt->pairs + 1));
	assert_int_equal(tb->n_sas, ta->n_sas);
	assert_string_equal(gw_prefix_text(&ta->selectors[0].local, x), "10.1.0.0/16");
	assert_string_equal(gw_prefix_text(&tb->selectors[0].local, x), "10.2.0.0/16");
	assert_string_equal(gw_prefix_text(&tb->selectors[0].remote, x), "10.1.0.0/16");
	for (unsigned int i = 0; i < ta->n_sas; i++) {
		/* each end has out, in, out, in, ... */
		out = i % 2 == 0 ? &ta->sas[i].prm : &tb->sas[i - 1].prm;
		in = i % 2 == 0 ? &tb->sas[i + 1].prm : &ta->sas[i].prm;
		assert_int_equal(out->dir, IPSEC_PCPU_OUT);
		assert_int_equal(in->dir, IPSEC_PCPU_IN);
		assert_int_equal(out->spi, in->spi);
		assert_memory_equal(out->key, in->key, mt->algo->key_len);
		assert_int_equal(out->esn, in->esn);
		assert_int_equal(out->esn, mt->esn);
		assert_int_equal(in->replay_window, 128);
		assert_memory_equal(&out->saddr, &in->saddr, gw_addr_len(out->family));
		assert_memory_equal(&out->daddr, &in->daddr, gw_addr_len(out->family));
		assert_int_equal(out->encap_sport, in->encap_sport);
		assert_int_equal(out->encap_dport, mt->encap ? 4500 : 0);
		if (mt->encap && i / 2 < mt->pairs)
			assert_in_range(out->encap_sport, 49152, 65535);
		else
			assert_int_equal(out->encap_sport, mt->encap ? 4500 : 0);
		assert_true(out->pcpu == (i / 2 < mt->pairs ? i / 2 : IPSEC_PCPU_ANY));
	}
	for (unsigned int i = 0; i < ta->n_sas; i++)
		for (unsigned int j = i + 2; mt->encap && j < ta->n_sas; j += 2)
			assert_int_not_equal(
					ta->sas[i].prm.encap_sport, ta->sas[j].prm.encap_sport);
}

/* Each pair's packets land on its own queue, at both ends: gateways with as many workers. */
static void
check_queues(const struct gw_make_tunnel *mt, const struct gw_config_tunnel *t)
{
	unsigned int queues = mt->pairs < 128 ? mt->pairs : 128;

	for (unsigned int i = 0; mt->encap && i < 2 * mt->pairs; i++) {
		const struct ipsec_pcpu_sa_params *p = &t->sas[i].prm;
		struct ipsec_pcpu_tuple tuple = {
				p->family, p->saddr, p->daddr, p->encap_sport, p->encap_dport};
		uint32_t hash = ipsec_pcpu_tuple_hash(gw_rss_key, &tuple);

		assert_int_equal(hash % 128 % queues, i / 2 % queues);
	}
}

static void
round_trip(const struct gw_make_tunnel *mt)
{
	struct gw_config ca, cb;
	char *a = NULL, *b = NULL, addr[GW_ADDR_STRLEN];
	struct gw_error err;
	size_t len;
	FILE *fa = open_memstream(&a, &len), *fb = open_memstream(&b, &len);

	assert_int_equal(gw_config_make_tunnel(mt, fa, fb, &err), 0);
	fclose(fa);
	fclose(fb);
	load(a, gw_addr_text(&mt->a, addr), &ca);
	load(b, gw_addr_text(&mt->b, addr), &cb);
	compare(mt, &ca, &cb);
	check_queues(mt, &ca.tunnels[0]);
	check_queues(mt, &cb.tunnels[0]);
	gw_config_free(&ca);
	gw_config_free(&cb);
	free(a);
	free(b);
}

static void
test_round_trip(void **state)
{
	static const unsigned int pairs[] = {0, 1, 4, GW_MAX_MAKE_PAIRS};
	const struct ipsec_pcpu_algo *algo;
	struct gw_make_tunnel mt;

	for (int i = 0; (algo = ipsec_pcpu_algo_get(i)) != NULL; i++) {
		for (int v = 0; v < 16; v++) {
			if ((v & 8) != 0)
				fill(&mt, "2001:db8::1", "2001:db8::2", pairs[v & 1]);
			else
				fill(&mt, "192.0.2.1", "192.0.2.2", pairs[2 + (v & 1)]);
			mt.algo = algo;
			mt.esn = (v & 2) != 0;
			mt.encap = (v & 4) != 0;
			round_trip(&mt);
		}
	}
}

/* All numbers of pairs that there may be. */
static void
test_queues(void **state)
{
	struct gw_make_tunnel mt;

	for (unsigned int pairs = 1; pairs <= GW_MAX_MAKE_PAIRS; pairs += 1 + pairs / 8) {
		fill(&mt, "203.0.113.7", "198.51.100.77", pairs);
		mt.encap = true;
		round_trip(&mt);
		fill(&mt, "2001:db8::1", "2001:db8:0:1::2", pairs);
		mt.encap = true;
		round_trip(&mt);
	}
}

static void
test_too_many(void **state)
{
	struct gw_make_tunnel mt;
	struct gw_error err;

	fill(&mt, "192.0.2.1", "192.0.2.2", GW_MAX_MAKE_PAIRS + 1);
	assert_int_equal(gw_config_make_tunnel(&mt, stdout, stdout, &err), -EINVAL);
}

static void
test_files(void **state)
{
	char dir[] = "/tmp/test_make_tunnel.XXXXXX", path[64];
	FILE *null = fopen("/dev/null", "w");
	struct gw_make_tunnel mt;
	struct gw_error err;
	struct stat st;

	assert_non_null(mkdtemp(dir));
	fill(&mt, "192.0.2.1", "192.0.2.2", 2);
	assert_int_equal(gw_config_make_tunnel_files(&mt, dir, null, &err), 0);
	snprintf(path, sizeof(path), "%s/t-a.conf", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* never over what is there */
	assert_int_not_equal(gw_config_make_tunnel_files(&mt, dir, null, &err), 0);
	assert_non_null(strstr(err.text, "t-a.conf: File exists"));
	assert_int_equal(unlink(path), 0);
	/* all or nothing */
	assert_int_not_equal(gw_config_make_tunnel_files(&mt, dir, null, &err), 0);
	assert_int_not_equal(stat(path, &st), 0);
	snprintf(path, sizeof(path), "%s/t-b.conf", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
	fclose(null);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_round_trip),
			cmocka_unit_test(test_queues),
			cmocka_unit_test(test_too_many),
			cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
