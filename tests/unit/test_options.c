/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "options.h"

#define MAX_ARGS 32
#define TUNNEL "gw --make-tunnel --name t --local 192.0.2.1 --remote 192.0.2.2 "
#define NETS "--local-net 10.1.0.9/16 --remote-net 10.2.0.0/16 "

/* Split at blanks; a "~" is a blank in an argument. Keeps the words until the next call. */
static int
parse(const char *line, struct gw_options *opt, struct gw_error *err)
{
	static char text[512];
	static char *argv[MAX_ARGS + 1];
	int argc = 0;

	snprintf(text, sizeof(text), "%s", line);
	for (char *w = strtok(text, " "); w != NULL && argc < MAX_ARGS; w = strtok(NULL, " ")) {
		for (char *c = w; (c = strchr(c, '~')) != NULL;)
			*c = ' ';
		argv[argc++] = w;
	}
	argv[argc] = NULL;
	return gw_options_parse(argc, argv, opt, err);
}

static void
must(const char *line, struct gw_options *opt)
{
	struct gw_error err;

	if (parse(line, opt, &err) != 0)
		fail_msg("%s: %s", line, err.text);
}

static void
test_run(void **state)
{
	struct gw_options opt;

	must("gw -l 0-4 --vdev net_tap0 -- -c gw.conf -i", &opt);
	assert_int_equal(opt.mode, GW_MODE_RUN);
	assert_int_equal(opt.eal_argc, 5);
	assert_string_equal(opt.config_file, "gw.conf");
	assert_true(opt.interactive);
	must("gw -- --config=gw.conf --check", &opt);
	assert_int_equal(opt.mode, GW_MODE_CHECK);
	assert_int_equal(opt.eal_argc, 1);
	must("gw -c gw.conf", &opt);
	assert_int_equal(opt.mode, GW_MODE_RUN);
	assert_int_equal(opt.eal_argc, 1);
	assert_false(opt.interactive);
	must("gw --help", &opt);
	assert_int_equal(opt.mode, GW_MODE_HELP);
	must("gw -V", &opt);
	assert_int_equal(opt.mode, GW_MODE_VERSION);
	must("gw --config-doc", &opt);
	assert_int_equal(opt.mode, GW_MODE_CONFIG_DOC);
	must("gw --console-doc", &opt);
	assert_int_equal(opt.mode, GW_MODE_CONSOLE_DOC);
	must("gw --counters-doc", &opt);
	assert_int_equal(opt.mode, GW_MODE_COUNTERS_DOC);
	must("gw --metrics-doc", &opt);
	assert_int_equal(opt.mode, GW_MODE_METRICS_DOC);
	must("gw --print-ena-devargs", &opt);
	assert_int_equal(opt.mode, GW_MODE_ENA_DEVARGS);
}

static void
test_attach(void **state)
{
	struct gw_options opt;

	must("gw --attach", &opt);
	assert_int_equal(opt.mode, GW_MODE_ATTACH);
	assert_null(opt.commands);
	assert_null(opt.socket);
	must("gw --attach --socket /x -e show~workers --execute show~drops -e quit", &opt);
	assert_string_equal(opt.socket, "/x");
	assert_string_equal(opt.commands[0], "show workers");
	assert_string_equal(opt.commands[1], "show drops");
	assert_string_equal(opt.commands[2], "quit");
	assert_null(opt.commands[3]);
	gw_options_free(&opt);
	assert_null(opt.commands);
}

static void
test_make_tunnel(void **state)
{
	struct gw_options opt;
	char buf[GW_ADDR_STRLEN];

	must(TUNNEL NETS, &opt);
	assert_int_equal(opt.mode, GW_MODE_MAKE_TUNNEL);
	assert_int_equal(opt.make_tunnel.pairs, 4);
	assert_true(opt.make_tunnel.esn && opt.make_tunnel.encap);
	assert_string_equal(opt.make_tunnel.algo->name, "aes128gcm16");
	assert_string_equal(gw_prefix_text(&opt.make_tunnel.a_net, buf), "10.1.0.0/16");
	assert_null(opt.out_dir);
	must(TUNNEL NETS
			"--pairs 0 --plain --no-esn --algo aes256gcm16 --replay-window 64 --out-dir d",
			&opt);
	assert_int_equal(opt.make_tunnel.pairs, 0);
	assert_false(opt.make_tunnel.esn || opt.make_tunnel.encap);
	assert_string_equal(opt.make_tunnel.algo->name, "aes256gcm16");
	assert_int_equal(opt.make_tunnel.replay_window, 64);
	assert_string_equal(opt.out_dir, "d");
}

static void
test_peer_commands(void **state)
{
	struct gw_options opt;

	must("gw --peer-commands -c gw.conf", &opt);
	assert_int_equal(opt.mode, GW_MODE_PEER_COMMANDS);
	assert_string_equal(opt.make_tunnel.name, "");
	assert_string_equal(opt.config_file, "gw.conf");
	assert_int_equal(opt.cpus, 0);
	assert_false(opt.with_keys);
	must("gw -- --peer-commands --name paris --config gw.conf --with-keys --cpus 65536", &opt);
	assert_string_equal(opt.make_tunnel.name, "paris");
	assert_int_equal(opt.cpus, 65536);
	assert_true(opt.with_keys);
}

static void
test_refused(void **state)
{
	/* clang-format off */
	static const char *const rows[][2] = {
		{"gw", "no configuration: -c FILE"},
		{"gw -l 0-1 --", "no configuration"},
		{"gw -- -c", "option -c wants a value"},
		{"gw -- -c x -q", "unknown option -q"},
		{"gw -l 0-1 -c x", "unknown option -l; EAL options come before"},
		{"gw -- -c x --frob", "unknown option --frob"},
		{"gw -- -c x y", "argument \"y\": not expected here"},
		{"gw -- --check --attach -c x", "two of --check, --attach"},
		{"gw -- -c x -e show", "-e and --socket go with --attach"},
		{"gw -- -c x --socket y", "-e and --socket go with --attach"},
		{"gw -- -c x --name y", "--name, --local, --out-dir and the like go with"},
		{"gw --peer-commands", "no configuration: -c FILE"},
		{"gw --peer-commands -c x --check", "two of --check, --attach"},
		{"gw --peer-commands -c x --local 192.0.2.1", "--name, --local, --out-dir and"},
		{"gw --peer-commands -c x -e show", "-e and --socket go with --attach"},
		{"gw --peer-commands -c x --cpus 0", "--cpus \"0\": 1 to 65536"},
		{"gw --peer-commands -c x --cpus 65537", "--cpus is 0 to 65536, not \"65537\""},
		{"gw -c x --with-keys", "--cpus and --with-keys go with --peer-commands"},
		{"gw --attach --cpus 2", "--cpus and --with-keys go with --peer-commands"},
		{"gw --make-tunnel", "--make-tunnel wants --name"},
		{"gw --make-tunnel --name 1234567890123456", "--name \"1234567890123456\": 1 to 15"},
		{"gw --make-tunnel --name a/b", "--name \"a/b\": 1 to 15"},
		{"gw --make-tunnel --name t", "--make-tunnel wants --local and --remote"},
		{"gw --make-tunnel --local 1", "--local \"1\": not an IPv4 or IPv6 address"},
		{TUNNEL, "--make-tunnel wants --local-net and --remote-net"},
		{TUNNEL "--local-net 10.1.0.0/16 --remote-net ::/0", "--local-net and --remote-net are not of"},
		{TUNNEL "--local-net 10.1.0.0/99", "--local-net \"10.1.0.0/99\": not a network"},
		{TUNNEL NETS "--remote ::1", "--local and --remote are not of the same family"},
		{TUNNEL NETS "--remote 192.0.2.1", "--local and --remote are the same address"},
		{TUNNEL NETS "--pairs x", "--pairs is 0 to 256, not \"x\""},
		{TUNNEL NETS "--pairs -1", "--pairs is 0 to 256, not \"-1\""},
		{TUNNEL NETS "--pairs 257", "--pairs is 0 to 256"},
		{TUNNEL NETS "--algo rot13", "--algo \"rot13\": no such algorithm"},
		{TUNNEL NETS "--replay-window 100", "--replay-window is a multiple of 64"},
	};
	/* clang-format on */
	struct gw_options opt;
	struct gw_error err;

	for (size_t i = 0; i < RTE_DIM(rows); i++)
		if (parse(rows[i][0], &opt, &err) == 0 ||
				strncmp(err.text, rows[i][1], strlen(rows[i][1])) != 0)
			fail_msg("%s: \"%s\", wanted \"%s\"", rows[i][0], err.text, rows[i][1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_run),
			cmocka_unit_test(test_attach),
			cmocka_unit_test(test_make_tunnel),
			cmocka_unit_test(test_peer_commands),
			cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
