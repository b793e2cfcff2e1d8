/* SPDX-License-Identifier: BSD-3-Clause */

/* The other end of the socket: dpdk-pcpu-gw --attach. What is said there: session.h. */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../options.h"
#include "console.h"
#include "session.h"
#include "term.h"

static void
complain(const char *path, int error)
{
	fprintf(stderr, "dpdk-pcpu-gw: no gateway answers at %s (%s): ", path, strerror(error));
	if (error == EACCES || error == EPERM)
		fputs("it belongs to another user: try sudo\n", stderr);
	else if (error == ENAMETOOLONG)
		fputs("the path is too long\n", stderr);
	else
		fputs("is it running? If its configuration sets another console: --socket PATH\n",
				stderr);
}

/* The connection, or -1: the user was told. */
static int
dial(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, error = ENAMETOOLONG;

	if (strlen(path) >= sizeof(addr.sun_path))
		goto fail;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	error = errno;
	if (fd >= 0)
		close(fd);
fail:
	complain(path, error);
	return -1;
}

static int
send_all(int fd, const char *s, size_t n)
{
	while (n > 0) {
		ssize_t done = send(fd, s, n, MSG_NOSIGNAL);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		s += done;
		n -= done;
	}
	return 0;
}

static int
write_all(const char *s, size_t n)
{
	while (n > 0) {
		ssize_t done = write(STDOUT_FILENO, s, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		s += done;
		n -= done;
	}
	return 0;
}

/* Read one answer whole: its status as a digit, or -1 where the connection ends before. */
static int
read_answer(int fd, struct gw_text *answer)
{
	char buf[65536];
	ssize_t n;

	gw_text_clear(answer);
	for (;;) {
		n = read(fd, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		gw_text_add(answer, buf, n);
		explicit_bzero(buf, n); /* "with keys" */
		if (answer->failed)
			return -1;
		/* the mark is the last thing sent before we say more */
		if (answer->len >= 2 && answer->s[answer->len - 2] == '\0')
			return answer->s[answer->len - 1] - '0';
	}
}

/* One line of @n characters: 0; 1: it failed; -1: there is no use in going on. */
static int
run_line(int fd, const char *line, size_t n, struct gw_text *answer)
{
	int status;

	/* on a refusal to talk to us there is an answer to read, although we cannot send */
	if (send_all(fd, line, n) == 0)
		send_all(fd, "\n", 1);
	status = read_answer(fd, answer);
	if (status < 0) {
		fputs("dpdk-pcpu-gw: the gateway closed the connection without an answer\n",
				stderr);
		return -1;
	}
	fflush(stdout);
	if (status != 0)
		fwrite(answer->s, 1, answer->len - 2, stderr);
	else if (write_all(answer->s, answer->len - 2) != 0)
		return -1;
	return status != 0;
}

/* An -e may hold several lines. */
static int
run_commands(int fd, const char *const *commands, struct gw_text *answer)
{
	int status = EXIT_SUCCESS;

	for (; *commands != NULL; commands++) {
		const char *s = *commands;

		do {
			size_t n = strcspn(s, "\n");
			int rc = run_line(fd, s, n, answer);

			if (rc < 0)
				return EXIT_FAILURE;
			status |= rc;
			s += n;
		} while (*s++ == '\n' && *s != '\0');
	}
	return status;
}

static int
run_stdin(int fd, struct gw_text *answer)
{
	int status = EXIT_SUCCESS;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	while ((n = getline(&line, &cap, stdin)) > 0) {
		int rc;

		n -= line[n - 1] == '\n';
		rc = run_line(fd, line, n, answer);
		if (rc < 0) {
			status = EXIT_FAILURE;
			break;
		}
		status |= rc;
	}
	free(line);
	return status;
}

static int
run_lines(int fd, const char *const *commands)
{
	const char mode = GW_SESSION_LINES;
	struct gw_text answer = {.secret = true}; /* may be "with keys" */
	int status;

	send_all(fd, &mode, 1);
	status = commands != NULL ? run_commands(fd, commands, &answer) : run_stdin(fd, &answer);
	gw_text_fini(&answer);
	return status;
}

/*
 * Keys there, output back, until the gateway closes or the terminal ends.
 * Neither direction waits for the other.
 */
static void
relay(int fd)
{
	char keys[4096], out[65536];
	size_t len = 0;
	ssize_t n;

	for (;;) {
		struct pollfd p[2] = {
				{.fd = fd, .events = POLLIN | (len > 0 ? POLLOUT : 0)},
				{.fd = len == 0 ? STDIN_FILENO : -1, .events = POLLIN},
		};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return;
		if (p[0].revents & (POLLIN | POLLHUP | POLLERR)) {
			n = recv(fd, out, sizeof(out), MSG_DONTWAIT);
			if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
				return;
			if (n > 0 && write_all(out, n) != 0)
				return;
			if (n > 0)
				explicit_bzero(out, n); /* "with keys" */
		}
		if (p[1].revents != 0) {
			n = read(STDIN_FILENO, keys, sizeof(keys));
			if (n <= 0 && errno != EINTR)
				return;
			len = n > 0 ? n : 0;
		}
		if (len > 0) {
			n = send(fd, keys, len, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n < 0 && errno != EAGAIN && errno != EINTR)
				continue; /* it is gone; what it said last is read first */
			if (n > 0) {
				len -= n;
				memmove(keys, keys + n, len);
			}
		}
	}
}

static int
run_terminal(int fd)
{
	const char mode = GW_SESSION_KEYS;
	int rc;

	rc = gw_term_raw(STDIN_FILENO);
	if (rc != 0) {
		fprintf(stderr, "dpdk-pcpu-gw: terminal: %s\n", strerror(-rc));
		return EXIT_FAILURE;
	}
	/* the keys are the gateway's to read; this one is for when it does not */
	gw_term_allow_quit();
	if (send_all(fd, &mode, 1) == 0)
		relay(fd);
	gw_term_restore();
	return EXIT_SUCCESS;
}

int
gw_attach(const char *socket_path, const char *const *commands)
{
	int fd = dial(socket_path != NULL ? socket_path : GW_DEFAULT_SOCKET);
	int status;

	if (fd < 0)
		return EXIT_FAILURE;
	signal(SIGPIPE, SIG_IGN);
	if (commands == NULL && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		status = run_terminal(fd);
	else
		status = run_lines(fd, commands);
	close(fd);
	return status;
}
