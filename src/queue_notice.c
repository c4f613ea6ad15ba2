/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The datagrams of queue_notice.h.  Floor: flows.
 *
 * "M" or "H" (hold), id, queue; "R", pattern, key; "Q", address, size: each text ended by its NUL, nothing behind the last. */
#include "queue_notice.h"

#include <stdio.h>
#include <string.h>

#include "base/base62.h"
#include "policy/config.h"

enum { ADDRESS_MAX = 1000 };

/* Printable, with a domain; more is for the routers to say. */
static bool is_address(const char *s) {
  size_t n = s ? strlen(s) : 0;
  for (size_t i = 0; i < n; i++)
    if ((unsigned char)s[i] < ' ' || s[i] == 127) return false;
  return n <= ADDRESS_MAX && s && strchr(s, '@');
}

static bool put(char *buf, size_t *n, const char *text) {
  size_t len = strlen(text ? text : "") + 1;
  if (len > QUEUE_NOTICE_MAX - *n) return false;
  memcpy(buf + *n, text ? text : "", len);
  *n += len;
  return true;
}

static size_t write_quota(char *buf, const struct queue_notice *q) {
  char digits[24];
  int len = snprintf(digits, sizeof digits, "%lld", (long long)MAX(q->size, INT64_C(0)));
  size_t n = 1;
  buf[0] = 'Q';
  if (len <= 0 || !is_address(q->address)) return 0;
  return put(buf, &n, q->address) && put(buf, &n, digits) ? n : 0;
}

size_t queue_notice_write(char *buf, const struct queue_notice *q) {
  if (q->kind == QUEUE_NOTICE_QUOTA) return write_quota(buf, q);
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

static bool read_quota(const char *address, const char *digits, struct queue_notice *ret) {
  int64_t size;
  struct str d = str_c(digits);
  bool is_canonical = d.n > 0 && ch_isdigit(*d.p) && (d.p[0] != '0' || d.n == 1);
  if (!is_address(address) || !is_canonical || !str_parse_i64(d, &size)) return false;
  *ret = (struct queue_notice){.kind = QUEUE_NOTICE_QUOTA, .address = address, .size = size, .id = "", .queue = "", .pattern = "", .serialize_key = ""};
  return true;
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
  if (kind == 'Q') return read_quota(first, second, ret);
  if ((kind != 'M' && kind != 'H') || !msgid_is_valid(str_c(first)) || (*second && !config_queue_name_is_valid(second))) return false;
  *ret = (struct queue_notice){.kind = QUEUE_NOTICE_MESSAGE, .id = first, .queue = second, .hold_smtp = kind == 'H', .pattern = "", .serialize_key = ""};
  return true;
}

/* ---- answers ---- */

static const char verdicts[] = "ofd"; /* OK, FAIL, DEFER */

size_t queue_answer_write(char *buf, const struct queue_answer *r) {
  size_t n = 1;
  buf[0] = r->outcome == OUTCOME_OK ? 'o' : r->outcome == OUTCOME_FAIL ? 'f' : 'd';
  const char *texts[] = {r->user, r->log};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
    size_t len = texts[i] ? strlen(texts[i]) : 0;
    len = MIN(len, (size_t)(QUEUE_ANSWER_MAX - 2) / ARRAY_SIZE(texts) - 1);
    memcpy(buf + n, texts[i] ? texts[i] : "", len);
    n += len;
    buf[n++] = '\0';
  }
  return n;
}

bool queue_answer_read(struct str bytes, struct queue_answer *ret) {
  if (bytes.n < 3 || bytes.n > QUEUE_ANSWER_MAX || !bytes.p[0]) return false;
  const char *verdict = strchr(verdicts, bytes.p[0]);
  struct str rest = str_n(bytes.p + 1, bytes.n - 1);
  const char *user = get(&rest), *log = user ? get(&rest) : NULL;
  if (!verdict || !log || rest.n) return false;
  *ret = (struct queue_answer){.outcome = *verdict == 'o' ? OUTCOME_OK : *verdict == 'f' ? OUTCOME_FAIL : OUTCOME_DEFER,
                               .user = *user ? user : NULL, .log = *log ? log : NULL};
  return true;
}
