/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The walk through the parts of a message, and the decoding of a part into a file.
 *
 * Floor: drivers.  One pass over the copy of the message in pieces, with a stack of the multiparts around; attached messages are decoded to a file
 * each and walked when the message that they came with is done.  Everything is hostile: depth, number of parts and lengths are limited
 * (formats/mime.h, doc/limits.txt), names of files made from text of the message stay in the scan directory.  RFC 2046; manual 45.4. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "os/log.h"
#include "os/sys.h"
#include "scan.h"

/* ---- decoding ---- */

/* Text of the message as a file name: no slash, nothing unprintable, no dot in front. */
static const char *harmless_name(struct arena *a, const char *name) {
  char buf[201];
  size_t n = 0;
  for (; name[n] && n < sizeof buf - 1; n++) buf[n] = name[n] == '/' || (unsigned char)name[n] < ' ' || name[n] == 127 ? '_' : name[n];
  if (n > 0 && buf[0] == '.') buf[0] = '_';
  return arena_untaint_copy(a, buf, n); /* an entry of the directory it is put into, whatever it was */
}

static bool is_directory(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Open the next file of the sequence. */
static int open_numbered(struct expand_ctx *x, const char *dir, const char **ret_path) {
  struct message *m = x->msg;
  struct scan_state *s = m->scan;
  int fd;
  do {
    *ret_path = arena_printf(m->arena, "%s/%s-%05d", dir, m->id, s->sequence++);
    fd = sys_open(*ret_path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0640);
  } while (fd == -EEXIST);
  return fd;
}

static int open_target(struct expand_ctx *x, const char *name, const char **ret_path) {
  struct scan_state *s = x->msg->scan;
  if (!name) return open_numbered(x, s->dir, ret_path);
  if (*name == '/' && !is_tainted(name)) {
    if (is_directory(name)) return open_numbered(x, name, ret_path);
    *ret_path = arena_strdup(x->msg->arena, name);
  } else {
    name = harmless_name(x->a, name);
    *ret_path = arena_printf(x->msg->arena, "%s/%s", s->dir, name);
    if (!*name || strcmp(*ret_path, s->eml) == 0) return open_numbered(x, s->dir, ret_path);
  }
  return sys_open(*ret_path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0640);
}

static int write_out(int fd, const char *out, size_t *n, int64_t *total) {
  int rc = sys_write_all(fd, out, *n);
  *total += (int64_t)*n;
  *n = 0;
  return rc;
}

/* The decoded body to fd.  Pieces may be short lines, and messages within messages are written once for each level: they are written together. */
static int decode_body(struct scan_part *p, int fd, int64_t *ret_bytes) {
  enum { TOGETHER_BYTES = 32 << 10 };
  struct scan_reader r;
  struct mime_decoder d = {.encoding = mime_encoding_of(&p->f)};
  char out[TOGETHER_BYTES + MIME_DECODED_ROOM(SCAN_PIECE_BYTES)];
  struct str piece;
  bool starts;
  size_t which, n = 0;
  int rc = 0;
  *ret_bytes = 0;
  for (scan_reader_init(&r, p->fd, p->body); rc >= 0 && scan_read_piece(&r, &piece, &starts);) {
    if (starts && scan_find_boundary(p->boundaries, piece, &which) != MIME_LINE_TEXT) break;
    n += mime_decode(&d, piece, out + n);
    if (n >= TOGETHER_BYTES) rc = write_out(fd, out, &n, ret_bytes);
  }
  if (rc < 0) return rc;
  n += mime_decode_end(&d, out + n);
  if (d.is_broken) mime_note_anomaly(&p->f, 2, mime_broken_text(&d));
  return r.error ? r.error : write_out(fd, out, &n, ret_bytes);
}

/* An open, decoded file of the part, or -errno. */
static int decode_to(struct expand_ctx *x, struct scan_part *p, const char *name, const char **ret_path) {
  int64_t bytes;
  int fd = open_target(x, name, ret_path), rc = fd < 0 ? fd : decode_body(p, fd, &bytes);
  if (rc < 0) {
    log_write(LS_ALWAYS, LOG_MAIN, "decoding of a MIME part to %s failed: %s", *ret_path, strerror(-rc));
    if (fd >= 0 && sys_close(fd) < 0) rc = -EIO;
    return rc;
  }
  p->decoded_filename = *ret_path;
  p->decoded_kb = (bytes + 1023) / 1024;
  return fd;
}

int scan_decode_part(struct expand_ctx *x, const char *name) {
  const char *path;
  int fd = decode_to(x, x->msg->scan->part, name, &path);
  return fd < 0 ? fd : sys_close(fd);
}

enum outcome scan_cond_decode(struct expand_ctx *x, enum acl_where where, const char *arg, const char **ret_log) {
  (void)where;
  if (!*arg || strcmp(arg, "0") == 0 || strcmpic(arg, "false") == 0) return OUTCOME_FAIL;
  int rc = scan_decode_part(x, strcmpic(arg, "default") == 0 ? NULL : arg);
  if (rc == 0) return OUTCOME_OK;
  *ret_log = arena_printf(x->a, "decode acl condition: %s", strerror(-rc));
  return OUTCOME_DEFER;
}

/* ---- the walk ---- */

struct level {
  bool is_coverletter, belong_together;
  int parts;
};

/* A message/rfc822 part, to be walked later. */
struct attached {
  struct attached *next;
  struct scan_part part;
};

struct walk {
  struct expand_ctx *x;
  bool (*visit)(void *ctx);
  void *ctx;
  int parts, depth_of_messages;
  const char *error;
};

struct file_walk {
  struct walk *w;
  struct scan_reader r;
  struct level levels[MIME_MAX_DEPTH];
  const char *boundaries[MIME_MAX_DEPTH + 1];
  size_t depth;
  int part_number;
  struct attached *attached, **tail;
};

static void unread(struct scan_reader *r, struct str piece) {
  r->at -= piece.n;
  r->in_line = false;
}

/* The header section of a part. */
static void read_fields(struct file_walk *f, struct scan_part *p) {
  struct arena *a = f->w->x->msg->arena;
  const char *charset = f->w->x->cfg->o.headers_charset;
  struct strbuf field = strbuf_new_t(a, TAINTED, 256);
  struct str piece;
  bool starts, too_long = false;
  size_t which;
  while (scan_read_piece(&f->r, &piece, &starts)) {
    if (starts && scan_find_boundary(f->boundaries, piece, &which) != MIME_LINE_TEXT) {
      unread(&f->r, piece);
      break;
    }
    bool blank = starts && (piece.p[0] == '\n' || (piece.n == 2 && piece.p[0] == '\r' && piece.p[1] == '\n'));
    if (blank) break;
    if (starts && !ch_isspace(piece.p[0])) {
      mime_take_field(a, &p->f, strbuf_str(&field), charset);
      strbuf_clear(&field);
    }
    if (field.n + piece.n <= MIME_MAX_FIELD_BYTES) strbuf_add_t(&field, piece.p, piece.n, TAINTED);
    else if (str_startsic(field.n ? strbuf_str(&field) : piece, STR("Content-"))) too_long = true;
  }
  mime_take_field(a, &p->f, strbuf_str(&field), charset);
  if (too_long) mime_note_anomaly(&p->f, 1, "Header field too long");
  p->body = scan_reader_tell(&f->r);
}

static void push_level(struct file_walk *f, const struct scan_part *p) {
  f->levels[f->depth] = (struct level){.is_coverletter = p->is_coverletter, .belong_together = mime_parts_belong_together(&p->f)};
  f->boundaries[f->depth++] = p->f.boundary;
  f->boundaries[f->depth] = NULL;
}

/* Keep what is needed to decode it when this file has been walked. */
static void keep_attached(struct file_walk *f, const struct scan_part *p) {
  struct arena *a = f->w->x->msg->arena;
  struct attached *t = ARENA_NEW(a, struct attached);
  t->part = *p;
  const char **b = ARENA_NEW_N(a, const char *, f->depth + 1);
  memcpy(b, f->boundaries, f->depth * sizeof *b);
  t->part.boundaries = b;
  *f->tail = t;
  f->tail = &t->next;
}

static bool visit_part(struct file_walk *f, struct scan_part *p) {
  struct scan_state *s = f->w->x->msg->scan;
  s->part = p;
  s->part_count = f->part_number++;
  bool go_on = f->w->visit(f->w->ctx);
  s->part = NULL;
  return go_on;
}

/* From the first line of a part to the first of its body.  False: the walk is over. */
static bool enter_part(struct file_walk *f, bool *ret_more) {
  struct level *around = f->depth ? &f->levels[f->depth - 1] : NULL;
  struct scan_part p = {.fd = f->r.fd, .boundaries = f->boundaries, .is_in_message = f->w->depth_of_messages > 0};
  if (++f->w->parts > MIME_MAX_PARTS) {
    f->w->error = "too many MIME parts";
    return false;
  }
  p.is_coverletter = !around || (around->is_coverletter && (around->belong_together || around->parts == 0));
  if (around) around->parts++;
  read_fields(f, &p);
  bool has_parts = mime_is_multipart(&p.f) && p.f.boundary && *p.f.boundary, is_message = mime_is_message(&p.f);
  if (has_parts && f->depth == MIME_MAX_DEPTH) mime_note_anomaly(&p.f, 2, "Too many levels of multiparts");
  if (is_message && f->w->depth_of_messages == MIME_MAX_NESTED_MESSAGES) mime_note_anomaly(&p.f, 2, "Too many levels of messages");
  if (mime_is_multipart(&p.f) && !has_parts) mime_note_anomaly(&p.f, 1, "Multipart without boundary");
  if (!visit_part(f, &p)) return false;
  if (has_parts && f->depth < MIME_MAX_DEPTH) push_level(f, &p);
  else if (is_message && f->w->depth_of_messages < MIME_MAX_NESTED_MESSAGES) keep_attached(f, &p);
  *ret_more = f->depth > 0;
  return true;
}

/* Go to the next part; false: there is none. */
static bool find_next_part(struct file_walk *f) {
  struct str piece;
  bool starts;
  size_t which;
  while (f->depth > 0 && scan_read_piece(&f->r, &piece, &starts)) {
    enum mime_line k = starts ? scan_find_boundary(f->boundaries, piece, &which) : MIME_LINE_TEXT;
    if (k == MIME_LINE_TEXT) continue;
    f->depth = k == MIME_LINE_PART ? which + 1 : which;
    f->boundaries[f->depth] = NULL;
    if (k == MIME_LINE_PART) return true;
  }
  return false;
}

static bool walk_attached(struct walk *w, struct attached *t);

static bool walk_file(struct walk *w, int fd, off_t from) {
  struct file_walk *f = ARENA_NEW(w->x->msg->arena, struct file_walk);
  bool more = true, go_on;
  f->w = w;
  f->tail = &f->attached;
  scan_reader_init(&f->r, fd, from);
  while ((go_on = enter_part(f, &more)) && more && find_next_part(f));
  if (f->r.error) w->error = strerror(-f->r.error);
  if (!go_on || w->error) return false;
  int count = w->x->msg->scan->part_count;
  for (struct attached *t = f->attached; t && go_on; t = t->next) go_on = walk_attached(w, t);
  w->x->msg->scan->part_count = count;
  return go_on;
}

static bool walk_attached(struct walk *w, struct attached *t) {
  const char *path;
  int fd = decode_to(w->x, &t->part, NULL, &path);
  if (fd < 0) {
    w->error = "an attached message cannot be decoded";
    return false;
  }
  w->depth_of_messages++;
  bool go_on = walk_file(w, fd, 0);
  w->depth_of_messages--;
  if (sys_unlink(path) < 0 || sys_close(fd) < 0) log_write(LS_ALWAYS, LOG_MAIN, "scan file %s cannot be removed", path);
  return go_on;
}

/* Behind the "From " line. */
static off_t behind_mbox_line(int fd) {
  struct scan_reader r;
  struct str piece;
  bool starts;
  scan_reader_init(&r, fd, 0);
  return scan_read_piece(&r, &piece, &starts) ? (off_t)piece.n : 0;
}

enum outcome scan_walk(struct expand_ctx *x, bool (*visit)(void *ctx), void *ctx, const char **ret_log) {
  struct walk w = {.x = x, .visit = visit, .ctx = ctx};
  int rc = scan_spool(x), fd = rc < 0 ? rc : sys_open(x->msg->scan->eml, O_RDONLY, 0);
  if (fd < 0) {
    *ret_log = "the copy of the message for its MIME parts cannot be used";
    return OUTCOME_DEFER;
  }
  bool all = walk_file(&w, fd, behind_mbox_line(fd));
  if (sys_close(fd) < 0) w.error = "close failed";
  if (w.error) {
    *ret_log = w.error;
    return OUTCOME_DEFER;
  }
  return all ? OUTCOME_OK : OUTCOME_FAIL;
}
