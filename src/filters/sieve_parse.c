/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of Sieve scripts: their grammar.  Floor: drivers (pure; the text is hostile).  RFC 5228 ch. 3 and 4, RFC 3894, 5230, 5435.
 *
 * Parsing ends at the first mistake; the tree holds what stands before it, so that a script that has stopped by then is none the worse (sieve_run.c). */
#include "filters/sieve_priv.h"
#include "formats/rfc5322.h"

/* ---- require ---- */

static const struct {
  const char *name;
  unsigned bit;       /* 0: always there */
  bool is_hidden;     /* not in -bI:sieve */
} capabilities[] = {
  {"comparator-en;ascii-casemap", 0, true},
  {"comparator-i;ascii-casemap", 0, true},
  {"comparator-i;ascii-numeric", CAN_NUMERIC, false},
  {"comparator-i;octet", 0, true},
  {"copy", CAN_COPY, false},
  {"encoded-character", CAN_ENCODED, false},
  {"enotify", CAN_NOTIFY, false},
  {"envelope", CAN_ENVELOPE, false},
  {"fileinto", CAN_FILEINTO, false},
  {"subaddress", CAN_SUBADDRESS, false},
  {"vacation", CAN_VACATION, false},
};

const char *sieve_capability(size_t i) {
  for (size_t k = 0; k < ARRAY_SIZE(capabilities); k++)
    if (!capabilities[k].is_hidden && i-- == 0) return capabilities[k].name;
  return NULL;
}

bool sieve_is_required(struct sieve_reader *r, unsigned capability) {
  if (r->capabilities & capability) return true;
  for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
    if (capabilities[i].bit == capability) return sieve_wrong(r, "missing previous require \"%s\";", capabilities[i].name);
  return false;
}

static bool end_command(struct sieve_reader *r) { return sieve_take_char(r, ';') || sieve_wrong(r, "missing semicolon"); }

static bool require_one(struct sieve_reader *r, struct str name) {
  for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++) {
    if (!str_eq_c(name, capabilities[i].name)) continue;
    if (capabilities[i].bit == CAN_NOTIFY && !r->rights.has_notify) return sieve_wrong(r, "enotify disabled");
    if (capabilities[i].bit == CAN_VACATION && !r->rights.has_vacation) return sieve_wrong(r, "vacation disabled");
    r->capabilities |= capabilities[i].bit;
    return true;
  }
  return sieve_wrong(r, "unknown capability");
}

static bool read_require(struct sieve_reader *r) {
  struct sieve_strings names;
  while (sieve_take_word(r, "require")) {
    if (!sieve_read_strings(r, &names)) return sieve_wrong(r, "capability string list expected");
    for (size_t i = 0; i < names.n; i++)
      if (!require_one(r, names.v[i])) return false;
    if (!end_command(r)) return false;
  }
  return !r->error;
}

/* ---- addresses ---- */

/* The bare address in *ret. */
static bool check_address(struct sieve_reader *r, struct str s, bool is_qualified, struct str *ret) {
  const char *error = "zero byte";
  size_t domain = 0;
  struct addr_opts o = {.allow_domain_literal = true, .allow_utf8 = true};
  const char *address = memchr(s.p, '\0', s.n) ? NULL : rfc5322_extract_address(r->a, s, o, &domain, &error);
  if (is_qualified && (!memchr(s.p, '@', s.n) || (address && !domain))) return sieve_wrong(r, "unqualified recipient address");
  if (!address) return sieve_wrong(r, "malformed address \"%.*s\" (%s)", (int)MIN(s.n, 200), s.p, error);
  *ret = str_c(address);
  return true;
}

/* ---- vacation and notify ---- */

static bool text_argument(struct sieve_reader *r, struct str *ret, const char *missing) {
  return sieve_read_string(r, ret) || sieve_wrong(r, "%s", missing);
}

static bool read_vacation(struct sieve_reader *r, struct sieve_command *c) {
  struct sieve_vacation *v = c->vacation = ARENA_NEW(r->a, struct sieve_vacation);
  struct str bare;
  v->days = -1;
  if (!sieve_is_required(r, CAN_VACATION)) return false;
  while (!r->error) {
    bool ok = true;
    if (sieve_take_tag(r, ":days")) ok = sieve_read_number(r, &v->days);
    else if (sieve_take_tag(r, ":subject")) ok = text_argument(r, &v->subject, "subject string expected");
    else if (sieve_take_tag(r, ":from")) ok = text_argument(r, &v->from, "from string expected") && check_address(r, v->from, false, &bare);
    else if (sieve_take_tag(r, ":addresses")) ok = sieve_read_strings(r, &v->addresses) || sieve_wrong(r, "addresses string list expected");
    else if (sieve_take_tag(r, ":handle")) ok = text_argument(r, &v->handle, "handle string expected");
    else if (sieve_take_tag(r, ":mime")) v->is_mime = true;
    else break;
    if (!ok) return false;
  }
  return text_argument(r, &v->reason, "missing reason string");
}

static bool read_notify(struct sieve_reader *r, struct sieve_command *c) {
  struct sieve_notify *n = c->notify = ARENA_NEW(r->a, struct sieve_notify);
  struct sieve_strings options;
  struct sieve_mailto mailto;
  struct str bare;
  if (!sieve_is_required(r, CAN_NOTIFY)) return false;
  while (!r->error) {
    bool ok = true;
    if (sieve_take_tag(r, ":from")) ok = text_argument(r, &n->from, "from string expected") && check_address(r, n->from, false, &bare);
    else if (sieve_take_tag(r, ":importance")) ok = text_argument(r, &n->importance, "importance string expected");
    else if (sieve_take_tag(r, ":options")) ok = sieve_read_strings(r, &options) || sieve_wrong(r, "options string list expected");
    else if (sieve_take_tag(r, ":message")) ok = text_argument(r, &n->message, "message string expected");
    else break;
    if (!ok) return false;
    if (n->importance.p && (n->importance.n != 1 || n->importance.p[0] < '1' || n->importance.p[0] > '3')) return sieve_wrong(r, "invalid importance");
  }
  if (!text_argument(r, &n->method, "missing method string")) return false;
  const char *error = sieve_parse_mailto(r->a, n->method, &mailto);
  return !error || sieve_wrong(r, "%s", error);
}

/* ---- the simple commands ---- */

static bool read_plain(struct sieve_reader *r, struct sieve_command *c) {
  (void)c;
  return !r->error;
}

static bool read_copy(struct sieve_reader *r, struct sieve_command *c) {
  while (sieve_take_tag(r, ":copy")) {
    if (!sieve_is_required(r, CAN_COPY)) return false;
    c->is_copy = true;
  }
  return !r->error;
}

static bool read_redirect(struct sieve_reader *r, struct sieve_command *c) {
  return read_copy(r, c) && text_argument(r, &c->arg, "missing redirect recipient string") && check_address(r, c->arg, true, &c->arg);
}

/* No control characters, and no way up. */
static bool is_folder(struct str s) {
  if (!s.n) return false;
  for (size_t i = 0; i < s.n; i++)
    if (ch_iscntrl(s.p[i])) return false;
  while (s.n)
    if (str_eq_c(str_cut(&s, '/'), "..")) return false;
  return true;
}

static bool read_fileinto(struct sieve_reader *r, struct sieve_command *c) {
  if (!sieve_is_required(r, CAN_FILEINTO) || !read_copy(r, c)) return false;
  if (!text_argument(r, &c->arg, "missing fileinto folder string")) return false;
  return is_folder(c->arg) || sieve_wrong(r, "invalid folder");
}

/* ---- if ---- */

static bool read_commands(struct sieve_reader *r, struct sieve_command **ret);

static bool read_block(struct sieve_reader *r, struct sieve_command **ret) {
  if (!sieve_take_char(r, '{')) return sieve_wrong(r, "missing block");
  if (!sieve_enter(r) || !read_commands(r, ret)) return false;
  r->depth--;
  return sieve_take_char(r, '}') || sieve_wrong(r, "expecting command or closing brace");
}

static bool read_if(struct sieve_reader *r, struct sieve_command *c) {
  for (;;) {
    if (!sieve_read_test(r, &c->test) || !read_block(r, &c->then_part)) return false;
    bool is_elsif = sieve_take_word(r, "elsif");
    if (!is_elsif && !sieve_take_word(r, "else")) return !r->error;
    if (!sieve_count_node(r)) return false;
    struct sieve_command *branch = c->otherwise = ARENA_NEW(r->a, struct sieve_command);
    branch->verb = SIEVE_IF;
    if (!is_elsif) return read_block(r, &branch->then_part);
    c = branch;
  }
}

/* ---- lists of commands ---- */

static const struct {
  const char *name;
  enum sieve_verb verb;
  bool (*read)(struct sieve_reader *r, struct sieve_command *c);
} verbs[] = {
  {"discard", SIEVE_DISCARD, read_plain},    {"fileinto", SIEVE_FILEINTO, read_fileinto}, {"if", SIEVE_IF, read_if},
  {"keep", SIEVE_KEEP, read_plain},          {"notify", SIEVE_NOTIFY, read_notify},       {"redirect", SIEVE_REDIRECT, read_redirect},
  {"stop", SIEVE_STOP, read_plain},          {"vacation", SIEVE_VACATION, read_vacation},
};

/* *ret: NULL when no command stands here. */
static bool read_command(struct sieve_reader *r, struct sieve_command **ret) {
  *ret = NULL;
  for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
    if (!sieve_take_word(r, verbs[i].name)) continue;
    if (!sieve_count_node(r)) return false;
    struct sieve_command *c = ARENA_NEW(r->a, struct sieve_command);
    c->verb = verbs[i].verb;
    if (c->verb == SIEVE_IF) *ret = c; /* the blocks before a mistake count */
    if (!verbs[i].read(r, c)) return false;
    c->line = r->line;
    if (c->verb != SIEVE_IF && !end_command(r)) return false;
    *ret = c;
    return true;
  }
  return !r->error;
}

static bool read_commands(struct sieve_reader *r, struct sieve_command **ret) {
  bool ok = true;
  while (ok) {
    ok = read_command(r, ret);
    if (!*ret) return ok;
    ret = &(*ret)->next;
  }
  return false;
}

struct sieve_script sieve_parse(struct arena *a, struct str text, struct sieve_rights rights) {
  struct sieve_reader r = {.a = a, .p = text.p, .end = text.p + text.n, .line = 1, .rights = rights};
  struct sieve_script script = {0};
  bool ok = text.n <= SIEVE_SCRIPT_MAX || sieve_wrong(&r, "script is too large");
  ok = ok && read_require(&r) && read_commands(&r, &script.commands);
  if (ok && sieve_skip(&r) && r.p < r.end) (void)sieve_wrong(&r, "syntax error");
  script.error = r.error;
  script.error_line = r.error_line;
  return script;
}
