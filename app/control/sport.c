/* SPDX-License-Identifier: BSD-3-Clause */

/* The source port of an SA that comes while the gateway runs. */

#include "control.h"

static void
take(struct gw_port_set *taken, const struct ipsec_pcpu_sa_params *prm)
{
	if (prm->dir == IPSEC_PCPU_OUT)
		gw_port_set_add(taken, prm->encap_sport);
}

int
gw_sa_choose_sport(const struct gw_tunnel *t, struct gw_config_sa *sa, struct gw_error *err)
{
	const struct ipsec_pcpu_sa_params *prm = &sa->prm;
	struct gw_port_set taken = {{0}};

	if (!t->cfg->auto_sports || prm->dir != IPSEC_PCPU_OUT || prm->encap_dport == 0)
		return 0;
	for (unsigned int i = 0; i < t->n_sas; i++) {
		if (t->sas[i]->prm.dir == IPSEC_PCPU_OUT && t->sas[i]->prm.pcpu == prm->pcpu)
			return 0; /* it has that one's port (R5) */
		take(&taken, &t->sas[i]->prm);
	}
	/* also those that did not get as far as a worker */
	for (unsigned int i = 0; i < t->cfg->n_sas; i++)
		take(&taken, &t->cfg->sas[i].prm);
	return gw_config_choose_sport(t->cfg, &taken, sa, err);
}
