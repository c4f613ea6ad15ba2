/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queries of the ldap lookups: the URL is a part of the text, what is quoted cannot end a filter or a name, and no password is shown. */
#include <stdlib.h>

#include "formats/ldap_query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Quoted text: nothing but what may stand unquoted, and triples of '%'. */
static void check_quoted(struct str s, const char *plain) {
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] == '%') {
      INVARIANT(i + 2 < s.n && ch_isxdigit(s.p[i + 1]) && ch_isxdigit(s.p[i + 2]));
      i += 2;
    } else {
      INVARIANT(ch_isalnum(s.p[i]) || strchr(plain, s.p[i]));
    }
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  const char *text = arena_strndup_t(a, (const char *)data, strnlen((const char *)data, size), TAINTED);
  struct ldap_query q;
  if (!ldap_query_parse(a, text, &q)) {
    INVARIANT(q.url >= text && q.url <= text + strlen(text));
    INVARIANT(!q.password || is_tainted(q.password));
    INVARIANT(q.size_entries >= 0 && q.time_sec >= 0 && q.nettime_sec >= 0);
    const char *shown = ldap_query_hide(a, text);
    if (q.password && strlen(q.password) > 12 && !strstr(q.url, q.password)) {
      /* It may be shown only where it stands in another setting as well. */
      bool elsewhere = (q.user && strstr(q.user, q.password)) || (q.servers && strstr(q.servers, q.password)) || strstric(q.password, "pass=");
      INVARIANT(elsewhere || !strstr(shown, q.password) || strchr(q.password, '%'));
    }
  }
  struct strbuf filter = strbuf_new(a), dn = strbuf_new(a), value = strbuf_new(a);
  struct str bytes = str_n((const char *)data, size);
  ldap_query_quote_filter(&filter, bytes);
  ldap_query_quote_dn(&dn, bytes);
  check_quoted(strbuf_str(&filter), "!$'-._+");
  check_quoted(strbuf_str(&dn), "!$'-._()*+");
  ldap_query_add_value(&value, bytes, true);
  INVARIANT(!memchr(value.p, '\n', value.n));
  arena_free(a);
  return 0;
}
