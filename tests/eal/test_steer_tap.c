/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * app/steer/steer_tap.c on real TAPs, in a network namespace of this process alone: what
 * the kernel sends on the interface is what the queues receive. Needs root; skipped without.
 *
 * The net_tap of DPDK 22.11 writes beyond an array on its stack when it is started with more
 * than 4 queues (RTE_MP_MAX_FD_NUM / 2). A TAP with 16 is made here, by hand.
 */

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "log.h"
#include "steer/steer.h"
#include "steer/tap_program.h"

#define IFACE "steertap"
#define N_SAS 64
#define MAX_IDS 65536
#define NO_QUEUE UINT16_MAX
#define NET_TAP_QUEUES 4
#define MAX_QUEUES 16
#define ETHERTYPE_IP4 0x0800
#define ETHERTYPE_IP6 0x86dd

/** A frame whose last 4 bytes are its number. */
struct frame {
	uint8_t data[256];
	size_t len;
};

static struct rte_mempool *pool;
static struct gw_port port;
static struct gw_steer_port sp;
static struct gw_steer_sa sa[N_SAS];
static struct gw_steer_sa *sas[N_SAS];
static struct gw_error err;
static int fds[MAX_QUEUES]; /* of the TAP that is made by hand */
static bool by_hand;
static bool is_open;
static int sock = -1;
static uint16_t landed[MAX_IDS]; /* by number: on which queue; NO_QUEUE: not come */
static uint32_t next_id;
static unsigned int n_open; /* file descriptors before the method is probed */

static void __attribute__((format(printf, 1, 2))) run(const char *fmt, ...)
{
	char cmd[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	if (system(cmd) != 0)
		fail_msg("failed: %s", cmd);
}

static unsigned int
open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

/* Frames */

static void
put(struct frame *f, const void *data, size_t len)
{
	assert_true(f->len + len <= sizeof(f->data));
	memcpy(f->data + f->len, data, len);
	f->len += len;
}

static void
put16(struct frame *f, unsigned int value)
{
	uint16_t be = htons((uint16_t)value);

	put(f, &be, 2);
}

static void
put32(struct frame *f, uint32_t value)
{
	uint32_t be = htonl(value);

	put(f, &be, 4);
}

static void
put_ethernet(struct frame *f, unsigned int type)
{
	f->len = 0;
	put(f, &port.mac, 6);
	put(f, "\x02\0\0\0\0\x77", 6);
	put16(f, type);
}

/** @p words: of options. @p frag: offset and flags. */
static void
put_ip4(struct frame *f, unsigned int proto, unsigned int words, unsigned int frag, uint32_t host)
{
	put_ethernet(f, ETHERTYPE_IP4);
	put16(f, 0x4500 + (words << 8));
	put16(f, 60);
	put16(f, 0x1234);
	put16(f, frag);
	put16(f, 64 << 8 | proto);
	put16(f, 0);
	put32(f, 0xc0000200 | host);
	put32(f, 0xc0000201);
	for (unsigned int i = 0; i < words; i++)
		put32(f, 0x01010101);
}

static void
put_ip6(struct frame *f, unsigned int next, uint32_t host)
{
	put_ethernet(f, ETHERTYPE_IP6);
	put32(f, 0x60000000);
	put16(f, 40);
	put16(f, next << 8 | 64);
	for (unsigned int i = 0; i < 2; i++) {
		put32(f, 0x20010db8);
		put32(f, 0);
		put32(f, 0);
		put32(f, i == 0 ? host : 1);
	}
}

static void
put_ports(struct frame *f, unsigned int sport, unsigned int dport)
{
	put16(f, sport);
	put16(f, dport);
	put32(f, 0);
}

/** A packet as the SA's peer sends it; @p options: of an IPv4 header. */
static void
make_esp(struct frame *f, const struct gw_steer_sa *s, unsigned int options)
{
	unsigned int proto = s->tuple.dport != 0 ? IPPROTO_UDP : IPPROTO_ESP;

	if (s->tuple.family == AF_INET)
		put_ip4(f, proto, options, 0x4000, 7);
	else
		put_ip6(f, proto, 7);
	if (s->tuple.dport != 0)
		put_ports(f, 40000, s->tuple.dport);
	put32(f, s->spi);
	put32(f, 1);
	put(f, "payload.", 8);
}

/** Returns its number. */
static uint32_t
send_frame(struct frame *f)
{
	uint32_t id = next_id++;

	assert_true(id < MAX_IDS);
	put32(f, id);
	assert_int_equal(send(sock, f->data, f->len, 0), (ssize_t)f->len);
	return id;
}

static uint32_t
send_esp(const struct gw_steer_sa *s)
{
	struct frame f;

	make_esp(&f, s, 0);
	return send_frame(&f);
}

/** Returns 1 if the frame is one of ours, not the kernel's own. */
static unsigned int
note_frame(const uint8_t *data, size_t len, uint16_t queue)
{
	uint32_t id;

	if (memcmp(data + 6, "\x02\0\0\0\0\x77", 6) != 0)
		return 0;
	memcpy(&id, data + len - 4, 4);
	id = ntohl(id);
	assert_true(id < MAX_IDS);
	assert_int_equal(landed[id], NO_QUEUE); /* once */
	landed[id] = queue;
	return 1;
}

static unsigned int
read_queue(uint16_t q)
{
	unsigned int sum = 0;
	uint8_t data[2048];
	ssize_t len;

	while ((len = read(fds[q], data, sizeof(data))) > 0)
		sum += note_frame(data, (size_t)len, q);
	return sum;
}

/** All that waits on the queues. */
static unsigned int
poll_queues(void)
{
	struct rte_mbuf *m[32];
	unsigned int sum = 0;

	for (uint16_t q = 0; q < port.n_rxq; q++) {
		uint16_t n;

		if (by_hand) {
			sum += read_queue(q);
			continue;
		}
		n = rte_eth_rx_burst(port.id, q, m, 32);
		for (uint16_t i = 0; i < n; i++)
			sum += note_frame(
					rte_pktmbuf_mtod(m[i], const uint8_t *), m[i]->data_len, q);
		rte_pktmbuf_free_bulk(m, n);
	}
	return sum;
}

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
receive(unsigned int n)
{
	double end = now() + 3;
	unsigned int got = 0;

	while (got < n && now() < end)
		got += poll_queues();
	assert_int_equal(got, n);
}

/* Ports and SAs */

static void
open_socket(void)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET};

	if (sock >= 0)
		close(sock);
	to.sll_ifindex = (int)if_nametoindex(IFACE);
	assert_true(to.sll_ifindex > 0);
	sock = socket(AF_PACKET, SOCK_RAW, 0);
	assert_true(sock >= 0);
	assert_int_equal(bind(sock, (struct sockaddr *)&to, sizeof(to)), 0);
}

static void
forget_frames(void)
{
	memset(landed, 0xff, sizeof(landed));
	next_id = 0;
}

static void
open_port(const char *device, unsigned int queues)
{
	struct gw_config_port cfg = {.name = "wan",
			.device = (char *)(uintptr_t)device,
			.mtu = 1500,
			.rx_desc = 64,
			.tx_desc = 64};

	memset(&port, 0, sizeof(port));
	memset(&err, 0, sizeof(err));
	if (gw_port_open(&port, &cfg, queues, pool, &err) < 0 || gw_port_start(&port, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(port.n_rxq, queues);
}

/** A port whose TAP is found by its MAC: ethdev knows nothing of it. */
static void
make_by_hand(unsigned int queues)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE};

	memcpy(ifr.ifr_name, IFACE, sizeof(IFACE));
	for (unsigned int q = 0; q < queues; q++) {
		fds[q] = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
		assert_true(fds[q] >= 0);
		assert_int_equal(ioctl(fds[q], TUNSETIFF, &ifr), 0);
	}
	port = (struct gw_port){
			.id = RTE_MAX_ETHPORTS - 1, .driver = "net_tap", .n_rxq = (uint16_t)queues};
	assert_int_equal(ioctl(fds[0], SIOCGIFHWADDR, &ifr), 0);
	memcpy(&port.mac, ifr.ifr_hwaddr.sa_data, sizeof(port.mac));
	run("ip link set " IFACE " up");
	by_hand = true;
}

static void
close_port(void)
{
	is_open = false;
	if (by_hand)
		for (uint16_t q = 0; q < port.n_rxq; q++)
			close(fds[q]);
	else
		gw_port_close(&port);
	by_hand = false;
	assert_int_equal(rte_eth_dev_count_avail(), 0);
	assert_int_equal(if_nametoindex(IFACE), 0);
	if (sock >= 0)
		close(sock);
	sock = -1;
}

static void
open_tap(unsigned int queues)
{
	if (queues > NET_TAP_QUEUES)
		make_by_hand(queues);
	else
		open_port("net_tap0,iface=" IFACE, queues);
	sp = (struct gw_steer_port){
			.port = &port, .ops = &gw_steer_tap, .sas = sas, .n_sas = N_SAS};
	open_socket();
	n_open = open_fds();
	is_open = true;
	forget_frames();
}

static void
init_sas(void)
{
	static const uint16_t dports[] = {0, 4500, 0, 4500, 4501};

	for (unsigned int i = 0; i < N_SAS; i++) {
		sas[i] = &sa[i];
		sa[i] = (struct gw_steer_sa){.spi = (uint32_t)rand() << 8 | i,
				.queue = (uint16_t)(rand() % port.n_rxq),
				.tuple = {.family = (i & 1) != 0 ? AF_INET6 : AF_INET,
						.dport = dports[i % RTE_DIM(dports)]}};
	}
}

static void
probe(void)
{
	int rc = gw_steer_tap.probe(&sp, &err);

	if (rc < 0)
		fail_msg("%s", err.text);
	assert_non_null(sp.state);
}

static void
refuse(const char *why)
{
	struct if_nameindex *before = if_nameindex(), *after;
	unsigned int n = open_fds();

	memset(&err, 0, sizeof(err));
	assert_true(gw_steer_tap.probe(&sp, &err) < 0);
	assert_string_equal(err.text, why);
	assert_null(sp.state);
	assert_int_equal(open_fds(), n);
	/* no interface has come */
	after = if_nameindex();
	for (unsigned int i = 0; before[i].if_index != 0 || after[i].if_index != 0; i++)
		assert_int_equal(before[i].if_index, after[i].if_index);
	if_freenameindex(before);
	if_freenameindex(after);
}

static void
add_all(void)
{
	init_sas();
	for (unsigned int i = 0; i < N_SAS; i++) {
		assert_int_equal(gw_steer_tap.add(&sp, &sa[i]), 0);
		assert_non_null(sa[i].rule);
	}
}

static void
close_tap(void)
{
	gw_steer_tap.close(&sp);
	assert_null(sp.state);
	for (unsigned int i = 0; i < N_SAS; i++)
		assert_null(sa[i].rule);
	assert_int_equal(open_fds(), n_open);
	gw_steer_tap.close(&sp); /* once more does no harm */
}

/** After a test that failed: the next one is not to suffer from it. */
static int
clean_up(void **state)
{
	gw_steer_tap.close(&sp);
	if (is_open)
		close_port();
	return 0;
}

/** Some packets of each SA: how many are not where they belong. */
static unsigned int
wrong(void)
{
	unsigned int n = 0;

	for (unsigned int round = 0; round < 4; round++) {
		uint32_t first = next_id;

		for (unsigned int i = 0; i < N_SAS; i++)
			send_esp(&sa[i]);
		receive(N_SAS);
		for (unsigned int i = 0; i < N_SAS; i++)
			n += landed[first + i] != sa[i].queue;
	}
	return n;
}

static unsigned int
queues_used(uint32_t first, uint32_t end, unsigned int *most)
{
	unsigned int count[MAX_QUEUES] = {0}, used = 0;

	*most = 0;
	for (uint32_t id = first; id < end; id++)
		count[landed[id]]++;
	for (unsigned int q = 0; q < MAX_QUEUES; q++) {
		used += count[q] > 0;
		*most = RTE_MAX(*most, count[q]);
	}
	return used;
}

/* Tests */

static void
run_lands(unsigned int queues)
{
	open_tap(queues);
	probe();
	add_all();
	assert_int_equal(wrong(), 0);
	close_tap();
	close_port();
}

static void
test_lands(void **state)
{
	run_lands(2);
	run_lands(4);
	run_lands(16);
}

/** One SPI three times: plain, and to two ports; and IP options do not matter. */
static void
test_key(void **state)
{
	static const uint16_t dports[] = {0, 4500, 4501};
	struct frame f;

	open_tap(16);
	probe();
	init_sas();
	for (unsigned int i = 0; i < 3; i++) {
		sa[i].tuple.family = AF_INET;
		sa[i].tuple.dport = dports[i];
		sa[i].spi = 0xfedcba98;
		sa[i].queue = (uint16_t)(13 + i);
		assert_int_equal(gw_steer_tap.add(&sp, &sa[i]), 0);
	}
	for (unsigned int i = 0; i < 33; i++) {
		make_esp(&f, &sa[i % 3], i / 3);
		send_frame(&f);
	}
	receive(33);
	for (unsigned int i = 0; i < 33; i++)
		assert_int_equal(landed[i], 13 + i % 3);
	/* the same once more is refused, and does not harm the first */
	sa[3] = sa[1];
	sa[3].queue = 1;
	sa[3].rule = NULL;
	assert_int_equal(gw_steer_tap.add(&sp, &sa[3]), -EEXIST);
	assert_null(sa[3].rule);
	gw_steer_tap.del(&sp, &sa[3]);
	send_esp(&sa[1]);
	receive(1);
	assert_int_equal(landed[33], 14);
	close_tap();
	close_port();
}

static void
test_move(void **state)
{
	uint16_t expected[N_SAS * 8];

	open_tap(4);
	probe();
	add_all();
	for (unsigned int round = 0; round < 20; round++) {
		uint32_t first = next_id;

		for (unsigned int i = 0; i < N_SAS * 8; i++) {
			struct gw_steer_sa *s = &sa[i % N_SAS];

			if (rand() % 4 == 0) {
				s->queue = (uint16_t)(rand() % 4);
				assert_int_equal(gw_steer_tap.move(&sp, s), 0);
			}
			expected[i] = s->queue;
			send_esp(s);
			if (i % 128 == 127)
				receive(128);
		}
		for (unsigned int i = 0; i < N_SAS * 8; i++)
			assert_int_equal(landed[first + i], expected[i]);
	}
	sa[0].queue = 4;
	assert_int_equal(gw_steer_tap.move(&sp, &sa[0]), -ERANGE);
	close_tap();
	close_port();
}

#define N_STREAM 20000
static unsigned int stream_got;

/** All that the device has room for; no more. */
static void *
stream(void *arg)
{
	const struct gw_steer_sa s = *(const struct gw_steer_sa *)arg;

	for (unsigned int i = 0; i < N_STREAM; i++) {
		while (i - __atomic_load_n(&stream_got, __ATOMIC_RELAXED) > 200)
			sched_yield();
		send_esp(&s);
	}
	return NULL;
}

/** Between two queues all the time, so each packet is on one of them: never on a third. */
static void
test_move_in_stream(void **state)
{
	double end = now() + 20;
	unsigned int moves = 0;
	pthread_t thread;

	open_tap(16);
	probe();
	add_all();
	sa[0].queue = 3;
	assert_int_equal(gw_steer_tap.move(&sp, &sa[0]), 0);
	stream_got = 0;
	assert_int_equal(pthread_create(&thread, NULL, stream, &sa[0]), 0);
	while (stream_got < N_STREAM && now() < end) {
		sa[0].queue = sa[0].queue == 3 ? 11 : 3;
		assert_int_equal(gw_steer_tap.move(&sp, &sa[0]), 0);
		moves++;
		__atomic_store_n(&stream_got, stream_got + poll_queues(), __ATOMIC_RELAXED);
	}
	assert_int_equal(stream_got, N_STREAM);
	pthread_join(thread, NULL);
	for (unsigned int i = 0; i < N_STREAM; i++)
		assert_true(landed[i] == 3 || landed[i] == 11);
	assert_true(moves > 100);
	close_tap();
	close_port();
}

static void
check_text(const struct gw_steer_sa *s, const char *expected)
{
	char text[160] = "old";

	gw_steer_tap.describe(&sp, s, text, sizeof(text));
	assert_string_equal(text, expected);
}

/** What is not in the map is spread, each SA to one queue. */
static void
test_del(void **state)
{
	unsigned int most;
	uint32_t first;

	open_tap(16);
	probe();
	add_all();
	sa[1].spi = 0xa1b2c3;
	assert_int_equal(wrong(), 4); /* the key is that with which it was added */
	for (unsigned int i = 0; i < N_SAS; i++) {
		gw_steer_tap.del(&sp, &sa[i]);
		assert_null(sa[i].rule);
		gw_steer_tap.del(&sp, &sa[i]);
	}
	check_text(&sa[0], "");
	assert_true(wrong() > N_SAS * 4 / 2);
	first = next_id;
	for (unsigned int i = 0; i < 2 * N_SAS; i++)
		send_esp(&sa[i % N_SAS]);
	receive(2 * N_SAS);
	for (unsigned int i = 0; i < N_SAS; i++)
		assert_int_equal(landed[first + i], landed[first + N_SAS + i]);
	/* plain ESP by its SPI; the port is the same in all UDP */
	assert_true(queues_used(first, next_id, &most) > 4);
	/* and back */
	sa[0].queue = (uint16_t)((landed[first] + 1) % 16);
	sa[0].spi = 0x1234;
	assert_int_equal(gw_steer_tap.move(&sp, &sa[0]), 0);
	send_esp(&sa[0]);
	receive(1);
	assert_int_equal(landed[next_id - 1], sa[0].queue);
	close_tap();
	close_port();
}

static void
test_describe(void **state)
{
	open_tap(4);
	probe();
	init_sas();
	sa[0].spi = 0xa1b2c3;
	sa[0].tuple.dport = 4500;
	sa[0].queue = 3;
	sa[1].spi = 0xfffffff1;
	sa[1].tuple.dport = 0;
	sa[1].queue = 0;
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(gw_steer_tap.add(&sp, &sa[i]), 0);
	check_text(&sa[0], "program: UDP port 4500, ESP SPI 0x00a1b2c3 -> queue 3");
	check_text(&sa[1], "program: ESP SPI 0xfffffff1 -> queue 0");
	check_text(&sa[2], "");
	sa[2].queue = 4;
	assert_int_equal(gw_steer_tap.add(&sp, &sa[2]), -ERANGE);
	close_tap();
	close_port();
}

/** 256 flows twice: each on one queue, all queues used. */
static void
run_spread(unsigned int proto, bool ip6, bool by_host)
{
	uint32_t first = next_id;
	unsigned int most;
	struct frame f;

	for (unsigned int i = 0; i < 512; i++) {
		unsigned int flow = i % 256, host = by_host ? flow : 9;

		if (ip6)
			put_ip6(&f, proto, host);
		else
			put_ip4(&f, proto, 0, 0, host);
		put_ports(&f, by_host ? 1000 : 1000 + flow, 5001);
		send_frame(&f);
		if (i % 128 == 127)
			receive(128);
	}
	for (unsigned int i = 0; i < 256; i++)
		assert_int_equal(landed[first + i], landed[first + 256 + i]);
	assert_int_equal(queues_used(first, next_id, &most), 16);
	assert_true(most <= 2 * 256 * 3 / 16);
}

static void
test_spread(void **state)
{
	open_tap(16);
	probe();
	add_all();
	for (int by_host = 0; by_host < 2; by_host++)
		for (int ip6 = 0; ip6 < 2; ip6++) {
			run_spread(IPPROTO_TCP, ip6, by_host);
			run_spread(IPPROTO_UDP, ip6, by_host);
		}
	run_spread(IPPROTO_ICMP, false, true);
	run_spread(IPPROTO_ICMPV6, true, true);
	close_tap();
	close_port();
}

/** All fragments of a packet on one queue, though the first has an SPI that is known. */
static void
test_fragments(void **state)
{
	static const unsigned int frags[] = {0x2000, 0x2003, 0x0006};
	struct frame f;

	open_tap(16);
	probe();
	add_all();
	sa[0].spi = 0xabcd1234;
	assert_int_equal(sa[0].tuple.dport, 0);
	gw_steer_tap.del(&sp, &sa[0]);
	for (uint16_t q = 0; q < 16; q++) {
		uint32_t first = next_id;

		sa[0].queue = q;
		assert_int_equal(gw_steer_tap.move(&sp, &sa[0]), 0);
		for (unsigned int i = 0; i < 6; i++) {
			if (i < 3)
				put_ip4(&f, IPPROTO_ESP, 0, frags[i], 7);
			else {
				put_ip6(&f, IPPROTO_FRAGMENT, 7);
				put16(&f, IPPROTO_ESP << 8);
				put16(&f, (frags[i - 3] & 0x1fff) << 3);
				put32(&f, 0x5678);
			}
			put32(&f, sa[0].spi);
			put(&f, "fragment", 8);
			send_frame(&f);
		}
		receive(6);
		for (uint32_t i = 0; i < 6; i++)
			assert_int_equal(landed[first + i], landed[i < 3 ? 0 : 3]);
	}
	close_tap();
	close_port();
}

/** Cut anywhere, odd header lengths, no IP: all arrives somewhere. */
static void
test_odd(void **state)
{
	struct frame whole, f;
	unsigned int n = 0;

	open_tap(16);
	probe();
	add_all();
	for (unsigned int i = 0; i < 4; i++) {
		make_esp(&whole, &sa[i], 0);
		for (size_t len = 14; len <= whole.len; len++) {
			f = whole;
			f.len = len;
			send_frame(&f);
			if (++n % 64 == 0)
				receive(64);
		}
	}
	receive(n % 64);
	for (unsigned int ihl = 0; ihl < 16; ihl++) {
		make_esp(&f, &sa[0], 0);
		f.data[14] = (uint8_t)(0x40 | ihl);
		send_frame(&f);
		put_ethernet(&f, 0x0806 + ihl);
		put(&f, "arp or whatever there is", 24);
		send_frame(&f);
	}
	receive(32);
	assert_int_equal(wrong(), 0);
	close_tap();
	close_port();
}

/** The kernel's own way again; and once more. */
static void
test_close(void **state)
{
	open_tap(4);
	for (unsigned int i = 0; i < 3; i++) {
		probe();
		add_all();
		assert_int_equal(wrong(), 0);
		close_tap();
		assert_true(wrong() > N_SAS * 4 / 2);
	}
	/* stopped and started: the program stays, the queues are the same */
	probe();
	add_all();
	gw_port_stop(&port);
	assert_int_equal(gw_port_start(&port, &err), 0);
	assert_int_equal(wrong(), 0);
	close_tap();
	close_port();
}

static void
test_full(void **state)
{
	struct gw_steer_sa *many = calloc(GW_TAP_MAP_SIZE + 1, sizeof(*many)), *last;

	assert_non_null(many);
	last = &many[GW_TAP_MAP_SIZE];
	open_tap(4);
	probe();
	for (unsigned int i = 0; i <= GW_TAP_MAP_SIZE; i++) {
		many[i] = (struct gw_steer_sa){
				.spi = 0x1000 + i, .tuple = {.family = AF_INET}, .queue = i % 4};
		assert_int_equal(
				gw_steer_tap.add(&sp, &many[i]), i < GW_TAP_MAP_SIZE ? 0 : -ENOSPC);
	}
	assert_null(last->rule);
	many[5].queue = 3;
	assert_int_equal(gw_steer_tap.move(&sp, &many[5]), 0);
	send_esp(&many[5]);
	receive(1);
	assert_int_equal(landed[0], 3);
	gw_steer_tap.del(&sp, &many[5]);
	assert_int_equal(gw_steer_tap.add(&sp, last), 0);
	init_sas();
	close_tap();
	close_port();
	free(many);
}

static void
test_refused(void **state)
{
	open_tap(1);
	refuse("the port has one queue");
	close_port();
	open_port("net_null0", 2);
	refuse("the driver is net_null: only TAPs take such a program");
	close_port();
}

/** By its name, whatever the MAC; renamed, too. And with one MAC twice. */
static void
test_name(void **state)
{
	static const char *const rename[] = {
			"ip link set " IFACE " address 02:00:00:00:00:01",
			"ip link set " IFACE " down; ip link set " IFACE " name other up",
			"ip link set other down; ip link set other name " IFACE " up",
	};

	open_tap(4);
	for (unsigned int i = 0; i < RTE_DIM(rename); i++) {
		run("%s", rename[i]);
		probe();
		add_all();
		assert_int_equal(wrong(), 0);
		close_tap();
	}
	close_port();
}

/** The interface is deleted under the program. */
static void
test_deleted(void **state)
{
	open_tap(4);
	probe();
	add_all();
	run("ip link del " IFACE);
	sa[0].queue = 1;
	assert_int_equal(gw_steer_tap.move(&sp, &sa[0]), 0);
	close_tap();
	refuse("its interface is not in this network namespace, and no TAP of ours elsewhere has "
	       "the port's MAC");
	close_port();
}

/** A namespace that is there as long as the process. */
static pid_t
make_namespace(void)
{
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* also where the test fails */
		c = unshare(CLONE_NEWNET) < 0 ? 'n' : 'y';
		if (write(ready[1], &c, 1) == 1)
			pause();
		_exit(0);
	}
	assert_true(pid > 0);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	assert_int_equal(c, 'y');
	return pid;
}

/** The sender's socket in the other namespace; this process stays in its own. */
static void
open_socket_there(pid_t pid)
{
	char path[64];
	int here = open("/proc/thread-self/ns/net", O_RDONLY), there;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	there = open(path, O_RDONLY);
	assert_int_equal(setns(there, CLONE_NEWNET), 0);
	open_socket();
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	close(here);
	close(there);
}

static void
test_namespace(void **state)
{
	pid_t pid;

	open_tap(4);
	probe();
	add_all();
	pid = make_namespace();
	run("ip link set " IFACE " netns %d", (int)pid);
	run("nsenter -t %d -n ip link set " IFACE " up", (int)pid);
	open_socket_there(pid);
	/* it takes its program along; maps can be changed */
	assert_int_equal(wrong(), 0);
	for (unsigned int i = 0; i < N_SAS; i++) {
		sa[i].queue = (uint16_t)(rand() % 4);
		assert_int_equal(gw_steer_tap.move(&sp, &sa[i]), 0);
	}
	assert_int_equal(wrong(), 0);
	close_tap();
	assert_true(wrong() > N_SAS * 4 / 2);
	/* found there by its MAC */
	probe();
	add_all();
	assert_int_equal(wrong(), 0);
	close_tap();
	run("nsenter -t %d -n ip link set " IFACE " address 02:00:00:00:00:99", (int)pid);
	refuse("its interface is not in this network namespace, and no TAP of ours elsewhere has "
	       "the port's MAC");
	assert_int_equal(if_nametoindex(IFACE), 0);
	/* not confused with another of its name */
	run("ip tuntap add " IFACE " mode tap multi_queue");
	refuse("its interface is not in this network namespace, and no TAP of ours elsewhere has "
	       "the port's MAC");
	run("ip link del " IFACE);
	run("nsenter -t %d -n ip link set " IFACE " netns %d", (int)pid, (int)getpid());
	run("ip link set " IFACE " up");
	open_socket();
	/* back, with another MAC: by its name */
	probe();
	add_all();
	assert_int_equal(wrong(), 0);
	/* away, and gone with the namespace */
	run("ip link set " IFACE " netns %d", (int)pid);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close_tap();
	close_port();
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_teardown(test_lands, clean_up),
			cmocka_unit_test_teardown(test_key, clean_up),
			cmocka_unit_test_teardown(test_move, clean_up),
			cmocka_unit_test_teardown(test_move_in_stream, clean_up),
			cmocka_unit_test_teardown(test_del, clean_up),
			cmocka_unit_test_teardown(test_describe, clean_up),
			cmocka_unit_test_teardown(test_spread, clean_up),
			cmocka_unit_test_teardown(test_fragments, clean_up),
			cmocka_unit_test_teardown(test_odd, clean_up),
			cmocka_unit_test_teardown(test_close, clean_up),
			cmocka_unit_test_teardown(test_full, clean_up),
			cmocka_unit_test_teardown(test_refused, clean_up),
			cmocka_unit_test_teardown(test_name, clean_up),
			cmocka_unit_test_teardown(test_deleted, clean_up),
			cmocka_unit_test_teardown(test_namespace, clean_up),
	};
	int map;

	if (unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", R_OK | W_OK) < 0) {
		printf("1..0 # SKIP needs root, network namespaces and /dev/net/tun: %s\n",
				strerror(errno));
		return 0;
	}
	map = gw_tap_map_create();
	if (map < 0) {
		printf("1..0 # SKIP needs bpf(2): %s\n", strerror(-map));
		return 0;
	}
	close(map);
	/* without IPv6 the kernel sends nothing by itself */
	if (system("ip link set lo up && nsenter -V >/dev/null && "
		   "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6") != 0) {
		printf("1..0 # SKIP needs iproute2 and nsenter\n");
		return 0;
	}
	if (rte_eal_init(argc, argv) < 0)
		return 1;
	gw_log_init();
	pool = gw_port_pool_create("pool", 8191, 1500, 0, &err);
	if (pool == NULL) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
