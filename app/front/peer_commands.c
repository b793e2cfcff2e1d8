/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The script of a Linux peer. What is printed has no tab, which an interactive
 * shell would complete, and no ! before a word, which it would look up in its
 * history; and it is functions, so that a refusal leaves a pasting shell alive.
 */

#include <errno.h>
#include <stdlib.h>

#include "peer_priv.h"
#include "peer_script.h"

static void
put_head(const struct gw_peer_script *s)
{
	const char *name = s->peer->tunnel->name;

	gw_text_printf(s->out, peer_script_head, name, s->them, s->us);
	if (s->peer->numbers == GW_PEER_FRESH)
		gw_text_printf(s->out, peer_script_fresh, name);
	else
		gw_text_printf(s->out, peer_script_noted, name);
	if (s->peer->numbers == GW_PEER_MEMORY)
		gw_text_puts(s->out, peer_script_memory);
	gw_text_puts(s->out, peer_script_clear);
	if (s->peer->with_keys)
		gw_text_puts(s->out, peer_script_secret);
	if (!gw_peer_wants_keys(s))
		return;
	gw_text_printf(s->out, peer_script_keys, name);
	gw_peer_key_list(s);
}

/* An echo is the shell's own: keys are in no process's arguments and in no file. */
static void
put_lines(const struct gw_peer_script *s)
{
	gw_text_puts(s->out,
			"\n# Lines of ip -batch: SAs, what passes in clear, what goes into the tunnel; and marks.\n");
	gw_text_puts(s->out, "peer_sas() {\n");
	gw_peer_sas_put(s);
	gw_text_puts(s->out, "}\npeer_marks() {\n");
	gw_peer_marks_put(s);
	gw_text_puts(s->out, "}\npeer_marked=/var/lib/dpdk-pcpu-gw\npeer_clear() {\n    :\n");
	gw_peer_policies_put(s, true);
	gw_text_puts(s->out, "}\npeer_policies() {\n");
	gw_peer_policies_put(s, false);
	gw_text_puts(s->out, "}\n");
}

static void
put_functions(const struct gw_peer_script *s)
{
	gw_text_printf(s->out, peer_script_say, s->peer->tunnel->name);
	if (gw_peer_wants_keys(s))
		gw_text_puts(s->out, peer_script_key);
	if (s->encap)
		gw_text_puts(s->out, peer_script_encap);
	put_lines(s);
	gw_text_puts(s->out, peer_script_lists);
	gw_text_printf(s->out, peer_script_undo, s->us, s->them, s->reqid, s->them, s->us,
			s->reqid);
	gw_text_puts(s->out, peer_script_route);
}

static int
put_down(const struct gw_peer_script *s)
{
	int rc;

	gw_text_puts(s->out, "\npeer_down() {\n");
	gw_text_puts(s->out, peer_script_root);
	gw_text_printf(s->out, peer_script_dev, s->us);
	gw_text_puts(s->out, peer_script_wanted);
	rc = gw_peer_routes_down(s);
	gw_text_puts(s->out, "    peer_undo\n");
	gw_text_puts(s->out, peer_script_gone);
	gw_text_puts(s->out, "}\n");
	return rc;
}

static void
put_checks(const struct gw_peer_script *s)
{
	const char *name = s->peer->tunnel->name;

	gw_text_puts(s->out, "\npeer_check() {\n");
	gw_text_puts(s->out, peer_script_root);
	gw_text_printf(s->out, peer_script_check, s->them, s->them, s->us, s->them, s->us);
	gw_text_puts(s->out, peer_script_state);
	if (s->max_pcpu != IPSEC_PCPU_ANY)
		gw_text_printf(s->out, peer_script_cpus, s->max_pcpu, s->max_pcpu, name);
	if (gw_peer_wants_keys(s)) {
		gw_text_puts(s->out, "    peer_bad=\n");
		gw_peer_key_checks(s);
		gw_text_puts(s->out, "    [ -z \"$peer_bad\" ] || return 1\n");
	}
	gw_text_printf(s->out, peer_script_once, name);
	gw_text_puts(s->out, "}\n");
}

static int
put_up(const struct gw_peer_script *s)
{
	int rc;

	gw_text_puts(s->out, "\npeer_up() {\n    peer_check || return 1\n");
	gw_text_puts(s->out, peer_script_mark);
	gw_peer_sas_notes(s);
	gw_text_puts(s->out, peer_script_add_sas);
	gw_peer_sockets_put(s);
	gw_text_printf(s->out, peer_script_dev, s->us);
	gw_peer_policies_notes(s);
	gw_text_puts(s->out, peer_script_add_policies);
	rc = gw_peer_routes_put(s);
	gw_peer_steering_put(s);
	gw_text_puts(s->out, "    peer_say \"up\"\n}\n");
	return rc;
}

static int
put_all(struct gw_peer_script *s, struct gw_error *err)
{
	int rc;

	put_head(s);
	put_functions(s);
	rc = put_down(s);
	put_checks(s);
	if (rc == 0)
		rc = put_up(s);
	gw_text_puts(s->out, peer_script_end);
	if (rc == 0)
		return 0;
	gw_text_clear(s->out);
	gw_error_set(err, NULL, 0, "no memory");
	return rc;
}

int
gw_peer_commands(const struct gw_peer *peer, struct gw_text *out, struct gw_error *err)
{
	struct gw_peer_script s = {.peer = peer, .out = out};
	int rc;

	if (peer->n_sas > GW_PEER_MAX_SAS) {
		gw_error_set(err, NULL, 0, "tunnel \"%s\" has %u SAs, a script has %d at most",
				peer->tunnel->name, peer->n_sas, GW_PEER_MAX_SAS);
		return -E2BIG;
	}
	gw_error_set(err, NULL, 0, "no memory");
	rc = gw_peer_selectors(&s);
	s.line = calloc(RTE_MAX(peer->n_sas, 1u), sizeof(s.line[0]));
	if (s.line == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = gw_peer_plan(&s, err);
	if (rc == 0)
		rc = gw_peer_policies_make(&s, err);
	if (rc == 0)
		rc = put_all(&s, err);
	gw_peer_policies_free(s.policies);
	free(s.sel);
	free(s.line);
	return rc;
}
