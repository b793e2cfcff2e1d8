/* SPDX-License-Identifier: BSD-3-Clause */

/* The replay window against a naive set, and ESN recovery against its definition. */

#include "esp_util.h"

#define SPAN 262144

/* A window that remembers every number by itself. */
struct model {
	uint64_t base; /* number of seen[0] */
	uint64_t top;
	uint32_t window;
	uint8_t seen[SPAN];
};

static int
model_check(const struct model *m, uint64_t seq)
{
	if (m->window == 0)
		return 0;
	if (seq == 0)
		return -ERANGE;
	if (seq > m->top)
		return 0;
	if (m->top - seq >= m->window)
		return -ERANGE;
	return m->seen[seq - m->base] ? -EALREADY : 0;
}

static void
model_note(struct model *m, uint64_t seq)
{
	m->seen[seq - m->base] = 1;
	m->top = RTE_MAX(m->top, seq);
}

static uint64_t
random_seq(const struct model *m)
{
	uint64_t r = rnd();
	uint64_t reach = m->window + 70;

	if (r % 1024 == 0)
		return m->top + r / 1024 % (2 * reach);
	if (r % 2 == 0)
		return m->top + 1 + r / 64 % 3;
	r = r / 64 % (reach + 10);
	return m->top - m->base > r ? m->top - r : m->base;
}

static void
compare_with_model(uint32_t window, uint64_t start)
{
	static struct model m;
	static uint64_t seen[REPLAY_MAX_WORDS];
	struct replay r;

	memset(&m, 0, sizeof(m));
	m.base = start > 5000 ? start - 5000 : 0;
	memset(m.seen, 1, start - m.base + 1);
	m.top = start;
	m.window = window;
	replay_init(&r, seen, window, start);
	for (int i = 0; i < 20000 && m.top - m.base < SPAN - 20000; i++) {
		uint64_t seq = random_seq(&m);
		int want = model_check(&m, seq);

		assert_int_equal(replay_check(&r, seen, seq), want);
		if (want == 0 && rnd() % 8 != 0) {
			replay_advance(&r, seen, seq);
			model_note(&m, seq);
			assert_int_equal(replay_check(&r, seen, seq), window != 0 ? -EALREADY : 0);
		}
		assert_int_equal(r.top, m.top);
	}
}

static void
test_model(void **state)
{
	static const uint64_t starts[] = {
			0,
			1,
			63,
			64,
			4095,
			4096,
			10000,
			UINT32_MAX - 1000,
			UINT64_C(1) << 40,
	};

	for (uint32_t window = 0; window <= IPSEC_PCPU_MAX_REPLAY_WINDOW; window += 64)
		for (unsigned int i = 0; i < RTE_DIM(starts); i++)
			compare_with_model(window, starts[i]);
}

static void
test_zero_is_never_new(void **state)
{
	uint64_t seen[REPLAY_MAX_WORDS];
	struct replay r;

	replay_init(&r, seen, 64, 0);
	assert_int_equal(replay_check(&r, seen, 0), -ERANGE);
	assert_int_equal(replay_check(&r, seen, 1), 0);
	replay_advance(&r, seen, 3);
	assert_int_equal(replay_check(&r, seen, 0), -ERANGE);
	assert_int_equal(replay_check(&r, seen, 1), 0);
}

static void
test_start_counts_as_seen(void **state)
{
	uint64_t seen[REPLAY_MAX_WORDS];
	struct replay r;

	replay_init(&r, seen, 128, 1000);
	for (uint64_t seq = 1000; seq > 1000 - 128; seq--)
		assert_int_equal(replay_check(&r, seen, seq), -EALREADY);
	assert_int_equal(replay_check(&r, seen, 1000 - 128), -ERANGE);
	for (uint64_t seq = 1001; seq < 3000; seq++)
		assert_int_equal(replay_check(&r, seen, seq), 0);
}

static void
test_far_jump_forgets_all(void **state)
{
	uint64_t seen[REPLAY_MAX_WORDS];
	struct replay r;

	replay_init(&r, seen, 4096, 5000);
	replay_advance(&r, seen, UINT64_C(1) << 63);
	for (uint64_t i = 1; i < 4096; i++)
		assert_int_equal(replay_check(&r, seen, (UINT64_C(1) << 63) - i), 0);
}

/* RFC 4303 A2.1: exactly the 2^32 numbers from the window's left edge on are recovered. */
static void
check_esn(uint64_t top, uint32_t window)
{
	struct replay r = {.top = top, .window = window};
	uint32_t reach = window != 0 ? window : REPLAY_ESN_WINDOW;
	uint64_t left = top >= reach - 1 ? top - reach + 1 : 0;

	assert_int_equal(replay_esn(&r, (uint32_t)left), left);
	assert_int_equal(replay_esn(&r, (uint32_t)(left + UINT32_MAX)), left + UINT32_MAX);
	assert_int_equal(replay_esn(&r, (uint32_t)top), top);
	assert_int_equal(replay_esn(&r, (uint32_t)(top + 1)), top + 1);
	for (int i = 0; i < 200; i++) {
		uint64_t seq = left + (uint32_t)rnd();

		assert_int_equal(replay_esn(&r, (uint32_t)seq), seq);
	}
}

static void
test_esn_recovery(void **state)
{
	static const uint32_t windows[] = {0, 64, 128, 1024, 4096};

	for (unsigned int w = 0; w < RTE_DIM(windows); w++) {
		for (uint64_t hi = 0; hi < 4; hi++) {
			for (int64_t d = -5000; d <= 5000; d += 7)
				if (hi > 0 || d >= 0)
					check_esn((hi << 32) + (uint64_t)d, windows[w]);
			check_esn(hi << 32 | UINT32_C(0x80000000), windows[w]);
			check_esn(hi << 32 | UINT32_C(0x7fffffff), windows[w]);
		}
	}
}

/* Without a window the top must move all the same, or the high half is lost. */
static void
test_esn_without_window(void **state)
{
	uint64_t seen[REPLAY_MAX_WORDS];
	struct replay r;

	replay_init(&r, seen, 0, 0);
	for (uint64_t seq = 1; seq < UINT64_C(5) << 32; seq += UINT32_C(0x3fffffff)) {
		assert_int_equal(replay_esn(&r, (uint32_t)seq), seq);
		replay_advance(&r, seen, seq);
		assert_int_equal(replay_check(&r, seen, seq), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_model),
			cmocka_unit_test(test_zero_is_never_new),
			cmocka_unit_test(test_start_counts_as_seen),
			cmocka_unit_test(test_far_jump_forgets_all),
			cmocka_unit_test(test_esn_recovery),
			cmocka_unit_test(test_esn_without_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
