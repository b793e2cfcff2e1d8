/* SPDX-License-Identifier: BSD-3-Clause */

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <numa.h>

#include <rte_common.h>

#include "fib.h"

#define ROOT_ENTRIES (UINT32_C(1) << 16)
#define BLOCK_ENTRIES 256
#define MAX_BLOCKS (UINT32_C(1) << 24) /* index of an entry is 32 bits in the lookups */
#define HEADER_SIZE RTE_ALIGN_CEIL(sizeof(struct gw_fib), RTE_CACHE_LINE_SIZE)

/* A table in the making: blocks grow by realloc. */
struct builder {
	uint32_t *root;
	uint32_t *block;
	uint32_t n_blocks;
	uint32_t max_blocks;
};

static int
grow(struct builder *b)
{
	uint32_t max = b->max_blocks == 0 ? 64 : b->max_blocks * 2;
	uint32_t *block;

	if (b->n_blocks == MAX_BLOCKS)
		return -1;
	block = realloc(b->block, (size_t)max * BLOCK_ENTRIES * sizeof(*block));
	if (block == NULL)
		return -1;
	b->block = block;
	b->max_blocks = max;
	return 0;
}

/* Number of the block behind *e, made on first use with what stood in *e everywhere. */
static int64_t
block_behind(struct builder *b, size_t at, bool in_root)
{
	uint32_t e = in_root ? b->root[at] : b->block[at];
	uint32_t i;

	if (e & GW_FIB_BLOCK)
		return e & ~GW_FIB_BLOCK;
	if (b->n_blocks == b->max_blocks && grow(b) < 0)
		return -1;
	i = b->n_blocks++;
	for (unsigned int j = 0; j < BLOCK_ENTRIES; j++)
		b->block[(size_t)i * BLOCK_ENTRIES + j] = e;
	*(in_root ? &b->root[at] : &b->block[at]) = GW_FIB_BLOCK | i;
	return i;
}

/* Those entries of a level that begin with the first "bits" bits of index "at" of "width". */
static void
fill(uint32_t *level, uint32_t at, unsigned int width, unsigned int bits, uint32_t nh)
{
	uint32_t span = UINT32_C(1) << (width - bits);

	at &= ~(span - 1);
	for (uint32_t i = 0; i < span; i++)
		level[at + i] = nh;
}

/*
 * Routes come with the shortest prefixes first, so there is never a block where
 * an entry is filled in: blocks stand only where a longer one went before.
 */
static int
insert(struct builder *b, const struct gw_fib_route *r)
{
	const uint8_t *a = (const uint8_t *)&r->prefix.addr.a;
	size_t at = (size_t)a[0] << 8 | a[1];
	bool in_root = true;
	unsigned int bits = 16;
	int64_t i;

	if (r->prefix.len <= bits) {
		fill(b->root, at, 16, r->prefix.len, r->nh);
		return 0;
	}
	for (;; bits += 8) {
		i = block_behind(b, at, in_root);
		if (i < 0)
			return -1;
		if (r->prefix.len <= bits + 8)
			break;
		at = (size_t)i * BLOCK_ENTRIES + a[bits / 8];
		in_root = false;
	}
	fill(b->block + (size_t)i * BLOCK_ENTRIES, a[bits / 8], 8, r->prefix.len - bits, r->nh);
	return 0;
}

static bool
usable(uint8_t family, const struct gw_fib_route *r)
{
	return r->prefix.addr.family == family && r->prefix.len <= gw_addr_len(family) * 8;
}

/* The usable routes by prefix length; of equal length, in their order. NULL: no memory. */
static uint32_t *
sort_by_length(uint8_t family, const struct gw_fib_route *routes, unsigned int n,
		uint32_t *n_sorted)
{
	uint32_t start[130] = {0};
	uint32_t *order = malloc((size_t)n * sizeof(*order) + 1);

	if (order == NULL)
		return NULL;
	for (unsigned int i = 0; i < n; i++)
		if (usable(family, &routes[i]))
			start[routes[i].prefix.len + 1]++;
	for (unsigned int l = 1; l < RTE_DIM(start); l++)
		start[l] += start[l - 1];
	*n_sorted = start[RTE_DIM(start) - 1];
	for (unsigned int i = 0; i < n; i++)
		if (usable(family, &routes[i]))
			order[start[routes[i].prefix.len]++] = i;
	return order;
}

/* One piece of memory on the node: header, root, blocks. */
static struct gw_fib *
allocate(uint32_t n_blocks, int socket)
{
	size_t size = HEADER_SIZE +
			((size_t)ROOT_ENTRIES + (size_t)n_blocks * BLOCK_ENTRIES) *
					sizeof(uint32_t);
	bool on_node = socket >= 0 && numa_available() >= 0;
	struct gw_fib *fib;

	size = RTE_ALIGN_CEIL(size, RTE_CACHE_LINE_SIZE);
	fib = on_node ? numa_alloc_onnode(size, socket) : aligned_alloc(RTE_CACHE_LINE_SIZE, size);
	if (fib == NULL)
		return NULL;
	memset(fib, 0, HEADER_SIZE);
	fib->root = RTE_PTR_ADD(fib, HEADER_SIZE);
	fib->block = fib->root + ROOT_ENTRIES;
	fib->n_blocks = n_blocks;
	fib->size = size;
	fib->on_node = on_node;
	return fib;
}

static struct gw_fib *
finish(const struct builder *b, uint32_t n_routes, int socket)
{
	struct gw_fib *fib = allocate(b->n_blocks, socket);

	if (fib == NULL)
		return NULL;
	memcpy(fib->root, b->root, ROOT_ENTRIES * sizeof(*b->root));
	if (b->n_blocks > 0)
		memcpy(fib->block, b->block,
				(size_t)b->n_blocks * BLOCK_ENTRIES * sizeof(*b->block));
	fib->n_routes = n_routes;
	return fib;
}

struct gw_fib *
gw_fib_build(uint8_t family, const struct gw_fib_route *routes, unsigned int n, int socket)
{
	struct builder b = {0};
	struct gw_fib *fib = NULL;
	uint32_t n_sorted = 0;
	uint32_t *order = sort_by_length(family, routes, n, &n_sorted);

	b.root = calloc(ROOT_ENTRIES, sizeof(*b.root));
	if (order == NULL || b.root == NULL)
		goto out;
	for (uint32_t i = 0; i < n_sorted; i++)
		if (insert(&b, &routes[order[i]]) < 0)
			goto out;
	fib = finish(&b, n_sorted, socket);
out:
	free(order);
	free(b.root);
	free(b.block);
	return fib;
}

void
gw_fib_free(struct gw_fib *fib)
{
	if (fib == NULL)
		return;
	if (fib->on_node)
		numa_free(fib, fib->size);
	else
		free(fib);
}

size_t
gw_fib_size(const struct gw_fib *fib)
{
	return fib->size;
}
