/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists.  The first byte is the kind, the first line the subject, the rest the list: splitting and joining give the same items (without colons), and
 * matching ends with an outcome.  Lists that could name files or lookups are only split. */
#include "policy/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_WORK = 8 << 20 }; /* the sanitizers are slow */

static void check_split(struct arena *a, const char *list) {
  struct strbuf joined = strbuf_new(a);
  const char *pos = list, *item;
  int sep = 0, sep2 = 0;
  while ((item = list_next(a, &pos, &sep))) {
    if (*item == '\0' || strchr(item, ':')) return; /* an empty item between colons has no text that says so */
    list_append(&joined, ':', item);
  }
  const char *pos2 = arena_printf(a, "<: %s", joined.p);
  pos = list;
  sep = 0;
  for (const char *again; (item = list_next(a, &pos, &sep));) {
    again = list_next(a, &pos2, &sep2);
    INVARIANT(again && strcmp(item, again) == 0);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct config cfg;
  if (size < 1 || size > 4096) return 0;
  struct arena *a = arena_new("fuzz");
  cfg.primary_hostname = "mx.test.ex";
  cfg.o.headers_charset = "UTF-8";
  struct str rest = str_c(arena_strndup_t(a, (const char *)data + 1, size - 1, TAINTED)), subject = str_cut(&rest, '\n');
  const char *list = arena_strndup_t(a, rest.p, rest.n, UNTAINTED), *key = str_dup(a, subject), *value = NULL;
  check_split(a, list);
  if (!strpbrk(list, "/;")) {
    struct expand_ctx x = expand_ctx_new(a, &cfg);
    x.work_limit = FUZZ_WORK;
    x.forbid.run = x.forbid.readfile = x.forbid.readsocket = x.forbid.lookup = x.forbid.exists = true;
    struct match_host h = {.address = key};
    enum outcome o = OUTCOME_FAIL;
    switch (data[0] % 6) {
    case 0: o = match_domain(&x, key, list, &value); break;
    case 1: o = match_local_part(&x, key, list, data[0] & 64, &value); break;
    case 2: o = match_address(&x, key, list, data[0] & 64, &value); break;
    case 3: o = match_string_list(&x, key, list, data[0] & 64, &value); break;
    case 4: o = match_host(&x, &h, list, &value); break;
    default: o = match_ip(&x, key, list); break;
    }
    INVARIANT(o == OUTCOME_OK || o == OUTCOME_FAIL || o == OUTCOME_DEFER || o == OUTCOME_ERROR);
    INVARIANT(x.depth == 0);
  }
  match_cache_clear();
  arena_free(a);
  return 0;
}
