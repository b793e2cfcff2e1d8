/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The plugin of charon that keeps IPsec SAs and policies in dpdk-pcpu-gw.
 */

#include "kernel_pcpu_plugin.h"
#include "kernel_pcpu_ipsec.h"

typedef struct private_kernel_pcpu_plugin_t private_kernel_pcpu_plugin_t;

/**
 * Private data of kernel_pcpu_plugin_t
 */
struct private_kernel_pcpu_plugin_t {

	/**
	 * Public interface
	 */
	kernel_pcpu_plugin_t public;
};

/* verified by charon since 6.0.3: it has to be the version of the headers that
 * this was compiled with */
__attribute__((visibility("default")))
const char *kernel_pcpu_plugin_version = VERSION;

METHOD(plugin_t, get_name, char*,
	private_kernel_pcpu_plugin_t *this)
{
	return "kernel-pcpu";
}

METHOD(plugin_t, get_features, int,
	private_kernel_pcpu_plugin_t *this, plugin_feature_t *features[])
{
	static plugin_feature_t f[] = {
		PLUGIN_CALLBACK(kernel_ipsec_register, kernel_pcpu_ipsec_create),
			PLUGIN_PROVIDE(CUSTOM, "kernel-ipsec"),
	};
	*features = f;
	return countof(f);
}

METHOD(plugin_t, destroy, void,
	private_kernel_pcpu_plugin_t *this)
{
	free(this);
}

__attribute__((visibility("default")))
plugin_t *kernel_pcpu_plugin_create()
{
	private_kernel_pcpu_plugin_t *this;

	INIT(this,
		.public = {
			.plugin = {
				.get_name = _get_name,
				.get_features = _get_features,
				.destroy = _destroy,
			},
		},
	);

	return &this->public.plugin;
}
