/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef LOOP_H
#define LOOP_H

/* The control thread's event loop: epoll, and timers. Asleep when nothing happens. */

#include <stdbool.h>
#include <stdint.h>

struct gw_loop;

/** @p events: EPOLLIN and so on, as epoll_wait() gave them. */
typedef void gw_loop_cb(void *arg, uint32_t events);

struct gw_loop *gw_loop_new(void);

/** NULL is allowed. Not from within a callback. */
void gw_loop_free(struct gw_loop *loop);

/** Watch a file descriptor; 0 or -errno. */
int gw_loop_add(struct gw_loop *loop, int fd, uint32_t events, gw_loop_cb *cb, void *arg);

/** Change what is waited for. */
int gw_loop_mod(struct gw_loop *loop, int fd, uint32_t events);

/**
 * Stop watching, before it is closed; also safe from within any callback: one
 * that is due for it in the same round is not called any more. Does not close
 * it. A descriptor that is not watched is fine.
 */
void gw_loop_del(struct gw_loop *loop, int fd);

/** Call @p cb every @p ms milliseconds; 0 or -errno. Lives as long as the loop. */
int gw_loop_timer(struct gw_loop *loop, unsigned int ms, gw_loop_cb *cb, void *arg);

/** Call @p cb one time, @p ms milliseconds from now; 0 or -errno. */
int gw_loop_once(struct gw_loop *loop, unsigned int ms, gw_loop_cb *cb, void *arg);

/** Until gw_loop_stop(). A stop that came before makes it return at once, one time. */
void gw_loop_run(struct gw_loop *loop);

/** Any thread; also from a signal handler. */
void gw_loop_stop(struct gw_loop *loop);

#endif /* LOOP_H */
