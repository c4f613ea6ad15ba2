/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections to LDAP servers: made, secured, bound, kept.  Floor: drivers.  Manual ch. 9.15, 9.17, 9.18, options ldap_*.
 *
 * TLS settings are those of the connection, never the library's global ones.  Where TLS is asked for and cannot be had, the server is not used: nothing
 * is sent in clear instead.  Kept users and passwords live as long as their connection. */
#include "lookups/ldap_priv.h"

#include <sys/time.h>

#include "os/debug.h"

enum { ANSWER_TIMEOUT_SEC = 300 };

struct ldap_link {
  struct arena *arena;
  struct arena_mark mark;      /* before user and password */
  LDAP *ld;
  bool is_bound;
  const char *user, *password; /* of the last bind, "" anonymous */
};

LDAP *ldap_link_handle(struct ldap_link *l) { return l->ld; }

enum ldap_verdict ldap_say(struct ldap_search *s, enum ldap_verdict v, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  s->ret->error = arena_vprintf(s->x->a, fmt, ap);
  va_end(ap);
  DEBUG(D_LOOKUP) debug_printf("LDAP: %s\n", s->ret->error);
  return v;
}

static void close_link(void *connection) {
  struct ldap_link *l = connection;
  (void)ldap_unbind_ext(l->ld, NULL, NULL);
  arena_free(l->arena);
}

enum outcome ldap_open_pool(struct expand_ctx *x UNUSED, const char *file UNUSED, void **ret_handle, const char **ret_error UNUSED) {
  *ret_handle = server_pool_new(close_link);
  return OUTCOME_OK;
}

void ldap_close_pool(void *handle) { server_pool_free(handle); }

void ldap_link_drop(struct ldap_search *s, const struct ldap_link *l) { server_pool_drop(s->pool, l); }

/* ---- TLS ---- */

static int require_cert(const char *word) {
  static const struct {
    const char *word;
    int value;
  } words[] = {{"hard", LDAP_OPT_X_TLS_HARD}, {"demand", LDAP_OPT_X_TLS_DEMAND}, {"allow", LDAP_OPT_X_TLS_ALLOW}, {"try", LDAP_OPT_X_TLS_TRY}};
  for (size_t i = 0; i < ARRAY_SIZE(words); i++)
    if (strcmpic(word, words[i].word) == 0) return words[i].value;
  return LDAP_OPT_X_TLS_NEVER;
}

/* Give the connection the TLS settings of the configuration.  An LDAP_OPT_ code. */
static int set_tls(LDAP *ld, const struct main_options *o) {
  const struct {
    int option;
    const char *value;
  } texts[] = {
    {LDAP_OPT_X_TLS_CACERTFILE, o->ldap_ca_cert_file}, {LDAP_OPT_X_TLS_CACERTDIR, o->ldap_ca_cert_dir}, {LDAP_OPT_X_TLS_CERTFILE, o->ldap_cert_file},
    {LDAP_OPT_X_TLS_KEYFILE, o->ldap_cert_key},        {LDAP_OPT_X_TLS_CIPHER_SUITE, o->ldap_cipher_suite},
  };
  bool any = false;
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
    if (!texts[i].value || !*texts[i].value) continue;
    int rc = ldap_set_option(ld, texts[i].option, texts[i].value);
    if (rc != LDAP_OPT_SUCCESS) return rc;
    any = true;
  }
  if (o->ldap_require_cert && *o->ldap_require_cert) {
    int level = require_cert(o->ldap_require_cert), rc = ldap_set_option(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &level);
    if (rc != LDAP_OPT_SUCCESS) return rc;
    any = true;
  }
  int is_server = 0;
  return any ? ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &is_server) : LDAP_OPT_SUCCESS;
}

/* ---- connecting ---- */

static struct timeval answer_timeout(const struct ldap_search *s) {
  return (struct timeval){.tv_sec = s->q.nettime_sec > 0 ? s->q.nettime_sec : ANSWER_TIMEOUT_SEC};
}

/* What this query wants, of a new connection and of a kept one. */
static void set_query_options(const struct ldap_search *s, LDAP *ld) {
  static const int derefs[] = {LDAP_DEREF_NEVER, LDAP_DEREF_SEARCHING, LDAP_DEREF_FINDING, LDAP_DEREF_ALWAYS};
  struct timeval never = {.tv_sec = -1}, limit = answer_timeout(s);
  int deref = s->q.deref == LDAP_QUERY_DEREF_UNSET ? LDAP_DEREF_NEVER : derefs[s->q.deref];
  (void)ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, s->q.nettime_sec > 0 ? &limit : &never);
  (void)ldap_set_option(ld, LDAP_OPT_TIMEOUT, &limit);
  (void)ldap_set_option(ld, LDAP_OPT_REFERRALS, s->q.follow_referrals ? LDAP_OPT_ON : LDAP_OPT_OFF);
  (void)ldap_set_option(ld, LDAP_OPT_DEREF, &deref);
}

/* The server as the library wants it; "" without a host: the library's default. */
static const char *server_uri(struct ldap_search *s, const char *host, int port, bool is_path) {
  const char *scheme = s->url->lud_scheme;
  struct strbuf b = strbuf_new(s->x->a);
  if (is_path) {
    strbuf_adds(&b, "ldapi://");
    for (const char *p = host; *p; p++) {
      if (*p == '/') strbuf_adds(&b, "%2F");
      else if (*p == '%') strbuf_adds(&b, "%25");
      else strbuf_addc(&b, *p);
    }
    strbuf_addc(&b, '/');
  } else if (!host) {
    strbuf_addl(&b, scheme, ":///", NULL);
  } else {
    bool is_v6 = strchr(host, ':') != NULL;
    strbuf_addl(&b, scheme, "://", is_v6 ? "[" : "", host, is_v6 ? "]" : "", NULL);
    strbuf_addf(&b, ":%d/", port);
  }
  return b.p;
}

static enum ldap_verdict connect_to(struct ldap_search *s, const char *uri, struct ldap_link **ret) {
  static const struct main_options none = {.ldap_version = -1};
  const struct main_options *o = s->x->cfg ? &s->x->cfg->o : &none;
  LDAP *ld = NULL;
  int rc = ldap_initialize(&ld, uri);
  if (rc != LDAP_SUCCESS) return ldap_say(s, LDAP_NEXT_SERVER, "ldap_initialize: (error %d) URL \"%s\"", rc, uri);
  int version = o->ldap_version > 0 ? (int)o->ldap_version : LDAP_VERSION3;
  rc = ldap_set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &version);
  set_query_options(s, ld);
  if (rc == LDAP_OPT_SUCCESS && strncmp(uri, "ldapi:", 6) != 0) rc = set_tls(ld, o);
  if (rc != LDAP_OPT_SUCCESS) {
    (void)ldap_unbind_ext(ld, NULL, NULL);
    return ldap_say(s, LDAP_NEXT_SERVER, "failed to set up an LDAP session to server %s: wrong ldap_version or TLS settings", s->server);
  }
  if (o->ldap_start_tls && strncmp(uri, "ldap:", 5) == 0 && (rc = ldap_start_tls_s(ld, NULL, NULL)) != LDAP_SUCCESS) {
    (void)ldap_unbind_ext(ld, NULL, NULL);
    return ldap_say(s, LDAP_NEXT_SERVER, "failed to initiate TLS processing on an LDAP session to server %s - ldap_start_tls_s() returned %d: %s", s->server,
                    rc, ldap_err2string(rc));
  }
  struct arena *a = arena_new("LDAP connection");
  struct ldap_link *l = ARENA_NEW(a, struct ldap_link);
  *l = (struct ldap_link){.arena = a, .ld = ld, .mark = arena_mark(a), .user = "", .password = ""};
  server_pool_add(s->pool, uri, l);
  *ret = l;
  return LDAP_ANSWERED;
}

enum ldap_verdict ldap_link_get(struct ldap_search *s, const char *host, int port, struct ldap_link **ret, bool *ret_was_kept) {
  bool is_path = host && *host == '/', is_ldapi = strcmpic(s->url->lud_scheme, "ldapi") == 0;
  s->server = is_path ? host : arena_printf(s->x->a, "%s:%d", host ? host : "NULL", port);
  if (is_ldapi && host && !is_path) return ldap_say(s, LDAP_NEXT_SERVER, "ldapi requires an absolute path (\"%s\" given)", host);
  const char *uri = server_uri(s, host, port, is_path);
  *ret = server_pool_find(s->pool, uri);
  *ret_was_kept = *ret != NULL;
  if (!*ret) return connect_to(s, uri, ret);
  DEBUG(D_LOOKUP) debug_printf("re-using cached connection to LDAP server %s\n", s->server);
  set_query_options(s, (*ret)->ld);
  return LDAP_ANSWERED;
}

/* ---- binding ---- */

LDAPMessage *ldap_await(struct ldap_search *s, LDAP *ld, int id) {
  struct timeval limit = answer_timeout(s);
  LDAPMessage *m = NULL;
  int rc = ldap_result(ld, id, LDAP_MSG_ONE, &limit, &m);
  s->timed_out = rc == 0;
  if (rc > 0) return m;
  if (m) (void)ldap_msgfree(m);
  return NULL;
}

static enum ldap_verdict bind_now(struct ldap_search *s, LDAP *ld, const char *user, const char *password) {
  /* The library only reads it. */
  struct berval credentials = {.bv_len = strlen(password), .bv_val = (char *)(uintptr_t)password};
  int id, code;
  s->timed_out = false;
  int rc = ldap_sasl_bind(ld, user, LDAP_SASL_SIMPLE, &credentials, NULL, NULL, &id);
  if (rc != LDAP_SUCCESS)
    return ldap_say(s, LDAP_NEXT_SERVER, "failed to bind the LDAP connection to server %s - ldap_bind() returned -1", s->server);
  LDAPMessage *m = ldap_await(s, ld, id);
  if (!m) return ldap_say(s, LDAP_NEXT_SERVER, "failed to bind the LDAP connection to server %s - LDAP error: %s", s->server, s->timed_out ? "timeout" : "no answer");
  rc = ldap_parse_result(ld, m, &code, NULL, NULL, NULL, NULL, 1);
  if (rc != LDAP_SUCCESS) code = rc;
  if (code == LDAP_SUCCESS) return LDAP_ANSWERED;
  if (code == LDAP_INVALID_CREDENTIALS && s->mode == LDAP_BIND_ONLY) return LDAP_NOT_FOUND;
  return ldap_say(s, LDAP_NEXT_SERVER, "failed to bind the LDAP connection to server %s - LDAP error %d: %s", s->server, code, ldap_err2string(code));
}

enum ldap_verdict ldap_link_bind(struct ldap_search *s, struct ldap_link *l) {
  const char *user = s->q.user ? s->q.user : "", *password = s->q.password ? s->q.password : "";
  if (s->mode != LDAP_BIND_ONLY && l->is_bound && strcmp(user, l->user) == 0 && strcmp(password, l->password) == 0) return LDAP_ANSWERED;
  DEBUG(D_LOOKUP) debug_printf("%sbinding with user=%s password=%s\n", l->is_bound ? "re-" : "", *user ? user : "NULL", *password ? "XXX" : "NULL");
  l->is_bound = false;
  arena_release(l->arena, l->mark);
  enum ldap_verdict v = bind_now(s, l->ld, user, password);
  if (v != LDAP_ANSWERED) return v;
  l->is_bound = true;
  l->user = arena_strdup_t(l->arena, user, UNTAINTED);
  l->password = arena_strdup_t(l->arena, password, UNTAINTED);
  return v;
}
