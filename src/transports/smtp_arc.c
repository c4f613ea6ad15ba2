/* SPDX-License-Identifier: GPL-2.0-or-later */
/* arc_sign: one more set for the chain of a message that is passed on.
 *
 * Floor: drivers.  What was found at reception is taken from the first Authentication-Results: line of our own administrative domain, which an ACL must
 * have added; without one there is nothing to seal.  A chain that has failed once is not made longer.  Nothing here stops the message: what
 * goes wrong is logged.  RFC 8617 section 5.1. */
#include "transports/smtp_arc.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "arc_verify.h"
#include "formats/codecs.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/arc.h"
#include "policy/match.h"

enum { KEY_FILE_MAX = 65536, EXPIRE_DEFAULT_SEC = 30 * 24 * 3600 };

static void complain(const char *text, const char *detail) { log_write(LS_ALWAYS, LOG_MAIN, "ARC: %s%s", text, detail); }

static bool load_key(struct smtp_attempt *s, struct expand_ctx *x, const char *text, struct arc_signer *k) {
  struct str pem = str_c(text);
  const char *error;
  if (*text == '/') {
    char *p = NULL;
    size_t n = 0;
    if (expand_taint_refused(x, text, "ARC key file")) {
      complain("", x->error);
      return false;
    }
    int fd = sys_open_file(text), r = fd < 0 ? fd : sys_read_file_t(fd, s->a, KEY_FILE_MAX, UNTAINTED, &p, &n);
    if (fd >= 0) close(fd);
    if (r < 0) {
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "unable to open file for reading: %s", text);
      return false;
    }
    pem = str_n(p, n);
  }
  if (dkim_key_load(pem, &k->key, &error)) return true;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "ARC: signing failed: private key: %s", error);
  return false;
}

/* "timestamps,expire=SECONDS" */
static void take_options(struct arc_signer *k, const char *text) {
  time_t now = time_now().tv_sec;
  for (struct str rest = str_c(text); rest.n > 0;) {
    struct str value = str_trim(str_cut(&rest, ',')), name = str_trim(str_cut(&value, '='));
    uint64_t n = EXPIRE_DEFAULT_SEC;
    if (str_eq(name, STR("timestamps"))) k->created = now;
    else if (str_eq(name, STR("expire")) && (value.n == 0 || (str_parse_u64(str_trim(value), &n) && n < INT32_MAX))) {
      k->created = now;
      k->expires = now + (int64_t)n;
    } else if (name.n > 0) {
      complain("unknown option of arc_sign: ", text);
    }
  }
}

void smtp_arc_prepare(struct smtp_attempt *s, struct expand_ctx *x, struct arc_signer *k) {
  const char *list = s->ob->arc_sign ? expand_string(x, s->ob->arc_sign) : "", *items[4] = {"", "", "", ""};
  int sep = 0, n = 0;
  const char *item;
  *k = (struct arc_signer){0};
  if (!list && !x->forced_fail) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand arc_sign: %s", x->error ? x->error : "");
  if (!list || !*list) return;
  while (n < 4 && (item = list_next(s->a, &list, &sep))) items[n++] = arena_strdup(s->a, item);
  if (!*items[0] || !*items[1] || !*items[2]) {
    complain("arc_sign needs a domain, a selector and a key", "");
    return;
  }
  k->admd = items[0];
  k->selector = items[1];
  if (!load_key(s, x, items[2], k)) return;
  take_options(k, items[3]);
  k->is_wanted = true;
  dkim_digest_start(&k->digest, DKIM_SHA256);
  dkim_canon_init(&k->canon, true, -1, dkim_digest_add, &k->digest);
}

void smtp_arc_forget(struct arc_signer *k) {
  dkim_key_free(&k->key);
  if (k->digest.handle) dkim_digest_end(&k->digest, NULL);
}

/* ---- the set ---- */

/* The value of our own line, from the name of the domain on. */
static struct str find_results(const struct str *lines, size_t count, const char *admd) {
  struct str name, value;
  for (size_t i = 0; i < count; i++) {
    if (!header_split(lines[i], &name, &value) || !str_eqic(name, STR("Authentication-Results"))) continue;
    struct str rest = str_trim(value), id = str_cut(&rest, ';');
    if (str_eqic_c(str_trim(id), admd)) return str_trim(value);
  }
  return STR_NULL;
}

/* What the results say of the chain: a word behind "arc=". */
static struct str chain_word(struct str results) {
  (void)str_cut(&results, ';');
  while (results.n > 0) {
    struct str one = str_trim(str_cut(&results, ';'));
    if (!str_startsic(one, STR("arc="))) continue;
    one = str_n(one.p + 4, one.n - 4);
    size_t n = 0;
    while (n < one.n && ch_isalpha(one.p[n])) n++;
    return str_n(one.p, n);
  }
  return STR_NULL;
}

static struct dkim_state *as_state(struct arena *a, const struct str *lines, size_t count) {
  struct dkim_state *s = ARENA_NEW(a, struct dkim_state);
  s->lines = ARENA_NEW_N(a, struct str, count + 1);
  memcpy(s->lines, lines, count * sizeof(*lines));
  s->line_count = count;
  return s;
}

/* Sign a header whose b= is empty in spec; what stands before it in b is signed too. */
static const char *finish(struct arena *a, const struct arc_signer *k, struct dkim_header_spec *spec, struct strbuf *b) {
  struct dkim_digest d;
  struct dkim_sum sum;
  const char *error;
  dkim_canon_header(b, dkim_without_b(a, str_c(dkim_make_header(a, spec))), true, false);
  dkim_digest_start(&d, DKIM_SHA256);
  dkim_digest_add(&d, b->p, b->n);
  dkim_digest_end(&d, &sum);
  spec->data = dkim_key_sign(a, &k->key, DKIM_SHA256, &sum, &error);
  if (spec->data) return dkim_make_header(a, spec);
  complain("signing failed: ", error);
  return NULL;
}

/* The set of three header lines that is being made. */
struct new_set {
  int instance;
  const char *algorithm, *results, *signature; /* the last two: the lines that are ready */
  struct str cv;                               /* the state of the chain before it */
};

static const char *make_signature(struct arena *a, struct arc_signer *k, const struct new_set *set, const struct str *lines, size_t count) {
  /* The usual lines that are there, and the signatures of others. */
  struct strbuf list = strbuf_new(a), b = strbuf_new(a);
  struct dkim_sum sum;
  for (struct str rest = STR(DKIM_SIGN_HEADERS); rest.n > 0;) {
    struct str name = str_cut(&rest, ':');
    strbuf_addf(&list, "=%.*s:", STR_FMT(name));
  }
  strbuf_adds(&list, "=DKIM-Signature");
  dkim_canon_end(&k->canon);
  dkim_digest_end(&k->digest, &sum);
  struct dkim_header_spec spec = {.name = "ARC-Message-Signature", .instance = set->instance, .algorithm = set->algorithm, .has_canon = true, .relaxed = true,
                                  .domain = k->admd, .selector = k->selector, .names = dkim_choose_names(a, lines, count, list.p),
                                  .body_hash = base64_encode(a, sum.p, sum.n), .created = k->created, .expires = k->expires, .data = ""};
  if (!*spec.names || dkim_count_names(spec.names) > DKIM_MAX_NAMES) {
    complain("no header line to sign, or too many", "");
    return NULL;
  }
  int *at = ARENA_NEW_N(a, int, dkim_count_names(spec.names) + 1);
  dkim_select_headers(a, lines, count, spec.names, at);
  for (size_t i = 0; i < dkim_count_names(spec.names); i++)
    if (at[i] >= 0) dkim_canon_header(&b, lines[at[i]], true, true);
  return finish(a, k, &spec, &b);
}

static const char *make_seal(struct arena *a, const struct arc_signer *k, const struct arc_chain *c, const struct new_set *set) {
  struct strbuf b = strbuf_new(a);
  bool failed = str_eqic(set->cv, STR("fail")); /* then the seal covers its own set alone */
  for (int i = 1; i < set->instance && !failed; i++) {
    dkim_canon_header(&b, c->sets[i].results, true, true);
    dkim_canon_header(&b, c->sets[i].signature, true, true);
    dkim_canon_header(&b, c->sets[i].seal, true, true);
  }
  dkim_canon_header(&b, str_c(set->results), true, true);
  dkim_canon_header(&b, str_c(set->signature), true, true);
  struct dkim_header_spec spec = {.name = "ARC-Seal", .instance = set->instance, .chain_state = str_dup_lower(a, set->cv),
                                  .algorithm = set->algorithm, .domain = k->admd, .selector = k->selector, .created = k->created, .data = ""};
  return finish(a, k, &spec, &b);
}

void smtp_arc_seal(struct arena *a, struct arc_signer *k, const struct str *lines, size_t count, struct strbuf *out) {
  struct str results = find_results(lines, count, k->admd);
  const struct arc_chain *c = arc_find_chain(a, as_state(a, lines, count), false);
  struct new_set set = {.instance = c ? c->count + 1 : 1, .cv = chain_word(results),
                        .algorithm = arena_printf(a, "%s-sha256", dkim_keytype_names[k->key.keytype])};
  if (!results.p) complain("no Authentication-Results header for signing by ", k->admd);
  else if (set.instance > ARC_MAX_INSTANCES || (c && c->count > 0 && str_eqic(c->sets[c->count].as.cv, STR("fail")))) complain("the chain has ended: ", k->admd);
  else if (c && (set.cv.n == 0 || str_eqic(set.cv, STR("none")))) complain("no verified state of the chain in Authentication-Results: ", k->admd);
  else {
    if (!c) set.cv = STR("none");
    if (c && c->fault) set.cv = STR("fail");
    set.results = arena_printf(a, "ARC-Authentication-Results: i=%d; %.*s\n", set.instance, STR_FMT(results));
    set.signature = make_signature(a, k, &set, lines, count);
    const char *seal = set.signature ? make_seal(a, k, c, &set) : NULL;
    if (seal) strbuf_addl(out, seal, set.signature, set.results, NULL);
  }
}
