/* SPDX-License-Identifier: BSD-3-Clause */

/* Source ports and the peer's queues on the console: sa add, show config, explain. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_gw.h"
#include "front/commands.h"
#include "json_check.h"

static struct gw *gw;
static struct gw_cmds *cmds;
static char path[] = "/tmp/gw-console-ports-XXXXXX";

static int
setup(void **state)
{
	int fd;

	strcpy(strrchr(path, '-'), "-XXXXXX");
	fd = mkstemp(path); /* mode 0600 */
	assert_true(fd >= 0);
	for (int i = 0; i < 20; i++)
		dprintf(fd, "%02x", i + 1);
	close(fd);
	gw = fake_gw_new();
	cmds = gw_commands_new(gw);
	assert_non_null(cmds);
	return 0;
}

static int
teardown(void **state)
{
	gw_cmds_free(cmds);
	fake_gw_free(gw);
	unlink(path);
	return 0;
}

static void
shows(const char *line, const char *part)
{
	struct gw_text out = {0};
	bool leave = false;

	assert_int_equal(gw_commands_run(cmds, gw, line, false, &out, &leave), 0);
	if (strstr(gw_text_str(&out), part) == NULL)
		fail_msg("%s: no \"%s\" in:\n%s", line, part, gw_text_str(&out));
	if (strstr(line, "json") != NULL)
		assert_json(gw_text_str(&out));
	gw_text_fini(&out);
}

static void
does(const char *line, int rc, const char *verb, const char *said)
{
	struct gw_text out = {0};
	bool leave = false;

	fake_verb[0] = '\0';
	assert_int_equal(gw_commands_run(cmds, gw, line, false, &out, &leave), rc);
	assert_string_equal(fake_verb, verb);
	assert_string_equal(gw_text_str(&out), said);
	gw_text_fini(&out);
}

/* Whose port an SA from the console gets, where none is given (R5, R15). */
static void
test_sa_ports(void **state)
{
	struct gw_config_tunnel *t = (struct gw_config_tunnel *)(uintptr_t)gw->tunnel[0].cfg;
	struct gw_config_sa sa = {.prm = {.spi = 0x4000, .family = AF_INET, .encap_dport = 4500}};
	struct gw_port_set taken = {{0}};
	struct gw_error err;
	char line[256], said[256];

	sa.prm.dir = IPSEC_PCPU_OUT;
	sa.prm.pcpu = 7;
	/* numbers in the file: the newest one's, which will be refused */
	snprintf(line, sizeof(line), "sa add paris out 0x4000 7 %s", path);
	does(line, 0, "add paris out 4000 7 aes128gcm16 49152>4500 key 01..14", "");
	/* chosen ones, and a queue of the peer's, of which a port is taken */
	t->auto_sports = true;
	t->peer_rss.rss = (struct ipsec_pcpu_rss){.reta_size = 128, .n_queues = 16};
	memcpy(t->peer_rss.rss.key, gw_rss_key, GW_RSS_KEY_LEN);
	assert_int_equal(gw_config_choose_sport(t, &taken, &sa, &err), 0);
	gw->tunnel[0].sas[1]->prm.encap_sport = sa.prm.encap_sport;
	gw_port_set_add(&taken, sa.prm.encap_sport);
	assert_int_equal(gw_config_choose_sport(t, &taken, &sa, &err), 0);
	assert_int_not_equal(gw->tunnel[0].sas[1]->prm.encap_sport, sa.prm.encap_sport);
	snprintf(said, sizeof(said), "add paris out 4000 7 aes128gcm16 %u>4500 key 01..14",
			sa.prm.encap_sport);
	does(line, 0, said, "");
	/* a predecessor's, that of the fallback SA as well; and what is given */
	snprintf(line, sizeof(line), "sa add paris out 0x4000 0 %s", path);
	does(line, 0, "add paris out 4000 0 aes128gcm16 49152>4500 key 01..14", "");
	snprintf(line, sizeof(line), "sa add paris out 0x4000 7 %s 50000 4501", path);
	does(line, 0, "add paris out 4000 7 aes128gcm16 50000>4501 key 01..14", "");
	gw->tunnel[0].sas[1]->prm.pcpu = 3; /* there is no fallback SA any more */
	snprintf(line, sizeof(line), "sa add paris out 0x4000 any %s", path);
	does(line, 0, "add paris out 4000 -1 aes128gcm16 4500>4500 key 01..14", "");
	/* none to be had */
	memset(t->peer_rss.rss.key, 0, GW_RSS_KEY_LEN);
	snprintf(line, sizeof(line), "sa add paris out 0x4000 7 %s", path);
	does(line, -ENOSPC, "",
			"error: tunnel \"paris\": SA 0x00004000 out: sport \"auto\": no port from 49152 "
			"to 65535 is left that lands on queue 7 of the peer (pcpu 7 modulo 16 queues): "
			"with its RSS key source ports do not lead to all of its queues: give the peer "
			"another key (Linux: ethtool -X), or this SA a number as sport\n");
	/* plain ESP has none, inbound ones are the peer's */
	snprintf(line, sizeof(line), "sa add paris in 0x4000 7 %s", path);
	does(line, 0, "add paris in 4000 7 aes128gcm16 49152>4500 key 01..14", "");
	gw->tunnel[0].sas[3]->prm.encap_sport = gw->tunnel[0].sas[3]->prm.encap_dport = 0;
	snprintf(line, sizeof(line), "sa add paris out 0x4000 7 %s", path);
	does(line, 0, "add paris out 4000 7 aes128gcm16 0>0 key 01..14", "");
}

/* What show config says of ports that were chosen, and of the peer. */
static void
test_config_ports(void **state)
{
	struct gw_config_tunnel *t = (struct gw_config_tunnel *)(uintptr_t)gw->tunnel[0].cfg;
	struct gw_config_sa sas[2] = {{.prm = gw->tunnel[0].sas[1]->prm},
			{.prm = gw->tunnel[0].sas[3]->prm, .auto_sport = true}};

	shows("show config json", "\"up\":true,\"peer_rss\":null,");
	shows("show config json", "\"encap_sport\":49152,\"auto_sport\":null,");
	t->sas = sas;
	t->n_sas = 2;
	t->peer_rss.rss = (struct ipsec_pcpu_rss){.reta_size = 128, .n_queues = 16};
	shows("show config json",
			"\"up\":true,\"peer_rss\":\"its own key, reta_size 128, queues 16\",");
	memcpy(t->peer_rss.rss.key, gw_rss_key, GW_RSS_KEY_LEN);
	shows("show config json", "\"peer_rss\":\"our key, reta_size 128, queues 16\",");
	shows("show config json", "\"encap_sport\":4500,\"auto_sport\":false,");
	shows("show config json", "\"encap_sport\":49152,\"auto_sport\":true,");
}

/* The queues on either side, each as far as it is known. */
static void
test_explain(void **state)
{
	static const char line[] = "explain 10.1.0.1 10.2.0.1 tcp 1 80";
	static const char json[] = "explain 10.1.0.1 10.2.0.1 tcp 1 80 json";
	struct gw_config_tunnel *t = (struct gw_config_tunnel *)(uintptr_t)gw->tunnel[0].cfg;
	struct ipsec_pcpu_tuple tuple = {.family = AF_INET, .sport = 49152, .dport = 4500};
	char said[100];

	shows(json, "port 4500\",\"peer_queue\":null}");
	shows(json, "\"rss_hash\":null,\"rx_queue\":null,\"rx_queue_why\":null,");
	t->peer_rss.rss = (struct ipsec_pcpu_rss){.reta_size = 128, .n_queues = 16};
	memcpy(t->peer_rss.rss.key, gw_rss_key, GW_RSS_KEY_LEN);
	snprintf(said, sizeof(said), "port 49152 -> 0.0.0.0 port 4500\",\"peer_queue\":%u}",
			ipsec_pcpu_tuple_hash(gw_rss_key, &tuple) % 128 % 16);
	shows(json, said);
	fake_explain.clear_side.known = true;
	fake_explain.clear_side.hash = 0x00abcdef;
	fake_explain.clear_side.queue = 1;
	shows(line, "0x00abcdef");
	shows(json, "\"rss_hash\":\"0x00abcdef\",\"rx_queue\":1,\"rx_queue_why\":null,");
	fake_explain.clear_side.known = false;
	strcpy(fake_explain.why.text, "port \"lan\" tells no key");
	shows(line, "port \"lan\" tells no key");
	shows(json, "\"rx_queue\":null,\"rx_queue_why\":\"port \\\"lan\\\" tells no key\",");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_setup_teardown(test_sa_ports, setup, teardown),
			cmocka_unit_test_setup_teardown(test_config_ports, setup, teardown),
			cmocka_unit_test_setup_teardown(test_explain, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
