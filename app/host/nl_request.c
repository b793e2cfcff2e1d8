/* SPDX-License-Identifier: BSD-3-Clause */

#include "nl_request.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

#define MSG_BUF (32 << 10) /* the kernel's largest datagram in a dump */

struct nl_sock *
nl_socket_open(void)
{
	struct nl_sock *sk = nl_socket_alloc();

	if (sk == NULL)
		return NULL;
	if (nl_connect(sk, NETLINK_ROUTE) < 0 || nl_socket_set_msg_buf_size(sk, MSG_BUF) < 0) {
		nl_socket_free(sk);
		return NULL;
	}
	return sk;
}

static int
on_error(struct sockaddr_nl *from, struct nlmsgerr *e, void *arg)
{
	struct nl_request *req = arg;

	(void)from;
	req->kernel_errno = -e->error;
	return NL_STOP;
}

static int
open_acked(struct nl_request *req)
{
	nl_socket_free(req->acked);
	req->acked = nl_socket_open();
	if (req->acked == NULL)
		return -EIO;
	nl_socket_modify_err_cb(req->acked, NL_CB_CUSTOM, on_error, req);
	return 0;
}

int
nl_request_open(struct nl_request *req)
{
	memset(req, 0, sizeof(*req));
	if (open_acked(req) < 0)
		return -EIO;
	req->hints = nl_socket_open();
	if (req->hints == NULL)
		return -EIO;
	nl_socket_disable_auto_ack(req->hints);
	return 0;
}

void
nl_request_close(struct nl_request *req)
{
	nl_socket_free(req->acked);
	nl_socket_free(req->hints);
}

/** Send and wait for the answer; @p msg is freed. 0 or -errno. */
static int
send_acked(struct nl_request *req, struct nl_msg *msg)
{
	int rc;

	if (req->acked == NULL && open_acked(req) < 0) {
		nlmsg_free(msg);
		return -EIO;
	}
	req->kernel_errno = 0;
	rc = nl_send_sync(req->acked, msg);
	if (rc >= 0)
		return 0;
	if (req->kernel_errno != 0)
		return -req->kernel_errno;
	/* no answer, or one to something else: start afresh next time */
	nl_socket_free(req->acked);
	req->acked = NULL;
	return -EIO;
}

static int
put_addr(struct nl_msg *msg, int attr, const struct gw_addr *addr)
{
	return nla_put(msg, attr, (int)gw_addr_len(addr->family), &addr->a);
}

int
nl_request_addr(struct nl_request *req, unsigned int ifindex, const struct gw_prefix *prefix,
		struct gw_error *err)
{
	struct ifaddrmsg ifa = {.ifa_family = prefix->addr.family,
			.ifa_prefixlen = prefix->len,
			.ifa_index = ifindex};
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
	char text[GW_ADDR_STRLEN], name[IF_NAMESIZE] = "?";
	int rc;

	/* duplicate detection would keep the address unusable for a second or two */
	if (prefix->addr.family == AF_INET6)
		ifa.ifa_flags = IFA_F_NODAD;
	if (msg == NULL || nlmsg_append(msg, &ifa, sizeof(ifa), NLMSG_ALIGNTO) < 0 ||
			put_addr(msg, IFA_LOCAL, &prefix->addr) < 0 ||
			put_addr(msg, IFA_ADDRESS, &prefix->addr) < 0) {
		nlmsg_free(msg);
		rc = -ENOMEM;
	} else {
		rc = send_acked(req, msg);
	}
	if (rc == 0 || rc == -EEXIST)
		return 0;
	if_indextoname(ifindex, name);
	gw_error_set(err, NULL, 0, "cannot add address %s to %s: %s%s%s%s",
			gw_prefix_text(prefix, text), name, strerror(-rc),
			rc == -EACCES ? ": IPv6 is off there (sysctl net.ipv6.conf." : "",
			rc == -EACCES ? name : "", rc == -EACCES ? ".disable_ipv6=0)" : "");
	return rc;
}

static int
fill_route(struct nl_msg *msg, const struct gw_config_route *route, unsigned int ifindex)
{
	const struct gw_addr *via = &route->via;
	struct rtmsg rtm = {
			.rtm_family = route->to.addr.family,
			.rtm_dst_len = route->to.len,
			.rtm_table = RT_TABLE_MAIN,
			.rtm_protocol = RTPROT_STATIC,
			.rtm_scope = via->family == 0 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
			.rtm_type = RTN_UNICAST,
	};
	const __kernel_sa_family_t family = via->family;
	uint8_t rtvia[sizeof(family) + sizeof(via->a)]; /* a struct rtvia */

	if (nlmsg_append(msg, &rtm, sizeof(rtm), NLMSG_ALIGNTO) < 0)
		return -ENOMEM;
	if (route->to.len > 0 && put_addr(msg, RTA_DST, &route->to.addr) < 0)
		return -ENOMEM;
	if (ifindex != 0 && nla_put_u32(msg, RTA_OIF, ifindex) < 0)
		return -ENOMEM;
	if (via->family == 0)
		return 0;
	if (via->family == route->to.addr.family)
		return put_addr(msg, RTA_GATEWAY, via) < 0 ? -ENOMEM : 0;
	memcpy(rtvia, &family, sizeof(family));
	memcpy(rtvia + sizeof(family), &via->a, sizeof(via->a));
	return nla_put(msg, RTA_VIA, (int)(sizeof(family) + gw_addr_len(via->family)), rtvia) < 0
			? -ENOMEM
			: 0;
}

int
nl_request_route(struct nl_request *req, const struct gw_config_route *route, unsigned int ifindex,
		struct gw_error *err)
{
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
	char to[GW_ADDR_STRLEN], via[GW_ADDR_STRLEN];
	const char *hint = "";
	int rc;

	if (msg == NULL || fill_route(msg, route, ifindex) < 0) {
		nlmsg_free(msg);
		rc = -ENOMEM;
	} else {
		rc = send_acked(req, msg);
	}
	if (rc == 0)
		return 0;
	if (rc == -ENETUNREACH || rc == -EHOSTUNREACH || rc == -EINVAL)
		hint = ": is via in the network of one of the port's addresses?";
	gw_error_set(err, NULL, 0, "cannot add route to %s via %s: %s%s",
			gw_prefix_text(&route->to, to), gw_addr_text(&route->via, via),
			strerror(-rc), hint);
	return rc;
}

int
nl_request_neigh(struct nl_request *req, unsigned int ifindex, const struct gw_addr *addr,
		bool known)
{
	/*
	 * NTF_USE takes "permanent" from an entry, and its address with it (5.16 and later):
	 * one that somebody has just added, and that we have not heard of, is left alone
	 */
	int excl = known ? 0 : NLM_F_EXCL;
	struct ndmsg ndm = {.ndm_family = addr->family,
			.ndm_ifindex = (int)ifindex,
			.ndm_state = NUD_NONE,
			.ndm_flags = NTF_USE};
	struct nl_msg *msg;
	char answer[256];
	int rc;

	if (req->hints == NULL)
		return -EIO;
	/* refusals of earlier ones: nobody needs them, but they would fill the socket */
	while (recv(nl_socket_get_fd(req->hints), answer, sizeof(answer), MSG_DONTWAIT) > 0)
		;
	msg = nlmsg_alloc_simple(RTM_NEWNEIGH, NLM_F_CREATE | excl);
	if (msg == NULL || nlmsg_append(msg, &ndm, sizeof(ndm), NLMSG_ALIGNTO) < 0 ||
			put_addr(msg, NDA_DST, addr) < 0) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	rc = nl_send_auto(req->hints, msg);
	nlmsg_free(msg);
	return rc < 0 ? -EIO : 0;
}
