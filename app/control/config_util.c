/* SPDX-License-Identifier: BSD-3-Clause */

/* What all parts of the configuration use: refusals, keys as hex digits, paths, orders. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_text.h"

#define KEY_FILE_MAX 4096 /* bytes; a key has 72 hex digits at most */
#define KEY_LIKE 8 /* that many hex digits in a row are not shown */
#define ADDR_DIGITS 32 /* of an IPv6 address */
#define HEX "0123456789abcdefABCDEF"
#define SPACE " \t\r\n\v\f"

void
gw_error_set(struct gw_error *err, const char *file, unsigned int line, const char *fmt, ...)
{
	va_list ap;
	int n = 0;

	if (file != NULL && line > 0)
		n = snprintf(err->text, sizeof(err->text), "%s:%u: ", file, line);
	if (n < 0 || (size_t)n >= sizeof(err->text))
		n = 0;
	va_start(ap, fmt);
	vsnprintf(err->text + n, sizeof(err->text) - n, fmt, ap);
	va_end(ap);
}

int
cfg_no_memory(struct gw_error *err)
{
	gw_error_set(err, NULL, 0, "out of memory");
	return -ENOMEM;
}

/* The length of the hex digits that text begins with, between them any of sep. */
static size_t
hex_run(const char *text, const char *sep, unsigned int *digits)
{
	size_t len = 0, n;

	*digits = 0;
	while ((n = strspn(text + len, HEX)) > 0) {
		*digits += n;
		len += n;
		len += strspn(text + len, sep);
	}
	return len;
}

/* The length of what could be a key at the start of text; 0: nothing. */
static size_t
key_like(const char *text)
{
	unsigned int digits;
	size_t n = hex_run(text, SPACE, &digits);

	if (digits >= KEY_LIKE)
		return n;
	n = hex_run(text, SPACE ":-", &digits);
	return digits > ADDR_DIGITS ? n : 0;
}

const char *
cfg_show(const char *text, char *buf)
{
	size_t n = 0, run;

	while (*text != '\0' && n < 60) {
		run = key_like(text);
		if (run > 0) {
			n += snprintf(buf + n, CFG_SHOW_LEN - n, "[...]");
			text += run;
			continue;
		}
		buf[n++] = isprint((unsigned char)*text) ? *text : '?';
		text++;
	}
	buf[n] = '\0';
	return buf;
}

char *
cfg_path(const char *from, const char *path)
{
	const char *slash = strrchr(from, '/');
	size_t n = slash != NULL ? (size_t)(slash - from) + 1 : 0;
	char *out;

	if (path[0] == '/')
		n = 0;
	out = malloc(n + strlen(path) + 1);
	if (out == NULL)
		return NULL;
	memcpy(out, from, n);
	strcpy(out + n, path);
	return out;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void
cfg_hexkey_add(struct cfg_hexkey *k, char c)
{
	unsigned int i = k->digits / 2;
	int v = hex_value(c);

	if (isspace((unsigned char)c))
		return;
	/* "0x" in front, as ip-xfrm(8) writes keys */
	if ((c == 'x' || c == 'X') && k->digits == 1 && k->bytes[0] == 0 && !k->bad) {
		k->digits = 0;
		return;
	}
	if (v < 0) {
		k->colons |= c == ':' && k->digits > 0 && k->digits % 2 == 0;
		k->bad |= c != ':' || k->digits == 0 || k->digits % 2 != 0;
		return;
	}
	if (i < sizeof(k->bytes))
		k->bytes[i] = k->digits % 2 == 0 ? v << 4 : k->bytes[i] | v;
	k->digits++;
}

static int
check_digits(const struct cfg_hexkey *k, bool colons, struct gw_error *err)
{
	if (k->bad || (k->colons && !colons)) {
		gw_error_set(err, NULL, 0, "key has something in it that is not a hex digit");
		return -EINVAL;
	}
	if (k->digits % 2 != 0) {
		gw_error_set(err, NULL, 0, "key has %u hex digits, an odd number: one is missing",
				k->digits);
		return -EINVAL;
	}
	return 0;
}

int
cfg_hexkey_rss(const struct cfg_hexkey *k, uint8_t out[GW_RSS_KEY_LEN], struct gw_error *err)
{
	if (check_digits(k, true, err) != 0)
		return -EINVAL;
	if (k->digits / 2 != GW_RSS_KEY_LEN) {
		gw_error_set(err, NULL, 0,
				"key is %u bytes: write the first %d of the RSS key, which are all "
				"that UDP packets need",
				k->digits / 2, GW_RSS_KEY_LEN);
		return -EINVAL;
	}
	memcpy(out, k->bytes, GW_RSS_KEY_LEN);
	return 0;
}

int
cfg_hexkey_get(const struct cfg_hexkey *k, const struct ipsec_pcpu_algo *algo, uint8_t *out,
		struct gw_error *err)
{
	if (check_digits(k, false, err) != 0)
		return -EINVAL;
	if (k->digits / 2 != algo->key_len) {
		gw_error_set(err, NULL, 0, "key is %u bytes, %s wants %u (%u key + %u salt)",
				k->digits / 2, algo->name, algo->key_len,
				algo->key_len - algo->salt_len, algo->salt_len);
		return -EINVAL;
	}
	memcpy(out, k->bytes, algo->key_len);
	return 0;
}

/* Is this an open file that only its owner and group can read? */
static int
check_key_file(int fd, const char *path, struct gw_error *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0) {
		gw_error_set(err, NULL, 0, "key file %s: %s", path, strerror(errno));
		return -EINVAL;
	}
	if (!S_ISREG(st.st_mode)) {
		gw_error_set(err, NULL, 0, "key file %s: not a regular file", path);
		return -EINVAL;
	}
	if ((st.st_mode & (S_IROTH | S_IWOTH)) != 0) {
		gw_error_set(err, NULL, 0, "key file %s: others can %s it; run: chmod o-rwx %s",
				path, (st.st_mode & S_IROTH) != 0 ? "read" : "write", path);
		return -EACCES;
	}
	if (st.st_size > KEY_FILE_MAX) {
		gw_error_set(err, NULL, 0, "key file %s: %lld bytes are too many for one key", path,
				(long long)st.st_size);
		return -EINVAL;
	}
	return 0;
}

/* A file name that is nothing but hex digits: the key itself stands where its file should. */
static bool
is_hex(const char *s)
{
	unsigned int digits;

	if (s[0] == '0' && (s[1] | 0x20) == 'x')
		s += 2;
	return s[hex_run(s, SPACE ":-", &digits)] == '\0' && digits >= 2 * KEY_LIKE;
}

static int
read_key_fd(int fd, const char *path, const struct ipsec_pcpu_algo *algo, uint8_t *key,
		struct gw_error *err)
{
	struct cfg_hexkey hex = {0};
	char buf[KEY_FILE_MAX];
	struct gw_error why;
	ssize_t n;
	int rc;

	n = read(fd, buf, sizeof(buf));
	for (ssize_t i = 0; i < n; i++)
		cfg_hexkey_add(&hex, buf[i]);
	rc = n < 0 ? -errno : cfg_hexkey_get(&hex, algo, key, &why);
	if (n < 0)
		gw_error_set(&why, NULL, 0, "%s", strerror(-rc));
	if (rc != 0)
		gw_error_set(err, NULL, 0, "key file %s: %.300s", path, why.text);
	explicit_bzero(buf, sizeof(buf));
	explicit_bzero(&hex, sizeof(hex));
	return rc;
}

int
gw_config_read_key(const char *path, const struct ipsec_pcpu_algo *algo, uint8_t *key,
		struct gw_error *err)
{
	const char *base = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
	char shown[CFG_SHOW_LEN], where[300];
	int fd, rc;

	if (is_hex(base)) {
		gw_error_set(err, NULL, 0, "key_file wants the name of a file, not the key itself");
		return -EINVAL;
	}
	snprintf(where, sizeof(where), "%.*s%s", (int)(base - path), path, cfg_show(base, shown));
	/* not blocking: a FIFO must not stop us before fstat() says what it is */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		rc = -errno;
		gw_error_set(err, NULL, 0, "key file %s: %s", where, strerror(-rc));
		return rc;
	}
	rc = check_key_file(fd, where, err);
	if (rc == 0)
		rc = read_key_fd(fd, where, algo, key, err);
	close(fd);
	return rc;
}

const struct gw_config_tunnel *
gw_config_tunnel_find(const struct gw_config *cfg, const char *name)
{
	for (unsigned int i = 0; i < cfg->n_tunnels; i++)
		if (strcmp(cfg->tunnels[i].name, name) == 0)
			return &cfg->tunnels[i];
	return NULL;
}

static int
compare_range(const struct gw_port_range *a, const struct gw_port_range *b)
{
	return a->min != b->min ? (int)a->min - b->min : (int)a->max - b->max;
}

int
gw_selector_compare(const struct gw_selector *a, const struct gw_selector *b)
{
	int diff = gw_prefix_compare(&a->local, &b->local);

	if (diff == 0)
		diff = gw_prefix_compare(&a->remote, &b->remote);
	if (diff == 0)
		diff = (int)a->proto - b->proto;
	if (diff == 0)
		diff = compare_range(&a->local_ports, &b->local_ports);
	return diff != 0 ? diff : compare_range(&a->remote_ports, &b->remote_ports);
}
