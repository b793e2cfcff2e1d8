/* SPDX-License-Identifier: BSD-3-Clause */

/* The lines of a Linux peer's script that are about its SAs. */

#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>

#include "../control/reserve.h"
#include "peer_priv.h"
#include "peer_script.h"

/* KEY_00001000, the variable in the place of a key. */
static void
put_key_name(const struct gw_peer_line *line, struct gw_text *out)
{
	gw_text_printf(out, "KEY_%08x%s", line->sa->prm->spi,
			!line->both                ? ""
					: line->in ? "_IN"
						   : "_OUT");
}

/* Without a key also to go down: so a variable may be unset here. */
static void
put_key(const struct gw_peer_line *line, struct gw_text *out)
{
	if (line->sa->key == NULL) {
		gw_text_puts(out, "${");
		put_key_name(line, out);
		gw_text_puts(out, "-}");
		return;
	}
	gw_text_puts(out, "0x");
	for (unsigned int i = 0; i < line->sa->prm->algo->key_len; i++)
		gw_text_printf(out, "%02x", line->sa->key[i]);
}

static void
put_seq(const struct gw_peer_line *line, struct gw_text *out)
{
	const char *what = line->in ? "seq" : "oseq";

	if (line->seq == 0)
		return;
	gw_text_printf(out, " replay-%s %u", what, (uint32_t)line->seq);
	if (line->sa->prm->esn)
		gw_text_printf(out, " replay-%s-hi %u", what, (uint32_t)(line->seq >> 32));
}

static void
put_sa(const struct gw_peer_script *s, const struct gw_peer_line *line)
{
	const struct ipsec_pcpu_sa_params *prm = line->sa->prm;

	gw_text_printf(s->out,
			"    echo \"xfrm state add src %s dst %s proto esp spi 0x%08x reqid %u",
			line->in ? s->us : s->them, line->in ? s->them : s->us, prm->spi, s->reqid);
	gw_text_printf(s->out, " mode tunnel dir %s", line->in ? "in" : "out");
	if (line->pcpu)
		gw_text_printf(s->out, " pcpu-num %u", prm->pcpu);
	gw_text_printf(s->out, " replay-window %u", line->window);
	put_seq(line, s->out);
	if (prm->esn || s->mixed)
		gw_text_printf(s->out, " flag%s%s", prm->esn ? " esn" : "",
				s->mixed ? " af-unspec" : "");
	gw_text_printf(s->out, " aead '%s' ", prm->algo->xfrm_name);
	put_key(line, s->out);
	gw_text_printf(s->out, " %u", prm->algo->icv_len * 8);
	if (gw_peer_encap(prm))
		gw_text_printf(s->out, " encap espinudp %u %u %s", prm->encap_sport,
				prm->encap_dport, prm->family == AF_INET6 ? "::" : "0.0.0.0");
	gw_text_puts(s->out, "\"\n");
}

void
gw_peer_sas_put(const struct gw_peer_script *s)
{
	for (unsigned int i = 0; i < s->peer->n_sas; i++)
		if (s->line[i].left_out == NULL)
			put_sa(s, &s->line[i]);
}

/* What is left out is said as well: the tunnel is not what its configuration says. */
static void
put_left_out(const struct gw_peer_script *s)
{
	const char *why = NULL;
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->peer->n_sas; i++) {
		const struct gw_peer_line *line = &s->line[i];

		if (line->left_out == NULL)
			continue;
		gw_text_printf(s->out, "    # Left out: SA 0x%08x: %s.\n", line->sa->prm->spi,
				line->left_out);
		why = line->left_out;
		n++;
	}
	if (n > 0)
		gw_text_printf(s->out, "    peer_say \"left out: %u SAs to send on: %s\"\n", n,
				why);
}

void
gw_peer_sas_notes(const struct gw_peer_script *s)
{
	put_left_out(s);
	for (unsigned int i = 0; i < s->peer->n_sas; i++) {
		const struct gw_peer_line *line = &s->line[i];
		const struct ipsec_pcpu_sa_params *prm = line->sa->prm;

		if (line->in && prm->pcpu != IPSEC_PCPU_ANY && !line->pcpu)
			gw_text_printf(s->out,
					"    # SA 0x%08x has CPU %u at the gateway: it is received "
					"on any here.\n",
					prm->spi, prm->pcpu);
	}
	if (s->widened)
		gw_text_puts(s->out, peer_script_widened);
	if (!s->fallback)
		gw_text_puts(s->out,
				"    # There is no SA for any CPU (pcpu = \"any\"): a CPU that has none "
				"of its own drops.\n");
}

static bool
wants_key(const struct gw_peer_line *line)
{
	return line->left_out == NULL && line->sa->key == NULL;
}

bool
gw_peer_wants_keys(const struct gw_peer_script *s)
{
	for (unsigned int i = 0; i < s->peer->n_sas; i++)
		if (wants_key(&s->line[i]))
			return true;
	return false;
}

void
gw_peer_key_checks(const struct gw_peer_script *s)
{
	for (unsigned int i = 0; i < s->peer->n_sas; i++) {
		if (!wants_key(&s->line[i]))
			continue;
		gw_text_puts(s->out, "    peer_key ");
		put_key_name(&s->line[i], s->out);
		gw_text_printf(s->out, " %u || peer_bad=1\n", s->line[i].sa->prm->algo->key_len);
	}
}

void
gw_peer_key_list(const struct gw_peer_script *s)
{
	for (unsigned int i = 0; i < s->peer->n_sas; i++) {
		const struct gw_peer_sa *sa = s->line[i].sa;

		if (!wants_key(&s->line[i]))
			continue;
		gw_text_puts(s->out, "#   ");
		put_key_name(&s->line[i], s->out);
		gw_text_printf(s->out, "=0x...  # %u bytes%s%s\n", sa->prm->algo->key_len,
				sa->why != NULL ? "; " : "", sa->why != NULL ? sa->why : "");
	}
}

/* A key and where it begins: whatever else the commands are about, not twice. */
void
gw_peer_marks_put(const struct gw_peer_script *s)
{
	for (unsigned int i = 0; i < s->peer->n_sas; i++) {
		const struct gw_peer_sa *sa = s->line[i].sa;

		if (s->line[i].in || s->line[i].left_out != NULL)
			continue;
		gw_text_puts(s->out, "    echo ");
		for (unsigned int k = 0; k < GW_RESERVE_ID_LEN; k++)
			gw_text_printf(s->out, "%02x", sa->id[k]);
		gw_text_printf(s->out, "-%" PRIu64 "\n", s->line[i].seq);
	}
}

void
gw_peer_sockets_put(const struct gw_peer_script *s)
{
	uint8_t seen[65536 / 8] = {1}; /* bits; port 0 is none */

	for (unsigned int i = 0; i < s->peer->n_sas; i++) {
		uint16_t port = s->line[i].sa->prm->encap_dport;

		if (!s->line[i].in || (seen[port / 8] >> port % 8 & 1) != 0)
			continue;
		seen[port / 8] |= 1 << port % 8;
		gw_text_printf(s->out, "    peer_encap %d %u\n",
				s->peer->tunnel->local.family == AF_INET6 ? 6 : 4, port);
	}
}

static void
put_steer(const struct gw_peer_script *s, const struct ipsec_pcpu_sa_params *prm)
{
	gw_text_printf(s->out, "    peer_steer flow-type %s%d src-ip %s dst-ip %s",
			gw_peer_encap(prm) ? "udp" : "esp", prm->family == AF_INET6 ? 6 : 4, s->us,
			s->them);
	if (gw_peer_encap(prm))
		gw_text_printf(s->out, " src-port %u dst-port %u", prm->encap_sport,
				prm->encap_dport);
	else
		gw_text_printf(s->out, " spi 0x%08x", prm->spi);
	gw_text_printf(s->out, " action %u\n", prm->pcpu);
}

void
gw_peer_steering_put(const struct gw_peer_script *s)
{
	unsigned int n = 0, shared = 0;

	for (unsigned int i = 0; i < s->peer->n_sas; i++) {
		n += s->line[i].in && s->line[i].pcpu;
		shared += s->line[i].shared;
	}
	if (shared > 0)
		gw_text_puts(s->out, peer_script_shared);
	if (shared == n)
		return;
	gw_text_puts(s->out, peer_script_steer);
	for (unsigned int i = 0; i < s->peer->n_sas; i++)
		if (s->line[i].in && s->line[i].pcpu && !s->line[i].shared)
			put_steer(s, s->line[i].sa->prm);
	gw_text_printf(s->out, peer_script_steered,
			s->peer->tunnel->local.family == AF_INET6 ? 6 : 4, s->max_pcpu + 1);
}
