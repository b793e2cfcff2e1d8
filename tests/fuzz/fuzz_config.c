/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The text of a configuration, whatever it is: accepted or refused with a
 * sentence, and what was accepted stands up to the check once more.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 leaks strings where the syntax is wrong; its leaks are not ours. */
const char *
__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct gw_config cfg;
	struct gw_error err = {""};

	memcpy(text, data, size);
	text[size] = '\0';
	if (gw_config_parse(text, "gw.conf", &cfg, &err) != 0) {
		if (err.text[0] == '\0')
			abort();
	} else {
		if (gw_config_check(&cfg, &err) != 0)
			abort();
		gw_config_free(&cfg);
	}
	free(text);
	return 0;
}
