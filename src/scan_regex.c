/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The conditions regex (lines of the message, or of the body of a MIME part as it stands) and mime_regex (a decoded part).
 *
 * Floor: drivers.  Expressions are the administrator's, the subject is hostile: matching has the limits of regex_match().  A line is looked at as
 * far as 32K, of a decoded part the first 32K.  Manual 45.5. */
#include <errno.h>
#include <fcntl.h>

#include "os/sys.h"
#include "policy/match.h"
#include "scan.h"

static const char *const no_boundaries[] = {NULL};

/* Does one of the expressions match?  Then $regex_match_string and $regex1 ... are set. */
static enum outcome match_any(struct expand_ctx *x, const char *list, struct str subject) {
  struct message *m = x->msg;
  const char *re;
  int sep = -':';
  while ((re = list_next(x->a, &list, &sep))) {
    if (!*re) continue;
    struct expand_scope saved = x->s;
    enum outcome o = regex_match(x, re, false, subject, true);
    struct expand_scope got = x->s;
    x->s = saved;
    if (o == OUTCOME_FAIL) continue;
    if (o != OUTCOME_OK) return OUTCOME_DEFER;
    scan_state_of(m)->regex_match_string = arena_strdup(m->arena, re);
    for (int i = 1; i < got.ncaptures && i <= (int)ARRAY_SIZE(x->regex_vars); i++)
      x->regex_vars[i - 1] = got.captures[i] ? arena_strdup(m->arena, got.captures[i]) : NULL;
    return OUTCOME_OK;
  }
  return OUTCOME_FAIL;
}

static void forget(struct expand_ctx *x) {
  memset(x->regex_vars, 0, sizeof x->regex_vars);
  scan_state_of(x->msg)->regex_match_string = NULL;
}

/* Line by line until a match, the end, or a delimiter of the parts around. */
static enum outcome match_lines(struct expand_ctx *x, const char *list, int fd, off_t from, const char *const *boundaries, int *ret_error) {
  struct scan_reader *r = arena_alloc(x->a, sizeof *r);
  struct str piece;
  bool starts;
  size_t which;
  scan_reader_init(r, fd, from);
  while (scan_read_piece(r, &piece, &starts)) {
    if (!starts) continue;
    if (scan_find_boundary(boundaries, piece, &which) != MIME_LINE_TEXT) break;
    struct arena_mark mark = arena_mark(x->a);
    struct str line = piece.p[piece.n - 1] == '\n' ? str_n(piece.p, piece.n - 1) : piece;
    enum outcome o = match_any(x, list, str_n(arena_strndup_t(x->a, line.p, line.n, TAINTED), line.n));
    if (o != OUTCOME_FAIL) return o;
    arena_release(x->a, mark);
  }
  *ret_error = r->error;
  return r->error ? OUTCOME_DEFER : OUTCOME_FAIL;
}

enum outcome scan_cond_regex(struct expand_ctx *x, enum acl_where where, const char *arg, const char **ret_log) {
  (void)where;
  struct scan_state *s = scan_state_of(x->msg);
  int error = 0;
  enum outcome o;
  forget(x);
  if (s->part) {
    o = match_lines(x, arg, s->part->fd, s->part->body, s->part->boundaries, &error);
  } else {
    int fd = scan_spool(x);
    if (fd == 0) fd = sys_open(s->eml, O_RDONLY, 0);
    if (fd < 0) {
      *ret_log = "regex acl condition: the copy of the message cannot be used";
      return OUTCOME_DEFER;
    }
    o = match_lines(x, arg, fd, 0, no_boundaries, &error);
    if (sys_close(fd) < 0) error = -EIO;
  }
  if (o == OUTCOME_DEFER)
    *ret_log = arena_printf(x->a, "regex acl condition: %s", error ? strerror(-error) : x->error ? x->error : "no answer");
  return o;
}

enum outcome scan_cond_mime_regex(struct expand_ctx *x, enum acl_where where, const char *arg, const char **ret_log) {
  (void)where;
  struct scan_part *p = scan_state_of(x->msg)->part;
  forget(x);
  int rc = p->decoded_filename ? 0 : scan_decode_part(x, NULL);
  int fd = rc < 0 ? rc : sys_open(p->decoded_filename, O_RDONLY, 0);
  if (fd < 0) {
    *ret_log = arena_printf(x->a, "mime_regex acl condition warning - could not open file '%s'", p->decoded_filename ? p->decoded_filename : "");
    return OUTCOME_DEFER;
  }
  char *buf = arena_alloc_t(x->a, SCAN_PIECE_BYTES + 1, TAINTED);
  size_t n = 0;
  ssize_t got = 0;
  while (n < SCAN_PIECE_BYTES && (got = sys_pread(fd, buf + n, SCAN_PIECE_BYTES - n, (off_t)n)) > 0) n += (size_t)got;
  if (sys_close(fd) < 0) got = -EIO;
  enum outcome o = got < 0 ? OUTCOME_DEFER : match_any(x, arg, str_n(buf, n));
  if (o == OUTCOME_DEFER) *ret_log = arena_printf(x->a, "mime_regex acl condition: %s", x->error ? x->error : "no answer");
  return o;
}
