/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * HTTP. libmicrohttpd watches its sockets with an epoll of its own, whose descriptor control's loop
 * watches; a timer stands for what it wants to be called for besides. An answer is written in
 * pieces, at most a few in one turn, and between two turns all else has its own: so neither many
 * SAs nor a client that reads slowly, or many of them, keep the console, IKE or the kernel's
 * packets waiting.
 */

#include "metrics.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <microhttpd.h>
#include <rte_byteorder.h>

#include "../clock.h"
#include "../log.h"
#include "metrics_text.h"

#define MAX_CLIENTS 8
#define BACKLOG 64
/** Of a client: its request's head and a piece of its answer. */
#define CLIENT_MEMORY (32 * 1024)
#define PIECE (16 * 1024)
/** Seconds in which a client neither says nor takes anything. */
#define IDLE_S 5
/** From its connection to its end; shorter where others wait for a place. */
#define DEADLINE_NS (30 * GW_NS_PER_S)
#define DEADLINE_FULL_NS (3 * GW_NS_PER_S)
/** Figures are taken anew after so long: to ask more often costs the asker only. */
#define FRESH_NS (GW_NS_PER_S / 10)
/** Snapshots that slow clients hold. */
#define MAX_SNAPSHOTS 4
#define TICK_MS 1000

struct client {
	struct MHD_Connection *connection; /* NULL: free */
	int fd;
	uint64_t since; /* CLOCK_MONOTONIC, nanoseconds */
};

struct gw_metrics {
	struct gw *gw;
	struct MHD_Daemon *daemon;
	int listen_fd; /* -1: the daemon has it */
	int epoll_fd; /* the daemon's */
	int timer_fd;
	double start_time; /* of the gateway, seconds since 1970 */
	struct client client[MAX_CLIENTS];
	unsigned int n_clients;
	bool left; /* one has ended in this turn */
	struct gw_snapshot *last; /* NULL: none */
	unsigned int n_snapshots; /* that one, and those that answers under way still have */
	struct gw_metrics_self self;
};

/** An answer under way. */
struct answer {
	struct gw_metrics *m;
	struct gw_snapshot *s;
	struct gw_metrics_reader reader;
};

/* Answers */

static void
release(struct gw_metrics *m, struct gw_snapshot *s)
{
	m->n_snapshots -= s != NULL && s->refs == 1;
	gw_snapshot_put(s);
}

/** With a reference for the caller; NULL: no memory, or slow clients have too many. */
static struct gw_snapshot *
snapshot(struct gw_metrics *m)
{
	struct gw_snapshot *s = m->last;

	if (s == NULL || gw_now_ns() - s->taken >= FRESH_NS) {
		release(m, s);
		m->last = NULL;
		if (m->n_snapshots >= MAX_SNAPSHOTS)
			return NULL;
		s = gw_snapshot_take(m->gw, m->start_time, &m->self, m->gw->cfg.metrics_sas);
		if (s == NULL)
			return NULL;
		m->n_snapshots++;
		m->last = s;
	}
	s->refs++;
	return s;
}

static ssize_t
on_piece(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct answer *a = arg;
	ssize_t n = gw_metrics_read(&a->reader, buf, RTE_MIN(max, (size_t)PIECE));

	if (n < 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	return n > 0 ? n : MHD_CONTENT_READER_END_OF_STREAM;
}

static void
on_answered(void *arg)
{
	struct answer *a = arg;

	gw_metrics_reader_fini(&a->reader);
	release(a->m, a->s);
	free(a);
}

static enum MHD_Result
send_response(struct MHD_Connection *c, unsigned int status, struct MHD_Response *r,
		const char *type, const char *allow)
{
	enum MHD_Result rc;

	if (r == NULL)
		return MHD_NO;
	/* one place fewer that an idle client holds; a scrape is one request */
	rc = MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	if (rc == MHD_YES)
		rc = MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (rc == MHD_YES && allow != NULL)
		rc = MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, allow);
	if (rc == MHD_YES)
		rc = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return rc;
}

static enum MHD_Result
refuse(struct gw_metrics *m, struct MHD_Connection *c, unsigned int status, const char *why,
		const char *allow)
{
	m->self.refused++;
	return send_response(c, status,
			MHD_create_response_from_buffer(strlen(why), (char *)(uintptr_t)why,
					MHD_RESPMEM_PERSISTENT),
			"text/plain; charset=utf-8", allow);
}

static enum MHD_Result
answer(struct gw_metrics *m, struct MHD_Connection *c)
{
	bool openmetrics = gw_metrics_wants_openmetrics(
			MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
	struct answer *a = calloc(1, sizeof(*a));
	struct MHD_Response *r;

	if (a != NULL)
		*a = (struct answer){.m = m, .s = snapshot(m), .reader.openmetrics = openmetrics};
	if (a == NULL || a->s == NULL) {
		free(a);
		return refuse(m, c, MHD_HTTP_SERVICE_UNAVAILABLE,
				"others read the metrics too slowly, or there is no memory\n",
				NULL);
	}
	a->reader.s = a->s;
	r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE, on_piece, a, on_answered);
	if (r == NULL)
		on_answered(a);
	else
		m->self.scrapes++;
	return send_response(c, MHD_HTTP_OK, r,
			openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
				    : "text/plain; version=0.0.4; charset=utf-8",
			NULL);
}

/** Its head has come; what a body says is never looked at. */
static enum MHD_Result
on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method,
		const char *version, const char *data, size_t *data_size, void **state)
{
	struct gw_metrics *m = arg;

	if (strcmp(url, "/metrics") != 0)
		return refuse(m, c, MHD_HTTP_NOT_FOUND, "the metrics are at /metrics\n", NULL);
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return refuse(m, c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET and HEAD only\n",
				"GET, HEAD");
	return answer(m, c);
}

/* Clients */

static void
on_client(void *arg, struct MHD_Connection *c, void **state,
		enum MHD_ConnectionNotificationCode code)
{
	struct gw_metrics *m = arg;
	struct client *place = code == MHD_CONNECTION_NOTIFY_CLOSED ? *state : NULL;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (place != NULL) {
			place->connection = NULL;
			m->n_clients--;
			m->left = true;
		}
		return;
	}
	for (unsigned int i = 0; i < MAX_CLIENTS && place == NULL; i++)
		if (m->client[i].connection == NULL)
			place = &m->client[i];
	*state = place;
	if (place == NULL)
		return;
	*place = (struct client){c,
			MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
			gw_now_ns()};
	m->n_clients++;
}

/** libmicrohttpd notices that a socket was shut down, and ends its connection. */
static void
end_overdue(struct gw_metrics *m)
{
	uint64_t deadline = m->n_clients < MAX_CLIENTS ? DEADLINE_NS : DEADLINE_FULL_NS;
	uint64_t now = gw_now_ns();

	for (unsigned int i = 0; i < MAX_CLIENTS; i++)
		if (m->client[i].connection != NULL && now - m->client[i].since > deadline)
			shutdown(m->client[i].fd, SHUT_RDWR);
}

/* Turns */

/**
 * For when libmicrohttpd wants to be called though nothing happens; 0 ms: in the next round. Where
 * all places were taken it listens again only in the turn after the one in which a client left.
 */
static void
arm(struct gw_metrics *m)
{
	struct itimerspec when = {0};
	unsigned long long ms = TICK_MS;

	if (MHD_get_timeout(m->daemon, &ms) == MHD_YES || m->n_clients > 0 || m->left) {
		ms = m->left ? 0 : RTE_MIN(ms, (unsigned long long)TICK_MS);
		when.it_value.tv_sec = ms / 1000;
		when.it_value.tv_nsec = ms % 1000 * 1000000L + (ms == 0);
	}
	m->left = false;
	timerfd_settime(m->timer_fd, 0, &when, NULL);
}

static void
turn(void *arg, uint32_t events)
{
	struct gw_metrics *m = arg;
	uint64_t began = gw_now_ns();
	double seconds;

	end_overdue(m);
	MHD_run(m->daemon);
	arm(m);
	seconds = (double)(gw_now_ns() - began) / GW_NS_PER_S;
	m->self.seconds += seconds;
	m->self.longest = RTE_MAX(m->self.longest, seconds);
}

static void
on_timer(void *arg, uint32_t events)
{
	struct gw_metrics *m = arg;
	uint64_t ticks;

	if (read(m->timer_fd, &ticks, sizeof(ticks)) == sizeof(ticks))
		turn(m, events);
}

/* Begin and end */

static const char *
why_not(int error)
{
	switch (error) {
	case EADDRINUSE:
		return "another program has this port (ss -ltnp shows which): end it, or set "
		       "another port";
	case EADDRNOTAVAIL:
		return "no interface of this machine has this address";
	case EACCES:
		return "ports below 1024 want CAP_NET_BIND_SERVICE: set a higher one";
	default:
		return strerror(error);
	}
}

static socklen_t
fill(const struct gw_listen *l, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = l->addr.family;
	if (l->addr.family == AF_INET) {
		in->sin_port = rte_cpu_to_be_16(l->port);
		memcpy(&in->sin_addr, &l->addr.a, sizeof(in->sin_addr));
		return sizeof(*in);
	}
	in6->sin6_port = rte_cpu_to_be_16(l->port);
	memcpy(&in6->sin6_addr, &l->addr.a, sizeof(in6->sin6_addr));
	return sizeof(*in6);
}

/** 0 or -errno. A socket of ours, as libmicrohttpd would not say why it cannot have one. */
static int
listen_on(struct gw_metrics *m, const struct gw_listen *l)
{
	struct sockaddr_storage ss;
	socklen_t len = fill(l, &ss);
	const int on = 1;

	m->listen_fd = socket(l->addr.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (m->listen_fd < 0)
		return -errno;
	if (setsockopt(m->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	/* else [::] would take IPv4's port, too, which nobody has asked for */
	if (l->addr.family == AF_INET6 &&
			setsockopt(m->listen_fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(m->listen_fd, (struct sockaddr *)&ss, len) < 0)
		return -errno;
	return listen(m->listen_fd, BACKLOG) == 0 ? 0 : -errno;
}

static int
start_daemon(struct gw_metrics *m)
{
	const union MHD_DaemonInfo *info;

	m->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, m,
			MHD_OPTION_LISTEN_SOCKET, m->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
			(unsigned int)MAX_CLIENTS, MHD_OPTION_CONNECTION_TIMEOUT,
			(unsigned int)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
			(size_t)CLIENT_MEMORY, MHD_OPTION_NOTIFY_CONNECTION, on_client, m,
			MHD_OPTION_END);
	m->listen_fd = -1; /* where it did not start it may have closed it, or not */
	if (m->daemon == NULL)
		return -ENOMEM;
	info = MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL)
		return -ENOTSUP;
	m->epoll_fd = info->epoll_fd;
	return 0;
}

static int
start(struct gw_metrics *m)
{
	int rc = start_daemon(m);

	if (rc < 0)
		return rc;
	m->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (m->timer_fd < 0)
		return -errno;
	rc = gw_loop_add(m->gw->loop, m->timer_fd, EPOLLIN, on_timer, m);
	return rc < 0 ? rc : gw_loop_add(m->gw->loop, m->epoll_fd, EPOLLIN, turn, m);
}

/** Once: it is not to follow each correction of the clock. */
static double
started_at(const struct gw *gw)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec + now.tv_nsec / 1e9 - (double)(gw_now_ns() - gw->started) / GW_NS_PER_S;
}

int
gw_metrics_open(struct gw *gw, struct gw_metrics **metrics, struct gw_error *err)
{
	const struct gw_listen *l = &gw->cfg.metrics_listen;
	char text[GW_ADDR_STRLEN];
	struct gw_metrics *m;
	int rc;

	if (l->addr.family == 0)
		return 0;
	m = calloc(1, sizeof(*m));
	if (m == NULL) {
		gw_error_set(err, NULL, 0, "metrics: no memory");
		return -ENOMEM;
	}
	m->gw = gw;
	m->listen_fd = m->epoll_fd = m->timer_fd = -1;
	m->start_time = started_at(gw);
	rc = listen_on(m, l);
	if (rc == 0)
		rc = start(m);
	if (rc < 0) {
		gw_error_set(err, NULL, 0, "metrics_listen %s: %s", gw_listen_text(l, text),
				why_not(-rc));
		gw_metrics_close(m);
		return rc;
	}
	GW_LOG(INFO, "metrics: http://%s/metrics", gw_listen_text(l, text));
	*metrics = m;
	return 0;
}

void
gw_metrics_close(struct gw_metrics *m)
{
	if (m == NULL)
		return;
	if (m->epoll_fd >= 0)
		gw_loop_del(m->gw->loop, m->epoll_fd);
	if (m->timer_fd >= 0) {
		gw_loop_del(m->gw->loop, m->timer_fd);
		close(m->timer_fd);
	}
	if (m->daemon != NULL)
		MHD_stop_daemon(m->daemon);
	if (m->listen_fd >= 0)
		close(m->listen_fd);
	gw_snapshot_put(m->last);
	free(m);
}
