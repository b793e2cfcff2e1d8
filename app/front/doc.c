/* SPDX-License-Identifier: BSD-3-Clause */

/* The generated parts of docs/console.md and docs/counters.md. */

#include "../control/ike.h"
#include "commands.h"
#include "console.h"

/* A | inside a cell would end it. */
static void
put_cell(FILE *out, const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '|')
			fputc('\\', out);
		fputc(*s, out);
	}
}

void
gw_console_doc(FILE *out)
{
	fputs("| command | what it does |\n|---|---|\n", out);
	for (unsigned int i = 0; i < gw_n_commands; i++) {
		fputs("| `", out);
		put_cell(out, gw_commands[i].syntax);
		fputs("` | ", out);
		put_cell(out, gw_commands[i].help);
		fputs(" |\n", out);
	}
	fputs("\n| argument | what it takes |\n|---|---|\n", out);
	gw_argument_doc(out);
}

void
gw_counters_doc(FILE *out)
{
	fputs("| counter | what it counts |\n|---|---|\n", out);
	for (unsigned int i = 0; i < GW_N_COUNTERS; i++)
		fprintf(out, "| `%s` | %s |\n", gw_counter_info[i].name, gw_counter_info[i].what);
	fputs("\nStages of `show cycles`, in TSC cycles:\n\n| stage | what is in it |\n|---|---|\n",
			out);
	for (unsigned int i = 0; i < GW_N_STAGES; i++)
		fprintf(out, "| `%s` | %s |\n", gw_stage_info[i].name, gw_stage_info[i].what);
	fputs("\nDrops of the gateway (`gw`):\n\n| drop | why | what to do |\n|---|---|---|\n",
			out);
	for (unsigned int i = 0; i < GW_N_DROPS; i++)
		fprintf(out, "| `%s` | %s | %s |\n", gw_drop_info[i].name, gw_drop_info[i].what,
				gw_drop_info[i].remedy);
	fputs("\nDrops of ESP (`esp`), counted for each SA too:\n\n"
	      "| drop | why | what to do | Linux: /proc/net/xfrm_stat |\n|---|---|---|---|\n",
			out);
	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
		fprintf(out, "| `%s` | %s | %s | %s |\n", ipsec_pcpu_drop_info[i].name,
				ipsec_pcpu_drop_info[i].what, ipsec_pcpu_drop_info[i].remedy,
				ipsec_pcpu_drop_info[i].xfrm_name);
	fputs("\nIKE (`show ike`), since the gateway was started:\n\n"
	      "| counter | what it counts |\n|---|---|\n",
			out);
#define _(name, what) fprintf(out, "| `%s` | %s |\n", #name, what);
	GW_IKE_FOREACH_COUNT(_)
#undef _
}
