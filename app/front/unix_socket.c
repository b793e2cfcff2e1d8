/* SPDX-License-Identifier: BSD-3-Clause */

#include "unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int
new_socket(int type)
{
	return socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int
gw_unix_set_path(struct gw_unix_socket *s, const char *path)
{
	*s = (struct gw_unix_socket){.fd = -1, .addr.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(s->addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(s->addr.sun_path, path);
	return 0;
}

int
gw_unix_clear_path(const struct gw_unix_socket *s, int type)
{
	const char *path = s->addr.sun_path;
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) != 0)
		return 0; /* gw_unix_bind() says what is wrong, if anything */
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = new_socket(type);
	if (fd < 0)
		return -errno;
	rc = connect(fd, (const struct sockaddr *)&s->addr, sizeof(s->addr)) == 0 ? 0 : errno;
	close(fd);
	if (rc == ECONNREFUSED)
		return unlink(path) == 0 ? 0 : -errno;
	return rc == 0 || rc == EAGAIN ? -EADDRINUSE : -rc;
}

int
gw_unix_bind(struct gw_unix_socket *s, int type)
{
	mode_t mask;
	int rc;

	s->fd = new_socket(type);
	if (s->fd < 0)
		return -errno;
	/* nobody else may ever connect, not even between bind() and chmod(): so by the umask */
	mask = umask(0177);
	rc = bind(s->fd, (const struct sockaddr *)&s->addr, sizeof(s->addr)) == 0 ? 0 : -errno;
	umask(mask);
	return rc;
}

int
gw_unix_listen(struct gw_unix_socket *s, int backlog)
{
	return lstat(s->addr.sun_path, &s->st) == 0 && listen(s->fd, backlog) == 0 ? 0 : -errno;
}

void
gw_unix_close(struct gw_unix_socket *s)
{
	struct stat st;

	if (s->fd < 0)
		return;
	close(s->fd);
	if (s->st.st_ino != 0 && lstat(s->addr.sun_path, &st) == 0 && st.st_ino == s->st.st_ino &&
			st.st_dev == s->st.st_dev)
		unlink(s->addr.sun_path);
	s->fd = -1;
}

bool
gw_unix_is_ours(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}
