/* SPDX-License-Identifier: BSD-3-Clause */

/* --make-tunnel: both ends of a tunnel, with keys that nobody has to type. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <rte_common.h>

#include "../rss_key.h"
#include "config.h"

#define DEFAULT_RETA 128 /* entries that drivers fill with i modulo queues */

/* One direction of a pair. */
struct half {
	uint32_t spi;
	uint16_t sport;
	uint8_t key[IPSEC_PCPU_MAX_KEY];
};

struct pair {
	struct half ab; /* from a to b */
	struct half ba;
};

static int
random_bytes(void *buf, size_t len)
{
	uint8_t *p = buf;
	ssize_t n;

	while (len > 0) {
		n = getrandom(p, len, 0);
		if (n < 0 && errno != EINTR)
			return -errno;
		p += n > 0 ? n : 0;
		len -= n > 0 ? n : 0;
	}
	return 0;
}

/* Is this SPI or source port that of another pair in the same direction? */
static bool
is_taken(const struct pair *pairs, unsigned int n, bool ab, const struct half *h)
{
	const struct half *old;

	for (unsigned int i = 0; i < n; i++) {
		old = ab ? &pairs[i].ab : &pairs[i].ba;
		if (old->spi == h->spi || (h->sport != 0 && old->sport == h->sport))
			return true;
	}
	return false;
}

/*
 * The first source port from @start on with which pair @n lands on queue n of a gateway that
 * has our key, as many workers as there are pairs, and has not changed its redirection table.
 * Each queue has 128 or more of them.
 */
static uint16_t
landing_sport(const struct gw_make_tunnel *mt, unsigned int n, bool ab, uint16_t start)
{
	const struct ipsec_pcpu_tuple tuple = {
			.family = mt->a.family,
			.saddr = ab ? mt->a.a : mt->b.a,
			.daddr = ab ? mt->b.a : mt->a.a,
			.dport = GW_ESP_PORT,
	};
	const struct ipsec_pcpu_range range = {start, GW_MIN_AUTO_SPORT, GW_MAX_AUTO_SPORT};
	struct ipsec_pcpu_rss rss = {.reta_size = DEFAULT_RETA};

	rss.n_queues = RTE_MIN(mt->pairs, (unsigned int)DEFAULT_RETA);
	memcpy(rss.key, gw_rss_key, sizeof(rss.key));
	return ipsec_pcpu_sport_find(&rss, &tuple, n % rss.n_queues, &range);
}

static int
make_half(const struct gw_make_tunnel *mt, const struct pair *pairs, unsigned int n, bool ab,
		struct half *h)
{
	int rc;

	do {
		rc = random_bytes(h, sizeof(*h));
		if (!mt->encap)
			h->sport = 0;
		else if (n == mt->pairs)
			h->sport = GW_ESP_PORT; /* the fallback pair */
		else
			h->sport = landing_sport(mt, n, ab, h->sport | GW_MIN_AUTO_SPORT);
	} while (rc == 0 && (h->spi < IPSEC_PCPU_MIN_SPI || is_taken(pairs, n, ab, h)));
	return rc;
}

static void
print_sa(const struct gw_make_tunnel *mt, const struct half *h, const char *dir, FILE *out)
{
	fprintf(out, "\t\t\t%s = { spi = 0x%08x; ", dir, h->spi);
	if (mt->encap)
		fprintf(out, "sport = %u; dport = %u; ", h->sport, GW_ESP_PORT);
	fprintf(out, "key = \"");
	for (int i = 0; i < mt->algo->key_len; i++)
		fprintf(out, "%02x", h->key[i]);
	fprintf(out, "\"; };\n");
}

static void
print_head(const struct gw_make_tunnel *mt, bool a, FILE *out)
{
	char local[GW_ADDR_STRLEN], remote[GW_ADDR_STRLEN];

	gw_addr_text(a ? &mt->a : &mt->b, local);
	gw_addr_text(a ? &mt->b : &mt->a, remote);
	fprintf(out, "# Tunnel %s, for the gateway at %s. Keep it secret: chmod o-rwx.\n", mt->name,
			local);
	fprintf(out, "# With other tunnels: one \"tunnels = ( ... );\" with all groups in it.\n");
	fprintf(out, "# The file it goes into also wants a state_file.\n");
	fprintf(out, "tunnels = ( {\n\tname = \"%s\";\n", mt->name);
	fprintf(out, "\tlocal = \"%s\";\n\tremote = \"%s\";\n", local, remote);
	gw_prefix_text(a ? &mt->a_net : &mt->b_net, local);
	gw_prefix_text(a ? &mt->b_net : &mt->a_net, remote);
	fprintf(out, "\talgo = \"%s\";\n\tesn = %s;\n\treplay_window = %u;\n", mt->algo->name,
			mt->esn ? "true" : "false", mt->replay_window);
	fprintf(out, "\tselectors = ( { local = \"%s\"; remote = \"%s\"; } );\n", local, remote);
}

static void
print_end(const struct gw_make_tunnel *mt, const struct pair *pairs, bool a, FILE *out)
{
	print_head(mt, a, out);
	fprintf(out, "\tsas = (\n");
	for (unsigned int i = 0; i <= mt->pairs; i++) {
		if (i < mt->pairs)
			fprintf(out, "\t\t{\n\t\t\tpcpu = %u;\n", i);
		else
			fprintf(out, "\t\t{\n\t\t\tpcpu = \"any\";\n");
		print_sa(mt, a ? &pairs[i].ab : &pairs[i].ba, "out", out);
		print_sa(mt, a ? &pairs[i].ba : &pairs[i].ab, "in", out);
		fprintf(out, "\t\t}%s\n", i < mt->pairs ? "," : "");
	}
	fprintf(out, "\t);\n} );\n");
}

static int
print_both(const struct gw_make_tunnel *mt, const struct pair *pairs, FILE *a_out, FILE *b_out,
		struct gw_error *err)
{
	print_end(mt, pairs, true, a_out);
	if (a_out == b_out)
		fputc('\n', a_out);
	print_end(mt, pairs, false, b_out);
	if (fflush(a_out) == 0 && fflush(b_out) == 0)
		return 0;
	gw_error_set(err, NULL, 0, "cannot write the tunnel: %s", strerror(errno));
	return -EIO;
}

int
gw_config_make_tunnel(
		const struct gw_make_tunnel *mt, FILE *a_out, FILE *b_out, struct gw_error *err)
{
	struct pair *pairs;
	int rc = 0;

	if (mt->pairs > GW_MAX_MAKE_PAIRS) {
		gw_error_set(err, NULL, 0, "%u pairs are too many, at most %d are possible",
				mt->pairs, GW_MAX_MAKE_PAIRS);
		return -EINVAL;
	}
	pairs = calloc(mt->pairs + 1, sizeof(pairs[0]));
	if (pairs == NULL) {
		gw_error_set(err, NULL, 0, "out of memory");
		return -ENOMEM;
	}
	for (unsigned int i = 0; i <= mt->pairs && rc == 0; i++) {
		rc = make_half(mt, pairs, i, true, &pairs[i].ab);
		if (rc == 0)
			rc = make_half(mt, pairs, i, false, &pairs[i].ba);
	}
	if (rc != 0)
		gw_error_set(err, NULL, 0, "no random numbers: %s", strerror(-rc));
	else
		rc = print_both(mt, pairs, a_out, b_out, err);
	explicit_bzero(pairs, (mt->pairs + 1) * sizeof(pairs[0]));
	free(pairs);
	return rc;
}

/* DIR/NAME-a.conf, which is not there yet; NULL: err is set. */
static FILE *
open_end(const struct gw_make_tunnel *mt, const char *dir, char end, char *path,
		struct gw_error *err)
{
	FILE *f;
	int fd;

	snprintf(path, PATH_MAX, "%s/%s-%c.conf", dir, mt->name, end);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (f != NULL)
		return f;
	gw_error_set(err, NULL, 0, "cannot make %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return NULL;
}

int
gw_config_make_tunnel_files(
		const struct gw_make_tunnel *mt, const char *dir, FILE *out, struct gw_error *err)
{
	char a_path[PATH_MAX], b_path[PATH_MAX];
	FILE *a, *b;
	int rc = -EIO;

	a = open_end(mt, dir, 'a', a_path, err);
	if (a == NULL)
		return rc;
	b = open_end(mt, dir, 'b', b_path, err);
	if (b != NULL) {
		rc = gw_config_make_tunnel(mt, a, b, err);
		fclose(b);
	}
	fclose(a);
	if (rc == 0) {
		fprintf(out, "%s\n%s\n", a_path, b_path);
		return 0;
	}
	unlink(a_path);
	if (b != NULL)
		unlink(b_path);
	return rc;
}
