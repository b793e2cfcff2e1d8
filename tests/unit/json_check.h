/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef JSON_CHECK_H
#define JSON_CHECK_H

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* A strict reader of JSON (RFC 8259): moves past a value, NULL where it is not one. */
static const char *json_value(const char *s);

static const char *
json_space(const char *s)
{
	return s + strspn(s, " \t\r\n");
}

static const char *
json_string(const char *s)
{
	if (*s++ != '"')
		return NULL;
	while (*s != '"') {
		if ((uint8_t)*s < 0x20)
			return NULL;
		if (*s++ != '\\')
			continue;
		if (*s == 'u') {
			for (int i = 1; i <= 4; i++)
				if (!isxdigit((uint8_t)s[i]))
					return NULL;
			s += 5;
		} else if (*s == '\0' || strchr("\"\\/bfnrt", *s++) == NULL) {
			return NULL;
		}
	}
	return s + 1;
}

static const char *
json_number(const char *s)
{
	s += *s == '-';
	if (!isdigit((uint8_t)*s) || (s[0] == '0' && isdigit((uint8_t)s[1])))
		return NULL;
	s += strspn(s, "0123456789");
	if (*s == '.') {
		if (!isdigit((uint8_t)s[1]))
			return NULL;
		s += 1 + strspn(s + 1, "0123456789");
	}
	return s;
}

static const char *
json_list(const char *s, char close, bool object)
{
	s = json_space(s + 1);
	if (*s == close)
		return s + 1;
	for (;;) {
		if (object) {
			s = json_string(json_space(s));
			if (s == NULL || *(s = json_space(s)) != ':')
				return NULL;
			s++;
		}
		s = json_value(json_space(s));
		if (s == NULL)
			return NULL;
		s = json_space(s);
		if (*s == close)
			return s + 1;
		if (*s++ != ',')
			return NULL;
	}
}

static const char *
json_value(const char *s)
{
	if (*s == '{')
		return json_list(s, '}', true);
	if (*s == '[')
		return json_list(s, ']', false);
	if (*s == '"')
		return json_string(s);
	if (strncmp(s, "null", 4) == 0 || strncmp(s, "true", 4) == 0)
		return s + 4;
	if (strncmp(s, "false", 5) == 0)
		return s + 5;
	return json_number(s);
}

static void
assert_json(const char *s)
{
	const char *end = json_value(json_space(s));

	if (end == NULL || *json_space(end) != '\0')
		fail_msg("not JSON: %s", s);
}

#endif /* JSON_CHECK_H */
