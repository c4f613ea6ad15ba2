/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lsearch, wildlsearch, nwildlsearch, iplsearch: text files searched from the top.  Floor: drivers.  Manual ch. 9.3.
 *
 * The file is read once when it is opened and stays in an arena of its handle until the handle is closed; a search is then a scan of
 * memory, or for the second and further literal keys a look into an index.  The key is hostile, the file is the administrator's (its data is clean).  A line's key ends at a colon, white space or the
 * line's end; a quoted key ends at its quote.  Lines that begin with white space continue the data of the one before. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ip.h"
#include "formats/lsearch_index.h"
#include "formats/lsearch_line.h"
#include "lookups/lookups_priv.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/match.h"

enum { FILE_MAX = 1 << 30 };

struct text_file {
  struct arena *arena;
  struct str text;
  const struct lsearch_index *index; /* of literal keys, made when a second one is looked for; NULL none */
  unsigned searches;                 /* for literal keys */
  bool is_regular;
};

static enum outcome text_open(struct expand_ctx *x, const char *file, void **ret_handle, const char **ret_error) {
  struct stat st;
  int fd = sys_open(file, O_RDONLY | O_NONBLOCK, 0);
  if (fd < 0) {
    *ret_error = arena_printf(x->a, "failed to open %s for linear search: %s", file, strerror(-fd));
    if (fd == -EACCES) /* who was not allowed to */
      *ret_error = arena_printf(x->a, "%s (euid=%ld egid=%ld)", *ret_error, (long)geteuid(), (long)getegid());
    return OUTCOME_ERROR;
  }
  struct arena *a = arena_new("lsearch");
  struct text_file *f = ARENA_NEW(a, struct text_file);
  f->arena = a;
  f->is_regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
  char *p = NULL;
  size_t n = 0;
  /* What a lookup finds is the administrator's own text: only the key is foreign (manual ch. 9). */
  int rc = f->is_regular ? sys_read_file_t(fd, a, FILE_MAX, UNTAINTED, &p, &n) : 0;
  int closed = sys_close(fd);
  if (rc < 0 || closed < 0) {
    *ret_error = arena_printf(x->a, "failed to read %s for linear search: %s", file, strerror(rc < 0 ? -rc : -closed));
    arena_free(a);
    return OUTCOME_DEFER;
  }
  f->text = str_n(p, n);
  *ret_handle = f;
  return OUTCOME_OK;
}

static void text_close(void *handle) { arena_free(((struct text_file *)handle)->arena); }

static enum outcome text_check(void *handle, const char *file, const char *type, const char **ret_error) {
  struct text_file *f = handle;
  if (f->is_regular) return OUTCOME_OK;
  *ret_error = arena_printf(f->arena, "%s is not a regular file (%s lookup)", file, type);
  return OUTCOME_ERROR;
}

/* ---- lines ---- */

/* Does the key of a line fit?  OK, FAIL, or trouble with *ret_error. */
typedef enum outcome (*line_match)(struct expand_ctx *x, struct str line_key, const char *key, const char **ret_error);

static bool has_ret_full(const char *opts) {
  struct str rest = str_c(opts);
  while (rest.n > 0)
    if (str_eq_c(str_trim(str_cut(&rest, ',')), "ret=full")) return true;
  return false;
}

static enum outcome scan(struct expand_ctx *x, const struct text_file *f, const char *key, const char *opts, line_match fits,
                         struct lookup_result *ret) {
  struct str text = f->text;
  while (text.n > 0) {
    struct str line = str_cut(&text, '\n'), rest;
    if (!lsearch_is_item(line)) continue;
    struct arena_mark mark = arena_mark(x->a);
    struct str k = lsearch_key(x->a, line, &rest);
    const char *error = NULL;
    enum outcome o = fits(x, k, key, &error);
    if (o == OUTCOME_FAIL) {
      arena_release(x->a, mark);
      continue;
    }
    if (o == OUTCOME_OK) ret->data = lsearch_data(x->a, rest, text, line, has_ret_full(opts));
    else ret->error = error;
    return o;
  }
  return OUTCOME_FAIL;
}

static enum outcome fits_pattern(struct expand_ctx *x, const char *pattern, const char *key, const char **ret_error) {
  struct expand_scope saved = x->s;
  enum outcome o = match_pattern(x, key, pattern, true, false, NULL);
  /* Results are cached, so captures would come and go: they are never set. */
  x->s = saved;
  if (o != OUTCOME_OK && o != OUTCOME_FAIL) *ret_error = x->error;
  return o;
}

static enum outcome fits_nwild(struct expand_ctx *x, struct str line, const char *key, const char **ret_error) {
  return fits_pattern(x, str_dup(x->a, line), key, ret_error);
}

static enum outcome fits_wild(struct expand_ctx *x, struct str line, const char *key, const char **ret_error) {
  const char *text = str_dup(x->a, line), *expanded = expand_string(x, text);
  if (!expanded && x->forced_fail) { /* such a line is not there */
    x->error = NULL;
    return OUTCOME_FAIL;
  }
  if (!expanded) { /* who knows what would have matched: a default further down must not answer for it */
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand \"%s\" while checking a list: %s", text, x->error ? x->error : "");
    *ret_error = x->error;
    return OUTCOME_DEFER;
  }
  return fits_pattern(x, expanded, key, ret_error);
}

static enum outcome fits_default(struct expand_ctx *x, struct str line, const char *key, const char **ret_error) {
  (void)x;
  (void)ret_error;
  return str_eq_c(line, key) ? OUTCOME_OK : OUTCOME_FAIL;
}

static enum outcome fits_ip(struct expand_ctx *x, struct str line, const char *key, const char **ret_error) {
  (void)x;
  (void)ret_error;
  struct ip want, net;
  size_t slash = str_index(line, '/');
  int bits = -1;
  if (!ip_parse(str_c(key), &want) || !ip_parse(str_n(line.p, slash), &net)) return OUTCOME_FAIL;
  if (slash < line.n && !str_parse_int(str_n(line.p + slash + 1, line.n - slash - 1), &bits)) return OUTCOME_FAIL;
  if (bits < 0) bits = net.family == 4 ? 32 : 128;
  return net.family == want.family && ip_in_net(&want, &net, bits) ? OUTCOME_OK : OUTCOME_FAIL;
}

static enum outcome find_lsearch(struct expand_ctx *x, void *h, const char *file, const char *key, const char *opts, struct lookup_result *ret) {
  (void)file;
  struct text_file *f = h;
  struct lsearch_hit hit;
  if (f->searches++ == 1) f->index = lsearch_index_new(f->arena, f->text);
  if (!(f->index ? lsearch_index_find(f->index, x->a, key, &hit) : lsearch_scan(x->a, f->text, key, &hit))) return OUTCOME_FAIL;
  ret->data = lsearch_data(x->a, hit.rest, hit.following, hit.line, has_ret_full(opts));
  return OUTCOME_OK;
}
static enum outcome find_wildlsearch(struct expand_ctx *x, void *h, const char *file, const char *key, const char *opts, struct lookup_result *ret) {
  (void)file;
  return scan(x, h, key, opts, fits_wild, ret);
}
static enum outcome find_nwildlsearch(struct expand_ctx *x, void *h, const char *file, const char *key, const char *opts, struct lookup_result *ret) {
  (void)file;
  return scan(x, h, key, opts, fits_nwild, ret);
}

static enum outcome find_iplsearch(struct expand_ctx *x, void *h, const char *file, const char *key, const char *opts, struct lookup_result *ret) {
  (void)file;
  struct ip ip;
  char buf[IP_TEXT_SIZE];
  if (strcmp(key, "*") == 0) return scan(x, h, key, opts, fits_default, ret); /* the default of iplsearch* */
  if (!ip_parse(str_c(key), &ip)) {
    ret->error = arena_printf(x->a, "\"%s\" is not a valid iplsearch key (an IP address, with optional CIDR mask, is wanted): "
                              "in a host list, use net-iplsearch as the search type", key);
    return OUTCOME_DEFER;
  }
  ip = ip_unmap(ip);
  return scan(x, h, arena_strdup(x->a, ip_format(&ip, buf)), opts, fits_ip, ret);
}

#define TEXT_CHECK(type)                                                                                                      \
  static enum outcome check_##type(void *h, const char *file, int mode_mask, const uid_t *owners, const gid_t *groups,         \
                                   const char **ret_error) {                                                                   \
    (void)mode_mask;                                                                                                           \
    (void)owners;                                                                                                              \
    (void)groups;                                                                                                              \
    return text_check(h, file, #type, ret_error);                                                                              \
  }
TEXT_CHECK(lsearch)
TEXT_CHECK(wildlsearch)
TEXT_CHECK(nwildlsearch)
TEXT_CHECK(iplsearch)

const struct lookup_driver lookup_lsearch = {.name = "lsearch", .open = text_open, .check = check_lsearch, .find = find_lsearch, .close = text_close};
const struct lookup_driver lookup_wildlsearch = {.name = "wildlsearch", .open = text_open, .check = check_wildlsearch, .find = find_wildlsearch, .close = text_close};
const struct lookup_driver lookup_nwildlsearch = {.name = "nwildlsearch", .open = text_open, .check = check_nwildlsearch, .find = find_nwildlsearch, .close = text_close};
const struct lookup_driver lookup_iplsearch = {.name = "iplsearch", .open = text_open, .check = check_iplsearch, .find = find_iplsearch, .close = text_close};
