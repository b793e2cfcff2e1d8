/* SPDX-License-Identifier: BSD-3-Clause */

/* The socket: who may connect, and how many. What they say is session.c's. */

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../log.h"
#include "console.h"
#include "session.h"
#include "unix_socket.h"

#define MAX_CLIENTS 16
#define STUCK_SECONDS 10 /* one whose output waits for so long makes room for a new one */

struct gw_console {
	struct gw *gw;
	struct gw_cmds *cmds;
	struct gw_session *terminal;
	struct gw_session *client[MAX_CLIENTS];
	struct gw_unix_socket sock;
	bool deaf; /* no descriptors left: not watched until a client goes */
};

static void on_accept(void *arg, uint32_t events);

static void
say_why_taken(const char *path, int error, struct gw_error *err)
{
	if (error == EEXIST)
		gw_error_set(err, NULL, 0,
				"console socket %s: this exists and is not a socket: use "
				"another path, or remove it",
				path);
	else if (error == EADDRINUSE)
		gw_error_set(err, NULL, 0,
				"console socket %s: another gateway is running there: "
				"console = \"...\" in the configuration sets another",
				path);
	else
		gw_error_set(err, NULL, 0, "console socket %s: %s", path, strerror(error));
}

static void
say_why_bind_failed(const char *path, int error, struct gw_error *err)
{
	char copy[sizeof(((struct sockaddr_un *)NULL)->sun_path)];

	strcpy(copy, path);
	if (error == ENOENT)
		gw_error_set(err, NULL, 0,
				"console socket %s: there is no directory %s: make it, or "
				"set console = \"...\" in the configuration",
				path, dirname(copy));
	else if (error == EACCES || error == EROFS)
		gw_error_set(err, NULL, 0,
				"console socket %s: %s may not be written to: set "
				"console = \"...\" in the configuration",
				path, dirname(copy));
	else
		gw_error_set(err, NULL, 0, "console socket %s: %s", path, strerror(error));
}

static int
open_socket(struct gw_console *con, const char *path, struct gw_error *err)
{
	int rc = gw_unix_set_path(&con->sock, path);

	if (rc != 0) {
		gw_error_set(err, NULL, 0,
				"console socket %s: the path is too long: at most %zu characters",
				path, sizeof(con->sock.addr.sun_path) - 1);
		return rc;
	}
	rc = gw_unix_clear_path(&con->sock, SOCK_STREAM);
	if (rc != 0) {
		say_why_taken(path, -rc, err);
		return rc;
	}
	rc = gw_unix_bind(&con->sock, SOCK_STREAM);
	if (rc != 0) {
		say_why_bind_failed(path, -rc, err);
		return rc;
	}
	rc = gw_unix_listen(&con->sock, MAX_CLIENTS);
	if (rc == 0)
		rc = gw_loop_add(con->gw->loop, con->sock.fd, EPOLLIN, on_accept, con);
	if (rc != 0)
		gw_error_set(err, NULL, 0, "console socket %s: %s", path, strerror(-rc));
	return rc;
}

static void
close_socket(struct gw_console *con)
{
	if (con->sock.fd < 0)
		return;
	gw_loop_del(con->gw->loop, con->sock.fd);
	gw_unix_close(&con->sock);
}

/* A session is over. That of the terminal ends the gateway: by quit, or by Ctrl-D. */
static void
on_done(void *arg, struct gw_session *s)
{
	struct gw_console *con = arg;

	if (gw_session_is_terminal(s)) {
		con->terminal = NULL;
		gw_quit(con->gw);
	}
	for (unsigned int i = 0; i < MAX_CLIENTS; i++)
		if (con->client[i] == s)
			con->client[i] = NULL;
	gw_session_free(s);
	if (con->deaf && gw_loop_mod(con->gw->loop, con->sock.fd, EPOLLIN) == 0)
		con->deaf = false;
}

/* A place for one more; if need be that of one who has not read for long. NULL: none. */
static struct gw_session **
find_place(struct gw_console *con)
{
	struct gw_session **stuck = NULL;

	for (unsigned int i = 0; i < MAX_CLIENTS; i++) {
		if (con->client[i] == NULL)
			return &con->client[i];
		if (gw_session_stuck(con->client[i]) >= STUCK_SECONDS)
			stuck = &con->client[i];
	}
	if (stuck != NULL)
		on_done(con, *stuck);
	return stuck;
}

/* Said as the answer to a first line, before one came. */
static void
turn_away(int fd, const char *why)
{
	struct gw_text t = {0};

	gw_text_printf(&t, "error: %s\n", why);
	gw_text_add(&t, "\0001", 2);
	if (!t.failed && send(fd, t.s, t.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		GW_LOG(DEBUG, "console: %s", why);
	gw_text_fini(&t);
	close(fd);
}

static void
on_accept(void *arg, uint32_t events)
{
	struct gw_console *con = arg;
	struct gw_session **place;
	int fd = accept4(con->sock.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
		/* it would stay readable and keep us busy */
		con->deaf = gw_loop_mod(con->gw->loop, con->sock.fd, 0) == 0;
		GW_LOG(WARNING, "console socket: %s; no new clients until one leaves",
				strerror(errno));
	}
	if (fd < 0)
		return;
	if (!gw_unix_is_ours(fd)) {
		turn_away(fd, "this console is for the user of the gateway, and for root");
		return;
	}
	place = find_place(con);
	if (place == NULL) {
		turn_away(fd, "16 others are on this console; one of them has to leave first");
		return;
	}
	if (gw_session_socket(con->gw, con->cmds, fd, on_done, con, place) != 0)
		GW_LOG(WARNING, "console: no memory for another client");
}

int
gw_console_open(struct gw *gw, const char *socket_path, bool interactive,
		struct gw_console **result, struct gw_error *err)
{
	struct gw_console *con = calloc(1, sizeof(*con));
	int rc = -ENOMEM;

	if (con != NULL) {
		con->gw = gw;
		con->sock.fd = -1;
		con->cmds = gw_commands_new(gw);
	}
	if (con == NULL || con->cmds == NULL) {
		gw_error_set(err, NULL, 0, "console: no memory");
		goto fail;
	}
	rc = socket_path != NULL ? open_socket(con, socket_path, err) : 0;
	if (rc != 0)
		goto fail;
	if (interactive) {
		rc = gw_session_terminal(gw, con->cmds, on_done, con, &con->terminal);
		if (rc != 0) {
			gw_error_set(err, NULL, 0, "console on the terminal: %s", strerror(-rc));
			goto fail;
		}
	}
	*result = con;
	return 0;
fail:
	gw_console_close(con);
	return rc;
}

void
gw_console_close(struct gw_console *con)
{
	if (con == NULL)
		return;
	for (unsigned int i = 0; i < MAX_CLIENTS; i++)
		gw_session_free(con->client[i]);
	gw_session_free(con->terminal);
	close_socket(con);
	gw_cmds_free(con->cmds);
	free(con);
}
