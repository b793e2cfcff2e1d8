/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What strongSwan's headers want to know of how strongSwan was configured; they
 * are included with -include of this file. It stands for what Debian's packages
 * and tools/strongswan configure. ME is part of the ABI: without it methods of
 * ike_sa_t and others are not where charon has them.
 */
#ifndef KERNEL_PCPU_CONFIG_H_
#define KERNEL_PCPU_CONFIG_H_

#define CONFIG_H_INCLUDED
#define HAVE_DLADDR 1
#define HAVE_ALLOCA_H 1
#define HAVE_STDBOOL_H 1
#define HAVE_INT128 1
#define HAVE_SYS_PARAM_H 1
#define HAVE_CLOCK_GETTIME 1
#define HAVE_CONDATTR_CLOCK_MONOTONIC 1
#define HAVE_EXPLICIT_BZERO 1
#define HAVE_MEMRCHR 1
#define HAVE_FMEMOPEN 1
#define HAVE_SIGWAITINFO 1
#define HAVE_CLOSEFROM 1
#define ME 1
#define USE_IKEV1 1
#define USE_IKEV2 1

#endif
