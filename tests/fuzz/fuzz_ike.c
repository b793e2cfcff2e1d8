/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A message of charon's plugin. The first byte of the input chooses a type, so that most inputs
 * get past the length; the rest is what stands behind the header.
 */

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "front/ike_msg.h"

/** What those who get a request rely on. */
static void
check_request(const struct gw_ike_request *req)
{
	const struct gw_ike_policy *pol = &req->u.policy;

	if (req->type == IKE_SA_ADD) {
		check(ipsec_pcpu_sa_check(&req->u.new_sa.prm, NULL) == 0);
		check(memchr(req->u.new_sa.name, 0, sizeof(req->u.new_sa.name)) != NULL);
	} else if (req->type == IKE_POL_ADD) {
		check(pol->sel.local.addr.family == pol->sel.remote.addr.family);
		check(pol->sel.local.len <= gw_addr_len(pol->sel.local.addr.family) * 8);
		check(pol->sel.local_ports.min <= pol->sel.local_ports.max);
		check(pol->sel.remote_ports.min <= pol->sel.remote_ports.max);
		check(pol->prio < GW_IKE_N_PRIOS);
	}
}

static void
decode(const void *msg, size_t len)
{
	struct gw_ike_request req;
	const char *why = NULL;
	int rc = gw_ike_decode(msg, len, &req, &why);

	check(rc >= 0 && (rc == 0 || why != NULL));
	if (rc == 0)
		check_request(&req);
	gw_ike_request_wipe(&req);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ike_hdr hdr = {.id = 1};
	uint8_t *msg;

	if (size == 0)
		return 0;
	decode(data + 1, size - 1);
	hdr.type = data[0];
	msg = malloc(sizeof(hdr) + size);
	check(msg != NULL);
	memcpy(msg, &hdr, sizeof(hdr));
	memcpy(msg + sizeof(hdr), data + 1, size - 1);
	decode(msg, sizeof(hdr) + size - 1);
	/* of the length that its type has, where there is enough */
	if (ike_msg_len(hdr.type) != 0 && size - 1 + sizeof(hdr) > ike_msg_len(hdr.type))
		decode(msg, ike_msg_len(hdr.type));
	free(msg);
	return 0;
}
