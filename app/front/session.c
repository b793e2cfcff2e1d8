/* SPDX-License-Identifier: BSD-3-Clause */

#include "../compat.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmdline_rdline.h>

#include "../control/loop.h"
#include "session.h"
#include "term.h"

#define PROMPT "gw> "
#define RDLINE_MAX 514 /* what a line of rdline's is at most, newline and 0 included, and some */
#define WRITE_MAX 4096 /* PIPE_BUF: a pipe that is ready takes as much */

enum mode {
	MODE_HELLO, /* the first byte has not come */
	MODE_KEYS,
	MODE_LINES, /* answers have an end mark */
	MODE_SCRIPT, /* stdin without a terminal: they have none */
};

struct gw_session {
	struct gw *gw;
	const struct gw_cmds *cmds;
	gw_session_done *done;
	void *arg;
	int in_fd;
	int out_fd;
	int in_watch; /* watched for in_fd: itself, or an eventfd where epoll does not take it */
	enum mode mode;
	bool terminal;
	bool eof; /* nothing more comes in */
	bool leave; /* over once the output is sent */
	bool broken; /* over now */

	char in[4096]; /* read and not looked at yet */
	size_t in_len, in_at;
	char line[RDLINE_MAX];
	size_t line_len;
	struct gw_text out;
	size_t out_at; /* sent so far */
	time_t out_since; /* when it began to wait, CLOCK_MONOTONIC */

	struct rdline *rdl;
	struct gw_cmd_completion completion;
};

static time_t
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static bool
waits(const struct gw_session *s)
{
	return s->out_at < s->out.len;
}

unsigned int
gw_session_stuck(const struct gw_session *s)
{
	return waits(s) ? now_s() - s->out_since : 0;
}

bool
gw_session_is_terminal(const struct gw_session *s)
{
	return s->terminal;
}

/* Send what goes out without waiting: after poll() that is true of blocking descriptors, too. */
static void
flush(struct gw_session *s)
{
	while (waits(s) && !s->broken) {
		struct pollfd p = {.fd = s->out_fd, .events = POLLOUT};
		size_t n = s->out.len - s->out_at;
		ssize_t done;

		if (poll(&p, 1, 0) <= 0)
			return;
		done = write(s->out_fd, s->out.s + s->out_at, n < WRITE_MAX ? n : WRITE_MAX);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EAGAIN)
			return;
		if (done < 0) {
			s->broken = true;
			return;
		}
		s->out_at += done;
		s->out_since = now_s();
	}
	if (s->out.cap > WRITE_MAX * 16)
		gw_text_fini(&s->out);
	gw_text_clear(&s->out);
	s->out_at = 0;
}

/* Output was added: look whether it can be sent, and whether it is too much. */
static void
added(struct gw_session *s, bool waited)
{
	if (!waited)
		s->out_since = now_s();
	flush(s);
	if (!s->out.failed && s->out.len - s->out_at <= GW_SESSION_MAX_OUTPUT)
		return;
	if (!s->terminal) {
		s->broken = true;
		return;
	}
	/* a stopped terminal: what was not shown is lost, the gateway goes on */
	gw_text_fini(&s->out);
	s->out_at = 0;
}

static int
run(struct gw_session *s, const char *line)
{
	return gw_commands_run(s->cmds, s->gw, line, s->terminal, &s->out, &s->leave);
}

/* rdline's callbacks. They only fill s->out and s->line: commands run after rdline has returned. */

static int
write_char(struct rdline *rdl, char c)
{
	struct gw_session *s = rdline_get_opaque(rdl);

	gw_text_add(&s->out, &c, 1);
	return 1;
}

static void
validate(struct rdline *rdl, const char *buf, unsigned int size)
{
	struct gw_session *s = rdline_get_opaque(rdl);
	size_t n = strcspn(buf, "\n");

	if (n > sizeof(s->line) - 1)
		n = sizeof(s->line) - 1;
	memcpy(s->line, buf, n);
	s->line[n] = '\0';
}

/* What of the line stands left of the cursor, as a string of our own. */
static const char *
left_part(const char *buf, char copy[RDLINE_MAX])
{
	size_t n = strnlen(buf, RDLINE_MAX - 1);

	memcpy(copy, buf, n);
	copy[n] = '\0';
	return copy;
}

/* The list that TAB or ? shows, a line in each call; 0 at its end. */
static int
next_choice(struct gw_session *s, char *dst, unsigned int size, int *state)
{
	const char *from = gw_text_str(&s->completion.choices) + *state;
	size_t n = strcspn(from, "\n");

	if (*from == '\0')
		return 0;
	snprintf(dst, size, "%.*s", (int)n, from);
	*state += n + (from[n] == '\n');
	return 1;
}

/*
 * *state is 0 for TAB, -1 for ?, and then ours. 2: dst is to be added to the
 * line; 1: to be shown, and call again; 0: no more.
 */
static int
complete(struct rdline *rdl, const char *buf, char *dst, unsigned int size, int *state)
{
	struct gw_session *s = rdline_get_opaque(rdl);
	struct gw_cmd_completion *c = &s->completion;
	char left[RDLINE_MAX];

	if (*state > 0)
		return next_choice(s, dst, size, state);
	gw_text_fini(&c->choices);
	left_part(buf, left);
	if (*state < 0) {
		gw_cmd_help(s->cmds, left, &c->choices);
		*state = 0;
		return next_choice(s, dst, size, state);
	}
	gw_cmd_complete(s->cmds, left, c);
	/* rdline does not look whether both sides of the cursor still fit its buffer */
	if (strlen(c->add) != 0 &&
			strlen(rdline_get_buffer(rdl)) + strlen(c->add) < GW_CMD_MAX_LINE) {
		snprintf(dst, size, "%s", c->add);
		return RDLINE_RES_COMPLETE;
	}
	return next_choice(s, dst, size, state);
}

static void
finish_line(struct gw_session *s)
{
	if (strspn(s->line, " \t") != strlen(s->line) && strlen(s->line) <= GW_CMD_MAX_LINE)
		rdline_add_history(s->rdl, s->line);
	run(s, s->line);
	if (!s->leave)
		rdline_newline(s->rdl, PROMPT);
}

/*
 * Ctrl-C: forget the line. On an empty one say how to get out: it is not the
 * way to stop a gateway.
 */
static void
interrupt(struct gw_session *s)
{
	bool empty = rdline_get_buffer(s->rdl)[0] == '\n';

	gw_text_puts(&s->out, "^C\n");
	if (empty)
		gw_text_puts(&s->out,
				s->terminal ? "(quit or Ctrl-D ends the gateway)\n"
					    : "(exit or Ctrl-D leaves this console)\n");
	rdline_newline(s->rdl, PROMPT);
}

static void
take_key(struct gw_session *s, char key)
{
	if (key == 3) {
		interrupt(s);
		return;
	}
	switch (rdline_char_in(s->rdl, key)) {
	case RDLINE_RES_VALIDATED:
		finish_line(s);
		break;
	case RDLINE_RES_EOF:
	case RDLINE_RES_EXITED:
		gw_text_puts(&s->out, "\n");
		s->leave = true;
		break;
	}
}

static void
end_line(struct gw_session *s)
{
	int rc;

	s->line[s->line_len] = '\0';
	s->line_len = 0;
	rc = run(s, s->line);
	if (s->mode == MODE_LINES)
		gw_text_add(&s->out, rc == 0 ? "\0000" : "\0001", 2);
}

/* A line that is too long is kept just long enough for the parser to refuse it. */
static void
take_char(struct gw_session *s, char c)
{
	if (c == '\n')
		end_line(s);
	else if (s->line_len < sizeof(s->line) - 1 && c != '\r')
		s->line[s->line_len++] = c != '\0' ? c : '?';
}

static int
start_keys(struct gw_session *s)
{
	s->rdl = rdline_new(write_char, validate, complete, s);
	if (s->rdl == NULL)
		return -ENOMEM;
	s->mode = MODE_KEYS;
	gw_text_puts(&s->out,
			s->terminal ? "dpdk-pcpu-gw: help lists the commands, quit or Ctrl-D "
				      "ends the gateway\n"
				    : "dpdk-pcpu-gw: help lists the commands, exit or Ctrl-D "
				      "leaves, quit ends the gateway\n");
	rdline_newline(s->rdl, PROMPT);
	return 0;
}

static void
take_hello(struct gw_session *s, char c)
{
	if (c == GW_SESSION_LINES)
		s->mode = MODE_LINES;
	else if (c != GW_SESSION_KEYS || start_keys(s) != 0)
		s->broken = true;
}

/* Look at what came in, but for as long as output waits. */
static void
consume(struct gw_session *s)
{
	while (s->in_at < s->in_len && !s->leave && !s->broken && !waits(s)) {
		char c = s->in[s->in_at++];

		if (s->mode == MODE_HELLO)
			take_hello(s, c);
		else if (s->mode == MODE_KEYS)
			take_key(s, c);
		else
			take_char(s, c);
		if (waits(s))
			added(s, false);
	}
	if (s->in_at < s->in_len || !s->eof || waits(s) || s->leave)
		return;
	/* the last line of a file may lack its newline */
	if (s->mode > MODE_KEYS && s->line_len > 0) {
		end_line(s);
		added(s, false);
	}
	s->leave = true;
}

static void
read_in(struct gw_session *s)
{
	ssize_t n;

	if (s->in_at < s->in_len || s->eof)
		return;
	n = read(s->in_fd, s->in, sizeof(s->in));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	s->in_at = 0;
	s->in_len = n > 0 ? n : 0;
	s->eof = n <= 0;
}

/* Wait for what is needed next; over, if it is. */
static void
next(struct gw_session *s)
{
	bool in = !s->eof && !s->leave && !waits(s);
	uint32_t out = waits(s) ? EPOLLOUT : 0;

	if (s->broken || (s->leave && !waits(s))) {
		s->done(s->arg, s);
		return;
	}
	if (s->in_watch == s->out_fd) {
		gw_loop_mod(s->gw->loop, s->out_fd, (in ? EPOLLIN : 0) | out);
		return;
	}
	gw_loop_mod(s->gw->loop, s->in_watch, in ? EPOLLIN : 0);
	gw_loop_mod(s->gw->loop, s->out_fd, out);
}

static void
on_in(void *arg, uint32_t events)
{
	struct gw_session *s = arg;

	flush(s);
	/* what was held back while output waited comes first */
	consume(s);
	if (!waits(s) && !s->leave && !s->broken) {
		read_in(s);
		consume(s);
	}
	/* hung up with output waiting: there is nobody to read it */
	if ((events & (EPOLLERR | EPOLLHUP)) && waits(s))
		s->broken = true;
	next(s);
}

static void
on_out(void *arg, uint32_t events)
{
	struct gw_session *s = arg;

	flush(s);
	consume(s);
	if ((events & EPOLLERR) && waits(s))
		s->broken = true;
	next(s);
}

static struct gw_session *
new_session(struct gw *gw, const struct gw_cmds *cmds, gw_session_done *done, void *arg)
{
	struct gw_session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->gw = gw;
	s->cmds = cmds;
	s->done = done;
	s->arg = arg;
	s->in_fd = s->out_fd = s->in_watch = -1;
	return s;
}

int
gw_session_socket(struct gw *gw, const struct gw_cmds *cmds, int fd, gw_session_done *done,
		void *arg, struct gw_session **session)
{
	struct gw_session *s = new_session(gw, cmds, done, arg);
	int rc;

	if (s == NULL) {
		close(fd);
		return -ENOMEM;
	}
	s->in_fd = s->out_fd = s->in_watch = fd;
	rc = gw_loop_add(gw->loop, fd, EPOLLIN, on_in, s);
	if (rc != 0) {
		gw_session_free(s);
		return rc;
	}
	*session = s;
	return 0;
}

/*
 * A terminal is opened anew for output: made non-blocking, stdout itself would
 * be so for the shell that started us, too.
 */
static int
open_stdout(void)
{
	int fd = -1;

	if (isatty(STDOUT_FILENO))
		fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
}

/* epoll refuses files and /dev/null. They are always ready: such an eventfd stands for them. */
static int
watch_stdin(struct gw_session *s)
{
	int rc = gw_loop_add(s->gw->loop, s->in_fd, EPOLLIN, on_in, s);

	s->in_watch = s->in_fd;
	if (rc != -EPERM)
		return rc;
	s->in_watch = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->in_watch < 0)
		return -errno;
	return gw_loop_add(s->gw->loop, s->in_watch, EPOLLIN, on_in, s);
}

int
gw_session_terminal(struct gw *gw, const struct gw_cmds *cmds, gw_session_done *done, void *arg,
		struct gw_session **session)
{
	struct gw_session *s = new_session(gw, cmds, done, arg);
	int rc;

	if (s == NULL)
		return -ENOMEM;
	s->terminal = true;
	s->mode = MODE_SCRIPT;
	s->in_fd = STDIN_FILENO;
	s->out_fd = open_stdout();
	rc = s->out_fd >= 0 ? watch_stdin(s) : -errno;
	if (rc == 0)
		rc = gw_loop_add(gw->loop, s->out_fd, 0, on_out, s);
	/* a file takes all at once: nothing to wait for */
	if (rc == -EPERM)
		rc = 0;
	if (rc == 0 && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
		rc = gw_term_raw(STDIN_FILENO);
		if (rc == 0)
			rc = start_keys(s);
		added(s, false);
	}
	if (rc != 0) {
		gw_session_free(s);
		return rc;
	}
	next(s);
	*session = s;
	return 0;
}

void
gw_session_free(struct gw_session *s)
{
	if (s == NULL)
		return;
	flush(s);
	if (s->terminal && s->rdl != NULL)
		gw_term_restore();
	if (s->in_watch >= 0)
		gw_loop_del(s->gw->loop, s->in_watch);
	if (s->out_fd >= 0) {
		gw_loop_del(s->gw->loop, s->out_fd);
		close(s->out_fd);
	}
	if (s->in_watch >= 0 && s->in_watch != s->in_fd)
		close(s->in_watch);
	rdline_free(s->rdl);
	gw_text_fini(&s->out);
	gw_text_fini(&s->completion.choices);
	free(s);
}
