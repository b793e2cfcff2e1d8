/* SPDX-License-Identifier: BSD-3-Clause */

/* Which devargs the ena PMD is to get: their names differ between DPDK versions. */

#include "ena_tweaks.h"

#include <errno.h>

#include <rte_common.h>

/*
 * A name that the PMD does not know makes the probe fail, so each stands only
 * for versions that are known to have it.
 */
static const struct ena_devarg devargs[] = {
		{"large_llq_hdr", 0, 2211, 2403,
				"Our headers are 58 bytes (IPv4) or 78 (IPv6), of which 96 go in line: "
				"large entries would only halve the number of descriptors."},
		{"enable_llq", 1, 2211, 2403,
				"Headers are pushed into the device. Without it c6in and later lose most of "
				"their packet rate. It wants write combining: docs/ena.md."},
		{"llq_policy", 2, 2407, ENA_LATEST,
				"Normal LLQ: headers are pushed into the device, 96 bytes in line; ours are 58 "
				"(IPv4) or 78 (IPv6). 1 lets the device choose, 0 loses most of the packet "
				"rate. It wants write combining: docs/ena.md."},
		{"miss_txc_to", 5, 2211, ENA_LATEST,
				"Seconds after which a packet that was not sent counts as missing; too many "
				"make the device ask for a reset, which the gateway does."},
		{"control_path_poll_interval", 0, 2411, ENA_LATEST,
				"Events come by interrupt, as vfio-pci and igb_uio have them. With "
				"uio_pci_generic, which has none: milliseconds, e.g. 500."},
		{"enable_frag_bypass", 1, 2511, ENA_LATEST,
				"Fragments that the gateway sends are else limited to 1024 a second."},
};

unsigned int
ena_devargs(unsigned int version, const struct ena_devarg **args, unsigned int max)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < RTE_DIM(devargs) && n < max; i++)
		if (version >= devargs[i].first && version <= devargs[i].last)
			args[n++] = &devargs[i];
	return n;
}

int
ena_devargs_print(FILE *out, unsigned int version)
{
	const struct ena_devarg *args[RTE_DIM(devargs)];
	unsigned int n = ena_devargs(version, args, RTE_DIM(args));

	for (unsigned int i = 0; i < n; i++)
		fprintf(out, "%s%s=%u", i == 0 ? "" : ",", args[i]->name, args[i]->value);
	fprintf(out, "\n# For DPDK %u.%02u: -a 0000:00:06.0,ARGS or device = \"0000:00:06.0,ARGS\", ARGS being the line above.\n",
			version / 100, version % 100);
	for (unsigned int i = 0; i < n; i++)
		fprintf(out, "# %s=%u: %s\n", args[i]->name, args[i]->value, args[i]->why);
	return ferror(out) ? -EIO : 0;
}
