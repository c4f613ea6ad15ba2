/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Client SMTP authorization (dns_csa.h).  Floor: drivers.
 *
 * A record has the version in its priority (1), the authorization in its weight (1 no, 2 yes) and in bit 1 of its port the demand that subdomains have
 * records of their own.  A domain without a record is looked for at its parents, up to dns_csa_search_limit of them and never at a top-level domain;
 * there only the demand counts.  An address stands for its name in the reverse DNS.  Hostile: domain, answers.  The condition never defers:
 * a name server that is down must not stop mail. */
#include "dns_csa.h"

#include <string.h>

#include "base/ip.h"
#include "conn.h"
#include "os/debug.h"

enum { CSA_VERSION = 1, CSA_NOT_AUTHORIZED = 1, CSA_AUTHORIZED = 2, CSA_EXPLICIT_ONLY = 1 };

/* The name to ask for: a literal or an address is turned round.  NULL: nothing to ask. */
static const char *name_of(struct expand_ctx *x, const char *domain) {
  struct str s = str_c(domain);
  char reversed[128];
  struct ip ip;
  if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']') s = str_n(s.p + 1, s.n - 2);
  if (!ip_parse(s, &ip)) return s.n == strlen(domain) ? domain : NULL;
  if (!x->cfg->o.dns_csa_use_reverse) return NULL;
  return arena_strdup_t(x->a, ip_reverse(&ip, true, reversed, sizeof reversed), is_tainted(domain) ? TAINTED : UNTAINTED);
}

static char code_of(const struct dns_rr *rr, bool is_parent) {
  if (is_parent) return rr->port & CSA_EXPLICIT_ONLY ? 'X' : '?';
  if (rr->weight == CSA_AUTHORIZED) return 'Y';
  return rr->weight < CSA_AUTHORIZED ? 'N' : '?';
}

enum dns_status dns_csa_find(struct expand_ctx *x, const char *domain, const struct dns_query_opts *o, char *ret_code, const char **ret_target,
                             struct dns_answer *ret_answer) {
  const char *name = name_of(x, domain);
  if (!name || !*name) return DNS_NOMATCH;
  for (int64_t up = 0; up <= x->cfg->o.dns_csa_search_limit; up++) {
    enum dns_status st = dns_lookup(x, arena_printf(x->a, "_client._smtp.%s", name), DNS_T_SRV, o, ret_answer, NULL);
    if (st == DNS_AGAIN || st == DNS_FAIL) return DNS_AGAIN;
    for (const struct dns_rr *rr = st == DNS_SUCCEED ? ret_answer->answers : NULL; rr; rr = rr->next) {
      if (rr->type != DNS_T_SRV || rr->pref != CSA_VERSION) continue;
      *ret_code = code_of(rr, up > 0);
      *ret_target = rr->name;
      return DNS_SUCCEED;
    }
    name = strchr(name, '.');
    if (!name || !strchr(++name, '.')) break;
  }
  return DNS_NOMATCH;
}

enum target { TARGET_MATCHES, TARGET_DIFFERS, TARGET_NONE, TARGET_UNKNOWN };

/* Is the client's address one of the target's? */
static enum target check_target(struct expand_ctx *x, const char *target, const struct dns_query_opts *o) {
  struct ip client, ip;
  if (!ip_parse(str_c(x->conn->from.host_address), &client)) return TARGET_NONE;
  client = ip_unmap(client);
  struct dns_answer ans;
  enum dns_status st = dns_lookup(x, target, client.family == 6 ? DNS_T_AAAA : DNS_T_A, o, &ans, NULL);
  if (st == DNS_AGAIN || st == DNS_FAIL) return TARGET_UNKNOWN;
  enum target t = TARGET_NONE;
  for (const struct dns_rr *rr = st == DNS_SUCCEED ? ans.answers : NULL; rr; rr = rr->next) {
    if (!rr->address || !ip_parse(str_c(rr->address), &ip)) continue;
    t = TARGET_DIFFERS;
    if (ip_equal(&ip, &client)) return TARGET_MATCHES;
  }
  return t;
}

static enum outcome failed(struct expand_ctx *x, const char *why, const char **ret_log) {
  x->csa_status = "fail";
  *ret_log = arena_printf(x->a, "client SMTP authorization failed (%s)", why);
  return OUTCOME_FAIL;
}

static enum outcome passed(struct expand_ctx *x, const char *status) {
  x->csa_status = status;
  return OUTCOME_OK;
}

enum outcome dns_csa_verify(struct expand_ctx *x, const char *domain, const char **ret_log) {
  static const struct dns_query_opts plain = {.cname_limit = -1};
  const struct origin *from = x->conn ? &x->conn->from : NULL;
  if (!from || !from->host_address) return passed(x, "unknown");
  if (!domain || !*domain) domain = from->helo_name ? from->helo_name : from->host_address;
  struct dns_answer ans;
  const char *target = NULL;
  char code = '?';
  switch (dns_csa_find(x, domain, &plain, &code, &target, &ans)) {
  case DNS_SUCCEED: break;
  case DNS_AGAIN:
  case DNS_FAIL: return passed(x, "defer");
  case DNS_NOMATCH:
  case DNS_NODATA: return passed(x, "unknown");
  }
  if (code == 'N') return failed(x, "host name not authorized", ret_log);
  if (code == 'X') return failed(x, "explicit authorization required", ret_log);
  if (code != 'Y') return passed(x, "unknown");
  switch (check_target(x, target, &plain)) {
  case TARGET_MATCHES: return passed(x, "ok");
  case TARGET_DIFFERS: return failed(x, "client address mismatch", ret_log);
  case TARGET_NONE: return failed(x, "no client address", ret_log);
  case TARGET_UNKNOWN: break;
  }
  return passed(x, "defer");
}
