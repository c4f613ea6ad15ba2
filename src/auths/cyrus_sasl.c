/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cyrus_sasl authenticator: the server side of any mechanism the Cyrus SASL library has plug-ins for.  Floor: drivers.  Manual ch. 35.
 *
 * The library is started for one exchange and left afterwards, so that nothing of it stays in a process that serves another client.  It reads its own
 * configuration (exim.conf in its directories) and whatever data base that names.  No security layer is negotiated: TLS is there for that.  Hostile: what
 * the client says goes to the library as it is, bounded by the command line; what the library hands back is tainted. */
#include <sasl/sasl.h>
#include <string.h>

#include "auths/drivers.h"
#include "conn.h"
#include "os/debug.h"
#include "os/log.h"

enum { ROUNDS = 20, SSF_TLS = 128 };

struct cyrus_sasl_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "auths/cyrus_sasl_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct cyrus_sasl_opts, n, t, d, f)
static const struct option cyrus_sasl_options[] = {
#include "auths/cyrus_sasl_options.def"
};
#undef OPT_ROW

static const char *cyrus_init(struct arena *a UNUSED, struct config *c UNUSED, struct auth_instance *i) {
  struct cyrus_sasl_opts *ob = i->ob;
  if (!ob->server_mech) ob->server_mech = i->o.public_name;
  i->is_server = true;
  return NULL;
}

/* One exchange. */
struct exchange {
  struct auth_server *s;
  sasl_conn_t *conn;
};

static enum auth_status cannot(struct auth_server *s, const char *what, const char *why) {
  s->log_text = arena_printf(s->x->a, "Cyrus SASL: %s: %s", what, why);
  return AUTH_DEFER;
}

/* Only what the library says about the client and its data is a refusal; all else may be another way tomorrow. */
static enum auth_status verdict(struct exchange *e, int rc) {
  switch (rc) {
    case SASL_BADAUTH:
    case SASL_NOUSER:
    case SASL_NOAUTHZ:
    case SASL_BADPROT:
    case SASL_EXPIRED:
    case SASL_DISABLED:
    case SASL_TOOWEAK:
    case SASL_ENCRYPT:
    case SASL_NOVERIFY:
    case SASL_PWLOCK:
      DEBUG(D_AUTH) debug_printf("Cyrus SASL refuses: %s\n", sasl_errdetail(e->conn));
      log_write(LS_ALWAYS, LOG_REJECT, "%s authenticator (%s): Cyrus SASL permanent failure: %s", e->s->i->name,
                ((const struct cyrus_sasl_opts *)e->s->i->ob)->server_mech, sasl_errstring(rc, NULL, NULL));
      return AUTH_FAIL;
    default: return cannot(e->s, "the exchange failed", sasl_errdetail(e->conn));
  }
}

/* "address;port" as the library wants it; NULL when not known. */
static const char *endpoint(struct arena *a, const char *address, int port) { return address ? arena_printf(a, "%s;%d", address, port) : NULL; }

static enum auth_status open_exchange(struct exchange *e) {
  struct auth_server *s = e->s;
  const struct cyrus_sasl_opts *ob = s->i->ob;
  const struct origin *o = s->x->conn ? &s->x->conn->from : NULL;
  const char *host, *realm;
  enum auth_status st = auth_expand(s, ob->server_hostname, &host);
  if (st == AUTH_OK) st = auth_expand(s, ob->server_realm, &realm);
  if (st != AUTH_OK) return st;
  const char *local = o ? endpoint(s->x->a, o->interface_address, o->interface_port) : NULL;
  const char *remote = o ? endpoint(s->x->a, o->host_address, o->host_port) : NULL;
  int rc = sasl_server_new(ob->server_service, host, realm, local, remote, NULL, 0, &e->conn);
  if (rc != SASL_OK) return cannot(s, "a connection object", sasl_errstring(rc, NULL, NULL));
  const sasl_security_properties_t no_layer = {0};
  const sasl_ssf_t tls = SSF_TLS;
  rc = sasl_setprop(e->conn, SASL_SEC_PROPS, &no_layer);
  if (rc == SASL_OK && o && o->tls.active) rc = sasl_setprop(e->conn, SASL_SSF_EXTERNAL, &tls);
  return rc == SASL_OK ? AUTH_OK : cannot(s, "properties", sasl_errdetail(e->conn));
}

static enum auth_status converse(struct exchange *e) {
  struct auth_server *s = e->s;
  const struct cyrus_sasl_opts *ob = s->i->ob;
  struct str data = STR_NULL;
  enum auth_status st = s->initial ? auth_initial(s, &data) : AUTH_OK;
  const char *out = NULL;
  unsigned n = 0;
  if (st != AUTH_OK) return st;
  int rc = sasl_server_start(e->conn, ob->server_mech, s->initial ? (data.n ? data.p : "") : NULL, (unsigned)data.n, &out, &n);
  for (int round = 0; rc == SASL_CONTINUE && round < ROUNDS; round++) {
    st = auth_ask(s, str_n(out ? out : "", out ? n : 0), &data);
    if (st != AUTH_OK) return st;
    rc = sasl_server_step(e->conn, data.n ? data.p : "", (unsigned)data.n, &out, &n);
  }
  if (rc == SASL_NOMECH) return cannot(s, ob->server_mech, "there is no such mechanism");
  const void *user = NULL;
  if (sasl_getprop(e->conn, SASL_USERNAME, &user) == SASL_OK && user) auth_set_var(s->x, 1, arena_strdup_t(s->x->a, user, TAINTED));
  if (rc != SASL_OK) return verdict(e, rc);
  return user ? auth_condition(s) : cannot(s, "the user's name", sasl_errdetail(e->conn));
}

static enum auth_status cyrus_server(struct auth_server *s) {
  struct exchange e = {.s = s};
  int rc = sasl_server_init(NULL, "exim");
  if (rc != SASL_OK) return cannot(s, "the library cannot be started", sasl_errstring(rc, NULL, NULL));
  enum auth_status st = open_exchange(&e);
  if (st == AUTH_OK) st = converse(&e);
  if (e.conn) sasl_dispose(&e.conn);
  sasl_done();
  return st;
}

const struct auth_driver cyrus_sasl_auth = {
  .name = "cyrus_sasl",
  .options = cyrus_sasl_options,
  .option_count = ARRAY_SIZE(cyrus_sasl_options),
  .ob_size = sizeof(struct cyrus_sasl_opts),
  .init = cyrus_init,
  .server = cyrus_server,
};
