/* SPDX-License-Identifier: BSD-3-Clause */

/* peer_rss, and source ports that are left to us: sport = "auto". */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/config.h"
#include "rss_key.h"

#define HEX10 "00112233445566778899"
/* Microsoft's, which most drivers of Linux began with. */
#define MS_KEY "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"

static char text[1 << 20];

struct site {
	const char *local, *remote;
	const char *peer_rss; /* the group; "": none */
	unsigned int pairs; /* per-CPU, and a fallback pair */
	unsigned int first; /* of the SPIs */
};

/* A file of which each outbound SA has sport = "auto". */
static const char *
make(const struct site *s)
{
	size_t n = snprintf(text, sizeof(text),
			"state_file = \"s\"; ports = ( { name = \"w\"; device = \"d\";\n"
			"addresses = [ \"%s/%d\" ]; } );\n"
			"tunnels = ( { name = \"t\"; local = \"%s\"; remote = \"%s\";\n"
			"%s\nselectors = ( { remote = \"10.2.0.0/16\"; } ); sas = (\n",
			s->local, strchr(s->local, ':') != NULL ? 64 : 24, s->local, s->remote,
			s->peer_rss);

	for (unsigned int i = 0; i <= s->pairs; i++) {
		char pcpu[16] = "\"any\"";

		if (i < s->pairs)
			snprintf(pcpu, sizeof(pcpu), "%u", i);
		n += snprintf(text + n, sizeof(text) - n,
				"%s{ pcpu = %s; out = { spi = %u; sport = \"auto\"; "
				"key = \"%032x00000000\"; }; }\n",
				i > 0 ? "," : "", pcpu, s->first + i, i + 1);
		assert_true(n < sizeof(text) - 200);
	}
	snprintf(text + n, sizeof(text) - n, "); } );\n");
	return text;
}

static void
parse(const char *file, struct gw_config *cfg)
{
	struct gw_error err;

	if (gw_config_parse(file, "gw.conf", cfg, &err) != 0)
		fail_msg("%s", err.text);
}

/* By the definition, apart from the functions that choose. */
static unsigned int
queue_at(const struct ipsec_pcpu_sa_params *prm, const uint8_t *key, unsigned int reta,
		unsigned int queues)
{
	struct ipsec_pcpu_tuple tuple = {
			prm->family, prm->saddr, prm->daddr, prm->encap_sport, prm->encap_dport};

	return ipsec_pcpu_tuple_hash(key, &tuple) % reta % queues;
}

static void
compare(const struct gw_config_tunnel *a, const struct gw_config_tunnel *b)
{
	assert_int_equal(a->n_sas, b->n_sas);
	for (unsigned int i = 0; i < a->n_sas; i++)
		assert_int_equal(a->sas[i].prm.encap_sport, b->sas[i].prm.encap_sport);
}

static void
check_tunnel(const struct gw_config_tunnel *t, unsigned int pairs)
{
	static bool seen[65536];

	memset(seen, 0, sizeof(seen));
	assert_true(t->auto_sports);
	assert_int_equal(t->n_sas, pairs + 1);
	for (unsigned int i = 0; i < pairs; i++) {
		const struct ipsec_pcpu_sa_params *prm = &t->sas[i].prm;

		assert_true(t->sas[i].auto_sport);
		assert_in_range(prm->encap_sport, 49152, 65535);
		assert_int_equal(prm->encap_dport, 4500);
		assert_false(seen[prm->encap_sport]);
		seen[prm->encap_sport] = true;
	}
	assert_int_equal(t->sas[pairs].prm.encap_sport, 4500);
	assert_int_equal(t->sas[pairs].prm.encap_dport, 4500);
}

static void
test_distinct(void **state)
{
	struct site s = {"192.0.2.1", "198.51.100.1", "", 1000, 0x1000};
	struct gw_config cfg, again;
	uint16_t queue;

	parse(make(&s), &cfg);
	check_tunnel(&cfg.tunnels[0], s.pairs);
	assert_false(gw_config_peer_queue(&cfg.tunnels[0], &cfg.tunnels[0].sas[0].prm, &queue));
	parse(make(&s), &again);
	compare(&cfg.tunnels[0], &again.tunnels[0]);
	gw_config_free(&again);
	/* other SPIs, other ports */
	s.first = 0x20001000;
	parse(make(&s), &again);
	assert_int_not_equal(cfg.tunnels[0].sas[0].prm.encap_sport,
			again.tunnels[0].sas[0].prm.encap_sport);
	gw_config_free(&again);
	gw_config_free(&cfg);
}

/* With what is known of the peer, each SA lands on its queue. */
static void
test_queues(void **state)
{
	static const struct {
		const char *local, *remote, *peer_rss;
		unsigned int reta, queues, pairs;
	} rows[] = {
			{"192.0.2.1", "198.51.100.1", "peer_rss = { queues = 16; };", 128, 16, 16},
			{"2001:db8::1", "2001:db8:2::1", "peer_rss = { queues = 16; };", 128, 16,
					16},
			{"192.0.2.1", "198.51.100.1",
					"peer_rss = { queues = 3; reta_size = 512; };", 512, 3, 64},
			{"192.0.2.1", "198.51.100.1",
					"peer_rss = { key = \"ours\"; queues = 128; reta_size = 128; };",
					128, 128, 256},
			{"192.0.2.1", "198.51.100.1", "peer_rss = { queues = 1; };", 128, 1, 20},
			{"192.0.2.1", "198.51.100.1",
					"peer_rss = { queues = 64; reta_size = 4096; };", 4096, 64,
					200},
			{"192.0.2.1", "198.51.100.1",
					"peer_rss = { key = \"" MS_KEY "\"; queues = 16; };", 128,
					16, 16},
			{"2001:db8::1", "2001:db8:2::1",
					"peer_rss = { key = \"" MS_KEY "\"; queues = 5; };", 128, 5,
					40},
	};
	struct gw_config cfg, again;

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		struct site s = {rows[i].local, rows[i].remote, rows[i].peer_rss, rows[i].pairs,
				0xc0000000};
		const struct gw_config_tunnel *t;
		uint16_t queue;

		parse(make(&s), &cfg);
		t = &cfg.tunnels[0];
		check_tunnel(t, s.pairs);
		assert_int_equal(t->peer_rss.line, 4);
		for (unsigned int k = 0; k < s.pairs; k++) {
			assert_int_equal(queue_at(&t->sas[k].prm, t->peer_rss.rss.key, rows[i].reta,
							 rows[i].queues),
					k % rows[i].queues);
			assert_true(gw_config_peer_queue(t, &t->sas[k].prm, &queue));
			assert_int_equal(queue, k % rows[i].queues);
		}
		parse(make(&s), &again);
		compare(t, &again.tunnels[0]);
		gw_config_free(&again);
		gw_config_free(&cfg);
	}
}

static void
test_key(void **state)
{
	static const uint8_t ms[] = {0x6d, 0x5a, 0x56, 0xda, 0x25};
	struct site s = {"192.0.2.1", "198.51.100.1", "peer_rss = { queues = 16; };", 1, 500};
	struct gw_config cfg;

	parse(make(&s), &cfg);
	assert_memory_equal(cfg.tunnels[0].peer_rss.rss.key, gw_rss_key, GW_RSS_KEY_LEN);
	assert_int_equal(cfg.tunnels[0].peer_rss.rss.reta_size, 128);
	assert_null(cfg.tunnels[0].peer_rss.rss.reta);
	gw_config_free(&cfg);
	s.peer_rss = "peer_rss = { queues = 16; key = \"0x" MS_KEY "\"; };";
	parse(make(&s), &cfg);
	assert_memory_equal(cfg.tunnels[0].peer_rss.rss.key, ms, sizeof(ms));
	assert_int_equal(cfg.tunnels[0].peer_rss.rss.key[39], 0xfa);
	gw_config_free(&cfg);
	/* as ethtool prints it */
	s.peer_rss = "peer_rss = { queues = 16; key = \"6d:5a:56:da:25:5b:0e:c2:41:67:25:3d:43:a3:8f:b0:"
		     "d0:ca:2b:cb:ae:7b:30:b4:77:cb:2d:a3:80:30:f2:0c:6a:42:b7:3b:be:ac:01:fa\"; };";
	parse(make(&s), &cfg);
	assert_memory_equal(cfg.tunnels[0].peer_rss.rss.key, ms, sizeof(ms));
	assert_int_equal(cfg.tunnels[0].peer_rss.rss.key[39], 0xfa);
	gw_config_free(&cfg);
	s.peer_rss = "";
	parse(make(&s), &cfg);
	assert_int_equal(cfg.tunnels[0].peer_rss.rss.n_queues, 0);
	gw_config_free(&cfg);
}

static void
test_refusals(void **state)
{
#define RSS "gw.conf:4: tunnel \"t\": "
	static const struct {
		const char *peer_rss, *message;
	} rows[] = {
			{"peer_rss = { };", RSS "queues is missing: it wants a number"},
			{"peer_rss = { queues = 0; };", RSS "queues is 1 to 4096, not 0"},
			{"peer_rss = { queues = \"16\"; };", RSS "queues wants a number, without"},
			{"peer_rss = 5;", RSS "peer_rss wants a group: { ... }"},
			{"peer_rss = ( { queues = 16; } );", RSS "peer_rss wants a group: { ... }"},
			{"peer_rss = { queues = 16; reta_size = 100; };",
					RSS "peer_rss: reta_size 100 is not a power of 2"},
			{"peer_rss = { queues = 16; reta_size = 8192; };",
					RSS "reta_size is 2 to 4096, not 8192"},
			{"peer_rss = { queues = 129; };",
					RSS
					"peer_rss: 129 queues, but a table of 128 entries leads to "
					"128 at most"},
			{"peer_rss = { queues = 16; key = \"our\"; };",
					RSS "key has something in it that is not a hex digit"},
			{"peer_rss = { queues = 16; key = \"\"; };",
					RSS "key is 0 bytes: write the first 40"},
			{"peer_rss = { queues = 16; key = \"" HEX10 "\"; };",
					RSS "key is 10 bytes: write the first 40 of the RSS key"},
			{"peer_rss = { queues = 16; key = \"" MS_KEY HEX10 "\"; };",
					RSS "key is 50 bytes: write the first 40 of the RSS key"},
			{"peer_rss = { queues = 16; key = \"" MS_KEY "0\"; };",
					RSS "key has 81 hex digits, an odd number"},
			{"peer_rss = { queues = 16; key = \":6d5a\"; };",
					RSS "key has something in it that is not a hex digit"},
			{"peer_rss = { queues = 16; key = \"6:d5a\"; };",
					RSS "key has something in it that is not a hex digit"},
			{"peer_rss = { queues = 16; key = 0x6d5a; };",
					"gw.conf:4: write the key in quotes"},
			{"peer_rss = { queues = 16; key = \"ours\" \"6d5a56da\"; };",
					RSS "key wants \"ours\", or 80 hex digits"},
			{"peer_rss = { queues = 16; kye = \"ours\"; };",
					RSS "unknown key \"kye\": do you mean \"key\"?"},
			/* a key by which all ports lead to queue 0 */
			{"peer_rss = { queues = 2; key = \"" HEX10 "00000000000000000000"
			 "0000000000000000000000000000000000000000\"; };",
					"gw.conf:7: tunnel \"t\": SA 0x000001f5 out: sport \"auto\": no "
					"port from 49152 to 65535 is left that lands on queue 1 of the "
					"peer (pcpu 1 modulo 2 queues): with its RSS key source ports do "
					"not lead to all of its queues: give the peer another key "
					"(Linux: ethtool -X), or this SA a number as sport"},
	};
	struct gw_config cfg;
	struct gw_error err;

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		struct site s = {"192.0.2.1", "198.51.100.1", rows[i].peer_rss, 2, 500};

		memset(&err, 0, sizeof(err));
		if (gw_config_parse(make(&s), "gw.conf", &cfg, &err) == 0)
			fail_msg("accepted: %s", rows[i].peer_rss);
		if (strncmp(err.text, rows[i].message, strlen(rows[i].message)) != 0)
			fail_msg("%s: \"%s\"", rows[i].peer_rss, err.text);
		assert_null(strstr(err.text, "6d5a56"));
		assert_null(cfg.tunnels);
	}
}

/* 128 ports land on each of 128 queues: SA 129 of one of them finds none. */
static void
test_used_up(void **state)
{
	static const char peer[] = "peer_rss = { queues = 128; };";
	struct site s = {"192.0.2.1", "198.51.100.1", peer, 128 * 10, 0x1000};
	struct gw_port_set taken = {{0}};
	const struct gw_config_tunnel *t;
	struct gw_config_sa sa;
	struct gw_config cfg;
	struct gw_error err;
	unsigned int n;

	parse(make(&s), &cfg);
	t = &cfg.tunnels[0];
	check_tunnel(t, s.pairs);
	sa = t->sas[5];
	for (n = 0; gw_config_choose_sport(t, &taken, &sa, &err) == 0; n++) {
		assert_int_equal(queue_at(&sa.prm, gw_rss_key, 128, 128), 5);
		gw_port_set_add(&taken, sa.prm.encap_sport);
	}
	assert_int_equal(n, 128);
	assert_string_equal(err.text,
			"gw.conf:11: tunnel \"t\": SA 0x00001005 out: sport \"auto\": no port from 49152 to "
			"65535 is left that lands on queue 5 of the peer (pcpu 5 modulo 128 queues): "
			"all 128 are those of other SAs of the tunnel: remove some SAs");
	/* all of them */
	cfg.tunnels[0].peer_rss.rss.n_queues = 0;
	for (n = 0; gw_config_choose_sport(t, &taken, &sa, &err) == 0; n++)
		gw_port_set_add(&taken, sa.prm.encap_sport);
	assert_int_equal(n, 16384 - 128);
	assert_non_null(strstr(err.text, "is left: all 16384 are those of other SAs"));
	gw_config_free(&cfg);
}

/* Next to numbers, of several dports, with a successor, plain. */
static void
test_mixed(void **state)
{
	static const char format[] =
			"state_file = \"s\"; ports = ( { name = \"w\"; device = \"d\";\n"
			"addresses = [ \"192.0.2.1/24\" ]; } );\n"
			"tunnels = ( { name = \"t\"; local = \"192.0.2.1\"; remote = \"192.0.2.2\";\n"
			"selectors = ( { remote = \"10.2.0.0/16\"; } ); sas = (\n"
			"{ pcpu = 0; out = { spi = 500; sport = \"auto\"; key = \"%032x00000000\"; }; },\n"
			"{ pcpu = 1; out = { spi = 501; sport = %u; dport = 4500; key = \"%032x00000000\"; }; },\n"
			"{ pcpu = 0; out = { spi = 502; sport = \"auto\"; key = \"%032x00000000\"; }; },\n"
			"{ pcpu = 1; out = { spi = 503; sport = \"auto\"; key = \"%032x00000000\"; }; },\n"
			"{ pcpu = 2; out = { spi = 504; sport = \"auto\"; dport = 4501; key = \"%032x00000000\"; }; },\n"
			"{ pcpu = 3; out = { spi = 505; key = \"%032x00000000\"; }; }\n"
			"); } );";
	const struct gw_config_sa *sa;
	struct gw_config cfg;
	uint16_t first;

	/* what SA 500 would have if it were alone is taken by SA 501, which comes later */
	snprintf(text, sizeof(text), format, 1, 50000, 2, 3, 4, 5, 6);
	parse(text, &cfg);
	first = cfg.tunnels[0].sas[0].prm.encap_sport;
	gw_config_free(&cfg);
	snprintf(text, sizeof(text), format, 1, first, 2, 3, 4, 5, 6);
	parse(text, &cfg);
	sa = cfg.tunnels[0].sas;
	assert_int_equal(sa[1].prm.encap_sport, first);
	assert_false(sa[1].auto_sport);
	assert_int_equal(sa[0].prm.encap_sport, first == 65535 ? 49152 : first + 1);
	assert_int_equal(sa[2].prm.encap_sport, sa[0].prm.encap_sport); /* R5 */
	assert_int_equal(sa[3].prm.encap_sport, first); /* R5, after a number */
	assert_int_equal(sa[4].prm.encap_dport, 4501);
	assert_int_not_equal(sa[4].prm.encap_sport, 0);
	assert_int_equal(sa[5].prm.encap_sport, 0);
	assert_int_equal(sa[5].prm.encap_dport, 0);
	gw_config_free(&cfg);
}

/* "auto" is for what we send. */
static void
test_inbound(void **state)
{
	static const char file[] =
			"ports = ( { name = \"w\"; device = \"d\"; addresses = [ \"192.0.2.1/24\" ]; } );\n"
			"tunnels = ( { name = \"t\"; local = \"192.0.2.1\"; remote = \"192.0.2.2\";\n"
			"selectors = ( { remote = \"10.2.0.0/16\"; } ); sas = ( { in = { spi = 500;\n"
			"sport = \"auto\"; key = \"00000000000000000000000000000000000000ff\"; }; } ); } );";
	struct gw_config cfg;
	struct gw_error err;

	assert_int_equal(gw_config_parse(file, "gw.conf", &cfg, &err), -EINVAL);
	assert_string_equal(
			err.text, "gw.conf:4: tunnel \"t\": sport wants a number, without quotes");
}

/* "ours" is no secret, hex digits are taken for one. */
static void
test_mode(void **state)
{
	static const char file[] = "/tmp/test_config_ports.conf";
	static const char *const keys[] = {"ours", MS_KEY};
	struct gw_config cfg;
	struct gw_error err;

	for (int i = 0; i < 2; i++) {
		FILE *f = fopen(file, "w");

		assert_non_null(f);
		fprintf(f,
				"ports = ( { name = \"w\"; device = \"d\"; addresses = [ \"192.0.2.1/24\" ]; } );\n"
				"tunnels = ( { name = \"t\"; local = \"192.0.2.1\"; remote = \"192.0.2.2\";\n"
				"peer_rss = { key = \"%s\"; queues = 4; };\n"
				"selectors = ( { remote = \"10.2.0.0/16\"; } ); } );",
				keys[i]);
		fclose(f);
		assert_int_equal(chmod(file, 0644), 0);
		assert_int_equal(gw_config_load(file, &cfg, &err), i == 0 ? 0 : -EACCES);
		if (i == 0)
			gw_config_free(&cfg);
	}
	assert_non_null(strstr(err.text, "test_config_ports.conf:3: there are keys in this file"));
	unlink(file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_distinct),
			cmocka_unit_test(test_queues),
			cmocka_unit_test(test_key),
			cmocka_unit_test(test_refusals),
			cmocka_unit_test(test_used_up),
			cmocka_unit_test(test_mixed),
			cmocka_unit_test(test_inbound),
			cmocka_unit_test(test_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
