/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DNS answers: the first byte chooses the type asked, the rest is the message.  Every decoded field is read. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "formats/dns_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void use(const char *s) {
  if (s && strlen(s) > 4096) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static const int types[] = {DNS_T_A, DNS_T_AAAA, DNS_T_MX, DNS_T_SRV, DNS_T_TXT, DNS_T_TLSA, DNS_T_SOA, DNS_T_NS, DNS_T_PTR, DNS_T_CNAME, DNS_T_SPF};
  if (n < 1) return 0;
  struct arena *a = arena_new("fuzz");
  struct dns_answer ans;
  int type = types[data[0] % ARRAY_SIZE(types)];
  if (dns_parse_answer(a, data + 1, n - 1, "_submission._tcp.example.org", type, &ans)) {
    size_t count = 0;
    for (const struct dns_rr *rr = ans.answers; rr; rr = rr->next, count++) {
      size_t off = 0, total = 0;
      struct str s;
      use(rr->owner);
      use(rr->name);
      use(rr->rname);
      use(rr->address);
      for (size_t i = 0; i < rr->rdlen; i++) total += rr->rdata[i];
      while (dns_txt_next(rr, &off, &s))
        for (size_t i = 0; i < s.n; i++) total += (unsigned char)s.p[i];
      if (total == SIZE_MAX || rr->type != type) abort();
    }
    if (count != ans.count) abort();
    if (ans.chain_open && ans.count) abort();
    if (ans.chain_loop && ans.count) abort();
  }
  arena_free(a);
  return 0;
}
