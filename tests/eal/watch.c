/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The functions that -fsanitize=thread calls (gcc 8 to 14, clang), for watch.h. Atomic ones do
 * what is asked of them, with the strongest order.
 */

#include "watch.h"

#include <stdlib.h>
#include <string.h>

#define LINE 64
#define SLOTS (1u << 16) /* lines of one thread; more are an error */

#define READ 1
#define WRITE 2

struct slot {
	uintptr_t line; /* 0: free */
	uint8_t how;
};

struct thread {
	unsigned int round; /* of watching, in which it was cleared */
	unsigned int n;
	struct slot slot[SLOTS];
};

static struct thread *threads[WATCH_MAX_THREADS];
static unsigned int n_threads;
static unsigned int round_no; /* 0: not yet */
static bool on;
static __thread struct thread *mine;
static __thread bool ignored;

static struct thread *
self(void)
{
	if (mine == NULL) {
		unsigned int i = __atomic_fetch_add(&n_threads, 1, __ATOMIC_RELAXED);

		if (i >= WATCH_MAX_THREADS)
			abort();
		mine = calloc(1, sizeof(*mine));
		__atomic_store_n(&threads[i], mine, __ATOMIC_RELEASE);
	}
	if (mine->round != round_no) {
		mine->round = round_no;
		mine->n = 0;
		memset(mine->slot, 0, sizeof(mine->slot));
	}
	return mine;
}

static struct slot *
find(struct thread *t, uintptr_t line)
{
	unsigned int i = (line / LINE * UINT64_C(0x9e3779b97f4a7c15)) >> 48;

	while (t->slot[i].line != 0 && t->slot[i].line != line)
		i = (i + 1) % SLOTS;
	return &t->slot[i];
}

static void
note(const volatile void *p, size_t size, uint8_t how)
{
	uintptr_t at = (uintptr_t)p, end = at + size;

	if (!__atomic_load_n(&on, __ATOMIC_RELAXED) || ignored)
		return;
	for (at -= at % LINE; at < end; at += LINE) {
		struct thread *t = self();
		struct slot *s = find(t, at);

		if (s->line == 0 && ++t->n > SLOTS / 2)
			abort();
		s->line = at;
		s->how |= how;
	}
}

void
watch_start(void)
{
	round_no++;
	__atomic_store_n(&on, true, __ATOMIC_SEQ_CST);
}

void
watch_stop(void)
{
	__atomic_store_n(&on, false, __ATOMIC_SEQ_CST);
}

void
watch_ignore_me(void)
{
	ignored = true;
}

/** The lines of a thread, if it was seen. */
static struct thread *
seen(unsigned int i)
{
	return threads[i] != NULL && threads[i]->round == round_no ? threads[i] : NULL;
}

unsigned int
watch_threads(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < n_threads; i++)
		n += seen(i) != NULL;
	return n;
}

unsigned int
watch_lines_written(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < n_threads; i++)
		for (unsigned int s = 0; seen(i) != NULL && s < SLOTS; s++)
			n += (threads[i]->slot[s].how & WRITE) != 0;
	return n;
}

/** Who uses a line. */
static struct watch_shared
users_of(uintptr_t line)
{
	struct watch_shared w = {.line = line};

	for (unsigned int i = 0; i < n_threads; i++) {
		uint8_t how = seen(i) == NULL ? 0 : find(threads[i], line)->how;

		w.readers |= (uint64_t)((how & READ) != 0) << i;
		w.writers |= (uint64_t)((how & WRITE) != 0) << i;
	}
	return w;
}

/** More than one, of whom one writes; counted for the first that writes. */
static bool
is_shared(const struct watch_shared *w, unsigned int thread)
{
	uint64_t users = w->readers | w->writers;

	return (users & (users - 1)) != 0 && (w->writers & -w->writers) >> thread == 1;
}

unsigned int
watch_shared(struct watch_shared *to, unsigned int max, bool (*skip)(uintptr_t line))
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < n_threads; i++) {
		for (unsigned int s = 0; seen(i) != NULL && s < SLOTS; s++) {
			const struct slot *slot = &threads[i]->slot[s];
			struct watch_shared w;

			if ((slot->how & WRITE) == 0 || skip(slot->line))
				continue;
			w = users_of(slot->line);
			if (!is_shared(&w, i))
				continue;
			if (n < max)
				to[n] = w;
			n++;
		}
	}
	return n;
}

/* What the compiler calls */

#define EXPORT(type, name, ...) \
	type name(__VA_ARGS__); \
	type name(__VA_ARGS__)

#define ACCESS(bytes) \
	EXPORT(void, __tsan_read##bytes, void *p) \
	{ \
		note(p, bytes, READ); \
	} \
	EXPORT(void, __tsan_write##bytes, void *p) \
	{ \
		note(p, bytes, WRITE); \
	} \
	EXPORT(void, __tsan_volatile_read##bytes, void *p) \
	{ \
		note(p, bytes, READ); \
	} \
	EXPORT(void, __tsan_volatile_write##bytes, void *p) \
	{ \
		note(p, bytes, WRITE); \
	} \
	EXPORT(void, __tsan_unaligned_read##bytes, void *p) \
	{ \
		note(p, bytes, READ); \
	} \
	EXPORT(void, __tsan_unaligned_write##bytes, void *p) \
	{ \
		note(p, bytes, WRITE); \
	}

ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

EXPORT(void, __tsan_read_range, void *p, size_t size)
{
	note(p, size, READ);
}

EXPORT(void, __tsan_write_range, void *p, size_t size)
{
	note(p, size, WRITE);
}

EXPORT(void, __tsan_init, void)
{
}

EXPORT(void, __tsan_func_entry, void *pc)
{
}

EXPORT(void, __tsan_func_exit, void)
{
}

EXPORT(void, __tsan_atomic_thread_fence, int order)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

EXPORT(void, __tsan_atomic_signal_fence, int order)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

#define ATOMIC(bits) \
	EXPORT(uint##bits##_t, __tsan_atomic##bits##_load, const volatile uint##bits##_t *p, \
			int order) \
	{ \
		note(p, bits / 8, READ); \
		return __atomic_load_n(p, __ATOMIC_SEQ_CST); \
	} \
	EXPORT(void, __tsan_atomic##bits##_store, volatile uint##bits##_t *p, uint##bits##_t v, \
			int order) \
	{ \
		note(p, bits / 8, WRITE); \
		__atomic_store_n(p, v, __ATOMIC_SEQ_CST); \
	} \
	EXPORT(uint##bits##_t, __tsan_atomic##bits##_fetch_add, volatile uint##bits##_t *p, \
			uint##bits##_t v, int order) \
	{ \
		note(p, bits / 8, READ | WRITE); \
		return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); \
	} \
	EXPORT(uint##bits##_t, __tsan_atomic##bits##_fetch_sub, volatile uint##bits##_t *p, \
			uint##bits##_t v, int order) \
	{ \
		note(p, bits / 8, READ | WRITE); \
		return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); \
	} \
	EXPORT(int, __tsan_atomic##bits##_compare_exchange_strong, volatile uint##bits##_t *p, \
			uint##bits##_t *expected, uint##bits##_t v, int order, int fail) \
	{ \
		note(p, bits / 8, READ | WRITE); \
		return __atomic_compare_exchange_n( \
				p, expected, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
	} \
	EXPORT(int, __tsan_atomic##bits##_compare_exchange_weak, volatile uint##bits##_t *p, \
			uint##bits##_t *expected, uint##bits##_t v, int order, int fail) \
	{ \
		return __tsan_atomic##bits##_compare_exchange_strong(p, expected, v, order, fail); \
	}

ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)
