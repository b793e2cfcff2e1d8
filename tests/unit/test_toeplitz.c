/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The Toeplitz hash against published answers, its definition and DPDK's softrss;
 * searches against trying all ports and SPIs one after the other with softrss.
 */

#include <arpa/inet.h>

#include <rte_cycles.h>

#include "rss_util.h"

static const uint8_t ms_key[IPSEC_PCPU_RSS_KEY_LEN] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e,
		0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae,
		0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7,
		0x3b, 0xbe, 0xac, 0x01, 0xfa};

static const struct {
	int family;
	const char *saddr, *daddr;
	uint16_t sport, dport;
	uint32_t with_ports, addresses;
} answers[] = {
		{AF_INET, "66.9.149.187", "161.142.100.80", 2794, 1766, 0x51ccc178, 0x323e8fc2},
		{AF_INET, "199.92.111.2", "65.69.140.83", 14230, 4739, 0xc626b0ea, 0xd718262a},
		{AF_INET, "24.19.198.95", "12.22.207.184", 12898, 38024, 0x5c2b394a, 0xd2d0a5de},
		{AF_INET, "38.27.205.30", "209.142.163.6", 48228, 2217, 0xafc7327f, 0x82989176},
		{AF_INET, "153.39.163.191", "202.188.127.2", 44251, 1303, 0x10e828a2, 0x5d1809c5},
		{AF_INET6, "3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x40207d3d,
				0x2cc18cd5},
		{AF_INET6, "3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0xdde51bbf,
				0x0f0c461c},
		{AF_INET6, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251,
				38024, 0x02d1feef, 0x4b61e985},
};

static void
test_known_answers(void **state)
{
	for (unsigned int i = 0; i < RTE_DIM(answers); i++) {
		struct ipsec_pcpu_tuple t = {
				.family = (uint8_t)answers[i].family,
				.sport = answers[i].sport,
				.dport = answers[i].dport,
		};
		size_t len = t.family == AF_INET ? 4 : 16;
		uint8_t data[32];

		assert_int_equal(inet_pton(t.family, answers[i].saddr, &t.saddr), 1);
		assert_int_equal(inet_pton(t.family, answers[i].daddr, &t.daddr), 1);
		memcpy(data, &t.saddr, len);
		memcpy(data + len, &t.daddr, len);
		assert_int_equal(ipsec_pcpu_tuple_hash(ms_key, &t), answers[i].with_ports);
		assert_int_equal(ipsec_pcpu_toeplitz(ms_key, data, 2 * len), answers[i].addresses);
	}
}

/** The definition, bit by bit. */
static uint32_t
naive_toeplitz(const uint8_t *key, const uint8_t *data, size_t len)
{
	uint32_t hash = 0;

	for (size_t bit = 0; bit < 8 * len; bit++) {
		if (!(data[bit / 8] >> (7 - bit % 8) & 1))
			continue;
		for (size_t k = 0; k < 32; k++)
			hash ^= (uint32_t)(key[(bit + k) / 8] >> (7 - (bit + k) % 8) & 1)
					<< (31 - k);
	}
	return hash;
}

static void
test_definition(void **state)
{
	/* Exactly len + 4 bytes of key, so that a sanitizer sees a byte more. */
	for (size_t len = 0; len <= 36; len++) {
		uint8_t *key = malloc(len + 4), *data = malloc(len + 1);

		for (int round = 0; round < 50; round++) {
			for (size_t i = 0; i < len + 4; i++)
				key[i] = (uint8_t)rnd();
			for (size_t i = 0; i < len; i++)
				data[i] = (uint8_t)rnd();
			assert_int_equal(ipsec_pcpu_toeplitz(key, data, len),
					naive_toeplitz(key, data, len));
		}
		free(key);
		free(data);
	}
}

/* The example in Amazon's toeplitz_calc.py (amzn-drivers, DPDK). */
static void
test_aws_example(void **state)
{
	static const uint8_t key[IPSEC_PCPU_RSS_KEY_LEN] = {0x77, 0xd1, 0xc9, 0x34, 0xa4, 0xc9,
			0xbd, 0x87, 0x6e, 0x35, 0xdd, 0x17, 0xb2, 0xe3, 0x23, 0x9e, 0x39, 0x6d,
			0x8a, 0x93, 0x2a, 0x95, 0xb4, 0x72, 0x3a, 0xb3, 0x7f, 0x56, 0x8e, 0xde,
			0xb6, 0x01, 0x97, 0xaf, 0x3b, 0x2f, 0x3a, 0x70, 0xe7, 0x04};
	struct ipsec_pcpu_tuple t = {.family = AF_INET, .sport = 7000, .dport = 7000};
	struct ipsec_pcpu_rss rss = {.reta_size = 128, .n_queues = 128};

	assert_int_equal(inet_pton(AF_INET, "1.2.3.4", &t.saddr), 1);
	assert_int_equal(inet_pton(AF_INET, "1.2.3.5", &t.daddr), 1);
	assert_int_equal(ipsec_pcpu_tuple_hash(key, &t), 0xa9828bd4);
	assert_int_equal(ipsec_pcpu_rss_bucket(&rss, 0xa9828bd4), 84);
	assert_int_equal(ipsec_pcpu_rss_queue(&rss, 0xa9828bd4), 84);
}

static void
test_softrss(void **state)
{
	uint8_t key[IPSEC_PCPU_RSS_KEY_LEN];

	for (unsigned int round = 0; round < 2000; round++) {
		struct ipsec_pcpu_tuple t = random_tuple(round % 2 ? AF_INET6 : AF_INET);
		uint32_t spi = (uint32_t)rnd();

		random_bytes(key, sizeof(key));
		assert_int_equal(ipsec_pcpu_tuple_hash(key, &t), softrss(key, &t));
		assert_int_equal(ipsec_pcpu_esp_hash(key, &t, spi), softrss_word(key, &t, spi));
		assert_int_equal(ipsec_pcpu_esp_hash(key, NULL, spi), softrss_word(key, NULL, spi));
	}
}

/** What all the searches are compared with: each value in turn. 0: none. */
struct naive {
	const struct ipsec_pcpu_rss *there, *here; /* here NULL: one way */
	unsigned int queue_there, queue_here;
	const struct ipsec_pcpu_tuple *tuple;
	bool esp; /* the value is an SPI */
};

static bool
naive_lands(const struct naive *n, uint32_t value)
{
	const struct ipsec_pcpu_rss *rss = n->there;
	uint32_t hash = n->esp ? softrss_word(rss->key, n->tuple, value)
			       : softrss_sport(rss->key, n->tuple, (uint16_t)value);

	if (queue_of(rss, hash) != n->queue_there)
		return false;
	return n->here == NULL ||
			queue_of(n->here, softrss_back(n->here->key, n->tuple, (uint16_t)value)) ==
			n->queue_here;
}

static uint32_t
naive_find(const struct naive *n, const struct ipsec_pcpu_range *r)
{
	uint64_t size = (uint64_t)r->max - r->min + 1;

	for (uint64_t i = 0; i < size; i++) {
		uint32_t value = (uint32_t)(r->min + (r->start - r->min + i) % size);

		if (naive_lands(n, value))
			return value;
	}
	return 0;
}

static struct ipsec_pcpu_range
random_range(uint32_t min, uint32_t max)
{
	struct ipsec_pcpu_range r;

	r.min = min + random_below(max - min + 1);
	r.max = r.min + random_below(max - r.min + 1);
	r.start = r.min + random_below(r.max - r.min + 1);
	return r;
}

static const struct ipsec_pcpu_range dynamic_ports = {.start = 49152, .min = 49152, .max = 65535};
static const uint16_t reta_sizes[] = {64, 128, 256, 512, 1024, 4096};
static uint16_t tables[2][IPSEC_PCPU_MAX_RETA];

static void
check_sport(const struct ipsec_pcpu_rss *rss, uint8_t family)
{
	struct ipsec_pcpu_tuple t = random_tuple(family);
	struct ipsec_pcpu_range r = random_range(1024, 65535);
	struct naive n = {.there = rss, .tuple = &t};
	uint16_t port;

	n.queue_there = (uint16_t)random_below(rss->n_queues);
	port = ipsec_pcpu_sport_find(rss, &t, (uint16_t)n.queue_there, &r);
	assert_int_equal(port, naive_find(&n, &r));
	if (port == 0)
		return;
	assert_in_range(port, r.min, r.max);
	assert_int_equal(ipsec_pcpu_rss_queue(rss, softrss_sport(rss->key, &t, port)),
			n.queue_there);
}

static void
test_sport_find(void **state)
{
	for (unsigned int size = 0; size < RTE_DIM(reta_sizes); size++)
		for (uint16_t n_queues = 1; n_queues <= 64; n_queues++)
			for (unsigned int kind = 0; kind < 4; kind++) {
				uint16_t *table = kind & 1 ? tables[0] : NULL;
				struct ipsec_pcpu_rss rss =
						random_rss(reta_sizes[size], n_queues, table);

				check_sport(&rss, kind & 2 ? AF_INET6 : AF_INET);
			}
}

/** Going on behind each, all ports come once, in order, and the first comes again. */
static unsigned int
walk_all(const struct naive *n, struct ipsec_pcpu_range r)
{
	unsigned int count = 0;

	r.start = r.min;
	for (uint32_t port = r.min; port <= r.max; port++) {
		uint16_t found;

		if (!naive_lands(n, port))
			continue;
		found = n->here == NULL
				? ipsec_pcpu_sport_find(
						  n->there, n->tuple, (uint16_t)n->queue_there, &r)
				: ipsec_pcpu_sport_find2(n->there, (uint16_t)n->queue_there,
						  n->here, (uint16_t)n->queue_here, n->tuple, &r);
		assert_int_equal(found, port);
		r.start = found + 1u;
		count++;
	}
	return count;
}

static void
test_sport_all(void **state)
{
	for (unsigned int round = 0; round < 8; round++) {
		struct ipsec_pcpu_tuple t = random_tuple(round % 2 ? AF_INET6 : AF_INET);
		struct ipsec_pcpu_rss rss = random_rss(128, 16, round & 2 ? tables[0] : NULL);
		struct naive n = {.there = &rss, .tuple = &t, .queue_there = round};
		struct ipsec_pcpu_range r = dynamic_ports, first = r;

		assert_true(walk_all(&n, r) > 500);
		r.start = 65536; /* behind the last */
		assert_int_equal(ipsec_pcpu_sport_find(&rss, &t, (uint16_t)round, &r),
				naive_find(&n, &first));
	}
}

/* Few ports: the search wraps, and often finds none. */
static void
test_sport_wrap(void **state)
{
	unsigned int wrapped = 0, none = 0;

	for (unsigned int round = 0; round < 4000; round++) {
		struct ipsec_pcpu_tuple t = random_tuple(round % 2 ? AF_INET6 : AF_INET);
		struct ipsec_pcpu_rss rss = random_rss(128, 16, NULL);
		struct naive n = {.there = &rss, .tuple = &t, .queue_there = round % 16};
		struct ipsec_pcpu_range r = random_range(65500, 65535);
		uint16_t port = ipsec_pcpu_sport_find(&rss, &t, (uint16_t)n.queue_there, &r);

		assert_int_equal(port, naive_find(&n, &r));
		wrapped += port != 0 && port < r.start;
		none += port == 0;
	}
	assert_true(wrapped > 100);
	assert_true(none > 100);
}

static void
test_bounds(void **state)
{
	struct ipsec_pcpu_tuple t = random_tuple(AF_INET);
	struct ipsec_pcpu_rss one = {.reta_size = 64, .n_queues = 1}; /* any port will do */
	static const struct {
		struct ipsec_pcpu_range range;
		uint16_t port;
	} cases[] = {
			{{.start = 5, .min = 5, .max = 5}, 5},
			{{.start = 7, .min = 5, .max = 9}, 7},
			{{.start = 9, .min = 5, .max = 9}, 9},
			{{.start = 10, .min = 5, .max = 9}, 5},
			{{.start = 4, .min = 5, .max = 9}, 5},
			{{.start = 0, .min = 0, .max = 65535}, 1},
			{{.start = 65536, .min = 0, .max = 65536}, 1},
			{{.start = 65535, .min = 0, .max = UINT32_MAX}, 65535},
			{{.start = 0, .min = 0, .max = 0}, 0},
			{{.start = 7, .min = 9, .max = 5}, 0},
			{{.start = 65536, .min = 65536, .max = 70000}, 0},
	};

	for (unsigned int i = 0; i < RTE_DIM(cases); i++) {
		assert_int_equal(
				ipsec_pcpu_sport_find(&one, &t, 0, &cases[i].range), cases[i].port);
		assert_int_equal(ipsec_pcpu_sport_find2(&one, 0, &one, 0, &t, &cases[i].range),
				cases[i].port);
	}
}

/* Queues that no bucket has, and NICs that there cannot be. */
static void
test_no_queue(void **state)
{
	struct ipsec_pcpu_tuple t = random_tuple(AF_INET);
	struct ipsec_pcpu_rss good = random_rss(128, 4, NULL);
	struct ipsec_pcpu_rss bad[] = {good, good, good, good, good, good, good};

	bad[0].n_queues = 3; /* asked for queue 3 */
	bad[1].n_queues = 0;
	bad[2].reta_size = 0;
	bad[3].reta_size = 96;
	bad[4].reta_size = 2 * IPSEC_PCPU_MAX_RETA;
	bad[5] = random_rss(128, 3, tables[0]);
	bad[6].reta_size = 2;
	for (unsigned int i = 0; i < RTE_DIM(bad); i++) {
		struct ipsec_pcpu_range r = dynamic_ports;

		assert_int_equal(ipsec_pcpu_sport_find(&bad[i], &t, 3, &r), 0);
		assert_int_equal(ipsec_pcpu_sport_find2(&bad[i], 3, &good, 0, &t, &r), 0);
		assert_int_equal(ipsec_pcpu_sport_find2(&good, 0, &bad[i], 3, &t, &r), 0);
		r.min = 0;
		r.max = UINT32_MAX;
		assert_int_equal(ipsec_pcpu_spi_find(&bad[i], &t, 3, &r), 0);
	}
}

/* The two NICs differ in all: key, table, number of queues. */
static void
test_sport_find2(void **state)
{
	unsigned int found = 0;

	for (unsigned int round = 0; round < 1000; round++) {
		struct ipsec_pcpu_tuple t = random_tuple(round % 2 ? AF_INET6 : AF_INET);
		struct ipsec_pcpu_rss there = random_rss(reta_sizes[random_below(6)],
				(uint16_t)(1 + random_below(16)), round & 2 ? tables[0] : NULL);
		struct ipsec_pcpu_rss here = random_rss(reta_sizes[random_below(6)],
				(uint16_t)(1 + random_below(16)), round & 4 ? tables[1] : NULL);
		struct naive n = {.there = &there, .here = &here, .tuple = &t};
		struct ipsec_pcpu_range r = random_range(64000, 65535);
		uint16_t port;

		n.queue_there = random_below(there.n_queues);
		n.queue_here = random_below(here.n_queues);
		port = ipsec_pcpu_sport_find2(&there, (uint16_t)n.queue_there, &here,
				(uint16_t)n.queue_here, &t, &r);
		assert_int_equal(port, naive_find(&n, &r));
		found += port != 0;
	}
	assert_true(found > 600);
}

/** The rank of a matrix, a row each, by elimination column by column. */
static unsigned int
rank_of(uint32_t rows[], unsigned int n_rows)
{
	unsigned int rank = 0;

	for (unsigned int column = 0; column < 32; column++) {
		unsigned int pivot = rank;
		uint32_t row;

		while (pivot < n_rows && !(rows[pivot] >> column & 1))
			pivot++;
		if (pivot == n_rows)
			continue;
		row = rows[pivot];
		rows[pivot] = rows[rank];
		rows[rank] = row;
		for (unsigned int i = 0; i < n_rows; i++)
			if (i != rank && rows[i] >> column & 1)
				rows[i] ^= row;
		rank++;
	}
	return rank;
}

/** How independently the low bits of a port set the low bits of both hashes. */
static unsigned int
joint_rank(const struct naive *n, unsigned int n_bits, uint32_t mask)
{
	const uint8_t *there = n->there->key, *here = n->here->key;
	uint32_t rows[16];

	for (unsigned int bit = 0; bit < n_bits; bit++) {
		uint16_t port = (uint16_t)(1 << bit);
		uint32_t go = softrss_sport(there, n->tuple, port) ^
				softrss_sport(there, n->tuple, 0);
		uint32_t back = softrss_back(here, n->tuple, port) ^
				softrss_back(here, n->tuple, 0);

		rows[bit] = (go & mask) << 16 | (back & mask);
	}
	return rank_of(rows, n_bits);
}

/**
 * 16384 / n_queues^2 ports for each pair of queues: exactly so where the 14 low
 * bits set those bits of both hashes that decide upon the queue independently.
 */
static bool
check_count(struct naive *n, uint16_t n_queues)
{
	bool exact = joint_rank(n, 14, n_queues - 1u) == 2 * rte_log2_u32(n_queues);
	unsigned int sum = 0;

	for (n->queue_there = 0; n->queue_there < n_queues; n->queue_there++)
		for (n->queue_here = 0; n->queue_here < n_queues; n->queue_here++) {
			/* Each call tries all ports: a few pairs are enough of many. */
			unsigned int count;

			if (n_queues == 16 && n->queue_there != n->queue_here)
				continue;
			count = walk_all(n, dynamic_ports);
			if (exact)
				assert_int_equal(count, 16384 / (n_queues * n_queues));
			sum += count;
		}
	if (n_queues < 16)
		assert_int_equal(sum, 16384);
	return exact;
}

static void
test_count(void **state)
{
	unsigned int exact = 0;

	for (uint16_t n_queues = 2; n_queues <= 16; n_queues *= 2)
		for (unsigned int round = 0; round < 4; round++) {
			struct ipsec_pcpu_tuple t = random_tuple(round % 2 ? AF_INET6 : AF_INET);
			struct ipsec_pcpu_rss there = random_rss(128, n_queues, NULL);
			struct ipsec_pcpu_rss here = random_rss(128, n_queues, NULL);
			struct naive n = {.there = &there, .here = &here, .tuple = &t};

			exact += check_count(&n, n_queues);
		}
	assert_true(exact >= 12);
}

static uint32_t
find_spi(const struct naive *n, const struct ipsec_pcpu_range *r)
{
	return ipsec_pcpu_spi_find(n->there, n->tuple, (uint16_t)n->queue_there, r);
}

static void
test_spi_find(void **state)
{
	for (unsigned int round = 0; round < 4000; round++) {
		struct ipsec_pcpu_tuple t = random_tuple(round % 2 ? AF_INET6 : AF_INET);
		struct ipsec_pcpu_rss rss = random_rss(reta_sizes[random_below(6)],
				(uint16_t)(1 + random_below(64)), round & 2 ? tables[0] : NULL);
		struct naive n = {.there = &rss, .tuple = round & 4 ? &t : NULL, .esp = true};
		struct ipsec_pcpu_range r = {.min = 256, .max = UINT32_MAX};

		/* One that some bucket has, or trying all SPIs would take minutes. */
		n.queue_there = queue_of(&rss, (uint32_t)(rnd() >> 32));
		r.start = 256 + random_below(UINT32_MAX - 256);
		if (round & 8)
			r = round & 16 ? random_range(UINT32_MAX - 99, UINT32_MAX)
				       : random_range(256, 356);
		assert_int_equal(find_spi(&n, &r), naive_find(&n, &r));
	}
}

static void
test_spi_bounds(void **state)
{
	struct ipsec_pcpu_rss one = {.reta_size = 64, .n_queues = 1};
	struct naive n = {.there = &one, .esp = true};
	struct ipsec_pcpu_range r = {.start = 0, .min = 0, .max = UINT32_MAX};

	assert_int_equal(find_spi(&n, &r), IPSEC_PCPU_MIN_SPI);
	r.start = UINT32_MAX;
	assert_int_equal(find_spi(&n, &r), UINT32_MAX);
	r.max = IPSEC_PCPU_MIN_SPI;
	assert_int_equal(find_spi(&n, &r), IPSEC_PCPU_MIN_SPI);
	r.max = IPSEC_PCPU_MIN_SPI - 1;
	assert_int_equal(find_spi(&n, &r), 0);
}

/** A key of few bits, so that many bits of a value lead nowhere new. */
static void
thin_out(uint8_t *key, unsigned int times)
{
	uint8_t mask[IPSEC_PCPU_RSS_KEY_LEN];

	while (times-- > 0) {
		random_bytes(mask, sizeof(mask));
		for (unsigned int i = 0; i < sizeof(mask); i++)
			key[i] &= mask[i];
	}
}

/* With bad keys the search leaves out what it need not try: never the first that is right. */
static void
test_spi_bad_keys(void **state)
{
	unsigned int far = 0, none = 0;

	for (unsigned int round = 0; round < 600; round++) {
		struct ipsec_pcpu_rss rss = random_rss(round & 1 ? 128 : 512, 16, NULL);
		struct naive n = {.there = &rss, .queue_there = random_below(16), .esp = true};
		uint32_t low = 256 + random_below(1 << 20);
		struct ipsec_pcpu_range r = random_range(low, low + 20000);
		uint32_t spi;

		thin_out(rss.key, 3 + round % 3);
		spi = find_spi(&n, &r);
		assert_int_equal(spi, naive_find(&n, &r));
		far += spi != 0 && spi - r.start > 256;
		none += spi == 0;
	}
	assert_true(far > 20);
	assert_true(none > 20);
}

/* All SPIs of a key that leads to one bucket. */
static void
test_spi_zero_key(void **state)
{
	struct ipsec_pcpu_rss rss = {.reta_size = 512, .n_queues = 16};
	struct naive n = {.there = &rss, .queue_there = 1, .esp = true};
	struct ipsec_pcpu_range r = {.start = 1000, .min = 0, .max = UINT32_MAX};

	assert_int_equal(find_spi(&n, &r), 0);
	rss.key[3] = 1; /* the highest bit alone reaches bucket 1 */
	assert_int_equal(find_spi(&n, &r), UINT32_C(1) << 31);
	r.start = (UINT32_C(1) << 31) + 5;
	assert_int_equal(find_spi(&n, &r), r.start);
}

static unsigned int
naive_rank(const uint8_t *key, uint8_t family, uint16_t reta_size)
{
	struct ipsec_pcpu_tuple t = random_tuple(family);
	uint32_t rows[16];

	for (unsigned int bit = 0; bit < 16; bit++)
		rows[bit] = (softrss_sport(key, &t, (uint16_t)(1 << bit)) ^
					    softrss_sport(key, &t, 0)) %
				reta_size;
	return rank_of(rows, 16);
}

static void
check_rank(const uint8_t *key)
{
	for (unsigned int i = 0; i < RTE_DIM(reta_sizes); i++) {
		assert_int_equal(ipsec_pcpu_key_rank(key, AF_INET, reta_sizes[i]),
				naive_rank(key, AF_INET, reta_sizes[i]));
		assert_int_equal(ipsec_pcpu_key_rank(key, AF_INET6, reta_sizes[i]),
				naive_rank(key, AF_INET6, reta_sizes[i]));
	}
}

static void
test_rank(void **state)
{
	uint8_t key[IPSEC_PCPU_RSS_KEY_LEN] = {0};

	assert_int_equal(ipsec_pcpu_key_rank(key, AF_INET, 128), 0);
	assert_int_equal(ipsec_pcpu_key_rank(ms_key, AF_INET, 128), 7);
	check_rank(ms_key);
	for (unsigned int i = 0; i < sizeof(key); i++)
		key[i] = i % 2 ? 0x5a : 0x6d;
	check_rank(key);
	for (unsigned int round = 0; round < 300; round++) {
		random_bytes(key, sizeof(key));
		thin_out(key, round % 4);
		check_rank(key);
	}
}

/* A random Toeplitz matrix of 7 x 16 lacks rank in one of 2^(16 - 7 + 1) cases: 0.1 %. */
static void
test_rank_of_random_keys(void **state)
{
	const unsigned int n_keys = 1 << 17;
	unsigned int bad = 0;

	for (unsigned int i = 0; i < n_keys; i++) {
		uint8_t key[IPSEC_PCPU_RSS_KEY_LEN];

		random_bytes(key, sizeof(key));
		bad += ipsec_pcpu_key_rank(key, AF_INET, 128) < 7;
	}
	assert_in_range(bad, n_keys / 1024 * 3 / 4, n_keys / 1024 * 5 / 4);
}

/** Not judged: the machine may be busy. */
static void
test_cost(void **state)
{
	const unsigned int rounds = 20000;
	struct ipsec_pcpu_range r = dynamic_ports;

	for (unsigned int kind = 0; kind < 6; kind++) {
		struct ipsec_pcpu_tuple t = random_tuple(kind & 1 ? AF_INET6 : AF_INET);
		struct ipsec_pcpu_rss rss = random_rss(128, 16, kind >= 4 ? NULL : tables[0]);
		uint64_t start = rte_rdtsc();

		for (unsigned int i = 0; i < rounds; i++) {
			r.start = 49152 + i % 16384;
			if (kind & 2)
				ipsec_pcpu_sport_find2(&rss, i % 16, &rss, i / 16 % 16, &t, &r);
			else
				ipsec_pcpu_sport_find(&rss, &t, i % 16, &r);
		}
		printf("# %s %s, 16 queues, %s table: %u cycles\n",
				kind & 2 ? "sport_find2" : "sport_find", kind & 1 ? "IPv6" : "IPv4",
				rss.reta ? "random" : "default",
				(unsigned int)((rte_rdtsc() - start) / rounds));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_known_answers),
			cmocka_unit_test(test_definition),
			cmocka_unit_test(test_aws_example),
			cmocka_unit_test(test_softrss),
			cmocka_unit_test(test_sport_find),
			cmocka_unit_test(test_sport_all),
			cmocka_unit_test(test_sport_wrap),
			cmocka_unit_test(test_bounds),
			cmocka_unit_test(test_no_queue),
			cmocka_unit_test(test_sport_find2),
			cmocka_unit_test(test_count),
			cmocka_unit_test(test_spi_find),
			cmocka_unit_test(test_spi_bounds),
			cmocka_unit_test(test_spi_bad_keys),
			cmocka_unit_test(test_spi_zero_key),
			cmocka_unit_test(test_rank),
			cmocka_unit_test(test_rank_of_random_keys),
			cmocka_unit_test(test_cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
