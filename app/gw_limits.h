/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef GW_LIMITS_H
#define GW_LIMITS_H

/* Sizes that are fixed at compile time, in one place. */

#define GW_NAME_LEN 16 /* of ports and tunnels, with the final 0: IFNAMSIZ */
#define GW_MAX_WORKERS 64
#define GW_MAX_PORTS 16
#define GW_MAX_PORT_ADDRS 8
#define GW_MAX_TUNNELS 16384
#define GW_BURST 32

#endif /* GW_LIMITS_H */
