/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gsasl authenticator: the mechanisms of GNU SASL, SCRAM above all.  Floor: drivers.  Manual ch. 38; RFC 5802, 7677, 9266.
 *
 * The library parses what the other side says; we give it what it asks for (on_request) from the options, and judge by server_condition.
 * A library context lives as long as one exchange.  Channel binding (-PLUS) takes tls-exporter in TLS 1.3, else tls-unique, and only when the
 * option asks for it.  A client accepts no 235 before the server has proved itself where the mechanism lets it.
 * $auth1 authentication id, $auth2 authorization id, $auth3 realm (PLAIN and LOGIN: the password). */
#include "auth.h"
#include "buildconfig.h"
#include "auths/drivers.h"

#include <gsasl.h>
#include <stdlib.h>

#include "address.h"
#include "conn.h"
#include "os/debug.h"
#include "os/library.h"

enum { ROUNDS = 20 };

#define CALLS(F) \
  F(gsasl_init) F(gsasl_done) F(gsasl_callback_set) F(gsasl_server_start) F(gsasl_client_start) F(gsasl_server_support_p) \
  F(gsasl_client_support_p) F(gsasl_property_fast) F(gsasl_property_set) F(gsasl_session_hook_set) F(gsasl_session_hook_get) F(gsasl_step) \
  F(gsasl_finish) F(gsasl_free) F(gsasl_strerror)
static struct {
  CALLS(LIBRARY_MEMBER)
} lib;
static const char *const lib_names[] = {CALLS(LIBRARY_NAME)};

static const char *load_library(void) { return library_load(CFG_SONAME_GSASL, lib_names, ARRAY_SIZE(lib_names), &lib); }

struct gsasl_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "auths/gsasl_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct gsasl_opts, n, t, d, f)
static const struct option gsasl_options[] = {
#include "auths/gsasl_options.def"
};
#undef OPT_ROW

/* One exchange; the callback's hook. */
struct exchange {
  const struct gsasl_opts *ob;
  struct expand_ctx *x;
  Gsasl *ctx;
  Gsasl_session *session;
  struct auth_server *server;   /* one of these two */
  struct auth_client *client;
  enum auth_status verdict;     /* of the callback: AUTH_MORE nothing said yet */
  bool is_validated;            /* server_condition was asked */
};

static const char *mechanism(const struct auth_instance *i) {
  const struct gsasl_opts *ob = i->ob;
  return ob->server_mech ? ob->server_mech : i->o.public_name;
}

static const char *gsasl_driver_init(struct arena *a, struct config *c UNUSED, struct auth_instance *i) {
  const struct gsasl_opts *ob = i->ob;
  Gsasl *ctx;
  i->is_server = i->o.server_condition || ob->server_password || ob->server_key || ob->server_skey;
  i->is_client = ob->client_username != NULL;
  const char *why = load_library();
  if (why) return arena_printf(a, "the GNU SASL library cannot be used: %s", why);
  if (lib.gsasl_init(&ctx) != GSASL_OK) return "the GNU SASL library cannot be used";
  bool known = lib.gsasl_server_support_p(ctx, mechanism(i)) || lib.gsasl_client_support_p(ctx, i->o.public_name);
  lib.gsasl_done(ctx);
  if (!known) return arena_printf(a, "GNU SASL does not know mechanism \"%s\"", mechanism(i));
  return NULL;
}

/* ---- what the library asks for ---- */

static const char *property(struct exchange *e, Gsasl_property p) {
  const char *v = lib.gsasl_property_fast(e->session, p);
  return v ? arena_strdup_t(e->x->a, v, TAINTED) : "";
}

static void set_ids(struct exchange *e) {
  auth_clear_vars(e->x);
  auth_set_var(e->x, 1, property(e, GSASL_AUTHID));
  auth_set_var(e->x, 2, property(e, GSASL_AUTHZID));
  auth_set_var(e->x, 3, property(e, GSASL_REALM));
}

/* Expand an option of the server and give the library the value.  A forced failure defers, as the manual says for passwords; an empty password
 * proves nothing, and keys of a wrong length are none. */
static int give(struct exchange *e, Gsasl_property p, const char *option, size_t want_len) {
  const char *value;
  if (!option) return GSASL_NO_CALLBACK;
  if (auth_expand(e->server, option, &value) != AUTH_OK) {
    e->verdict = AUTH_DEFER;
    return GSASL_AUTHENTICATION_ERROR;
  }
  if (!*value && p == GSASL_PASSWORD) {
    e->verdict = AUTH_FAIL;
    return GSASL_AUTHENTICATION_ERROR;
  }
  if (!*value || (want_len && strlen(value) != want_len)) return GSASL_NO_CALLBACK;
  return lib.gsasl_property_set(e->session, p, value) == GSASL_OK ? GSASL_OK : GSASL_MALLOC_ERROR;
}

static size_t key_len(const struct exchange *e) { return strstr(mechanism(e->server->i), "256") ? 44 : 28; }

/* A mechanism where the condition alone decides. */
static int validate(struct exchange *e) {
  e->is_validated = true;
  e->verdict = e->server->i->o.server_condition ? auth_condition(e->server) : AUTH_FAIL;
  return e->verdict == AUTH_OK ? GSASL_OK : GSASL_AUTHENTICATION_ERROR;
}

static bool is_same_secret(const char *a, const char *b) {
  size_t n = strlen(a);
  return n == strlen(b) && bytes_eq_secret(a, b, n);
}

/* PLAIN and LOGIN with server_password alone: compared here. */
static int validate_password(struct exchange *e) {
  const char *value, *given = property(e, GSASL_PASSWORD);
  if (e->server->i->o.server_condition || !e->ob->server_password) {
    auth_set_var(e->x, 3, given);
    return validate(e);
  }
  e->is_validated = true;
  e->verdict = auth_expand(e->server, e->ob->server_password, &value) != AUTH_OK ? AUTH_DEFER
               : *value && is_same_secret(value, given)                            ? AUTH_OK
                                                                                   : AUTH_FAIL;
  return e->verdict == AUTH_OK ? GSASL_OK : GSASL_AUTHENTICATION_ERROR;
}

static int validate_name(struct exchange *e, Gsasl_property p) {
  auth_clear_vars(e->x);
  auth_set_var(e->x, 1, property(e, p));
  return validate(e);
}

static int serve(struct exchange *e, Gsasl_property p) {
  const struct gsasl_opts *ob = e->ob;
  set_ids(e);
  switch ((int)p) {
    case GSASL_PASSWORD: return give(e, p, ob->server_password, 0);
    case GSASL_SCRAM_ITER: return give(e, p, ob->server_scram_iter, 0);
    case GSASL_SCRAM_SALT: return give(e, p, ob->server_scram_salt, 0);
    case GSASL_SCRAM_SERVERKEY: return give(e, p, ob->server_key, key_len(e));
    case GSASL_SCRAM_STOREDKEY: return give(e, p, ob->server_skey, key_len(e));
    case GSASL_VALIDATE_SIMPLE: return validate_password(e);
    case GSASL_VALIDATE_EXTERNAL: return validate_name(e, GSASL_AUTHZID);
    case GSASL_VALIDATE_ANONYMOUS: return validate_name(e, GSASL_ANONYMOUS_TOKEN);
    default: return GSASL_NO_CALLBACK;
  }
}

/* client_spassword knows the server's salt and count; it is used when it has the length of a key in hex. */
static int give_salted(struct exchange *e) {
  const char *value;
  if (!e->ob->client_spassword) return GSASL_NO_CALLBACK;
  auth_set_var(e->x, 1, property(e, GSASL_AUTHID));
  auth_set_var(e->x, 2, property(e, GSASL_SCRAM_ITER));
  auth_set_var(e->x, 3, property(e, GSASL_SCRAM_SALT));
  if (auth_client_expand(e->client, e->ob->client_spassword, &value) != AUTH_OK) {
    e->client->error = NULL;
    return GSASL_NO_CALLBACK;
  }
  size_t want = strstr(e->client->i->o.public_name, "256") ? 64 : 40;
  if (strlen(value) != want) return GSASL_NO_CALLBACK;
  return lib.gsasl_property_set(e->session, GSASL_SCRAM_SALTED_PASSWORD, value) == GSASL_OK ? GSASL_OK : GSASL_MALLOC_ERROR;
}

static int on_request(Gsasl *ctx UNUSED, Gsasl_session *session, Gsasl_property p) {
  struct exchange *e = lib.gsasl_session_hook_get(session);
  if (!e) return GSASL_NO_CALLBACK;
  DEBUG(D_AUTH) debug_printf("GNU SASL asks for property %d\n", (int)p);
  if (e->server) return serve(e, p);
  return p == GSASL_SCRAM_SALTED_PASSWORD ? give_salted(e) : GSASL_NO_CALLBACK;
}

/* ---- both sides ---- */

static void set_property(struct exchange *e, Gsasl_property p, const char *value) {
  if (value && *value) (void)lib.gsasl_property_set(e->session, p, value);
}

static void set_binding(struct exchange *e, const struct tls_info *tls, bool is_wanted) {
  if (!is_wanted || !tls || !tls->active || !tls->channel_binding) return;
  bool is_13 = tls->ver && strcmp(tls->ver, "TLS1.3") == 0;
  set_property(e, is_13 ? GSASL_CB_TLS_EXPORTER : GSASL_CB_TLS_UNIQUE, tls->channel_binding);
}

static bool start(struct exchange *e, const char *mech) {
  if (lib.gsasl_init(&e->ctx) != GSASL_OK) return false;
  lib.gsasl_callback_set(e->ctx, on_request);
  int rc = e->server ? lib.gsasl_server_start(e->ctx, mech, &e->session) : lib.gsasl_client_start(e->ctx, mech, &e->session);
  if (rc != GSASL_OK) return false;
  lib.gsasl_session_hook_set(e->session, e);
  return true;
}

static void finish(struct exchange *e) {
  if (e->session) lib.gsasl_finish(e->session);
  if (e->ctx) lib.gsasl_done(e->ctx);
}

/* One step; the result in the arena. */
static int step(struct exchange *e, struct str in, struct str *ret) {
  char *out = NULL;
  size_t n = 0;
  int rc = lib.gsasl_step(e->session, in.p, in.n, &out, &n);
  *ret = STR("");
  if (rc == GSASL_OK || rc == GSASL_NEEDS_MORE) *ret = str_n(arena_strndup(e->x->a, out ? out : "", n), n);
  lib.gsasl_free(out);
  return rc;
}

/* ---- server ---- */

static enum auth_status refusal(struct exchange *e, int rc) {
  if (e->verdict == AUTH_FAIL || e->verdict == AUTH_DEFER) return e->verdict;
  DEBUG(D_AUTH) debug_printf("GNU SASL: %s\n", lib.gsasl_strerror(rc));
  if (rc != GSASL_MALLOC_ERROR && rc != GSASL_CRYPTO_ERROR && rc != GSASL_NO_CALLBACK && rc != GSASL_NO_CB_TLS_EXPORTER &&
      rc != GSASL_NO_CB_TLS_UNIQUE)
    return AUTH_FAIL;
  e->server->log_text = arena_printf(e->x->a, "GNU SASL: %s", lib.gsasl_strerror(rc));
  return AUTH_DEFER;
}

static enum auth_status conclude(struct exchange *e, struct str last) {
  struct str nothing;
  if (last.n) { /* the server's proof; the client has nothing more to say */
    enum auth_status st = auth_ask(e->server, last, &nothing);
    if (st != AUTH_OK) return st;
    if (nothing.n) return AUTH_FAIL;
  }
  if (e->is_validated) return e->verdict;
  set_ids(e);
  return auth_condition(e->server);
}

static enum auth_status serve_exchange(struct exchange *e) {
  struct str in = STR_NULL, out;
  enum auth_status st = e->server->initial ? auth_initial(e->server, &in) : AUTH_OK;
  for (int round = 0; st == AUTH_OK && round < ROUNDS; round++) {
    int rc = step(e, in, &out);
    if (rc == GSASL_OK) return conclude(e, out);
    if (rc != GSASL_NEEDS_MORE) return refusal(e, rc);
    st = auth_ask(e->server, out, &in);
  }
  return st == AUTH_OK ? AUTH_FAIL : st;
}

static enum auth_status gsasl_server(struct auth_server *s) {
  struct exchange e = {.ob = s->i->ob, .x = s->x, .server = s, .verdict = AUTH_MORE};
  const char *hostname, *realm;
  if (auth_expand(s, e.ob->server_hostname, &hostname) != AUTH_OK || auth_expand(s, e.ob->server_realm, &realm) != AUTH_OK) return AUTH_DEFER;
  enum auth_status st = AUTH_DEFER;
  if (start(&e, mechanism(s->i))) {
    set_property(&e, GSASL_SERVICE, e.ob->server_service);
    set_property(&e, GSASL_HOSTNAME, hostname);
    set_property(&e, GSASL_REALM, realm);
    set_binding(&e, s->x->conn ? &s->x->conn->from.tls : NULL, e.ob->server_channelbinding);
    st = serve_exchange(&e);
  } else {
    s->log_text = "GNU SASL cannot serve this mechanism";
  }
  finish(&e);
  return st;
}

/* ---- client ---- */

static enum auth_status client_failed(struct exchange *e, int rc, bool is_begun) {
  const char *why = arena_printf(e->x->a, "GNU SASL: %s", lib.gsasl_strerror(rc));
  if (is_begun) return auth_client_cancel(e->client, why);
  if (rc == GSASL_NO_CB_TLS_EXPORTER || rc == GSASL_NO_CB_TLS_UNIQUE) return AUTH_SKIP; /* no TLS to bind to: another may do */
  e->client->error = why;
  return AUTH_DEFER;
}

static enum auth_status speak_exchange(struct exchange *e) {
  struct str out, in;
  int rc = step(e, STR_NULL, &out);
  if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE) return client_failed(e, rc, false);
  enum auth_status st = auth_client_first(e->client, out.n || rc == GSASL_OK ? out : STR_NULL);
  for (int round = 0; st == AUTH_MORE && round < ROUNDS; round++) {
    st = auth_client_challenge(e->client, &in);
    if (st != AUTH_OK) return st;
    bool is_over = rc == GSASL_OK;
    if (is_over && in.n) return auth_client_cancel(e->client, "the server goes on after the end of the exchange");
    out = STR("");
    if (!is_over) rc = step(e, in, &out);
    if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE) return client_failed(e, rc, true);
    st = auth_client_more(e->client, out);
  }
  if (st != AUTH_OK || rc == GSASL_OK) return st;
  e->client->error = "the server did not prove that it knows the password";
  return AUTH_DEFER;
}

static void set_results(struct exchange *e) {
  auth_set_var(e->x, 1, property(e, GSASL_AUTHID));
  auth_set_var(e->x, 2, property(e, GSASL_SCRAM_ITER));
  auth_set_var(e->x, 3, property(e, GSASL_SCRAM_SALT));
  auth_set_var(e->x, 4, property(e, GSASL_SCRAM_SALTED_PASSWORD));
}

static enum auth_status gsasl_client(struct auth_client *c) {
  struct exchange e = {.ob = c->i->ob, .x = c->x, .client = c, .verdict = AUTH_MORE};
  const char *user, *password = NULL, *authz = NULL;
  enum auth_status st = auth_client_expand(c, e.ob->client_username, &user);
  if (st == AUTH_OK && e.ob->client_password) st = auth_client_expand(c, e.ob->client_password, &password);
  if (st == AUTH_OK && e.ob->client_authz) st = auth_client_expand(c, e.ob->client_authz, &authz);
  if (st != AUTH_OK) return st;
  if (start(&e, c->i->o.public_name)) {
    set_property(&e, GSASL_AUTHID, user);
    set_property(&e, GSASL_PASSWORD, password);
    set_property(&e, GSASL_AUTHZID, authz);
    set_property(&e, GSASL_ANONYMOUS_TOKEN, user);
    set_property(&e, GSASL_SERVICE, "smtp");
    set_property(&e, GSASL_HOSTNAME, c->x->host ? c->x->host->name : NULL);
    set_binding(&e, c->x->tls_out, e.ob->client_channelbinding);
    st = speak_exchange(&e);
    if (st == AUTH_OK) set_results(&e);
  } else {
    c->error = "GNU SASL cannot use this mechanism";
    st = AUTH_DEFER;
  }
  finish(&e);
  return st;
}

static const char *const features[] = {"AUTH_GSASL_SCRAM_SHA_256", "AUTH_GSASL_SCRAM_S_KEY", NULL};

const struct auth_driver gsasl_auth = {
  .name = "gsasl",
  .options = gsasl_options,
  .option_count = ARRAY_SIZE(gsasl_options),
  .ob_size = sizeof(struct gsasl_opts),
  .init = gsasl_driver_init,
  .server = gsasl_server,
  .client = gsasl_client,
  .features = features,
};
