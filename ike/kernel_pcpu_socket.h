/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The connection to the gateway.
 */

/**
 * @defgroup kernel_pcpu_socket kernel_pcpu_socket
 * @{ @ingroup kernel_pcpu
 */

#ifndef KERNEL_PCPU_SOCKET_H_
#define KERNEL_PCPU_SOCKET_H_

#include <library.h>

#include "ike.h"

typedef struct kernel_pcpu_socket_t kernel_pcpu_socket_t;
typedef struct kernel_pcpu_user_t kernel_pcpu_user_t;
typedef struct kernel_pcpu_synced_t kernel_pcpu_synced_t;

/**
 * What the connection calls, from a thread of its own.
 */
struct kernel_pcpu_user_t {

	/**
	 * First argument of the functions
	 */
	void *data;

	/**
	 * The gateway is there (again): tell it all that it has to know. Nobody
	 * else is between begin() and end() meanwhile.
	 *
	 * @param data		as above
	 * @param restarted	TRUE if it is not the process of the last connection
	 * @return			FALSE to break the connection, and try again later
	 */
	bool (*sync)(void *data, bool restarted);

	/**
	 * An event came. Must not block, nor call any of the connection.
	 *
	 * @param data		as above
	 * @param msg		of a known type, and as long as that
	 */
	void (*event)(void *data, union ike_any *msg);
};

/**
 * What was told during sync().
 */
struct kernel_pcpu_synced_t {

	/**
	 * Policies
	 */
	u_int policies;

	/**
	 * SAs, and those of them that have to be rekeyed first
	 */
	u_int sas, stale;

	/**
	 * Policies and SAs that the gateway did not take
	 */
	u_int refused;
};

/**
 * A connection that comes back by itself.
 */
struct kernel_pcpu_socket_t {

	/**
	 * Start to connect; once.
	 *
	 * @param user		whom to call
	 * @return			FALSE if that is impossible
	 */
	bool (*start)(kernel_pcpu_socket_t *this, kernel_pcpu_user_t user);

	/**
	 * Begin something that consists of requests and changes of what sync()
	 * tells: sync() runs before or after it, never meanwhile.
	 *
	 * @return			FALSE if there is no gateway; end() is due even then
	 */
	bool (*begin)(kernel_pcpu_socket_t *this);

	/**
	 * The end of what began.
	 */
	void (*end)(kernel_pcpu_socket_t *this);

	/**
	 * Send a request and wait for its reply; between begin() and end(), or
	 * from sync().
	 *
	 * @param msg		request; the number in it is given here
	 * @param len		its length
	 * @param reply		receives the reply, NULL if its status is enough
	 * @return			0, an errno value of the gateway's, ENOTCONN if it is
	 *					gone, ETIMEDOUT if it does not answer
	 */
	int (*request)(kernel_pcpu_socket_t *this, struct ike_hdr *msg, size_t len,
				   struct ike_reply *reply);

	/**
	 * Close the connection.
	 */
	void (*destroy)(kernel_pcpu_socket_t *this);
};

/**
 * Create a connection, which is down until it is started.
 *
 * @return			connection
 */
kernel_pcpu_socket_t *kernel_pcpu_socket_create();

#endif /** KERNEL_PCPU_SOCKET_H_ @}*/
