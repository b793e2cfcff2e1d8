/* SPDX-License-Identifier: BSD-3-Clause */

/* What a Linux peer's script says of each SA. */

#include <errno.h>
#include <stdlib.h>

#include "peer_priv.h"

/* Linux refuses ESN without a window. */
#define LEAST_WINDOW 64

const char *
gw_peer_unfit(int rc)
{
	switch (rc) {
	case -ERANGE:
		return "its sequence numbers are used up: make new keys at both ends";
	case -EDOM:
		return "too many numbers were told to a peer of which nothing came: the gateway could "
		       "not follow: make new keys at both ends";
	case -EEXIST:
		return "this gateway has sent with its key: make new keys at both ends";
	default:
		return NULL;
	}
}

/*
 * The window is put behind the last number sent: what is in it is yet to come,
 * and what is older is refused. Before it the kernel would take all once more.
 */
static void
start_in(const struct gw_peer_sa *sa, struct gw_peer_line *line)
{
	uint64_t last = (sa->prm->esn ? UINT64_MAX : UINT32_MAX) - 1; /* that Linux takes */

	if (sa->seq == 0)
		return;
	line->seq = last;
	if (sa->seq < last - line->window)
		line->seq = sa->seq + line->window;
}

static void
plan_sa(struct gw_peer_script *s, const struct gw_peer_sa *sa, uint32_t window,
		struct gw_peer_line *line)
{
	const struct ipsec_pcpu_sa_params *prm = sa->prm;
	bool has_cpu = s->peer->cpus == 0 || prm->pcpu < s->peer->cpus;

	line->sa = sa;
	line->in = prm->dir == IPSEC_PCPU_OUT;
	line->pcpu = prm->pcpu != IPSEC_PCPU_ANY && has_cpu;
	if (line->in) {
		/* what was sent already is to be refused there, whatever is wanted here */
		line->window = window == 0 && (prm->esn || sa->seq > 0) ? LEAST_WINDOW : window;
		s->widened |= line->window != window;
		start_in(sa, line);
	} else {
		line->seq = sa->start;
		line->left_out = sa->unfit;
		if (prm->pcpu != IPSEC_PCPU_ANY && !has_cpu)
			line->left_out = "this machine has no CPU of its number to send on it";
	}
	if (line->left_out != NULL)
		return;
	s->n_in += line->in;
	s->n_out += !line->in;
	s->fallback |= !line->in && prm->pcpu == IPSEC_PCPU_ANY;
	s->encap |= line->in && gw_peer_encap(prm);
	if (line->pcpu && (s->max_pcpu == IPSEC_PCPU_ANY || prm->pcpu > s->max_pcpu))
		s->max_pcpu = prm->pcpu;
}

static uint32_t
spi_of(const struct gw_peer_line *line)
{
	return line->sa->prm->spi;
}

static uint32_t
ports_of(const struct gw_peer_line *line)
{
	return (uint32_t)line->sa->prm->encap_sport << 16 | line->sa->prm->encap_dport;
}

static int
by_spi(const void *a, const void *b)
{
	uint32_t x = spi_of(*(struct gw_peer_line *const *)a);
	uint32_t y = spi_of(*(struct gw_peer_line *const *)b);

	return (x > y) - (x < y);
}

static int
by_ports(const void *a, const void *b)
{
	uint32_t x = ports_of(*(struct gw_peer_line *const *)a);
	uint32_t y = ports_of(*(struct gw_peer_line *const *)b);

	return (x > y) - (x < y);
}

/* What SAs have in common: found by sorting, as there may be thousands. */
static int
compare_all(struct gw_peer_script *s)
{
	struct gw_peer_line **l =
			calloc(RTE_MAX(s->peer->n_sas, 1u), sizeof(struct gw_peer_line *));
	unsigned int n = 0;

	if (l == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < s->peer->n_sas; i++)
		l[i] = &s->line[i];
	qsort(l, s->peer->n_sas, sizeof(l[0]), by_spi);
	for (unsigned int i = 1; i < s->peer->n_sas; i++)
		if (spi_of(l[i - 1]) == spi_of(l[i]) && l[i - 1]->in != l[i]->in)
			l[i - 1]->both = l[i]->both = true;
	for (unsigned int i = 0; i < s->peer->n_sas; i++)
		if (s->line[i].in && s->line[i].pcpu && gw_peer_encap(s->line[i].sa->prm))
			l[n++] = &s->line[i];
	qsort(l, n, sizeof(l[0]), by_ports);
	for (unsigned int i = 1; i < n; i++)
		if (ports_of(l[i - 1]) == ports_of(l[i]))
			l[i - 1]->shared = l[i]->shared = true;
	free(l);
	return 0;
}

/* FNV-1a, folded. */
static uint64_t
hash(uint64_t h, const char *text)
{
	do
		h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	while (*text++ != '\0');
	return h;
}

/*
 * Of what does not change when a configuration file is edited, and differs
 * between gateways. Not a small number, as others choose them.
 */
static uint32_t
reqid(const struct gw_peer_script *s)
{
	uint64_t h = hash(UINT64_C(0xcbf29ce484222325), s->peer->tunnel->name);

	h = hash(hash(h, s->us), s->them);
	return ((h ^ h >> 32) & 0x3fffffff) | 0x40000000;
}

static int
refuse_empty(const struct gw_peer_script *s, struct gw_error *err)
{
	const char *name = s->peer->tunnel->name;

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

static bool
is_link_local(const struct gw_addr *addr)
{
	struct gw_prefix ll;

	gw_prefix_parse("fe80::/10", &ll);
	return gw_prefix_has(&ll, addr);
}

int
gw_peer_plan(struct gw_peer_script *s, struct gw_error *err)
{
	const struct gw_config_tunnel *t = s->peer->tunnel;
	uint32_t window = 0;

	gw_addr_text(&t->local, s->us);
	gw_addr_text(&t->remote, s->them);
	s->reqid = reqid(s);
	s->max_pcpu = IPSEC_PCPU_ANY;
	if (is_link_local(&t->local) || is_link_local(&t->remote)) {
		gw_error_set(err, NULL, 0,
				"tunnel \"%s\": %s and %s are addresses of a link only: Linux's SAs "
				"do not say of which; give the tunnel global or unique local (fd00::) "
				"ones",
				t->name, s->us, s->them);
		return -EINVAL;
	}
	for (unsigned int i = 0; i < s->peer->n_sas; i++)
		window = RTE_MAX(window, s->peer->sas[i].prm->replay_window);
	for (unsigned int i = 0; i < s->n_sel; i++)
		s->mixed |= s->sel[i].sel->local.addr.family != t->local.family;
	for (unsigned int i = 0; i < s->peer->n_sas; i++)
		plan_sa(s, &s->peer->sas[i], window, &s->line[i]);
	if (compare_all(s) != 0) {
		gw_error_set(err, NULL, 0, "no memory");
		return -ENOMEM;
	}
	return refuse_empty(s, err);
}
