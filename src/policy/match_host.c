/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Items of host lists, and which addresses are ours.  Floor: policy.  Manual ch. 10.10-10.19, 13.
 *
 * The peer's address is trusted (the kernel gave it), its name is not: it came from the DNS and was confirmed forwards before it gets
 * here.  The list of interface addresses is read once per process and kept (on the list of allowed writable globals). */

#include "conn.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/net.h"
#include "policy/match_priv.h"
#include "policy/narrate.h"

/* ---- local addresses ---- */

static struct {
  struct arena *arena;
  struct vec addresses; /* struct ip * */
  bool are_known;
} interfaces;

static const struct vec *interface_addresses(bool want_ipv6) {
  if (!interfaces.are_known) {
    interfaces.arena = arena_new("interfaces");
    interfaces.addresses = net_local_addresses(interfaces.arena, want_ipv6);
    interfaces.are_known = true;
  }
  return &interfaces.addresses;
}

void match_forget_interfaces(void) {
  arena_free(interfaces.arena);
  interfaces.arena = NULL;
  interfaces.are_known = false;
}

static bool in_ip_list(struct expand_ctx *x, const struct ip *ip, const char *list, bool *ret_wildcard) {
  const char *item;
  int sep = 0;
  while ((item = list_next(x->a, &list, &sep)) != NULL) {
    struct str word = str_c(item);
    struct ip one;
    /* Forms with a port: "[ip]:port" and "ip.port". */
    if (word.n && word.p[0] == '[') word = str_n(word.p + 1, str_index(str_n(word.p + 1, word.n - 1), ']'));
    word = str_word(&word);
    if (!ip_parse(word, &one)) {
      size_t dot = word.n;
      while (dot > 0 && word.p[dot - 1] != '.') dot--;
      if (dot == 0 || !ip_parse(str_n(word.p, dot - 1), &one)) continue;
    }
    static const struct ip any4 = {.family = 4}, any6 = {.family = 6};
    if (ip_equal(&one, &any4) || ip_equal(&one, &any6)) *ret_wildcard = true;
    if (ip_equal(&one, ip)) return true;
  }
  return false;
}

bool match_is_local_ip(struct expand_ctx *x, const char *text) {
  struct ip ip;
  bool wildcard = false, ignored = false;
  if (!ip_parse(str_c(text), &ip)) return false;
  ip = ip_unmap(ip);
  const char *configured = x->cfg->o.local_interfaces, *extra = x->cfg->o.extra_local_interfaces;
  if (!configured) wildcard = true;
  else if (in_ip_list(x, &ip, configured, &wildcard)) return true;
  if (extra && in_ip_list(x, &ip, extra, &ignored)) return true;
  if (!wildcard) return false;
  const struct vec *v = interface_addresses(!x->cfg->o.disable_ipv6);
  for (size_t i = 0; i < v->n; i++) {
    struct ip one = *(const struct ip *)v->v[i];
    one.scope = ip.scope;
    if (ip_equal(&one, &ip)) return true;
  }
  return false;
}

/* ---- items by address ---- */

/* Address of the subject as lookup key: masked to bits (-1: not at all); v6 unabbreviated with sep between the groups. */
static const char *address_key(struct arena *a, const struct ip *ip, int bits, char sep) {
  struct ip m = *ip;
  int width = ip->family == 4 ? 32 : 128, total = bits < 0 ? width : MIN(bits, width);
  for (int i = 0; i < width / 8; i++) {
    int keep = MAX(0, MIN(8, total - 8 * i));
    m.b[i] = (uint8_t)(m.b[i] & (0xff00 >> keep));
  }
  struct strbuf b = strbuf_new(a);
  if (m.family == 4) strbuf_addf(&b, "%d.%d.%d.%d", m.b[0], m.b[1], m.b[2], m.b[3]);
  else
    for (int i = 0; i < 16; i += 2) {
      if (i) strbuf_addc(&b, sep);
      strbuf_addf(&b, "%02x%02x", m.b[i], m.b[i + 1]);
    }
  if (bits >= 0) strbuf_addf(&b, "/%d", bits);
  return b.p;
}

static enum outcome bad_lookup(struct list_run *r, const char *item, const char *error) {
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s in host list item \"%s\"", error, item);
  r->error = error;
  return OUTCOME_DEFER;
}

/* "net-type;data" and "net24-type;data".  True when item has that form. */
static bool net_lookup(struct list_run *r, const char *item, const struct ip *ip, enum outcome *ret) {
  struct lookup_type t;
  const char *data, *error = NULL, *type = item;
  int bits = -1;
  if (strncmp(item, "net", 3) == 0) {
    type = item + 3;
    if (ch_isdigit(*type))
      for (bits = 0; ch_isdigit(*type) && bits < 1000; type++) bits = bits * 10 + (*type - '0');
    if (*type++ != '-') return false;
  } else if (!r->host->ip_only) {
    return false;
  }
  if (!match_item_lookup(r->x->a, type, false, &t, &data, &error)) return false;
  if (error) {
    *ret = bad_lookup(r, item, error);
    return true;
  }
  char sep = strcmp(t.driver->name, "iplsearch") == 0 ? ':' : '.';
  *ret = match_run_lookup(r, &t, data, address_key(r->x->a, ip, bits, sep));
  return true;
}

static enum outcome by_plain_name(struct list_run *r, const char *name) {
  struct vec found = vec_new(r->x->a);
  const char *subject = r->host->address;
  if (!match_hooks_get()->host_addresses) {
    r->unknown = true;
    r->error = arena_printf(r->x->a, "failed to find IP address for %s", name);
    return OUTCOME_FAIL;
  }
  enum outcome o = match_hooks_get()->host_addresses(r->x, name, &found);
  struct ip a, b;
  if (o == OUTCOME_OK) {
    if (!ip_parse(str_c(subject), &a)) return OUTCOME_FAIL;
    for (size_t i = 0; i < found.n; i++)
      if (ip_parse(str_c(found.v[i]), &b) && ip_equal(&a, &b)) return OUTCOME_OK;
    return OUTCOME_FAIL;
  }
  r->unknown = o == OUTCOME_FAIL;
  r->error = arena_printf(r->x->a, o == OUTCOME_FAIL ? "failed to find IP address for %s" : "DNS lookup of \"%s\" deferred", name);
  return o;
}

/* ---- items by name ---- */

static enum outcome need_name(struct list_run *r, const char *item) {
  struct match_host *h = r->host;
  if (h->name) return OUTCOME_OK;
  enum outcome o = OUTCOME_FAIL;
  if (h->name_lookup) {
    narrate(r->x, D_LISTS, "sender host name required, to match against %s", item);
    narrate_indent(1);
    o = h->name_lookup(h->ctx, h);
    narrate_indent(-1);
  }
  if (o == OUTCOME_OK && h->name) return OUTCOME_OK;
  /* Exim 4.96 takes a reverse zone that does not answer for one without a name; the manual (10.17) says that it defers, and so no friend is refused for good. */
  r->unknown = o != OUTCOME_DEFER;
  r->error = arena_printf(r->x->a, o == OUTCOME_DEFER ? "host lookup deferred for reverse lookup of %s" : "failed to find host name for %s",
                          h->address);
  return o == OUTCOME_DEFER ? OUTCOME_DEFER : OUTCOME_FAIL;
}

/* The item against the name and all aliases. */
static enum outcome by_name(struct list_run *r, const char *item) {
  enum outcome o = need_name(r, item);
  size_t n = r->host->aliases ? r->host->aliases->n : 0;
  if (o != OUTCOME_OK) return o;
  for (size_t i = 0; i <= n; i++) {
    const char *name = i == 0 ? r->host->name : r->host->aliases->v[i - 1];
    struct list_run one = *r;
    one.text = one.original = name;
    one.specials = false;
    o = match_check_string(&one, item);
    r->value = one.value;
    r->error = one.error;
    if (o != OUTCOME_FAIL) return o;
  }
  return OUTCOME_FAIL;
}

static enum outcome lookup_by_name(struct list_run *r, const char *item, const struct lookup_type *t, const char *data) {
  if (t->driver->flags & (LOOKUP_QUERY | LOOKUP_ABSFILEQUERY)) return match_run_lookup(r, t, data, NULL);
  enum outcome o = need_name(r, item);
  size_t n = r->host->aliases ? r->host->aliases->n : 0;
  for (size_t i = 0; o == OUTCOME_OK && i <= n; i++) {
    const char *name = i == 0 ? r->host->name : r->host->aliases->v[i - 1];
    enum outcome one = match_run_lookup(r, t, data, str_dup_lower(r->x->a, str_c(name)));
    if (one != OUTCOME_FAIL) return one;
  }
  return o == OUTCOME_OK ? OUTCOME_FAIL : o;
}

enum outcome match_check_host(struct list_run *r, const char *item) {
  const char *address = r->host->address;
  struct lookup_type t;
  const char *data, *error = NULL;
  struct ip ip, net;
  int bits = -1;
  enum outcome o;
  /* Only patterns for names and lookups have a value to hand out. */
  r->value = NULL;
  if (*item == '\0') return address ? OUTCOME_FAIL : OUTCOME_OK;
  if (strcmp(item, "*") == 0) return OUTCOME_OK;
  if (!address) return OUTCOME_FAIL;
  bool have_ip = ip_parse(str_c(address), &ip);
  if (have_ip) ip = ip_unmap(ip);
  if (strcmp(item, "@[]") == 0) return have_ip && match_is_local_ip(r->x, address) ? OUTCOME_OK : OUTCOME_FAIL;
  if (strcmp(item, "@") == 0) return by_plain_name(r, r->x->cfg->primary_hostname);
  if (ip_text_kind(item, &bits)) {
    size_t n = strcspn(item, "/");
    if (!have_ip || !ip_parse(str_n(item, n), &net) || net.family != ip.family) return OUTCOME_FAIL;
    return ip_in_net(&ip, &net, bits < 0 ? (ip.family == 4 ? 32 : 128) : bits) ? OUTCOME_OK : OUTCOME_FAIL;
  }
  if (have_ip && net_lookup(r, item, &ip, &o)) return o;
  if (*item == '*' || *item == '^') return by_name(r, item);
  const char *bare = strncmp(item, "net-", 4) == 0 ? item + 4 : item; /* has no effect before a query */
  if (match_item_lookup(r->x->a, bare, false, &t, &data, &error)) return error ? bad_lookup(r, item, error) : lookup_by_name(r, bare, &t, data);
  if (strchr(item, '/') || !item[strspn(item, "0123456789.")]) {
    r->unknown = true;
    r->error = "malformed IPv4 address or address mask";
    return OUTCOME_FAIL;
  }
  return by_plain_name(r, item);
}
