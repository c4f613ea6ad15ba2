/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From files to logical lines: inclusion, conditionals, continuation, comments.  Floor: policy.  Manual ch. 6.2 - 6.10.
 *
 * Everything happens on physical lines and in this order: macro replacement, comment test, directives, then joining.  So an inclusion or a
 * conditional may stand in the middle of a continued setting.  The text of each file is read whole into the configuration's arena. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buildinfo.h"
#include "os/sys.h"
#include "policy/readconf_priv.h"
#include "policy/search.h"

struct conf_pos rc_pos(const struct readconf *r) {
  return (struct conf_pos){.file = r->last_name, .line = r->last_line};
}

PRINTF(3, 0) static bool vfail(struct readconf *r, const char *where, const char *fmt, va_list ap) {
  if (!r->error)
    r->error = arena_printf(r->a, "Exim configuration error%s:\n  %s", where, arena_vprintf(r->a, fmt, ap));
  return false;
}

bool rc_fail(struct readconf *r, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vfail(r, arena_printf(r->a, " in line %d of %s", r->last_line, r->last_name ? r->last_name : r->cfg->file), fmt, ap);
  va_end(ap);
  return false;
}

bool rc_fail_plain(struct readconf *r, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vfail(r, "", fmt, ap);
  va_end(ap);
  return false;
}

bool rc_fail_at(struct readconf *r, struct conf_pos pos, const char *text) {
  if (!r->error)
    r->error = arena_printf(r->a, "Exim configuration error in line %d of %s:\n  %s", pos.line, pos.file, text);
  return false;
}

bool rc_fail_for(struct readconf *r, const char *name, const char *kind, const char *text) {
  if (*text == '\n') { /* some errors name their driver in a line of its own */
    if (!r->error) r->error = arena_printf(r->a, "Exim configuration error:%s", text);
    return false;
  }
  const char *prefix = arena_printf(r->a, "%s %s:\n  ", name, kind); /* a driver may have said so itself */
  if (strncmp(text, prefix, strlen(prefix)) == 0) text += strlen(prefix);
  if (!r->error) r->error = arena_printf(r->a, "Exim configuration error for %s%s", prefix, text);
  return false;
}

static void keep_line(struct readconf *r, const char *line) {
  if (r->opts->keep_lines) vec_push(&r->cfg->text_lines, arena_strdup(r->a, line));
}

/* Where -bP config shows that the text changes its file. */
static void keep_position(struct readconf *r) {
  keep_line(r, arena_printf(r->a, "# %d \"%s\"", r->file->line, r->file->name));
}

/* A file is acceptable when nobody but root and the configure owner could have written it. */
static bool owner_and_mode_ok(const struct readconf *r, const struct stat *st) {
  const struct readconf_opts *o = r->opts;
  bool owner_ok = st->st_uid == 0 || (o->configure_owner != (uid_t)-1 && st->st_uid == o->configure_owner);
  bool group_ok = !(st->st_mode & S_IWGRP) || st->st_gid == 0 || (o->configure_group != (gid_t)-1 && st->st_gid == o->configure_group);
  return owner_ok && group_ok && !(st->st_mode & S_IWOTH);
}

static bool push_file(struct readconf *r, const char *name, int fd) {
  char *text;
  size_t n;
  int rc = sys_read_file(fd, r->a, RC_MAX_FILE_BYTES, &text, &n);
  if (rc < 0) return rc_fail(r, "cannot read configuration file %s: %s", name, strerror(-rc));
  if (memchr(text, 0, n)) return rc_fail(r, "configuration file %s contains a NUL character", name);
  struct rc_file *f = ARENA_NEW(r->a, struct rc_file);
  f->up = r->file;
  f->name = name;
  /* The administrator's words are what everything else is measured against: owner and mode were checked, or privileges given up. */
  f->p = arena_untaint_copy(r->a, text, n);
  f->n = n;
  r->file = f;
  r->depth++;
  r->last_name = name;
  r->last_line = 0;
  return true;
}

bool rc_open_file(struct readconf *r, const char *name, bool missing_ok) {
  struct stat st;
  if (r->depth >= RC_MAX_INCLUDE_DEPTH) return rc_fail(r, "too many nested .include files (%s)", name);
  /* The caller may give its configuration through a pipe; what that includes are files, and opening one must not wait for a writer. */
  bool is_included = r->depth > 0;
  int fd = is_included ? sys_open_file(name) : sys_open(name, O_RDONLY | O_NOCTTY, 0);
  if (fd == -ENOENT && missing_ok) return true;
  if (fd == -ENXIO && is_included) return rc_fail(r, "included configuration file %s is not a regular file", name);
  if (fd < 0) return rc_fail(r, "failed to open included configuration file %s", name);
  bool ok = true;
  if (fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
    ok = rc_fail(r, "configuration file %s is not a regular file", name);
  else if (r->opts->check_files && !owner_and_mode_ok(r, &st)) {
    if (!r->error) r->error = arena_printf(r->a, "Exim configuration file %s has the wrong owner, group, or mode", name);
    ok = false;
  }
  ok = ok && push_file(r, name, fd);
  if (sys_close(fd) < 0) ok = false;
  return ok;
}

/* ---- Directives ---- */

static bool skipping(const struct readconf *r) {
  return r->cond_depth && r->cond[r->cond_depth - 1] != RC_ACTIVE;
}

static bool cond_push(struct readconf *r, bool want, bool found) {
  if (r->cond_depth == RC_MAX_COND) return rc_fail(r, ".ifdef nested too deeply");
  enum rc_cond c = skipping(r) ? RC_OUTER : found == want ? RC_ACTIVE : RC_SEEKING;
  r->cond[r->cond_depth++] = c;
  return true;
}

static bool cond_else(struct readconf *r, const char *directive, bool want, bool found) {
  if (!r->cond_depth) return rc_fail(r, "%s without matching .ifdef", directive);
  enum rc_cond *c = &r->cond[r->cond_depth - 1];
  switch (*c) {
  case RC_ACTIVE: *c = RC_DONE; break;
  case RC_SEEKING:
    if (want == found) *c = RC_ACTIVE;
    break;
  case RC_DONE:
  case RC_OUTER: break;
  }
  return true;
}

static bool starts(const char *s, const char *word, const char **ret_rest) {
  size_t n = strlen(word);
  if (strncmp(s, word, n) != 0) return false;
  *ret_rest = s + n;
  return true;
}

static bool include_file(struct readconf *r, const char *arg, bool if_exists) {
  struct str name = str_trim(str_c(arg));
  if (name.n >= 2 && name.p[0] == '"' && name.p[name.n - 1] == '"') name = str_n(name.p + 1, name.n - 2);
  const char *path = str_dup(r->a, name);
  if (*path != '/') {
    if (if_exists) return rc_fail(r, ".include specifies a non-absolute path \"%s\"", path);
    const char *slash = strrchr(r->file->name, '/');
    path = slash ? arena_printf(r->a, "%.*s/%s", (int)(slash - r->file->name), r->file->name, path) : path;
  }
  keep_position(r);
  return rc_open_file(r, path, if_exists);
}

/* The line starts with a dot.  *ret_done: it was a directive (or an error).  found: a macro was replaced in it. */
static bool directive(struct readconf *r, const char *s, bool found, bool *ret_done) {
  const char *rest;
  *ret_done = true;
  if (starts(s, ".ifdef", &rest)) return cond_push(r, true, found);
  if (starts(s, ".ifndef", &rest)) return cond_push(r, false, found);
  if (starts(s, ".elifdef", &rest)) return cond_else(r, ".elifdef", true, found);
  if (starts(s, ".elifndef", &rest)) return cond_else(r, ".elifndef", false, found);
  if (starts(s, ".else", &rest)) return cond_else(r, ".else", true, true);
  if (starts(s, ".endif", &rest)) {
    if (!r->cond_depth) return rc_fail(r, ".endif without matching .ifdef");
    r->cond_depth--;
    return true;
  }
  if (!skipping(r)) {
    if (starts(s, ".include_if_exists", &rest)) return include_file(r, rest, true);
    if (starts(s, ".include", &rest)) return include_file(r, rest, false);
  }
  *ret_done = false;
  return true;
}

/* ---- Lines ---- */

static bool take_raw_line(struct readconf *r, struct str *ret) {
  while (r->file && !r->file->n) {
    r->file = r->file->up;
    r->depth--;
    if (!r->file) {
      if (r->cond_depth) rc_fail(r, "Unexpected end of configuration file: .endif missing");
      return false;
    }
    keep_position(r);
  }
  if (!r->file) return false;
  struct rc_file *f = r->file;
  r->last_name = f->name;
  r->last_line = ++f->line;
  if (f->line == 1) keep_position(r);
  struct str rest = str_n(f->p, f->n);
  *ret = str_cut(&rest, '\n');
  f->p = rest.p;
  f->n = rest.n;
  return true;
}

/* The next physical line that counts, trimmed, macros replaced.  An empty one ends a continuation, else it is skipped. */
static const char *next_physical(struct readconf *r, bool continuing) {
  struct str raw;
  while (!r->error && take_raw_line(r, &raw)) {
    if (str_starts(raw, STR("\xEF\xBB\xBF"))) {
      rc_fail(r, "found unexpected BOM (Byte Order Mark)");
      return NULL;
    }
    const char *s = str_dup(r->a, str_trim(raw));
    if (*s == '#') continue;
    if (skipping(r) && *s != '.') continue;
    bool found = false, done = false;
    bool macros_here = !continuing && r->section != RC_RETRY && r->section != RC_REWRITE;
    s = rc_macros_replace(r, s, macros_here ? rc_macro_def_len(s) : 0, &found);
    struct str t = str_trim(str_c(s));
    s = str_dup(r->a, t);
    if (*s == '#') continue;
    if (*s == '.' && !directive(r, s, found, &done)) return NULL;
    if (done || skipping(r)) continue;
    if (*s || continuing) return s;
  }
  return NULL;
}

static const char *next_joined(struct readconf *r) {
  const char *s = next_physical(r, false);
  if (!s) return NULL;
  size_t n = strlen(s);
  if (s[n - 1] != '\\') return s;
  struct strbuf b = strbuf_new(r->a);
  while (n && s[n - 1] == '\\') {
    strbuf_add(&b, s, n - 1);
    s = next_physical(r, true);
    if (r->error) return NULL;
    if (!s) s = "";
    n = strlen(s);
  }
  strbuf_add(&b, s, n);
  return str_dup(r->a, str_trim(strbuf_str(&b)));
}

const char *rc_next_line(struct readconf *r) {
  if (r->unread) {
    r->unread = false;
    return r->line;
  }
  while (!r->error) {
    const char *s = next_joined(r);
    if (!s) return NULL;
    if (!*s) continue;
    keep_line(r, s);
    bool may_define = r->section != RC_RETRY && r->section != RC_REWRITE;
    if (may_define && (r->section == RC_MAIN ? ch_isupper(*s) : rc_macro_def_len(s) > 0)) {
      if (!rc_macro_define(r, s)) {
        r->cfg->macro_trouble = true;
        return NULL;
      }
      continue;
    }
    r->line = s;
    lookup_preload(s);
    return s;
  }
  return NULL;
}

void rc_unread_line(struct readconf *r) {
  r->unread = true;
}
