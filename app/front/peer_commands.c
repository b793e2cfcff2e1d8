/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The script of a Linux peer. What is printed has no tab, which an interactive
 * shell would complete, and no ! before a word, which it would look up in its
 * history; and it is functions, so that a refusal leaves a pasting shell alive.
 */

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "../control/reserve.h"
#include "peer_commands.h"
#include "peer_script.h"

/* Linux refuses ESN without a window. */
#define LEAST_ESN_WINDOW 64

/* What the script says of an SA, worked out before anything is written. */
struct line {
	const struct gw_peer_sa *sa;
	bool in; /* the peer's direction */
	bool pcpu; /* with its number */
	bool both; /* there is an SA of the other direction with this SPI */
	const char *left_out; /* why it is not installed; NULL: it is */
	uint32_t window;
	uint64_t seq; /* replay-seq or replay-oseq; 0: none */
};

struct script {
	const struct gw_peer *peer;
	struct line *line; /* of each SA */
	const struct gw_peer_policies *policies;
	struct gw_text *out;
	unsigned int n_in, n_out; /* installed, in the peer's directions */
	bool fallback; /* one of the outbound ones is for any CPU */
	bool encap;
	bool widened; /* a window that the gateway does not have */
	uint32_t max_pcpu; /* IPSEC_PCPU_ANY: none has a number */
};

static bool
encapsulated(const struct ipsec_pcpu_sa_params *prm)
{
	return prm->encap_sport != 0 || prm->encap_dport != 0;
}

/* The last one that Linux takes. */
static uint64_t
last_seq(const struct ipsec_pcpu_sa_params *prm)
{
	return (prm->esn ? UINT64_MAX : UINT32_MAX) - 1;
}

/*
 * Where the peer's counter is to begin: behind what came, and behind what it sent
 * and never came. As far as the gateway itself moves on at a start.
 */
static void
start_out(const struct gw_peer_sa *sa, struct line *line)
{
	uint64_t ahead = sa->prm->esn ? GW_RESERVE_FIRST : GW_RESERVE_32;

	if (sa->seq == 0)
		return;
	if (sa->seq > last_seq(sa->prm) - ahead - GW_RESERVE_32)
		line->left_out = "its sequence numbers are used up: make new keys at both ends";
	else
		line->seq = (sa->seq + GW_RESERVE_32 - 1) / GW_RESERVE_32 * GW_RESERVE_32 + ahead;
}

/*
 * The window is put behind the last number sent: what is in it is yet to come,
 * and what is older is refused. Before it the kernel would take all once more.
 */
static void
start_in(const struct gw_peer_sa *sa, struct line *line)
{
	if (sa->seq == 0 || line->window == 0)
		return;
	line->seq = last_seq(sa->prm);
	if (sa->seq < line->seq - line->window)
		line->seq = sa->seq + line->window;
}

/* The peer's window is its own matter: as large as ours. */
static uint32_t
window(const struct gw_peer *peer, bool esn)
{
	uint32_t max = 0;

	for (unsigned int i = 0; i < peer->n_sas; i++)
		max = RTE_MAX(max, peer->sas[i].prm->replay_window);
	return max == 0 && esn ? LEAST_ESN_WINDOW : max;
}

static bool
other_direction(const struct gw_peer *peer, const struct ipsec_pcpu_sa_params *prm)
{
	for (unsigned int i = 0; i < peer->n_sas; i++)
		if (peer->sas[i].prm->spi == prm->spi && peer->sas[i].prm->dir != prm->dir)
			return true;
	return false;
}

static void
plan_sa(struct script *s, const struct gw_peer_sa *sa, struct line *line)
{
	const struct ipsec_pcpu_sa_params *prm = sa->prm;
	bool has_cpu = s->peer->cpus == 0 || prm->pcpu < s->peer->cpus;

	line->sa = sa;
	line->in = prm->dir == IPSEC_PCPU_OUT;
	line->pcpu = prm->pcpu != IPSEC_PCPU_ANY && has_cpu;
	line->both = other_direction(s->peer, prm);
	if (line->in) {
		line->window = window(s->peer, prm->esn);
		s->widened |= line->window != window(s->peer, false);
		start_in(sa, line);
	} else {
		start_out(sa, line);
		if (prm->pcpu != IPSEC_PCPU_ANY && !has_cpu)
			line->left_out = "this machine has no CPU of its number to send on it";
	}
	if (line->left_out != NULL)
		return;
	s->n_in += line->in;
	s->n_out += !line->in;
	s->fallback |= !line->in && prm->pcpu == IPSEC_PCPU_ANY;
	s->encap |= line->in && encapsulated(prm);
	if (line->pcpu && (s->max_pcpu == IPSEC_PCPU_ANY || prm->pcpu > s->max_pcpu))
		s->max_pcpu = prm->pcpu;
}

static int
plan(struct script *s, struct gw_error *err)
{
	const char *name = s->peer->tunnel->name;

	s->max_pcpu = IPSEC_PCPU_ANY;
	for (unsigned int i = 0; i < s->peer->n_sas; i++)
		plan_sa(s, &s->peer->sas[i], &s->line[i]);
	if (s->peer->n_sas == 0)
		gw_error_set(err, NULL, 0,
				"tunnel \"%s\" has no SAs: --make-tunnel makes some, for both ends",
				name);
	else if (s->n_out == 0)
		gw_error_set(err, NULL, 0,
				"tunnel \"%s\": the peer would have no SA to send on: it wants an "
				"\"in\" SA here, %s",
				name,
				s->peer->cpus != 0 ? "for one of its CPUs or for any"
						   : "with sequence numbers left");
	else if (s->n_in == 0)
		gw_error_set(err, NULL, 0,
				"tunnel \"%s\": the peer would have no SA to receive on: it wants an "
				"\"out\" SA here",
				name);
	else
		return 0;
	return -ENOENT;
}

/* KEY_00001000, the variable in the place of a key. */
static void
put_key_name(const struct line *line, struct gw_text *out)
{
	gw_text_printf(out, "KEY_%08x%s", line->sa->prm->spi,
			!line->both                ? ""
					: line->in ? "_IN"
						   : "_OUT");
}

static void
put_key(const struct line *line, struct gw_text *out)
{
	if (line->sa->key == NULL) {
		gw_text_puts(out, "${");
		put_key_name(line, out);
		gw_text_puts(out, ":?}");
		return;
	}
	gw_text_puts(out, "0x");
	for (unsigned int i = 0; i < line->sa->prm->algo->key_len; i++)
		gw_text_printf(out, "%02x", line->sa->key[i]);
}

static void
put_seq(const struct line *line, struct gw_text *out)
{
	const char *what = line->in ? "seq" : "oseq";

	if (line->seq == 0)
		return;
	gw_text_printf(out, " replay-%s %u", what, (uint32_t)line->seq);
	if (line->sa->prm->esn)
		gw_text_printf(out, " replay-%s-hi %u", what, (uint32_t)(line->seq >> 32));
}

/* Does a selector have another family than the outer addresses? */
static bool
mixes_families(const struct gw_peer *peer)
{
	for (unsigned int i = 0; i < peer->n_sel; i++)
		if (peer->sel[i]->local.addr.family != peer->tunnel->local.family)
			return true;
	return false;
}

static void
put_flags(const struct script *s, const struct line *line)
{
	bool mixed = mixes_families(s->peer);

	if (line->sa->prm->esn || mixed)
		gw_text_printf(s->out, " flag%s%s", line->sa->prm->esn ? " esn" : "",
				mixed ? " af-unspec" : "");
}

/* A line of ip -batch. */
static void
put_sa(const struct script *s, const struct line *line)
{
	const struct gw_config_tunnel *t = s->peer->tunnel;
	const struct ipsec_pcpu_sa_params *prm = line->sa->prm;
	char src[GW_ADDR_STRLEN], dst[GW_ADDR_STRLEN];

	gw_text_printf(s->out, "xfrm state add src %s dst %s proto esp spi 0x%08x reqid %u",
			gw_addr_text(line->in ? &t->local : &t->remote, src),
			gw_addr_text(line->in ? &t->remote : &t->local, dst), prm->spi,
			s->peer->reqid);
	gw_text_printf(s->out, " mode tunnel dir %s", line->in ? "in" : "out");
	if (line->pcpu)
		gw_text_printf(s->out, " pcpu-num %u", prm->pcpu);
	gw_text_printf(s->out, " replay-window %u", line->window);
	put_seq(line, s->out);
	put_flags(s, line);
	gw_text_printf(s->out, " aead '%s' ", prm->algo->xfrm_name);
	put_key(line, s->out);
	gw_text_printf(s->out, " %u", prm->algo->icv_len * 8);
	if (encapsulated(prm))
		gw_text_printf(s->out, " encap espinudp %u %u %s", prm->encap_sport,
				prm->encap_dport, prm->family == AF_INET6 ? "::" : "0.0.0.0");
	gw_text_puts(s->out, "\n");
}

/* What a reader should know of the SAs, before them. */
static void
put_sa_notes(const struct script *s)
{
	for (unsigned int i = 0; i < s->peer->n_sas; i++) {
		const struct line *line = &s->line[i];
		uint32_t spi = line->sa->prm->spi;

		if (line->left_out != NULL)
			gw_text_printf(s->out, "    # Left out: SA 0x%08x: %s.\n", spi,
					line->left_out);
		else if (line->in && line->sa->prm->pcpu != IPSEC_PCPU_ANY && !line->pcpu)
			gw_text_printf(s->out,
					"    # SA 0x%08x has CPU %u at the gateway: it is received "
					"on any here.\n",
					spi, line->sa->prm->pcpu);
	}
	if (s->widened)
		gw_text_printf(s->out,
				"    # The gateway has no replay window; Linux takes no ESN without "
				"one: %d.\n",
				LEAST_ESN_WINDOW);
	if (!s->fallback)
		gw_text_puts(s->out,
				"    # There is no SA for any CPU (pcpu = \"any\"): a CPU that has none "
				"of its own drops.\n");
}

/* Which keys are to be set, and that they are. */
static void
put_key_checks(const struct script *s)
{
	for (unsigned int i = 0; i < s->peer->n_sas; i++) {
		const struct line *line = &s->line[i];

		if (line->left_out != NULL || line->sa->key != NULL)
			continue;
		gw_text_puts(s->out, "    peer_key ");
		put_key_name(line, s->out);
		gw_text_printf(s->out, " %u || peer_bad=1\n", line->sa->prm->algo->key_len);
	}
}

static bool
wants_keys(const struct script *s)
{
	for (unsigned int i = 0; i < s->peer->n_sas; i++)
		if (s->line[i].left_out == NULL && s->line[i].sa->key == NULL)
			return true;
	return false;
}

static void
put_key_list(const struct script *s)
{
	for (unsigned int i = 0; i < s->peer->n_sas; i++) {
		const struct line *line = &s->line[i];

		if (line->left_out != NULL || line->sa->key != NULL)
			continue;
		gw_text_puts(s->out, "#   ");
		put_key_name(line, s->out);
		gw_text_printf(s->out, "=0x...  # %u bytes%s%s\n", line->sa->prm->algo->key_len,
				line->sa->why != NULL ? "; " : "",
				line->sa->why != NULL ? line->sa->why : "");
	}
}

static void
put_head(const struct script *s)
{
	const struct gw_config_tunnel *t = s->peer->tunnel;
	char us[GW_ADDR_STRLEN], them[GW_ADDR_STRLEN];

	gw_addr_text(&t->local, us);
	gw_addr_text(&t->remote, them);
	gw_text_printf(s->out, peer_script_head, t->name, them, us);
	if (s->peer->live)
		gw_text_printf(s->out, peer_script_live, t->name);
	else
		gw_text_printf(s->out, peer_script_fresh, t->name);
	if (s->peer->with_keys)
		gw_text_puts(s->out, peer_script_secret);
	if (!wants_keys(s))
		return;
	gw_text_printf(s->out, peer_script_keys, t->name);
	put_key_list(s);
}

static void
put_functions(const struct script *s)
{
	gw_text_printf(s->out, peer_script_say, s->peer->tunnel->name);
	if (wants_keys(s))
		gw_text_puts(s->out, peer_script_key);
	if (s->encap)
		gw_text_puts(s->out, peer_script_encap);
	gw_text_puts(s->out, peer_script_route);
}

static void
put_down(const struct script *s)
{
	const struct gw_config_tunnel *t = s->peer->tunnel;
	char us[GW_ADDR_STRLEN], them[GW_ADDR_STRLEN];

	gw_addr_text(&t->local, us);
	gw_addr_text(&t->remote, them);
	gw_text_puts(s->out, "\npeer_down() {\n");
	gw_peer_policies_down(s->peer, s->out);
	gw_text_printf(s->out, "    ip xfrm state deleteall src %s dst %s proto esp reqid %u\n", us,
			them, s->peer->reqid);
	gw_text_printf(s->out, "    ip xfrm state deleteall src %s dst %s proto esp reqid %u\n",
			them, us, s->peer->reqid);
	gw_peer_routes_down(s->peer, s->out);
	gw_text_puts(s->out, "    return 0\n}\n");
}

static void
put_checks(const struct script *s)
{
	const struct gw_config_tunnel *t = s->peer->tunnel;
	char us[GW_ADDR_STRLEN], them[GW_ADDR_STRLEN];

	gw_addr_text(&t->local, us);
	gw_addr_text(&t->remote, them);
	gw_text_printf(s->out, peer_script_check, them, them, us, them, us);
	gw_text_printf(s->out, peer_script_state, us, them, s->peer->reqid);
	if (s->max_pcpu != IPSEC_PCPU_ANY)
		gw_text_printf(s->out, peer_script_cpus, s->max_pcpu, s->max_pcpu, t->name);
	if (wants_keys(s)) {
		gw_text_puts(s->out, "    peer_bad=\n");
		put_key_checks(s);
		gw_text_puts(s->out, "    [ -z \"$peer_bad\" ] || return 1\n");
	}
	gw_text_puts(s->out, "}\n");
}

/* Is it the first SA that the peer receives on this port? */
static bool
first_of_port(const struct script *s, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (s->line[i].in &&
				s->line[i].sa->prm->encap_dport == s->line[n].sa->prm->encap_dport)
			return false;
	return s->line[n].in && s->line[n].sa->prm->encap_dport != 0;
}

static void
put_sockets(const struct script *s)
{
	for (unsigned int i = 0; i < s->peer->n_sas; i++)
		if (first_of_port(s, i))
			gw_text_printf(s->out, "    peer_encap %d %u\n",
					s->peer->tunnel->local.family == AF_INET6 ? 6 : 4,
					s->line[i].sa->prm->encap_dport);
}

/* Can the NIC tell it from the others by its UDP ports? */
static bool
own_ports(const struct script *s, unsigned int n)
{
	for (unsigned int i = 0; i < s->peer->n_sas; i++)
		if (i != n && s->line[i].in && s->line[i].pcpu &&
				s->line[i].sa->prm->encap_sport ==
						s->line[n].sa->prm->encap_sport &&
				s->line[i].sa->prm->encap_dport == s->line[n].sa->prm->encap_dport)
			return false;
	return true;
}

static void
put_steer(const struct script *s, unsigned int n)
{
	const struct gw_config_tunnel *t = s->peer->tunnel;
	const struct ipsec_pcpu_sa_params *prm = s->line[n].sa->prm;
	char us[GW_ADDR_STRLEN], them[GW_ADDR_STRLEN];
	int family = prm->family == AF_INET6 ? 6 : 4;

	gw_text_printf(s->out, "    peer_steer flow-type %s%d src-ip %s dst-ip %s",
			encapsulated(prm) ? "udp" : "esp", family, gw_addr_text(&t->local, us),
			gw_addr_text(&t->remote, them));
	if (encapsulated(prm))
		gw_text_printf(s->out, " src-port %u dst-port %u", prm->encap_sport,
				prm->encap_dport);
	else
		gw_text_printf(s->out, " spi 0x%08x", prm->spi);
	gw_text_printf(s->out, " action %u\n", prm->pcpu);
}

static void
put_steering(const struct script *s)
{
	unsigned int n = 0, shared = 0;

	for (unsigned int i = 0; i < s->peer->n_sas; i++) {
		if (!s->line[i].in || !s->line[i].pcpu)
			continue;
		shared += encapsulated(s->line[i].sa->prm) && !own_ports(s, i);
		n++;
	}
	if (n == 0)
		return;
	if (shared > 0)
		gw_text_puts(s->out, peer_script_shared);
	if (shared == n)
		return;
	gw_text_puts(s->out, peer_script_steer);
	for (unsigned int i = 0; i < s->peer->n_sas; i++)
		if (s->line[i].in && s->line[i].pcpu &&
				(!encapsulated(s->line[i].sa->prm) || own_ports(s, i)))
			put_steer(s, i);
	gw_text_printf(s->out, peer_script_steered,
			s->peer->tunnel->local.family == AF_INET6 ? 6 : 4);
}

static void
put_up(const struct script *s)
{
	char us[GW_ADDR_STRLEN];

	gw_text_puts(s->out, "\npeer_up() {\n    peer_check || return 1\n");
	put_sa_notes(s);
	gw_text_puts(s->out, peer_script_sas);
	for (unsigned int i = 0; i < s->peer->n_sas; i++)
		if (s->line[i].left_out == NULL)
			put_sa(s, &s->line[i]);
	gw_text_puts(s->out, "EOF\n");
	put_sockets(s);
	gw_text_printf(s->out, peer_script_dev, gw_addr_text(&s->peer->tunnel->local, us));
	gw_peer_policies_notes(s->peer, s->out);
	gw_text_puts(s->out, peer_script_policies);
	gw_peer_policies_put(s->peer, s->policies, s->out);
	gw_text_puts(s->out, "EOF\n");
	gw_peer_routes_put(s->peer, s->out);
	put_steering(s);
	gw_text_puts(s->out, "    peer_say \"up\"\n}\n");
}

int
gw_peer_commands(const struct gw_peer *asked, struct gw_text *out, struct gw_error *err)
{
	struct gw_peer peer = *asked;
	struct script s = {.peer = &peer, .out = out};
	struct gw_peer_policies *policies = NULL;
	int rc;

	rc = gw_peer_selectors(&peer);
	s.line = calloc(RTE_MAX(peer.n_sas, 1u), sizeof(s.line[0]));
	if (rc != 0 || s.line == NULL) {
		gw_error_set(err, NULL, 0, "no memory");
		free(peer.sel);
		free(s.line);
		return -ENOMEM;
	}
	rc = plan(&s, err);
	if (rc == 0)
		rc = gw_peer_policies_make(&peer, &policies, err);
	s.policies = policies;
	if (rc == 0) {
		put_head(&s);
		put_functions(&s);
		put_down(&s);
		put_checks(&s);
		put_up(&s);
		gw_text_puts(out, peer_script_end);
	}
	gw_peer_policies_free(policies);
	free(peer.sel);
	free(s.line);
	return rc;
}
