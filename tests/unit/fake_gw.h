/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef FAKE_GW_H
#define FAKE_GW_H

/*
 * A gateway that consists of its structs only, with verbs that note what they
 * were asked: two workers, ports lan and wan, tunnels paris (four SAs) and oslo
 * (none).
 */

#include "control/control.h"

extern char fake_verb[256]; /* what the last verb was asked */
extern bool fake_disk_full; /* the state file cannot be written */
extern struct gw_explain fake_explain; /* its clear_side and why are what gw_explain() says */

struct gw *fake_gw_new(void);
void fake_gw_free(struct gw *gw);

#endif /* FAKE_GW_H */
