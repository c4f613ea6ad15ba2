/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Authenticators: instances and driver ABI.  Floor: policy (objects) / drivers in auths/.  Manual ch. 33. */
#ifndef AUTH_H
#define AUTH_H

#include "base/outcome.h"
#include "policy/config.h"
#include "policy/expand.h"

struct auth_driver;

struct auth_generic {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "policy/auth_options.def"
#undef OPT_ROW
};

struct auth_instance {
  struct auth_instance *next;
  const char *name;
  const struct auth_driver *driver;
  struct auth_generic o;
  struct opt_block *block;
  void *ob;
  struct opt_block *ob_block;
  bool is_server, is_client;
  bool advertised;
  struct conf_pos pos;
};

/* The wire, as the flow gives it to a driver: send a challenge/response and read the answer (decoded base64). */
struct auth_io {
  enum outcome (*exchange)(struct auth_io *io, const char *send, size_t send_n, const char **ret, size_t *ret_n);
  void *ctx;
};

struct auth_driver {
  const char *name;
  const struct option *options;
  size_t option_count;
  size_t ob_size;
  const char *(*init)(struct arena *a, struct config *c, struct auth_instance *i);
  enum outcome (*server)(struct auth_instance *i, struct expand_ctx *x, struct auth_io *io, const char *initial, size_t initial_n, const char **ret_error);
  enum outcome (*client)(struct auth_instance *i, struct expand_ctx *x, struct auth_io *io, const char **ret_error);
};
/* NULL-terminated, auths/drivers.c.  Empty list as long as no authenticator is built; the option tables are known nevertheless. */
extern const struct auth_driver *const auth_drivers[];

#endif
