/* SPDX-License-Identifier: BSD-3-Clause */

/* One table for people, one JSON object for machines. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>

#include "bench.h"

#define QUIET 0.1
#define MEDIAN 0.5

static const char *
size_text(const struct bench_cell *c, char text[12])
{
	if (c->size == BENCH_SIZE_IMIX)
		return "imix";
	snprintf(text, 12, "%u", c->size);
	return text;
}

static const char *
outer_text(const struct bench_cell *c)
{
	if (c->ip6)
		return c->encap ? "udp6" : "esp6";
	return c->encap ? "udp" : "esp";
}

/** What is particular about a row. */
static const char *
what_text(const struct bench_options *opt, const struct bench_cell *c, char text[40])
{
	text[0] = '\0';
	if (c->algo != opt->algo)
		snprintf(text, 40, "%s", c->algo->name);
	else if (c->tunnels * c->flows != 1)
		snprintf(text, 40, "%u tunnels x %u", c->tunnels, c->flows);
	else if (c->burst != GW_BURST)
		snprintf(text, 40, "burst %u", c->burst);
	else if (c->window != 0)
		snprintf(text, 40, "replay window %u", c->window);
	return text;
}

/** Mean bits of a frame. */
static double
bits(const struct bench_cell *c)
{
	return c->size == BENCH_SIZE_IMIX ? (7 * 64 + 4 * 570 + 1420) * 8 / 12.0 : c->size * 8.0;
}

static double
minus_ports(struct bench_result *r, double p)
{
	return bench_percentile(&r->gw, p) - bench_percentile(&r->ports, p);
}

/** The row that differs from this one in having one worker. */
static struct bench_result *
one_worker(struct bench_result *r, unsigned int n, const struct bench_cell *c)
{
	for (unsigned int i = 0; i < n; i++) {
		const struct bench_cell *o = &r[i].cell;

		if (o->workers == 1 && o->algo == c->algo && o->dir == c->dir &&
				o->encap == c->encap && o->ip6 == c->ip6 && o->size == c->size &&
				o->tunnels == c->tunnels && o->flows == c->flows &&
				o->burst == c->burst && o->window == c->window)
			return &r[i];
	}
	return NULL;
}

/** Packets for a second of CPU time of each worker, over those of one worker alone. */
static double
scaling(struct bench_result *r, unsigned int n, struct bench_result *two, double p)
{
	struct bench_result *one = one_worker(r, n, &two->cell);

	if (one == NULL || two->cell.workers == 1)
		return 0;
	return two->cell.workers * bench_percentile(&one->gw, p) / bench_percentile(&two->gw, p);
}

static double
scaling_wall(struct bench_result *r, unsigned int n, struct bench_result *two)
{
	struct bench_result *one = one_worker(r, n, &two->cell);

	if (one == NULL || two->cell.workers == 1)
		return 0;
	return bench_percentile(&two->gw_pps, 1 - QUIET) /
			bench_percentile(&one->gw_pps, 1 - QUIET);
}

static void
print_row(FILE *out, const struct bench_options *opt, const struct bench_all *all,
		struct bench_result *r)
{
	const struct bench_cell *c = &r->cell;
	double minus = minus_ports(r, QUIET);
	double raw = bench_percentile(&r->raw, QUIET);
	double pps = bench_percentile(&r->gw_pps, 1 - QUIET);
	char size[12], what[40];

	fprintf(out,
			"%-3s %-4s %4s %2u %-19s %6.0f %6.0f %6.0f %6.0f %7.1f %7.1f %5.2f %6.2f "
			"%6.1f",
			c->dir == IPSEC_PCPU_OUT ? "out" : "in", outer_text(c), size_text(c, size),
			c->workers, what_text(opt, c, what), raw,
			bench_percentile(&r->ports, QUIET), bench_percentile(&r->gw, QUIET),
			bench_percentile(&r->gw, MEDIAN), minus, minus_ports(r, MEDIAN),
			minus > 0 ? raw / minus : 0, pps / 1e6, pps * bits(c) / 1e9);
	if (c->workers > 1)
		fprintf(out, " %5.2f %5.2f", scaling(all->row, all->n, r, QUIET),
				scaling_wall(all->row, all->n, r));
	else
		fprintf(out, " %5s %5s", "", "");
	fprintf(out, " %5" PRIu64 " %u/%u/%u%s\n", r->drops, r->checked, r->wrong, r->duplicates,
			r->lost != 0 || r->leaked != 0   ? " UNBALANCED"
					: r->idle > 0.01 ? " IDLE"
							 : "");
}

/** What a row costs beside the ports and the cipher. */
static void
print_rows(FILE *out, const struct bench_options *opt, const struct bench_all *all)
{
	static const char *const heads[][2] = {{"raw", "quiet"}, {"ports", "quiet"},
			{"all-in", "quiet"}, {"all-in", "median"}};

	if (all->n == 0)
		return;
	fprintf(out,
			"TSC cycles of CPU time for a packet; quiet = 10th percentile; "
			"%u rounds of %u windows of %u ms\n\n",
			opt->rounds, BENCH_ALTERNATIONS * BENCH_WINDOWS, opt->window_ms);
	for (unsigned int line = 0; line < 2; line++) {
		fprintf(out, "%-3s %-4s %4s %2s %-19s", line ? "dir" : "", "", line ? "size" : "",
				line ? "w" : "", "");
		for (unsigned int i = 0; i < RTE_DIM(heads); i++)
			fprintf(out, " %6s", heads[i][line]);
		fprintf(out, " %7s %7s %5s %6s %6s %5s %5s %5s %s\n", line ? "quiet" : "-ports",
				line ? "median" : "-ports", line ? "diff" : "raw/",
				line ? "Mpps" : "", line ? "Gbps" : "", line ? "time" : "x cpu",
				line ? "wall" : "x", line ? "drops" : "",
				line ? "wrong/dup" : "checked/");
	}
	for (unsigned int i = 0; i < all->n; i++)
		print_row(out, opt, all, &all->row[i]);
}

static bool
over_limit(struct bench_handoff *h)
{
	return h->burst == GW_BURST && bench_handoff_more(h) > BENCH_HANDOFF_LIMIT;
}

static void
print_handoff(FILE *out, struct bench_handoff *h)
{
	fprintf(out, "%5u", h->burst);
	for (unsigned int i = 0; i < BENCH_N_PARTS; i++)
		fprintf(out, " %6.0f", bench_percentile(&h->part[i], MEDIAN));
	fprintf(out, " %6.0f %6.0f %6.0f %6.0f %7.0f", bench_handoff_more(h),
			bench_percentile(&h->more_gw, QUIET), bench_percentile(&h->more_gw, MEDIAN),
			bench_percentile(&h->more_gw, 1 - QUIET),
			bench_percentile(&h->more_ports, MEDIAN));
	if (h->burst == GW_BURST)
		fprintf(out, " %5.2f", bench_handoff_more(h) / BENCH_HANDOFF_LIMIT);
	else
		fprintf(out, " %5s", "");
	fprintf(out, " %5" PRIu64 " %u/%u%s%s\n", h->drops, h->checked, h->wrong,
			h->lost != 0 || h->leaked != 0 ? " UNBALANCED" : "",
			over_limit(h) ? " OVER" : "");
}

static void
print_handoffs(FILE *out, const struct bench_all *all)
{
	if (all->n_handoff == 0)
		return;
	fprintf(out,
			"\nhand-off: in udp 64, landed on the owner's queue beside landed on another's; "
			"TSC cycles for a packet,\nmedians of rounds of the poll loop; "
			"limit %u at bursts of %u, for least values\n\n",
			BENCH_HANDOFF_LIMIT, GW_BURST);
	fprintf(out, "%5s %13s %13s %13s %27s %7s %5s %5s %s\n", "", "landed right", "receiver",
			"owner", "more, gateway", "ports", "/", "", "checked/");
	fprintf(out, "%5s %6s %6s %6s %6s %6s %6s %6s %6s %6s %6s %7s %5s %5s %s\n", "burst",
			"ports", "gw", "ports", "gw", "gw", "ports", "least", "10 %", "median",
			"90 %", "median", "limit", "drops", "wrong");
	for (unsigned int i = 0; i < all->n_handoff; i++)
		print_handoff(out, &all->handoff[i]);
}

void
bench_report(FILE *out, const struct bench_options *opt, const struct bench_all *all)
{
	const struct bench_load *l = &all->load;
	uint32_t v = ipsec_pcpu_crypto_version();

	fprintf(out, "%s, ESN, replay window 0, inner IPv4; intel-ipsec-mb %u.%u.%u; %s; TSC %.3f GHz\n",
			opt->algo->name, v >> 16, v >> 8 & 0xff, v & 0xff,
			rte_eal_has_hugepages() ? "hugepages of 2 MB" : "no hugepages",
			rte_get_tsc_hz() / 1e9);
	print_rows(out, opt, all);
	print_handoffs(out, all);
	if (l->start_s > 0)
		fprintf(out, "\nstart to \"up\": %.2f s\n", l->start_s);
	if (l->parse_s > 0)
		fprintf(out,
				"%u tunnels x %u pairs: file read in %.2f s, up in %.2f s more; "
				"%.1f MB beyond mempools (%.1f MB), %.0f bytes for each SA\n",
				l->tunnels, rte_lcore_count() - 1, l->parse_s, l->init_s,
				l->memory_mb, l->pools_mb, l->sa_bytes);
}

static void
json_row(FILE *f, struct bench_result *all, unsigned int n, struct bench_result *r)
{
	const struct bench_cell *c = &r->cell;
	char text[12];

	fprintf(f,
			"{\"algo\": \"%s\", \"dir\": \"%s\", \"encap\": %s, \"outer\": %u, "
			"\"size\": \"%s\", \"workers\": %u, \"tunnels\": %u, \"flows\": %u, "
			"\"burst\": %u, \"window\": %u, ",
			c->algo->name, c->dir == IPSEC_PCPU_OUT ? "out" : "in",
			c->encap ? "true" : "false", c->ip6 ? 6 : 4, size_text(c, text), c->workers,
			c->tunnels, c->flows, c->burst, c->window);
	fprintf(f,
			"\"raw_quiet\": %.1f, \"ports_quiet\": %.1f, \"all_in_quiet\": %.1f, "
			"\"minus_ports_quiet\": %.1f, ",
			bench_percentile(&r->raw, QUIET), bench_percentile(&r->ports, QUIET),
			bench_percentile(&r->gw, QUIET), minus_ports(r, QUIET));
	fprintf(f,
			"\"raw_median\": %.1f, \"ports_median\": %.1f, \"all_in_median\": %.1f, "
			"\"minus_ports_median\": %.1f, ",
			bench_percentile(&r->raw, MEDIAN), bench_percentile(&r->ports, MEDIAN),
			bench_percentile(&r->gw, MEDIAN), minus_ports(r, MEDIAN));
	fprintf(f, "\"pps_median\": %.0f, \"scaling_cpu\": %.3f, \"scaling_wall\": %.3f, ",
			bench_percentile(&r->gw_pps, MEDIAN), scaling(all, n, r, QUIET),
			scaling_wall(all, n, r));
	fprintf(f,
			"\"packets\": %" PRIu64 ", \"drops\": %" PRIu64 ", \"idle\": %.4f, "
			"\"checked\": %u, \"wrong\": %u, \"duplicates\": %u, \"lost\": %" PRId64
			", \"leaked\": %" PRIu64 "}",
			r->packets, r->drops, r->idle, r->checked, r->wrong, r->duplicates, r->lost,
			r->leaked);
}

static void
json_values(FILE *f, bool first, const char *name, const double v[], unsigned int n)
{
	fprintf(f, "%s\"%s\": [", first ? "" : ", ", name);
	for (unsigned int i = 0; i < n; i++)
		fprintf(f, "%s%.1f", i == 0 ? "" : ", ", v[i]);
	fprintf(f, "]");
}

static void
json_compare(FILE *f, struct bench_compare *c)
{
	static const char *const kinds[] = {"kinds", "workers", "bursts", "checksums"};
	const struct bench_result *r = &c->r;
	char text[12];

	fprintf(f, "{\"kind\": \"%s\", \"dir\": \"%s\", \"size\": \"%s\", \"turns\": [",
			kinds[c->kind], r->cell.dir == IPSEC_PCPU_OUT ? "out" : "in",
			size_text(&r->cell, text));
	for (unsigned int i = 0; i < c->n_turns; i++) {
		fprintf(f, "%s\n{", i == 0 ? "" : ",");
		json_values(f, true, "gw", c->turn[i].gw, c->n);
		json_values(f, false, "ports", c->turn[i].ports, c->n);
		json_values(f, false, "raw", c->turn[i].raw, c->kind == BENCH_WORKERS ? c->n : 1);
		fprintf(f, "}");
	}
	fprintf(f,
			"], \"drops\": %" PRIu64 ", \"checked\": %u, \"wrong\": %u, "
			"\"duplicates\": %u, \"lost\": %" PRId64 ", \"leaked\": %" PRIu64 "}",
			r->drops, r->checked, r->wrong, r->duplicates, r->lost, r->leaked);
}

static void
json_handoff(FILE *f, struct bench_handoff *h)
{
	static const char *const name[] = {"own_ports", "own_gw", "receiver_ports", "receiver_gw",
			"owner_gw", "owner_ports"};

	fprintf(f, "{\"burst\": %u, ", h->burst);
	for (unsigned int i = 0; i < BENCH_N_PARTS; i++)
		fprintf(f, "\"%s_quiet\": %.1f, \"%s_median\": %.1f, ", name[i],
				bench_percentile(&h->part[i], QUIET), name[i],
				bench_percentile(&h->part[i], MEDIAN));
	for (unsigned int i = 0; i < BENCH_N_PARTS; i++)
		json_values(f, i == 0, name[i], h->part[i].v, h->part[i].n);
	json_values(f, false, "more_gw", h->more_gw.v, h->more_gw.n);
	fprintf(f,
			", \"more_gw_least\": %.1f, \"more_gw_median\": %.1f, "
			"\"more_ports_median\": %.1f, ",
			bench_handoff_more(h), bench_percentile(&h->more_gw, MEDIAN),
			bench_percentile(&h->more_ports, MEDIAN));
	if (h->burst == GW_BURST)
		fprintf(f, "\"limit\": %u, \"over_limit\": %s, ", BENCH_HANDOFF_LIMIT,
				over_limit(h) ? "true" : "false");
	fprintf(f,
			"\"drops\": %" PRIu64 ", \"checked\": %u, \"wrong\": %u, \"lost\": %" PRId64
			", \"leaked\": %" PRIu64 "}",
			h->drops, h->checked, h->wrong, h->lost, h->leaked);
}

int
bench_report_json(const struct bench_options *opt, const struct bench_all *all)
{
	const struct bench_load *l = &all->load;
	FILE *f = fopen(opt->json, "w");

	if (f == NULL)
		return -errno;
	fprintf(f,
			"{\"algo\": \"%s\", \"ipsec_mb\": %u, \"hugepages\": %s, "
			"\"tsc_hz\": %" PRIu64
			",\n\"start_s\": %.3f, \"load\": {\"tunnels\": %u, \"parse_s\": %.3f, "
			"\"init_s\": %.3f, \"memory_mb\": %.1f, \"pools_mb\": %.1f, "
			"\"sas\": %u, \"sa_bytes\": %.0f},\n\"rows\": [\n",
			opt->algo->name, ipsec_pcpu_crypto_version(),
			rte_eal_has_hugepages() ? "true" : "false", rte_get_tsc_hz(), l->start_s,
			l->tunnels, l->parse_s, l->init_s, l->memory_mb, l->pools_mb, l->sas,
			l->sa_bytes);
	for (unsigned int i = 0; i < all->n; i++) {
		json_row(f, all->row, all->n, &all->row[i]);
		fprintf(f, "%s\n", i + 1 < all->n ? "," : "");
	}
	fprintf(f, "],\n\"compare\": [\n");
	for (unsigned int i = 0; i < all->n_compare; i++) {
		json_compare(f, &all->compare[i]);
		fprintf(f, "%s\n", i + 1 < all->n_compare ? "," : "");
	}
	fprintf(f, "],\n\"handoff\": [\n");
	for (unsigned int i = 0; i < all->n_handoff; i++) {
		json_handoff(f, &all->handoff[i]);
		fprintf(f, "%s\n", i + 1 < all->n_handoff ? "," : "");
	}
	fprintf(f, "]}\n");
	return fclose(f) == 0 ? 0 : -EIO;
}
