/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef NL_PARSE_H
#define NL_PARSE_H

/* rtnetlink messages to items of a table. Pure. */

#include <netlink/msg.h>

#include "nl_table.h"

/** Interfaces that are ours. */
struct nl_watch {
	const unsigned int *ifindex;
	unsigned int n;
};

enum nl_parsed {
	NL_IGNORE, /* nothing that could ever be in our tables */
	NL_KEY, /* its key is set, but it is not one of ours: a dead route, a foreign address */
	NL_ITEM, /* all is set */
};

bool nl_watched(const struct nl_watch *watch, unsigned int ifindex);

/* @p item is filled (all of it, padding zeroed); gen and shadows are 0. */
enum nl_parsed nl_parse_route(
		struct nlmsghdr *h, const struct nl_watch *watch, struct nl_item *item);
enum nl_parsed nl_parse_neigh(
		struct nlmsghdr *h, const struct nl_watch *watch, struct nl_item *item);
enum nl_parsed nl_parse_addr(
		struct nlmsghdr *h, const struct nl_watch *watch, struct nl_item *item);

#endif /* NL_PARSE_H */
