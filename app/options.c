/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "front/peer_commands.h"
#include "options.h"

enum {
	OPT_CHECK = 256,
	OPT_ATTACH,
	OPT_SOCKET,
	OPT_MAKE_TUNNEL,
	OPT_NAME,
	OPT_LOCAL,
	OPT_REMOTE,
	OPT_LOCAL_NET,
	OPT_REMOTE_NET,
	OPT_PAIRS,
	OPT_ALGO,
	OPT_NO_ESN,
	OPT_PLAIN,
	OPT_REPLAY_WINDOW,
	OPT_OUT_DIR,
	OPT_PEER_COMMANDS,
	OPT_CPUS,
	OPT_WITH_KEYS,
	OPT_CONFIG_DOC,
	OPT_CONSOLE_DOC,
	OPT_COUNTERS_DOC,
	OPT_METRICS_DOC,
	OPT_PRINT_ENA_DEVARGS,
};

/* clang-format off */
static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"interactive", no_argument, NULL, 'i'},
	{"check", no_argument, NULL, OPT_CHECK},
	{"attach", no_argument, NULL, OPT_ATTACH},
	{"socket", required_argument, NULL, OPT_SOCKET},
	{"execute", required_argument, NULL, 'e'},
	{"make-tunnel", no_argument, NULL, OPT_MAKE_TUNNEL},
	{"name", required_argument, NULL, OPT_NAME},
	{"local", required_argument, NULL, OPT_LOCAL},
	{"remote", required_argument, NULL, OPT_REMOTE},
	{"local-net", required_argument, NULL, OPT_LOCAL_NET},
	{"remote-net", required_argument, NULL, OPT_REMOTE_NET},
	{"pairs", required_argument, NULL, OPT_PAIRS},
	{"algo", required_argument, NULL, OPT_ALGO},
	{"no-esn", no_argument, NULL, OPT_NO_ESN},
	{"plain", no_argument, NULL, OPT_PLAIN},
	{"replay-window", required_argument, NULL, OPT_REPLAY_WINDOW},
	{"out-dir", required_argument, NULL, OPT_OUT_DIR},
	{"peer-commands", no_argument, NULL, OPT_PEER_COMMANDS},
	{"cpus", required_argument, NULL, OPT_CPUS},
	{"with-keys", no_argument, NULL, OPT_WITH_KEYS},
	{"config-doc", no_argument, NULL, OPT_CONFIG_DOC},
	{"console-doc", no_argument, NULL, OPT_CONSOLE_DOC},
	{"counters-doc", no_argument, NULL, OPT_COUNTERS_DOC},
	{"metrics-doc", no_argument, NULL, OPT_METRICS_DOC},
	{"print-ena-devargs", no_argument, NULL, OPT_PRINT_ENA_DEVARGS},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL},
};
/* clang-format on */

static const char help[] =
		"usage: dpdk-pcpu-gw [EAL options] -- -c FILE [-i] [--check]\n"
		"       dpdk-pcpu-gw --attach [--socket PATH] [-e COMMAND]...\n"
		"       dpdk-pcpu-gw --make-tunnel --name NAME --local ADDR --remote ADDR\n"
		"                    --local-net NET --remote-net NET [options below]\n"
		"       dpdk-pcpu-gw --peer-commands -c FILE [--name NAME] [--cpus N] [--with-keys]\n"
		"\n"
		"An IPsec gateway with one SA per CPU (RFC 9611).\n"
		"\n"
		"Run:\n"
		"  -c, --config FILE     the configuration; see docs/config.md\n"
		"  -i, --interactive     console on this terminal\n"
		"      --check           say what is wrong with the configuration; touch nothing\n"
		"\n"
		"Talk to a running gateway:\n"
		"      --attach          its console\n"
		"      --socket PATH     its socket; default " GW_DEFAULT_SOCKET "\n"
		"  -e, --execute COMMAND run this and leave; may be given several times\n"
		"\n"
		"Make a tunnel with fresh random keys and SPIs, printed for both ends:\n"
		"      --make-tunnel\n"
		"      --name NAME       of the tunnel, 15 characters at most\n"
		"      --local ADDR      outer address of the first end (a)\n"
		"      --remote ADDR     outer address of the second end (b)\n"
		"      --local-net NET   network behind a: 10.1.0.0/16\n"
		"      --remote-net NET  network behind b\n"
		"      --pairs N         pairs of per-CPU SAs, one fallback pair comes on top;\n"
		"                        default 4\n"
		"      --algo NAME       default aes128gcm16\n"
		"      --replay-window N packets; default 1024\n"
		"      --no-esn          32-bit sequence numbers\n"
		"      --plain           ESP without UDP\n"
		"      --out-dir DIR     write DIR/NAME-a.conf and DIR/NAME-b.conf, mode 0600,\n"
		"                        instead of printing\n"
		"\n"
		"Print a sh script that makes a Linux machine the other end of a tunnel:\n"
		"      --peer-commands   of the configuration -c FILE\n"
		"      --name NAME       of the tunnel, if there are several\n"
		"      --cpus N          of the Linux machine, where it has fewer than there are SAs\n"
		"      --with-keys       with the keys in it; else it asks for them\n"
		"\n"
		"Amazon's ENA:\n"
		"      --print-ena-devargs\n"
		"                        what to append to -a or device = \"...\", for this DPDK\n"
		"\n"
		"Documents, from the tables the program itself uses:\n"
		"      --config-doc --console-doc --counters-doc --metrics-doc\n"
		"\n"
		"  -h, --help            this text\n"
		"  -V, --version\n"
		"\n"
		"EAL options (cores, memory, devices) come before \"--\"; without \"--\" all are\n"
		"the gateway's. Example:\n"
		"  dpdk-pcpu-gw -l 0-4 -a 0000:00:06.0 -a 0000:00:07.0 -- -c gw.conf\n";

void
gw_options_help(FILE *out)
{
	fputs(help, out);
}

static int
refuse(struct gw_error *err, const char *what, const char *value, const char *wants)
{
	gw_error_set(err, NULL, 0, "%s \"%.80s\": %s", what, value, wants);
	return -EINVAL;
}

static int
parse_number(const char *what, const char *text, unsigned long max, unsigned int *n,
		struct gw_error *err)
{
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || v > max) {
		gw_error_set(err, NULL, 0, "%s is 0 to %lu, not \"%.80s\"", what, max, text);
		return -EINVAL;
	}
	*n = v;
	return 0;
}

static int
parse_name(const char *text, char *name, struct gw_error *err)
{
	size_t n = strspn(
			text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	if (n == 0 || n >= GW_NAME_LEN || text[n] != '\0' || *text == '-' || *text == '.')
		return refuse(err, "--name", text, "1 to 15 letters, digits, \"_\", \".\", \"-\"");
	memcpy(name, text, n + 1);
	return 0;
}

static int
parse_addr(const char *what, const char *text, struct gw_addr *addr, struct gw_error *err)
{
	if (gw_addr_parse(text, addr) != 0)
		return refuse(err, what, text, "not an IPv4 or IPv6 address");
	return 0;
}

static int
parse_net(const char *what, const char *text, struct gw_prefix *net, struct gw_error *err)
{
	if (gw_prefix_parse(text, net) != 0)
		return refuse(err, what, text, "not a network like 10.1.0.0/16");
	gw_prefix_mask(net);
	return 0;
}

static int
parse_algo(const char *text, struct gw_make_tunnel *mt, struct gw_error *err)
{
	mt->algo = ipsec_pcpu_algo_find(text);
	return mt->algo != NULL ? 0 : refuse(err, "--algo", text, "no such algorithm");
}

/* An option of --make-tunnel; 1: it is none. */
static int
make_tunnel_option(int c, const char *arg, struct gw_options *opt, struct gw_error *err)
{
	struct gw_make_tunnel *mt = &opt->make_tunnel;

	switch (c) {
	case OPT_NAME:
		return parse_name(arg, mt->name, err);
	case OPT_LOCAL:
		return parse_addr("--local", arg, &mt->a, err);
	case OPT_REMOTE:
		return parse_addr("--remote", arg, &mt->b, err);
	case OPT_LOCAL_NET:
		return parse_net("--local-net", arg, &mt->a_net, err);
	case OPT_REMOTE_NET:
		return parse_net("--remote-net", arg, &mt->b_net, err);
	case OPT_PAIRS:
		return parse_number("--pairs", arg, GW_MAX_MAKE_PAIRS, &mt->pairs, err);
	case OPT_ALGO:
		return parse_algo(arg, mt, err);
	case OPT_REPLAY_WINDOW:
		return parse_number("--replay-window", arg, IPSEC_PCPU_MAX_REPLAY_WINDOW,
				&mt->replay_window, err);
	case OPT_NO_ESN:
		mt->esn = false;
		return 0;
	case OPT_PLAIN:
		mt->encap = false;
		return 0;
	case OPT_OUT_DIR:
		opt->out_dir = arg;
		return 0;
	default:
		return 1;
	}
}

/* What an option makes of the mode; GW_MODE_RUN: nothing. */
static enum gw_mode
option_mode(int c)
{
	switch (c) {
	case OPT_CHECK:
		return GW_MODE_CHECK;
	case OPT_ATTACH:
		return GW_MODE_ATTACH;
	case OPT_MAKE_TUNNEL:
		return GW_MODE_MAKE_TUNNEL;
	case OPT_PEER_COMMANDS:
		return GW_MODE_PEER_COMMANDS;
	case OPT_CONFIG_DOC:
		return GW_MODE_CONFIG_DOC;
	case OPT_CONSOLE_DOC:
		return GW_MODE_CONSOLE_DOC;
	case OPT_COUNTERS_DOC:
		return GW_MODE_COUNTERS_DOC;
	case OPT_METRICS_DOC:
		return GW_MODE_METRICS_DOC;
	case OPT_PRINT_ENA_DEVARGS:
		return GW_MODE_ENA_DEVARGS;
	case 'h':
		return GW_MODE_HELP;
	case 'V':
		return GW_MODE_VERSION;
	default:
		return GW_MODE_RUN;
	}
}

static int
set_mode(struct gw_options *opt, enum gw_mode mode, struct gw_error *err)
{
	if (opt->mode != GW_MODE_RUN && opt->mode != mode && mode != GW_MODE_HELP) {
		gw_error_set(err, NULL, 0,
				"two of --check, --attach, --make-tunnel and the like: "
				"only one thing at a time");
		return -EINVAL;
	}
	opt->mode = mode;
	return 0;
}

static int
add_command(struct gw_options *opt, const char *command, struct gw_error *err)
{
	const char **list = (const char **)(uintptr_t)opt->commands;
	unsigned int n = 0;

	while (list != NULL && list[n] != NULL)
		n++;
	list = realloc(list, (n + 2) * sizeof(list[0]));
	if (list == NULL) {
		gw_error_set(err, NULL, 0, "out of memory");
		return -ENOMEM;
	}
	list[n] = command;
	list[n + 1] = NULL;
	opt->commands = list;
	return 0;
}

static int
bad_option(int c, char **argv, struct gw_error *err)
{
	if (c == ':')
		gw_error_set(err, NULL, 0, "option %.80s wants a value", argv[optind - 1]);
	else if (optopt != 0 && optopt < 256)
		gw_error_set(err, NULL, 0,
				"unknown option -%c; EAL options come before \"--\"; "
				"--help lists ours",
				optopt);
	else
		gw_error_set(err, NULL, 0,
				"unknown option %.80s; EAL options come before \"--\"; "
				"--help lists ours",
				argv[optind - 1]);
	return -EINVAL;
}

static int
parse_option(int c, char **argv, struct gw_options *opt, struct gw_error *err)
{
	int rc;

	switch (c) {
	case 'c':
		opt->config_file = optarg;
		return 0;
	case 'i':
		opt->interactive = true;
		return 0;
	case 'e':
		return add_command(opt, optarg, err);
	case OPT_SOCKET:
		opt->socket = optarg;
		return 0;
	case OPT_CPUS:
		rc = parse_number("--cpus", optarg, GW_PEER_MAX_CPUS, &opt->cpus, err);
		if (rc == 0 && opt->cpus == 0)
			rc = refuse(err, "--cpus", optarg, "1 to 65536");
		return rc;
	case OPT_WITH_KEYS:
		opt->with_keys = true;
		return 0;
	case '?':
	case ':':
		return bad_option(c, argv, err);
	default:
		rc = make_tunnel_option(c, optarg, opt, err);
		return rc == 1 ? set_mode(opt, option_mode(c), err) : rc;
	}
}

/* What of --make-tunnel's options is missing or does not go together; NULL: nothing. */
static const char *
make_tunnel_problem(const struct gw_make_tunnel *mt)
{
	if (mt->name[0] == '\0')
		return "--make-tunnel wants --name";
	if (mt->a.family == 0 || mt->b.family == 0)
		return "--make-tunnel wants --local and --remote, the ends' outer addresses";
	if (mt->a.family != mt->b.family)
		return "--local and --remote are not of the same family";
	if (gw_addr_equal(&mt->a, &mt->b))
		return "--local and --remote are the same address";
	if (mt->a_net.addr.family == 0 || mt->b_net.addr.family == 0)
		return "--make-tunnel wants --local-net and --remote-net, what is behind them";
	if (mt->a_net.addr.family != mt->b_net.addr.family)
		return "--local-net and --remote-net are not of the same family";
	if (mt->replay_window % 64 != 0)
		return "--replay-window is a multiple of 64";
	return NULL;
}

/* What of the options does not go with the mode; NULL: nothing. */
static const char *
mode_problem(const struct gw_options *opt)
{
	const struct gw_make_tunnel *mt = &opt->make_tunnel;
	bool reads = opt->mode == GW_MODE_RUN || opt->mode == GW_MODE_CHECK ||
			opt->mode == GW_MODE_PEER_COMMANDS;
	bool named = opt->mode == GW_MODE_MAKE_TUNNEL || opt->mode == GW_MODE_PEER_COMMANDS;

	if (opt->mode == GW_MODE_MAKE_TUNNEL && make_tunnel_problem(mt) != NULL)
		return make_tunnel_problem(mt);
	if (opt->mode != GW_MODE_MAKE_TUNNEL && (mt->a.family != 0 || opt->out_dir != NULL))
		return "--name, --local, --out-dir and the like go with --make-tunnel";
	if (!named && mt->name[0] != '\0')
		return "--name, --local, --out-dir and the like go with --make-tunnel";
	if (opt->mode != GW_MODE_PEER_COMMANDS && (opt->cpus != 0 || opt->with_keys))
		return "--cpus and --with-keys go with --peer-commands";
	if (reads && opt->config_file == NULL)
		return "no configuration: -c FILE; --help shows all options";
	if (opt->mode != GW_MODE_ATTACH && (opt->commands != NULL || opt->socket != NULL))
		return "-e and --socket go with --attach";
	return NULL;
}

static int
check(const struct gw_options *opt, struct gw_error *err)
{
	const char *problem;

	if (opt->mode == GW_MODE_HELP || opt->mode == GW_MODE_VERSION)
		return 0;
	problem = mode_problem(opt);
	if (problem == NULL)
		return 0;
	gw_error_set(err, NULL, 0, "%s", problem);
	return -EINVAL;
}

/* The index of "--", or 0. */
static int
find_dashes(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--") == 0)
			return i;
	return 0;
}

int
gw_options_parse(int argc, char **argv, struct gw_options *opt, struct gw_error *err)
{
	int dashes = find_dashes(argc, argv), rc = 0, c;

	memset(opt, 0, sizeof(*opt));
	opt->make_tunnel.pairs = 4;
	opt->make_tunnel.algo = ipsec_pcpu_algo_find("aes128gcm16");
	opt->make_tunnel.esn = true;
	opt->make_tunnel.encap = true;
	opt->make_tunnel.replay_window = 1024;
	opt->eal_argc = dashes > 0 ? dashes : 1;
	argc -= dashes;
	argv += dashes;
	optind = 0; /* start anew: EAL uses getopt as well */
	opterr = 0;
	while (rc == 0 && (c = getopt_long(argc, argv, ":c:ie:hV", long_options, NULL)) != -1)
		rc = parse_option(c, argv, opt, err);
	if (rc == 0 && optind < argc)
		rc = refuse(err, "argument", argv[optind],
				"not expected here; --help shows all options");
	if (rc == 0)
		rc = check(opt, err);
	if (rc != 0)
		gw_options_free(opt);
	return rc;
}

void
gw_options_free(struct gw_options *opt)
{
	free((void *)(uintptr_t)opt->commands);
	opt->commands = NULL;
}
