/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef NL_TABLE_H
#define NL_TABLE_H

/*
 * What netlink.c knows: a dense array of routes, neighbours or addresses, found
 * by key through a hash table. An item's place changes with every put and del.
 */

#include "netlink.h"

/** What makes two objects the same to the kernel. Compared as bytes: zeroed before it is filled. */
struct nl_key {
	uint8_t addr[16];
	uint32_t number; /* metric of a route, else ifindex */
	uint8_t family;
	uint8_t len; /* of the prefix */
	uint8_t zero[2];
};

struct nl_item {
	struct nl_key key;
	uint32_t gen; /* the dump that saw it last */
	uint16_t n_hops; /* of a route: all, ours or not */
	bool shadows; /* the kernel has more than one route with this key; this is the first */
	union {
		struct gw_nl_route route;
		struct gw_nl_neigh neigh;
		struct gw_nl_addr addr;
	};
};

struct nl_table {
	struct nl_item *item;
	uint32_t n;
	uint32_t cap;
	uint32_t *slot; /* index into item + 1; 0: free */
	uint32_t n_slots; /* power of two, at least twice cap */
};

/** NULL: not there. */
struct nl_item *nl_table_find(const struct nl_table *t, const struct nl_key *key);

/** Find, or add zeroed but for its key. NULL: no memory. */
struct nl_item *nl_table_put(struct nl_table *t, const struct nl_key *key);

/** Remove; the last item takes its place. */
void nl_table_del(struct nl_table *t, struct nl_item *item);

void nl_table_free(struct nl_table *t);

#endif /* NL_TABLE_H */
