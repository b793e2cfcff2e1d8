/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The key table: one row for each key of the configuration file. The parser,
 * the defaults and docs/config.md come from it. To add a key: a row here, a
 * field in config.h (or config_parse.h).
 */

#include <stddef.h>
#include <string.h>

#include "../options.h"
#include "config_parse.h"

/* clang-format off */

static const struct cfg_word drop_bypass[] = {
	{"drop", GW_ACTION_DROP},
	{"bypass", GW_ACTION_BYPASS},
	{NULL},
};

static const struct cfg_word actions[] = {
	{"tunnel", GW_ACTION_TUNNEL},
	{"bypass", GW_ACTION_BYPASS},
	{"drop", GW_ACTION_DROP},
	{NULL},
};

static const struct cfg_word dscp_copy[] = {
	{"copy", IPSEC_PCPU_DSCP_COPY},
	{NULL},
};

static const struct cfg_word df[] = {
	{"copy", IPSEC_PCPU_DF_COPY},
	{"set", IPSEC_PCPU_DF_SET},
	{"clear", IPSEC_PCPU_DF_CLEAR},
	{NULL},
};

static const struct cfg_word any_pcpu[] = {
	{"any", IPSEC_PCPU_ANY},
	{NULL},
};

static const struct cfg_word auto_port[] = {
	{"auto", CFG_SPORT_AUTO},
	{NULL},
};

static const struct cfg_word steerings[] = {
	{"auto", GW_STEER_AUTO},
	{"flow", GW_STEER_FLOW},
	{"tap", GW_STEER_TAP},
	{"rss", GW_STEER_RSS},
	{"soft", GW_STEER_SOFT},
	{NULL},
};

static const struct cfg_word numa[] = {
	{"warn", GW_NUMA_WARN},
	{"strict", GW_NUMA_STRICT},
	{NULL},
};

static const struct cfg_word protos[] = {
	{"any", 0},
	{"icmp", 1},
	{"tcp", 6},
	{"udp", 17},
	{"gre", 47},
	{"icmpv6", 58},
	{"icmp6", 58},
	{"ospf", 89},
	{"sctp", 132},
	{NULL},
};

#define FIELD(type, field) offsetof(struct type, field), sizeof(((struct type *)0)->field)
#define LIST(type, array, n, section) \
	offsetof(struct type, array), sizeof(((struct type *)0)->array), \
			offsetof(struct type, n), section
#define GROUP(type, field, section) FIELD(type, field), 0, section
#define WORDS(words) 0, 0, words

#define SELECTOR_KEYS(section, type, sel) \
	{section, "local", CFG_NET, 0, 0, CFG_NONE, \
		"the network on our side; left out: all of the other's family", \
		FIELD(type, sel local)}, \
	{section, "remote", CFG_NET, 0, 0, CFG_NONE, \
		"the network on the peer's side; left out: all of the other's family", \
		FIELD(type, sel remote)}, \
	{section, "proto", CFG_NUMBER, 0, 255, "any", "IP protocol", \
		FIELD(type, sel proto), WORDS(protos)}, \
	{section, "local_ports", CFG_PORTS, 0, 0, "any", \
		"ports on our side; TCP, UDP and SCTP only", \
		FIELD(type, sel local_ports)}, \
	{section, "remote_ports", CFG_PORTS, 0, 0, "any", \
		"ports on the peer's side; TCP, UDP and SCTP only", \
		FIELD(type, sel remote_ports)}

/* The same of a tunnel and of a pair of its SAs, but for the defaults. */
#define OPTION_KEYS(section, type, d_algo, d_esn, d_win, d_ttl, d_dscp, d_df, d_hard) \
	{section, "algo", CFG_ALGO, 0, 0, d_algo, "the algorithm, as strongSwan names it", \
		FIELD(type, opts.algo)}, \
	{section, "esn", CFG_BOOL, 0, 0, d_esn, \
		"64-bit sequence numbers (RFC 4303 2.2.1); the same at both ends", \
		FIELD(type, opts.esn)}, \
	{section, "replay_window", CFG_NUMBER, 0, IPSEC_PCPU_MAX_REPLAY_WINDOW, d_win, \
		"packets that may be late; a multiple of 64; 0: no replay protection", \
		FIELD(type, opts.replay_window)}, \
	{section, "ttl", CFG_NUMBER, 1, 255, d_ttl, "outer TTL or hop limit that we send with", \
		FIELD(type, opts.ttl)}, \
	{section, "dscp", CFG_NUMBER, 0, 63, d_dscp, \
		"DSCP of the outer header; \"copy\": the inner packet's", \
		FIELD(type, opts.dscp), WORDS(dscp_copy)}, \
	{section, "df", CFG_WORD, 0, 0, d_df, \
		"DF bit of the outer IPv4 header; \"copy\": the inner packet's", \
		FIELD(type, opts.df), WORDS(df)}, \
	{section, "hard_bytes", CFG_NUMBER, 0, INT64_MAX, d_hard, \
		"an SA stops after this many bytes of inner packets; 0: never", \
		FIELD(type, opts.hard_bytes)}, \
	{section, "hard_packets", CFG_NUMBER, 0, INT64_MAX, d_hard, \
		"an SA stops after this many packets; 0: never", \
		FIELD(type, opts.hard_packets)}

#define SIDE_KEYS(section) \
	{section, "spi", CFG_NUMBER, IPSEC_PCPU_MIN_SPI, UINT32_MAX, CFG_REQUIRED, \
		"security parameter index", \
		FIELD(raw_side, spi)}, \
	{section, "key", CFG_KEY, 0, 0, CFG_NONE, \
		"key, then salt; the file must not be readable by others", \
		FIELD(raw_side, key)}, \
	{section, "key_file", CFG_PATH, 0, 0, CFG_NONE, \
		"a file with the hex digits, instead of key; must not be readable by others", \
		FIELD(raw_side, key_file)}, \
	{section, "sport", CFG_NUMBER, 0, UINT16_MAX, "0", \
		section == CFG_OUT ? "UDP source port (RFC 3948), another one for each worker; 0 with dport 0: no UDP. " \
				     "\"auto\": we choose one of 49152 to 65535 that no other SA of the tunnel has, for the " \
				     "fallback SA 4500; with peer_rss: one that lands on the peer's queue pcpu modulo its " \
				     "queues. The same after a restart with the same file; dport left out is 4500 then" \
				   : "UDP source port, the peer's; any is accepted; 0: as dport", \
		FIELD(raw_side, sport), WORDS(section == CFG_OUT ? auto_port : NULL)}, \
	{section, "dport", CFG_NUMBER, 0, UINT16_MAX, "0", \
		section == CFG_OUT ? "UDP destination port, the peer's: 4500" \
				   : "UDP destination port, ours: 4500; 0: no UDP", \
		FIELD(raw_side, dport)}

const struct cfg_key cfg_keys[] = {
	{CFG_TOP, "workers", CFG_NUMBER, 0, GW_MAX_WORKERS, "0",
		"threads that move packets; 0: one for each EAL lcore but the main one",
		FIELD(raw_config, cfg.workers)},
	{CFG_TOP, "default", CFG_WORD, 0, 0, "drop",
		"what happens to a transit packet that no policy matches",
		FIELD(raw_config, cfg.default_action), WORDS(drop_bypass)},
	{CFG_TOP, "state_file", CFG_PATH, 0, 0, CFG_NONE,
		"where the sequence numbers in use are kept over a restart; needed with static "
		"keys, on a disk that survives a reboot. FILE.lock is made next to it and stays: "
		"by it a lost file is noticed",
		FIELD(raw_config, cfg.state_file)},
	{CFG_TOP, "allow_iv_reuse", CFG_BOOL, 0, 0, "false",
		"DANGEROUS, for tests only: start static SAs without a state file, or with one "
		"on tmpfs. Each restart sends the same IVs with the same keys again, and whoever records both can read "
		"and forge packets",
		FIELD(raw_config, cfg.allow_iv_reuse)},
	{CFG_TOP, "console", CFG_PATH, 0, 0, GW_DEFAULT_SOCKET,
		"the UNIX socket of the console; \"\": none",
		FIELD(raw_config, cfg.console_socket)},
	{CFG_TOP, "ike_socket", CFG_PATH, 0, 0, CFG_NONE,
		"the UNIX socket for IKE: strongSwan's charon with the plugin kernel-pcpu connects to it, "
		"and brings tunnels, policies and SAs",
		FIELD(raw_config, cfg.ike_socket)},
	{CFG_TOP, "ike_tunnels", CFG_NUMBER, 1, GW_MAX_TUNNELS, "1024",
		"tunnels that IKE may make, beside those of this file; there is room for them from the "
		"start where ike_socket is set",
		FIELD(raw_config, cfg.ike_tunnels)},
	{CFG_TOP, "metrics_listen", CFG_LISTEN, 0, 0, CFG_NONE,
		"where metrics for Prometheus are served, see docs/metrics.md: a port alone is that of "
		"127.0.0.1; anybody who can connect can read them",
		FIELD(raw_config, cfg.metrics_listen)},
	{CFG_TOP, "metrics_sas", CFG_BOOL, 0, 0, "true",
		"whether figures of each SA are among the metrics: 7 or 8 lines for each; false where "
		"there are too many for Prometheus",
		FIELD(raw_config, cfg.metrics_sas)},
	{CFG_TOP, "idle_sleep_us", CFG_NUMBER, 0, 100000, "100",
		"longest sleep of a worker without traffic, in microseconds; 0: never sleep",
		FIELD(raw_config, cfg.idle_sleep_us)},
	{CFG_TOP, "max_sas", CFG_NUMBER, 16, 1 << 20, "16384",
		"inbound SAs that there is room for",
		FIELD(raw_config, cfg.max_sas)},
	{CFG_TOP, "mbufs", CFG_NUMBER, 0, 1 << 24, "0",
		"packet buffers in the pool; 0: computed from ports and workers",
		FIELD(raw_config, cfg.mbufs)},
	{CFG_TOP, "icmp_rate", CFG_NUMBER, 0, 1000000, "100",
		"ICMP errors that each worker sends per second, at most",
		FIELD(raw_config, cfg.icmp_rate)},
	{CFG_TOP, "mss_clamp", CFG_BOOL, 0, 0, "false",
		"lower the MSS of TCP connections to what fits the tunnel",
		FIELD(raw_config, cfg.mss_clamp)},
	{CFG_TOP, "source_check", CFG_BOOL, 0, 0, "true",
		"drop clear packets whose source is not routed to the port that they came from: "
		"what is spoofed is not encrypted for the peer. false where routing is asymmetric",
		FIELD(raw_config, cfg.source_check)},
	{CFG_TOP, "numa", CFG_WORD, 0, 0, "warn",
		"where packets cross between NUMA nodes: \"warn\" logs it at start, \"strict\" "
		"does not start",
		FIELD(raw_config, cfg.numa), WORDS(numa)},
	{CFG_TOP, "ports", CFG_LIST, 0, 0, CFG_NONE, "the network devices",
		LIST(raw_config, cfg.ports, cfg.n_ports, CFG_PORT)},
	{CFG_TOP, "routes", CFG_LIST, 0, 0, CFG_NONE, "static routes, given to the kernel",
		LIST(raw_config, cfg.routes, cfg.n_routes, CFG_ROUTE)},
	{CFG_TOP, "tunnels", CFG_LIST, 0, 0, CFG_NONE, "the peers and their SAs",
		LIST(raw_config, tunnels, n_tunnels, CFG_TUNNEL)},
	{CFG_TOP, "policies", CFG_LIST, 0, 0, CFG_NONE,
		"looked at in their order, before the tunnels' selectors",
		LIST(raw_config, cfg.policies, cfg.n_policies, CFG_POLICY)},

	{CFG_PORT, "name", CFG_NAME, 0, 0, CFG_REQUIRED,
		"how the console and the kernel's interface call it",
		FIELD(gw_config_port, name)},
	{CFG_PORT, "device", CFG_STRING, 0, 0, CFG_REQUIRED,
		"PCI address, or a virtual device with its arguments: \"net_tap0,iface=lan\"",
		FIELD(gw_config_port, device)},
	{CFG_PORT, "addresses", CFG_PORT_ADDRS, 0, 0, CFG_NONE,
		"our addresses on it, each with its network's length",
		FIELD(gw_config_port, addresses)},
	{CFG_PORT, "mtu", CFG_NUMBER, 576, 9600, "1500", "bytes of the largest IP packet",
		FIELD(gw_config_port, mtu)},
	{CFG_PORT, "promisc", CFG_BOOL, 0, 0, "false", "receive frames for other MAC addresses",
		FIELD(gw_config_port, promisc)},
	{CFG_PORT, "rx_desc", CFG_NUMBER, 64, 32768, "1024", "receive descriptors per queue",
		FIELD(gw_config_port, rx_desc)},
	{CFG_PORT, "tx_desc", CFG_NUMBER, 64, 32768, "1024", "transmit descriptors per queue",
		FIELD(gw_config_port, tx_desc)},
	{CFG_PORT, "steering", CFG_WORD, 0, 0, "auto",
		"how the NIC brings an SA's packets to the worker that owns it: \"flow\" a rule for "
		"each SPI, \"tap\" a program on a TAP, \"rss\" UDP ports and redirection table, "
		"\"soft\" not at all: workers hand them over, as they do whenever the others fail. "
		"\"auto\": the first of these that the port can do",
		FIELD(gw_config_port, steering), WORDS(steerings)},

	{CFG_ROUTE, "to", CFG_NET, 0, 0, CFG_REQUIRED, "the destination: \"0.0.0.0/0\"",
		FIELD(gw_config_route, to)},
	{CFG_ROUTE, "via", CFG_ADDR, 0, 0, CFG_NONE, "the next hop; left out: on link",
		FIELD(gw_config_route, via)},
	{CFG_ROUTE, "port", CFG_NAME, 0, 0, CFG_NONE,
		"the port's name; left out: the one with a network that via is in",
		FIELD(gw_config_route, port)},

	{CFG_TUNNEL, "name", CFG_NAME, 0, 0, CFG_REQUIRED, "how the console calls it",
		FIELD(raw_tunnel, t.name)},
	{CFG_TUNNEL, "local", CFG_ADDR, 0, 0, CFG_REQUIRED,
		"our outer address: one of a port",
		FIELD(raw_tunnel, t.local)},
	{CFG_TUNNEL, "remote", CFG_ADDR, 0, 0, CFG_REQUIRED, "the peer's outer address",
		FIELD(raw_tunnel, t.remote)},
	{CFG_TUNNEL, "up", CFG_BOOL, 0, 0, "true",
		"false: starts administratively down; what it protects is dropped",
		FIELD(raw_tunnel, t.up)},
	OPTION_KEYS(CFG_TUNNEL, raw_tunnel, "aes128gcm16", "true", "1024", "64", "copy", "copy",
			"0"),
	{CFG_TUNNEL, "selectors", CFG_LIST, 0, 0, CFG_NONE, "which packets it is for",
		LIST(raw_tunnel, t.selectors, t.n_selectors, CFG_SELECTOR)},
	{CFG_TUNNEL, "sas", CFG_LIST, 0, 0, CFG_NONE,
		"pairs of SAs with static keys: one per CPU, and one with pcpu \"any\"",
		LIST(raw_tunnel, pairs, n_pairs, CFG_PAIR)},

	{CFG_TUNNEL, "peer_rss", CFG_GROUP, 0, 0, CFG_NONE,
		"how the peer's NIC spreads what we send, where it is known",
		GROUP(raw_tunnel, t.peer_rss, CFG_PEER_RSS)},

	SELECTOR_KEYS(CFG_SELECTOR, gw_selector, ),

	{CFG_PAIR, "pcpu", CFG_NUMBER, 0, UINT16_MAX, "any",
		"the worker that the pair is for; \"any\": the fallback pair. Numbers are local: "
		"both ends may count differently, and a number may be above the workers",
		FIELD(raw_pair, pcpu), WORDS(any_pcpu)},
	{CFG_PAIR, "out", CFG_GROUP, 0, 0, CFG_NONE, "the SA that we send on",
		GROUP(raw_pair, out, CFG_OUT)},
	{CFG_PAIR, "in", CFG_GROUP, 0, 0, CFG_NONE, "the SA that we receive on",
		GROUP(raw_pair, in, CFG_IN)},
	OPTION_KEYS(CFG_PAIR, raw_pair, CFG_INHERIT, CFG_INHERIT, CFG_INHERIT, CFG_INHERIT,
			CFG_INHERIT, CFG_INHERIT, CFG_INHERIT),

	SIDE_KEYS(CFG_OUT),
	SIDE_KEYS(CFG_IN),

	{CFG_PEER_RSS, "key", CFG_RSS_KEY, 0, 0, "ours",
		"its RSS key, as \"ethtool -x DEV\" prints it on Linux or without the colons, of a longer "
		"one the first 40 bytes; \"ours\": the key that this gateway gives to "
		"its NICs, so the peer is one like it. As any key, hex digits want a file that others "
		"cannot read",
		FIELD(gw_config_peer_rss, rss.key)},
	{CFG_PEER_RSS, "reta_size", CFG_NUMBER, 2, IPSEC_PCPU_MAX_RETA, "128",
		"entries of its redirection table, a power of 2; entry i is taken to be queue i modulo "
		"queues, as drivers fill it",
		FIELD(gw_config_peer_rss, rss.reta_size)},
	{CFG_PEER_RSS, "queues", CFG_NUMBER, 1, IPSEC_PCPU_MAX_RETA, CFG_REQUIRED,
		"its receive queues: of a gateway like this one, its workers",
		FIELD(gw_config_peer_rss, rss.n_queues)},

	{CFG_POLICY, "action", CFG_WORD, 0, 0, CFG_REQUIRED, "what happens to the packet",
		FIELD(gw_config_policy, action), WORDS(actions)},
	{CFG_POLICY, "tunnel", CFG_NAME, 0, 0, CFG_NONE, "its name, with action \"tunnel\"",
		FIELD(gw_config_policy, tunnel)},
	SELECTOR_KEYS(CFG_POLICY, gw_config_policy, sel.),
};

const unsigned int cfg_n_keys = RTE_DIM(cfg_keys);

#define WHERE(type, file, line) offsetof(struct type, file), offsetof(struct type, line)

const struct cfg_section_info cfg_sections[CFG_N_SECTIONS] = {
	[CFG_TOP] = {"", "The gateway", "Keys outside of any group.", NULL,
		sizeof(struct raw_config), CFG_NO_OFFSET, CFG_NO_OFFSET},
	[CFG_PORT] = {"ports[]", "Ports", "`ports = ( { ... }, { ... } );`", "port",
		sizeof(struct gw_config_port), WHERE(gw_config_port, file, line)},
	[CFG_ROUTE] = {"routes[]", "Routes", "`routes = ( { ... } );`", NULL,
		sizeof(struct gw_config_route), WHERE(gw_config_route, file, line)},
	[CFG_TUNNEL] = {"tunnels[]", "Tunnels", "`tunnels = ( { ... } );`", "tunnel",
		sizeof(struct raw_tunnel), WHERE(raw_tunnel, t.file, t.line),
		.done = cfg_done_tunnel},
	[CFG_SELECTOR] = {"tunnels[].selectors[]", "Selectors of a tunnel",
		"Which packets a tunnel is for: outbound from local to remote, inbound from "
		"remote to local. At least one of `local` and `remote` is needed. What another "
		"tunnel has before is refused, unless a policy names this one.", NULL,
		sizeof(struct gw_selector), CFG_NO_OFFSET, CFG_NO_OFFSET,
		.done = cfg_done_selector},
	[CFG_PAIR] = {"tunnels[].sas[]", "SAs of a tunnel",
		"A pair of SAs; either may be left out; both in UDP, or neither. The options of "
		"the tunnel are its defaults. Of two outbound SAs for one worker the last is "
		"used.", NULL,
		sizeof(struct raw_pair), WHERE(raw_pair, where.file, where.line),
		.init = cfg_init_pair, .done = cfg_done_pair},
	[CFG_OUT] = {"tunnels[].sas[].out", "Outbound SA",
		"Either `key` or `key_file`. No key is used twice, in whatever direction.", NULL,
		sizeof(struct raw_side), WHERE(raw_side, where.file, where.line),
		.done = cfg_done_side},
	[CFG_IN] = {"tunnels[].sas[].in", "Inbound SA",
		"Ports are those of a packet as it arrives.", NULL,
		sizeof(struct raw_side), WHERE(raw_side, where.file, where.line),
		.done = cfg_done_side},
	[CFG_PEER_RSS] = {"tunnels[].peer_rss", "The peer's RSS",
		"`peer_rss = { queues = 16; };` With it source ports are chosen (`sport = \"auto\"`) and "
		"the peer's queue is told (`explain`). It holds for UDP, and where no NAT changes the "
		"packets' addresses or ports on their way.", NULL,
		sizeof(struct gw_config_peer_rss), WHERE(gw_config_peer_rss, file, line),
		.done = cfg_done_peer_rss},
	[CFG_POLICY] = {"policies[]", "Policies",
		"Looked at in their order, before the selectors of the tunnels. At least one of "
		"`local` and `remote` is needed.", NULL,
		sizeof(struct gw_config_policy), WHERE(gw_config_policy, file, line),
		.done = cfg_done_policy},
};
