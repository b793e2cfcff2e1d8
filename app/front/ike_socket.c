/* SPDX-License-Identifier: BSD-3-Clause */

/* charon's plugin on its socket: connections, requests to verbs, events. */

#include "ike_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_byteorder.h>

#include "../clock.h"
#include "../control/ike.h"
#include "../log.h"
#include "ike_msg.h"
#include "unix_socket.h"

/** A charon that comes while the one before has not been noticed to be gone. */
#define MAX_CLIENTS 4
/** Requests answered before other things have their turn. */
#define BATCH 64
/** Lines that are logged in ten seconds. */
#define MAX_LOGS 20
#define LOG_TICKS_NS (10 * GW_NS_PER_S)

struct client {
	struct gw_ike_socket *sock;
	int fd; /* -1: free */
};

struct gw_ike_socket {
	struct gw *gw;
	struct gw_unix_socket sock;
	struct client client[MAX_CLIENTS];
	struct client *charon; /* the one that said hello; NULL: nobody */
	uint64_t log_from;
	unsigned int logs;
};

/* Log */

static bool
may_log(struct gw_ike_socket *s)
{
	uint64_t now = gw_now_ns();

	if (s->log_from == 0 || now - s->log_from >= LOG_TICKS_NS) {
		if (s->logs > MAX_LOGS)
			GW_LOG(WARNING, "IKE: %u more lines like these", s->logs - MAX_LOGS);
		s->log_from = now;
		s->logs = 0;
	}
	return ++s->logs <= MAX_LOGS;
}

/* Connections */

static void
drop_client(struct client *c, const char *why)
{
	struct gw_ike_socket *s = c->sock;

	if (c->fd < 0)
		return;
	gw_loop_del(s->gw->loop, c->fd);
	close(c->fd);
	c->fd = -1;
	if (s->charon != c) {
		if (why != NULL && may_log(s))
			GW_LOG(WARNING, "IKE: connection closed: %s", why);
		return;
	}
	s->charon = NULL;
	gw_ike_gone(s->gw);
	if (may_log(s))
		GW_LOG(WARNING, "IKE: charon is gone (%s): its SAs go on",
				why != NULL ? why : "it closed the connection");
}

/** It does not block us: a charon that does not read is as good as gone. */
static bool
put(struct client *c, const void *msg, size_t len)
{
	return send(c->fd, msg, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
}

static bool
on_acquire(void *arg, const struct gw_ike_acquire *a)
{
	struct gw_ike_socket *s = arg;
	struct ike_acquire m = {.hdr.type = IKE_ACQUIRE,
			.reqid = a->reqid,
			.cpu = a->cpu == IPSEC_PCPU_ANY ? IKE_CPU_NONE : a->cpu,
			.proto = a->flow.proto == GW_PROTO_OPAQUE ? 0 : a->flow.proto};
	struct gw_addr addr = {.family = a->flow.family};

	if (s->charon == NULL)
		return false;
	memcpy(&addr.a, a->flow.src, gw_addr_len(addr.family));
	gw_ike_put_addr(&m.src, &addr, rte_be_to_cpu_16(a->flow.sport));
	memcpy(&addr.a, a->flow.dst, gw_addr_len(addr.family));
	gw_ike_put_addr(&m.dst, &addr, rte_be_to_cpu_16(a->flow.dport));
	return put(s->charon, &m, sizeof(m));
}

static bool
on_expire(void *arg, const struct gw_ike_sa_key *key, bool hard)
{
	struct gw_ike_socket *s = arg;
	struct ike_expire m = {.hdr.type = IKE_EXPIRE, .hard = hard};

	if (s->charon == NULL)
		return false;
	gw_ike_put_key(&m.sa, key);
	return put(s->charon, &m, sizeof(m));
}

static bool
on_mapping(void *arg, const struct gw_ike_sa_key *key, const struct gw_addr *remote, uint16_t port)
{
	struct gw_ike_socket *s = arg;
	struct ike_mapping m = {.hdr.type = IKE_MAPPING};
	char from[GW_ADDR_STRLEN];

	if (s->charon == NULL)
		return false;
	gw_ike_put_key(&m.sa, key);
	gw_ike_put_addr(&m.remote, remote, port);
	if (!put(s->charon, &m, sizeof(m)))
		return false;
	if (may_log(s))
		GW_LOG(NOTICE, "IKE: packets of SA 0x%08x come from %s port %u now: charon is told",
				key->spi, gw_addr_text(remote, from), port);
	return true;
}

/** One that was there before, and that we have not heard of being gone. */
static void
look_after_charon(struct gw_ike_socket *s)
{
	char byte;

	if (s->charon != NULL &&
			recv(s->charon->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) == 0)
		drop_client(s->charon, NULL);
}

/* Requests */

static int
hello(struct client *c, const struct gw_ike_request *req, struct ike_reply *reply,
		struct gw_error *err)
{
	struct gw_ike_socket *s = c->sock;
	struct gw_ike_events events = {on_acquire, on_expire, on_mapping, s};
	struct gw_ike_status st;
	int rc;

	if (s->charon == c) {
		gw_error_set(err, NULL, 0, "a second hello");
		return -EINVAL;
	}
	look_after_charon(s);
	rc = gw_ike_hello(s->gw, req->u.hello.generation, req->u.hello.pcpu, &events, err);
	if (rc < 0)
		return rc;
	s->charon = c;
	gw_ike_status(s->gw, &st);
	reply->epoch = st.epoch;
	reply->workers = s->gw->n_workers;
	if (may_log(s))
		GW_LOG(NOTICE, "IKE: charon is connected%s",
				req->u.hello.pcpu
						? ""
						: "; it has no SAs for a CPU: strongSwan 6.0.2 has");
	return 0;
}

static int
alloc_spi(struct gw *gw, const struct gw_ike_request *req, struct ike_reply *reply,
		struct gw_error *err)
{
	uint32_t spi;
	int rc = gw_ike_alloc_spi(gw, &req->u.alloc_spi.src, &req->u.alloc_spi.dst, &spi, err);

	if (rc == 0)
		reply->spi = rte_cpu_to_be_32(spi);
	return rc;
}

static int
serve(struct client *c, const struct gw_ike_request *req, struct ike_reply *reply,
		struct gw_error *err)
{
	struct gw *gw = c->sock->gw;

	if (req->type == IKE_HELLO)
		return hello(c, req, reply, err);
	if (c != c->sock->charon) {
		gw_error_set(err, NULL, 0, "a request before hello");
		return -EPROTO;
	}
	switch (req->type) {
	case IKE_ALLOC_SPI:
		return alloc_spi(gw, req, reply, err);
	case IKE_SA_ADD:
		return gw_ike_sa_add(gw, &req->u.new_sa, err);
	case IKE_SA_UPDATE:
		return gw_ike_sa_update(gw, &req->u.moved_sa, err);
	case IKE_SA_KEEP:
		return gw_ike_sa_keep(gw, &req->u.key, err);
	case IKE_SA_DEL:
		return gw_ike_sa_del(gw, &req->u.key, err);
	case IKE_SA_QUERY:
		return gw_ike_sa_query(gw, &req->u.key, &reply->bytes, &reply->packets,
				&reply->idle_s, err);
	case IKE_POL_ADD:
		return gw_ike_policy_add(gw, &req->u.policy, err);
	case IKE_POL_DEL:
		return gw_ike_policy_del(gw, &req->u.policy, err);
	case IKE_SYNC_END:
		return gw_ike_sync_end(gw, err);
	case IKE_FLUSH:
		return gw_ike_flush(gw, req->u.flush.sas, req->u.flush.policies, err);
	default:
		gw_error_set(err, NULL, 0, "not a request");
		return -EINVAL;
	}
}

static const char *
name_of(enum ike_type type)
{
	static const char *const names[] = {
			[IKE_HELLO] = "HELLO",
			[IKE_ALLOC_SPI] = "ALLOC_SPI",
			[IKE_SA_ADD] = "SA_ADD",
			[IKE_SA_UPDATE] = "SA_UPDATE",
			[IKE_SA_KEEP] = "SA_KEEP",
			[IKE_SA_DEL] = "SA_DEL",
			[IKE_SA_QUERY] = "SA_QUERY",
			[IKE_POL_ADD] = "POL_ADD",
			[IKE_POL_DEL] = "POL_DEL",
			[IKE_SYNC_END] = "SYNC_END",
			[IKE_FLUSH] = "FLUSH",
	};

	return type < RTE_DIM(names) && names[type] != NULL ? names[type] : "?";
}

/** One that is asked of what is gone is no error worth a line: charon tidies up. */
static void
note_refusal(struct client *c, const struct gw_ike_request *req, int status, const char *why)
{
	gw_ike_counts(c->sock->gw)->refused++;
	if (status != ENOENT && may_log(c->sock))
		GW_LOG(WARNING, "IKE: %s refused: %s", name_of(req->type), why);
}

/** @p buf is wiped: it may hold keys. */
static void
take(struct client *c, void *buf, size_t len)
{
	struct ike_reply reply = {.hdr.type = IKE_REPLY};
	struct gw_ike_request req;
	struct gw_error err = {{0}};
	const char *why = NULL;
	int rc = gw_ike_decode(buf, len, &req, &why);

	explicit_bzero(buf, len);
	reply.hdr.id = req.id;
	if (rc == EBADMSG) {
		gw_ike_counts(c->sock->gw)->malformed++;
		gw_ike_request_wipe(&req);
		drop_client(c, why);
		return;
	}
	if (rc == 0) {
		rc = -serve(c, &req, &reply, &err);
		why = err.text;
	}
	if (rc != 0)
		note_refusal(c, &req, rc, why);
	gw_ike_request_wipe(&req);
	reply.status = rc;
	if (!put(c, &reply, sizeof(reply)))
		drop_client(c, "it does not read its answers");
}

static void
on_client(void *arg, uint32_t events)
{
	struct client *c = arg;
	/* one byte more than any message: a longer one shows */
	uint8_t buf[sizeof(union ike_any) + 1];

	for (unsigned int i = 0; i < BATCH && c->fd >= 0; i++) {
		ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0)
			drop_client(c, n == 0 ? NULL : strerror(errno));
		else
			take(c, buf, n);
	}
}

/* The socket */

/** A place for one more: of the oldest that has not said hello, if need be. */
static struct client *
find_place(struct gw_ike_socket *s)
{
	look_after_charon(s);
	for (unsigned int i = 0; i < MAX_CLIENTS; i++)
		if (s->client[i].fd < 0)
			return &s->client[i];
	for (unsigned int i = 0; i < MAX_CLIENTS; i++) {
		if (&s->client[i] == s->charon)
			continue;
		drop_client(&s->client[i], "it said nothing, and others have come");
		return &s->client[i];
	}
	return NULL;
}

static void
on_accept(void *arg, uint32_t events)
{
	struct gw_ike_socket *s = arg;
	int fd = accept4(s->sock.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct client *c;

	if (fd < 0)
		return;
	c = gw_unix_is_ours(fd) ? find_place(s) : NULL;
	if (c == NULL || gw_loop_add(s->gw->loop, fd, EPOLLIN, on_client, c) != 0) {
		if (may_log(s))
			GW_LOG(WARNING, "IKE: a connection of another user, or one too many: closed");
		close(fd);
		return;
	}
	c->fd = fd;
}

static int
listen_on(struct gw_ike_socket *s, const char *path)
{
	int rc = gw_unix_set_path(&s->sock, path);

	if (rc == 0)
		rc = gw_unix_clear_path(&s->sock, SOCK_SEQPACKET);
	if (rc == 0)
		rc = gw_unix_bind(&s->sock, SOCK_SEQPACKET);
	if (rc == 0)
		rc = gw_unix_listen(&s->sock, MAX_CLIENTS);
	return rc < 0 ? rc : gw_loop_add(s->gw->loop, s->sock.fd, EPOLLIN, on_accept, s);
}

static const char *
why_not(int rc)
{
	switch (rc) {
	case -EEXIST:
		return "this exists and is not a socket: use another path, or remove it";
	case -EADDRINUSE:
		return "another gateway is running there";
	case -ENOENT:
		return "there is no such directory: make it";
	default:
		return strerror(-rc);
	}
}

int
gw_ike_socket_open(struct gw *gw, const char *path, struct gw_ike_socket **result,
		struct gw_error *err)
{
	struct gw_ike_socket *s;
	int rc;

	if (path == NULL)
		return 0;
	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		gw_error_set(err, NULL, 0, "IKE socket: no memory");
		return -ENOMEM;
	}
	s->gw = gw;
	for (unsigned int i = 0; i < MAX_CLIENTS; i++)
		s->client[i] = (struct client){s, -1};
	rc = listen_on(s, path);
	if (rc < 0) {
		gw_error_set(err, NULL, 0, "IKE socket %s: %s", path, why_not(rc));
		gw_ike_socket_close(s);
		return rc;
	}
	*result = s;
	return 0;
}

void
gw_ike_socket_close(struct gw_ike_socket *s)
{
	if (s == NULL)
		return;
	for (unsigned int i = 0; i < MAX_CLIENTS; i++)
		drop_client(&s->client[i], "the gateway ends");
	if (s->sock.fd >= 0)
		gw_loop_del(s->gw->loop, s->sock.fd);
	gw_unix_close(&s->sock);
	free(s);
}
