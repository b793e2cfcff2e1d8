/* SPDX-License-Identifier: BSD-3-Clause */

/* The SAD against a naive list; deletes that wrap around the end of the table. */

#include <ipsec_pcpu_sad.h>

#include "esp_util.h"

#define CAPACITY 64

static struct ipsec_pcpu_sad *
make_sad(uint32_t capacity)
{
	struct ipsec_pcpu_sad *sad = alloc_lines(ipsec_pcpu_sad_size(capacity));

	ipsec_pcpu_sad_init(sad, capacity);
	return sad;
}

static int
add(struct ipsec_pcpu_sad *sad, uint32_t spi, uint16_t owner)
{
	struct ipsec_pcpu_sad_entry entry = {
			.spi = spi,
			.owner = owner,
			.user = (uint16_t)(owner + 1),
			.sa = (struct ipsec_pcpu_sa *)(uintptr_t)spi,
	};

	return ipsec_pcpu_sad_add(sad, &entry);
}

static void
test_refusals(void **state)
{
	struct ipsec_pcpu_sad *sad = make_sad(2);

	assert_int_equal(add(sad, 0, 0), -EINVAL);
	assert_int_equal(add(sad, 255, 0), -EINVAL);
	assert_int_equal(add(sad, 256, 0), 0);
	assert_int_equal(add(sad, 256, 1), -EEXIST);
	assert_int_equal(add(sad, 257, 0), 0);
	assert_int_equal(add(sad, 258, 0), -ENOSPC);
	assert_int_equal(ipsec_pcpu_sad_del(sad, 258), -ENOENT);
	assert_int_equal(ipsec_pcpu_sad_del(sad, 0), -ENOENT);
	assert_null(ipsec_pcpu_sad_lookup(sad, 0));
	assert_int_equal(ipsec_pcpu_sad_del(sad, 256), 0);
	assert_int_equal(add(sad, 258, 0), 0);
	free(sad);
}

static void
test_empty(void **state)
{
	struct ipsec_pcpu_sad *sad = make_sad(0);

	assert_null(ipsec_pcpu_sad_lookup(sad, 1000));
	assert_int_equal(add(sad, 1000, 0), -ENOSPC);
	free(sad);
}

/** SPIs whose search starts at the same slot. */
static unsigned int
colliding(const struct ipsec_pcpu_sad *sad, uint32_t slot, uint32_t spi[], unsigned int n)
{
	unsigned int found = 0;

	for (uint32_t s = IPSEC_PCPU_MIN_SPI; found < n; s++)
		if ((ipsec_pcpu_sad_hash(s) & sad->mask) == slot)
			spi[found++] = s;
	return found;
}

/* A run of entries over the end of the table: whichever goes, the others are still found. */
static void
test_delete_wraps(void **state)
{
	struct ipsec_pcpu_sad *sad = make_sad(CAPACITY);
	uint32_t spi[8];

	for (unsigned int gone = 0; gone < RTE_DIM(spi); gone++) {
		ipsec_pcpu_sad_init(sad, CAPACITY);
		colliding(sad, sad->mask - 1, spi, 4);
		colliding(sad, sad->mask, spi + 4, 2);
		colliding(sad, 1, spi + 6, 2);
		for (unsigned int i = 0; i < RTE_DIM(spi); i++)
			assert_int_equal(add(sad, spi[i], i), 0);
		assert_int_equal(ipsec_pcpu_sad_del(sad, spi[gone]), 0);
		for (unsigned int i = 0; i < RTE_DIM(spi); i++)
			assert_int_equal(ipsec_pcpu_sad_lookup(sad, spi[i]) != NULL, i != gone);
	}
	free(sad);
}

static void
check_against(const struct ipsec_pcpu_sad *sad, const uint16_t owner[], uint32_t n)
{
	for (uint32_t spi = IPSEC_PCPU_MIN_SPI; spi < n; spi++) {
		const struct ipsec_pcpu_sad_entry *e = ipsec_pcpu_sad_lookup(sad, spi);

		if (owner[spi] == 0) {
			assert_null(e);
			continue;
		}
		assert_non_null(e);
		assert_int_equal(e->spi, spi);
		assert_int_equal(e->owner, owner[spi]);
		assert_int_equal(e->user, owner[spi] + 1);
		assert_ptr_equal(e->sa, (void *)(uintptr_t)spi);
	}
}

static void
test_model(void **state)
{
	static uint16_t owner[IPSEC_PCPU_MIN_SPI + 3 * CAPACITY];
	struct ipsec_pcpu_sad *sad = make_sad(CAPACITY);
	uint32_t count = 0;

	memset(owner, 0, sizeof(owner));
	for (int i = 0; i < 20000; i++) {
		uint32_t spi = IPSEC_PCPU_MIN_SPI + rnd() % (3 * CAPACITY);
		uint16_t who = 1 + rnd() % 100;

		if (rnd() % 2 == 0) {
			int want = owner[spi] ? -EEXIST : count == CAPACITY ? -ENOSPC : 0;

			assert_int_equal(add(sad, spi, who), want);
			if (want == 0) {
				owner[spi] = who;
				count++;
			}
		} else {
			assert_int_equal(ipsec_pcpu_sad_del(sad, spi), owner[spi] ? 0 : -ENOENT);
			count -= owner[spi] != 0;
			owner[spi] = 0;
		}
		assert_int_equal(sad->count, count);
		if (i % 16 == 0)
			check_against(sad, owner, RTE_DIM(owner));
	}
	free(sad);
}

static void
test_many(void **state)
{
	uint32_t n = 10000;
	struct ipsec_pcpu_sad *sad = make_sad(n);

	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(add(sad, 256 + i * 0x1001, i), 0);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(ipsec_pcpu_sad_lookup(sad, 256 + i * 0x1001)->owner, i);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(ipsec_pcpu_sad_del(sad, 256 + i * 0x1001), 0);
	for (uint32_t i = 0; i <= sad->mask; i++)
		assert_int_equal(sad->slot[i].spi, 0);
	free(sad);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_refusals),
			cmocka_unit_test(test_empty),
			cmocka_unit_test(test_delete_wraps),
			cmocka_unit_test(test_model),
			cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
