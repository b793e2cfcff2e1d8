/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "loop.h"

#define BATCH 64

/*
 * Events carry a pointer to a watch, never a descriptor: a watch that a callback
 * deletes is kept until the batch is through, marked dead, so an event for it
 * later in the same batch is passed over even where its number was used again.
 */
struct watch {
	struct watch *next;
	int fd;
	gw_loop_cb *cb;
	void *arg;
	bool dead;
	bool timer; /* ours: read it, and close it at the end */
	bool once; /* a timer that ends with its first tick */
};

struct gw_loop {
	int epfd;
	int wake; /* eventfd: gw_loop_stop() from a signal handler must end epoll_wait() too */
	bool stop;
	struct watch *watches;
	struct watch *dead;
};

static void
on_wake(void *arg, uint32_t events)
{
	struct gw_loop *loop = arg;
	uint64_t n;

	while (read(loop->wake, &n, sizeof(n)) < 0 && errno == EINTR)
		;
}

struct gw_loop *
gw_loop_new(void)
{
	struct gw_loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL)
		return NULL;
	loop->epfd = epoll_create1(EPOLL_CLOEXEC);
	loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epfd < 0 || loop->wake < 0 ||
			gw_loop_add(loop, loop->wake, EPOLLIN, on_wake, loop) != 0) {
		gw_loop_free(loop);
		return NULL;
	}
	return loop;
}

static void
free_list(struct watch **list)
{
	struct watch *w;

	while ((w = *list) != NULL) {
		*list = w->next;
		if (w->timer)
			close(w->fd);
		free(w);
	}
}

void
gw_loop_free(struct gw_loop *loop)
{
	if (loop == NULL)
		return;
	free_list(&loop->watches);
	free_list(&loop->dead);
	if (loop->wake >= 0)
		close(loop->wake);
	if (loop->epfd >= 0)
		close(loop->epfd);
	free(loop);
}

static struct watch *
add(struct gw_loop *loop, int fd, uint32_t events, gw_loop_cb *cb, void *arg)
{
	struct watch *w = calloc(1, sizeof(*w));
	struct epoll_event ev = {.events = events, .data.ptr = w};

	if (w == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	w->fd = fd;
	w->cb = cb;
	w->arg = arg;
	if (epoll_ctl(loop->epfd, EPOLL_CTL_ADD, fd, &ev) != 0) {
		free(w);
		return NULL;
	}
	w->next = loop->watches;
	loop->watches = w;
	return w;
}

int
gw_loop_add(struct gw_loop *loop, int fd, uint32_t events, gw_loop_cb *cb, void *arg)
{
	return add(loop, fd, events, cb, arg) != NULL ? 0 : -errno;
}

/* Where the link to a watch is stored; *result is NULL where there is none. */
static struct watch **
find(struct gw_loop *loop, int fd)
{
	struct watch **at = &loop->watches;

	while (*at != NULL && (*at)->fd != fd)
		at = &(*at)->next;
	return at;
}

int
gw_loop_mod(struct gw_loop *loop, int fd, uint32_t events)
{
	struct watch *w = *find(loop, fd);
	struct epoll_event ev = {.events = events, .data.ptr = w};

	if (w == NULL)
		return -ENOENT;
	return epoll_ctl(loop->epfd, EPOLL_CTL_MOD, fd, &ev) == 0 ? 0 : -errno;
}

void
gw_loop_del(struct gw_loop *loop, int fd)
{
	struct watch **at = find(loop, fd);
	struct watch *w = *at;

	if (w == NULL)
		return;
	/* fails where it was closed already: then the kernel has forgotten it */
	epoll_ctl(loop->epfd, EPOLL_CTL_DEL, fd, NULL);
	*at = w->next;
	w->dead = true;
	w->next = loop->dead;
	loop->dead = w;
}

static int
add_timer(struct gw_loop *loop, unsigned int ms, bool once, gw_loop_cb *cb, void *arg)
{
	const struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
	const struct itimerspec it = {
			.it_interval = once ? (struct timespec){0} : time,
			.it_value = time,
	};
	struct watch *w;
	int fd, rc;

	if (ms == 0)
		return -EINVAL;
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (timerfd_settime(fd, 0, &it, NULL) != 0)
		goto fail;
	w = add(loop, fd, EPOLLIN, cb, arg);
	if (w == NULL)
		goto fail;
	w->timer = true;
	w->once = once;
	return 0;
fail:
	rc = -errno;
	close(fd);
	return rc;
}

int
gw_loop_timer(struct gw_loop *loop, unsigned int ms, gw_loop_cb *cb, void *arg)
{
	return add_timer(loop, ms, false, cb, arg);
}

int
gw_loop_once(struct gw_loop *loop, unsigned int ms, gw_loop_cb *cb, void *arg)
{
	return add_timer(loop, ms, true, cb, arg);
}

static void
dispatch(struct gw_loop *loop, struct watch *w, uint32_t events)
{
	uint64_t expired;

	if (w->dead)
		return;
	/* ticks that were missed count as one */
	if (w->timer && read(w->fd, &expired, sizeof(expired)) != sizeof(expired))
		return;
	/* closed and freed when the batch is through */
	if (w->once)
		gw_loop_del(loop, w->fd);
	w->cb(w->arg, events);
}

void
gw_loop_run(struct gw_loop *loop)
{
	struct epoll_event ev[BATCH];
	int n;

	while (!__atomic_load_n(&loop->stop, __ATOMIC_RELAXED)) {
		n = epoll_wait(loop->epfd, ev, BATCH, -1);
		if (n < 0 && errno != EINTR)
			break;
		for (int i = 0; i < n; i++)
			dispatch(loop, ev[i].data.ptr, ev[i].events);
		free_list(&loop->dead);
	}
	__atomic_store_n(&loop->stop, false, __ATOMIC_RELAXED);
}

void
gw_loop_stop(struct gw_loop *loop)
{
	const uint64_t one = 1;
	int keep = errno;

	__atomic_store_n(&loop->stop, true, __ATOMIC_RELAXED);
	if (write(loop->wake, &one, sizeof(one)) < 0) {
		/* full: it wakes up anyway */
	}
	errno = keep;
}
