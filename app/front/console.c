/* SPDX-License-Identifier: BSD-3-Clause */

/* The socket: who may connect, and how many. What they say is session.c's. */

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../log.h"
#include "console.h"
#include "session.h"

#define MAX_CLIENTS 16
#define STUCK_SECONDS 10 /* one whose output waits for so long makes room for a new one */

struct gw_console {
	struct gw *gw;
	struct gw_cmds *cmds;
	struct gw_session *terminal;
	struct gw_session *client[MAX_CLIENTS];
	int fd; /* -1: no socket */
	bool deaf; /* no descriptors left: not watched until a client goes */
	struct sockaddr_un addr;
	struct stat st; /* of the socket we made: only that one is removed at the end */
};

static void on_accept(void *arg, uint32_t events);

static int
set_address(struct sockaddr_un *addr, const char *path, struct gw_error *err)
{
	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(addr->sun_path)) {
		gw_error_set(err, NULL, 0,
				"console socket %s: the path is too long: at most %zu characters",
				path, sizeof(addr->sun_path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(addr->sun_path, path);
	return 0;
}

/* A socket file may stand there. One that nobody listens on is left from a crash. */
static int
clear_the_way(const struct sockaddr_un *addr, struct gw_error *err)
{
	const char *path = addr->sun_path;
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) != 0)
		return 0; /* bind() says what is wrong, if anything */
	if (!S_ISSOCK(st.st_mode)) {
		gw_error_set(err, NULL, 0,
				"console socket %s: this exists and is not a socket: use "
				"another path, or remove it",
				path);
		return -EEXIST;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		goto fail;
	rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ? 0 : errno;
	close(fd);
	if (rc == ECONNREFUSED && unlink(path) == 0)
		return 0;
	if (rc == 0 || rc == EAGAIN) {
		gw_error_set(err, NULL, 0,
				"console socket %s: another gateway is running there: "
				"console = \"...\" in the configuration sets another",
				path);
		return -EADDRINUSE;
	}
	if (rc != ECONNREFUSED)
		errno = rc;
fail:
	rc = -errno;
	gw_error_set(err, NULL, 0, "console socket %s: %s", path, strerror(errno));
	return rc;
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

/* Nobody else may ever connect, not even between bind() and chmod(): so by the umask. */
static int
bind_private(int fd, const struct sockaddr_un *addr)
{
	mode_t mask = umask(0177);
	int rc = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ? 0 : -errno;

	umask(mask);
	return rc;
}

static int
open_socket(struct gw_console *con, const char *path, struct gw_error *err)
{
	int rc = set_address(&con->addr, path, err);

	if (rc == 0)
		rc = clear_the_way(&con->addr, err);
	if (rc != 0)
		return rc;
	con->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	rc = con->fd >= 0 ? bind_private(con->fd, &con->addr) : -errno;
	if (rc != 0) {
		say_why_bind_failed(path, -rc, err);
		return rc;
	}
	if (lstat(path, &con->st) != 0 || listen(con->fd, MAX_CLIENTS) != 0)
		rc = -errno;
	else
		rc = gw_loop_add(con->gw->loop, con->fd, EPOLLIN, on_accept, con);
	if (rc != 0)
		gw_error_set(err, NULL, 0, "console socket %s: %s", path, strerror(-rc));
	return rc;
}

static void
close_socket(struct gw_console *con)
{
	struct stat st;

	if (con->fd < 0)
		return;
	gw_loop_del(con->gw->loop, con->fd);
	close(con->fd);
	if (con->st.st_ino != 0 && lstat(con->addr.sun_path, &st) == 0 &&
			st.st_ino == con->st.st_ino && st.st_dev == con->st.st_dev)
		unlink(con->addr.sun_path);
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
	if (con->deaf && gw_loop_mod(con->gw->loop, con->fd, EPOLLIN) == 0)
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

static bool
allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
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
	int fd = accept4(con->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
		/* it would stay readable and keep us busy */
		con->deaf = gw_loop_mod(con->gw->loop, con->fd, 0) == 0;
		GW_LOG(WARNING, "console socket: %s; no new clients until one leaves",
				strerror(errno));
	}
	if (fd < 0)
		return;
	if (!allowed(fd)) {
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
		con->fd = -1;
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
