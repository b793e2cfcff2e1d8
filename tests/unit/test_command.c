/* SPDX-License-Identifier: BSD-3-Clause */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "front/argument.h"
#include "front/command.h"

static int
nothing(struct gw_cmd *cmd)
{
	return 0;
}

static const struct gw_command rows[] = {
		{"help [WORD...]", nothing, "list"},
		{"show config [json]", nothing, "configuration"},
		{"show workers [json]", nothing, "workers"},
		{"show tunnels [json]", nothing, "all tunnels"},
		{"show tunnel NAME [json]", nothing, "a tunnel"},
		{"show sa [SPI] [json]", nothing, "SAs"},
		{"set promisc PORT on|off", nothing, "promiscuous"},
		{"start", nothing, "start"},
		{"stop", nothing, "stop"},
		{"sa add TUNNEL in|out SPI PCPU|any KEYFILE [SPORT DPORT]", nothing, "add"},
		{"sa del TUNNEL in|out SPI", nothing, "delete"},
		{"explain SRC DST PROTO [SPORT DPORT]", nothing, "explain"},
};

static const char *const tunnels[] = {"paris", "oslo", "padua"};

static const char *
names(void *arg, enum gw_cmd_names what, unsigned int i)
{
	if (what == GW_CMD_TUNNELS)
		return i < 3 ? tunnels[i] : NULL;
	return arg != NULL && i == 0 ? "lan" : NULL;
}

static int
setup(void **state)
{
	static char has_port;
	unsigned int bad = 99;

	*state = gw_cmds_new(rows, sizeof(rows) / sizeof(rows[0]), names, &has_port, &bad);
	assert_non_null(*state);
	return 0;
}

static int
teardown(void **state)
{
	gw_cmds_free(*state);
	return 0;
}

static void
accepts(const struct gw_cmds *cmds, const char *line, unsigned int row, struct gw_cmd *cmd)
{
	struct gw_text why = {0};

	if (gw_cmd_parse(cmds, line, cmd, &why) != 0)
		fail_msg("%s: %s", line, gw_text_str(&why));
	assert_string_equal(cmd->row->syntax, rows[row].syntax);
	gw_text_fini(&why);
}

static void
refuses(const struct gw_cmds *cmds, const char *line, const char *expected)
{
	struct gw_text why = {0};
	struct gw_cmd cmd;

	assert_int_equal(gw_cmd_parse(cmds, line, &cmd, &why), -EINVAL);
	assert_string_equal(gw_text_str(&why), expected);
	gw_text_fini(&why);
}

static void
test_rows(void **state)
{
	struct gw_cmd c;

	accepts(*state, "help", 0, &c);
	accepts(*state, "help sa add", 0, &c);
	assert_int_equal(c.n_words, 3);
	assert_string_equal(c.word[2].text, "add");
	accepts(*state, "  show\tconfig ", 1, &c);
	assert_false(gw_cmd_has(&c, "json"));
	accepts(*state, "show config json", 1, &c);
}

static void
test_row_comment(void **state)
{
	struct gw_text why = {0};
	struct gw_cmd c;

	assert_int_equal(gw_cmd_parse(*state, "", &c, &why), -ENODATA);
	assert_int_equal(gw_cmd_parse(*state, " \t ", &c, &why), -ENODATA);
	assert_int_equal(gw_cmd_parse(*state, "# show", &c, &why), -ENODATA);
	assert_string_equal(gw_text_str(&why), "");
}

static void
test_arguments(void **state)
{
	struct gw_cmd c;

	accepts(*state, "show tunnel paris", 4, &c);
	assert_string_equal(gw_cmd_arg(&c, "NAME"), "paris");
	assert_null(gw_cmd_arg(&c, "PORT"));
	accepts(*state, "show tunnel \"paris\" json", 4, &c);
	assert_true(gw_cmd_has(&c, "json"));
	accepts(*state, "show sa json", 5, &c);
	assert_null(gw_cmd_arg(&c, "SPI"));
	accepts(*state, "show sa 0xAB json", 5, &c);
	assert_string_equal(gw_cmd_arg(&c, "SPI"), "0xAB");
	accepts(*state, "set promisc lan off", 6, &c);
	assert_true(gw_cmd_has(&c, "off"));
	assert_false(gw_cmd_has(&c, "on"));
	accepts(*state, "sa add oslo out 4096 any \"/etc/my keys/k\" 49152 4500", 9, &c);
	assert_true(gw_cmd_has(&c, "any"));
	assert_true(gw_cmd_has(&c, "out"));
	assert_null(gw_cmd_arg(&c, "PCPU"));
	assert_string_equal(gw_cmd_arg(&c, "KEYFILE"), "/etc/my keys/k");
	assert_string_equal(gw_cmd_arg(&c, "DPORT"), "4500");
	accepts(*state, "sa add oslo in 4096 3 /k", 9, &c);
	assert_string_equal(gw_cmd_arg(&c, "PCPU"), "3");
	accepts(*state, "explain 10.0.0.1 2001:db8::1 tcp", 11, &c);
	accepts(*state, "explain 10.0.0.1 10.0.0.2 47", 11, &c);
}

static void
test_abbreviations(void **state)
{
	struct gw_cmd c;

	accepts(*state, "sh wo", 2, &c);
	assert_string_equal(c.word[1].text, "workers");
	accepts(*state, "sh wo j", 2, &c);
	assert_true(gw_cmd_has(&c, "json"));
	accepts(*state, "sh tunn paris", 4, &c);
	accepts(*state, "show tunnels", 3, &c);
	accepts(*state, "sh tunnel oslo", 4, &c);
	accepts(*state, "sa a oslo o 300 an /k", 9, &c);
	assert_true(gw_cmd_has(&c, "any"));
	assert_true(gw_cmd_has(&c, "out"));
	accepts(*state, "star", 7, &c);
}

static void
test_refusals(void **state)
{
	const struct gw_cmds *c = *state;

	refuses(c, "show tunel paris",
			"word 2: \"tunel\"? expected one of: config workers tunnels tunnel sa");
	refuses(c, "shwo",
			"word 1: \"shwo\"? expected one of: help show set start stop sa explain");
	refuses(c, "show", "word 2 is missing: expected one of: config workers tunnels tunnel sa");
	refuses(c, "show tunnel",
			"word 3 is missing: expected NAME (of a tunnel: paris, oslo, padua)");
	refuses(c, "show tunnel rome",
			"word 3: \"rome\"? expected NAME (of a tunnel: paris, oslo, padua)");
	refuses(c, "start now", "word 2: \"now\" is too much: start");
	refuses(c, "show workers json x", "word 4: \"x\" is too much: show workers [json]");
	refuses(c, "show workers xml", "word 3: \"xml\"? expected json, or nothing");
	refuses(c, "set promisc lan", "word 4 is missing: expected one of: on off");
	refuses(c, "set promisc wan on", "word 3: \"wan\"? expected PORT (of a port: lan)");
	refuses(c, "set promisc lan yes", "word 4: \"yes\"? expected one of: on off");
	refuses(c, "s", "word 1: \"s\" is not clear: expected one of: start stop");
	refuses(c, "st", "word 1: \"st\" is not clear: expected one of: start stop");
	refuses(c, "show sa zz",
			"word 3: \"zz\"? expected one of: SPI (a number, 0x... or decimal) json, or nothing");
	refuses(c, "show sa 0x100000000",
			"word 3: \"0x100000000\"? expected one of: SPI (a number, 0x... or decimal) "
			"json, or nothing");
	refuses(c, "explain 10.0.0.1 x tcp",
			"word 3: \"x\"? expected DST (an IPv4 or IPv6 address)");
	refuses(c, "explain 10.0.0.1 10.0.0.2 tcp 1",
			"word 6 is missing: expected DPORT (a port number, 0 to 65535)");
	refuses(c, "explain 10.0.0.1 10.0.0.2 tcp 65536 1",
			"word 5: \"65536\"? expected SPORT (a port number, 0 to 65535), or nothing");
	refuses(c, "sa add paris in 300 0 key",
			"word 7: \"key\"? expected KEYFILE (path of a file, from / on: the gateway reads it)");
	refuses(c, "show \"tunnel", "word 2: the closing \" is missing");
	refuses(c, "\"\"", "word 1: \"\"? expected one of: help show set start stop sa explain");
}

static void
test_limits(void **state)
{
	char line[GW_CMD_MAX_LINE + 2];
	struct gw_text why = {0};
	struct gw_cmd c;

	memset(line, 'x', sizeof(line));
	line[GW_CMD_MAX_LINE + 1] = '\0';
	refuses(*state, line, "the line is too long: at most 500 characters");
	line[GW_CMD_MAX_LINE] = '\0';
	assert_int_equal(gw_cmd_parse(*state, line, &c, &why), -EINVAL);
	assert_non_null(strstr(gw_text_str(&why), "? expected one of: help"));
	gw_text_fini(&why);
	for (int i = 0; i < GW_CMD_MAX_LINE; i++)
		line[i] = i % 2 ? ' ' : 'x';
	refuses(*state, line, "too many words: at most 16");
	accepts(*state, "help 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", 0, &c);
}

static void
test_no_names(void **state)
{
	struct gw_cmds *cmds = gw_cmds_new(rows, sizeof(rows) / sizeof(rows[0]), NULL, NULL, NULL);

	refuses(cmds, "show tunnel x", "word 3: \"x\"? expected NAME (of a tunnel: there is none)");
	gw_cmds_free(cmds);
}

static void
test_bad_syntax(void **state)
{
	static const char *const bad[] = {"", " ", "show NOSUCH", "a [b", "a b]", "a [b [c]]", "a|",
			"|a", "a||b", "Mixed", "a1", "show [a] [b] [c] [d]"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct gw_command two[] = {{"good", nothing, ""}, {bad[i], nothing, ""}};
		unsigned int which = 99;

		if (gw_cmds_new(two, 2, NULL, NULL, &which) != NULL)
			fail_msg("taken: \"%s\"", bad[i]);
		assert_int_equal(which, 1);
	}
}

static void
completes(const struct gw_cmds *cmds, const char *line, const char *add, const char *choices)
{
	struct gw_cmd_completion c;

	gw_cmd_complete(cmds, line, &c);
	assert_string_equal(c.add, add);
	assert_string_equal(gw_text_str(&c.choices), choices);
	gw_text_fini(&c.choices);
}

static void
test_completion(void **state)
{
	const struct gw_cmds *c = *state;

	completes(c, "sh", "ow ", "show\n");
	completes(c, "show w", "orkers ", "workers\n");
	completes(c, "show t", "unnel", "tunnels\ntunnel\n");
	completes(c, "show tunnel p", "a", "paris\npadua\n");
	completes(c, "show tunnel o", "slo ", "oslo\n");
	completes(c, "show tunnel ", "", "paris\noslo\npadua\n");
	completes(c, "set promisc ", "lan ", "lan\n");
	completes(c, "show sa ", "", "SPI (a number, 0x... or decimal)\njson\n");
	completes(c, "show sa j", "son ", "SPI (a number, 0x... or decimal)\njson\n");
	completes(c, "nonsense x", "", "");
	completes(c, "start ", "", "");
	completes(c, "", "", "help\nshow\nset\nstart\nstop\nsa\nexplain\n");
	completes(c, "\"sh", "ow ", "show\n");
}

static void
helps(const struct gw_cmds *cmds, const char *line, unsigned int n, const char *first)
{
	struct gw_text out = {0};

	assert_int_equal(gw_cmd_help(cmds, line, &out), n);
	assert_memory_equal(gw_text_str(&out), first, strlen(first));
	gw_text_fini(&out);
}

static void
test_help(void **state)
{
	helps(*state, "", sizeof(rows) / sizeof(rows[0]), "help [WORD...]   ");
	helps(*state, "show", 5, "show config [json]   ");
	helps(*state, "show tunnel", 1, "show tunnel NAME [json]   ");
	helps(*state, "show tun", 2, "show tunnels [json]   ");
	helps(*state, "show tunnel pa", 1, "show tunnel NAME [json]   ");
	helps(*state, "show tunnel paris ", 1, "show tunnel NAME [json]   ");
	helps(*state, "bogus", 0, "");
	helps(*state, "bogus word", 0, "");
}

static void
test_numbers(void **state)
{
	static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x", "x1", "1x", "256",
			"0x100", "99999999999999999999999"};
	uint64_t v;
	uint8_t p;
	char buf[16];

	assert_true(gw_cmd_number("0", 255, &v) && v == 0);
	assert_true(gw_cmd_number("010", 255, &v) && v == 10);
	assert_true(gw_cmd_number("0xfF", 255, &v) && v == 255);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(gw_cmd_number(bad[i], 255, &v));
	assert_true(gw_cmd_proto("tcp", &p) && p == 6);
	assert_false(gw_cmd_proto("256", &p));
	assert_string_equal(gw_cmd_proto_text(17, buf), "udp");
	assert_string_equal(gw_cmd_proto_text(200, buf), "200");
}

/* Lines of random words and bytes: a refusal has a sentence, nothing crashes. */
static void
test_random(void **state)
{
	static const char *const words[] = {"show", "sa", "add", "tunnel", "paris", "in", "0x100",
			"any", "/k", "json", "\"", "#", "help", "\t", "s", "\xff", "10.0.0.1",
			"tcp"};
	struct gw_cmd c;

	srand(1);
	for (int i = 0; i < 50000; i++) {
		char line[256] = "";
		struct gw_text why = {0};
		struct gw_cmd_completion comp;
		int n = rand() % 12;

		for (int k = 0; k < n; k++) {
			strcat(line, words[rand() % 18]);
			strcat(line, rand() % 8 ? " " : "");
		}
		if (gw_cmd_parse(*state, line, &c, &why) == -EINVAL)
			assert_true(why.len > 0);
		gw_text_fini(&why);
		gw_cmd_complete(*state, line, &comp);
		gw_text_fini(&comp.choices);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_rows),
			cmocka_unit_test(test_row_comment),
			cmocka_unit_test(test_arguments),
			cmocka_unit_test(test_abbreviations),
			cmocka_unit_test(test_refusals),
			cmocka_unit_test(test_limits),
			cmocka_unit_test(test_no_names),
			cmocka_unit_test(test_bad_syntax),
			cmocka_unit_test(test_completion),
			cmocka_unit_test(test_help),
			cmocka_unit_test(test_numbers),
			cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
