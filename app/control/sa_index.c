/* SPDX-License-Identifier: BSD-3-Clause */

#include "sa_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "control.h"

#define FIRST_BITS 6

/* Where chains begin: the upper bits of a product with an odd secret */

static unsigned int
place(const struct gw_sa_index *ix, uint64_t value)
{
	return (value * ix->secret) >> (64 - ix->bits);
}

static struct gw_sa **
spi_chain(const struct gw_sa_index *ix, uint32_t spi)
{
	return &ix->by_spi[place(ix, spi)];
}

static struct gw_sa **
key_chain(const struct gw_sa_index *ix, const uint8_t *id)
{
	uint64_t begin;

	memcpy(&begin, id, sizeof(begin));
	return &ix->by_key[place(ix, begin)];
}

/** In a time that does not tell how much of it is alike. */
static bool
same_key(const uint8_t *a, const uint8_t *b)
{
	uint8_t diff = 0;

	for (unsigned int i = 0; i < GW_RESERVE_ID_LEN; i++)
		diff |= a[i] ^ b[i];
	return diff == 0;
}

static void
link_sa(struct gw_sa_index *ix, struct gw_sa *sa)
{
	struct gw_sa **spi = spi_chain(ix, sa->prm.spi), **key = key_chain(ix, sa->reserve_id);

	sa->next_spi = *spi;
	*spi = sa;
	sa->next_key = *key;
	*key = sa;
}

/** More chains. Without memory all is as it was: they are longer than they should be. */
static int
grow(struct gw_sa_index *ix)
{
	struct gw_sa_index next = {.bits = ix->bits + 1, .secret = ix->secret};

	if (ix->bits == 0) {
		next.bits = FIRST_BITS;
		if (getrandom(&next.secret, sizeof(next.secret), 0) != sizeof(next.secret))
			return -EIO;
		next.secret |= 1;
	}
	next.by_spi = calloc(1u << next.bits, sizeof(struct gw_sa *));
	next.by_key = calloc(1u << next.bits, sizeof(struct gw_sa *));
	if (next.by_spi == NULL || next.by_key == NULL) {
		gw_sa_index_free(&next);
		return -ENOMEM;
	}
	for (unsigned int i = 0; ix->n > 0 && i < 1u << ix->bits; i++)
		for (struct gw_sa *sa = ix->by_spi[i], *after; sa != NULL; sa = after) {
			after = sa->next_spi;
			link_sa(&next, sa);
		}
	next.n = ix->n;
	gw_sa_index_free(ix);
	*ix = next;
	return 0;
}

int
gw_sa_index_add(struct gw_sa_index *ix, struct gw_sa *sa)
{
	int rc = 0;

	if (ix->by_spi == NULL || ix->n >= 1u << ix->bits)
		rc = grow(ix);
	if (ix->by_spi == NULL)
		return rc;
	link_sa(ix, sa);
	ix->n++;
	return 0;
}

void
gw_sa_index_del(struct gw_sa_index *ix, struct gw_sa *sa)
{
	struct gw_sa **spi = spi_chain(ix, sa->prm.spi), **key = key_chain(ix, sa->reserve_id);

	while (*spi != sa)
		spi = &(*spi)->next_spi;
	*spi = sa->next_spi;
	while (*key != sa)
		key = &(*key)->next_key;
	*key = sa->next_key;
	sa->next_spi = sa->next_key = NULL;
	ix->n--;
}

static struct gw_sa *
with_spi(struct gw_sa *sa, uint32_t spi)
{
	while (sa != NULL && sa->prm.spi != spi)
		sa = sa->next_spi;
	return sa;
}

struct gw_sa *
gw_sa_index_spi(const struct gw_sa_index *ix, uint32_t spi)
{
	return ix->by_spi == NULL ? NULL : with_spi(*spi_chain(ix, spi), spi);
}

struct gw_sa *
gw_sa_index_next(const struct gw_sa *sa)
{
	return with_spi(sa->next_spi, sa->prm.spi);
}

struct gw_sa *
gw_sa_index_key(const struct gw_sa_index *ix, const uint8_t *id)
{
	struct gw_sa *sa = ix->by_key == NULL ? NULL : *key_chain(ix, id);

	while (sa != NULL && !same_key(sa->reserve_id, id))
		sa = sa->next_key;
	return sa;
}

void
gw_sa_index_free(struct gw_sa_index *ix)
{
	free(ix->by_spi);
	free(ix->by_key);
	*ix = (struct gw_sa_index){0};
}
