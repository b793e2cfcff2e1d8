/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The state file:
 *
 *	dpdk-pcpu-gw state 1
 *	out esn 00112233445566778899aabbccddeeff 16777216
 *	in - ...
 *	peer - ...
 *	ike esn ...
 *	end 3 0123456789abcdef
 *
 * one line for each key and kind, then their number and a checksum of all
 * before. It is read strictly: what is not exactly as written by us is damaged.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "reserve.h"

#define HEADER "dpdk-pcpu-gw state 1\n"
#define LABEL "dpdk-pcpu-gw state key 1"
#define LABEL_WHOLE "dpdk-pcpu-gw whole key 1"
#define MAX_FILE (64 << 20) /* bytes */

static const char *const kinds[] = {"in", "out", "peer", "ike"};

struct gw_reserve {
	char *path; /* NULL: in memory only */
	int lock_fd;
	/* open addressing; an entry with used false is free */
	struct entry {
		struct gw_reserve_key key;
		bool used;
	} * table;
	unsigned int n;
	unsigned int size; /* a power of 2 */
};

static int
no_memory(struct gw_error *err)
{
	gw_error_set(err, NULL, 0, "out of memory");
	return -ENOMEM;
}

/* Where a key is, or where it would go. */
static struct entry *
find(struct entry *table, unsigned int size, const uint8_t *id, enum gw_reserve_kind kind)
{
	struct entry *e;
	uint32_t i;

	memcpy(&i, id, sizeof(i)); /* of a hash */
	for (i += kind;; i++) {
		e = &table[i & (size - 1)];
		if (!e->used ||
				(e->key.kind == kind &&
						memcmp(e->key.id, id, sizeof(e->key.id)) == 0))
			return e;
	}
}

/* Keep half of it free. */
static int
make_room(struct gw_reserve *res)
{
	unsigned int size = res->size > 0 ? res->size * 2 : 64;
	struct entry *table;

	if (res->n * 2 < res->size)
		return 0;
	table = calloc(size, sizeof(table[0]));
	if (table == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < res->size; i++)
		if (res->table[i].used)
			*find(table, size, res->table[i].key.id, res->table[i].key.kind) =
					res->table[i];
	free(res->table);
	res->table = table;
	res->size = size;
	return 0;
}

/* FNV-1a: against accidents. Who can write the file can do worse. */
static uint64_t
checksum(const char *text, size_t len)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
	return sum;
}

static bool
parse_id(const char *text, uint8_t *id)
{
	unsigned int byte;

	if (strspn(text, "0123456789abcdef") != 2 * GW_RESERVE_ID_LEN)
		return false;
	for (int i = 0; i < GW_RESERVE_ID_LEN; i++) {
		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return false;
		id[i] = byte;
	}
	return true;
}

/* One line without its end. */
static bool
parse_line(const char *line, struct gw_reserve_key *key)
{
	char kind[5], esn[4], id[2 * GW_RESERVE_ID_LEN + 1], again[128];

	if (sscanf(line, "%4s %3s %32s %" SCNu64, kind, esn, id, &key->seq) != 4 ||
			!parse_id(id, key->id))
		return false;
	key->kind = GW_RESERVE_IN;
	for (unsigned int i = 0; i < RTE_DIM(kinds); i++)
		if (strcmp(kind, kinds[i]) == 0)
			key->kind = i;
	key->esn = strcmp(esn, "esn") == 0;
	snprintf(again, sizeof(again), "%s %s %s %" PRIu64, kinds[key->kind],
			key->esn ? "esn" : "-", id, key->seq);
	return strcmp(line, again) == 0;
}

/* 0, -EBADMSG or -ENOMEM. Cuts the text up. */
static int
parse(struct gw_reserve *res, char *text, size_t len)
{
	struct gw_reserve_key key;
	char *p = text + strlen(HEADER), *end, again[64];
	int rc;

	if (len < strlen(HEADER) || memcmp(text, HEADER, strlen(HEADER)) != 0 ||
			memchr(text, '\0', len) != NULL || text[len - 1] != '\n')
		return -EBADMSG;
	for (; strncmp(p, "end ", 4) != 0; p = end + 1) {
		end = strchr(p, '\n');
		if (end == NULL)
			return -EBADMSG;
		*end = '\0';
		if (!parse_line(p, &key))
			return -EBADMSG;
		rc = gw_reserve_set(res, &key);
		if (rc != 0)
			return rc;
		*end = '\n'; /* for the checksum */
	}
	snprintf(again, sizeof(again), "end %u %016" PRIx64 "\n", res->n, checksum(text, p - text));
	return strcmp(p, again) == 0 ? 0 : -EBADMSG;
}

static int
read_text(struct gw_reserve *res, int fd, size_t len, struct gw_error *err)
{
	char *text = malloc(len + 1);
	size_t got = 0;
	ssize_t n = 1;
	int rc;

	if (text == NULL)
		return no_memory(err);
	while (got < len && n > 0) {
		n = read(fd, text + got, len - got);
		if (n < 0 && errno == EINTR)
			n = 1;
		else
			got += n > 0 ? n : 0;
	}
	text[got] = '\0';
	rc = n < 0 ? -errno : parse(res, text, got);
	free(text);
	if (rc == -EBADMSG)
		gw_error_set(err, NULL, 0,
				"state file %s: damaged, or not a state file of ours. "
				"Without it sequence numbers are used again: make new keys at both "
				"ends, then delete it and %s.lock",
				res->path, res->path);
	else if (rc != 0)
		gw_error_set(err, NULL, 0, "state file %s: %s", res->path, strerror(-rc));
	return rc;
}

/* Also says what is not a file to be trusted. */
static int
read_file(struct gw_reserve *res, int fd, struct gw_error *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		gw_error_set(err, NULL, 0, "state file %s: not a regular file", res->path);
		return -EINVAL;
	}
	if ((st.st_mode & S_IWOTH) != 0) {
		gw_error_set(err, NULL, 0, "state file %s: others can write it; run: chmod 600 %s",
				res->path, res->path);
		return -EACCES;
	}
	if (st.st_size > MAX_FILE) {
		gw_error_set(err, NULL, 0, "state file %s: too large to be one of ours", res->path);
		return -EBADMSG;
	}
	return read_text(res, fd, st.st_size, err);
}

static int
load(struct gw_reserve *res, struct gw_error *err)
{
	int fd = open(res->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY), rc;

	if (fd < 0 && errno == ENOENT) {
		gw_error_set(err, NULL, 0,
				"state file %s: it is gone; %s.lock says that there was one. "
				"Without it sequence numbers are used again: put it back (itself, "
				"not an older copy), or make new keys at both ends, then delete "
				"%s.lock",
				res->path, res->path, res->path);
		return -EBADMSG;
	}
	if (fd < 0) {
		rc = -errno;
		gw_error_set(err, NULL, 0, "state file %s: %s", res->path,
				rc == -ELOOP ? "a symbolic link: name the file that it points to"
					     : strerror(-rc));
		return rc;
	}
	rc = read_file(res, fd, err);
	close(fd);
	return rc;
}

/* SHA-256 over a label, with its 0, and the first bytes of a key; cut. */
static void
name_key(struct ipsec_pcpu_ctx *ctx, const char *label, const uint8_t *key, size_t len, uint8_t *id)
{
	uint8_t buf[sizeof(LABEL_WHOLE) + IPSEC_PCPU_MAX_KEY], digest[32];
	size_t n = strlen(label) + 1;

	memcpy(buf, label, n);
	memcpy(buf + n, key, len);
	ipsec_pcpu_sha256(ctx, buf, n + len, digest);
	memcpy(id, digest, GW_RESERVE_ID_LEN);
	explicit_bzero(buf, sizeof(buf));
}

void
gw_reserve_id(struct ipsec_pcpu_ctx *ctx, const struct ipsec_pcpu_sa_params *prm,
		uint8_t id[GW_RESERVE_ID_LEN])
{
	name_key(ctx, LABEL, prm->key, prm->algo->key_len - prm->algo->salt_len, id);
}

void
gw_reserve_key_id(struct ipsec_pcpu_ctx *ctx, const struct ipsec_pcpu_sa_params *prm,
		uint8_t id[GW_RESERVE_ID_LEN])
{
	name_key(ctx, LABEL_WHOLE, prm->key, prm->algo->key_len, id);
}

uint64_t
gw_reserve_get(const struct gw_reserve *res, const uint8_t id[GW_RESERVE_ID_LEN],
		enum gw_reserve_kind kind)
{
	const struct entry *e = find(res->table, res->size, id, kind);

	return e->used ? e->key.seq : 0;
}

bool
gw_reserve_known(const struct gw_reserve *res, const uint8_t id[GW_RESERVE_ID_LEN], bool out)
{
	if (out)
		return gw_reserve_get(res, id, GW_RESERVE_OUT) > 0;
	return find(res->table, res->size, id, GW_RESERVE_IN)->used ||
			find(res->table, res->size, id, GW_RESERVE_PEER)->used;
}

int
gw_reserve_set(struct gw_reserve *res, const struct gw_reserve_key *key)
{
	struct entry *e = find(res->table, res->size, key->id, key->kind);

	if (e->used) {
		e->key.seq = RTE_MAX(e->key.seq, key->seq);
		e->key.esn = key->esn;
		return 0;
	}
	if (make_room(res) != 0)
		return -ENOMEM;
	e = find(res->table, res->size, key->id, key->kind);
	e->key = *key;
	e->used = true;
	res->n++;
	return 0;
}

unsigned int
gw_reserve_count(const struct gw_reserve *res, enum gw_reserve_kind kind)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < res->size; i++)
		n += res->table[i].used && res->table[i].key.kind == kind;
	return n;
}

int
gw_reserve_forget(struct gw_reserve *res, enum gw_reserve_kind kind)
{
	struct entry *table = calloc(res->size, sizeof(table[0]));

	if (table == NULL)
		return res->size == 0 ? 0 : -ENOMEM;
	res->n = 0;
	for (unsigned int i = 0; i < res->size; i++) {
		const struct entry *e = &res->table[i];

		if (!e->used || e->key.kind == kind)
			continue;
		*find(table, res->size, e->key.id, e->key.kind) = *e;
		res->n++;
	}
	free(res->table);
	res->table = table;
	return 0;
}

/* How far to go on behind what came and what was offered; 0: we could not follow. */
static uint64_t
offer_ahead(uint64_t received, uint64_t offered, bool esn)
{
	uint64_t lost = offered > received ? offered - received : 0;

	if (!esn)
		return GW_OFFER_32;
	if (lost == 0)
		return GW_OFFER_CAME;
	if (lost <= INT32_MAX)
		return GW_OFFER_IDLE;
	/* a receiver recovers an ESN over less than 2^32 */
	return lost <= UINT32_MAX - 4 * GW_OFFER_NEAR ? GW_OFFER_NEAR : 0;
}

int
gw_reserve_offer(struct gw_reserve *res, const uint8_t id[GW_RESERVE_ID_LEN], bool esn,
		uint64_t received, uint64_t *start)
{
	struct gw_reserve_key key = {.kind = GW_RESERVE_PEER, .esn = esn};
	uint64_t last = (esn ? UINT64_MAX : UINT32_MAX) - 1; /* that Linux takes */
	uint64_t offered = gw_reserve_get(res, id, GW_RESERVE_PEER), ahead;

	*start = 0;
	if (gw_reserve_known(res, id, true))
		return -EEXIST;
	received = RTE_MAX(received, gw_reserve_get(res, id, GW_RESERVE_IN));
	if (received > 0 || find(res->table, res->size, id, GW_RESERVE_PEER)->used) {
		ahead = offer_ahead(received, offered, esn);
		*start = RTE_MAX(received, offered) + ahead;
		if (ahead == 0)
			return -EDOM;
		if (*start < ahead || *start > last - GW_RESERVE_32)
			return -ERANGE;
	}
	key.seq = *start;
	memcpy(key.id, id, sizeof(key.id));
	return gw_reserve_set(res, &key);
}

void
gw_reserve_release(struct gw_reserve *res, const uint8_t id[GW_RESERVE_ID_LEN], uint64_t seq)
{
	struct entry *e = find(res->table, res->size, id, GW_RESERVE_OUT);

	if (e->used && seq < e->key.seq)
		e->key.seq = seq;
}

static void
print_key(const struct gw_reserve_key *key, FILE *out)
{
	fprintf(out, "%s %s ", kinds[key->kind], key->esn ? "esn" : "-");
	for (int i = 0; i < GW_RESERVE_ID_LEN; i++)
		fprintf(out, "%02x", key->id[i]);
	fprintf(out, " %" PRIu64 "\n", key->seq);
}

/* All of the file, malloc()ed; NULL: no memory. */
static char *
print(const struct gw_reserve *res, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);
	bool ok;

	if (out == NULL)
		return NULL;
	fputs(HEADER, out);
	for (unsigned int i = 0; i < res->size; i++)
		if (res->table[i].used)
			print_key(&res->table[i].key, out);
	ok = fflush(out) == 0;
	if (ok)
		fprintf(out, "end %u %016" PRIx64 "\n", res->n, checksum(text, *len));
	ok = fclose(out) == 0 && ok;
	if (ok)
		return text;
	free(text);
	return NULL;
}

/* All of it, on the disk. */
static int
write_all(int fd, const char *text, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, text, len);
		if (n < 0 && errno != EINTR)
			return -errno;
		text += n > 0 ? n : 0;
		len -= n > 0 ? n : 0;
	}
	return fsync(fd) == 0 ? 0 : -errno;
}

/* Into dir, of PATH_MAX. */
static void
dir_of(const char *path, char *dir)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		snprintf(dir, PATH_MAX, ".");
	else
		snprintf(dir, PATH_MAX, "%.*s", (int)(slash - path) + 1, path);
}

/* A rename is only safe once the directory is on the disk as well. */
static int
sync_dir(const char *path)
{
	char dir[PATH_MAX];
	int fd, rc;

	dir_of(path, dir);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fsync(fd) == 0 ? 0 : -errno;
	close(fd);
	return rc;
}

static int
replace(const char *path, const char *text, size_t len)
{
	char tmp[PATH_MAX];
	struct stat st;
	int fd, rc;

	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	unlink(tmp); /* of a run that was killed; we hold the lock */
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, text, len);
	/* root may write it for a gateway that is not root, which is to read it again */
	if (rc == 0 && stat(path, &st) == 0 && st.st_uid != geteuid() &&
			fchown(fd, st.st_uid, st.st_gid) != 0)
		rc = -errno;
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && rename(tmp, path) != 0)
		rc = -errno;
	if (rc != 0) {
		unlink(tmp);
		return rc;
	}
	return sync_dir(path);
}

int
gw_reserve_commit(struct gw_reserve *res, struct gw_error *err)
{
	size_t len;
	char *text;
	int rc;

	if (res->path == NULL)
		return 0;
	text = print(res, &len);
	if (text == NULL)
		return no_memory(err);
	rc = replace(res->path, text, len);
	free(text);
	if (rc != 0)
		gw_error_set(err, NULL, 0, "state file %s: cannot write it: %s", res->path,
				strerror(-rc));
	return rc;
}

/*
 * A state file without keys, if there is none: complete or not there, and never
 * in the place of one that another process has made meanwhile.
 */
static int
make_first(struct gw_reserve *res, struct gw_error *err)
{
	char tmp[PATH_MAX];
	size_t len;
	char *text = print(res, &len);
	int fd, rc;

	if (text == NULL)
		return no_memory(err);
	/* not the name that replace() uses: we do not hold the lock yet */
	snprintf(tmp, sizeof(tmp), "%s.XXXXXX", res->path);
	fd = mkostemp(tmp, O_CLOEXEC); /* mode 0600 */
	rc = fd >= 0 ? write_all(fd, text, len) : -errno;
	free(text);
	if (rc == 0 && link(tmp, res->path) != 0 && errno != EEXIST)
		rc = -errno;
	if (fd >= 0) {
		unlink(tmp);
		close(fd);
	}
	if (rc == 0)
		rc = sync_dir(res->path);
	if (rc != 0)
		gw_error_set(err, NULL, 0, "state file %s: cannot make it: %s", res->path,
				strerror(-rc));
	return rc;
}

/*
 * The file itself is replaced by each commit, so the lock is on one next to it.
 * Where there is none yet, the state file is made first: after a crash between
 * the two, the next start finds a file that it can read.
 */
static int
lock(struct gw_reserve *res, struct gw_error *err)
{
	char path[PATH_MAX];
	int rc = 0;

	if ((size_t)snprintf(path, sizeof(path), "%s.lock", res->path) >= sizeof(path) - 4) {
		gw_error_set(err, NULL, 0, "state file: its path is too long");
		return -ENAMETOOLONG;
	}
	res->lock_fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (res->lock_fd < 0 && errno == ENOENT) {
		rc = make_first(res, err);
		if (rc != 0)
			return rc;
		res->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	if (res->lock_fd >= 0 && flock(res->lock_fd, LOCK_EX | LOCK_NB) == 0)
		rc = sync_dir(path);
	else
		rc = -errno;
	if (rc == -EWOULDBLOCK)
		gw_error_set(err, NULL, 0, "state file %s: another gateway uses it", res->path);
	else if (rc != 0)
		gw_error_set(err, NULL, 0, "state file %s: cannot lock %s: %s", res->path, path,
				strerror(-rc));
	return rc;
}

bool
gw_reserve_is_volatile(const char *path)
{
	char dir[PATH_MAX];
	struct statfs st;

	dir_of(path, dir);
	return statfs(dir, &st) == 0 && (st.f_type == TMPFS_MAGIC || st.f_type == RAMFS_MAGIC);
}

struct gw_reserve *
gw_reserve_in_memory(void)
{
	struct gw_reserve *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->lock_fd = -1;
	if (make_room(r) == 0)
		return r;
	gw_reserve_close(r);
	return NULL;
}

int
gw_reserve_open(const char *path, bool volatile_ok, struct gw_reserve **res, struct gw_error *err)
{
	struct gw_reserve *r;
	int rc;

	*res = NULL;
	if (!volatile_ok && gw_reserve_is_volatile(path)) {
		gw_error_set(err, NULL, 0,
				"state file %s: it is in memory (tmpfs) and gone after a reboot, "
				"which would use IVs again: put it on a disk, like "
				"/var/lib/dpdk-pcpu-gw/state",
				path);
		return -EMEDIUMTYPE;
	}
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return no_memory(err);
	r->lock_fd = -1;
	r->path = strdup(path);
	rc = r->path != NULL && make_room(r) == 0 ? 0 : no_memory(err);
	if (rc == 0)
		rc = lock(r, err);
	if (rc == 0)
		rc = load(r, err);
	if (rc != 0)
		gw_reserve_close(r);
	else
		*res = r;
	return rc;
}

void
gw_reserve_close(struct gw_reserve *res)
{
	if (res == NULL)
		return;
	if (res->lock_fd >= 0)
		close(res->lock_fd);
	free(res->table);
	free(res->path);
	free(res);
}
