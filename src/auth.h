/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Authenticators: instances and driver ABI.  Floor: policy (objects) / drivers in auths/.  Manual ch. 33; RFC 4954, 4422.
 *
 * A driver does not see the connection.  As a server it asks (one 334 and its answer), as a client it speaks (AUTH or a response line) and
 * reads the verdict; both go through a struct the flow fills, so that a test drives a driver with an array of lines.
 * What the other side says is hostile: base64 text without control characters, at most a command line long, tainted. */
#ifndef AUTH_H
#define AUTH_H

#include "base/outcome.h"
#include "policy/config.h"
#include "policy/expand.h"

struct auth_driver;
struct tls_info;

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
  bool is_server, is_client; /* set by the driver's init */
  struct conf_pos pos;
};

enum auth_status {
  AUTH_OK,
  AUTH_MORE,       /* client: the server wants another response */
  AUTH_FAIL,       /* refused: wrong data, forced failure on a server, 5xx to a client */
  AUTH_DEFER,      /* cannot tell now: 435, a 4xx, an expansion that failed */
  AUTH_SKIP,       /* client: a forced failure; the next authenticator is tried */
  AUTH_CANCELLED,  /* "*" was said, by the other side (server) or by us (client) */
  AUTH_BAD64,      /* what came is not base64 */
  AUTH_UNEXPECTED, /* server: data with AUTH in a mechanism where the server speaks first */
  AUTH_LOST        /* the connection is over; the flow knows why */
};

/* One exchange on the server's side. */
struct auth_server {
  const struct auth_instance *i;
  struct expand_ctx *x;     /* $auth1... and $1... are set here; strings live in x->a */
  const char *initial;      /* base64 text behind AUTH NAME, NULL none; "=" is an empty string */
  const char *user_text;    /* AUTH_DEFER: shown to the client and logged */
  const char *log_text;     /* AUTH_DEFER: logged only */
  /* Send "334 TEXT" and read the answer, both base64.  AUTH_OK, AUTH_CANCELLED or AUTH_LOST. */
  enum auth_status (*ask)(struct auth_server *s, const char *challenge64, const char **ret_answer64);
  void *ctx;
};

/* One exchange on the client's side. */
struct auth_client {
  const struct auth_instance *i;
  struct expand_ctx *x;
  const char *challenge;    /* after AUTH_MORE: text of the 334 without the code */
  const char *reply;        /* the last reply, whole */
  const char *error;        /* AUTH_DEFER without a reply, AUTH_CANCELLED: why, for the log */
  /* Write one line (without CRLF) and read the reply: OK for 2xx, MORE for 3xx, FAIL for 5xx, DEFER for the rest, LOST. */
  enum auth_status (*speak)(struct auth_client *c, const char *line);
  void *ctx;
};

struct auth_driver {
  const char *name;
  const struct option *options;
  size_t option_count;
  size_t ob_size;
  /* Check the options, set is_server and is_client.  NULL or an error text. */
  const char *(*init)(struct arena *a, struct config *c, struct auth_instance *i);
  enum auth_status (*server)(struct auth_server *s);
  enum auth_status (*client)(struct auth_client *c);
  const char *const *features; /* names for _HAVE_ macros, NULL-terminated; or NULL */
  bool is_implicit;          /* no mechanism of SMTP (tls): never advertised, run when TLS is up */
};
/* NULL-terminated, auths/drivers.c. */
extern const struct auth_driver *const auth_drivers[];

/* ---- auths/auth_common.c: for the drivers and for the flows ---- */

/* $authN and $N = text, and nothing above N is set.  n counts from 1; more than EXPAND_MAX_CAPTURES - 1 are dropped. */
void auth_set_var(struct expand_ctx *x, int n, const char *text);
/* Forget all of them. */
void auth_clear_vars(struct expand_ctx *x);
/* Split at NULs into variables from number *n + 1 on; *n is moved.  A final NUL adds no empty string; no bytes at all add one. */
void auth_set_data(struct expand_ctx *x, struct str data, int *n);
/* The data that came with AUTH; AUTH_BAD64 or AUTH_OK.  Only when s->initial. */
enum auth_status auth_initial(struct auth_server *s, struct str *ret);
/* Send a challenge and decode the answer. */
enum auth_status auth_ask(struct auth_server *s, struct str challenge, struct str *ret_answer);
/* Expand an option of a server: a forced failure is AUTH_FAIL, another AUTH_DEFER with log_text.  NULL text gives NULL. */
enum auth_status auth_expand(struct auth_server *s, const char *text, const char **ret);
/* The generic server_condition: unset is OK. */
enum auth_status auth_condition(struct auth_server *s);
/* Narrates server_debug_print, for people who write conditions; auth_condition() does. */
void auth_debug_print(const struct auth_server *s);

/* Expand an option of a client: AUTH_SKIP when forced to fail, AUTH_DEFER with error otherwise. */
enum auth_status auth_client_expand(struct auth_client *c, const char *text, const char **ret);
/* "AUTH NAME DATA" (data.p NULL: without data; empty data is "="). */
enum auth_status auth_client_first(struct auth_client *c, struct str data);
enum auth_status auth_client_more(struct auth_client *c, struct str data);
/* Decode the challenge; AUTH_OK, or the exchange is cancelled ("*" sent) and AUTH_CANCELLED or AUTH_LOST comes back. */
enum auth_status auth_client_challenge(struct auth_client *c, struct str *ret);
/* Say "*"; AUTH_CANCELLED with error, or AUTH_LOST. */
enum auth_status auth_client_cancel(struct auth_client *c, const char *error);

#endif
