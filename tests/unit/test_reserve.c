/* SPDX-License-Identifier: BSD-3-Clause */

/* The state file: what was committed is what a next run finds, and nothing else. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/reserve.h"

static char dir[] = "/var/tmp/test_reserve.XXXXXX";
static char path[64];

static struct gw_reserve *
must_open(void)
{
	struct gw_reserve *res;
	struct gw_error err;

	if (gw_reserve_open(path, true, &res, &err) != 0)
		fail_msg("%s", err.text);
	return res;
}

static void
must_commit(struct gw_reserve *res)
{
	struct gw_error err;

	if (gw_reserve_commit(res, &err) != 0)
		fail_msg("%s", err.text);
}

static struct gw_reserve_key
key(unsigned int i, enum gw_reserve_kind kind, uint64_t seq)
{
	struct gw_reserve_key k = {.seq = seq, .kind = kind, .esn = i % 2 != 0};

	memset(k.id, 0xa5, sizeof(k.id));
	memcpy(k.id + 3, &i, sizeof(i)); /* all start at the same place of the table */
	return k;
}

static void
set(struct gw_reserve *res, unsigned int i, enum gw_reserve_kind kind, uint64_t seq)
{
	struct gw_reserve_key k = key(i, kind, seq);

	assert_int_equal(gw_reserve_set(res, &k), 0);
}

static uint64_t
get(const struct gw_reserve *res, unsigned int i, enum gw_reserve_kind kind)
{
	struct gw_reserve_key k = key(i, kind, 0);

	return gw_reserve_get(res, k.id, kind);
}

static int
clean(void **state)
{
	char other[128];

	unlink(path);
	snprintf(other, sizeof(other), "%s.tmp", path);
	unlink(other);
	snprintf(other, sizeof(other), "%s.lock", path);
	unlink(other);
	return 0;
}

static void
test_keeps(void **state)
{
	struct gw_reserve *res = must_open();
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(get(res, 1, GW_RESERVE_OUT) == 0);
	set(res, 1, GW_RESERVE_OUT, 1000);
	set(res, 1, GW_RESERVE_IN, 77);
	set(res, 2, GW_RESERVE_OUT, UINT64_MAX);
	must_commit(res);
	set(res, 1, GW_RESERVE_OUT, 5000); /* and a crash: not committed */
	assert_true(get(res, 1, GW_RESERVE_OUT) == 5000);
	gw_reserve_close(res);
	res = must_open();
	assert_true(get(res, 1, GW_RESERVE_OUT) == 1000);
	assert_true(get(res, 1, GW_RESERVE_IN) == 77);
	assert_true(get(res, 2, GW_RESERVE_OUT) == UINT64_MAX);
	assert_true(get(res, 2, GW_RESERVE_IN) == 0);
	gw_reserve_close(res);
	gw_reserve_close(NULL);
}

static void
test_grows(void **state)
{
	struct gw_reserve *res = must_open();
	struct gw_reserve_key k = key(1, GW_RESERVE_OUT, 0);

	set(res, 1, GW_RESERVE_OUT, 1000);
	set(res, 1, GW_RESERVE_OUT, 999);
	assert_true(get(res, 1, GW_RESERVE_OUT) == 1000);
	set(res, 1, GW_RESERVE_IN, 50);
	gw_reserve_release(res, k.id, 2000); /* above: nothing to give back */
	assert_true(get(res, 1, GW_RESERVE_OUT) == 1000);
	gw_reserve_release(res, k.id, 400);
	assert_true(get(res, 1, GW_RESERVE_OUT) == 400);
	assert_true(get(res, 1, GW_RESERVE_IN) == 50);
	k = key(3, GW_RESERVE_OUT, 0);
	gw_reserve_release(res, k.id, 400); /* unknown */
	assert_true(get(res, 3, GW_RESERVE_OUT) == 0);
	gw_reserve_close(res);
}

static void
test_many(void **state)
{
	struct gw_reserve *res = must_open();

	for (unsigned int i = 0; i < 1000; i++)
		for (int kind = 0; kind < 3; kind++)
			set(res, i, kind, i * 3 + kind + 1);
	must_commit(res);
	gw_reserve_close(res);
	res = must_open();
	for (unsigned int i = 0; i < 1000; i++)
		for (int kind = 0; kind < 3; kind++)
			assert_true(get(res, i, kind) == i * 3 + kind + 1);
	gw_reserve_close(res);
}

static void
test_lock(void **state)
{
	struct gw_reserve *res = must_open(), *second;
	struct gw_error err;
	pid_t pid;
	int status;

	assert_int_equal(gw_reserve_open(path, true, &second, &err), -EWOULDBLOCK);
	assert_non_null(strstr(err.text, "another gateway uses it"));
	assert_null(second);
	must_commit(res); /* replaces the file, not the lock */
	assert_int_equal(gw_reserve_open(path, true, &second, &err), -EWOULDBLOCK);
	gw_reserve_close(res);
	/* a killed process holds nothing */
	pid = fork();
	if (pid == 0) {
		res = must_open();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	gw_reserve_close(must_open());
}

/* The bytes of the file; malloc()ed. */
static char *
slurp(size_t *len)
{
	char *text = calloc(1, 4096);
	FILE *f = fopen(path, "r");

	*len = fread(text, 1, 4095, f);
	fclose(f);
	return text;
}

static void
spew(const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_int_equal(fwrite(text, 1, len, f), len);
	fclose(f);
}

static void
expect_damaged(const char *text, size_t len)
{
	struct gw_reserve *res;
	struct gw_error err;

	spew(text, len);
	if (gw_reserve_open(path, true, &res, &err) != -EBADMSG)
		fail_msg("accepted: %.*s", (int)len, text);
	assert_non_null(strstr(err.text, "damaged, or not a state file of ours"));
}

static void
test_damaged(void **state)
{
	struct gw_reserve *res = must_open();
	char *text;
	size_t len;

	set(res, 1, GW_RESERVE_OUT, 123456);
	set(res, 2, GW_RESERVE_IN, 7);
	set(res, 2, GW_RESERVE_PEER, 8);
	must_commit(res);
	gw_reserve_close(res);
	text = slurp(&len);
	for (size_t n = 0; n < len; n++) /* cut short at every length, empty too */
		expect_damaged(text, n);
	for (size_t i = 0; i < len; i++)
		for (int bit = 0; bit < 8; bit++) { /* each bit turned over */
			text[i] ^= 1 << bit;
			expect_damaged(text, len);
			text[i] ^= 1 << bit;
		}
	text[len] = '\n';
	expect_damaged(text, len + 1);
	spew(text, len);
	gw_reserve_close(must_open());
	free(text);
}

static void
test_bad_files(void **state)
{
	struct gw_reserve *res;
	struct gw_error err;
	char target[80], tmp[80];

	gw_reserve_close(must_open());
	assert_int_equal(chmod(path, 0602), 0);
	assert_int_equal(gw_reserve_open(path, true, &res, &err), -EACCES);
	assert_non_null(strstr(err.text, "others can write it; run: chmod 600"));
	snprintf(target, sizeof(target), "%s.real", path);
	assert_int_equal(rename(path, target), 0);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(gw_reserve_open(path, true, &res, &err), -ELOOP);
	assert_non_null(strstr(err.text, "a symbolic link: name the file"));
	unlink(path);
	unlink(target);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(gw_reserve_open(path, true, &res, &err), -EINVAL);
	rmdir(path);
	assert_int_equal(gw_reserve_open("/nonexistent/dir/state", true, &res, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/dir/state"));
	clean(state);
	/* what a killed run left behind */
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	assert_int_equal(symlink("/nonexistent", tmp), 0);
	gw_reserve_close(must_open());
}

static const char *
lock_path(void)
{
	static char lock[80];

	snprintf(lock, sizeof(lock), "%s.lock", path);
	return lock;
}

/* Both directions of a key: which of them was used, also by a run before. */
static void
test_known(void **state)
{
	struct gw_reserve *res = must_open();
	struct gw_reserve_key out = key(1, GW_RESERVE_OUT, 0), in = key(2, GW_RESERVE_IN, 0);

	assert_false(gw_reserve_known(res, in.id, false));
	set(res, 1, GW_RESERVE_OUT, 1000);
	set(res, 2, GW_RESERVE_IN, 0); /* installed, and nothing came */
	must_commit(res);
	gw_reserve_close(res);
	res = must_open();
	assert_true(gw_reserve_known(res, out.id, true));
	assert_false(gw_reserve_known(res, out.id, false));
	assert_true(gw_reserve_known(res, in.id, false));
	assert_false(gw_reserve_known(res, in.id, true));
	gw_reserve_release(res, out.id, 0); /* nothing was sent */
	assert_false(gw_reserve_known(res, out.id, true));
	gw_reserve_close(res);
}

/* The state file is lost, its lock is not. */
static void
test_lost(void **state)
{
	struct gw_reserve *res = must_open();
	struct gw_error err;

	set(res, 1, GW_RESERVE_OUT, 1000);
	must_commit(res);
	gw_reserve_close(res);
	unlink(path);
	for (int i = 0; i < 2; i++) { /* also the second time */
		assert_int_equal(gw_reserve_open(path, true, &res, &err), -EBADMSG);
		assert_null(res);
		assert_non_null(strstr(err.text, "it is gone"));
		assert_non_null(strstr(err.text,
				"put it back (itself, not an older copy), or make new keys"));
		assert_non_null(strstr(err.text, lock_path()));
		assert_int_equal(access(path, F_OK), -1);
	}
	assert_int_equal(unlink(lock_path()), 0); /* as the sentence says */
	res = must_open();
	assert_true(get(res, 1, GW_RESERVE_OUT) == 0);
	gw_reserve_close(res);
}

/* Ended between making the file and making the lock: the file counts. */
static void
test_half_made(void **state)
{
	struct gw_reserve *res = must_open();

	gw_reserve_close(res);
	assert_int_equal(unlink(lock_path()), 0);
	res = must_open();
	assert_int_equal(access(lock_path(), F_OK), 0);
	set(res, 1, GW_RESERVE_OUT, 1000);
	must_commit(res);
	gw_reserve_close(res);
	assert_int_equal(unlink(lock_path()), 0);
	res = must_open();
	assert_true(get(res, 1, GW_RESERVE_OUT) == 1000); /* it was not made anew */
	gw_reserve_close(res);
}

/* Many first starts at once: one has it, and what that one wrote stays. */
static void
test_first_race(void **state)
{
	struct gw_reserve *res;
	struct gw_error err;
	int status, won = 0;
	pid_t pid[16];

	for (int round = 0; round < 5; round++) {
		clean(state);
		won = 0;
		for (int i = 0; i < 16; i++) {
			pid[i] = fork();
			if (pid[i] != 0)
				continue;
			if (gw_reserve_open(path, true, &res, &err) == -EWOULDBLOCK)
				_exit(0);
			if (res == NULL)
				_exit(2);
			set(res, 1, GW_RESERVE_OUT, get(res, 1, GW_RESERVE_OUT) + 1);
			_exit(gw_reserve_commit(res, &err) == 0 ? 1 : 2);
		}
		for (int i = 0; i < 16; i++) {
			assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
			assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
			won += WEXITSTATUS(status);
		}
		res = must_open();
		assert_int_equal(get(res, 1, GW_RESERVE_OUT), won);
		gw_reserve_close(res);
	}
}

/* Memory is no place for it. */
static void
test_volatile(void **state)
{
	char shm[] = "/dev/shm/test_reserve.XXXXXX", file[64];
	struct gw_reserve *res;
	struct gw_error err;

	if (mkdtemp(shm) == NULL)
		skip();
	snprintf(file, sizeof(file), "%s/state", shm);
	if (!gw_reserve_is_volatile(file)) {
		rmdir(shm);
		skip();
	}
	assert_int_equal(gw_reserve_open(file, false, &res, &err), -EMEDIUMTYPE);
	assert_null(res);
	assert_non_null(strstr(err.text, "it is in memory (tmpfs) and gone after a reboot"));
	assert_int_equal(rmdir(shm), 0); /* nothing was made */
	assert_int_equal(mkdir(shm, 0700), 0);
	assert_int_equal(gw_reserve_open(file, true, &res, &err), 0);
	gw_reserve_close(res);
	unlink(file);
	strcat(file, ".lock");
	unlink(file);
	assert_int_equal(rmdir(shm), 0);
	if (!gw_reserve_is_volatile(path)) {
		assert_int_equal(gw_reserve_open(path, false, &res, &err), 0);
		gw_reserve_close(res);
	}
}

/* A commit that fails says so, and the file is what it was. */
static void
test_failed_commit(void **state)
{
	struct gw_reserve *res = must_open();
	char tmp[80], moved[64];
	struct gw_error err;

	set(res, 1, GW_RESERVE_OUT, 10);
	must_commit(res);
	set(res, 1, GW_RESERVE_OUT, 20);
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	assert_int_equal(mkdir(tmp, 0700), 0);
	assert_int_not_equal(gw_reserve_commit(res, &err), 0);
	assert_non_null(strstr(err.text, "cannot write it"));
	rmdir(tmp);
	snprintf(moved, sizeof(moved), "%s.moved", dir);
	assert_int_equal(rename(dir, moved), 0); /* the disk is gone */
	assert_int_not_equal(gw_reserve_commit(res, &err), 0);
	assert_int_equal(rename(moved, dir), 0);
	gw_reserve_close(res);
	res = must_open();
	assert_true(get(res, 1, GW_RESERVE_OUT) == 10);
	gw_reserve_close(res);
}

static uint64_t
offer(struct gw_reserve *res, unsigned int i, bool esn, uint64_t received, int rc)
{
	struct gw_reserve_key k = key(i, GW_RESERVE_PEER, 0);
	uint64_t start;

	assert_int_equal(gw_reserve_offer(res, k.id, esn, received, &start), rc);
	return start;
}

/* What a peer is told is behind all that it may have sent, also what was lost. */
static void
test_offer(void **state)
{
	struct gw_reserve *res = must_open();
	struct gw_reserve_key k = key(1, GW_RESERVE_IN, 0);
	uint64_t start;

	assert_false(gw_reserve_known(res, k.id, false));
	assert_true(offer(res, 1, true, 0, 0) == 0); /* fresh */
	assert_true(gw_reserve_known(res, k.id, false)); /* the peer's from now on */
	assert_false(gw_reserve_known(res, k.id, true));
	must_commit(res);
	gw_reserve_close(res);
	res = must_open();
	/* nothing came: it may have been used all the same */
	assert_true(offer(res, 1, true, 0, 0) == GW_OFFER_CAME);
	assert_true(offer(res, 1, true, 0, 0) == GW_OFFER_CAME + GW_OFFER_IDLE);
	assert_true(offer(res, 1, true, 5, 0) == GW_OFFER_CAME + 2 * GW_OFFER_IDLE);
	start = GW_OFFER_CAME + 3 * GW_OFFER_IDLE;
	assert_true(offer(res, 1, true, start + 7, 0) == start + 7 + GW_OFFER_CAME);
	set(res, 1, GW_RESERVE_IN, start + 7);
	must_commit(res);
	gw_reserve_close(res);
	res = must_open();
	assert_true(offer(res, 1, true, 0, 0) == start + 7 + GW_OFFER_CAME + GW_OFFER_IDLE);
	/* a number that was noted counts as one that came */
	set(res, 2, GW_RESERVE_IN, 1000);
	assert_true(offer(res, 2, true, 0, 0) == 1000 + GW_OFFER_CAME);
	gw_reserve_close(res);
}

/* The end of the numbers, and of what we could follow. */
static void
test_offer_ends(void **state)
{
	struct gw_reserve *res = gw_reserve_in_memory();
	uint64_t start = 0, before;
	unsigned int n = 0;

	/* no ESN: 2^24 at a time, but nothing beyond 2^32 */
	assert_true(offer(res, 1, false, 5, 0) == 5 + GW_OFFER_32);
	for (n = 1; n < 255; n++)
		assert_true(offer(res, 1, false, 0, 0) == 5 + (n + 1) * GW_OFFER_32);
	offer(res, 1, false, 0, -ERANGE);
	offer(res, 2, false, UINT32_MAX, -ERANGE);
	offer(res, 2, true, UINT64_MAX, -ERANGE);
	offer(res, 2, true, UINT64_MAX - GW_OFFER_CAME - 5, -ERANGE);
	/* ESN: never as far as 2^32 behind what came */
	for (n = 0; n < 1000; n++) {
		struct gw_reserve_key k = key(3, GW_RESERVE_PEER, 0);

		before = start;
		if (gw_reserve_offer(res, k.id, true, 100, &start) != 0)
			break;
		assert_true(start >= before + GW_OFFER_NEAR && start < UINT32_MAX);
	}
	assert_in_range(n, 100, 300);
	offer(res, 3, true, 100, -EDOM);
	assert_true(offer(res, 3, true, start + 1, 0) == start + 1 + GW_OFFER_CAME);
	/* we sent with it */
	set(res, 4, GW_RESERVE_OUT, 10);
	offer(res, 4, true, 0, -EEXIST);
	must_commit(res); /* to nowhere */
	gw_reserve_close(res);
}

static void
test_id(void **state)
{
	struct ipsec_pcpu_ctx *ctx = aligned_alloc(64, RTE_ALIGN_CEIL(ipsec_pcpu_ctx_size(), 64));
	struct ipsec_pcpu_sa_params prm = {.algo = ipsec_pcpu_algo_find("aes128gcm16")};
	uint8_t a[GW_RESERVE_ID_LEN], b[GW_RESERVE_ID_LEN], whole[GW_RESERVE_ID_LEN];

	assert_int_equal(ipsec_pcpu_ctx_init(ctx), 0);
	for (int i = 0; i < prm.algo->key_len; i++)
		prm.key[i] = i + 1;
	gw_reserve_id(ctx, &prm, a);
	gw_reserve_key_id(ctx, &prm, whole);
	assert_memory_not_equal(a, whole, sizeof(a));
	prm.algo = ipsec_pcpu_algo_find("aes128gcm8"); /* the same key stream */
	prm.key[19] ^= 1; /* salt */
	gw_reserve_id(ctx, &prm, b);
	assert_memory_equal(a, b, sizeof(a));
	gw_reserve_key_id(ctx, &prm, b);
	assert_memory_not_equal(whole, b, sizeof(whole));
	prm.key[15] ^= 1;
	gw_reserve_id(ctx, &prm, b);
	assert_memory_not_equal(a, b, sizeof(a));
	ipsec_pcpu_ctx_fini(ctx);
	free(ctx);
}

static int
setup(void **state)
{
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/state", dir);
	return 0;
}

static int
teardown(void **state)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	return system(cmd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_teardown(test_keeps, clean),
			cmocka_unit_test_teardown(test_grows, clean),
			cmocka_unit_test_teardown(test_many, clean),
			cmocka_unit_test_teardown(test_lock, clean),
			cmocka_unit_test_teardown(test_damaged, clean),
			cmocka_unit_test_teardown(test_bad_files, clean),
			cmocka_unit_test_teardown(test_known, clean),
			cmocka_unit_test_teardown(test_lost, clean),
			cmocka_unit_test_teardown(test_half_made, clean),
			cmocka_unit_test_teardown(test_first_race, clean),
			cmocka_unit_test_teardown(test_volatile, clean),
			cmocka_unit_test_teardown(test_failed_commit, clean),
			cmocka_unit_test_teardown(test_offer, clean),
			cmocka_unit_test(test_offer_ends),
			cmocka_unit_test(test_id),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
