/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the configuration: choosing the file, the main section, the sections' order.  Floor: policy.  Manual ch. 6, 14.
 *
 * Everything is allocated in the new configuration's arena; on failure that arena is kept only for the error text.  The files are trusted
 * (owner and mode are checked when the caller has privileges to lose), their contents may be wrong in any way. */
#include "policy/readconf.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/buildinfo.h"
#include "os/sys.h"
#include "policy/acl.h"
#include "policy/expand.h"
#include "policy/readconf_priv.h"

static const char *const section_names[RC_SECTIONS] = {
    [RC_ACL] = "acl",           [RC_AUTHS] = "authenticators", [RC_LOCAL_SCAN] = "local_scan", [RC_RETRY] = "retry",
    [RC_REWRITE] = "rewrite",   [RC_ROUTERS] = "routers",      [RC_TRANSPORTS] = "transports",
};

static const struct {
  const char *word, *what;
} list_words[LIST_KINDS] = {
    [LIST_DOMAIN] = {"domainlist", "domain"},
    [LIST_HOST] = {"hostlist", "host"},
    [LIST_ADDRESS] = {"addresslist", "address"},
    [LIST_LOCALPART] = {"localpartlist", "local part"},
};

/* ---- Settings ---- */

static struct str take_word(struct str *s) {
  size_t n = 0;
  while (n < s->n && (ch_isalnum(s->p[n]) || s->p[n] == '_')) n++;
  struct str w = str_n(s->p, n);
  *s = str_ltrim(str_n(s->p + n, s->n - n));
  return w;
}

bool rc_split_setting(struct readconf *r, const char *line, struct rc_setting *ret) {
  struct rc_setting s = {0};
  struct str rest = str_c(line);
  if (!ch_isalpha(*line)) return rc_fail(r, "option setting expected: %s", line);
  struct str word = take_word(&rest);
  if (str_eq_c(word, "hide")) {
    s.hide = true;
    word = take_word(&rest);
  }
  if (str_starts(word, STR("no_"))) {
    s.neg = true;
    word = str_n(word.p + 3, word.n - 3);
  } else if (str_starts(word, STR("not_"))) {
    s.neg = true;
    word = str_n(word.p + 4, word.n - 4);
  }
  s.name = str_dup(r->a, word);
  s.value = rest;
  *ret = s;
  return true;
}

/* Lists of users and groups are expanded when they are read. */
static bool expand_id_list(struct readconf *r, struct rc_setting *s) {
  const char *err = NULL;
  const char *text = opt_parse_string(r->a, s->name, s->value, &err);
  if (!text) return rc_fail(r, "%s", err);
  text = rc_expand(r, text, &err);
  if (!text) return rc_fail(r, "failed to expand %s: %s", s->name, err);
  s->value = str_c(text);
  return true;
}

bool rc_store(struct readconf *r, struct opt_block *b, const struct option *o, struct rc_setting *s) {
  bool is_bool = o->type == OPT_T_BOOL || o->type == OPT_T_BOOL_EXP;
  struct str v = s->value;
  uint8_t set = b->is_set[o - b->table];
  if (set && set != OPT_SET_BY_ALIAS && !(o->flags & (OPT_REP_CON | OPT_REP_STR | OPT_REP_LIST | OPT_REP_SEMI)))
    return rc_fail(r, "\"%s\" option set for the second time", o->name);
  if (s->neg && !is_bool) return rc_fail(r, "negation prefix applied to a non-boolean option");
  if (!s->neg && v.n && v.p[0] == '=') {
    s->value = str_trim(str_n(v.p + 1, v.n - 1));
  } else if (is_bool && v.n) {
    return rc_fail(r, "extra characters follow boolean option %s%s", s->neg ? "no_" : "", o->name);
  } else if (!is_bool) {
    if (!v.n) return rc_fail(r, "unexpected end of line (data missing) after %s", o->name);
    return rc_fail(r, "missing \"=\" after %s", o->name);
  }
  if ((o->type == OPT_T_UIDLIST || o->type == OPT_T_GIDLIST) && !expand_id_list(r, s)) return false;
  const char *err = opt_store(r->a, b, o, s->value, s->neg, s->hide, true);
  return err ? rc_fail(r, "%s", err) : true;
}

/* ---- Named lists ---- */

static bool read_named_list(struct readconf *r, enum list_kind kind, struct str rest, bool hide) {
  struct str name = take_word(&rest);
  const char *err = NULL;
  if (!rest.n || rest.p[0] != '=') return rc_fail(r, "missing '=' after \"%.*s\"", STR_FMT(name));
  struct named_list *l = ARENA_NEW(r->a, struct named_list);
  l->name = str_dup(r->a, name);
  l->hide = hide;
  l->pos = rc_pos(r);
  l->text = opt_parse_string(r->a, l->name, str_trim(str_n(rest.p + 1, rest.n - 1)), &err);
  if (!l->text) return rc_fail(r, "%s", err);
  bool is_new;
  struct tree_node *t = tree_insert(&r->cfg->named_lists[kind], r->a, l->name, &is_new);
  if (!is_new)
    return rc_fail(r, "duplicate name \"%s\" for a named %s list", l->name, list_words[kind].what);
  t->data = l;
  return true;
}

/* "domainlist NAME = ..." and friends, with "hide" before and "_cache" behind the word.  *ret_done: it was one (or an error). */
static bool try_named_list(struct readconf *r, const char *line, bool *ret_done) {
  struct str rest = str_c(line);
  struct str word = take_word(&rest);
  bool hide = str_eq_c(word, "hide");
  if (hide) word = take_word(&rest);
  *ret_done = true;
  for (enum list_kind k = 0; k < LIST_KINDS; k++) {
    if (!str_starts(word, str_c(list_words[k].word))) continue;
    struct str tail = str_n(word.p + strlen(list_words[k].word), word.n - strlen(list_words[k].word));
    if ((tail.n && !str_eq_c(tail, "_cache")) || !rest.n) return rc_fail(r, "unrecognized configuration line");
    return read_named_list(r, k, rest, hide);
  }
  *ret_done = false;
  return true;
}

/* ---- Sections ---- */

static bool is_begin(const char *line) {
  return strncmp(line, "begin", 5) == 0 && ch_isblank(line[5]);
}

static bool read_main(struct readconf *r, struct opt_block *b) {
  const char *line;
  r->section = RC_MAIN;
  while ((line = rc_next_line(r))) {
    bool done;
    struct rc_setting s;
    if (is_begin(line)) {
      rc_unread_line(r);
      break;
    }
    if (!try_named_list(r, line, &done)) return false;
    if (done) continue;
    if (!rc_split_setting(r, line, &s)) return false;
    const struct option *o = opt_find(main_option_table, main_option_count, str_c(s.name));
    if (!o) return rc_fail(r, "main option \"%s\" unknown", s.name);
    if (!rc_store(r, b, o, &s)) return false;
  }
  return !r->error;
}

/* One ACL's lines end where the next "name:" or section starts. */
static size_t acl_label_len(const char *line) {
  size_t n = 0, k;
  if (!ch_isalpha(*line)) return 0;
  while (ch_isalnum(line[n]) || line[n] == '_' || line[n] == '-' || line[n] == '.' || line[n] == '$') n++;
  for (k = n; ch_isspace(line[k]); k++) {}
  return line[k] == ':' && !line[k + 1] ? n : 0;
}

static const char *acl_next_line(struct acl_reader *ar, struct conf_pos *ret_pos) {
  struct readconf *r = ar->ctx;
  const char *line = rc_next_line(r);
  if (line && (is_begin(line) || acl_label_len(line))) {
    rc_unread_line(r);
    return NULL;
  }
  *ret_pos = rc_pos(r);
  return line;
}

static void acl_unread_line(struct acl_reader *ar) {
  rc_unread_line(ar->ctx);
}

static bool rc_read_acls(struct readconf *r) {
  struct acl_reader ar = {.next_line = acl_next_line, .unread_line = acl_unread_line, .ctx = r};
  const char *line;
  while ((line = rc_next_line(r))) {
    if (is_begin(line)) {
      rc_unread_line(r);
      break;
    }
    size_t n = acl_label_len(line);
    if (!n) return rc_fail(r, "missing or malformed ACL name");
    const char *name = str_dup(r->a, str_n(line, n)), *err = NULL;
    struct conf_pos pos = rc_pos(r), err_pos = pos;
    bool is_new;
    struct tree_node *t = tree_insert(&r->cfg->acls, r->a, name, &is_new);
    if (!is_new) return rc_fail(r, "there are two ACLs called \"%s\"", name);
    struct acl *acl = acl_parse(r->a, &ar, name, &err, &err_pos);
    if (r->error) return false;
    if (!acl) return rc_fail_at(r, err_pos.file ? err_pos : pos, arena_printf(r->a, "error in ACL: %s", err));
    acl->pos = pos;
    t->data = acl;
  }
  return !r->error;
}

static bool refuse_local_scan(struct readconf *r) {
  return rc_fail(r, "local_scan() options not supported: (LOCAL_SCAN_HAS_OPTIONS not defined in Local/Makefile)");
}

static bool read_sections(struct readconf *r) {
  static bool (*const readers[RC_SECTIONS])(struct readconf *) = {
      [RC_ACL] = rc_read_acls,     [RC_AUTHS] = rc_read_auths,     [RC_LOCAL_SCAN] = refuse_local_scan, [RC_RETRY] = rc_read_retry,
      [RC_REWRITE] = rc_read_rewrite, [RC_ROUTERS] = rc_read_routers, [RC_TRANSPORTS] = rc_read_transports,
  };
  const char *line;
  while ((line = rc_next_line(r))) {
    if (!is_begin(line)) return rc_fail(r, "unrecognized configuration line");
    struct str name = str_trim(str_c(line + 5));
    enum rc_section s = RC_MAIN + 1;
    while (s < RC_SECTIONS && !str_eqic_c(name, section_names[s])) s++;
    if (s == RC_SECTIONS) return rc_fail(r, "\"%.*s\" is not a known configuration section name", STR_FMT(name));
    if (r->seen[s]) return rc_fail(r, "\"%.*s\" section is repeated in the configuration file", STR_FMT(name));
    r->seen[s] = true;
    r->section = s;
    if (!readers[s](r)) return false;
  }
  return !r->error;
}

/* ---- The file ---- */

static bool open_first(struct readconf *r) {
  struct str list = str_c(r->opts->files);
  while (list.n) {
    struct str item = str_trim(str_cut(&list, ':'));
    if (!item.n) continue;
    const char *name = str_dup(r->a, item);
    if (access(name, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR)) continue;
    r->cfg->file = name;
    const char *slash = strrchr(name, '/');
    r->cfg->dir = !slash ? "." : slash == name ? "/" : str_dup(r->a, str_n(name, (size_t)(slash - name)));
    int fd = sys_open(name, O_RDONLY | O_NOCTTY, 0);
    if (fd < 0) {
      r->error = arena_printf(r->a, "failed to open configuration file %s: %s", name, strerror(-fd));
      return false;
    }
    if (sys_close(fd) < 0) return false;
    return rc_open_file(r, name, false);
  }
  r->error = arena_printf(r->a, "non-existent configuration file(s): %s", r->opts->files);
  return false;
}

struct config *readconf_read(const struct readconf_opts *o, const char **ret_error) {
  struct arena *a = arena_new("cfg");
  struct config *cfg = ARENA_NEW(a, struct config);
  cfg->arena = a;
  cfg->text_lines = vec_new(a);
  cfg->host_number = -1;
  cfg->harness_mode = build_in_harness_mode();
  struct readconf *r = ARENA_NEW(a, struct readconf);
  r->a = a;
  r->opts = o;
  r->cfg = cfg;
  rc_macros_init(r);
  cfg->main_block = opt_block_new(a, main_option_table, main_option_count, &cfg->o);
  bool ok = open_first(r) && read_main(r, cfg->main_block) && rc_finish_main(r);
  if (ok && !o->only_main) ok = read_sections(r) && rc_finish_drivers(r);
  if (ok && !r->error) return cfg;
  if (o->ret_partial) *o->ret_partial = cfg;
  *ret_error = r->error ? r->error : "Exim configuration error: cannot read the configuration";
  return NULL;
}
