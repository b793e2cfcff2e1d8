/* SPDX-License-Identifier: BSD-3-Clause */

/* The console's commands, its sessions and its socket, on a gateway that is not one (fake_gw.h). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_gw.h"
#include "front/commands.h"
#include "front/console.h"
#include "front/session.h"
#include "json_check.h"

static struct gw *gw;
static struct gw_cmds *cmds;
static char dir[64];
static char path[128];

static int
setup(void **state)
{
	gw = fake_gw_new();
	cmds = gw_commands_new(gw);
	assert_non_null(cmds);
	strcpy(dir, "/tmp/gw-console-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	return 0;
}

static int
teardown(void **state)
{
	gw_cmds_free(cmds);
	fake_gw_free(gw);
	unlink(path);
	rmdir(dir);
	return 0;
}

static int
run(const char *line, struct gw_text *out, bool *leave)
{
	*leave = false;
	gw_text_clear(out);
	return gw_commands_run(cmds, gw, line, false, out, leave);
}

/* Lines for each show row of the table. */
static const char *const examples[] = {"help", "show config", "show ports", "show allowances",
		"show workers", "show tunnels", "show tunnel paris", "show tunnel oslo", "show sa",
		"show sa 0x1003", "show drops", "show drops all", "show stats", "show cycles",
		"show ike", "show neighbours", "show routes", "show version",
		"explain 10.1.0.1 10.2.0.1 tcp 1 80", "explain 10.1.0.1 10.2.0.1 icmp"};

static void
test_show(void **state)
{
	struct gw_text out = {0};
	char line[128];
	bool leave;

	for (size_t i = 0; i < RTE_DIM(examples); i++) {
		assert_int_equal(run(examples[i], &out, &leave), 0);
		assert_true(out.len > 20);
		assert_false(leave);
		/* the keys of the fake are all 0x5a */
		assert_null(strstr(gw_text_str(&out), "5a5a"));
		assert_null(strstr(gw_text_str(&out), "ZZ"));
		if (i == 0)
			continue;
		snprintf(line, sizeof(line), "%s json", examples[i]);
		assert_int_equal(run(line, &out, &leave), 0);
		assert_json(gw_text_str(&out));
		assert_null(strstr(gw_text_str(&out), "5a5a"));
	}
	gw_text_fini(&out);
}

static void
shows(const char *line, const char *part)
{
	struct gw_text out = {0};
	bool leave;

	assert_int_equal(run(line, &out, &leave), 0);
	if (strstr(gw_text_str(&out), part) == NULL)
		fail_msg("%s: no \"%s\" in:\n%s", line, part, gw_text_str(&out));
	gw_text_fini(&out);
}

static void
test_contents(void **state)
{
	shows("show workers json",
			"\"id\":1,\"lcore\":2,\"numa_node\":0,\"running\":false,"
			"\"queues\":\"lan:1\",\"rx_pps\":2500000.000");
	shows("show workers json",
			"\"cpu_percent\":75.000,\"busy_percent\":41.500,\"cycles\":130.250");
	shows("show workers json", "\"busy_percent\":41.500,\"cycles\":null");
	shows("show cycles json", "{\"stage\":\"rx\",\"all\":20.250,\"w0\":20.250,\"w1\":null");
	shows("show cycles json", "\"stage\":\"policy\",\"all\":0.000,\"w0\":0.000,\"w1\":null");
	shows("show cycles", "encap     110.0  110.0   -  outbound: ESP");
	shows("show cycles", "sum       130.2  130.2   -  what a packet takes");
	shows("show cycles", "away        3.0    3.0   -  a stage that took");
	shows("show tunnel paris json", "\"cycles\":87.500,");
	shows("show sa 4099 json", "\"cycles\":87.500,");
	shows("show sa 4096 json", "\"cycles\":null,");
	shows("show workers", "lan:0 wan:0");
	shows("show tunnel paris", "next hop               resolved");
	shows("show tunnel paris", "1 (by 0)");
	shows("show tunnel paris", "10.1.0.0/16 -> 10.2.0.0/16 tcp port any -> 80-443");
	shows("show tunnel paris", "0x00001003     0       0  aes128gcm16  yes  49152   4500");
	shows("show tunnel paris", "out  0x00001001   any       0");
	shows("show tunnel paris json", "\"pcpu\":null,\"worker\":0");
	shows("show tunnel oslo", "down");
	shows("show sa 4099", "replayed      2  sequence number seen before");
	shows("show drops", "no_sa         12   6   6  ESP with an SPI that no SA has");
	shows("show drops json", "\"name\":\"integrity\",\"count\":6,\"w0\":3,\"w1\":3");
	shows("show stats json", "\"in\":200,\"out\":198,\"drops\":18,\"difference\":2");
	shows("show config", "gw.conf:7");
	shows("show config json", "\"tx_desc\":0,\"steering\":\"auto\",");
	shows("show config json", "\"steering\":\"rss\",\"where\":\"gw.conf:7\"");
	shows("show config json", "\"numa\":\"warn\"");
	shows("show ports json", "\"device\":\"net_null0,\\\"x\\\"\"");
	shows("show ports", "resetting");
	shows("show ports json", "\"resets\":2,\"note\":\"1 queue for");
	shows("show allowances json",
			"{\"port\":\"wan\",\"name\":\"bw_out_allowance_exceeded\","
			"\"value\":70,\"per_second\":13,\"what\":\"too fast\"}");
	shows("show allowances json", "\"ena_srd_mode\",\"value\":3,\"per_second\":null");
	shows("show steer", "wan   soft     ");
	shows("show steer", "wan   flow  net_null takes no ESP rule");
	shows("show steer",
			"paris   0x00001000  wan   udp 0.0.0.0 port 50000 -> 0.0.0.0 port 4500  "
			"0xabc00085      5      1       0");
	shows("show steer", "verified  rule for 0x1000");
	shows("show steer", "esp 0.0.0.0 -> 0.0.0.0  ");
	shows("show steer json", "\"hash\":null,\"entry\":null,\"queue\":null,\"worker\":0");
	shows("show steer json", "\"state\":\"astray\"");
	shows("show steer json",
			"\"rebalance\":[\n{\"port\":\"lan\",\"entries\":7,\"moves\":0,\"stay\":2}");
	shows("show ike", "run of charon                   0000000000abcdef");
	shows("show ike", "acquires             17  acquires sent");
	shows("show ike", "paris            5  any      3         3.5              4.2");
	shows("show ike json",
			"\"reqid\":5,\"cpu\":1,\"tries\":3,\"asked_s\":3.500,\"next_s\":4.250");
	shows("show neighbours", "stale");
	shows("show routes json",
			"\"via\":null,\"port\":\"-\",\"metric\":0,\"type\":\"blackhole\"");
	shows("explain 10.1.0.1 10.2.0.1 tcp 1 80", "rule 1: 10.1.0.0/16 -> 10.2.0.0/16");
	shows("explain 10.1.0.1 10.2.0.1 tcp 1 80", "udp 0.0.0.0 port 49152 -> 0.0.0.0 port 4500");
	shows("help sa", "sa add TUNNEL");
}

static void
does(const char *line, int rc, const char *verb, const char *said)
{
	struct gw_text out = {0};
	bool leave;

	fake_verb[0] = '\0';
	assert_int_equal(run(line, &out, &leave), rc);
	assert_string_equal(fake_verb, verb);
	assert_string_equal(gw_text_str(&out), said);
	gw_text_fini(&out);
}

static void
test_verbs(void **state)
{
	char line[256];
	FILE *f;

	does("clear stats", 0, "clear", "");
	does("set promisc wan on", 0, "promisc wan 1", "");
	does("set prom lan off", 0, "promisc lan 0", "");
	does("start", 0, "forwarding 1", "");
	does("stop", 0, "forwarding 0", "");
	does("tunnel down paris", 0, "tunnel paris 0", "");
	does("tunnel u oslo", 0, "tunnel oslo 1", "");
	does("sa move paris in 0x2001 3", 0, "move paris in 2001 3", "");
	does("sa move paris out 0x2001 64", -EINVAL, "",
			"error: word 6: \"64\"? expected WORKER (the number of a worker, from 0)\n");
	does("steer rebalance json", 0, "rebalance",
			"[\n{\"port\":\"lan\",\"entries\":7,\"moves\":1,\"stay\":0},\n"
			"{\"port\":\"wan\",\"entries\":7,\"moves\":1,\"stay\":0}]\n");
	does("sa del paris out 0x1001", -ENOENT, "del paris out 1001", "error: no such SA\n");
	does("explain 10.1.0.1 ::1 udp", -EINVAL, "",
			"error: word 3: source and destination must be of one family, IPv4 or IPv6\n");
	does("explain 10.1.0.1 10.2.0.1 icmp 1 2", -EINVAL, "",
			"error: word 5: protocol icmp has no ports\n");
	does("show sa 77", -ENOENT, "", "error: there is no SA with SPI 0x0000004d\n");
	does("help nonsense", -ENOENT, "",
			"error: no command begins with \"nonsense\"; help lists all\n");
	does("  # nothing", 0, "", "");
	does("sa add oslo in 400 any /nonexistent", -ENOENT, "",
			"error: tunnel \"oslo\" has no SA of this direction to take the algorithm "
			"from: the first one goes into the configuration file\n");

	f = fopen(path, "w");
	assert_non_null(f);
	for (int i = 0; i < 20; i++)
		fprintf(f, "%02x", i + 1);
	fclose(f);
	chmod(path, 0600);
	snprintf(line, sizeof(line), "sa add paris out 0x4000 1 %s 50000 4501", path);
	does(line, 0, "add paris out 4000 1 aes128gcm16 50000>4501 key 01..14", "");
	snprintf(line, sizeof(line), "sa add paris in 0x4000 any %s", path);
	does(line, 0, "add paris in 4000 -1 aes128gcm16 4500>4500 key 01..14", "");
}

/* A configuration of the fake's tunnel paris: SA 0x1001 out with @out_key, 0x1000 in with c0... */
static void
write_config(const char *out_key)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f,
			"state_file = \"/tmp/s\"; ports = ( { name = \"w\"; device = \"d\"; "
			"addresses = [ \"192.0.2.1/24\" ]; } ); tunnels = ( { name = \"paris\"; "
			"local = \"192.0.2.1\"; remote = \"192.0.2.2\"; algo = \"aes128gcm16\"; "
			"selectors = ( { local = \"10.1.0.0/16\"; remote = \"10.2.0.0/16\"; } ); "
			"sas = ( { pcpu = \"any\"; out = { spi = 0x1001; key = \"%s\"; sport = "
			"4500; dport = 4500; }; in = { spi = 0x1000; key = "
			"\"c0ffee0000000000000000000000000000000001\"; sport = 4500; dport = 4500; "
			"}; } ); } );\n",
			out_key);
	fclose(f);
	chmod(path, 0600);
}

/* Make @key the one that the fake's SA has in use. */
static void
use_key(unsigned int sa, const char *key)
{
	struct ipsec_pcpu_sa_params prm = gw->tunnel[0].sas[sa]->prm;

	for (unsigned int i = 0; i < 20; i++)
		sscanf(key + 2 * i, "%2hhx", &prm.key[i]);
	gw_reserve_id(gw->ctx, &prm, gw->tunnel[0].sas[sa]->reserve_id);
	gw_reserve_key_id(gw->ctx, &prm, gw->tunnel[0].sas[sa]->key_id);
}

/* Where the peer of the fake's fallback SA is told to begin. */
static uint64_t
told(const struct gw_text *out)
{
	const char *s = strstr(gw_text_str(out), "dir out replay-window 0 replay-oseq ");
	unsigned int low = 0, high = 0;

	assert_non_null(s);
	assert_in_range(sscanf(s, "dir out replay-window 0 replay-oseq %u replay-oseq-hi %u", &low,
					&high),
			1, 2);
	return (uint64_t)high << 32 | low;
}

static void
test_peer_commands(void **state)
{
	static const char in_key[] = "c0ffee0000000000000000000000000000000001";
	static const char out_key[] = "beef000000000000000000000000000000000002";
	static const char salted[] = "beef000000000000000000000000000000000003";
	struct gw_text out = {0};
	uint64_t first;
	bool leave;

	/* oslo's selector has a range of ports that policies cannot say */
	does("show peer-commands oslo", -ENOENT, "",
			"error: tunnel \"oslo\" has no SAs: --make-tunnel makes some, for both ends\n");
	assert_int_equal(run("show peer-commands paris", &out, &leave), -EINVAL);
	assert_non_null(strstr(gw_text_str(&out), "a policy of Linux's takes one port or all"));
	assert_null(strstr(gw_text_str(&out), "#!"));
	((struct gw_config_tunnel *)(uintptr_t)gw->tunnel[0].cfg)->n_selectors = 1;

	assert_int_equal(run("show peer-commands paris", &out, &leave), 0);
	assert_memory_equal(gw_text_str(&out), "#!/bin/sh\n", 10);
	assert_null(strstr(gw_text_str(&out), "5a5a"));
	assert_non_null(strstr(gw_text_str(&out), "${KEY_00001001-}"));
	assert_false(out.secret);
	/* what the fake has received, and sent; also behind "clear stats" */
	first = told(&out);
	assert_true(first >= 5001 + (1u << 24));
	/* never the same again, although no more has come; and not where it cannot be written */
	assert_int_equal(run("show peer-commands paris", &out, &leave), 0);
	assert_true(told(&out) >= first + (1u << 24));
	first = told(&out);
	fake_disk_full = true;
	does("show peer-commands paris", -ENOSPC, "",
			"error: state file s: cannot write it: No space left on device\n");
	fake_disk_full = false;
	assert_int_equal(run("show peer-commands paris", &out, &leave), 0);
	assert_true(told(&out) >= first + (1u << 24));
	assert_non_null(strstr(gw_text_str(&out), "in memory only (allow_iv_reuse)"));
	shows("show peer-commands paris", "dir in pcpu-num 0 replay-window 1024 replay-seq 6025");
	shows("sh peer paris cpus 1", "pcpu-num 0");
	does("show peer-commands paris cpus 0", -EINVAL, "",
			"error: word 5: \"0\"? expected CPUS (how many CPUs the peer has, 1 to "
			"65536)\n");
	does("show peer-commands paris with", -EINVAL, "",
			"error: word 5 is missing: expected keys\n");
	assert_int_equal(run("show peer-commands paris yes", &out, &leave), -EINVAL);

	/* keys come from the file, and only where they are those in use */
	gw->ctx = aligned_alloc(64, (ipsec_pcpu_ctx_size() + 63) / 64 * 64);
	assert_int_equal(ipsec_pcpu_ctx_init(gw->ctx), 0);
	gw->cfg.file = path;
	assert_int_equal(run("show peer-commands paris with keys", &out, &leave), -ENOENT);
	write_config(out_key);
	use_key(0, in_key);
	use_key(1, in_key);
	assert_int_equal(run("show peer-commands paris cpus 2 with keys", &out, &leave), 0);
	assert_true(out.secret);
	assert_non_null(strstr(gw_text_str(&out), " 0xc0ffee0000000000000000000000000000000001 "));
	assert_null(strstr(gw_text_str(&out), "beef"));
	assert_non_null(strstr(gw_text_str(&out),
			"KEY_00001001=0x...  # 20 bytes; the configuration file has another one"));
	assert_non_null(strstr(gw_text_str(&out), "KEY_00001003=0x...  # 20 bytes; not in the"));
	use_key(1, out_key);
	assert_int_equal(run("show peer-commands paris with keys", &out, &leave), 0);
	assert_non_null(strstr(gw_text_str(&out), " 0xbeef"));
	/* a salt is a part of it */
	use_key(1, salted);
	assert_int_equal(run("show peer-commands paris with keys", &out, &leave), 0);
	assert_null(strstr(gw_text_str(&out), " 0xbeef"));
	/* nobody writes into it: refused, not waited for */
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(run("show peer-commands paris with keys", &out, &leave), -EINVAL);
	assert_non_null(strstr(gw_text_str(&out), "not a regular file"));
	assert_int_equal(run("show peer-commands paris", &out, &leave), 0);
	assert_null(strstr(gw_text_str(&out), "beef"));
	ipsec_pcpu_ctx_fini(gw->ctx);
	free(gw->ctx);
	gw_text_fini(&out);
}

/* A client: what it got so far. The loop runs until it got what it waits for. */
static struct client {
	int fd;
	struct gw_text got;
	unsigned int want; /* end marks */
	const char *until; /* or this text at its end */
	bool closed;
	bool failed; /* gave up waiting */
} client;

static bool
satisfied(const struct client *c)
{
	unsigned int marks = 0;

	for (size_t i = 1; i < c->got.len; i++)
		marks += c->got.s[i - 1] == '\0';
	if (c->until != NULL) {
		size_t n = strlen(c->until);

		return c->got.len >= n && memcmp(c->got.s + c->got.len - n, c->until, n) == 0;
	}
	return c->want != 0 && marks >= c->want;
}

static void
on_client(void *arg, uint32_t events)
{
	char buf[65536];
	ssize_t n = read(client.fd, buf, sizeof(buf));

	if (n > 0)
		gw_text_add(&client.got, buf, n);
	else
		client.closed = true;
	if (client.closed || satisfied(&client))
		gw_loop_stop(gw->loop);
}

static void
give_up(void *arg, uint32_t events)
{
	client.failed = true;
	gw_loop_stop(gw->loop);
}

static bool session_over;

static void
on_over(void *arg, struct gw_session *s)
{
	session_over = true;
	gw_session_free(s);
}

static struct gw_session *
start_session(void)
{
	struct gw_session *s;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	session_over = false;
	client = (struct client){.fd = sv[1]};
	assert_int_equal(gw_session_socket(gw, cmds, sv[0], on_over, NULL, &s), 0);
	assert_int_equal(gw_loop_add(gw->loop, sv[1], EPOLLIN, on_client, NULL), 0);
	assert_int_equal(gw_loop_timer(gw->loop, 5000, give_up, NULL), 0);
	return s;
}

static void
end_session(struct gw_session *s)
{
	if (!session_over)
		gw_session_free(s);
	gw_loop_del(gw->loop, client.fd);
	close(client.fd);
	gw_text_fini(&client.got);
}

static void
say(const char *s, size_t n)
{
	assert_int_equal(write(client.fd, s, n), n);
}

/* Say it, and wait for so many answers; with @expected NULL whatever they are. */
static void
ask(const char *line, unsigned int answers, const char *expected, size_t len)
{
	gw_text_clear(&client.got);
	client.want = answers;
	client.until = NULL;
	say(line, strlen(line));
	gw_loop_run(gw->loop);
	assert_false(client.failed);
	if (expected == NULL)
		return;
	assert_int_equal(client.got.len, len);
	assert_memory_equal(client.got.s, expected, len);
}

#define ANSWER(s) s, sizeof(s) - 1

static void
test_exec(void **state)
{
	struct gw_session *s = start_session();

	ask("Eclear stats\n", 1, ANSWER("\0000"));
	assert_string_equal(fake_verb, "clear");
	ask("nonsense x\n", 1, NULL, 0);
	assert_memory_equal(client.got.s, "error: word 1: \"nonsense\"? expected one of: help", 46);
	assert_memory_equal(client.got.s + client.got.len - 3, "\n\0001", 3);
	ask("\n", 1, ANSWER("\0000"));
	ask("sa del paris in 4096\r\n", 1, ANSWER("error: no such SA\n\0001"));
	/* several lines at once, and one in pieces */
	ask("start\nsa del paris in 4096\nstop\n", 3, ANSWER("\0000error: no such SA\n\0001\0000"));
	say("cle", 3);
	say("ar st", 5);
	ask("ats\n", 1, ANSWER("\0000"));
	assert_string_equal(fake_verb, "clear");
	ask("show workers json\n", 1, NULL, 0);
	assert_json(client.got.s);
	end_session(s);
}

static void
test_exec_last_line(void **state)
{
	struct gw_session *s = start_session();

	say("Estart\nstop", 11);
	shutdown(client.fd, SHUT_WR);
	client.want = 99;
	gw_loop_run(gw->loop);
	assert_true(client.closed);
	assert_true(session_over);
	assert_string_equal(fake_verb, "forwarding 0");
	assert_int_equal(client.got.len, 4);
	end_session(s);
}

static void
test_exec_long_line(void **state)
{
	struct gw_session *s = start_session();
	char line[3000];

	memset(line, 'a', sizeof(line));
	memcpy(line, "Estart ", 7);
	line[sizeof(line) - 1] = '\0';
	line[sizeof(line) - 2] = '\n';
	ask(line, 1, ANSWER("error: the line is too long: at most 500 characters\n\0001"));
	assert_string_equal(fake_verb, "");
	/* bytes of all values, a 0 too */
	say("\0\xff\x1b\n", 4);
	ask("start\n", 2, NULL, 0);
	assert_string_equal(fake_verb, "forwarding 1");
	end_session(s);
}

static void
test_exec_exit_and_quit(void **state)
{
	struct gw_session *s = start_session();

	client.want = 99;
	say("Eexit\nstart\n", 12);
	gw_loop_run(gw->loop);
	assert_true(client.closed && session_over);
	assert_string_equal(fake_verb, "");
	end_session(s);

	s = start_session();
	ask("Equit\n", 1, NULL, 0);
	gw_loop_run(gw->loop);
	assert_string_equal(fake_verb, "quit");
	assert_true(session_over);
	end_session(s);
}

static void
test_bad_hello(void **state)
{
	struct gw_session *s = start_session();

	client.want = 1;
	say("GET / HTTP/1.1\r\n", 16);
	gw_loop_run(gw->loop);
	assert_true(client.closed && session_over);
	assert_int_equal(client.got.len, 0);
	end_session(s);
}

/* One who asks and does not read: the lines wait, and all answers come once it reads. */
static void
test_slow_reader(void **state)
{
	struct gw_session *s = start_session();
	unsigned int asked = 0;

	gw_loop_mod(gw->loop, client.fd, 0);
	say("E", 1);
	assert_int_equal(gw_loop_timer(gw->loop, 20, give_up, NULL), 0);
	while (write(client.fd, "show drops all\n", 15) == 15)
		asked++;
	assert_true(asked > 100);
	gw_loop_run(gw->loop);
	assert_false(session_over);
	/* the lines are still in the socket, for the most part */
	client.failed = false;
	client.want = asked;
	gw_loop_mod(gw->loop, client.fd, EPOLLIN);
	for (int i = 0; i < 500 && !satisfied(&client) && !client.closed; i++)
		gw_loop_run(gw->loop);
	assert_true(satisfied(&client));
	assert_false(session_over);
	end_session(s);
}

#define CLEAR_RIGHT "\x1b[0K" /* rdline says so after it has added something */

/* Keys: wait for the prompt, then for what comes back. */
static void
keys(const char *s, const char *until)
{
	gw_text_clear(&client.got);
	client.until = until;
	client.failed = false;
	say(s, strlen(s));
	gw_loop_run(gw->loop);
	if (client.failed)
		fail_msg("no \"%s\" in \"%s\"", until, gw_text_str(&client.got));
}

static void
test_keys(void **state)
{
	struct gw_session *s = start_session();

	keys("I", "gw> ");
	assert_non_null(strstr(client.got.s, "exit or Ctrl-D leaves"));
	keys("clear sta", "clear sta");
	keys("\t", "ts " CLEAR_RIGHT);
	keys("\r", "gw> ");
	assert_string_equal(fake_verb, "clear");
	/* history: the line before comes back */
	keys("stop\n", "gw> ");
	keys("\x1b[A\x1b[A\r", "gw> clear stats " CLEAR_RIGHT "\r\ngw> ");
	assert_string_equal(fake_verb, "clear");
	end_session(s);
}

static void
test_keys_completion(void **state)
{
	struct gw_session *s = start_session();

	keys("I", "gw> ");
	keys("show t\t", "unnel" CLEAR_RIGHT);
	keys("\t", "gw> show tunnel" CLEAR_RIGHT);
	assert_non_null(strstr(client.got.s, "\r\n tunnels\r\n tunnel\r\n"));
	keys(" p\t", "aris " CLEAR_RIGHT);
	keys("?", "show tunnel paris " CLEAR_RIGHT);
	assert_non_null(strstr(client.got.s, "show tunnel NAME [json]"));
	keys("\x03", "^C\ngw> ");
	keys("\x03", "gw> ");
	assert_non_null(strstr(client.got.s, "(exit or Ctrl-D leaves this console)"));
	client.until = NULL;
	client.want = 99;
	say("\x04", 1);
	gw_loop_run(gw->loop);
	assert_true(client.closed && session_over);
	assert_string_equal(fake_verb, "");
	end_session(s);
}

/* rdline cuts a line at 512: what is left of a longer one must not run. */
static void
test_keys_long_line(void **state)
{
	struct gw_session *s = start_session();
	char line[2000];

	keys("I", "gw> ");
	memset(line, ' ', sizeof(line));
	memcpy(line, "stop", 4);
	memcpy(line + 1000, "paris\r", 7);
	keys(line, "gw> ");
	assert_non_null(strstr(
			client.got.s, "error: the line is too long: at most 500 characters\n"));
	assert_string_equal(fake_verb, "");
	/* TAB with the cursor at the start of a full line: rdline's buffer must not overflow */
	memset(line, 'x', 505);
	memcpy(line + 505, "\x01sh\t\t?\r", 8);
	keys(line, "gw> ");
	keys("start\r", "gw> ");
	assert_string_equal(fake_verb, "forwarding 1");
	end_session(s);
}

/* Pasting: many lines in one piece, some with output. */
static void
test_keys_paste(void **state)
{
	struct gw_session *s = start_session();

	keys("I", "gw> ");
	keys("show stats\nshow drops all\rshow version\nstop\r", "stop\r\ngw> ");
	assert_string_equal(fake_verb, "forwarding 0");
	end_session(s);
}

static void
opens(int expected, const char *why)
{
	struct gw_console *con = NULL;
	struct gw_error err = {{0}};
	int rc = gw_console_open(gw, path, false, &con, &err);

	assert_int_equal(rc, expected);
	if (rc != 0 && strstr(err.text, why) == NULL)
		fail_msg("no \"%s\" in: %s", why, err.text);
	gw_console_close(con);
}

static void
test_socket_file(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct gw_console *con;
	struct gw_error err;
	struct stat st;
	mode_t mask = umask(0);
	int fd;

	assert_int_equal(gw_console_open(gw, path, false, &con, &err), 0);
	assert_int_equal(umask(mask), 0);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	opens(-EADDRINUSE, "another gateway is running");
	assert_int_equal(lstat(path, &st), 0);
	gw_console_close(con);
	assert_int_not_equal(lstat(path, &st), 0);

	/* left from a crash */
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	opens(0, "");

	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	opens(-EEXIST, "is not a socket");
	assert_int_equal(lstat(path, &st), 0);
	unlink(path);
	snprintf(path, sizeof(path), "%s/no/sock", dir);
	opens(-ENOENT, "/no: make it, or set console = ");
	memset(path, 'x', 120);
	path[120] = '\0';
	opens(-ENAMETOOLONG, "at most 107 characters");
	snprintf(path, sizeof(path), "%s/sock", dir);
}

/* The other end, in a process of its own; its output goes to a pipe. */
static pid_t child;
static int child_status;

static void
on_child_tick(void *arg, uint32_t events)
{
	if (child != 0 && waitpid(child, &child_status, WNOHANG) == child) {
		child = 0;
		gw_loop_stop(gw->loop);
	}
}

static int
attach(const char *const *commands, const char *input, struct gw_text *out)
{
	int in[2], o[2];
	char buf[65536];
	ssize_t n;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(o), 0);
	child = fork();
	if (child == 0) {
		dup2(in[0], 0);
		dup2(o[1], 1);
		dup2(o[1], 2);
		close(in[1]);
		_exit(gw_attach(path, commands));
	}
	assert_int_equal(write(in[1], input, strlen(input)), strlen(input));
	close(in[0]);
	close(in[1]);
	close(o[1]);
	gw_loop_run(gw->loop);
	gw_text_clear(out);
	while ((n = read(o[0], buf, sizeof(buf))) > 0)
		gw_text_add(out, buf, n);
	close(o[0]);
	assert_true(WIFEXITED(child_status));
	return WEXITSTATUS(child_status);
}

static void
test_attach(void **state)
{
	const char *const two[] = {"clear stats", "show version json", NULL};
	const char *const fails[] = {"show tunnel rome", "stop\nshow tunnels json", NULL};
	struct gw_text out = {0};
	struct gw_console *con;
	struct gw_error err;

	assert_int_equal(gw_console_open(gw, path, false, &con, &err), 0);
	assert_int_equal(gw_loop_timer(gw->loop, 5, on_child_tick, NULL), 0);
	assert_int_equal(attach(two, "", &out), 0);
	assert_json(out.s);
	assert_int_equal(attach(fails, "", &out), 1);
	assert_memory_equal(out.s, "error: word 3: \"rome\"? expected NAME", 36);
	assert_json(strchr(out.s, '\n'));
	assert_string_equal(fake_verb, "forwarding 0");
	assert_int_equal(attach(NULL, "start\nshow routes json", &out), 0);
	assert_json(out.s);
	assert_string_equal(fake_verb, "forwarding 1");
	gw_console_close(con);
	assert_int_equal(attach(two, "", &out), 1);
	assert_non_null(strstr(out.s, "is it running?"));
	gw_text_fini(&out);
}

static void
test_many_clients(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct gw_text out = {0};
	const char *const one[] = {"start", NULL};
	struct gw_console *con;
	struct gw_error err;
	int fd[16];

	assert_int_equal(gw_console_open(gw, path, false, &con, &err), 0);
	assert_int_equal(gw_loop_timer(gw->loop, 5, on_child_tick, NULL), 0);
	strcpy(addr.sun_path, path);
	for (int i = 0; i < 16; i++) {
		fd[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(connect(fd[i], (struct sockaddr *)&addr, sizeof(addr)), 0);
	}
	assert_int_equal(attach(one, "", &out), 1);
	assert_non_null(strstr(out.s, "error: 16 others are on this console"));
	close(fd[7]);
	assert_int_equal(attach(one, "", &out), 0);
	gw_console_close(con);
	for (int i = 0; i < 16; i++)
		close(i == 7 ? -1 : fd[i]);
	gw_text_fini(&out);
}

static void
test_docs(void **state)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	gw_console_doc(f);
	gw_counters_doc(f);
	fclose(f);
	assert_non_null(strstr(text, "| `tunnel up\\|down NAME` | "));
	assert_non_null(strstr(text, "| `KEYFILE` | "));
	assert_non_null(strstr(text, "| `handed_off_esp` | "));
	assert_non_null(strstr(text, "| `no_sa` | "));
	assert_non_null(strstr(text, "| `seq_reserve` | "));
	free(text);
}

/* The table says what each command does, in a line that fits. */
static void
test_table_rows(void **state)
{
	for (unsigned int i = 0; i < gw_n_commands; i++) {
		assert_non_null(gw_commands[i].fn);
		assert_true(strlen(gw_commands[i].help) >= 10 && strlen(gw_commands[i].help) <= 90);
		assert_true(strlen(gw_commands[i].syntax) <= 60);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_setup_teardown(test_table_rows, setup, teardown),
			cmocka_unit_test_setup_teardown(test_show, setup, teardown),
			cmocka_unit_test_setup_teardown(test_contents, setup, teardown),
			cmocka_unit_test_setup_teardown(test_verbs, setup, teardown),
			cmocka_unit_test_setup_teardown(test_peer_commands, setup, teardown),
			cmocka_unit_test_setup_teardown(test_exec, setup, teardown),
			cmocka_unit_test_setup_teardown(test_exec_last_line, setup, teardown),
			cmocka_unit_test_setup_teardown(test_exec_long_line, setup, teardown),
			cmocka_unit_test_setup_teardown(test_exec_exit_and_quit, setup, teardown),
			cmocka_unit_test_setup_teardown(test_bad_hello, setup, teardown),
			cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
			cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
			cmocka_unit_test_setup_teardown(test_keys_completion, setup, teardown),
			cmocka_unit_test_setup_teardown(test_keys_long_line, setup, teardown),
			cmocka_unit_test_setup_teardown(test_keys_paste, setup, teardown),
			cmocka_unit_test_setup_teardown(test_socket_file, setup, teardown),
			cmocka_unit_test_setup_teardown(test_attach, setup, teardown),
			cmocka_unit_test_setup_teardown(test_many_clients, setup, teardown),
			cmocka_unit_test_setup_teardown(test_docs, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
