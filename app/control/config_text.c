/* SPDX-License-Identifier: BSD-3-Clause */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_text.h"

#define MAX_TEXT (64u << 20) /* bytes of a file */
#define MAX_DEPTH 10 /* of includes, as libconfig has it */
#define MAX_FILES 1024 /* included in all */

/* Where in «key = "..."» we are. White space and comments between change nothing. */
enum in_key {
	NO_KEY,
	KEY_NAME,
	KEY_ASSIGN,
	KEY_STRING, /* a further string goes on with the same key */
};

/* One source file while it is read. */
struct source {
	struct cfg_text *t;
	struct gw_error *err;
	const char *name; /* one of t->files */
	const char *p;
	unsigned int line;
	unsigned int depth; /* of includes; UINT_MAX: may not include */
	unsigned int first_key_line; /* 0: none */
	enum in_key in_key;
	bool line_start; /* only white space since the start of the line */
};

static int load_file(struct cfg_text *t, const char *path, const struct source *from,
		struct gw_error *err);

/* Room for one more. The old array is wiped: it may hold keys. */
static int
grow(void *array, unsigned int n, unsigned int *room, size_t size)
{
	void *old, *new;

	if (n < *room)
		return 0;
	new = calloc(*room * 2 + 16, size);
	if (new == NULL)
		return -ENOMEM;
	memcpy(&old, array, sizeof(old));
	if (old != NULL) {
		memcpy(new, old, n * size);
		explicit_bzero(old, n * size);
	}
	free(old);
	*room = *room * 2 + 16;
	memcpy(array, &new, sizeof(new));
	return 0;
}

static int
emit(struct source *s, const char *text, size_t n)
{
	struct cfg_text *t = s->t;
	size_t room = t->room;
	char *new;

	while (t->len + n + 1 > room)
		room = room * 2 + 4096;
	if (room != t->room) {
		new = realloc(t->text, room);
		if (new == NULL)
			return cfg_no_memory(s->err);
		t->text = new;
		t->room = room;
	}
	memcpy(t->text + t->len, text, n);
	t->len += n;
	t->text[t->len] = '\0';
	return 0;
}

/* The next line of the output comes from where we are. */
static int
mark_line(struct source *s)
{
	struct cfg_text *t = s->t;

	if (grow(&t->lines, t->n_lines, &t->lines_room, sizeof(t->lines[0])) != 0)
		return cfg_no_memory(s->err);
	t->lines[t->n_lines++] = (struct cfg_where){s->name, s->line};
	return 0;
}

static int
newline(struct source *s)
{
	s->line++;
	s->line_start = true;
	return emit(s, "\n", 1) != 0 ? -ENOMEM : mark_line(s);
}

/* Copy n characters, or, in place of a key, its line breaks only. */
static int
copy(struct source *s, size_t n, bool hide)
{
	int rc = 0;

	for (const char *end = s->p + n; s->p < end && rc == 0; s->p++) {
		if (*s->p == '\n')
			rc = newline(s);
		else if (!hide)
			rc = emit(s, s->p, 1);
	}
	return rc;
}

/* The length of a string, both quotes included if they are there. */
static size_t
string_len(const char *p)
{
	size_t n = 1;

	while (p[n] != '\0' && p[n] != '"')
		n += p[n] == '\\' && p[n + 1] != '\0' ? 2 : 1;
	return p[n] == '"' ? n + 1 : n;
}

static int
take_key(struct source *s, size_t n)
{
	struct cfg_text *t = s->t;
	char ref[24];
	int rc = 0;

	/* no key; if another string follows, that one still is */
	if (s->in_key == KEY_ASSIGN && n == sizeof(CFG_OUR_KEY) + 1 &&
			memcmp(s->p + 1, CFG_OUR_KEY, n - 2) == 0)
		return copy(s, n, false);
	if (s->first_key_line == 0)
		s->first_key_line = s->line;
	if (s->in_key == KEY_ASSIGN) {
		if (grow(&t->keys, t->n_keys, &t->keys_room, sizeof(t->keys[0])) != 0)
			return cfg_no_memory(s->err);
		rc = emit(s, ref, snprintf(ref, sizeof(ref), "\"@%u\"", t->n_keys++));
	}
	s->in_key = KEY_STRING;
	for (size_t i = 1; i + 1 < n; i++)
		cfg_hexkey_add(&t->keys[t->n_keys - 1], s->p[i]);
	return rc != 0 ? rc : copy(s, n, true);
}

static int
scan_string(struct source *s)
{
	size_t n = string_len(s->p);

	/* libconfig would say no more than "syntax error", at the end of the file */
	if (n == 1 || s->p[n - 1] != '"') {
		gw_error_set(s->err, s->name, s->line, "no \" ends the string that starts here");
		return -EINVAL;
	}
	if (s->in_key == KEY_ASSIGN || s->in_key == KEY_STRING)
		return take_key(s, n);
	return copy(s, n, false);
}

static int
scan_number(struct source *s)
{
	bool hex = s->p[0] == '0' && (s->p[1] | 0x20) == 'x' && isxdigit((unsigned char)s->p[2]);
	char text[32], *end;
	unsigned long long v;

	if (s->in_key == KEY_ASSIGN) {
		gw_error_set(s->err, s->name, s->line, "write the key in quotes: key = \"...\"");
		return -EINVAL;
	}
	s->in_key = NO_KEY;
	errno = 0;
	v = strtoull(s->p, &end, hex ? 16 : 10);
	if (errno != 0 || v > LLONG_MAX) {
		gw_error_set(s->err, s->name, s->line, "this number does not fit 63 bits");
		return -EINVAL;
	}
	if (!hex && strchr(".eE", *end) != NULL && *end != '\0')
		return copy(s, end - s->p, false); /* of a floating-point number */
	for (int i = 0; i < 2 && *end == 'L'; i++)
		end++;
	s->p = end;
	return emit(s, text, snprintf(text, sizeof(text), "%llu%s", v, v > INT_MAX ? "L" : ""));
}

static int
scan_name(struct source *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s->p[n]) || strchr("-_*", s->p[n] ? s->p[n] : ' ') != NULL)
		n++;
	s->in_key = n == 3 && strncmp(s->p, "key", 3) == 0 ? KEY_NAME : NO_KEY;
	return copy(s, n, false);
}

/* The length of the comment that starts here; 0: none does. */
static int
comment_len(struct source *s, size_t *n)
{
	const char *end;

	*n = 0;
	if (s->p[0] == '#' || (s->p[0] == '/' && s->p[1] == '/')) {
		*n = strcspn(s->p, "\n");
	} else if (s->p[0] == '/' && s->p[1] == '*') {
		end = strstr(s->p + 2, "*/");
		if (end == NULL) {
			gw_error_set(s->err, s->name, s->line,
					"no */ ends the comment that starts here");
			return -EINVAL;
		}
		*n = end + 2 - s->p;
	}
	return 0;
}

/* @include "file": what it holds takes the place of the directive. */
static int
scan_include(struct source *s)
{
	const char *start = s->p + strlen("@include"), *end;
	char *name, *path;
	int rc;

	start += strspn(start, " \t");
	end = *start == '"' ? strpbrk(start + 1, "\"\n") : NULL;
	if (end == NULL || *end != '"') {
		gw_error_set(s->err, s->name, s->line, "write: @include \"file\"");
		return -EINVAL;
	}
	if (s->depth >= MAX_DEPTH) {
		gw_error_set(s->err, s->name, s->line,
				s->depth == UINT_MAX ? "@include is for files only"
						     : "@include goes deeper than %u files",
				MAX_DEPTH);
		return -EINVAL;
	}
	name = strndup(start + 1, end - start - 1);
	path = name != NULL ? cfg_path(s->name, name) : NULL;
	rc = path != NULL ? emit(s, "\n", 1) : cfg_no_memory(s->err);
	if (rc == 0)
		rc = load_file(s->t, path, s, s->err);
	free(name);
	free(path);
	s->p = end + 1;
	if (rc != 0)
		return rc;
	/* the rest of the directive's line, on a line of its own */
	return emit(s, "\n", 1) != 0 ? -ENOMEM : mark_line(s);
}

static int
scan_token(struct source *s)
{
	bool line_start = s->line_start;
	size_t n;
	int rc = comment_len(s, &n);

	if (rc != 0)
		return rc;
	if (n > 0) /* hidden as well: keys may be commented out; but it separates words */
		return emit(s, " ", 1) != 0 ? -ENOMEM : copy(s, n, true);
	if (isspace((unsigned char)*s->p))
		return copy(s, 1, false);
	s->line_start = false;
	if (line_start && strncmp(s->p, "@include", 8) == 0)
		return scan_include(s);
	if (*s->p == '"')
		return scan_string(s);
	if (isdigit((unsigned char)*s->p))
		return scan_number(s);
	if (isalpha((unsigned char)*s->p) || *s->p == '*')
		return scan_name(s);
	s->in_key = s->in_key == KEY_NAME && (*s->p == '=' || *s->p == ':') ? KEY_ASSIGN : NO_KEY;
	return copy(s, 1, false);
}

static int
scan(struct source *s, const char *text)
{
	int rc = mark_line(s);

	s->p = text;
	s->line_start = true;
	while (rc == 0 && *s->p != '\0')
		rc = scan_token(s);
	return rc;
}

/* A name to point to for as long as the configuration lives. */
static const char *
add_file(struct cfg_text *t, const char *name, struct gw_error *err)
{
	char **new;

	if (t->n_files >= MAX_FILES) {
		gw_error_set(err, NULL, 0, "more than %u files included", MAX_FILES);
		return NULL;
	}
	new = realloc(t->files, (t->n_files + 1) * sizeof(new[0]));
	if (new != NULL)
		t->files = new;
	if (new == NULL || (new[t->n_files] = strdup(name)) == NULL) {
		cfg_no_memory(err);
		return NULL;
	}
	return t->files[t->n_files++];
}

/* Make *buf larger; the old one is wiped. */
static int
grow_buf(char **buf, size_t len, size_t *room)
{
	char *new;

	if (*room >= MAX_TEXT)
		return -EFBIG;
	new = malloc(*room * 2 + 65536);
	if (new == NULL)
		return -ENOMEM;
	if (*buf != NULL) {
		memcpy(new, *buf, len);
		explicit_bzero(*buf, len);
	}
	free(*buf);
	*buf = new;
	*room = *room * 2 + 65536;
	return 0;
}

static int
refuse_irregular(const struct source *s, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return 0;
	gw_error_set(s->err, NULL, 0,
			"%s: not a regular file, which could be read again while the gateway runs",
			s->name);
	return -EINVAL;
}

/* All of an open file and a final 0; *len bytes to be wiped and freed, also after an error. */
static int
read_all(int fd, char **buf, size_t *len)
{
	size_t room = 0;
	ssize_t n;
	int rc = 0;

	while (rc == 0) {
		if (*len + 1 >= room)
			rc = grow_buf(buf, *len, &room);
		if (rc != 0)
			break;
		n = read(fd, *buf + *len, room - *len - 1);
		if (n < 0 && errno != EINTR)
			rc = -errno;
		if (n == 0)
			break;
		*len += n > 0 ? n : 0;
	}
	if (rc == 0)
		(*buf)[*len] = '\0';
	return rc;
}

static int
check_mode(const struct source *s, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0) {
		gw_error_set(s->err, NULL, 0, "%s: %s", s->name, strerror(errno));
		return -EACCES;
	}
	if (s->first_key_line == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IWOTH) != 0) {
		gw_error_set(s->err, NULL, 0,
				"%s: others can write it, and say what is protected by which keys; "
				"run: chmod o-w %s",
				s->name, s->name);
		return -EACCES;
	}
	if (s->first_key_line == 0 || (st.st_mode & (S_IROTH | S_IWOTH)) == 0)
		return 0;
	gw_error_set(s->err, s->name, s->first_key_line,
			"there are keys in this file and others can %s it; run: chmod o-rwx %s",
			(st.st_mode & S_IROTH) != 0 ? "read" : "write", s->name);
	return -EACCES;
}

static int
scan_fd(struct source *s, int fd)
{
	char *buf = NULL;
	size_t len = 0;
	int rc = read_all(fd, &buf, &len);

	if (rc != 0) {
		gw_error_set(s->err, NULL, 0, "%s: %s", s->name, strerror(-rc));
	} else if (memchr(buf, '\0', len) != NULL) {
		gw_error_set(s->err, NULL, 0, "%s: not a text file, there is a 0 byte in it",
				s->name);
		rc = -EINVAL;
	} else {
		rc = scan(s, buf);
	}
	if (rc == 0)
		rc = check_mode(s, fd);
	if (buf != NULL)
		explicit_bzero(buf, len);
	free(buf);
	return rc;
}

static int
load_file(struct cfg_text *t, const char *path, const struct source *from, struct gw_error *err)
{
	struct source s = {.t = t, .err = err};
	int fd, rc;

	s.name = add_file(t, path, err);
	if (s.name == NULL)
		return -ENOMEM;
	s.line = 1;
	s.depth = from != NULL ? from->depth + 1 : 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (t->no_wait ? O_NONBLOCK : 0));
	if (fd < 0) {
		rc = -errno;
		gw_error_set(err, from != NULL ? from->name : NULL, from != NULL ? from->line : 0,
				"cannot open %s: %s", path, strerror(-rc));
		return rc;
	}
	rc = t->no_wait ? refuse_irregular(&s, fd) : 0;
	if (rc == 0)
		rc = scan_fd(&s, fd);
	close(fd);
	return rc;
}

int
cfg_text_load(struct cfg_text *t, const char *path, bool no_wait, struct gw_error *err)
{
	memset(t, 0, sizeof(*t));
	t->no_wait = no_wait;
	return load_file(t, path, NULL, err);
}

int
cfg_text_set(struct cfg_text *t, const char *text, const char *name, struct gw_error *err)
{
	struct source s = {.t = t, .err = err, .line = 1, .depth = UINT_MAX};

	memset(t, 0, sizeof(*t));
	s.name = add_file(t, name, err);
	return s.name != NULL ? scan(&s, text) : -ENOMEM;
}

void
cfg_text_free(struct cfg_text *t)
{
	for (unsigned int i = 0; i < t->n_files; i++)
		free(t->files[i]);
	free(t->files);
	if (t->keys != NULL)
		explicit_bzero(t->keys, t->keys_room * sizeof(t->keys[0]));
	free(t->keys);
	free(t->lines);
	free(t->text);
	memset(t, 0, sizeof(*t));
}
