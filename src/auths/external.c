/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The external authenticator: SASL EXTERNAL.  Floor: drivers.  Manual ch. 40; RFC 4422 appendix A.
 *
 * The client only names an identity; whether it may have it (a verified client certificate, usually) is server_condition's business.
 * Without that condition there is no server: an unproved name must not authenticate anybody. */
#include "auth.h"
#include "auths/drivers.h"

struct external_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "auths/external_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct external_opts, n, t, d, f)
static const struct option external_options[] = {
#include "auths/external_options.def"
};
#undef OPT_ROW

static const char *external_init(struct arena *a UNUSED, struct config *c UNUSED, struct auth_instance *i) {
  const struct external_opts *ob = i->ob;
  i->is_server = i->o.server_condition != NULL;
  i->is_client = ob->client_send != NULL;
  return NULL;
}

static enum auth_status external_server(struct auth_server *s) {
  const struct external_opts *ob = s->i->ob;
  const char *const params[] = {ob->server_param2, ob->server_param3};
  struct str id;
  enum auth_status st = s->initial ? auth_initial(s, &id) : auth_ask(s, STR(""), &id);
  if (st != AUTH_OK) return st;
  if (memchr(id.p, '\0', id.n)) return AUTH_FAIL; /* no identity has one */
  auth_set_var(s->x, 1, arena_strndup(s->x->a, id.p, id.n));
  for (int n = 0; n < (int)ARRAY_SIZE(params); n++) {
    const char *value;
    st = auth_expand(s, params[n], &value);
    if (st != AUTH_OK) return st;
    if (value) auth_set_var(s->x, n + 2, value);
  }
  return auth_condition(s);
}

static enum auth_status external_client(struct auth_client *c) {
  const struct external_opts *ob = c->i->ob;
  const char *id;
  enum auth_status st = auth_client_expand(c, ob->client_send, &id);
  if (st != AUTH_OK) return st;
  st = auth_client_first(c, str_c(id));
  if (st != AUTH_MORE) return st;
  /* A server may ask for the identity although it came with AUTH. */
  return auth_client_more(c, str_c(id));
}

const struct auth_driver external_auth = {
  .name = "external",
  .options = external_options,
  .option_count = ARRAY_SIZE(external_options),
  .ob_size = sizeof(struct external_opts),
  .init = external_init,
  .server = external_server,
  .client = external_client,
};
