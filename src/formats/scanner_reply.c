/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of scanners (scanner_reply.h).  Floor: formats.  What is not understood is STRANGE, never clean. */
#include "formats/scanner_reply.h"

#include <string.h>

/* Where text begins in s, s.n when it does not. */
static size_t find(struct str s, const char *text) {
  size_t n = strlen(text);
  for (size_t i = 0; i + n <= s.n; i++)
    if (memcmp(s.p + i, text, n) == 0) return i;
  return s.n;
}

static struct str behind(struct str s, size_t n) { return str_n(s.p + MIN(n, s.n), s.n - MIN(n, s.n)); }

struct str scanner_between(struct str line, const char *from, const char *to) {
  size_t at = find(line, from);
  if (at == line.n) return str_n(line.p, 0);
  struct str rest = behind(line, at + strlen(from));
  return str_n(rest.p, find(rest, to));
}

/* The name of the file may hold anything, and colons: only what stands behind the last ": " counts. */
enum scanner_verdict scanner_clamd_reply(struct str answer, struct str *ret_name) {
  struct str t = str_trim(answer);
  size_t at = t.n;
  for (size_t i = 0; i + 1 < t.n; i++)
    if (t.p[i] == ':' && t.p[i + 1] == ' ') at = i;
  if (at == t.n) return SCANNER_STRANGE;
  struct str says = str_trim(behind(t, at + 2));
  if (str_eq_c(says, "OK")) return SCANNER_CLEAN;
  if (!str_ends(says, STR(" FOUND"))) return SCANNER_STRANGE;
  *ret_name = str_trim(str_n(says.p, says.n - 6));
  return SCANNER_FOUND;
}

enum scanner_avast_line scanner_avast_line(struct str line, struct str *ret_text) {
  struct str rest = str_rtrim(line);
  if (rest.n >= 4 && ch_isdigit(rest.p[0]) && ch_isdigit(rest.p[1]) && ch_isdigit(rest.p[2]) && rest.p[3] == ' ')
    return str_starts(rest, STR("210")) ? AVAST_DATA : rest.p[0] == '2' ? AVAST_DONE : AVAST_FAILED;
  str_cut(&rest, '\t');
  struct str mark = str_cut(&rest, '\t');
  if (str_starts(mark, STR("[+]"))) return AVAST_CLEAN;
  bool is_found = str_starts(mark, STR("[L]"));
  if (!is_found && !str_starts(mark, STR("[E]"))) return AVAST_OTHER;
  if (!is_found) (void)str_cut(&rest, ' '); /* "Error 42110 text", "0 name" */
  (void)str_cut(&rest, ' ');
  *ret_text = rest;
  return is_found ? AVAST_FOUND : AVAST_UNSCANNED;
}

enum scanner_verdict scanner_fsecure_line(struct str line, struct str *ret_name) {
  struct str t = line;
  while (t.n > 0 && (t.p[t.n - 1] == '\r' || t.p[t.n - 1] == '\n')) t.n--;
  struct str rest = behind(t, find(t, "INFECTED\t") + 9);
  if (str_starts(t, STR("OK\tScan ok."))) return SCANNER_CLEAN;
  if (find(t, "INFECTED\t") == t.n) return SCANNER_STRANGE;
  (void)str_cut(&rest, '\t');
  *ret_name = str_cut(&rest, '\t');
  return SCANNER_FOUND;
}

enum scanner_verdict scanner_fprot6d_line(struct str line, struct str *ret_name) {
  struct str rest = str_trim(line), code = str_word(&rest);
  int n;
  if (!str_parse_int(code, &n)) return SCANNER_STRANGE;
  struct str says = scanner_between(rest, "<", ">");
  if (n == 0) return SCANNER_CLEAN;
  if (!(n & 7)) return SCANNER_STRANGE;
  struct str name = says;
  (void)str_cut(&name, ':');
  *ret_name = str_trim(name);
  return SCANNER_FOUND;
}

/* "-12.345" in thousandths, cut behind three digits; false: not a number, or too large. */
static bool scanner_parse_score(struct str s, int64_t *ret) {
  struct str t = str_trim(s);
  bool negative = t.n > 0 && t.p[0] == '-';
  struct str frac = negative ? behind(t, 1) : t, whole = str_cut(&frac, '.');
  uint64_t v, f = 0;
  if (whole.n == 0 || !ch_isdigit(whole.p[0]) || !str_parse_u64(whole, &v) || v > 1000000) return false;
  for (size_t i = 0; i < frac.n; i++)
    if (!ch_isdigit(frac.p[i])) return false;
  for (size_t i = 0; i < 3; i++) f = f * 10 + (i < frac.n ? (unsigned)(frac.p[i] - '0') : 0);
  int64_t n = (int64_t)(v * 1000 + f);
  *ret = negative ? -n : n;
  return true;
}

static struct str take_line(struct str *rest) { return str_rtrim(str_cut(rest, '\n')); }

static bool is_good_head(struct str line, const char *protocol) {
  struct str rest = line, name = str_word(&rest), code = str_word(&rest);
  return str_starts(name, str_c(protocol)) && str_eq_c(code, "0");
}

bool scanner_spam_reply(struct str answer, bool is_rspamd, struct scanner_spam *ret) {
  struct str rest = answer, line = take_line(&rest);
  struct scanner_spam v = {.is_rspamd = is_rspamd};
  if (!is_good_head(line, is_rspamd ? "RSPAMD/" : "SPAMD/")) return false;
  const char *key = is_rspamd ? "Metric:" : "Spam:";
  do {
    if (rest.n == 0) return false;
    line = take_line(&rest);
  } while (!str_startsic(line, str_c(key)));
  line = behind(line, strlen(key));
  if (is_rspamd) (void)str_cut(&line, ';'); /* the metric's name */
  (void)str_cut(&line, ';');                /* True or False */
  struct str score = str_cut(&line, '/'), threshold = str_cut(&line, '/');
  if (!scanner_parse_score(score, &v.score) || !scanner_parse_score(threshold, &v.threshold)) return false;
  if (is_rspamd && line.n > 0 && !scanner_parse_score(line, &v.reject_score)) return false;
  if (!is_rspamd) {
    struct str peek = rest;
    if (take_line(&peek).n == 0) rest = peek; /* the end of the head */
  }
  v.report = rest;
  *ret = v;
  return true;
}
