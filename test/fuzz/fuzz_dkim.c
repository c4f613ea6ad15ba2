/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DKIM texts of any bytes.  Values that logs and variables show hold no line ends; canonical forms are the same however the body is cut, end in CR LF
 * and are fixed points; a written header has no long line and says what it was asked to say. */
#include "formats/codecs.h"
#include "formats/dkim.h"
#include "formats/dkim_canon.h"
#include "formats/dkim_crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void collect(void *ctx, const void *p, size_t n) { strbuf_add(ctx, p, n); }

static struct strbuf canon(struct arena *a, struct str body, bool relaxed, int64_t limit, const uint8_t *cuts, size_t cut_count) {
  struct strbuf out = strbuf_new(a);
  struct dkim_canon c;
  dkim_canon_init(&c, relaxed, limit, collect, &out);
  for (size_t at = 0, i = 0; at < body.n; i++) {
    size_t n = cut_count ? MIN((size_t)cuts[i % cut_count] + 1, body.n - at) : body.n - at;
    dkim_canon_feed(&c, body.p + at, n);
    at += n;
  }
  dkim_canon_end(&c);
  return out;
}

static void check_text(const char *s) {
  for (; s && *s; s++) INVARIANT(!ch_iscntrl(*s) || *s == '\t');
}

static void check_body(struct arena *a, struct str in) {
  for (int relaxed = 0; relaxed < 2; relaxed++)
    for (int64_t limit = -1; limit < 20; limit += 7) {
      struct strbuf whole = canon(a, in, relaxed, limit, NULL, 0), cut = canon(a, in, relaxed, limit, (const uint8_t *)in.p, MIN(in.n, 50));
      INVARIANT(str_eq(strbuf_str(&whole), strbuf_str(&cut)));
      if (limit >= 0) {
        INVARIANT((int64_t)whole.n <= limit);
        continue;
      }
      struct strbuf again = canon(a, strbuf_str(&whole), relaxed, -1, NULL, 0);
      INVARIANT(str_eq(strbuf_str(&whole), strbuf_str(&again)));
      INVARIANT(whole.n == 0 || str_ends(strbuf_str(&whole), STR("\r\n")));
    }
}

static void check_header(struct arena *a, struct str line) {
  struct strbuf once = strbuf_new(a), twice = strbuf_new(a);
  dkim_canon_header(&once, line, true, true);
  dkim_canon_header(&twice, strbuf_str(&once), true, true);
  INVARIANT(str_eq(strbuf_str(&once), strbuf_str(&twice)));
  size_t colon = str_index(line, ':');
  if (colon < line.n && !memchr(line.p, '\n', colon)) INVARIANT(!memchr(once.p, '\n', once.n - 1));
}

static void check_signature(struct arena *a, struct str line) {
  struct dkim_signature s, again;
  if (!dkim_parse_signature(a, line, &s)) return;
  check_text(s.domain);
  check_text(s.selector);
  check_text(s.identity);
  check_text(s.header_names);
  check_text(s.copied_headers);
  INVARIANT(s.fault != DKIM_SIG_OK || (s.domain && s.selector && s.header_names && s.data.n > 0));
  struct str bare = dkim_without_b(a, line);
  INVARIANT(bare.n <= line.n);
  if (dkim_parse_signature(a, bare, &again)) INVARIANT(again.keytype == s.keytype);
  if (s.fault != DKIM_SIG_OK) return;
  struct str lines[3] = {line, STR("From: a\n"), STR("from: b\n")};
  int at[DKIM_MAX_NAMES + 1];
  INVARIANT(dkim_count_names(s.header_names) <= DKIM_MAX_NAMES);
  dkim_select_headers(a, lines, 3, s.header_names, at);
  (void)dkim_choose_names(a, lines, 3, s.header_names);
  struct dkim_header_spec spec = {.name = "DKIM-Signature", .algorithm = "rsa-sha256", .has_canon = true, .domain = s.domain, .selector = s.selector, .identity = s.identity,
                                  .names = s.header_names, .body_hash = base64_encode(a, s.body_hash.p, s.body_hash.n), .created = s.created,
                                  .expires = s.expires, .data = base64_encode(a, s.data.p, s.data.n)};
  struct str made = str_c(dkim_make_header(a, &spec));
  INVARIANT(dkim_parse_signature(a, made, &again));
  INVARIANT(again.fault == DKIM_SIG_OK && str_eq(again.data, s.data) && str_eq(again.body_hash, s.body_hash));
  while (made.n > 0) INVARIANT(str_cut(&made, '\n').n <= DKIM_LINE_MAX + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  struct str in = str_n((const char *)data, size);
  struct dkim_key k;
  if (size > 20000) return 0;
  check_body(a, in);
  check_header(a, in);
  check_signature(a, in);
  for (int is_seal = 0; is_seal < 2; is_seal++) {
    struct dkim_signature s;
    if (dkim_parse_arc(a, in, is_seal, &s)) INVARIANT(s.fault != DKIM_SIG_OK || (s.instance > 0 && s.domain && s.selector && s.data.n > 0));
  }
  if (dkim_parse_key(a, in, &k)) {
    struct dkim_sum sum = {.n = 32};
    int bits;
    const char *error;
    check_text(k.notes);
    check_text(k.service);
    check_text(k.granularity);
    check_text(k.hashes);
    (void)dkim_check_signature(k.keytype == DKIM_KEY_ED25519 ? DKIM_KEY_ED25519 : DKIM_KEY_RSA, DKIM_SHA256, k.data, &sum, STR("xyz"), 0, &bits, &error);
  }
  arena_free(a);
  return 0;
}
