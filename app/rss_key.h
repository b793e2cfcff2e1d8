/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef RSS_KEY_H
#define RSS_KEY_H

#include <stdint.h>

/**
 * Our RSS key: for every NIC that takes one. Those with a longer key get its beginning once
 * more behind it.
 */
#define GW_RSS_KEY_LEN 40
extern const uint8_t gw_rss_key[GW_RSS_KEY_LEN];

#endif /* RSS_KEY_H */
