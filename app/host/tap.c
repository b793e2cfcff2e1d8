/* SPDX-License-Identifier: BSD-3-Clause */

#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define TUN_DEV "/dev/net/tun"
/** Segments of one frame: far more than 9,600 bytes in 2 KB mbufs take. */
#define MAX_SEGS 64

static int
open_failed(const char *name, int rc, struct gw_error *err)
{
	const char *what = "";

	if (rc == ENOENT || rc == ENODEV || rc == ENXIO)
		what = ": load the kernel's tun module (modprobe tun)";
	else if (rc == EPERM || rc == EACCES)
		what = ": run as root, or with CAP_NET_ADMIN";
	gw_error_set(err, NULL, 0, "port \"%s\": cannot make its TAP with " TUN_DEV ": %s%s", name,
			strerror(rc), what);
	return -rc;
}

/** Make the interface; a left-over one of this name is not taken: it may be someone else's. */
static int
create(struct gw_tap *tap, struct gw_error *err)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL)};
	int rc;

	tap->fd = open(TUN_DEV, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tap->fd < 0)
		return open_failed(tap->name, errno, err);
	memcpy(ifr.ifr_name, tap->name, sizeof(ifr.ifr_name));
	if (ioctl(tap->fd, TUNSETIFF, &ifr) == 0)
		return 0;
	/* EBUSY for a TAP, EINVAL for an interface of another kind */
	rc = errno;
	if ((rc != EBUSY && rc != EEXIST && rc != EINVAL) || if_nametoindex(tap->name) == 0)
		return open_failed(tap->name, rc, err);
	gw_error_set(err, NULL, 0,
			"port \"%s\": there is an interface %s already: give the port another "
			"name, or remove the interface (ip link del %s) if nobody uses it",
			tap->name, tap->name, tap->name);
	return -EEXIST;
}

/** MAC before up: the link-local address is made from it. */
static int
set_up(struct gw_tap *tap, int sock, const struct rte_ether_addr *mac, uint16_t mtu)
{
	struct ifreq ifr = {.ifr_flags = 0};

	memcpy(ifr.ifr_name, tap->name, sizeof(ifr.ifr_name));
	ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(ifr.ifr_hwaddr.sa_data, mac, sizeof(*mac));
	if (ioctl(sock, SIOCSIFHWADDR, &ifr) < 0)
		return -errno;
	ifr.ifr_mtu = mtu;
	if (ioctl(sock, SIOCSIFMTU, &ifr) < 0)
		return -errno;
	if (ioctl(sock, SIOCGIFINDEX, &ifr) < 0)
		return -errno;
	tap->ifindex = (unsigned int)ifr.ifr_ifindex;
	if (ioctl(sock, SIOCGIFFLAGS, &ifr) < 0)
		return -errno;
	ifr.ifr_flags |= IFF_UP;
	return ioctl(sock, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

int
gw_tap_open(struct gw_tap *tap, const char *name, const struct rte_ether_addr *mac, uint16_t mtu,
		struct gw_error *err)
{
	int sock, rc;

	memset(tap, 0, sizeof(*tap));
	tap->fd = -1;
	snprintf(tap->name, sizeof(tap->name), "%s", name);
	rc = create(tap, err);
	if (rc < 0)
		goto fail;
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	rc = sock < 0 ? -errno : set_up(tap, sock, mac, mtu);
	if (sock >= 0)
		close(sock);
	if (rc < 0) {
		gw_error_set(err, NULL, 0, "port \"%s\": cannot take its TAP up: %s", name,
				strerror(-rc));
		goto fail;
	}
	return 0;
fail:
	gw_tap_close(tap);
	return rc;
}

void
gw_tap_close(struct gw_tap *tap)
{
	if (tap->fd >= 0)
		close(tap->fd);
	tap->fd = -1;
}

int
gw_tap_write(struct gw_tap *tap, const struct rte_mbuf *m)
{
	struct iovec iov[MAX_SEGS];
	uint32_t len = m->pkt_len;
	int n = 0, rc = 0;
	ssize_t done;

	for (; m != NULL && n < MAX_SEGS; m = m->next, n++) {
		iov[n].iov_base = rte_pktmbuf_mtod(m, void *);
		iov[n].iov_len = m->data_len;
	}
	if (m != NULL) {
		tap->write_fails++;
		return -EMSGSIZE;
	}
	do {
		done = writev(tap->fd, iov, n);
		rc = done < 0 ? -errno : 0;
	} while (rc == -EINTR);
	/* a device takes all of a frame or nothing, but let no counter rest on that */
	if (rc == 0 && (size_t)done != len)
		rc = -EIO;
	if (rc < 0)
		tap->write_fails++;
	else
		tap->written++;
	return rc;
}

/** No mbuf for a frame: take it all the same, or epoll reports it again at once. */
static void
lose(struct gw_tap *tap)
{
	char byte;
	int rc = read(tap->fd, &byte, 1) < 0 ? errno : ENOMEM;

	errno = rc;
}

struct rte_mbuf *
gw_tap_read(struct gw_tap *tap, struct rte_mempool *pool)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	ssize_t n;
	int rc;

	if (m == NULL) {
		lose(tap);
		return NULL;
	}
	do {
		n = read(tap->fd, rte_pktmbuf_mtod(m, void *), rte_pktmbuf_tailroom(m));
	} while (n < 0 && errno == EINTR);
	/* the kernel cuts a frame that does not fit, without a word */
	if (n <= 0 || n == rte_pktmbuf_tailroom(m)) {
		rc = n < 0 ? errno : EMSGSIZE;
		rte_pktmbuf_free(m);
		errno = rc;
		return NULL;
	}
	m->data_len = (uint16_t)n;
	m->pkt_len = (uint32_t)n;
	tap->read++;
	return m;
}
