/* SPDX-License-Identifier: BSD-3-Clause */

/* One setter for each type of value. */

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "config_parse.h"

const char *const cfg_type_name[CFG_N_TYPES] = {
		[CFG_BOOL] = "true or false",
		[CFG_NUMBER] = "a number",
		[CFG_WORD] = "a word",
		[CFG_NAME] = "a name in quotes",
		[CFG_STRING] = "a string in quotes",
		[CFG_PATH] = "a file name in quotes",
		[CFG_ADDR] = "an address in quotes",
		[CFG_LISTEN] = "an address and a port: \"127.0.0.1:9470\" or \"[::1]:9470\"",
		[CFG_NET] = "a network in quotes",
		[CFG_PORT_ADDRS] = "an array of addresses: [\"10.1.0.1/24\"]",
		[CFG_PORTS] = "a port range: \"1000-2000\", \"443\" or \"any\"",
		[CFG_ALGO] = "the name of an algorithm in quotes",
		[CFG_KEY] = "hex digits in quotes",
		[CFG_RSS_KEY] = "\"ours\", or 80 hex digits in quotes",
		[CFG_LIST] = "a list of groups: ( { ... }, { ... } )",
		[CFG_GROUP] = "a group: { ... }",
};

static int
wrong_type(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v)
{
	return cfg_fail(p, v->setting, "%s wants %s", k->name, cfg_type_name[k->type]);
}

static void
store(void *field, size_t size, int64_t v)
{
	switch (size) {
	case 1:
		*(uint8_t *)field = v;
		break;
	case 2:
		*(uint16_t *)field = v;
		break;
	case 4:
		*(uint32_t *)field = v;
		break;
	default:
		*(uint64_t *)field = v;
		break;
	}
}

/* "copy" or 0 to 63: what a number or word may be, for a message. */
static const char *
allowed(const struct cfg_key *k, char *buf, size_t size)
{
	const struct cfg_word *w;
	size_t n = 0;

	buf[0] = '\0';
	for (w = k->words; w != NULL && w->word != NULL && n < size; w++)
		n += snprintf(buf + n, size - n, "%s\"%s\"", n > 0 ? ", " : "", w->word);
	if (k->type == CFG_NUMBER && n < size)
		snprintf(buf + n, size - n, "%s%lld to %lld", n > 0 ? " or " : "",
				(long long)k->min, (long long)k->max);
	return buf;
}

static int
set_number(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field)
{
	const struct cfg_word *w;
	char words[200], shown[CFG_SHOW_LEN];

	if (v->string == NULL) {
		if (k->type == CFG_WORD)
			return cfg_fail(p, v->setting, "%s is %s", k->name,
					allowed(k, words, sizeof(words)));
		if (v->number < k->min || v->number > k->max)
			return cfg_fail(p, v->setting, "%s is %s, not %lld", k->name,
					allowed(k, words, sizeof(words)), (long long)v->number);
		store(field, k->size, v->number);
		return 0;
	}
	for (w = k->words; w != NULL && w->word != NULL; w++) {
		if (strcmp(w->word, v->string) != 0)
			continue;
		store(field, k->size, w->value);
		return 0;
	}
	if (k->words == NULL)
		return cfg_fail(p, v->setting, "%s wants a number, without quotes", k->name);
	return cfg_fail(p, v->setting, "%s is %s, not \"%s\"", k->name,
			allowed(k, words, sizeof(words)), cfg_show(v->string, shown));
}

static int
set_bool(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field)
{
	*(bool *)field = v->number != 0;
	return 0;
}

/* What the kernel takes as the name of an interface, and no console needs to quote. */
static bool
name_ok(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n >= GW_NAME_LEN || !(isalnum((unsigned char)s[0]) || s[0] == '_'))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && strchr("_.-", s[i]) == NULL)
			return false;
	return true;
}

static int
set_name(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field)
{
	char shown[CFG_SHOW_LEN];

	if (v->string[0] == '\0' && v->setting == NULL)
		return 0;
	if (!name_ok(v->string))
		return cfg_fail(p, v->setting,
				"%s \"%s\": 1 to %d letters, digits, \"_\", \".\", "
				"\"-\", the first a letter, a digit or \"_\"",
				k->name, cfg_show(v->string, shown), GW_NAME_LEN - 1);
	memcpy(field, v->string, strlen(v->string) + 1);
	return 0;
}

static int
set_string(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field)
{
	char **s = field;

	if (v->string[0] == '\0') {
		*s = NULL;
		if (v->setting != NULL && k->def == CFG_REQUIRED)
			return cfg_fail(p, v->setting, "%s is empty", k->name);
		return 0;
	}
	/* a path may stand for the file where it is written; a default is as it is */
	*s = k->type == CFG_PATH && v->setting != NULL
			? cfg_path(cfg_where(p, v->setting).file, v->string)
			: strdup(v->string);
	return *s != NULL ? 0 : cfg_no_memory(p->err);
}

static int
set_addr(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field)
{
	char shown[CFG_SHOW_LEN];

	if (v->setting == NULL)
		return 0;
	if (gw_addr_parse(v->string, field) != 0)
		return cfg_fail(p, v->setting, "%s \"%s\" is not an IPv4 or IPv6 address", k->name,
				cfg_show(v->string, shown));
	return 0;
}

static int
set_listen(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field)
{
	char number[24], shown[CFG_SHOW_LEN];
	const char *text = v->string;

	if (v->setting == NULL || (text != NULL && text[0] == '\0'))
		return 0;
#ifndef GW_METRICS
	return cfg_fail(p, v->setting,
			"%s: this gateway was built without metrics: build it with -Dmetrics=enabled, "
			"or leave the key out",
			k->name);
#endif
	if (text == NULL) {
		snprintf(number, sizeof(number), "%lld", (long long)v->number);
		text = number;
	}
	if (gw_listen_parse(text, field) != 0)
		return cfg_fail(p, v->setting,
				"%s \"%s\" is not an address with a port, like \"127.0.0.1:9470\" or "
				"\"[::1]:9470\", nor a port alone",
				k->name, cfg_show(text, shown));
	return 0;
}

static int
set_net(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field)
{
	char shown[CFG_SHOW_LEN];

	if (v->setting == NULL)
		return 0;
	if (gw_prefix_parse(v->string, field) != 0)
		return cfg_fail(p, v->setting,
				"%s \"%s\" is not a network like \"10.1.0.0/16\" "
				"or \"2001:db8::/32\"",
				k->name, cfg_show(v->string, shown));
	gw_prefix_mask(field);
	return 0;
}

static int
add_port_addr(struct cfg_parse *p, const config_setting_t *s, struct gw_config_port *port)
{
	const char *text = config_setting_get_string(s);
	char shown[CFG_SHOW_LEN];

	if (text == NULL || strchr(text, '/') == NULL ||
			gw_prefix_parse(text, &port->addresses[port->n_addresses]) != 0)
		return cfg_fail(p, s,
				"\"%s\" is not an address with its network's length, "
				"like \"10.1.0.1/24\"",
				cfg_show(text != NULL ? text : "", shown));
	port->n_addresses++;
	return 0;
}

static int
set_port_addrs(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field)
{
	struct gw_config_port *port = (struct gw_config_port *)((char *)field - k->offset);
	int n = v->setting != NULL ? config_setting_length(v->setting) : 0;
	int rc = 0;

	if (n > GW_MAX_PORT_ADDRS)
		return cfg_fail(p, v->setting, "%d addresses, at most %d are possible", n,
				GW_MAX_PORT_ADDRS);
	for (int i = 0; i < n && rc == 0; i++)
		rc = add_port_addr(p, config_setting_get_elem(v->setting, i), port);
	return rc;
}

/* Digits to a port number; NULL if there are none or too many. */
static const char *
parse_port(const char *s, uint16_t *port)
{
	unsigned long v = 0;
	int n;

	for (n = 0; s[n] >= '0' && s[n] <= '9' && n < 6; n++)
		v = v * 10 + (s[n] - '0');
	*port = v;
	return n > 0 && v <= UINT16_MAX ? s + n : NULL;
}

static bool
parse_range(const char *s, struct gw_port_range *r)
{
	if (strcmp(s, "any") == 0) {
		*r = (struct gw_port_range){0, UINT16_MAX};
		return true;
	}
	s = parse_port(s, &r->min);
	r->max = r->min;
	if (s != NULL && *s == '-')
		s = parse_port(s + 1, &r->max);
	return s != NULL && *s == '\0';
}

static int
set_ports(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field)
{
	struct gw_port_range r;
	char shown[CFG_SHOW_LEN];

	if (v->string == NULL) {
		if (v->number < 1 || v->number > UINT16_MAX)
			return cfg_fail(p, v->setting, "%s is 1 to 65535, not %lld", k->name,
					(long long)v->number);
		r.min = r.max = v->number;
	} else if (!parse_range(v->string, &r)) {
		return cfg_fail(p, v->setting,
				"%s \"%s\" is not like \"1000-2000\", \"443\" or "
				"\"any\"",
				k->name, cfg_show(v->string, shown));
	}
	if (r.min > r.max)
		return cfg_fail(p, v->setting, "%s: %u is above %u", k->name, r.min, r.max);
	if (r.min == 0 && r.max != UINT16_MAX)
		return cfg_fail(p, v->setting, "%s: port 0 is possible in \"0-65535\" only",
				k->name);
	memcpy(field, &r, sizeof(r));
	return 0;
}

static int
set_algo(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field)
{
	const struct ipsec_pcpu_algo *a = ipsec_pcpu_algo_find(v->string);
	char names[256] = "", shown[CFG_SHOW_LEN];
	size_t n = 0;

	memcpy(field, &a, sizeof(a));
	if (a != NULL)
		return 0;
	for (int i = 0; (a = ipsec_pcpu_algo_get(i)) != NULL && n < sizeof(names); i++)
		n += snprintf(names + n, sizeof(names) - n, "%s%s", i > 0 ? ", " : "", a->name);
	return cfg_fail(p, v->setting, "%s \"%s\" is not known; there are: %s", k->name,
			cfg_show(v->string, shown), names);
}

/* config_text.c has put "@<index>" in the place of the key. */
static int
set_key(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field)
{
	struct raw_side *side = (struct raw_side *)((char *)field - k->offset);
	unsigned long i;

	if (v->setting == NULL)
		return 0;
	i = v->string[0] == '@' ? strtoul(v->string + 1, NULL, 10) : ULONG_MAX;
	if (i >= p->text.n_keys)
		return wrong_type(p, k, v);
	side->key = i + 1;
	side->key_where = cfg_where(p, v->setting);
	return 0;
}

/* The same, or the word "ours", which config_text.c leaves where it is. */
static int
set_rss_key(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field)
{
	struct gw_error why;
	unsigned long i;

	if (strcmp(v->string, CFG_OUR_KEY) == 0) {
		memcpy(field, gw_rss_key, GW_RSS_KEY_LEN);
		return 0;
	}
	i = v->string[0] == '@' ? strtoul(v->string + 1, NULL, 10) : ULONG_MAX;
	if (i >= p->text.n_keys)
		return wrong_type(p, k, v);
	if (cfg_hexkey_rss(&p->text.keys[i], field, &why) != 0)
		return cfg_fail(p, v->setting, "%s", why.text);
	return 0;
}

/* What libconfig may say a value of the type is. */
static bool
type_ok(const struct cfg_key *k, const config_setting_t *s)
{
	bool number = s->type == CONFIG_TYPE_INT || s->type == CONFIG_TYPE_INT64;

	switch (k->type) {
	case CFG_BOOL:
		return s->type == CONFIG_TYPE_BOOL;
	case CFG_NUMBER:
	case CFG_WORD:
	case CFG_PORTS:
	case CFG_LISTEN:
		return number || s->type == CONFIG_TYPE_STRING;
	case CFG_PORT_ADDRS:
		return s->type == CONFIG_TYPE_ARRAY || s->type == CONFIG_TYPE_LIST;
	default:
		return s->type == CONFIG_TYPE_STRING;
	}
}

int
cfg_set(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field)
{
	static int (*const set[])(struct cfg_parse *, const struct cfg_key *,
			const struct cfg_value *, void *) = {
			[CFG_BOOL] = set_bool,
			[CFG_NUMBER] = set_number,
			[CFG_WORD] = set_number,
			[CFG_NAME] = set_name,
			[CFG_STRING] = set_string,
			[CFG_PATH] = set_string,
			[CFG_ADDR] = set_addr,
			[CFG_LISTEN] = set_listen,
			[CFG_NET] = set_net,
			[CFG_PORT_ADDRS] = set_port_addrs,
			[CFG_PORTS] = set_ports,
			[CFG_ALGO] = set_algo,
			[CFG_KEY] = set_key,
			[CFG_RSS_KEY] = set_rss_key,
	};

	if (v->setting != NULL && !type_ok(k, v->setting))
		return wrong_type(p, k, v);
	return set[k->type](p, k, v, field);
}

int
cfg_set_default(struct cfg_parse *p, const struct cfg_key *k, void *field)
{
	struct cfg_value v = {.string = k->def};
	char *end;

	if (k->type == CFG_BOOL) {
		v.number = strcmp(k->def, "true") == 0;
	} else if (k->type == CFG_NUMBER) {
		v.number = strtoll(k->def, &end, 10);
		v.string = *k->def != '\0' && *end == '\0' ? NULL : k->def;
	}
	return cfg_set(p, k, &v, field);
}
