/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The heimdal_gssapi authenticator: Kerberos through the GSSAPI library of Heimdal, server side.  Floor: drivers.  Manual ch. 39; RFC 4752.
 *
 * All objects of the library live for one exchange.  No security layer is offered: TLS is there for that.  Hostile: every token of the client, which
 * the library parses; behind it the message that names a layer and an identity (formats/sasl_gssapi.c).  $auth1 is what the key distribution
 * centre vouches for, $auth2 only what the client says. */
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_krb5.h>
#include <string.h>

#include "auths/drivers.h"
#include "formats/sasl_gssapi.h"
#include "os/debug.h"
#include "os/log.h"

enum { ROUNDS = 20 };

struct heimdal_gssapi_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "auths/heimdal_gssapi_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct heimdal_gssapi_opts, n, t, d, f)
static const struct option heimdal_gssapi_options[] = {
#include "auths/heimdal_gssapi_options.def"
};
#undef OPT_ROW

static const char *heimdal_init(struct arena *a UNUSED, struct config *c UNUSED, struct auth_instance *i) {
  if (!i->o.public_name || strcmpic(i->o.public_name, "GSSAPI") != 0) return "public_name must be GSSAPI";
  i->is_server = true;
  return NULL;
}

/* One exchange. */
struct exchange {
  struct auth_server *s;
  gss_name_t own_name, client_name;
  gss_cred_id_t credentials;
  gss_ctx_id_t context;
};

static void add_status(struct strbuf *b, OM_uint32 code, int type) {
  OM_uint32 minor, more = 0;
  do {
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    if (gss_display_status(&minor, code, type, GSS_C_NO_OID, &more, &text) != GSS_S_COMPLETE) return;
    if (text.length > 0) {
      strbuf_adds(b, b->n ? ": " : "");
      strbuf_add_t(b, text.value, text.length, TAINTED);
    }
    (void)gss_release_buffer(&minor, &text);
  } while (more);
}

static const char *status_text(struct arena *a, OM_uint32 major, OM_uint32 minor) {
  struct strbuf b = strbuf_new(a);
  add_status(&b, major, GSS_C_GSS_CODE);
  if (minor) add_status(&b, minor, GSS_C_MECH_CODE);
  return b.p;
}

static enum auth_status cannot(struct exchange *e, const char *what, OM_uint32 major, OM_uint32 minor) {
  e->s->log_text = arena_printf(e->s->x->a, "GSSAPI: %s: %s", what, status_text(e->s->x->a, major, minor));
  return AUTH_DEFER;
}

/* Only what is wrong with the client's token or ticket is a refusal; a key that is not there may be there tomorrow. */
static enum auth_status verdict(struct exchange *e, const char *what, OM_uint32 major, OM_uint32 minor) {
  switch (GSS_ROUTINE_ERROR(major)) {
    case GSS_S_DEFECTIVE_TOKEN:
    case GSS_S_DEFECTIVE_CREDENTIAL:
    case GSS_S_BAD_SIG:
    case GSS_S_BAD_BINDINGS:
    case GSS_S_BAD_MECH:
    case GSS_S_CREDENTIALS_EXPIRED:
    case GSS_S_CONTEXT_EXPIRED:
    case GSS_S_UNAUTHORIZED: break;
    default:
      if (!(major & (GSS_S_DUPLICATE_TOKEN | GSS_S_OLD_TOKEN))) return cannot(e, what, major, minor);
  }
  log_write(LS_ALWAYS, LOG_REJECT, "%s authenticator: GSSAPI: %s: %s", e->s->i->name, what, status_text(e->s->x->a, major, minor));
  return AUTH_FAIL;
}

/* The key of service@hostname, from the keytab named or the system's. */
static enum auth_status acquire(struct exchange *e) {
  struct auth_server *s = e->s;
  const struct heimdal_gssapi_opts *ob = s->i->ob;
  const char *host, *keytab, *service;
  enum auth_status st = auth_expand(s, ob->server_hostname, &host);
  if (st == AUTH_OK) st = auth_expand(s, ob->server_keytab, &keytab);
  if (st == AUTH_OK) st = auth_expand(s, ob->server_service, &service);
  if (st != AUTH_OK) return st;
  OM_uint32 minor = 0, major = GSS_S_COMPLETE;
  if (keytab && *keytab) {
    if (expand_taint_refused(s->x, keytab, "server_keytab")) {
      s->log_text = s->x->error;
      return AUTH_DEFER;
    }
    major = gsskrb5_register_acceptor_identity(keytab);
    if (GSS_ERROR(major)) return cannot(e, keytab, major, 0);
  }
  const char *principal = arena_printf(s->x->a, "%s@%s", service, host);
  gss_buffer_desc text = {.length = strlen(principal), .value = (void *)(uintptr_t)principal};
  major = gss_import_name(&minor, &text, GSS_C_NT_HOSTBASED_SERVICE, &e->own_name);
  if (GSS_ERROR(major)) return cannot(e, principal, major, minor);
  major = gss_acquire_cred(&minor, e->own_name, GSS_C_INDEFINITE, GSS_C_NO_OID_SET, GSS_C_ACCEPT, &e->credentials, NULL, NULL);
  return GSS_ERROR(major) ? cannot(e, principal, major, minor) : AUTH_OK;
}

/* Tokens to and fro until both sides are sure. */
static enum auth_status establish(struct exchange *e) {
  struct auth_server *s = e->s;
  struct str data = STR_NULL;
  enum auth_status st = s->initial ? auth_initial(s, &data) : auth_ask(s, STR(""), &data);
  for (int round = 0; st == AUTH_OK && round < ROUNDS; round++) {
    OM_uint32 minor = 0, ignored;
    gss_buffer_desc in = {.length = data.n, .value = (void *)(uintptr_t)data.p}, out = GSS_C_EMPTY_BUFFER;
    OM_uint32 major = gss_accept_sec_context(&minor, &e->context, e->credentials, &in, GSS_C_NO_CHANNEL_BINDINGS,
                                             e->client_name ? NULL : &e->client_name, NULL, &out, NULL, NULL, NULL);
    if (GSS_ERROR(major)) {
      (void)gss_release_buffer(&ignored, &out);
      return verdict(e, "the client's token", major, minor);
    }
    bool goes_on = major & GSS_S_CONTINUE_NEEDED;
    if (goes_on || out.length > 0) {
      struct str token = str_n(arena_strndup_t(s->x->a, out.length ? out.value : "", out.length, TAINTED), out.length);
      (void)gss_release_buffer(&ignored, &out);
      st = auth_ask(s, token, &data);
    }
    if (!goes_on) return st;
  }
  return st == AUTH_OK ? AUTH_FAIL : st;
}

/* Our offer of no layer at all, and what the client makes of it. */
static enum auth_status agree_on_layer(struct exchange *e, struct str *ret_authzid) {
  struct auth_server *s = e->s;
  static const unsigned char offer[] = {GSSAPI_LAYER_NONE, 0, 0, 0};
  OM_uint32 minor = 0, ignored;
  gss_buffer_desc in = {.length = sizeof(offer), .value = (void *)(uintptr_t)offer}, out = GSS_C_EMPTY_BUFFER;
  OM_uint32 major = gss_wrap(&minor, e->context, 0, GSS_C_QOP_DEFAULT, &in, NULL, &out);
  if (GSS_ERROR(major)) return cannot(e, "the offer of layers", major, minor);
  struct str token = str_n(arena_strndup_t(s->x->a, out.value, out.length, TAINTED), out.length), answer;
  (void)gss_release_buffer(&ignored, &out);
  enum auth_status st = auth_ask(s, token, &answer);
  if (st != AUTH_OK) return st;
  in = (gss_buffer_desc){.length = answer.n, .value = (void *)(uintptr_t)answer.p};
  out = (gss_buffer_desc)GSS_C_EMPTY_BUFFER;
  major = gss_unwrap(&minor, e->context, &in, &out, NULL, NULL);
  if (GSS_ERROR(major)) return verdict(e, "the client's choice of a layer", major, minor);
  struct str plain = str_n(arena_strndup_t(s->x->a, out.length ? out.value : "", out.length, TAINTED), out.length);
  (void)gss_release_buffer(&ignored, &out);
  struct gssapi_choice choice;
  if (!gssapi_parse_choice(plain, &choice) || choice.layer != GSSAPI_LAYER_NONE) {
    log_write(LS_ALWAYS, LOG_REJECT, "%s authenticator: GSSAPI: the client wants a security layer, or said nothing sensible", s->i->name);
    return AUTH_FAIL;
  }
  *ret_authzid = choice.authzid;
  return AUTH_OK;
}

static enum auth_status name_client(struct exchange *e, struct str authzid) {
  struct auth_server *s = e->s;
  OM_uint32 minor = 0;
  gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
  OM_uint32 major = e->client_name ? gss_display_name(&minor, e->client_name, &text, NULL) : GSS_S_BAD_NAME;
  if (GSS_ERROR(major) || text.length == 0 || memchr(text.value, 0, text.length)) return cannot(e, "the client's name", major, minor);
  const char *name = arena_strndup_t(s->x->a, text.value, text.length, TAINTED);
  (void)gss_release_buffer(&minor, &text);
  auth_set_var(s->x, 1, name);
  auth_set_var(s->x, 2, authzid.n ? arena_strndup_t(s->x->a, authzid.p, authzid.n, TAINTED) : name);
  DEBUG(D_AUTH) debug_printf("GSSAPI: client %s\n", name);
  return auth_condition(s);
}

static enum auth_status heimdal_server(struct auth_server *s) {
  struct exchange e = {.s = s}; /* no names, credentials, context: NULL */
  struct str authzid = STR_NULL;
  OM_uint32 minor;
  enum auth_status st = acquire(&e);
  if (st == AUTH_OK) st = establish(&e);
  if (st == AUTH_OK) st = agree_on_layer(&e, &authzid);
  if (st == AUTH_OK) st = name_client(&e, authzid);
  (void)gss_delete_sec_context(&minor, &e.context, GSS_C_NO_BUFFER);
  (void)gss_release_cred(&minor, &e.credentials);
  (void)gss_release_name(&minor, &e.own_name);
  (void)gss_release_name(&minor, &e.client_name);
  return st;
}

const struct auth_driver heimdal_gssapi_auth = {
  .name = "heimdal_gssapi",
  .options = heimdal_gssapi_options,
  .option_count = ARRAY_SIZE(heimdal_gssapi_options),
  .ob_size = sizeof(struct heimdal_gssapi_opts),
  .init = heimdal_init,
  .server = heimdal_server,
};
