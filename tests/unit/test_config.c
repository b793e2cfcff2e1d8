/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The configuration: every refusal is a row of a table: what to change in a
 * file that is right, and the sentence that must come out.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/config.h"

/* libconfig 1.5 leaks strings where the syntax is wrong; its leaks are not ours. */
const char *__lsan_default_suppressions(void);

const char *
__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

#define KEY_OUT "000102030405060708090a0b0c0d0e0f10111213"
#define KEY_IN "c00102030405060708090a0b0c0d0e0f10111213"
#define KEY_IN2 "d00102030405060708090a0b0c0d0e0f10111213"

/* clang-format off */
static const char base[] =
		"state_file = \"state\";\n" /* 1 */
		"workers = 2;\n"
		"ports = (\n"
		"  { name = \"lan\"; device = \"net_tap0,iface=lan\";\n"
		"    addresses = [ \"10.1.0.1/24\", \"fd00:1::1/64\" ]; },\n" /* 5 */
		"  { name = \"wan\"; device = \"net_tap1\"; mtu = 1400; promisc = true;\n"
		"    addresses = [ \"192.0.2.1/24\" ]; } );\n"
		"routes = ( { to = \"0.0.0.0/0\"; via = \"192.0.2.254\"; port = \"wan\"; } );\n"
		"tunnels = (\n"
		"  { sas = (\n" /* 10 */
		"      { pcpu = 0;\n"
		"        out = { spi = 0x1001; key = \"" KEY_OUT "\";\n"
		"                sport = 50000; dport = 4500; };\n"
		"        in = { spi = 0xf0001002; key = \"c00102030405060708090a0b0c0d0e0f\"\n"
		"           /* the salt */ \"10111213\"; sport = 0; dport = 4500; }; },\n" /* 15 */
		"      { in = { spi = 0x1003; key = \"" KEY_IN2 "\"; }; esn = false; } );\n"
		"    name = \"paris\"; local = \"192.0.2.1\"; remote = \"198.51.100.1\";\n"
		"    replay_window = 512; dscp = 46; df = \"set\"; hard_bytes = 99999999999;\n"
		"    selectors = ( { local = \"10.1.0.9/16\"; remote = \"10.2.0.0/16\"; proto = \"tcp\";\n"
		"                    remote_ports = \"1000-2000\"; } ); } );\n" /* 20 */
		"policies = ( { action = \"bypass\"; remote = \"203.0.113.0/24\"; proto = 17; },\n"
		"             { action = \"tunnel\"; tunnel = \"paris\"; local = \"fd00:1::/64\"; } );\n";
/* clang-format on */

/* base with the first of what to find replaced; malloc()ed. */
static char *
edit(const char *find, const char *replace)
{
	const char *at = strstr(base, find);
	char *text = malloc(sizeof(base) + strlen(replace));

	if (at == NULL)
		fail_msg("\"%s\" is not in the text", find);
	sprintf(text, "%.*s%s%s", (int)(at - base), base, replace, at + strlen(find));
	return text;
}

static void
test_good(void **state)
{
	const struct ipsec_pcpu_sa_params *out, *in, *in2;
	const struct gw_config_tunnel *t;
	struct gw_config cfg;
	struct gw_error err;
	char text[GW_ADDR_STRLEN];

	if (gw_config_parse(base, "dir/gw.conf", &cfg, &err) != 0)
		fail_msg("%s", err.text);
	assert_string_equal(cfg.state_file, "dir/state");
	assert_int_equal(cfg.workers, 2);
	assert_int_equal(cfg.default_action, GW_ACTION_DROP);
	assert_int_equal(cfg.idle_sleep_us, 100);
	assert_int_equal(cfg.n_ports, 2);
	assert_string_equal(cfg.ports[0].device, "net_tap0,iface=lan");
	assert_int_equal(cfg.ports[0].n_addresses, 2);
	assert_int_equal(cfg.ports[0].mtu, 1500);
	assert_true(cfg.ports[1].promisc);
	assert_int_equal(cfg.ports[1].line, 6);
	assert_string_equal(cfg.routes[0].port, "wan");
	t = &cfg.tunnels[0];
	assert_int_equal(t->line, 10);
	assert_true(t->up);
	assert_int_equal(t->n_sas, 3);
	assert_string_equal(gw_prefix_text(&t->selectors[0].local, text), "10.1.0.0/16");
	assert_int_equal(t->selectors[0].remote_ports.max, 2000);
	assert_int_equal(t->selectors[0].local_ports.max, 65535);
	out = &t->sas[0].prm;
	in = &t->sas[1].prm;
	in2 = &t->sas[2].prm;
	assert_int_equal(out->dir, IPSEC_PCPU_OUT);
	assert_int_equal(out->pcpu, 0);
	assert_int_equal(out->encap_sport, 50000);
	assert_int_equal(out->dscp, 46);
	assert_int_equal(out->df, IPSEC_PCPU_DF_SET);
	assert_int_equal(out->hard_bytes, 99999999999);
	assert_int_equal(out->saddr.ip4, t->local.a.ip4);
	assert_int_equal(out->daddr.ip4, t->remote.a.ip4);
	assert_int_equal(out->key[19], 0x13);
	assert_true(in->spi == 0xf0001002);
	assert_int_equal(in->saddr.ip4, t->remote.a.ip4);
	assert_int_equal(in->key[0], 0xc0);
	assert_int_equal(in->key[19], 0x13);
	assert_int_equal(in->replay_window, 512);
	assert_int_equal(t->sas[1].line, 14);
	assert_true(in->esn && !in2->esn);
	assert_true(in2->pcpu == IPSEC_PCPU_ANY);
	assert_int_equal(cfg.policies[0].sel.proto, 17);
	assert_int_equal(cfg.policies[0].sel.local.addr.family, AF_INET);
	assert_int_equal(cfg.policies[0].sel.local.len, 0);
	assert_int_equal(cfg.policies[1].sel.remote.addr.family, AF_INET6);
	gw_config_free(&cfg);
	assert_null(cfg.tunnels);
}

/* clang-format off */
static const struct {
	const char *find, *replace, *message; /* NULL: accepted */
} cases[] = {
	/* the text */
	{"workers = 2;", "workers = ;", "gw.conf:2: syntax error"},
	{"workers = 2;", "workers = 2", NULL},
	{"workers = 2;", "workers = 2; workers = 3;", "gw.conf:2: duplicate setting name"},
	{"\"10.1.0.1/24\"", "\"10.1.0.1/24", "gw.conf:22: no \" ends the string that starts here"},
	{"tunnel = \"paris\"; local", "/* local", "gw.conf:22: no */ ends the comment"},
	{"workers = 2;", "workers = 99999999999999999999;", "gw.conf:2: this number does not fit"},
	{"workers = 2;", "workers = 4294967297;", "gw.conf:2: workers is 0 to 64, not 4294967297"},
	{"0x1001", "0x100000101", "gw.conf:12: tunnel \"paris\": spi is 256 to 4294967295, not"},
	{"workers = 2;", "@include \"x\"", "gw.conf:2: @include is for files only"},
	{"workers = 2;", "@include x", "gw.conf:2: write: @include \"file\""},
	{"workers = 2;", "workers = 2; // \"\n# key = \"zz\"\n/* ' \" */", NULL},
	/* keys of the table */
	{"workers = 2;", "worker = 2;", "gw.conf:2: unknown key \"worker\": do you mean \"workers\"?"},
	{"workers = 2;", "frobnicate = 2;", "gw.conf:2: unknown key \"frobnicate\"; there are: workers, "},
	{"mtu = 1400", "mut = 1400", "gw.conf:6: port \"wan\": unknown key \"mut\": do you mean \"mtu\"?"},
	{"sport = 50000", "sprot = 50000", "gw.conf:13: tunnel \"paris\": unknown key \"sprot\""},
	{"workers = 2;", "workers = \"2\";", "gw.conf:2: workers wants a number, without quotes"},
	{"workers = 2;", "workers = 2.0;", "gw.conf:2: workers wants a number"},
	{"workers = 2;", "workers = -1;", "gw.conf:2: workers is 0 to 64, not -1"},
	{"workers = 2;", "default = \"pass\";", "gw.conf:2: default is \"drop\", \"bypass\", not \"pass\""},
	{"workers = 2;", "default = 1;", "gw.conf:2: default is \"drop\", \"bypass\""},
	{"promisc = true", "promisc = 1", "gw.conf:6: port \"wan\": promisc wants true or false"},
	{"name = \"wan\";", "", "gw.conf:6: name is missing"},
	{"device = \"net_tap1\";", "", "gw.conf:6: port \"wan\": device is missing"},
	{"mtu = 1400", "steering = \"fast\"", "gw.conf:6: port \"wan\": steering is \"auto\", \"flow\", \"tap\", "
		"\"rss\", \"soft\", not \"fast\""},
	{"mtu = 1400", "steering = 1", "gw.conf:6: port \"wan\": steering is \"auto\", "},
	{"mtu = 1400", "steering = [ \"rss\" ]", "gw.conf:6: port \"wan\": steering wants a word"},
	{"workers = 2;", "steering = \"rss\";", "gw.conf:2: unknown key \"steering\""},
	{"workers = 2;", "numa = \"off\";", "gw.conf:2: numa is \"warn\", \"strict\", not \"off\""},
	{"workers = 2;", "numa = true;", "gw.conf:2: numa wants a word"},
	{"device = \"net_tap1\";", "device = \"\";", "gw.conf:6: port \"wan\": device is empty"},
	{"routes = ( { to", "routes = ( 5, { to", "gw.conf:8: routes wants a list of groups"},
	{"in = { spi = 0x1003; key = \"" KEY_IN2 "\"; };", "in = 5;", "gw.conf:16: tunnel \"paris\": in wants a group: { ... }"},
	/* ports */
	{"name = \"wan\"", "name = \"lan\"", "gw.conf:6: port \"lan\": its name is that of port \"lan\" on line 4"},
	{"net_tap1", "net_tap0,iface=lan", "gw.conf:6: port \"wan\": its device is that of port \"lan\""},
	{"name = \"wan\"", "name = \"a/b\"", "gw.conf:6: port \"a/b\": name \"a/b\": 1 to 15 letters"},
	{"name = \"wan\"", "name = \"sixteen-bytes-xx\"", "gw.conf:6: port \"sixteen-bytes-xx\": name"},
	{"name = \"wan\"", "name = \"lo\"", "gw.conf:6: port \"lo\": the kernel uses this name itself"},
	{"192.0.2.1/24", "10.1.0.1/8", "gw.conf:6: port \"wan\": address 10.1.0.1 is also that of port \"lan\""},
	{"192.0.2.1/24", "192.0.2.1", "gw.conf:7: port \"wan\": \"192.0.2.1\" is not an address with"},
	{"192.0.2.1/24", "192.0.2.1/33", "gw.conf:7: port \"wan\": \"192.0.2.1/33\" is not an address"},
	{"192.0.2.1/24", "224.0.0.1/24", "gw.conf:6: port \"wan\": 224.0.0.1 cannot be the address"},
	{"[ \"10.1.0.1/24\"", "[ \"10.1.0.1/24\", \"10.1.0.1/16\"", "gw.conf:4: port \"lan\": address 10.1.0.1 is also"},
	{"mtu = 1400", "mtu = 500", "gw.conf:6: port \"wan\": mtu is 576 to 9600, not 500"},
	{"device = \"net_tap0,iface=lan\";", "device = \"net_tap0\"; mtu = 1279;",
		"gw.conf:4: port \"lan\": mtu 1279 is too small for IPv6, which wants 1280"},
	/* routes */
	{"port = \"wan\"", "port = \"wam\"", "gw.conf:8: route to 0.0.0.0/0: there is no port of that name"},
	{"port = \"wan\"", "port = \"lan\"", "gw.conf:8: route to 0.0.0.0/0: via is on none of the port's networks"},
	{"via = \"192.0.2.254\"; port = \"wan\";", "via = \"203.0.113.9\";",
		"gw.conf:8: route to 0.0.0.0/0: via is on no port's network: say port"},
	{"via = \"192.0.2.254\"; port = \"wan\";", "", "gw.conf:8: route to 0.0.0.0/0: neither via nor port"},
	{"via = \"192.0.2.254\"", "via = \"fd00:1::2\"", "gw.conf:8: route to 0.0.0.0/0: to and via are not of the same family"},
	{"via = \"192.0.2.254\"", "via = \"192.0.2.1\"", "gw.conf:8: route to 0.0.0.0/0: via is not the address of another host"},
	{"via = \"192.0.2.254\"; ", "", NULL},
	{"port = \"wan\"; }", "}", NULL},
	/* tunnels */
	{"name = \"paris\"", "name = \"pa ris\"", "gw.conf:17: tunnel \"pa ris\": name \"pa ris\""},
	{"local = \"192.0.2.1\"", "local = \"192.0.2.2\"", "gw.conf:10: tunnel \"paris\": local is not an address of any port"},
	{"local = \"192.0.2.1\"", "local = \"192.0.2\"", "gw.conf:17: tunnel \"paris\": local \"192.0.2\" is not an IPv4"},
	{"198.51.100.1", "10.1.0.1", "gw.conf:10: tunnel \"paris\": remote is an address of our own"},
	{"198.51.100.1", "::9", "gw.conf:10: tunnel \"paris\": local and remote are not of the same family"},
	{"198.51.100.1", "255.255.255.255", "gw.conf:10: tunnel \"paris\": remote is not the address of a host"},
	{"replay_window = 512", "replay_window = 100", "gw.conf:10: tunnel \"paris\": replay_window 100 is not a multiple of 64"},
	{"replay_window = 512", "replay_window = 4160", "gw.conf:18: tunnel \"paris\": replay_window is 0 to 4096"},
	{"dscp = 46", "dscp = \"COPY\"", "gw.conf:18: tunnel \"paris\": dscp is \"copy\" or 0 to 63, not \"COPY\""},
	{"df = \"set\"", "algo = \"rot13\"", "gw.conf:18: tunnel \"paris\": algo \"rot13\" is not known; there are: aes128gcm16, "},
	{"tunnel = \"paris\"; local", "tunnel = \"rome\"; local", "gw.conf:22: policy: there is no tunnel \"rome\""},
	{"tunnel = \"paris\"; local", "local", "gw.conf:22: tunnel is missing"},
	{"action = \"bypass\";", "action = \"bypass\"; tunnel = \"paris\";", "gw.conf:21: tunnel \"paris\" goes with action"},
	/* selectors */
	{"remote = \"10.2.0.0/16\"", "remote = \"fd00:2::/64\"", "gw.conf:19: tunnel \"paris\": local and remote are not of the same"},
	{"remote = \"10.2.0.0/16\"", "remote = \"10.2.0.0/99\"", "gw.conf:19: tunnel \"paris\": remote \"10.2.0.0/99\" is not a network"},
	{"proto = \"tcp\"", "proto = \"any\"", "gw.conf:19: tunnel \"paris\": ports go with proto"},
	{"proto = \"tcp\"", "proto = \"tpc\"", "gw.conf:19: tunnel \"paris\": proto is \"any\", \"icmp\", "},
	{"proto = 17", "proto = \"icmpv6\"", "gw.conf:21: proto \"icmpv6\" is IPv6's: write \"icmp\""},
	{"remote = \"203.0.113.0/24\";", "", "gw.conf:21: neither local nor remote"},
	{"\"1000-2000\"", "\"2000-1000\"", "gw.conf:20: tunnel \"paris\": remote_ports: 2000 is above 1000"},
	{"\"1000-2000\"", "\"0-2000\"", "gw.conf:20: tunnel \"paris\": remote_ports: port 0 is possible"},
	{"\"1000-2000\"", "\"1-65536\"", "gw.conf:20: tunnel \"paris\": remote_ports \"1-65536\" is not like"},
	{"\"1000-2000\"", "\"-5\"", "gw.conf:20: tunnel \"paris\": remote_ports \"-5\" is not like"},
	{"\"1000-2000\"", "\"0-65535\"", NULL},
	{"\"1000-2000\"", "443", NULL},
	/* SAs */
	{"0x1001", "255", "gw.conf:12: tunnel \"paris\": spi is 256 to 4294967295, not 255"},
	{"0x1003", "0xf0001002", "gw.conf:16: tunnel \"paris\": SA 0xf0001002 in: its SPI is also that of SA "
		"0xf0001002 in of tunnel \"paris\" on line 14"},
	{"0x1003", "0x1001", NULL}, /* out and in do not meet */
	{KEY_IN2, KEY_OUT, "gw.conf:16: tunnel \"paris\": SA 0x00001003 in: its key is also that of SA "
		"0x00001001 out of tunnel \"paris\" on line 12"},
	{KEY_IN2, "c00102030405060708090a0b0c0d0e0f99999999", "gw.conf:16: tunnel \"paris\": SA 0x00001003 in: its key is also"},
	{KEY_IN2, "0000000000000000000000000000000000000001", "gw.conf:16: tunnel \"paris\": SA 0x00001003 in: the key is all zeros"},
	{KEY_OUT, "000102030405060708090a0b0c0d0e0f101112", "gw.conf:12: tunnel \"paris\": key is 19 bytes, aes128gcm16 wants 20 (16 key + 4 salt)"},
	{KEY_OUT, KEY_OUT "1", "gw.conf:12: tunnel \"paris\": key has 41 hex digits, an odd number"},
	{KEY_OUT, KEY_OUT "g", "gw.conf:12: tunnel \"paris\": key has something in it that is not a hex digit"},
	{KEY_OUT, "00:01:02", "gw.conf:12: tunnel \"paris\": key has something in it that is not a hex digit"},
	{KEY_OUT, "", "gw.conf:12: tunnel \"paris\": key is 0 bytes"},
	{"key = \"" KEY_OUT "\";", "", "gw.conf:12: tunnel \"paris\": key is missing"},
	{"key = \"" KEY_OUT "\";", "key = 0x" KEY_OUT ";", "gw.conf:12: write the key in quotes"},
	{"key = \"" KEY_OUT "\";", "key = true;", "gw.conf:12: tunnel \"paris\": key wants hex digits in quotes"},
	{"key = \"" KEY_OUT "\";", "key = [ \"" KEY_OUT "\" ];", "gw.conf:12: tunnel \"paris\": key wants hex digits"},
	{"key = \"" KEY_OUT "\";", "Key = \"" KEY_OUT "\";", "gw.conf:12: tunnel \"paris\": unknown key \"Key\": do you mean \"key\"?"},
	{"key = \"" KEY_OUT "\";", "key_file = \"" KEY_OUT "\";", "gw.conf:12: tunnel \"paris\": key_file wants the name of a file, not"},
	{"key = \"" KEY_OUT "\";", "key_file = \"/nonexistent/k\";", "gw.conf:12: tunnel \"paris\": key file /nonexistent/k: No such"},
	{"key = \"" KEY_OUT "\";", "key = \"" KEY_OUT "\"; key_file = \"x\";", "gw.conf:12: tunnel \"paris\": key and key_file: one of them only"},
	{"spi = 0x1001", "spi = \"" KEY_OUT "\"", "gw.conf:12: tunnel \"paris\": spi wants a number, without quotes"},
	{"remote = \"198.51.100.1\"", "remote = \"" KEY_OUT "\"", "gw.conf:17: tunnel \"paris\": remote \"[...]\" is not"},
	{"remote = \"198.51.100.1\"", "remote = \"x 0001 0203 0 4 y\"", "gw.conf:17: tunnel \"paris\": remote \"x [...]y\" is not"},
	{"remote = \"198.51.100.1\"", "remote = \"9998887\"", "gw.conf:17: tunnel \"paris\": remote \"9998887\" is not"},
	{"remote = \"198.51.100.1\"", "remote = \"00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10\"",
		"gw.conf:17: tunnel \"paris\": remote \"[...]\" is not"},
	{"remote = \"198.51.100.1\"", "remote = \"2001:db8:0:0:0:0:0:0:1\"", "gw.conf:17: tunnel \"paris\": remote \"2001:db8:0:0:0:0:0:0:1\" is not"},
	{"key = \"" KEY_OUT "\";", "key_file = \"000102030405060708090a0b0c0d0e0g\";",
		"gw.conf:12: tunnel \"paris\": key file [...]g: No such"},
	{"key = \"" KEY_OUT "\";", "key_file = \"0001020304050607 08090a0b0c0d0e0f\";",
		"gw.conf:12: tunnel \"paris\": key_file wants the name of a file, not"},
	{"key = \"" KEY_OUT "\";", "key : \"0x" KEY_OUT "\";", NULL},
	{"dport = 4500; };", "};", "gw.conf:12: tunnel \"paris\": SA 0x00001001 out: sport and dport: both"},
	{"sport = 0; dport = 4500", "sport = 9; dport = 0", "gw.conf:14: tunnel \"paris\": SA 0xf0001002 in: sport without dport"},
	{"sport = 0; dport = 4500", "sport = 0; dport = 500", "gw.conf:14: tunnel \"paris\": SA 0xf0001002 in: dport 500 is IKE's"},
	{"sport = 0; dport = 4500;", "", "gw.conf:11: tunnel \"paris\": one SA of the pair is in UDP (sport, dport), the other one is not"},
	{"sport = 50000; dport = 4500;", "", "gw.conf:11: tunnel \"paris\": one SA of the pair is in UDP (sport, dport), the other one is not"},
	{"pcpu = 0;", "pcpu = \"all\";", "gw.conf:11: tunnel \"paris\": pcpu is \"any\" or 0 to 65535, not \"all\""},
	{"{ in = { spi = 0x1003; key = \"" KEY_IN2 "\"; }; esn", "{ esn", "gw.conf:16: tunnel \"paris\": neither out nor in"},
	{"state_file = \"state\";", "", "gw.conf:12: SAs with static keys need a state file, or a restart uses IVs again; add:"},
	{"state_file = \"state\";", "allow_iv_reuse = true;", NULL},
	{"workers = 2;", "console = \"\"; max_sas = 16; mbufs = 4096; icmp_rate = 0;", NULL},
	{"workers = 2;", "metrics_listen = \"\"; metrics_sas = false;", NULL},
#ifdef GW_METRICS
	{"workers = 2;", "metrics_listen = \"127.0.0.1:9470\";", NULL},
	{"workers = 2;", "metrics_listen = \"[::1]:9470\";", NULL},
	{"workers = 2;", "metrics_listen = 9470;", NULL},
	{"workers = 2;", "metrics_listen = \"localhost:9470\";",
		"gw.conf:2: metrics_listen \"localhost:9470\" is not an address with a port, like \"127.0.0.1:9470\" or \"[::1]:9470\", nor a port alone"},
	{"workers = 2;", "metrics_listen = \"::1:9470\";", "gw.conf:2: metrics_listen \"::1:9470\" is not"},
	{"workers = 2;", "metrics_listen = 65536;", "gw.conf:2: metrics_listen \"65536\" is not"},
	{"workers = 2;", "metrics_listen = -1;", "gw.conf:2: metrics_listen \"-1\" is not"},
	{"workers = 2;", "metrics_listen = \"" KEY_OUT "\";", "gw.conf:2: metrics_listen \"[...]\" is not"},
	{"workers = 2;", "metrics_listen = true;", "gw.conf:2: metrics_listen wants an address and a port"},
#else
	{"workers = 2;", "metrics_listen = 9470;",
		"gw.conf:2: metrics_listen: this gateway was built without metrics: build it with -Dmetrics=enabled"},
#endif
	{"workers = 2;", "metrics_sas = 1;", "gw.conf:2: metrics_sas wants true or false"},
};
/* clang-format on */

/* Six hex digits in a row of any of the keys. */
static bool
shows_key(const char *text)
{
	static const char *const keys[] = {KEY_OUT, KEY_IN, KEY_IN2};
	char part[7];

	for (size_t k = 0; k < RTE_DIM(keys); k++)
		for (size_t i = 0; i + 6 <= strlen(keys[k]); i++) {
			snprintf(part, sizeof(part), "%s", keys[k] + i);
			if (strcmp(part, "000000") != 0 && strstr(text, part) != NULL)
				return true;
		}
	return false;
}

static void
test_cases(void **state)
{
	struct gw_config cfg;
	struct gw_error err;
	unsigned int bad = 0;
	char *text;
	bool ok;
	int rc;

	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		text = edit(cases[i].find, cases[i].replace);
		memset(&err, 0, sizeof(err));
		rc = gw_config_parse(text, "gw.conf", &cfg, &err);
		if (cases[i].message == NULL)
			ok = rc == 0;
		else
			ok = rc < 0 &&
					strncmp(err.text, cases[i].message,
							strlen(cases[i].message)) == 0;
		if (!ok || shows_key(err.text)) {
			print_error("\"%s\" -> \"%s\": \"%s\"\n    wanted \"%s\"\n", cases[i].find,
					cases[i].replace, err.text,
					cases[i].message != NULL ? cases[i].message : "accepted");
			bad++;
		}
		gw_config_free(&cfg);
		free(text);
	}
	assert_int_equal(bad, 0);
}

/* Each word means what it says; without one it is the first. */
static void
test_words(void **state)
{
	static const char *const steering[] = {"auto", "flow", "tap", "rss", "soft"};
	static const char *const numa[] = {"warn", "strict"};
	struct gw_config cfg;
	struct gw_error err;
	char part[64], *text;

	for (unsigned int i = 0; i < RTE_DIM(steering); i++) {
		snprintf(part, sizeof(part), "steering = \"%s\"", steering[i]);
		text = edit("mtu = 1400", part);
		assert_int_equal(gw_config_parse(text, "gw.conf", &cfg, &err), 0);
		assert_int_equal(cfg.ports[0].steering, GW_STEER_AUTO);
		assert_int_equal(cfg.ports[1].steering, GW_STEER_AUTO + i);
		gw_config_free(&cfg);
		free(text);
	}
	for (unsigned int i = 0; i < RTE_DIM(numa); i++) {
		snprintf(part, sizeof(part), "numa = \"%s\";", numa[i]);
		text = edit("workers = 2;", part);
		assert_int_equal(gw_config_parse(text, "gw.conf", &cfg, &err), 0);
		assert_int_equal(cfg.numa, GW_NUMA_WARN + i);
		gw_config_free(&cfg);
		free(text);
	}
	assert_int_equal(gw_config_parse(base, "gw.conf", &cfg, &err), 0);
	assert_int_equal(cfg.numa, GW_NUMA_WARN);
	gw_config_free(&cfg);
}

/* Two tunnels in one file: what must be there once only. */
static void
test_two_tunnels(void **state)
{
	static const char head[] =
			"allow_iv_reuse = true;\n"
			"ports = ( { name = \"w\"; device = \"d\"; addresses = [ \"192.0.2.1/24\" ]; } );\n";
	static const char tunnel[] =
			"{ name = \"%s\"; local = \"192.0.2.1\"; remote = \"192.0.2.%d\"; %s\n"
			"sas = ( { out = { spi = %d; key = \"%s\"; }; } ); }%s\n";
	static const char sel1[] = "selectors = ( { local = \"::/0\"; } );";
	static const char sel[] =
			"selectors = ( { local = \"10.1.0.0/16\"; }, { local = \"::/0\"; proto = 6; } );";
	static const struct {
		const char *name;
		int remote;
		int spi;
		const char *key, *sel, *message;
	} rows[] = {
			{"t2", 3, 500, KEY_IN, sel, NULL},
			{"t2", 2, 500, KEY_IN, sel,
					"gw.conf:7: tunnel \"t2\": SA 0x000001f4 out: its SPI and peer are also those of SA "
					"0x000001f4 out of tunnel \"t1\" on line 5"},
			{"t1", 3, 501, KEY_IN, sel,
					"gw.conf:6: tunnel \"t1\": its name is that of the tunnel on line 4"},
			{"t2", 3, 501, KEY_OUT, sel,
					"gw.conf:7: tunnel \"t2\": SA 0x000001f5 out: its key is also that of SA"},
			{"t2", 3, 501, KEY_IN, "",
					"gw.conf:6: tunnel \"t2\": it has no selectors, and no policy"},
			{"t2", 3, 501, KEY_IN, sel1,
					"gw.conf:6: tunnel \"t2\": its selector ::/0 to ::/0 is also that of tunnel "
					"\"t1\" on line 4: the first wins, the second never matches"},
	};
	struct gw_config cfg;
	struct gw_error err;
	char text[2000];
	int n, rc;

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		n = sprintf(text, "%stunnels = (\n", head);
		n += sprintf(text + n, tunnel, "t1", 2, sel1, 500, KEY_OUT, ",");
		n += sprintf(text + n, tunnel, rows[i].name, rows[i].remote, rows[i].sel,
				rows[i].spi, rows[i].key, "");
		sprintf(text + n, ");\n");
		rc = gw_config_parse(text, "gw.conf", &cfg, &err);
		if (rows[i].message == NULL)
			assert_int_equal(rc, 0);
		else if (rc == 0 ||
				strncmp(err.text, rows[i].message, strlen(rows[i].message)) != 0)
			fail_msg("%s: \"%s\"", rows[i].message, err.text);
		gw_config_free(&cfg);
	}
}

static int
parse_with(const char *tunnels, const char *tail, struct gw_error *err)
{
	struct gw_config cfg;
	char text[4000];
	int rc;

	snprintf(text, sizeof(text),
			"allow_iv_reuse = true;\n"
			"ports = ( { name = \"w\"; device = \"d\"; addresses = [ \"192.0.2.1/24\" ]; } );\n"
			"tunnels = ( %s );\n%s",
			tunnels, tail);
	err->text[0] = '\0';
	rc = gw_config_parse(text, "gw.conf", &cfg, err);
	gw_config_free(&cfg);
	return rc;
}

/* Twice the same selector: it has a meaning if a policy names the second tunnel. */
static void
test_same_selectors(void **state)
{
	static const char two[] =
			"{ name = \"t1\"; local = \"192.0.2.1\"; remote = \"192.0.2.2\";\n"
			"  selectors = ( { remote = \"10.2.0.0/16\"; }, { remote = \"10.2.0.0/16\"; } ); },\n"
			"{ name = \"t2\"; local = \"192.0.2.1\"; remote = \"192.0.2.3\";\n"
			"  selectors = ( { remote = \"10.3.0.0/16\"; }, { remote = \"10.2.0.0/16\"; } ); }\n";
	static const char to_first[] =
			"policies = ( { action = \"tunnel\"; tunnel = \"t1\"; local = \"::/0\"; } );";
	static const char to_second[] =
			"policies = ( { action = \"tunnel\"; tunnel = \"t2\"; local = \"::/0\"; } );";
	struct gw_error err;

	assert_int_equal(parse_with(two, "", &err), -EINVAL);
	assert_string_equal(err.text,
			"gw.conf:5: tunnel \"t2\": its selector 0.0.0.0/0 to 10.2.0.0/16 is also that "
			"of tunnel \"t1\" on line 3: the first wins, the second never matches");
	assert_int_equal(parse_with(two, to_first, &err), -EINVAL);
	assert_int_equal(parse_with(two, to_second, &err), 0);
}

/* Outbound UDP ports: one each for SAs of different CPUs (R15). */
static void
test_same_ports(void **state)
{
	static const struct {
		const char *pcpu, *ports;
		int rc;
	} rows[] = {
			{"1", "sport = 50001; dport = 4500;", 0},
			{"1", "sport = 50000; dport = 4501;", 0},
			{"0", "sport = 50000; dport = 4500;", 0}, /* a successor (R5) */
			{"\"any\"", "sport = 50000; dport = 4500;", 0},
			{"1", "", 0},
			{"1", "sport = 50000; dport = 4500;", -EINVAL},
	};
	static const char format[] =
			"{ name = \"t1\"; local = \"192.0.2.1\"; remote = \"192.0.2.2\";\n"
			"  selectors = ( { remote = \"10.2.0.0/16\"; } ); sas = (\n"
			"  { pcpu = 0; out = { spi = 500; key = \"" KEY_OUT
			"\"; sport = 50000; dport = 4500; }; },\n"
			"  { pcpu = %s; out = { spi = 501; key = \"" KEY_IN "\"; %s }; } ); }";
	struct gw_error err;
	char text[1000];

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		snprintf(text, sizeof(text), format, rows[i].pcpu, rows[i].ports);
		if (parse_with(text, "", &err) != rows[i].rc)
			fail_msg("%zu: %s", i, err.text);
	}
	assert_string_equal(err.text,
			"gw.conf:6: tunnel \"t1\": SA 0x000001f5 out: per-CPU SAs want a source port "
			"each, and its UDP ports are also those of SA 0x000001f4 out of tunnel \"t1\" "
			"on line 5");
}

static void
test_truncated(void **state)
{
	struct gw_config cfg;
	struct gw_error err;
	char *text = strdup(base);

	/* from the end: each is shorter by one */
	for (size_t n = strlen(base); n > 0; n--) {
		text[n - 1] = '\0';
		if (gw_config_parse(text, "gw.conf", &cfg, &err) == 0)
			gw_config_free(&cfg);
		else
			assert_false(shows_key(err.text));
	}
	free(text);
}

/* Every byte replaced by each of some that mean something. */
static void
test_changed(void **state)
{
	static const char bytes[] = "\"{}();=@#/*\\ x0";
	struct gw_config cfg;
	struct gw_error err;
	char *text = strdup(base);

	for (size_t i = 0; i < strlen(base); i++) {
		for (const char *b = bytes; *b != '\0'; b++) {
			text[i] = *b;
			if (gw_config_parse(text, "gw.conf", &cfg, &err) == 0)
				gw_config_free(&cfg);
			else if (shows_key(err.text))
				fail_msg("%s", err.text);
		}
		text[i] = base[i];
	}
	free(text);
}

static void
test_check_sa(void **state)
{
	struct gw_config_sa sa, out;
	struct gw_config cfg;
	struct gw_error err;

	assert_int_equal(gw_config_parse(base, "gw.conf", &cfg, &err), 0);
	sa = cfg.tunnels[0].sas[1];
	sa.file = NULL;
	sa.line = 0;
	assert_int_equal(gw_config_check_sa(&cfg, &cfg.tunnels[0], &sa, &err), -EINVAL);
	assert_string_equal(err.text,
			"tunnel \"paris\": SA 0xf0001002 in: its key is also that of SA "
			"0xf0001002 in of tunnel \"paris\" on line 14 of gw.conf");
	sa.prm.key[0] ^= 1;
	assert_int_equal(gw_config_check_sa(&cfg, &cfg.tunnels[0], &sa, &err), -EINVAL);
	assert_non_null(strstr(err.text, "its SPI is also that of"));
	sa.prm.spi = 0x4711;
	assert_int_equal(gw_config_check_sa(&cfg, &cfg.tunnels[0], &sa, &err), 0);
	out = cfg.tunnels[0].sas[0];
	out.prm.key[0] ^= 1;
	out.prm.spi = 0x4712;
	assert_int_equal(gw_config_check_sa(&cfg, &cfg.tunnels[0], &out, &err), 0);
	out.prm.pcpu = 1;
	assert_int_equal(gw_config_check_sa(&cfg, &cfg.tunnels[0], &out, &err), -EINVAL);
	assert_non_null(strstr(err.text, "its UDP ports are also those of SA 0x00001001 out"));
	sa.prm.daddr.ip4 ^= 1;
	assert_int_equal(gw_config_check_sa(&cfg, &cfg.tunnels[0], &sa, &err), -EINVAL);
	gw_config_free(&cfg);
}

static char dir[] = "/tmp/test_config.XXXXXX";

static const char *
in_dir(const char *name)
{
	static char path[4][256];
	static int i;

	i = (i + 1) % 4;
	snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

static const char *
put(const char *name, const char *text, mode_t mode)
{
	const char *path = in_dir(name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
	return path;
}

static void
expect_load(const char *path, int want, const char *fmt, ...)
{
	struct gw_config cfg;
	struct gw_error err = {""};
	char text[512];
	va_list ap;
	int rc;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rc = gw_config_load(path, &cfg, &err);
	if (rc != want || strncmp(err.text, text, strlen(text)) != 0)
		fail_msg("%s: %d \"%s\", wanted \"%s\"", path, rc, err.text, text);
	gw_config_free(&cfg);
}

static void
test_files(void **state)
{
	char *text;

	expect_load(put("gw.conf", base, 0600), 0, "");
	expect_load(put("gw.conf", base, 0640), 0, "");
	expect_load(put("gw.conf", base, 0644), -EACCES,
			"%s/gw.conf:12: there are keys in this file and "
			"others can read it; run: chmod o-rwx %s/gw.conf",
			dir, dir);
	expect_load(put("gw.conf", base, 0602), -EACCES,
			"%s/gw.conf:12: there are keys in this file and "
			"others can write it",
			dir);
	expect_load(in_dir("none"), -ENOENT, "cannot open %s/none: No such file", dir);
	expect_load(dir, -EISDIR, "%s: Is a directory", dir);

	text = edit("workers = 2;", "@include \"inc.conf\"");
	put("gw.conf", text, 0600);
	expect_load(in_dir("gw.conf"), -ENOENT, "%s/gw.conf:2: cannot open %s/inc.conf: No such",
			dir, dir);
	put("inc.conf", "# one\n  workers = 65;\n", 0644);
	expect_load(in_dir("gw.conf"), -EINVAL, "%s/inc.conf:2: workers is 0 to 64, not 65", dir);
	put("inc.conf", "workers = 4;", 0644);
	expect_load(in_dir("gw.conf"), 0, "");
	put("inc.conf", "@include \"inc.conf\"\n", 0644);
	expect_load(in_dir("gw.conf"), -EINVAL, "%s/inc.conf:1: @include goes deeper than 10 files",
			dir);
	put("inc.conf", "@include \".\"\n", 0644);
	expect_load(in_dir("gw.conf"), -EISDIR, "%s/.: Is a directory", dir);
	free(text);

	/* what comes behind an include is where it was */
	text = edit("workers = 2;\nports", "@include \"inc.conf\" # text\nprots");
	put("gw.conf", text, 0600);
	put("inc.conf", "# key = \"abc\"\nworkers = 4;\n", 0644);
	expect_load(in_dir("gw.conf"), -EINVAL,
			"%s/gw.conf:3: unknown key \"prots\": do you mean \"ports\"?", dir);
	free(text);
}

static void
test_key_files(void **state)
{
	char *text = edit("key = \"" KEY_OUT "\";", "key_file = \"k\";");

	put("gw.conf", text, 0600);
	put("k", "00010203 0405060708090a0b\n0c0d0e0f 10111213\n", 0600);
	expect_load(in_dir("gw.conf"), 0, "");
	put("k", KEY_OUT, 0604);
	expect_load(in_dir("gw.conf"), -EACCES,
			"%s/gw.conf:12: tunnel \"paris\": key file %s/k: others can read "
			"it; run: chmod o-rwx %s/k",
			dir, dir, dir);
	put("no-keys.conf", "workers = 2;\n", 0646);
	expect_load(in_dir("no-keys.conf"), -EACCES, "%s/no-keys.conf: others can write it", dir);
	put("k", "0001", 0600);
	expect_load(in_dir("gw.conf"), -EINVAL,
			"%s/gw.conf:12: tunnel \"paris\": key file %s/k: key is 2 bytes", dir, dir);
	put("k", KEY_IN, 0600);
	expect_load(in_dir("gw.conf"), -EINVAL,
			"%s/gw.conf:14: tunnel \"paris\": SA 0xf0001002 in: its key is also", dir);
	unlink(in_dir("k"));
	mkdir(in_dir("k"), 0700);
	expect_load(in_dir("gw.conf"), -EINVAL,
			"%s/gw.conf:12: tunnel \"paris\": key file %s/k: not a regular file", dir,
			dir);
	rmdir(in_dir("k"));
	free(text);
}

static void
copy_example(const char *name)
{
	char path[512], *text = calloc(1, 65536);
	FILE *f;

	snprintf(path, sizeof(path), CONFIG_DIR "/%s", name);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_true(fread(text, 1, 65535, f) > 0);
	fclose(f);
	put(name, text, 0644);
	free(text);
}

static void
example_tunnel(const char *name, const char *a, const char *b, const char *a_net, const char *b_net,
		unsigned int pairs)
{
	struct gw_make_tunnel mt = {
			.pairs = pairs, .esn = true, .encap = true, .replay_window = 1024};
	FILE *null = fopen("/dev/null", "w");
	struct gw_error err;

	snprintf(mt.name, sizeof(mt.name), "%s", name);
	mt.algo = ipsec_pcpu_algo_find("aes128gcm16");
	assert_int_equal(gw_addr_parse(a, &mt.a), 0);
	assert_int_equal(gw_addr_parse(b, &mt.b), 0);
	assert_int_equal(gw_prefix_parse(a_net, &mt.a_net), 0);
	assert_int_equal(gw_prefix_parse(b_net, &mt.b_net), 0);
	assert_int_equal(gw_config_make_tunnel_files(&mt, dir, null, &err), 0);
	fclose(null);
}

/* The files of config/, after what they say to run first. */
static void
test_examples(void **state)
{
	copy_example("site-to-site.conf");
	example_tunnel("paris", "192.0.2.1", "198.51.100.1", "10.1.0.0/16", "10.2.0.0/16", 4);
	expect_load(in_dir("site-to-site.conf"), 0, "");
	copy_example("aws-ena.conf");
	example_tunnel("virginia", "172.31.16.10", "203.0.113.77", "172.31.0.0/20", "10.64.0.0/16",
			8);
	expect_load(in_dir("aws-ena.conf"), 0, "");
	copy_example("single-worker.conf");
	put("berlin-out.key", &(KEY_OUT KEY_OUT)[8], 0600);
	put("berlin-in.key", &(KEY_IN KEY_IN)[8], 0600);
	expect_load(in_dir("single-worker.conf"), 0, "");
	copy_example("per-cpu-ports.conf");
	for (int i = 0; i < 6; i++) {
		static const char *const pcpus[] = {"0", "1", "any"};
		char name[32], key[41];

		snprintf(name, sizeof(name), "oslo-%s-%s.key", pcpus[i / 2], i % 2 ? "in" : "out");
		snprintf(key, sizeof(key), "%032x00000000", i + 1);
		put(name, key, 0600);
	}
	expect_load(in_dir("per-cpu-ports.conf"), 0, "");
}

static void
test_thousand(void **state)
{
	size_t room = 1 << 20;
	char *text = malloc(room);
	struct timespec a, b;
	struct gw_config cfg;
	struct gw_error err;
	int n, t, k = 1;

	n = sprintf(text,
			"state_file = \"s\";\nports = ( { name = \"w\"; device = \"d\"; addresses = "
			"[ \"192.0.2.1/24\" ]; } );\ntunnels = (\n");
	for (t = 0; t < 1000; t++) {
		n += sprintf(text + n,
				"%s{ name = \"t%d\"; local = \"192.0.2.1\"; remote = \"198.51.%d.%d\";"
				"selectors = ( { remote = \"10.%d.%d.0/24\"; } ); sas = (\n",
				t > 0 ? "," : "", t, t >> 8, t & 255, t >> 8, t & 255);
		for (int p = 0; p < 2; p++, k += 2)
			n += sprintf(text + n,
					"%s{ pcpu = %d; out = { spi = %d; key = \"%032x11111111\"; };"
					"in = { spi = %d; key = \"%032x11111111\"; }; }\n",
					p > 0 ? "," : "", p, 1000 + k, 2 * k, 1000 + k, 2 * k + 1);
		n += sprintf(text + n, "); }\n");
		assert_true(n + 2000 < (int)room);
	}
	sprintf(text + n, ");\n");
	clock_gettime(CLOCK_MONOTONIC, &a);
	if (gw_config_parse(text, "gw.conf", &cfg, &err) != 0)
		fail_msg("%s", err.text);
	clock_gettime(CLOCK_MONOTONIC, &b);
	print_message("# 1,000 tunnels x 2 pairs: %.1f ms\n",
			(b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6);
	assert_int_equal(cfg.n_tunnels, 1000);
	assert_int_equal(cfg.tunnels[999].n_sas, 4);
	gw_config_free(&cfg);
	free(text);
}

static void
test_doc(void **state)
{
	static char file[65536];
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len), *f = fopen(CONFIG_DIR "/../docs/config.md", "r");

	gw_config_doc(out);
	fclose(out);
	/* if not: dpdk-pcpu-gw --config-doc > docs/config.md */
	assert_non_null(f);
	assert_int_equal(fread(file, 1, sizeof(file), f), len);
	fclose(f);
	assert_memory_equal(file, text, len);
	assert_non_null(strstr(text, "| `replay_window` | 0 to 4096 | 1024 |"));
	assert_non_null(strstr(text, "| `replay_window` | 0 to 4096 | the tunnel's |"));
	assert_non_null(strstr(text, "| `allow_iv_reuse` | true or false | false | DANGEROUS"));
	free(text);
}

static int
setup(void **state)
{
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	return system(cmd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_good),
			cmocka_unit_test(test_cases),
			cmocka_unit_test(test_words),
			cmocka_unit_test(test_two_tunnels),
			cmocka_unit_test(test_same_selectors),
			cmocka_unit_test(test_same_ports),
			cmocka_unit_test(test_truncated),
			cmocka_unit_test(test_changed),
			cmocka_unit_test(test_check_sa),
			cmocka_unit_test(test_files),
			cmocka_unit_test(test_key_files),
			cmocka_unit_test(test_examples),
			cmocka_unit_test(test_thousand),
			cmocka_unit_test(test_doc),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
