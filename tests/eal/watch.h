/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef WATCH_H
#define WATCH_H

/*
 * Which cache lines each thread reads and writes. What is watched is compiled with
 * -fsanitize=thread, and linked with the functions of watch.c in place of that sanitizer's own:
 * the compiler calls them before each access to memory. Accesses of other code, such as drivers
 * and intel-ipsec-mb, are not seen.
 */

#include <stdbool.h>
#include <stdint.h>

#define WATCH_MAX_THREADS 64

/** A line that more than one thread used, and one of them wrote. */
struct watch_shared {
	uintptr_t line; /* its address */
	uint64_t readers; /* bit i: thread i, in the order in which they came */
	uint64_t writers;
};

/** Forget all, and watch from now on. */
void watch_start(void);

void watch_stop(void);

/** What the calling thread does does not count, from now on. */
void watch_ignore_me(void);

/** Threads that were seen since watch_start(). */
unsigned int watch_threads(void);

/** Lines that they wrote, all of them. */
unsigned int watch_lines_written(void);

/**
 * Shared lines, @p max at most. Watching has stopped some time ago.
 *
 * @param skip
 *   Says of a line that it does not count.
 * @return
 *   How many there are.
 */
unsigned int watch_shared(struct watch_shared *to, unsigned int max, bool (*skip)(uintptr_t line));

#endif /* WATCH_H */
