/* SPDX-License-Identifier: BSD-3-Clause */

/* libconfig's tree to structs, by the key table. */

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "config_parse.h"

struct cfg_where
cfg_where(const struct cfg_parse *p, const config_setting_t *s)
{
	unsigned int line = config_setting_source_line(s);

	if (line == 0 || line > p->text.n_lines)
		return (struct cfg_where){p->text.files[0], 1};
	return p->text.lines[line - 1];
}

/* «tunnel "paris": », of the named group around a setting. */
static void
context(const config_setting_t *s, char *buf, size_t size)
{
	const char *name, *list;
	char shown[CFG_SHOW_LEN];

	buf[0] = '\0';
	for (; s != NULL && s->parent != NULL && s->parent->parent != NULL; s = s->parent) {
		list = s->parent->name;
		if (!config_setting_is_group(s) || list == NULL)
			continue;
		if (config_setting_lookup_string(s, "name", &name) == CONFIG_FALSE)
			continue;
		for (int i = 0; i < CFG_N_SECTIONS; i++)
			if (cfg_sections[i].noun != NULL &&
					strncmp(cfg_sections[i].path, list, strlen(list)) == 0)
				snprintf(buf, size, "%s \"%.20s\": ", cfg_sections[i].noun,
						cfg_show(name, shown));
		return;
	}
}

int
cfg_fail(struct cfg_parse *p, const config_setting_t *s, const char *fmt, ...)
{
	struct cfg_where w = cfg_where(p, s);
	char text[400], ctx[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	context(s, ctx, sizeof(ctx));
	gw_error_set(p->err, w.file, w.line, "%s%s", ctx, text);
	return -EINVAL;
}

static const struct cfg_key *
find_key(enum cfg_section section, const char *name)
{
	for (unsigned int i = 0; i < cfg_n_keys; i++)
		if (cfg_keys[i].section == section && strcmp(cfg_keys[i].name, name) == 0)
			return &cfg_keys[i];
	return NULL;
}

/* How many characters to insert, delete or change to make b of a (Levenshtein). */
static unsigned int
distance(const char *a, const char *b)
{
	unsigned int row[32], diag, up;
	size_t n = strlen(b);

	if (n >= RTE_DIM(row))
		return UINT32_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; a[i] != '\0'; i++) {
		diag = row[0];
		row[0] = i + 1;
		for (size_t j = 1; j <= n; j++) {
			up = row[j];
			diag += a[i] != b[j - 1];
			row[j] = RTE_MIN(up, row[j - 1]) + 1;
			row[j] = RTE_MIN(row[j], diag);
			diag = up;
		}
	}
	return row[n];
}

static int
unknown_key(struct cfg_parse *p, enum cfg_section section, const config_setting_t *s)
{
	unsigned int best = UINT32_MAX, d;
	const char *nearest = "";
	char list[300] = "", shown[CFG_SHOW_LEN];
	size_t n = 0;

	cfg_show(s->name, shown);
	for (unsigned int i = 0; i < cfg_n_keys; i++) {
		if (cfg_keys[i].section != section)
			continue;
		d = distance(shown, cfg_keys[i].name);
		if (d < best)
			nearest = cfg_keys[i].name;
		best = RTE_MIN(best, d);
		if (n < sizeof(list))
			n += snprintf(list + n, sizeof(list) - n, "%s%s", n > 0 ? ", " : "",
					cfg_keys[i].name);
	}
	if (best <= 1 + strlen(nearest) / 3)
		return cfg_fail(p, s, "unknown key \"%s\": do you mean \"%s\"?", shown, nearest);
	return cfg_fail(p, s, "unknown key \"%s\"; there are: %s", shown, list);
}

static int parse_group(struct cfg_parse *p, enum cfg_section section, const config_setting_t *s,
		const void *parent, void *elem);

static int
parse_list(struct cfg_parse *p, const struct cfg_key *k, const config_setting_t *s, void *elem)
{
	size_t size = cfg_sections[k->sub].size;
	unsigned int n = config_setting_length(s);
	const config_setting_t *sub;
	char *array;
	int rc = 0;

	if (n == 0)
		return 0;
	array = calloc(n, size);
	if (array == NULL)
		return cfg_no_memory(p->err);
	memcpy((char *)elem + k->offset, &array, sizeof(array));
	memcpy((char *)elem + k->count, &n, sizeof(n));
	for (unsigned int i = 0; i < n && rc == 0; i++) {
		sub = config_setting_get_elem(s, i);
		if (!config_setting_is_group(sub))
			return cfg_fail(p, sub, "%s wants %s", k->name, cfg_type_name[CFG_LIST]);
		rc = parse_group(p, k->sub, sub, elem, array + i * size);
	}
	return rc;
}

static int
parse_sub(struct cfg_parse *p, const struct cfg_key *k, const config_setting_t *s, void *elem)
{
	bool ok = config_setting_is_list(s);

	if (config_setting_is_array(s) && config_setting_length(s) == 0)
		ok = true; /* "[ ]" is an empty list as well as "( )" */
	if (k->type == CFG_GROUP)
		ok = config_setting_is_group(s);
	if (!ok)
		return cfg_fail(p, s, "%s wants %s", k->name, cfg_type_name[k->type]);
	if (k->type == CFG_LIST)
		return parse_list(p, k, s, elem);
	return parse_group(p, k->sub, s, elem, (char *)elem + k->offset);
}

static int
parse_scalar(struct cfg_parse *p, const struct cfg_key *k, const config_setting_t *s, void *elem)
{
	struct cfg_value v = {.setting = s};

	if (s->type == CONFIG_TYPE_STRING)
		v.string = config_setting_get_string(s);
	else if (s->type == CONFIG_TYPE_BOOL)
		v.number = config_setting_get_bool(s);
	else if (s->type == CONFIG_TYPE_INT)
		v.number = config_setting_get_int(s);
	else if (s->type == CONFIG_TYPE_INT64)
		v.number = config_setting_get_int64(s);
	return cfg_set(p, k, &v, (char *)elem + k->offset);
}

/* What the group does not say. */
static int
parse_absent(struct cfg_parse *p, const struct cfg_key *k, const config_setting_t *s, void *elem)
{
	if (k->def == CFG_REQUIRED)
		return cfg_fail(p, s, "%s is missing: it wants %s", k->name,
				cfg_type_name[k->type]);
	if (strcmp(k->def, CFG_INHERIT) == 0 || k->type == CFG_LIST || k->type == CFG_GROUP)
		return 0;
	return cfg_set_default(p, k, (char *)elem + k->offset);
}

/*
 * Scalars first, then what is inside: it may inherit from them, wherever they
 * stand.
 */
static int
parse_keys(struct cfg_parse *p, enum cfg_section section, const config_setting_t *s, void *elem,
		bool inside)
{
	const config_setting_t *sub;
	const struct cfg_key *k;
	int rc = 0;

	for (unsigned int i = 0; i < cfg_n_keys && rc == 0; i++) {
		k = &cfg_keys[i];
		if (k->section != section ||
				(k->type == CFG_LIST || k->type == CFG_GROUP) != inside)
			continue;
		sub = config_setting_get_member(s, k->name);
		if (sub == NULL)
			rc = parse_absent(p, k, s, elem);
		else if (inside)
			rc = parse_sub(p, k, sub, elem);
		else
			rc = parse_scalar(p, k, sub, elem);
	}
	return rc;
}

static void
set_where(struct cfg_parse *p, const struct cfg_section_info *info, const config_setting_t *s,
		void *elem)
{
	struct cfg_where w = cfg_where(p, s);

	if (info->file == CFG_NO_OFFSET)
		return;
	memcpy((char *)elem + info->file, &w.file, sizeof(w.file));
	memcpy((char *)elem + info->line, &w.line, sizeof(w.line));
}

static int
parse_group(struct cfg_parse *p, enum cfg_section section, const config_setting_t *s,
		const void *parent, void *elem)
{
	const struct cfg_section_info *info = &cfg_sections[section];
	const config_setting_t *sub;
	int rc;

	set_where(p, info, s, elem);
	if (info->init != NULL)
		info->init(parent, elem);
	for (int i = 0; i < config_setting_length(s); i++) {
		sub = config_setting_get_elem(s, i);
		if (find_key(section, sub->name) == NULL)
			return unknown_key(p, section, sub);
	}
	rc = parse_keys(p, section, s, elem, false);
	if (rc == 0)
		rc = parse_keys(p, section, s, elem, true);
	if (rc == 0 && info->done != NULL)
		rc = info->done(p, s, elem);
	return rc;
}

/* libconfig's own words for what it does not understand are fixed strings, without the text. */
static int
syntax_error(struct cfg_parse *p, const config_t *tree)
{
	unsigned int line = config_error_line(tree);
	const char *why = config_error_text(tree);
	struct cfg_where w;

	/* an error at the end may be one line behind the last */
	line = RTE_MIN(line, p->text.n_lines);
	line = RTE_MAX(line, 1u);
	w = p->text.lines[line - 1];
	if (why == NULL || strcmp(why, "syntax error") == 0)
		why = "syntax error here or at the end of the line before; "
		      "is there a \";\", a quote or a bracket missing?";
	gw_error_set(p->err, w.file, w.line, "%s", why);
	return -EINVAL;
}

/* From p->text on. Frees all but *cfg. */
static int
parse_text(struct cfg_parse *p, struct gw_config *cfg)
{
	config_t tree;
	int rc;

	config_init(&tree);
	if (config_read_string(&tree, p->text.text != NULL ? p->text.text : "") != CONFIG_TRUE)
		rc = syntax_error(p, &tree);
	else
		rc = parse_group(p, CFG_TOP, config_root_setting(&tree), NULL, &p->raw);
	config_destroy(&tree);
	if (rc == 0)
		rc = cfg_build(p, cfg);
	if (rc == 0)
		rc = cfg_choose_sports(cfg, p->err);
	if (rc == 0)
		rc = gw_config_check(cfg, p->err);
	if (rc != 0)
		gw_config_free(cfg);
	return rc;
}

static int
load(const char *path, bool no_wait, struct gw_config *cfg, struct gw_error *err)
{
	struct cfg_parse p = {.err = err};
	int rc;

	memset(cfg, 0, sizeof(*cfg));
	rc = cfg_text_load(&p.text, path, no_wait, err);
	if (rc == 0)
		rc = parse_text(&p, cfg);
	cfg_raw_free(&p);
	cfg_text_free(&p.text);
	return rc;
}

int
gw_config_load(const char *path, struct gw_config *cfg, struct gw_error *err)
{
	return load(path, false, cfg, err);
}

int
gw_config_load_again(const char *path, struct gw_config *cfg, struct gw_error *err)
{
	return load(path, true, cfg, err);
}

int
gw_config_parse(const char *text, const char *name, struct gw_config *cfg, struct gw_error *err)
{
	struct cfg_parse p = {.err = err};
	int rc;

	memset(cfg, 0, sizeof(*cfg));
	rc = cfg_text_set(&p.text, text, name, err);
	if (rc == 0)
		rc = parse_text(&p, cfg);
	cfg_raw_free(&p);
	cfg_text_free(&p.text);
	return rc;
}
