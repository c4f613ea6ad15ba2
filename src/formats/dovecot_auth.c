/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of Dovecot's authentication protocol: a command and fields, separated by tabs.
 *
 * Floor: formats; pure.  The other end is a local service, but what it says quotes clients: nothing is trusted for its length or form.
 * Unknown commands and fields are skipped, as the protocol's description asks.  Result slices point into the line. */
#include "formats/dovecot_auth.h"

static const struct {
  const char *word;
  enum dovecot_kind kind;
  bool has_number, has_text;
} commands[] = {
  {"VERSION", DOVECOT_VERSION, true, false}, {"MECH", DOVECOT_MECH, false, true}, {"DONE", DOVECOT_DONE, false, false},
  {"CONT", DOVECOT_CONT, true, true},        {"OK", DOVECOT_OK, true, false},     {"FAIL", DOVECOT_FAIL, true, false},
};

static void take_fields(struct str rest, struct dovecot_line *l) {
  while (rest.n) {
    struct str field = str_cut(&rest, '\t');
    if (str_starts(field, STR("user="))) l->user = str_n(field.p + 5, field.n - 5);
    else if (str_eq(field, STR("temp"))) l->is_temporary = true;
  }
}

bool dovecot_parse_line(struct str line, struct dovecot_line *ret) {
  struct dovecot_line l = {.kind = DOVECOT_OTHER, .text = STR(""), .user = STR("")};
  if (memchr(line.p, '\0', line.n) || memchr(line.p, '\r', line.n)) return false;
  struct str word = str_cut(&line, '\t');
  for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
    if (!str_eq_c(word, commands[i].word)) continue;
    l.kind = commands[i].kind;
    if (commands[i].has_number && !str_parse_u64(str_cut(&line, '\t'), &l.number)) return false;
    if (commands[i].has_text) l.text = str_cut(&line, '\t');
    if (l.kind == DOVECOT_MECH && l.text.n == 0) return false;
    if (l.kind == DOVECOT_CONT && !dovecot_is_base64(l.text)) return false;
  }
  if (l.kind == DOVECOT_OK || l.kind == DOVECOT_FAIL) take_fields(line, &l);
  *ret = l;
  return true;
}

bool dovecot_is_base64(struct str s) {
  size_t n = s.n;
  while (n > 0 && s.n - n < 2 && s.p[n - 1] == '=') n--;
  for (size_t i = 0; i < n; i++)
    if (!ch_isalnum(s.p[i]) && s.p[i] != '+' && s.p[i] != '/') return false;
  return true;
}
