/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ldap, ldapm, ldapdn, and binds for the condition ldapauth: directories through the library of OpenLDAP.  Floor: drivers.  Manual ch. 9.14-9.19.
 *
 * The query may hold foreign text: quoting it is the configuration's duty (${quote_ldap:, ${quote_ldap_dn:), the lookup core tells of what was not.
 * What is found is the administrator's data and clean, unless what was not quoted may have changed the query.  It comes as bytes with a length, of which everything from a NUL on is dropped; more than
 * RESULT_MAX is refused.  Servers are asked in turn until one has answered; no answer is a temporary failure, never "not found".  Connections are kept
 * and bound anew only for another user (ldap_connect.c).  No password is ever shown. */
#include "lookups/ldap_priv.h"
#include "lookups/lookups_priv.h"
#include "os/debug.h"
#include "policy/match.h"

enum { RESULT_MAX = 16 << 20 };

/* ---- entries ---- */

/* The values of one attribute, each as a C string; empty ones do not count.  True: there was one. */
static bool add_values(struct ldap_search *s, LDAP *ld, LDAPMessage *entry, const char *name, bool is_named, bool has_comma) {
  struct berval **values = ldap_get_values_len(ld, entry, name);
  bool any = has_comma;
  for (int i = 0; values && values[i]; i++) {
    struct str v = str_n(values[i]->bv_val, strnlen(values[i]->bv_val, values[i]->bv_len));
    if (!v.n) continue;
    if (any) strbuf_addc(&s->text, ',');
    else if (is_named) strbuf_addl(&s->text, s->line_n < s->text.n ? " " : "", name, "=\"", NULL);
    any = true;
    ldap_query_add_value(&s->text, v, is_named);
  }
  ldap_value_free_len(values);
  return any;
}

static void add_attributes(struct ldap_search *s, LDAP *ld, LDAPMessage *entry) {
  bool is_named = !s->url->lud_attrs || !s->url->lud_attrs[0] || s->url->lud_attrs[1], any = false;
  BerElement *cursor = NULL;
  s->line_n = s->text.n;
  for (char *name = ldap_first_attribute(ld, entry, &cursor); name; name = ldap_next_attribute(ld, entry, cursor)) {
    bool has_value = add_values(s, ld, entry, name, is_named, any && !is_named);
    if (has_value && is_named) strbuf_addc(&s->text, '"');
    any = has_value;
    if (has_value) s->any_value = true;
    ldap_memfree(name);
  }
  if (cursor) ber_free(cursor, 0);
}

static void add_entry(struct ldap_search *s, LDAP *ld, LDAPMessage *entry) {
  char *dn = ldap_get_dn(ld, entry);
  if (dn) s->dn = arena_strdup_t(s->x->a, dn, s->found_taint);
  ldap_memfree(dn);
  s->entries++;
  if (s->mode == LDAP_NAME_ONLY) return;
  if (s->text.n) strbuf_addc(&s->text, '\n');
  add_attributes(s, ld, entry);
}

/* ---- one search ---- */

static enum ldap_verdict judge_end(struct ldap_search *s, LDAP *ld, LDAPMessage *m) {
  int code = LDAP_SUCCESS;
  char *matched = NULL, *text = NULL;
  int rc = ldap_parse_result(ld, m, &code, &matched, &text, NULL, NULL, 0);
  if (rc != LDAP_SUCCESS) code = rc;
  enum ldap_verdict v = LDAP_ANSWERED;
  if (code == LDAP_NO_SUCH_OBJECT || code == LDAP_INVALID_DN_SYNTAX) v = LDAP_NOT_FOUND;
  else if (code != LDAP_SUCCESS && code != LDAP_SIZELIMIT_EXCEEDED)
    v = ldap_say(s, LDAP_GIVE_UP, "LDAP search failed - error %d: %s%s%s%s%s", code, ldap_err2string(code), matched && *matched ? "/" : "",
                 matched ? matched : "", text && *text ? "/" : "", text ? text : "");
  ldap_memfree(matched);
  ldap_memfree(text);
  return v;
}

static enum ldap_verdict take_answer(struct ldap_search *s, LDAP *ld, int id) {
  enum ldap_verdict v = LDAP_ANSWERED;
  for (bool is_end = false; !is_end;) {
    LDAPMessage *m = ldap_await(s, ld, id);
    if (!m) {
      v = ldap_say(s, LDAP_NEXT_SERVER, "LDAP search failed: %s from server %s", s->timed_out ? "timeout" : "no answer", s->server);
      break;
    }
    int type = ldap_msgtype(m);
    is_end = type == LDAP_RES_SEARCH_RESULT;
    if (is_end) v = judge_end(s, ld, m);
    if (type == LDAP_RES_SEARCH_ENTRY) add_entry(s, ld, m);
    (void)ldap_msgfree(m);
    if (s->text.n <= RESULT_MAX) continue;
    v = ldap_say(s, LDAP_GIVE_UP, "LDAP search: result larger than %d bytes", RESULT_MAX);
    (void)ldap_abandon_ext(ld, id, NULL, NULL);
    break;
  }
  return v;
}

static enum ldap_verdict judge_result(struct ldap_search *s) {
  if (s->mode != LDAP_MANY_ENTRIES && s->entries > 1)
    return ldap_say(s, LDAP_GIVE_UP, "LDAP search: more than one entry (%d) was returned (filter not specific enough?)", s->entries);
  if (!s->entries || (s->mode != LDAP_NAME_ONLY && !s->any_value)) return LDAP_NOT_FOUND;
  s->ret->data = s->mode == LDAP_NAME_ONLY ? s->dn : s->text.p;
  s->ret->ldap_dn = s->dn;
  return LDAP_ANSWERED;
}

static enum ldap_verdict search_now(struct ldap_search *s, LDAP *ld) {
  struct timeval limit = {.tv_sec = s->q.time_sec};
  int id;
  s->text = strbuf_new_t(s->x->a, s->found_taint, 128);
  s->entries = 0;
  s->any_value = false;
  s->dn = NULL;
  int rc = ldap_search_ext(ld, s->url->lud_dn, s->url->lud_scope, s->url->lud_filter, s->url->lud_attrs, 0, NULL, NULL,
                           s->q.time_sec > 0 ? &limit : NULL, (int)s->q.size_entries, &id);
  if (rc != LDAP_SUCCESS)
    return ldap_say(s, rc == LDAP_SERVER_DOWN ? LDAP_NEXT_SERVER : LDAP_GIVE_UP, "ldap_search failed: %d, %s", rc, ldap_err2string(rc));
  enum ldap_verdict v = take_answer(s, ld, id);
  return v == LDAP_ANSWERED ? judge_result(s) : v;
}

/* ---- servers ---- */

/* One server.  A connection that was kept may have been ended by the server meanwhile: then a new one is tried. */
static enum ldap_verdict ask_server(struct ldap_search *s, const char *host, int port) {
  for (;;) {
    struct ldap_link *l;
    bool was_kept;
    enum ldap_verdict v = ldap_link_get(s, host, port, &l, &was_kept);
    if (v != LDAP_ANSWERED) return v;
    v = ldap_link_bind(s, l);
    if (v == LDAP_ANSWERED && s->mode != LDAP_BIND_ONLY) v = search_now(s, ldap_link_handle(l));
    if (v != LDAP_NEXT_SERVER) return v;
    ldap_link_drop(s, l);
    if (!was_kept || s->timed_out) return v;
  }
}

/* "host", "host:port", "[v6]:port" or a path.  The default of a missing port is 0. */
static const char *server_of_item(struct arena *a, const char *item, int *ret_port) {
  struct str s = str_c(item), host = s;
  *ret_port = 0;
  if (*item == '/') return item;
  size_t close = *item == '[' ? str_index(s, ']') : s.n;
  if (close < s.n) {
    host = str_n(s.p + 1, close - 1);
    s = str_n(s.p + close + 1, s.n - close - 1);
  } else {
    host.n = str_index(s, ':');
    s = str_n(s.p + host.n, s.n - host.n);
  }
  uint64_t n = 0;
  size_t digits = 0;
  if (s.n && *s.p == ':') s = str_n(s.p + 1, s.n - 1);
  while (digits < s.n && ch_isdigit(s.p[digits])) digits++;
  if (str_parse_u64(str_n(s.p, digits), &n) && n <= 65535) *ret_port = (int)n;
  return str_dup(a, host);
}

static enum ldap_verdict ask_servers(struct ldap_search *s) {
  const char *list = s->q.servers ? s->q.servers : s->x->cfg ? s->x->cfg->o.ldap_default_servers : NULL, *item;
  if (s->url->lud_host && *s->url->lud_host) return ask_server(s, arena_strdup(s->x->a, s->url->lud_host), s->url->lud_port);
  if (!list) return ask_server(s, NULL, s->url->lud_port);
  enum ldap_verdict v = ldap_say(s, LDAP_GIVE_UP, "no LDAP servers in the list");
  int sep = 0;
  while ((item = list_next(s->x->a, &list, &sep)) != NULL) {
    int port;
    const char *host = server_of_item(s->x->a, item, &port);
    v = ask_server(s, host, port ? port : s->url->lud_port);
    if (v != LDAP_NEXT_SERVER) break;
  }
  return v;
}

/* Read the query and carry it out. */
static enum ldap_verdict run(struct ldap_search *s, const char *query) {
  const char *error = ldap_query_parse(s->x->a, query, &s->q);
  if (error) return ldap_say(s, LDAP_GIVE_UP, "%s", error);
  const char *url = s->mode == LDAP_BIND_ONLY && !*s->q.url ? "ldap:///" : s->q.url;
  if (!*url) return ldap_say(s, LDAP_GIVE_UP, "malformed parameter setting precedes LDAP URL");
  if (!ldap_query_is_url(url))
    return ldap_say(s, LDAP_GIVE_UP, "LDAP URL does not start with \"ldap://\", \"ldaps://\", or \"ldapi://\" (it starts with \"%.16s...\")", url);
  if (s->mode == LDAP_BIND_ONLY) {
    if (!s->q.user || !s->q.password) return ldap_say(s, LDAP_GIVE_UP, "ldapauth lookups must specify the username and password");
    if (!*s->q.password) return LDAP_NOT_FOUND; /* an anonymous bind, which is always accepted */
  }
  int rc = ldap_url_parse(url, &s->url);
  if (rc != LDAP_URL_SUCCESS) return ldap_say(s, LDAP_GIVE_UP, "ldap_url_parse: (error %d) parsing \"%s\"", rc, url);
  enum ldap_verdict v = ask_servers(s);
  ldap_free_urldesc(s->url);
  return v;
}

/* ---- the drivers ---- */

static enum outcome answer(struct expand_ctx *x, void *handle, const char *query, enum ldap_mode mode, struct lookup_result *ret) {
  struct ldap_search s = {.x = x, .pool = handle, .mode = mode, .ret = ret, .found_taint = lookup_found_taint(&lookup_ldap, query)};
  switch (run(&s, query)) {
  case LDAP_ANSWERED: return OUTCOME_OK;
  case LDAP_NOT_FOUND: return OUTCOME_FAIL;
  case LDAP_NEXT_SERVER:
  case LDAP_GIVE_UP: break;
  }
  return OUTCOME_DEFER;
}

static bool is_blank(const char *query) { return !str_trim(str_c(query)).n; }

static enum outcome find_one_entry(struct expand_ctx *x, void *handle, const char *file UNUSED, const char *key, const char *opts UNUSED,
                                   struct lookup_result *ret) {
  return is_blank(key) ? OUTCOME_FAIL : answer(x, handle, key, LDAP_ONE_ENTRY, ret);
}

static enum outcome find_entries(struct expand_ctx *x, void *handle, const char *file UNUSED, const char *key, const char *opts UNUSED,
                                 struct lookup_result *ret) {
  return is_blank(key) ? OUTCOME_FAIL : answer(x, handle, key, LDAP_MANY_ENTRIES, ret);
}

static enum outcome find_name(struct expand_ctx *x, void *handle, const char *file UNUSED, const char *key, const char *opts UNUSED,
                              struct lookup_result *ret) {
  return is_blank(key) ? OUTCOME_FAIL : answer(x, handle, key, LDAP_NAME_ONLY, ret);
}

static enum outcome authenticate(struct expand_ctx *x, void *handle, const char *query, const char **ret_error) {
  struct lookup_result ret = {0};
  enum outcome o = answer(x, handle, query, LDAP_BIND_ONLY, &ret);
  *ret_error = ret.error;
  return o;
}

static const char *quote(struct arena *a, const char *s, const char *opt) {
  if (opt && strcmp(opt, "dn") != 0) return NULL;
  struct strbuf b = strbuf_new_t(a, taint_kind(s), strlen(s) + 1);
  if (opt) ldap_query_quote_dn(&b, str_c(s));
  else ldap_query_quote_filter(&b, str_c(s));
  return b.p;
}

const struct lookup_driver lookup_ldap = {.name = "ldap", .flags = LOOKUP_QUERY, .open = ldap_open_pool, .find = find_one_entry, .close = ldap_close_pool,
                                          .quote = quote, .quoter = "ldap", .hide = ldap_query_hide, .authenticate = authenticate};
const struct lookup_driver lookup_ldapdn = {.name = "ldapdn", .flags = LOOKUP_QUERY, .open = ldap_open_pool, .find = find_name, .close = ldap_close_pool,
                                            .quote = quote, .quoter = "ldap", .hide = ldap_query_hide, .handle_of = &lookup_ldap};
const struct lookup_driver lookup_ldapm = {.name = "ldapm", .flags = LOOKUP_QUERY, .open = ldap_open_pool, .find = find_entries, .close = ldap_close_pool,
                                           .quote = quote, .quoter = "ldap", .hide = ldap_query_hide, .handle_of = &lookup_ldap};
