/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Also where asserts are compiled out. */
static inline void
check(bool holds)
{
	if (!holds)
		abort();
}

#endif /* CHECK_H */
