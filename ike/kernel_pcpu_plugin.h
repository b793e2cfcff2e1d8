/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The plugin of charon that keeps IPsec SAs and policies in dpdk-pcpu-gw.
 */

/**
 * @defgroup kernel_pcpu kernel_pcpu
 * @ingroup cplugins
 *
 * @defgroup kernel_pcpu_plugin kernel_pcpu_plugin
 * @{ @ingroup kernel_pcpu
 */

#ifndef KERNEL_PCPU_PLUGIN_H_
#define KERNEL_PCPU_PLUGIN_H_

#include <plugins/plugin.h>

typedef struct kernel_pcpu_plugin_t kernel_pcpu_plugin_t;

/**
 * Kernel interface for the user space gateway dpdk-pcpu-gw.
 */
struct kernel_pcpu_plugin_t {

	/**
	 * Implements plugin interface
	 */
	plugin_t plugin;
};

/**
 * Create an instance; charon looks for it by its name.
 *
 * @return			plugin
 */
plugin_t *kernel_pcpu_plugin_create();

#endif /** KERNEL_PCPU_PLUGIN_H_ @}*/
