/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tls authenticator: the client certificate of the session authenticates it.  Floor: drivers.  Manual ch. 42.
 *
 * No mechanism of SMTP: it is not advertised, and the flow runs it by itself once TLS is up and the client has shown a certificate that was
 * verified.  server_condition decides; without it there is no authenticator, because every owner of a certificate would count as known. */
#include "auth.h"
#include "auths/drivers.h"

struct tls_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "auths/tls_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct tls_opts, n, t, d, f)
static const struct option tls_options[] = {
#include "auths/tls_options.def"
};
#undef OPT_ROW

static const char *tls_init(struct arena *a UNUSED, struct config *c UNUSED, struct auth_instance *i) {
  i->is_server = i->o.server_condition != NULL;
  return NULL;
}

static enum auth_status tls_server(struct auth_server *s) {
  const struct tls_opts *ob = s->i->ob;
  const char *const params[] = {ob->server_param1 ? ob->server_param1 : ob->server_param, ob->server_param2, ob->server_param3};
  for (int n = 0; n < (int)ARRAY_SIZE(params); n++) {
    const char *value;
    enum auth_status st = auth_expand(s, params[n], &value);
    if (st != AUTH_OK) return st;
    if (value) auth_set_var(s->x, n + 1, value);
  }
  return auth_condition(s);
}

const struct auth_driver tls_auth = {
  .name = "tls",
  .options = tls_options,
  .option_count = ARRAY_SIZE(tls_options),
  .ob_size = sizeof(struct tls_opts),
  .init = tls_init,
  .server = tls_server,
  .is_implicit = true,
};
