/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The Toeplitz hash of RSS: for each bit of the input that is set, the 32 bits
 * of the key that start at the same place are added (exclusive or).
 */

#include <string.h>
#include <sys/socket.h>

#include <rte_common.h>

#include "ipsec_pcpu_steer.h"

/** The key's 40 bits that matter to the byte @p i of the input. */
static uint64_t
key_bits(const uint8_t *key, size_t i)
{
	return (uint64_t)key[i] << 32 | (uint32_t)key[i + 1] << 24 | key[i + 2] << 16 |
			key[i + 3] << 8 | key[i + 4];
}

uint32_t
ipsec_pcpu_toeplitz(const uint8_t *key, const uint8_t *data, size_t len)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < len; i++) {
		uint64_t k = key_bits(key, i);

		/* No branch: the bits are random, so half of the guesses would be wrong. */
		for (unsigned int bit = 0; bit < 8; bit++)
			hash ^= (uint32_t)(k >> (bit + 1)) & -(uint32_t)(data[i] >> bit & 1);
	}
	return hash;
}

/** Both addresses in the order of the hash; how many bytes they are. */
static size_t
put_addrs(uint8_t *data, const struct ipsec_pcpu_tuple *tuple)
{
	size_t len = tuple->family == AF_INET ? sizeof(tuple->saddr.ip4) : 16;

	memcpy(data, &tuple->saddr, len);
	memcpy(data + len, &tuple->daddr, len);
	return 2 * len;
}

uint32_t
ipsec_pcpu_tuple_hash(const uint8_t *key, const struct ipsec_pcpu_tuple *tuple)
{
	rte_be16_t sport = rte_cpu_to_be_16(tuple->sport);
	rte_be16_t dport = rte_cpu_to_be_16(tuple->dport);
	uint8_t data[16 + 16 + 2 + 2];
	size_t len = put_addrs(data, tuple);

	memcpy(data + len, &sport, sizeof(sport));
	memcpy(data + len + sizeof(sport), &dport, sizeof(dport));
	return ipsec_pcpu_toeplitz(key, data, len + sizeof(sport) + sizeof(dport));
}

uint32_t
ipsec_pcpu_esp_hash(const uint8_t *key, const struct ipsec_pcpu_tuple *addrs, uint32_t spi)
{
	rte_be32_t be_spi = rte_cpu_to_be_32(spi);
	uint8_t data[16 + 16 + 4];
	size_t len = addrs != NULL ? put_addrs(data, addrs) : 0;

	memcpy(data + len, &be_spi, sizeof(be_spi));
	return ipsec_pcpu_toeplitz(key, data, len + sizeof(be_spi));
}

/*
 * Searches. The hash is linear over GF(2): what a bit of the field we are free to
 * choose adds to it depends on nothing else (its mask). From a value to the next,
 * the bits that change are the lowest 0 and all 1s below it, so one exclusive or
 * with the sum of their masks leads from hash to hash.
 */

/** The low bits of the field; one more for the step past its largest value. */
#define MAX_BITS 32

struct search {
	/* One hash, or two side by side: the low half is rss[0]'s. */
	const struct ipsec_pcpu_rss *rss[2]; /* [1] NULL: one */
	uint16_t queue[2];
	uint64_t zero; /* hash of the field's value 0 */
	uint64_t mask[MAX_BITS + 1]; /* by bit, 0 the lowest */
	uint64_t step[MAX_BITS + 1]; /* sum of mask[0] to mask[i] */
	/* Bits that lead to no bucket which the bits below them do not lead to. */
	uint64_t idle;
};

/** The mask of a bit of the field of @p n_bits that starts at the byte @p offset. */
static uint32_t
field_mask(const uint8_t *key, size_t offset, unsigned int n_bits, unsigned int bit)
{
	size_t place = n_bits - 1 - bit; /* in the order of the wire */

	return (uint32_t)(key_bits(key, offset + place / 8) >> (8 - place % 8));
}

/** Where the ports start in what is hashed. */
static size_t
sport_offset(uint8_t family)
{
	return family == AF_INET ? 8 : 32;
}

/** Whether a search can be made at all; it never reads beyond the table, or divides by 0. */
static bool
may_land(const struct ipsec_pcpu_rss *rss, uint16_t queue)
{
	if (!rte_is_power_of_2(rss->reta_size) || rss->reta_size > IPSEC_PCPU_MAX_RETA)
		return false;
	return rss->reta != NULL || queue < rss->n_queues;
}

static void
search_init(struct search *s, const struct ipsec_pcpu_rss *rss, uint16_t queue)
{
	memset(s, 0, sizeof(*s));
	s->rss[0] = rss;
	s->queue[0] = queue;
}

static void
search_steps(struct search *s)
{
	uint64_t sum = 0;

	for (unsigned int bit = 0; bit <= MAX_BITS; bit++)
		s->step[bit] = sum ^= s->mask[bit];
}

static bool
lands(const struct search *s, uint64_t hash)
{
	if (ipsec_pcpu_rss_queue(s->rss[0], (uint32_t)hash) != s->queue[0])
		return false;
	return s->rss[1] == NULL ||
			ipsec_pcpu_rss_queue(s->rss[1], (uint32_t)(hash >> 32)) == s->queue[1];
}

static uint64_t
hash_of(const struct search *s, uint64_t value)
{
	uint64_t hash = s->zero;

	for (; value != 0; value &= value - 1)
		hash ^= s->mask[rte_bsf64(value)];
	return hash;
}

/** The first value of @p from to @p to (included) that lands where it is to; 0: none. */
static uint32_t
walk(const struct search *s, uint64_t from, uint64_t to)
{
	uint64_t hash = hash_of(s, from);

	for (uint64_t value = from; value <= to; value++) {
		unsigned int bit = (unsigned int)rte_bsf64(value + 1);

		if (lands(s, hash))
			return (uint32_t)value;
		/*
		 * All values that differ in the bits below this one are done, and the
		 * other half, with this bit set, has the same buckets: to its end.
		 */
		while (s->idle >> bit & 1 && value + 1 - from >= UINT64_C(1) << bit) {
			hash ^= s->mask[bit];
			value += UINT64_C(1) << bit;
			bit = (unsigned int)rte_bsf64(value + 1);
		}
		hash ^= s->step[bit];
	}
	return 0;
}

/** Once round the range, as far as it lies in @p min to @p max, from its start on. */
static uint32_t
go_round(const struct search *s, const struct ipsec_pcpu_range *range, uint32_t min, uint32_t max)
{
	uint32_t start = range->start, found;

	min = RTE_MAX(min, range->min);
	max = RTE_MIN(max, range->max);
	if (min > max)
		return 0;
	if (start < min || start > max)
		start = min;
	found = walk(s, start, max);
	if (found == 0 && start > min)
		found = walk(s, min, start - 1);
	return found;
}

uint16_t
ipsec_pcpu_sport_find(const struct ipsec_pcpu_rss *rss, const struct ipsec_pcpu_tuple *tuple,
		uint16_t queue, const struct ipsec_pcpu_range *range)
{
	size_t offset = sport_offset(tuple->family);
	struct ipsec_pcpu_tuple t = *tuple;
	struct search s;

	if (!may_land(rss, queue))
		return 0;
	search_init(&s, rss, queue);
	t.sport = 0;
	s.zero = ipsec_pcpu_tuple_hash(rss->key, &t);
	for (unsigned int bit = 0; bit < 16; bit++)
		s.mask[bit] = field_mask(rss->key, offset, 16, bit);
	search_steps(&s);
	return (uint16_t)go_round(&s, range, 1, UINT16_MAX);
}

uint16_t
ipsec_pcpu_sport_find2(const struct ipsec_pcpu_rss *there, uint16_t queue_there,
		const struct ipsec_pcpu_rss *here, uint16_t queue_here,
		const struct ipsec_pcpu_tuple *tuple, const struct ipsec_pcpu_range *range)
{
	size_t offset = sport_offset(tuple->family);
	struct ipsec_pcpu_tuple go = *tuple, back = *tuple;
	struct search s;

	if (!may_land(there, queue_there) || !may_land(here, queue_here))
		return 0;
	search_init(&s, there, queue_there);
	s.rss[1] = here;
	s.queue[1] = queue_here;
	go.sport = 0;
	back.saddr = tuple->daddr;
	back.daddr = tuple->saddr;
	back.sport = tuple->dport;
	back.dport = 0;
	s.zero = ipsec_pcpu_tuple_hash(there->key, &go) |
			(uint64_t)ipsec_pcpu_tuple_hash(here->key, &back) << 32;
	for (unsigned int bit = 0; bit < 16; bit++)
		s.mask[bit] = field_mask(there->key, offset, 16, bit) |
				(uint64_t)field_mask(here->key, offset + 2, 16, bit) << 32;
	search_steps(&s);
	return (uint16_t)go_round(&s, range, 1, UINT16_MAX);
}

/** Add to a basis, which is by highest bit; false: the others make it up already. */
static bool
basis_add(uint32_t basis[32], uint32_t mask)
{
	for (; mask != 0; mask ^= basis[rte_fls_u32(mask) - 1]) {
		uint32_t *other = &basis[rte_fls_u32(mask) - 1];

		if (*other == 0) {
			*other = mask;
			return true;
		}
	}
	return false;
}

uint32_t
ipsec_pcpu_spi_find(const struct ipsec_pcpu_rss *rss, const struct ipsec_pcpu_tuple *addrs,
		uint16_t queue, const struct ipsec_pcpu_range *range)
{
	size_t offset = addrs != NULL ? sport_offset(addrs->family) : 0;
	uint32_t basis[32] = {0};
	struct search s;

	if (!may_land(rss, queue))
		return 0;
	search_init(&s, rss, queue);
	s.zero = ipsec_pcpu_esp_hash(rss->key, addrs, 0);
	/* 2^32 values are too many to try all where a key leads to few buckets. */
	for (unsigned int bit = 0; bit < 32; bit++) {
		s.mask[bit] = field_mask(rss->key, offset, 32, bit);
		if (!basis_add(basis, (uint32_t)s.mask[bit] & (rss->reta_size - 1u)))
			s.idle |= UINT64_C(1) << bit;
	}
	search_steps(&s);
	return go_round(&s, range, IPSEC_PCPU_MIN_SPI, UINT32_MAX);
}

unsigned int
ipsec_pcpu_key_rank(const uint8_t *key, uint8_t family, uint16_t reta_size)
{
	size_t offset = sport_offset(family);
	uint32_t basis[32] = {0};
	unsigned int rank = 0;

	for (unsigned int bit = 0; bit < 16; bit++)
		rank += basis_add(basis, field_mask(key, offset, 16, bit) & (reta_size - 1u));
	return rank;
}
