/* SPDX-License-Identifier: BSD-3-Clause */

#include "counters.h"
#include "cycles.h"

const struct gw_drop_info gw_drop_info[GW_N_DROPS] = {
#define _(id, name, what, remedy) [GW_DROP_##id] = {#name, what, remedy},
		GW_FOREACH_DROP(_)
#undef _
};

const struct gw_counter_info gw_counter_info[GW_N_COUNTERS] = {
#define _(name, what) [GW_COUNTER_##name] = {#name, what},
		GW_FOREACH_COUNTER(_)
#undef _
};

const struct gw_stage_info gw_stage_info[GW_N_STAGES] = {
#define _(name, what) [GW_STAGE_##name] = {#name, what},
		GW_FOREACH_STAGE(_)
#undef _
};
