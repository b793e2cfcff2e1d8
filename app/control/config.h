/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef CONFIG_H
#define CONFIG_H

/*
 * The configuration file as a plain struct, and the check of it. Pure: no EAL,
 * no device is touched. Text -> struct gw_config -> check -> (control.c) apply.
 * Key material lives in struct ipsec_pcpu_sa_params only; gw_config_free()
 * wipes it.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <ipsec_pcpu.h>
#include <ipsec_pcpu_steer.h>

#include "../addr.h"
#include "../gw_limits.h"

/** What a policy says of a packet that it matches. */
enum gw_action {
	GW_ACTION_DROP,
	GW_ACTION_BYPASS,
	GW_ACTION_TUNNEL,
};

/** Both bounds included; 0 to 65535 is any, and the only range with 0 in it. */
struct gw_port_range {
	uint16_t min;
	uint16_t max;
};

/** Which packets: outbound, from local to remote. Inbound packets match it reversed. */
struct gw_selector {
	struct gw_prefix local; /* masked */
	struct gw_prefix remote; /* of the same family; masked */
	uint8_t proto; /* 0: any */
	struct gw_port_range local_ports;
	struct gw_port_range remote_ports;
};

/** How inbound SAs get to the queue of their owner; see ../steer/steer.h. */
enum gw_steer_want {
	GW_STEER_AUTO, /* the best that the port can do */
	GW_STEER_FLOW,
	GW_STEER_TAP,
	GW_STEER_RSS,
	GW_STEER_SOFT,
};

/** What is done where packets cross between NUMA nodes. */
enum gw_numa_want {
	GW_NUMA_WARN,
	GW_NUMA_STRICT, /* the gateway does not start */
};

struct gw_config_port {
	char name[GW_NAME_LEN]; /* of the kernel's TAP for it too, so at most 15 bytes */
	char *device; /* an ethdev's name, or devargs to probe: "net_tap0,iface=lan" */
	struct gw_prefix addresses[GW_MAX_PORT_ADDRS];
	unsigned int n_addresses;
	uint16_t mtu;
	bool promisc;
	uint16_t rx_desc; /* descriptors per queue */
	uint16_t tx_desc;
	enum gw_steer_want steering;
	const char *file; /* where it was said, one of gw_config.files; NULL: not in a file */
	unsigned int line; /* in that file; 0: not from a file */
};

struct gw_config_route {
	struct gw_prefix to; /* masked */
	struct gw_addr via; /* family 0: on link */
	char port[GW_NAME_LEN]; /* "": found by via */
	const char *file;
	unsigned int line;
};

struct gw_config_sa {
	struct ipsec_pcpu_sa_params prm; /* saddr, daddr filled from the tunnel */
	bool auto_sport; /* prm.encap_sport was chosen by us */
	const char *file;
	unsigned int line;
};

/** How the peer's NIC spreads what we send to it. */
struct gw_config_peer_rss {
	struct ipsec_pcpu_rss rss; /* n_queues 0: not known; reta NULL: as drivers fill it */
	const char *file;
	unsigned int line;
};

struct gw_config_tunnel {
	char name[GW_NAME_LEN];
	struct gw_addr local; /* outer addresses */
	struct gw_addr remote;
	struct gw_selector *selectors;
	unsigned int n_selectors;
	struct gw_config_sa *sas; /* both directions, in the order of the file */
	unsigned int n_sas;
	bool up; /* false: starts administratively down */
	bool auto_sports; /* some SA's source port was to be chosen by us: so are later ones */
	struct gw_config_peer_rss peer_rss;
	const char *file;
	unsigned int line;
};

/** Looked at in this order: the file's "policies", then the tunnels' selectors, as in the file. */
struct gw_config_policy {
	struct gw_selector sel;
	enum gw_action action;
	char tunnel[GW_NAME_LEN]; /* where action is GW_ACTION_TUNNEL */
	const char *file;
	unsigned int line;
};

struct gw_config {
	const char *file; /* its name, for messages: files[0]; NULL: none */
	char **files; /* names of that file and of those it includes */
	unsigned int n_files;
	unsigned int workers; /* 0: one per EAL worker lcore */
	enum gw_action default_action; /* GW_ACTION_DROP or GW_ACTION_BYPASS */
	char *state_file; /* NULL: none */
	bool allow_iv_reuse;
	char *console_socket; /* path; NULL: no socket */
	char *ike_socket; /* path, for charon; NULL: none */
	unsigned int ike_tunnels; /* that IKE may make */
	struct gw_listen metrics_listen; /* family 0: no metrics */
	bool metrics_sas; /* figures of each SA among them */
	unsigned int idle_sleep_us; /* longest sleep of a worker without traffic; 0: never sleep */
	unsigned int max_sas; /* inbound SAs that each worker's SAD has room for */
	unsigned int mbufs; /* of the pool; 0: computed from ports and workers */
	unsigned int icmp_rate; /* ICMP errors per second and worker */
	bool source_check; /* clear packets: their source is to be routed to the port (RFC 3704) */
	enum gw_numa_want numa;
	bool mss_clamp; /* lower the MSS of TCP SYNs to what fits the tunnel */

	struct gw_config_port *ports;
	unsigned int n_ports;
	struct gw_config_route *routes;
	unsigned int n_routes;
	struct gw_config_tunnel *tunnels;
	unsigned int n_tunnels;
	struct gw_config_policy *policies;
	unsigned int n_policies;
};

/**
 * A refusal: "gw.conf:14: tunnel "paris": key is 19 bytes, aes128gcm16 wants
 * 20 (16 key + 4 salt)". Never holds key material.
 */
struct gw_error {
	char text[512];
};

/** Write a sentence into @p err, after "file:line: " if line > 0 and file is not NULL. */
void gw_error_set(struct gw_error *err, const char *file, unsigned int line, const char *fmt, ...)
		__attribute__((format(printf, 4, 5)));

/**
 * Read and check a file.
 *
 * @param path
 *   The file; refused if it holds keys and others can read it.
 * @param cfg
 *   Filled where 0 is returned; to be freed with gw_config_free().
 * @return
 *   0, or a negative errno value and @p err set; nothing to free then.
 */
int gw_config_load(const char *path, struct gw_config *cfg, struct gw_error *err);

/** The same while the gateway runs, which waits for nothing: regular files only, no pipe. */
int gw_config_load_again(const char *path, struct gw_config *cfg, struct gw_error *err);

/** The same from text, for tests and fuzzing; @p name stands for the file in messages. */
int gw_config_parse(
		const char *text, const char *name, struct gw_config *cfg, struct gw_error *err);

/**
 * Check what a struct says as a whole (names unique, SPIs unique, no key used
 * twice, families agree, ...). Part of gw_config_load(); also used on changes
 * from the console.
 */
int gw_config_check(const struct gw_config *cfg, struct gw_error *err);

/** An order, for sorting: by addresses first; 0: they are the same. */
int gw_selector_compare(const struct gw_selector *a, const struct gw_selector *b);

/** Check one more SA for a tunnel against all of @p cfg: the console's and IKE's way in. */
int gw_config_check_sa(const struct gw_config *cfg, const struct gw_config_tunnel *tunnel,
		const struct gw_config_sa *sa, struct gw_error *err);

/**
 * Are these outbound per-CPU SAs of one tunnel with the same UDP ports, so that
 * the peer cannot tell them apart (R15)? A successor keeps those of its
 * predecessor (R5), and the fallback SA may share.
 */
bool gw_config_same_ports(
		const struct ipsec_pcpu_sa_params *a, const struct ipsec_pcpu_sa_params *b);

/** Source ports of per-CPU SAs (R15): the dynamic ports. */
#define GW_MIN_AUTO_SPORT 49152
#define GW_MAX_AUTO_SPORT 65535
#define GW_ESP_PORT 4500

/** A set of UDP ports. Zeroed: empty. */
struct gw_port_set {
	uint64_t bits[(UINT16_MAX + 1) / 64];
};

void gw_port_set_add(struct gw_port_set *set, uint16_t port);

/**
 * Choose the source port of an outbound SA: none of those @p taken, for the SA of pcpu p one
 * that lands on the peer's queue p modulo its queues where that is known. It begins at a hash
 * of the SPI, so that a restart chooses alike. The fallback SA gets 4500.
 *
 * @param sa
 *   All is set but prm.encap_sport, which is set on 0.
 * @return
 *   0, or -ENOSPC and @p err set: there is none.
 */
int gw_config_choose_sport(const struct gw_config_tunnel *t, const struct gw_port_set *taken,
		struct gw_config_sa *sa, struct gw_error *err);

/** The queue of the peer's NIC that an outbound SA's packets land on. False: not known. */
bool gw_config_peer_queue(const struct gw_config_tunnel *t, const struct ipsec_pcpu_sa_params *prm,
		uint16_t *queue);

/** The tunnel of this name; NULL: none. */
const struct gw_config_tunnel *gw_config_tunnel_find(const struct gw_config *cfg, const char *name);

/** Key material from a file: hex digits, white space ignored. Refused if others can read it. */
int gw_config_read_key(const char *path, const struct ipsec_pcpu_algo *algo, uint8_t *key,
		struct gw_error *err);

/** Free all, wipe keys; @p cfg is zeroed. */
void gw_config_free(struct gw_config *cfg);

/** docs/config.md from the key table, to @p out. */
void gw_config_doc(FILE *out);

#define GW_MAX_MAKE_PAIRS 256

/** Options of --make-tunnel; see options.h for their syntax. */
struct gw_make_tunnel {
	char name[GW_NAME_LEN];
	struct gw_addr a, b; /* outer addresses of the two ends */
	struct gw_prefix a_net, b_net; /* what is behind them */
	unsigned int pairs; /* per-CPU, to GW_MAX_MAKE_PAIRS; one fallback pair comes on top */
	const struct ipsec_pcpu_algo *algo;
	bool esn;
	bool encap;
	uint32_t replay_window;
};

/**
 * Print two matching "tunnels" fragments with fresh random keys and SPIs, the
 * first for end a, the second for end b, to @p a_out and @p b_out (may be
 * the same).
 */
int gw_config_make_tunnel(
		const struct gw_make_tunnel *mt, FILE *a_out, FILE *b_out, struct gw_error *err);

/**
 * The same into the files DIR/NAME-a.conf and DIR/NAME-b.conf, mode 0600, which
 * must not be there yet; their names to @p out.
 */
int gw_config_make_tunnel_files(
		const struct gw_make_tunnel *mt, const char *dir, FILE *out, struct gw_error *err);

#endif /* CONFIG_H */
