/* SPDX-License-Identifier: BSD-3-Clause */

/* The script of a Linux peer: what it says for which tunnel, and that a shell takes it. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_byteorder.h>

#include "control/reserve.h"
#include "front/peer_commands.h"
#include "options.h"

#define MAX_SAS 600
#define NET4 "{ local = \"10.1.0.0/16\"; remote = \"10.2.0.0/16\"; }"
#define NET6 "{ local = \"fd01::/64\"; remote = \"fd02::/64\"; }"

/* A tunnel: what a test changes of it, and what is made of that. */
static struct {
	const char *local, *remote;
	const char *algo;
	const char *selectors;
	const char *more; /* of the file */
	unsigned int pairs;
	unsigned int ports; /* 0: plain; 1: all the same; 2: each its own */
	unsigned int window;
	bool no_esn, no_fallback;
	/* of the script */
	bool keys;
	enum gw_peer_numbers numbers;
	unsigned int cpus;
	uint64_t start, out_seq; /* of all our SAs */
	const char *why, *unfit;

	struct gw_config cfg;
	struct gw_peer_sa sas[MAX_SAS];
	uint8_t ids[MAX_SAS][GW_RESERVE_ID_LEN];
	struct gw_text out;
	struct gw_error err;
	uint32_t reqid;
} t;

static int
setup(void **state)
{
	memset(&t, 0, sizeof(t));
	t.local = "192.0.2.1";
	t.remote = "198.51.100.7";
	t.algo = "aes128gcm16";
	t.selectors = NET4;
	t.more = "";
	t.pairs = 2;
	t.ports = 2;
	t.window = 1024;
	return 0;
}

static int
teardown(void **state)
{
	gw_text_fini(&t.out);
	return 0;
}

/* SA n is for CPU n / 2; the last pair for any. Its key is 0xc0, n, n, n, .... */
static void
put_half(struct gw_text *s, const char *dir, unsigned int n)
{
	const struct ipsec_pcpu_algo *algo = ipsec_pcpu_algo_find(t.algo);

	gw_text_printf(s, "%s = { spi = 0x%x; key = \"c0%02x", dir, 0x1000 + n, n >> 8);
	for (int i = 2; i < algo->key_len; i++)
		gw_text_printf(s, "%02x", n & 0xff);
	gw_text_puts(s, "\"; ");
	if (t.ports != 0)
		gw_text_printf(s, "sport = %u; dport = 4500; ",
				t.ports == 1 || n / 2 == t.pairs ? 4500 : 50000 + n);
	gw_text_puts(s, "}; ");
}

static void
load(void)
{
	struct gw_text s = {0};

	gw_text_printf(&s,
			"state_file = \"s\"; ports = ( { name = \"w\"; device = \"d\"; addresses = "
			"[ \"%s/%d\" ]; } ); %s tunnels = ( { name = \"paris\"; local = \"%s\"; "
			"remote = \"%s\"; algo = \"%s\"; esn = %s; replay_window = %u; "
			"selectors = ( %s ); sas = ( ",
			t.local, strchr(t.local, ':') != NULL ? 64 : 24, t.more, t.local, t.remote,
			t.algo, t.no_esn ? "false" : "true", t.window, t.selectors);
	for (unsigned int i = 0; i < t.pairs + !t.no_fallback; i++) {
		if (i < t.pairs)
			gw_text_printf(&s, "%s{ pcpu = %u; ", i > 0 ? ", " : "", i);
		else
			gw_text_printf(&s, "%s{ pcpu = \"any\"; ", i > 0 ? ", " : "");
		put_half(&s, "out", 2 * i);
		put_half(&s, "in", 2 * i + 1);
		gw_text_puts(&s, "}");
	}
	gw_text_puts(&s, "); } );\n");
	if (gw_config_parse(s.s, "gw.conf", &t.cfg, &t.err) != 0)
		fail_msg("%s\n%s", t.err.text, s.s);
	gw_text_fini(&s);
}

/* Put the word REQID where the number stands, and note that. */
static void
name_reqid(void)
{
	struct gw_text named = {.secret = true};
	const char *s = gw_text_str(&t.out), *next;
	char number[16];

	t.reqid = strtoul(strstr(s, " reqid ") + 7, NULL, 10);
	snprintf(number, sizeof(number), "%u", t.reqid);
	for (; (next = strstr(s, number)) != NULL; s = next + strlen(number)) {
		gw_text_add(&named, s, next - s);
		gw_text_puts(&named, "REQID");
	}
	gw_text_puts(&named, s);
	gw_text_fini(&t.out);
	t.out = named;
}

static int
make(void)
{
	struct gw_peer peer = {.cfg = &t.cfg,
			.sas = t.sas,
			.cpus = t.cpus,
			.numbers = t.numbers,
			.with_keys = t.keys};
	int rc;

	load();
	memset(t.sas, 0, sizeof(t.sas));
	peer.tunnel = &t.cfg.tunnels[0];
	peer.n_sas = peer.tunnel->n_sas;
	assert_true(peer.n_sas <= MAX_SAS);
	for (unsigned int i = 0; i < peer.n_sas; i++) {
		const struct ipsec_pcpu_sa_params *prm = &peer.tunnel->sas[i].prm;

		t.sas[i].prm = prm;
		memset(t.ids[i], 0, sizeof(t.ids[i]));
		memcpy(t.ids[i], &(rte_be32_t){rte_cpu_to_be_32(prm->spi)}, 4);
		t.sas[i].id = t.ids[i];
		t.sas[i].key = t.keys ? prm->key : NULL;
		t.sas[i].why = t.why;
		t.sas[i].seq = t.out_seq;
		t.sas[i].start = t.start;
		t.sas[i].unfit = prm->dir == IPSEC_PCPU_IN && prm->spi == 0x1001 ? t.unfit : NULL;
	}
	gw_text_clear(&t.out);
	t.out.secret = t.keys;
	rc = gw_peer_commands(&peer, &t.out, &t.err);
	gw_config_free(&t.cfg);
	if (rc == 0)
		name_reqid();
	return rc;
}

static unsigned int
count(const char *what)
{
	unsigned int n = 0;

	for (const char *s = gw_text_str(&t.out); (s = strstr(s, what)) != NULL; s++)
		n++;
	return n;
}

static void
has(const char *what)
{
	if (count(what) == 0)
		fail_msg("no \"%s\" in:\n%s", what, gw_text_str(&t.out));
}

static void
has_not(const char *what)
{
	if (count(what) != 0)
		fail_msg("\"%s\" in:\n%s", what, gw_text_str(&t.out));
}

/* Run a shell over a file with the script and @more behind it; its exit status. */
static int
shell(const char *command, const char *text, const char *more)
{
	char path[] = "/tmp/gw-peer-XXXXXX", line[256];
	int fd = mkstemp(path), status;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(write(fd, more, strlen(more)), strlen(more));
	close(fd);
	snprintf(line, sizeof(line), "%s %s >/dev/null 2>&1", command, path);
	status = system(line);
	unlink(path);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The script is well-formed for the shells that are here, and can be pasted. */
static void
good(void)
{
	const char *s;

	if (make() != 0)
		fail_msg("%s", t.err.text);
	assert_false(t.out.failed);
	has_not("\t");
	/* what an interactive bash would look up in its history; a quoted pattern is not */
	for (s = gw_text_str(&t.out); (s = strchr(s, '!')) != NULL; s++)
		if (strchr(" =/", s[1]) == NULL && strncmp(s, "!0-9a-fA-F]*'", 13) != 0)
			fail_msg("a ! before %.20s", s);
	has_not("flag 4");
	if (access("/bin/sh", X_OK) == 0)
		assert_int_equal(shell("sh -n", gw_text_str(&t.out), ""), 0);
	if (access("/bin/dash", X_OK) == 0)
		assert_int_equal(shell("dash -n", gw_text_str(&t.out), ""), 0);
	if (access("/bin/bash", X_OK) == 0)
		assert_int_equal(shell("bash -n", gw_text_str(&t.out), ""), 0);
	assert_int_not_equal(shell("sh -n", gw_text_str(&t.out), "if\n"), 0);
}

static void
refused(const char *why)
{
	assert_int_not_equal(make(), 0);
	assert_int_equal(t.out.len, 0);
	if (strstr(t.err.text, why) == NULL)
		fail_msg("\"%s\", wanted \"%s\"", t.err.text, why);
}

static void
test_udp(void **state)
{
	t.keys = true;
	good();
	/* our outbound SA is received there, in its own words */
	has("    echo \"xfrm state add src 192.0.2.1 dst 198.51.100.7 proto esp spi 0x00001000 reqid REQID mode "
	    "tunnel dir in pcpu-num 0 replay-window 1024 flag esn aead 'rfc4106(gcm(aes))' "
	    "0xc000000000000000000000000000000000000000 128 encap espinudp 50000 4500 0.0.0.0\"\n");
	has("    echo \"xfrm state add src 198.51.100.7 dst 192.0.2.1 proto esp spi 0x00001003 reqid REQID mode "
	    "tunnel dir out pcpu-num 1 replay-window 0 flag esn aead 'rfc4106(gcm(aes))' "
	    "0xc000030303030303030303030303030303030303 128 encap espinudp 50003 4500 0.0.0.0\"\n");
	has("spi 0x00001005 reqid REQID mode tunnel dir out replay-window 0");
	assert_int_equal(count("echo \"xfrm state add"), 6);
	assert_int_equal(count("pcpu-num 0 "), 2);
	assert_int_equal(count("    peer_encap 4 4500\n"), 1);
	has("policy add dir out src 10.2.0.0/16 dst 10.1.0.0/16 priority 20001 tmpl src "
	    "198.51.100.7 dst 192.0.2.1 proto esp reqid REQID mode tunnel\"\n");
	has("policy add dir in src 10.1.0.0/16 dst 10.2.0.0/16 priority 20001 tmpl src 192.0.2.1 "
	    "dst 198.51.100.7 proto esp reqid REQID mode tunnel\"\n");
	has("policy add dir fwd src 10.1.0.0/16 dst 10.2.0.0/16");
	assert_int_equal(count("echo \"xfrm policy add"), 3);
	has_not("xfrm policy update");
	has("peer_route -4 10.1.0.0/16 - 10.2.0.0/16\n");
	has("peer_unroute -4 10.1.0.0/16\n");
	has("net/ipv4/ip_forward");
	has_not("/forwarding");
	has("flow-type udp4 src-ip 192.0.2.1 dst-ip 198.51.100.7 src-port 50002 dst-port 4500 "
	    "action 1\n");
	assert_int_equal(count("    peer_steer flow-type"), 2);
	has("\"$peer_cpu\" -lt 1 ]");
	has_not("KEY_");
	has_not("replay-oseq");
	has("begins with sequence number 1");
	has_not("any CPU (pcpu");
}

static void
test_plain6(void **state)
{
	t.local = "2001:db8::1";
	t.remote = "2001:db8::2";
	t.selectors = NET6 ", " NET6 ", { local = \"fd01::/64\"; remote = \"fd03::/64\"; }";
	t.ports = 0;
	t.no_fallback = true;
	t.keys = true;
	t.algo = "chacha20poly1305";
	good();
	has("flag esn aead 'rfc7539esp(chacha20,poly1305)' 0xc000");
	has(" 128\"\n    echo \"xfrm");
	has_not("encap");
	has_not("af-unspec");
	has("any CPU (pcpu");
	has("flow-type esp6 src-ip 2001:db8::1 dst-ip 2001:db8::2 spi 0x00001002 action 1\n");
	/* the same selector twice is one policy, and one route goes to fd01::/64 */
	assert_int_equal(count("echo \"xfrm policy add"), 6);
	assert_int_equal(count("    peer_route -6 "), 1);
	has("    peer_route -6 fd01::/64 - fd02::/64 fd02::/64 fd03::/64\n");
	has("conf/all/forwarding");
	has_not("WARNING");
	has_not("ip_forward");
}

static void
test_mixed(void **state)
{
	t.local = "2001:db8::1";
	t.remote = "2001:db8::2";
	good();
	has("flag esn af-unspec aead");
	has("encap espinudp 50000 4500 ::\"\n");
	has("peer_encap 6 4500\n");
	has("rx-flow-hash udp6");
	t.no_esn = true;
	good();
	has("replay-window 1024 flag af-unspec aead");
	t.local = "192.0.2.1";
	t.remote = "192.0.2.2";
	good();
	has("replay-window 1024 aead");
	/* a policy of the file leads there, too */
	t.more = "policies = ( { action = \"tunnel\"; tunnel = \"paris\"; local = \"fd01::/64\"; "
		 "remote = \"fd02::/64\"; } );";
	good();
	has("flag af-unspec");
	has("xfrm policy add dir out src fd02::/64 dst fd01::/64");
	has("peer_route -6 fd01::/64 - fd02::/64");
	/* first match: the policy is before the selector, at both ends */
	has("dir out src fd02::/64 dst fd01::/64 priority 20001 tmpl");
	has("dir out src 10.2.0.0/16 dst 10.1.0.0/16 priority 20003 tmpl");
	has_not("bypass policies");
	t.more = "policies = ( { action = \"bypass\"; local = \"10.1.3.0/24\"; remote = "
		 "\"10.2.0.9/32\"; } );";
	good();
	has("bypass policies");
	t.more = "policies = ( { action = \"bypass\"; local = \"10.9.3.0/24\"; remote = "
		 "\"10.2.0.9/32\"; } );";
	good();
	has_not("bypass policies");
}

static void
test_algorithms(void **state)
{
	const struct ipsec_pcpu_algo *algo;
	char icv[32];

	for (unsigned int i = 0; (algo = ipsec_pcpu_algo_get(i)) != NULL; i++) {
		t.algo = algo->name;
		t.keys = true;
		good();
		snprintf(icv, sizeof(icv), " %u encap espinudp", algo->icv_len * 8);
		assert_int_equal(count(icv), 6);
		has(algo->xfrm_name);
		t.keys = false;
		good();
		snprintf(icv, sizeof(icv), "KEY_00001000 %u ||", algo->key_len);
		has(icv);
	}
}

static void
test_window(void **state)
{
	t.window = 0;
	good();
	has("dir in pcpu-num 0 replay-window 64 flag esn");
	has("here it is 64: Linux takes no ESN without one");
	t.no_esn = true;
	good();
	has("dir in pcpu-num 0 replay-window 0 aead");
	has_not("takes no ESN");
	has_not("replay-seq");
	/* what was sent already is refused all the same */
	t.out_seq = 5;
	good();
	has("dir in pcpu-num 0 replay-window 64 replay-seq 69 aead");
	has("here it is 64");
	t.window = 4096;
	good();
	has("dir in pcpu-num 0 replay-window 4096 replay-seq 4101 aead");
}

static void
test_no_keys(void **state)
{
	t.why = "because";
	good();
	/* no digit of a key: all of them begin with c0 */
	has_not("0xc0");
	has_not("c0000");
	has("aead 'rfc4106(gcm(aes))' ${KEY_00001004-} 128 ");
	has("#   KEY_00001004=0x...  # 20 bytes; because\n");
	has("    peer_key KEY_00001000 20 || peer_bad=1\n");
	assert_int_equal(count("    peer_key KEY_"), 6);
	has_not("HOLDS KEYS");
	has_not("<<");
	t.keys = true;
	good();
	has("HOLDS KEYS");
	has("0xc0");
	has_not("peer_key");
}

/* The check that stands in the script itself. */
static void
test_key_check(void **state)
{
	char *script;

	good();
	script = strdup(gw_text_str(&t.out));
	*strstr(script, "\ncase ${1:-up}") = '\0';
	assert_int_equal(shell("K=0x00112233aABB sh", script, "\npeer_key K 6\n"), 0);
	assert_int_equal(shell("K=0x00112233aABB sh", script, "\npeer_key K 7\n"), 1);
	assert_int_equal(shell("K=0x00112233aAB sh", script, "\npeer_key K 6\n"), 1);
	assert_int_equal(shell("K=00112233aABB00 sh", script, "\npeer_key K 6\n"), 1);
	assert_int_equal(shell("K=0x00112233aAgB sh", script, "\npeer_key K 6\n"), 1);
	assert_int_equal(shell("K= sh", script, "\npeer_key K 6\n"), 1);
	assert_int_equal(shell("sh", script, "\npeer_key K 6\n"), 1);
	free(script);
}

static void
test_numbers(void **state)
{
	t.numbers = GW_PEER_NOTED;
	good();
	has_not("replay-oseq");
	has_not("replay-seq");
	has("It is for once, and soon");
	has_not("begins with sequence number 1");
	has_not("has no state file");
	/* a mark for each that is sent on, whatever else the commands are about */
	has("\n    echo 00001001000000000000000000000000-0\n");
	has("\n    echo 00001003000000000000000000000000-0\n");
	has_not("    echo 00002001");
	/* the window behind what was sent */
	t.start = (UINT64_C(3) << 32) + 17825792;
	t.out_seq = (UINT64_C(5) << 32) - 2;
	good();
	has("dir out pcpu-num 1 replay-window 0 replay-oseq 17825792 replay-oseq-hi 3 flag esn");
	has("dir in replay-window 1024 replay-seq 1022 replay-seq-hi 5 flag esn");
	has("\n    echo 00001001000000000000000000000000-12902727680\n");
	t.no_esn = true;
	t.start = 2097152;
	t.out_seq = 1000;
	good();
	has("dir out pcpu-num 1 replay-window 0 replay-oseq 2097152 aead");
	has("dir in replay-window 1024 replay-seq 2024 aead");
	has_not("-hi");
	t.out_seq = UINT32_MAX - 3;
	good();
	has("replay-seq 4294967294 aead");
	t.numbers = GW_PEER_MEMORY;
	good();
	has("in memory only (allow_iv_reuse)");
}

/* SAs that are not for sending any more: said, also when it runs. */
static void
test_unfit(void **state)
{
	t.unfit = gw_peer_unfit(-ERANGE);
	good();
	has("    # Left out: SA 0x00001001: its sequence numbers are used up");
	has("    peer_say \"left out: 1 SAs to send on: its sequence numbers are used up");
	has_not("spi 0x00001001");
	has_not("    echo 00001001");
	has("    echo 00001003000000000000000000000000-0\n");
	t.pairs = 0;
	t.no_fallback = false;
	t.unfit = gw_peer_unfit(-EDOM);
	refused("the peer would have no SA to send on: it wants an \"in\" SA here, with sequence");
	assert_null(gw_peer_unfit(0));
	assert_null(gw_peer_unfit(-ENOMEM));
	assert_non_null(gw_peer_unfit(-EEXIST));
}

/* It tells tunnels and gateways apart, and stays where the file is edited. */
static void
test_reqid(void **state)
{
	uint32_t first, other;

	good();
	first = t.reqid;
	assert_in_range(first, 1u << 30, INT32_MAX);
	t.more = "policies = ( { action = \"bypass\"; local = \"10.9.0.0/16\"; remote = "
		 "\"10.8.0.0/16\"; } );";
	t.pairs = 5;
	good();
	assert_int_equal(t.reqid, first);
	t.remote = "198.51.100.8";
	good();
	other = t.reqid;
	assert_int_not_equal(other, first);
	t.remote = "198.51.100.7";
	t.local = "192.0.2.2";
	good();
	assert_int_not_equal(t.reqid, first);
	assert_int_not_equal(t.reqid, other);
}

static void
test_link_local(void **state)
{
	t.local = "fe80::1";
	t.remote = "fe80::2";
	t.selectors = NET6;
	refused("fe80::1 and fe80::2 are addresses of a link only");
}

static void
test_cpus(void **state)
{
	t.pairs = 4;
	t.cpus = 2;
	good();
	/* all are received, those of CPUs it has not on any */
	assert_int_equal(count("mode tunnel dir in "), 5);
	has("spi 0x00001004 reqid REQID mode tunnel dir in replay-window");
	has("spi 0x00001002 reqid REQID mode tunnel dir in pcpu-num 1");
	has("# SA 0x00001006 has CPU 3");
	assert_int_equal(count(" dir out pcpu"), 2);
	assert_int_equal(count(" dir out replay"), 1);
	has("# Left out: SA 0x00001007");
	has_not("KEY_00001007");
	has("\"$peer_cpu\" -lt 1 ]");
	assert_int_equal(count("    peer_steer flow-type"), 2);
	t.cpus = 4;
	good();
	assert_int_equal(count("pcpu-num 3 "), 2);
	has_not("Left out");
	t.cpus = 0;
	good();
	has("\"$peer_cpu\" -lt 3 ]");
	t.pairs = 0;
	good();
	has_not("peer_cpu");
	has_not("peer_steer");
}

static void
test_shared_ports(void **state)
{
	t.ports = 1;
	t.pairs = 1;
	good();
	/* the fallback SA may share with it; then there is one to steer */
	has("peer_steer flow-type udp4");
	t.ports = 2;
	t.pairs = 250;
	good();
	assert_int_equal(count("echo \"xfrm state add"), 502);
	assert_int_equal(count("    peer_steer flow-type"), 250);
	has("spi 0x000011f3 reqid REQID mode tunnel dir out pcpu-num 249");
}

static void
test_ports(void **state)
{
	t.selectors = "{ local = \"10.1.0.0/16\"; remote = \"10.2.0.0/16\"; proto = \"tcp\"; "
		      "local_ports = \"80-82\"; remote_ports = \"443-444\"; }, "
		      "{ local = \"10.1.0.0/16\"; remote = \"10.2.0.0/16\"; proto = \"icmp\"; }, "
		      "{ local = \"10.1.0.0/16\"; remote = \"10.2.0.0/16\"; proto = \"udp\"; "
		      "local_ports = \"65472-65535\"; }";
	good();
	has("dir out src 10.2.0.0/16 dst 10.1.0.0/16 proto 6 sport 444 dport 82 priority");
	has("dir fwd src 10.1.0.0/16 dst 10.2.0.0/16 proto 6 sport 80 dport 443 priority");
	has("dir out src 10.2.0.0/16 dst 10.1.0.0/16 proto 1 priority");
	has("dir in src 10.1.0.0/16 dst 10.2.0.0/16 proto 17 sport 65535 priority");
	assert_int_equal(count("echo \"xfrm policy add"), 3 * (6 + 1 + 64));
	has("    peer_say \"WARNING: selectors have ports: fragments");
	t.selectors = "{ local = \"10.1.0.0/16\"; remote = \"10.2.0.0/16\"; proto = \"tcp\"; "
		      "local_ports = \"1-13\"; remote_ports = \"1-5\"; }";
	refused("selector 10.1.0.0/16 -> 10.2.0.0/16 has ports 1-13 -> 1-5: a policy of Linux's");
	t.selectors = "{ local = \"10.1.0.0/16\"; remote = \"10.2.0.0/16\"; proto = \"tcp\"; "
		      "local_ports = \"1-65535\"; remote_ports = \"1-65535\"; }";
	refused("more than 64 policies");
}

/* Policies are counted before they are too many to compare. */
static void
test_many(void **state)
{
	struct gw_text s = {0};

	for (unsigned int i = 0; i < 2100; i++)
		gw_text_printf(&s, "%s{ local = \"10.1.%u.%u/32\"; remote = \"10.2.0.0/16\"; }",
				i > 0 ? ", " : "", i >> 8, i & 255);
	t.selectors = s.s;
	refused("its selectors are 6147 policies or more, a script has 6144 at most");
	*strstr(s.s, ", { local = \"10.1.8.0") = '\0'; /* 2048 of them */
	good();
	assert_int_equal(count("echo \"xfrm policy add"), 3 * 2048);
	gw_text_fini(&s);
}

/*
 * The most SAs, each with its port, and the most selectors: the control thread has
 * other things to do. It takes some 20 ms; what is quadratic would take seconds.
 */
static void
test_most(void **state)
{
	struct ipsec_pcpu_sa_params *prm = calloc(GW_PEER_MAX_SAS + 1, sizeof(*prm));
	struct gw_peer_sa *sas = calloc(GW_PEER_MAX_SAS + 1, sizeof(*sas));
	struct gw_peer peer = {.cfg = &t.cfg, .sas = sas, .n_sas = GW_PEER_MAX_SAS};
	struct gw_text s = {0};
	clock_t took;

	for (unsigned int i = 0; i < 2048; i++)
		gw_text_printf(&s, "%s{ local = \"10.1.%u.%u/32\"; remote = \"10.2.0.0/16\"; }",
				i > 0 ? ", " : "", i >> 8, i & 255);
	t.selectors = s.s;
	load();
	peer.tunnel = &t.cfg.tunnels[0];
	for (unsigned int i = 0; i <= GW_PEER_MAX_SAS; i++) {
		prm[i] = t.cfg.tunnels[0].sas[i % 2].prm;
		prm[i].spi = 0x1000 + i;
		prm[i].pcpu = i / 2;
		prm[i].encap_sport = 50000 + i;
		sas[i] = (struct gw_peer_sa){.prm = &prm[i], .key = prm[i].key, .id = t.ids[0]};
	}
	took = clock();
	assert_int_equal(gw_peer_commands(&peer, &t.out, &t.err), 0);
	took = clock() - took;
	assert_int_equal(count("echo \"xfrm state add"), GW_PEER_MAX_SAS);
	assert_int_equal(count("    peer_steer flow-type"), GW_PEER_MAX_SAS / 2);
	assert_int_equal(count("    peer_route -4"), 2048);
	if (took > CLOCKS_PER_SEC)
		fail_msg("%ld ms", (long)(took * 1000 / CLOCKS_PER_SEC));
	peer.n_sas++;
	gw_text_clear(&t.out);
	assert_int_equal(gw_peer_commands(&peer, &t.out, &t.err), -E2BIG);
	assert_non_null(strstr(t.err.text, "has 4097 SAs, a script has 4096 at most"));
	assert_int_equal(t.out.len, 0);
	gw_config_free(&t.cfg);
	gw_text_fini(&s);
	free(prm);
	free(sas);
}

static void
test_overlap(void **state)
{
	t.selectors = "{ local = \"0.0.0.0/0\"; remote = \"10.2.0.0/16\"; }";
	good();
	/* its LAN in clear comes before, and with it what is said on a link */
	has("policy add dir in src 10.2.0.0/16 dst 10.2.0.0/16 priority 20000\"\n");
	has("policy add dir fwd src 10.2.0.0/16 dst 10.2.0.0/16 priority 20000\"\n");
	has("policy add dir out src 10.2.0.0/16 dst 10.2.0.0/16 priority 20000\"\n");
	has("policy add dir out src 10.2.0.0/16 dst 224.0.0.0/24 priority 20000\"\n");
	has("policy add dir out src 10.2.0.0/16 dst 0.0.0.0/0 priority 20001 tmpl");
	has_not("src 224.0.0.0/24");
	has("peer_route -4 0.0.0.0/0 - 10.2.0.0/16");
	has_not("peer_via=");
	has_not("priority 10000");
	/* a rule before it that leads into the tunnel stays before the LAN */
	t.selectors = "{ local = \"10.2.9.0/24\"; remote = \"10.2.0.0/16\"; }, "
		      "{ local = \"0.0.0.0/0\"; remote = \"10.2.0.0/16\"; }";
	good();
	has("dir out src 10.2.0.0/16 dst 10.2.9.0/24 priority 20001 tmpl");
	has("dir out src 10.2.0.0/16 dst 10.2.0.0/16 priority 20002\"\n");
	has("dir out src 10.2.0.0/16 dst 0.0.0.0/0 priority 20003 tmpl");
	t.selectors = "{ local = \"10.1.0.0/16\"; remote = \"0.0.0.0/0\"; }";
	good();
	has("peer_clear() {\n    :\n}");
	has("dst 10.1.0.0/16 priority 20001 tmpl");
	has_not("goes into it now");
	t.selectors = "{ local = \"10.0.0.0/8\"; remote = \"10.0.0.0/8\"; }";
	good();
	has("peer_clear() {\n    :\n}");
	has("# 10.0.0.0/8 is at both ends");
	has("dir out src 10.0.0.0/8 dst 10.0.0.0/8 priority 20001 tmpl");
	has_not("goes into it now");
	t.local = "2001:db8::1";
	t.remote = "2001:db8::2";
	t.selectors = "{ local = \"::/0\"; remote = \"fd02::/64\"; }";
	good();
	has("add dir out src fd02::/64 dst ff02::/16 priority 20000");
	has("add dir in src fe80::/10 dst fd02::/64 priority 20000");
	t.selectors = "{ local = \"::/0\"; remote = \"::/0\"; }";
	good();
	has("peer_say \"::/0 <-> ::/0: everything but the tunnel's own packets goes into it now\"\n");
	for (int type = 130; type <= 137; type++) {
		char line[80];

		snprintf(line, sizeof(line),
				"dir in src ::/0 dst ::/0 proto 58 type %d priority 10000\"\n",
				type);
		has(line);
		snprintf(line, sizeof(line), "dir out src ::/0 dst ::/0 proto 58 type %d priority",
				type);
		has(line);
	}
	has_not("dir fwd src ::/0 dst ::/0 proto 58");
}

/* One LAN in clear for all tunnels of a peer: what another one prints is the same. */
static void
test_shared_home(void **state)
{
	t.selectors = "{ local = \"10.7.0.0/16\"; remote = \"10.9.0.0/16\"; }, "
		      "{ local = \"0.0.0.0/0\"; remote = \"10.2.0.0/16\"; }";
	t.more = "policies = ( { action = \"tunnel\"; tunnel = \"paris\"; local = "
		 "\"10.0.0.0/8\"; remote = \"10.2.0.0/16\"; } );";
	good();
	has("dir out src 10.2.0.0/16 dst 10.0.0.0/8 priority 20001 tmpl");
	has("dir out src 10.9.0.0/16 dst 10.7.0.0/16 priority 20003 tmpl");
	has("dir out src 10.2.0.0/16 dst 0.0.0.0/0 priority 20005 tmpl");
	assert_int_equal(count("dst 10.2.0.0/16 priority 20000\"\n"), 3);
}

static void
test_outer(void **state)
{
	t.selectors = "{ local = \"192.0.2.1/32\"; remote = \"198.51.100.7/32\"; }";
	good();
	has("add dir in src 192.0.2.1/32 dst 198.51.100.7/32 proto 17 dport 4500 priority "
	    "10000\"\n");
	has("add dir out src 198.51.100.7/32 dst 192.0.2.1/32 proto 17 dport 500 priority");
	has("add dir in src 192.0.2.1/32 dst 198.51.100.7/32 proto 50 priority");
	assert_int_equal(count("proto 17 dport 4500"), 2);
	/* the route to the gateway is the one that is there */
	has_not("    peer_route");
	t.selectors = "{ local = \"192.0.0.0/8\"; remote = \"198.51.100.0/24\"; }";
	good();
	has("ip -4 route add 192.0.2.1 via \"$peer_via\"");
	has("peer_unroute -4 192.0.2.1\n");
	/* the tunnel's own address is in the selector: it is the source */
	has("    peer_route -4 192.0.0.0/8 198.51.100.7 198.51.100.0/24");
	has_not("route replace");
	t.local = "2001:db8::1";
	t.remote = "2001:db8::2";
	t.selectors = "{ local = \"2001:db8::1/128\"; remote = \"fd02::/64\"; }";
	good();
	has("src ::/0 dst ::/0 proto 58 type 135 priority 10000\"\n");
	has_not("proto 17 d");
}

static void
test_same_spi(void **state)
{
	struct ipsec_pcpu_sa_params in, out;
	struct gw_peer peer = {.cfg = &t.cfg, .sas = t.sas, .n_sas = 2};

	load();
	out = t.cfg.tunnels[0].sas[0].prm;
	in = t.cfg.tunnels[0].sas[1].prm;
	in.spi = out.spi;
	t.sas[0].prm = &out;
	t.sas[1].prm = &in;
	t.sas[0].id = t.sas[1].id = t.ids[0];
	peer.tunnel = &t.cfg.tunnels[0];
	assert_int_equal(gw_peer_commands(&peer, &t.out, &t.err), 0);
	name_reqid();
	has("dir in pcpu-num 0 replay-window 1024 flag esn aead 'rfc4106(gcm(aes))' "
	    "${KEY_00001000_IN-}");
	has("${KEY_00001000_OUT-}");
	has("-e ' tmpl src 192.0.2.1 dst 198.51.100.7 proto esp reqid REQID mode tunnel' ");
	has_not("deleteall");
	/* one direction only, or none */
	gw_text_clear(&t.out);
	peer.n_sas = 1;
	assert_int_equal(gw_peer_commands(&peer, &t.out, &t.err), -ENOENT);
	assert_non_null(strstr(t.err.text, "no SA to send on: it wants an \"in\" SA here"));
	peer.sas = &t.sas[1];
	assert_int_equal(gw_peer_commands(&peer, &t.out, &t.err), -ENOENT);
	assert_non_null(strstr(t.err.text, "no SA to receive on"));
	peer.n_sas = 0;
	assert_int_equal(gw_peer_commands(&peer, &t.out, &t.err), -ENOENT);
	assert_non_null(strstr(t.err.text, "tunnel \"paris\" has no SAs: --make-tunnel"));
	assert_int_equal(t.out.len, 0);
	gw_config_free(&t.cfg);
}

static mode_t out_mode = 0600;

/* --peer-commands itself: what it prints, and the exit status. */
static int
command(const char *path, const char *name, bool keys)
{
	char out[] = "/tmp/gw-peer-XXXXXX", buf[4096];
	int fd = mkstemp(out), saved = dup(STDOUT_FILENO), rc;
	struct gw_options opt = {.config_file = path, .with_keys = keys};
	ssize_t n;

	fchmod(fd, out_mode);
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	strcpy(opt.make_tunnel.name, name);
	rc = gw_peer_commands_main(&opt);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	lseek(fd, 0, SEEK_SET);
	gw_text_clear(&t.out);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		gw_text_add(&t.out, buf, n);
	close(fd);
	unlink(out);
	return rc;
}

static void
test_command(void **state)
{
	char path[] = "/tmp/gw-peer-XXXXXX";
	static const char text[] =
			"state_file = \"%s\"; allow_iv_reuse = true; ports = ( { name = \"w\"; device = \"d\"; "
			"addresses = [ \"192.0.2.1/24\" ]; } ); tunnels = ( { name = \"one\"; "
			"local = \"192.0.2.1\"; remote = \"192.0.2.2\"; algo = \"aes128gcm16\"; "
			"selectors = ( " NET4 " ); sas = ( { pcpu = \"any\"; "
			"out = { spi = 0x1000; key = "
			"\"c0ffee0102030405060708090a0b0c0d0e0f1011\"; }; "
			"in = { spi = 0x1001; key = "
			"\"c0ffee1102030405060708090a0b0c0d0e0f1011\"; }; } ); }%s );\n";
	static const char two[] = ", { name = \"two\"; local = \"192.0.2.1\"; remote = "
				  "\"192.0.2.3\"; selectors = ( { local = \"10.1.0.0/16\"; "
				  "remote = \"10.3.0.0/16\"; } ); sas = ( ); }";
	struct gw_reserve *res;
	char state_path[64];
	int fd = mkstemp(path);

	snprintf(state_path, sizeof(state_path), "%s.state", path);
	dprintf(fd, text, state_path, "");
	assert_int_equal(command(path, "", false), EXIT_SUCCESS);
	has("tunnel one");
	has_not("c0ffee");
	/* what was printed is noted, also without keys */
	has_not("replay-oseq");
	assert_int_equal(command(path, "", false), EXIT_SUCCESS);
	has(" replay-oseq 1073741824 replay-oseq-hi 0 ");
	has("It is for once");
	/* a gateway runs */
	assert_int_equal(gw_reserve_open(state_path, true, &res, &t.err), 0);
	assert_int_equal(command(path, "", false), EXIT_FAILURE);
	assert_int_equal(t.out.len, 0);
	gw_reserve_close(res);
	/* it cannot be noted: not printed */
	strcat(state_path, ".tmp");
	assert_int_equal(mkdir(state_path, 0700), 0);
	assert_int_equal(command(path, "", false), EXIT_FAILURE);
	assert_int_equal(t.out.len, 0);
	rmdir(state_path);
	state_path[strlen(state_path) - 4] = '\0';
	/* keys into a file of all */
	out_mode = 0640;
	assert_int_equal(command(path, "", true), EXIT_FAILURE);
	assert_int_equal(t.out.len, 0);
	assert_int_equal(command(path, "", false), EXIT_SUCCESS);
	out_mode = 0600;
	assert_int_equal(command(path, "one", true), EXIT_SUCCESS);
	assert_int_equal(count("0xc0ffee"), 2);
	assert_int_equal(command(path, "none", true), EXIT_FAILURE);
	assert_int_equal(t.out.len, 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	dprintf(fd, text, state_path, two);
	assert_int_equal(command(path, "", true), EXIT_FAILURE);
	assert_int_equal(command(path, "two", true), EXIT_FAILURE); /* it has no SAs */
	assert_int_equal(t.out.len, 0);
	assert_int_equal(command(path, "one", true), EXIT_SUCCESS);
	assert_int_equal(command("/nonexistent", "", true), EXIT_FAILURE);
	close(fd);
	unlink(path);
	unlink(state_path);
	strcat(state_path, ".lock");
	unlink(state_path);
}

/* Keys do not stay behind in memory that was given back. */
static void
test_secret(void **state)
{
	struct gw_text s = {.secret = true};
	const char *p;

	gw_text_puts(&s, "0xc0ffee");
	p = s.s;
	gw_text_clear(&s);
	for (size_t i = 0; i < s.cap; i++)
		assert_int_equal(p[i], 0);
	gw_text_puts(&s, "0xc0ffee");
	gw_text_fill(&s, 'x', 1000); /* moves */
	assert_int_equal(s.len, 1008);
	assert_memory_equal(s.s, "0xc0ffeexxx", 11);
	gw_text_fini(&s);
	assert_false(s.secret);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_setup_teardown(test_udp, setup, teardown),
			cmocka_unit_test_setup_teardown(test_plain6, setup, teardown),
			cmocka_unit_test_setup_teardown(test_mixed, setup, teardown),
			cmocka_unit_test_setup_teardown(test_algorithms, setup, teardown),
			cmocka_unit_test_setup_teardown(test_window, setup, teardown),
			cmocka_unit_test_setup_teardown(test_no_keys, setup, teardown),
			cmocka_unit_test_setup_teardown(test_key_check, setup, teardown),
			cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
			cmocka_unit_test_setup_teardown(test_unfit, setup, teardown),
			cmocka_unit_test_setup_teardown(test_reqid, setup, teardown),
			cmocka_unit_test_setup_teardown(test_link_local, setup, teardown),
			cmocka_unit_test_setup_teardown(test_cpus, setup, teardown),
			cmocka_unit_test_setup_teardown(test_shared_ports, setup, teardown),
			cmocka_unit_test_setup_teardown(test_ports, setup, teardown),
			cmocka_unit_test_setup_teardown(test_many, setup, teardown),
			cmocka_unit_test_setup_teardown(test_most, setup, teardown),
			cmocka_unit_test_setup_teardown(test_overlap, setup, teardown),
			cmocka_unit_test_setup_teardown(test_shared_home, setup, teardown),
			cmocka_unit_test_setup_teardown(test_outer, setup, teardown),
			cmocka_unit_test_setup_teardown(test_same_spi, setup, teardown),
			cmocka_unit_test_setup_teardown(test_command, setup, teardown),
			cmocka_unit_test_setup_teardown(test_secret, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
