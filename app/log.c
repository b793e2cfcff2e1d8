/* SPDX-License-Identifier: BSD-3-Clause */

#include "log.h"

int gw_logtype = RTE_LOGTYPE_USER1;

void
gw_log_init(void)
{
	int type = rte_log_register_type_and_pick_level("gw", RTE_LOG_NOTICE);

	if (type >= 0)
		gw_logtype = type;
}
