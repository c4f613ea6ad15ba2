/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rewriting.  The first line is a rule, the rest a header line: a changed line keeps its name and ends with a newline. */
#include "formats/rfc5322.h"
#include "message.h"
#include "policy/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct config cfg;
  if (size > 4096) return 0;
  struct arena *a = arena_new("fuzz");
  cfg.primary_hostname = "mx.test.ex";
  cfg.qualify_domain = cfg.qualify_recipient = "test.ex";
  cfg.o.headers_charset = "UTF-8";
  struct str rest = str_c(arena_strndup_t(a, (const char *)data, size, TAINTED)), line = str_cut(&rest, '\n');
  struct rewrite_rule r;
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  x.forbid.run = x.forbid.readfile = x.forbid.readsocket = x.forbid.lookup = x.forbid.exists = true;
  /* A pattern is a list item: one with a slash could name a file, one with a semicolon a lookup. */
  bool reaches_out = memchr(line.p, '/', line.n) || memchr(line.p, ';', line.n) || memchr(line.p, '$', line.n);
  const char *text = arena_strndup_t(a, line.p, line.n, UNTAINTED);
  if (!reaches_out && !rewrite_parse_rule(a, text, (struct conf_pos){0}, 0, &r)) {
    r.next = NULL;
    struct header_line h = {.text = str_dup(a, rest), .n = rest.n, .type = ' '};
    const char *got = rewrite_header(&x, &h, &r);
    struct str name, value, name2, value2;
    if (got) {
      INVARIANT(got[strlen(got) - 1] == '\n');
      INVARIANT(header_split(rest, &name, &value) && header_split(str_c(got), &name2, &value2) && str_eq(name, name2));
    }
    const char *address = str_dup(a, rest), *now = rewrite_address(&x, address, REWRITE_ENVFROM, &r);
    INVARIANT(now && (now == address || strcmp(now, address) != 0));
    INVARIANT(x.depth == 0);
  }
  arena_free(a);
  return 0;
}
