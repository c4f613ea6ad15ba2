/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The datagrams of queue_notice.h.  Floor: flows.
 *
 * "M" or "H" (hold), id, queue; "R", pattern, key: each text ended by its NUL, nothing behind the last. */
#include "queue_notice.h"

#include <string.h>

#include "base/base62.h"
#include "policy/config.h"

static bool put(char *buf, size_t *n, const char *text) {
  size_t len = strlen(text ? text : "") + 1;
  if (len > QUEUE_NOTICE_MAX - *n) return false;
  memcpy(buf + *n, text ? text : "", len);
  *n += len;
  return true;
}

size_t queue_notice_write(char *buf, const struct queue_notice *q) {
  bool is_run = q->kind == QUEUE_NOTICE_RUN;
  size_t n = 1;
  buf[0] = is_run ? 'R' : q->hold_smtp ? 'H' : 'M';
  if (is_run && q->pattern && strlen(q->pattern) > QUEUE_NOTICE_PATTERN_MAX) return 0;
  return put(buf, &n, is_run ? q->pattern : q->id) && put(buf, &n, is_run ? q->serialize_key : q->queue) ? n : 0;
}

/* The next text; NULL when its NUL is missing. */
static const char *get(struct str *rest) {
  const char *p = rest->p, *nul = rest->n ? memchr(p, 0, rest->n) : NULL;
  if (!nul) return NULL;
  *rest = str_n(nul + 1, rest->n - (size_t)(nul + 1 - p));
  return p;
}

static bool is_key(const char *s) {
  size_t n = strlen(s);
  for (size_t i = 0; i < n; i++)
    if (!ch_isalnum(s[i]) && s[i] != '-') return false;
  return n <= QUEUE_NOTICE_KEY_MAX;
}

bool queue_notice_read(struct str bytes, struct queue_notice *ret) {
  if (bytes.n < 3) return false;
  char kind = bytes.p[0];
  struct str rest = str_n(bytes.p + 1, bytes.n - 1);
  const char *first = get(&rest), *second = first ? get(&rest) : NULL;
  if (!second || rest.n) return false;
  if (kind == 'R') {
    if (strlen(first) > QUEUE_NOTICE_PATTERN_MAX || !is_key(second)) return false;
    *ret = (struct queue_notice){.kind = QUEUE_NOTICE_RUN, .pattern = first, .serialize_key = second, .queue = ""};
    return true;
  }
  if ((kind != 'M' && kind != 'H') || !msgid_is_valid(str_c(first)) || (*second && !config_queue_name_is_valid(second))) return false;
  *ret = (struct queue_notice){.kind = QUEUE_NOTICE_MESSAGE, .id = first, .queue = second, .hold_smtp = kind == 'H', .pattern = "", .serialize_key = ""};
  return true;
}
