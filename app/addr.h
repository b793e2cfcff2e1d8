/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef ADDR_H
#define ADDR_H

/* IP addresses, prefixes and their text forms. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ipsec_pcpu.h>

/** Room for any address, prefix or address with port as text, with the final 0. */
#define GW_ADDR_STRLEN 64

struct gw_addr {
	uint8_t family; /* AF_INET or AF_INET6; 0: none */
	union ipsec_pcpu_addr a;
};

struct gw_prefix {
	struct gw_addr addr; /* bits behind len may be set: an interface address */
	uint8_t len;
};

/** Where a server listens. */
struct gw_listen {
	struct gw_addr addr; /* family 0: nowhere */
	uint16_t port; /* host order */
};

/** Bytes of an address of this family: 4 or 16. */
static inline size_t
gw_addr_len(uint8_t family)
{
	return family == 2 /* AF_INET */ ? 4 : 16;
}

/** "10.1.0.1", "2001:db8::1"; 0 or -EINVAL. */
int gw_addr_parse(const char *text, struct gw_addr *addr);

/** "10.1.0.0/16"; an address alone is a host prefix. 0 or -EINVAL. */
int gw_prefix_parse(const char *text, struct gw_prefix *prefix);

/** "127.0.0.1:9470", "[::1]:9470"; a port alone is that of 127.0.0.1. 0 or -EINVAL. */
int gw_listen_parse(const char *text, struct gw_listen *listen);

/** As text into @p buf of GW_ADDR_STRLEN; returns buf. "-" for family 0. */
const char *gw_addr_text(const struct gw_addr *addr, char *buf);
const char *gw_prefix_text(const struct gw_prefix *prefix, char *buf);
const char *gw_listen_text(const struct gw_listen *listen, char *buf);

bool gw_addr_equal(const struct gw_addr *a, const struct gw_addr *b);

/** Is @p addr inside @p prefix? False where the families differ. */
bool gw_prefix_has(const struct gw_prefix *prefix, const struct gw_addr *addr);

/** Is there an address that both have? */
bool gw_prefix_overlap(const struct gw_prefix *a, const struct gw_prefix *b);

/** An order, for sorting: each prefix without bits behind its length is before all inside it. */
int gw_prefix_compare(const struct gw_prefix *a, const struct gw_prefix *b);

/** Clear the bits behind the prefix length. */
void gw_prefix_mask(struct gw_prefix *prefix);

#endif /* ADDR_H */
