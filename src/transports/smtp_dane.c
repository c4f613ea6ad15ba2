/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DANE of the smtp transport: is it in effect for a host, and with which TLSA records.  Floor: drivers.  RFC 6698, 7671, 7672; manual 43.18.
 *
 * Asked before the connection is made, for hosts whose names and addresses came with DNSSEC.  A lookup that cannot tell defers the host: nothing
 * is sent, in clear or otherwise, to a host whose records an attacker may be withholding.  Usable are usages 2 and 3 (DANE-TA, DANE-EE);
 * records of other usages are left out, as are those with an impossible length.  A secure set without usable records asks for TLS
 * without authentication (RFC 7672 section 2.2).  Records are hostile input, bounded by the DNS parser. */
#include "transports/smtp_priv.h"

#include "dns.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/tls.h"

enum { DANE_RECORDS_MAX = 64, USAGE_TA = 2, USAGE_EE = 3 };

bool smtp_dane_is_usable(struct str rdata) {
  if (rdata.n < 4) return false;
  unsigned usage = (unsigned char)rdata.p[0], selector = (unsigned char)rdata.p[1], matching = (unsigned char)rdata.p[2];
  if ((usage != USAGE_TA && usage != USAGE_EE) || selector > 1) return false;
  static const size_t length[] = {0, 32, 64}; /* 0: any */
  if (matching >= ARRAY_SIZE(length)) return false;
  return !length[matching] || rdata.n - 3 == length[matching];
}

static void dane_failed(struct smtp_attempt *s, bool required, bool permanent, const char *what) {
  (void)smtp_event(s, NULL, "dane:fail", required ? "dane-required" : "dnssec-invalid", 0);
  smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_DANE, .at = AT_GREETING, .err = permanent ? 0 : ERRNO_DNSDEFER,
                                             .reply = arena_printf(s->a, "DANE error: %s", what)});
}

static void take_records(struct smtp_attempt *s, const struct dns_answer *ans, bool required) {
  struct smtp_dane *dane = ARENA_NEW(s->a, struct smtp_dane);
  struct tls_tlsa *records = ARENA_NEW_N(s->a, struct tls_tlsa, MIN(ans->count, (size_t)DANE_RECORDS_MAX));
  for (const struct dns_rr *rr = ans->answers; rr && dane->count < DANE_RECORDS_MAX; rr = rr->next) {
    struct str rdata = str_n((const char *)rr->rdata, rr->rdlen);
    if (!smtp_dane_is_usable(rdata)) continue;
    records[dane->count++].rdata = rdata;
    s->tls.tlsa_usage |= 1 << (unsigned char)rdata.p[0];
  }
  dane->records = records;
  DEBUG(D_TLS) debug_printf("DANE: %zu usable TLSA records for %s\n", dane->count, s->host->name);
  if (dane->count)
    s->dane = dane;
  else if (required)
    dane_failed(s, true, true, "no usable TLSA record");
  else
    s->dane_unusable = true;
}

static void look_up(struct smtp_attempt *s, bool required) {
  struct dns_answer ans = {0};
  struct dns_query_opts q = {.want_dnssec = true, .cname_limit = -1};
  const char *name = arena_printf(s->a, "_%d._tcp.%s", s->port, s->host->name);
  switch (dns_lookup(s->d->x, name, DNS_T_TLSA, &q, &ans, NULL)) {
    case DNS_SUCCEED:
      if (dns_is_secure(s->d->x, &ans)) {
        take_records(s, &ans, required);
        return;
      }
      log_write(LS_ALWAYS, LOG_MAIN, "DANE error: TLSA lookup for %s not DNSSEC", s->host->name);
      break;
    case DNS_NOMATCH:
    case DNS_NODATA: break;
    case DNS_AGAIN:
    case DNS_FAIL: dane_failed(s, required, false, "tlsa lookup DEFER"); return;
  }
  if (required) dane_failed(s, true, true, "tlsa lookup FAIL");
}

void smtp_dane_check(struct smtp_attempt *s) {
  const struct smtp_opts *ob = s->ob;
  bool required = smtp_is_demanded(s, "hosts_require_dane", ob->hosts_require_dane);
  if (!required && !smtp_is_demanded(s, "hosts_try_dane", ob->hosts_try_dane)) return;
  if (s->fail.trouble != TROUBLE_NONE) return;
  if (s->host->dnssec)
    look_up(s, required);
  else if (required)
    dane_failed(s, true, true, arena_printf(s->a, "%s lookup not DNSSEC", s->host->name));
}
