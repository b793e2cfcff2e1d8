/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "term.h"

static struct {
	struct termios saved;
	int fd;
	volatile sig_atomic_t raw;
	bool hooked;
} term;

void
gw_term_restore(void)
{
	if (!term.raw)
		return;
	term.raw = 0;
	tcsetattr(term.fd, TCSANOW, &term.saved);
}

/* tcsetattr() is allowed in a handler; after SA_RESETHAND raise() does what the signal was to. */
static void
on_signal(int sig)
{
	gw_term_restore();
	raise(sig);
}

static void
hook(void)
{
	static const int signals[] = {SIGHUP, SIGQUIT, SIGABRT, SIGTERM, SIGINT};
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
	struct sigaction old;

	if (term.hooked)
		return;
	term.hooked = true;
	atexit(gw_term_restore);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			sigaction(signals[i], &sa, NULL);
}

int
gw_term_raw(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t) != 0)
		return -errno;
	term.saved = t;
	term.fd = fd;
	/* output processing stays: what others print (logs) has its line ends */
	t.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IXON);
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	hook();
	term.raw = 1;
	if (tcsetattr(fd, TCSANOW, &t) != 0) {
		term.raw = 0;
		return -errno;
	}
	return 0;
}

void
gw_term_allow_quit(void)
{
	struct termios t;

	if (!term.raw || tcgetattr(term.fd, &t) != 0)
		return;
	t.c_lflag |= ISIG;
	t.c_cc[VINTR] = _POSIX_VDISABLE;
	t.c_cc[VSUSP] = _POSIX_VDISABLE;
	tcsetattr(term.fd, TCSANOW, &t);
}
