/* SPDX-License-Identifier: BSD-3-Clause */

#include "nl_table.h"

#include <stdlib.h>
#include <string.h>

#include <rte_jhash.h>

#define FIRST_CAP 64

static uint32_t
home(const struct nl_table *t, const struct nl_key *key)
{
	return rte_jhash(key, sizeof(*key), 0) & (t->n_slots - 1);
}

/** The slot that holds @p key, or the free one where it would go. */
static uint32_t
probe(const struct nl_table *t, const struct nl_key *key)
{
	uint32_t i = home(t, key);

	while (t->slot[i] != 0 && memcmp(&t->item[t->slot[i] - 1].key, key, sizeof(*key)) != 0)
		i = (i + 1) & (t->n_slots - 1);
	return i;
}

static bool
grow(struct nl_table *t)
{
	uint32_t cap = t->cap == 0 ? FIRST_CAP : t->cap * 2;
	struct nl_item *item = realloc(t->item, cap * sizeof(*item));
	uint32_t *slot;

	if (item == NULL)
		return false;
	t->item = item;
	slot = calloc(cap * 2, sizeof(*slot));
	if (slot == NULL)
		return false;
	free(t->slot);
	t->slot = slot;
	t->n_slots = cap * 2;
	t->cap = cap;
	for (uint32_t i = 0; i < t->n; i++)
		t->slot[probe(t, &t->item[i].key)] = i + 1;
	return true;
}

struct nl_item *
nl_table_find(const struct nl_table *t, const struct nl_key *key)
{
	uint32_t i;

	if (t->n == 0)
		return NULL;
	i = probe(t, key);
	return t->slot[i] == 0 ? NULL : &t->item[t->slot[i] - 1];
}

struct nl_item *
nl_table_put(struct nl_table *t, const struct nl_key *key)
{
	struct nl_item *item = nl_table_find(t, key);

	if (item != NULL)
		return item;
	if (t->n == t->cap && !grow(t))
		return NULL;
	item = &t->item[t->n];
	memset(item, 0, sizeof(*item));
	item->key = *key;
	t->n++;
	t->slot[probe(t, key)] = t->n;
	return item;
}

/** Free a slot and move those behind it that would not be found any more. */
static void
free_slot(struct nl_table *t, uint32_t i)
{
	const uint32_t mask = t->n_slots - 1;

	for (uint32_t j = (i + 1) & mask; t->slot[j] != 0; j = (j + 1) & mask) {
		uint32_t h = home(t, &t->item[t->slot[j] - 1].key);

		if (((j - h) & mask) >= ((j - i) & mask)) {
			t->slot[i] = t->slot[j];
			i = j;
		}
	}
	t->slot[i] = 0;
}

void
nl_table_del(struct nl_table *t, struct nl_item *item)
{
	struct nl_item *last = &t->item[t->n - 1];

	free_slot(t, probe(t, &item->key));
	if (item != last) {
		t->slot[probe(t, &last->key)] = (uint32_t)(item - t->item) + 1;
		*item = *last;
	}
	t->n--;
}

void
nl_table_free(struct nl_table *t)
{
	free(t->item);
	free(t->slot);
	memset(t, 0, sizeof(*t));
}
