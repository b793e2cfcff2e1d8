/* SPDX-License-Identifier: BSD-3-Clause */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "control/loop.h"

struct fixture {
	struct gw_loop *loop;
	int a[2]; /* write to [1], [0] becomes readable */
	int b[2];
	int calls_a, calls_b, calls_new, ticks;
};

static int
setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){.loop = gw_loop_new()};
	assert_non_null(f.loop);
	assert_int_equal(pipe(f.a), 0);
	assert_int_equal(pipe(f.b), 0);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	gw_loop_free(f->loop);
	for (int i = 0; i < 2; i++) {
		close(f->a[i]);
		close(f->b[i]);
	}
	return 0;
}

static void
stop_soon(void *arg, uint32_t events)
{
	struct fixture *f = arg;

	f->ticks++;
	gw_loop_stop(f->loop);
}

static void
read_a(void *arg, uint32_t events)
{
	struct fixture *f = arg;
	char c;

	f->calls_a++;
	assert_true(events & EPOLLIN);
	assert_int_equal(read(f->a[0], &c, 1), 1);
	gw_loop_stop(f->loop);
}

static void
test_event(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(gw_loop_add(f->loop, f->a[0], EPOLLIN, read_a, f), 0);
	assert_int_equal(gw_loop_add(f->loop, f->a[0], EPOLLIN, read_a, f), -EEXIST);
	assert_int_equal(write(f->a[1], "x", 1), 1);
	gw_loop_run(f->loop);
	assert_int_equal(f->calls_a, 1);
	gw_loop_del(f->loop, f->a[0]);
	gw_loop_del(f->loop, f->a[0]);
	assert_int_equal(gw_loop_mod(f->loop, f->a[0], EPOLLIN), -ENOENT);
	assert_int_equal(gw_loop_add(f->loop, -1, EPOLLIN, read_a, f), -EBADF);
}

static void
test_stop_before_run(void **state)
{
	struct fixture *f = *state;

	gw_loop_stop(f->loop);
	gw_loop_run(f->loop);
	/* one stop, one return: the second run waits for its own */
	assert_int_equal(gw_loop_timer(f->loop, 5, stop_soon, f), 0);
	gw_loop_run(f->loop);
	assert_int_equal(f->ticks, 1);
}

static void
test_timer(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(gw_loop_timer(f->loop, 0, stop_soon, f), -EINVAL);
	assert_int_equal(gw_loop_timer(f->loop, 1, stop_soon, f), 0);
	for (int i = 0; i < 3; i++)
		gw_loop_run(f->loop);
	assert_int_equal(f->ticks, 3);
}

static void
once_more(void *arg, uint32_t events)
{
	struct fixture *f = arg;

	f->calls_new++;
	if (f->calls_new < 3)
		assert_int_equal(gw_loop_once(f->loop, 1, once_more, f), 0);
}

/* Each of them one time, also when it is set again from within; one that is still due is freed. */
static void
test_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(gw_loop_once(f->loop, 0, once_more, f), -EINVAL);
	assert_int_equal(gw_loop_once(f->loop, 1, once_more, f), 0);
	assert_int_equal(gw_loop_once(f->loop, 60000, once_more, f), 0);
	assert_int_equal(gw_loop_timer(f->loop, 30, stop_soon, f), 0);
	gw_loop_run(f->loop);
	assert_int_equal(f->calls_new, 3);
}

static void
count_new(void *arg, uint32_t events)
{
	struct fixture *f = arg;

	f->calls_new++;
}

/* Whichever comes first deletes both, and uses the number of the other again. */
static void
kill_other(struct fixture *f, int *other)
{
	int fresh[2];

	gw_loop_del(f->loop, f->a[0]);
	gw_loop_del(f->loop, f->b[0]);
	assert_int_equal(pipe(fresh), 0);
	assert_int_equal(dup2(fresh[0], *other), *other);
	close(fresh[0]);
	close(fresh[1]);
	assert_int_equal(gw_loop_add(f->loop, *other, 0, count_new, f), 0);
	gw_loop_stop(f->loop);
}

static void
kill_b(void *arg, uint32_t events)
{
	struct fixture *f = arg;

	f->calls_a++;
	kill_other(f, &f->b[0]);
}

static void
kill_a(void *arg, uint32_t events)
{
	struct fixture *f = arg;

	f->calls_b++;
	kill_other(f, &f->a[0]);
}

static void
test_delete_in_batch(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(gw_loop_add(f->loop, f->a[0], EPOLLIN, kill_b, f), 0);
	assert_int_equal(gw_loop_add(f->loop, f->b[0], EPOLLIN, kill_a, f), 0);
	assert_int_equal(write(f->a[1], "x", 1), 1);
	assert_int_equal(write(f->b[1], "x", 1), 1);
	gw_loop_run(f->loop);
	assert_int_equal(f->calls_a + f->calls_b, 1);
	assert_int_equal(f->calls_new, 0);
}

static void
delete_self(void *arg, uint32_t events)
{
	struct fixture *f = arg;

	f->calls_a++;
	gw_loop_del(f->loop, f->a[0]);
}

static void
test_delete_self(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(gw_loop_add(f->loop, f->a[0], EPOLLIN, delete_self, f), 0);
	assert_int_equal(gw_loop_timer(f->loop, 20, stop_soon, f), 0);
	assert_int_equal(write(f->a[1], "x", 1), 1);
	gw_loop_run(f->loop);
	assert_int_equal(f->calls_a, 1);
}

static void
test_mod(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(gw_loop_add(f->loop, f->a[0], 0, read_a, f), 0);
	assert_int_equal(gw_loop_timer(f->loop, 10, stop_soon, f), 0);
	assert_int_equal(write(f->a[1], "x", 1), 1);
	gw_loop_run(f->loop);
	assert_int_equal(f->calls_a, 0);
	assert_int_equal(gw_loop_mod(f->loop, f->a[0], EPOLLIN), 0);
	gw_loop_run(f->loop);
	assert_int_equal(f->calls_a, 1);
}

static struct gw_loop *to_stop;
static volatile int interrupts;

static void
on_alarm(int sig)
{
	if (++interrupts == 5)
		gw_loop_stop(to_stop);
}

/* Signals interrupt epoll_wait(); the fifth stops the loop. */
static void
test_signals(void **state)
{
	struct fixture *f = *state;
	struct itimerval it = {{0, 2000}, {0, 2000}}, off = {0};
	struct sigaction sa = {.sa_handler = on_alarm}, old;

	to_stop = f->loop;
	interrupts = 0;
	sigaction(SIGALRM, &sa, &old);
	setitimer(ITIMER_REAL, &it, NULL);
	gw_loop_run(f->loop);
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &old, NULL);
	assert_true(interrupts >= 5);
}

static void
test_free_null(void **state)
{
	gw_loop_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_setup_teardown(test_event, setup, teardown),
			cmocka_unit_test_setup_teardown(test_stop_before_run, setup, teardown),
			cmocka_unit_test_setup_teardown(test_timer, setup, teardown),
			cmocka_unit_test_setup_teardown(test_once, setup, teardown),
			cmocka_unit_test_setup_teardown(test_delete_in_batch, setup, teardown),
			cmocka_unit_test_setup_teardown(test_delete_self, setup, teardown),
			cmocka_unit_test_setup_teardown(test_mod, setup, teardown),
			cmocka_unit_test_setup_teardown(test_signals, setup, teardown),
			cmocka_unit_test(test_free_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
