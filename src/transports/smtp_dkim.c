/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DKIM-Signature: lines for a message that is about to be sent.
 *
 * Floor: drivers.  What is signed is what goes over the wire, in the form it has there but for stuffed dots: the message is written through the
 * canonicalizers once before it is sent, its body is never held.  One signature for each pair of dkim_domain and dkim_selector that has a
 * key.  The key is read with the rights of the delivery and wiped from no log: texts of errors name the option or the file, never what is in
 * it.  When something fails, dkim_strict says whether the message leaves without a signature.  Manual 58.2; RFC 6376, RFC 8301, RFC 8463. */
#include "transports/smtp_dkim.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "buildconfig.h"
#include "formats/codecs.h"
#include "formats/dkim_canon.h"
#include "formats/dkim_crypto.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/dkim.h"
#include "policy/match.h"
#include "transports/smtp_arc.h"

enum { SIGNATURES_MAX = 20, KEY_FILE_MAX = 65536 };

/* One signature. */
struct signer {
  const char *domain, *selector, *identity, *names;
  bool relaxed;
  enum dkim_hash hash;
  int64_t lifetime;                /* dkim_timestamps, -1 none */
  struct dkim_private_key key;
  struct dkim_digest digest;       /* of the body */
  struct dkim_canon canon;
};

struct signing {
  struct smtp_attempt *s;
  struct expand_ctx *x;
  struct arena *a;
  struct signer *signers[SIGNATURES_MAX];
  size_t count;
  struct arc_signer arc;
  struct strbuf used;              /* "domain:selector:..." for the log */
  struct strbuf headers;           /* as they go out, CR LF */
  bool in_body;
  size_t line_len;
  bool has_long_line;
  const char *why;                 /* there is no signature, for the log; NULL */
};

static bool complain(struct signing *g, const char *text) {
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", text);
  g->why = text;
  return false;
}

static bool cannot_sign(struct signing *g, const char *text, const char *detail) {
  return complain(g, arena_printf(g->a, "DKIM: %s%s", text, detail));
}

/* ---- the options ---- */

static bool is_off(const char *text) { return !*text || strcmp(text, "0") == 0 || strcmp(text, "false") == 0; }

/* False: it cannot be expanded, which is logged; a forced failure is no exception, an empty result says "no signature". */
static bool expand_opt(struct signing *g, const char *name, const char *text, const char **ret) {
  *ret = text ? expand_string(g->x, text) : "";
  return *ret || complain(g, arena_printf(g->a, "failed to expand %s: %s", name, g->x->error ? g->x->error : ""));
}

static bool read_key_file(struct signing *g, const char *path, struct str *ret) {
  char *p;
  size_t n;
  if (expand_taint_refused(g->x, path, "DKIM key file")) return cannot_sign(g, "", g->x->error);
  int fd = sys_open_file(path);
  int r = fd < 0 ? fd : sys_read_file_t(fd, g->a, KEY_FILE_MAX, UNTAINTED, &p, &n);
  if (fd >= 0) close(fd);
  if (r < 0) return complain(g, arena_printf(g->a, "unable to open file for reading: %s", path));
  *ret = str_n(p, n);
  return true;
}

/* *ret_off: no key, no signature, and no error. */
static bool load_key(struct signing *g, struct signer *k, bool *ret_off) {
  const char *text, *error;
  if (!expand_opt(g, "dkim_private_key", g->s->ob->dkim_private_key, &text)) return false;
  *ret_off = is_off(text);
  if (*ret_off) return true;
  struct str pem = str_c(text);
  if (*text == '/' && !read_key_file(g, text, &pem)) return false;
  if (!dkim_key_load(pem, &k->key, &error)) return cannot_sign(g, "signing failed: private key: ", error);
  return true;
}

static bool take_canon(struct signing *g, struct signer *k) {
  const char *text;
  if (!expand_opt(g, "dkim_canon", g->s->ob->dkim_canon, &text)) return false;
  k->relaxed = strcmp(text, "simple") != 0;
  if (*text && k->relaxed && strcmp(text, "relaxed") != 0)
    log_write(LS_ALWAYS, LOG_MAIN, "DKIM: unknown canonicalization method '%s', defaulting to 'relaxed'.", text);
  return true;
}

static bool take_hash(struct signing *g, struct signer *k) {
  const char *text;
  if (!expand_opt(g, "dkim_hash", g->s->ob->dkim_hash, &text)) return false;
  int hash = dkim_find_hash(str_c(text));
  if (hash < 0) return cannot_sign(g, arena_printf(g->a, "unrecognised hashname '%s'", text), "");
  /* Ed25519 is defined with SHA-256 alone, RFC 8463 section 3. */
  k->hash = k->key.keytype == DKIM_KEY_ED25519 ? DKIM_SHA256 : (enum dkim_hash)hash;
  return true;
}

static bool take_lifetime(struct signing *g, struct signer *k) {
  const char *text;
  uint64_t n;
  k->lifetime = -1;
  if (!expand_opt(g, "dkim_timestamps", g->s->ob->dkim_timestamps, &text)) return false;
  if (!*text) return true;
  if (!str_parse_u64(str_trim(str_c(text)), &n) || n > INT32_MAX) return cannot_sign(g, "dkim_timestamps is no number of seconds: ", text);
  k->lifetime = (int64_t)n;
  return true;
}

static bool take_options(struct signing *g, struct signer *k) {
  const struct smtp_opts *ob = g->s->ob;
  if (!take_canon(g, k) || !take_hash(g, k) || !take_lifetime(g, k)) return false;
  if (!expand_opt(g, "dkim_identity", ob->dkim_identity, &k->identity)) return false;
  if (!*k->identity) k->identity = NULL;
  if (!expand_opt(g, "dkim_sign_headers", ob->dkim_sign_headers, &k->names)) return false;
  if (!*k->names) k->names = DKIM_SIGN_HEADERS;
  return true;
}

static void forget(struct signing *g) {
  for (size_t i = 0; i < g->count; i++) {
    dkim_key_free(&g->signers[i]->key);
    if (g->signers[i]->digest.handle) dkim_digest_end(&g->signers[i]->digest, NULL);
  }
  g->count = 0;
}

/* $dkim_domain and $dkim_selector are set. */
static bool add_signer(struct signing *g, const char *domain, const char *selector) {
  bool off;
  if (g->count == SIGNATURES_MAX) return cannot_sign(g, "signing failed: too many signatures", "");
  struct signer *k = ARENA_NEW(g->a, struct signer);
  g->signers[g->count++] = k;
  k->domain = domain;
  k->selector = selector;
  if (!load_key(g, k, &off)) return false;
  if (off) {
    g->count--;
    return true;
  }
  if (!take_options(g, k)) return false;
  dkim_digest_start(&k->digest, k->hash);
  dkim_canon_init(&k->canon, k->relaxed, -1, dkim_digest_add, &k->digest);
  strbuf_addl(&g->used, g->used.n ? ":" : "", domain, ":", selector, NULL);
  return true;
}

static bool add_domain(struct signing *g, const char *domain) {
  const char *list, *item;
  int sep = 0;
  struct tree seen = {0};
  g->x->dkim_domain = domain;
  g->x->dkim_selector = NULL;
  if (!expand_opt(g, "dkim_selector", g->s->ob->dkim_selector, &list)) return false;
  while ((item = list_next(g->a, &list, &sep))) {
    bool is_new;
    if (!*item) continue;
    tree_insert(&seen, g->a, item, &is_new);
    if (!is_new) continue;
    g->x->dkim_selector = item = arena_strdup(g->a, item);
    if (!add_signer(g, domain, item)) return false;
  }
  return true;
}

/* Everything that must be known before the message is looked at. */
static bool find_signers(struct signing *g) {
  const char *list, *item;
  int sep = 0;
  struct tree seen = {0};
  if (!expand_opt(g, "dkim_domain", g->s->ob->dkim_domain, &list)) return false;
  while ((item = list_next(g->a, &list, &sep))) {
    const char *domain = str_dup_lower(g->a, str_trim(str_c(item)));
    bool is_new;
    if (!*domain) continue;
    tree_insert(&seen, g->a, domain, &is_new);
    if (is_new && !add_domain(g, domain)) return false;
  }
  return true;
}

/* ---- looking at the message ---- */

static void look_at_body(struct signing *g, const char *p, size_t n) {
  for (size_t i = 0; i < n && !g->has_long_line; i++) {
    g->line_len = p[i] == '\n' ? 0 : g->line_len + 1;
    g->has_long_line = g->line_len > DKIM_LONGEST_LINE + 1; /* a CR may be the first half of the line end */
  }
  for (size_t i = 0; i < g->count; i++) dkim_canon_feed(&g->signers[i]->canon, p, n);
  if (g->arc.is_wanted) dkim_canon_feed(&g->arc.canon, p, n);
}

/* A write_fn: the header section ends at the first empty line. */
static int look(void *ctx, const void *data, size_t n) {
  struct signing *g = ctx;
  const char *p = data;
  while (n > 0 && !g->in_body) {
    const char *nl = memchr(p, '\n', n);
    size_t part = nl ? (size_t)(nl - p) + 1 : n;
    strbuf_add(&g->headers, p, part);
    p += part;
    n -= part;
    struct str all = strbuf_str(&g->headers);
    g->in_body = str_ends(all, STR("\n\r\n")) || str_eq(all, STR("\r\n"));
  }
  if (n > 0) look_at_body(g, p, n);
  return 0;
}

/* Lines of the header section, without the empty one behind them. */
static struct str *split_lines(struct signing *g, size_t *ret_count) {
  struct str rest = strbuf_str(&g->headers);
  size_t n = 0, max = 1;
  for (size_t i = 0; i < rest.n; i++) max += rest.p[i] == '\n';
  struct str *lines = ARENA_NEW_N(g->a, struct str, max);
  while (rest.n > 0 && !str_eq(rest, STR("\r\n"))) {
    size_t len = 0;
    do {
      struct str more = str_n(rest.p + len, rest.n - len);
      size_t one = str_index(more, '\n');
      len += one + (one < more.n);
    } while (len < rest.n && ch_isblank(rest.p[len]));
    lines[n++] = str_n(rest.p, len);
    rest = str_n(rest.p + len, rest.n - len);
  }
  *ret_count = n;
  return lines;
}

/* ---- one signature ---- */

static void sum_headers(struct signing *g, const struct signer *k, const struct dkim_header_spec *spec, const struct str *lines, size_t count,
                        struct dkim_sum *ret) {
  size_t n = dkim_count_names(spec->names);
  int *at = ARENA_NEW_N(g->a, int, n + 1);
  struct strbuf b = strbuf_new(g->a);
  struct dkim_digest d;
  dkim_select_headers(g->a, lines, count, spec->names, at);
  for (size_t i = 0; i < n; i++)
    if (at[i] >= 0) dkim_canon_header(&b, lines[at[i]], k->relaxed, true);
  dkim_canon_header(&b, dkim_without_b(g->a, str_c(dkim_make_header(g->a, spec))), k->relaxed, false);
  dkim_digest_start(&d, k->hash);
  dkim_digest_add(&d, b.p, b.n);
  dkim_digest_end(&d, ret);
}

static bool sign(struct signing *g, struct signer *k, const struct str *lines, size_t count, struct strbuf *out) {
  struct dkim_sum sum;
  const char *error;
  dkim_canon_end(&k->canon);
  dkim_digest_end(&k->digest, &sum);
  struct dkim_header_spec spec = {
    .name = "DKIM-Signature", .has_canon = true, .relaxed = k->relaxed, .domain = k->domain, .selector = k->selector, .identity = k->identity, .data = "",
    .algorithm = arena_printf(g->a, "%s-%s", dkim_keytype_names[k->key.keytype], dkim_hash_names[k->hash]),
    .names = dkim_choose_names(g->a, lines, count, k->names), .body_hash = base64_encode(g->a, sum.p, sum.n),
  };
  if (k->lifetime >= 0) {
    spec.created = time_now().tv_sec;
    spec.expires = spec.created + k->lifetime;
  }
  if (!*spec.names) return cannot_sign(g, "signing failed: no header line to sign", "");
  sum_headers(g, k, &spec, lines, count, &sum);
  spec.data = dkim_key_sign(g->a, &k->key, k->hash, &sum, &error);
  if (!spec.data) return cannot_sign(g, "signing failed: ", error);
  strbuf_adds(out, dkim_make_header(g->a, &spec));
  return true;
}

static bool sign_all(struct signing *g, struct strbuf *out) {
  size_t count;
  struct str *lines = split_lines(g, &count);
  if (g->has_long_line) return cannot_sign(g, "signing failed: ", "LONG_LINE");
  for (size_t i = 0; i < g->count; i++)
    if (!sign(g, g->signers[i], lines, count, out)) return false;
  return true;
}

/* ---- the transport filter ---- */

static bool wants_dkim(const struct smtp_attempt *s) { return s->ob->dkim_domain && s->ob->dkim_selector && s->ob->dkim_private_key; }

static int to_fd(void *ctx, const void *p, size_t n) { return sys_write_all(*(const int *)ctx, p, n); }

/* Run it, and keep what it says: it need not say the same twice. */
static int keep_filtered(struct signing *g, struct write_opts *o, struct strbuf *headers) {
  struct delivery *d = g->s->d;
  struct write_opts plain = *o;
  plain.crlf = plain.dot_stuff = plain.end_dot = false;
  int fd = sys_open(d->cfg->spool_directory, O_TMPFILE | O_RDWR, 0600);
  if (fd < 0) fd = sys_open("/tmp", O_TMPFILE | O_RDWR, 0600);
  if (fd < 0) return fd;
  o->content_fd = fd;
  o->has_content = true;
  int r = transport_write_prepared(d, &plain, strbuf_str(headers), to_fd, &o->content_fd, NULL);
  if (r < 0) return r;
  o->filter = NULL;
  strbuf_clear(headers);
  return 0;
}

void smtp_dkim_done(struct write_opts *o) {
  if (o->has_content) close(o->content_fd);
  o->has_content = false;
}

/* ---- */

/* A signature is missing: does that matter? */
static int judge_failure(struct signing *g) {
  const char *strict = g->s->ob->dkim_strict ? expand_string(g->x, g->s->ob->dkim_strict) : "";
  bool cannot_tell = !strict && !g->x->forced_fail;
  if (!cannot_tell && (!strict || (strcmp(strict, "1") != 0 && strcmp(strict, "true") != 0))) return 0;
  log_write(LS_ALWAYS, LOG_MAIN, "DKIM: message could not be signed, and dkim_strict is set. Deferring message delivery.");
  const char *text = arena_printf(g->a, "smtp send to %s [%s] failed: %s", g->s->host->name, g->s->host->address, g->why ? g->why : "no signature");
  g->s->d->write_fault = (struct write_fault){.basic_errno = EACCES, .text = text, .tail = "", .is_complete = true};
  return -EPROTO;
}

/* Look at all that will be sent. */
static int look_at_message(struct signing *g, struct write_opts *o, struct strbuf *headers) {
  int r = o->filter && *o->filter ? keep_filtered(g, o, headers) : 0;
  struct write_opts wire = *o;
  wire.crlf = true;
  wire.dot_stuff = wire.end_dot = false;
  return r < 0 ? r : transport_write_prepared(g->s->d, &wire, strbuf_str(headers), look, g, NULL);
}

/* Behind the signatures, so that they are under the seal. */
static void seal(struct signing *g, struct strbuf *made) {
  struct strbuf all = strbuf_new(g->a), out = strbuf_new(g->a);
  size_t count;
  if (g->has_long_line) {
    if (g->count == 0) (void)cannot_sign(g, "signing failed: ", "LONG_LINE");
    log_write(LS_ALWAYS, LOG_MAIN, "ARC: bad message body-hash");
    return;
  }
  strbuf_addstr(&all, strbuf_str(made));
  strbuf_addstr(&all, strbuf_str(&g->headers));
  g->headers = all;
  struct str *lines = split_lines(g, &count);
  smtp_arc_seal(g->a, &g->arc, lines, count, &out);
  strbuf_addstr(&out, strbuf_str(made));
  *made = out;
}

static int run(struct signing *g, struct write_opts *o, struct strbuf *headers) {
  struct strbuf made = strbuf_new(g->a);
  bool ok = !wants_dkim(g->s) || find_signers(g);
  for (struct address *addr = g->s->d->addrs; addr && ok && g->count > 0; addr = addr->next) addr->dkim_used = g->used.p;
  if (!ok) forget(g);
  if (g->count > 0 || g->arc.is_wanted) {
    int r = look_at_message(g, o, headers);
    if (r < 0) return r;
  }
  if (ok && g->count > 0) ok = sign_all(g, &made);
  if (!ok) {
    int r = judge_failure(g);
    if (r < 0) return r;
    strbuf_clear(&made);
  }
  if (g->arc.is_wanted) seal(g, &made);
  if (made.n == 0) return 0;
  strbuf_addstr(&made, strbuf_str(headers));
  *headers = made;
  return 0;
}

int smtp_dkim_sign(struct smtp_attempt *s, struct write_opts *o, struct strbuf *headers) {
  if (!CFG_SUPPORT_DKIM || o->body_only || (!wants_dkim(s) && !s->ob->arc_sign)) return 0;
  struct expand_ctx x = *s->d->x;
  x.a = s->a;
  struct signing g = {.s = s, .x = &x, .a = s->a, .used = strbuf_new(s->a), .headers = strbuf_new_t(s->a, TAINTED, 4096)};
  smtp_arc_prepare(s, &x, &g.arc);
  int r = run(&g, o, headers);
  forget(&g);
  smtp_arc_forget(&g.arc);
  if (r < 0) smtp_dkim_done(o);
  return r;
}
